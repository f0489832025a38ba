"""Charts as inline SVG. Their colours are classes of the page's style sheet, so that they follow light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup

from posetools.geometry import Ints
from posetools.report.figures import CELLS, EDGE, Histogram

# In units of the charts' own coordinates, in which text has a height of 10.
_WIDTH, _HEIGHT, _FOOT = 360, 120, 16
_LABELS = 9
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


def histogram(chart: Histogram) -> Markup:
    """Return bars side by side for the splits, each as a share of its split."""
    splits = list(chart.counts)
    shares = [np.array(chart.counts[split]) / max(1, sum(chart.counts[split])) for split in splits]
    tallest = max([0.0, *(float(each.max(initial=0)) for each in shares)]) or 1.0
    step = _WIDTH / max(1, len(chart.labels))
    width = 0.84 * step / max(1, len(splits))
    parts = []
    for number, split in enumerate(splits):
        for at, (count, share) in enumerate(zip(chart.counts[split], shares[number].tolist(), strict=True)):
            if count:
                high = max(1.0, _HEIGHT * share / tallest)
                x = at * step + 0.08 * step + number * width
                title = f"{split}: {count} of {sum(chart.counts[split])} ({share:.1%}), {chart.ranges[at]}"
                parts.append(
                    Markup('<rect class="s{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">{}</rect>').format(
                        number % SPLIT_COLORS, x, _HEIGHT - high, width, high, _title(title)
                    )
                )
    every = -(-len(chart.labels) // _LABELS)
    # A range begins at the left of its bars; a number is that of the bars above it.
    middle = 0.5 if chart.ranges and " to " not in chart.ranges[0] else 0.0
    for at in range(0, len(chart.labels), every):
        x, anchor = (at + middle) * step, "middle" if at or middle else "start"
        parts.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
                x, _HEIGHT + 12, anchor, chart.labels[at]
            )
        )
    return Markup(
        '<svg class="histogram" viewBox="0 0 {0} {1}" role="img" aria-label="{2}">'
        '<line x1="0" y1="{3}" x2="{0}" y2="{3}"/>{4}</svg>'
    ).format(_WIDTH, _HEIGHT + _FOOT, chart.title, _HEIGHT, Markup("").join(parts))


def heat_map(counts: Ints, name: str) -> Markup:
    """Return where a keypoint lies in its box: (CELLS, CELLS) counts as squares, darker where there are more."""
    inner = CELLS * EDGE / (1 + 2 * EDGE)
    return Markup(
        '<svg class="heat" viewBox="0 0 {0} {0}" role="img" aria-label="where {1} lies in its box: {2} points">'
        '{3}<rect class="box" x="{4:g}" y="{4:g}" width="{5:g}" height="{5:g}"/></svg>'
    ).format(CELLS, name, int(counts.sum()), heat_squares(counts), inner, CELLS - 2 * inner)


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
