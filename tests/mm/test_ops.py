"""mmcv's ops without compiled code: against their formulas written out in loops, and against numerical gradients."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from posetools.errors import RequestError
from posetools.mm import ops
from tests.mm.op_cases import LAYERS, NMS_CALLS, detections, random_boxes

pytestmark = pytest.mark.train


@pytest.fixture(autouse=True)
def installed() -> None:
    ops.install()


def iou(a: Any, b: Any, offset: int) -> Any:
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + np.float32(offset)
    shared = max(width, np.float32(0)) * max(height, np.float32(0))
    areas = [(box[2] - box[0] + np.float32(offset)) * (box[3] - box[1] + np.float32(offset)) for box in (a, b)]
    return shared / (areas[0] + areas[1] - shared)


@pytest.mark.parametrize(("number", "decimals", "options"), NMS_CALLS)
def test_nms_keeps_what_the_definition_keeps(number: int, decimals: int | None, options: dict[str, Any]) -> None:
    import torch
    from mmcv.ops import nms

    boxes, scores = random_boxes(3, number, decimals=decimals)
    dets, kept = nms(boxes, scores, **options)
    valid = (scores > options.get("score_threshold", -1)).nonzero()[:, 0]
    expected: list[int] = []
    for i in valid[scores[valid].sort(descending=True).indices].tolist():
        ious = [iou(boxes[i].numpy(), boxes[j].numpy(), options.get("offset", 0)) for j in expected]
        if not any(one > np.float32(options["iou_threshold"]) for one in ious):
            expected.append(i)
    expected = expected[: options.get("max_num")]
    assert kept.tolist() == expected
    assert torch.equal(dets, torch.cat([boxes[expected], scores[expected, None]], dim=1))


@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
def test_soft_nms_lowers_scores_as_the_paper_says(method: str) -> None:
    from mmcv.ops import soft_nms

    boxes, scores = random_boxes(4, 60)
    dets, kept = soft_nms(boxes, scores, iou_threshold=0.3, sigma=0.5, min_score=0.05, method=method)
    left, expected = dict(enumerate(scores.numpy().tolist())), []
    while left:
        best = max(left, key=lambda i: left[i])
        expected.append((best, left.pop(best)))
        for i in list(left):
            over = float(iou(boxes[best].numpy(), boxes[i].numpy(), 0))
            hard = {"naive": 0.0, "linear": 1 - over}.get(method, 1.0) if over >= 0.3 else 1.0
            left[i] *= math.exp(-(over**2) / 0.5) if method == "gaussian" else hard
            if left[i] < 0.05:
                del left[i]
    assert kept.tolist() == [i for i, _ in expected]
    assert dets[:, 4].tolist() == pytest.approx([score for _, score in expected], abs=1e-5)


def bilinear(plane: Any, y: float, x: float) -> float:
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, start = int(y), int(x)
    total = 0.0
    for row, column in product((top, top + 1), (start, start + 1)):
        weight = (1 - abs(y - row)) * (1 - abs(x - column))
        if weight > 0:
            total += weight * plane[row, column]
    return total


@pytest.mark.parametrize("aligned", [True, False])
def test_roi_align_is_the_mean_of_bilinear_samples(aligned: bool) -> None:
    import torch
    from mmcv.ops import roi_align

    features = torch.rand(2, 1, 9, 12, generator=torch.Generator().manual_seed(0))
    rois = torch.tensor([[0, 3.0, 2.0, 30.0, 21.0], [1, -5.0, 4.0, 60.0, 35.0]])
    scale, size, samples = 0.25, (3, 4), 2
    found = roi_align(features, rois, size, scale, samples, "avg", aligned)
    for number, (image, *region) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (side * scale - (0.5 if aligned else 0) for side in region)
        width, height = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1), max(y2 - y1, 1))
        for row, column in product(range(size[0]), range(size[1])):
            values = [
                bilinear(
                    features[int(image), 0].numpy(),
                    y1 + (row + (i + 0.5) / samples) * height / size[0],
                    x1 + (column + (j + 0.5) / samples) * width / size[1],
                )
                for i, j in product(range(samples), repeat=2)
            ]
            assert found[number, 0, row, column].item() == pytest.approx(sum(values) / len(values), abs=1e-5)


def test_roi_pool_is_the_maximum_of_the_cells_that_a_bin_touches() -> None:
    import torch
    from mmcv.ops import roi_pool

    features = torch.rand(1, 2, 8, 10, generator=torch.Generator().manual_seed(0))
    rois = torch.tensor([[0, 4.0, 4.0, 27.0, 19.0], [0, 40.0, 2.0, 90.0, 30.0], [0, 9.0, 9.0, 2.0, 2.0]])
    found = roi_pool(features, rois, (2, 3), 0.25)
    # By hand: the first region is columns 1..7, rows 1..5 of the map; its bins are 2 columns and 2 rows.
    assert found[0, 0].tolist() == [
        [features[0, 0, rows, columns].max().item() for columns in (slice(1, 3), slice(3, 5), slice(5, 7))]
        for rows in (slice(1, 3), slice(3, 5))
    ]
    assert found[1].tolist() == [[[0.0] * 3] * 2] * 2, "a region beside the map"
    assert found[2].tolist() == [[[0.0] * 3] * 2] * 2, "a region of no size"


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_those_of_small_steps(name: str) -> None:
    import torch

    run, tensors = LAYERS[name](torch.float64)
    assert torch.autograd.gradcheck(run, tensors, eps=1e-6, atol=1e-5)


def test_a_deformable_convolution_without_offsets_is_a_convolution() -> None:
    import torch
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d

    rng = torch.Generator().manual_seed(0)
    image, weight, bias = (torch.rand(shape, generator=rng) for shape in ((2, 4, 9, 11), (6, 2, 3, 3), (6,)))
    how: dict[str, Any] = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
    expected = torch.nn.functional.conv2d(image, weight, **how)
    offset = torch.zeros(2, 18, *expected.shape[-2:])
    assert torch.allclose(deform_conv2d(image, offset, weight, *how.values(), 1), expected, atol=1e-5)
    mask = torch.full((2, 9, *expected.shape[-2:]), 0.5)
    modulated = modulated_deform_conv2d(image, offset, mask, weight, bias, *how.values(), 1)
    assert torch.allclose(modulated, expected / 2 + bias[:, None, None], atol=1e-5)


def test_an_offset_of_a_cell_moves_what_is_read_by_a_cell() -> None:
    import torch
    from mmcv.ops import deform_conv2d

    image = torch.arange(30.0).reshape(1, 1, 5, 6)
    offset = torch.zeros(1, 2, 5, 6)
    offset[:, 0], offset[:, 1] = 1, 2
    moved = deform_conv2d(image, offset, torch.ones(1, 1, 1, 1), 1, 0, 1, 1, 1)
    assert moved[0, 0, :4, :4].tolist() == image[0, 0, 1:, 2:].tolist()
    assert not moved[0, 0, 4].any() and not moved[0, 0, :, 4:].any()


def test_rtmdet_and_faster_rcnn_predict_and_learn() -> None:
    for boxes, gradients in detections():
        assert len(boxes) > 10
        assert gradients and all(gradient.isfinite().all() for gradient in gradients)


def test_an_op_that_is_missing_is_named_with_its_layer() -> None:
    import torch
    from mmcv.ops import RoIAlign
    from mmcv.ops.carafe import CARAFENaive

    if ops.is_compiled():
        pytest.skip("mmcv's own ops are installed")
    with pytest.raises(
        RequestError, match=r"CARAFENaive calls mmcv's compiled op carafe_naive_forward.*\n  fix: make install-ops"
    ):
        CARAFENaive(3, 1, 2)(torch.zeros(1, 1, 4, 4), torch.zeros(1, 9, 8, 8))
    with pytest.raises(RequestError, match=r"RoIAlign calls mmcv's compiled op roi_align with pool_mode='max'"):
        RoIAlign(2, pool_mode="max")(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5))


@pytest.mark.parametrize(
    ("device", "kernels", "answers"),
    [
        ("cpu", {"cpu"}, "compiled"),
        ("cpu", {"cpu", "cuda"}, "compiled"),
        ("cuda", {"cpu"}, "ours"),
        ("cuda", {"cpu", "cuda"}, "compiled"),
        ("mps", {"cpu", "cuda"}, "ours"),
    ],
)
def test_the_device_decides_whose_op_runs(device: str, kernels: set[str], answers: str) -> None:
    def saying(who: str) -> Any:
        return lambda *args, **kwargs: (who, *args, kwargs)

    boxes: Any = SimpleNamespace(device=SimpleNamespace(type=device))
    op = ops.choose_by_device(saying("compiled"), saying("ours"), kernels)
    assert op(boxes, "scores", offset=1) == (answers, boxes, "scores", {"offset": 1})


def test_installing_twice_changes_nothing() -> None:
    import mmcv._ext

    ops.install()
    once = mmcv._ext.nms
    ops.install()
    assert mmcv._ext.nms is once


def test_every_process_of_the_environment_has_the_ops_and_imports_nothing_for_it() -> None:
    program = (
        "import sys\n"
        "before = [name for name in sys.modules if name.startswith('posetools')]\n"
        "import mmdet.apis, mmpose.apis\n"
        "print(before, 'mmcv._ext' in sys.modules)"
    )
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[] True")
