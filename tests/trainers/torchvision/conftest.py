"""The tests run where torchvision is: `make test-torchvision` without OpenMMLab, `make test` with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import posetools
from tests.two_kinds import two_kinds

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent

Command = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            # Torch warns of its own future.
            item.add_marker(pytest.mark.filterwarnings("default"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.path.is_relative_to(HERE):
        pytest.importorskip("torchvision", reason="torchvision is not installed: make test-torchvision")


def command_in(folder: Path, *, start: str = "") -> Command:
    """Return a function that runs a command of posetools in a folder, after some Python code."""
    code = f"{start}\nfrom posetools.cli import main\nmain()"

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data set ``data`` of cars and toy animals, each with keypoints of its own."""
    folder = tmp_path_factory.mktemp("kinds")
    whole = two_kinds(folder / "rendered", 8, seed=3)
    posetools.write({"train": whole.select_images(range(5)), "val": whole.select_images(range(5, 8))}, folder / "data")
    return folder
