"""CVAT for images 1.1: one XML file for all pictures, with skeletons and boxes.

Read as follows; docs/formats.md explains it to users, tests/formats/test_cvat.py has one test for each point.

- An object is a ``skeleton`` labelled with the category, and the ``box`` of the same ``group_id`` (0 is none; ids count
  per picture). CVAT's skeletons have no box of their own, and CVAT gives a box another label than a skeleton: it is
  ``<category>-box``, or the category, or what the user maps to it. A skeleton without a group belongs to the smallest
  box without a group that holds all its points, unless another one wants that box (see cvat_shapes); without such a box
  the object is a finding, unless the user has boxes made from keypoints. A box without a skeleton is an object without
  labelled keypoints.
- A skeleton's point with ``outside="1"`` is not labelled, with ``occluded="1"`` hidden, else visible. ``points``
  elements on their own (of tasks without skeletons) belong to boxes by group_id or by containment, as in labelme.
- A box that is turned becomes the upright one round it. Its rotation, attributes of elements and tags are not carried
  over, which is said once per file. A point's attribute that is called like a flag for hidden points (``occluded``) and
  is true hides it.
- Pictures are looked for in ``images/<subset>/`` and ``images/`` beside the file, then beside it. ``subset`` is the
  split if it is the word train, val or test. Width and height must be the picture's.
- A picture that is listed without shapes is one without objects. 'CVAT for video' (tracks) is refused: CVAT exports the
  same task for images.

Written: ``annotations.xml`` and ``images/<subset>/``; per object with labelled keypoints a skeleton, and its box, with
a group_id of their own in the whole file; the labels with their sublabels and drawing, as CVAT's label constructor has
them. Numbers have all their digits; CVAT itself writes two decimals. CVAT holds no iscrowd (refused) and no area of its
own (width times height again when read).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from posetools.dataset import Dataset
from posetools.dataset_folder import IMAGES
from posetools.errors import InputError, must_be
from posetools.files import Transfer, read_bytes, transfer
from posetools.findings import Finding
from posetools.formats.as_labelme import Entry, Wording, read_shapes, settle_doubles
from posetools.formats.base import Format, ReadOptions, ReadResult
from posetools.formats.coco_sources import PictureLookup, split_in
from posetools.formats.collect import FileReading, files_to_detect
from posetools.formats.collection import collect
from posetools.formats.cvat_model import CvatImage, parse_document
from posetools.formats.cvat_shapes import PictureShapes
from posetools.formats.cvat_write import ANNOTATIONS, box_label, document_text, picture_name
from posetools.formats.labelme_labels import Labels
from posetools.formats.labels import settled
from posetools.formats.many import SourceFile, list_sources, without_entry
from posetools.formats.target import check_holdable, put_text
from posetools.formats.wildcards import LabelNames
from posetools.skeleton import Skeleton

_HEAD = 4096
# Bytes; no file system has a longer name.
_LONGEST_NAME = 255
_SHORTER = "no file system holds it: give the image a shorter name, here and in the file"
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_GROUP = "select the box and the skeleton (or points) in CVAT and group them (key G)"
_WORDING = Wording(
    "CVAT",
    "group_id",
    {
        "E303": f"move the point into its box, or {_GROUP}",
        "E304": _GROUP,
        "E306": f"draw a box; {_GROUP}; or make boxes from points with --box-from keypoints",
        "E307": "give each object a group of its own: ungroup them (Shift+G) and group each box with its skeleton",
        "E311": "correct the shape in CVAT, or delete it",
    },
)


def detect(path: Path, *, widely: bool = False) -> bool:
    """Return whether the path is a CVAT file, or a folder with one among the .xml files that are looked at."""
    if path.is_dir():
        return any(map(_is_cvat, files_to_detect(path, ".xml", widely=widely)))
    return _is_xml(path) and _is_cvat(path)


def read(sources: Sequence[Path], skeleton: Skeleton, options: ReadOptions) -> ReadResult:
    """Return what the CVAT files in these folders (or these files) hold.

    Raises:
        RequestError: a source is not there or holds no CVAT file, or an option can mean nothing.
    """
    options = settled(skeleton, options)
    labels = Labels.of(skeleton, options)
    box_names = {box_label(skeleton): skeleton.category.name, **labels.names}
    labels = replace(labels, names=LabelNames(box_names, frozenset(skeleton.names)))
    files, pictures = list_sources(sources, lambda path: _is_xml(path) and _is_cvat(path), "CVAT's .xml files")
    entries: list[Entry] = []
    findings: list[Finding] = []
    for number, source in enumerate(files, start=1):
        images, wrong = _parse(source.file)
        findings += wrong
        lookup = PictureLookup(source.file, source.root, options.image_roots)
        dropped = Counter[str]()
        for image in images:
            reading = _open(source, image, lookup)
            if reading.picture is not None:
                reading = _read_image(reading, image, skeleton, labels, options, dropped)
            entries.append(Entry(reading, image.place))
        findings += _not_carried(source.file, dropped)
        options.progress("reading CVAT files", number, len(files))
    readings = settle_doubles(entries)
    findings += without_entry(pictures, readings, "a CVAT file")
    return collect(readings, skeleton, findings, files=len(files))


def write(splits: Mapping[str, Dataset], folder: Path, how: Transfer) -> None:
    """Write ``annotations.xml`` and the pictures.

    Raises:
        InputError: CVAT cannot hold something (see the module's text).
        OutputError: a file cannot be written.
    """
    check_holdable(splits, "CVAT", picture_name)
    for dataset in splits.values():
        _check_names(dataset)
    for split, dataset in splits.items():
        for image in dataset.images:
            if image.path is not None:
                transfer(image.path, folder / IMAGES / picture_name(split, image.file_name), how)
    if splits:
        put_text(folder / ANNOTATIONS, document_text(splits))


FORMAT = Format(
    name="cvat",
    title="CVAT for images",
    detect=detect,
    detect_widely=partial(detect, widely=True),
    signs="an .xml file with the element annotations, of CVAT for images 1.1",
    read=read,
    write=write,
    lacks=frozenset({"areas", "pairs", "sigmas"}),
)


def _is_xml(path: Path) -> bool:
    return path.suffix.lower() == ".xml" and path.is_file()


def _is_cvat(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"<annotations" in file.read(_HEAD)
    except OSError:
        return False


def _parse(file: Path) -> tuple[list[CvatImage], list[Finding]]:
    try:
        return parse_document(read_bytes(file), str(file))
    except InputError as exc:
        return [], [Finding("E310", str(file), exc.place, exc.problem, exc.hint)]


def _open(source: SourceFile, image: CvatImage, lookup: PictureLookup) -> FileReading:
    """Return the reading of a picture without its objects; or with the finding that says why it is left out."""
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in Path(image.name).parts):
        message = f"{must_be('name', f'at most {_LONGEST_NAME} bytes long', image.name)} ({_lost(image)})"
        return FileReading(source.file, findings=[Finding("E121", str(source.file), image.place, message, _SHORTER)])
    found = lookup.find(image.name, image.size, image.place, below=image.subset)
    if isinstance(found, Finding):
        return FileReading(source.file, findings=[replace(found, message=f"{found.message} ({_lost(image)})")])
    subset = f"{image.subset}/"
    # The name may have another ending than is written.
    in_subset = image.subset and found.name.startswith(subset) and _depth(found.name) == _depth(subset + image.name)
    return FileReading(
        source.file,
        picture=found.path,
        identity=os.path.realpath(found.path),
        name=found.name.removeprefix(subset) if in_subset else found.name,
        origin=image.subset if in_subset else found.origin,
        size=found.size,
        split=split_in(image.subset),
        findings=found.notes,
        objects=len(image.shapes),
    )


def _depth(name: str) -> int:
    return len(PurePosixPath(name).parts)


def _lost(image: CvatImage) -> str:
    return f"{len(image.shapes)} shapes left out"


def _read_image(
    reading: FileReading,
    image: CvatImage,
    skeleton: Skeleton,
    labels: Labels,
    options: ReadOptions,
    dropped: Counter[str],
) -> FileReading:
    parts = PictureShapes(str(reading.file), image, skeleton, labels)
    parts.sort()
    dropped.update(parts.dropped)
    reading = replace(reading, findings=[*reading.findings, *parts.findings], ignored=parts.ignored)
    return read_shapes(
        reading, parts.shapes, image.place, skeleton=skeleton, labels=labels, options=options, wording=_WORDING
    )


def _check_names(dataset: Dataset) -> None:
    for name in (image.file_name for image in dataset.images):
        if _NOT_XML.search(name):
            problem = must_be("file_name", "text that XML can hold, without control characters", name)
            raise InputError(name, "", problem, hint="rename the picture")


def _not_carried(file: Path, dropped: Counter[str]) -> Iterable[Finding]:
    if dropped:
        listed = ", ".join(f"{what} ({number})" for what, number in sorted(dropped.items()))
        message = f"the file must hold what COCO keypoints hold to be carried over whole, got also {listed}"
        yield Finding("W323", str(file), "", message, "boxes and keypoints are carried over; keep the source")
