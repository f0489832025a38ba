"""labelme: one JSON file per picture, made with labelme or X-AnyLabeling.

Read as follows. docs/formats.md explains each point to users; tests/formats/test_labelme.py has one test for each.

- An object is a ``rectangle`` labelled with the skeleton's category (two opposite corners in any order, or four upright
  ones); its keypoints are ``point`` shapes labelled with the keypoints' names. Their box is the rectangle, their area
  its width times height.
- Points belong to the rectangle with the same ``group_id`` (0 is a group like any other; ids count per file), or with
  the same ``instance`` in the label, when a label pattern is given. Points without group belong to the smallest
  rectangle that holds them: see labelme_group, which also says when that is ambiguous and hence a finding.
- A point is visible (2) unless it is marked hidden (1): by a flag that is on, by a word of the description, by
  X-AnyLabeling's ``difficult``, or by the ``visibility`` part of the label pattern. A keypoint that an object does not
  have is not labelled (0).
- Coordinates are pixels of the upright picture (after EXIF rotation), (0, 0) its corner; points may lie outside it.
- The picture is ``imagePath`` seen from the JSON file, with backslashes counted as slashes; it must lie in the source
  folder, or be found by name in a folder that the user allows. ``imageWidth`` and ``imageHeight``, when given, must be
  its upright size. ``imageData`` is never read.
- A file without shapes makes its picture one without objects. A picture that no file names is not labelled yet: it is
  reported and left out. Files and folders whose name begins with a dot are not looked at.

Written: a rectangle and its points per object, joined by ``group_id`` (0, 1, ...), the flag ``occluded`` on hidden
points, ``imageData`` null, one JSON beside each picture. labelme holds no iscrowd (refused), no area of its own
(width times height again when read), no splits (merged into one folder).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from posetools.dataset import Dataset
from posetools.dataset_folder import is_record
from posetools.errors import InputError, RequestError, must_be
from posetools.files import Transfer, read_bytes, transfer
from posetools.findings import Finding
from posetools.formats.base import Format, ReadOptions, ReadResult
from posetools.formats.collect import FileReading, collect, map_in_order, walk_files
from posetools.formats.labelme_group import FileShapes
from posetools.formats.labelme_labels import Labels
from posetools.formats.labelme_mark import is_untouched
from posetools.formats.labelme_model import Document, parse_document
from posetools.formats.labelme_write import Drawn, labelme_document, labelme_text
from posetools.formats.labels import check_options
from posetools.formats.locate import PictureFinder, check_size, name_below, open_picture
from posetools.formats.target import check_holdable, put_text
from posetools.pictures import is_picture
from posetools.progress import silent
from posetools.skeleton import Skeleton

# How many .json files of a folder are looked at before it is taken for something else.
_LOOKED_AT = 5


class _Source(NamedTuple):
    """One annotation file, the source folder that it was found in, and that folder's own name."""

    file: Path
    root: Path
    origin: str


def detect(path: Path) -> bool:
    """Return whether the path is a labelme file, or a folder with one among its first few .json files."""
    if path.is_dir():
        return any(_is_labelme(file) for file in islice(filter(_is_json, walk_files(path)), _LOOKED_AT))
    return _is_json(path) and _is_labelme(path)


def read(sources: Sequence[Path], skeleton: Skeleton, options: ReadOptions) -> ReadResult:
    """Return what the labelme files in these folders (or these files) hold.

    Raises:
        RequestError: a source is not there or holds no .json file, or an option can mean nothing.
    """
    check_options(skeleton, options)
    labels = Labels.of(skeleton, options)
    files: dict[str, _Source] = {}
    pictures: list[Path] = []
    for source in sources:
        found, beside = _list_source(source)
        pictures += beside
        for one in found:
            files.setdefault(os.path.realpath(one.file), one)
    finders = {root: PictureFinder(root, options.image_roots) for root in {one.root for one in files.values()}}
    work = partial(_read_file, finders=finders, skeleton=skeleton, labels=labels, options=_portable(options))
    readings = map_in_order(
        work, list(files.values()), workers=options.workers, progress=options.progress, what="reading labelme files"
    )
    return collect(readings, skeleton, _without_file(pictures, readings), files=len(readings))


