"""`posetools doctor` in broken and in working environments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mm.test_doctor import probes_in_order


def run_doctor(*arguments: str, before: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command with a folder ahead of the installed packages."""
    environment = {**os.environ, "PYTHONPATH": str(before) if before else "", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-P", "-m", "posetools", "doctor", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_the_extra_it_names_the_install_command(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n", encoding="utf-8")
    done = run_doctor(before=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "train extra: not installed: torch" in done.stdout
    assert "(expected installed; without it convert, validate, split, config and skeleton work" in done.stdout
    fixes = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("fix: ")]
    assert len(fixes) == 1
    assert fixes[0].endswith("sync --inexact --extra train") or "make install" in fixes[0]
    assert "pydantic" in done.stdout

    document = json.loads(run_doctor("--json", before=tmp_path).stdout)
    assert document["ok"] is False
    problems = [check for check in document["checks"] if not check["ok"]]
    assert [problem["name"] for problem in problems] == ["train extra"]
    assert f"fix: {problems[0]['fix']}" == fixes[0]


@pytest.mark.train
def test_in_this_environment_all_is_well() -> None:
    done = run_doctor("--json")
    document = json.loads(done.stdout)
    assert [check for check in document["checks"] if not check["ok"]] == []
    assert (document["ok"], done.returncode) == (True, 0)
    names = {check["name"] for check in document["checks"]}
    assert {
        "torch",
        "mmcv's ops",
        "an mmengine checkpoint saved and loaded",
        "ops in use (NMS, RoIAlign, deformable convolution)",
    } <= names


@pytest.mark.train
def test_two_problems_give_two_lines_with_their_fixes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from posetools.cli.app import app
    from posetools.mm import probes

    for name in ("numpy-2.1.0", "opencv_python_headless-4.11.0.86"):
        package, version = name.split("-")
        folder = tmp_path / f"{name}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(tmp_path)
    # The compiled parts work here; see the test above.
    monkeypatch.setattr(probes, "run_probe", probes_in_order().__getitem__)
    monkeypatch.setattr(probes, "_uv", lambda: "uv")
    monkeypatch.setattr(probes, "_kind", lambda: "newest")
    monkeypatch.setattr(sys, "prefix", ".venv")

    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["doctor"])
    assert done.exit_code == 1
    lines = [line.strip() for line in done.stdout.splitlines()]
    numpy = "numpy: 2.1.0 (expected 1.23.5; xtcocotools is compiled for it; numpy 2 breaks it)"
    assert lines[lines.index(numpy) + 1] == "fix: uv sync --inexact --extra train"
    opencv = "one opencv package: opencv-python and opencv-python-headless (expected only opencv-python"
    (place,) = (place for place, line in enumerate(lines) if line.startswith(opencv))
    assert lines[place + 1] == (
        "fix: uv pip uninstall --python .venv opencv-python-headless"
        " && uv sync --inexact --extra train --reinstall-package opencv-python"
    )
    assert lines[-1].startswith("2 problems: this environment cannot train.")
