"""A contact sheet of many images, with a legend.

A sheet is often larger than a screen. Its text is large enough to be read when the whole sheet is shown on a screen of
1280 by 800 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from posetools.core.categories import Categories
from posetools.core.dataset import Visibility
from posetools.core.skeleton import Color, Skeleton
from posetools.imaging.drawing import BOX_COLOR, INK, PAPER, SMALLEST_TEXT, Style, draw_instances, fitting_size, font_of

_SCREEN = 1280, 800
# Text height in pixels of such a screen; in narrow tiles at most this fraction of their width.
_CAPTION, _HEADING = 12.0, 15.0
_NARROW = 9
# Approximate height of title and legend, in pixels of the screen.
_LEGEND_HEIGHT = 90
# Sheets are fitted by width; those higher than this many screens are scrolled.
_HIGHEST = 2.0
# A longer legend would hide the images.
_LEGEND_ROWS = 40
_GROUND: Color = (96, 100, 106)
HIDDEN = "occluded (labeled, not visible)"


@dataclass(frozen=True, slots=True)
class LegendRow:
    """One entry of a legend.

    Attributes:
        text: its meaning; may be empty.
        points: keypoint of the skeleton -> visibility, drawn side by side with the links between them.
        box: the color of the box to draw; None for none.
        skeleton: the keypoints and links, with their colors; None for text only.
    """

    text: str
    points: Mapping[int, Visibility] = field(default_factory=dict)
    box: Color | None = None
    skeleton: Skeleton | None = None


@dataclass(frozen=True, slots=True)
class Legend:
    """The legend of a sheet: its entries, in order."""

    entries: tuple[LegendRow, ...]


def legend_of(
    what: Skeleton | Categories,
    *,
    boxes: Mapping[str, Color] | None = None,
    notes: Sequence[str] = (),
    ring: str = HIDDEN,
) -> Legend:
    """Return a legend: discs, rings and boxes, then each keypoint and each link of each skeleton in its color.

    Args:
        what: a skeleton, or the categories with their skeletons.
        boxes: what boxes mean, and their colors; None: one for an object.
        notes: sentences that need no drawing.
        ring: what a ring means.
    """
    posed = list(Categories.of(what).posed.values())
    first = posed[0].skeletons[0]
    seen = [
        LegendRow(text, {0: visibility}, skeleton=first)
        for text, visibility in (("visible", Visibility.VISIBLE), (ring, Visibility.HIDDEN))
    ]
    colors = {"object": BOX_COLOR} if boxes is None else boxes
    boxed = [LegendRow(text, box=color, skeleton=first) for text, color in colors.items()]
    texts = [LegendRow(note) for note in notes]
    rows: list[LegendRow] = []
    for group in posed:
        rows += [LegendRow(f"{', '.join(group.ids)}:")] if len(posed) > 1 else []
        rows += _rows_of(group.skeletons[0])
    return Legend((*seen, *boxed, *texts, *rows))


def _rows_of(skeleton: Skeleton) -> list[LegendRow]:
    points = [
        LegendRow(name, {index: Visibility.VISIBLE}, skeleton=skeleton)
        for index, name in enumerate(skeleton.names[:_LEGEND_ROWS])
    ]
    edges = skeleton.edges[:_LEGEND_ROWS]
    links = [
        LegendRow("links" if number == len(edges) else "", dict.fromkeys(edge, Visibility.VISIBLE), skeleton=skeleton)
        for number, edge in enumerate(edges, start=1)
    ]
    more = [("keypoints", skeleton.num_keypoints), ("links", len(skeleton.links))]
    left_out = [
        LegendRow(f"... and {count - _LEGEND_ROWS} more {what}") for what, count in more if count > _LEGEND_ROWS
    ]
    return [*points, *links, *left_out]


def reduction(size: tuple[int, int]) -> float:
    """Return the factor by which a sheet of (width, height) is reduced on a screen; at least 1."""
    wide, high = size[0] / _SCREEN[0], size[1] / _SCREEN[1]
    return max(1.0, wide, min(high, _HIGHEST * wide))


def readable_text(size: tuple[int, int], width: int) -> float:
    """Return the height in pixels of readable text in a reduced sheet.

    Args:
        size: of the sheet.
        width: of the text's tile.
    """
    return max(SMALLEST_TEXT, min(_CAPTION * reduction(size), width / _NARROW))


def fitting_columns(count: int, shape: float, lines: int) -> int:
    """Return the number of columns that makes images largest when the whole sheet is on a screen.

    Args:
        count: how many images.
        shape: their width by height.
        lines: of their captions.
    """
    caption = 1.3 * _CAPTION * lines
    height = _SCREEN[1] - _LEGEND_HEIGHT

    def shown(columns: int) -> float:
        return min(_SCREEN[0] / columns, (height / -(-count // columns) - caption) * shape)

    return max(range(1, count + 1), key=shown)


def contact_sheet(
    tiles: Sequence[Pillow.Image],
    *,
    columns: int,
    tile: tuple[int, int],
    captions: Sequence[str] | None = None,
    caption_lines: int = 1,
    title: str = "",
    legend: Legend | None = None,
) -> Pillow.Image:
    """Return one image of many: equal tiles in rows, each image whole and centered in its tile.

    Args:
        tiles: the images; at least one.
        columns: tiles in a row.
        tile: (width, height) of a tile in pixels, without caption.
        captions: text below each tile; a line feed starts a new line.
        caption_lines: most lines of a caption; longer ones are cut.
        title: a line at the top.
        legend: drawn below the images.
    """
    gap = max(4, tile[0] // 60)
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    whole = columns * (tile[0] + gap) + gap, rows * (tile[1] + gap) + gap
    caption_height = 0
    # Larger text makes the sheet higher, and a higher sheet is reduced more.
    for _ in range(2):
        whole = whole[0], rows * (tile[1] + gap + caption_height) + gap
        font = font_of(round(readable_text(whole, tile[0])))
        texts = [_wrap(text, font, tile[0], caption_lines) for text in captions or ()]
        line_height = round(1.3 * font.size)
        caption_height = round(0.3 * font.size) + line_height * max(map(len, texts)) if texts else 0
    heading = font_of(round(max(_HEADING * reduction(whole), min(30.0, tile[0] / 16))))
    top = round(2 * heading.size) if title else gap
    step = tile[0] + gap, tile[1] + gap + caption_height
    below = _legend(legend, whole[0], round(_CAPTION * reduction(whole))) if legend else None
    bottom = top + rows * step[1]
    sheet = Pillow.new("RGB", (whole[0], bottom + (below.height if below else 0)), PAPER)
    pen = ImageDraw.Draw(sheet)
    if title:
        pen.text((gap, top / 2), _cut(title, heading, sheet.width - 2 * gap), INK, heading, anchor="lm")
    for i, image in enumerate(tiles):
        x, y = gap + i % columns * step[0], top + i // columns * step[1]
        size = fitting_size(image.size, tile)
        shown = image if size == image.size else image.convert("RGB").resize(size, Pillow.Resampling.LANCZOS)
        pen.rectangle((x, y, x + tile[0] - 1, y + tile[1] - 1), fill=(232, 232, 232))
        sheet.paste(shown, (x + (tile[0] - shown.width) // 2, y + (tile[1] - shown.height) // 2))
        for number, text in enumerate(texts[i] if texts else ()):
            middle = y + tile[1] + 0.15 * font.size + (number + 0.5) * line_height
            pen.text((x + 1, middle), text, INK, font, anchor="lm")
    if below:
        sheet.paste(below, (0, bottom))
    return sheet


def _legend(legend: Legend, width: int, size: int) -> Pillow.Image:
    """Return a legend, ``width`` pixels wide, with as many rows of entries as needed."""
    font, height = font_of(size), round(1.9 * size)
    pad = size // 2
    rows: list[list[tuple[int, Pillow.Image, str]]] = [[]]
    x = pad
    for entry in legend.entries:
        symbol = _symbol(entry, size)
        text = _cut(entry.text, font, width - symbol.width - 3 * pad)
        needed = symbol.width + round(font.getlength(text)) + (pad if text and symbol.width else 0)
        if rows[-1] and x + needed > width - pad:
            rows.append([])
            x = pad
        rows[-1].append((x, symbol, text))
        x += needed + 2 * pad
    strip = Pillow.new("RGB", (width, len(rows) * height + pad), _GROUND)
    pen = ImageDraw.Draw(strip)
    for number, row in enumerate(rows):
        middle = pad // 2 + number * height + height // 2
        for left, symbol, text in row:
            strip.paste(symbol, (left, middle - symbol.height // 2))
            pen.text((left + symbol.width + (pad if symbol.width else 0), middle), text, PAPER, font, anchor="lm")
    return strip


def _symbol(entry: LegendRow, size: int) -> Pillow.Image:
    """Return the symbol of an entry, drawn as in the images; empty for text only."""
    high = round(1.4 * size)
    wide = 0 if entry.box is None and not entry.points else round((1.4 if len(entry.points) < 2 else 4) * size)
    canvas = Pillow.new("RGB", (wide, high), _GROUND)
    if entry.skeleton is None:
        return canvas
    line = max(2.0, size / 4)
    style = Style(line=line, radius=0.3 * size, boxes=entry.box is not None)
    keypoints = np.zeros((1, entry.skeleton.num_keypoints, 3))
    places = np.linspace(high / 2, wide - high / 2, len(entry.points)) if len(entry.points) > 1 else [wide / 2]
    for (index, visibility), place in zip(entry.points.items(), places, strict=False):
        keypoints[0, index] = place, high / 2, visibility
    box = np.array([[line, line + 1, wide - line, high - line - 1]])
    colors = None if entry.box is None else [entry.box]
    return draw_instances(canvas, box, keypoints, entry.skeleton, box_colors=colors, style=style)


def _cut(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Return a text that fits: sentences keep their beginning, names their end too, where they differ."""
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        tail = 0 if " " in text else kept // 2
        shorter = f"{text[: kept - tail]}...{text[len(text) - tail :]}"
        if font.getlength(shorter) <= width:
            return shorter
    return "..."


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: float, most: int) -> list[str]:
    """Return a text as at most ``most`` lines, wrapped between words, the last one cut if too long."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    kept = [*lines[: most - 1], " ".join(lines[most - 1 :])] if len(lines) > most else lines
    return [_cut(line, font, width) for line in kept]
