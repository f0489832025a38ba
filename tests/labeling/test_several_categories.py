"""view, review, prelabel and annotate on cars with 8 keypoints and cones with 3."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image as Pillow

import posetools
from posetools.core.categories import read_categories
from posetools.core.dataset import Dataset
from posetools.core.geometry import Ints
from posetools.errors import RequestError
from posetools.imaging.header import Pixels
from posetools.labeling.prelabel import plan_prelabels, prelabel
from posetools.labeling.review.choose import ReviewRequest, review
from posetools.pairs.pipeline import PosePipeline
from posetools.prediction.write import DocumentWriter
from posetools.runtime.results import Detections
from tests.build import make_image
from tests.cli.run import run
from tests.coco_sample import Document, edit
from tests.finding import Told, make_pipeline
from tests.labeling.test_annotate import program as program  # a fixture
from tests.street import CAR, CONE, STREET, write_street


class CarsAndCones(Told):
    """A detector of cars and cones, in turn."""

    def _boxes(self, image: Pixels) -> Detections:
        found = super()._boxes(image)
        return replace(found, labels=np.arange(len(found)) % 2)


def street_pipeline() -> PosePipeline:
    detector = CarsAndCones(objects=4, classes=("car", "cone"))
    return PosePipeline(detector, [Told(num_keypoints=8), Told(num_keypoints=3)], STREET)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_street(tmp_path_factory.mktemp("street") / "set", images=3)


def write_predictions(path: Path, data: Dataset, moved: str) -> Path:
    """Write the labels as predictions with scores of 0.9; in one image the tips of the cones are off."""
    pipeline = street_pipeline()
    with DocumentWriter(path, STREET, {"bbox_thr": 0.3}) as writer:
        for image, rows in zip(data.images, data.rows_of_images(), strict=True):
            assert image.path is not None
            part = slice(rows.start, rows.stop)
            own = np.zeros((len(rows), len(STREET.names)), dtype=bool)
            for row, number in enumerate(data.category_ids[part].tolist()):
                own[row, STREET.columns[number]] = True
            points = np.where(own[..., None], data.keypoints[part, :, :2], np.nan)
            points[data.category_ids[part] == 4, STREET.index["tip"]] -= [0, 40 * (image.file_name == moved)]
            (result,) = pipeline([image.path])
            result = replace(result, boxes=data.boxes[part], category_ids=data.category_ids[part], keypoints=points)
            result = replace(result, scores=np.full(len(rows), 0.9), keypoint_scores=np.where(own, 0.9, 0.0))
            writer.add(result, image.file_name)
    return path


def cones_alone(street: Path, folder: Path) -> Path:
    """Copy the data set, without the cars."""
    shutil.copytree(street, folder)

    def only(document: Document) -> None:
        document["annotations"] = [entry for entry in document["annotations"] if entry["category_id"] == 4]
        document["categories"] = document["categories"][1:]

    for name in ("train_coco.json", "val_coco.json"):
        edit(folder / name, only)
    (folder / "skeleton.yaml").unlink()
    (folder / "conversion.json").unlink()
    return folder


def read(path: Path) -> Ints:
    with Pillow.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(np.int64)


def test_view_draws_each_object_with_its_own_skeleton(street: Path, tmp_path: Path) -> None:
    both, cones = tmp_path / "both", tmp_path / "cones"
    assert run("view", street, "--each", "--objects", "--out", both).status == 0
    (tmp_path / "cone.yaml").write_text(yaml.safe_dump({**CONE.model_dump(mode="json"), "category": {"name": "cone"}}))
    alone = cones_alone(street, tmp_path / "alone")
    done = run("view", alone, "--each", "--objects", "--out", cones, "--skeleton", tmp_path / "cone.yaml")
    assert done.status == 0, done.words
    (name,) = [path.name for path in cones.iterdir() if path.name.startswith("0_")]
    last = max(path for path in both.iterdir() if path.name.startswith("0_"))
    tagged, plain = read(last), read(cones / name)
    assert tagged.shape == plain.shape
    # Only the tag above the box differs from the image of a set of cones alone.
    differ = np.flatnonzero(np.abs(tagged - plain).sum(axis=2).any(axis=1))
    assert 0 < len(differ) < 0.2 * len(plain)
    assert np.ptp(differ) == len(differ) - 1


def test_review_finds_the_worst_category_and_gives_all_of_them_to_labelme(street: Path, tmp_path: Path) -> None:
    data = posetools.read(street)
    file = write_predictions(tmp_path / "predictions.json", data, moved="1.png")
    done = run("review", street, "--predictions", file, "--by", "labels,confidence,boxes", "--out", tmp_path / "review")
    assert done.status == 0, done.words
    entries = json.loads((tmp_path / "review/review.json").read_text())["pictures"]
    assert entries[0]["file_name"] == "1.png"
    (said,) = [reason for reason in entries[0]["reasons"] if reason.startswith("labels")]
    assert "cone: object 1: OKS" in said and "tip is 40 px from its label" in said
    assert [entry["confidence"] for entry in entries] == [pytest.approx(0.19)] * len(entries)
    # Files of predictions have two decimals.
    assert max(entry["labels"] for entry in entries[1:]) < 0.01
    assert read_categories(tmp_path / "review/skeleton.yaml") == STREET
    shutil.copytree(tmp_path / "review/pictures", tmp_path / "labels")
    back = posetools.read(tmp_path / "labels", skeleton=tmp_path / "review/skeleton.yaml")
    assert back.categories == STREET
    np.testing.assert_array_equal(back.category_ids, data.category_ids)
    np.testing.assert_allclose(back.keypoints, data.keypoints, atol=0.01)
    assert read(tmp_path / "review/sheet.jpg").shape[1] > 500


def test_review_predicts_with_a_pair_of_both_categories(street: Path, tmp_path: Path) -> None:
    result = review(ReviewRequest(data=street, out=tmp_path / "review"), street_pipeline())
    assert {"confidence", "boxes", "labels"} <= set(result.by)
    with pytest.raises(RequestError, match=r"the pair must be models of the categories of the labels, car, cone"):
        review(ReviewRequest(data=street, out=tmp_path / "other"), make_pipeline())
    assert not (tmp_path / "other").exists()


def test_prelabeled_cars_and_cones_are_annotated_and_converted(tmp_path: Path, program: Path) -> None:
    for number in range(4):
        make_image(tmp_path / f"photos/{number}.jpg", (320, 240), seed=number)
    report = prelabel(plan_prelabels(tmp_path / "photos"), street_pipeline())
    assert (report.objects, report.skeleton) == (16, tmp_path / "photos/skeleton.yaml")
    assert read_categories(tmp_path / "photos/skeleton.yaml") == STREET
    # Models of one category leave the folder unchanged.
    with pytest.raises(RequestError, match=r"categories must be those of the models, 'car'"):
        prelabel(plan_prelabels(tmp_path / "photos"), make_pipeline())
    done = run("annotate", tmp_path / "photos", "--then-convert", tmp_path / "set")
    assert done.status == 0, done.words
    assert "each object: draw a rectangle (Ctrl+R) labeled with its category (car, cone) and its points" in done.out
    config = yaml.safe_load(json.loads((program / "called.json").read_text())[1])
    assert config["labels"] == ["car", *CAR.names, "cone", *CONE.names]
    assert config["label_colors"]["tip"] == list(CONE.keypoints[0].color)
    data = posetools.read(tmp_path / "set")
    assert data.categories == STREET
    assert data.category_ids.tolist() == [1, 1, 4, 4] * 4
    assert data.num_labeled.tolist() == [8, 8, 3, 3] * 4
