"""A skeleton file to start from, for ``posetools skeleton new``.

Which keypoints are left and right of one another follows from their names (``posetools.core.skeleton_pairs``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from posetools.core.skeleton import Skeleton, dump_skeleton, new_command, new_file
from posetools.core.skeleton_defaults import DEFAULT_SIGMA, lines_to_paste
from posetools.core.skeleton_pairs import SIDES, NamePairs, name_pairs, side_of
from posetools.errors import RequestError, as_message, counted, first_names, must_be, sentence_of

# Names or pairs that a message lists.
_SHOWN = 5

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
    "flip": "Whether training mirrors images; without this line: if any keypoint has a swap.",
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
    leave_unsure: bool = False,
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
        leave_unsure: whether names that may be a pair are left without a partner.

    Raises:
        RequestError: a name, a link, ``flip_idx`` or a sigma breaks a rule of skeletons; ``flip_idx`` contradicts the
            names; or, without ``flip_idx``, the names leave a pair unsure.
    """
    notes: list[str] = []
    named = name_pairs(keypoints)
    if flip_idx is not None:
        named = _declared(keypoints, flip_idx, named, notes)
    if named.unsure and not leave_unsure:
        raise _unsure(keypoints, category, named)
    flip = False if named.swaps and not named.complete else None
    notes += _mirror_notes(named) if len(keypoints) > 1 else []
    edges = _edges(keypoints, links, notes)
    if sigmas is None:
        notes.append(f"sigmas are {DEFAULT_SIGMA}, a default: AP depends on them, and `posetools sigmas` measures them")
        sigmas = (DEFAULT_SIGMA,) * len(keypoints)
    document = {
        "name": name,
        "category": {"name": category, "id": category_id},
        "keypoints": [{"name": point, "swap": named.swaps.get(point)} for point in keypoints],
        "links": [{"points": (keypoints[a], keypoints[b])} for a, b in edges],
        "sigmas": tuple(sigmas),
        "flip": flip,
    }
    try:
        return Draft(Skeleton.model_validate(document), tuple(notes))
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        problem = sentence_of(first) if first["type"] == "value_error" else first["msg"]
        given = f"{category} with {','.join(keypoints)}"
        raise RequestError(must_be("keypoints and category", f"valid for a skeleton ({problem})", given)) from exc


def _declared(names: Sequence[str], flip_idx: Sequence[int], named: NamePairs, notes: list[str]) -> NamePairs:
    """Return the pairs that ``flip_idx`` declares, with those of the names that it leaves out.

    Exporters that do not know left and right write each keypoint as its own partner, so such an entry says nothing. An
    entry that pairs a keypoint with another one than its name does is a mistake in either, and training cannot show
    which: it is refused.

    Raises:
        RequestError: it is no list of pairs, or contradicts the names.
    """
    if sorted(flip_idx) != list(range(len(names))) or any(flip_idx[other] != at for at, other in enumerate(flip_idx)):
        rule = f"the {len(names)} indices of the keypoints in a mirrored image, each pair both ways"
        raise RequestError(must_be("flip_idx", rule, list(flip_idx)))
    declared = {names[at]: names[other] for at, other in enumerate(flip_idx) if other != at}
    for name, other in declared.items():
        if named.swaps.get(name, other) != other or (name in named.alone and {side_of(name), side_of(other)} != SIDES):
            index = {each: at for at, each in enumerate(names)}
            wanted = [index[named.swaps.get(each, each)] for each in names]
            own = "or write a skeleton file, with swap: NAME in both of each pair"
            raise RequestError(
                f"flip_idx must pair left with right, got {name!r} with {other!r}",
                hint=(f"correct flip_idx: by the names it is {wanted}", own),
            )
    left_out = [pair for pair in named.pairs if pair[0] not in declared]
    if left_out:
        shown = first_names([f"{one} - {other}" for one, other in left_out], _SHOWN)
        notes.append(f"flip_idx leaves out left/right pairs, which are taken from the names: {shown}")
    if declared:
        return NamePairs(named.swaps | declared, (), (), ())
    return named


def _mirror_notes(named: NamePairs) -> list[str]:
    """Return why training will not mirror images."""
    if named.swaps and named.complete:
        return []
    reasons = [] if named.swaps else ["no left/right pairs are known"]
    if named.alone:
        reasons.append(f"no partner found for {first_names(named.alone, _SHOWN)}")
    if named.swaps and named.numbered:
        reasons.append(f"the names do not say which of {first_names(named.numbered, _SHOWN)} are pairs")
    return [f"training will not mirror images: {', '.join(reasons)}"]


def _unsure(names: Sequence[str], category: str, named: NamePairs) -> RequestError:
    one, other = named.unsure[0]
    more = [f"and {counted(len(named.unsure) - 1, 'more pair')}"] if len(named.unsure) > 1 else []
    return RequestError(
        f"{one!r} and {other!r} may be a left/right pair, but their names do not say so surely",
        *more,
        hint=(
            new_command(names, category),
            "if they are a pair, replace their lines in this file by:",
            *lines_to_paste(named.unsure[:_SHOWN]),
            f"then add: --skeleton {new_file(category)}",
        ),
    )


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


def pairs_found(draft: Draft) -> str:
    """Return a message with the left/right pairs of a draft, its notes, and how to fix it."""
    skeleton = draft.skeleton
    pairs = [f"{one} - {other}" for one, other in skeleton.pairs]
    ways = []
    if not skeleton.mirrors and skeleton.num_keypoints > 1:
        ways.append("where two keypoints change places in a mirrored image, write swap: NAME in both of them")
        ways += lines_to_paste(name_pairs(skeleton.names).unsure[:_SHOWN])
    if skeleton.flip is False:
        ways.append("delete `flip: false` when all pairs have a swap")
    return as_message(
        f"left/right pairs: {', '.join(pairs)}" if pairs else "no left/right pairs found", *draft.notes, hint=ways
    )
