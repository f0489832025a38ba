"""Draw boxes, keypoints, links and heatmaps into images. Pillow and numpy only; sheets: labeling/sheet.py.

Lines, points and text scale with the image and the objects: drawings of 320 pixels and 4K look alike, and small objects
are not covered. The cost of a shape depends on its own size, not the image's: its color is pasted through an
antialiased mask of its bounding box. Points are a few recurring shapes and are cached; long lines are pasted in pieces,
because the bounding box of a whole line is mostly empty. Boxes have straight sides, which are sharpest on whole pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageChops, ImageDraw, ImageFont

from posetools.core.categories import Categories
from posetools.core.dataset import Visibility
from posetools.core.geometry import Floats, Ints
from posetools.core.skeleton import Color, Skeleton

# x1, y1, x2, y2 in pixels.
_Region: TypeAlias = tuple[float, float, float, float]

BOX_COLOR: Color = (255, 214, 10)
INK: Color = (20, 20, 20)
PAPER: Color = (255, 255, 255)
# A line's width is this share of the image's diagonal, but at least _THINNEST pixels; on small objects it is down to a
# third of that, which is still visible when the whole image is on a screen.
_LINE_SHARE = 1 / 500
_THINNEST = 1.0
_TEXT_LINES = 7.5
SMALLEST_TEXT = 9.0
_BESIDE_GAP = 2
# Approximate pixels of the mask of a piece of a line; steps per pixel of the place and size of cached points.
_PIECE = 4096
_PHASES = 4
_FONT_SIZES = 8
# Heat below the first value is not painted; from the second on it has this opacity.
_HEAT_FROM, _HEAT_FULL, _HEAT_OPACITY = 0.06, 0.5, 0.65
_HEAT_COLORS = ((0, 0, 255), (0, 200, 255), (0, 220, 80), (255, 230, 0), (255, 0, 0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """How objects are drawn.

    Attributes:
        box_color: of boxes and their text's background (RGB).
        line: width of boxes and links in pixels; None scales with the image and small objects.
        radius: of visible points in pixels; None scales with the image and small objects.
        boxes: whether boxes are drawn.
        names: whether each point's name is written next to it.
        indices: whether each point's number, from 0, is written next to it, instead of its name.
        scale: factor on everything that scales with the image, for images viewed reduced.
        min_score: points with a lower score are not drawn, if point scores are given.
        smallest_text: least height of text in pixels, for images viewed reduced.
    """

    box_color: Color = BOX_COLOR
    line: float | None = None
    radius: float | None = None
    boxes: bool = True
    names: bool = False
    indices: bool = False
    scale: float = 1.0
    min_score: float = 0.0
    smallest_text: float = SMALLEST_TEXT


DEFAULT_STYLE = Style()


def draw_instances(
    image: Pillow.Image,
    boxes: Floats,
    keypoints: Floats,
    what: Skeleton | Categories,
    *,
    category_ids: Ints | None = None,
    texts: Sequence[str] | None = None,
    scores: Floats | None = None,
    box_colors: Sequence[Color] | None = None,
    style: Style = DEFAULT_STYLE,
) -> Pillow.Image:
    """Return a copy of the image with objects drawn into it.

    Links come first, then points, so that no line hides a point. Visible points (visibility 2) are discs, occluded ones
    (1) rings; points of visibility 0 or without finite coordinates are left out, and links to them.

    Args:
        image: any mode; the result is RGB.
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        keypoints: (N, K, 3) x, y, visibility, in the skeleton's order, or in the columns of the categories.
        what: names, colors and links: a skeleton, or categories.
        category_ids: (N,) the category of each object; None: all are of the only one.
        texts: N texts, each written above its box (a class, a score); may be empty.
        scores: (N, K) scores of the points, compared with ``style.min_score``.
        box_colors: N colors; None for ``style.box_color``.
        style: widths, colors, what to draw.
    """
    visible = np.array(keypoints, dtype=np.float64)
    if scores is not None:
        visible[scores < style.min_score, 2] = Visibility.NOT_LABELED
    visible[~np.isfinite(visible).all(axis=2), 2] = Visibility.NOT_LABELED
    drawn = image.copy() if image.mode == "RGB" else image.convert("RGB")
    whole = max(_THINNEST, math.hypot(*drawn.size) * _LINE_SHARE * style.scale)
    categories = Categories.of(what)
    ids = [categories.only.category.id for _ in boxes] if category_ids is None else category_ids.tolist()
    skeletons = [categories[number] for number in ids]
    own = [points[categories.columns[number]] for number, points in zip(ids, visible, strict=True)]
    colors = [style.box_color] * len(boxes) if box_colors is None else box_colors
    lines = [style.line or _line_width(box, whole) for box in boxes]
    radii = [style.radius or _radius(box, whole) for box in boxes]
    for box, color, line in zip(boxes, colors, lines, strict=True):
        if style.boxes:
            _box(drawn, box, line, color)
    for points, skeleton, line, radius in zip(own, skeletons, lines, radii, strict=True):
        _object(drawn, points, skeleton, min(line, radius), radius)
    for box, text, color in zip(boxes, texts or [], colors, strict=bool(texts)):
        if text and np.isfinite(box).all():
            _tag(drawn, (box[0], box[1]), text, max(style.smallest_text, _text_size(box, whole)), color)
    if style.names or style.indices:
        taken: list[_Region] = []
        for box, points, skeleton, radius in zip(boxes, own, skeletons, radii, strict=True):
            labels = [str(i) for i in range(skeleton.num_keypoints)] if style.indices else skeleton.names
            size = max(style.smallest_text, 0.8 * _text_size(box, whole))
            _write_names(drawn, points, labels, size, radius, taken)
    return drawn


def draw_note(image: Pillow.Image, text: str, *, size: float, color: Color = BOX_COLOR) -> Pillow.Image:
    """Return a copy of the image, RGB, with a text ``size`` pixels high on a colored background in its center."""
    drawn = image.copy() if image.mode == "RGB" else image.convert("RGB")
    size = min(size, size * 0.9 * drawn.width / font_of(round(size)).getlength(text))
    left = (drawn.width - font_of(round(size)).getlength(text)) / 2 - size / 5
    _tag(drawn, (left, drawn.height / 2 + size), text, size, color)
    return drawn


def paint_heatmaps(image: Pillow.Image, heatmaps: npt.NDArray[np.float32], crops: Floats) -> Pillow.Image:
    """Return a copy of the image, RGB, with heatmaps over it: blue to red, transparent where they are low.

    Args:
        image: any mode.
        heatmaps: (N, K, h, w), 0 to 1: the maximum over the K maps and over overlapping crops is painted.
        crops: (N, 4) center x, center y, width, height in pixels; parts outside the image are cut off.
    """
    drawn = image.copy() if image.mode == "RGB" else image.convert("RGB")
    heat = Pillow.new("L", drawn.size)
    limit = np.array([*drawn.size, *drawn.size])
    for maps, crop in zip(heatmaps, crops, strict=True):
        corner, sides = crop[:2] - crop[2:] / 2, crop[2:]
        region = np.clip(np.concatenate([corner, corner + sides]).round(), 0, limit).astype(int)
        if not (region[2:] > region[:2]).all():
            continue
        cells = np.array(maps.shape[:0:-1])
        part = np.clip((region.reshape(2, 2) - corner) / sides * cells, 0, cells).ravel()
        hottest = Pillow.fromarray((maps.max(axis=0).clip(0, 1) * 255).astype(np.uint8))
        width, height = (region[2:] - region[:2]).tolist()
        shown = hottest.resize((width, height), Pillow.Resampling.BILINEAR, box=tuple(part.tolist()))
        place = tuple(region.tolist())
        heat.paste(ImageChops.lighter(heat.crop(place), shown), place[:2])
    painted = heat.getbbox()
    if painted is None:
        return drawn
    heat = heat.crop(painted)
    level = np.linspace(0, 1, 256)
    opacity = ((level - _HEAT_FROM) / (_HEAT_FULL - _HEAT_FROM)).clip(0, 1) * _HEAT_OPACITY * 255
    stops = np.linspace(0, 1, len(_HEAT_COLORS))
    palette = np.stack([np.interp(level, stops, channel) for channel in zip(*_HEAT_COLORS, strict=True)], axis=1)
    mask = heat.point(opacity.astype(int).tolist())
    heat.putpalette(palette.astype(np.uint8).ravel().tolist())
    drawn.paste(heat.convert("RGB"), painted[:2], mask)
    return drawn


def fitting_size(size: tuple[int, int], tile: tuple[int, int]) -> tuple[int, int]:
    """Return the (width, height) in pixels of the largest image with the shape of ``size`` that fits a tile."""
    scale = min(tile[0] / size[0], tile[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def beside(left: Pillow.Image, right: Pillow.Image) -> Pillow.Image:
    """Return one image of two, with a thin white line between them."""
    size = left.width + right.width + _BESIDE_GAP, max(left.height, right.height)
    both = Pillow.new("RGB", size, PAPER)
    both.paste(left, (0, 0))
    both.paste(right, (left.width + _BESIDE_GAP, 0))
    return both


def _object(image: Pillow.Image, points: Floats, skeleton: Skeleton, line: float, radius: float) -> None:
    for (a, b), link in zip(skeleton.edges, skeleton.links, strict=True):
        if points[a, 2] and points[b, 2]:
            _line(image, points[a, :2], points[b, :2], line, link.color)
    for (x, y, visibility), keypoint in zip(points.tolist(), skeleton.keypoints, strict=True):
        # Coordinates of a point far away would not fit into an integer.
        if visibility and -1e4 < x < image.width + 1e4 and -1e4 < y < image.height + 1e4:
            column, row = math.floor(x * _PHASES + 0.5), math.floor(y * _PHASES + 0.5)
            size, hollow = round(radius * _FONT_SIZES), visibility == Visibility.HIDDEN
            stamp, mask = _point(size, keypoint.color, hollow, column % _PHASES, row % _PHASES)
            reach = stamp.width // 2
            image.paste(stamp, (column // _PHASES - reach, row // _PHASES - reach), mask)


@lru_cache(maxsize=2048)
def _point(size: int, color: Color, hollow: bool, right: int, down: int) -> tuple[Pillow.Image, Pillow.Image]:
    """Return a point's image and mask; its center is ``right`` and ``down`` of their middle, in parts of a pixel."""
    radius = size / _FONT_SIZES
    outer = radius + max(1 / _PHASES, radius / 4)
    ring, edge = max(1 / _PHASES, radius / 2.2), max(1 / _PHASES, radius / 5)
    reach = math.ceil(outer + edge) + 1
    places = np.arange(-reach, reach + 1) + 0.5
    away = np.hypot(places - right / _PHASES, (places - down / _PHASES)[:, None])

    def within(distance: float) -> Floats:
        share: Floats = (distance + 0.5 - away).clip(0, 1)
        return share

    # A light or dark rim separates a point from the background.
    if hollow:
        mask = within(outer + edge) - within(outer - ring - edge)
        inner = within(outer) - within(outer - ring)
    else:
        mask, inner = within(outer), within(radius)
    rim = PAPER if sum(color) < 3 * 160 else INK
    mixed = np.array(rim) + inner[..., None] * (np.array(color) - rim)
    return Pillow.fromarray(mixed.round().astype(np.uint8)), Pillow.fromarray((mask * 255).round().astype(np.uint8))


