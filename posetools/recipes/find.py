"""Finding the pair of configs that was emitted for a data set."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from posetools.errors import RequestError
from posetools.files.disk import read_text
from posetools.recipes.emit import EmittedPair

_SCOPES = {"mmdet": "det", "mmpose": "pose"}
_BASE = re.compile(r"^_base_ = '(\w+)::", re.MULTILINE)
_DATA_ROOT = re.compile(r"^data_root = ('[^'\n]*'|\"[^\"\n]*\")", re.MULTILINE)


def data_root_in(text: str) -> Path | None:
    """Return the data set's folder that the text of a config names in a line of its own, or None."""
    found = _DATA_ROOT.search(text)
    return Path(ast.literal_eval(found[1])) if found else None


def find_pair(data_root: Path, configs: Path) -> EmittedPair | None:
    """Return the pair in ``configs`` whose ``data_root`` is this data set, or None when there is none.

    Raises:
        RequestError: there are several, or only one half.
    """
    found: dict[str, list[Path]] = {"det": [], "pose": []}
    for path in sorted(configs.glob("*.py")):
        text = read_text(path)
        base, root = _BASE.search(text), data_root_in(text)
        if base is None or root is None or base[1] not in _SCOPES:
            continue
        if root.resolve() == data_root.resolve():
            found[_SCOPES[base[1]]].append(path)
    det, pose = found["det"], found["pose"]
    if not det and not pose:
        return None
    if len(det) == len(pose) == 1:
        return EmittedPair(det[0], pose[0])
    listed = ", ".join(str(path) for path in [*det, *pose])
    if det and pose:
        raise RequestError(f"{configs}: has several configs for {data_root}: {listed}\n  --config says which one")
    missing = "pose" if det else "det"
    raise RequestError(
        f"{configs}: has {listed} for {data_root}, but no {missing} config\n"
        "  --config says which one to use; `posetools config` emits a pair"
    )
