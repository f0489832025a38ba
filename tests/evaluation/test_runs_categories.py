"""Evaluation of a real detector of two categories: each category has the AP of the stock test loop."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posetools.core.categories import Categories, dump_categories
from posetools.core.dataset import DatasetBuilder
from posetools.core.folder import IMAGES, SKELETON_FILE, ann_file
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.evaluation.categories import CategoriesReport
from posetools.evaluation.run import EvalRequest, evaluate
from posetools.formats.coco.format import read_split, write_split
from posetools.imaging.frames import read_image
from posetools.mm.checkpoint import load_checkpoint
from posetools.mm.inference import Detector
from tests.cli.run import run
from tests.evaluation.test_runs import stock_metrics
from tests.tiny_runs import Run, Tiny

pytestmark = pytest.mark.train

CAR = load_skeleton("car8")
CONE = draft_skeleton("cone", ["tip", "left-foot", "right-foot"], "cone", category_id=2).skeleton


@pytest.fixture(scope="module")
def detector(det_run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the config and the checkpoint of a detector of cars and cones; each location predicts a box."""
    import torch

    folder = tmp_path_factory.mktemp("det")
    config, checkpoint = folder / "det.py", folder / "epoch_2.pth"
    text = det_run.config.read_text()
    text = text.replace("num_classes=1", "num_classes=2").replace("classes=('car', )", "classes=('car', 'cone')")
    config.write_text(text.replace("palette=[", "palette=[(9, 9, 9), "))
    weights, generator = load_checkpoint(det_run.checkpoint), torch.Generator().manual_seed(4)
    for level in range(3):
        head, other = f"bbox_head.rtm_cls.{level}", torch.rand(1, generator=generator)
        weight, bias = (weights["state_dict"][f"{head}.{name}"] for name in ("weight", "bias"))
        noise = torch.randn(weight.shape, generator=generator)
        weights["state_dict"][f"{head}.weight"] = 300 * torch.cat([weight, weight.std() * noise])
        weights["state_dict"][f"{head}.bias"] = torch.cat([bias, bias + 0.1 * other])
        weights["state_dict"][f"bbox_head.rtm_reg.{level}.bias"] += 1.5
    meta = {**weights["meta"], "dataset_meta": {"classes": ("car", "cone")}}
    torch.save({"state_dict": weights["state_dict"], "meta": meta}, checkpoint)
    return config, checkpoint


@pytest.fixture(scope="module")
def data(tiny: Tiny, detector: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set whose labels are some boxes of both classes, not quite where they are detected."""
    data, rng, categories = tmp_path_factory.mktemp("street"), np.random.default_rng(3), Categories((CAR, CONE))
    old = read_split(ann_file(tiny.data, "val"), tiny.data / IMAGES, CAR).dataset
    shutil.copytree(tiny.data / IMAGES, data / IMAGES)
    (data / SKELETON_FILE).write_text(dump_categories(categories))
    builder, model = DatasetBuilder(categories), Detector(*detector, "cpu")
    for image in old.images:
        assert image.path is not None
        builder.add_image(image)
        found = model([read_image(image.path)])[0]
        for label, skeleton in enumerate((CAR, CONE)):
            near = found.boxes[found.labels == label][:12:2]
            for box in np.clip(near + rng.normal(0, 1.5, near.shape), 0, [96, 80, 96, 80]):
                if (box[2:] - box[:2]).min() > 3:
                    points = np.zeros((skeleton.num_keypoints, 3))
                    number = skeleton.category.id
                    builder.add_instance(
                        image.file_name, box=box, keypoints=points, origin=Origin(""), category_id=number
                    )
    write_split(builder.build(), ann_file(data, "val"))
    return data


def test_the_ap_of_each_category_is_that_of_the_stock_loop(
    detector: tuple[Path, Path], data: Path, tmp_path: Path
) -> None:
    config, checkpoint = detector
    report = evaluate(EvalRequest(checkpoint=checkpoint, config=config, data=data, device="cpu"))
    assert isinstance(report, CategoriesReport)
    stock = stock_metrics(config, checkpoint, data, tmp_path / "stock", **{"test_evaluator.classwise": True})
    for name, own in report.by_category.items():
        assert own.det.scores.ap is not None
        assert 0.05 < own.det.scores.ap < 0.95
        assert own.det.scores.ap == pytest.approx(stock[f"coco/{name}_precision"], abs=1e-3)
    assert report.det.scores.ap == pytest.approx(stock["coco/bbox_mAP"], abs=1e-3)


def test_the_command_prints_and_writes_each_category(detector: tuple[Path, Path], data: Path, tmp_path: Path) -> None:
    config, checkpoint = detector
    file = tmp_path / "det.json"
    done = run(
        "eval", "--stage", "det", checkpoint, "--config", config, "--data", data, "--device", "cpu", "--json", file
    )
    assert done.status == 0, done.err
    document = json.loads(file.read_text())
    for name in ("car", "cone"):
        ap = document["categories"][name]["bbox"]["AP"]
        assert re.search(rf"^ *{name} +\d+ +{ap:.3f} ", done.out, re.MULTILINE)
    assert re.search(rf"^ *all +\d+ +{document['overall']['bbox']['AP']:.3f} ", done.out, re.MULTILINE)
    assert document["confusion"]["labeled"] == ["car", "cone", "background"]
    assert "labeled \\ detected" in done.out


def test_a_pose_estimator_is_evaluated_on_the_objects_of_its_own_category(
    pose_run: Run, detector: tuple[Path, Path], data: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "cars"
    shutil.copytree(data / IMAGES, alone / IMAGES)
    street = read_split(ann_file(data, "val"), data / IMAGES, Categories((CAR, CONE))).dataset
    rng = np.random.default_rng(1)
    corner, sides = street.boxes[:, None, :2], (street.boxes[:, 2:] - street.boxes[:, :2])[:, None]
    places = corner + rng.uniform(0.1, 0.9, (len(street), street.categories.num_keypoints, 2)) * sides
    own = np.isin(np.arange(street.categories.num_keypoints), street.categories.columns[1])
    shown = np.where((street.category_ids == 1)[:, None] == own, 2.0, 0.0)[..., None]
    labeled = np.concatenate([np.where(shown > 0, places, 0.0), shown], axis=2)
    street = replace(street, keypoints=labeled)
    write_split(street, ann_file(tmp_path, "val"))
    shutil.copytree(data / IMAGES, tmp_path / IMAGES)
    (tmp_path / SKELETON_FILE).write_text(dump_categories(street.categories))
    write_split(street.of_categories(Categories((CAR,))), ann_file(alone, "val"))
    config, boxes = detector
    request = EvalRequest(
        stage="pose", checkpoint=pose_run.checkpoint, boxes=boxes, boxes_config=config, data=tmp_path, device="cpu"
    )
    both, cars = evaluate(request), evaluate(replace(request, data=alone))
    assert both.truth == cars.truth
    assert len(cars.truth) < len(street)
    assert (both.labeled.scores, both.detected.scores) == (cars.labeled.scores, cars.detected.scores)