def _box(image: Pillow.Image, box: Floats, width: float, color: Color) -> None:
    if not np.isfinite(box).all():
        return
    thick = max(1, round(width))
    limit = np.array(image.size) + 2 * thick
    x1, y1 = np.clip((box[:2] - thick / 2).round(), -2 * thick, limit).astype(int).tolist()
    x2, y2 = np.clip((box[2:] + thick / 2).round(), -2 * thick, limit).astype(int).tolist()
    corners = (x1, y1, max(x1, x2 - 1), max(y1, y2 - 1))
    ImageDraw.Draw(image).rectangle(corners, outline=color, width=thick)


def _line(image: Pillow.Image, start: Floats, end: Floats, width: float, color: Color) -> None:
    """Paste a line in pieces along its longer axis; their masks share no pixel."""
    way = end - start
    length = math.hypot(*way)
    if not length:
        return
    along = int(abs(way[1]) > abs(way[0]))
    across = 1 - along
    reach = width / 2 + 1
    low = np.floor(np.minimum(start, end) - reach).clip(0, image.size).astype(int)
    high = np.ceil(np.maximum(start, end) + reach).clip(0, image.size).astype(int)
    if (low >= high).any():
        return
    slope = way[across] / way[along]
    slack = reach * math.hypot(1, slope)
    pieces = math.ceil(math.sqrt((high - low).prod() / _PIECE))
    for edges in pairwise(np.linspace(low[along], high[along], pieces + 1).round().astype(int).tolist()):
        middles = start[across] + slope * (np.array(edges) - start[along])
        sides = np.array([middles.min() - slack, middles.max() + slack]).clip(low[across], high[across])
        ranges = [edges, (math.floor(sides[0]), math.ceil(sides[1]))]
        columns, rows = (np.arange(*each) + 0.5 for each in (ranges if along == 0 else ranges[::-1]))
        if len(columns) and len(rows):
            mask = _line_mask(columns, rows, start, way / length, length, width / 2)
            image.paste(color, (int(columns[0]), int(rows[0])), mask)


