"""What a recipe needs to know of a data set: that it is the skeleton's, how much there is, and how large things are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posetools.core.folder import ann_file, check_both, refuse_zip
from posetools.core.skeleton import Skeleton
from posetools.errors import InputError, RequestError, must_be, quoted
from posetools.files.disk import read_json
from posetools.recipes.orientation import Orientation, orientation_of
from posetools.recipes.shapes import Shapes, shapes_of

_Entries = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """Counts of one split.

    Attributes:
        pictures: all of them.
        negatives: pictures without an object.
        objects: all of them.
        posed: objects that RTMPose uses: with a labelled keypoint, and no crowd.
    """

    pictures: int
    negatives: int
    objects: int
    posed: int


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Both splits.

    Attributes:
        train: counts of the one.
        val: counts of the other.
        shapes: sizes and keypoints in the training split.
        orientation: how far its objects are turned.
    """

    train: SplitFacts
    val: SplitFacts
    shapes: Shapes
    orientation: Orientation = field(default_factory=Orientation)


def read_facts(data_root: Path, skeleton: Skeleton) -> DataFacts:
    """Return the facts of the data set in ``data_root``: 118,000 pictures take a few seconds, most of them JSON's.

    Raises:
        RequestError: it is no data set, or a split has nothing to train on or to evaluate with.
        InputError: a COCO file cannot be read, or is not of this skeleton.
    """
    if not data_root.is_dir():
        refuse_zip(data_root)
        raise RequestError(f"{data_root}: must be a data set folder, but there is no such folder")
    check_both(data_root)
    path = ann_file(data_root, "train")
    train, images, objects = _read_split(path, skeleton)
    shapes = shapes_of(path, images, objects)
    orientation = _orientation(path, objects)
    # Two documents at a time would be twice the memory.
    del images, objects
    val, _, _ = _read_split(ann_file(data_root, "val"), skeleton)
    return DataFacts(train=train, val=val, shapes=shapes, orientation=orientation)


def _orientation(path: Path, objects: _Entries) -> Orientation:
    try:
        return orientation_of([entry for entry in objects if not entry.get("iscrowd", 0)])
    except (KeyError, TypeError, ValueError) as exc:
        hint = f"`posetools validate {path.parent}` lists all problems"
        raise InputError(path, "annotations", "keypoints must be lists of 3 numbers per keypoint", hint=hint) from exc


def _read_split(path: Path, skeleton: Skeleton) -> tuple[SplitFacts, _Entries, _Entries]:
    document = read_json(path)
    _check_category(path, _entries(path, document, "categories"), skeleton)
    images = _entries(path, document, "images")
    objects = _entries(path, document, "annotations")
    posed = sum(1 for entry in objects if entry.get("num_keypoints", 0) and not entry.get("iscrowd", 0))
    if not images or not posed:
        raise RequestError(
            f"{path}: must hold pictures and objects with labelled keypoints, "
            f"got {len(images)} pictures and {posed} such objects"
        )
    negatives = len({entry.get("id") for entry in images} - {entry.get("image_id") for entry in objects})
    return SplitFacts(len(images), negatives, len(objects), posed), images, objects


def _entries(path: Path, document: object, key: str) -> _Entries:
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        problem = must_be(key, "a list of objects, as in a COCO file", value)
        raise InputError(path, key, problem, hint=f"`posetools validate {quoted(path.parent)}` lists all problems")
    return value


def _check_category(path: Path, categories: Sequence[dict[str, Any]], skeleton: Skeleton) -> None:
    hint = "--skeleton says which skeleton the data set has"
    names = [category.get("name") for category in categories]
    if skeleton.category.name not in names:
        rule = f"one with the name {skeleton.category.name!r} (skeleton {skeleton.name}), or every picture is left out"
        raise InputError(path, "categories", must_be("categories", rule, names), hint=hint)
    place = f"categories[{names.index(skeleton.category.name)}].keypoints"
    keypoints = categories[names.index(skeleton.category.name)].get("keypoints")
    if keypoints != list(skeleton.names):
        rule = f"the {skeleton.num_keypoints} names of skeleton {skeleton.name}, in its order"
        raise InputError(path, place, must_be("keypoints", rule, keypoints), hint=hint)
