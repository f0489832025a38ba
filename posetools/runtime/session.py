"""onnxruntime sessions of checked ONNX files on a device.

The packages of the ``runtime`` extra are imported inside functions, so that everything else can import this package.
Sessions are created from bytes that passed ``check_onnx``, and must match the manifest: the names, types and shapes of
inputs and outputs, before the first run and, for sizes that the file leaves open, at each run. On a GPU, TF32 is
disabled, and convolution algorithms are chosen without a search, because the number of crops changes in nearly every
batch.

A network should only compute on tensors. Two things in an ONNX file can do more: a tensor may have its values in
another file (``external_data``), which onnxruntime then opens, and an operator of another domain may do anything
(``com.microsoft.EPContext`` reads files). Also, onnxruntime accepts a second format (``ORTM``), which this check does
not cover. A bundle may have none of them.

An ONNX file is a protobuf message, a sequence of (field number, wire type, value). The check walks the fields that can
have tensors and operators; it needs no protobuf package and copies nothing. The numbers are from ``onnx.proto``; a test
compares them with the onnx package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from posetools.errors import InputError, MissingExtraError, RequestError, first_line, must_be, show_value
from posetools.runtime.manifest import Network

# Message -> field number -> message in it. Other fields have neither tensors nor operators.
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
# Operators of onnxruntime's quantizer and optimizer, all plain arithmetic.
CONTRIB_OPERATORS = frozenset(
    {
        *("DequantizeLinear", "DynamicQuantizeMatMul", "FusedConv", "FusedGemm", "FusedMatMul", "MatMulIntegerToFloat"),
        *("NhwcMaxPool", "QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearConv", "QLinearMul"),
        *("QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearReduceMean", "QLinearSigmoid", "QLinearSoftmax"),
        *("QLinearWhere", "QuantizeLinear"),
    }
)

# A network has some thousand fields; the limit bounds the time of the check.
MOST_FIELDS = 1_000_000

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5


class _Field(NamedTuple):
    """A field: its number, wire type, value of a varint, and start and end of a text or message."""

    number: int
    wire: int
    value: int
    start: int
    end: int


class _BrokenError(Exception):
    """The bytes are not a protobuf message."""


def check_onnx(model: bytes, source: Path | str, member: str) -> None:
    """Refuse an ONNX file that could do more than compute.

    Args:
        model: the file.
        source: the bundle, for messages.
        member: the file's name in it.

    Raises:
        InputError: it is not an ONNX file, refers to other files, or has a non-standard operator.
    """
    if model[4:8] == b"ORTM":
        raise InputError(source, member, "must be an ONNX file, but has onnxruntime's own format")
    try:
        for kind, fields in _messages(model):
            problem = _problem(model, kind, fields)
            if problem:
                raise InputError(source, member, problem)
    except _BrokenError as exc:
        raise InputError(source, member, f"must be a whole ONNX file: {exc}") from exc


def _messages(data: bytes) -> Iterator[tuple[str, list[_Field]]]:
    """Yield each message that can have tensors or operators, with a stack instead of recursion."""
    waiting, left = [("ModelProto", 0, len(data))], MOST_FIELDS
    while waiting:
        kind, start, end = waiting.pop()
        fields = list(_fields(data, start, end, left))
        left -= len(fields)
        children = CHILDREN[kind]
        for field in fields:
            if field.number in children:
                if field.wire != _LENGTH_DELIMITED:
                    _broken(field.start, f"field {field.number} of {kind} is not a message")
                waiting.append((children[field.number], field.start, field.end))
        yield kind, fields


def _problem(data: bytes, kind: str, fields: list[_Field]) -> str:
    if kind == "TensorProto":
        for field in fields:
            if field.number == EXTERNAL_DATA or (field.number == DATA_LOCATION and (field.wire, field.value) != (0, 0)):
                name = next((_text(data, one) for one in fields if one.number == TENSOR_NAME), "")
                return f"tensor {show_value(name)} must have its values in the file, not in another one"
    if kind == "NodeProto":
        # Readers use the last of repeated fields, so all of them must pass.
        domains = [_text(data, field) for field in fields if field.number == DOMAIN] or [""]
        operators = [_text(data, field) for field in fields if field.number == OP_TYPE]
        for domain in domains:
            for operator in operators:
                if domain not in STANDARD and not (domain == CONTRIB and operator in CONTRIB_OPERATORS):
                    rule = "a standard one, or an onnxruntime one for quantized networks"
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
        elif wire == _LENGTH_DELIMITED:
            length, start = _varint(data, position, end)
            position = start + length
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
        else:
            _broken(start, f"wire type {wire}")
        if not 0 < number < 1 << 29:
            _broken(start, f"field {number}")
        if position > end:
            _broken(start, f"field {number} ends after its message")
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


RUNTIME_EXTRA = "runtime"
RUNTIME_PACKAGES = {"onnxruntime": "onnxruntime", "cv2": "opencv-python"}

Singles: TypeAlias = npt.NDArray[np.float32]
# The sizes of an output without its batch; None: any.
InputShape: TypeAlias = tuple[int | None, ...]

INPUT_NAME = "input"

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_FATAL = 4
_FLOAT32 = "tensor(float)"
# Threads of new sessions; 0: onnxruntime decides, mostly one for each core.
_SESSION_THREADS: ContextVar[int] = ContextVar("threads", default=0)


@contextmanager
def session_threads(number: int | None) -> Iterator[None]:
    """Open sessions that compute with this many threads each; None: onnxruntime decides."""
    token = _SESSION_THREADS.set(number or 0)
    try:
        yield
    finally:
        _SESSION_THREADS.reset(token)


def _require_runtime(what: str) -> None:
    try:
        import cv2  # noqa: F401
        import onnxruntime  # noqa: F401
    except ModuleNotFoundError as exc:
        module = (exc.name or "").partition(".")[0]
        raise MissingExtraError(what, RUNTIME_EXTRA, RUNTIME_PACKAGES.get(module, module)) from exc
    except ImportError as exc:
        raise RequestError(
            f"{what}: a package of the '{RUNTIME_EXTRA}' extra is installed, but cannot be imported: {exc}",
            hint="install the missing system library, or, without a display, opencv-python-headless",
        ) from exc


class Session:
    """A network of a bundle, ready to run.

    Attributes:
        provider: the name of onnxruntime's execution provider.
    """

    def __init__(
        self,
        model: bytes,
        network: Network,
        outputs: Mapping[str, InputShape],
        *,
        device: str,
        source: Path | str,
        inputs: Mapping[str, InputShape] | None = None,
    ) -> None:
        """Check and load the network.

        Args:
            model: the ONNX file.
            network: its manifest entry.
            outputs: the requested outputs and their sizes after the batch.
            device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            source: the bundle, for messages.
            inputs: the inputs and their sizes; None: a batch of images of the network's input size.

        Raises:
            MissingExtraError: the ``runtime`` extra is not installed.
            RequestError: the device is not available.
            InputError: the file is not allowed, cannot be opened, or differs from the manifest.
        """
        _require_runtime(f"running {source}")
        self._source, self._network, self._outputs = source, network, dict(outputs)
        width, height = network.input_size
        self._inputs: dict[str, InputShape] = dict(inputs or {INPUT_NAME: (None, 3, height, width)})
        check_onnx(model, source, network.file)
        self._session = self._open(model, device)
        self.provider: str = self._session.get_providers()[0]
        self._check_inputs()
        self._check_outputs()

    def run(self, batch: Singles) -> list[Singles]:
        """Return the outputs for a (B, 3, h, w) batch, in the requested order.

        Raises:
            InputError: onnxruntime fails, or its outputs differ from the manifest.
        """
        return self.run_on({INPUT_NAME: batch}, len(batch))

    def run_on(self, feeds: Mapping[str, Singles], rows: int | None) -> list[Singles]:
        """Return the outputs for all inputs by their names; each output has that many rows, or any number (None).

        Raises:
            InputError: onnxruntime fails, or its outputs differ from the manifest.
        """
        try:
            found = self._session.run(list(self._outputs), dict(feeds))
        except onnxruntime_errors() as exc:
            raise self._error(f"cannot be run: {first_line(exc)}") from exc
        for (name, shape), array in zip(self._outputs.items(), found, strict=True):
            if not _fits(array.shape, (rows, *shape)):
                raise self._error(must_be(f"output {name}", f"of shape {_show((rows, *shape))}", array.shape))
            if np.isnan(array).any():
                raise self._error(f"output {name} must be numbers, got NaN")
        return list(found)

    def _open(self, model: bytes, device: str) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # Failures raise exceptions; the log would repeat them.
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = _SESSION_THREADS.get()
        options.add_session_config_entry("session.load_model_format", "ONNX")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = _providers(device)
        try:
            session = onnxruntime.InferenceSession(model, options, providers=providers, enable_fallback=0)
        except onnxruntime_errors() as exc:
            raise self._error(f"cannot be opened by onnxruntime: {first_line(exc)}") from exc
        if device.startswith("cuda") and session.get_providers()[0] != _CUDA:
            raise RequestError(
                f"--device {device}: onnxruntime cannot use the GPU: its CUDA provider is installed but does not load",
                hint="install the CUDA and cuDNN versions that this onnxruntime-gpu requires",
            )
        return session

    def _check_inputs(self) -> None:
        inputs = self._session.get_inputs()
        if [one.name for one in inputs] != list(self._inputs):
            raise self._error(must_be("inputs", str(list(self._inputs)), [one.name for one in inputs]))
        for one, shape in zip(inputs, self._inputs.values(), strict=True):
            self._check_type(one, "input")
            if not _matches(one.shape, shape):
                rule = f"of shape {_show(shape)} as the manifest says"
                raise self._error(must_be(f"input {one.name}", rule, tuple(one.shape)))

    def _check_outputs(self) -> None:
        found = {one.name: one for one in self._session.get_outputs()}
        for name, shape in self._outputs.items():
            if name not in found:
                raise self._error(must_be("outputs", str(list(self._outputs)), list(found)))
            self._check_type(found[name], "output")
            if not _matches(found[name].shape, (None, *shape)):
                rule = f"of shape {_show((None, *shape))} as the manifest says"
                raise self._error(must_be(f"output {name}", rule, tuple(found[name].shape)))

    def _check_type(self, value: Any, kind: str) -> None:
        if value.type != _FLOAT32:
            raise self._error(must_be(f"{kind} {value.name}", f"a {_FLOAT32}", value.type))

    def _error(self, problem: str) -> InputError:
        return InputError(self._source, self._network.file, problem)


def onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of onnxruntime: its own classes, without a common base, and those of pybind11."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    found = (getattr(state, name) for name in dir(state))
    own = [one for one in found if isinstance(one, type) and issubclass(one, Exception)]
    return (*own, RuntimeError, ValueError, MemoryError)


def _providers(device: str) -> list[Any]:
    import onnxruntime

    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", device):
        raise RequestError(f"--device must be auto, cpu, cuda or cuda:N, got {device!r}")
    kind, _, number = device.partition(":")
    there = _CUDA in onnxruntime.get_available_providers()
    if kind == "cuda" and not there:
        raise RequestError(
            f"--device {device}: the installed onnxruntime supports only the CPU",
            hint="uninstall onnxruntime and run `pip install onnxruntime-gpu`, or use --device cpu",
        )
    if kind == "cpu" or not there:
        return [_CPU]
    options = {"device_id": number or "0", "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    return [(_CUDA, options), _CPU]


def _matches(declared: list[int | str | None], expected: InputShape) -> bool:
    """Return whether a declared shape has the expected or free sizes; a batch of any size must be free."""
    return _fits(declared, expected) and not (expected[0] is None and isinstance(declared[0], int))


def _fits(shape: Sequence[int | str | None], expected: InputShape) -> bool:
    if len(shape) != len(expected):
        return False
    return all(not isinstance(a, int) or b in (None, a) for a, b in zip(shape, expected, strict=True))


def _show(shape: InputShape) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"
