"""A skeleton file to start from: the work behind ``posetools skeleton new``.

Left and right are told by whole words of a name: ``left-ear``, ``ear_l``, ``R_ear``, ``Left Ear``. A keypoint gets a
swap only when its mirrored name is a keypoint too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from posetools.errors import RequestError, must_be
from posetools.skeleton import Category, Keypoint, Skeleton, dump_skeleton

DEFAULT_SIGMA = 0.05

_OPPOSITE = {"left": "right", "l": "r", "right": "left", "r": "l"}

_HEAD = """\
# A skeleton for posetools; docs/skeletons.md explains every field. `posetools skeleton check FILE` tells whether it
# is valid, `posetools skeleton show FILE` how it is understood.

"""
_COMMENTS = {
    "name": "Used in the names of configs and work folders.",
    "category": "The one kind of object that has these keypoints; the id is COCO's, from 1.",
    "keypoints": "In the order of every array and file. swap: the keypoint that this one becomes in a mirrored "
    "picture\n# (for both of the pair). color: red, green, blue.",
    "links": "The lines between keypoints in drawings. color: as above; without it each gets one of its own, left and "
    "right of a\n# pair in the same hue, left deep and right light.",
    "sigmas": "How far apart two careful people would label each keypoint, in units of sqrt(area) of the object: OKS "
    "and\n# hence AP depend on them. 0.05 is a start, not a measurement.",
    "joint_weights": "Weights of the training loss.",
}
_NO_LINKS = "# links:\n#   - {{points: [{}, {}]}}\n"


def draft_skeleton(name: str, keypoints: Sequence[str], category: str) -> Skeleton:
    """Return a skeleton of those keypoints, with the swaps that their names tell, and no links.

    Raises:
        RequestError: a name breaks a rule of skeletons.
    """
    known = set(keypoints)
    points = []
    for point in keypoints:
        mirrored = mirror_name(point)
        points.append({"name": point, "swap": mirrored if mirrored != point and mirrored in known else None})
    try:
        return Skeleton(
            name=name,
            category=Category(name=category),
            keypoints=tuple(Keypoint.model_validate(point) for point in points),
            sigmas=(DEFAULT_SIGMA,) * len(points),
            joint_weights=(1.0,) * len(points),
        )
    except ValidationError as exc:
        problem = exc.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        given = f"{','.join(keypoints)} of {category!r}"
        raise RequestError(
            must_be("--keypoints and --category", f"what a skeleton can have ({problem})", given)
        ) from exc


def rename_skeleton(skeleton: Skeleton, name: str) -> Skeleton:
    """Return the same skeleton under another name."""
    return skeleton.model_copy(update={"name": name})


def check_name(path: Path) -> str:
    """Return the skeleton name that a file's name gives.

    Raises:
        RequestError: the file's name cannot be one.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", path.stem):
        rule = "a file name of letters, digits, '_', '.' and '-' (the skeleton gets it as its name)"
        raise RequestError(must_be("FILE", rule, str(path)))
    return path.stem


def commented_yaml(skeleton: Skeleton) -> str:
    """Return the YAML text of a skeleton with a comment on every field."""
    lines = [_HEAD]
    for line in dump_skeleton(skeleton).splitlines(keepends=True):
        field = line.partition(":")[0]
        if field == "sigmas" and not skeleton.links and skeleton.num_keypoints > 1:
            lines.append(f"# {_COMMENTS['links']}\n" + _NO_LINKS.format(*skeleton.names[:2]))
        if field in _COMMENTS:
            lines.append(f"# {_COMMENTS[field]}\n")
        lines.append(line)
    return "".join(lines)


def mirror_name(name: str) -> str:
    """Return the name with its words left and right (or l and r) exchanged, in their own case."""
    words = re.split(r"([-_. ])", name)
    return "".join(_in_case_of(word, _OPPOSITE.get(word.lower(), word)) for word in words)


def _in_case_of(model: str, word: str) -> str:
    return word.upper() if model.isupper() else word.capitalize() if model.istitle() else word
