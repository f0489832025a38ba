"""The notebook: made from docs/python.md, valid, and its cells run in order."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.notebook import NEEDS_TRAIN, NOTEBOOK, notebook_text

# A kernel runs cells in a main module without a file; so does this, and processes that cells start work in both.
RUN = "import json, sys; [exec(compile(cell, '<cell>', 'exec'), globals()) for cell in json.load(open(sys.argv[1]))]"


def cells(kind: str) -> list[dict[str, Any]]:
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in document["cells"] if cell["cell_type"] == kind]


def run_cells(folder: Path, *, everything: bool) -> Path:
    """Run the cells and return the folder in which they wrote."""
    wanted = [cell for cell in cells("code") if everything or NEEDS_TRAIN not in cell["metadata"].get("tags", ())]
    sources = folder / "cells.json"
    sources.write_text(json.dumps(["".join(cell["source"]) for cell in wanted]), encoding="utf-8")
    temporary = {name: str(folder) for name in ("TMPDIR", "TEMP", "TMP")}
    command = [sys.executable, "-c", RUN, str(sources)]
    done = subprocess.run(command, cwd=folder, env=os.environ | temporary, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("posetools-*"))


def test_the_notebook_is_current() -> None:
    assert NOTEBOOK.read_text(encoding="utf-8") == notebook_text(), "the notebook is stale: run `make generate`"


def test_links_of_the_notebook_lead_somewhere() -> None:
    text = "\n".join("".join(cell["source"]) for cell in cells("markdown"))
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)]
    assert len(targets) > 5
    assert [target for target in targets if not (NOTEBOOK.parent / target).exists()] == []


def test_the_notebook_is_valid_and_has_no_outputs() -> None:
    assert [cell for cell in cells("code") if cell["outputs"] or cell["execution_count"] is not None] == []
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))


def test_the_cells_run_as_far_as_training(tmp_path: Path) -> None:
    assert list((run_cells(tmp_path, everything=False) / "configs").iterdir())


@pytest.mark.train
def test_the_cells_run_to_the_predictions(tmp_path: Path) -> None:
    written = run_cells(tmp_path, everything=True)
    assert (written / "work_dirs" / "cars" / "pose" / "epoch_2.pth").is_file()
