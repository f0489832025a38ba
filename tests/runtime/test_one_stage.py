"""A bundle of one network: boxes and keypoints come from one run, and what does not fit its manifest is refused.

The network detects the same boxes in every image; each heatmap has its peak in a known cell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from posetools.core.categories import Categories
from posetools.core.skeleton import Skeleton
from posetools.errors import InputError
from posetools.pairs.open import open_pair
from posetools.pairs.pipeline import PosePipeline
from posetools.runtime.bundle import Bundle, write_bundle
from posetools.runtime.manifest import OneStageManifest, OneStageNetwork, Thresholds
from posetools.runtime.one_stage import OneStageModel
from posetools.runtime.session import Singles
from tests.runtime import tiny

SIDE, SIZE = 8, (64, 32)
# Two skeletons that share a keypoint's name: three columns.
CUP = Skeleton.model_validate(
    {"name": "cup", "category": {"name": "cup", "id": 2}, "keypoints": [{"name": "rim"}, {"name": "base"}]}
)
LID = Skeleton.model_validate(
    {"name": "lid", "category": {"name": "lid", "id": 5}, "keypoints": [{"name": "knob"}, {"name": "rim"}]}
)
TABLEWARE = Categories((CUP, LID))
# x, y of the cell of each keypoint's peak: rim, base, knob.
PEAKS = ((1, 2), (6, 7), (4, 0))
# x1, y1, x2, y2, score, class of the detected objects, in pixels of the input.
FOUND = ((8.0, 4.0, 24.0, 20.0, 0.9, 0.0), (32.0, 8.0, 48.0, 24.0, 0.8, 1.0), (0.0, 0.0, 4.0, 4.0, 0.1, 1.0))


def logits(side: int = SIDE) -> Singles:
    """Return (K, s, s) heatmaps with a peak of logit 9."""
    made = np.zeros((len(PEAKS), side, side), dtype=np.float32)
    for heatmap, (x, y) in zip(made, PEAKS, strict=True):
        heatmap[y, x] = 9
    return made


def model(*, columns: int = 6, side: int = SIDE, given: Any = "given", rows: str = "every") -> bytes:
    """Return the network, which finds the same objects in every image.

    Args:
        columns: of its detections.
        side: of its heatmaps.
        given: size of its second input.
        rows: the boxes with heatmaps: ``every`` or ``detected``.
    """
    nodes = [
        helper.make_node("ReduceMax", ["input"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "nought"], ["zero"]),
        # How many are found is not known before.
        helper.make_node("Greater", ["scores", "zero"], ["kept"]),
        helper.make_node("Compress", ["found", "kept"], ["dets"], axis=0),
        helper.make_node("Slice", ["dets", "first", "four", "one"], ["detected"]),
        helper.make_node("Concat", ["detected", "boxes"], ["every"], axis=0),
        helper.make_node("ReduceSum", [rows, "one"], ["sums"], keepdims=0),
        helper.make_node("Mul", ["sums", "nought"], ["zeros"]),
        helper.make_node("Reshape", ["zeros", "column"], ["columns"]),
        helper.make_node("Add", ["columns", "peaks"], ["heatmaps"]),
    ]
    found = np.array(FOUND, dtype=np.float32)
    constants = {
        "nought": np.float32(0),
        "found": np.resize(found, (len(FOUND), columns)) if columns != 6 else found,
        "scores": found[:, 4],
        "first": np.array([0]),
        "four": np.array([4]),
        "one": np.array([1]),
        "column": np.array([-1, 1, 1, 1]),
        "peaks": logits(side)[None],
    }
    inputs = {"input": [1, 3, SIZE[1], SIZE[0]], "boxes": [given, 4]}
    outputs = {"dets": ["found", columns], "heatmaps": ["all", len(PEAKS), side, side]}
    return tiny.model(nodes, constants, inputs, outputs)


def network(content: bytes, **changes: Any) -> OneStageNetwork:
    fields = {
        "file": "model.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "input_size": SIZE,
        "mean": (0, 0, 0),
        "std": (1, 1, 1),
        "classes": ("cup", "lid"),
        "pad_value": (0, 0, 0),
        "num_keypoints": 3,
        "heatmap_side": SIDE,
    }
    return OneStageNetwork.model_validate({**fields, **changes})


def document(content: bytes) -> dict[str, Any]:
    return {
        "made_by": "tests",
        "precision": "float32",
        "skeletons": list(TABLEWARE.skeletons),
        "network": network(content),
        "thresholds": Thresholds(bbox_thr=0.5, nms_thr=0.3, kpt_thr=0.3),
        "metrics": {"cup/bbox/AP": 0.5, "lid/bbox/AP": 0.25, "lid/labelled_boxes/OKS/AP": 0.125},
    }


def write(path: Path, content: bytes | None = None) -> Path:
    content = content or model()
    write_bundle(path, OneStageManifest.model_validate(document(content)), {"model.onnx": content})
    return path


def test_boxes_and_keypoints_are_in_pixels_of_the_image(tmp_path: Path) -> None:
    pipeline = PosePipeline.from_bundle(write(tmp_path / "cups.zip"))
    # Twice as large as the input, and wider than it: 128 x 60 is scaled to 64 x 30.
    result = pipeline(np.zeros((60, 128, 3), dtype=np.uint8))
    assert result.category_names == ("cup", "lid")
    np.testing.assert_allclose(result.boxes, [[16, 8, 48, 40], [64, 16, 96, 48]], atol=1e-4)
    np.testing.assert_allclose(result.scores, [0.9, 0.8], atol=1e-6)
    assert result.categories.names == ("rim", "base", "knob")
    # A cell is 4 x 4 pixels of the image; the peak of a resized heatmap is within its cell.
    cells = np.array(PEAKS) * 4 + 2.0
    for box, points, known in zip(result.boxes, result.keypoints, ([0, 1], [0, 2]), strict=True):
        assert (np.abs(points[known] - box[:2] - cells[known]) <= 2).all()
        assert np.isnan(np.delete(points, known, axis=0)).all()
    # The softmax of one logit of 9 among 64 cells, and of its 5 x 5 neighbors, as far as they exist.
    near = {0: 4 * 5, 1: 4 * 3, 2: 5 * 3}
    for row, known in ((0, [0, 1]), (1, [0, 2])):
        wanted = [(np.exp(9) + near[k] - 1) / (np.exp(9) + 63) for k in known]
        np.testing.assert_allclose(result.keypoint_scores[row, known], wanted, atol=1e-6)


def counting() -> tuple[list[int], OneStageModel]:
    """Return the numbers of given boxes of each run so far, and the model that runs."""
    runs: list[int] = []

    def run(batch: Singles, boxes: Singles) -> tuple[Singles, Singles]:
        assert batch.shape == (1, 3, SIZE[1], SIZE[0])
        runs.append(len(boxes))
        return np.array(FOUND, dtype=np.float32), np.repeat(logits()[None], len(FOUND) + len(boxes), axis=0)

    return runs, OneStageModel(run, network(b""))


def test_detected_boxes_need_no_second_run() -> None:
    runs, made = counting()
    pipeline = PosePipeline(made, made.estimators(TABLEWARE), TABLEWARE)
    images = [np.full((60, 128, 3), value, dtype=np.uint8) for value in (0, 9)]
    assert [len(one) for one in pipeline.predict(images)] == [2, 2]
    assert runs == [0, 0]
    # Other boxes do; those of the last detections still do not.
    cups, _ = made.estimators(TABLEWARE)
    found = made([images[0]])[0]
    labeled = np.array([[10.0, 10.0, 50.0, 30.0]])
    (poses,) = cups.estimate([images[0]], [np.concatenate([labeled, found.boxes])], heatmaps=True)
    assert runs[3:] == [1]
    assert poses.keypoints.shape == (4, 2, 2)
    np.testing.assert_allclose(poses.crops[0], [30, 20, 40, 20])
    assert poses.heatmaps is not None
    assert poses.heatmaps.shape == (4, 2, SIDE, SIDE)
    np.testing.assert_allclose(poses.heatmaps.max(axis=(2, 3)), poses.scores, atol=1e-6)


def test_a_threshold_drops_boxes_and_nothing_else() -> None:
    _, made = counting()
    fast = OneStageModel(made._run, made.network, score_thr=0.5)
    image = np.zeros((60, 128, 3), dtype=np.uint8)
    assert len(made([image])[0]) == 3
    assert len(fast([image])[0]) == 2


def test_names_and_doubts_of_its_models(tmp_path: Path) -> None:
    path = write(tmp_path / "cups.zip")
    pair = open_pair(bundle=path)
    assert pair.names == (f"{path}: model.onnx", f"{path}: model.onnx, cup", f"{path}: model.onnx, lid")
    assert pair.doubts == ()
    assert Bundle.open(path).manifest.members == ("bundle.json", "model.onnx")


def _changed(*place: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        inner = document
        for part in place[:-1]:
            inner = inner[part]
        inner[place[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_changed("network", "classes", value=["lid", "cup"]), "network.classes must be the categories, cup, lid"),
        (_changed("network", "num_keypoints", value=4), "network.num_keypoints must be 3 as in skeletons, got 4"),
        (_changed("network", "heatmap_side", value=2), "network.heatmap_side"),
        (_changed("network", "file", value="../model.onnx"), "network.file"),
        (_changed("network", "more", value=1), "network.more"),
        (_changed("skeletons", value=[]), "skeletons"),
        (_changed("posetools_bundle", value=4), "update posetools: a newer version wrote this bundle"),
    ],
)
def test_a_manifest_with_a_mistake_is_refused(
    change: Callable[[dict[str, Any]], None], said: str, tmp_path: Path
) -> None:
    from tests.runtime.test_bundle import _with_manifest

    path = write(tmp_path / "cups.zip")
    _with_manifest(change)(path)
    with pytest.raises(InputError) as error:
        Bundle.open(path)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: model(columns=7), r"output dets must be of shape \(any, 6\) as the manifest says"),
        (lambda: model(side=9), r"output heatmaps must be of shape \(any, 3, 8, 8\)"),
        (lambda: model(given=2), r"input boxes must be of shape \(any, 4\) as the manifest says, got \(2, 4\)"),
        (tiny.det_model, "inputs must be"),
    ],
)
def test_a_network_that_differs_from_its_manifest_is_refused(
    content: Callable[[], bytes], said: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "cups.zip", content())
    with pytest.raises(InputError, match=said):
        Bundle.open(path).models("cpu")


def test_a_network_must_give_the_heatmaps_of_all_boxes(tmp_path: Path) -> None:
    _, *estimators = Bundle.open(write(tmp_path / "cups.zip", model(rows="detected"))).models("cpu")
    said = r"model\.onnx: output heatmaps must be of 4 boxes, the detected and the given ones, got 3"
    with pytest.raises(InputError, match=said):
        estimators[0].estimate([np.zeros((60, 128, 3), dtype=np.uint8)], [np.array([[0.0, 0.0, 9.0, 9.0]])])
