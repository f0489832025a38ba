"""The runtime's numpy and OpenCV against MMDet's and MMPose's own transforms, codec and head, array for array."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from posetools.imaging.header import Pixels
from posetools.mm.stack import prepare
from posetools.runtime.manifest import DetNetwork, PoseNetwork
from posetools.runtime.networks import (
    OnnxDetector,
    OnnxEstimator,
    class_nms,
    crops_of,
    detections,
    heatmaps_of,
    keypoints,
)
from tests.runtime import tiny

pytestmark = pytest.mark.train

MEAN, STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
SIZES = [(640, 480), (96, 64), (97, 63), (333, 500), (1, 1), (1000, 7), (31, 90)]


@pytest.fixture(scope="module", autouse=True)
def openmmlab() -> None:
    prepare("tests")


def _noise(size: tuple[int, int], seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def _detector(size: tuple[int, int], **changes: Any) -> tuple[OnnxDetector, DetNetwork]:
    content = tiny.det_model(size)
    network = tiny.det_network(content, **{"input_size": size, "mean": MEAN, "std": STD, **changes})
    return OnnxDetector(content, network), network


def _estimator(size: tuple[int, int], **changes: Any) -> tuple[OnnxEstimator, PoseNetwork]:
    content = tiny.pose_model(size)
    network = tiny.pose_network(content, **{"input_size": size, "mean": MEAN, "std": STD, **changes})
    return OnnxEstimator(content, network), network


def _mmdet_input(image: Pixels, size: tuple[int, int]) -> tuple[Any, dict[str, Any]]:
    from mmdet.models.data_preprocessors import DetDataPreprocessor
    from mmengine.dataset import Compose, pseudo_collate
    from mmengine.registry import DefaultScope

    keys = ("ori_shape", "img_shape", "scale_factor")
    with DefaultScope.overwrite_default_scope("mmdet"):
        pipeline = Compose(
            [
                {"type": "mmdet.LoadImageFromNDArray"},
                {"type": "mmdet.Resize", "scale": size, "keep_ratio": True},
                {"type": "mmdet.Pad", "size": size, "pad_val": {"img": (114, 114, 114)}},
                {"type": "mmdet.PackDetInputs", "meta_keys": keys},
            ]
        )
        batch = pseudo_collate([pipeline({"img": image, "img_id": 0})])
    preprocessor = DetDataPreprocessor(mean=list(MEAN), std=list(STD), bgr_to_rgb=False)
    made = preprocessor(batch)
    return made["inputs"].numpy(), made["data_samples"][0].metainfo


@pytest.mark.parametrize("size", SIZES)
def test_detector_sees_what_mmdet_makes_of_an_image(size: tuple[int, int]) -> None:
    image, into = _noise(size), (96, 96)
    expected, meta = _mmdet_input(image, into)
    batch, [scale] = _detector(into)[0].preprocess([image])
    np.testing.assert_array_equal(batch, expected)
    assert scale == meta["scale_factor"]
    assert meta["img_shape"] == (96, 96)


def test_a_lying_image_in_a_lying_input() -> None:
    image = _noise((300, 120))
    expected, meta = _mmdet_input(image, (96, 64))
    batch, [scale] = _detector((96, 64))[0].preprocess([image])
    np.testing.assert_array_equal(batch, expected)
    assert scale == meta["scale_factor"]


def _mmdet_detections(dets: Any, scale: tuple[float, float], network: DetNetwork) -> Any:
    """Return the output of RTMDet's head for scores and decoded boxes."""
    import torch
    from mmdet.models.dense_heads import RTMDetHead
    from mmdet.models.utils import filter_scores_and_topk
    from mmengine.config import ConfigDict
    from mmengine.structures import InstanceData

    width, height = network.input_size
    boxes = torch.from_numpy(dets[:, :4].copy())
    boxes[:, 0::2].clamp_(min=0, max=width)
    boxes[:, 1::2].clamp_(min=0, max=height)
    scores, labels, _, chosen = filter_scores_and_topk(
        torch.from_numpy(dets[:, 4:].copy()), network.score_thr, 30000, {"boxes": boxes}
    )
    results = InstanceData(bboxes=chosen["boxes"], scores=scores, labels=labels)
    nms = {"type": "nms", "iou_threshold": network.iou_threshold}
    cfg = ConfigDict(min_bbox_size=0, nms=nms, max_per_img=network.max_per_img)
    return RTMDetHead._bbox_post_process(None, results, cfg, rescale=True, img_meta={"scale_factor": scale})


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize(("threshold", "iou", "most"), [(0.001, 0.65, 300), (0.3, 0.5, 300), (0.001, 0.65, 20)])
def test_boxes_are_those_of_rtmdets_head(classes: int, threshold: float, iou: float, most: int) -> None:
    rng = np.random.default_rng(classes)
    names = [f"class {i}" for i in range(classes)]
    content = tiny.det_model()
    changes = {"classes": names, "score_thr": threshold, "iou_threshold": iou, "max_per_img": most}
    network = tiny.det_network(content, **changes)
    corner = rng.uniform(-20, 90, (800, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(-2, 60, (800, 2))], axis=1)
    dets = np.concatenate([boxes, rng.uniform(0, 1, (800, classes)) ** 3], axis=1).astype(np.float32)
    scale = (96 / 640, 54 / 361)
    expected = _mmdet_detections(dets, scale, network)
    found = detections(dets, scale, network, np.float32(threshold))
    assert len(found) == len(expected.scores) > 5
    np.testing.assert_array_equal(found.scores, expected.scores.numpy())
    np.testing.assert_array_equal(found.labels, expected.labels.numpy())
    np.testing.assert_array_equal(found.boxes, expected.bboxes.numpy())


