"""Shared by writers of formats with one annotation file per image: checks before writing, and writing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from posetools.core.dataset import Dataset, Split
from posetools.errors import InputError, OutputError, must_be, printable
from posetools.files.disk import portable_path


def slices(splits: Iterable[Split]) -> Iterator[Dataset]:
    """Yield the content of some splits as Datasets of a few hundred images each."""
    return (dataset for split in splits for dataset in split.slices())


def slices_of_splits(splits: Mapping[str, Split]) -> Iterator[tuple[str, Dataset]]:
    """Yield the content of some splits as ``slices`` does, each Dataset with its split's name."""
    return ((split, dataset) for split, part in splits.items() for dataset in part.slices())


def check_holdable(splits: Mapping[str, Split], title: str, annotation_of: Callable[[str, str], str]) -> None:
    """Refuse what a format with one annotation file per image and with boxes and points cannot hold.

    Args:
        splits: by name.
        title: the format's title, for messages.
        annotation_of: (split, file name of an image) -> its annotation file's name.

    Raises:
        InputError: a crowd (iscrowd), a box without width or height, an image without a file, a name that leaves
            the folder, or two images with one annotation file.
    """
    images: dict[str, str] = {}
    for split, part in splits.items():
        for dataset in part.slices():
            _check_objects(dataset, title)
        for image in part.images:
            name = image.file_name
            relative = portable_path(name)
            if relative is None or ".." in relative.parts or PurePosixPath(name).name == "":
                raise InputError(name, "", must_be("file_name", "a relative path that stays in its folder", name))
            if image.path is None:
                problem = must_be("path", f"an image file for the {title} annotations", None)
                raise InputError(name, "", problem, hint="read the data set with its images before writing it")
            annotation = annotation_of(split, name)
            if annotation in images:
                rule = f"the only image with the {title} file {annotation}"
                other = images[annotation]
                raise InputError(name, "", must_be("file_name", rule, other), hint="rename one of the two images")
            images[annotation] = name


def _check_objects(dataset: Dataset, title: str) -> None:
    groups = np.flatnonzero(dataset.iscrowd)
    if len(groups):
        instance = dataset[int(groups[0])]
        problem = must_be("iscrowd", f"0 ({title} has no crowds)", 1)
        problem += f" ({len(groups)} such objects)" if len(groups) > 1 else ""
        hint = "`posetools convert --drop-crowds` leaves these objects out"
        raise InputError(instance.image.file_name, str(instance.origin), problem, hint=hint)
    for row in np.flatnonzero((dataset.boxes[:, 2:] <= dataset.boxes[:, :2]).any(axis=1)):
        instance = dataset[int(row)]
        problem = must_be("box", "x1, y1, x2, y2 with width and height", instance.box.tolist())
        raise InputError(instance.image.file_name, str(instance.origin), problem, hint="correct or delete the object")


def check_labeled(splits: Mapping[str, Split], title: str) -> None:
    """Refuse objects without a labeled keypoint, for a format that holds only keypoints.

    Raises:
        InputError: there is one.
    """
    for dataset in slices(splits.values()):
        for row in np.flatnonzero(dataset.num_labeled == 0):
            instance = dataset[int(row)]
            problem = must_be("the object", f"one with a labeled keypoint, as {title} holds only keypoints", "none")
            raise InputError(instance.image.file_name, str(instance.origin), problem, hint="label or delete the object")


def put_text(path: Path, text: str) -> None:
    """Write a UTF-8 file with line feeds into a folder that is later moved into place as a whole.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as exc:
        raise OutputError(f"{printable(str(path))}: cannot be written: {exc.strerror or exc}") from exc
