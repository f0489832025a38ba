"""What a skeleton file may leave out, and what it is then.

A name and the keypoints' names are enough. Keypoints may be plain names, whose left/right pairs follow from the names.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from posetools.core.skeleton_pairs import name_pairs
from posetools.files.yaml_text import flow_text

# Of a keypoint that was not measured.
DEFAULT_SIGMA = 0.05
DEFAULT_WEIGHT = 1.0


def completed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a skeleton file's content with the values that it leaves out.

    Raises:
        ValueError: the plain names leave a left/right pair open.
    """
    filled = {"category": document.get("name"), **document}
    if isinstance(filled["category"], str):
        filled["category"] = {"name": filled["category"]}
    points = document.get("keypoints")
    if isinstance(points, list | tuple):
        filled.setdefault("sigmas", (DEFAULT_SIGMA,) * len(points))
        filled.setdefault("joint_weights", (DEFAULT_WEIGHT,) * len(points))
        filled |= _from_names(points, document.get("flip"))
    return filled


def _from_names(points: Sequence[Any], flip: object) -> dict[str, Any]:
    """Return the keypoints of a file with plain names as mappings, and ``flip`` if these names decide it."""
    named = name_pairs([point for point in points if isinstance(point, str)])
    if named.unsure:
        one, other = named.unsure[0]
        lines = ", ".join(lines_to_paste([(one, other)]))
        alone = flow_text({"name": one})
        raise ValueError(
            f"keypoints must say whether {one!r} and {other!r} are a left/right pair: write {lines} if they are, "
            f"- {alone} if not"
        )
    keypoints = [
        {"name": point, "swap": named.swaps.get(point)} if isinstance(point, str) else point for point in points
    ]
    decides = flip is None and named.swaps and not named.complete
    return {"keypoints": keypoints, **({"flip": False} if decides else {})}


def lines_to_paste(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the lines of a skeleton file that make left/right pairs of keypoints."""
    both = itertools.chain.from_iterable((pair, pair[::-1]) for pair in pairs)
    return tuple(f"- {flow_text({'name': name, 'swap': other})}" for name, other in both)


def describe_defaults(schema: dict[str, Any]) -> None:
    """Say in a skeleton's JSON Schema what a file may leave out or write as a plain name."""
    schema["required"] = ["name", "keypoints"]
    fields = schema["properties"]
    for owner, field in ((fields, "category"), (fields["keypoints"], "items")):
        owner[field] = {"anyOf": [{"type": "string"}, owner[field]]}
    told = {
        "category": "default: the skeleton's name",
        "keypoints": "a plain name has the swap that the names give",
        "sigmas": f"default: {DEFAULT_SIGMA} for each keypoint",
        "joint_weights": f"default: {DEFAULT_WEIGHT} for each keypoint",
    }
    for field, text in told.items():
        fields[field]["description"] = text
