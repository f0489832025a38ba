"""The two networks of a bundle: OpenMMLab models as ONNX files, and the settings of their configs.

posetools.runtime does the rest: scaling and cropping, normalization, thresholds and NMS, the maximum of SimCC. All
config settings for these are either in the manifest or checked here: a config with an unsupported setting is refused,
with the name of the setting.

The graphs take normalized images in OpenCV's channel order (blue, green, red), whatever the config's order is, and
any batch size. Boxes are decoded in the graph: its anchor points are constants, so the input size is fixed. With
MMPose's flip test the graph of the pose estimator also runs each crop mirrored, and averages the two outputs.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posetools.errors import RequestError, must_be
from posetools.mm.configs import evaluation_dataset
from posetools.mm.inference import Detector, PoseEstimator
from posetools.runtime.manifest import DetNetwork, PoseNetwork
from posetools.runtime.networks import DETS, SIMCC_X, SIMCC_Y
from posetools.runtime.session import INPUT_NAME

OPSET = 17

DET_HEADS = ("RTMDetHead", "RTMDetSepBNHead")
POSE_HEADS = ("RTMCCHead", "SimCCHead")

# Test pipeline steps that the runtime does too, or that do not affect prediction.
_DET_STEPS = ("LoadImageFromFile", "LoadImageFromNDArray", "Resize", "Pad", "LoadAnnotations", "PackDetInputs")
_POSE_STEPS = ("LoadImage", "GetBBoxCenterScale", "TopdownAffine", "PackPoseInputs")

# Warnings of torch's exporter: (start of the message, why it is harmless).
_HARMLESS = (
    ("You are using the legacy TorchScript-based ONNX export", "the newer one needs more packages"),
    ("The feature will be removed", "the same, in another version"),
    ("Converting a tensor to a Python", "only the batch varies, and these numbers do not depend on it"),
    ("torch.tensor results are registered as constants", "they are constants: the strides"),
    ("`torch.jit.script` is deprecated", "torchvision scripts a loop that is not in the network"),
    ("Exporting aten::index operator of advanced indexing", "no index is negative"),
    ("Constant folding - Only steps=1", "a mirrored axis is not folded, and need not be"),
    ("Constant folding in symbolic shape inference fails", "a mirrored axis is not folded, and need not be"),
)


def det_network(detector: Detector, content: bytes, file: str) -> DetNetwork:
    """Return the manifest's entry for an exported detector.

    Args:
        detector: the model.
        content: its ONNX file.
        file: the file's name in the bundle.

    Raises:
        RequestError: the config has a setting that the runtime does not support.
    """
    name = Path(detector.config.filename).name
    steps = _steps(detector.config, _DET_STEPS)
    resize, pad = steps.get("Resize", {}), steps.get("Pad", {})
    scale, size = (tuple(step.get(key) or ()) for step, key in ((resize, "scale"), (pad, "size")))
    if len(size) != 2 or scale != size or not resize.get("keep_ratio"):
        rule = "Resize(scale, keep_ratio=True), then Pad(size) of the same size"
        raise RequestError(f"{name}: {must_be('test pipeline', rule, [dict(resize), dict(pad)])}")
    # Sides that need padding, or are not multiples of the network's stride, give other anchor points.
    divisor = max(detector.model.data_preprocessor.pad_size_divisor, *map(max, _strides(detector)))
    if any(side % divisor for side in size):
        raise RequestError(f"{name}: {must_be('Pad.size', f'multiples of {divisor}', size)}")
    test = detector.model.bbox_head.test_cfg
    nms = dict(test.get("nms") or {})
    if nms.pop("type", None) != "nms" or set(nms) - {"iou_threshold"}:
        raise RequestError(f"{name}: {must_be('model.test_cfg.nms', 'plain NMS by IoU', dict(test.get('nms') or {}))}")
    smallest = test.get("min_bbox_size", 0)
    if smallest > 0:
        raise RequestError(f"{name}: {must_be('model.test_cfg.min_bbox_size', 'at most 0', smallest)}")
    if len(detector.classes) != detector.model.bbox_head.num_classes:
        rule = f"{detector.model.bbox_head.num_classes} names, one per output of its head"
        raise RequestError(f"{name}: {must_be('the classes of the detector', rule, detector.classes)}")
    return DetNetwork(
        **_of_both(detector.model, content, file, size),
        classes=detector.classes,
        pad_value=_pad_value(pad.get("pad_val", 0)),
        score_thr=float(test.get("score_thr", 0.0)),
        iou_threshold=float(nms["iou_threshold"]),
        max_per_img=int(test.max_per_img),
    )


def pose_network(estimator: PoseEstimator, content: bytes, file: str) -> PoseNetwork:
    """Return the manifest's entry for an exported pose estimator, as ``det_network`` does for a detector."""
    name = Path(estimator.config.filename).name
    steps = _steps(estimator.config, _POSE_STEPS)
    affine, head = steps.get("TopdownAffine", {}), estimator.model.head
    size = tuple(affine.get("input_size", ()))
    codec = head.decoder
    if size != tuple(head.input_size) or affine.get("use_udp", False):
        rule = f"plain, to the head's input_size {tuple(head.input_size)}"
        raise RequestError(f"{name}: test pipeline: {must_be('TopdownAffine', rule, dict(affine))}")
    for option in ("use_dark", "decode_visibility"):
        if getattr(codec, option, False):
            raise RequestError(f"{name}: {must_be(f'decoder.{option}', 'off: the runtime does not support it', True)}")
    return PoseNetwork(
        **_of_both(estimator.model, content, file, size),
        num_keypoints=estimator.num_keypoints,
        split_ratio=float(codec.simcc_split_ratio),
        padding=float(steps.get("GetBBoxCenterScale", {}).get("padding", 1.25)),
    )


