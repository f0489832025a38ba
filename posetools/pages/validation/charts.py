"""Charts as inline SVG. Their colours are classes of the page's style sheet, so that they follow light and dark.

An outlier is a dot that links to its image in the page: ``links`` has the id of that place by split and row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from markupsafe import Markup

from posetools.core.geometry import Ints
from posetools.pages.validation.figures import CELLS, EDGE, Histogram
from posetools.pages.validation.outliers import Outlier

Links: TypeAlias = Mapping[tuple[str, int], str]

# In units of the charts' own coordinates, in which text has a height of 10.
_LEFT, _WIDTH, _HEIGHT, _FOOT = 44.0, 316.0, 120.0, 30.0
_LABELS = 9
_DOT = 4.0
# The page's style sheet has so many colours of splits, and levels of heat.
SPLIT_COLORS = 6
_LEVELS = 7


def bar(counts: Sequence[int]) -> Markup:
    """Return a bar of the counts that are not labelled, hidden, visible."""
    unlabelled, hidden, visible = counts
    total = max(1, sum(counts))
    text = f"{visible} visible, {hidden} hidden, {unlabelled} not labelled"
    parts, left = [], 0.0
    for kind, count in (("visible", visible), ("hidden", hidden), ("unlabelled", unlabelled)):
        width = 100 * count / total
        if count:
            parts.append(Markup('<rect class="{}" x="{:.2f}" width="{:.2f}" height="10"/>').format(kind, left, width))
        left += width
    return Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{0}">'
        "<title>{0}</title>{1}</svg>"
    ).format(text, Markup("").join(parts))


def histogram(chart: Histogram, links: Links) -> Markup:
    """Return bars side by side for the splits, each as a share of its split, with its outliers as links."""
    splits = list(chart.counts)
    shares = [np.array(chart.counts[split]) / max(1, sum(chart.counts[split])) for split in splits]
    tallest = max([0.0, *(float(each.max(initial=0)) for each in shares)]) or 1.0
    step = _WIDTH / max(1, len(chart.labels))
    width = 0.84 * step / max(1, len(splits))
    parts = [*_axes(chart, tallest)]
    for number, split in enumerate(splits):
        for at, (count, share) in enumerate(zip(chart.counts[split], shares[number].tolist(), strict=True)):
            if count:
                high = max(1.0, _HEIGHT * share / tallest)
                x = _LEFT + at * step + 0.08 * step + number * width
                title = f"{split}: {count} of {sum(chart.counts[split])} ({share:.1%}), {chart.ranges[at]}"
                parts.append(
                    Markup('<rect class="s{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">{}</rect>').format(
                        number % SPLIT_COLORS, x, _HEIGHT - high, width, high, _title(title)
                    )
                )
    parts += _dots(chart, step, links)
    return Markup('<svg class="histogram" viewBox="0 0 {:g} {:g}" role="{}" aria-label="{}">{}</svg>').format(
        _LEFT + _WIDTH, _HEIGHT + _FOOT, "group" if chart.outliers else "img", chart.title, Markup("").join(parts)
    )


def _axes(chart: Histogram, tallest: float) -> Iterator[Markup]:
    """Yield both axes, named: shares of a split up to the tallest bar, and the bins."""
    for share in (0.0, 0.5, 1.0):
        y = _HEIGHT * (1 - share)
        yield Markup('<line x1="{:g}" y1="{:.1f}" x2="{:g}" y2="{:.1f}"/>').format(_LEFT, y, _LEFT + _WIDTH, y)
        yield _text(_LEFT - 4, max(8.0, y + 3.5), "end", f"{tallest * share:.{0 if tallest > 0.1 else 1}%}")
    middle = _HEIGHT / 2
    yield Markup('<text x="9" y="{0:g}" text-anchor="middle" transform="rotate(-90 9 {0:g})">{1}</text>').format(
        middle, "share of objects"
    )
    step = _WIDTH / max(1, len(chart.labels))
    # A range begins at the left of its bars; a number is that of the bars above it.
    shift = 0.5 if chart.ranges and " to " not in chart.ranges[0] else 0.0
    for at in range(0, len(chart.labels), -(-len(chart.labels) // _LABELS)):
        anchor = "middle" if at or shift else "start"
        yield _text(_LEFT + (at + shift) * step, _HEIGHT + 12, anchor, chart.labels[at])
    yield _text(_LEFT + _WIDTH / 2, _HEIGHT + 26, "middle", chart.x)


def _dots(chart: Histogram, step: float, links: Links) -> Iterator[Markup]:
    """Yield the outliers, above each other where they are at one place."""
    places: dict[int, int] = {}
    for bins, outlier in chart.outliers:
        x = min(_LEFT + _WIDTH - _DOT, max(_LEFT + _DOT, _LEFT + bins * step))
        level = places[round(x / (2 * _DOT))] = places.get(round(x / (2 * _DOT)), -1) + 1
        yield _dot(outlier, x, _HEIGHT - 3 * _DOT - 2.5 * _DOT * level, _DOT, links)


def _dot(outlier: Outlier, x: float, y: float, radius: float, links: Links) -> Markup:
    return Markup(
        '<a href="#{}" aria-label="{}"><circle class="outlier" cx="{:.2f}" cy="{:.2f}" r="{:g}">{}</circle></a>'
    ).format(
        links[outlier.split, outlier.row],
        f"outlier: {outlier.text}",
        x,
        y,
        radius,
        _title(f"{outlier.split}: {outlier.text}; show its image"),
    )


def heat_map(counts: Ints, name: str, outliers: Sequence[Outlier], links: Links) -> Markup:
    """Return where a keypoint lies in its box: (CELLS, CELLS) counts as squares, darker where there are more."""
    inner = CELLS * EDGE / (1 + 2 * EDGE)
    dots = [_dot(each, _in_map(each.x), _in_map(each.y), 1.0, links) for each in outliers]
    return Markup(
        '<svg class="heat" viewBox="0 0 {0} {0}" role="{6}" aria-label="where {1} lies in its box: {2} points">'
        '{3}<rect class="box" x="{4:g}" y="{4:g}" width="{5:g}" height="{5:g}"/>{7}</svg>'
    ).format(
        CELLS,
        name,
        int(counts.sum()),
        heat_squares(counts),
        inner,
        CELLS - 2 * inner,
        "group" if dots else "img",
        Markup("").join(dots),
    )


def _in_map(share: float) -> float:
    """Return where in a heat map a share of the box is; at the edge where it is farther out."""
    return min(CELLS - 1.0, max(1.0, (share + EDGE) / (1 + 2 * EDGE) * CELLS))


def heat_squares(counts: Ints) -> Markup:
    """Return counts as squares of side 1, rows down, darker where there are more."""
    return Markup("").join(_heat(counts))


def _heat(counts: Ints) -> Iterator[Markup]:
    # By the square root: cells with few points, which may be mistakes, can still be seen.
    levels = np.ceil(np.sqrt(counts / max(1, int(counts.max(initial=0)))) * _LEVELS).astype(np.int64)
    for level in range(1, _LEVELS + 1):
        rows, columns = np.nonzero(levels == level)
        if len(rows):
            squares = "".join(f"M{x} {y}h1v1h-1z" for x, y in zip(columns.tolist(), rows.tolist(), strict=True))
            yield Markup('<path class="h{}" d="{}"/>').format(level, squares)


def _title(text: str) -> Markup:
    return Markup("<title>{}</title>").format(text)


def _text(x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)
