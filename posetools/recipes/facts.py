"""Facts of a data set for a recipe: the skeleton, counts and sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from posetools.core.categories import Categories
from posetools.core.coco_document import CocoDocument, read_document
from posetools.core.folder import ann_file, check_both, fold_split, refuse_zip
from posetools.core.geometry import SIZE_CLASSES, Floats
from posetools.core.skeleton import Skeleton
from posetools.errors import InputError, RequestError, must_be, quoted
from posetools.recipes.orientation import FEWEST_OBJECTS, MOST_OBJECTS, Orientation, orientation

# The side of the smallest square that is not a small object.
SMALL_SIDE = math.sqrt(SIZE_CLASSES["medium"][0])

_JsonEntry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """Counts of one split.

    Attributes:
        images: all of them.
        negatives: images without an object.
        objects: all of them.
        posed: objects that RTMPose uses: with a labeled keypoint, not a crowd.
    """

    images: int
    negatives: int
    objects: int
    posed: int


@dataclass(frozen=True, slots=True)
class Shapes:
    """Sizes in pixels, and counts of keypoints, of a training split; crowds are left out.

    Attributes:
        width: median width of the images.
        height: median height of the images.
        aspect: median of width / height of the images.
        portrait: fraction of the images that are higher than wide.
        side: sqrt(width x height) of the objects' boxes: 10th percentile, median, 90th percentile.
        relative_side: 10th percentile of this side divided by the image's longer side.
        small: fraction of the objects smaller than 32 x 32 pixels.
        box_long: median of the longer side of the boxes.
        box_aspect: median of width / height of the boxes.
        points: average number of visible, occluded and unlabeled keypoints per object.
    """

    width: float
    height: float
    aspect: float
    portrait: float
    side: tuple[float, float, float]
    relative_side: float
    small: float
    box_long: float
    box_aspect: float
    points: tuple[float, float, float]

    def __str__(self) -> str:
        low, middle, high = self.side
        visible, hidden, missing = self.points
        return (
            f"images {self.width:.0f} x {self.height:.0f} (median); objects {middle:.0f} px (median of the square "
            f"root of the area; 80 % are between {low:.0f} and {high:.0f}), {100 * self.small:.0f} % of them below "
            f"{SMALL_SIDE:.0f} px; boxes {self.box_aspect:.2f} times as wide as high; keypoints per object: "
            f"{visible:.1f} visible, {hidden:.1f} occluded, {missing:.1f} not labeled"
        )


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Both splits.

    Attributes:
        train: counts of the training split.
        val: counts of the validation split.
        shapes: sizes and keypoints in the training split.
        orientation: the rotation of its objects.
        poses: name of a skeleton -> the facts of its objects, where the categories have several skeletons.
    """

    train: SplitFacts
    val: SplitFacts
    shapes: Shapes
    orientation: Orientation = field(default_factory=Orientation)
    poses: Mapping[str, DataFacts] = field(default_factory=dict)

    def of(self, skeleton: str) -> DataFacts:
        """Return the facts of the objects of a skeleton."""
        return self.poses[skeleton] if self.poses else self


def read_facts(data_root: Path, categories: Categories, fold: int | None = None) -> DataFacts:
    """Return the facts of the data set in ``data_root``: 118,000 images take a few seconds, mostly for JSON.

    Args:
        data_root: the data set's folder.
        categories: the data set's.
        fold: count in the splits of this fold; None: in train and val.

    Raises:
        RequestError: it is not a data set, or a split has nothing to train on or to evaluate.
        InputError: a COCO file cannot be read, or has another skeleton.
    """
    if not data_root.is_dir():
        refuse_zip(data_root)
        raise RequestError(f"{data_root}: must be a data set folder, but does not exist")
    check_both(data_root, fold)
    parts: dict[str, Categories] = {"": categories, **(categories.posed if len(categories) > 1 else {})}
    document = _read_split(ann_file(data_root, fold_split(fold, "train")), categories)
    own = {name: _part(document, part) for name, part in parts.items()}
    train = {name: (_split_facts(one, name), _shapes(one), _orientation(one)) for name, one in own.items()}
    # Two documents at once would double the memory.
    del document, own
    document = _read_split(ann_file(data_root, fold_split(fold, "val")), categories)
    val = {name: _split_facts(_part(document, part), name) for name, part in parts.items()}
    facts = {name: DataFacts(one, val[name], shapes, orient) for name, (one, shapes, orient) in train.items()}
    whole = facts.pop("")
    return replace(whole, poses=facts)


def _read_split(path: Path, categories: Categories) -> CocoDocument:
    document = read_document(path)
    for skeleton in categories.skeletons:
        _check_category(path, document.objects("categories", _hint(path)), skeleton)
    return document


def _part(document: CocoDocument, categories: Categories) -> CocoDocument:
    """Return the document with the objects of some categories."""
    return document.of_categories(categories.ids) if len(document.entries("categories")) > 1 else document


def _split_facts(document: CocoDocument, skeleton: str) -> SplitFacts:
    path, whose = document.path, f" of skeleton {skeleton}" if skeleton else ""
    images, objects = document.objects("images", _hint(path)), document.objects("annotations", _hint(path))
    posed = sum(1 for entry in objects if entry.get("num_keypoints", 0) and not entry.get("iscrowd", 0))
    if not images or not posed:
        raise RequestError(
            f"{path}: must have images and objects with labeled keypoints, "
            f"got {len(images)} images and {posed} such objects{whose}"
        )
    negatives = len({entry.get("id") for entry in images} - {entry.get("image_id") for entry in objects})
    return SplitFacts(len(images), negatives, len(objects), posed)


