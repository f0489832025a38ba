"""The stack that posetools is tested with, and what `posetools doctor` looks at: data only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of one package that work. pyproject.toml declares the same ranges; a test compares them.

    Attributes:
        newest: the version that `make install` brings and `make test` tests.
        oldest: the version that `make test-oldest` installs and tests; empty when there is only one.
        below: the first version that is refused; empty when there is only one.
        why: why others do not work, where that is known.
    """

    newest: str
    oldest: str = ""
    below: str = ""
    why: str = ""


# The Makefile's environment for the newest stack, its environment for the oldest one, and every other.
StackKind: TypeAlias = Literal["newest", "oldest", "other"]

PYTHON = (3, 11)

STACK = {
    "torch": Versions("2.13.0", "2.1.2", "2.14"),
    "torchvision": Versions("0.28.0", "0.16.2", "0.29"),
    "numpy": Versions("1.23.5", why="xtcocotools is compiled for it; numpy 2 breaks it"),
    "mmengine": Versions("0.10.7"),
    "mmcv-lite": Versions("2.1.0", why="mmdet 3.3.0 refuses 2.2.0 and later"),
    "mmdet": Versions("3.3.0"),
    "mmpose": Versions("1.3.2"),
    "xtcocotools": Versions("1.14.3"),
    "opencv-python": Versions("4.11.0.86", "4.8.0.76", "4.12", why="4.12 and later need numpy 2"),
    "scipy": Versions("1.12.0", "1.11.1", "1.13"),
    "setuptools": Versions("80.10.2", "69.0.0", "81", why="81 dropped pkg_resources, which mmengine imports"),
    "onnx": Versions("1.23.2", "1.16.0", "2"),
    "onnxruntime": Versions("1.32.0", "1.18.0", "2"),
    "matplotlib": Versions("3.10.9", "3.7.0", "4"),
    "tensorboard": Versions("2.21.0", "2.15.0", "3"),
}

# The first NVIDIA driver that runs a torch built for this major version of CUDA (NVIDIA's CUDA compatibility tables).
DRIVERS = {"12": 525, "13": 580}

# What the commands before training need.
CORE = (
    "defusedxml",
    "filelock",
    "jinja2",
    "msgspec",
    "numpy",
    "pillow",
    "psutil",
    "pydantic",
    "pyyaml",
    "rich",
    "typer",
    "xxhash",
)

# All of these write one and the same `cv2` folder.
OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)

# All of these write one folder `mmcv`. The first has no compiled ops, the second has: `make install-ops`.
MMCV = ("mmcv-lite", "mmcv", "mmcv-full", "onedl-mmcv")


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of really calling a part of the stack, in a process of its own.

    Attributes:
        ok: it ran to its end.
        found: what it returned.
        error: the last line it said when it did not.
    """

    ok: bool
    found: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackFacts:
    """What was found on this machine.

    Attributes:
        python: the version of the interpreter.
        distributions: the version of every installed distribution, by its normalized name.
        missing: the packages of the ``train`` extra that are not installed.
        driver: the version of the NVIDIA driver, or None when there is none.
        visible: the environment variable CUDA_VISIBLE_DEVICES, or None when it is not set.
        probes: what came of the probes, by name; empty when packages are missing.
        uv: how uv is called here.
        kind: whose environment this is.
        prefix: the folder of the environment.
    """

    python: tuple[int, int, int]
    distributions: Mapping[str, str]
    missing: tuple[str, ...] = ()
    driver: str | None = None
    visible: str | None = None
    probes: Mapping[str, Probe] = field(default_factory=dict)
    uv: str = "uv"
    kind: StackKind = "newest"
    prefix: str = ".venv"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        ok: whether training can go on with it.
        found: what was found.
        expected: what should be there.
        fix: the command or sentence that mends it, empty when it is in order.
    """

    name: str
    ok: bool
    found: str
    expected: str
    fix: str = ""


def release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version without what follows them: ``2.13.0+cpu`` becomes ``(2, 13, 0)``."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
