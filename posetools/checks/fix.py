"""``validate --fix``: the repairs of a COCO file that have one right answer, written atomically.

What is repaired stands in posetools/formats/coco/repair.py. Keys, their order, and everything else in the file stay.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from posetools.core.journal import write_together
from posetools.errors import InputError
from posetools.files.disk import dump_json, read_text, sweep, write_texts
from posetools.files.locks import only_one_in
from posetools.formats.coco.repair import Repair, repair


def fix_files(paths: Sequence[Path]) -> dict[Path, tuple[Repair, ...]]:
    """Mend COCO files of one folder, all of them or none; return what was changed in each that needed it.

    Raises:
        RequestError: another run is writing there.
        InputError: a file that needs mending is not JSON, or could not be written again as it is.
        OutputError: a file cannot be written; all are as they were.
    """
    fixed: dict[Path, tuple[Repair, ...]] = {}
    texts: dict[str, str] = {}
    folder = paths[0].parent
    with only_one_in(folder):
        for path in paths:
            sweep(path)
            document, repairs = repair(_parse(path, strict=False))
            if repairs:
                # Only now, for a file without anything to mend may hold what cannot be written.
                _parse(path, strict=True)
                fixed[path] = repairs
                texts[path.name] = dump_json(document)
        if len(texts) > 1:
            write_together(folder, texts)
        elif texts:
            write_texts({folder / name: text for name, text in texts.items()})
    return fixed


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

    try:
        if strict:
            return json.loads(read_text(path), parse_constant=refuse, object_pairs_hook=keep_all)
        return json.loads(read_text(path))
    except json.JSONDecodeError as exc:
        raise InputError(path, f"line {exc.lineno}, column {exc.colno}", f"is not valid JSON: {exc.msg}") from exc
    except RecursionError as exc:
        raise InputError(path, "", "is nested too deeply to be an annotation file") from exc
    except ValueError as exc:
        raise InputError(path, "", "holds a number of too many digits to be an annotation file") from exc


def _refusal(path: Path, problem: str) -> InputError:
    return InputError(path, "", problem, hint="`posetools validate --fix` would lose this; fix it by hand first")
