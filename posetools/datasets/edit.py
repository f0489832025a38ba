"""Rename, merge, drop and reorder the categories and keypoints of a data set: the work of ``subset --map``.

Names are replaced first. Categories and keypoints are then chosen by their new names, and categories with one name
become one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset
from posetools.core.geometry import Ints
from posetools.core.skeleton import Skeleton, is_name
from posetools.core.skeleton_draft import Draft
from posetools.core.skeleton_edit import edited_skeleton
from posetools.datasets.joined import difference, renumbered
from posetools.errors import RequestError, must_be
from posetools.formats.labels import suggestion
from posetools.formats.wildcards import LabelNames, fits


@dataclass(frozen=True, eq=False, slots=True)
class EditedCategories:
    """The categories of a data set after an edit.

    Attributes:
        categories: the new ones.
        sources: old category id -> its new id, and for each keypoint of its new skeleton its old column; without
            the categories that were dropped.
        notes: what else changed, a sentence each.
    """

    categories: Categories
    sources: Mapping[int, tuple[int, Ints]]
    notes: tuple[str, ...]

    def apply(self, dataset: Dataset) -> Dataset:
        """Return a Dataset of the old categories, with all images, the objects that are left, and the new columns.

        Objects without a labeled keypoint keep their boxes.
        """
        rows = np.flatnonzero(np.isin(dataset.category_ids, list(self.sources)))
        kept = dataset.take(dataset.images, rows, dataset.image_index[rows])
        keypoints = np.zeros((len(rows), self.categories.num_keypoints, 3))
        ids = kept.category_ids.copy()
        for old, (new, columns) in self.sources.items():
            mine = np.flatnonzero(kept.category_ids == old)
            keypoints[np.ix_(mine, self.categories.columns[new])] = kept.keypoints[np.ix_(mine, columns)]
            ids[mine] = new
        return replace(kept, categories=self.categories, keypoints=keypoints, category_ids=ids)


def edited_categories(
    categories: Categories,
    *,
    names: Mapping[str, str],
    keypoints: Sequence[str] | None = None,
    chosen: Sequence[str] | None = None,
) -> EditedCategories:
    """Return the categories of a data set under new names, or some of them.

    Args:
        categories: those of the data set.
        names: old -> new name. Old is a category; or else a keypoint, in all categories; or ``CATEGORY.KEYPOINT``.
            ``*`` and ``?`` in the name of a category or of a keypoint stand for any text and any character.
        keypoints: the keypoints to keep, in the new order, as ``KEYPOINT`` or ``CATEGORY.KEYPOINT``; categories with
            none of them keep all of theirs. None: all.
        chosen: the categories to keep, in the new order; None: all.

    Raises:
        RequestError: a name is unknown, given twice, or no valid name; two keypoints of a category have one name;
            categories of one name have different keypoints; or no keypoint is left.
    """
    renamed = _renamed(categories, names)
    _check_known("--categories", chosen, [one.category for one in renamed])
    renamed = [one for one in renamed if chosen is None or one.category in chosen]
    _check_known("--keypoints", keypoints, list(dict.fromkeys(text for one in renamed for text in one.texts)))
    notes: list[str] = []
    owners = []
    for name in chosen or dict.fromkeys(one.category for one in renamed):
        drafts = {one.skeleton.category.name: one.edited(keypoints) for one in renamed if one.category == name}
        # The skeleton of the category that already has the name, or of the first one.
        owner = name if name in drafts else next(iter(drafts))
        for other, draft in drafts.items():
            _check_same_keypoints((owner, drafts[owner].skeleton), (other, draft.skeleton))
            notes += draft.notes
        owners.append(drafts[owner].skeleton)
    if not any(skeleton.keypoints for skeleton in owners):
        raise RequestError(must_be("--categories", "at least one category with keypoints", list(chosen or ())))
    result = Categories.numbered((skeleton.category.id, skeleton) for skeleton in owners)
    sources = {
        one.skeleton.category.id: (result.ids[one.category], _columns(categories, one, result)) for one in renamed
    }
    notes += renumbered(owners, result)
    return EditedCategories(result, sources, tuple(dict.fromkeys(notes)))


@dataclass(frozen=True, slots=True)
class _Renamed:
    """A category of the data set, its new name, and old -> new names of its keypoints."""

    skeleton: Skeleton
    category: str
    names: Mapping[str, str]

    @property
    def texts(self) -> dict[str, str]:
        """What a user may write -> the keypoint's old name: all plain names, then all with the category in front."""
        old = {new: name for name, new in self.names.items()}
        return {**old, **{f"{self.category}.{new}": name for new, name in old.items()}}

    def edited(self, keypoints: Sequence[str] | None) -> Draft:
        """Return the new skeleton, with these keypoints if it has any of them."""
        own = self.texts
        asked = dict.fromkeys(own[text] for text in keypoints or () if text in own)
        return edited_skeleton(self.skeleton, {name: self.names[name] for name in asked or self.names}, self.category)


