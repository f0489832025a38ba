"""Evaluation of several categories: metrics are those of pycocotools, and a wrong category is an error."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from PIL import Image as Pillow
from rich.console import Console

from posetools.cli.evaluate_tables import print_reports
from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.geometry import Floats, box_area, box_iou, xywh_from_xyxy
from posetools.core.place import Origin
from posetools.core.skeleton import Category, Skeleton, load_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.errors import RequestError
from posetools.evaluation.categories import CategoriesReport
from posetools.evaluation.coco import EvaluationKind, Predictions
from posetools.evaluation.report import Subject, as_document
from posetools.evaluation.run import measure_categories
from posetools.formats.coco.format import write_split
from posetools.imaging.header import Pixels
from posetools.pages.evaluation.page import write_report
from posetools.runtime.results import Detections, Poses
from tests.coco_cases import STATS, random_predictions, random_truth

CAR = load_skeleton("car8")
VAN = CAR.model_copy(update={"category": Category(name="van", id=9)})
CONE = draft_skeleton("cone", ["tip", "left-foot", "right-foot"], "cone", category_id=4).skeleton
SIGN = Skeleton.model_validate({"name": "sign", "category": {"name": "sign", "id": 2}, "keypoints": []})
SUBJECT = Subject("work_dirs/street", "det.pth", "car.pth, cone.pth", "data/street", "val", 0.05)


class Planted:
    """A detector of planted boxes; it knows an image by its only color."""

    def __init__(self, classes: Sequence[str], found: Sequence[Detections]) -> None:
        self.classes, self._found, self.asked = tuple(classes), found, 0

    def __call__(self, images: Sequence[Pixels]) -> list[Detections]:
        self.asked += len(images)
        return [self._found[image[0, 0, 0]] for image in images]


class Near:
    """A pose estimator whose points are near those of the labeled object that a box overlaps most, if it does."""

    def __init__(self, truth: Dataset, noise: float = 0.04) -> None:
        self._truth, self._noise, self.num_keypoints = truth, noise, truth.categories.num_keypoints

    def estimate(self, images: Sequence[Pixels], boxes: Sequence[Floats], *, heatmaps: bool = False) -> list[Poses]:
        assert not heatmaps
        return [self._poses(int(image[0, 0, 0]), own) for image, own in zip(images, boxes, strict=True)]

    def _poses(self, image: int, boxes: Floats) -> Poses:
        rng = np.random.default_rng(image)
        rows = np.array(self._truth.rows_of_images()[image], dtype=np.int64)
        sides = boxes[:, 2:] - boxes[:, :2]
        points = boxes[:, None, :2] + rng.uniform(0, 1, (len(boxes), self.num_keypoints, 2)) * sides[:, None]
        if len(rows):
            overlap = box_iou(boxes[:, None], self._truth.boxes[rows][None])
            near = self._truth.keypoints[rows[overlap.argmax(axis=1)], :, :2]
            near = near + rng.normal(0, self._noise, near.shape) * sides.max(axis=1, initial=0)[:, None, None]
            points = np.where(overlap.max(axis=1)[:, None, None] > 0.3, near, points)
        crops = np.concatenate([boxes[:, :2] + sides / 2, 1.25 * sides], axis=1)
        return Poses(points, rng.uniform(0.1, 1.0, points.shape[:2]), crops)


def joined(folder: Path, parts: Sequence[Dataset]) -> Dataset:
    """Return the labels of each part as one data set; every image file has its own color."""
    builder = DatasetBuilder(Categories(tuple(part.skeleton for part in parts)))
    for number, image in enumerate(parts[0].images):
        path = folder / image.file_name
        Pillow.new("RGB", image.size, (number,) * 3).save(path, quality=100)
        builder.add_image(replace(image, path=path))
        for each in (one for part in parts for one in part if one.image.file_name == image.file_name):
            builder.add_instance(
                image.file_name,
                box=each.box,
                keypoints=each.keypoints,
                origin=each.origin,
                area=each.area,
                iscrowd=each.iscrowd,
                category_id=each.category_id,
            )
    return builder.build()


def boxes_of(found: Sequence[Predictions]) -> Predictions:
    nothing = [(one.keypoints[:, :0], one.keypoints[:, :0, 0]) for one in found]
    bare = [replace(one, keypoints=a, keypoint_scores=b) for one, (a, b) in zip(found, nothing, strict=True)]
    return Predictions.joined(bare)


def detections(found: Sequence[Predictions], images: int) -> list[Detections]:
    """Return the boxes of each class in each image, from the highest score down."""
    every = boxes_of(found)
    labels = np.repeat(np.arange(len(found)), list(map(len, found)))
    return [Detections(every.boxes[rows], every.scores[rows], labels[rows]) for rows in every.rows_of_images(images)]


def random_report(folder: Path, skeletons: Sequence[Skeleton], seed: int) -> CategoriesReport:
    """Return the report of random predictions for random labels; the last category is also detected as the first."""
    rng = np.random.default_rng(seed)
    parts = [random_truth(skeleton, rng, images=9, most=4) for skeleton in skeletons]
    truth = joined(folder, parts)
    found = [random_predictions(part, rng, copies=1.5, strays=2) for part in parts]
    mistaken = random_predictions(parts[-1], rng, copies=0.4, strays=0)
    found[0] = boxes_of((found[0], mistaken))
    # The order of a detector's classes is its own.
    classes = [skeleton.category.name for skeleton in skeletons][::-1]
    estimators = {name: Near(truth.of_categories(group)) for name, group in truth.categories.posed.items()}
    report = measure_categories(SUBJECT, Planted(classes, detections(found[::-1], 9)), estimators, truth)
    assert isinstance(report, CategoriesReport)
    return report


class Peer:
    """pycocotools' evaluation of a report's labels, as written to a file, and of its predictions."""

    def __init__(self, report: CategoriesReport, folder: Path) -> None:
        from pycocotools.coco import COCO

        self._report = report
        write_split(report.truth, folder / "val_coco.json")
        with contextlib.redirect_stdout(io.StringIO()):
            self._labels = COCO(str(folder / "val_coco.json"))

    def stats(self, part: str, kind: EvaluationKind, names: Sequence[str]) -> list[float | None]:
        """Return COCOeval's metrics of some categories; None for its -1."""
        from pycocotools.cocoeval import COCOeval

        results = [entry for name in names for entry in self._results(name, part)]
        ids = self._report.truth.categories.ids
        with contextlib.redirect_stdout(io.StringIO()):
            found = self._labels.loadRes([{**entry} for entry in results])
            for own, entry in zip(found.dataset["annotations"], results, strict=True):
                # The product of rounded sides can be on the other side of a size class's edge.
                own["area"] = entry["area"]
            evaluation = COCOeval(self._labels, found, kind)
            evaluation.params.catIds = [ids[name] for name in names]
            evaluation.params.kpt_oks_sigmas = np.array(self._report.by_category[names[0]].truth.skeleton.sigmas)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        values = [float(evaluation.stats[i]) for i in STATS[kind]]
        return [None if value < 0 else value for value in values]

    def _results(self, name: str, part: str) -> list[dict[str, Any]]:
        predicted: Predictions = getattr(self._report.by_category[name], part).predicted
        points = np.concatenate([predicted.keypoints, np.ones((*predicted.keypoints.shape[:2], 1))], axis=2)
        return [
            {"image_id": image + 1, "category_id": self._report.truth.categories.ids[name], "bbox": box, "score": score}
            | {"keypoints": np.ravel(own).tolist(), "area": area}
            for image, box, score, own, area in zip(
                predicted.image_index.tolist(),
                xywh_from_xyxy(predicted.boxes).tolist(),
                predicted.scores.tolist(),
                points,
                box_area(predicted.boxes).tolist(),
                strict=True,
            )
        ]


