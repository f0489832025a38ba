"""Drawing boxes, keypoints and links into pictures, and pictures into contact sheets. Pillow only.

Lines, points and text scale with the picture, so a drawing of 320 pixels and one of 4K look alike. Shapes are drawn
at several times the size in which they appear, which smooths their edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from posetools.dataset import Visibility
from posetools.geometry import Floats
from posetools.skeleton import Color, Skeleton

# x1, y1, x2, y2 in pixels.
_Region: TypeAlias = tuple[float, float, float, float]

BOX_COLOR: Color = (255, 214, 10)
_INK: Color = (20, 20, 20)
_PAPER: Color = (255, 255, 255)
# A line's width is this share of the picture's diagonal, but at least _THINNEST pixels.
_LINE_SHARE = 1 / 500
_THINNEST = 1.0
_TEXT_LINES = 7.5
_SMALLEST_TEXT = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """How objects are drawn.

    Attributes:
        box_color: of boxes and of their text's background (RGB).
        line: width of boxes and links in pixels; None scales with the picture.
        radius: of visible points in pixels; None scales with the picture and with small objects.
        boxes: whether boxes are drawn.
        names: whether each point's name is written beside it.
        min_score: points with a lower score are not drawn; only where scores of points are given.
    """

    box_color: Color = BOX_COLOR
    line: float | None = None
    radius: float | None = None
    boxes: bool = True
    names: bool = False
    min_score: float = 0.0


DEFAULT_STYLE = Style()


def draw_instances(
    picture: Pillow.Image,
    boxes: Floats,
    keypoints: Floats,
    skeleton: Skeleton,
    *,
    texts: Sequence[str] | None = None,
    scores: Floats | None = None,
    style: Style = DEFAULT_STYLE,
) -> Pillow.Image:
    """Return a copy of the picture with objects drawn into it.

    Links come first, then points, so that no line hides a point. Visible points (visibility 2) are discs, hidden ones
    (1) rings; points of visibility 0 are left out, and links to them.

    Args:
        picture: any mode; the result is RGB.
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        keypoints: (N, K, 3) x, y, visibility, in the skeleton's order.
        skeleton: names, colours and links.
        texts: N texts, each written above its box (a class, a score).
        scores: (N, K) scores of the points, compared with ``style.min_score``.
        style: widths, colours, what to draw.
    """
    visible = np.array(keypoints, dtype=np.float64)
    if scores is not None:
        visible[scores < style.min_score, 2] = Visibility.NOT_LABELLED
    drawn = picture.convert("RGB")
    canvas = _Canvas(drawn)
    diagonal = math.hypot(*drawn.size)
    line = style.line or max(_THINNEST, diagonal * _LINE_SHARE)
    for box in boxes if style.boxes else ():
        canvas.box(box, line, style.box_color)
    for box, points in zip(boxes, visible, strict=True):
        radius = style.radius or _radius(box, line)
        for (a, b), link in zip(skeleton.edges, skeleton.links, strict=True):
            if points[a, 2] and points[b, 2]:
                canvas.line(points[a, :2], points[b, :2], min(line, radius), link.color)
        for (x, y, visibility), keypoint in zip(points, skeleton.keypoints, strict=True):
            if visibility:
                canvas.point((x, y), radius, keypoint.color, hollow=visibility == Visibility.HIDDEN)
    canvas.finish()
    for box, text in zip(boxes, texts or [], strict=bool(texts)):
        _tag(drawn, (box[0], box[1]), text, _text_size(box, line), style.box_color)
    if style.names:
        taken: list[_Region] = []
        for box, points in zip(boxes, visible, strict=True):
            radius = style.radius or _radius(box, line)
            _write_names(drawn, points, skeleton, 0.8 * _text_size(box, line), radius, taken)
    return drawn


def contact_sheet(
    tiles: Sequence[Pillow.Image],
    *,
    columns: int,
    tile: tuple[int, int],
    captions: Sequence[str] | None = None,
    title: str = "",
) -> Pillow.Image:
    """Return one picture of many: even tiles row by row, each picture whole and in the middle of its tile.

    Args:
        tiles: the pictures; at least one.
        columns: tiles in a row.
        tile: (width, height) of a tile in pixels, without caption.
        captions: one line below each tile, cut where it is too long.
        title: a line above all.
    """
    gap = max(4, tile[0] // 60)
    font = _font(max(_SMALLEST_TEXT, tile[0] / 24))
    heading = _font(max(12, tile[0] / 16))
    caption_height = round(1.6 * font.size) if captions else 0
    top = round(2 * heading.size) if title else gap
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    step = tile[0] + gap, tile[1] + gap + caption_height
    sheet = Pillow.new("RGB", (columns * step[0] + gap, top + rows * step[1]), _PAPER)
    pen = ImageDraw.Draw(sheet)
    if title:
        pen.text((gap, top / 2), _cut(title, heading, sheet.width - 2 * gap), _INK, heading, anchor="lm")
    for i, picture in enumerate(tiles):
        x, y = gap + i % columns * step[0], top + i // columns * step[1]
        shown = _fit(picture.convert("RGB"), tile)
        pen.rectangle((x, y, x + tile[0] - 1, y + tile[1] - 1), fill=(232, 232, 232))
        sheet.paste(shown, (x + (tile[0] - shown.width) // 2, y + (tile[1] - shown.height) // 2))
        if captions:
            text = _cut(captions[i], font, tile[0])
            pen.text((x + 1, y + tile[1] + caption_height / 2), text, _INK, font, anchor="lm")
    return sheet


class _Canvas:
    """Shapes drawn at a multiple of the picture's size, then laid over it."""

    def __init__(self, picture: Pillow.Image) -> None:
        self._picture = picture
        # A large picture has fine enough pixels of its own; four times 4K would be 132 million of them.
        self._scale = 4 if max(picture.size) <= 1024 else 2
        self._shapes: list[tuple[str, tuple[float, ...], float, Color]] = []

    def box(self, box: Floats, width: float, color: Color) -> None:
        x1, y1, x2, y2 = box.tolist()
        self._shapes.append(("box", (x1, y1, x2, y2), width, color))

    def line(self, start: Floats, end: Floats, width: float, color: Color) -> None:
        self._shapes.append(("line", (*start.tolist(), *end.tolist()), width, color))

    def point(self, centre: tuple[float, float], radius: float, color: Color, *, hollow: bool) -> None:
        self._shapes.append(("ring" if hollow else "disc", centre, radius, color))

    def finish(self) -> None:
        """Draw what was asked for, in bands of rows: memory stays small on large pictures."""
        width, height = self._picture.size
        rows = max(64, 4_000_000 // (width * self._scale**2))
        for top in range(0, height, rows):
            region = (0, top, width, min(top + rows, height))
            band = self._picture.crop(region).resize(
                (width * self._scale, (region[3] - top) * self._scale), Pillow.Resampling.NEAREST
            )
            pen = ImageDraw.Draw(band)
            for kind, place, size, color in self._shapes:
                self._draw(pen, kind, place, size, color, top)
            self._picture.paste(band.resize((width, region[3] - top), Pillow.Resampling.BOX), region[:2])

    def _draw(
        self, pen: ImageDraw.ImageDraw, kind: str, place: tuple[float, ...], size: float, color: Color, top: int
    ) -> None:
        at = [(value - (top if i % 2 else 0)) * self._scale for i, value in enumerate(place)]
        thick = size * self._scale
        if kind == "box":
            half = thick / 2
            x1, y1, x2, y2 = at
            pen.rectangle((x1 - half, y1 - half, x2 + half, y2 + half), outline=color, width=max(1, round(thick)))
        elif kind == "line":
            pen.line(at, fill=color, width=max(1, round(thick)))
        else:
            # A light or dark rim keeps a point apart from what lies behind it.
            x, y = at
            rim = _PAPER if sum(color) < 3 * 160 else _INK
            outer = thick + max(1.0, thick / 4)
            if kind == "disc":
                pen.ellipse((x - outer, y - outer, x + outer, y + outer), fill=rim)
                pen.ellipse((x - thick, y - thick, x + thick, y + thick), fill=color)
            else:
                ring = max(1, round(thick / 2.2))
                edge = max(1, round(thick / 5))
                wide = outer + edge
                pen.ellipse((x - wide, y - wide, x + wide, y + wide), outline=rim, width=ring + 2 * edge)
                pen.ellipse((x - outer, y - outer, x + outer, y + outer), outline=color, width=ring)


def _radius(box: Floats, line: float) -> float:
    """Return the radius of points: of the line's order, smaller on objects that they would cover."""
    longer = float(max(box[2] - box[0], box[3] - box[1]))
    return max(1.2, min(2.2 * line, 0.03 * longer + 0.4))


def _text_size(box: Floats, line: float) -> float:
    """Return the height of text: of the line's order, smaller on objects that it would cover."""
    longer = float(max(box[2] - box[0], box[3] - box[1]))
    return max(_SMALLEST_TEXT, min(_TEXT_LINES * line, 0.15 * longer))


def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(round(size))
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow must be built with FreeType, as its wheels are")
    return font


def _tag(picture: Pillow.Image, corner: tuple[float, float], text: str, size: float, color: Color) -> None:
    """Write a text on a coloured ground above a corner, moved into the picture where it would leave it."""
    font = _font(size)
    pen = ImageDraw.Draw(picture)
    left, top, right, bottom = pen.textbbox((0, 0), text, font)
    pad = size / 5
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x = min(max(corner[0], 0.0), max(picture.width - width, 0.0))
    y = corner[1] - height if corner[1] >= height else max(corner[1], 0.0)
    pen.rectangle((x, y, x + width, y + height), fill=color)
    ink = _INK if sum(color) > 3 * 128 else _PAPER
    pen.text((x + pad - left, y + pad - top), text, ink, font)


def _write_names(
    picture: Pillow.Image, points: Floats, skeleton: Skeleton, size: float, radius: float, taken: list[_Region]
) -> None:
    """Write each point's name where no other name is, if there is such a place near it; note it in ``taken``."""
    font = _font(size)
    pen = ImageDraw.Draw(picture)
    away = 1.7 * radius
    for (x, y, visibility), name in zip(points, skeleton.names, strict=True):
        if not visibility:
            continue
        width, half = pen.textlength(name, font), 0.6 * size
        lefts = x + away, x - away - width
        middles = y, y + 1.1 * size, y - 1.1 * size, y + 2.2 * size, y - 2.2 * size
        places = [(left, middle - half, left + width, middle + half) for middle in middles for left in lefts]
        inside = [place for place in places if place[0] >= 0 and place[2] <= picture.width] or places
        place = next((place for place in inside if not any(_meet(place, other) for other in taken)), inside[0])
        taken.append(place)
        at = place[0], place[1] + half
        pen.text(at, name, _PAPER, font, "lm", stroke_width=max(1, round(size / 10)), stroke_fill=_INK)


def _meet(a: _Region, b: _Region) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _fit(picture: Pillow.Image, tile: tuple[int, int]) -> Pillow.Image:
    scale = min(tile[0] / picture.width, tile[1] / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture if size == picture.size else picture.resize(size, Pillow.Resampling.LANCZOS)


def _cut(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
