"""Checks of one COCO file: ids, references, categories and keypoints, against itself and the skeleton."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from posetools.core.categories import Categories
from posetools.core.findings import Finding
from posetools.core.geometry import Bools, Floats, Ints, xyxy_from_xywh
from posetools.core.skeleton import Skeleton
from posetools.errors import Place, first_names, must_be
from posetools.formats.coco.model import COUNT_HINT, EDGES_HINT, LABELED_VALUES, CocoCategory
from posetools.formats.coco.table import CocoTable

_LISTED_FINDINGS = 20
# What SoundObjects has for each object, but for its keypoints.
_ROW_COLUMNS = ("rows", "images", "boxes", "category_ids")


@dataclass(frozen=True, eq=False, slots=True)
class SoundObjects:
    """The R objects of a file that can be checked further: a known image, and 3K valid keypoints.

    Attributes:
        table: the file.
        rows: (R,) rows of ``table.annotations``.
        images: (R,) rows of ``table.images``.
        boxes: (R, 4) x1, y1, x2, y2 in pixels.
        keypoints: (R, K, 3) x, y, visibility, in the columns of the data set's categories.
        category_ids: (R,) the data set's id of each object's category; None: the only one.
    """

    table: CocoTable
    rows: Ints
    images: Ints
    boxes: Floats
    keypoints: Floats
    category_ids: Ints | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def finding(self, code: str, index: int, message: str, hint: str, keypoints: Iterable[str] = ()) -> Finding:
        """Return a finding at the object ``index`` of the R, about these keypoints of it."""
        place = self.table.annotations.place(int(self.rows[index]))
        return Finding(code, str(self.table.path), place, message, hint, keypoints=tuple(keypoints))

    def image_of(self, index: int) -> str:
        """Return the name of the image of the object ``index`` of the R."""
        return str(self.table.images.file_names[int(self.images[index])])

    def of_categories(self, some: Categories, every: Categories) -> SoundObjects:
        """Return the objects of some of the categories, which share a skeleton, with its keypoints only.

        Args:
            some: the categories.
            every: all categories of the data set.
        """
        if self.category_ids is None or len(some) == len(every):
            return self
        rows = np.flatnonzero(np.isin(self.category_ids, list(some)))
        keypoints = self.keypoints[rows][:, every.columns[next(iter(some))]]
        return replace(self, keypoints=keypoints, **{name: getattr(self, name)[rows] for name in _ROW_COLUMNS})

    def of_category(self, skeleton: Skeleton, every: Categories) -> SoundObjects:
        """Return the objects of one category."""
        return self.of_categories(Categories.of(skeleton), every)

    def parts(self, what: Skeleton | Categories) -> Iterator[tuple[SoundObjects, Categories]]:
        """Yield the objects of each different skeleton, and its categories.

        Args:
            what: the data set's skeleton or categories.
        """
        every = Categories.of(what)
        return ((self.of_categories(group, every), group) for group in every.groups)


def of_whom(group: Categories, every: Categories) -> str:
    """Return words for messages that name the categories of one skeleton; nothing if it is the only skeleton."""
    return f" of {group.told}" if len(group) < len(every) else ""


def own_category_ids(table: CocoTable, categories: Categories) -> Ints:
    """Return (N,) the data set's category id of each annotation, by the name in the file; -1 for other categories.

    Where the data set has one category, all annotations count as its objects.
    """
    theirs = table.annotations.category_ids
    if len(categories) == 1:
        return np.full(len(theirs), categories.skeletons[0].category.id)
    ids = np.full(len(theirs), -1)
    for category in table.categories.values():
        if category.name in categories.ids:
            ids[theirs == category.id] = categories.ids[category.name]
    return ids


def sound_objects(table: CocoTable, what: Skeleton | Categories) -> SoundObjects:
    """Return the objects that have an image, 3K keypoints and visibilities of 0, 1 or 2.

    Args:
        table: the file.
        what: the data set's skeleton or categories; objects of other categories are left out.
    """
    annotations, categories = table.annotations, Categories.of(what)
    images, ids = table.image_rows(), own_category_ids(table, categories)
    found: list[tuple[Ints, Floats]] = []
    for number, columns in categories.columns.items():
        k = len(columns)
        rows = np.flatnonzero((ids == number) & (annotations.lengths == 3 * k) & (images >= 0))
        keypoints = annotations.points(rows, k)
        good = _are_visibilities(keypoints[:, :, 2]).all(axis=1)
        found.append((rows, keypoints) if good.all() else (rows[good], keypoints[good]))
    rows, keypoints = found[0] if len(found) == 1 else _joined(found, categories)
    boxes = xyxy_from_xywh(annotations.bbox[rows])
    for array in (boxes, keypoints):
        # All checks see the same arrays.
        array.setflags(write=False)
    return SoundObjects(table, rows, images[rows], boxes, keypoints, ids[rows])


def _joined(found: Sequence[tuple[Ints, Floats]], categories: Categories) -> tuple[Ints, Floats]:
    """Return the rows of all categories in ascending order, and their keypoints in the columns of all categories."""
    rows = np.concatenate([own for own, _ in found])
    keypoints, start = np.zeros((len(rows), categories.num_keypoints, 3)), 0
    for (own, points), columns in zip(found, categories.columns.values(), strict=True):
        keypoints[start : start + len(own), columns] = points
        start += len(own)
    order = np.argsort(rows)
    return rows[order], keypoints[order]


def _are_visibilities(values: Floats) -> Bools:
    good: Bools = (values == 0) | (values == 1) | (values == 2)
    return good


def check_structure(table: CocoTable, what: Skeleton | Categories) -> Iterator[Finding]:
    """Yield the findings on one file: invalid entries, ids, references, and differences from the skeletons."""
    yield from table.findings
    if table.readable:
        yield from _unique_ids(table)
        yield from _references(table)
        yield from check_against_skeleton(table, what)


def check_against_skeleton(table: CocoTable, what: Skeleton | Categories) -> Iterator[Finding]:
    """Yield where a file's categories and keypoints differ from those of the data set's skeleton or categories."""
    categories = Categories.of(what)
    yield from _categories(table, categories)
    ids = own_category_ids(table, categories)
    for number, skeleton in categories.items():
        yield from _keypoints(table, skeleton, np.flatnonzero(ids == number))


def _unique_ids(table: CocoTable) -> Iterator[Finding]:
    file = str(table.path)
    categories = np.array([category.id for category in table.categories.values()], dtype=np.int64)
    for kind, ids, place in (
        ("images", table.images.ids, table.images.place),
        ("annotations", table.annotations.ids, table.annotations.place),
        ("categories", categories, tuple(table.categories).__getitem__),
    ):
        for row, first in _repeated(ids):
            message = must_be("id", f"unique in {kind} ({place(first)} has it)", int(ids[row]))
            yield Finding("E109", file, place(row), message, "renumber: COCO's readers keep only one of the two")
    for row in np.flatnonzero(table.annotations.ids == 0):
        message = must_be("id", "an integer of at least 1", 0)
        hint = "number from 1: pycocotools treats a match with annotation id 0 as no match"
        yield Finding("E117", file, table.annotations.place(int(row)), message, hint)


def _repeated(ids: Ints) -> Iterator[tuple[int, int]]:
    """Yield (row, first row with the same id) for every row with a repeated id."""
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    first_rows = first[inverse]
    for row in np.flatnonzero(first_rows != np.arange(len(ids))):
        yield int(row), int(first_rows[row])


def _references(table: CocoTable) -> Iterator[Finding]:
    annotations, file = table.annotations, str(table.path)
    images = np.array(sorted(table.image_ids), dtype=np.int64)
    for row in np.flatnonzero(~np.isin(annotations.image_ids, images)):
        message = must_be("image_id", "the id of an entry in images", int(annotations.image_ids[row]))
        hint = "add the image to images, or remove the annotation"
        yield Finding("E110", file, annotations.place(int(row)), message, hint)
    categories = np.array(sorted(table.category_ids), dtype=np.int64)
    # Some files have thousands.
    listed = first_names(list(map(str, categories)), _LISTED_FINDINGS)
    rule = f"the id of an entry in categories ({listed or 'none'})"
    for row in np.flatnonzero(~np.isin(annotations.category_ids, categories)):
        message = must_be("category_id", rule, int(annotations.category_ids[row]))
        hint = "number categories from 1; many custom files start at 0"
        yield Finding("E111", file, annotations.place(int(row)), message, hint)


def _categories(table: CocoTable, categories: Categories) -> Iterator[Finding]:
    file, listed = str(table.path), [category.name for category in table.categories.values()]
    ours: dict[str, Place] = {}
    for place, category in table.categories.items():
        if category.name in categories.ids:
            ours.setdefault(category.name, place)
    complete = len(listed) == table.num_categories
    for name, number in categories.ids.items():
        if name not in ours and complete:
            rule = f"a list with the category {name!r} of skeleton {categories[number].name}"
            hint = f"`posetools convert --from coco --map OLD={name}` gives it this name"
            yield Finding("E111", file, "categories", must_be("categories", rule, listed), hint)
    if list(ours) != list(categories.ids) and len(ours) == len(categories):
        message = must_be("categories", f"in the order of the data set: {', '.join(categories.ids)}", list(ours))
        hint = "`posetools convert` orders them: MMDet numbers the classes by their order in each file"
        yield Finding("E111", file, "categories", message, hint)
    for place, category in table.categories.items():
        if category.name not in ours:
            message = must_be("name", _one_of(categories), category.name)
            hint = f"`posetools convert --from coco --ignore '{category.name}'` leaves its objects out"
            yield Finding("E111", file, place, message, hint)
        elif place != ours[category.name]:
            message = must_be("name", f"unique in categories ({ours[category.name]} has it)", category.name)
            yield Finding("E111", file, place, message, "merge the two categories")
        else:
            yield from _own_category(category, categories, file, place)


def _one_of(categories: Categories) -> str:
    if len(categories) == 1:
        return f"{categories.told}, the only category of skeleton {categories.name}"
    return f"{categories.told}, the categories of the data set"


def _own_category(category: CocoCategory, categories: Categories, file: str, place: str) -> Iterator[Finding]:
    skeleton = categories[categories.ids[category.name]]

    def finding(code: str, message: str, hint: str) -> Finding:
        return Finding(code, file, place, message, hint)

    if category.id != skeleton.category.id:
        rule = f"{skeleton.category.id}, the category id of skeleton {skeleton.name}"
        alone = "number categories from 1: MMPose drops detections of other categories"
        hint = alone if len(categories) == 1 else "give each category the data set's id in all files"
        yield finding("E111", must_be("id", rule, category.id), hint)
    if (category.keypoints or ()) != skeleton.names:
        hint = (
            "`posetools convert --from coco` orders them by name, `posetools convert --map OLD=NEW` renames them; or "
            "choose another --skeleton"
        )
        yield finding("E113", _names_problem(category, skeleton), hint)
    elif _as_links(category.skeleton) != _as_links(skeleton.coco_edges):
        rule = f"the links of skeleton {skeleton.name}, {skeleton.coco_edges}"
        shown = None if category.skeleton is None else [list(edge) for edge in category.skeleton]
        yield finding("E114", must_be("skeleton", rule, shown), EDGES_HINT)


def _as_links(edges: object) -> set[frozenset[int]]:
    return {frozenset(edge) for edge in edges} if isinstance(edges, list | tuple) else set()


def _names_problem(category: CocoCategory, skeleton: Skeleton) -> str:
    rule = f"the {skeleton.num_keypoints} names of skeleton {skeleton.name} in its order"
    if category.keypoints is None or len(category.keypoints) != skeleton.num_keypoints:
        return must_be("keypoints", rule, None if category.keypoints is None else list(category.keypoints))
    pairs = zip(category.keypoints, skeleton.names, strict=True)
    index = next(i for i, (got, wanted) in enumerate(pairs) if got != wanted)
    return must_be(f"keypoints[{index}]", f"{skeleton.names[index]!r} ({rule})", category.keypoints[index])


def _keypoints(table: CocoTable, skeleton: Skeleton, everyone: Ints) -> Iterator[Finding]:
    """Yield the findings on the keypoints of the annotations ``everyone``, which are of the skeleton's category."""
    annotations, k = table.annotations, skeleton.num_keypoints

    def each(code: str, rows: Ints, bad: Bools, message: Callable[[int, int], str], hint: str) -> Iterator[Finding]:
        for index in np.flatnonzero(bad):
            row = int(rows[index])
            yield Finding(code, str(table.path), annotations.place(row), message(int(index), row), hint)

    fits = annotations.lengths[everyone] == 3 * k
    rule = f"3K = {3 * k} numbers for the {k} keypoints of skeleton {skeleton.name}"
    rule = rule if k else f"an empty list, as skeleton {skeleton.name} has no keypoints"
    yield from each(
        "E106",
        everyone,
        ~fits,
        lambda _, row: f"keypoints must be {rule}, got {annotations.lengths[row]}",
        "write x, y and visibility of every keypoint; 0, 0, 0 if it is unlabeled",
    )
    rows = everyone[fits]
    visibility = annotations.points(rows, k)[:, :, 2]
    wrong = ~_are_visibilities(visibility)
    hint = "write 0 for not labeled, 1 for labeled but not visible, 2 for labeled and visible"
    for index in np.flatnonzero(wrong.any(axis=1)):
        at = int(wrong[index].argmax())
        name, value = skeleton.names[at], float(visibility[index, at])
        field = f"keypoints[{3 * at + 2}] (visibility of {name})"
        message = must_be(field, "0, 1 or 2", int(value) if value.is_integer() else value)
        place = annotations.place(int(rows[index]))
        yield Finding("E107", str(table.path), place, message, hint, keypoints=(name,))
    labeled = np.isin(visibility, LABELED_VALUES).sum(axis=1)
    yield from each(
        "E105",
        rows,
        labeled != annotations.num_keypoints[rows],
        lambda index, row: must_be(
            "num_keypoints",
            f"{labeled[index]}, the number of keypoints with a visibility of 1 or 2",
            int(annotations.num_keypoints[row]),
        ),
        COUNT_HINT,
    )
