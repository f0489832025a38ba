"""The skeletons that a source declares: one for each of its categories with keypoints."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from posetools.core.made_skeleton import made_skeleton
from posetools.core.skeleton import Category, Skeleton
from posetools.core.skeleton_draft import skeleton_name
from posetools.errors import RequestError, must_be
from posetools.formats import FORMATS
from posetools.formats.declared import DeclaredCategory
from posetools.formats.entry import Format
from posetools.formats.options import ReadOptions


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


def declared_skeletons(categories: Iterable[DeclaredCategory], *, boxes: bool = False) -> tuple[DeclaredSkeleton, ...]:
    """Return a skeleton for each category with keypoints, in their order.

    Categories with the same keypoints, pairs and links share the skeleton of the first, as keypoints go by name: the
    labels of points first appear in any order.

    Args:
        categories: the categories.
        boxes: whether those without keypoints are taken, too.

    Raises:
        RequestError: the names, links or pairs of a category break a rule of skeletons.
    """
    found: dict[Hashable, Skeleton] = {}
    made: list[DeclaredSkeleton] = []
    for category in categories:
        if category.keypoints or boxes:
            one = declared_skeleton(category) if category.keypoints else _boxes_only(category)
            shared = found.setdefault(_by_name(one.skeleton), one.skeleton)
            own = shared.model_copy(update={"category": one.skeleton.category})
            made.append(replace(one, skeleton=own if category.keypoints else one.skeleton))
    return tuple(made)


def _by_name(skeleton: Skeleton) -> Hashable:
    """Return everything that makes two skeletons different, whatever the order of their keypoints."""
    points = zip(skeleton.names, (point.swap for point in skeleton.keypoints), skeleton.sigmas, strict=True)
    return frozenset(points), frozenset(frozenset(link.points) for link in skeleton.links), skeleton.flip


def _boxes_only(category: DeclaredCategory) -> DeclaredSkeleton:
    named = Category(name=category.name)
    skeleton = Skeleton(name=skeleton_name(category.name), category=named, keypoints=(), sigmas=(), joint_weights=())
    return DeclaredSkeleton(skeleton, category.where)


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
