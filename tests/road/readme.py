"""The commands of the README's "Your own data"."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.road.objects import RoadObject

README = Path(__file__).parents[2] / "README.md"
_BLOCK = re.compile(r"^## Your own data\n.*?^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
# Names in the README: the data set and the run, the bundle, images to predict on.
_NAME, _CAMERA, _IMAGES = "cars", "0", ("street.jpg", "clip.mp4")
# The pose estimator learns little in its first 300 iterations; a slow machine does few more in its share.
MINUTES = "12"


def readme_commands() -> list[list[str]]:
    """Return the words of each command, without its comment."""
    block = _BLOCK.search(README.read_text(encoding="utf-8"))
    if block is None:
        raise SystemExit(f"{README}: has no console block under 'Your own data'")
    return [words for line in block[1].splitlines() if (words := shlex.split(line, comments=True))]


def commands_for(made: RoadObject, images: list[str]) -> list[list[str]]:
    """Return the README's commands for an object.

    They differ only in names, skeleton, sizes, images instead of a camera, and the added ``--pretrained none`` and
    ``--minutes``.
    """
    commands = []
    for _, *words in readme_commands():
        words = [word.replace(_NAME, made.name) for word in words]
        if words[0] == "convert":
            words += made.skeleton
        if words[0] == "config":
            words[words.index("--det") + 1], words[words.index("--pose") + 1] = made.det, made.pose
            words += ["--pretrained", "none", "--minutes", MINUTES]
        if words[0] == "predict":
            words = [word for word in words if word not in (*_IMAGES, _CAMERA, "--show")]
            words[1:1] = images
            if "--bundle" in words:
                words += ["--output-root", "out_bundle", "--save-predictions"]
        commands.append(words)
    return commands
