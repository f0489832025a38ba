"""Read predictions in the two forms that ``posetools predict`` writes, and the image ids for them.

The readable document::

    {"posetools": "0.1.0", "skeleton": "car8", "category": "car", "keypoint_names": [...], "thresholds": {...},
     "pictures": [{"file_name": "a.jpg", "width": 640, "height": 480, "instances": [
         {"box": [x1, y1, x2, y2], "score": 0.93, "keypoints": {name: [x, y]}, "keypoint_scores": {name: 0.8}}]}]}

Of several categories it has ``categories``, a list of these three keys, in place of them, and each instance has its
``category`` and the keypoints of this category. Pixels to 2 decimals, scores to 4. A frame of a video has the video's
``file_name`` and its number, ``frame``, from 0. An image that could not be read has ``problem`` and neither size nor
objects.

COCO's results format is a list with an entry per object, which pycocotools' ``loadRes`` opens: ``image_id``,
``category_id``, ``bbox`` (x, y, width, height), ``keypoints`` (x, y, score of each) and ``score``: the box score times
the mean of the confident keypoints' scores, as in the evaluation; it does not have the box score itself. An object of a
category without keypoints has an empty list of them, and its box score.

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

from posetools.core.categories import Categories
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
    known: dict[Path, Path | None] = {}
    if source.kind != "images":
        yield source.name, None
    for name, path in zip(source.names, source.paths, strict=False):
        # Not resolved: the images of a data set may be links.
        whole = path.absolute()
        if whole.parent not in known:
            folders = (one for one in whole.parents if one.name == IMAGES and any(one.parent.glob("*_coco.json")))
            known[whole.parent] = next(folders, None)
        images = known[whole.parent]
        yield name, (images.parent, whole.relative_to(images).as_posix()) if images else None


@dataclass(frozen=True, slots=True, eq=False)
class ImagePredictions:
    """The predictions for one image: N objects with K columns of keypoints, as in a PoseResult.

    Attributes:
        file_name: the image's, or the video's.
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        scores: (N,) of the boxes; in COCO's format, of the objects.
        keypoints: (N, K, 2) x, y in pixels; NaN in the columns of other categories.
        keypoint_scores: (N, K); 0 in the columns of other categories.
        size: (width, height) in pixels, if the file has it.
        frame: number of the frame of a video, from 0; None for an image.
        problem: why the image could not be read, or "".
        category_ids: (N,) the id of each object's category; None: there is only one category.
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
    category: str = ""
    box: Four
    score: float
    keypoints: dict[str, PointXY]
    keypoint_scores: dict[str, float]


class ImageEntry(_PredictionPart):
    """An image in the readable document."""

    file_name: FileName
    width: SidePixels | None = None
    height: SidePixels | None = None
    frame: Annotated[int, Field(ge=0)] | None = None
    problem: str = ""
    instances: list[_Instance]


class _CategoryEntry(_PredictionPart):
    category: str
    keypoint_names: list[str]


class _PredictionDocument(_PredictionPart):
    category: str = ""
    keypoint_names: list[str]
    images: list[ImageEntry] = Field(alias="pictures")

    def described(self) -> dict[str, _CategoryEntry]:
        """Return the only category by its place."""
        return {"": _CategoryEntry(category=self.category, keypoint_names=self.keypoint_names)}


class _CategoriesDocument(_PredictionPart):
    categories: Annotated[list[_CategoryEntry], Field(min_length=1)]
    images: list[ImageEntry] = Field(alias="pictures")

    def described(self) -> dict[str, _CategoryEntry]:
        """Return the categories by their places."""
        return {f"categories[{i}].": entry for i, entry in enumerate(self.categories)}


class _ResultEntry(_PredictionPart):
    image_id: int
    category_id: int
    keypoints: list[Coordinate]
    score: float
    bbox: Four | None = None


_RESULTS = TypeAdapter(list[_ResultEntry])


def read_predictions(
    path: Path, categories: Skeleton | Categories, image_ids: Mapping[str, int] | None = None
) -> dict[str, ImagePredictions]:
    """Return the predictions of a file, in either form, by file name.

    The key of a video frame is ``<file name>#<frame>``. COCO's format has only images with objects; an entry without
    ``bbox`` gets the box around its keypoints, as in pycocotools.

    Args:
        path: the file.
        categories: the categories of the objects, which may be more than the file has; or the only one's skeleton.
        image_ids: file name -> image id (``image_ids_of``), for COCO's format.

    Raises:
        RequestError: it is in COCO's format and there are no ``image_ids``.
        InputError: it has neither form, or breaks a rule of its form.
    """
    content, known = read_json(path), Categories.of(categories)
    try:
        if isinstance(content, list):
            return _from_results(path, _RESULTS.validate_python(content), known, image_ids)
        if isinstance(content, dict) and _KEY in content:
            form = _CategoriesDocument if "categories" in content else _PredictionDocument
            return _from_document(path, form.model_validate(content), known)
    except ValidationError as exc:
        raise from_validation(path, exc) from exc
    rule = 'an object with "pictures" from `posetools predict`, or a COCO list of results'
    raise InputError(path, "", must_be("the file", rule, sorted(content) if isinstance(content, dict) else content))


def _from_document(
    path: Path, document: _PredictionDocument | _CategoriesDocument, categories: Categories
) -> dict[str, ImagePredictions]:
    ids = {one.category: _id_of(path, at, one, categories) for at, one in document.described().items()}
    if isinstance(document, _PredictionDocument):
        # Its objects do not name their category.
        ids = {"": next(iter(ids.values()))}
    found: dict[str, ImagePredictions] = {}
    for position, image in enumerate(document.images):
        key = image.file_name if image.frame is None else f"{image.file_name}#{image.frame}"
        place = f"{_KEY}[{position}]"
        if key in found:
            raise InputError(path, place, must_be("file_name (and frame)", "unique", key))
        found[key] = predictions_of(path, place, image, ids, categories)
    return found


