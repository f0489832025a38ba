"""Read predictions in the two forms that ``posetools predict`` writes, and the image ids for them.

The readable document::

    {"posetools": "0.1.0", "skeleton": "car8", "category": "car", "keypoint_names": [...], "thresholds": {...},
     "pictures": [{"file_name": "a.jpg", "width": 640, "height": 480, "instances": [
         {"box": [x1, y1, x2, y2], "score": 0.93, "keypoints": {name: [x, y]}, "keypoint_scores": {name: 0.8}}]}]}

Pixels to 2 decimals, scores to 4. A frame of a video has the video's ``file_name`` and its number, ``frame``, from 0. A
image that could not be read has ``problem`` and neither size nor objects.

COCO's results format is a list with an entry per object, which pycocotools' ``loadRes`` opens: ``image_id``,
``category_id``, ``bbox`` (x, y, width, height), ``keypoints`` (x, y, score of each) and ``score``: the box score times
the mean of the confident keypoints' scores, as in the evaluation. It does not have the box score itself.

The image ids of results are those of the images' data set. An image belongs to a data set if it is below an ``images``
folder next to ``train_coco.json``, ``val_coco.json`` or another split. pycocotools refuses results with an id that the
labels do not have, so each split gets its own file if the images are from several.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from posetools.core.folder import IMAGES, ann_file, splits_of
from posetools.core.geometry import Floats, Ints, xyxy_from_xywh
from posetools.core.skeleton import Skeleton, new_command
from posetools.errors import InputError, RequestError, from_validation, must_be
from posetools.files.disk import read_json
from posetools.formats.coco.model import Coordinate
from posetools.imaging.frames import Source

FileName = Annotated[str, Field(min_length=1)]
# The list of images in the readable document.
_KEY = "pictures"


class _PredictionPart(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class _PredictedImage(_PredictionPart):
    id: int
    file_name: FileName


class _AnnFile(_PredictionPart):
    images: list[_PredictedImage]


def image_ids_of(ann_file: Path) -> dict[str, int]:
    """Return file name -> image id of the images of a COCO file.

    Raises:
        InputError: it cannot be read, or a name or id is not unique.
    """
    try:
        images = _AnnFile.model_validate(read_json(ann_file)).images
    except ValidationError as exc:
        raise from_validation(ann_file, exc) from exc
    seen = set[str | int]()
    for position, image in enumerate(images):
        for field_name, value in (("file_name", image.file_name), ("id", image.id)):
            if value in seen:
                raise InputError(ann_file, f"images[{position}]", must_be(field_name, "unique", value))
            seen.add(value)
    return {image.file_name: image.id for image in images}


def join_ids(several: Iterable[Mapping[str, int]]) -> dict[str, int] | None:
    """Return the image ids of several COCO files; None if two images share an id, or one image has two."""
    pairs = [pair for ids in several for pair in ids.items()]
    joined = dict(pairs)
    return joined if len(set(joined.values())) == len(pairs) else None


@dataclass(frozen=True, slots=True)
class ImageIds:
    """Image ids by the names of the frames.

    Attributes:
        ids: of all images; None: 1, 2, ... in order.
        splits: those of each split, if one file for all does not fit the labels of one split.
        note: why ids are counted although an image belongs to a data set; else empty.
    """

    ids: Mapping[str, int] | None = None
    splits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    note: str = ""


def ids_of_data_set(sources: Sequence[Source]) -> ImageIds:
    """Return the ids of the images in their data set."""
    places = {name: place for source in sources for name, place in _places(source)}
    roots = {place[0] if place else None for place in places.values()}
    if roots <= {None}:
        return ImageIds()
    (first, *others) = sorted(root for root in roots if root is not None)
    if others or None in roots:
        return ImageIds(note=f"image ids are counted from 1: not all images are of the data set {first}")
    try:
        of_splits = {split: image_ids_of(ann_file(first, split)) for split in splits_of(first)}
    except (InputError, RequestError) as exc:
        return ImageIds(note=f"image ids are counted from 1: {exc.sentence}")
    files = {name: place[1] for name, place in places.items() if place}
    found = {
        split: {name: ids[file] for name, file in files.items() if file in ids} for split, ids in of_splits.items()
    }
    found = {split: ids for split, ids in found.items() if ids}
    joined = {name: number for ids in found.values() for name, number in ids.items()}
    several = found if len(found) > 1 or len(joined) < len(places) else {}
    if len(joined) < len(places):
        left = len(places) - len(joined)
        note = f"image ids are counted from 1: {left} of {len(places)} images are in no split of {first}"
        return ImageIds(splits=several, note=note)
    if join_ids(found.values()) is None:
        return ImageIds(splits=several, note=f"image ids are counted from 1: the splits of {first} share some")
    return ImageIds(joined, several)


def _places(source: Source) -> Iterator[tuple[str, tuple[Path, str] | None]]:
    """Yield each image's output name, and its data set with its name there, or None without a data set."""
    if source.kind != "images":
        yield source.name, None
    for name, path in zip(source.names, source.paths, strict=False):
        # Not resolved: the images of a data set may be links.
        whole = path.absolute()
        folders = (one for one in whole.parents if one.name == IMAGES and any(one.parent.glob("*_coco.json")))
        images = next(folders, None)
        yield name, (images.parent, whole.relative_to(images).as_posix()) if images else None


