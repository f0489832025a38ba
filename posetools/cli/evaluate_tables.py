"""The tables of ``posetools eval``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from posetools.cli.console import escape
from posetools.cli.evaluate_run_tables import text_table
from posetools.evaluation.checkpoints import DetReport, Evaluated, PoseReport
from posetools.evaluation.metrics import PointScores
from posetools.evaluation.scoring import PoseScores
from posetools.evaluation.tables import flip_test

_SHARES = ("PCK@0.05", "PCK@0.1", "PCK@0.2")


def print_det(report: DetReport, out: Console) -> None:
    """Print COCO's box metrics."""
    out.print(_what(report.what))
    table = Table("boxes", "value", title="COCO box metrics")
    for name, value in report.scores.as_dict().items():
        table.add_row(name, _number(value))
    out.print(table)
    for remark in report.remarks:
        out.print(f"[yellow]{escape(remark.text)}[/]")


def print_pose(report: PoseReport, out: Console) -> None:
    """Print the numbers on labelled boxes, those on detected boxes beside them, then those per keypoint."""
    sides = [report.labelled] if report.detected is None else [report.labelled, report.detected]
    out.print(_what(report.what))
    if report.detector:
        out.print(f"detected boxes: {escape(report.detector)}")
    table = Table("keypoints", *("labelled boxes", "detected boxes")[: len(sides)], title="OKS, PCK, NME")
    columns = [_overall(side) for side in sides]
    for name in columns[0]:
        table.add_row(name, *(column[name] for column in columns))
    out.print(table)
    out.print(_per_keypoint(sides))
    if report.flip_test is not None:
        both = zip(sides, (report.flip_test.labelled, report.flip_test.detected), strict=False)
        named = zip(("labelled boxes", "detected boxes"), both, strict=False)
        out.print(text_table(flip_test({boxes: (own, other) for boxes, (own, other) in named if other})))
    for remark in report.remarks:
        out.print(f"[yellow]{escape(remark.text)}[/]")
    out.print("PCK@t: share of labelled points nearer than t times the longer side of the labelled box.")
    out.print("NME: mean distance over sqrt(width * height) of the labelled box.")
    if len(sides) > 1:
        out.print("Detected boxes: the points of an object without a box are wrong in PCK, and left out of NME.")


def _what(what: Evaluated) -> str:
    counts = f"{what.images} pictures, {what.objects} objects"
    return f"{escape(what.checkpoint)} on {what.split} of {escape(what.data)}: {counts}"


def _overall(side: PoseScores) -> dict[str, str]:
    rows = {f"OKS {name}": _number(value) for name, value in side.oks.as_dict().items()}
    for subset, scores in side.points.items():
        numbers = scores.overall.as_dict()
        counted = f"{scores.overall.points} {subset} points"
        if subset == "labelled":
            rows |= {f"{name}": _number(numbers[name]) for name in (*_SHARES, "NME")}
            rows[f"error in pixels, {counted}"] = _number(scores.overall.error_px)
        else:
            rows[f"PCK@0.1, {counted}"] = _number(numbers["PCK@0.1"])
    rows["objects without a box"] = f"{side.without_box}"
    return rows


def _per_keypoint(sides: Sequence[PoseScores]) -> Table:
    # Two numbers in each cell leave no room for the error in pixels on 80 columns; the JSON has it.
    columns = (*_SHARES, "NME") if len(sides) > 1 else (*_SHARES, "NME", "error_px")
    both = ": labelled / detected boxes" if len(sides) > 1 else ""
    table = Table(title=f"per keypoint{both}", box=SIMPLE_HEAD, padding=(0, 0, 0, 1), show_edge=False)
    table.add_column("keypoint", no_wrap=True)
    for name in ("points", *columns):
        table.add_column(name, justify="right")
    points: list[Mapping[str, PointScores]] = [side.points["labelled"].by_keypoint for side in sides]
    for name, scores in points[0].items():
        numbers = [side[name].as_dict() for side in points]
        cells = ("/".join(_number(side[column]) for side in numbers) for column in columns)
        table.add_row(escape(name), f"{scores.points}", *cells)
    return table


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"
