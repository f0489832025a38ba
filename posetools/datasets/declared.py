"""The skeletons that a source declares: one for each of its categories with keypoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from posetools.core.made_skeleton import made_skeleton
from posetools.core.skeleton import Skeleton
from posetools.errors import RequestError, counted, first_names, must_be, quoted
from posetools.formats import FORMATS
from posetools.formats.declared import DeclaredCategory
from posetools.formats.entry import Format
from posetools.formats.options import ReadOptions

# Categories that a message lists.
_LISTED = 10


@dataclass(frozen=True, slots=True)
class DeclaredSkeleton:
    """A skeleton made of what a source declares of a category.

    Attributes:
        skeleton: the skeleton.
        where: the file that declares it, and the place in it.
        notes: what it does not declare, a sentence each.
        warnings: what is probably not wanted, a sentence each.
    """

    skeleton: Skeleton
    where: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def declared_categories(
    paths: Sequence[Path], source: Format | None, options: ReadOptions
) -> tuple[DeclaredCategory, ...]:
    """Return the categories that sources declare, each name once, with and without keypoints.

    Args:
        paths: files or folders.
        source: their format; None: auto-detected for each.
        options: how labels are read.

    Raises:
        RequestError: two sources declare different keypoints of a category, or a label may be a mistake.
        InputError: a declaration breaks a rule.
    """
    if source is not None:
        return _joined(source.declared(paths, options) if source.declared else ())
    found: list[DeclaredCategory] = []
    for path in paths:
        formats = [each for each in FORMATS.values() if each.detect(path)]
        if len(formats) == 1 and formats[0].declared:
            found += formats[0].declared([path], options)
    return _joined(found)


def _joined(categories: Iterable[DeclaredCategory]) -> tuple[DeclaredCategory, ...]:
    """Return the categories, each name once; of two declarations, the one that has all keypoints of the other."""
    found: dict[str, DeclaredCategory] = {}
    for each in categories:
        other = found.setdefault(each.name, each)
        more, fewer = sorted((other, each), key=lambda one: -len(one.keypoints))
        if not set(fewer.keypoints) <= set(more.keypoints):
            rule = f"those in {other.where}, {', '.join(other.keypoints)}"
            problem = must_be(f"{each.where}: keypoints", rule, ", ".join(each.keypoints))
            raise RequestError(problem, hint="--map OLD=NEW renames keypoints; --skeleton FILE names all of them")
        found[each.name] = more
    return tuple(found.values())


def declared_skeletons(categories: Iterable[DeclaredCategory]) -> tuple[DeclaredSkeleton, ...]:
    """Return a skeleton for each category with keypoints, in their order.

    Raises:
        RequestError: the names, links or pairs of a category break a rule of skeletons.
    """
    return tuple(declared_skeleton(each) for each in categories if each.keypoints)


def declared_skeleton(category: DeclaredCategory, *, leave_unsure: bool = False) -> DeclaredSkeleton:
    """Return the skeleton of a category with keypoints.

    Args:
        category: the category.
        leave_unsure: whether names that may be a left/right pair are left without a partner.

    Raises:
        RequestError: its names, links or pairs break a rule of skeletons.
    """
    try:
        draft = made_skeleton(
            category.name,
            category.keypoints,
            category_id=category.id,
            links=category.links,
            flip_idx=category.flip_idx,
            sigmas=category.sigmas,
            leave_unsure=leave_unsure,
        )
    except RequestError as exc:
        exc.sentence = f"{category.where}: {exc.sentence}"
        raise
    first, last = category.keypoints[0], category.keypoints[-1]
    unnamed = (
        f"{category.where} does not name the keypoints: they are {first} to {last}; --kpt-order A,B,... names them"
    )
    return DeclaredSkeleton(draft.skeleton, category.where, draft.notes, () if category.named else (unnamed,))


def only_skeleton(made: Sequence[DeclaredSkeleton]) -> DeclaredSkeleton:
    """Return the only one of some skeletons, with id 1: MMPose drops detections of a single category of another id.

    Raises:
        RequestError: there are several.
    """
    first = made[0]
    if len(made) == 1:
        category = first.skeleton.category.model_copy(update={"id": 1})
        return replace(first, skeleton=first.skeleton.model_copy(update={"category": category}))
    listed = [f"{each.skeleton.category.name!r} ({counted(each.skeleton.num_keypoints, 'keypoint')})" for each in made]
    same = [each.skeleton.category.name for each in made if set(each.skeleton.names) == set(first.skeleton.names)]
    hint = [
        f"`posetools convert --categories {quoted(first.skeleton.category.name)}` reads the objects of one category"
    ]
    if len(same) > 1:
        pair = quoted(f"{same[1]}={same[0]}")
        hint.append(f"`posetools convert --map {pair}` makes one category of two with the same keypoints")
    named = first_names(listed, _LISTED)
    raise RequestError(f"{first.where}: categories with keypoints must be one, got {named}", hint=hint)