def check_heads(detector: Detector, estimator: PoseEstimator) -> None:
    """Refuse models with unsupported heads.

    Raises:
        RequestError: a head is not supported.
    """
    det_head = getattr(detector.model, "bbox_head", None) or getattr(detector.model, "roi_head", None)
    for model, head, known in (
        (detector, det_head, DET_HEADS),
        (estimator, getattr(estimator.model, "head", None), POSE_HEADS),
    ):
        kind = type(head).__name__
        if kind not in known:
            raise RequestError(
                f"{model.config.filename}: posetools export supports the heads {' and '.join(known)}, "
                f"but this config has {kind}, which needs a decoder that a bundle does not have"
            )
    coder = type(detector.model.bbox_head.bbox_coder).__name__
    if coder != "DistancePointBBoxCoder" or not detector.model.bbox_head.use_sigmoid_cls:
        raise RequestError(
            f"{detector.config.filename}: {must_be('bbox_coder', 'DistancePointBBoxCoder with sigmoid scores', coder)}"
        )


def export_det(detector: Detector, size: tuple[int, int]) -> bytes:
    """Return the ONNX file of a detector for inputs of ``size`` (width, height)."""
    return _export(det_module(detector, size), size, [DETS])


def export_pose(estimator: PoseEstimator, size: tuple[int, int]) -> bytes:
    """Return the ONNX file of a pose estimator for inputs of ``size`` (width, height)."""
    return _export(pose_module(estimator), size, [SIMCC_X, SIMCC_Y])


def input_size_of(model: Detector | PoseEstimator) -> tuple[int, int]:
    """Return the input size (width, height) of the test pipeline.

    Raises:
        RequestError: the pipeline has no such size.
    """
    steps = [dict(step) for step in evaluation_dataset(model.config)["pipeline"]]
    for step in steps:
        size = step.get("size") if _kind(step) == "Pad" else step.get("input_size")
        if size is not None:
            return int(size[0]), int(size[1])
    names = ", ".join(_kind(step) for step in steps)
    raise RequestError(f"{model.config.filename}: test pipeline must have Pad(size) or TopdownAffine, got {names}")


