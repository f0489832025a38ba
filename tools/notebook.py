"""Writes notebooks/road.ipynb from docs/python.md, so the page and the notebook have the same text and the same code.

``python -m tools.notebook`` rewrites the notebook; a test fails when it is not current.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
PAGE, NOTEBOOK = CHECKOUT / "docs" / "python.md", CHECKOUT / "notebooks" / "road.ipynb"
# The tag of a cell that needs the train extra.
NEEDS_TRAIN = "needs-train"

_MARK = "<!-- needs: train -->"
_CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!\w+:|#)")
_ABOUT = """\
This notebook is made from [docs/python.md](../docs/python.md). Run it with a Python that has posetools and its `train`
extra ([install](../docs/install.md)). It writes to a temporary folder, and takes about two minutes on two CPU cores."""
_FOLDER = """\
import os
import tempfile

folder = tempfile.mkdtemp(prefix="posetools-")
os.chdir(folder)
print(folder)"""


def notebook_text() -> str:
    """Return the notebook as JSON text."""
    title, _, page = PAGE.read_text(encoding="utf-8").partition("\n")
    cells = [_markdown(f"{title}\n\n{_ABOUT}"), _code(_FOLDER, [])]
    # Texts and code alternate, a text first.
    parts = _CODE.split(page)
    for number, part in enumerate(parts):
        if number % 2:
            cells.append(_code(_quiet(part.rstrip("\n")), [NEEDS_TRAIN] if _MARK in parts[number - 1] else []))
        elif text := _LINK.sub("](../docs/", part.replace(_MARK, "")).strip():
            cells.append(_markdown(text))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:02d}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    document = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _quiet(code: str) -> str:
    """End a cell with a semicolon where its last value would be shown: a Dataset is long."""
    last = ast.parse(code).body[-1]
    return f"{code};" if isinstance(last, ast.Expr) and not code.startswith("print(", code.rfind("\n") + 1) else code


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def _code(text: str, tags: list[str]) -> dict[str, Any]:
    metadata = {"tags": tags} if tags else {}
    cell: dict[str, Any] = {"cell_type": "code", "execution_count": None, "metadata": metadata, "outputs": []}
    return cell | {"source": text.splitlines(keepends=True)}


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook_text(), encoding="utf-8")
    print(NOTEBOOK.relative_to(CHECKOUT).as_posix())
