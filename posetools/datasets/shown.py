"""Input of ``posetools view``: the images of a data set or a labeled source, and their findings.

A data set folder is read as for training, without opening its images, and its findings are those of ``validate``.
Anything else is read as by ``convert``, and its findings are the reader's. Images are kept separate by split, because
the same name may be in two of them: that is a finding itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from posetools.checks.validate import validate
from posetools.core.categories import Categories
from posetools.core.coco_document import CocoDocument, read_document
from posetools.core.dataset import Dataset, Image
from posetools.core.findings import Finding, Severity
from posetools.core.folder import CONVERSION, IMAGES, ann_file, categories_of, is_data_set, splits_of
from posetools.core.geometry import Floats, Ints
from posetools.core.place import Origin
from posetools.core.skeleton import Skeleton
from posetools.datasets.derived import check_source, options_of_convert
from posetools.datasets.own_skeleton import own_skeleton
from posetools.errors import Place, RequestError, must_be
from posetools.formats import told_format
from posetools.formats.coco import format as coco
from posetools.formats.coco.sources import safe_name
from posetools.formats.options import ReadOptions
from posetools.progress import Progress


@dataclass(frozen=True, eq=False, slots=True)
class LabeledImage:
    """One image and its M objects.

    Attributes:
        image: the image, with its ``path``.
        boxes: (M, 4) x1, y1, x2, y2 in pixels.
        keypoints: (M, K, 3) x, y, visibility in the columns of all categories.
        origins: where each of the M objects was read.
        ann_file: the annotation file that lists this and other images; empty if each image has its own.
        category_ids: (M,) the category of each object; None if there is only one.
    """

    image: Image
    boxes: Floats
    keypoints: Floats
    origins: Sequence[Origin]
    ann_file: str = ""
    category_ids: Ints | None = None


@dataclass(frozen=True, eq=False, slots=True)
class ShownLabels:
    """The images and labels to show.

    Attributes:
        categories: the categories, which say what the K columns of keypoints are.
        images: by split, then by name.
        unreadable: number of reading errors: what they name cannot be shown.
        findings: returns all findings on the images' splits.
        ann_files: the COCO files of all splits, even of splits not shown.
    """

    categories: Categories
    images: tuple[LabeledImage, ...]
    unreadable: int
    findings: Callable[[], Sequence[Finding]]
    ann_files: tuple[str, ...] = ()

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the only category.

        Raises:
            ValueError: there are several.
        """
        return self.categories.only


@dataclass(frozen=True, slots=True)
class Mark:
    """The findings on one image.

    Attributes:
        found: for each finding the rows of its objects, and its message; no rows for the whole image.
    """

    found: tuple[tuple[frozenset[int], str], ...] = ()

    @property
    def rows(self) -> frozenset[int]:
        """All objects with findings."""
        return frozenset(row for rows, _ in self.found for row in rows)

    def messages(self, row: int | None = None) -> list[str]:
        """Return the messages on the image, or on one object in it."""
        return [message for rows, message in self.found if row is None or not rows or row in rows]


def read_labels(data: Path, *, split: str | None, skeleton: str | Path | None, progress: Progress) -> ShownLabels:
    """Return the images of a data set folder, or of a file or folder in a format that convert reads.

    Args:
        data: the folder or file.
        split: the one split to show; None for all.
        skeleton: a built-in name or a file; None for the data's own.
        progress: receives progress.

    Raises:
        RequestError: there is no such data or split, or its format is unknown.
        InputError: a required file cannot be read.
    """
    check_source(data)
    folder, is_set = data if data.is_dir() else data.parent, is_data_set(data)
    own = skeleton is not None or (folder / CONVERSION).is_file() or is_data_set(folder)
    if own:
        known = categories_of(folder, skeleton)
    else:
        with options_of_convert(data):
            known = own_skeleton([data]).categories
    labels = _of_set(data, split, known, skeleton, progress) if is_set else _of_source(data, split, known, progress)
    if not labels.images:
        hint = f"`posetools {'validate' if is_set else 'convert'}` says why; try another --skeleton"
        raise RequestError(f"{data}: no image could be read, with the keypoints of {known.name}", hint=hint)
    return labels


def _of_set(
    data: Path, split: str | None, categories: Categories, asked: str | Path | None, progress: Progress
) -> ShownLabels:
    splits = splits_of(data)
    _check_split(data, split, splits)
    files = [ann_file(data, name) for name in splits if split in (None, name)]
    images: list[LabeledImage] = []
    errors = 0
    for done, file in enumerate(files, start=1):
        read = coco.read_split(file, data / IMAGES, categories)
        images += labeled(read.dataset, str(file))
        errors += _errors(read.findings)
        progress("reading COCO files", done, len(files))

    def findings() -> list[Finding]:
        names = {str(data), *map(str, files)}
        return [each for each in validate(data, skeleton=asked, progress=progress).findings if each.file in names]

    ann_files = tuple(str(ann_file(data, name)) for name in splits)
    return ShownLabels(categories, tuple(images), errors, findings, ann_files)


