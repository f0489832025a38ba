"""The demo's folder: a new one, or one with only the files of an earlier demo."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posetools.errors import InputError, OutputError, RequestError
from posetools.files.disk import check_free, read_json, write_json

# The record of a demo. It is written first, so that a stopped demo can be repeated.
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
# Leftovers of a killed demo: timing runs, and files not yet moved into place.
TIMING = ".timing-"
_LEFTOVERS = (f"{TIMING}*", ".*.tmp", ".*.old")
_MADE_BY = "posetools demo"


def claim_folder(out: Path, *, overwrite: bool) -> None:
    """Make ``out`` an empty folder for the demo. Deletes only the files of an earlier demo.

    Args:
        out: the folder.
        overwrite: delete an earlier demo's folder even if it has other files.

    Raises:
        RequestError: it has files that are not from a demo.
        OutputError: it cannot be written.
    """
    if _is_demo(out):
        left = {path.name for path in out.iterdir() if any(map(path.match, _LEFTOVERS))}
        strangers = sorted({path.name for path in out.iterdir()} - _MADE - left)
        if strangers and not overwrite:
            raise RequestError(
                f"{out}: has files that are not from the demo: {', '.join(strangers)}",
                hint="move them, choose another --out, or use --overwrite to delete the whole folder",
            )
        try:
            shutil.rmtree(out)
        except OSError as exc:
            raise OutputError(f"{exc.filename or out}: cannot be deleted: {exc.strerror or exc}") from exc
    elif out.is_dir() and any(out.iterdir()):
        raise RequestError(f"{out}: must be empty or from an earlier demo", hint="choose another --out")
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
