"""A skeleton file to start from, for ``posetools skeleton new``.

Which keypoints are left and right of one another follows from their names (``posetools.core.skeleton_pairs``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from posetools.core.skeleton import DEFAULT_SIGMA, Skeleton, dump_skeleton
from posetools.core.skeleton_pairs import swaps, without_partner
from posetools.errors import RequestError, as_message, counted, must_be, sentence_of

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


@dataclass(frozen=True, slots=True)
class Draft:
    """A skeleton made from names and from what a source declares.

    Attributes:
        skeleton: the skeleton.
        notes: sentences on what was not declared, and what was decided.
    """

    skeleton: Skeleton
    notes: tuple[str, ...]


def skeleton_name(category: str) -> str:
    """Return a name for the skeleton of a category: ``traffic cone`` becomes ``traffic_cone``."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", category).strip("_.-") or "object"


def draft_skeleton(
    name: str,
    keypoints: Sequence[str],
    category: str,
    *,
    category_id: int = 1,
    links: Iterable[tuple[int, int]] = (),
    flip_idx: Sequence[int] | None = None,
    sigmas: Sequence[float] | None = None,
) -> Draft:
    """Return a skeleton with these keypoints, with the left/right pairs of ``flip_idx`` or else of their names.

    Args:
        name: the skeleton's name; ``skeleton_name`` makes one of a category.
        keypoints: the K names.
        category: the category's name.
        category_id: its id in COCO files.
        links: the lines between keypoints, as 0-based index pairs. Repeated ones are dropped with a note.
        flip_idx: the K indices of the keypoints in a mirrored image; None if the source does not say.
        sigmas: the K constants of OKS; None if the source does not say.

    Raises:
        RequestError: a name, a link, ``flip_idx`` or a sigma breaks a rule of skeletons.
    """
    notes: list[str] = []
    partners = _partners(keypoints, flip_idx, notes)
    edges = _edges(keypoints, links, notes)
    if sigmas is None:
        notes.append(f"sigmas are {DEFAULT_SIGMA}, a default: AP depends on them, and `posetools sigmas` measures them")
        sigmas = (DEFAULT_SIGMA,) * len(keypoints)
    document = {
        "name": name,
        "category": {"name": category, "id": category_id},
        "keypoints": [{"name": point, "swap": partners.get(point)} for point in keypoints],
        "links": [{"points": (keypoints[a], keypoints[b])} for a, b in edges],
        "sigmas": tuple(sigmas),
        "joint_weights": (1.0,) * len(keypoints),
    }
    try:
        return Draft(Skeleton.model_validate(document), tuple(notes))
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        problem = sentence_of(first) if first["type"] == "value_error" else first["msg"]
        given = f"{','.join(keypoints)} of {category!r}"
        raise RequestError(must_be("keypoints and category", f"valid for a skeleton ({problem})", given)) from exc


def _partners(names: Sequence[str], flip_idx: Sequence[int] | None, notes: list[str]) -> dict[str, str]:
    """Return the partner of each keypoint that has one."""
    by_name = swaps(names)
    if flip_idx is None:
        declared: dict[str, str] = {}
    else:
        if sorted(flip_idx) != list(range(len(names))) or any(flip_idx[flip_idx[i]] != i for i in flip_idx):
            rule = f"the {len(names)} indices of the keypoints in a mirrored image, each pair both ways"
            raise RequestError(must_be("flip_idx", rule, list(flip_idx)))
        declared = {names[i]: names[flip] for i, flip in enumerate(flip_idx) if flip != i}
        if by_name and not declared:
            notes.append("flip_idx declares no left/right pairs, but the names have sides: the names decide")
    found = declared or by_name
    if not found and len(names) > 1:
        notes.append("no left/right pairs are known: training will not mirror images")
    return found


def _edges(names: Sequence[str], links: Iterable[tuple[int, int]], notes: list[str]) -> tuple[tuple[int, int], ...]:
    """Return the links without repeated ones."""
    given = tuple(links)
    for a, b in given:
        if not (0 <= a < len(names) and 0 <= b < len(names)):
            raise RequestError(must_be("links", f"pairs of indices from 0 to {len(names) - 1}", [a, b]))
    kept = {frozenset(edge): edge for edge in reversed(given) if edge[0] != edge[1]}
    edges = tuple(edge for edge in dict.fromkeys(given) if kept.get(frozenset(edge)) == edge)
    if len(edges) < len(given):
        notes.append(f"{counted(len(given) - len(edges), 'link')} left out: repeated, or from a keypoint to itself")
    if not edges and len(names) > 1:
        notes.append("no links are declared: drawings have no lines")
    return edges


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
    pairs = [f"{one} - {other}" for one, other in skeleton.pairs]
    alone = without_partner(skeleton.names)
    hint = "where two keypoints change places in a mirrored image, write swap: NAME in both of them"
    return as_message(
        f"left/right pairs: {', '.join(pairs)}" if pairs else "no left/right pairs found",
        *([f"no partner found for {', '.join(alone)}"] if alone else []),
        hint=hint if alone or not pairs else "",
    )
