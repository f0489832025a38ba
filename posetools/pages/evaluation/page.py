"""The page itself: what the template shows of one evaluation, or of several side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from posetools.evaluation.diagnosis.match import POINT_KINDS
from posetools.evaluation.diagnosis.mend import LABELS
from posetools.evaluation.report import BOXES, POSES, Report
from posetools.evaluation.tables import (
    DOUBT,
    calibrations,
    errors_of_points,
    flip_tests,
    headline,
    number,
    per_keypoint,
    short_names,
    thresholds,
    visible_keypoints,
    visible_points,
    why_boxes,
    why_poses,
)
from posetools.evaluation.verdict import evaluation_verdict
from posetools.pages.evaluation import curves
from posetools.pages.evaluation.cases import ShownCase, worst_cases
from posetools.pages.sealed import check_target, render_page, write_page
from posetools.progress import Progress, silent
from posetools.runtime.results import KPT_THR

# So many cases are shown right below the verdict: the worst of each of so many kinds of error.
FIRST = 6


def write_report(reports: Sequence[Report], path: Path, progress: Progress = silent) -> None:
    """Write evaluations on the same labels as one HTML page, atomically; the same numbers give the same bytes.

    Args:
        reports: at least one.
        path: the page; it ends with ``.html``.
        progress: told how many cases are drawn.

    Raises:
        RequestError: ``path`` is no name for a page.
        OutputError: the page cannot be written.
    """
    check_target(path)
    write_page(path, render(reports, worst_cases(reports, progress=progress)))


def render(reports: Sequence[Report], cases: Sequence[ShownCase]) -> str:
    """Return the page."""
    first = reports[0]
    counts = Counter(kind for case in cases for kind in case.kinds)
    kinds = [kind for kind in LABELS if counts[kind]]
    values = {
        "title": f"{', '.join(short_names(reports))} on {first.subject.split}: evaluation",
        "totals": _totals(reports),
        "split": first.subject.split,
        "data": first.subject.data,
        "images": len(first.truth.images),
        "objects": len(first.truth),
        "skeleton": first.truth.skeleton.name,
        "headline": headline(reports),
        "doubt": DOUBT if any(report.says_nothing(part) for report in reports for part in report.remarks) else "",
        "verdict": evaluation_verdict(reports),
        "first": list(enumerate(cases, start=1))[:FIRST],
        "linked": any(case.row >= 0 for case in cases),
        "runs": [_run(name, report, cases) for name, report in zip(_names(reports), reports, strict=True)],
        "sides": tuple(first.sides),
        "kinds": [(kind, LABELS[kind]) for kind in _seen(reports)],
        "box_charts": curves.box_charts(reports),
        "pose_charts": (*curves.pose_charts(reports), curves.object_chart(reports, cases)),
        "box_tables": (thresholds(reports),),
        "flip_tables": flip_tests(reports),
        "pose_tables": (visible_points(reports), calibrations(reports)),
        "cases": cases,
        "case_kinds": [(kind, LABELS[kind], counts[kind]) for kind in kinds],
        "labels": LABELS,
        "kpt_thr": KPT_THR,
    }
    return render_page("posetools.pages.evaluation", values, styles=["posetools.pages.validation"])


def _seen(reports: Sequence[Report]) -> list[str]:
    diagnoses = [part.diagnosis for report in reports for part in report.sides.values()]
    return [kind for kind in POINT_KINDS if any(diagnosis.counts[kind] for diagnosis in diagnoses)]


def _names(reports: Sequence[Report]) -> tuple[str, ...]:
    return short_names(reports) if len(reports) > 1 else (reports[0].subject.name,)


def _totals(reports: Sequence[Report]) -> list[tuple[str, str]]:
    """Return the numbers above all of one pair; several stand side by side in a table at once."""
    if len(reports) > 1:
        return []
    report = reports[0]
    parts = {"box AP": (BOXES, report.det.scores.ap)}
    for boxes, part in report.sides.items():
        parts[f"pose AP on {boxes}"] = (f"{POSES}, {boxes}", part.scores.oks.ap)
    totals = [
        (f"{number(ap)}{DOUBT if report.says_nothing(of_part) else ''}", what) for what, (of_part, ap) in parts.items()
    ]
    visible = report.labelled.scores.points["visible"].overall.pck[1]
    return [*totals, (number(visible), "PCK@0.1 of visible points, labelled boxes")]


def _run(name: str, report: Report, cases: Sequence[ShownCase]) -> dict[str, Any]:
    """Return what the page shows of one pair alone."""
    sides = report.sides.items()
    return {
        "name": name,
        "remarks": report.sentences,
        "shares": curves.kind_bars(report),
        "why": (why_poses(report), why_boxes(report)),
        "keypoint_charts": curves.keypoint_charts(report),
        "keypoint_kinds": curves.keypoint_kinds(report),
        "keypoint_tables": (
            *(per_keypoint(part, boxes) for boxes, part in sides),
            *(errors_of_points(part, boxes) for boxes, part in sides),
            visible_keypoints(report),
        ),
        "offsets": curves.offset_maps(report, cases),
    }
