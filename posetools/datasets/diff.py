"""Compare two labelings of the same images: the work behind ``posetools diff``.

A is the old labeling, B the new one: a model's predictions and their corrections, a data set before and after a review,
or two people's labels. Images, objects and points are matched by posetools/datasets/matching.py.

Every labeled point of a matched object is counted once. A point that got another name is relabeled: it is neither
removed from the old name nor added to the new one. Of the others, a name labeled only in A is removed, only in B is
added, and in both is moved if its distance exceeds the threshold. Distances are of moved points only. The *corrected
share* of a name is (moved + removed + relabeled) / (labeled in A): if A is a model's, how often it was wrong.

An object that got another category is a change of its own. Its keypoints count if both categories have the same ones.

Visibilities are counted by name, in a 3 x 3 table, moved or not; names that points were relabeled from or to are
excluded, because they are of two different places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from posetools.core.dataset import Dataset, Visibility
from posetools.core.geometry import Bools, Floats, Ints
from posetools.datasets.matching import DEFAULT_IOU, LabelingMatch, match, relabelled
from posetools.errors import RequestError, must_be
from posetools.progress import Progress, silent

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Moves:
    """How far points or boxes moved; None if none did.

    Attributes:
        number: how many moved by more than the threshold.
        mean: mean distance of those, in pixels.
        median: median distance of those, in pixels.
        largest: largest distance of those, in pixels.
        share: mean distance as a share of the box's diagonal.
    """

    number: int
    mean: float | None
    median: float | None
    largest: float | None
    share: float | None


@dataclass(frozen=True, slots=True)
class PointDiff:
    """The changes of one keypoint, or of all.

    Attributes:
        labeled: number of matched objects with a label in A, and in B.
        added: labeled in B only.
        removed: labeled in A only.
        relabelled: new name -> number of A's points that got it.
        moved: labeled in both, and moved.
        visibility: counts by visibility (0, 1, 2) in A (rows) and B (columns), without relabeled points.
    """

    labeled: tuple[int, int]
    added: int
    removed: int
    relabelled: Mapping[str, int]
    moved: Moves
    visibility: tuple[tuple[int, ...], ...]

    @property
    def visibility_changed(self) -> int:
        """Number of points labeled in both, with different visibility."""
        return self.visibility[1][2] + self.visibility[2][1]

    @property
    def corrected_share(self) -> float | None:
        """The share of A's points that were moved, removed or relabeled; None if A has none."""
        changed = self.moved.number + self.removed + sum(self.relabelled.values())
        return changed / self.labeled[0] if self.labeled[0] else None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "labelled": {"a": self.labeled[0], "b": self.labeled[1]},
            "added": self.added,
            "removed": self.removed,
            "relabelled": dict(self.relabelled),
            "moved": asdict(self.moved),
            "corrected_share": self.corrected_share,
            "visibility_changed": self.visibility_changed,
            "visibility": [list(row) for row in self.visibility],
        }


@dataclass(frozen=True, slots=True)
class CategoryDiff:
    """The changes of the objects of one category, in images in both labelings.

    Attributes:
        both: number of matched objects of this category in A.
        added: number of unmatched objects in B.
        removed: number of unmatched objects in A.
        changed: new category -> number of A's objects that got it.
        points: keypoint -> its changes, in the matched objects.
    """

    both: int
    added: int
    removed: int
    changed: Mapping[str, int]
    points: Mapping[str, PointDiff]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the keypoints."""
        return {"both": self.both, "added": self.added, "removed": self.removed, "changed": dict(self.changed)}


@dataclass(frozen=True, slots=True)
class DiffResult:
    """The differences of two labelings.

    Attributes:
        a: the first labeling.
        b: the second.
        images: number of images in both.
        images_added: names of images in B only.
        images_removed: names of images in A only.
        split_changed: (name, split in A, split in B) of images in another split.
        objects: number of matched objects.
        objects_added: (image, place) of objects in B only, in images in both.
        objects_removed: (image, place) of objects in A only, in images in both.
        boxes: moved boxes, by the corner that moved most.
        categories: category -> the changes of its objects.
        overall: the changes of all keypoints together.
        changes: every change of a matched object, for the JSON form.
    """

    a: Path
    b: Path
    images: int
    images_added: tuple[str, ...]
    images_removed: tuple[str, ...]
    split_changed: tuple[tuple[str, str, str], ...]
    objects: int
    objects_added: tuple[tuple[str, str], ...]
    objects_removed: tuple[tuple[str, str], ...]
    boxes: Moves
    categories: Mapping[str, CategoryDiff]
    overall: PointDiff
    changes: tuple[Mapping[str, Any], ...]

    @property
    def points(self) -> Mapping[str, PointDiff]:
        """Keypoint -> its changes; ``CATEGORY.KEYPOINT`` if there are several categories."""
        several = len(self.categories) > 1
        return {
            f"{category}.{name}" if several else name: each
            for category, of in self.categories.items()
            for name, each in of.points.items()
        }

    @property
    def differs(self) -> bool:
        """Whether there is any difference."""
        lists = (self.images_added, self.images_removed, self.split_changed, self.objects_added)
        return any(map(len, (*lists, self.objects_removed, self.changes)))

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form; ``categories`` only if there are several."""
        several = len(self.categories) > 1
        return {
            "a": self.a.as_posix(),
            "b": self.b.as_posix(),
            "differs": self.differs,
            "pictures": {
                "both": self.images,
                "added": list(self.images_added),
                "removed": list(self.images_removed),
                "split_changed": [dict(zip(("file", "a", "b"), row, strict=True)) for row in self.split_changed],
            },
            "objects": {
                "both": self.objects,
                "added": [dict(zip(("file", "place"), row, strict=True)) for row in self.objects_added],
                "removed": [dict(zip(("file", "place"), row, strict=True)) for row in self.objects_removed],
            },
            **({"categories": {name: each.as_dict() for name, each in self.categories.items()}} if several else {}),
            "boxes_moved": asdict(self.boxes),
            "keypoints": {name: each.as_dict() for name, each in self.points.items()},
            "overall": self.overall.as_dict(),
            "changes": list(self.changes),
        }


