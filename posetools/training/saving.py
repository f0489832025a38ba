"""Checkpoints that are whole or not there.

mmengine writes a checkpoint into its place, and removes the best one before it writes its successor: killed in
between, a run leaves half a file, or none. In a run of posetools each checkpoint is written beside its place, synced,
and moved there; a best one is removed when the next is there; and one with numbers that are not finite is not written.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from posetools import __version__
from posetools.mm.averages import VERSION
from posetools.mm.stack import RunHook
from posetools.training.mishaps import DivergedError, first_not_finite

BEST = "best_"
_UNFINISHED = ".*.pth.*.tmp"


class Saving:
    """How checkpoints of one run are written and removed."""

    def __init__(self) -> None:
        self._outdated: list[Callable[[], None]] = []

    def save(self, checkpoint: Any, filename: str, file_client_args: Any = None, backend_args: Any = None) -> None:
        """Write a checkpoint, as mmengine's function of this signature does, but whole or not at all.

        Raises:
            OSError: it cannot be written; what is there is as it was.
        """
        import torch
        from mmengine.runner import save_checkpoint

        if "://" in filename:
            save_checkpoint(checkpoint, filename, file_client_args=file_client_args, backend_args=backend_args)
            return
        # Into memory first, as mmengine does: torch turns a full disk into an error without its reason.
        with io.BytesIO() as buffer:
            torch.save(checkpoint, buffer)
            write_whole(Path(filename), buffer.getbuffer())
        if Path(filename).name.startswith(BEST):
            while self._outdated:
                self._outdated.pop()()

    def remove(self, path: str, remove: Callable[[str], None]) -> None:
        """Remove a checkpoint, a best one when the next is written."""
        if Path(path).name.startswith(BEST):
            self._outdated.append(lambda: remove(path) if Path(path).is_file() else None)
        else:
            remove(path)


def write_whole(path: Path, content: memoryview) -> None:
    """Write a file beside its place, and move it there when it is on the disk.

    Raises:
        OSError: it cannot be written, and names ``path``; what is there is as it was.
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
    """Remove what a killed run left half written."""
    for path in work_dir.glob(_UNFINISHED):
        with suppress(OSError):
            path.unlink()


class _Backend:
    """A file backend of mmengine that leaves removing to a Saving."""

    def __init__(self, backend: Any, saving: Saving) -> None:
        self._backend = backend
        self._saving = saving

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self._saving.remove(path, self._backend.remove)


def _let_later_win(hook: Any) -> None:
    """Let the later of two evaluations with equal metrics be the best: it was trained for longer."""
    for name, is_better in getattr(hook, "is_better_than", {}).items():
        hook.is_better_than[name] = partial(_as_good, is_better)


def _look_here(hook: Any) -> None:
    """Let a resumed run replace the best checkpoint in its own folder, not in the one that it was copied from."""
    # mmengine keeps absolute paths in each checkpoint.
    if getattr(hook, "best_ckpt_path", None):
        hook.best_ckpt_path = str(Path(hook.out_dir) / Path(hook.best_ckpt_path).name)
    for name, path in getattr(hook, "best_ckpt_path_dict", {}).items():
        hook.best_ckpt_path_dict[name] = path and str(Path(hook.out_dir) / Path(path).name)


def _as_good(is_better: Callable[[float, float], bool], score: float, best: float) -> bool:
    return score == best or is_better(score, best)


class SavingHook(RunHook):
    """Keeps the best checkpoint until the next is there, which may tie, and saves no NaN."""

    # CheckpointHook chooses its file backend before the training, before this one.
    priority = "LOWEST"

    def __init__(self, saving: Saving) -> None:
        self._saving = saving

    def before_train(self, runner: Any) -> None:
        """Take over the removing of checkpoints."""
        for hook in _checkpoint_hooks(runner):
            hook.file_backend = _Backend(hook.file_backend, self._saving)
            _let_later_win(hook)
            _look_here(hook)

    def after_train(self, runner: Any) -> None:
        """Save the epoch that a run stops early after, which is not always one that is saved."""
        if not runner.train_loop.stop_training:
            return
        for hook in _checkpoint_hooks(runner):
            if hook.by_epoch and not (Path(runner.work_dir) / hook.filename_tmpl.format(runner.epoch)).is_file():
                meta = {"epoch": runner.epoch, "iter": runner.iter}
                hook._save_checkpoint_with_step(runner, runner.epoch, meta)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Refuse weights that are no numbers."""
        for part in ("state_dict", "ema_state_dict"):
            name = first_not_finite(checkpoint.get(part) or {})
            if name:
                raise DivergedError(f"the weights are no finite numbers any more ({name})", runner)
        checkpoint["meta"][VERSION] = __version__


def _checkpoint_hooks(runner: Any) -> list[Any]:
    from mmengine.hooks import CheckpointHook

    return [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
