"""Keeping OpenMMLab's own output in its log file, and turning its failures into one sentence."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from posetools.errors import PosetoolsError, PosetoolsWarning, RunError


class _Nowhere(io.TextIOBase):
    """A stream that is never closed: the logger of a run keeps it after the run."""

    def write(self, text: str) -> int:
        return len(text)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send what is printed to nowhere and warnings to the log of the run.

    What OpenMMLab prints is in its log file as well; on a terminal it would tear the progress display apart.
    """
    from mmengine.logging import print_log

    shown = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG001  (warnings.showwarning's own signature)
        line: str | None = None,  # noqa: ARG001
    ) -> None:
        if issubclass(category, PosetoolsWarning):
            shown(message, category, filename, lineno)
            return
        print_log(f"{filename}:{lineno}: {category.__name__}: {message}", "current", logging.WARNING)

    with contextlib.redirect_stdout(_Nowhere()), warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def failures(
    what: str, log_of: Path | None = None, explain: Callable[[Exception], RunError | None] | None = None
) -> Iterator[None]:
    """Turn whatever OpenMMLab raises into a RunError with the last line of it, and keep the traceback in its log.

    This is the one place that catches Exception: a run executes models, transforms and metrics by name from a config,
    and what they raise is any exception there is. With POSETOOLS_DEBUG=1 nothing is caught.

    Args:
        what: the sentence's subject and verb, such as "training failed".
        log_of: the work folder whose newest log the message names.
        explain: gives the sentence for an error that it knows, also for one of posetools.

    Raises:
        RunError: something else than a PosetoolsError was raised.
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
        log = newest_log(log_of) if log_of else None
        where = f"\n  the log has the rest: {log}" if log else "\n  POSETOOLS_DEBUG=1 shows where"
        raise RunError(f"{what}: {last}{where}") from exc


def newest_log(work_dir: Path) -> Path | None:
    """Return the newest log file of a work folder; mmengine names them by the time."""
    return max(work_dir.glob("*/*.log"), default=None)
