"""The layers of the package: a folder may import only itself and folders of earlier layers."""

from __future__ import annotations

import ast
from pathlib import Path

import posetools

ROOT = Path(posetools.__file__).resolve().parent
# Folders of one layer must not import each other.
LAYERS = (
    "__init__",
    "errors progress weights",
    "plugins",
    "files",
    "core",
    "imaging recipes",
    "runtime",
    "mm",
    "pairs",
    "scale",
    "formats",
    "checks evaluation synth",
    "datasets training prediction pages",
    "exporting labeling",
    "trainers",
    "workflow",
    "cli __main__",
)


def folders() -> list[Path]:
    """Return the package's folders, in the order of layers, subfolders after their parents."""
    order = {name: level for level, names in enumerate(LAYERS) for name in names.split()}
    found = [path.parent for path in ROOT.rglob("__init__.py") if path.parent != ROOT]
    return sorted(found, key=lambda path: (order[(parts := path.relative_to(ROOT).parts)[0]], parts))


def purpose(folder: Path) -> str:
    """Return the first sentence of a folder's ``__init__``."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def table() -> str:
    """Return the table of folders, from the lowest layer to the highest."""
    rows = [f"| `{path.relative_to(ROOT).as_posix()}/` | {purpose(path)} |" for path in folders()]
    return "\n".join(["| folder | what it is for |", "|---|---|", *rows])
