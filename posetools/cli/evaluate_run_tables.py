"""What ``posetools eval --run`` prints: a whole that fits a screen; --json has every number, --report draws them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from posetools.cli.console import escape
from posetools.evaluation.metrics import Subset
from posetools.evaluation.run import PosePart, RunReport
from posetools.evaluation.tables import (
    DOUBT,
    TextTable,
    flip_tests,
    headline,
    number,
    short_names,
    why_boxes,
    why_poses,
)
from posetools.evaluation.verdict import evaluation_verdict


def print_reports(reports: Sequence[RunReport], out: Console) -> None:
    """Print the numbers of one pair with each keypoint and why AP is lost, or of several pairs side by side."""
    first = reports[0]
    for name, report in zip(short_names(reports), reports, strict=True):
        subject = report.subject
        if len(reports) > 1:
            out.print(f"[bold]{escape(name)}[/]: {escape(subject.name)}")
        out.print(f"detector {escape(subject.detector)}\npose estimator {escape(subject.estimator)}")
    counts = f"{len(first.truth.images):,} pictures, {len(first.truth):,} objects"
    out.print(f"on {escape(first.subject.split)} of {escape(first.subject.data)}: {counts}")
    for name, report in zip(short_names(reports), reports, strict=True):
        for remark in report.sentences:
            of = f"{name}: " if len(reports) > 1 else ""
            out.print(f"[yellow]{escape(of + remark)}[/]")
    out.print(f"[bold]{escape(evaluation_verdict(reports).sentence)}[/]")
    out.print(text_table(headline(reports)))
    if any(report.says_nothing(part) for report in reports for part in report.remarks):
        out.print(f"{DOUBT} This AP says nothing about the model; above stands why.")
    for flips in flip_tests(reports):
        out.print(text_table(flips))
    for report in reports if len(reports) == 1 else ():
        out.print(_per_keypoint(report.labelled))
        out.print(text_table(why_poses(report)))
        out.print(text_table(why_boxes(report)))
        for line in _sentences(report):
            out.print(line)
    if len(reports) > 1:
        out.print("`posetools eval --report FILE.html` shows keypoints, why AP is lost and the worst cases of each.")


def text_table(source: TextTable) -> Table:
    """Return a table for the terminal."""
    table = Table(title=escape(source.title), box=SIMPLE_HEAD, padding=(0, 0, 0, 1), show_edge=False)
    for place, name in enumerate(source.columns):
        table.add_column(escape(name), justify="right" if place else "left")
    for row in source.rows:
        table.add_row(*map(escape, row))
    return table


def _per_keypoint(part: PosePart) -> Table:
    table = Table(
        title="each keypoint on labelled boxes: PCK at 0.05 / 0.1 / 0.2",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        show_edge=False,
    )
    table.add_column("keypoint", no_wrap=True)
    for name in ("visible", "hidden", "NME", "pixels", "visible: P R"):
        table.add_column(name, justify="right")
    every = part.scores.points["labelled"].by_keypoint
    separations = part.visibility.by_keypoint["hidden"]
    for name, scores in every.items():
        best = separations[name].best
        seen = " ".join((_short(best.precision), _short(best.recall))) if best else "n/a"
        cells = (_shares(part, subset, name) for subset in _SEEN)
        table.add_row(escape(name), *cells, number(scores.nme), number(scores.error_px), seen)
    return table


_SEEN: tuple[Subset, ...] = ("visible", "hidden")


def _shares(part: PosePart, subset: Subset, keypoint: str) -> str:
    return " ".join(_short(share) for share in part.scores.points[subset].by_keypoint[keypoint].pck)


def _short(share: float | None) -> str:
    return "n/a" if share is None else f"{share:.2f}".removeprefix("0") if share < 0.995 else "1.0"


def _sentences(report: RunReport) -> list[str]:
    lines = []
    best = report.det.sweep.curve.best
    if best:
        false = best.false_alarms / max(1, len(report.truth.images))
        lines.append(
            f"Boxes: the best F1, {number(best.f1)}, is at score {best.threshold:.2f}: precision "
            f"{number(best.precision)}, recall {number(best.recall)}, {number(false)} false ones per picture."
        )
    errors = {
        "boxes": report.det.calibration.expected_error,
        "objects": report.detected.object_calibration.expected_error,
        "keypoints": report.labelled.keypoint_calibration.expected_error,
    }
    told = ", ".join(f"{what} {number(error)}" for what, error in errors.items())
    lines.append(f"Expected calibration error of scores: {told}.")
    lines.append("visible: P R: precision and recall of visible against hidden, by the score with the best F1.")
    lines.append("PCK@t: share of labelled points nearer than t times the longer side of the labelled box.")
    return lines