@dataclass(frozen=True, eq=False, slots=True)
class _Points:
    """The points of matched objects and their changes: (M, K) arrays, except the first two, which are (M, K, 3)."""

    in_a: Floats
    in_b: Floats
    target: Ints
    named: Bools
    added: Bools
    removed: Bools
    moved: Bools
    distance: Floats
    share: Floats

    def of(self, rows: Bools, columns: Ints) -> _Points:
        """Return those of some objects (M,) and columns of keypoints."""
        return _Points(*(getattr(self, each.name)[:, columns][rows] for each in fields(self)))


def diff(
    a: Path,
    b: Path,
    *,
    skeleton: str | Path | None = None,
    iou: float = DEFAULT_IOU,
    threshold: float = DEFAULT_THRESHOLD,
    progress: Progress = silent,
) -> DiffResult:
    """Compare two labelings.

    Args:
        a: the old labeling: a data set folder, a COCO file, or a source that convert reads.
        b: the new labeling.
        skeleton: a built-in name or a file; None for the skeleton of A or B if known, else the default.
        iou: least IoU of the boxes of the same object.
        threshold: points and boxes that move by at most this many pixels count as unchanged.
        progress: receives progress.

    Raises:
        RequestError: one does not exist, they have nothing in common, or an option is out of range.
        InputError: something in one of them cannot be read.
    """
    if not (0 <= threshold < np.inf):
        raise RequestError(must_be("--threshold", "0 or more pixels", threshold))
    matched = match(a, b, skeleton=skeleton, iou=iou, progress=progress)
    points = _points(matched, threshold)
    corners = _box_moves(matched)
    known, every = matched.a.categories, matched.images
    only_a = sorted(set(range(len(matched.a.images))) - set(every[:, 0].tolist()))
    only_b = sorted(set(range(len(matched.b.images))) - set(every[:, 1].tolist()))
    return DiffResult(
        a=a,
        b=b,
        images=len(every),
        images_added=tuple(matched.b.images[j].file_name for j in only_b),
        images_removed=tuple(matched.a.images[i].file_name for i in only_a),
        split_changed=tuple(_split_changes(matched)),
        objects=len(matched.rows),
        objects_added=_places(matched.b, matched.only_b),
        objects_removed=_places(matched.a, matched.only_a),
        boxes=_moves(corners[corners > threshold], (corners / matched.diagonals)[corners > threshold]),
        categories=_categories(matched, points),
        overall=_of(points, known.names),
        changes=tuple(_changes(matched, points, corners, threshold)),
    )


def _points(matched: LabelingMatch, threshold: float) -> _Points:
    in_a, in_b = matched.points
    target = relabelled(matched, threshold)
    renamed_from = target >= 0
    renamed_to = np.zeros_like(renamed_from)
    objects, names = np.nonzero(renamed_from)
    renamed_to[objects, target[objects, names]] = True
    left_a, left_b = (in_a[:, :, 2] > 0) & ~renamed_from, (in_b[:, :, 2] > 0) & ~renamed_to
    offsets = in_b[:, :, :2] - in_a[:, :, :2]
    distance = np.hypot(offsets[..., 0], offsets[..., 1])
    return _Points(
        in_a=in_a,
        in_b=in_b,
        target=target,
        named=~renamed_from & ~renamed_to,
        added=left_b & ~left_a,
        removed=left_a & ~left_b,
        moved=left_a & left_b & (distance > threshold),
        distance=distance,
        share=distance / matched.diagonals[:, None],
    )