def _line_mask(columns: Floats, rows: Floats, start: Floats, way: Floats, length: float, half: float) -> Pillow.Image:
    """Return how much a line from ``start`` along the unit vector ``way`` covers of each pixel, given by its center."""
    off = (way[0] * rows - (way[0] * start[1] - way[1] * start[0])).astype(np.float32)[:, None]
    off = np.abs(off - (way[1] * columns).astype(np.float32))
    on = (way[1] * rows - way @ start).astype(np.float32)[:, None] + (way[0] * columns).astype(np.float32)
    share = np.minimum(half + 0.5 - off, np.minimum(on, length - on) + 0.5).clip(0, 1)
    return Pillow.fromarray((share * 255).astype(np.uint8))


def _side(box: Floats) -> float:
    x1, y1, x2, y2 = box.tolist()
    return float(max(x2 - x1, y2 - y1))


def _line_width(box: Floats, line: float) -> float:
    return max(_THINNEST, line / 3, min(line, 0.02 * _side(box)))


def _radius(box: Floats, line: float) -> float:
    """Return the radius of points: proportional to the line, smaller on small objects."""
    return max(1.2, min(2.2 * line, 0.03 * _side(box) + 0.4))


def _text_size(box: Floats, line: float) -> float:
    """Return the height of text: proportional to the line, smaller on small objects."""
    return min(_TEXT_LINES * line, 0.15 * _side(box))


