"""The tables of an evaluation, as text cells for the terminal and the HTML page.

When several pairs are compared, each has its own columns or rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Any

import numpy as np

from posetools.core.geometry import SIZE_CLASSES
from posetools.evaluation.bootstrap import RESAMPLES
from posetools.evaluation.categories import CategoriesReport
from posetools.evaluation.comparison import compare, images_needed
from posetools.evaluation.confusion import Confusion
from posetools.evaluation.diagnosis.gains import ERROR_NAMES, Gain
from posetools.evaluation.intervals import DIFFERENCES, FEW_GROUPS, LEVEL, Interval
from posetools.evaluation.metrics import PCK_THRESHOLDS, SUBSETS, Subset
from posetools.evaluation.report import BOXES, POSES, PosePart, Report
from posetools.evaluation.thresholds import OTHER_NAMES, Separation
from posetools.runtime.results import BBOX_THR

NOT_AVAILABLE = "n/a"
# Marks an AP that says nothing about the model; a remark says why.
DOUBT = "*"
# Marks a difference that the images settle.
SETTLED = "!"
PCK_NAMES = tuple(f"PCK@{threshold:g}" for threshold in PCK_THRESHOLDS)
SEEN_SUBSETS: tuple[Subset, ...] = ("visible", "hidden")
_AP_COLUMNS = ("AP", "AP50", "AP75", "AR")
_POSE_COLUMNS = ("AP", *PCK_NAMES, "NME")
# The row of the metrics of all categories.
ALL_CATEGORIES = "all"
# A kind of error with a smaller AP gain and no case is left out.
_LEAST_GAIN_SHOWN = 0.0005
# Confusions that are listed if their table is too wide.
_MOST_CONFUSED = 20


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table.

    Attributes:
        title: its title.
        columns: C names; the first column's cells are the names of the rows.
        rows: C cells each.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def number(value: float | None) -> str:
    """Return a number as text: three decimals, one from 10 on, ``n/a`` for None."""
    return NOT_AVAILABLE if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def with_interval(value: float | None, interval: Interval | None) -> str:
    """Return a metric as text with half the width of its interval, ``0.620 ± 0.040``; without one if it has none."""
    if value is None or interval is None:
        return number(value)
    return f"{number(value)} ± {interval.half:.3f}" if abs(value) < 10 else f"{number(value)} ± {interval.half:.1f}"


def _all_with_intervals(values: Mapping[str, Any], intervals: Mapping[str, Any]) -> dict[str, str]:
    return {name: with_interval(value, intervals.get(name)) for name, value in values.items()}


def intervals_from(report: Report) -> str:
    """Return what the intervals are, and what they were estimated from."""
    resamples = report.det.resamples
    kind = {"image": "images", "clip": "clips", "parent": "folders"}.get(resamples.kind, "groups of images")
    few = f"; fewer than {FEW_GROUPS} are few: the intervals are rough" if resamples.groups < FEW_GROUPS else ""
    return f"±: {LEVEL:.0%} interval, from {RESAMPLES:,} random selections of the {resamples.groups:,} {kind}{few}."


def differences(reports: Sequence[Report]) -> TextTable:
    """Return the differences of each two of several runs, with intervals; one that is settled has a mark."""
    names, pairs = short_names(reports), list(combinations(range(len(reports)), 2))
    found = [compare(reports[first], reports[second]) for first, second in pairs]
    rows = [(measure, *(_difference(each[measure].interval) for each in found)) for measure in found[0]]
    columns = tuple(f"{names[second]} - {names[first]}" for first, second in pairs)
    return TextTable(f"differences ({SETTLED} settled)", ("", *columns), tuple(rows))


def _difference(found: Interval | None) -> str:
    return (
        NOT_AVAILABLE if found is None else f"{found.value:+.3f} ± {found.half:.3f}{SETTLED if found.settled else ''}"
    )


def images_to_settle(reports: Sequence[Report]) -> TextTable:
    """Return how many images would settle differences of some sizes."""
    rows = [
        (measure, *(f"{each:,}" if each else NOT_AVAILABLE for each in numbers))
        for measure, numbers in images_needed(reports).items()
    ]
    return TextTable("images that settle a difference of", ("", *map(str, DIFFERENCES)), tuple(rows))


def by_size(reports: Sequence[Report]) -> TextTable:
    """Return AP and AR of objects of each size, for each pair."""
    rows = []
    for of, report in _prefixed(reports, ", "):
        parts = {BOXES: (report.det.metrics["bbox"], report.det.intervals["bbox"])}
        for boxes, part in report.sides.items():
            parts[f"{POSES}, {boxes}"] = part.metrics["OKS"], part.intervals["OKS"]
        for name, (values, found) in parts.items():
            for measure in ("AP", "AR"):
                columns = [f"{measure}{size[0]}" for size in SIZE_CLASSES]
                cells = (with_interval(values.get(column), found.get(column)) for column in columns)
                rows.append((f"{of}{name}: {measure}", *cells))
    return TextTable("AP and AR by size of the objects", ("", *SIZE_CLASSES), tuple(rows))


def short_names(reports: Sequence[Report]) -> tuple[str, ...]:
    """Return a name for each pair: the shortest unique end of its path."""
    paths = [report.subject.name.replace("\\", "/").rstrip("/").split("/") for report in reports]
    for depth in range(1, max(map(len, paths)) + 1):
        names = ["/".join(path[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return tuple(names)


def _prefixed(reports: Sequence[Report], mark: str) -> list[tuple[str, Report]]:
    """Return each report with a prefix for its rows: its name if there are several."""
    names = [f"{name}{mark}" for name in short_names(reports)] if len(reports) > 1 else [""]
    return list(zip(names, reports, strict=True))


def headline(reports: Sequence[Report]) -> TextTable:
    """Return the metrics of one pair by part, or of several pairs side by side."""
    parts = [_parts(report) for report in reports]
    if len(reports) == 1:
        (own,) = parts
        measures = dict.fromkeys(name for part in own.values() for name in part)
        rows = [(name, *(part.get(name, "") for part in own.values())) for name in measures]
        return TextTable("AP, PCK, NME", ("", *own), tuple(rows))
    rows = [
        (f"{part}: {name}", *(each[part][name] for each in parts)) for part, names in parts[0].items() for name in names
    ]
    return TextTable("AP, PCK, NME", ("", *short_names(reports)), tuple(rows))


def categories_and_all(report: CategoriesReport) -> Iterator[tuple[str, Report]]:
    """Yield the name and the report of each category, then those of all."""
    yield from report.by_category.items()
    yield ALL_CATEGORIES, report


def boxes_by_category(report: CategoriesReport) -> TextTable:
    """Return the box metrics of each category and of all."""
    rows = [
        (name, f"{len(own.truth):,}", *(_parts(own)[BOXES][measure] for measure in _AP_COLUMNS))
        for name, own in categories_and_all(report)
    ]
    return TextTable("boxes of each category", ("category", "objects", *_AP_COLUMNS), tuple(rows))


def poses_by_category(report: CategoriesReport) -> TextTable:
    """Return the metrics of poses of each category with keypoints and of all: a value for each kind of boxes."""
    rows = []
    for name, own in categories_and_all(report):
        parts = [_parts(own)[f"{POSES}, {boxes_are}"] for boxes_are in own.sides]
        if parts:
            rows.append((name, *("/".join(part[measure] for part in parts) for measure in _POSE_COLUMNS)))
    title = f"poses of each category: {' / '.join(report.sides)}"
    return TextTable(title, ("category", *_POSE_COLUMNS), tuple(rows))


def confusions(found: Confusion, width: int | None = None) -> TextTable:
    """Return the labeled categories by the detected ones; if that is wider, the most frequent confusions.

    Args:
        found: the counts.
        width: characters; None: any number.
    """
    columns = ("labeled \\ detected", *found.columns)
    rows = [(name, *map(str, counts)) for name, counts in zip(found.rows, found.counts.tolist(), strict=True)]
    title = f"categories of boxes from score {BBOX_THR:g}"
    if width is None or sum(1 + max(map(len, cells)) for cells in zip(columns, *rows, strict=True)) <= width:
        # No object is neither labeled nor detected.
        last = (*rows[-1][:-1], "")
        return TextTable(title, columns, (*rows[:-1], last))
    wrong = found.counts * (1 - np.eye(len(found.counts), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_CONFUSED]
    pairs = [divmod(at, len(wrong)) for at in order.tolist() if wrong.flat[at]]
    listed = [(found.rows[row], found.columns[column], str(wrong[row, column])) for row, column in pairs]
    return TextTable(f"{title}: most frequent confusions", ("labeled", "detected", "count"), tuple(listed))


def flip_tests(reports: Sequence[Report]) -> tuple[TextTable, ...]:
    """Return the gain of a flip test for each report that has one."""
    return tuple(_flip_test(report, of) for of, report in _prefixed(reports, "") if report.flipped)


def _flip_test(report: Report, name: str) -> TextTable:
    columns, cells = [""], {measure: [measure] for measure in (*_AP_COLUMNS, *PCK_NAMES, "NME")}
    for boxes, flipped in report.flipped_sides.items():
        columns += [boxes, "flip test", "gain"]
        both = (report.sides[boxes].scores, flipped.scores)
        without, having = ({**each.oks.as_dict(), **each.points["labelled"].overall.as_dict()} for each in both)
        for measure, row in cells.items():
            before, after = without[measure], having[measure]
            adds = NOT_AVAILABLE if before is None or after is None else f"{after - before:+.3f}"
            row += [number(before), number(after), adds]
    title = "gain of a flip test" + (f": {name}" if name else "")
    return TextTable(title, tuple(columns), tuple(map(tuple, cells.values())))


def per_keypoint(part: PosePart, boxes: str) -> TextTable:
    """Return PCK of visible and occluded points, NME and the error in pixels of each keypoint."""
    columns = ("keypoint", "points", *(f"{name[4:]} {subset}" for subset in SEEN_SUBSETS for name in PCK_NAMES))
    rows = []
    for name in part.truth.categories.names:
        cells = {subset: _of_keypoint(part, subset, name) for subset in SUBSETS}
        shares = [cells[subset][measure] for subset in SEEN_SUBSETS for measure in PCK_NAMES]
        own = cells["labelled"]
        rows.append((name, own["points"], *shares, own["NME"], own["error_px"]))
    return TextTable(f"each keypoint on {boxes}: PCK, NME, pixels", (*columns, "NME", "pixels"), tuple(rows))


def _of_keypoint(part: PosePart, subset: Subset, name: str) -> dict[str, str]:
    values, found = (each["points"][subset]["by_keypoint"][name] for each in (part.metrics, part.intervals))
    return {**_all_with_intervals(values, found), **{count: str(values[count]) for count in ("points", "missing")}}


def errors_of_points(part: PosePart, boxes: str) -> TextTable:
    """Return NME and the error in pixels of each keypoint, separately for visible and occluded points."""
    rows = []
    for name in part.truth.categories.names:
        of = [_of_keypoint(part, subset, name) for subset in SEEN_SUBSETS]
        cells = ([each[column] for column in ("points", "missing", "NME", "error_px")] for each in of)
        rows.append((name, *chain.from_iterable(cells)))
    names = tuple(
        f"{measure} {subset}" for subset in SEEN_SUBSETS for measure in ("points", "missing", "NME", "pixels")
    )
    return TextTable(f"each keypoint on {boxes}: visible and hidden points", ("keypoint", *names), tuple(rows))


def why_poses(report: Report) -> TextTable:
    """Return the AP that each kind of pose error costs, on both kinds of boxes."""
    sides = [part.diagnosis for part in report.sides.values()]
    kinds = [kind for kind in sides[0].gains if any(_costs(side.gains[kind], side.counts.get(kind)) for side in sides)]
    rows = [
        (ERROR_NAMES[kind], *(cell for side in sides for cell in (_count(side.counts, kind), _gain(side.gains[kind]))))
        for kind in kinds
    ]
    columns = ("error", *(name for boxes in report.sides for name in (boxes, "AP gain")))
    return TextTable("why AP of poses is lost", columns, tuple(rows))


def why_boxes(report: Report) -> TextTable:
    """Return the AP that each kind of box error costs."""
    found = report.det.diagnosis
    rows = [
        (ERROR_NAMES[kind], _count(found.counts, kind), _gain(gain))
        for kind, gain in found.gains.items()
        if _costs(gain, found.counts.get(kind))
    ]
    return TextTable("why AP of boxes is lost", ("error", "count", "AP gain"), tuple(rows))


def thresholds(reports: Sequence[Report]) -> TextTable:
    """Return precision, recall and F1 at box score thresholds, for each pair."""
    rows = []
    for of, report in _prefixed(reports, ": "):
        sweep = report.det.sweep
        for at, point in sweep.points().items():
            label = f"{of}{at}" if at == "best F1" else f"{of}score {at}"
            shares = (number(value) for value in (point.precision, point.recall, point.f1))
            per_image = number(point.false_alarms / max(sweep.images, 1))
            rows.append((label, number(point.threshold), *shares, per_image))
    columns = ("boxes from", "score", "precision", "recall", "F1", "false per image")
    return TextTable(f"box score thresholds (IoU {reports[0].det.sweep.iou:g})", columns, tuple(rows))


def visible_points(reports: Sequence[Report]) -> TextTable:
    """Return how well keypoint scores separate visible points from others, at the threshold with the best F1."""
    rows = [
        (f"{of}{boxes}: against {OTHER_NAMES[other]}", f"{found.visible:,} / {found.others:,}", *_separation(found))
        for of, report in _prefixed(reports, ", ")
        for boxes, part in report.sides.items()
        for other, found in part.visibility.overall.items()
    ]
    columns = ("visible, by score", "points", "threshold", "precision", "recall", "AP", "AP by chance")
    return TextTable("visible points by score", columns, tuple(rows))


def visible_keypoints(report: Report) -> TextTable:
    """Return precision and recall of "visible" for each keypoint on labeled boxes, against occluded points."""
    rows = [
        (name, str(found.visible), str(found.others), *_separation(found))
        for name, found in report.labeled.visibility.by_keypoint["hidden"].items()
    ]
    columns = ("keypoint", "visible", "hidden", "threshold", "precision", "recall", "AP", "AP by chance")
    return TextTable("visible against hidden points by score, each keypoint on labeled boxes", columns, tuple(rows))


def calibrations(reports: Sequence[Report]) -> TextTable:
    """Return how far scores are from the fractions that are right."""
    rows = []
    for of, report in _prefixed(reports, ", "):
        sides = report.sides.items()
        found = {"boxes": report.det.calibration}
        found |= {f"objects, {boxes}": part.object_calibration for boxes, part in sides}
        found |= {f"keypoints, {boxes}": part.keypoint_calibration for boxes, part in sides}
        for what, one in found.items():
            numbers = map(number, (one.expected_error, one.largest_error, one.bias))
            rows.append((f"{of}{what}", one.what, f"{one.count:,}", *numbers))
    columns = ("scores of", "right", "count", "expected error", "largest error", "bias")
    return TextTable("calibration of scores", columns, tuple(rows))


def _parts(report: Report) -> dict[str, dict[str, str]]:
    boxes = _all_with_intervals(report.det.metrics["bbox"], report.det.intervals["bbox"])
    parts = {BOXES: {name: boxes[name] for name in _AP_COLUMNS}}
    for boxes_are, part in report.sides.items():
        values, found = part.metrics, part.intervals
        oks = _all_with_intervals(values["OKS"], found["OKS"])
        points = {
            subset: _all_with_intervals(each["overall"], found["points"][subset]["overall"])
            for subset, each in values["points"].items()
        }
        cells = {name: oks[name] for name in _AP_COLUMNS}
        cells |= {name: points["labelled"][name] for name in PCK_NAMES}
        cells |= {f"PCK@0.1 {subset}": points[subset]["PCK@0.1"] for subset in SEEN_SUBSETS}
        cells |= {"NME": points["labelled"]["NME"], "error, pixels": points["labelled"]["error_px"]}
        parts[f"{POSES}, {boxes_are}"] = cells | {"objects without a box": str(part.scores.without_box)}
    for name_of_part in filter(report.says_nothing, parts):
        parts[name_of_part] |= {name: f"{parts[name_of_part][name]}{DOUBT}" for name in _AP_COLUMNS}
    return parts


def _separation(found: Separation) -> Iterator[str]:
    best = found.best
    at = (best.threshold, best.precision, best.recall) if best else (None, None, None)
    return map(number, (*at, found.average_precision, found.chance))


def _costs(gain: Gain, count: int | None) -> bool:
    return bool(count) or (gain.alone is not None and abs(gain.alone) >= _LEAST_GAIN_SHOWN)


def _count(counts: Mapping[str, int], kind: str) -> str:
    return f"{counts[kind]:,}" if kind in counts else ""


def _gain(gain: Gain) -> str:
    return NOT_AVAILABLE if gain.alone is None else f"{gain.alone:+.3f}"
