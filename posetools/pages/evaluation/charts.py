"""The curves and bars of an evaluation as inline SVG, in the colours of the page's style sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from posetools.core.geometry import Floats, Ints
from posetools.pages.validation.charts import SPLIT_COLORS, heat_squares

# In units of the charts' own coordinates, in which text has a height of 10.
_WIDTH, _HEIGHT = 340.0, 220.0
_LEFT, _TOP, _RIGHT, _FOOT = 34.0, 6.0, 8.0, 32.0
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SHARES = tuple((tick, f"{tick:g}") for tick in _TICKS)
# Of the bars of keypoints: all, what their names take, and what the number after a bar does.
_BARS, _NAMES, _NUMBERS = 460.0, 150.0, 34.0
# Offsets are counted in so many cells across, which reach to this share of the box's longer side on both sides.
CELLS = 25
REACH = 0.25
_RINGS = (0.05, 0.1, 0.2)


@dataclass(frozen=True, eq=False, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        name: what it is.
        color: number of its colour.
        x: (P,) 0 to 1.
        y: (P,) 0 to 1; a gap where it is not finite.
        dashed: drawn so, to tell it from another of the colour.
        dots: draw the points as well.
    """

    name: str
    color: int
    x: Floats
    y: Floats
    dashed: bool = False
    dots: bool = False


def line_chart(lines: Sequence[Line], *, title: str, x: str, y: str, diagonal: bool = False) -> Markup:
    """Return lines in a square from 0 to 1 on both axes.

    Args:
        lines: what is drawn.
        title: what the chart shows, for who cannot see it.
        x: name of the axis.
        y: likewise.
        diagonal: draw the line on which both are equal.
    """
    parts = [*_axes(x, y)]
    if diagonal:
        parts.append(_line("ideal", _across(0.0), _up(0.0), _across(1.0), _up(1.0)))
    for line in lines:
        parts += _drawn(line)
    return _svg(_WIDTH, _HEIGHT, "img", title, parts)


@dataclass(frozen=True, slots=True)
class Dot:
    """One dot of a chart or map.

    Attributes:
        x: 0 to 1, or an offset.
        y: likewise.
        text: what it is.
        link: the id of its image in the page; empty for a dot without one.
        color: number of its colour, where it has no link.
    """

    x: float
    y: float
    text: str
    link: str = ""
    color: int = 0


def dot_chart(dots: Sequence[Dot], ticks: Sequence[tuple[float, str]], *, title: str, x: str, y: str) -> Markup:
    """Return dots in a square from 0 to 1 on both axes; those with an image are links and lie above the others.

    Args:
        dots: what is drawn.
        ticks: where the axis below has which text.
        title: what the chart shows, for who cannot see it.
        x: name of the axis.
        y: likewise.
    """
    parts = [*_axes(x, y, ticks)]
    for dot in sorted(dots, key=lambda each: bool(each.link)):
        parts.append(_dot(dot, _across(dot.x), _up(dot.y), 3.5 if dot.link else 2.0))
    return _svg(_WIDTH, _HEIGHT, "group", title, parts)


def _dot(dot: Dot, x: float, y: float, radius: float) -> Markup:
    style = "outlier" if dot.link else f"dot s{dot.color % SPLIT_COLORS}"
    circle = Markup('<circle class="{}" cx="{:.2f}" cy="{:.2f}" r="{:g}"><title>{}</title></circle>').format(
        style, x, y, radius, dot.text
    )
    return Markup('<a href="#{}" aria-label="{}">{}</a>').format(dot.link, dot.text, circle) if dot.link else circle


def share_bar(shares: Sequence[tuple[str, str, float]]) -> Markup:
    """Return a bar of parts that follow each other.

    Args:
        shares: style, text and share (0 to 1) of each part.
    """
    parts, left = [], 0.0
    for style, text, share in shares:
        if share > 0:
            parts.append(
                Markup('<rect class="{}" x="{:.2f}" width="{:.2f}" height="10"><title>{}</title></rect>').format(
                    style, 100 * left, 100 * share, f"{text}: {share:.1%}"
                )
            )
        left += share
    label = ", ".join(f"{text} {share:.0%}" for _, text, share in shares if share > 0)
    return Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(label, Markup("").join(parts))


def keypoint_bars(values: Mapping[str, Sequence[float | None]], names: Sequence[str], *, title: str, x: str) -> Markup:
    """Return one group of bars per keypoint, 0 to 1.

    Args:
        values: keypoint -> one value per series, None where there is nothing to show.
        names: of the series.
        title: what the chart shows.
        x: name of the axis below.
    """
    row = 10.0 * max(1, len(names)) + 8.0
    height = row * len(values) + 30.0
    left, width = _NAMES, _BARS - _NAMES - _NUMBERS
    parts = [_line("grid", left + width * tick, 0.0, left + width * tick, height - 28.0) for tick in _TICKS]
    parts += [_text(left + width * tick, height - 17.0, "middle", f"{tick:g}") for tick in (0.0, 0.5, 1.0)]
    parts += [_text(left + width / 2, height - 4.0, "middle", x), _text(left - 6.0, height - 4.0, "end", "keypoint")]
    for number, (keypoint, shares) in enumerate(values.items()):
        top = number * row + 2.0
        short = keypoint if len(keypoint) <= 22 else f"{keypoint[:21]}…"
        parts.append(_text(left - 6.0, top + row / 2, "end", short))
        for at, (name, share) in enumerate(zip(names, shares, strict=True)):
            if share is None:
                continue
            y = top + 10.0 * at
            parts.append(
                Markup(
                    '<rect class="s{}" x="{:g}" y="{:.1f}" width="{:.1f}" height="8"><title>{}</title></rect>'
                ).format(at % SPLIT_COLORS, left, y, max(0.5, width * share), f"{keypoint}, {name}: {share:.3f}")
            )
            parts.append(_text(left + width * share + 3.0, y + 7.5, "start", f"{share:.2f}"))
    return _svg(_BARS, height, "img", title, parts)