@pytest.mark.parametrize("seed", range(4))
def test_nms_keeps_what_torchvision_keeps_ties_and_all(seed: int) -> None:
    import torch
    from torchvision.ops import batched_nms

    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 12, (300, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 8, (300, 2))], axis=1).astype(np.float32)
    scores = rng.integers(1, 6, 300).astype(np.float32) / 8  # many are equal
    labels = rng.integers(0, 2, 300)
    # Many pairs overlap by exactly a half, and 0.5 is the same in single and double precision.
    kept = batched_nms(torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(labels), 0.5)
    assert class_nms(boxes, scores, labels, 0.5, 300).tolist() == kept.tolist()


def _mmpose_input(image: Pixels, box: Any, size: tuple[int, int]) -> tuple[Any, Any]:
    from mmengine.dataset import Compose, pseudo_collate
    from mmengine.registry import DefaultScope
    from mmpose.models.data_preprocessors import PoseDataPreprocessor

    with DefaultScope.overwrite_default_scope("mmpose"):
        pipeline = Compose(
            [
                {"type": "GetBBoxCenterScale"},
                {"type": "TopdownAffine", "input_size": size},
                {"type": "PackPoseInputs"},
            ]
        )
        one = np.ones(1, dtype=np.float32)
        packed = pipeline({"img": image, "bbox": box[None].astype(np.float32), "bbox_score": one})
    made = PoseDataPreprocessor(mean=list(MEAN), std=list(STD), bgr_to_rgb=False)(pseudo_collate([packed]))
    return made["inputs"].numpy(), made["data_samples"][0]


def _boxes(number: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-30, 300, (number, 2))
    return np.concatenate([corner, corner + rng.uniform(0.5, 400, (number, 2))], axis=1)


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (64, 64)])
def test_pose_estimator_sees_what_mmpose_makes_of_a_box(size: tuple[int, int]) -> None:
    image, boxes = _noise((317, 243)), _boxes(20)
    estimator, network = _estimator(size)
    crops = crops_of(boxes, network)
    batch = estimator.preprocess([image], [0] * len(boxes), crops)
    for row, box in enumerate(boxes):
        expected, sample = _mmpose_input(image, box, size)
        np.testing.assert_array_equal(batch[row], expected[0])
        np.testing.assert_array_equal(crops.centers[row], sample.metainfo["input_center"])
        np.testing.assert_array_equal(crops.sizes[row], sample.metainfo["input_scale"])


@pytest.mark.parametrize(("size", "ratio"), [((48, 64), 2.0), ((64, 64), 2.0), ((40, 24), 1.5)])
def test_keypoints_are_those_of_mmposes_codec(size: tuple[int, int], ratio: float) -> None:
    from mmengine.structures import InstanceData
    from mmpose.codecs import SimCCLabel
    from mmpose.models.pose_estimators import TopdownPoseEstimator

    rng = np.random.default_rng(3)
    boxes = _boxes(30, seed=4)
    network = tiny.pose_network(b"", input_size=size, split_ratio=ratio)
    # A few values, for ties, and rows without a positive one, which MMPose puts outside the crop.
    simcc = [rng.integers(-4, 5, (30, 3, round(side * ratio))).astype(np.float32) / 5 for side in size]
    simcc[0][5] = -1
    crops = crops_of(boxes, network)
    found, scores = keypoints(simcc[0], simcc[1], crops, network)
    codec = SimCCLabel(input_size=size, sigma=(4.9, 5.66), simcc_split_ratio=ratio, normalize=False, use_dark=False)
    for row, box in enumerate(boxes):
        sample = _mmpose_input(_noise((8, 8)), box, size)[1]
        points, values = codec.decode(simcc[0][row : row + 1], simcc[1][row : row + 1])
        predicted = InstanceData(keypoints=points, keypoint_scores=values)
        holder = SimpleNamespace(test_cfg={})
        [sample] = TopdownPoseEstimator.add_pred_to_datasample(holder, [predicted], None, [sample])
        np.testing.assert_array_equal(found[row], sample.pred_instances.keypoints[0])
        np.testing.assert_array_equal(scores[row], values[0])


def test_heatmaps_are_the_largest_values_of_mmposes() -> None:
    import torch
    from mmpose.codecs.utils import get_simcc_normalized

    rng = np.random.default_rng(0)
    x, y = (rng.normal(0.3, 0.5, (4, 3, bins)).astype(np.float32) for bins in (384, 512))
    x[0] /= 10  # below 1: not scaled
    by_mmpose = [get_simcc_normalized(torch.from_numpy(vectors)).numpy() for vectors in (x, y)]
    whole = by_mmpose[1][:, :, :, None] * by_mmpose[0][:, :, None, :]
    expected = whole.reshape(4, 3, 64, 8, 48, 8).max(axis=(3, 5))
    np.testing.assert_array_equal(heatmaps_of(x, y, (48, 64)), expected)
