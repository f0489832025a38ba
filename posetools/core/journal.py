"""Replaces the files of a data set together, even if the process is killed.

``files.write_texts`` restores the files if one cannot be written, but a process killed between two moves leaves a new
train_coco.json next to an old val_coco.json, with images in both or neither. Therefore a journal in the folder gets
all new contents first, with digests of the old files. The next run that finds the journal writes all files again. A
file that is neither old nor new was changed in the meantime and is not overwritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from posetools.core.folder import CONVERSION, SPLIT_JOURNAL
from posetools.errors import InputError, OutputError
from posetools.files.disk import digest_of, read_json, read_text, sweep, write_json, write_texts


def write_together(folder: Path, texts: Mapping[str, str | None]) -> None:
    """Write files of one folder, all of them or none, even when the process is killed and ``finish`` is called later.

    Args:
        folder: the data set's folder.
        texts: file name -> new content; None: the file is removed.

    Raises:
        OutputError: they cannot be written; the folder is as it was.
    """
    journal = folder / SPLIT_JOURNAL
    before = {
        name: digest_of(read_text(folder / name).encode()) if (folder / name).is_file() else None for name in texts
    }
    write_json(journal, {"before": before, "after": dict(texts)})
    try:
        write_texts({folder / name: text for name, text in texts.items()})
    finally:
        _remove(journal)


def finish(folder: Path) -> bool:
    """Complete the writes of a killed process; return whether there were any.

    Raises:
        InputError: a file was changed in between.
        OutputError: a file cannot be written.
    """
    journal = folder / SPLIT_JOURNAL
    sweep(journal)
    if not journal.is_file():
        return False
    before, after = _read(journal)
    for name in after:
        # First restore what a killed process moved aside, even a file that will be removed.
        sweep(folder / name)
    for name, text in after.items():
        path = folder / name
        now = digest_of(read_text(path).encode()) if path.is_file() else None
        if now not in (before.get(name), None if text is None else digest_of(text.encode())):
            problem = (
                f"must be unchanged since `posetools split` or `posetools validate --fix` was interrupted, so that "
                f"{journal} can complete it, but was changed"
            )
            hint = f"put {path.name} back, or remove {journal.name} and run `posetools validate`"
            raise InputError(path, "", problem, hint=hint)
    write_texts({folder / name: text for name, text in after.items()})
    _remove(journal)
    return True


def _read(journal: Path) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Return file name -> digest of what was there, and -> new content, or None for a file that is to be removed."""
    document = read_json(journal)
    before, after = (document.get(key) if isinstance(document, dict) else None for key in ("before", "after"))
    if (
        isinstance(before, dict)
        and isinstance(after, dict)
        and before.keys() == after.keys()
        and all(_is_known(name) for name in after)
        and all(text is None or isinstance(text, str) for text in after.values())
    ):
        return before, after
    hint = f"remove {journal.name} and run `posetools validate` on the data set"
    raise InputError(
        journal,
        "",
        "must be what an interrupted `posetools split` or `posetools validate --fix` left, but is not",
        hint=hint,
    )


def _is_known(name: str) -> bool:
    return name == CONVERSION or (name.endswith("_coco.json") and Path(name).name == name)


def _remove(journal: Path) -> None:
    try:
        journal.unlink(missing_ok=True)
    except OSError as exc:
        raise OutputError(f"{journal}: cannot be removed: {exc.strerror or exc}") from exc