def offset_counts(offsets: Floats) -> Ints:
    """Return (CELLS, CELLS) counts, rows down, of (P, 2) offsets in the box's longer side; what is farther is left out.

    Args:
        offsets: of predicted points from their labels; those that are not finite are left out.
    """
    known = offsets[np.isfinite(offsets).all(axis=1)]
    cells = np.floor((known + REACH) / (2 * REACH) * CELLS).astype(np.int64)
    columns, rows = cells[((cells >= 0) & (cells < CELLS)).all(axis=1)].T
    counts: Ints = np.bincount(rows * CELLS + columns, minlength=CELLS * CELLS).reshape(CELLS, CELLS)
    return counts


def offset_map(counts: Ints, name: str, dots: Sequence[Dot]) -> Markup:
    """Return where predictions of a keypoint lie about their label, which is in the middle; dots lie on top."""
    middle = CELLS / 2
    rings = [
        Markup('<circle class="ring" cx="{0:g}" cy="{0:g}" r="{1:g}"/>').format(middle, share / REACH * middle)
        for share in _RINGS
    ]
    # What is farther than the map reaches lies at its edge, in its direction.
    far = [min(1.0, 0.96 * REACH / max(abs(dot.x), abs(dot.y), 1e-9)) for dot in dots]
    on_top = [
        _dot(dot, middle * (1 + near * dot.x / REACH), middle * (1 + near * dot.y / REACH), 1.0)
        for dot, near in zip(dots, far, strict=True)
    ]
    return Markup(
        '<svg class="heat" viewBox="0 0 {0} {0}" role="{5}" aria-label="{1} about its label: {2} points">{3}{4}</svg>'
    ).format(
        CELLS,
        name,
        int(counts.sum()),
        heat_squares(counts),
        Markup("").join((*rings, *on_top)),
        "group" if dots else "img",
    )


def _svg(width: float, height: float, role: str, title: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="curve" viewBox="0 0 {:g} {:g}" role="{}" aria-label="{}">{}</svg>').format(
        width, height, role, title, Markup("").join(parts)
    )


def _axes(x: str, y: str, ticks: Sequence[tuple[float, str]] = _SHARES) -> list[Markup]:
    parts = []
    for tick, text in _SHARES:
        parts.append(_line("grid", _across(0.0), _up(tick), _across(1.0), _up(tick)))
        parts.append(_text(_LEFT - 4.0, _up(tick) + 3.5, "end", text))
    for tick, text in ticks:
        parts.append(_line("grid", _across(tick), _up(0.0), _across(tick), _up(1.0)))
        parts.append(_text(_across(tick), _up(0.0) + 12.0, "middle", text))
    parts.append(_text(_across(0.5), _HEIGHT - 5.0, "middle", x))
    at = _up(0.5)
    parts.append(
        Markup('<text x="9" y="{0:g}" text-anchor="middle" transform="rotate(-90 9 {0:g})">{1}</text>').format(at, y)
    )
    return parts


def _drawn(line: Line) -> list[Markup]:
    style = f"line c{line.color % SPLIT_COLORS}{' dashed' if line.dashed else ''}"
    pieces, pen = [], "M"
    for across, up in zip(line.x.tolist(), line.y.tolist(), strict=True):
        if not (np.isfinite(across) and np.isfinite(up)):
            pen = "M"
            continue
        pieces.append(f"{pen}{_across(across):.1f} {_up(up):.1f}")
        pen = "L"
    parts = [Markup('<path class="{}" d="{}"><title>{}</title></path>').format(style, "".join(pieces), line.name)]
    if line.dots:
        parts += [
            Markup('<circle class="s{}" cx="{:.1f}" cy="{:.1f}" r="3"><title>{}</title></circle>').format(
                line.color % SPLIT_COLORS, _across(a), _up(b), f"{line.name}: {a:.2f}, {b:.2f}"
            )
            for a, b in zip(line.x.tolist(), line.y.tolist(), strict=True)
            if np.isfinite(a) and np.isfinite(b)
        ]
    return parts


def _across(value: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(1.0, max(0.0, value))


def _up(value: float) -> float:
    return _HEIGHT - _FOOT - (_HEIGHT - _FOOT - _TOP) * min(1.0, max(0.0, value))


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(style, x1, y1, x2, y2)


def _text(x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)