def numbers(scores: Any) -> list[float | None]:
    return list(scores.as_dict().values())


def assert_same(ours: Sequence[float | None], theirs: Sequence[float | None]) -> None:
    assert [value is None for value in ours] == [value is None for value in theirs]
    assert [value or 0.0 for value in ours] == pytest.approx([value or 0.0 for value in theirs], abs=1e-6)


def mean(columns: Sequence[Sequence[float | None]]) -> list[float | None]:
    known = [[value for value in each if value is not None] for each in zip(*columns, strict=True)]
    return [float(np.mean(each)) if each else None for each in known]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("skeletons", [(CAR, CONE), (VAN, CONE, CAR), (CONE, SIGN)])
def test_each_category_and_their_mean_are_those_of_pycocotools(
    tmp_path: Path, skeletons: Sequence[Skeleton], seed: int
) -> None:
    report = random_report(tmp_path, skeletons, seed)
    peer, names = Peer(report, tmp_path), [skeleton.category.name for skeleton in skeletons]
    for name in names:
        assert_same(numbers(report.by_category[name].det.scores), peer.stats("det", "bbox", [name]))
    assert_same(numbers(report.det.scores), peer.stats("det", "bbox", names))
    assert 0.02 < (report.det.scores.ap or 0) < 0.98
    posed = [skeleton.category.name for skeleton in skeletons if skeleton.num_keypoints]
    for part in ("labeled", "detected"):
        theirs = {name: peer.stats(part, "keypoints", [name]) for name in posed}
        for name in posed:
            assert_same(numbers(getattr(report.by_category[name], part).scores.oks), theirs[name])
        ours = getattr(report, part).scores.oks
        assert_same(numbers(ours), mean(list(theirs.values())))
        assert 0.02 < (ours.ap or 0) < 0.98
    if VAN in skeletons:
        # COCOeval has one list of sigmas, so it can join categories that share a skeleton.
        both = [numbers(report.by_category[name].detected.scores.oks) for name in ("van", "car")]
        assert_same(mean(both), peer.stats("detected", "keypoints", ["van", "car"]))


