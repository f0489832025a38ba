"""The same calls by mmcv's compiled ops and by ours: ``make test-ops`` compiles mmcv and runs this file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from posetools.mm import ops
from tests.mm.op_cases import LAYERS, NMS_CALLS, detections, random_boxes

pytestmark = pytest.mark.train


@pytest.fixture(autouse=True)
def compiled() -> None:
    ops.install()
    if not ops.is_compiled():
        pytest.skip("mmcv has no compiled ops here (make test-ops)")


@contextmanager
def ours() -> Iterator[None]:
    import mmcv._ext

    before = {name: getattr(mmcv._ext, name) for name in ops.OPS}
    for name, op in ops.OPS.items():
        setattr(mmcv._ext, name, op)
    try:
        yield
    finally:
        for name, op in before.items():
            setattr(mmcv._ext, name, op)


@pytest.mark.parametrize(("number", "decimals", "options"), NMS_CALLS)
@pytest.mark.parametrize("seed", range(5))
def test_nms_keeps_the_same_boxes_in_the_same_order(
    seed: int, number: int, decimals: int | None, options: dict[str, Any]
) -> None:
    import torch
    from mmcv.ops import nms

    boxes, scores = random_boxes(seed, number, decimals=decimals)
    dets, kept = nms(boxes, scores, **options)
    with ours():
        other_dets, other_kept = nms(boxes, scores, **options)
    assert kept.tolist() == other_kept.tolist()
    assert torch.equal(dets, other_dets)
    assert (kept.dtype, dets.dtype) == (other_kept.dtype, other_dets.dtype)


@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("split_thr", [10000, 50])
def test_batched_nms_keeps_the_same(split_thr: int, class_agnostic: bool) -> None:
    import torch
    from mmcv.ops import batched_nms

    boxes, scores = random_boxes(0, 200, decimals=1)
    given = (boxes, scores, torch.arange(200) % 3)
    options = {"type": "nms", "iou_threshold": 0.6, "split_thr": split_thr, "max_num": 40}
    dets, kept = batched_nms(*given, options, class_agnostic=class_agnostic)
    with ours():
        other_dets, other_kept = batched_nms(*given, options, class_agnostic=class_agnostic)
    assert kept.tolist() == other_kept.tolist()
    assert torch.equal(dets, other_dets)


@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
def test_soft_nms_gives_the_same(method: str) -> None:
    import torch
    from mmcv.ops import soft_nms

    boxes, scores = random_boxes(4, 200)
    dets, kept = soft_nms(boxes, scores, min_score=0.05, method=method)
    with ours():
        other_dets, other_kept = soft_nms(boxes, scores, min_score=0.05, method=method)
    assert kept.tolist() == other_kept.tolist()
    assert torch.allclose(dets, other_dets, atol=1e-6)


# mmcv has RoIPool for GPUs only.
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "roi_pool"])
def test_layers_and_their_gradients_are_within_1e_5(name: str) -> None:
    import torch

    run, tensors = LAYERS[name](torch.float32)

    def both() -> list[Any]:
        output = run(*tensors)
        weights = torch.rand(output.shape, generator=torch.Generator().manual_seed(1))
        return [output.detach(), *torch.autograd.grad((output * weights).sum(), tensors)]

    expected = both()
    with ours():
        found = both()
    for one, other in zip(expected, found, strict=True):
        assert (one - other).abs().max().item() <= 1e-5 * max(1.0, one.abs().max().item())


def test_rtmdet_and_faster_rcnn_detect_the_same() -> None:
    import torch

    expected = list(detections())
    with ours():
        found = list(detections())
    for (boxes, gradients), (other_boxes, other_gradients) in zip(expected, found, strict=True):
        assert len(boxes) > 10
        assert torch.allclose(boxes, other_boxes, atol=1e-4)
        assert torch.equal(boxes[:, 5], other_boxes[:, 5])
        for one, other in zip(gradients, other_gradients, strict=True):
            assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)
