"""Smaller networks for a bundle: float16 weights, or int8 weights and activations.

Both leave the arithmetic behind the last convolutions in float32: the decoding of boxes, whose pixels have no room in
eight or eleven bits, and the averaging of the flip test. What else they lose is measured by the caller.

int8: quantize-dequantize pairs round the convolutions, one scale for each output channel of the weights, ranges of the
activations from calibration on the images given. Weights use seven of the eight bits, since processors without VNNI
instructions add products in sixteen bits, which eight would overflow: so the bundle gives the same on all of them.
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

# What computes features; everything behind the last of these on its path is decoding.
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def to_half(content: bytes) -> bytes:
    """Return the ONNX file with weights and arithmetic of float16; its inputs and outputs stay float32."""
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = onnx.load_from_string(content)
    with warnings.catch_warnings():
        # Numbers too small for float16 are rounded to the nearest that is not; measured, not announced.
        warnings.simplefilter("ignore", UserWarning)
        half = convert_float_to_float16(
            model,
            keep_io_types=True,
            # ReduceL2, of the pose head's norm, would overflow: it sums squares.
            op_block_list=[*DEFAULT_OP_BLOCK_LIST, "ReduceL2"],
            node_block_list=decoding_nodes(model),
        )
    # The casts of inputs come last in its list of nodes, and other programs than onnxruntime want them first.
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
    # onnxruntime declares every domain that it knows.
    used = {node.domain for node in quantized.graph.node}
    declared = [opset for opset in quantized.opset_import if opset.domain in used]
    del quantized.opset_import[:]
    quantized.opset_import.extend(declared)
    onnx.checker.check_model(quantized)
    serialized: bytes = quantized.SerializeToString()
    return serialized


def decoding_nodes(model: Any) -> list[str]:
    """Return the names of the nodes of an ONNX model from which no convolution or product of matrices follows."""
    followed: set[str] = set()
    names: list[str] = []
    # Nodes are in topological order: those that use a result come after the one that computes it.
    for node in reversed(model.graph.node):
        if node.op_type in _WEIGHTED or any(output in followed for output in node.output):
            followed.update(node.input)
        else:
            names.append(node.name)
    return names


def _last_convolutions(model: Any) -> list[str]:
    """Return the names of the convolutions whose results only decoding uses: the predictions themselves."""
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
    """Keep onnxruntime's quantizer, which logs hints to the root logger, from the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
