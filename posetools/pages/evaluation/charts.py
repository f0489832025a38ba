"""The curves, bars and maps of the evaluation page.

A single pair has a color for each threshold or kind of score; several pairs have one color and one line each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from posetools.core.geometry import Floats, Ints
from posetools.evaluation.calibration import Calibration
from posetools.evaluation.coco import RECALLS, Evaluation
from posetools.evaluation.diagnosis.diagnosis import Diagnosis
from posetools.evaluation.diagnosis.gains import ERROR_NAMES
from posetools.evaluation.diagnosis.match import POINT_KINDS
from posetools.evaluation.report import Report
from posetools.evaluation.scoring import has_points
from posetools.evaluation.tables import short_names
from posetools.evaluation.thresholds import ThresholdCurve
from posetools.pages.charts import SPLIT_COLORS, Dot, bar, draw_dot, heat_squares, svg, tooltip, upwards, words
from posetools.pages.evaluation.cases import ShownCase, case_id

_PLOT_WIDTH, _PLOT_HEIGHT = 340.0, 220.0
_LEFT_SPACE, _TOP, _RIGHT, _FOOT_SPACE = 34.0, 6.0, 8.0, 32.0
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SHARE_TICKS = tuple((tick, f"{tick:g}") for tick in _TICKS)
# Keypoint bars: total width, width of names, width of the numbers after the bars.
_BARS, _NAMES_WIDTH, _NUMBERS_WIDTH = 460.0, 150.0, 34.0
# Cells of an offset map per side, and its reach on each side, as a share of the box's longer side.
GRID = 25
REACH = 0.25
_RINGS = (0.05, 0.1, 0.2)


@dataclass(frozen=True, eq=False, slots=True)
class ChartLine:
    """One line of a chart.

    Attributes:
        name: its name.
        color: number of its color.
        x: (P,) 0 to 1.
        y: (P,) 0 to 1; a gap where it is not finite.
        dashed: draw it dashed.
        dots: draw the points too.
    """

    name: str
    color: int
    x: Floats
    y: Floats
    dashed: bool = False
    dots: bool = False


def line_chart(lines: Sequence[ChartLine], *, label: str, x: str, y: str, diagonal: bool = False) -> Markup:
    """Return lines in a square from 0 to 1 on both axes.

    Args:
        lines: the lines.
        label: the chart's accessible name.
        x: label of the x axis.
        y: label of the y axis.
        diagonal: draw the line where both are equal.
    """
    parts = [*_axes(x, y)]
    if diagonal:
        parts.append(_line("ideal", _across(0.0), _up(0.0), _across(1.0), _up(1.0)))
    for line in lines:
        parts += _drawn(line)
    return svg("curve", (_PLOT_WIDTH, _PLOT_HEIGHT), label, parts)


def dot_chart(dots: Sequence[Dot], ticks: Sequence[tuple[float, str]], *, label: str, x: str, y: str) -> Markup:
    """Return dots in a square from 0 to 1 on both axes; those with an image are links, drawn on top.

    Args:
        dots: the dots.
        ticks: positions and texts on the x axis.
        label: the chart's accessible name.
        x: label of the x axis.
        y: label of the y axis.
    """
    parts = [*_axes(x, y, ticks)]
    for dot in sorted(dots, key=lambda each: bool(each.link)):
        parts.append(draw_dot(dot, _across(dot.x), _up(dot.y), 3.5 if dot.link else 2.0))
    return svg("curve", (_PLOT_WIDTH, _PLOT_HEIGHT), label, parts, links=True)


def keypoint_bars(values: Mapping[str, Sequence[float | None]], names: Sequence[str], *, label: str, x: str) -> Markup:
    """Return one group of bars per keypoint, 0 to 1.

    Args:
        values: keypoint -> one value per series; None if there is nothing to show.
        names: of the series.
        label: the chart's accessible name.
        x: label of the x axis.
    """
    row = 10.0 * max(1, len(names)) + 8.0
    height = row * len(values) + 30.0
    left, width = _NAMES_WIDTH, _BARS - _NAMES_WIDTH - _NUMBERS_WIDTH
    parts = [_line("grid", left + width * tick, 0.0, left + width * tick, height - 28.0) for tick in _TICKS]
    parts += [words(left + width * tick, height - 17.0, "middle", f"{tick:g}") for tick in (0.0, 0.5, 1.0)]
    parts += [words(left + width / 2, height - 4.0, "middle", x), words(left - 6.0, height - 4.0, "end", "keypoint")]
    for number, (keypoint, shares) in enumerate(values.items()):
        top = number * row + 2.0
        short = keypoint if len(keypoint) <= 22 else f"{keypoint[:21]}…"
        parts.append(words(left - 6.0, top + row / 2, "end", short))
        for at, (name, share) in enumerate(zip(names, shares, strict=True)):
            if share is None:
                continue
            y = top + 10.0 * at
            parts.append(
                Markup(
                    '<rect class="s{}" x="{:g}" y="{:.1f}" width="{:.1f}" height="8"><title>{}</title></rect>'
                ).format(at % SPLIT_COLORS, left, y, max(0.5, width * share), f"{keypoint}, {name}: {share:.3f}")
            )
            parts.append(words(left + width * share + 3.0, y + 7.5, "start", f"{share:.2f}"))
    return svg("curve", (_BARS, height), label, parts)


def offset_counts(offsets: Floats) -> Ints:
    """Return (GRID, GRID) counts, rows down, of (P, 2) offsets in units of the box's longer side, without farther ones.

    Args:
        offsets: of predicted points from their labels; non-finite ones are left out.
    """
    known = offsets[np.isfinite(offsets).all(axis=1)]
    cells = np.floor((known + REACH) / (2 * REACH) * GRID).astype(np.int64)
    columns, rows = cells[((cells >= 0) & (cells < GRID)).all(axis=1)].T
    counts: Ints = np.bincount(rows * GRID + columns, minlength=GRID * GRID).reshape(GRID, GRID)
    return counts


def _offset_map(counts: Ints, name: str, dots: Sequence[Dot]) -> Markup:
    """Return a map of a keypoint's predictions relative to the label in the center; dots on top."""
    middle = GRID / 2
    rings = [
        Markup('<circle class="ring" cx="{0:g}" cy="{0:g}" r="{1:g}"/>').format(middle, share / REACH * middle)
        for share in _RINGS
    ]
    # Points beyond the map are drawn at its edge.
    far = [min(1.0, 0.96 * REACH / max(abs(dot.x), abs(dot.y), 1e-9)) for dot in dots]
    on_top = [
        draw_dot(dot, middle * (1 + near * dot.x / REACH), middle * (1 + near * dot.y / REACH), 1.0)
        for dot, near in zip(dots, far, strict=True)
    ]
    label = f"{name} relative to its label: {int(counts.sum())} points"
    return svg("heat", (GRID, GRID), label, [heat_squares(counts), *rings, *on_top], links=bool(dots))


