"""Which image ids the results of a prediction have: those of the data set that the images belong to.

An image belongs to a data set when it is below an ``images`` folder that has ``train_coco.json``, ``val_coco.json`` or
another split beside it. pycocotools refuses results with an id that the labels do not have, so each split gets a file
of its own where the images are of several.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from posetools.core.folder import IMAGES, ann_file, splits_of
from posetools.errors import InputError, RequestError, from_validation, must_be
from posetools.files.disk import read_json
from posetools.imaging.frames import Source


class _Image(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    id: int
    file_name: Annotated[str, Field(min_length=1)]


class _AnnFile(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    images: list[_Image]


def image_ids_of(ann_file: Path) -> dict[str, int]:
    """Return file name -> image id of the pictures of a COCO file.

    Raises:
        InputError: it cannot be read, or a name or an id stands twice.
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
    """Return the image ids of several COCO files; None where two images have one id, or one image two."""
    pairs = [pair for ids in several for pair in ids.items()]
    joined = dict(pairs)
    return joined if len(set(joined.values())) == len(pairs) else None


@dataclass(frozen=True, slots=True)
class ImageIds:
    """Image ids by the names of the frames.

    Attributes:
        ids: of all images; None: 1, 2, ... in order.
        splits: those of each split, where one file for all cannot be compared with the labels of one.
        note: why ids are counted though some image is of a data set; empty else.
    """

    ids: Mapping[str, int] | None = None
    splits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    note: str = ""


def ids_of_data_set(sources: Sequence[Source]) -> ImageIds:
    """Return the ids that the images have in their data set."""
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
        return ImageIds(note=f"image ids are counted from 1: {str(exc).splitlines()[0]}")
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
    """Give each image's name in outputs, and its data set with its name there; None for an image of no data set."""
    if source.kind != "pictures":
        yield source.name, None
    for name, path in zip(source.names, source.paths, strict=False):
        # As it was named: the images of a data set may be links.
        whole = path.absolute()
        folders = (folder for folder in whole.parents if folder.name == IMAGES and _has_split(folder.parent))
        images = next(folders, None)
        yield name, (images.parent, whole.relative_to(images).as_posix()) if images else None


def _has_split(folder: Path) -> bool:
    return any(folder.glob("*_coco.json"))
