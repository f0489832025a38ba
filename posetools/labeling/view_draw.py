"""One picture of ``posetools view``, with its labels and, beside them, what is predicted; and many as a sheet.

In a sheet objects are drawn at the size of the tile, not at that of the picture: lines and points then have the width
that can be seen, and a 4K JPEG is decoded at a fraction of its size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from posetools.core.geometry import Floats, pairwise_iou
from posetools.core.skeleton import Color, Skeleton
from posetools.datasets.shown import Labelled, Mark
from posetools.errors import InputError, RequestError, must_be
from posetools.imaging.drawing import Style, beside, draw_instances, fitting_size
from posetools.imaging.header import open_decoded, read_header
from posetools.labeling.sheet import HIDDEN, Legend, contact_sheet, fitting_columns, legend_of, readable_text, reduction
from posetools.prediction.read import PicturePredictions
from posetools.progress import Progress
from posetools.runtime.results import KPT_THR

MARKED: Color = (255, 40, 90)
# A sheet is about this many pixels wide, and a picture in it as wide as these say.
_SHEET_WIDTH = 2560
_NARROWEST, _WIDEST = 320, 1280
_MOST_PIXELS = 120_000_000
# Pictures of another shape than these (width by height) are shown whole in a tile that is wider or higher than they.
_SHAPES = 0.5, 2.5
# An object is cut out with this share of its longer side around it, and at least these pixels.
_MARGIN, _MARGIN_PIXELS = 0.25, 4.0
# A cut that is written by itself is enlarged to this.
_SMALLEST_CUT = 480
_NAME_LINES, _FINDING_LINES = 2, 3
# A sheet is wider than most screens: what is drawn in it must still be seen when it is shown smaller.
_SHEET_SCALE, _SHOWN_SCALE = 1.6, 1.2
_BLANK = (205, 205, 205)


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """One picture of the output: a whole one, or one object of it.

    Attributes:
        labels: the picture and its objects.
        row: the object, or None for the picture with all of them.
        mark: what is found in it.
        predicted: what is predicted for it; None where no predictions are shown.
    """

    labels: Labelled
    row: int | None = None
    mark: Mark = field(default_factory=Mark)
    predicted: PicturePredictions | None = None

    def region(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return what is shown of the picture, which is of ``size`` (width, height): x1, y1, x2, y2 in pixels."""
        if self.row is None:
            return 0, 0, *size
        box = self.labels.boxes[self.row]
        margin = max(_MARGIN * float((box[2:] - box[:2]).max()), _MARGIN_PIXELS)
        # At an edge of the picture, and beyond it, the cut keeps its size and moves inwards.
        span = np.ceil(box[2:] - box[:2] + 2 * margin).clip(1, size).astype(int)
        low = np.floor(box[:2] - margin).clip(0, np.array(size) - span).astype(int)
        high = low + span
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])

    @property
    def shape(self) -> float:
        """Width by height of what is shown."""
        x1, y1, x2, y2 = self.region(self.labels.image.size)
        return (x2 - x1) / (y2 - y1)

    def caption(self, code: str | None) -> str:
        """Return what stands below it; ``code`` is that of the findings in its mark."""
        name, objects = self.labels.image.file_name, len(self.labels.boxes)
        text = f"{name}: {objects} object{'' if objects == 1 else 's'}"
        if self.row is not None:
            width, height = (self.labels.boxes[self.row][2:] - self.labels.boxes[self.row][:2]).tolist()
            text = f"{name}: object {self.row + 1} of {objects}, {width:.0f} x {height:.0f} px"
        elif self.predicted is not None:
            text = f"{name}: {objects} labelled, {len(self.predicted.boxes)} predicted"
        messages = self.mark.messages(self.row)
        more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
        return f"{text}\n{code} {messages[0]}{more}" if messages else text


def draw_view(
    view: View, skeleton: Skeleton, style: Style, *, tile: tuple[int, int] | None = None, code: str = ""
) -> Pillow.Image:
    """Return the picture, or what is to be seen of it, with labels, and with predictions to the right of them.

    Args:
        view: what to show.
        skeleton: names, colours and links.
        style: what is drawn.
        tile: the (width, height) that the labels are to fill, and the predictions again; None: full resolution.
        code: written at the objects that the view marks.

    Raises:
        InputError: the picture cannot be read.
    """
    picture, corner, scale = _open(view, tile)

    def place(points: Floats) -> Floats:
        placed: Floats = (points - corner) * scale
        return placed

    rows = list(range(len(view.labels.boxes))) if view.row is None else [view.row]
    boxes, keypoints = view.labels.boxes[rows], view.labels.keypoints[rows].copy()
    keypoints[:, :, :2] = place(keypoints[:, :, :2])
    marked = [row in view.mark.rows for row in rows]
    labels = draw_instances(
        picture,
        place(boxes.reshape(-1, 2, 2)).reshape(-1, 4),
        keypoints,
        skeleton,
        texts=[code if each else "" for each in marked],
        box_colors=[MARKED if each else style.box_color for each in marked],
        style=style,
    )
    if view.predicted is None:
        return labels
    found = view.predicted
    kept = np.arange(len(found.boxes))
    if view.row is not None:
        # Of the other objects only the tags would be seen, at the edges of the cut.
        overlaps = pairwise_iou(view.labels.boxes[[view.row]], found.boxes)[0]
        kept = np.flatnonzero(overlaps == overlaps.max(initial=1e-9))[:1]
    points = np.concatenate(
        [place(found.keypoints[kept]), np.full((len(kept), skeleton.num_keypoints, 1), 2.0)], axis=2
    )
    predictions = draw_instances(
        picture,
        place(found.boxes[kept].reshape(-1, 2, 2)).reshape(-1, 4),
        points,
        skeleton,
        texts=[f"{score:.2f}" for score in found.scores[kept]],
        scores=found.keypoint_scores[kept],
        style=replace(style, min_score=KPT_THR),
    )
    return beside(labels, predictions)


