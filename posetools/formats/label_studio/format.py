"""Label Studio: its JSON export (and JSON-MIN), one file for all images, everything in percent of the image.

Read as follows; docs/formats.md explains it to users, tests/formats/label_studio/ has one test for each point.

- An object is a rectangle labeled with the category; its keypoints are the key points labeled with the keypoints'
  names whose ``parentID`` is the rectangle's id, or that a relation joins to it. Points without either belong to a
  rectangle that holds them, as in labelme (see formats/joining/). JSON-MIN has no ids.
- Label Studio has no visibility. A point is occluded when a choice per region says so (``occluded``), or its meta
  information or a text per region has that word, or its label by the user's pattern; else it is visible. Other words
  and the controls ``visible`` and ``visibility`` are read by visibility_words. A missing keypoint is unlabeled.
- Percent of ``original_width`` and ``original_height`` become pixels to 1e-9; both must be the image's upright size
  (where missing, the image's is used). ``image_rotation`` must be 0.
- A rotated rectangle becomes its upright bounding box. This is reported once, as is everything else that is not
  carried over (choices and texts, relations of other regions, predictions, drafts).
- A task's only annotation is read. Canceled ones are counted as left out; of several, the one marked as ground truth
  is read, or one of those that are equal; else none (E313). A task without one is not labeled yet; an annotation
  without regions is an image without objects.
- A file may hold one task, an object with ``tasks``, or one annotation with its task inside, which Label Studio writes
  to cloud storages. Unambiguous values of another type are read and counted (W324, values.py).
- The image is the value of ``data.image``, or of the only key with an image's address. Addresses are on a server, so
  the file is searched by path and by name next to the JSON file and in ``images/`` there, then by name in the
  ``--image-root`` folders; with and without the eight digits that Label Studio puts before an upload's name.
- ``data.split`` (or ``subset``) is the split if it is train, val or test.

Written: ``tasks.json`` with images as local files (``images/...`` below the document root), the choice ``occluded``
on occluded points, and ``labeling_interface.xml`` for the project's settings. Label Studio cannot store iscrowd
(refused) or areas (width times height when read again).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from posetools.core.categories import Categories
from posetools.core.dataset import Split
from posetools.core.findings import Finding
from posetools.core.folder import IMAGES
from posetools.errors import InputError, Place, must_be
from posetools.files.disk import Transfer, read_json, transfer
from posetools.files.walking import files_to_detect
from posetools.formats.coco.sources import split_in
from posetools.formats.declared import DeclaredCategory
from posetools.formats.entry import Format
from posetools.formats.joined import UNLABELED, CauseFinding, not_carried
from posetools.formats.joining.shape_labels import Labels
from posetools.formats.joining.shapes import EntryReading, read_shapes, settle_doubles
from posetools.formats.joining.wording import Wording
from posetools.formats.label_studio.declared import declared_in
from posetools.formats.label_studio.model import StudioTask, is_export, parse_document
from posetools.formats.label_studio.shapes import shapes_of
from posetools.formats.label_studio.write import INTERFACE, TASKS, interface_text, tasks_text
from posetools.formats.labels import settled
from posetools.formats.options import ReadOptions
from posetools.formats.reading import FileReading
from posetools.formats.shards import ShardReading, shard_of
from posetools.formats.sources.locate import Location, UnsettledImage, check_size, name_below
from posetools.formats.sources.many import Opener, SourceFile, list_sources, parsed, without_entry
from posetools.formats.target import check_holdable, put_text
from posetools.imaging.header import read_header

_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")
# Folders that Label Studio gives to what is uploaded; older versions had no number of a project.
_UPLOADS = re.compile(r"/upload/(?:\d+/)?$")
_STUDIO_WORDING = Wording(
    tool="Label Studio",
    shape="region",
    group="parentID",
    join="give the point its rectangle as parent: drag it onto the rectangle in Label Studio's list of regions",
    part="give each rectangle a unique id",
)


def detect(path: Path, *, widely: bool = False) -> bool:
    """Return whether the path is a Label Studio export, or a folder with one among the .json files checked."""
    if path.is_dir():
        # In cloud storages a file may be named by its annotation's number alone.
        numbered = (one for one in files_to_detect(path, *"0123456789", widely=widely) if one.name.isdigit())
        return any(map(_is_export, chain(files_to_detect(path, ".json", widely=widely), numbered)))
    return _is_json(path) and _is_export(path)


def shards(sources: Sequence[Path], categories: Categories, options: ReadOptions) -> Iterator[ShardReading]:
    """Yield the content of the Label Studio exports in these folders (or of these files).

    Raises:
        RequestError: a source is missing or has no export, or an option does not apply.
    """
    options = settled(categories, options)
    labels = Labels.of(categories, options)
    files, images = _files(sources)
    opener = Opener(options.image_roots)
    entries: list[EntryReading] = []
    findings: list[Finding] = []
    for number, source in enumerate(files, start=1):
        tasks, wrong = parsed(source.file, parse_document)
        findings += wrong
        dropped = Counter[str]()
        for task in tasks:
            reading = _read_task(source, task, opener, categories, labels, options, dropped)
            entries.append(EntryReading(reading, task.place))
        findings += not_carried(source.file, dropped)
        options.progress("reading Label Studio files", number, len(files))
    readings = settle_doubles(entries)
    findings += without_entry(images, readings, "a task of Label Studio")
    yield shard_of(readings, categories, findings, files=len(files))


def declared(sources: Sequence[Path], options: ReadOptions) -> Sequence[DeclaredCategory]:
    """Return the categories that the Label Studio exports declare (declared.py).

    Raises:
        RequestError: a source is missing or has no export, or a label is in doubt.
    """
    return declared_in([source.file for source in _files(sources)[0]], options)


def write(splits: Mapping[str, Split], folder: Path, how: Transfer) -> None:
    """Write ``tasks.json``, ``labeling_interface.xml`` and ``images/``.

    Raises:
        InputError: Label Studio cannot store something (see the module docstring).
        OutputError: a file cannot be written.
    """
    check_holdable(splits, "Label Studio", lambda _, name: name)
    for part in splits.values():
        for image in part.images:
            if image.path is not None:
                transfer(image.path, folder / IMAGES / image.file_name, how)
    if splits:
        put_text(folder / TASKS, tasks_text(splits))
        put_text(folder / INTERFACE, interface_text(next(iter(splits.values())).categories))


FORMAT = Format(
    name="label-studio",
    title="Label Studio",
    detect=detect,
    detect_widely=partial(detect, widely=True),
    signs="a .json file with tasks: data and annotations (JSON), or annotation_id and annotator (JSON-MIN)",
    shards=shards,
    endings=(".json",),
    declared=declared,
    write=write,
    lacks=frozenset({"areas", "links", "pairs", "sigmas"}),
)


def _files(sources: Sequence[Path]) -> tuple[list[SourceFile], list[Path]]:
    return list_sources(sources, _is_wanted, "Label Studio's .json files")


def _is_json(path: Path) -> bool:
    return (path.suffix.lower() == ".json" or path.name.isdigit()) and path.is_file()


def _is_export(path: Path, *, damaged: bool = False) -> bool:
    try:
        return is_export(read_json(path))
    except InputError:
        return damaged


def _is_wanted(path: Path) -> bool:
    """Return whether a file of a folder is read; broken files are, so that they are reported."""
    return _is_json(path) and _is_export(path, damaged=True)


def _read_task(
    source: SourceFile,
    task: StudioTask,
    opener: Opener,
    categories: Categories,
    labels: Labels,
    options: ReadOptions,
    dropped: Counter[str],
) -> FileReading:
    file = source.file
    dropped.update(task.dropped)
    ignored = {what: number for what, number in task.ignored.items() if number}
    reading = replace(_open(source, task, opener, options), ignored=ignored)
    if reading.image is None:
        return reading
    if task.problem is not None:
        code, message, hint = task.problem
        message = f"{message} ({reading.objects} regions left out)" if task.regions else message
        return replace(reading, image=None, findings=[Finding(code, str(file), task.place, message, hint)])
    if task.regions is None:
        message = "the task must have an annotation, got none that is not canceled: not labeled yet, left out"
        hint = "submit it without regions if it has no objects"
        found = CauseFinding("W322", str(file), task.place, message, hint, cause=UNLABELED)
        return replace(reading, image=None, findings=[found])
    wrong = _wrong_size(reading, task)
    if wrong is not None:
        message = f"{wrong.message} ({reading.objects} regions left out)"
        return replace(reading, image=None, findings=[replace(wrong, message=message)])
    shapes = shapes_of(task.regions, reading.size, labels, dropped)
    return read_shapes(
        reading, shapes, task.place, categories=categories, labels=labels, options=options, wording=_STUDIO_WORDING
    )


def _wrong_size(reading: FileReading, task: StudioTask) -> Finding | None:
    if task.size is None or reading.image is None or task.size == reading.size:
        return None
    located = Location(reading.image, read_header(reading.image))
    place = Place.within(task.place, "original_width, original_height")
    return check_size(located, *task.size, file=reading.file, place=place)


def _open(source: SourceFile, task: StudioTask, opener: Opener, options: ReadOptions) -> FileReading:
    """Return the reading of a task's image without objects; or with the finding that says why it is left out."""
    texts = list(dict.fromkeys(_places(task.image)))
    objects = len(task.regions or ())
    place = Place.within(task.place, task.key)
    named = _names(task.image)
    reading = opener.open(source, texts or [task.image], place=place, objects=objects, what="regions", named=named)
    if reading.image is not None:
        roots = (source.file.parent / IMAGES, source.root, *options.image_roots)
        return replace(reading, name=name_below(reading.image, roots), split=split_in(task.split))
    found = reading.findings[0] if reading.findings else None
    if found is None or found.code not in ("E121", "E308") or isinstance(found, UnsettledImage):
        return reading
    rule = "the address of an existing image file"
    message = f"{must_be(task.key, rule, task.image)} ({objects} regions left out)"
    hint = (
        "--image-root DIR searches another folder by the end of the path; "
        f"searched next to the file: {' and '.join(texts[:4]) or 'nothing'}"
    )
    if not texts:
        hint = "save the images as files and name these in the tasks: images inside the JSON file are not read"
    return replace(reading, findings=[replace(found, code="E121", message=message, hint=hint)])


