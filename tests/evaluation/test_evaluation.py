"""The whole evaluation of a pair that knows the labels: only planted errors must show."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from posetools.cli.evaluate_tables import print_reports
from posetools.core.dataset import Dataset, DatasetBuilder
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.errors import RequestError
from posetools.evaluation.report import BOXES, Report, Subject, as_document, check_same_split
from posetools.evaluation.run import measure
from posetools.evaluation.scoring import collect, has_points, pose_scores
from posetools.evaluation.tables import (
    DOUBT,
    flip_tests,
    headline,
    per_keypoint,
    short_names,
    thresholds,
    visible_points,
    why_boxes,
    why_poses,
)
from posetools.evaluation.verdict import evaluation_verdict
from posetools.files.disk import write_json
from posetools.pages.evaluation.page import write_report
from posetools.runtime.results import Detections
from tests.build import make_dataset
from tests.oracle import Oracle

NAMES = [f"{i:02d}.png" for i in range(12)]
SUBJECT = Subject("work_dirs/first", "det.pth", "pose.pth", "data/cars", "val", 0.05)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return two objects in each image that do not overlap: one on the left, one on the right."""
    old = make_dataset(tmp_path_factory.mktemp("cars"), images=NAMES, per_image=2, size=(320, 240), seed=4)
    builder = DatasetBuilder(old.skeleton)
    for image, rows in zip(old.images, old.rows_of_images(), strict=True):
        builder.add_image(image)
        for side, row in enumerate(rows):
            instance = old[row]
            move = np.array([20.0 + 160.0 * side, 60.0]) - instance.box[:2]
            scale = np.array([110.0, 90.0]) / (instance.box[2:] - instance.box[:2])
            points = instance.keypoints.copy()
            points[:, :2] = (points[:, :2] - instance.box[:2]) * scale + instance.box[:2] + move
            corner = instance.box[:2] + move
            box = np.array([*corner, *(corner + np.array([110.0, 90.0]))])
            builder.add_instance(
                image.file_name, box=box, keypoints=points, origin=Origin(f"val_coco.json: annotations[{row}]")
            )
    return builder.build()


def report_of(truth: Dataset, oracle: Oracle, name: str = "work_dirs/first") -> Report:
    return measure(replace(SUBJECT, name=name), oracle, oracle, truth)


def test_each_model_runs_once_over_the_images(truth: Dataset) -> None:
    oracle = Oracle(truth, ghosts=1)
    said = collect(truth, detector=oracle, estimator=oracle, label=1, bbox_thr=0.3)
    sure = int((said.boxes.scores >= 0.3).sum())
    assert oracle.asked == [len(truth.images), int(has_points(truth).sum()) + sure]
    assert len(said.boxes) == len(truth) + len(truth.images) > sure
    assert len(said.on_boxes.every) == sure
    # The box of the other class is in no metric, but counted.
    assert said.labels == {0: len(truth.images), 1: len(said.boxes)}
    assert said.on_labels.every.keypoint_scores is not None
    np.testing.assert_array_equal(said.on_labels.every.boxes, truth.boxes)
    np.testing.assert_array_equal(said.on_labels.matched, np.arange(len(truth)))


def test_poses_thinned_out_by_oks_still_count_for_their_own_labels(truth: Dataset) -> None:
    twice = DatasetBuilder(truth.skeleton)
    for image, rows in zip(truth.images, truth.rows_of_images(), strict=True):
        twice.add_image(image)
        for row in (*rows, rows[0]):
            twice.add_instance(image.file_name, box=truth.boxes[row], keypoints=truth.keypoints[row], origin=Origin(""))
    doubled = twice.build()
    oracle = Oracle(doubled, blur=0.0)
    said = collect(doubled, estimator=oracle)
    assert len(said.on_labels.every) == 3 * len(truth.images)
    assert len(said.on_labels.kept) < len(said.on_labels.every)
    scores = pose_scores(doubled, said.on_labels)
    assert scores.without_box == 0
    assert scores.points["labelled"].overall.missing == 0
    assert scores.points["labelled"].overall.pck[0] == 1.0


def test_planted_errors_show_and_nothing_else(truth: Dataset) -> None:
    lost, flipped = frozenset({0, 5, 9}), frozenset({2, 3, 6, 7})
    report = report_of(truth, Oracle(truth, blur=0.003, lost=lost, flipped=flipped, ghosts=1))
    assert report.detected.scores.without_box == len(lost)
    assert report.labeled.scores.without_box == 0
    labeled = truth.num_labeled
    counts = report.detected.diagnosis.counts
    assert counts["no_box"] == labeled[sorted(lost)].sum()
    # A point whose counterpart is not labeled is near no labeled location.
    assert counts["left_right"] + counts["missing"] + counts["diagonal"] + counts["front_rear"] > 0
    assert report.labeled.diagnosis.counts["no_box"] == 0
    assert report.det.diagnosis.counts["no_box"] == len(lost)
    assert report.det.diagnosis.counts["background"] + report.det.diagnosis.counts["duplicate"] == len(truth.images)
    assert report.det.sweep.curve.best is not None
    assert report.det.sweep.curve.best.threshold >= 0.5
    assert report.det.sweep.curve.best.recall == pytest.approx(1 - len(lost) / len(truth))
    # The oracle's scores separate visible from occluded points well, but not perfectly.
    separation = report.labeled.visibility.overall["hidden"]
    assert separation.average_precision is not None
    assert separation.chance is not None
    assert separation.chance + 0.2 < separation.average_precision < 1.0
    assert report.sentences == ()


