"""What a release and a container are made of is there, and the same versions are used everywhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

import posetools

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = ROOT / ".github" / "workflows"


def workflow(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))
    return document


def test_the_package_has_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == posetools.__version__
    assert f"\n## {posetools.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_uv_has_one_version() -> None:
    (version,) = re.findall(r"^UV_VERSION := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    container = (ROOT / "Containerfile").read_text(encoding="utf-8")
    assert re.findall(r"^ARG UV_VERSION=(.*)$", container, re.MULTILINE) == [version]
    for name in ("ci.yml", "release.yml"):
        steps = [step for job in workflow(name)["jobs"].values() for step in job.get("steps", ())]
        used = {step["with"]["version"] for step in steps if "setup-uv" in step.get("uses", "")}
        assert used == {version}, name


def test_a_release_is_tested_then_built_then_published_without_a_token() -> None:
    jobs = workflow("release.yml")["jobs"]
    assert jobs["test"]["uses"] == "./.github/workflows/ci.yml"
    # YAML 1.1 reads the key `on` as true.
    assert "workflow_call" in workflow("ci.yml")[True]  # type: ignore[index]
    assert (jobs["build"]["needs"], jobs["publish"]["needs"]) == ("test", "build")
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"] == "release"
    assert "secrets." not in (WORKFLOWS / "release.yml").read_text(encoding="utf-8")


def test_the_container_gets_the_files_that_it_copies() -> None:
    container = (ROOT / "Containerfile").read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY ([^-].*) \S+$", container, re.MULTILINE) for name in line.split()}
    allowed = re.findall(r"^!(.*)$", (ROOT / ".containerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert copied == set(allowed)
    assert all((ROOT / name).exists() for name in copied)
