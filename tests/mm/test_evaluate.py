"""Evaluation of really trained checkpoints: the numbers of the stock test loop, the table, the JSON, the refusals."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.dataset import Dataset, DatasetBuilder
from posetools.dataset_folder import IMAGES, ann_file
from posetools.errors import InputError, PosetoolsError, RequestError
from posetools.formats.coco import read_split, write_split
from posetools.geometry import Floats
from posetools.mm.checkpoint import load_checkpoint
from posetools.mm.configs import load_config
from posetools.mm.evaluate import EvalRequest, evaluate_det, evaluate_pose
from posetools.mm.inference import Detector, PoseEstimator
from posetools.results import Picture
from posetools.skeleton import load_skeleton
from tests.cli.run import run
from tests.mm.conftest import Run, Tiny

pytestmark = pytest.mark.train

Label = Callable[[Picture, Floats], list[tuple[Floats, Floats]]]


def stock_metrics(config: Path, checkpoint: Path, data: Path, work_dir: Path) -> dict[str, float]:
    """Return what Runner.test() says, as the stock tools/test.py would, on the val split of ``data``."""
    from mmengine.runner import Runner

    settings = load_config(config)
    settings.merge_from_dict(
        {
            "work_dir": str(work_dir),
            "load_from": str(checkpoint),
            "test_dataloader.dataset.data_root": str(data),
            "test_evaluator.ann_file": str(ann_file(data, "val")),
        }
    )
    metrics: dict[str, float] = Runner.from_cfg(settings).test()
    return metrics


def relabelled(tiny: Tiny, target: Path, label: Label) -> Dataset:
    """Write a copy of the val split whose objects are (box, keypoints) that ``label`` gives for a picture."""
    import mmcv

    old = read_split(ann_file(tiny.data, "val"), tiny.data / IMAGES, load_skeleton("car8")).dataset
    builder = DatasetBuilder(old.skeleton)
    for image, rows in zip(old.images, old.rows_of_images(), strict=True):
        builder.add_image(image)
        for box, keypoints in label(mmcv.imread(image.path), old.boxes[list(rows)]):
            builder.add_instance(image.file_name, box=box, keypoints=keypoints, place="")
    shutil.copytree(tiny.data / IMAGES, target / IMAGES)
    write_split(builder.build(), ann_file(target, "val"))
    return builder.build()


def test_box_ap_is_that_of_the_stock_loop(tiny: Tiny, det_run: Run, tmp_path: Path) -> None:
    import torch

    # A detector trained for a few iterations finds nothing; with this bias each place answers with a box of some size.
    weights = load_checkpoint(det_run.checkpoint)
    for level in range(3):
        weights["state_dict"][f"bbox_head.rtm_reg.{level}.bias"] += 1.5
    checkpoint = tmp_path / "biased.pth"
    torch.save({"state_dict": weights["state_dict"], "meta": weights["meta"]}, checkpoint)
    rng = np.random.default_rng(3)

    def label(picture: Picture, _: Floats) -> list[tuple[Floats, Floats]]:
        found = Detector(det_run.config, checkpoint)([picture])[0]
        boxes = np.clip(found.boxes[:12:2] + rng.normal(0, 1.5, (6, 4)), 0, [96, 80, 96, 80])
        return [(box, np.zeros((8, 3))) for box in boxes if (box[2:] - box[:2]).min() > 3]

    data = tmp_path / "data"
    relabelled(tiny, data, label)
    ours = evaluate_det(EvalRequest(checkpoint=checkpoint, config=det_run.config, data=data, device="cpu")).scores
    stock = stock_metrics(det_run.config, checkpoint, data, tmp_path / "stock")
    assert ours.ap is not None
    assert 0.05 < ours.ap < 0.95
    pairs = {"mAP": ours.ap, "mAP_50": ours.ap50, "mAP_75": ours.ap75, "mAP_s": ours.ap_small, "mAP_m": ours.ap_medium}
    for name, value in pairs.items():
        assert (-1 if value is None else value) == pytest.approx(stock[f"coco/bbox_{name}"], abs=1e-3)
    assert (ours.ap_large, stock["coco/bbox_mAP_l"]) == (None, -1)


def test_pose_ap_is_that_of_the_stock_loop(tiny: Tiny, pose_run: Run, tmp_path: Path) -> None:
    import torch

    rng = np.random.default_rng(3)
    # Keypoints of a model trained for a few iterations all score far below 0.2, and so their objects 0. Made louder,
    # about half of them pass.
    picture = rng.integers(0, 255, (80, 96, 3), dtype=np.uint8)
    scores = PoseEstimator(pose_run.config, pose_run.checkpoint)(picture, np.array([[10.0, 10, 60, 60]])).scores
    weights, checkpoint = load_checkpoint(pose_run.checkpoint), tmp_path / "loud.pth"
    for axis in "xy":
        weights["state_dict"][f"head.cls_{axis}.weight"] *= 0.2 / float(np.median(scores))
    torch.save({"state_dict": weights["state_dict"], "meta": weights["meta"]}, checkpoint)
    estimator = PoseEstimator(pose_run.config, checkpoint)
    seen: list[float] = []

    def label(picture: Picture, boxes: Floats) -> list[tuple[Floats, Floats]]:
        poses = estimator(picture, boxes)
        seen.extend(poses.scores.ravel().tolist())
        points = poses.keypoints
        scale = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))[:, None, None]
        moved = np.clip(points + rng.normal(0, 0.06, points.shape) * scale, 0.5, 95)
        visibility = rng.integers(0, 3, (*points.shape[:2], 1))
        return list(zip(boxes, np.concatenate([moved, visibility], axis=2), strict=True))

    data = tmp_path / "data"
    relabelled(tiny, data, label)
    assert min(seen) < 0.2 < max(seen)
    request = EvalRequest(checkpoint=checkpoint, config=pose_run.config, data=data, device="cpu")
    ours = evaluate_pose(request).labelled.oks
    stock = stock_metrics(pose_run.config, checkpoint, data, tmp_path / "stock")
    assert ours.ap is not None
    assert 0.05 < ours.ap < 0.95
    names = {"AP": ours.ap, "AP .5": ours.ap50, "AP .75": ours.ap75, "AP (M)": ours.ap_medium, "AR": ours.ar}
    for name, value in names.items():
        assert value == pytest.approx(stock[f"coco/{name}"], abs=1e-3)
    assert (ours.ap_large, stock["coco/AP (L)"]) == (None, -1)


def test_the_table_and_the_json_show_both_kinds_of_boxes(det_run: Run, pose_run: Run, tmp_path: Path) -> None:
    file = tmp_path / "pose.json"
    places: list[str | Path] = [pose_run.checkpoint, "--boxes", det_run.checkpoint, "--json", file]
    done = run("eval", "--stage", "pose", *places, "--bbox-thr", "0", "--device", "cpu")
    assert done.status == 0, done.err
    document = json.loads(file.read_text())
    assert (document["stage"], document["split"], document["images"], document["objects"]) == ("pose", "val", 2, 4)
    assert document["detector"] == str(det_run.checkpoint)
    for side in ("labelled_boxes", "detected_boxes"):
        assert document[side]["OKS"]["APl"] is None
        points = document[side]["points"]
        visible, hidden = (points[subset]["overall"]["points"] for subset in ("visible", "hidden"))
        assert points["labelled"]["overall"]["points"] == visible + hidden
        assert list(points["labelled"]["by_keypoint"]) == list(load_skeleton("car8").names)
    assert document["labelled_boxes"]["without_box"] == 0
    lost = document["detected_boxes"]["without_box"]
    assert (lost > 0) == (document["detected_boxes"]["points"]["labelled"]["overall"]["missing"] > 0)
    lines = done.out.splitlines()
    assert any("labelled boxes" in line and "detected boxes" in line for line in lines)
    large = next(line for line in lines if "OKS APl" in line)
    assert large.count("n/a") == 2
    assert not re.search(r"[ /]-1", done.out)
    assert any(line.strip().startswith("right-rear-tire") for line in lines)


def test_a_detector_is_evaluated_beside_its_config(det_run: Run, tmp_path: Path) -> None:
    file = tmp_path / "det.json"
    done = run("test", "--stage", "det", det_run.checkpoint, "--json", file)
    assert done.status == 0, done.err
    document = json.loads(file.read_text())
    assert document["config"] == str(det_run.work_dir / det_run.config.name)
    assert document["bbox"]["APl"] is None
    assert 0.0 <= document["bbox"]["AP"] <= 1.0
    assert "n/a" in done.out


REFUSALS: list[tuple[dict[str, Any], type[PosetoolsError], str]] = [
    ({"checkpoint": Path("gone.pth")}, InputError, "gone.pth: checkpoint does not exist"),
    ({"split": "test"}, RequestError, "has no split 'test'; it has train, val"),
    ({"data": Path("elsewhere")}, RequestError, "elsewhere: must be a data set folder"),
    ({"skeleton": "coco17"}, InputError, "E301 category must be the skeleton's category 'person', got 'car'"),
    ({"device": "cuda:99"}, RequestError, "--device cuda:99"),
    ({"boxes": Path("gone.pth")}, InputError, "gone.pth: checkpoint does not exist"),
]


@pytest.mark.parametrize(("changes", "kind", "message"), REFUSALS)
def test_what_cannot_be_evaluated_is_refused(
    pose_run: Run, changes: dict[str, Any], kind: type[PosetoolsError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        evaluate_pose(replace(EvalRequest(checkpoint=pose_run.checkpoint, device="cpu"), **changes))


def test_the_other_stage_and_a_checkpoint_without_config_are_refused(pose_run: Run, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"must be 'mmdet' for --stage det, got 'mmpose'\n  --stage pose is"):
        evaluate_det(EvalRequest(checkpoint=pose_run.checkpoint))
    alone = tmp_path / "alone.pth"
    shutil.copyfile(pose_run.checkpoint, alone)
    with pytest.raises(RequestError, match=r"has no config\n  --config FILE says which one to use"):
        evaluate_pose(EvalRequest(checkpoint=alone))


def test_labels_with_errors_are_not_measured(tiny: Tiny, pose_run: Run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny.data, data)
    document = json.loads(ann_file(data, "val").read_text())
    document["annotations"][1]["keypoints"][2] = 7
    ann_file(data, "val").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"val_coco.json: annotations\[1\].*: E107 .*\n.*posetools validate"):
        evaluate_pose(EvalRequest(checkpoint=pose_run.checkpoint, data=data, device="cpu"))
