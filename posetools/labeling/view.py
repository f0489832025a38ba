"""View labels: images with their objects drawn in, as one contact sheet or as a folder of images.

Images are chosen evenly, or randomly with a seed; the same request gives the same images. They are opened one at a
time. Small objects in large images have few pixels in a tile of a sheet; with ``objects`` each tile is one object,
cropped with a margin.

In a sheet objects are drawn at the size of the tile, not of the image: lines and points then have a visible width, and
a 4K JPEG is decoded at a fraction of its size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image as Pillow

from posetools.core.categories import Categories
from posetools.core.findings import count_by_code, rule_of, title_of
from posetools.core.folder import IMAGES
from posetools.core.geometry import Floats, Ints, pairwise_iou
from posetools.core.skeleton import Color
from posetools.datasets.shown import LabeledImage, Mark, ShownLabels, mark_images, read_labels
from posetools.errors import InputError, RequestError, counted, first_lines, must_be
from posetools.files.disk import staged_folder
from posetools.files.names import unique_names
from posetools.imaging.drawing import DEFAULT_STYLE, Style, beside, draw_instances, fitting_size
from posetools.imaging.header import open_decoded, read_header, save_image
from posetools.labeling.sheet import HIDDEN, Legend, contact_sheet, fitting_columns, legend_of, readable_text, reduction
from posetools.prediction.read import ImagePredictions, image_ids_of, join_ids, read_predictions
from posetools.progress import Progress, silent
from posetools.runtime.results import KPT_THR

MARKED: Color = (255, 40, 90)
# Approximate width of a sheet, and the least and largest width of an image in it, in pixels.
_SHEET_WIDTH = 2560
_NARROWEST, _WIDEST = 320, 1280
_MOST_PIXELS = 120_000_000
# Range of tile shapes (width by height); images beyond are shown whole in a tile of the nearest shape.
_TILE_SHAPES = 0.5, 2.5
# Margin of a cropped object, as a share of its longer side, and at least these pixels.
_TILE_MARGIN, _TILE_MARGIN_PIXELS = 0.25, 4.0
# A crop written as its own file is enlarged to this.
_SMALLEST_CUT = 480
_NAME_LINES, _FINDING_LINES = 2, 3
# A sheet is wider than most screens: drawings must be visible when it is reduced.
_SHEET_SCALE, _SHOWN_SCALE = 1.6, 1.2
_BLANK = (205, 205, 205)


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """One image of the output: a whole image, or one object of it.

    Attributes:
        labels: the image and its objects.
        row: the object; None for the whole image.
        mark: its findings.
        predicted: its predictions; None if not shown.
    """

    labels: LabeledImage
    row: int | None = None
    mark: Mark = field(default_factory=Mark)
    predicted: ImagePredictions | None = None

    def region(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return the visible region of the image of ``size`` (width, height): x1, y1, x2, y2 in pixels."""
        if self.row is None:
            return 0, 0, *size
        box = self.labels.boxes[self.row]
        margin = max(_TILE_MARGIN * float((box[2:] - box[:2]).max()), _TILE_MARGIN_PIXELS)
        # At the image's edges, the crop keeps its size and moves inward.
        span = np.ceil(box[2:] - box[:2] + 2 * margin).clip(1, size).astype(int)
        low = np.floor(box[:2] - margin).clip(0, np.array(size) - span).astype(int)
        high = low + span
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])

    @property
    def shape(self) -> float:
        """Width by height of the visible region."""
        x1, y1, x2, y2 = self.region(self.labels.image.size)
        return (x2 - x1) / (y2 - y1)

    def caption(self, code: str) -> str:
        """Return its caption; ``code`` is that of the findings in its mark."""
        name, objects = self.labels.image.file_name, len(self.labels.boxes)
        text = f"{name}: {counted(objects, 'object')}"
        if self.row is not None:
            width, height = (self.labels.boxes[self.row][2:] - self.labels.boxes[self.row][:2]).tolist()
            text = f"{name}: object {self.row + 1} of {objects}, {width:.0f} x {height:.0f} px"
        elif self.predicted is not None:
            text = f"{name}: {objects} labeled, {len(self.predicted.boxes)} predicted"
        messages = self.mark.messages(self.row)
        more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
        return f"{text}\n{code} {messages[0]}{more}" if messages else text


