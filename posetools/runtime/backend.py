"""OpenCV and onnxruntime: whether they are there, and sessions of onnxruntime on a device.

The packages of the ``runtime`` extra are imported inside functions, so that everything else can import this package.
Sessions are made from bytes that ``posetools.runtime.onnx_check`` has looked through, and held to the manifest:
the names, types and shapes of inputs and outputs, before the first run and, where the file leaves a size open, at each.

On a GPU single precision is single precision (onnxruntime would round factors to TF32), and convolutions are chosen
without a search, since the number of crops is another one in nearly every batch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from posetools.errors import InputError, MissingExtraError, RequestError, must_be
from posetools.runtime.manifest import Network
from posetools.runtime.onnx_check import check_onnx

EXTRA = "runtime"
PACKAGES = {"onnxruntime": "onnxruntime", "cv2": "opencv-python"}

Singles: TypeAlias = npt.NDArray[np.float32]
# The sizes of an output without its batch; None: any.
Shape: TypeAlias = tuple[int | None, ...]

INPUT = "input"

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_FATAL = 4
_FLOAT32 = "tensor(float)"


def require_runtime(what: str) -> None:
    """Refuse to go on without the ``runtime`` extra.

    Args:
        what: the command or function that needs it, as the message shall name it.

    Raises:
        MissingExtraError: a package of the extra is not installed.
        RequestError: one is installed and cannot be imported.
    """
    try:
        import cv2  # noqa: F401
        import onnxruntime  # noqa: F401
    except ModuleNotFoundError as exc:
        module = (exc.name or "").partition(".")[0]
        raise MissingExtraError(what, EXTRA, PACKAGES.get(module, module)) from exc
    except ImportError as exc:
        raise RequestError(
            f"{what}: a package of the '{EXTRA}' extra is installed, but cannot be imported: {exc}\n"
            "  a library of the system is missing; on a machine without a display, opencv-python-headless needs none"
        ) from exc


class Session:
    """A network of a bundle, ready to run.

    Attributes:
        provider: the part of onnxruntime that computes, by its own name.
    """

    def __init__(
        self, model: bytes, network: Network, outputs: Mapping[str, Shape], *, device: str, source: Path | str
    ) -> None:
        """Check the network and make it ready.

        Args:
            model: the ONNX file.
            network: what the manifest says of it.
            outputs: the outputs that are asked for and their sizes after the batch.
            device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            source: the bundle, for messages.

        Raises:
            RequestError: the device is not there.
            InputError: the file may not be run, cannot be, or is not as the manifest says.
        """
        require_runtime(f"running {source}")
        self._source, self._network, self._outputs = source, network, dict(outputs)
        check_onnx(model, source, network.file)
        self._session = self._open(model, device)
        self.provider: str = self._session.get_providers()[0]
        self._check_input()
        self._check_outputs()

    def run(self, batch: Singles) -> list[Singles]:
        """Return the outputs for a (B, 3, h, w) batch, in the order in which they were asked for.

        Raises:
            InputError: onnxruntime fails, or what it gives is not what the manifest says.
        """
        try:
            found = self._session.run(list(self._outputs), {INPUT: batch})
        except onnxruntime_errors() as exc:
            raise self._error(f"cannot be run: {_first_line(exc)}") from exc
        for (name, shape), array in zip(self._outputs.items(), found, strict=True):
            if not _fits(array.shape, (len(batch), *shape)):
                raise self._error(must_be(f"output {name}", f"of shape {_show((len(batch), *shape))}", array.shape))
            if np.isnan(array).any():
                raise self._error(f"output {name} must be numbers, got NaN")
        return list(found)

    def _open(self, model: bytes, device: str) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # What fails is raised as an exception; the log would only say it twice.
        options.log_severity_level = _FATAL
        options.add_session_config_entry("session.load_model_format", "ONNX")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = _providers(device)
        try:
            session = onnxruntime.InferenceSession(model, options, providers=providers, enable_fallback=0)
        except onnxruntime_errors() as exc:
            raise self._error(f"cannot be opened by onnxruntime: {_first_line(exc)}") from exc
        if device.startswith("cuda") and session.get_providers()[0] != _CUDA:
            raise RequestError(
                f"--device {device}: onnxruntime cannot use the GPU: its CUDA provider is installed but does not load\n"
                "  its CUDA and cuDNN libraries must be of the versions that this onnxruntime-gpu was made for"
            )
        return session

    def _check_input(self) -> None:
        inputs = self._session.get_inputs()
        if [one.name for one in inputs] != [INPUT]:
            raise self._error(must_be("inputs", str([INPUT]), [one.name for one in inputs]))
        width, height = self._network.input_size
        self._check_type(inputs[0], "input")
        if not _matches(inputs[0].shape, (3, height, width)):
            rule = f"of shape (any, 3, {height}, {width}) as the manifest says"
            raise self._error(must_be(f"input {INPUT}", rule, tuple(inputs[0].shape)))

    def _check_outputs(self) -> None:
        found = {one.name: one for one in self._session.get_outputs()}
        for name, shape in self._outputs.items():
            if name not in found:
                raise self._error(must_be("outputs", str(list(self._outputs)), list(found)))
            self._check_type(found[name], "output")
            if not _matches(found[name].shape, shape):
                rule = f"of shape {_show((None, *shape))} as the manifest says"
                raise self._error(must_be(f"output {name}", rule, tuple(found[name].shape)))

    def _check_type(self, value: Any, kind: str) -> None:
        if value.type != _FLOAT32:
            raise self._error(must_be(f"{kind} {value.name}", f"a {_FLOAT32}", value.type))

    def _error(self, problem: str) -> InputError:
        return InputError(self._source, self._network.file, problem)


def onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises: classes of its own without a common base, and pybind11's RuntimeError."""
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
            f"--device {device}: the onnxruntime that is installed computes on the CPU only\n"
            "  pip install onnxruntime-gpu in its place (and uninstall onnxruntime); --device cpu runs as it is"
        )
    if kind == "cpu" or not there:
        return [_CPU]
    options = {"device_id": number or "0", "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    return [(_CUDA, options), _CPU]


def _matches(declared: list[int | str | None], expected: Shape) -> bool:
    """Return whether a declared shape has a free batch and, where it says a size, the expected one."""
    if len(declared) != len(expected) + 1 or isinstance(declared[0], int):
        return False
    pairs = zip(declared[1:], expected, strict=True)
    return all(not isinstance(size, int) or wanted is None or size == wanted for size, wanted in pairs)


def _fits(shape: tuple[int, ...], expected: Shape) -> bool:
    return len(shape) == len(expected) and all(b in (None, a) for a, b in zip(shape, expected, strict=True))


def _show(shape: Shape) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).strip().splitlines()), type(exc).__name__)
