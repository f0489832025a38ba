"""``validate --fix``: the repairs of a COCO file that have one right answer, written atomically.

What is repaired stands in posetools/formats/coco/repair.py. Keys, their order, and everything else in the file stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from posetools.core.journal import write_together
from posetools.errors import InputError
from posetools.files.disk import dump_json, read_json, sweep, write_texts
from posetools.files.locks import only_one_in
from posetools.formats.coco.repair import Repair, repair


@dataclass(frozen=True, slots=True)
class FixedFile:
    """What was changed in one file.

    Attributes:
        path: the file.
        repairs: every change.
    """

    path: Path
    repairs: tuple[Repair, ...]


def fix_files(paths: Sequence[Path]) -> tuple[FixedFile, ...]:
    """Mend COCO files of one folder, all of them or none; a file that needs nothing is not written.

    Raises:
        RequestError: another run is writing there.
        InputError: a file that needs mending is not JSON, or could not be written again as it is.
        OutputError: a file cannot be written; all are as they were.
    """
    with only_one_in(paths[0].parent):
        return _fix_files(paths)


def _fix_files(paths: Sequence[Path]) -> tuple[FixedFile, ...]:
    fixed: list[FixedFile] = []
    texts: dict[str, str] = {}
    for path in paths:
        sweep(path)
        document, repairs = repair(_parse(path, strict=False))
        if repairs:
            # Only now, for a file without anything to mend may hold what cannot be written.
            _parse(path, strict=True)
            fixed.append(FixedFile(path, repairs))
            texts[path.name] = dump_json(document)
    if len(texts) > 1:
        write_together(paths[0].parent, texts)
    elif texts:
        write_texts({paths[0].parent / name: text for name, text in texts.items()})
    return tuple(fixed)


def _parse(path: Path, *, strict: bool) -> Any:
    """Return the document; ``strict`` refuses what would come out otherwise than it went in."""

    def refuse(constant: str) -> NoReturn:
        raise _refusal(path, f"numbers must be finite, got {constant}")

    def keep_all(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        document = dict(pairs)
        if len(document) != len(pairs):
            keys = [key for key, _ in pairs]
            raise _refusal(path, f"keys must be unique, got {next(k for k in keys if keys.count(k) > 1)!r} twice")
        return document

    return read_json(path, parse_constant=refuse, object_pairs_hook=keep_all) if strict else read_json(path)


def _refusal(path: Path, problem: str) -> InputError:
    return InputError(path, "", problem, hint="`posetools validate --fix` would lose this; fix it by hand first")
