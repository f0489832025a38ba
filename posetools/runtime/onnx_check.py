"""Looks through an ONNX file before onnxruntime sees it.

A network is a program that computes on tensors. Two things in an ONNX file can do more: a tensor may say that its
values are in another file (``external_data``), which onnxruntime then opens, and an operator of another domain may be
anything (``com.microsoft.EPContext`` reads files). Besides, onnxruntime takes a second format of its own from the same
bytes (``ORTM``), which would go past any look at the first. None of them may be in a bundle.

An ONNX file is a protobuf message, a row of (field number, wire type, value). This module walks along the rows and into
the few fields that can hold tensors and operators; it needs no protobuf package and copies nothing. The numbers are
those of ``onnx.proto``; a test compares them with the onnx package.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from posetools.errors import InputError, must_be, show_value

# Message -> field number -> message in it. What is not named here can hold neither a tensor nor an operator.
CHILDREN: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
OP_TYPE, DOMAIN = 4, 7  # of NodeProto
TENSOR_NAME, EXTERNAL_DATA, DATA_LOCATION = 8, 13, 14  # of TensorProto

STANDARD = ("", "ai.onnx")
CONTRIB = "com.microsoft"
# Operators that onnxruntime's quantiser and optimiser write, all of them plain arithmetic.
CONTRIB_OPERATORS = frozenset(
    {
        *("DequantizeLinear", "DynamicQuantizeMatMul", "FusedConv", "FusedGemm", "FusedMatMul", "MatMulIntegerToFloat"),
        *("NhwcMaxPool", "QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearConv", "QLinearMul"),
        *("QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearReduceMean", "QLinearSigmoid", "QLinearSoftmax"),
        *("QLinearWhere", "QuantizeLinear"),
    }
)

# A network has some thousand fields; more than this would only keep the walk busy.
MOST_FIELDS = 1_000_000

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Field(NamedTuple):
    """A field: its number, wire type, value of a varint, and the first byte and the end of a text or message."""

    number: int
    wire: int
    value: int
    start: int
    end: int


class _BrokenError(Exception):
    """The bytes are no protobuf message."""


def check_onnx(model: bytes, source: Path | str, member: str) -> None:
    """Refuse an ONNX file that could do anything but compute.

    Args:
        model: the file.
        source: the bundle, for messages.
        member: the file's name in it.

    Raises:
        InputError: it is no ONNX file, points to other files, or has an operator that is not a standard one.
    """
    if model[4:8] == b"ORTM":
        raise InputError(source, member, "must be an ONNX file, but is one of onnxruntime's own format")
    try:
        for kind, fields in _messages(model):
            problem = _problem(model, kind, fields)
            if problem:
                raise InputError(source, member, problem)
    except _BrokenError as exc:
        raise InputError(source, member, f"is not a whole ONNX file: {exc}") from exc


def _messages(data: bytes) -> Iterator[tuple[str, list[_Field]]]:
    """Yield each message that can hold tensors or operators, by a stack: nesting costs no recursion."""
    waiting, left = [("ModelProto", 0, len(data))], MOST_FIELDS
    while waiting:
        kind, start, end = waiting.pop()
        fields = list(_fields(data, start, end, left))
        left -= len(fields)
        children = CHILDREN[kind]
        for field in fields:
            if field.number in children:
                if field.wire != _BYTES:
                    _broken(field.start, f"field {field.number} of {kind} is no message")
                waiting.append((children[field.number], field.start, field.end))
        yield kind, fields


def _problem(data: bytes, kind: str, fields: list[_Field]) -> str:
    if kind == "TensorProto":
        for field in fields:
            if field.number == EXTERNAL_DATA or (field.number == DATA_LOCATION and (field.wire, field.value) != (0, 0)):
                name = next((_text(data, one) for one in fields if one.number == TENSOR_NAME), "")
                return f"tensor {show_value(name)} must be in the file itself, but its values are in another one"
    if kind == "NodeProto":
        # Where a field is there twice, readers take the last one; no such file is written, so all must pass.
        domains = [_text(data, field) for field in fields if field.number == DOMAIN] or [""]
        operators = [_text(data, field) for field in fields if field.number == OP_TYPE]
        for domain in domains:
            for operator in operators:
                if domain not in STANDARD and not (domain == CONTRIB and operator in CONTRIB_OPERATORS):
                    rule = "a standard one, or one of onnxruntime's for quantised networks"
                    return must_be("operator", rule, f"{domain}.{operator}")
    return ""


def _text(data: bytes, field: _Field) -> str:
    return data[field.start : field.end].decode("utf-8", errors="backslashreplace")


def _fields(data: bytes, position: int, end: int, most: int) -> Iterator[_Field]:
    for _ in range(most + 1):
        if position == end:
            return
        key, position = _varint(data, position, end)
        number, wire = key >> 3, key & 7
        value, start = 0, position
        if wire == _VARINT:
            value, position = _varint(data, position, end)
        elif wire == _BYTES:
            length, start = _varint(data, position, end)
            position = start + length
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
        else:
            _broken(start, f"wire type {wire}")
        if not 0 < number < 1 << 29:
            _broken(start, f"field {number}")
        if position > end:
            _broken(start, f"field {number} ends behind its message")
        yield _Field(number, wire, value, start, position)
    raise _BrokenError(f"it has more than {MOST_FIELDS} fields")


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            _broken(position, "a number is cut off")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    return _broken(position, "a number has more than ten bytes")


def _broken(position: int, what: str) -> NoReturn:
    raise _BrokenError(f"byte {position}: {what}")
