"""A skeleton file to start from, for ``posetools skeleton new``.

Which keypoints are left and right of one another follows from their names (``posetools.core.skeleton_pairs``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from posetools.core.skeleton import Category, Keypoint, Skeleton, dump_skeleton
from posetools.core.skeleton_pairs import swaps, without_partner
from posetools.errors import RequestError, as_message, must_be, sentence_of

DEFAULT_SIGMA = 0.05

_DRAFT_HEAD = """\
# A skeleton for posetools; docs/skeletons.md explains every field. `posetools skeleton check FILE` validates it,
# `posetools skeleton show FILE` prints it.

"""
_COMMENTS = {
    "name": "Used in the names of configs and work folders.",
    "category": "The object category with these keypoints; the id is COCO's and starts at 1.",
    "keypoints": "In the order of every array and file. swap: the keypoint that this one becomes in a mirrored "
    "image\n# (for both of the pair). color: red, green, blue.",
    "links": "The lines between keypoints in drawings. color: as above; default: a different color each, left and "
    "right of a\n# pair in the same hue, left dark and right light.",
    "sigmas": "How far apart two careful people label each keypoint, in units of sqrt(area) of the object. OKS "
    "and\n# AP depend on them. 0.05 is a default, not a measurement.",
    "joint_weights": "Weights of the training loss.",
}
_NO_LINKS = "# links:\n#   - {{points: [{}, {}]}}\n"


def draft_skeleton(name: str, keypoints: Sequence[str], category: str) -> Skeleton:
    """Return a skeleton with these keypoints, the swaps found in their names, and no links.

    Raises:
        RequestError: a name breaks a rule of skeletons.
    """
    partners = swaps(keypoints)
    points = [{"name": point, "swap": partners.get(point)} for point in keypoints]
    try:
        return Skeleton(
            name=name,
            category=Category(name=category),
            keypoints=tuple(Keypoint.model_validate(point) for point in points),
            sigmas=(DEFAULT_SIGMA,) * len(points),
            joint_weights=(1.0,) * len(points),
        )
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        problem = sentence_of(first) if first["type"] == "value_error" else first["msg"]
        given = f"{','.join(keypoints)} of {category!r}"
        raise RequestError(must_be("--keypoints and --category", f"valid for a skeleton ({problem})", given)) from exc


def check_name(path: Path) -> str:
    """Return the skeleton name that a file's name gives.

    Raises:
        RequestError: the file's name cannot be one.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", path.stem):
        rule = "a file name of letters, digits, '_', '.' and '-' (it becomes the skeleton's name)"
        raise RequestError(must_be("FILE", rule, str(path)))
    return path.stem


def commented_yaml(skeleton: Skeleton) -> str:
    """Return the YAML text of a skeleton with a comment on every field."""
    lines = [_DRAFT_HEAD]
    for line in dump_skeleton(skeleton).splitlines(keepends=True):
        field = line.partition(":")[0]
        if field == "sigmas" and not skeleton.links and skeleton.num_keypoints > 1:
            lines.append(f"# {_COMMENTS['links']}\n" + _NO_LINKS.format(*skeleton.names[:2]))
        if field in _COMMENTS:
            lines.append(f"# {_COMMENTS[field]}\n")
        lines.append(line)
    return "".join(lines)


def pairs_found(skeleton: Skeleton) -> str:
    """Return a message that names the left/right pairs of a draft, and how to fix them."""
    names = skeleton.names
    pairs = [f"{names[a]} - {names[b]}" for a, b in enumerate(skeleton.flip_indices) if a < b]
    alone = without_partner(names)
    hint = "where two keypoints change places in a mirrored image, write swap: NAME in both of them"
    return as_message(
        f"left/right pairs: {', '.join(pairs)}" if pairs else "no left/right pairs found",
        *([f"no partner found for {', '.join(alone)}"] if alone else []),
        hint=hint if alone or not pairs else "",
    )
