"""The Makefile, with a fake uv that only records its calls."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation import TARGETS

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = ROOT / "Makefile"

FAKE_UV = """#!/bin/sh
echo "${UV_PROJECT_ENVIRONMENT:-.venv}: $*" >> calls
mkdir -p .venv "${UV_PROJECT_ENVIRONMENT:-.venv}"
"""

# The fake uv is a shell script, which Windows does not start.
pytestmark = pytest.mark.skipif(os.name == "nt" or shutil.which("make") is None, reason="needs make")


class Checkout:
    """A folder with the Makefile, pyproject.toml and the fake uv."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(MAKEFILE, folder)
        shutil.copy(ROOT / "pyproject.toml", folder)
        (folder / "uv").write_text(FAKE_UV, encoding="utf-8")
        (folder / "uv").chmod(0o755)

    def make(self, *targets: str) -> str:
        """Run make and return its output."""
        command = ["make", "UV=./uv", *targets]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def calls(self) -> list[str]:
        """Return the calls of uv since the last time."""
        path = self.folder / "calls"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def change(self, name: str) -> None:
        """Set a file's time after every stamp."""
        later = max(path.stat().st_mtime for path in self.folder.rglob("*")) + 10
        os.utime(self.folder / name, (later, later))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_installing_again_costs_nothing_until_pyproject_changes(checkout: Checkout) -> None:
    assert "installing posetools with the OpenMMLab stack" in checkout.make("install")
    assert checkout.calls() == [".venv: sync --python 3.11 --extra train --extra dev"]
    assert checkout.make("install", "install-core").count("is up to date") == 2
    assert checkout.calls() == []
    checkout.change("pyproject.toml")
    checkout.make("install")
    assert len(checkout.calls()) == 1


def test_the_core_alone_leaves_the_stack_where_it_is(checkout: Checkout) -> None:
    checkout.make("install-core")
    assert checkout.calls() == [".venv: sync --python 3.11 --inexact --extra dev"]
    # The stack is installed when requested, even if the core is already installed.
    checkout.make("install")
    assert len(checkout.calls()) == 1


def test_the_oldest_stack_has_its_own_environment_and_its_own_lock(checkout: Checkout) -> None:
    (checkout.folder / "uv.lock").write_text("newest", encoding="utf-8")
    checkout.make("install-oldest")
    sync, install = checkout.calls()
    assert sync.startswith(f"{checkout.folder}/.venv-oldest: sync --python 3.11 --project .tools/oldest ")
    assert "--resolution lowest-direct --no-install-project" in sync
    assert "--python .venv-oldest --no-deps --editable ." in install
    assert (checkout.folder / ".tools" / "oldest" / "pyproject.toml").is_file()
    assert (checkout.folder / "uv.lock").read_text(encoding="utf-8") == "newest"
    checkout.make("install-oldest")
    assert checkout.calls() == []


def test_help_tells_every_target(checkout: Checkout) -> None:
    (targets,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    told = [line.split()[0] for line in checkout.make().splitlines()]
    assert sorted(told) == sorted(targets.split())


def test_continuous_integration_calls_what_the_readme_does() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").splitlines()[-2:] == ["make test", "make road"]


def test_what_make_mutation_changes_and_runs_is_there() -> None:
    for module, tests in TARGETS.items():
        assert (ROOT / "posetools" / f"{module}.py").is_file(), module
        assert all((ROOT / test).is_file() for test in tests), tests


def test_bench_runs_programs_that_exist() -> None:
    listed = subprocess.run(
        [sys.executable, "benchmarks/all.py", "--only", "none"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = re.findall(r"'(\w+)'", listed.stderr.partition("choose from")[2])
    assert "convert" in names
    assert [name for name in names if not (ROOT / "benchmarks" / f"{name}.py").is_file()] == []