def _places(address: str) -> Iterator[str]:
    """Yield where the file of an address may be, relative to the JSON file."""
    if address.startswith("data:"):
        return
    path = _path_in(address)
    name = PurePosixPath(path).name
    uploaded = _UPLOADED.fullmatch(name)
    names = [name, uploaded[1]] if uploaded else [name]
    if not path.startswith("/") and "/" in path:
        yield path
        yield f"{IMAGES}/{path}"
    for each in names if name else ():
        yield f"{IMAGES}/{each}"
        yield each


def _names(address: str) -> list[str]:
    """Return names that the file of an address may have in an image root; an upload's folders are the server's."""
    if address.startswith("data:"):
        return []
    path = _path_in(address)
    folder, _, name = path.rpartition("/")
    uploaded = _UPLOADED.fullmatch(name)
    start = f"{folder}/" if folder and not _UPLOADS.search(f"/{folder}/") else ""
    return [start + each for each in ([name, uploaded[1]] if uploaded else [name])]


def _path_in(address: str) -> str:
    """Return the path in an address: of a local file below the document root, of a bucket's key, or as is."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address
    local = parse_qs(parts.query).get("d")
    if local and "local-files" in parts.path:
        return local[0].replace("\\", "/").lstrip("/")
    # A drive letter looks like a scheme.
    if len(parts.scheme) > 1:
        return unquote(parts.path)
    return address.replace("\\", "/")