def _box_moves(matched: LabelingMatch) -> Floats:
    """Return (M,) the largest move of a corner of each matched box, in pixels."""
    offsets = matched.b.boxes[matched.rows[:, 1]] - matched.a.boxes[matched.rows[:, 0]]
    moves: Floats = np.hypot(offsets[:, 0::2], offsets[:, 1::2]).max(axis=1, initial=0.0)
    return moves


def _of(points: _Points, names: Sequence[str]) -> PointDiff:
    """Return the changes of some points, together; ``names`` are those of all columns."""
    seen_a, seen_b = (each[..., 2].astype(np.int64).ravel() for each in (points.in_a, points.in_b))
    table = np.bincount((3 * seen_a + seen_b)[points.named.ravel()], minlength=9).reshape(3, 3)
    targets = Counter(points.target[points.target >= 0].tolist())
    return PointDiff(
        labeled=(int((seen_a > 0).sum()), int((seen_b > 0).sum())),
        added=int(points.added.sum()),
        removed=int(points.removed.sum()),
        relabelled={names[k]: number for k, number in sorted(targets.items())},
        moved=_moves(points.distance[points.moved], points.share[points.moved]),
        visibility=tuple(tuple(row) for row in table.tolist()),
    )


def _categories(matched: LabelingMatch, points: _Points) -> dict[str, CategoryDiff]:
    of_a, of_b = matched.category_ids
    known = matched.a.categories
    return {
        name: CategoryDiff(
            both=int((of_a == number).sum()),
            added=int((matched.b.category_ids[matched.only_b] == number).sum()),
            removed=int((matched.a.category_ids[matched.only_a] == number).sum()),
            changed={
                other: int(((of_a == number) & (of_b == new)).sum())
                for other, new in known.ids.items()
                if new != number and ((of_a == number) & (of_b == new)).any()
            },
            points={
                known.names[column]: _of(points.of(of_a == number, np.array([column])), known.names)
                for column in known.columns[number].tolist()
            },
        )
        for name, number in known.ids.items()
    }


def _moves(distances: Floats, shares: Floats) -> Moves:
    if not len(distances):
        return Moves(0, None, None, None, None)
    return Moves(
        number=len(distances),
        mean=float(distances.mean()),
        median=float(np.median(distances)),
        largest=float(distances.max()),
        share=float(shares.mean()),
    )


def _places(dataset: Dataset, rows: Ints) -> tuple[tuple[str, str], ...]:
    return tuple(
        (dataset.images[dataset.image_index[row]].file_name, str(dataset.origins[row])) for row in rows.tolist()
    )


def _split_changes(matched: LabelingMatch) -> list[tuple[str, str, str]]:
    pairs = [(matched.a.images[i], matched.b.images[j]) for i, j in matched.images.tolist()]
    return [(a.file_name, a.split, b.split) for a, b in pairs if a.split and b.split and a.split != b.split]


def _changes(matched: LabelingMatch, points: _Points, corners: Floats, threshold: float) -> list[dict[str, Any]]:
    """Return every change of a matched object, by object, then by keypoint."""
    names, called = matched.a.categories.names, {number: name for name, number in matched.a.categories.ids.items()}
    of_a, of_b = matched.category_ids
    seen_a, seen_b = points.in_a[:, :, 2], points.in_b[:, :, 2]
    flipped = points.named & (seen_a > 0) & (seen_b > 0) & (seen_a != seen_b)
    touched = (points.target >= 0) | points.added | points.removed | points.moved | flipped
    changes: list[dict[str, Any]] = []
    for row in np.flatnonzero(touched.any(axis=1) | (corners > threshold) | (of_a != of_b)).tolist():
        at_a, at_b = matched.rows[row].tolist()
        where = {
            "file": matched.b.images[matched.b.image_index[at_b]].file_name,
            "a": str(matched.a.origins[at_a]),
            "b": str(matched.b.origins[at_b]),
        }
        if of_a[row] != of_b[row]:
            changes.append({**where, "change": "category", "from": called[of_a[row]], "to": called[of_b[row]]})
        if corners[row] > threshold:
            changes.append({**where, "change": "box moved", "pixels": round(float(corners[row]), 3)})
        for k in np.flatnonzero(touched[row]).tolist():
            said = {**where, "keypoint": names[k]}
            changes += [{**said, **each} for each in _point_changes(points, row, k, names, bool(flipped[row, k]))]
    return changes


def _point_changes(points: _Points, row: int, k: int, names: Sequence[str], flipped: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if points.target[row, k] >= 0:
        found.append({"change": "relabelled", "to": names[points.target[row, k]]})
    if points.added[row, k]:
        found.append({"change": "added"})
    if points.removed[row, k]:
        found.append({"change": "removed"})
    if points.moved[row, k]:
        found.append({"change": "moved", "pixels": round(float(points.distance[row, k]), 3)})
    if flipped:
        seen = [Visibility(int(each[row, k, 2])).name.lower() for each in (points.in_a, points.in_b)]
        found.append({"change": "visibility", "from": seen[0], "to": seen[1]})
    return found
