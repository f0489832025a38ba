"""The values of the template, for one evaluation or for several side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from posetools.evaluation import tables
from posetools.evaluation.diagnosis.gains import ERROR_NAMES
from posetools.evaluation.diagnosis.match import POINT_KINDS
from posetools.evaluation.report import BOXES, POSES, Report
from posetools.evaluation.tables import DOUBT, number
from posetools.evaluation.verdict import evaluation_verdict
from posetools.pages.evaluation import charts
from posetools.pages.evaluation.cases import ShownCase, worst_cases
from posetools.pages.sealed import check_target, render_page, write_page
from posetools.progress import Progress, silent
from posetools.runtime.results import KPT_THR

# Cases right below the verdict: the worst of each of so many kinds of error.
FIRST_CASES = 6


def write_report(reports: Sequence[Report], path: Path, progress: Progress = silent) -> None:
    """Write evaluations on the same labels as one HTML page, atomically; the same numbers give the same bytes.

    Args:
        reports: at least one.
        path: the page; it ends with ``.html``.
        progress: receives progress.

    Raises:
        RequestError: ``path`` is not an HTML file name.
        OutputError: the page cannot be written.
    """
    check_target(path)
    write_page(path, render(reports, worst_cases(reports, progress=progress)))


def render(reports: Sequence[Report], cases: Sequence[ShownCase]) -> str:
    """Return the page."""
    first = reports[0]
    counts = Counter(kind for case in cases for kind in case.kinds)
    names = tables.short_names(reports) if len(reports) > 1 else (first.subject.name,)
    diagnoses = [part.diagnosis for report in reports for part in report.sides.values()]
    values = {
        "title": f"{', '.join(tables.short_names(reports))} on {first.subject.split}: evaluation",
        "totals": _totals(reports),
        "split": first.subject.split,
        "data": first.subject.data,
        "images": len(first.truth.images),
        "objects": len(first.truth),
        "skeleton": first.truth.skeleton.name,
        "headline": tables.headline(reports),
        "doubt": tables.DOUBT
        if any(report.says_nothing(part) for report in reports for part in report.remarks)
        else "",
        "verdict": evaluation_verdict(reports),
        "first": list(enumerate(cases, start=1))[:FIRST_CASES],
        "linked": any(case.row >= 0 for case in cases),
        "runs": [_run(name, report, cases) for name, report in zip(names, reports, strict=True)],
        "sides": tuple(first.sides),
        "kinds": [(kind, ERROR_NAMES[kind]) for kind in POINT_KINDS if any(each.counts[kind] for each in diagnoses)],
        "box_charts": charts.box_charts(reports),
        "pose_charts": (*charts.pose_charts(reports), charts.object_chart(reports, cases)),
        "box_tables": (tables.thresholds(reports),),
        "flip_tables": tables.flip_tests(reports),
        "pose_tables": (tables.visible_points(reports), tables.calibrations(reports)),
        "cases": cases,
        "case_kinds": [(kind, label, counts[kind]) for kind, label in ERROR_NAMES.items() if counts[kind]],
        "labels": ERROR_NAMES,
        "kpt_thr": KPT_THR,
    }
    return render_page("evaluation", values)


def _totals(reports: Sequence[Report]) -> list[tuple[str, str]]:
    """Return the numbers at the top for one pair; several pairs are compared in a table instead."""
    if len(reports) > 1:
        return []
    report = reports[0]
    parts = {"box AP": (BOXES, report.det.scores.ap)}
    for boxes, part in report.sides.items():
        parts[f"pose AP on {boxes}"] = (f"{POSES}, {boxes}", part.scores.oks.ap)
    totals = [
        (f"{number(ap)}{DOUBT if report.says_nothing(of_part) else ''}", what) for what, (of_part, ap) in parts.items()
    ]
    visible = report.labeled.scores.points["visible"].overall.pck[1]
    return [*totals, (number(visible), "PCK@0.1 of visible points, labeled boxes")]


def _run(name: str, report: Report, cases: Sequence[ShownCase]) -> dict[str, Any]:
    return {
        "name": name,
        "remarks": report.sentences,
        "shares": charts.kind_bars(report),
        "why": (tables.why_poses(report), tables.why_boxes(report)),
        "keypoint_charts": charts.keypoint_charts(report),
        "keypoint_kinds": charts.keypoint_kinds(report),
        "keypoint_tables": (
            *(tables.per_keypoint(part, boxes) for boxes, part in report.sides.items()),
            *(tables.errors_of_points(part, boxes) for boxes, part in report.sides.items()),
            tables.visible_keypoints(report),
        ),
        "offsets": charts.offset_maps(report, cases),
    }
