"""The page that ``eval --report`` writes: its contents, its drawings, and that no data can run in it."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image as Pillow

from posetools.core.dataset import Dataset, Image
from posetools.errors import RequestError
from posetools.evaluation.remarks import Remark
from posetools.evaluation.report import Report, Subject
from posetools.evaluation.run import measure
from posetools.evaluation.verdict import evaluation_verdict
from posetools.pages.charts import Dot
from posetools.pages.evaluation.cases import BACKGROUND, NUMBER, ShownCase, kinds_of, worst_cases
from posetools.pages.evaluation.charts import GRID, ChartLine, dot_chart, keypoint_bars, line_chart, offset_counts
from posetools.pages.evaluation.page import write_report
from posetools.synth.dataset import render_set
from tests.oracle import Oracle
from tests.pages.test_report import Page, check_links

HOSTILE = "<script>alert('1')</script>\"&"


@pytest.fixture(scope="module")
def cars(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return render_set(tmp_path_factory.mktemp("set") / "cars", images=12, size=(160, 120), seed=5)


def report_of(truth: Dataset, oracle: Oracle, name: str = "work_dirs/first") -> Report:
    return measure(Subject(name, "det.pth", "pose.pth", "data/cars", "val", 0.05), oracle, oracle, truth)


@pytest.fixture(scope="module")
def first(cars: Dataset) -> Report:
    return report_of(cars, Oracle(cars, blur=0.02, lost=frozenset({0, 4}), flipped=frozenset({2, 3}), ghosts=2))


@pytest.fixture(scope="module")
def second(cars: Dataset) -> Report:
    return report_of(cars, Oracle(cars, blur=0.08, lost=frozenset({1})), "work_dirs/second")


def page_of(reports: list[Report], folder: Path) -> Page:
    write_report(reports, folder / "eval.html")
    return Page(folder / "eval.html")


@pytest.fixture(scope="module")
def page(first: Report, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return page_of([first], tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def cases(first: Report) -> tuple[ShownCase, ...]:
    return worst_cases([first], 500)


def test_the_page_has_tables_curves_and_cases(first: Report, page: Page) -> None:
    assert "work_dirs/first" in page.text
    assert f"{len(first.truth.images)} images, {len(first.truth)} objects" in page.text
    charts = [svg["aria-label"] for svg in page.of("svg", **{"class": "curve"})]
    assert charts == [
        "precision and recall of boxes",
        "boxes by score threshold",
        "calibration of boxes",
        "precision and recall of poses, labeled boxes",
        "precision and recall of poses, detected boxes",
        "visible points by score, labeled boxes",
        "calibration of objects, detected boxes",
        "calibration of keypoints, labeled boxes",
        "each labeled object, detected boxes",
        "PCK@0.1 of each keypoint, labeled boxes",
        "PCK@0.1 of each keypoint, detected boxes",
    ]
    assert len(page.of("svg", **{"class": "heat"})) == 8
    # A bar of all points and one of each keypoint, for both kinds of boxes.
    assert len(page.of("svg", **{"class": "bar"})) == 2 + 2 * 8
    for name in ("why AP of poses is lost", "why AP of boxes is lost", "calibration of scores", "AP, PCK, NME"):
        assert name in page.text
    for word in ("left/right inversion", "no box", "background prediction"):
        assert word in page.text
    shown = page.of("li", **{"class": "item case pair"})
    assert 4 < len(shown) <= NUMBER
    assert len(page.of("img", decoding="async")) == 2 * len(shown)
    assert [each["value"] for each in page.of("input", name="kind")] == [
        kind
        for kind in first.detected.diagnosis.counts
        if any(kind in (each["data-kinds"] or "").split() for each in shown)
    ]


def test_the_numbers_are_those_of_the_evaluation(first: Report, page: Page) -> None:
    assert f"{first.det.scores.ap:.3f} box AP" in page.text
    assert f"{first.labeled.scores.oks.ap:.3f} pose AP on labeled boxes" in page.text
    assert f"{first.detected.scores.oks.ap:.3f} pose AP on detected boxes" in page.text
    lost = first.detected.diagnosis.gains["no_box"].alone
    assert lost is not None
    assert f"{lost:+.3f}" in page.text


def test_the_same_numbers_give_the_same_bytes(first: Report, page: Page, tmp_path: Path) -> None:
    assert page_of([first], tmp_path).source == page.source


def test_several_pairs_stand_side_by_side(first: Report, second: Report, tmp_path: Path) -> None:
    page = page_of([first, second], tmp_path)
    aps = [f"{report.det.scores.ap:.3f} ± {report.det.intervals['bbox']['AP'].half:.3f}" for report in (first, second)]
    assert f"first second boxes: AP {' '.join(aps)} boxes: AP50" in page.text
    assert evaluation_verdict([first, second]).sentence in page.text
    assert "images that settle a difference of 0.01 0.02 0.03 0.05" in page.text.lower()
    shown = page.of("li", **{"class": "item case whole"})
    assert len(page.of("img", decoding="async")) == 3 * len(shown) > 0
    assert len(page.of("svg", **{"class": "heat"})) == 2 * 8


def test_hostile_names_are_text(cars: Dataset, tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "_")
    path = tmp_path / f"{name}.jpg"
    path.write_bytes((cars.images[0].path or Path()).read_bytes())
    images = [Image(f"{name}.jpg", *cars.images[0].size, path=path), *cars.images[1:]]
    point = cars.skeleton.keypoints[0].name
    truth = cars.with_images(images)
    report = report_of(truth, Oracle(truth, blur=0.05, lost=frozenset(range(0, len(truth), 2)), ghosts=1), HOSTILE)
    report = replace(report, remarks={**report.remarks, "boxes": (Remark("any", f"{HOSTILE} and so on"),)})
    page = page_of([report], tmp_path)
    assert len(page.of("script")) == 1
    assert HOSTILE in page.text
    assert f"{name}.jpg" in page.text
    assert f"{HOSTILE} and so on" in page.text
    assert "<script>alert" not in page.source
    assert "alert" not in {key for _, attributes in page.elements for key in attributes}
    hostile = str(line_chart([ChartLine(HOSTILE, 0, np.zeros(2), np.ones(2))], label=HOSTILE, x=HOSTILE, y=HOSTILE))
    hostile += str(keypoint_bars({HOSTILE: [0.5]}, [HOSTILE], label=HOSTILE, x=HOSTILE))
    hostile += str(dot_chart([Dot(0.5, 0.5, HOSTILE, HOSTILE)], [(0.5, HOSTILE)], label=HOSTILE, x=HOSTILE, y=HOSTILE))
    assert "<script" not in hostile
    assert hostile.count(str(Markup.escape(HOSTILE))) >= 12
    assert point in page.text


def test_the_policy_names_the_script_and_the_style_and_nothing_else(page: Page) -> None:
    (policy,) = [a["content"] or "" for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data:")
    for kind in ("script", "style"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page.source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    for _, attributes in page.elements:
        assert not {key for key in attributes if key == "style" or key.startswith("on")}
    check_links(page)


def test_every_kind_of_error_has_its_turn(first: Report, cases: tuple[ShownCase, ...]) -> None:
    kinds = [case.kinds[0] for case in worst_cases([first], 6)]
    assert kinds == [case.kinds[0] for case in cases[:6]]
    assert len(set(kinds[:3])) == 3
    assert {"no_box", BACKGROUND} <= set(kinds)
    for kind in set(kinds):
        known = [case.oks for case in cases if case.kinds[0] == kind and case.oks is not None]
        assert known == sorted(known)
    wrong = [case for case in first.detected.diagnosis.cases if kinds_of(case)]
    assert len([case for case in cases if case.oks is not None]) == len(wrong)


def test_a_case_shows_the_label_and_what_was_predicted(cases: tuple[ShownCase, ...]) -> None:
    case = next(case for case in cases if case.kinds[0] == "left_right")
    label, predicted = case.panels
    assert (label.name, predicted.name) == ("label", "prediction")
    assert "OKS 0." in predicted.text
    assert "left/right inversion: " in predicted.text
    shown = [
        np.array(Pillow.open(io.BytesIO(base64.b64decode(panel.uri.partition(",")[2]))).convert("RGB")).astype(int)
        for panel in case.panels
    ]
    assert shown[0].shape == shown[1].shape
    assert max(shown[0].shape) <= 340
    red = [(np.abs(one - np.array([255, 40, 90])).max(axis=2) < 60).sum() for one in shown]
    # Only predictions have rings and lines in this color.
    assert red[1] > red[0] + 50
    found = next(case for case in cases if case.kinds[0] == "no_box")
    assert found.panels[1].text == "nothing detected"
    assert found.place


def test_images_that_are_gone_leave_their_cases(first: Report, tmp_path: Path) -> None:
    images = tuple(replace(image, path=tmp_path / "gone.jpg") for image in first.truth.images)
    page = page_of([replace(first, truth=replace(first.truth, images=images))], tmp_path)
    assert "The image cannot be read." in page.text
    assert page.of("img") == []


def test_nothing_wrong_is_a_page_too(cars: Dataset, tmp_path: Path) -> None:
    page = page_of([report_of(cars, Oracle(cars, blur=0.0))], tmp_path)
    assert "There are no errors to show." in page.text or page.of("li", **{"class": "item case pair"})
    empty = replace(cars, keypoints=np.zeros_like(cars.keypoints))
    page = page_of([report_of(empty, Oracle(cars))], tmp_path)
    assert "no keypoint is labeled" in page.text
    assert "n/a" in page.text


def test_another_name_than_that_of_a_page_is_refused(first: Report, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"--report must be a file that ends with \.html or \.htm, got"):
        write_report([first], tmp_path / "eval.json")
    assert list(tmp_path.iterdir()) == []


def test_offsets_are_counted_about_the_label() -> None:
    offsets = np.array([[0.0, 0.0], [0.24, 0.0], [0.0, -0.24], [0.3, 0.0], [np.nan, 0.0]])
    counts = offset_counts(offsets)
    assert counts.sum() == 3
    middle = GRID // 2
    assert np.argwhere(counts).tolist() == [[0, middle], [middle, middle], [middle, GRID - 1]]


def test_a_line_has_gaps_where_there_is_nothing() -> None:
    y = np.array([1.0, np.nan, 0.5, 0.25])
    (path,) = re.findall(
        r'd="([^"]*)"', str(line_chart([ChartLine("a", 0, np.linspace(0, 1, 4), y)], label="t", x="x", y="y"))
    )
    assert (path.count("M"), path.count("L")) == (2, 1)