def test_pck_of_all_is_over_all_names_of_keypoints(tmp_path: Path) -> None:
    report = random_report(tmp_path, (VAN, CONE, CAR), 3)
    near: dict[str, list[bool]] = {}
    for own in report.by_category.values():
        truth, points = own.truth, own.labeled.poses.points
        longer = (truth.boxes[:, 2:] - truth.boxes[:, :2]).max(axis=1)
        distance = np.linalg.norm(points - truth.keypoints[:, :, :2], axis=2) / longer[:, None]
        for row, column in np.argwhere((truth.keypoints[:, :, 2] > 0) & ~truth.iscrowd[:, None]):
            near.setdefault(truth.skeleton.names[column], []).append(bool(distance[row, column] < 0.1))
    scores = report.labeled.scores.points["labelled"].overall
    assert len(near) == 11
    assert scores.points == sum(map(len, near.values()))
    assert scores.pck[1] == pytest.approx(np.mean([np.mean(hits) for hits in near.values()]))


# Box, score and category.
Found: TypeAlias = tuple[list[float], float, str]

# A car and a cone in each of three images; 40 px wide, side by side.
CAR_BOX, CONE_BOX, FREE_BOX = ([x, 20.0, x + 40, 60.0] for x in (10.0, 60.0, 110.0))


def street(folder: Path) -> Dataset:
    builder = DatasetBuilder(Categories((CAR, CONE)))
    for number in range(3):
        path = folder / f"{number}.png"
        Pillow.new("RGB", (160, 80), (number,) * 3).save(path)
        builder.add_image(Image(path.name, 160, 80, path=path))
        for skeleton, box in ((CAR, CAR_BOX), (CONE, CONE_BOX)):
            k = skeleton.num_keypoints
            x, y = np.linspace(box[0] + 2, box[2] - 2, k), np.linspace(box[1] + 2, box[3] - 2, k)
            builder.add_instance(
                path.name,
                box=np.array(box),
                keypoints=np.stack([x, y, np.full(k, 2.0)], axis=1),
                origin=Origin(path.name),
                category_id=skeleton.category.id,
            )
    return builder.build()


def found_in(boxes: Sequence[Found]) -> Detections:
    return Detections(
        np.array([box for box, _, _ in boxes]).reshape(-1, 4),
        np.array([score for _, score, _ in boxes]),
        np.array([("car", "cone").index(name) for _, _, name in boxes], dtype=np.int64),
    )


