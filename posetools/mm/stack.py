"""Check for the OpenMMLab stack, prepare it, silence it, and turn its failures into messages.

The check imports nothing of the stack.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from posetools.errors import MissingExtraError, PosetoolsError, PosetoolsWarning, RequestError, RunError

TRAIN_EXTRA = "train"

# The package to install for each module that the stack imports at run time.
TRAIN_PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "mmengine": "mmengine",
    "mmcv": "mmcv-lite",
    "mmdet": "mmdet",
    "mmpose": "mmpose",
    "xtcocotools": "xtcocotools",
    "cv2": "opencv-python",
    "scipy": "scipy",
    "pkg_resources": "setuptools",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
}

# Warnings of the stack about itself that a user cannot act on: (start of the message, why it is harmless).
HARMLESS_WARNINGS = (
    ("pkg_resources is deprecated as an API", "mmengine 0.10.7 needs it; the train extra keeps setuptools below 81"),
    ("`torch.cuda.amp.autocast(args...)` is deprecated", "mmdet uses the old name, which still works"),
    ("torch.meshgrid: in an upcoming release", "mmdet calls it without `indexing`, and the default is unchanged"),
)

SET_DEBUG = "set POSETOOLS_DEBUG=1 for the traceback"

# What importing incompatible compiled packages can raise.
_BROKEN_STACK = (ImportError, OSError, RuntimeError, AttributeError, ValueError)


def missing_packages() -> tuple[str, ...]:
    """Return the packages of the ``train`` extra that are not installed, in the order of TRAIN_PACKAGES."""
    return tuple(package for module, package in TRAIN_PACKAGES.items() if find_spec(module) is None)


def require_train(what: str) -> None:
    """Raise an error if the ``train`` extra is not installed.

    Args:
        what: the command or function that needs it, as named in the message.

    Raises:
        MissingExtraError: a package of the extra is not installed; the message names it and the install command.
    """
    missing = missing_packages()
    if missing:
        raise MissingExtraError(what, TRAIN_EXTRA, missing[0])


def prepare(what: str) -> None:
    """Prepare this process for OpenMMLab. Cheap to repeat.

    It checks that the ``train`` extra is installed, allows only the contents of mmengine's own checkpoints, gives mmcv
    the ops that it has no kernel for, and silences the warnings of HARMLESS_WARNINGS.

    Args:
        what: the command or function that needs the extra, as named in the message.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: it is installed but does not work.
    """
    require_train(what)
    try:
        _prepare_once()
    except _BROKEN_STACK as exc:
        raise RequestError(
            f"{what} needs the 'train' extra, which is installed but does not work: {type(exc).__name__}: {exc}",
            hint="run posetools doctor to see the problem and its fix",
        ) from exc


@cache
def _prepare_once() -> None:
    for message, _ in HARMLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=re.escape(message))
    from posetools.mm.checkpoint import allow_mmengine_checkpoints
    from posetools.mm.ops import install

    allow_mmengine_checkpoints()
    install()


class RunHook:
    """A hook of mmengine's Runner, defined without importing mmengine: an instance is also a ``Hook``."""

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Create an instance of a class derived from this one and mmengine's."""
        from mmengine.hooks import Hook

        return object.__new__(type(cls.__name__, (cls, Hook), {}))


class _NullStream(io.TextIOBase):
    """A stream that is never closed: the logger of a run keeps it after the run."""

    def write(self, text: str) -> int:
        return len(text)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Discard printed text and send warnings to the log of the run.

    OpenMMLab's log file has the same text; on a terminal it would break the progress display.
    """
    from mmengine.logging import print_log

    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
        if issubclass(category, PosetoolsWarning):
            shown(message, category, filename, lineno)
            return
        print_log(f"{filename}:{lineno}: {category.__name__}: {message}", "current", logging.WARNING)

    with contextlib.redirect_stdout(_NullStream()), warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def building(what: str, scope: str) -> Iterator[None]:
    """Build silently in a registry scope, and turn failures into one message.

    Raises:
        RunError: an exception other than a PosetoolsError was raised.
    """
    from mmengine.registry import DefaultScope

    with failures(f"{what} cannot be built"), quiet(), DefaultScope.overwrite_default_scope(scope):
        yield


@contextlib.contextmanager
def failures(
    what: str, log_of: Path | None = None, explain: Callable[[Exception], RunError | None] | None = None
) -> Iterator[None]:
    """Turn any exception of OpenMMLab into a RunError with its last line, and write the traceback to the log.

    This is the only place that catches Exception: a run executes models, transforms and metrics by name from a config,
    which can raise any exception. With POSETOOLS_DEBUG=1 nothing is caught.

    Args:
        what: subject and verb of the message, such as "training failed".
        log_of: the work folder whose newest log the message names.
        explain: returns the message for an error that it knows, including errors of posetools.

    Raises:
        RunError: an exception other than a PosetoolsError was raised.
    """
    from mmengine.logging import print_log

    try:
        yield
    except PosetoolsError as exc:
        known = explain(exc) if explain else None
        if known is None:
            raise
        raise known from exc
    except Exception as exc:
        if os.environ.get("POSETOOLS_DEBUG") == "1":
            raise
        print_log(traceback.format_exc(), "current", logging.ERROR)
        known = explain(exc) if explain else None
        if known is not None:
            raise known from exc
        text = str(exc).strip()
        last = f"{type(exc).__name__}: {text.splitlines()[-1]}" if text else type(exc).__name__
        # mmengine names its logs by time.
        log = max(log_of.glob("*/*.log"), default=None) if log_of else None
        hint = f"see the log for the traceback: {log}" if log else SET_DEBUG
        raise RunError(f"{what}: {last}", hint=hint) from exc
