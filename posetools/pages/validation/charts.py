"""Charts of labels. An outlier is a dot that links to its image in the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from markupsafe import Markup

from posetools.core.geometry import Ints
from posetools.pages.charts import SPLIT_COLORS, Dot, bar, draw_dot, heat_squares, svg, tooltip, upwards, words
from posetools.pages.validation.figures import CELLS, EDGE, Histogram, Outlier

# The ids of places in the page by split and row.
Links: TypeAlias = Mapping[tuple[str, int], str]

_LEFT, _WIDTH, _HEIGHT, _FOOT = 44.0, 316.0, 120.0, 30.0
_LABELS = 9
_DOT = 4.0


def visibility_bar(counts: Sequence[int]) -> Markup:
    """Return a bar of the counts that are not labelled, hidden, visible."""
    unlabelled, hidden, visible = counts
    total = max(1, sum(counts))
    text = f"{visible} visible, {hidden} hidden, {unlabelled} not labelled"
    parts, left = [tooltip(text)], 0.0
    for kind, count in (("visible", visible), ("hidden", hidden), ("unlabelled", unlabelled)):
        width = 100 * count / total
        if count:
            parts.append(Markup('<rect class="{}" x="{:.2f}" width="{:.2f}" height="10"/>').format(kind, left, width))
        left += width
    return bar(text, parts)


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
                text = f"{split}: {count} of {sum(chart.counts[split])} ({share:.1%}), {chart.ranges[at]}"
                parts.append(
                    Markup('<rect class="s{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">{}</rect>').format(
                        number % SPLIT_COLORS, x, _HEIGHT - high, width, high, tooltip(text)
                    )
                )
    parts += _dots(chart, step, links)
    return svg("histogram", (_LEFT + _WIDTH, _HEIGHT + _FOOT), chart.title, parts, links=bool(chart.outliers))


def _axes(chart: Histogram, tallest: float) -> Iterator[Markup]:
    """Yield both axes, named: shares of a split up to the tallest bar, and the bins."""
    for share in (0.0, 0.5, 1.0):
        y = _HEIGHT * (1 - share)
        yield Markup('<line x1="{:g}" y1="{:.1f}" x2="{:g}" y2="{:.1f}"/>').format(_LEFT, y, _LEFT + _WIDTH, y)
        yield words(_LEFT - 4, max(8.0, y + 3.5), "end", f"{tallest * share:.{0 if tallest > 0.1 else 1}%}")
    yield upwards(_HEIGHT / 2, "share of objects")
    step = _WIDTH / max(1, len(chart.labels))
    # A range begins at the left of its bars; a number is that of the bars above it.
    shift = 0.5 if chart.ranges and " to " not in chart.ranges[0] else 0.0
    for at in range(0, len(chart.labels), -(-len(chart.labels) // _LABELS)):
        anchor = "middle" if at or shift else "start"
        yield words(_LEFT + (at + shift) * step, _HEIGHT + 12, anchor, chart.labels[at])
    yield words(_LEFT + _WIDTH / 2, _HEIGHT + 26, "middle", chart.x)


def _dots(chart: Histogram, step: float, links: Links) -> Iterator[Markup]:
    """Yield the outliers, above each other where they are at one place."""
    places: dict[int, int] = {}
    for bins, outlier in chart.outliers:
        x = min(_LEFT + _WIDTH - _DOT, max(_LEFT + _DOT, _LEFT + bins * step))
        level = places[round(x / (2 * _DOT))] = places.get(round(x / (2 * _DOT)), -1) + 1
        yield draw_dot(_dot(outlier, links), x, _HEIGHT - 3 * _DOT - 2.5 * _DOT * level, _DOT)


def _dot(outlier: Outlier, links: Links) -> Dot:
    text = f"{outlier.split}: {outlier.text}; show its image"
    link = links[outlier.split, outlier.row]
    return Dot(outlier.x, outlier.y, text, link, label=f"outlier: {outlier.text}")


def heat_map(counts: Ints, name: str, outliers: Sequence[Outlier], links: Links) -> Markup:
    """Return where a keypoint lies in its box: (CELLS, CELLS) counts as squares, darker where there are more."""
    inner = CELLS * EDGE / (1 + 2 * EDGE)
    box = Markup('<rect class="box" x="{0:g}" y="{0:g}" width="{1:g}" height="{1:g}"/>').format(
        inner, CELLS - 2 * inner
    )
    dots = [draw_dot(_dot(each, links), _in_map(each.x), _in_map(each.y), 1.0) for each in outliers]
    label = f"where {name} lies in its box: {int(counts.sum())} points"
    return svg("heat", (CELLS, CELLS), label, [heat_squares(counts), box, *dots], links=bool(dots))


def _in_map(share: float) -> float:
    """Return where in a heat map a share of the box is; at the edge where it is farther out."""
    return min(CELLS - 1.0, max(1.0, (share + EDGE) / (1 + 2 * EDGE) * CELLS))
