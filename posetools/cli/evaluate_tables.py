"""Output of ``posetools eval``: a summary of a pair that fits a screen, or the metrics of a single model.

--json has all metrics of a pair, --report draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from posetools.cli.console import escape, table_of
from posetools.evaluation import tables
from posetools.evaluation.categories import CategoriesReport
from posetools.evaluation.report import PosePart, Report
from posetools.evaluation.scoring import PoseScores
from posetools.evaluation.tables import DOUBT, PCK_NAMES, SEEN_SUBSETS, number, short_names, with_interval
from posetools.evaluation.verdict import evaluation_verdict, verdicts_by_category

_PCK_IS = "PCK@t: fraction of labeled points within t times the longer side of the labeled box."


def print_reports(reports: Sequence[Report], out: Console) -> None:
    """Print one pair with its keypoints and the causes of lost AP, several pairs side by side, or a single model.

    With several categories it is one row or one table of each.
    """
    several = [report for report in reports if isinstance(report, CategoriesReport)]
    if len(several) > 1:
        _print_categories_of_pairs(several, out)
    elif several:
        _print_categories(several[0], out)
    elif reports[0].subject.stage == "det":
        _print_det(reports[0], out)
    elif reports[0].subject.stage == "pose":
        _print_pose(reports[0], out)
    else:
        _print_pairs(reports, out)


def _print_det(report: Report, out: Console) -> None:
    out.print(_what(report))
    found = report.det.intervals["bbox"]
    rows = [(name, with_interval(value, found[name])) for name, value in report.det.metrics["bbox"].items()]
    out.print(table_of(rows, "boxes", "value", title="COCO box metrics"))
    out.print(tables.intervals_from(report))
    _print_remarks(report, out)


def _print_pose(report: Report, out: Console) -> None:
    sides = [part.scores for part in report.sides.values()]
    out.print(_what(report))
    if report.subject.detector:
        out.print(f"detected boxes: {escape(report.subject.detector)}")
    columns = [_overall(side) for side in report.sides.values()]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    out.print(table_of(rows, "keypoints", *report.sides, title="OKS, PCK, NME"))
    out.print(tables.intervals_from(report))
    out.print(_shares_of_keypoints(sides))
    for flips in tables.flip_tests([report]):
        out.print(text_table(flips))
    _print_remarks(report, out)
    out.print(_PCK_IS)
    out.print("NME: mean distance over sqrt(width * height) of the labeled box.")
    if len(sides) > 1:
        out.print("Detected boxes: the points of an object without a box count as wrong in PCK and are not in NME.")


def _print_remarks(report: Report, out: Console, of: str = "") -> None:
    for sentence in report.sentences:
        out.print(f"[yellow]{escape(of + sentence)}[/]")


def _what(report: Report) -> str:
    subject, truth = report.subject, report.truth
    counts = f"{len(truth.images)} images, {len(truth)} objects"
    return f"{escape(subject.name)} on {subject.split} of {escape(subject.data)}: {counts}"


# The keys of the JSON file in the words of this output.
_SUBSETS = {"labelled": "labeled", "hidden": "occluded"}


def _overall(part: PosePart) -> dict[str, str]:
    values, found = part.metrics, part.intervals
    rows = {f"OKS {name}": with_interval(value, found["OKS"][name]) for name, value in values["OKS"].items()}
    for subset, scores in part.scores.points.items():
        numbers, own = values["points"][subset]["overall"], found["points"][subset]["overall"]
        counted = f"{scores.overall.points} {_SUBSETS.get(subset, subset)} points"
        if subset == "labelled":
            rows |= {name: with_interval(numbers[name], own[name]) for name in (*PCK_NAMES, "NME")}
            rows[f"error in pixels, {counted}"] = with_interval(numbers["error_px"], own["error_px"])
        else:
            rows[f"PCK@0.1, {counted}"] = with_interval(numbers["PCK@0.1"], own["PCK@0.1"])
    rows["objects without a box"] = str(part.scores.without_box)
    return rows


def _shares_of_keypoints(sides: Sequence[PoseScores]) -> Table:
    # With two values per cell, 80 columns have no room for the error in pixels; the JSON file has it.
    columns = (*PCK_NAMES, "NME") if len(sides) > 1 else (*PCK_NAMES, "NME", "error_px")
    both = ": labeled / detected boxes" if len(sides) > 1 else ""
    rows = []
    points = [side.points["labelled"].by_keypoint for side in sides]
    for name, scores in points[0].items():
        numbers = [side[name].as_dict() for side in points]
        cells = ("/".join(number(side[column]) for side in numbers) for column in columns)
        rows.append((name, str(scores.points), *cells))
    return _keypoint_table(rows, "points", *columns, title=f"per keypoint{both}")


def _print_pairs(reports: Sequence[Report], out: Console) -> None:
    _print_subjects(reports, out)
    out.print(f"[bold]{escape(evaluation_verdict(reports).sentence)}[/]")
    out.print(text_table(tables.headline(reports)))
    _print_intervals(reports, out)
    _print_doubt_and_flips(reports, out)
    for report in reports if len(reports) == 1 else ():
        if report.sides:
            out.print(_per_keypoint(report.labeled))
            out.print(text_table(tables.why_poses(report)))
        out.print(text_table(tables.why_boxes(report)))
        for line in _sentences(report):
            out.print(line)
    if len(reports) > 1:
        out.print("`posetools eval --report FILE.html` shows the keypoints, lost AP and worst cases of each pair.")


def _print_intervals(reports: Sequence[Report], out: Console) -> None:
    """Print what the intervals are, how the runs differ, and how many images would settle differences."""
    out.print(tables.intervals_from(reports[0]))
    if len(reports) > 1:
        out.print(text_table(tables.differences(reports)))
    needed = tables.images_to_settle(reports)
    if needed.rows:
        out.print(text_table(needed))


def _print_subjects(reports: Sequence[Report], out: Console) -> None:
    first = reports[0]
    for name, report in zip(short_names(reports), reports, strict=True):
        subject = report.subject
        if len(reports) > 1:
            out.print(f"[bold]{escape(name)}[/]: {escape(subject.name)}")
        out.print(f"detector {escape(subject.detector)}\npose estimator {escape(subject.estimator)}")
    counts = f"{len(first.truth.images):,} images, {len(first.truth):,} objects"
    out.print(f"on {escape(first.subject.split)} of {escape(first.subject.data)}: {counts}")
    for name, report in zip(short_names(reports), reports, strict=True):
        _print_remarks(report, out, f"{name}: " if len(reports) > 1 else "")


def _print_doubt_and_flips(reports: Sequence[Report], out: Console) -> None:
    if any(report.says_nothing(part) for report in reports for part in report.remarks):
        out.print(f"{DOUBT} This AP says nothing about the model; see the reason above.")
    for flips in tables.flip_tests(reports):
        out.print(text_table(flips))


def _print_categories(report: CategoriesReport, out: Console) -> None:
    stage = report.subject.stage
    if stage is None:
        _print_subjects([report], out)
    else:
        out.print(_what(report))
        if stage == "pose" and report.subject.detector:
            out.print(f"detected boxes: {escape(report.subject.detector)}")
        _print_remarks(report, out)
    if stage != "pose":
        out.print(text_table(tables.boxes_by_category(report)))
        out.print(tables.intervals_from(report))
    if stage != "det" and report.sides:
        out.print(text_table(tables.poses_by_category(report)))
        out.print(_PCK_IS)
    _print_doubt_and_flips([report], out)
    if report.confusion:
        out.print(text_table(tables.confusions(report.confusion, out.width)))
    if stage is None:
        _print_verdicts([report], out)


def _print_categories_of_pairs(reports: Sequence[CategoriesReport], out: Console) -> None:
    _print_subjects(reports, out)
    for several in zip(*map(tables.categories_and_all, reports), strict=True):
        own = [report for _, report in several]
        for table in (tables.headline(own), tables.differences(own)):
            out.print(text_table(replace(table, title=f"{several[0][0]}: {table.title}")))
    out.print(tables.intervals_from(reports[0]))
    _print_doubt_and_flips(reports, out)
    _print_verdicts(reports, out)


def _print_verdicts(reports: Sequence[CategoriesReport], out: Console) -> None:
    for name, found in verdicts_by_category(reports).items():
        out.print(f"[bold]{escape(name)}: {escape(found.sentence)}[/]")
    out.print("`posetools eval --report FILE.html` shows the keypoints, lost AP and worst cases of each category.")


def text_table(source: tables.TextTable) -> Table:
    """Return a table for the terminal."""
    return table_of(source.rows, *map(escape, source.columns), right=True, title=escape(source.title), frame=False)


def _keypoint_table(rows: Sequence[Sequence[str]], *columns: str, title: str) -> Table:
    table = table_of(rows, "keypoint", *columns, right=True, title=title, frame=False)
    table.columns[0].no_wrap = True
    return table


def _per_keypoint(part: PosePart) -> Table:
    rows = []
    every = part.scores.points["labelled"].by_keypoint
    separations = part.visibility.by_keypoint["hidden"]
    for name, scores in every.items():
        best = separations[name].best
        seen = " ".join((_short(best.precision), _short(best.recall))) if best else "n/a"
        of_subsets = (part.scores.points[subset].by_keypoint[name].pck for subset in SEEN_SUBSETS)
        cells = (" ".join(map(_short, shares)) for shares in of_subsets)
        rows.append((name, *cells, number(scores.nme), number(scores.error_px), seen))
    columns = ("visible", "occluded", "NME", "pixels", "visible: P R")
    return _keypoint_table(rows, *columns, title="each keypoint on labeled boxes: PCK at 0.05 / 0.1 / 0.2")


def _short(share: float | None) -> str:
    return "n/a" if share is None else f"{share:.2f}".removeprefix("0") if share < 0.995 else "1.0"


def _sentences(report: Report) -> list[str]:
    lines = []
    best = report.det.sweep.curve.best
    if best:
        false = best.false_alarms / max(1, len(report.truth.images))
        lines.append(
            f"Boxes: best F1 {number(best.f1)} at score {best.threshold:.2f}: precision {number(best.precision)}, "
            f"recall {number(best.recall)}, {number(false)} false positives per image."
        )
    errors = {
        "boxes": report.det.calibration.expected_error,
        "objects": report.detected.object_calibration.expected_error,
        "keypoints": report.labeled.keypoint_calibration.expected_error,
    }
    told = ", ".join(f"{what} {number(error)}" for what, error in errors.items())
    lines.append(f"Expected calibration error of scores: {told}.")
    lines.append("visible: P R: precision and recall of visible versus occluded, at the score with the best F1.")
    lines.append(_PCK_IS)
    return lines
