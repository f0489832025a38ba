"""Atomic checkpoints that torch's default (``weights_only=True``) loads.

mmengine writes a checkpoint in place, and removes the best one before it writes the next: a run killed in between
leaves half a file, or none. Here each checkpoint is written to a temporary file, synced, and moved into place; the old
best one is removed after the next is written; and weights with NaN or infinite values are not written.

mmengine saves three things that torch >= 2.6 refuses: the log as HistoryBuffer objects, numpy arrays in the data set's
meta, and numpy numbers such as the best score. Here they are saved as tensors, lists and numbers, and restored when a
run resumes. So the stock tools/test.py and MMPose's demo open the file without disabling the protection.
"""

from __future__ import annotations

import io
import os
import pickle
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from posetools import __version__
from posetools.mm.averages import VERSION_KEY
from posetools.mm.stack import RunHook
from posetools.training.mishaps import DivergedError, first_not_finite

BEST = "best_"
_UNFINISHED = ".*.pth.*.tmp"
_VALUES, _COUNTS, _LONGEST = "values", "counts", "max_length"


def write_whole(path: Path, content: memoryview) -> None:
    """Write a file atomically: to a temporary file, synced, then moved into place.

    Raises:
        OSError: it cannot be written; names ``path``; an existing file is unchanged.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, str(path)) from exc
    finally:
        content.release()
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def clear_unfinished(work_dir: Path) -> None:
    """Remove unfinished files of a killed run."""
    for path in work_dir.glob(_UNFINISHED):
        with suppress(OSError):
            path.unlink()


class _Backend:
    """A file backend of mmengine with another ``remove``."""

    def __init__(self, backend: Any, remove: Callable[[str], None]) -> None:
        self._backend = backend
        self.remove = remove

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


def _look_here(hook: Any) -> None:
    """Make a resumed run replace the best checkpoint in its own folder, not in the one it was copied from."""
    # mmengine keeps absolute paths in each checkpoint.
    if getattr(hook, "best_ckpt_path", None):
        hook.best_ckpt_path = str(Path(hook.out_dir) / Path(hook.best_ckpt_path).name)
    for name, path in getattr(hook, "best_ckpt_path_dict", {}).items():
        hook.best_ckpt_path_dict[name] = path and str(Path(hook.out_dir) / Path(path).name)


class SavingHook(RunHook):
    """Saves whole checkpoints of plain values without NaN; keeps the best until the next is written."""

    # After CheckpointHook, which chooses its file backend in before_train.
    priority = "LOWEST"

    def __init__(self) -> None:
        self._outdated: list[Callable[[], None]] = []

    def save(self, checkpoint: Any, filename: str, file_client_args: Any = None, backend_args: Any = None) -> None:
        """Write a checkpoint atomically; the signature is that of mmengine's save_checkpoint.

        Raises:
            OSError: it cannot be written; an existing file is unchanged.
        """
        import torch
        from mmengine.runner import save_checkpoint

        if "://" in filename:
            save_checkpoint(checkpoint, filename, file_client_args=file_client_args, backend_args=backend_args)
            return
        # Into memory first, as mmengine does: torch's error for a full disk does not give the reason.
        with io.BytesIO() as buffer:
            torch.save(checkpoint, buffer)
            write_whole(Path(filename), buffer.getbuffer())
        if Path(filename).name.startswith(BEST):
            while self._outdated:
                self._outdated.pop()()

    def before_train(self, runner: Any) -> None:
        """Take over the removal of checkpoints."""
        for hook in _checkpoint_hooks(runner):
            hook.file_backend = _Backend(hook.file_backend, partial(self._remove, hook.file_backend))
            # Of two evaluations with equal metrics the later is the best: it was trained longer.
            for name, is_better in getattr(hook, "is_better_than", {}).items():
                hook.is_better_than[name] = lambda score, best, better=is_better: score == best or better(score, best)
            _look_here(hook)

    def _remove(self, backend: Any, path: str) -> None:
        """Remove a checkpoint; a best one only after the next is written."""
        if Path(path).name.startswith(BEST):
            self._outdated.append(lambda: backend.remove(path) if Path(path).is_file() else None)
        else:
            backend.remove(path)

    def after_train(self, runner: Any) -> None:
        """Save the last epoch of a run stopped early, if it is not saved yet."""
        if not runner.train_loop.stop_training:
            return
        for hook in _checkpoint_hooks(runner):
            if hook.by_epoch and not (Path(runner.work_dir) / hook.filename_tmpl.format(runner.epoch)).is_file():
                meta = {"epoch": runner.epoch, "iter": runner.iter}
                hook._save_checkpoint_with_step(runner, runner.epoch, meta)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Refuse NaN and infinite weights, and make the other values plain."""
        for part in ("state_dict", "ema_state_dict"):
            name = first_not_finite(checkpoint.get(part) or {})
            if name:
                raise DivergedError(f"the weights became NaN or infinite ({name})", runner)
        checkpoint["meta"] = {**plain(checkpoint["meta"]), VERSION_KEY: __version__}
        hub = checkpoint["message_hub"]
        checkpoint["message_hub"] = {
            "log_scalars": {name: _saved(buffer) for name, buffer in hub["log_scalars"].items()},
            "runtime_info": plain(hub["runtime_info"]),
            "resumed_keys": dict(hub["resumed_keys"]),
        }

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Restore mmengine's own types when a run resumes."""
        if not runner._resume:
            return
        # mmengine ignores a log that is no HistoryBuffer, and the mean loss would restart.
        log = (checkpoint.get("message_hub") or {}).get("log_scalars") or {}
        log.update({name: _restored(value) for name, value in log.items() if isinstance(value, Mapping)})
        meta, own = checkpoint.get("meta") or {}, getattr(runner.train_dataloader.dataset, "metainfo", None)
        # mmengine warns unless both pickle to the same bytes.
        if own is not None and pickle.dumps(meta.get("dataset_meta")) == pickle.dumps(plain(own)):
            meta["dataset_meta"] = own


def _checkpoint_hooks(runner: Any) -> list[Any]:
    from mmengine.hooks import CheckpointHook

    return [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]


def plain(value: Any) -> Any:
    """Return a value with numpy arrays and numbers as lists and numbers; other types are unchanged."""
    import numpy as np

    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {plain(key): plain(of_key) for key, of_key in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return value


def _saved(buffer: Any) -> Any:
    import torch

    values, counts = buffer.data
    numbers = {_VALUES: torch.from_numpy(values.copy()), _COUNTS: torch.from_numpy(counts.copy())}
    return {**numbers, _LONGEST: buffer.max_length}


def _restored(value: Mapping[str, Any]) -> Any:
    from mmengine.logging import HistoryBuffer

    return HistoryBuffer(value[_VALUES].cpu().numpy(), value[_COUNTS].cpu().numpy(), value[_LONGEST])