def _of_source(data: Path, split: str | None, categories: Categories, progress: Progress) -> ShownLabels:
    told = told_format([data], "a data set folder, or in a format that can be auto-detected")
    # For viewing, points without visibility and objects without boxes are shown too.
    options = ReadOptions(assume_visible=True, box_from="keypoints", progress=progress)
    with options_of_convert(data):
        read = told.read([data], categories, options)
    declared = {image.split for image in read.dataset.images if image.split}
    _check_split(data, split, sorted(declared))
    # A COCO file lists all images; in other formats each image has a file of its own.
    many = str(data) if data.is_file() and told is coco.FORMAT else ""
    images = [each for each in labeled(read.dataset, many) if split in (None, each.image.split)]
    ann_files = (many,) if many else ()
    return ShownLabels(categories, tuple(images), _errors(read.findings), lambda: read.findings, ann_files)


def _check_split(data: Path, split: str | None, known: Sequence[str]) -> None:
    if split is not None and split not in known:
        rule = f"one of {', '.join(known)}" if known else f"omitted: {data} has no splits"
        raise RequestError(must_be("--split", rule, split))


def labeled(dataset: Dataset, file: str = "") -> Iterator[LabeledImage]:
    """Yield the images of a Dataset with their objects; ``file`` is the annotation file of all, if any."""
    for image, rows in zip(dataset.images, dataset.rows_of_images(), strict=True):
        part = slice(rows.start, rows.stop)
        own = (dataset.boxes[part], dataset.keypoints[part], dataset.origins[part])
        yield LabeledImage(image, *own, file, dataset.category_ids[part])


def _errors(findings: Iterable[Finding]) -> int:
    return sum(finding.severity is Severity.ERROR for finding in findings)


def mark_images(findings: Iterable[Finding], images: Sequence[LabeledImage]) -> tuple[dict[int, Mark], list[Finding]]:
    """Return the findings of each image, by its index, and the findings that name no image."""
    finder = Finder(images)
    marks: dict[int, list[tuple[frozenset[int], str]]] = {}
    elsewhere = []
    for finding in findings:
        found = finder.find(finding)
        for index, rows in found.items():
            marks.setdefault(index, []).append((rows, finding.message))
        if not found:
            elsewhere.append(finding)
    return {index: Mark(tuple(found)) for index, found in sorted(marks.items())}, elsewhere


class Finder:
    """Finds the image and objects of a finding."""

    def __init__(self, images: Sequence[LabeledImage]) -> None:
        self._images = images
        self._objects = {one: (i, row) for i, each in enumerate(images) for row, one in enumerate(each.origins)}
        self._names = _grouped((each.image.file_name, i) for i, each in enumerate(images))
        self._paths = {str(each.image.path): i for i, each in enumerate(images)}
        self._stems = _grouped((each.image.path.stem, i) for i, each in enumerate(images) if each.image.path)
        self._files = _grouped((origin.file, i) for origin, (i, _) in self._objects.items())
        self._documents: dict[str, CocoDocument] = {}

    def find(self, finding: Finding) -> dict[int, frozenset[int]]:
        """Return index of the image -> rows of its objects; empty if the finding is on no image."""
        file, place = finding.file, finding.place
        if finding.code == "W210":
            return {i: frozenset() for i, each in enumerate(self._images) if each.ann_file == file and not each.origins}
        # A finding may list several objects of an image.
        places = place.parts if isinstance(place, Place) and place.parts else (place,)
        known = [self._objects[origin] for each in places if (origin := Origin(file, each)) in self._objects]
        if known:
            return {known[0][0]: frozenset(row for _, row in known)}
        if isinstance(place, Place) and place.kind in ("images", "annotations"):
            index = self._listed(file, place)
        else:
            index = self._own(file)
        return {} if index is None else {index: frozenset()}

    def _own(self, file: str) -> int | None:
        """Return the image of an image or annotation file: by its objects, or else by its name."""
        if file in self._paths:
            return self._paths[file]
        if any(each.ann_file == file for each in self._images) or Path(file).is_dir():
            return None
        found = self._files.get(file) or self._stems.get(Path(file).stem, set())
        return next(iter(found)) if len(found) == 1 else None

    def _listed(self, file: str, entry: Place) -> int | None:
        """Return the image of an entry in a COCO file, even of an invalid one."""
        if file not in self._documents:
            self._documents[file] = read_document(Path(file))
        name = self._documents[file].image_name(entry.kind, entry.position)
        found = self._names.get(safe_name(name) or "", set()) if name else set()
        fitting = [i for i in found if self._images[i].ann_file in ("", file)]
        return fitting[0] if len(fitting) == 1 else None


def _grouped(pairs: Iterable[tuple[str, int]]) -> dict[str, set[int]]:
    groups: dict[str, set[int]] = {}
    for name, index in pairs:
        groups.setdefault(name, set()).add(index)
    return groups
