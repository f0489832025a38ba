"""Bundles whose networks compute something visible in an image.

The detector's anchors are the cells of a grid; the score of a cell is its mean blue value (class ``car``) or mean green
value (class ``van``), 0 to 1, and its box is the cell. The pose estimator's keypoints are the bluest, the greenest and
the reddest point of its input, with that value as score.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image as Pillow

from posetools.core.skeleton import Skeleton
from posetools.imaging.header import Pixels
from posetools.runtime.bundle import write_bundle
from posetools.runtime.manifest import DetNetwork, Manifest, PoseNetwork, Sample, Thresholds
from posetools.runtime.session import Singles

OPSET = 17
CELL = 8
DET_SIZE = (96, 64)
POSE_SIZE = (48, 64)
SPLIT_RATIO = 2.0

SKELETON = Skeleton.model_validate(
    {
        "name": "dots",
        "category": {"name": "car"},
        "keypoints": [{"name": "blue"}, {"name": "green"}, {"name": "red"}],
        "links": [{"points": ["blue", "red"]}],
        "sigmas": [0.05] * 3,
        "joint_weights": [1.0] * 3,
    }
)


def model(
    nodes: list[Any], initializers: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, Any], **more: Any
) -> bytes:
    """Return an ONNX file; inputs and outputs are shapes of float32."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in initializers.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, **more)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def cells(size: tuple[int, int] = DET_SIZE) -> Singles:
    """Return the (A, 4) boxes of the detector's grid, row by row."""
    x, y = np.meshgrid(np.arange(0, size[0], CELL), np.arange(0, size[1], CELL))
    corners = np.stack([x.ravel(), y.ravel()], axis=1)
    boxes: Singles = np.concatenate([corners, corners + CELL], axis=1).astype(np.float32)
    return boxes


def det_model(size: tuple[int, int] = DET_SIZE) -> bytes:
    """Return the detector of two classes."""
    anchors = len(cells(size))
    nodes = [
        helper.make_node("AveragePool", ["input"], ["means"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Reshape", ["means", "flat"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("Slice", ["columns", "zero", "two", "last"], ["values"]),
        helper.make_node("Mul", ["values", "share"], ["scores"]),
        helper.make_node("ReduceSum", ["scores", "last"], ["sums"], keepdims=1),
        helper.make_node("Mul", ["sums", "nought"], ["noughts"]),
        helper.make_node("Add", ["noughts", "cells"], ["boxes"]),
        helper.make_node("Concat", ["boxes", "scores"], ["dets"], axis=2),
    ]
    constants = {
        "flat": np.array([0, 3, -1]),
        "zero": np.array([0]),
        "two": np.array([2]),
        "last": np.array([2]),
        "share": np.float32(1 / 255),
        "nought": np.float32(0),
        "cells": cells(size)[None],
    }
    shape = {"input": ["batch", 3, size[1], size[0]]}
    return model(nodes, constants, shape, {"dets": ["batch", anchors, 6]})


def pose_model(size: tuple[int, int] = POSE_SIZE) -> bytes:
    """Return the pose estimator of three keypoints."""
    width, height = size
    nodes = [
        helper.make_node("Mul", ["input", "share"], ["values"]),
        helper.make_node("ReduceMax", ["values"], ["columns"], axes=[2], keepdims=0),
        helper.make_node("ReduceMax", ["values"], ["rows"], axes=[3], keepdims=0),
        helper.make_node("Gather", ["columns", "twice_x"], ["simcc_x"], axis=2),
        helper.make_node("Gather", ["rows", "twice_y"], ["simcc_y"], axis=2),
    ]
    constants = {
        "share": np.float32(1 / 255),
        "twice_x": np.arange(width).repeat(2),
        "twice_y": np.arange(height).repeat(2),
    }
    outputs = {"simcc_x": ["batch", 3, 2 * width], "simcc_y": ["batch", 3, 2 * height]}
    return model(nodes, constants, {"input": ["batch", 3, height, width]}, outputs)


def det_network(content: bytes, **changes: Any) -> DetNetwork:
    """Return the detector's manifest entry."""
    fields: dict[str, Any] = {
        "file": "det.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "input_size": DET_SIZE,
        "mean": (0, 0, 0),
        "std": (1, 1, 1),
        "classes": ("car", "van"),
        "pad_value": (114, 114, 114),
        "score_thr": 0.6,
        "iou_threshold": 0.5,
        "max_per_img": 100,
    }
    return DetNetwork.model_validate({**fields, **changes})


def pose_network(content: bytes, **changes: Any) -> PoseNetwork:
    """Return the pose estimator's manifest entry."""
    fields: dict[str, Any] = {
        "file": "pose.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "input_size": POSE_SIZE,
        "mean": (0, 0, 0),
        "std": (1, 1, 1),
        "num_keypoints": 3,
        "split_ratio": SPLIT_RATIO,
        "padding": 1.25,
    }
    return PoseNetwork.model_validate({**fields, **changes})


def image(seed: int = 0, size: tuple[int, int] = (192, 128)) -> Pixels:
    """Return a gray image of ``size`` (width, height) with a few blue patches, and dots in them."""
    rng = np.random.default_rng(seed)
    made = rng.integers(0, 60, (size[1], size[0], 3), dtype=np.uint8)
    for place in rng.choice(6, size=2, replace=False):
        x, y = 16 + 56 * (place % 3), 16 + 56 * (place // 3)
        made[y : y + 32, x : x + 32, 0] = 200 + 8 * place
        for channel in (1, 2):
            dot = rng.integers(2, 28, 2)
            made[y + dot[1] : y + dot[1] + 3, x + dot[0] : x + dot[0] + 3, channel] = 250
    return made


def png(made: Pixels) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(made[..., ::-1]).save(buffer, format="PNG")
    return buffer.getvalue()


def parts(samples: tuple[Sample, ...] = (), **det: Any) -> tuple[Manifest, dict[str, bytes]]:
    """Return the manifest and the networks of a bundle; ``det`` are changes to the detector's fields."""
    files = {"det.onnx": det_model(), "pose.onnx": pose_model()}
    manifest = Manifest(
        made_by="tests",
        precision="float32",
        skeleton=SKELETON,
        det=det_network(files["det.onnx"], **det),
        pose=pose_network(files["pose.onnx"]),
        thresholds=Thresholds(bbox_thr=0.7, nms_thr=0.3, kpt_thr=0.3),
        metrics={"bbox AP": 0.5, "PCK@0.1": None},
        samples=samples,
    )
    return manifest, files


def write(path: Path, seeds: tuple[int, ...] = (0, 1)) -> Path:
    """Write a bundle with one sample per seed, with the bundle's own output as expected output."""
    from posetools.pairs.pipeline import PosePipeline

    manifest, files = parts()
    write_bundle(path, manifest, files)
    pipeline = PosePipeline.from_bundle(path)
    samples = []
    for seed in seeds:
        files[f"samples/{seed}.png"] = png(image(seed))
        found = pipeline(image(seed))
        samples.append(
            Sample(
                file=f"samples/{seed}.png",
                boxes=found.boxes.tolist(),
                scores=found.scores.tolist(),
                keypoints=found.keypoints.tolist(),
                keypoint_scores=found.keypoint_scores.tolist(),
            )
        )
    write_bundle(path, manifest.model_copy(update={"samples": tuple(samples)}), files)
    return path
