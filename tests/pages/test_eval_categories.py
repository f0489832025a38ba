"""The page of ``eval --report`` with several categories: sections of each, and the worst cases of all."""

from __future__ import annotations

from pathlib import Path

from posetools.evaluation.categories import CategoriesReport
from posetools.pages.evaluation.page import write_report
from tests.evaluation.test_categories import CAR, CONE, SIGN, random_report, reports_of_street
from tests.pages.test_report import Page, check_links


def page_of(reports: list[CategoriesReport], folder: Path) -> Page:
    write_report(reports, folder / "eval.html")
    return Page(folder / "eval.html")


def test_each_category_has_its_sections_and_all_share_the_worst_cases(tmp_path: Path) -> None:
    report = random_report(tmp_path, (CAR, CONE, SIGN), 2)
    page = page_of([report], tmp_path)
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    check_links(page)
    for name, own in report.by_category.items():
        assert f"Metrics: {name}" in page.text
        assert f"{name} {len(own.truth)} {own.det.scores.ap:.3f}" in page.text
    assert (f"Each keypoint: {CONE.category.name}" in page.text, "Each keypoint: sign" in page.text) == (True, False)
    assert f"all {len(report.truth)} {report.det.scores.ap:.3f}" in page.text
    assert report.confusion is not None
    for row, counts in zip(report.confusion.rows, report.confusion.counts.tolist(), strict=True):
        assert f"{row} {' '.join(map(str, counts if row != 'background' else counts[:-1]))}" in page.text
    # One map for each keypoint of each category.
    assert len(page.of("svg", **{"class": "heat"})) == CAR.num_keypoints + CONE.num_keypoints
    assert "no cone is labeled here" in page.text
    assert len(page.of("li", **{"class": "item case pair"})) > 20


def test_several_pairs_stand_side_by_side_in_each_category(tmp_path: Path) -> None:
    first, second = reports_of_street(tmp_path)
    page = page_of([first, second], tmp_path)
    assert "all categories: AP, PCK, NME" in page.text
    assert f"boxes: AP 1.000* {second.det.scores.ap:.3f} ± {second.det.intervals['bbox']['AP'].half:.3f}*" in page.text
    assert "categories of boxes from score 0.3: two" in page.text