def write(splits: Mapping[str, Dataset], folder: Path, how: Transfer) -> None:
    """Write one JSON file beside each picture, all splits into one folder.

    Raises:
        InputError: labelme cannot hold something (see the module's text).
        OutputError: a file cannot be written.
    """
    check_holdable(splits, "labelme", lambda _, name: str(PurePosixPath(name).with_suffix(".json")))
    for dataset in splits.values():
        for image, rows in zip(dataset.images, dataset.rows_of_images(), strict=True):
            if image.path is not None:
                transfer(image.path, folder / image.file_name, how)
            objects = [Drawn(dataset.boxes[row].tolist(), dataset.keypoints[row].tolist()) for row in rows]
            document = labelme_document(image.file_name, image.size, objects, dataset.skeleton)
            put_text((folder / image.file_name).with_suffix(".json"), labelme_text(document))


FORMAT = Format(
    name="labelme",
    title="labelme",
    detect=detect,
    signs="a .json file with the keys shapes and imagePath",
    read=read,
    write=write,
    keeps_splits=False,
)


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json" and path.is_file()


def _is_labelme(path: Path) -> bool:
    try:
        document = parse_document(read_bytes(path), str(path))
    except InputError:
        return False
    # E311 is a wrong size in what otherwise has labelme's keys.
    return isinstance(document, Document) or document.code == "E311"


def _list_source(source: Path) -> tuple[list[_Source], list[Path]]:
    """Return the annotation files of a source, and the pictures in it that may have one."""
    if source.is_dir():
        found = walk_files(source)
        origin = source.resolve().name
        files = [_Source(path, source, origin) for path in found if _is_json(path) and not is_record(path)]
        if not files:
            raise RequestError(must_be(str(source), "a folder with labelme's .json files", "none in it"))
        return files, [path for path in found if is_picture(path)]
    if not source.is_file():
        raise RequestError(must_be(str(source), "an existing folder or .json file", "nothing there"))
    return [_Source(source, source.parent, source.parent.resolve().name)], []


def _portable(options: ReadOptions) -> ReadOptions:
    """Return the options without what cannot go to another process."""
    return replace(options, progress=silent, names=dict(options.names))


def _read_file(
    source: _Source,
    *,
    finders: Mapping[Path, PictureFinder],
    skeleton: Skeleton,
    labels: Labels,
    options: ReadOptions,
) -> FileReading:
    file, root, origin = source
    try:
        data = read_bytes(file)
        document = parse_document(data, str(file))
    except InputError as exc:
        document = Finding("E310", str(file), exc.place, exc.problem, exc.hint)
    if isinstance(document, Finding):
        return FileReading(file, findings=[document])
    unseen = [_unseen(file)] if is_untouched(data) else []
    found = finders[root].find(document.picture, beside=file, place="imagePath")
    if isinstance(found, Finding):
        return FileReading(file, findings=[_with_loss(found, document)])
    identity = os.path.realpath(found)
    picture = open_picture(found)
    if isinstance(picture, Finding):
        return FileReading(file, identity=identity, findings=[_with_loss(picture, document, file)])
    if document.size is not None:
        wrong = check_size(picture, *document.size, file=file, place="imageWidth, imageHeight")
        if wrong is not None:
            return FileReading(file, identity=identity, findings=[_with_loss(wrong, document)])
    shapes = FileShapes(str(file), picture.header.size, skeleton, labels, options)
    rows = shapes.read(document.shapes)
    return FileReading(
        file,
        picture=picture.path,
        identity=identity,
        name=name_below(picture.path, (root, *options.image_roots)),
        origin=origin,
        size=picture.header.size,
        rows=rows,
        findings=[*unseen, *shapes.findings],
        ignored=shapes.ignored,
        objects=len(document.shapes),
    )


def _unseen(file: Path) -> Finding:
    message = "must be a person's labels, but holds a model's predictions, which nobody has saved since"
    return Finding(
        "W325", str(file), "", message, "look at it in labelme, and save it: its flag `checked` says it is right"
    )


def _with_loss(finding: Finding, document: Document, file: Path | None = None) -> Finding:
    """Return a finding about a whole picture that also says how many shapes are left out with it."""
    named = f"{file} names it; " if file else ""
    return replace(finding, message=f"{finding.message} ({named}{len(document.shapes)} shapes left out)")


def _without_file(pictures: Sequence[Path], readings: Sequence[FileReading]) -> list[Finding]:
    named = {reading.identity for reading in readings}
    # A file that could not be read does not say which picture it is of; its name does.
    stems = {reading.file.with_suffix("") for reading in readings}
    message = "the picture must be named by a labelme file, got none: not labelled yet, left out"
    hint = "save it in labelme without shapes if it shows no object"
    unique = {os.path.realpath(path): path for path in pictures if path.with_suffix("") not in stems}
    return [Finding("W322", str(path), "", message, hint) for real, path in unique.items() if real not in named]