@lru_cache(maxsize=64)
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """Return the font of all text in images, ``size`` pixels high."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow must be built with FreeType, as its wheels are")
    return font


def _tag(image: Pillow.Image, corner: tuple[float, float], text: str, size: float, color: Color) -> None:
    """Write a text on a colored background above a corner, moved into the image if necessary."""
    font = font_of(round(size))
    pen = ImageDraw.Draw(image)
    left, top, right, bottom = pen.textbbox((0, 0), text, font)
    pad = size / 5
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x = min(max(corner[0], 0.0), max(image.width - width, 0.0))
    y = corner[1] - height if corner[1] >= height else max(corner[1], 0.0)
    pen.rectangle((x, y, x + width, y + height), fill=color)
    ink = INK if sum(color) > 3 * 128 else PAPER
    pen.text((x + pad - left, y + pad - top), text, ink, font)


def _write_names(
    image: Pillow.Image, points: Floats, labels: Sequence[str], size: float, radius: float, taken: list[_Region]
) -> None:
    """Write each point's name at a free place near it, if there is one; add the place to ``taken``."""
    font = font_of(round(size))
    pen = ImageDraw.Draw(image)
    away = 1.7 * radius
    for (x, y, visibility), name in zip(points.tolist(), labels, strict=True):
        if not visibility:
            continue
        width, half = pen.textlength(name, font), 0.6 * size
        lefts = x + away, x - away - width
        middles = y, y + 1.1 * size, y - 1.1 * size, y + 2.2 * size, y - 2.2 * size
        places = [(left, middle - half, left + width, middle + half) for middle in middles for left in lefts]
        inside = [place for place in places if place[0] >= 0 and place[2] <= image.width] or places
        place = next((place for place in inside if not any(_meet(place, other) for other in taken)), inside[0])
        taken.append(place)
        at = place[0], place[1] + half
        pen.text(at, name, PAPER, font, "lm", stroke_width=max(1, round(size / 10)), stroke_fill=INK)


def _meet(a: _Region, b: _Region) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
