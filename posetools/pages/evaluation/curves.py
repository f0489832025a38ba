"""Which curves, bars and maps the page of an evaluation shows.

One pair has a colour for each threshold or each kind of scores; several pairs have a colour each, and what is compared
is one line of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

from posetools.core.geometry import Floats
from posetools.evaluation.calibration import Calibration
from posetools.evaluation.coco import RECALLS, Evaluation
from posetools.evaluation.diagnosis.diagnosis import Diagnosis
from posetools.evaluation.diagnosis.match import POINT_KINDS
from posetools.evaluation.diagnosis.mend import LABELS
from posetools.evaluation.report import DETECTED, LABELLED, Report
from posetools.evaluation.scoring import has_points
from posetools.evaluation.tables import short_names
from posetools.evaluation.thresholds import Curve
from posetools.pages.evaluation.cases import ShownCase, case_id
from posetools.pages.evaluation.charts import (
    Dot,
    Line,
    dot_chart,
    keypoint_bars,
    line_chart,
    offset_counts,
    offset_map,
    share_bar,
)
from posetools.pages.validation.charts import SPLIT_COLORS

# A point that is farther from its label than this share of the box's longer side is an outlier of its map, which links
# to so many of them. A chart of objects has so many dots at most, besides those that are links.
_FAR, _DOTS = 0.1, 3
_MOST_DOTS = 600


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of the page.

    Attributes:
        title: what it shows.
        svg: the chart.
        legend: style and name of each line.
        note: what to know of it.
    """

    title: str
    svg: Markup
    legend: tuple[tuple[str, str], ...] = field(default=())
    note: str = ""


def box_charts(reports: Sequence[Report]) -> tuple[Chart, ...]:
    """Return the charts of the detectors: precision and recall, thresholds, calibration."""
    names = short_names(reports)
    parts = [report.det for report in reports]
    return (
        _precision_recall("precision and recall of boxes", "IoU", [part.evaluation for part in parts], names),
        _sweep_chart([part.sweep.curve for part in parts], names),
        _calibration_chart("calibration of boxes", names, [part.calibration for part in parts]),
    )


def pose_charts(reports: Sequence[Report]) -> tuple[Chart, ...]:
    """Return the charts of the poses: precision and recall, calibration, visible against hidden."""
    names = short_names(reports)
    charts = []
    for boxes in reports[0].sides:
        parts = [report.sides[boxes] for report in reports]
        title = f"precision and recall of poses, {boxes}"
        charts.append(_precision_recall(title, "OKS", [part.evaluation for part in parts], names))
    charts.append(_visibility_chart(reports, names))
    objects = [report.detected.object_calibration for report in reports]
    keypoints = [report.labelled.keypoint_calibration for report in reports]
    charts.append(_calibration_chart(f"calibration of objects, {DETECTED}", names, objects))
    charts.append(_calibration_chart(f"calibration of keypoints, {LABELLED}", names, keypoints))
    return tuple(charts)


def keypoint_charts(report: Report) -> tuple[Chart, ...]:
    """Return a chart of PCK@0.1 of each keypoint for both kinds of boxes, and one of the kinds of its errors."""
    charts = []
    for boxes, part in report.sides.items():
        seen = [part.scores.points["visible"].by_keypoint, part.scores.points["hidden"].by_keypoint]
        values = {name: [each[name].pck[1] for each in seen] for name in report.truth.skeleton.names}
        title = f"PCK@0.1 of each keypoint, {boxes}"
        svg = keypoint_bars(values, ("visible", "hidden"), title=title, x="PCK@0.1: share of labeled points")
        charts.append(Chart(f"PCK@0.1, {boxes}", svg, (("s0", "visible"), ("s1", "hidden"))))
    return tuple(charts)


def kind_bars(report: Report) -> tuple[tuple[str, Markup], ...]:
    """Return a bar of what labelled points are, for both kinds of boxes."""
    return tuple((f"{boxes}: labelled points", _kinds(part.diagnosis)) for boxes, part in report.sides.items())


def keypoint_kinds(report: Report) -> tuple[tuple[str, tuple[Markup, ...]], ...]:
    """Return for each keypoint its bars of what labelled points are, one for each kind of boxes."""
    return tuple(
        (name, tuple(_kinds(part.diagnosis, name) for part in report.sides.values()))
        for name in report.truth.skeleton.names
    )


def offset_maps(report: Report, cases: Sequence[ShownCase]) -> tuple[tuple[str, Markup], ...]:
    """Return for each keypoint where its predictions on labelled boxes lie about their labels.

    Args:
        report: the evaluation.
        cases: those whose images are in the page: dots lead to them.
    """
    truth, part = report.truth, report.labelled
    counted = has_points(truth)
    longer = (truth.boxes[:, 2:] - truth.boxes[:, :2]).max(axis=1, initial=1e-9)
    offsets = (part.poses.points - truth.keypoints[:, :, :2]) / longer[:, None, None]
    labelled = (truth.keypoints[:, :, 2] > 0) & counted[:, None]
    shown = [(number, case.row) for number, case in enumerate(cases, start=1) if case.row >= 0]
    maps = []
    for k, name in enumerate(truth.skeleton.names):
        away = np.linalg.norm(offsets[:, k], axis=1)
        far = [(row, number) for number, row in shown if labelled[row, k] and away[row] > _FAR]
        dots = []
        for row, number in sorted(far, key=lambda each: -away[each[0]])[:_DOTS]:
            x, y = offsets[row, k].tolist()
            text = f"{name} of case {number}: {away[row]:.2f} of the box's longer side away"
            dots.append(Dot(x, y, text, case_id(number)))
        maps.append((name, offset_map(offset_counts(offsets[labelled[:, k], k]), name, dots)))
    return tuple(maps)


