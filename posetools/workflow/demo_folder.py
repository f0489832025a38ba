"""The demo's folder: a new one, or one in which nothing lies but what an earlier demo made."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posetools.errors import InputError, OutputError, RequestError
from posetools.files.disk import check_free, read_json, write_json

# The record of a demo. It is written first, so that a demo that was stopped halfway can be repeated too.
DEMO_RESULTS = "results.json"
LABELME_FOLDER, DATA_FOLDER, RECIPE, CONFIGS, DEMO_WORK_DIRS, DEMO_SHEET = (
    "labelme",
    "data",
    "recipe.toml",
    "configs",
    "work_dirs",
    "predictions.png",
)

_MADE = frozenset({DEMO_RESULTS, LABELME_FOLDER, DATA_FOLDER, RECIPE, CONFIGS, DEMO_WORK_DIRS, DEMO_SHEET})
# What a demo that was killed leaves: what it was timing, and what it had not yet moved to its place.
TIMING = ".timing-"
_LEFTOVERS = (f"{TIMING}*", ".*.tmp", ".*.old")
_MADE_BY = "posetools demo"


def claim_folder(out: Path, *, overwrite: bool) -> None:
    """Make ``out`` an empty folder of the demo's. What an earlier demo made in it is deleted, nothing else.

    Args:
        out: the folder.
        overwrite: delete an earlier demo's folder although there are other things in it.

    Raises:
        RequestError: there is something in it that no demo made.
        OutputError: it cannot be written.
    """
    if _is_demo(out):
        left = {path.name for path in out.iterdir() if any(map(path.match, _LEFTOVERS))}
        strangers = sorted({path.name for path in out.iterdir()} - _MADE - left)
        if strangers and not overwrite:
            raise RequestError(
                f"{out}: holds what the demo did not make: {', '.join(strangers)}\n"
                "  move it away; or choose another --out; or --overwrite deletes the whole folder"
            )
        try:
            shutil.rmtree(out)
        except OSError as exc:
            raise OutputError(f"{exc.filename or out}: cannot be deleted: {exc.strerror or exc}") from exc
    elif out.is_dir() and any(out.iterdir()):
        raise RequestError(f"{out}: is not empty, and no demo made it: it is left alone\n  choose another --out")
    else:
        check_free(out, hint="choose another --out")
    write_record(out, {"finished": False})


def write_record(out: Path, content: Mapping[str, Any]) -> None:
    """Write results.json.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(out / DEMO_RESULTS, {"made_by": _MADE_BY, **content})


def _is_demo(out: Path) -> bool:
    try:
        document = read_json(out / DEMO_RESULTS)
    except InputError:
        return False
    return isinstance(document, dict) and document.get("made_by") == _MADE_BY