def street_report(truth: Dataset, *images: Sequence[Found], name: str = "one") -> CategoriesReport:
    """Return the report of these boxes, scores and categories in each image; points in a right box are exact."""
    detector = Planted(("car", "cone"), list(map(found_in, images)))
    estimators = {name: Near(truth.of_categories(group), 0.001) for name, group in truth.categories.posed.items()}
    subject = replace(SUBJECT, name=f"work_dirs/{name}")
    report = measure_categories(subject, detector, estimators, truth)
    assert isinstance(report, CategoriesReport)
    return report


RIGHT = ((CAR_BOX, 0.9, "car"), (CONE_BOX, 0.8, "cone"))


def test_a_wrong_category_is_a_missed_object_and_a_false_box(tmp_path: Path) -> None:
    truth = street(tmp_path)
    right = street_report(truth, RIGHT, RIGHT, RIGHT)
    assert [own.det.scores.ar for own in right.by_category.values()] == pytest.approx([1.0, 1.0])
    assert [own.detected.scores.without_box for own in right.by_category.values()] == [0, 0]
    # In the last image the categories are exchanged.
    wrong = street_report(truth, RIGHT, RIGHT, ((CAR_BOX, 0.95, "cone"), (CONE_BOX, 0.95, "car")))
    for own in wrong.by_category.values():
        assert own.det.scores.ar == pytest.approx(2 / 3)
        assert own.detected.scores.oks.ar == pytest.approx(2 / 3)
        # The false box has the highest score: precision is 1/2, then 2/3.
        assert own.det.scores.ap50 == pytest.approx(67 / 101 * 2 / 3)
        points = own.detected.scores.points["labelled"].overall
        assert (own.detected.scores.without_box, points.missing * 3) == (1, points.points)
        assert points.pck[0] == pytest.approx(2 / 3)
        assert own.labeled.scores.points["labelled"].overall.pck[0] == 1.0
    assert wrong.detected.scores.without_box == 2
    assert wrong.detected.scores.points["labelled"].overall.missing == 8 + 3


def test_the_confusion_table_is_that_of_a_hand_count(tmp_path: Path) -> None:
    truth = street(tmp_path)
    crowd = np.zeros(len(truth), dtype=np.bool_)
    # The cone of the last image is a crowd.
    crowd[5] = True
    report = street_report(
        replace(truth, iscrowd=crowd),
        # The car is a car, but a surer box says cone; the cone is below the threshold.
        ((CAR_BOX, 0.9, "cone"), (CAR_BOX, 0.8, "car"), (CONE_BOX, 0.29, "cone")),
        # Both right, and one box on background.
        (*RIGHT, (FREE_BOX, 0.3, "cone")),
        # Boxes of both categories in the crowd, and none on the car.
        ((CONE_BOX, 0.7, "cone"), (CONE_BOX, 0.6, "car")),
    )
    assert report.confusion is not None
    assert report.confusion.as_dict() == {
        "score": 0.3,
        "iou": 0.5,
        "labeled": ["car", "cone", "background"],
        "detected": ["car", "cone", "missed"],
        "counts": [[1, 1, 1], [0, 1, 1], [1, 1, 0]],
    }


def test_models_run_once_and_only_for_their_objects(tmp_path: Path) -> None:
    truth, asked = street(tmp_path), dict[str, list[Floats]]()

    class Counting(Near):
        def estimate(self, images: Sequence[Pixels], boxes: Sequence[Floats], *, heatmaps: bool = False) -> list[Poses]:
            asked.setdefault(str(self.num_keypoints), []).extend(boxes)
            return super().estimate(images, boxes, heatmaps=heatmaps)

    detector = Planted(("car", "cone"), [found_in(RIGHT), found_in(RIGHT), found_in(())])
    estimators = {name: Counting(truth.of_categories(group)) for name, group in truth.categories.posed.items()}
    report = measure_categories(SUBJECT, detector, estimators, truth)
    assert detector.asked == 3
    # A box of each label and of each detection of the category, nothing else.
    assert {name: sum(map(len, boxes)) for name, boxes in asked.items()} == {"8": 3 + 2, "3": 3 + 2}
    flipped = measure_categories(SUBJECT, detector, estimators, truth, mirrored=list(estimators.values()))
    assert detector.asked == 6
    assert flipped.flipped is not None
    assert flipped.flipped[1].scores.as_dict() == report.detected.scores.as_dict()