def _draw(
    one: View, categories: Categories, style: Style, *, tile: tuple[int, int] | None = None, code: str = ""
) -> Pillow.Image:
    """Return the visible region with labels, and next to it, on the right, with predictions.

    Labels and predictions fill a tile (width, height) each; None: full resolution.
    """
    image, corner, scale = _open(one, tile)

    def place(points: Floats) -> Floats:
        placed: Floats = (points - corner) * scale
        return placed

    rows = list(range(len(one.labels.boxes))) if one.row is None else [one.row]
    boxes, keypoints = one.labels.boxes[rows], one.labels.keypoints[rows].copy()
    keypoints[:, :, :2] = place(keypoints[:, :, :2])
    marked = [row in one.mark.rows for row in rows]
    ids = None if one.labels.category_ids is None else one.labels.category_ids[rows]
    labels = draw_instances(
        image,
        place(boxes.reshape(-1, 2, 2)).reshape(-1, 4),
        keypoints,
        categories,
        category_ids=ids,
        texts=_tags(categories, ids, [code if each else "" for each in marked]),
        box_colors=[MARKED if each else style.box_color for each in marked],
        style=style,
    )
    if one.predicted is None:
        return labels
    found = one.predicted
    kept = np.arange(len(found.boxes))
    if one.row is not None:
        # Only the tags of the other objects would be visible, at the edges of the crop.
        overlaps = pairwise_iou(one.labels.boxes[[one.row]], found.boxes)[0]
        kept = np.flatnonzero(overlaps == overlaps.max(initial=1e-9))[:1]
    points = np.concatenate(
        [place(found.keypoints[kept]), np.full((len(kept), categories.num_keypoints, 1), 2.0)], axis=2
    )
    ids = None if found.category_ids is None else found.category_ids[kept]
    predictions = draw_instances(
        image,
        place(found.boxes[kept].reshape(-1, 2, 2)).reshape(-1, 4),
        points,
        categories,
        category_ids=ids,
        texts=_tags(categories, ids, [f"{score:.2f}" for score in found.scores[kept]]),
        scores=found.keypoint_scores[kept],
        style=replace(style, min_score=KPT_THR),
    )
    return beside(labels, predictions)


def _tags(categories: Categories, ids: Ints | None, texts: Sequence[str]) -> list[str]:
    """Return the text above each box: where there are several categories, with the name of its own."""
    if ids is None or len(categories) == 1:
        return list(texts)
    names = [categories[number].category.name for number in ids.tolist()]
    return [f"{name} {text}".strip() for name, text in zip(names, texts, strict=True)]


def _open(one: View, tile: tuple[int, int] | None) -> tuple[Pillow.Image, tuple[int, int], Floats]:
    """Return the visible region, the image pixel at its corner, and the (2,) scale factors."""
    path = one.labels.image.path
    if path is None:
        raise InputError(one.labels.image.file_name, "", "the annotation has no path of the image")
    size = read_header(path).size
    x1, y1, x2, y2 = one.region(size)
    sides = x2 - x1, y2 - y1
    if tile is None and one.row is not None and max(sides) < _SMALLEST_CUT:
        tile = _SMALLEST_CUT, _SMALLEST_CUT
    shown = fitting_size(sides, tile) if tile else sides
    factors: Floats = np.array(shown) / sides
    wanted = math.ceil(max(size) * float(factors.max()))
    image, _ = open_decoded(path, "RGB", (wanted, wanted))
    if image.size != shown or one.row is not None:
        across, down = image.width / size[0], image.height / size[1]
        cut = (x1 * across, y1 * down, x2 * across, y2 * down)
        image = image.resize(shown, Pillow.Resampling.BICUBIC, box=cut, reducing_gap=3.0)
    return image, (x1, y1), factors


