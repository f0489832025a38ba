"""The compiled ops of mmcv that detectors call, by means of torch and torchvision.

mmcv is installed without compiled ops (``mmcv-lite``), so nothing is compiled and the kernels are torchvision's, on a
CPU and on a GPU. mmcv loads its ops from the module ``mmcv._ext``; where no compiled one exists, ``MissingExtension``
answers ``import mmcv._ext`` with the functions of this file, in mmcv's signatures. Every other op can be imported and
says, when it is called, what to install.

The same finder is in ``posetools_ops.pth``, which the package installs next to itself: OpenMMLab's own tools, torchrun
and spawned workers have the ops too, without a line in a config. It costs nothing until ``mmcv._ext`` is imported.

Signatures and arithmetic follow mmcv 2.1.0 (``mmcv/ops/csrc``); ``make test-ops`` compares with the compiled ones.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, cast

from posetools.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor

Op: TypeAlias = Callable[..., Any]
EXTENSION = "mmcv._ext"
# Of these mmcv has kernels for GPUs only.
_GPU_ONLY = {"roi_pool_forward", "roi_pool_backward"}


def nms(bboxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the boxes to keep, best score first.

    Args:
        bboxes: (N, 4), xyxy, pixels.
        scores: (N,).
        iou_threshold: a box whose IoU with a better one is larger is dropped.
        offset: 0, or 1 for boxes whose last pixel belongs to them (width = x2 - x1 + 1).
    """
    import numpy as np
    from torchvision.ops import nms as by_torchvision

    if offset:
        bboxes = bboxes + bboxes.new_tensor([0, 0, offset, offset])
    # mmcv orders equal scores as torch's plain sort does. torchvision keeps equal scores in the order of its input.
    order = scores.sort(dim=0, descending=True).indices
    # mmcv compares in single precision. torchvision compares with the threshold in double precision, which would drop a
    # box whose IoU is exactly the threshold.
    kept = cast("Tensor", by_torchvision(bboxes[order], scores[order], float(np.float32(iou_threshold))))
    return order[kept]


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    *,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Write boxes and their lowered scores into ``dets`` (N, 5) and return their indices (Bodla et al., 2017).

    Args:
        boxes: (N, 4), xyxy, pixels, on the CPU.
        scores: (N,).
        dets: (N, 5), of which the first rows are written, best first.
        iou_threshold: boxes that overlap a better one by at least this lose score (methods 0 and 1).
        sigma: of method 2.
        min_score: boxes whose score falls below it are dropped.
        method: 0 drops, 1 multiplies the score by 1 - IoU, 2 by exp(-IoU^2 / sigma).
        offset: 0, or 1 for boxes whose last pixel belongs to them.
    """
    import torch

    areas = (boxes[:, 2] - boxes[:, 0] + offset) * (boxes[:, 3] - boxes[:, 1] + offset)
    scores, left = scores.clone(), torch.arange(len(boxes))
    kept: list[int] = []
    while len(left):
        best = int(left[scores[left].argmax()])
        dets[len(kept), :4], dets[len(kept), 4] = boxes[best], scores[best]
        kept.append(best)
        left = left[left != best]
        low = torch.maximum(boxes[best, :2], boxes[left, :2])
        high = torch.minimum(boxes[best, 2:], boxes[left, 2:])
        shared = (high - low + offset).clamp(min=0).prod(dim=1)
        iou = shared / (areas[best] + areas[left] - shared)
        near = iou >= iou_threshold
        weights = (~near, torch.where(near, 1 - iou, 1), (-(iou**2) / sigma).exp())[method]
        scores[left] *= weights
        left = left[scores[left] >= min_score]
    return torch.tensor(kept, dtype=torch.long)


def roi_align_forward(
    input: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor, **given: Any
) -> None:
    """Write the mean over each bin of each region into ``output`` (R, C, H, W); ``rois`` is (R, 5): image, xyxy."""
    from torchvision.ops import roi_align

    del argmax_y, argmax_x
    if given["pool_mode"] != 1:
        _refuse("roi_align with pool_mode='max'")
    size = (given["aligned_height"], given["aligned_width"])
    how = (given["spatial_scale"], given["sampling_ratio"], given["aligned"])
    output.copy_(roi_align(input, rois.type_as(input), size, *how))


def roi_align_backward(
    grad_output: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, grad_input: Tensor, **given: Any
) -> None:
    """Write the gradient of ``roi_align_forward`` into ``grad_input`` (N, C, H, W)."""
    import torch

    del argmax_y, argmax_x
    backward = torch.ops.torchvision._roi_align_backward
    size = (given["aligned_height"], given["aligned_width"], *grad_input.shape)
    how = (given["sampling_ratio"], given["aligned"])
    grad_input.copy_(backward(grad_output, rois.type_as(grad_output), given["spatial_scale"], *size, *how))


def roi_pool_forward(input: Tensor, rois: Tensor, output: Tensor, argmax: Tensor, **given: Any) -> None:
    """Write the maximum over each bin of each region into ``output`` (R, C, H, W), and where it is into ``argmax``.

    torchvision's roi_pool rounds regions to whole cells first, mmcv's does not: this is mmcv's, in torch.
    """
    height, width = input.shape[-2:]
    for number, (image, *region) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (side * given["spatial_scale"] for side in (*region[:2], region[2] + 1, region[3] + 1))
        if x2 <= x1 or y2 <= y1:
            continue
        for row, (top, bottom) in enumerate(_bins(y1, y2, given["pooled_height"], height)):
            for column, (start, stop) in enumerate(_bins(x1, x2, given["pooled_width"], width)):
                if top >= bottom or start >= stop:
                    argmax[number, :, row, column] = -1
                    continue
                values, at = input[int(image), :, top:bottom, start:stop].flatten(1).max(dim=1)
                output[number, :, row, column] = values
                cells = (top + at // (stop - start)) * width + start + at % (stop - start)
                argmax[number, :, row, column] = cells.int()


def _bins(start: float, stop: float, number: int, limit: int) -> list[tuple[int, int]]:
    """Return the whole cells, inside 0..limit, that each of ``number`` equal parts of a range touches."""
    import math

    step = (stop - start) / number
    edges = [(math.floor(i * step + start), math.ceil((i + 1) * step + start)) for i in range(number)]
    return [(min(max(low, 0), limit), min(max(high, 0), limit)) for low, high in edges]


def roi_pool_backward(grad_output: Tensor, rois: Tensor, argmax: Tensor, grad_input: Tensor, **_: Any) -> None:
    """Add the gradient of ``roi_pool_forward`` to ``grad_input`` (N, C, H, W)."""
    for number, image in enumerate(rois[:, 0].long().tolist()):
        at = argmax[number].flatten(1).long()
        grad = grad_output[number].flatten(1) * (at >= 0)
        grad_input[image].view(grad_input.shape[1], -1).scatter_add_(1, at.clamp(min=0), grad)


def _geometry(given: dict[str, Any]) -> tuple[int, ...]:
    """Return stride, padding, dilation, each (height, width), groups and offset groups as torchvision takes them.

    deform_conv names them dH, padW, ...; modulated_deform_conv stride_h, pad_w, ...
    """
    sides = ["dH", "dW", "padH", "padW", "dilationH", "dilationW"]
    if "stride_h" in given:
        sides = [f"{kind}_{side}" for kind in ("stride", "pad", "dilation") for side in "hw"]
    return (*(given[side] for side in sides), given["group"], given["deformable_group"])


def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **given: Any
) -> None:
    """Write the deformable convolution (Dai et al., 2017) into ``output`` (N, C, H, W)."""
    del columns, ones
    output.copy_(_deform(input, weight, offset, None, None, given))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **given: Any,
) -> None:
    """Write the gradients of input and offsets."""
    del columns
    by_input, _, by_offset, *_ = _deform_backward(grad_output, input, weight, offset, None, given)
    grad_input.copy_(by_input)
    grad_offset.copy_(by_offset)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    scale: float,
    **given: Any,
) -> None:
    """Add the gradient of the weights, times ``scale``, to ``grad_weight``."""
    del columns, ones
    _, by_weight, *_ = _deform_backward(grad_output, input, grad_weight, offset, None, given)
    grad_weight.add_(by_weight, alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **given: Any,
) -> None:
    """Write the modulated deformable convolution (Zhu et al., 2019) into ``output`` (N, C, H, W)."""
    del ones, columns
    output.copy_(_deform(input, weight, offset, mask, bias if with_bias else None, given))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **given: Any,
) -> None:
    """Write the gradients of all that ``modulated_deform_conv_forward`` takes."""
    del bias, ones, columns
    found = _deform_backward(grad_output, input, weight, offset, mask, given)
    places = (grad_input, grad_weight, grad_offset, grad_mask, *([grad_bias] if with_bias else []))
    for place, gradient in zip(places, found, strict=False):
        place.copy_(gradient)


def _deform(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None, given: dict[str, Any]
) -> Tensor:
    import torch

    run = torch.ops.torchvision.deform_conv2d
    filled = _filled(input, weight, mask, bias)
    return cast("Tensor", run(input, weight, offset, *filled, *_geometry(given), mask is not None))


def _deform_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, given: dict[str, Any]
) -> Sequence[Tensor]:
    """Return the gradients of input, weight, offset, mask and bias."""
    import torch

    run = torch.ops.torchvision._deform_conv2d_backward
    filled = _filled(input, weight, mask, None)
    found = run(grad_output, input, weight, offset, *filled, *_geometry(given), mask is not None)
    return cast("Sequence[Tensor]", found)


def _filled(input: Tensor, weight: Tensor, mask: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return mask and bias as torchvision takes them: tensors, also where there is none."""
    no_mask, no_bias = input.new_zeros((input.shape[0], 1)), input.new_zeros(weight.shape[0])
    return no_mask if mask is None else mask, no_bias if bias is None else bias


