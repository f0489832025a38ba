"""Packages with plug-ins in a folder that stands for site-packages, and commands that see it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def install(package: Path, site: Path) -> None:
    """Build a package as a wheel, as ``pip install`` does, and install it: a pure wheel is only unpacked."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: the extra `dev`")
    source, dist = site.parent / "source", site.parent / "dist"
    shutil.copytree(package, source, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(dist)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(source)
    (wheel,) = dist.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)


def put(site: Path, package: str, module: str, plugins: Mapping[str, str]) -> None:
    """Write an installed package by hand: one module with this text, and entry points.

    Args:
        site: the folder.
        package: its name; the module has the same with underscores.
        module: the module's text.
        plugins: ``kind/name`` -> the object in the module.
    """
    site.mkdir(exist_ok=True)
    name = package.replace("-", "_")
    (site / f"{name}.py").write_text(module, encoding="utf-8")
    folder = site / f"{name}-1.5.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n", encoding="utf-8")
    lines = []
    for key, target in plugins.items():
        kind, _, own = key.partition("/")
        lines += [f"[posetools.{kind}]", f"{own} = {name}:{target}"]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def posetools(site: Path | None, *words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a process that sees the packages in ``site``."""
    paths = [str(site)] if site else []
    paths += [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "posetools", *map(str, words)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done
