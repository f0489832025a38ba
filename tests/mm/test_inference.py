"""Detector and PoseEstimator give the results of mmdet's and mmpose's stock functions for the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.errors import InputError
from posetools.imaging.header import Pixels
from posetools.mm.inference import Detector, PoseEstimator
from tests.tiny_runs import Run

pytestmark = pytest.mark.train

BOXES = np.array([[5.0, 8, 40, 60], [30, 10, 95, 79], [1, 1, 50, 30]])


def images() -> list[Pixels]:
    rng = np.random.default_rng(5)
    return [
        rng.integers(0, 255, (height, width, 3), dtype=np.uint8) for height, width in ((80, 96), (60, 100), (80, 96))
    ]


def test_boxes_are_the_stock_ones(det_run: Run) -> None:
    from mmdet.apis import inference_detector, init_detector

    stock = init_detector(str(det_run.config), str(det_run.checkpoint), device="cpu")
    detector = Detector(det_run.config, det_run.checkpoint, batch_size=2)
    assert detector.classes == ("car",)
    found = detector(images())
    assert len(found) == 3
    for image, ours in zip(images(), found, strict=True):
        theirs = inference_detector(stock, image).pred_instances
        assert len(ours) == len(theirs) > 0
        np.testing.assert_allclose(ours.boxes, theirs.bboxes.numpy(), atol=1e-3)
        np.testing.assert_allclose(ours.scores, theirs.scores.numpy(), atol=1e-6)
    assert len(found[0].select(label=0, min_score=0.0)) == len(found[0])
    assert len(found[0].select(label=0, min_score=1.0)) == len(found[0].select(label=1, min_score=0.0)) == 0
    assert detector([]) == []


def test_keypoints_are_the_stock_ones_after_a_detector_was_called(det_run: Run, pose_run: Run) -> None:
    from mmpose.apis import inference_topdown, init_model

    stock = init_model(str(pose_run.config), str(pose_run.checkpoint), device="cpu")
    detector = Detector(det_run.config, det_run.checkpoint)
    estimator = PoseEstimator(pose_run.config, pose_run.checkpoint, batch_size=2)
    first, second, _ = images()
    detector([first])
    batched = estimator.estimate([first, second], [BOXES, BOXES[:1]])
    detector([second])
    for image, boxes, ours in zip((first, second), (BOXES, BOXES[:1]), batched, strict=True):
        theirs = inference_topdown(stock, image, boxes.astype(np.float32))
        keypoints = np.concatenate([sample.pred_instances.keypoints for sample in theirs])
        np.testing.assert_allclose(ours.keypoints, keypoints, atol=1e-3)
        scores = np.concatenate([sample.pred_instances.keypoint_scores for sample in theirs])
        np.testing.assert_allclose(ours.scores, scores, atol=1e-6)
        np.testing.assert_allclose(ours.areas, [s.gt_instances.bbox_scales.prod() for s in theirs], rtol=1e-6)
    np.testing.assert_allclose(estimator.estimate([first], [BOXES])[0].keypoints, batched[0].keypoints, atol=1e-3)
    assert estimator.estimate([first], [BOXES[:0]])[0].keypoints.shape == (0, 8, 2)


def test_fast_models_give_the_same_up_to_float_noise(det_run: Run, pose_run: Run) -> None:
    import torch

    inputs = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    for model, run in ((Detector, det_run), (PoseEstimator, pose_run)):
        plain, fast = (model(run.config, run.checkpoint, fast=fast).model for fast in (False, True))
        assert sum(isinstance(part, torch.nn.BatchNorm2d) for part in plain.modules()) > 20
        with torch.inference_mode():
            expected, found = (flat(one(inputs, None, mode="tensor")) for one in (plain, fast))
        assert not torch.equal(expected, found)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def flat(outputs: Any) -> Any:
    """Return all numbers of nested tuples of tensors, one after the other."""
    import torch

    if isinstance(outputs, torch.Tensor):
        return outputs.flatten()
    return torch.cat([flat(part) for part in outputs])


def test_a_raised_threshold_does_not_change_the_boxes_above_it(det_run: Run) -> None:
    every = Detector(det_run.config, det_run.checkpoint)(images()[:1])[0]
    threshold = float(np.quantile(every.scores, 0.5))
    surer = Detector(det_run.config, det_run.checkpoint, score_thr=threshold)(images()[:1])[0]
    kept = every[every.scores > threshold]
    # NMS may return boxes of equal score in another order.
    found = {tuple(box) for box in surer.boxes.tolist()}
    assert sum(tuple(box) in found for box in kept.boxes.tolist()) == len(kept)
    assert 0 < len(kept) < len(every)
    assert surer.scores.min() > threshold


def test_the_averaged_weights_are_loaded(det_run: Run) -> None:
    import torch

    from posetools.mm.checkpoint import load_checkpoint

    content = load_checkpoint(det_run.checkpoint)
    # An average that moves by 0.0002 per iteration almost equals the first weights. The raw weights, which mmengine
    # keeps as ema_state_dict for resuming, have moved.
    loaded = Detector(det_run.config, det_run.checkpoint).model.state_dict()
    name = "bbox_head.rtm_cls.0.weight"
    assert torch.equal(loaded[name], content["state_dict"][name])
    assert not torch.equal(loaded[name], content["ema_state_dict"][f"module.{name}"])


def test_a_checkpoint_of_another_model_is_refused(det_run: Run, pose_run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"epoch_2.pth: .*: weights of all \d+ parameters must be there, \d+ are mis"):
        Detector(det_run.config, pose_run.checkpoint)
    other = tmp_path / "other.py"
    other.write_text(f"_base_ = {str(pose_run.config)!r}\nmodel = dict(head=dict(out_channels=17))\n")
    with pytest.raises(
        InputError, match=r"head.final_layer.weight: shape must be \(17, .* got \(8, .*\n.*pass the con"
    ):
        PoseEstimator(other, pose_run.checkpoint)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "config does not exist"),
        ("model = dict(", "is not a config that mmengine can read"),
        ("_base_ = 'gone.py'", "is not a config that mmengine can read"),
        ("a = 1", "model: must be there"),
    ],
)
def test_a_config_that_cannot_be_read_is_named(pose_run: Run, tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "config.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=f"config.py: .*{message}"):
        PoseEstimator(path, pose_run.checkpoint)