def _renamed(categories: Categories, names: Mapping[str, str]) -> list[_Renamed]:
    scoped = {f"{each.category.name}.{name}" for each in categories.skeletons for name in each.names}
    of_categories = {old: new for old, new in names.items() if any(fits(one, old) for one in categories.ids)}
    of_points = LabelNames({old: new for old, new in names.items() if old not in of_categories})
    for old, new in names.items():
        known = old in of_categories or old in scoped or any(fits(name, old) for name in categories.names)
        if not known:
            rule = "OLD=NEW, where OLD is a category, a keypoint or CATEGORY.KEYPOINT of the data set"
            way = suggestion(old, (*categories.ids, *categories.names))
            raise RequestError(must_be("--map", rule, f"{old}={new}"), hint=way)
        if not is_name(new):
            raise RequestError(
                must_be("--map", "OLD=NEW, where NEW is a name without spaces at its ends", f"{old}={new}")
            )
    found = []
    for skeleton in categories.skeletons:
        name = skeleton.category.name
        # A wildcard matches names of keypoints, not what has a category in front.
        own = {one: of_points[each] for one in skeleton.names if (each := f"{name}.{one}") in of_points}
        points = {one: own.get(one) or of_points.get(one) or one for one in skeleton.names}
        for new, times in Counter(points.values()).items():
            if times > 1:
                both = " and ".join(old for old, its in points.items() if its == new)
                problem = f"a name of its own to each keypoint of {name!r}, but {both} become {new!r}"
                raise RequestError(
                    f"--map must give {problem}",
                    hint="choose another name, or drop one of them first with `posetools subset --keypoints`",
                )
        found.append(_Renamed(skeleton, LabelNames(of_categories).get(name) or name, points))
    return found


def _check_known(option: str, asked: Sequence[str] | None, known: Sequence[str]) -> None:
    for text in asked or ():
        if text not in known:
            rule = "names in the data set, as --map renames them"
            raise RequestError(must_be(option, rule, text), hint=suggestion(text, known))
        if (asked or ()).count(text) > 1:
            raise RequestError(must_be(option, "each name once", text))


def _check_same_keypoints(first: tuple[str, Skeleton], other: tuple[str, Skeleton]) -> None:
    points, swaps = difference(first[1], other[1])
    if points or swaps:
        what, differ = ("keypoints", points) if points else ("swaps", f"those of {swaps} differ")
        names = f"{first[0]!r} and {other[0]!r} become one category"
        raise RequestError(
            f"--map: {what} must be the same where {names}, but {differ}",
            hint=("--map CATEGORY.KEYPOINT=NEW renames keypoints", "--keypoints A,B,... drops the others"),
        )


def _columns(categories: Categories, one: _Renamed, result: Categories) -> Ints:
    """Return (K,) the old column of each keypoint of the new skeleton."""
    old = {new: name for name, new in one.names.items()}
    new = result[result.ids[one.category]].names
    return np.array([categories.index[old[name]] for name in new], dtype=np.int64)
