"""CVAT for images 1.1: one XML file for all images, with skeletons and boxes.

Read as follows; docs/formats.md explains it to users, tests/formats/cvat/test_cvat.py has one test for each point.

- An object is a ``skeleton`` labeled with the category, and the ``box`` of the same ``group_id`` (0 is none; ids count
  per image). CVAT's skeletons have no box of their own, and CVAT gives a box another label than a skeleton: it is
  ``<category>-box``, or the category, or what the user maps to it. A skeleton without a group belongs to the one box
  around it that can only be its own (see formats/joining/); without such a box the object is a finding, unless boxes
  are made from keypoints. A box without a skeleton is an object without labeled keypoints; polygons, ellipses
  and masks are boxes as in labelme.
- A skeleton's point with ``outside="1"`` is unlabeled, with ``occluded="1"`` occluded, else visible. ``points``
  elements on their own (of tasks without skeletons) belong to boxes by group_id or by containment, as in labelme; one
  with several pairs labeled with the category is the keypoints in the user's order; one with an unknown label is
  named by its only attribute that is a keypoint's name (W324).
- A rotated box becomes its upright bounding box. Rotation, attributes of elements and tags are not carried over,
  which is reported once. A point's attributes ``occluded``, ``visible`` and ``visibility`` (and those named with
  --hidden-flag) set its visibility; a mark for occluded points that is off has no effect.
- Unambiguous values in another spelling are read and counted (W324).
- Images are searched in ``images/<subset>/`` and ``images/`` next to the file, then next to it. ``subset`` is the
  split if it is train, val or test. Width and height must be the image's; where missing, the image's are used.
- An image listed without shapes has no objects. 'CVAT for video' (tracks, document.py) is read if the frames are in
  ``images/``; a frame without a shape then counts as not labeled yet. CVAT exports any task for images too.

Written: ``annotations.xml`` and ``images/<subset>/``; per object with labeled keypoints a skeleton, and its box, with
a group_id of their own in the whole file; the labels with their sublabels and drawing, as CVAT's label constructor has
them. Numbers have all their digits; CVAT itself writes two decimals. CVAT cannot store iscrowd (refused) or areas
(width times height when read again).
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from posetools.core.categories import Categories
from posetools.core.dataset import Image, Split
from posetools.core.findings import Finding
from posetools.core.folder import IMAGES
from posetools.errors import InputError, must_be
from posetools.files.disk import Transfer, transfer, unmarked
from posetools.files.walking import files_to_detect
from posetools.formats.coco.sources import ImageLookup, split_in
from posetools.formats.cvat.declared import declared_in
from posetools.formats.cvat.document import parse_document, told_missing
from posetools.formats.cvat.model import CvatImage
from posetools.formats.cvat.shapes import ImageShapes
from posetools.formats.cvat.write import ANNOTATIONS_XML, box_label, document_text, image_name
from posetools.formats.declared import DeclaredCategory
from posetools.formats.entry import Format
from posetools.formats.joined import not_carried, repaired
from posetools.formats.joining.shape_labels import Labels
from posetools.formats.joining.shapes import EntryReading, read_shapes, settle_doubles
from posetools.formats.joining.wording import Wording
from posetools.formats.labels import settled
from posetools.formats.options import ReadOptions
from posetools.formats.reading import FileReading
from posetools.formats.shards import ShardReading, shard_of
from posetools.formats.sources.many import SourceFile, list_sources, parsed, without_entry
from posetools.formats.target import check_holdable, put_text
from posetools.formats.wildcards import LabelNames

_HEAD_BYTES = 4096
# Bytes; no file system has a longer name.
_LONGEST_NAME = 255
_SHORTER = "rename the image, here and in the file: no file system allows names this long"
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_CVAT_WORDING = Wording(
    tool="CVAT",
    join="select the box and the skeleton (or points) in CVAT and group them (key G)",
    part="give each object its own group: ungroup them (Shift+G) and group each box with its skeleton",
)


def detect(path: Path, *, widely: bool = False) -> bool:
    """Return whether the path is a CVAT file, or a folder with one among the .xml files that are checked."""
    if path.is_dir():
        return any(map(_is_cvat, files_to_detect(path, ".xml", widely=widely)))
    return _is_xml(path) and _is_cvat(path)


def shards(sources: Sequence[Path], categories: Categories, options: ReadOptions) -> Iterator[ShardReading]:
    """Yield the content of the CVAT files in these folders (or of these files).

    Raises:
        RequestError: a source is missing or has no CVAT file, or an option does not apply.
    """
    options = settled(categories, options)
    labels = Labels.of(categories, options)
    named = [(skeleton.category.name, skeleton) for skeleton in categories.skeletons]
    box_names = {**{box_label(skeleton): name for name, skeleton in named}, **labels.names}
    labels = replace(labels, names=LabelNames(box_names, frozenset(categories.names)))
    files, image_files = _files(sources)
    entries: list[tuple[EntryReading, CvatImage]] = []
    findings: list[Finding] = []
    for number, source in enumerate(files, start=1):
        images, wrong = parsed(source.file, parse_document)
        findings += wrong
        lookup = ImageLookup(source.file, source.root, options.image_roots)
        dropped, repairs = Counter[str](), Counter[str]()
        opened = [(_open(source, image, lookup), image) for image in images]
        if any(image.is_frame for image in images):
            opened, missing = _frames_there(source.file, opened)
            findings += missing
        for reading, image in opened:
            if reading.image is not None:
                parts = ImageShapes(str(source.file), image, categories, labels, dropped=dropped, repairs=repairs)
                reading = _read_image(reading, parts, options)
            entries.append((EntryReading(reading, image.place), image))
        findings += [*repaired(source.file, repairs), *not_carried(source.file, dropped)]
        options.progress("reading CVAT files", number, len(files))
    readings = settle_doubles([entry for entry, _ in entries])
    readings = _with_tasks(readings, [image.task for _, image in entries])
    findings += without_entry(image_files, readings, "a CVAT file")
    yield shard_of(readings, categories, findings, files=len(files))


def declared(sources: Sequence[Path], options: ReadOptions) -> Sequence[DeclaredCategory]:
    """Return the categories that the CVAT files declare (declared.py).

    Raises:
        RequestError: a source is missing or has no CVAT file, or a label is in doubt.
    """
    return declared_in([source.file for source in _files(sources)[0]], options)


def write(splits: Mapping[str, Split], folder: Path, how: Transfer) -> None:
    """Write ``annotations.xml`` and the images.

    Raises:
        InputError: CVAT cannot store something (see the module docstring).
        OutputError: a file cannot be written.
    """
    check_holdable(splits, "CVAT", image_name)
    for part in splits.values():
        _check_names(part.images)
    for split, part in splits.items():
        for image in part.images:
            if image.path is not None:
                transfer(image.path, folder / IMAGES / image_name(split, image.file_name), how)
    if splits:
        put_text(folder / ANNOTATIONS_XML, document_text(splits))


FORMAT = Format(
    name="cvat",
    title="CVAT for images",
    detect=detect,
    detect_widely=partial(detect, widely=True),
    signs="an .xml file with the element annotations, of CVAT for images 1.1",
    shards=shards,
    endings=(".xml",),
    declared=declared,
    write=write,
    lacks=frozenset({"areas", "pairs", "sigmas"}),
)


def _files(sources: Sequence[Path]) -> tuple[list[SourceFile], list[Path]]:
    return list_sources(sources, lambda path: _is_xml(path) and _is_cvat(path), "CVAT's .xml files")


def _is_xml(path: Path) -> bool:
    return path.suffix.lower() == ".xml" and path.is_file()


def _is_cvat(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"<annotations" in unmarked(file.read(_HEAD_BYTES))
    except (OSError, UnicodeDecodeError):
        return False


def _open(source: SourceFile, image: CvatImage, lookup: ImageLookup) -> FileReading:
    """Return the reading of an image without its objects; or with the finding that says why it is left out."""
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in Path(image.name).parts):
        message = f"{must_be('name', f'at most {_LONGEST_NAME} bytes long', image.name)} ({_lost(image)})"
        return FileReading(source.file, findings=[Finding("E121", str(source.file), image.place, message, _SHORTER)])
    found = lookup.find(image.name, image.size, image.place, below=image.subset)
    if isinstance(found, Finding):
        return FileReading(source.file, findings=[replace(found, message=f"{found.message} ({_lost(image)})")])
    subset = f"{image.subset}/"
    # The found file may have another suffix than the file says.
    in_subset = image.subset and found.name.startswith(subset) and _depth(found.name) == _depth(subset + image.name)
    return FileReading(
        source.file,
        image=found.path,
        identity=os.path.realpath(found.path),
        name=found.name.removeprefix(subset) if in_subset else found.name,
        origin=image.subset if in_subset else found.origin,
        size=found.size,
        split=split_in(image.subset),
        findings=found.notes,
        objects=len(image.shapes),
    )


def _frames_there(
    file: Path, opened: Sequence[tuple[FileReading, CvatImage]]
) -> tuple[list[tuple[FileReading, CvatImage]], list[Finding]]:
    """Return the frames of a video that have an image, and one finding on all others: the file names none of them."""
    there: list[tuple[FileReading, CvatImage]] = []
    missing: list[CvatImage] = []
    for reading, image in opened:
        if reading.image is None and any(finding.code == "E121" for finding in reading.findings):
            missing.append(image)
        else:
            there.append((reading, image))
    return there, [told_missing(missing, str(file), of=len(opened))] if missing else []


def _depth(name: str) -> int:
    return len(PurePosixPath(name).parts)


def _lost(image: CvatImage) -> str:
    return f"{len(image.shapes)} shapes left out"


def _read_image(reading: FileReading, parts: ImageShapes, options: ReadOptions) -> FileReading:
    parts.sort()
    reading = replace(reading, findings=[*reading.findings, *parts.findings], ignored=parts.ignored)
    place, categories, labels = parts.image.place, parts.categories, parts.labels
    return read_shapes(
        reading, parts.shapes, place, categories=categories, labels=labels, options=options, wording=_CVAT_WORDING
    )


def _check_names(images: Iterable[Image]) -> None:
    for name in (image.file_name for image in images):
        if _NOT_XML.search(name):
            problem = must_be("file_name", "text that XML can hold, without control characters", name)
            raise InputError(name, "", problem, hint="rename the image")


def _with_tasks(readings: Sequence[FileReading], tasks: Sequence[str]) -> list[FileReading]:
    """Return the readings, with a hint of their own where several tasks of a project share an image."""
    of_image: dict[tuple[Path, str], set[str]] = defaultdict(set)
    for reading, task in zip(readings, tasks, strict=True):
        of_image[reading.file, reading.identity].add(task)
    told = []
    for reading in readings:
        known = of_image[reading.file, reading.identity] - {""}
        if len(known) > 1 and any(finding.code == "E313" for finding in reading.findings):
            listed = ", ".join(sorted(known, key=lambda task: (len(task), task)))
            hint = (
                "export each task from CVAT by itself, and give all exports to convert: a project's export "
                f"has one image for all of the same name in a subset (tasks {listed})"
            )
            findings = [replace(one, hint=hint) if one.code == "E313" else one for one in reading.findings]
            reading = replace(reading, findings=findings)
        told.append(reading)
    return told