def object_chart(reports: Sequence[Report], cases: Sequence[ShownCase]) -> Chart:
    """Return a dot for each labelled object: the size of its box and its OKS on detected boxes.

    Args:
        reports: of the same labels.
        cases: those whose images are in the page: dots lead to them.
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
    svg = dot_chart(dots, ticks, title=title, x="box: square root of the area, in pixels", y="OKS")
    legend = [(f"s{color % SPLIT_COLORS}", name) for color, name in enumerate(names) if len(reports) > 1]
    linked = [("dot", "one of the worst cases: click it to see its image")] if numbers else []
    return Chart(title, svg, (*legend, *linked))


def _kinds(diagnosis: Diagnosis, keypoint: str | None = None) -> Markup:
    counts = diagnosis.counts if keypoint is None else diagnosis.by_keypoint[keypoint]
    total = max(1, sum(counts[kind] for kind in POINT_KINDS))
    return share_bar([(f"k-{kind}", LABELS[kind], counts[kind] / total) for kind in POINT_KINDS])


def _precision_recall(title: str, measure: str, found: Sequence[Evaluation], names: Sequence[str]) -> Chart:
    lines = []
    for i, (evaluation, name) in enumerate(zip(found, names, strict=True)):
        if len(found) > 1:
            lines.append(Line(name, i, RECALLS, _mean(evaluation.curves)))
            continue
        thresholds = evaluation.thresholds.round(2).tolist()
        for color, threshold in enumerate(each for each in (0.5, 0.75, 0.9) if each in thresholds):
            lines.append(
                Line(f"{measure} {threshold:g}", color, RECALLS, evaluation.curves[thresholds.index(threshold)])
            )
        lines.append(Line(f"mean of {measure} 0.50:0.95", 5, RECALLS, _mean(evaluation.curves), dashed=True))
    note = f"mean over {measure} 0.50:0.95" if len(found) > 1 else ""
    return _chart(title, lines, "recall", "precision", note=note)


def _sweep_chart(curves: Sequence[Curve], names: Sequence[str]) -> Chart:
    lines = []
    for i, (curve, name) in enumerate(zip(curves, names, strict=True)):
        if len(curves) > 1:
            lines.append(Line(name, i, curve.thresholds, curve.f1))
            continue
        every = {"precision": curve.precision, "recall": curve.recall, "F1": curve.f1}
        lines += [
            Line(what, color, *_thin(curve.thresholds, values)) for color, (what, values) in enumerate(every.items())
        ]
    y = "F1" if len(curves) > 1 else "share"
    return _chart("what a threshold of the boxes' score gives", lines, "score", y)


def _visibility_chart(reports: Sequence[Report], names: Sequence[str]) -> Chart:
    lines = []
    for i, (report, name) in enumerate(zip(reports, names, strict=True)):
        for other, found in report.labelled.visibility.overall.items():
            if found.curve is None:
                continue
            of = f"{name}, " if len(reports) > 1 else ""
            values = _thin(found.curve.recall, found.curve.precision)
            lines.append(Line(f"{of}against {other}", i, *values, dashed=other != "hidden"))
    note = "; ".join(dict.fromkeys(note for report in reports for note in report.labelled.visibility.notes()))
    return _chart("visible points by score, labelled boxes", lines, "recall", "precision", note=note)


def _calibration_chart(title: str, names: Sequence[str], found: Sequence[Calibration]) -> Chart:
    lines, notes = [], dict[str, None]()
    for color, (name, one) in enumerate(zip(names, found, strict=True)):
        bins = [each for each in one.bins if each.score is not None and each.right is not None]
        x = np.array([each.score for each in bins], dtype=np.float64)
        y = np.array([each.right for each in bins], dtype=np.float64)
        lines.append(Line(name, color, x, y, dots=True))
        notes[f"Right: {one.what}. {one.note}".strip()] = None
    return _chart(title, lines, "mean score", "share right", diagonal=True, note=" ".join(notes))


def _chart(title: str, lines: Sequence[Line], x: str, y: str, *, diagonal: bool = False, note: str = "") -> Chart:
    svg = line_chart(lines, title=title, x=x, y=y, diagonal=diagonal)
    legend = tuple((f"s{line.color % SPLIT_COLORS}", f"{line.name}{' (dashed)' * line.dashed}") for line in lines)
    return Chart(title, svg, legend if len(lines) > 1 else (), note)


def _mean(curves: Floats) -> Floats:
    mean: Floats = curves.mean(axis=0)
    return mean


def _thin(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Leave out what no screen shows: of thousands of points some hundreds are kept, at even distances."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), 400)).round().astype(np.int64))
    return x[kept], y[kept]
