"""Images for an export, with their labels: for comparison, calibration and samples.

They are the user's, else those of a split of the data set, else rendered cars: the comparison needs realistic images,
as noise would show nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset
from posetools.core.folder import ann_file
from posetools.core.geometry import Floats, Ints
from posetools.core.skeleton import DEFAULT, load_skeleton
from posetools.errors import InputError, RequestError
from posetools.evaluation.scoring import read_truth
from posetools.imaging.frames import open_sources, read_image
from posetools.imaging.header import Pixels

# The most images to use from a user's folder.
_NAMED_IMAGES = 64
# Number of rendered images without a data set.
_RENDERED = 4
_RENDERED_SIZE = (320, 240)


@dataclass(frozen=True, slots=True)
class Shot:
    """An image, read on demand.

    Attributes:
        name: for messages.
        read: returns the pixels.
        boxes: (N, 4) of the labeled objects; empty without labels.
        category_ids: (N,) of the labeled objects.
    """

    name: str
    read: Callable[[], Pixels]
    boxes: Floats
    category_ids: Ints


@dataclass(frozen=True, slots=True)
class ExportMaterial:
    """Images for an export.

    Attributes:
        source: where they are from, for the report.
        shots: the images.
        truth: the labeled split, if any.
    """

    source: str
    shots: tuple[Shot, ...]
    truth: Dataset | None = None

    def spread(self, most: int) -> tuple[Shot, ...]:
        """Return at most ``most`` images, evenly spread."""
        if len(self.shots) <= most:
            return self.shots
        return tuple(self.shots[i] for i in np.linspace(0, len(self.shots) - 1, most).round().astype(int))


def gather(
    images: Sequence[str], data: Path | None, known_data: Path | None, split: str, categories: Categories
) -> ExportMaterial:
    """Return the images to work with.

    Args:
        images: the user's files, folders or patterns; they have priority.
        data: the user's data set; it must exist.
        known_data: the config's data set, used if it exists.
        split: of the data set.
        categories: the pair's.

    Raises:
        RequestError: a given path does not exist, or has no image.
        InputError: a file cannot be read, or the labels have errors.
    """
    there = known_data is not None and ann_file(known_data, split).is_file()
    chosen = data or (known_data if there else None)
    truth = read_truth(chosen, split, categories) if chosen else None
    if images:
        return ExportMaterial("the images given", tuple(_named(images)), truth)
    if chosen and truth and truth.images:
        return ExportMaterial(f"{split} of {chosen}", tuple(_labeled(truth)), truth)
    return ExportMaterial("rendered cars, as no data set was given", tuple(_rendered()), truth)


def _named(images: Sequence[str]) -> Iterator[Shot]:
    for source in open_sources(images):
        if source.kind != "images":
            raise RequestError(f"--images must be images, got the {source.kind} {source.name}")
        for frame in islice(source.frames(), _NAMED_IMAGES):
            if frame.path is None or frame.image is None:
                raise RequestError(frame.problem)
            yield Shot(frame.name, partial(read_image, frame.path), np.zeros((0, 4)), np.zeros(0, dtype=np.int64))


def _labeled(truth: Dataset) -> Iterator[Shot]:
    for image, rows in zip(truth.images, truth.rows_of_images(), strict=True):
        if image.path is None:
            raise InputError(image.file_name, "", "image cannot be read: the data set has no path for it")
        own = list(rows)
        yield Shot(image.file_name, partial(read_image, image.path), truth.boxes[own], truth.category_ids[own])


def _rendered() -> Iterator[Shot]:
    from posetools.synth.rendering import render_random

    rng = np.random.default_rng(0)
    for number in range(_RENDERED):
        rendered = render_random(rng, _RENDERED_SIZE, load_skeleton(DEFAULT))
        pixels = np.ascontiguousarray(np.asarray(rendered.image)[..., ::-1])
        boxes = np.array([label.box for label in rendered.labels], dtype=np.float64).reshape(-1, 4)
        # One category is enough: int8, which needs to know it, requires a data set.
        yield Shot(f"rendered image {number}", pixels.copy, boxes, np.ones(len(boxes), dtype=np.int64))