@dataclass(frozen=True, slots=True, eq=False)
class ImagePredictions:
    """The predictions for one image: N objects of K keypoints.

    Attributes:
        file_name: the image's, or the video's.
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        scores: (N,) of the boxes; in COCO's format, of the objects.
        keypoints: (N, K, 2) x, y in pixels.
        keypoint_scores: (N, K).
        size: (width, height) in pixels, if the file has it.
        frame: number of the frame of a video, from 0; None for an image.
        problem: why the image could not be read, or "".
        category_ids: (N,) the category of each object; None: the only one.
    """

    file_name: str
    boxes: Floats
    scores: Floats
    keypoints: Floats
    keypoint_scores: Floats
    size: tuple[int, int] | None = None
    frame: int | None = None
    problem: str = ""
    category_ids: Ints | None = None

    def __len__(self) -> int:
        return len(self.scores)


PointXY = Annotated[list[Coordinate], Field(min_length=2, max_length=2)]
Four = Annotated[list[Coordinate], Field(min_length=4, max_length=4)]
SidePixels = Annotated[int, Field(ge=1)]


class _Instance(_PredictionPart):
    box: Four
    score: float
    keypoints: dict[str, PointXY]
    keypoint_scores: dict[str, float]


class _ImageEntry(_PredictionPart):
    file_name: FileName
    width: SidePixels | None = None
    height: SidePixels | None = None
    frame: Annotated[int, Field(ge=0)] | None = None
    problem: str = ""
    instances: list[_Instance]


class _PredictionDocument(_PredictionPart):
    keypoint_names: list[str]
    images: list[_ImageEntry] = Field(alias="pictures")


class _ResultEntry(_PredictionPart):
    image_id: int
    category_id: int
    keypoints: list[Coordinate]
    score: float
    bbox: Four | None = None


_RESULTS = TypeAdapter(list[_ResultEntry])


def read_predictions(
    path: Path, skeleton: Skeleton, image_ids: Mapping[str, int] | None = None
) -> dict[str, ImagePredictions]:
    """Return the predictions of a file, in either form, by file name.

    The key of a video frame is ``<file name>#<frame>``. COCO's format has only images with objects; an entry without
    ``bbox`` gets the box around its keypoints, as in pycocotools.

    Args:
        path: the file.
        skeleton: the skeleton of the keypoints.
        image_ids: file name -> image id (``image_ids_of``), for COCO's format.

    Raises:
        RequestError: it is in COCO's format and there are no ``image_ids``.
        InputError: it has neither form, or breaks a rule of its form.
    """
    content = read_json(path)
    try:
        if isinstance(content, list):
            return _from_results(path, _RESULTS.validate_python(content), skeleton, image_ids)
        if isinstance(content, dict) and _KEY in content:
            return _from_document(path, _PredictionDocument.model_validate(content), skeleton)
    except ValidationError as exc:
        raise from_validation(path, exc) from exc
    rule = 'an object with "pictures" from `posetools predict`, or a COCO list of results'
    raise InputError(path, "", must_be("the file", rule, sorted(content) if isinstance(content, dict) else content))


