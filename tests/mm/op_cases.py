"""Calls of mmcv's ops, for the tests of their values and for the comparison with compiled ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def random_boxes(seed: int, number: int, *, decimals: int | None = None) -> tuple[Any, Any]:
    """Return boxes (N, 4) that overlap a lot, and scores (N,); few decimals make ties in IoU and in score."""
    import torch

    rng = torch.Generator().manual_seed(seed)
    corners = torch.rand(number, 2, generator=rng) * 60
    boxes = torch.cat([corners, corners + 5 + torch.rand(number, 2, generator=rng) * 40], dim=1)
    scores = torch.rand(number, generator=rng)
    if decimals is not None:
        boxes, scores = boxes.round(), scores.round(decimals=decimals)
    return boxes, scores


# One call of mmcv's nms each: number of boxes, decimals of the scores, and the options.
NMS_CALLS: list[tuple[int, int | None, dict[str, Any]]] = [
    (300, None, {"iou_threshold": 0.65}),
    (300, None, {"iou_threshold": 0.5, "offset": 1}),
    (300, None, {"iou_threshold": 0.65, "score_threshold": 0.3, "max_num": 20}),
    (300, 1, {"iou_threshold": 0.6}),
    (300, 1, {"iou_threshold": 0.5, "offset": 1}),
    (300, 0, {"iou_threshold": 0.6, "score_threshold": 0.5, "max_num": 5}),
    (300, 1, {"iou_threshold": 0.0}),
    (300, 1, {"iou_threshold": 1.0}),
    (1, None, {"iou_threshold": 0.65}),
    (0, None, {"iou_threshold": 0.65}),
    (0, None, {"iou_threshold": 0.65, "offset": 1, "score_threshold": 0.1, "max_num": 3}),
]


def _rois(kind: Any) -> Any:
    import torch

    return torch.tensor([[0, 3.3, 2.1, 30.7, 21.2], [1, -5.2, 4.4, 60.9, 35.3], [1, 8.1, 9.2, 12.3, 13.4]], dtype=kind)


def _random(kind: Any, *shapes: tuple[int, ...]) -> list[Any]:
    import torch

    rng = torch.Generator().manual_seed(0)
    return [torch.rand(shape, generator=rng, dtype=torch.float64).to(kind).requires_grad_() for shape in shapes]


def _roi_align(aligned: bool, samples: int) -> Callable[[Any], tuple[Any, Any]]:
    def case(kind: Any) -> tuple[Any, Any]:
        from mmcv.ops import roi_align

        rois = _rois(kind)
        return lambda x: roi_align(x, rois, (3, 4), 0.25, samples, "avg", aligned), tuple(_random(kind, (2, 2, 9, 12)))

    return case


def _roi_pool(kind: Any) -> tuple[Any, Any]:
    from mmcv.ops import roi_pool

    rois = _rois(kind)
    return lambda x: roi_pool(x, rois, (2, 3), 0.25), tuple(_random(kind, (2, 2, 9, 12)))


def _deform_conv(kind: Any) -> tuple[Any, Any]:
    from mmcv.ops import deform_conv2d

    tensors = _random(kind, (2, 4, 6, 7), (2, 36, 3, 7), (6, 2, 3, 3))
    return lambda *given: deform_conv2d(*given, (2, 1), (1, 2), (1, 2), 2, 2), tuple(tensors)


def _modulated(bias: bool) -> Callable[[Any], tuple[Any, Any]]:
    def case(kind: Any) -> tuple[Any, Any]:
        from mmcv.ops import modulated_deform_conv2d

        shapes = [(2, 4, 6, 7), (2, 36, 3, 7), (2, 18, 3, 7), (6, 2, 3, 3), *([(6,)] if bias else [])]

        def run(*given: Any) -> Any:
            full = given if bias else (*given, None)
            return modulated_deform_conv2d(*full, (2, 1), (1, 2), (1, 2), 2, 2)

        return run, tuple(_random(kind, *shapes))

    return case


# Name -> for a dtype, the function and the tensors that it is differentiated by.
LAYERS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "roi_align": _roi_align(True, 0),
    "roi_align, two samples": _roi_align(True, 2),
    "roi_align, not aligned": _roi_align(False, 2),
    "roi_pool": _roi_pool,
    "deform_conv": _deform_conv,
    "modulated_deform_conv": _modulated(True),
    "modulated_deform_conv without bias": _modulated(False),
}


def detections() -> Iterator[tuple[Any, list[Any]]]:
    """Yield, for RTMDet-tiny and for Faster R-CNN, (N, 6) boxes with scores and labels, and gradients of a loss."""
    import torch
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample
    from mmengine.hub import get_config
    from mmengine.registry import DefaultScope
    from mmengine.structures import InstanceData

    for name in ("rtmdet/rtmdet_tiny_8xb32-300e_coco.py", "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"):
        config: Any = get_config(f"mmdet::{name}")
        config.model.backbone.init_cfg = None
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope("mmdet"):
            model = MODELS.build(config.model)
        for layer in model.modules():
            # Fresh weights give every box the same score; these give scores apart from one another.
            if isinstance(layer, torch.nn.Linear) or (isinstance(layer, torch.nn.Conv2d) and layer.out_channels == 80):
                torch.nn.init.normal_(layer.weight, std=0.5)
        images = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
        sizes = dict.fromkeys(("img_shape", "ori_shape", "pad_shape", "batch_input_shape"), (128, 128))
        shape: dict[str, Any] = {**sizes, "scale_factor": (1.0, 1.0)}
        truth = DetDataSample(metainfo=shape)
        truth.gt_instances = InstanceData(bboxes=torch.tensor([[10.0, 20, 90, 100]]), labels=torch.tensor([2]))
        truth.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        model.train()
        losses = model.loss(images, [truth])
        sum(part for each in losses.values() for part in (each if isinstance(each, list) else [each])).backward()
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        model.eval()
        with torch.no_grad():
            found = model.predict(images, [DetDataSample(metainfo=shape)])[0].pred_instances
        yield torch.cat([found.bboxes, found.scores[:, None], found.labels[:, None]], dim=1), gradients
