"""What is changed in OpenMMLab while posetools uses it: every patch is here. Checked with mmengine 0.10.7, mmcv 2.1.0.

For a whole process: checkpoints are loaded without running what is in them, and torchvision does NMS where mmcv was
built without CUDA kernels. NMS is the one compiled op of mmcv that RTMDet and RTMPose call, when they predict. An mmcv
built on a machine without a CUDA toolkit has it for the CPU only. On tensors elsewhere torchvision's answers, at
the narrowest point: ``mmcv._ext.nms``, below everything that mmcv and mmdet do around it (score threshold, largest
number, one offset per class, splitting), so that all of that stays theirs.

For one run (``patched_run``): its device, how it saves, how it lays out its config, and what W&B is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

if TYPE_CHECKING:
    from torch import Tensor

Backend: TypeAlias = Literal["mmcv cuda", "torchvision", "mmcv cpu"]
# What mmcv calls: the indices of the boxes (N, 4) to keep, best score (N,) first.
Nms: TypeAlias = Callable[..., "Tensor"]


def nms_backend(device: str) -> Backend:
    """Return whose NMS is in force on a device (``cpu``, ``cuda:0``) once ``install_nms_fallback`` has been called."""
    if device.partition(":")[0] == "cpu":
        return "mmcv cpu"
    return "mmcv cuda" if has_cuda_kernels() and device.startswith("cuda") else "torchvision"


def has_cuda_kernels() -> bool:
    """Return whether mmcv's ops were compiled with CUDA; needs no GPU."""
    from mmcv.ops import get_compiling_cuda_version

    return str(get_compiling_cuda_version()) != "not available"


def install_nms_fallback() -> None:
    """Let torchvision answer where mmcv's compiled NMS has no kernel. Safe to repeat."""
    from mmcv.utils import ext_loader

    extension = ext_loader.load_ext("_ext", ["nms"])
    if not hasattr(extension.nms, "compiled"):
        extension.nms = choose_by_device(extension.nms, cuda_kernels=has_cuda_kernels())


def choose_by_device(compiled: Nms, *, cuda_kernels: bool) -> Nms:
    """Return an NMS that calls the compiled one where it has a kernel for the boxes' device, else torchvision's."""
    with_kernels = {"cpu", "cuda"} if cuda_kernels else {"cpu"}

    def nms(bboxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
        chosen = compiled if bboxes.device.type in with_kernels else torchvision_nms
        return chosen(bboxes, scores, iou_threshold=iou_threshold, offset=offset)

    nms.compiled = compiled  # type: ignore[attr-defined]
    return nms


def torchvision_nms(bboxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the boxes to keep, best score first: mmcv's NMS by means of torchvision's.

    Args:
        bboxes: (N, 4), xyxy, pixels.
        scores: (N,).
        iou_threshold: a box whose IoU with a better one is larger than this is dropped.
        offset: 0, or 1 for boxes whose last pixel belongs to them (width = x2 - x1 + 1).
    """
    import numpy as np
    from torchvision.ops import nms

    if offset:
        bboxes = bboxes + bboxes.new_tensor([0, 0, offset, offset])
    # Among equal scores mmcv's order is that of torch's plain sort, which is not that of the input. torchvision sorts
    # by score too, but leaves equals as they come: handed boxes in mmcv's order, it keeps to it.
    order = scores.sort(dim=0, descending=True).indices
    # mmcv compares in single precision. torchvision would compare a single-precision IoU with the threshold in
    # double precision, and drop a box whose IoU is exactly the threshold.
    kept = cast("Tensor", nms(bboxes[order], scores[order], float(np.float32(iou_threshold))))
    return order[kept]


def load_checkpoints_by(local: Callable[..., Any], url: Callable[..., Any]) -> None:
    """Let mmengine's Runner and every ``init_model`` load checkpoints by these functions."""
    from mmengine.runner import CheckpointLoader
    from mmengine.runner import checkpoint as module

    CheckpointLoader.register_scheme("", local, force=True)
    # mmengine downloads with torch.hub, which unpickles anything; its other loaders of URLs all call this name.
    module.load_url = url


@contextmanager
def _lent(owner: Any, name: str, value: Any) -> Iterator[None]:
    stock = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, stock)


@contextmanager
def runner_device(device: str) -> Iterator[None]:
    """Make mmengine's Runner use this device: by itself it takes the first GPU whenever there is one."""
    from mmengine.device import utils

    if device.startswith("cuda"):
        import torch

        torch.cuda.set_device(device)
    with _lent(utils, "DEVICE", device.partition(":")[0]):
        yield


@contextmanager
def patched_run(config: Any, device: str, save: Callable[..., None]) -> Iterator[None]:
    """Let a Runner that is built and run within do what posetools needs, and write checkpoints by ``save``."""
    from mmengine.config import config as of_config
    from mmengine.runner import runner as of_runner
    from mmengine.visualization import WandbVisBackend

    def send_config_only(self: Any, config: Any, **_: Any) -> None:
        # The stock method lets W&B upload the Python files of the current folder, and no setting switches that off.
        self.experiment.config.update(config.to_dict(), allow_val_change=True)

    layout, known = of_config.FormatCode, dict[str, Any]()

    def layout_once(text: str, **style: Any) -> Any:
        # yapf takes a second for the text of the config, with every checkpoint anew.
        if text not in known:
            known[text] = layout(text, **style)
        return known[text]

    _forget_visualizer(config)
    with ExitStack() as stack:
        stack.enter_context(runner_device(device))
        stack.enter_context(_lent(of_runner, "save_checkpoint", save))
        stack.enter_context(_lent(of_config, "FormatCode", layout_once))
        stack.enter_context(_lent(WandbVisBackend, "add_config", send_config_only))
        yield


def _forget_visualizer(config: Any) -> None:
    """Let mmengine build a new visualizer: one of the same name would write into the folder of an earlier start."""
    from mmengine.visualization import Visualizer

    kinds = [Visualizer]
    while kinds:
        kind = kinds.pop()
        kind._instance_dict.pop((config.get("visualizer") or {}).get("name"), None)
        kinds += kind.__subclasses__()