def draw_sheet(
    views: Sequence[View],
    categories: Categories,
    style: Style,
    *,
    columns: int | None = None,
    tile: tuple[int, int | None] | None = None,
    code: str,
    title: str,
    problems: list[str],
    progress: Progress,
    ring: str = HIDDEN,
) -> Pillow.Image:
    """Return one image of all views, with a legend; unreadable images stay blank, with their problems noted.

    Args:
        views: what to show; at least one.
        categories: names, colors and links.
        style: what is drawn.
        columns: views in a row; None: so that they are largest when a screen shows the whole sheet.
        tile: (width, height) of an image; a height of None, or None: what fits.
        code: of the findings in the views' marks.
        title: a line at the top.
        problems: receives a sentence for each unreadable image.
        progress: receives progress.
        ring: what a ring means.

    Raises:
        RequestError: the sheet would be too large.
    """
    paired = any(one.predicted is not None for one in views)
    shape = float(np.clip(np.median([one.shape for one in views]), *_TILE_SHAPES))
    if tile and tile[1]:
        shape = tile[0] / tile[1]
    lines = _FINDING_LINES if code else _NAME_LINES
    columns = columns or fitting_columns(len(views), shape * (1 + paired), lines)
    width = tile[0] if tile else max(_NARROWEST, min(_WIDEST, _SHEET_WIDTH // columns // (1 + paired)))
    height = max(1, round(width / shape))
    size = columns * width * (1 + paired), -(-len(views) // columns) * height
    if size[0] * size[1] > _MOST_PIXELS:
        rule = f"at most {_MOST_PIXELS // 1_000_000} million pixels"
        raise RequestError(must_be("the sheet", rule, size), hint="pass a smaller --tile or --n, or --each")
    scale = style.scale * max(_SHEET_SCALE, _SHOWN_SCALE * reduction(size))
    style = replace(style, scale=scale, smallest_text=readable_text(size, width))
    tiles, captions = [], []
    for done, one in enumerate(views, start=1):
        caption = one.caption(code)
        try:
            tiles.append(_draw(one, categories, style, tile=(width, height), code=code))
        except InputError as exc:
            tiles.append(Pillow.new("RGB", (width, height), _BLANK))
            problems.append(exc.in_one_line)
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
        legend=_legend(views, categories, style, code=code, ring=ring),
    )


def _legend(views: Sequence[View], categories: Categories, style: Style, *, code: str, ring: str) -> Legend:
    boxes = {"object": style.box_color} if style.boxes else {}
    if code and style.boxes and any(one.mark.rows for one in views):
        boxes[f"object with {code}"] = MARKED
    notes = []
    if any(one.predicted is not None for one in views):
        score = f"right: predictions and their scores, without points below {KPT_THR:g}"
        notes = ["left: labels", score]
    return legend_of(categories, boxes=boxes, notes=notes, ring=ring)


DEFAULT_NUMBER = 25
VIEW_SHEET, VIEW_FOLDER = Path("view.png"), Path("view")
_JPEG_QUALITY, _PNG_COMPRESSION = 92, 4
_OUT_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_LISTED_NAMES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewRequest:
    """What to show, and how.

    Attributes:
        data: a data set folder, or a labeled source that convert reads.
        out: the sheet's file, or the folder of images; None: view.png or view/ in the current folder.
        split: the one split to show; None for all.
        finding: a code: only images with such a finding, with its objects marked.
        predictions: a file of predictions, drawn next to the labels.
        skeleton: a built-in name or a file; None: the data's own.
        number: how many images, or objects, at most.
        seed: choose randomly with this seed; None: evenly.
        objects: show each object separately.
        each: write each image separately, in full resolution.
        columns: images in a row of the sheet; None: so that they are largest when a screen shows the whole sheet.
        tile: (width, height) of an image in the sheet in pixels; a height of None: what fits.
        style: what is drawn.
    """

    data: Path
    out: Path | None = None
    split: str | None = None
    finding: str | None = None
    predictions: Path | None = None
    skeleton: str | Path | None = None
    number: int = DEFAULT_NUMBER
    seed: int | None = None
    objects: bool = False
    each: bool = False
    columns: int | None = None
    tile: tuple[int, int | None] | None = None
    style: Style = DEFAULT_STYLE


@dataclass(frozen=True, slots=True)
class ViewResult:
    """The result of a view.

    Attributes:
        out: what was written; None if there was nothing to show.
        shown: number of images, or objects.
        among: number of images, or objects, to choose from.
        notes: further remarks, a sentence each.
    """

    out: Path | None
    shown: int
    among: int
    notes: tuple[str, ...] = ()


def view(request: ViewRequest, progress: Progress = silent) -> ViewResult:
    """Write the sheet, or the folder of images.

    Raises:
        RequestError: there is no such data, split, code or prediction, or ``out`` cannot be what is written.
        InputError: a file cannot be read.
        OutputError: the output cannot be written.
    """
    out = _target(request)
    labels = read_labels(request.data, split=request.split, skeleton=request.skeleton, progress=progress)
    _spare_sources(out, labels)
    views, notes = _candidates(labels, request)
    if labels.unreadable:
        command = "validate" if (request.data / IMAGES).is_dir() else "convert"
        notes.append(f"reading errors: {labels.unreadable}, which are not drawn; see `posetools {command}`")
    if not views:
        return ViewResult(None, 0, 0, tuple(notes))
    chosen = _choose(views, request)
    problems: list[str] = []
    if request.each:
        _write_each(chosen, labels, out, request, problems, progress)
    else:
        sheet = draw_sheet(
            chosen,
            labels.categories,
            request.style,
            columns=request.columns,
            tile=request.tile,
            code=request.finding or "",
            title=_title(request, len(chosen), len(views)),
            problems=problems,
            progress=progress,
        )
        save_image(sheet, out, quality=_JPEG_QUALITY, compress_level=_PNG_COMPRESSION)
    notes += first_lines(problems, _LISTED_NAMES)
    return ViewResult(out, len(chosen) - (len(problems) if request.each else 0), len(views), tuple(notes))


def _target(request: ViewRequest) -> Path:
    """Return where to write; refuse impossible options before anything is read."""
    for name, value in (("--n", request.number), ("--columns", request.columns)):
        if value is not None and value < 1:
            raise RequestError(must_be(name, "at least 1", value))
    out = request.out or (VIEW_FOLDER if request.each else VIEW_SHEET)
    if request.each:
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            hint = "choose another --out, or delete this one"
            raise RequestError(f"{out}: must be a new or empty folder with --each, but is not", hint=hint)
    elif out.is_dir():
        raise RequestError(
            f"{out}: must be the file of the sheet, but is a folder", hint="pass --each for single images"
        )
    elif out.suffix.lower() not in _OUT_SUFFIXES:
        raise RequestError(f"--out must be a file that ends with {', '.join(sorted(_OUT_SUFFIXES))}, got {out}")
    return out


def _spare_sources(out: Path, labels: ShownLabels) -> None:
    if not out.is_file():
        return
    for each in labels.images:
        path = each.image.path
        if path and path.name == out.name and path.is_file() and path.samefile(out):
            raise RequestError(f"{out}: is one of the labeled images", hint="choose another --out")


def _candidates(labels: ShownLabels, request: ViewRequest) -> tuple[list[View], list[str]]:
    """Return everything that could be shown, and notes."""
    views = [View(each) for each in labels.images]
    notes: list[str] = []
    if request.finding is not None:
        marks, notes = _marks(labels, request.finding)
        views = [replace(views[index], mark=mark) for index, mark in marks.items()]
    if request.predictions is not None and views:
        predictions = _predictions(request.predictions, labels)
        named = [(each, predictions.get(each.labels.image.file_name)) for each in views]
        views = [replace(each, predicted=predicted) for each, predicted in named if predicted is not None]
        if not views:
            notes.append(f"{request.predictions}: has no predictions for the images to show")
    if request.objects:
        views = [
            replace(each, row=row)
            for each in views
            for row in range(len(each.labels.boxes))
            if not each.mark.rows or row in each.mark.rows
        ]
    if not views and not notes:
        notes.append(f"{request.data}: there is no {'object' if request.objects else 'image'} to show")
    return views, notes


def _marks(labels: ShownLabels, code: str) -> tuple[dict[int, Mark], list[str]]:
    """Return the images with findings of a code, by index, and a sentence if there are none."""
    findings = labels.findings()
    counts = count_by_code(findings)
    occurring = ", ".join(f"{each} {title_of(each)} ({number})" for each, number in counts.items()) or "none"
    if rule_of(code) is None:
        raise RequestError(must_be("--finding", "a code of docs/findings.md", code), f"codes in this data: {occurring}")
    marks, elsewhere = mark_images([each for each in findings if each.code == code], labels.images)
    notes = [f"{code} {title_of(code)}, on no single image: {each.where}: {each.message}" for each in elsewhere]
    if code not in counts:
        notes = [f"no image has {code} {title_of(code)}; codes in this data: {occurring}"]
    return marks, notes[:_LISTED_NAMES]


def _predictions(path: Path, labels: ShownLabels) -> Mapping[str, ImagePredictions]:
    try:
        predictions = read_predictions(path, labels.categories)
    except RequestError:
        # COCO results refer to images by id.
        if not labels.ann_files:
            raise
        predictions = read_predictions(path, labels.categories, _image_ids(labels))
    names = {each.image.file_name for each in labels.images}
    if not names & predictions.keys():
        got = next(iter(predictions), None)
        raise RequestError(f"{path}: {must_be('images', f'those of the data, such as {min(names)!r}', got)}")
    return predictions


def _image_ids(labels: ShownLabels) -> dict[str, int]:
    """Return the ids that COCO results may use: of all splits or, if they clash, of the splits shown."""
    of_files = {file: image_ids_of(Path(file)) for file in labels.ann_files}
    shown = {each.ann_file for each in labels.images}
    for files in (labels.ann_files, [file for file in labels.ann_files if file in shown]):
        ids = join_ids([of_files[file] for file in files])
        if ids is not None:
            return ids
    raise RequestError(
        f"{', '.join(labels.ann_files)}: image ids must differ between splits", hint="choose one with --split"
    )


def _choose(views: Sequence[View], request: ViewRequest) -> list[View]:
    count = min(request.number, len(views))
    if request.seed is None:
        rows = np.linspace(0, len(views) - 1, count).round().astype(int)
    else:
        rows = np.sort(np.random.default_rng(request.seed).choice(len(views), count, replace=False))
    return [views[row] for row in rows.tolist()]


def _title(request: ViewRequest, shown: int, among: int) -> str:
    what = f"{request.finding} {title_of(request.finding)}: " if request.finding else ""
    return f"{request.data}: {what}{shown} of {among} {'objects' if request.objects else 'images'}"


def _write_each(
    views: Sequence[View], labels: ShownLabels, out: Path, request: ViewRequest, problems: list[str], progress: Progress
) -> None:
    wanted = [(Path(each.labels.ann_file).stem.removesuffix("_coco"), _name(each)) for each in views]
    with staged_folder(out) as folder:
        for done, (each, name) in enumerate(zip(views, unique_names(wanted), strict=True), start=1):
            try:
                image = _draw(each, labels.categories, request.style, code=request.finding or "")
            except InputError as exc:
                problems.append(exc.in_one_line)
            else:
                save_image(image, folder / name, quality=_JPEG_QUALITY, compress_level=_PNG_COMPRESSION)
            progress("drawing", done, len(views))


def _name(view: View) -> str:
    """Return the file name of a separately written image: its own, if its format can be written, else as PNG."""
    path = PurePosixPath(view.labels.image.file_name)
    if view.row is not None:
        path = path.with_name(f"{path.stem}_object{view.row + 1}{path.suffix}")
    return str(path) if path.suffix.lower() in _OUT_SUFFIXES else f"{path}.png"