def _path(view: View) -> Path:
    image = view.labels.image
    if image.path is None:
        raise InputError(image.file_name, "", "the annotation does not say where the picture is")
    return image.path


def _open(view: View, tile: tuple[int, int] | None) -> tuple[Pillow.Image, tuple[int, int], Floats]:
    """Return what is shown, the pixel of the picture at its corner, and the (2,) factors from that to what is shown."""
    path = _path(view)
    size = read_header(path).size
    x1, y1, x2, y2 = view.region(size)
    sides = x2 - x1, y2 - y1
    if tile is None and view.row is not None and max(sides) < _SMALLEST_CUT:
        tile = _SMALLEST_CUT, _SMALLEST_CUT
    shown = fitting_size(sides, tile) if tile else sides
    factors: Floats = np.array(shown) / sides
    wanted = math.ceil(max(size) * float(factors.max()))
    picture, _ = open_decoded(path, "RGB", (wanted, wanted))
    if picture.size != shown or view.row is not None:
        across, down = picture.width / size[0], picture.height / size[1]
        cut = (x1 * across, y1 * down, x2 * across, y2 * down)
        picture = picture.resize(shown, Pillow.Resampling.BICUBIC, box=cut, reducing_gap=3.0)
    return picture, (x1, y1), factors


def draw_sheet(
    views: Sequence[View],
    skeleton: Skeleton,
    style: Style,
    *,
    columns: int | None,
    tile: tuple[int, int | None] | None,
    code: str | None,
    title: str,
    problems: list[str],
    progress: Progress,
    ring: str = HIDDEN,
) -> Pillow.Image:
    """Return one picture of all views, with a legend; those that cannot be read stay blank, their problems are noted.

    Args:
        views: what to show; at least one.
        skeleton: names, colours and links.
        style: what is drawn.
        columns: views in a row; None: so that they are largest when a screen shows the whole sheet.
        tile: (width, height) of a picture; a height of None, or None at all: what fits.
        code: that of the findings in the views' marks.
        title: a line above all.
        problems: gets a sentence for each picture that cannot be read.
        progress: told how far it is.
        ring: what a point that is drawn as a ring means.

    Raises:
        RequestError: the sheet would be too large.
    """
    paired = any(view.predicted is not None for view in views)
    shape = float(np.clip(np.median([view.shape for view in views]), *_SHAPES))
    if tile and tile[1]:
        shape = tile[0] / tile[1]
    lines = _FINDING_LINES if code else _NAME_LINES
    columns = columns or fitting_columns(len(views), shape * (1 + paired), lines)
    width = tile[0] if tile else max(_NARROWEST, min(_WIDEST, _SHEET_WIDTH // columns // (1 + paired)))
    height = max(1, round(width / shape))
    size = columns * width * (1 + paired), -(-len(views) // columns) * height
    if size[0] * size[1] > _MOST_PIXELS:
        rule = f"at most {_MOST_PIXELS // 1_000_000} million pixels"
        raise RequestError(f"{must_be('the sheet', rule, size)}\n  a smaller --tile or --n, or --each")
    scale = style.scale * max(_SHEET_SCALE, _SHOWN_SCALE * reduction(size))
    style = replace(style, scale=scale, smallest_text=readable_text(size, width))
    tiles, captions = [], []
    for done, view in enumerate(views, start=1):
        caption = view.caption(code)
        try:
            tiles.append(draw_view(view, skeleton, style, tile=(width, height), code=code or ""))
        except InputError as exc:
            tiles.append(Pillow.new("RGB", (width, height), _BLANK))
            problems.append(str(exc))
            caption = f"{caption} (cannot be shown)"
        captions.append(caption)
        progress("drawing", done, len(views))
    whole = beside(Pillow.new("RGB", (width, height)), Pillow.new("RGB", (width, height))).size
    return contact_sheet(
        tiles,
        columns=columns,
        tile=whole if paired else (width, height),
        captions=captions,
        caption_lines=lines,
        title=title,
        legend=_legend(views, skeleton, style, code=code, ring=ring),
    )


def _legend(views: Sequence[View], skeleton: Skeleton, style: Style, *, code: str | None, ring: str) -> Legend:
    boxes = {"object": style.box_color} if style.boxes else {}
    if code and style.boxes and any(view.mark.rows for view in views):
        boxes[f"object with {code}"] = MARKED
    notes = []
    if any(view.predicted is not None for view in views):
        score = f"right: predictions and their scores, without points that score below {KPT_THR:g}"
        notes = ["left: labels", score]
    return legend_of(skeleton, boxes=boxes, notes=notes, ring=ring)
