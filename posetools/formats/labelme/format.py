"""labelme: one JSON file per image, made with labelme or X-AnyLabeling.

Read as follows. docs/formats.md explains each point to users; tests/formats/labelme/ has one test for each.

- An object is a ``rectangle`` labeled with the skeleton's category (two opposite corners in any order, or four upright
  ones); its keypoints are ``point`` shapes labeled with the keypoints' names. Their box is the rectangle, their area
  its width times height.
- Points belong to the rectangle with the same ``group_id`` (0 is a group like any other; ids count per file), or with
  the same ``instance`` in the label, when a label pattern is given. Points without group belong to the smallest
  rectangle that holds them: see formats/joining/, which also says when that is ambiguous and hence a finding.
- A point is visible (2) unless it is marked occluded (1): by a flag that is on, a word in the description,
  X-AnyLabeling's ``difficult``, or the ``visibility`` part of the label pattern. A missing keypoint is unlabeled (0).
- Coordinates are pixels of the upright image (after EXIF rotation), (0, 0) its corner; points may lie outside it.
- The image is ``imagePath`` relative to the JSON file, with backslashes read as slashes; it must be in the source
  folder, or be found by name in an ``--image-root`` folder. ``imageWidth`` and ``imageHeight``, when given, must be
  its upright size. If that file is missing, ``imageData`` is used: see embedded.py.
- The encoding is UTF-8, that of the byte order mark, or a code page: see pages.py.
- A file without shapes is an image without objects. An image that no file names is not labeled yet: it is
  reported and left out. Files and folders whose name begins with a dot are ignored.

Written: a rectangle and its points per object, joined by ``group_id`` (0, 1, ...), the flag ``occluded`` on occluded
points, ``imageData`` null, one JSON next to each image. labelme cannot store iscrowd (refused), areas (width times
height when read again) or splits (merged into one folder).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from posetools.core.categories import Categories
from posetools.core.dataset import Split
from posetools.core.findings import Finding
from posetools.errors import InputError
from posetools.files.disk import Transfer, read_bytes, transfer
from posetools.files.urls import as_path, real
from posetools.files.walking import files_to_detect
from posetools.formats.entry import Format
from posetools.formats.joined import UNLABELED, CauseFinding
from posetools.formats.joining.shape_labels import Labels
from posetools.formats.labelme.declared import declared
from posetools.formats.labelme.list import LabelmeSource, Listing, root_of
from posetools.formats.labelme.model import Document
from posetools.formats.labelme.pages import settle, some_reading
from posetools.formats.labelme.read import ShardReader
from posetools.formats.labelme.write import LabelmeObject, labelme_document, labelme_text
from posetools.formats.labels import settled
from posetools.formats.options import ReadOptions
from posetools.formats.shards import ShardReading, shard_of
from posetools.formats.sources.locate import ImageFinder
from posetools.formats.target import check_holdable, put_text, slices
from posetools.progress import Progress, silent
from posetools.scale.shards import SHARD, Engine, cut, engine_for, run_shards


def detect(path: Path, *, widely: bool = False) -> bool:
    """Return whether the path is a labelme file, or a folder with one among the .json files that are checked."""
    if path.is_dir():
        return any(map(_is_labelme, files_to_detect(path, ".json", widely=widely)))
    return _is_json(path) and _is_labelme(path)


def shards(sources: Sequence[Path], categories: Categories, options: ReadOptions) -> Iterator[ShardReading]:
    """Yield the content of the labelme files in these folders (or of these files).

    Raises:
        RequestError: a source is missing or has no .json file, or an option does not apply.
        InputError: a folder cannot be read.
    """
    options = settled(categories, options)
    listing = Listing()
    finders = {root: ImageFinder(root, options.image_roots) for root in map(root_of, sources)}
    reader = ShardReader(finders, categories, Labels.of(categories, options), _portable(options))
    engine = options.engine or engine_for(options.workers)
    named = set[str]()
    for shard in _shards(reader, cut(listing.files(sources), SHARD), engine, options.progress):
        if listing.images:
            named.update(shard.left_out, (source.identity for source in shard.sources))
        yield shard
    yield shard_of([], categories, _without_file(listing, named), files=0)


def write(splits: Mapping[str, Split], folder: Path, how: Transfer) -> None:
    """Write one JSON file next to each image, all splits into one folder.

    Raises:
        InputError: labelme cannot store something (see the module docstring).
        OutputError: a file cannot be written.
    """
    check_holdable(splits, "labelme", lambda _, name: str(PurePosixPath(name).with_suffix(".json")))
    for dataset in slices(splits.values()):
        for image, rows in zip(dataset.images, dataset.rows_of_images(), strict=True):
            if image.path is not None:
                transfer(image.path, folder / image.file_name, how)
            objects = [
                LabelmeObject(dataset.categories[one.category_id], one.box.tolist(), one.keypoints.tolist())
                for one in map(dataset.__getitem__, rows)
            ]
            document = labelme_document(image.file_name, image.size, objects)
            put_text((folder / image.file_name).with_suffix(".json"), labelme_text(document))


FORMAT = Format(
    name="labelme",
    title="labelme",
    detect=detect,
    detect_widely=partial(detect, widely=True),
    signs="a .json file with the keys shapes and imagePath",
    shards=shards,
    endings=(".json",),
    declared=declared,
    write=write,
    in_shards=True,
    reads_urls=True,
    lacks=frozenset({"splits", "areas", "links", "pairs", "sigmas"}),
)


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json" and path.is_file()


def _is_labelme(path: Path) -> bool:
    try:
        document = some_reading(read_bytes(path), str(path))
    except InputError:
        return False
    # E311 is a wrong size in a file that has labelme's keys.
    return isinstance(document, Document) or document.code == "E311"


def _shards(
    reader: ShardReader, shards: Iterable[Sequence[LabelmeSource]], engine: Engine, progress: Progress
) -> Iterator[ShardReading]:
    """Yield the files' content: first those in UTF-8, then all others, once their code page is known."""
    foreign: list[LabelmeSource] = []
    for reading, others in run_shards(reader, shards, engine, progress, "reading labelme files"):
        foreign += others
        yield reading
    if not foreign:
        return
    settled = settle(foreign, reader.labels, reader.options.encoding, reader.finders)
    yield shard_of([], reader.categories, settled.findings, files=len(settled.lost))
    reader, shards = replace(reader, pages=settled.pages), cut(settled.files, SHARD)
    for reading, _ in run_shards(reader, shards, engine, progress, "reading files that are not UTF-8"):
        yield reading


def _portable(options: ReadOptions) -> ReadOptions:
    """Return the options without what cannot be sent to another process."""
    return replace(options, progress=silent, engine=None)


def _without_file(listing: Listing, named: Container[str]) -> list[Finding]:
    if not listing.images:
        return []
    # A file that could not be read does not name its image; its own name does.
    stems = listing.stems()
    alone = [path for path in listing.images if path[: path.rfind(".")] not in stems]
    if not alone:
        return []
    unique = {real(path): path for path in alone}
    message = "the image must be named by a labelme file, got none: not labeled yet, left out"
    hint = "save it in labelme without shapes if it has no objects"
    lone = (str(as_path(path)) for identity, path in unique.items() if identity not in named)
    return [CauseFinding("W322", path, "", message, hint, cause=UNLABELED) for path in lone]
