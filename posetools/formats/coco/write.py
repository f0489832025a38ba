"""Writing COCO keypoint files; the format is described in posetools/formats/coco/format.py.

A file is written slice by slice, so that a data set need not fit into the memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import msgspec

from posetools.core.dataset import Dataset, Entry
from posetools.core.folder import IMAGES, SPLITS, ann_file
from posetools.core.skeleton import Skeleton
from posetools.errors import InputError, must_be
from posetools.files.disk import Transfer, fetch, transfer, write_chunks
from posetools.files.urls import as_path, is_url
from posetools.formats.coco.lines import ENCODER, Lines, lines_of
from posetools.formats.coco.sources import safe_name

# Pictures whose entries become text at a time.
_BATCH = 500
# Pictures that are fetched from a URL at once.
_TOGETHER = 256


class Encoded(Protocol):
    """Pictures whose objects are lines already."""

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of all."""

    @property
    def num_images(self) -> int:
        """How many pictures there are."""

    def __len__(self) -> int:
        """How many objects there are."""

    def entries(self) -> Iterator[Entry]:
        """Yield the pictures' names, widths, heights and paths, in the order of the names."""

    def lines(self) -> Iterator[Lines]:
        """Yield the annotations, in the order of the pictures."""


class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str
    width: int
    height: int


def write(splits: Mapping[str, Dataset | Encoded], folder: Path, images: Transfer) -> None:
    """Write ``images/`` and one COCO file per split; ids run on from split to split, train and val first.

    Raises:
        InputError: a picture is in two splits, has a name that leaves the folder, or no known file.
        OutputError: a file cannot be written.
    """
    seen: dict[str, str] = {}
    first_image = first_annotation = 1
    for split in sorted(splits, key=lambda name: (name not in SPLITS, SPLITS.index(name) if name in SPLITS else name)):
        pictures = splits[split]
        _bring(pictures.entries(), split, seen, folder / IMAGES, images)
        write_split(pictures, ann_file(folder, split), first_image=first_image, first_annotation=first_annotation)
        first_image += pictures.num_images
        first_annotation += len(pictures)


def write_split(pictures: Dataset | Encoded, path: Path, *, first_image: int = 1, first_annotation: int = 1) -> None:
    """Write one COCO file, without the pictures.

    Args:
        pictures: the pictures and objects.
        path: the file.
        first_image: the id of the first picture, in order of file name.
        first_annotation: the id of the first object.

    Raises:
        OutputError: it cannot be written.
    """
    write_chunks(path, _text(pictures, first_image, first_annotation))


def category_entry(skeleton: Skeleton) -> dict[str, Any]:
    """Return the skeleton's entry in ``categories``."""
    return {
        "id": skeleton.category.id,
        "name": skeleton.category.name,
        "supercategory": skeleton.category.name,
        "keypoints": list(skeleton.names),
        "skeleton": skeleton.coco_edges,
    }


def _text(pictures: Dataset | Encoded, first_image: int, first_annotation: int) -> Iterator[bytes]:
    """Yield the file piece by piece: one line per entry of a list."""
    skeleton = pictures.skeleton
    info = {"description": f"{skeleton.name} keypoints", "version": "1.0"}
    yield b'{\n"info": ' + ENCODER.encode(info) + b',\n"licenses": [],\n"images": ['
    yield from _listed(_image_lines(pictures.entries(), first_image))
    yield b'],\n"annotations": ['
    yield from _listed(_annotation_lines(pictures, first_image, first_annotation))
    yield b'],\n"categories": [\n' + ENCODER.encode(category_entry(skeleton)) + b"\n]\n}\n"


def _listed(batches: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines, which commas and line feeds divide, as the entries of a JSON list."""
    before = b"\n"
    for lines in batches:
        if lines:
            yield before
            yield lines
            before = b",\n"
    if before != b"\n":
        yield b"\n"


def _image_lines(entries: Iterable[Entry], first: int) -> Iterator[bytes]:
    numbered = enumerate(entries, start=first)
    while batch := [
        _Image(number, name, width, height) for number, (name, width, height, _) in islice(numbered, _BATCH)
    ]:
        yield ENCODER.encode_lines(batch)[:-1].replace(b"\n", b",\n")


def _annotation_lines(pictures: Dataset | Encoded, first_image: int, first: int) -> Iterator[bytes]:
    parts = [lines_of(pictures)] if isinstance(pictures, Dataset) else pictures.lines()
    for part in parts:
        yield b",\n".join(part.numbered(first_image, first))
        first_image += len(part.counts)
        first += len(part.bodies)


def _bring(entries: Iterable[Entry], split: str, seen: dict[str, str], folder: Path, how: Transfer) -> None:
    """Bring each picture to the folder; ``seen`` says which names are taken, and by which split."""
    remote: dict[Path, Path] = {}
    for name, _, _, path in entries:
        if (other := seen.setdefault(name, split)) != split:
            raise InputError(name, "", must_be("file_name", f"in one split only ({other} has it)", split))
        if safe_name(name) != name:
            raise InputError(name, "", must_be("file_name", "a path that stays in images/", name))
        if how == "none":
            continue
        if not path:
            problem = must_be("path", "a picture file, which goes to images/", None)
            raise InputError(name, "", problem, hint="read the data set with its pictures, and write it then")
        if is_url(path):
            remote[folder / name] = as_path(path)
        else:
            transfer(Path(path), folder / name, how)
        if len(remote) == _TOGETHER:
            fetch(remote)
            remote.clear()
    fetch(remote)