def _from_document(path: Path, document: _PredictionDocument, skeleton: Skeleton) -> dict[str, ImagePredictions]:
    if document.keypoint_names != list(skeleton.names):
        rule = f"those of skeleton {skeleton.name}, {list(skeleton.names)}"
        problem = f"keypoint_names must be {rule}, got {document.keypoint_names}"
        command = new_command(document.keypoint_names)
        raise InputError(
            path, "keypoint_names", problem, hint=f"choose it with --skeleton FILE; `{command}` writes one"
        )
    found: dict[str, ImagePredictions] = {}
    for position, image in enumerate(document.images):
        key = image.file_name if image.frame is None else f"{image.file_name}#{image.frame}"
        place = f"{_KEY}[{position}]"
        if key in found:
            raise InputError(path, place, must_be("file_name (and frame)", "unique", key))
        found[key] = _image(path, place, image, skeleton)
    return found


def _image(path: Path, place: str, image: _ImageEntry, skeleton: Skeleton) -> ImagePredictions:
    names = skeleton.names
    for row, one in enumerate(image.instances):
        for name, given in (("keypoints", one.keypoints), ("keypoint_scores", one.keypoint_scores)):
            if set(given) != set(names):
                rule = f"one entry for each of the {len(names)} keypoints of skeleton {skeleton.name}"
                raise InputError(path, f"{place}.instances[{row}]", must_be(name, rule, sorted(given)))
        if one.box[0] > one.box[2] or one.box[1] > one.box[3]:
            rule = "x1, y1, x2, y2 with x1 <= x2 and y1 <= y2"
            raise InputError(path, f"{place}.instances[{row}]", must_be("box", rule, one.box))
    n, k = len(image.instances), len(names)
    return ImagePredictions(
        file_name=image.file_name,
        boxes=_array([one.box for one in image.instances], n, 4),
        scores=_array([one.score for one in image.instances], n),
        keypoints=_array([[one.keypoints[name] for name in names] for one in image.instances], n, k, 2),
        keypoint_scores=_array([[one.keypoint_scores[name] for name in names] for one in image.instances], n, k),
        size=(image.width, image.height) if image.width and image.height else None,
        frame=image.frame,
        problem=image.problem,
    )


def _from_results(
    path: Path, results: Sequence[_ResultEntry], skeleton: Skeleton, image_ids: Mapping[str, int] | None
) -> dict[str, ImagePredictions]:
    if image_ids is None:
        raise RequestError(f"{path}: COCO results have only image ids, so the COCO file with these ids is needed too")
    names = {image_id: name for name, image_id in image_ids.items()}
    by_image: dict[str, list[_ResultEntry]] = {}
    for position, one in enumerate(results):
        place, numbers = f"[{position}]", 3 * skeleton.num_keypoints
        if one.image_id not in names:
            raise InputError(path, place, must_be("image_id", "an image id of the COCO file", one.image_id))
        if one.category_id != skeleton.category.id:
            rule = f"{skeleton.category.id}, that of skeleton {skeleton.name}"
            raise InputError(path, place, must_be("category_id", rule, one.category_id))
        if len(one.keypoints) != numbers:
            rule = f"{numbers} numbers, x, y and score of each keypoint of skeleton {skeleton.name}"
            raise InputError(path, place, must_be("keypoints", rule, f"{len(one.keypoints)} numbers"))
        if one.bbox and min(one.bbox[2:]) < 0:
            raise InputError(path, place, must_be("bbox", "x, y, width, height of at least 0", one.bbox))
        by_image.setdefault(names[one.image_id], []).append(one)
    return {name: _of_results(name, found, skeleton.num_keypoints) for name, found in by_image.items()}


def _of_results(name: str, found: Sequence[_ResultEntry], k: int) -> ImagePredictions:
    points = _array([one.keypoints for one in found], len(found), k, 3)
    boxes = np.concatenate([points[..., :2].min(axis=1), points[..., :2].max(axis=1)], axis=1)
    for row, one in enumerate(found):
        if one.bbox is not None:
            boxes[row] = xyxy_from_xywh(np.array([one.bbox]))[0]
    scores = _array([one.score for one in found], len(found))
    return ImagePredictions(name, boxes, scores, points[..., :2].copy(), points[..., 2].copy())


def _array(values: Sequence[Any], *shape: int) -> Floats:
    return np.array(values, dtype=np.float64).reshape(shape)
