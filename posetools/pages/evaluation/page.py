"""The values of the template, for one evaluation or for several side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, get_args

from posetools.core.verdict import Level
from posetools.evaluation import tables
from posetools.evaluation.categories import CategoriesReport
from posetools.evaluation.diagnosis.gains import ERROR_NAMES
from posetools.evaluation.diagnosis.match import POINT_KINDS
from posetools.evaluation.report import BOXES, POSES, Report
from posetools.evaluation.tables import DOUBT, TextTable, number
from posetools.evaluation.verdict import evaluation_verdict, verdicts_by_category
from posetools.pages.evaluation import charts
from posetools.pages.evaluation.cases import NUMBER, ShownCase, worst_cases
from posetools.pages.sealed import check_target, render_page, write_page
from posetools.progress import Progress, silent
from posetools.runtime.results import KPT_THR

# Cases right below the verdict: the worst of each of so many kinds of error.
FIRST_CASES = 6
_BEST_FIRST = get_args(Level)


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
    write_page(path, render(reports, _cases(reports, progress)))


def render(reports: Sequence[Report], cases: Sequence[ShownCase]) -> str:
    """Return the page."""
    first = reports[0]
    counts = Counter(kind for case in cases for kind in case.kinds)
    names = tables.short_names(reports) if len(reports) > 1 else (first.subject.name,)
    verdicts = verdicts_by_category(reports) or {"": evaluation_verdict(reports)}
    groups = _groups(reports)
    values = {
        "title": f"{', '.join(tables.short_names(reports))} on {first.subject.split}: evaluation",
        "totals": _totals(reports),
        "split": first.subject.split,
        "data": first.subject.data,
        "images": len(first.truth.images),
        "objects": len(first.truth),
        "skeleton": first.truth.categories.name,
        "doubt": tables.DOUBT
        if any(report.says_nothing(part) for report in reports for part in report.remarks)
        else "",
        "verdicts": verdicts,
        "level": max((verdict.level for verdict in verdicts.values()), key=_BEST_FIRST.index),
        "first": list(enumerate(cases, start=1))[:FIRST_CASES],
        "runs": list(zip(names, (report.sentences for report in reports), strict=True)),
        "overview": _overview(reports),
        "groups": [
            _group(name, f"-{at}" if name else "", own, names, cases) for at, (name, own) in enumerate(groups.items())
        ],
        "cases": cases,
        "case_kinds": [(kind, label, counts[kind]) for kind, label in ERROR_NAMES.items() if counts[kind]],
        "labels": ERROR_NAMES,
        "kpt_thr": KPT_THR,
    }
    return render_page("evaluation", values)


def _groups(reports: Sequence[Report]) -> dict[str, list[Report]]:
    """Return the reports of each category, by its name; those of one category without a name."""
    several = [report for report in reports if isinstance(report, CategoriesReport)]
    if not several:
        return {"": list(reports)}
    return {name: [report.by_category[name] for report in several] for name in several[0].by_category}


def _cases(reports: Sequence[Report], progress: Progress) -> tuple[ShownCase, ...]:
    """Return the worst cases, those of several categories in turns."""
    posed = {name: own for name, own in _groups(reports).items() if own[0].sides}
    each = [worst_cases(own, NUMBER // len(posed), progress, category=name) for name, own in posed.items()]
    return tuple(case for turn in zip_longest(*each) for case in turn if case is not None)


def _overview(reports: Sequence[Report]) -> list[TextTable]:
    """Return the tables of several categories: their metrics side by side, and their confusion."""
    several = [report for report in reports if isinstance(report, CategoriesReport)]
    if len(several) > 1:
        found = [replace(tables.headline(several), title="all categories: AP, PCK, NME")]
    else:
        found = [table(report) for report in several for table in (tables.boxes_by_category, tables.poses_by_category)]
    for name, report in zip(tables.short_names(reports), several, strict=False):
        if report.confusion:
            table, of = tables.confusions(report.confusion), f": {name}" if len(several) > 1 else ""
            found.append(replace(table, title=f"{table.title}{of}"))
    return [table for table in found if table.rows]


def _group(
    category: str, key: str, reports: Sequence[Report], names: Sequence[str], cases: Sequence[ShownCase]
) -> dict[str, Any]:
    """Return the values of the sections of one category; cases keep their numbers."""
    own = [case if case.category == category else replace(case, row=-1) for case in cases]
    diagnoses = [part.diagnosis for report in reports for part in report.sides.values()]
    posed = bool(reports[0].sides)
    return {
        "category": category,
        "key": key,
        "metrics": _metrics(reports),
        "intervals_from": tables.intervals_from(reports[0]),
        "linked": any(case.row >= 0 for case in own),
        "runs": [_run(name, report, own) for name, report in zip(names, reports, strict=True)],
        "sides": tuple(reports[0].sides),
        "kinds": [(kind, ERROR_NAMES[kind]) for kind in POINT_KINDS if any(each.counts[kind] for each in diagnoses)],
        "box_charts": charts.box_charts(reports),
        "pose_charts": (*charts.pose_charts(reports), charts.object_chart(reports, own)) if posed else (),
        "box_tables": (tables.thresholds(reports),),
        "flip_tables": tables.flip_tests(reports),
        "pose_tables": (tables.visible_points(reports), tables.calibrations(reports)),
    }


def _metrics(reports: Sequence[Report]) -> list[TextTable]:
    """Return the tables of metrics, of differences between several pairs, and of the images that would settle them."""
    compared = [tables.differences(reports)] if len(reports) > 1 else []
    found = [tables.headline(reports), *compared, tables.images_to_settle(reports), tables.by_size(reports)]
    return [table for table in found if table.rows]


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
    posed = bool(report.sides)
    return {
        "name": name,
        "shares": charts.kind_bars(report),
        "why": (*((tables.why_poses(report),) if posed else ()), tables.why_boxes(report)),
        "keypoint_charts": charts.keypoint_charts(report),
        "keypoint_kinds": charts.keypoint_kinds(report),
        "keypoint_tables": (
            *(tables.per_keypoint(part, boxes) for boxes, part in report.sides.items()),
            *(tables.errors_of_points(part, boxes) for boxes, part in report.sides.items()),
            *((tables.visible_keypoints(report),) if posed else ()),
        ),
        "offsets": charts.offset_maps(report, cases),
    }