def _axes(x: str, y: str, ticks: Sequence[tuple[float, str]] = _SHARE_TICKS) -> list[Markup]:
    parts = []
    for tick, text in _SHARE_TICKS:
        parts.append(_line("grid", _across(0.0), _up(tick), _across(1.0), _up(tick)))
        parts.append(words(_LEFT_SPACE - 4.0, _up(tick) + 3.5, "end", text))
    for tick, text in ticks:
        parts.append(_line("grid", _across(tick), _up(0.0), _across(tick), _up(1.0)))
        parts.append(words(_across(tick), _up(0.0) + 12.0, "middle", text))
    parts.append(words(_across(0.5), _PLOT_HEIGHT - 5.0, "middle", x))
    return [*parts, upwards(_up(0.5), y)]


def _drawn(line: ChartLine) -> list[Markup]:
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
    return _LEFT_SPACE + (_PLOT_WIDTH - _LEFT_SPACE - _RIGHT) * min(1.0, max(0.0, value))


def _up(value: float) -> float:
    return _PLOT_HEIGHT - _FOOT_SPACE - (_PLOT_HEIGHT - _FOOT_SPACE - _TOP) * min(1.0, max(0.0, value))


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(style, x1, y1, x2, y2)


# A point farther from its label than this share of the box's longer side is an outlier; each map links to so many. A
# chart of objects has at most so many dots without links.
_FAR_DOTS, _DOTS = 0.1, 3
_MOST_DOTS = 600


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of the page.

    Attributes:
        title: its title.
        svg: the chart.
        legend: style and name of each line.
        note: a remark.
    """

    title: str
    svg: Markup
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""


def box_charts(reports: Sequence[Report]) -> tuple[Chart, ...]:
    """Return the charts of the detectors: precision and recall, thresholds, calibration."""
    names = short_names(reports)
    return (
        _precision_recall("precision and recall of boxes", "IoU", [report.det.evaluation for report in reports], names),
        _sweep_chart([report.det.sweep.curve for report in reports], names),
        _calibration_chart("calibration of boxes", [report.det.calibration for report in reports], names),
    )


def pose_charts(reports: Sequence[Report]) -> tuple[Chart, ...]:
    """Return the charts of the poses: precision and recall, calibration, visible against occluded."""
    names = short_names(reports)
    charts = []
    for boxes in reports[0].sides:
        parts = [report.sides[boxes] for report in reports]
        title = f"precision and recall of poses, {boxes}"
        charts.append(_precision_recall(title, "OKS", [part.evaluation for part in parts], names))
    charts.append(_visibility_chart(reports, names))
    of_objects = [report.detected.object_calibration for report in reports]
    of_keypoints = [report.labeled.keypoint_calibration for report in reports]
    charts.append(_calibration_chart("calibration of objects, detected boxes", of_objects, names))
    charts.append(_calibration_chart("calibration of keypoints, labeled boxes", of_keypoints, names))
    return tuple(charts)


def keypoint_charts(report: Report) -> tuple[Chart, ...]:
    """Return a chart of PCK@0.1 of each keypoint for each kind of boxes."""
    charts = []
    for boxes, part in report.sides.items():
        seen = [part.scores.points["visible"].by_keypoint, part.scores.points["hidden"].by_keypoint]
        values = {name: [each[name].pck[1] for each in seen] for name in report.truth.skeleton.names}
        title = f"PCK@0.1 of each keypoint, {boxes}"
        svg = keypoint_bars(values, ("visible", "occluded"), label=title, x="PCK@0.1: share of labeled points")
        charts.append(Chart(f"PCK@0.1, {boxes}", svg, (("s0", "visible"), ("s1", "occluded"))))
    return tuple(charts)


def kind_bars(report: Report) -> tuple[tuple[str, Markup], ...]:
    """Return a bar of the errors of labeled points, for each kind of boxes."""
    return tuple((f"{boxes}: labeled points", _kinds(part.diagnosis)) for boxes, part in report.sides.items())


def keypoint_kinds(report: Report) -> tuple[tuple[str, tuple[Markup, ...]], ...]:
    """Return for each keypoint the bars of its errors, one for each kind of boxes."""
    return tuple(
        (name, tuple(_kinds(part.diagnosis, name) for part in report.sides.values()))
        for name in report.truth.skeleton.names
    )


def offset_maps(report: Report, cases: Sequence[ShownCase]) -> tuple[tuple[str, Markup], ...]:
    """Return for each keypoint a map of its predictions on labeled boxes, relative to the labels.

    Args:
        report: the evaluation.
        cases: the cases in the page, which dots link to.
    """
    truth, part = report.truth, report.labeled
    counted = has_points(truth)
    longer = (truth.boxes[:, 2:] - truth.boxes[:, :2]).max(axis=1, initial=1e-9)
    offsets = (part.poses.points - truth.keypoints[:, :, :2]) / longer[:, None, None]
    labeled = (truth.keypoints[:, :, 2] > 0) & counted[:, None]
    shown = [(number, case.row) for number, case in enumerate(cases, start=1) if case.row >= 0]
    maps = []
    for k, name in enumerate(truth.skeleton.names):
        away = np.linalg.norm(offsets[:, k], axis=1)
        far = [(row, number) for number, row in shown if labeled[row, k] and away[row] > _FAR_DOTS]
        dots = []
        for row, number in sorted(far, key=lambda each: -away[each[0]])[:_DOTS]:
            x, y = offsets[row, k].tolist()
            text = f"{name} of case {number}: off by {away[row]:.2f} of the box's longer side"
            dots.append(Dot(x, y, text, case_id(number)))
        maps.append((name, _offset_map(offset_counts(offsets[labeled[:, k], k]), name, dots)))
    return tuple(maps)


def object_chart(reports: Sequence[Report], cases: Sequence[ShownCase]) -> Chart:
    """Return a dot for each labeled object: the size of its box and its OKS on detected boxes.

    Args:
        reports: of the same labels.
        cases: the cases in the page, which dots link to.
    """
    truth, names = reports[0].truth, short_names(reports)
    sizes = np.log2(np.sqrt((truth.boxes[:, 2:] - truth.boxes[:, :2]).prod(axis=1)).clip(1.0))
    low, high = math.floor(sizes.min(initial=20.0)), math.ceil(sizes.max(initial=0.0) + 1e-9)
    low, high = (low, max(high, low + 1)) if len(truth) else (0, 1)
    numbers = {case.row: number for number, case in enumerate(cases, start=1) if case.row >= 0}
    dots = []
    for color, (name, report) in enumerate(zip(names, reports, strict=True)):
        every = report.detected.diagnosis.cases
        kept = set(np.linspace(0, len(every) - 1, min(len(every), _MOST_DOTS)).round().astype(int).tolist())
        for place, case in enumerate(every):
            number = numbers.get(case.row)
            if place in kept or number:
                image = truth.images[case.image].file_name
                text = f"{f'{name}: ' if len(reports) > 1 else ''}{image}: OKS {case.oks:.2f}"
                x = (float(sizes[case.row]) - low) / (high - low)
                dots.append(Dot(x, case.oks, text, case_id(number) if number else "", color))
    ticks = [((power - low) / (high - low), str(2**power)) for power in range(low, high + 1)]
    title = "each labeled object, detected boxes"
    svg = dot_chart(dots, ticks, label=title, x="box: square root of the area, in pixels", y="OKS")
    legend = [(f"s{color % SPLIT_COLORS}", name) for color, name in enumerate(names) if len(reports) > 1]
    linked = [("dot", "one of the worst cases: click to see its image")] if numbers else []
    return Chart(title, svg, (*legend, *linked))


def _kinds(diagnosis: Diagnosis, keypoint: str | None = None) -> Markup:
    counts = diagnosis.counts if keypoint is None else diagnosis.by_keypoint[keypoint]
    total = max(1, sum(counts[kind] for kind in POINT_KINDS))
    shares = {kind: counts[kind] / total for kind in POINT_KINDS if counts[kind]}
    parts, left = [], 0.0
    for kind, share in shares.items():
        rect = Markup('<rect class="k-{}" x="{:.2f}" width="{:.2f}" height="10">{}</rect>')
        parts.append(rect.format(kind, 100 * left, 100 * share, tooltip(f"{ERROR_NAMES[kind]}: {share:.1%}")))
        left += share
    return bar(", ".join(f"{ERROR_NAMES[kind]} {share:.0%}" for kind, share in shares.items()), parts)


def _precision_recall(title: str, measure: str, found: Sequence[Evaluation], names: Sequence[str]) -> Chart:
    lines = []
    for i, (evaluation, name) in enumerate(zip(found, names, strict=True)):
        if len(found) > 1:
            lines.append(ChartLine(name, i, RECALLS, evaluation.curves.mean(axis=0)))
            continue
        thresholds = evaluation.thresholds.round(2).tolist()
        for color, threshold in enumerate(each for each in (0.5, 0.75, 0.9) if each in thresholds):
            lines.append(
                ChartLine(f"{measure} {threshold:g}", color, RECALLS, evaluation.curves[thresholds.index(threshold)])
            )
        lines.append(ChartLine(f"mean of {measure} 0.50:0.95", 5, RECALLS, evaluation.curves.mean(axis=0), dashed=True))
    note = f"mean over {measure} 0.50:0.95" if len(found) > 1 else ""
    return _chart(title, lines, "recall", "precision", note=note)


def _sweep_chart(curves: Sequence[ThresholdCurve], names: Sequence[str]) -> Chart:
    lines = []
    for i, (curve, name) in enumerate(zip(curves, names, strict=True)):
        if len(curves) > 1:
            lines.append(ChartLine(name, i, curve.thresholds, curve.f1))
            continue
        every = {"precision": curve.precision, "recall": curve.recall, "F1": curve.f1}
        lines += [
            ChartLine(what, color, *_thin(curve.thresholds, values))
            for color, (what, values) in enumerate(every.items())
        ]
    y = "F1" if len(curves) > 1 else "share"
    return _chart("boxes by score threshold", lines, "score", y)


def _visibility_chart(reports: Sequence[Report], names: Sequence[str]) -> Chart:
    lines = []
    for i, (report, name) in enumerate(zip(reports, names, strict=True)):
        for other, found in report.labeled.visibility.overall.items():
            if found.curve is None:
                continue
            of = f"{name}, " if len(reports) > 1 else ""
            values = _thin(found.curve.recall, found.curve.precision)
            lines.append(ChartLine(f"{of}against {other}", i, *values, dashed=other != "hidden"))
    note = "; ".join(dict.fromkeys(note for report in reports for note in report.labeled.visibility.notes()))
    return _chart("visible points by score, labeled boxes", lines, "recall", "precision", note=note)


def _calibration_chart(title: str, found: Sequence[Calibration], names: Sequence[str]) -> Chart:
    lines, notes = [], dict[str, None]()
    for color, (name, one) in enumerate(zip(names, found, strict=True)):
        bins = [each for each in one.bins if each.score is not None and each.right is not None]
        x = np.array([each.score for each in bins], dtype=np.float64)
        y = np.array([each.right for each in bins], dtype=np.float64)
        lines.append(ChartLine(name, color, x, y, dots=True))
        notes[f"Correct: {one.what}. {one.note}".strip()] = None
    return _chart(title, lines, "mean score", "share correct", diagonal=True, note=" ".join(notes))


def _chart(title: str, lines: Sequence[ChartLine], x: str, y: str, *, diagonal: bool = False, note: str = "") -> Chart:
    svg = line_chart(lines, label=title, x=x, y=y, diagonal=diagonal)
    legend = tuple((f"s{line.color % SPLIT_COLORS}", f"{line.name}{' (dashed)' * line.dashed}") for line in lines)
    return Chart(title, svg, legend if len(lines) > 1 else (), note)


def _thin(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return some hundreds of thousands of points, evenly spaced: more than a screen can show."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), 400)).round().astype(np.int64))
    return x[kept], y[kept]