def det_module(detector: Detector, size: tuple[int, int]) -> Any:
    """Return a torch Module of (B, 3, h, w) -> (B, A, 4 + C): boxes in pixels of the input, then scores."""
    import torch

    model, head = detector.model, detector.model.bbox_head
    flip, classes = is_rgb(model), head.cls_out_channels
    shapes = [(size[1] // stride[1], size[0] // stride[0]) for stride in _strides(detector)]
    device = next(model.parameters()).device
    points = torch.cat(head.prior_generator.grid_priors(shapes, device=device))[:, :2]

    def rows(maps: Any, columns: int) -> Any:
        levels = zip(maps, shapes, strict=True)
        return torch.cat([part.permute(0, 2, 3, 1).reshape(-1, h * w, columns) for part, (h, w) in levels], 1)

    class DetModule(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by mypy.
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.neck, self.bbox_head = model.backbone, model.neck, head
            self.register_buffer("points", torch.cat([points, points], 1), persistent=False)
            self.register_buffer("signs", points.new_tensor([-1, -1, 1, 1]), persistent=False)

        def forward(self, images: Any) -> Any:
            images = torch.flip(images, (1,)) if flip else images
            scores, distances = self.bbox_head(self.neck(self.backbone(images)))
            boxes = self.points + self.signs * rows(distances, 4)
            return torch.cat([boxes, rows(scores, classes).sigmoid()], 2)

    return DetModule().eval()


def pose_module(estimator: PoseEstimator) -> Any:
    """Return a torch Module of (B, 3, h, w) -> simcc_x (B, K, X), simcc_y (B, K, Y), with the model's own flip test."""
    import torch

    model = estimator.model
    flip, mirror = is_rgb(model), bool(model.test_cfg.get("flip_test", False))
    swapped = [int(i) for i in estimator.meta["flip_indices"]] if mirror else []

    class PoseModule(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by mypy.
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = model.backbone, model.head
            self.neck = model.neck if model.with_neck else torch.nn.Identity()

        def forward(self, crops: Any) -> tuple[Any, Any]:
            crops = torch.flip(crops, (1,)) if flip else crops
            if mirror:
                crops = torch.cat([crops, torch.flip(crops, (3,))])
            x, y = self.head(self.neck(self.backbone(crops)))
            if not mirror:
                return x, y
            x, y = (part.reshape(2, -1, *map(int, part.shape[1:])) for part in (x, y))
            return (x[0] + torch.flip(x[1][:, swapped], (2,))) * 0.5, (y[0] + y[1][:, swapped]) * 0.5

    return PoseModule().eval()


def _export(module: Any, size: tuple[int, int], outputs: Sequence[str]) -> bytes:
    import torch

    device = next(module.parameters()).device
    # More than one: with a traced batch of 1, shapes of 1 would become constants.
    example = torch.zeros((2, 3, size[1], size[0]), device=device)
    return export_module(module, {INPUT_NAME: example}, outputs, free=dict.fromkeys((INPUT_NAME, *outputs), "batch"))


def export_module(module: Any, inputs: Mapping[str, Any], outputs: Sequence[str], *, free: Mapping[str, str]) -> bytes:
    """Return the ONNX file of a torch Module.

    Args:
        module: in evaluation mode.
        inputs: an example of each input, by its name.
        outputs: the names of the outputs.
        free: inputs and outputs whose first axis may have any size, each with a name for it; other sizes are fixed.
    """
    import onnx
    import torch

    examples = tuple(inputs.values())
    # Torch 2.1 has only this exporter, and no parameter to choose it.
    legacy = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    buffer = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        for message, _ in _HARMLESS:
            warnings.filterwarnings("ignore", message=message)
        torch.onnx.export(
            module,
            examples,
            buffer,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: axis} for name, axis in free.items()},
            opset_version=OPSET,
            do_constant_folding=True,
            **legacy,
        )
        found = module(*examples)
        shapes = [value.shape for value in (found if isinstance(found, tuple) else (found,))]
    model = onnx.load_from_string(buffer.getvalue())
    for output, shape in zip(model.graph.output, shapes, strict=True):
        # The exporter does not see that a reshaped axis is constant.
        for axis, side in list(enumerate(shape))[1:]:
            output.type.tensor_type.shape.dim[axis].dim_value = side
    content: bytes = model.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    return content


def _steps(config: Any, known: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Return the steps of the test pipeline by their names without scope."""
    steps: dict[str, Mapping[str, Any]] = {_kind(step): dict(step) for step in evaluation_dataset(config)["pipeline"]}
    unknown = [name for name in steps if name not in known]
    if unknown:
        raise RequestError(
            f"{config.filename}: test pipeline has {', '.join(unknown)}, which a bundle's runtime does not support",
            hint=f"use only {', '.join(known)}",
        )
    return steps


def _strides(detector: Detector) -> Any:
    return detector.model.bbox_head.prior_generator.strides


def _kind(step: Mapping[str, Any]) -> str:
    return str(step["type"]).rpartition(".")[2]


def is_rgb(model: Any) -> bool:
    """Return whether a model's network expects red first (OpenCV has blue first)."""
    return bool(model.data_preprocessor._channel_conversion)


def _of_both(model: Any, content: bytes, file: str, size: Sequence[int]) -> dict[str, Any]:
    """Return the manifest fields of either network.

    Mean and std are in the order blue, green, red; the config's are in the network's order.
    """
    digest = hashlib.sha256(content).hexdigest()
    entry = {"file": file, "sha256": digest, "input_size": (int(size[0]), int(size[1]))}
    preprocessor = model.data_preprocessor
    if not preprocessor._enable_normalize:
        return {**entry, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    for name in ("mean", "std"):
        values = getattr(preprocessor, name)
        # As in the config: 58.395, not the 58.39500045776367 of a float32.
        numbers = [float(f"{value:.7g}") for value in values.flatten().tolist()]
        numbers = numbers * 3 if len(numbers) == 1 else numbers
        entry[name] = tuple(reversed(numbers)) if is_rgb(model) else tuple(numbers)
    return entry


def _pad_value(value: Any) -> tuple[float, float, float]:
    given = value.get("img", 0) if isinstance(value, Mapping) else value
    blue, green, red = given if isinstance(given, list | tuple) else (given,) * 3
    return float(blue), float(green), float(red)
