"""The categories of several data sets together: those of one name are one category, and need the same keypoints."""

from __future__ import annotations

from collections.abc import Iterable

from posetools.core.categories import Categories
from posetools.core.skeleton import Skeleton


def joined_categories(skeletons: Iterable[Skeleton]) -> tuple[Categories, list[str]]:
    """Return the categories of some data sets, each name once with its first skeleton, and notes on new ids.

    Ids stay if they are different, else they are 1, 2, ...
    """
    first: dict[str, Skeleton] = {}
    for skeleton in skeletons:
        first.setdefault(skeleton.category.name, skeleton)
    if len(first) == 1:
        return Categories(tuple(first.values())), []
    result = Categories.numbered((skeleton.category.id, skeleton) for skeleton in first.values())
    return result, renumbered(first.values(), result)


def renumbered(skeletons: Iterable[Skeleton], result: Categories) -> list[str]:
    """Return a note on each category that has another id in the result."""
    were = [(each.category.name, each.category.id) for each in skeletons]
    return [f"{name}: category id {result.ids[name]}, was {was}" for name, was in were if result.ids[name] != was]


def difference(skeleton: Skeleton, other: Skeleton) -> tuple[str, str]:
    """Return what keeps objects of another skeleton from being objects of this one's category.

    Returns:
        What the other's keypoints are, as the end of a sentence (``it lacks tip``), and the keypoints whose swaps
        differ; both are empty if nothing does.
    """
    missing, more = sorted(set(skeleton.names) - set(other.names)), sorted(set(other.names) - set(skeleton.names))
    parts = [f"lacks {', '.join(missing)}"] if missing else []
    parts += [f"also has {', '.join(more)}"] if more else []
    swaps = {point.name: point.swap for point in other.keypoints}
    differ = [point.name for point in skeleton.keypoints if swaps.get(point.name, point.swap) != point.swap]
    return f"it {' and '.join(parts)}" if parts else "", ", ".join(differ)
