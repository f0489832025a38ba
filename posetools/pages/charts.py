"""Parts of the charts of all pages, as inline SVG.

Their colors are classes of the page's style sheet, so that they follow light and dark mode.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from posetools.core.geometry import Ints

# Number of split colors, and of heat levels, in the page's style sheet.
SPLIT_COLORS = 6
_LEVELS = 7


@dataclass(frozen=True, slots=True)
class Dot:
    """One dot of a chart or map.

    Attributes:
        x: in the chart's own unit.
        y: in the chart's own unit.
        text: its tooltip.
        link: the id of its image in the page; empty for a dot without one.
        color: number of its color, if it has no link.
        label: accessible name of the link; empty: as its text.
    """

    x: float
    y: float
    text: str
    link: str = ""
    color: int = 0
    label: str = ""


def draw_dot(dot: Dot, x: float, y: float, radius: float) -> Markup:
    """Return a dot at a place of the chart, as a link if it has one."""
    style = "outlier" if dot.link else f"dot s{dot.color % SPLIT_COLORS}"
    circle = Markup('<circle class="{}" cx="{:.2f}" cy="{:.2f}" r="{:g}">{}</circle>').format(
        style, x, y, radius, tooltip(dot.text)
    )
    link = Markup('<a href="#{}" aria-label="{}">{}</a>')
    return link.format(dot.link, dot.label or dot.text, circle) if dot.link else circle


def svg(style: str, size: tuple[float, float], label: str, parts: Iterable[Markup], *, links: bool = False) -> Markup:
    """Return a chart.

    Args:
        style: its class.
        size: width and height of its coordinates, in which text has a height of 10.
        label: its accessible name.
        parts: its content.
        links: whether the content has links.
    """
    return Markup('<svg class="{}" viewBox="0 0 {:g} {:g}" role="{}" aria-label="{}">{}</svg>').format(
        style, *size, "group" if links else "img", label, Markup("").join(parts)
    )


def bar(label: str, parts: Iterable[Markup]) -> Markup:
    """Return a bar, 100 x 10 units, stretched to the available width."""
    return Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(label, Markup("").join(parts))


def tooltip(text: str) -> Markup:
    """Return a tooltip."""
    return Markup("<title>{}</title>").format(text)


def words(x: float, y: float, anchor: str, text: str) -> Markup:
    """Return a text at a place; the anchor is ``start``, ``middle`` or ``end``."""
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def upwards(y: float, text: str) -> Markup:
    """Return the label of the left axis, centered at ``y``."""
    return Markup('<text x="9" y="{0:g}" text-anchor="middle" transform="rotate(-90 9 {0:g})">{1}</text>').format(
        y, text
    )


def heat_squares(counts: Ints) -> Markup:
    """Return counts as squares of side 1, rows down, darker for larger counts."""
    # Square root: cells with few points, which may be mistakes, stay visible.
    levels = np.ceil(np.sqrt(counts / max(1, int(counts.max(initial=0)))) * _LEVELS).astype(np.int64)
    paths = []
    for level in range(1, _LEVELS + 1):
        rows, columns = np.nonzero(levels == level)
        if len(rows):
            squares = "".join(f"M{x} {y}h1v1h-1z" for x, y in zip(columns.tolist(), rows.tolist(), strict=True))
            paths.append(Markup('<path class="h{}" d="{}"/>').format(level, squares))
    return Markup("").join(paths)
