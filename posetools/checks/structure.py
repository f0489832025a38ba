"""Checks of one COCO file: ids, references, categories and keypoints, against itself and the skeleton."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from posetools.core.findings import Finding
from posetools.core.geometry import Bools, Floats, Ints, xyxy_from_xywh
from posetools.core.skeleton import Skeleton
from posetools.errors import first_names, must_be
from posetools.formats.coco.model import COUNT_HINT, EDGES_HINT, LABELED_VALUES, CocoCategory
from posetools.formats.coco.table import CocoTable

_LISTED_FINDINGS = 20


@dataclass(frozen=True, eq=False, slots=True)
class SoundObjects:
    """The R objects of a file that can be checked further: a known image, and 3K valid keypoints.

    Attributes:
        table: the file.
        rows: (R,) rows of ``table.annotations``.
        images: (R,) rows of ``table.images``.
        boxes: (R, 4) x1, y1, x2, y2 in pixels.
        keypoints: (R, K, 3) x, y, visibility.
    """

    table: CocoTable
    rows: Ints
    images: Ints
    boxes: Floats
    keypoints: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def finding(self, code: str, index: int, message: str, hint: str, keypoints: Iterable[str] = ()) -> Finding:
        """Return a finding at the object ``index`` of the R, about these keypoints of it."""
        place = self.table.annotations.place(int(self.rows[index]))
        return Finding(code, str(self.table.path), place, message, hint, keypoints=tuple(keypoints))


def sound_objects(table: CocoTable, skeleton: Skeleton) -> SoundObjects:
    """Return the objects that have an image, 3K keypoints and visibilities of 0, 1 or 2."""
    annotations, k = table.annotations, skeleton.num_keypoints
    images = table.image_rows()
    rows = np.flatnonzero((annotations.lengths == 3 * k) & (images >= 0))
    keypoints = annotations.points(rows, k)
    good = _are_visibilities(keypoints[:, :, 2]).all(axis=1)
    if not good.all():
        rows, keypoints = rows[good], keypoints[good]
    return SoundObjects(table, rows, images[rows], xyxy_from_xywh(annotations.bbox[rows]), keypoints)


def _are_visibilities(values: Floats) -> Bools:
    good: Bools = (values == 0) | (values == 1) | (values == 2)
    return good


def check_structure(table: CocoTable, skeleton: Skeleton) -> Iterator[Finding]:
    """Yield the findings on one file: invalid entries, ids, references, and differences from the skeleton."""
    yield from table.findings
    if table.readable:
        yield from _unique_ids(table)
        yield from _references(table)
        yield from check_against_skeleton(table, skeleton)


def check_against_skeleton(table: CocoTable, skeleton: Skeleton) -> Iterator[Finding]:
    """Yield where a file's categories and keypoints differ from the skeleton's."""
    yield from _categories(table, skeleton)
    yield from _keypoints(table, skeleton)


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


def _categories(table: CocoTable, skeleton: Skeleton) -> Iterator[Finding]:
    file, name = str(table.path), skeleton.category.name
    ours = [place for place, category in table.categories.items() if category.name == name]
    if not ours and len(table.categories) == table.num_categories:
        rule = f"a list with the category {name!r} of skeleton {skeleton.name}"
        message = must_be("categories", rule, [category.name for category in table.categories.values()])
        hint = f"`posetools convert --from coco --map OLD={name}` gives it this name"
        yield Finding("E111", file, "categories", message, hint)
    for place, category in table.categories.items():
        if category.name != name:
            message = must_be("name", f"{name!r}, the only category of skeleton {skeleton.name}", category.name)
            hint = f"`posetools convert --from coco --ignore '{category.name}'` leaves its objects out"
            yield Finding("E111", file, place, message, hint)
        elif place != ours[0]:
            message = must_be("name", f"unique in categories ({ours[0]} has it)", name)
            yield Finding("E111", file, place, message, "merge the two categories")
        else:
            yield from _own_category(category, skeleton, file, place)


def _own_category(category: CocoCategory, skeleton: Skeleton, file: str, place: str) -> Iterator[Finding]:
    def finding(code: str, message: str, hint: str) -> Finding:
        return Finding(code, file, place, message, hint)

    if category.id != skeleton.category.id:
        rule = f"{skeleton.category.id}, the category id of skeleton {skeleton.name}"
        hint = "number categories from 1: MMPose drops detections of other categories"
        yield finding("E111", must_be("id", rule, category.id), hint)
    if category.keypoints != skeleton.names:
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


def _keypoints(table: CocoTable, skeleton: Skeleton) -> Iterator[Finding]:
    annotations, k = table.annotations, skeleton.num_keypoints

    def each(code: str, rows: Ints, bad: Bools, message: Callable[[int, int], str], hint: str) -> Iterator[Finding]:
        for index in np.flatnonzero(bad):
            row = int(rows[index])
            yield Finding(code, str(table.path), annotations.place(row), message(int(index), row), hint)

    everyone = np.arange(len(annotations))
    fits = annotations.lengths == 3 * k
    rule = f"3K = {3 * k} numbers for the {k} keypoints of skeleton {skeleton.name}"
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
