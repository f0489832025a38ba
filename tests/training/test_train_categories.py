"""Training on a data set of two categories with skeletons of their own: one detector, and two pose estimators."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posetools.core.categories import read_categories
from posetools.core.folder import ann_file
from posetools.datasets.io import write
from posetools.mm.stack import prepare
from posetools.pairs.find import pair_of_run
from tests.cli.run import run
from tests.two_kinds import KINDS, two_kinds

pytestmark = pytest.mark.train
MODELS = ("det", "pose-car8", "pose-critter")
SIZES = ("--det", "tiny", "--pose", "t", "--det-input-size", "96", "--pose-input-size", "64", "--pretrained", "none")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a data set, its configs and its runs."""
    root = tmp_path_factory.mktemp("kinds")
    data = two_kinds(root / "rendered", 12, 3)
    write({"train": data.select_images(range(9)), "val": data.select_images(range(9, 12))}, root / "set")
    done = run("config", root / "set", "--out", root / "configs", *SIZES, "--epochs", "1", "--workers", "0")
    assert done.status == 0, done.words
    done = run("train", "--stage", "all", root / "set", "--configs", root / "configs", "--work-dir", root / "work")
    assert done.status == 0, done.words
    assert "pose-critter" in done.words
    return root


def test_each_run_has_its_categories_and_the_run_is_a_pair(trained: Path) -> None:
    found = {model: read_categories(trained / "work" / model / "skeleton.yaml") for model in MODELS}
    assert [list(one.ids) for one in found.values()] == [["car", "critter"], ["car"], ["critter"]]
    pair = pair_of_run(trained / "work")
    assert [one.work_dir.name for one in (pair.det, *pair.poses) if one.work_dir] == list(MODELS)
    metrics = json.loads((trained / "work/evaluation.json").read_text())
    assert list(metrics["categories"]) == ["car", "critter"]


def test_stock_mmdet_and_mmpose_load_each_model_with_its_config(trained: Path) -> None:
    prepare("a test")
    from mmdet.apis import init_detector
    from mmpose.apis import init_model

    pair = pair_of_run(trained / "work")
    detector = init_detector(str(pair.det.config), str(pair.det.checkpoint), device="cpu")
    assert (detector.dataset_meta["classes"], detector.bbox_head.num_classes) == (("car", "critter"), 2)
    for model, skeleton in zip(pair.poses, KINDS.skeletons, strict=True):
        estimator = init_model(str(model.config), str(model.checkpoint), device="cpu")
        assert tuple(estimator.dataset_meta["keypoint_id2name"].values()) == skeleton.names


def test_a_pose_estimator_trains_on_the_objects_of_its_skeleton_as_they_are_now(trained: Path) -> None:
    file = ann_file(trained / "set", "train")
    before = json.loads(file.read_text())
    first = next(one["id"] for one in before["annotations"] if one["category_id"] == KINDS.ids["critter"])
    changed = {**before, "annotations": [one for one in before["annotations"] if one["id"] != first]}
    config = ("--configs", trained / "configs", "--work-dir", trained / "again")
    done = run("train", "--stage", "pose", trained / "set", *config)
    assert done.status == 2
    assert "--category must be given: " in done.err and "car, critter" in done.err
    try:
        file.write_text(json.dumps(changed))
        done = run("train", "--stage", "pose", "--category", "critter", trained / "set", *config)
    finally:
        file.write_text(json.dumps(before))
    assert done.status == 0, done.words
    own = json.loads((trained / "configs/rtmpose-t_critter/train_coco.json").read_text())
    critters = [one["id"] for one in changed["annotations"] if one["category_id"] == KINDS.ids["critter"]]
    assert [one["id"] for one in own["annotations"]] == critters
    assert {one["category_id"] for one in own["annotations"]} == {1}
