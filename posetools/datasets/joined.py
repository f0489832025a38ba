"""The categories of several data sets together: those of one name are one category, and need the same keypoints."""

from __future__ import annotations

from collections.abc import Iterable

from posetools.core.categories import Categories
from posetools.core.skeleton import Skeleton


def joined_categories(sets: Iterable[Categories]) -> Categories:
    """Return the categories of some data sets, each name once with the skeleton of its first data set.

    Ids stay if they are different, else they are 1, 2, ...
    """
    first: dict[str, Skeleton] = {}
    for categories in sets:
        for name, number in categories.ids.items():
            first.setdefault(name, categories[number])
    if len(first) == 1:
        return Categories(tuple(first.values()))
    return Categories.numbered((skeleton.category.id, skeleton) for skeleton in first.values())


def difference(skeleton: Skeleton, other: Skeleton) -> tuple[str, str]:
    """Return which keypoints another skeleton of the same category lacks or also has, and whose swaps differ.

    Returns:
        Two ends of a sentence (``it lacks tip``, ``tip``); both empty if objects of the two can be in one data set.
    """
    missing, more = sorted(set(skeleton.names) - set(other.names)), sorted(set(other.names) - set(skeleton.names))
    parts = [f"lacks {', '.join(missing)}"] if missing else []
    parts += [f"also has {', '.join(more)}"] if more else []
    swaps = {point.name: point.swap for point in other.keypoints}
    differ = [point.name for point in skeleton.keypoints if point.name in swaps and swaps[point.name] != point.swap]
    return f"it {' and '.join(parts)}" if parts else "", ", ".join(differ)
