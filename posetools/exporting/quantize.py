"""Smaller networks for a bundle: float16 weights, or int8 weights and activations.

Both keep everything after the last convolutions in float32: the decoding of boxes, whose pixels need more than eight or
eleven bits, and the averaging of the flip test. The caller measures the remaining loss.

int8: quantize-dequantize pairs around the convolutions, one scale per output channel of the weights, activation ranges
from calibration images. Weights use seven of the eight bits, because processors without VNNI instructions add products
in sixteen bits, which eight would overflow: so the bundle gives the same results everywhere.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from posetools.runtime.session import INPUT_NAME

# Operators that compute features; everything after the last of these on a path is decoding.
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def to_half(content: bytes) -> bytes:
    """Return the ONNX file with weights and arithmetic of float16; its inputs and outputs stay float32."""
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = onnx.load_from_string(content)
    with warnings.catch_warnings():
        # Numbers too small for float16 are rounded; the loss is measured, so no warning.
        warnings.simplefilter("ignore", UserWarning)
        half = convert_float_to_float16(
            model,
            keep_io_types=True,
            # ReduceL2 of the pose head's norm sums squares, which would overflow.
            op_block_list=[*DEFAULT_OP_BLOCK_LIST, "ReduceL2"],
            node_block_list=decoding_nodes(model),
        )
    # Casts of inputs come last in its nodes; other programs than onnxruntime need them first.
    sortable = OnnxModel(half)
    sortable.topological_sort()
    onnx.checker.check_model(sortable.model)
    serialized: bytes = sortable.model.SerializeToString()
    return serialized


def to_int8(content: bytes, batches: Iterable[npt.NDArray[np.float32]]) -> bytes:
    """Return the ONNX file with convolutions of int8.

    Args:
        content: the float32 file.
        batches: inputs (B, 3, h, w) to calibrate with.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    left = iter(batches)

    class CalibrationReader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not followed by mypy.
        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            batch = next(left, None)
            return None if batch is None else {INPUT_NAME: batch}

    with tempfile.TemporaryDirectory() as folder, _silent():
        plain, prepared, small = (Path(folder) / name for name in ("plain.onnx", "prepared.onnx", "small.onnx"))
        plain.write_bytes(content)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        quantize_static(
            prepared,
            small,
            CalibrationReader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*decoding_nodes(model), *_last_convolutions(model)],
            calibrate_method=CalibrationMethod.MinMax,
        )
        quantized = onnx.load(small)
    # onnxruntime declares all of its domains.
    used = {node.domain for node in quantized.graph.node}
    declared = [opset for opset in quantized.opset_import if opset.domain in used]
    del quantized.opset_import[:]
    quantized.opset_import.extend(declared)
    onnx.checker.check_model(quantized)
    serialized: bytes = quantized.SerializeToString()
    return serialized


def decoding_nodes(model: Any) -> list[str]:
    """Return the names of the nodes that no convolution or matrix product depends on."""
    followed: set[str] = set()
    names: list[str] = []
    # Nodes are in topological order.
    for node in reversed(model.graph.node):
        if node.op_type in _WEIGHTED or any(output in followed for output in node.output):
            followed.update(node.input)
        else:
            names.append(node.name)
    return names


def _last_convolutions(model: Any) -> list[str]:
    """Return the names of the convolutions whose results only decoding uses."""
    decoding = set(decoding_nodes(model))
    users: dict[str, list[str]] = {}
    for node in model.graph.node:
        for value in node.input:
            users.setdefault(value, []).append(node.name)
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and all(user in decoding for value in node.output for user in users.get(value, ()))
    ]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Silence onnxruntime's quantizer, which logs hints to the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
