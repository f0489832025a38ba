"""The images that ``posetools review`` chooses from, with their labels, predictions and appearance."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from posetools.core.categories import Categories
from posetools.core.dataset import Image
from posetools.core.findings import Severity
from posetools.core.folder import refuse_zip
from posetools.core.geometry import Floats, Ints
from posetools.core.skeleton import Skeleton
from posetools.datasets.derived import options_of_convert
from posetools.datasets.own_skeleton import skeleton_to_label
from posetools.datasets.shown import LabeledImage, labeled, read_labels
from posetools.errors import InputError, RequestError, must_be, quoted
from posetools.files.disk import read_bytes
from posetools.files.walking import walk_files
from posetools.formats import FORMATS
from posetools.formats.labelme import format as labelme
from posetools.formats.labelme.write import is_untouched
from posetools.formats.options import ReadOptions
from posetools.imaging.header import is_image, open_decoded, read_header
from posetools.pairs.pipeline import PosePipeline
from posetools.prediction.predict import each_predicted
from posetools.prediction.read import ImagePredictions, image_ids_of, join_ids, read_predictions
from posetools.progress import Progress

# Images are compared by this many gray cells per side, and by the objects in them.
_GRAY_CELLS = 8
_MANY_OBJECTS = 8


@dataclass(frozen=True, slots=True)
class Candidate:
    """One image.

    Attributes:
        image: the image.
        labels: a person's labels; None if there are none (or only a model's, never saved by a person).
        found: the predictions; None if unknown.
    """

    image: Image
    labels: LabeledImage | None = None
    found: ImagePredictions | None = None

    @property
    def path(self) -> Path:
        """Its file."""
        return self.image.path or Path(self.image.file_name)


@dataclass(frozen=True, slots=True)
class Candidates:
    """The images to choose from.

    Attributes:
        images: sorted by split, then by name.
        what: the skeleton, or the categories, which say what the columns of keypoints are.
        ann_files: COCO files whose image ids predictions may use.
        beside: whether labels are (or would be) labelme files next to the images.
        notes: further remarks, a sentence each.
    """

    images: tuple[Candidate, ...]
    what: Skeleton | Categories
    ann_files: tuple[str, ...] = ()
    beside: bool = True
    notes: tuple[str, ...] = ()

    @property
    def categories(self) -> Categories:
        """The categories, each with its skeleton."""
        return Categories.of(self.what)

    def parts(self) -> Iterator[tuple[Skeleton, Candidates]]:
        """Yield for each category its skeleton, and all images with its objects and keypoints only."""
        if len(self.categories) == 1:
            yield self.categories.only, self
            return
        for number, skeleton in self.categories.items():
            columns = self.categories.columns[number]
            yield (
                skeleton,
                replace(self, what=skeleton, images=tuple(_part(one, number, columns) for one in self.images)),
            )


def _part(one: Candidate, number: int, columns: Ints) -> Candidate:
    """Return an image with its objects of one category, and these columns of their keypoints."""
    labels, found = one.labels, one.found
    if labels is not None:
        rows = np.flatnonzero(labels.category_ids == number)
        origins = [labels.origins[row] for row in rows.tolist()]
        points = labels.keypoints[rows][:, columns]
        labels = replace(labels, boxes=labels.boxes[rows], keypoints=points, origins=origins, category_ids=None)
    if found is not None:
        rows = np.flatnonzero(found.category_ids == number)
        own = {"boxes": found.boxes[rows], "scores": found.scores[rows], "keypoints": found.keypoints[rows][:, columns]}
        found = replace(found, **own, keypoint_scores=found.keypoint_scores[rows][:, columns], category_ids=None)
    return replace(one, labels=labels, found=found)


def read_candidates(
    data: Path, skeleton: str | Path | None, progress: Progress, *, default: Categories | None = None
) -> Candidates:
    """Return the images of a data set, of a labeled source, or of an unlabeled folder.

    Args:
        data: the folder, or a file with labels.
        skeleton: a built-in name or a file; None: the data set's own.
        progress: receives progress.
        default: the categories for labelme files if ``skeleton`` is None, such as the models'; None: the folder's own.

    Raises:
        RequestError: there is no such data, or no image in it.
        InputError: a required file cannot be read.
    """
    refuse_zip(data)
    if not data.exists():
        raise RequestError(must_be(str(data), "a folder with images, or a data set", "nothing there"))
    others = [one for name, one in FORMATS.items() if name != "labelme" and one.detect(data)]
    if not data.is_dir() or others or any(data.glob("*_coco.json")):
        labels = read_labels(data, split=None, skeleton=skeleton, progress=progress)
        images = tuple(Candidate(one.image, one) for one in labels.images if one.image.path is not None)
        return Candidates(images, labels.categories, labels.ann_files, beside=False)
    if skeleton is not None or default is None:
        default = skeleton_to_label(data, skeleton).categories
    return _of_folder(data, default, progress)


def _of_folder(folder: Path, categories: Categories, progress: Progress) -> Candidates:
    files = [path for path in walk_files(folder) if is_image(path)]
    if not files:
        raise RequestError(must_be(str(folder), "a folder with images, or a data set", "no image in it"))
    known_in, notes = _labeled_in(folder, categories, progress)
    images = []
    for done, path in enumerate(files, start=1):
        known, file = known_in.get(os.path.realpath(path)), path.with_suffix(".json")
        if known is not None and file.is_file() and is_untouched(read_bytes(file)):
            known = None
        try:
            size = known.image.size if known else read_header(path).size
        except InputError as exc:
            notes.append(f"{exc.sentence}; it is left out")
            continue
        image = Image(path.relative_to(folder).as_posix(), *size, path=path)
        images.append(Candidate(image, replace(known, image=image) if known else None))
        progress("reading images", done, len(files))
    return Candidates(tuple(images), categories, notes=tuple(notes))


def _labeled_in(folder: Path, categories: Categories, progress: Progress) -> tuple[dict[str, LabeledImage], list[str]]:
    """Return the labeled images of a folder by their paths with links resolved."""
    if not labelme.detect(folder):
        return {}, []
    with options_of_convert(folder):
        read = labelme.FORMAT.read([folder], categories, ReadOptions(progress=progress))
    errors = sum(finding.severity is Severity.ERROR for finding in read.findings)
    notes = [f"reading errors: {errors}; see `posetools convert {quoted(folder)} --out NEW`"] if errors else []
    found = {os.path.realpath(one.image.path): one for one in labeled(read.dataset) if one.image.path is not None}
    return found, notes


def with_predictions(candidates: Candidates, path: Path) -> Candidates:
    """Return the images with their predictions from a file of ``posetools predict``; the others are left out.

    Raises:
        RequestError: the file has none of the images, or uses unknown image ids.
        InputError: it cannot be read.
    """
    # Ids that clash between splits are ambiguous; predictions by name need no ids.
    files = candidates.ann_files
    ids = (join_ids([image_ids_of(Path(file)) for file in files]) or {}) if files else None
    found = read_predictions(path, candidates.categories, ids)
    images = [replace(one, found=found.get(one.image.file_name)) for one in candidates.images]
    known = [one for one in images if one.found is not None and not one.found.problem]
    if not known:
        names = [one.image.file_name for one in candidates.images]
        problem = must_be("images", f"those of the data, such as {min(names)!r}", next(iter(found), None))
        raise RequestError(f"{path}: {problem}")
    notes = list(candidates.notes)
    if len(known) < len(images):
        notes.append(f"{path}: has no predictions for {len(images) - len(known)} images, which are left out")
    return replace(candidates, images=tuple(known), notes=tuple(notes))


def predicted(candidates: Candidates, pipeline: PosePipeline, progress: Progress) -> Candidates:
    """Return the images with a pipeline's predictions; unreadable ones are left out, with a note.

    Raises:
        RequestError: the pipeline's keypoints are not those of the labels.
    """
    if any(one.labels for one in candidates.images):
        _check_fit(candidates.categories, pipeline.categories)
    images: list[Candidate] = []
    notes = list(candidates.notes)
    every = each_predicted(pipeline, ((one, one.path) for one in candidates.images))
    with closing(every):
        for done, (one, result) in enumerate(every, start=1):
            if isinstance(result, str):
                why = result if one.image.path else f"{one.image.file_name}: has no file"
                notes.append(f"{why}; it is left out")
            else:
                arrays = result.boxes, result.scores, result.keypoints, result.keypoint_scores
                found = ImagePredictions(one.image.file_name, *arrays, category_ids=result.category_ids)
                images.append(replace(one, found=found))
            progress("predicting", done, len(candidates.images))
    return replace(candidates, images=tuple(images), what=pipeline.categories, notes=tuple(notes))


def _check_fit(labels: Categories, models: Categories) -> None:
    """Refuse models whose categories or keypoints are not those of the labels."""
    if len(labels) + len(models) > 2 and list(labels.ids.items()) != list(models.ids.items()):
        rule = f"models of the categories of the labels, {', '.join(labels.ids)}"
        raise RequestError(must_be("the pair", rule, list(models.ids)))
    if [one.names for one in labels.skeletons] != [one.names for one in models.skeletons]:
        rule = f"one trained with the keypoints of the labels, skeleton {labels.name}"
        raise RequestError(must_be("the pose estimator", rule, models.name))


def features(images: Sequence[Candidate], progress: Progress) -> Floats:
    """Return the features of images (N, F): gray values in coarse cells, and the layout of objects.

    An unreadable image is gray.
    """
    rows = []
    for done, one in enumerate(images, start=1):
        rows.append(np.concatenate([_thumbnail(one) / _GRAY_CELLS, _layout(one)]))
        progress("comparing images", done, len(images))
    return np.array(rows, dtype=np.float64).reshape(len(images), _GRAY_CELLS**2 + 4)


def _thumbnail(one: Candidate) -> Floats:
    """Return (cells x cells,) gray values from 0 to 1."""
    gray = np.full(_GRAY_CELLS**2, 0.5)
    try:
        # A JPEG is decoded at a fraction of its size.
        upright, _ = open_decoded(one.path, "L", (_GRAY_CELLS * 8, _GRAY_CELLS * 8))
        small = upright.resize((_GRAY_CELLS, _GRAY_CELLS), Pillow.Resampling.BOX)
    except InputError:
        return gray
    return np.asarray(small, dtype=np.float64).ravel() / 255


def _layout(one: Candidate) -> Floats:
    """Return (4,): how many objects (1 for eight and more), the mean of their centers and of their sizes, 0 to 1."""
    known = one.labels if one.found is None else one.found
    if known is None or not len(known.boxes):
        return np.zeros(4)
    boxes = known.boxes
    size = np.array(one.image.size, dtype=np.float64)
    centers = ((boxes[:, :2] + boxes[:, 2:]) / 2 / size).mean(axis=0)
    share = np.sqrt(((boxes[:, 2:] - boxes[:, :2]) / size).clip(0, 1).prod(axis=1)).mean()
    return np.array([min(len(boxes) / _MANY_OBJECTS, 1.0), *centers.clip(0, 1).tolist(), float(share)])