def test_the_parts_agree_with_each_other(truth: Dataset) -> None:
    report = report_of(truth, Oracle(truth, blur=0.05, lost=frozenset({1})))
    for part in (report.labeled, report.detected):
        assert part.evaluation.ap() == part.scores.oks.ap == part.diagnosis.ap
        points = part.scores.points
        assert points["labelled"].overall.points == points["visible"].overall.points + points["hidden"].overall.points
        assert part.diagnosis.points == points["labelled"].overall.points
    assert report.det.evaluation.ap() == report.det.scores.ap == report.det.diagnosis.ap
    assert (report.labeled.scores.oks.ap or 0) > (report.detected.scores.oks.ap or 0)


def test_the_json_is_json_and_holds_everything(truth: Dataset, tmp_path: Path) -> None:
    report = report_of(truth, Oracle(truth, blur=0.03))
    write_json(tmp_path / "one.json", as_document([report]))
    document = json.loads((tmp_path / "one.json").read_text())
    assert (document["name"], document["split"], document["images"]) == ("work_dirs/first", "val", 12)
    assert set(document["det"]) == {"bbox", "intervals", "curves", "sweep", "calibration", "diagnosis"}
    assert document["intervals_from"] == {"level": 0.95, "groups": 12, "of": "image"}
    for side in ("labelled_boxes", "detected_boxes"):
        part = document[side]
        assert set(part["points"]) == {"labelled", "visible", "hidden"}
        single = part["points"]["hidden"]["by_keypoint"][truth.skeleton.names[0]]
        assert {"PCK@0.05", "PCK@0.1", "PCK@0.2", "NME", "error_px"} <= set(single)
        low, high = part["intervals"]["points"]["labelled"]["overall"]["NME"]
        assert low < part["points"]["labelled"]["overall"]["NME"] < high
        assert part["intervals"]["OKS"].keys() == part["OKS"].keys()
        assert set(part["calibration"]) == {"objects", "points"}
        assert {"gains", "counts", "by_keypoint"} <= set(part["diagnosis"])
        assert "hidden" in part["visibility"]["against"]
    several = as_document([report, report])
    assert [run["name"] for run in several["runs"]] == ["work_dirs/first"] * 2


def test_an_ap_that_says_nothing_is_marked_and_explained(truth: Dataset) -> None:
    wrong = replace(truth, areas=np.ones(len(truth)))
    report = report_of(wrong, Oracle(wrong, blur=0.02))
    assert report.says_nothing("poses, labeled boxes")
    assert not report.says_nothing(BOXES)
    assert any(sentence.startswith("poses, labeled boxes: ") and "area" in sentence for sentence in report.sentences)
    cells = dict(zip(headline([report]).columns, next(iter(headline([report]).rows)), strict=True))
    assert cells["poses, labeled boxes"].endswith(DOUBT)
    assert not cells["boxes"].endswith(DOUBT)
    codes = {one["code"] for one in report.as_dict()["remarks"]}
    assert "area" in codes


def test_measured_on_what_it_was_trained_on_is_said_once(truth: Dataset) -> None:
    oracle = Oracle(truth, blur=0.02)
    report = measure(SUBJECT, oracle, oracle, truth, training=truth)
    assert sum("were used for training" in sentence for sentence in report.sentences) == 1
    assert all(report.says_nothing(part) for part in report.remarks)


def test_a_detector_of_other_objects_is_told_by_their_names(truth: Dataset) -> None:
    class Bicycles(Oracle):
        def __call__(self, images):  # type: ignore[no-untyped-def]
            return [one[one.labels == 0] for one in super().__call__(images)]

    report = report_of(truth, Bicycles(truth))
    assert report.det.scores.ap == 0.0
    assert any("no box is a car, but the detector predicts 12 bicycle" in sentence for sentence in report.sentences)
    assert report.detected.scores.without_box == len(truth)


def test_tables_of_one_pair_and_of_several(truth: Dataset) -> None:
    first = report_of(truth, Oracle(truth, blur=0.02, lost=frozenset({0})))
    second = report_of(truth, Oracle(truth, blur=0.08), "elsewhere/first")
    alone = headline([first])
    assert alone.columns == ("", "boxes", "poses, labeled boxes", "poses, detected boxes")
    assert alone.rows[-1] == ("objects without a box", "", "0", "1")
    assert short_names([first, second]) == ("work_dirs/first", "elsewhere/first")
    both = {row[0]: row[1:] for row in headline([first, second]).rows}
    assert both["poses, detected boxes: objects without a box"] == ("1", "0")
    better, worse = (cell.split(" ± ") for cell in both["poses, labeled boxes: AP"])
    assert float(better[0]) > float(worse[0])
    assert float(worse[1]) > 0
    assert [row[0] for row in per_keypoint(first.labeled, "labeled boxes").rows] == list(truth.skeleton.names)
    assert {row[0] for row in why_boxes(first).rows} >= {"no box"}
    assert {row[0] for row in why_poses(second).rows} >= {"jitter"}
    assert len(thresholds([first, second]).rows) == 6
    assert len(visible_points([first]).rows) == 4