def _check_category(path: Path, categories: Sequence[dict[str, Any]], skeleton: Skeleton) -> None:
    hint = "choose the data set's skeleton with --skeleton"
    names = [category.get("name") for category in categories]
    if skeleton.category.name not in names:
        rule = f"one with the name {skeleton.category.name!r} (skeleton {skeleton.name}), or training skips every image"
        raise InputError(path, "categories", must_be("categories", rule, names), hint=hint)
    at = names.index(skeleton.category.name)
    keypoints = categories[at].get("keypoints")
    if (keypoints or []) != list(skeleton.names):
        rule = f"the {skeleton.num_keypoints} names of skeleton {skeleton.name}, in its order"
        raise InputError(path, f"categories[{at}].keypoints", must_be("keypoints", rule, keypoints), hint=hint)


def _shapes(document: CocoDocument) -> Shapes:
    """Return the shapes of a split, which must have an object without iscrowd."""
    images = dict(enumerate(document.entries("images")))
    objects = {at: entry for at, entry in enumerate(document.entries("annotations")) if not entry.get("iscrowd", 0)}
    sizes = _table(document, "images", images, lambda entry: [entry.get("width"), entry.get("height")], 2)
    extents = _table(document, "annotations", objects, lambda entry: entry.get("bbox"), 4)[:, 2:]
    row_of = {entry.get("id"): row for row, entry in images.items()}
    rows = [row_of.get(entry.get("image_id"), -1) for entry in objects.values()]
    if -1 in rows:
        place = f"annotations[{list(objects)[rows.index(-1)]}].image_id"
        raise InputError(document.path, place, "must be the id of an image", hint=_hint(document.path))
    aspects, side = sizes[:, 0] / sizes[:, 1], np.sqrt(extents.prod(axis=1))
    low, middle, high = (float(value) for value in np.percentile(side, (10, 50, 90)))
    return Shapes(
        width=float(np.median(sizes[:, 0])),
        height=float(np.median(sizes[:, 1])),
        aspect=float(np.median(aspects)),
        portrait=float(np.mean(aspects < 1)),
        side=(low, middle, high),
        relative_side=float(np.percentile(side / sizes[rows].max(axis=1), 10)),
        small=float(np.mean(side < SMALL_SIDE)),
        box_long=float(np.median(extents.max(axis=1))),
        box_aspect=float(np.median(extents[:, 0] / extents[:, 1])),
        points=_points(document.path, objects.values()),
    )


def _table(document: CocoDocument, kind: str, entries: Mapping[int, _JsonEntry], of: Any, width: int) -> Floats:
    """Return (N, width) numbers of entries, by their index in the file; the last two are sizes above 0."""
    rows = [of(entry) for entry in entries.values()]
    try:
        table: Floats = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        table = np.empty(0)
    if table.shape != (len(rows), width):
        table = np.array([_numbers(row, width) for row in rows])
    good = np.isfinite(table).all(axis=1) & (table[:, -2:] > 0).all(axis=1)
    if not good.all():
        at = list(entries)[int(good.argmin())]
        problem = f"{'width and height' if kind == 'images' else 'bbox'} must be numbers, the sizes above 0"
        raise InputError(
            document.path, f"{kind}[{at}] (id {entries[at].get('id')})", problem, hint=_hint(document.path)
        )
    return table


def _numbers(values: Any, width: int) -> list[float]:
    """Return ``width`` numbers, all NaN if the values are not that many numbers."""
    try:
        numbers = list(map(float, values)) if isinstance(values, list) else []
    except (TypeError, ValueError, OverflowError):
        numbers = []
    return numbers if len(numbers) == width else [math.nan] * width


def _points(path: Path, objects: Iterable[_JsonEntry]) -> tuple[float, float, float]:
    """Return the average number of visible, occluded and unlabeled points per object."""
    posed = [entry for entry in objects if entry.get("num_keypoints", 0)]
    try:
        flags = np.fromiter(chain.from_iterable(entry["keypoints"][2::3] for entry in posed), dtype=np.int8)
    except (KeyError, TypeError, ValueError, OverflowError) as exc:
        raise InputError(path, "annotations", "keypoints must be lists of numbers", hint=_hint(path)) from exc
    visible, hidden, missing = (float(np.count_nonzero(flags == value)) / len(posed) for value in (2, 1, 0))
    return visible, hidden, missing


def _orientation(document: CocoDocument) -> Orientation:
    """Return the orientation of the objects, from a sample of at most MOST_OBJECTS."""
    objects = document.entries("annotations")
    posed = [entry for entry in objects if entry.get("num_keypoints", 0) and not entry.get("iscrowd", 0)]
    chosen = [posed[i] for i in np.unique(np.linspace(0, len(posed) - 1, MOST_OBJECTS).astype(int))]
    if len(chosen) < FEWEST_OBJECTS:
        return Orientation(len(chosen))
    try:
        keypoints = np.array([entry["keypoints"] for entry in chosen], dtype=np.float64).reshape(len(chosen), -1, 3)
    except (KeyError, TypeError, ValueError) as exc:
        problem, hint = "keypoints must be lists of 3 numbers per keypoint", _hint(document.path)
        raise InputError(document.path, "annotations", problem, hint=hint) from exc
    _, image = np.unique([str(entry.get("image_id")) for entry in chosen], return_inverse=True)
    return orientation(keypoints, image)


def _hint(path: Path) -> str:
    return f"run `posetools validate {quoted(path.parent)}` to list all problems"