OPS: dict[str, Op] = {
    op.__name__: op
    for op in (
        nms,
        softnms,
        roi_align_forward,
        roi_align_backward,
        roi_pool_forward,
        roi_pool_backward,
        deform_conv_forward,
        deform_conv_backward_input,
        deform_conv_backward_parameters,
        modulated_deform_conv_forward,
        modulated_deform_conv_backward,
    )
}
# What mmcv reports of its build, in its own words for "none".
_BUILD: dict[str, Op] = {
    "get_compiler_version": lambda: "n/a (posetools.mm.ops)",
    "get_compiling_cuda_version": lambda: "not available",
}


class _Extension(ModuleType):
    """``mmcv._ext``: has every op there is, so that every module of mmcv can be imported."""

    def __getattr__(self, name: str) -> Op:
        if name.startswith("_"):
            raise AttributeError(name)

        def missing(*_: Any, **__: Any) -> NoReturn:
            _refuse(name)

        return missing


def _refuse(op: str) -> NoReturn:
    from torch.nn import Module

    callers = (frame.frame.f_locals.get("self") for frame in inspect.stack(context=0))
    layer = next((type(caller).__name__ for caller in callers if isinstance(caller, Module)), None)
    raise RequestError(
        f"{layer or 'the model'} calls mmcv's compiled op {op}, which this environment does not have",
        hint="make install-ops  compiles mmcv's ops (10 to 20 minutes); docs/install.md has the lines for pip",
    )