@pytest.mark.parametrize("number", [1, 3])
def test_what_is_printed_fits_80_columns_and_is_no_markup(
    truth: Dataset, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    oracle = Oracle(truth, blur=0.04, lost=frozenset({0, 3}), ghosts=1)
    reports = [report_of(truth, oracle, f"work_dirs/[bold]run{i}") for i in range(number)]
    print_reports(reports, Console(width=80, highlight=False))
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert len(lines) < 75
    text = "\n".join(lines)
    assert "…" not in text
    assert evaluation_verdict(reports).sentence in " ".join(text.split())
    if number > 1:
        assert "[bold]run1" in text
    else:
        assert all(any(line.strip().startswith(name) for line in lines) for name in truth.skeleton.names)


def test_a_flip_test_is_measured_beside_the_plain_poses_by_one_pass_of_the_detector(
    truth: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, flipped = Oracle(truth, blur=0.06, ghosts=1), Oracle(truth, blur=0.02, ghosts=1)
    report = measure(SUBJECT, plain, plain, truth, mirrored=flipped)
    assert (plain.asked[0], flipped.asked[0]) == (len(truth.images), 0)
    alone = measure(SUBJECT, flipped, flipped, truth)
    assert report.flipped is not None
    labeled, detected = report.flipped
    assert labeled.scores.as_dict() == alone.labeled.scores.as_dict()
    assert detected.scores.as_dict() == alone.detected.scores.as_dict()
    assert report.labeled.scores.as_dict() == measure(SUBJECT, plain, plain, truth).labeled.scores.as_dict()
    (table,) = flip_tests([report])
    ap = table.rows[0]
    assert ap[0] == "AP"
    assert float(ap[2]) - float(ap[1]) == pytest.approx(float(ap[3]), abs=0.0015)
    assert float(ap[3]) > 0.05
    print_reports([report], Console(width=80, highlight=False))
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert any("gain of a flip test" in line for line in lines)
    write_report([report], tmp_path / "eval.html")
    assert "gain of a flip test" in (tmp_path / "eval.html").read_text()
    assert flip_tests([alone]) == ()


class Blind(Oracle):
    """A detector that puts every box into a corner without objects."""

    def __call__(self, images):  # type: ignore[no-untyped-def]
        corner = np.array([[0.0, 0.0, 5.0, 5.0]])
        return [Detections(corner, np.array([0.9]), np.array([1])) for _ in images]


def test_boxes_that_overlap_nothing_are_named_and_not_called_unexplained(truth: Dataset) -> None:
    report = measure(SUBJECT, Blind(truth), Oracle(truth), truth)
    assert [one.code for one in report.remarks[BOXES]] == ["nowhere"]
    assert "zero" not in [one.code for of_part in report.remarks.values() for one in of_part]
    assert any("none of 12 predicted boxes overlaps a labeled object" in text for text in report.sentences)


def test_pairs_measured_on_other_labels_do_not_stand_side_by_side(truth: Dataset) -> None:
    fewer = truth.select_images(range(6))
    reports = [report_of(truth, Oracle(truth)), report_of(fewer, Oracle(fewer), "work_dirs/second")]
    with pytest.raises(
        RequestError, match=r"work_dirs/second: val of data/cars has other labels than .*\n  fix: use --data DIR"
    ):
        check_same_split(reports)


def test_an_estimator_of_other_keypoints_is_refused(truth: Dataset) -> None:
    oracle = Oracle(truth)
    oracle.num_keypoints = 17
    with pytest.raises(RequestError, match=r"pose.pth: predicts 17 keypoints, but skeleton car8 has 8\n  fix: use"):
        measure(SUBJECT, oracle, oracle, truth)


@pytest.mark.parametrize("what", ["nothing labeled", "nothing found", "no images with objects"])
def test_there_is_a_report_of_next_to_nothing(truth: Dataset, what: str, tmp_path: Path) -> None:
    oracle = Oracle(truth)
    data = truth
    if what == "nothing labeled":
        data = replace(truth, keypoints=np.zeros_like(truth.keypoints))
    elif what == "nothing found":
        oracle = Oracle(truth, lost=frozenset(range(len(truth))))
    else:
        builder = DatasetBuilder(load_skeleton("car8"))
        for image in truth.images:
            builder.add_image(image)
        data = builder.build()
    report = measure(SUBJECT, oracle, oracle, data)
    write_json(tmp_path / "r.json", report.as_dict())
    assert report.sentences
    print_reports([report], Console(width=80))