def _id_of(path: Path, at: str, entry: _CategoryEntry, categories: Categories) -> int:
    """Return the id of a category that a document describes."""
    if entry.category not in categories.ids and (at or len(categories) > 1):
        raise InputError(path, f"{at}category", must_be("category", categories.told, entry.category))
    number = categories.ids.get(entry.category, next(iter(categories)))
    skeleton = categories[number]
    if entry.keypoint_names != list(skeleton.names):
        rule = f"those of skeleton {skeleton.name}, {list(skeleton.names)}"
        problem = f"keypoint_names must be {rule}, got {entry.keypoint_names}"
        command = new_command(entry.keypoint_names)
        raise InputError(
            path, f"{at}keypoint_names", problem, hint=f"choose it with --skeleton FILE; `{command}` writes one"
        )
    return number


def predictions_of(
    path: Path, place: str, image: ImageEntry, ids: Mapping[str, int], categories: Categories
) -> ImagePredictions:
    """Return the predictions of one entry.

    Args:
        path: the file, for messages.
        place: the entry's place in it.
        image: the entry.
        ids: the category ids by the names in the entry; "": its objects do not name their only category.
        categories: the categories of the objects.

    Raises:
        InputError: the entry breaks a rule.
    """
    n, k = len(image.instances), categories.num_keypoints
    keypoints, scores, category_ids = np.full((n, k, 2), np.nan), np.zeros((n, k)), np.zeros(n, dtype=np.int64)
    for row, one in enumerate(image.instances):
        where = f"{place}.instances[{row}]"
        category = ids.get("" if "" in ids else one.category)
        if category is None:
            raise InputError(path, where, must_be("category", "one of the document's categories", one.category))
        skeleton, category_ids[row] = categories[category], category
        for name, given in (("keypoints", one.keypoints), ("keypoint_scores", one.keypoint_scores)):
            if set(given) != set(skeleton.names):
                rule = f"one entry for each of the {skeleton.num_keypoints} keypoints of skeleton {skeleton.name}"
                raise InputError(path, where, must_be(name, rule, sorted(given)))
        if one.box[0] > one.box[2] or one.box[1] > one.box[3]:
            rule = "x1, y1, x2, y2 with x1 <= x2 and y1 <= y2"
            raise InputError(path, where, must_be("box", rule, one.box))
        for name in skeleton.names:
            at = row, categories.index[name]
            keypoints[at], scores[at] = one.keypoints[name], one.keypoint_scores[name]
    return ImagePredictions(
        file_name=image.file_name,
        boxes=_array([one.box for one in image.instances], n, 4),
        scores=_array([one.score for one in image.instances], n),
        keypoints=keypoints,
        keypoint_scores=scores,
        size=(image.width, image.height) if image.width and image.height else None,
        frame=image.frame,
        problem=image.problem,
        category_ids=category_ids,
    )


def _from_results(
    path: Path, results: Sequence[_ResultEntry], categories: Categories, image_ids: Mapping[str, int] | None
) -> dict[str, ImagePredictions]:
    if image_ids is None:
        raise RequestError(f"{path}: COCO results have only image ids, so the COCO file with these ids is needed too")
    names = {image_id: name for name, image_id in image_ids.items()}
    by_image: dict[str, list[_ResultEntry]] = {}
    for position, one in enumerate(results):
        place = f"[{position}]"
        if one.image_id not in names:
            raise InputError(path, place, must_be("image_id", "an image id of the COCO file", one.image_id))
        if one.category_id not in categories:
            ids = " or ".join(map(str, categories))
            rule = f"{ids}, that of skeleton {categories.name}"
            raise InputError(path, place, must_be("category_id", rule, one.category_id))
        skeleton = categories[one.category_id]
        numbers = 3 * skeleton.num_keypoints
        if len(one.keypoints) != numbers:
            rule = f"{numbers} numbers, x, y and score of each keypoint of skeleton {skeleton.name}"
            raise InputError(path, place, must_be("keypoints", rule, f"{len(one.keypoints)} numbers"))
        if one.bbox is None and not numbers:
            raise InputError(path, place, "bbox must be there: the category has no keypoints")
        if one.bbox and min(one.bbox[2:]) < 0:
            raise InputError(path, place, must_be("bbox", "x, y, width, height of at least 0", one.bbox))
        by_image.setdefault(names[one.image_id], []).append(one)
    return {name: _of_results(name, found, categories) for name, found in by_image.items()}


def _of_results(name: str, found: Sequence[_ResultEntry], categories: Categories) -> ImagePredictions:
    n, k = len(found), categories.num_keypoints
    points, boxes = np.full((n, k, 3), [np.nan, np.nan, 0.0]), np.zeros((n, 4))
    for row, one in enumerate(found):
        own = np.reshape(one.keypoints, (-1, 3))
        points[row, categories.columns[one.category_id]] = own
        if one.bbox is None:
            boxes[row] = *own[:, :2].min(axis=0), *own[:, :2].max(axis=0)
        else:
            boxes[row] = xyxy_from_xywh(np.array([one.bbox]))[0]
    return ImagePredictions(
        name,
        boxes,
        _array([one.score for one in found], n),
        points[..., :2].copy(),
        points[..., 2].copy(),
        category_ids=np.array([one.category_id for one in found], dtype=np.int64),
    )


def _array(values: Sequence[Any], *shape: int) -> Floats:
    return np.array(values, dtype=np.float64).reshape(shape)