def reports_of_street(folder: Path) -> tuple[CategoriesReport, CategoriesReport]:
    truth = street(folder)
    last = ((CAR_BOX, 0.9, "cone"), (CONE_BOX, 0.8, "cone"))
    return street_report(truth, RIGHT, RIGHT, RIGHT), street_report(truth, RIGHT, RIGHT, last, name="two")


def test_the_document_has_each_category_all_of_them_and_the_confusion(tmp_path: Path) -> None:
    _, report = reports_of_street(tmp_path)
    document = json.loads(json.dumps(as_document([report]), allow_nan=False))
    assert list(document["categories"]) == ["car", "cone"]
    for name, own in report.by_category.items():
        alone = own.as_dict()
        assert document["categories"][name] == json.loads(json.dumps({key: alone[key] for key in own.metrics()}))
        assert set(document["categories"][name]) >= {"det", "labelled_boxes", "detected_boxes", "remarks", "objects"}
    overall = document["overall"]
    aps = [document["categories"][name]["det"]["bbox"]["AP"] for name in ("car", "cone")]
    assert overall["det"]["bbox"]["AP"] == pytest.approx(sum(aps) / 2)
    assert overall["detected_boxes"]["without_box"] == 1
    assert document["confusion"]["counts"] == [[2, 1, 0], [0, 3, 0], [0, 0, 0]]
    assert document["estimator"] == "car.pth, cone.pth"


def test_the_tables_fit_80_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = reports_of_street(tmp_path)
    print_reports([second], Console(width=80, highlight=False))
    alone = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in alone.splitlines()]
    ap = {name: f"{own.det.scores.ap:.3f}" for name, own in second.by_category.items()}
    assert any(line.startswith(f"car 3 {ap['car']} ") for line in lines)
    assert any(line.startswith(f"all 6 {second.det.scores.ap:.3f}") for line in lines)
    assert "labeled \\ detected car cone missed" in lines
    assert "car 2 1 0" in lines
    assert any(line.startswith("car: boxes are the weak half: 33% of objects have none") for line in lines)
    print_reports([first, second], Console(width=80, highlight=False))
    both = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in (alone + both).splitlines()) <= 80
    # Exact boxes are remarked on, and their AP marked.
    assert any(
        line.startswith(f"boxes: AP 1.000* {ap['cone']} ± ") and line.endswith("*")
        for line in (" ".join(each.split()) for each in both.splitlines())
    )
    assert "all: AP, PCK, NME" in both
    # Too many categories for a table: the most frequent confusions.
    print_reports([second], Console(width=30, highlight=False))
    assert "car cone 1" in [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_pair_without_a_class_of_the_labels_is_refused(tmp_path: Path) -> None:
    truth = street(tmp_path)
    with pytest.raises(RequestError, match=r"det.pth: classes must have the skeleton's category 'cone', got \['car'\]"):
        measure_categories(SUBJECT, Planted(("car",), []), {}, truth)


def test_categories_without_keypoints_have_metrics_of_boxes_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = SIGN.model_copy(update={"category": Category(name="bar", id=7)})
    report = random_report(tmp_path, (SIGN, bar), 1)
    assert report.labeled.scores.oks.ap is None
    assert not {"labelled_boxes", "detected_boxes"} & report.as_dict()["overall"].keys()
    print_reports([report], Console(width=80, highlight=False))
    out = capsys.readouterr().out
    assert "poses" not in out
    assert re.search(r"^bar: boxes only: \d+% of objects have no box that fits$", out, re.MULTILINE)
    write_report([report], tmp_path / "eval.html")
    assert "Each keypoint" not in (tmp_path / "eval.html").read_text(encoding="utf-8")
