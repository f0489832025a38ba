"""The files of a run in its work folder, and the checkpoint to resume from.

mmengine's record (``last_checkpoint``) can be wrong: a run may be killed while it writes the record, or between a
checkpoint and its record. posetools resumes from the newest intact checkpoint: every byte as written (a checkpoint is a
zip file, with checksums), loadable, and of a known epoch.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from posetools.errors import InputError, RequestError
from posetools.mm.averages import is_stale, stale_text
from posetools.mm.checkpoint import load_checkpoint

SKELETON = "skeleton.yaml"


_RECORD = "last_checkpoint"
_NOTHING_TO_RESUME = "has no checkpoint to resume from"
_WITHOUT_RESUME = "leave --resume out to start at the first epoch"
_NUMBERED_CHECKPOINT = re.compile(r"(?:epoch|iter)_(\d+)\.pth")


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """A checkpoint to resume from.

    Attributes:
        path: the file.
        epoch: how many epochs it has been trained for.
        seed: the seed of the run, None if not recorded.
    """

    path: Path
    epoch: int
    seed: int | None


def model_folders(parent: Path) -> list[Path]:
    """Return the folders of a pair's runs that exist: the detector's, then those of its pose estimators."""
    named = (parent / "det", parent / "pose", *sorted(parent.glob("pose-*")))
    return [path for path in named if path.is_dir()]


def last_in(work_dir: Path) -> Path | None:
    """Return the last checkpoint of a work folder by its name, or None; ``resumable`` also opens it."""
    return next(_candidates(work_dir), None)


def checkpoint_to_resume(work_dir: Path) -> Path:
    """Return the last checkpoint of a work folder.

    Raises:
        RequestError: there is none.
    """
    checkpoint = last_in(work_dir)
    if checkpoint is None:
        raise RequestError(f"{work_dir}: {_NOTHING_TO_RESUME}", hint=_WITHOUT_RESUME)
    return checkpoint


def best_in(work_dir: Path) -> Path | None:
    """Return the best checkpoint of a work folder, or None if the run was never evaluated."""
    return max(work_dir.glob("best_*.pth"), key=lambda path: path.stat().st_mtime, default=None)


def numbered_in(work_dir: Path) -> dict[Path, int]:
    """Return the checkpoints of epochs (or iterations) in a work folder, each with its number."""
    return {
        path: int(match[1])
        for path in work_dir.glob("*.pth")
        if (match := _NUMBERED_CHECKPOINT.fullmatch(path.name)) is not None
    }


def _candidates(work_dir: Path) -> Iterator[Path]:
    """Yield the checkpoints of a work folder, newest first, then the recorded one if it is elsewhere."""
    numbered = numbered_in(work_dir)
    yield from sorted(numbered, key=lambda path: (numbered[path], path.name), reverse=True)
    recorded = _recorded(work_dir)
    if recorded is not None and recorded not in numbered and recorded.is_file():
        yield recorded


def _recorded(work_dir: Path) -> Path | None:
    record = work_dir / _RECORD
    try:
        text = record.read_text(encoding="utf-8").strip() if record.is_file() else ""
    except (OSError, UnicodeDecodeError):
        return None
    if not text or "\0" in text:
        return None
    # mmengine records an absolute path, which is wrong after the work folder was moved.
    beside = work_dir / Path(text).name
    return beside if beside.is_file() else Path(text)


def resumable(work_dir: Path, say: Callable[[str], None]) -> ResumePoint:
    """Return the newest intact checkpoint of a work folder.

    Args:
        work_dir: the work folder of a run.
        say: receives a message for each skipped checkpoint, and for a record that names another one.

    Raises:
        RequestError: there is none.
    """
    damaged = []
    for path in _candidates(work_dir):
        try:
            found = _opened(path, say)
        except InputError as exc:
            say(f"{exc.sentence}: using the checkpoint before it")
            damaged.append(path)
            continue
        recorded = _recorded(work_dir)
        if recorded != path and recorded not in damaged:
            named = f"names {recorded.name}" if recorded and recorded.suffix == ".pth" else "names no checkpoint"
            say(f"{work_dir / _RECORD}: {named}; using {path.name}, the newest intact one")
        return found
    details = [f"damaged: {', '.join(path.name for path in damaged)}"] if damaged else []
    raise RequestError(f"{work_dir}: {_NOTHING_TO_RESUME}", *details, hint=_WITHOUT_RESUME)


def _opened(path: Path, say: Callable[[str], None]) -> ResumePoint:
    _check_bytes(path)
    content = load_checkpoint(path)
    if is_stale(content):
        say(stale_text(path))
    meta = content.get("meta") or {}
    if not isinstance(meta, dict) or not isinstance(meta.get("epoch"), int):
        raise InputError(path, "meta.epoch", "must be there: this checkpoint cannot be resumed")
    seed = meta.get("seed")
    return ResumePoint(path, meta["epoch"], seed if isinstance(seed, int) else None)


def _check_bytes(path: Path) -> None:
    """Refuse a checkpoint whose bytes do not match their checksums; torch itself does not check."""
    if not zipfile.is_zipfile(path):
        # Either a truncated file, or the format before torch 1.6: loading it shows which.
        return
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError) as exc:
        raise InputError(path, "", f"is damaged: {exc}") from exc
    if broken:
        raise InputError(path, broken, "is damaged: its checksum does not match")