class MissingExtension:
    """An import finder that gives ``mmcv._ext`` where mmcv has no compiled one; the path's finders are asked first."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> ModuleSpec | None:
        """Return how ``mmcv._ext`` is loaded; None for every other name."""
        return ModuleSpec(EXTENSION, cast("Any", MissingExtension())) if name == EXTENSION else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module, which has ``OPS``."""
        module = _Extension(spec.name, __doc__)
        module.__dict__.update(OPS, **_BUILD)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module is complete."""


def install() -> None:
    """Give mmcv these ops where it has none of its own, also for devices that its own have no kernels for.

    Safe to repeat. Call this before ``mmcv.ops`` is imported.
    """
    if find_spec(EXTENSION) is None:
        sys.meta_path.append(cast("Any", MissingExtension))
    from mmcv.utils import ext_loader

    extension = ext_loader.load_ext("_ext", list(OPS))
    if not is_compiled():
        return
    cuda = {"cuda"} if has_cuda_kernels() else set()
    for name, ours in OPS.items():
        compiled = getattr(extension, name)
        if not hasattr(compiled, "compiled"):
            devices = cuda if name in _GPU_ONLY else {"cpu", *cuda}
            setattr(extension, name, choose_by_device(compiled, ours, devices))


def choose_by_device(compiled: Op, ours: Op, devices: set[str]) -> Op:
    """Return an op that calls the compiled one for tensors on these devices, and ours for all others."""

    def op(first: Tensor, *args: Any, **kwargs: Any) -> Any:
        return (compiled if first.device.type in devices else ours)(first, *args, **kwargs)

    op.compiled = compiled  # type: ignore[attr-defined]
    return op


def is_compiled() -> bool:
    """Return whether mmcv's own compiled ops are installed."""
    import mmcv._ext

    return not isinstance(mmcv._ext, _Extension)


def has_cuda_kernels() -> bool:
    """Return whether mmcv's ops were compiled with CUDA; needs no GPU."""
    from mmcv.ops import get_compiling_cuda_version

    return str(get_compiling_cuda_version()) != "not available"


def backend(device: str) -> str:
    """Return whose ops run on a device (``cpu``, ``cuda:0``) after ``install``: ``mmcv`` or ``torchvision``."""
    kind = device.partition(":")[0]
    return "mmcv" if is_compiled() and (kind == "cpu" or (kind == "cuda" and has_cuda_kernels())) else "torchvision"
