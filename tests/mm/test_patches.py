"""torchvision's NMS in mmcv's place: the same boxes, scores and order."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from posetools.mm import patches as nms_module
from posetools.mm.patches import choose_by_device, has_cuda_kernels, install_nms_fallback, nms_backend, torchvision_nms

pytestmark = pytest.mark.train


@pytest.fixture
def extension() -> Iterator[Any]:
    """Give mmcv's compiled module as mmcv built it, and leave it so."""
    from mmcv.utils import ext_loader

    module = ext_loader.load_ext("_ext", ["nms"])
    before = module.nms
    module.nms = getattr(before, "compiled", before)
    yield module
    module.nms = before


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
CALLS: list[tuple[int, int | None, dict[str, Any]]] = [
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


@pytest.mark.parametrize(("number", "decimals", "options"), CALLS)
@pytest.mark.parametrize("seed", range(5))
def test_nms_keeps_the_same_boxes_in_the_same_order(
    extension: Any, seed: int, number: int, decimals: int | None, options: dict[str, Any]
) -> None:
    import torch
    from mmcv.ops import nms

    boxes, scores = random_boxes(seed, number, decimals=decimals)
    dets, kept = nms(boxes, scores, **options)
    extension.nms = torchvision_nms
    other_dets, other_kept = nms(boxes, scores, **options)

    assert kept.tolist() == other_kept.tolist()
    assert torch.equal(dets, other_dets)
    assert (kept.dtype, dets.dtype) == (other_kept.dtype, other_dets.dtype)
    if number == 300:
        assert 0 < len(kept) <= 300


@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("split_thr", [10000, 50])
@pytest.mark.parametrize("seed", range(3))
def test_batched_nms_keeps_the_same(extension: Any, seed: int, split_thr: int, class_agnostic: bool) -> None:
    import torch
    from mmcv.ops import batched_nms

    boxes, scores = random_boxes(seed, 200, decimals=1)
    classes = torch.arange(200) % 3
    options = {"type": "nms", "iou_threshold": 0.6, "split_thr": split_thr, "max_num": 40}
    dets, kept = batched_nms(boxes, scores, classes, options, class_agnostic=class_agnostic)
    extension.nms = torchvision_nms
    other_dets, other_kept = batched_nms(boxes, scores, classes, options, class_agnostic=class_agnostic)
    assert kept.tolist() == other_kept.tolist()
    assert torch.equal(dets, other_dets)
    assert len(kept) == 40 or class_agnostic


def test_a_box_whose_iou_is_the_threshold_stays(extension: Any) -> None:
    # 0.6 in single precision is larger than 0.6 in double precision, and the IoU of these boxes is just that.
    import torch

    boxes = torch.tensor([[0.0, 0.0, 10.0, 8.0], [0.0, 0.0, 10.0, 4.8]])
    scores = torch.tensor([0.9, 0.8])
    assert extension.nms(boxes, scores, iou_threshold=0.6, offset=0).tolist() == [0, 1]
    assert torchvision_nms(boxes, scores, 0.6, 0).tolist() == [0, 1]


def test_rtmdet_predicts_the_same(extension: Any) -> None:
    import torch
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample
    from mmengine.config import Config
    from mmengine.hub import get_config
    from mmengine.registry import DefaultScope

    config = get_config("mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py")
    assert isinstance(config, Config)
    config.model.backbone.init_cfg = None
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(config.model).eval()
    for head in model.bbox_head.rtm_cls:
        # Fresh weights give every box the same score; these give scores apart from one another.
        torch.nn.init.normal_(head.weight, std=0.5)

    def predict() -> Any:
        sample = DetDataSample(metainfo={"img_shape": (128, 128), "ori_shape": (128, 128), "scale_factor": (1.0, 1.0)})
        images = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            return model.predict(images, [sample])[0].pred_instances

    compiled = predict()
    extension.nms = torchvision_nms
    fallback = predict()
    assert len(compiled) > 10
    assert torch.equal(compiled.bboxes, fallback.bboxes)
    assert torch.equal(compiled.scores, fallback.scores)
    assert torch.equal(compiled.labels, fallback.labels)


@pytest.mark.parametrize(
    ("device", "cuda_kernels", "answers"),
    [
        ("cpu", False, "compiled"),
        ("cpu", True, "compiled"),
        ("cuda", False, "torchvision"),
        ("cuda", True, "compiled"),
        ("mps", True, "torchvision"),
    ],
)
def test_the_device_of_the_boxes_decides_who_answers(
    monkeypatch: pytest.MonkeyPatch, device: str, cuda_kernels: bool, answers: str
) -> None:
    def compiled(bboxes: Any, scores: Any, iou_threshold: float, offset: int) -> Any:
        return ("compiled", bboxes, scores, iou_threshold, offset)

    def fallback(bboxes: Any, scores: Any, iou_threshold: float, offset: int) -> Any:
        return ("torchvision", bboxes, scores, iou_threshold, offset)

    monkeypatch.setattr(nms_module, "torchvision_nms", fallback)
    boxes: Any = SimpleNamespace(device=SimpleNamespace(type=device))
    scores: Any = "scores"
    answer: Any = choose_by_device(compiled, cuda_kernels=cuda_kernels)(boxes, scores, iou_threshold=0.5, offset=1)
    assert answer == (answers, boxes, "scores", 0.5, 1)


def test_installing_twice_is_installing_once(extension: Any) -> None:
    compiled = extension.nms
    install_nms_fallback()
    once = extension.nms
    install_nms_fallback()
    assert extension.nms is once
    assert once.compiled is compiled


def test_what_is_in_force_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert nms_backend("cpu") == "mmcv cpu"
    monkeypatch.setattr(nms_module, "has_cuda_kernels", lambda: True)
    assert nms_backend("cuda:0") == "mmcv cuda"
    assert nms_backend("mps") == "torchvision"
    monkeypatch.setattr(nms_module, "has_cuda_kernels", lambda: False)
    assert nms_backend("cuda:0") == "torchvision"


def test_whether_mmcv_has_cuda_kernels_is_found_without_a_gpu() -> None:
    from mmcv.ops import get_compiling_cuda_version

    assert has_cuda_kernels() == (get_compiling_cuda_version() != "not available")
