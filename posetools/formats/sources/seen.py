"""Describes a source in no supported format: a line for each kind of file, and what to give instead.

Also refuses files that are not annotations: images, videos, archives.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from posetools.errors import InputError, RequestError, first_names, printable, quoted, show_value
from posetools.files.disk import is_zip_name, read_bytes, read_json, read_text
from posetools.files.urls import is_url
from posetools.files.walking import files_to_detect, walk
from posetools.files.yaml_text import yaml_keys
from posetools.formats.entry import Format
from posetools.imaging.header import IMAGE_SUFFIXES as IMAGES
from posetools.plugins.registry import registered

# Names and extensions listed in a line.
_FIRST_FEW = 5
# Larger files are not parsed for a message.
_LARGEST_FILE = 64 << 20
_HEAD_BYTES = 4096
_VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".mts"})
_ARCHIVES = (".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".7z", ".rar")
_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
# Extensions of annotation files, for the message that several formats match.
_ANY = (".json", ".xml", ".csv", ".h5", ".slp", ".yaml", ".yml")
_ROOT = re.compile(rb"<([A-Za-z_][\w.-]*)[\s/>]")
_VIA_3_TABLE = b"# Exported using VGG Image Annotator"
# YOLO's detection: class and box.
_BOX_COLUMNS = 5

_YOLO_FOLDER = "give the folder that holds data.yaml, or images/ and labels/"


def check_source(path: Path) -> None:
    """Refuse a file that is not an annotation file by its name, and say what to give instead.

    Raises:
        RequestError: it is an image, a video, an archive other than zip, or a text file.
    """
    if is_url(path):
        if is_zip_name(path.name):
            raise RequestError(f"{path}: SRC must be a local zip file, got a URL", hint="download it and give the file")
        return
    if path.is_file() and (seen := _no_annotation(path)) and not _is_of_plugin(path):
        kind, hint = seen
        raise RequestError(f"{path}: SRC must be an annotation file, a folder or a zip file, got {kind}", hint=hint)


def _is_of_plugin(path: Path) -> bool:
    """Return whether a path is in the format of another package."""
    from posetools.formats import FORMATS

    others = (FORMATS.get(plugin.name) for plugin in registered("formats").by_name.values() if not plugin.own)
    return any(each.detect(path) for each in others if each)


def _no_annotation(path: Path) -> tuple[str, str] | None:
    """Return what a file is instead of annotations, and what to give; None for annotations."""
    from posetools.files.yaml_text import yaml_keys

    ending, folder = path.suffix.lower(), quoted(path.parent)
    labels = [path.with_suffix(each) for each in (".json", ".xml", ".txt")]
    beside = next((each for each in labels if each.is_file()), None)
    if ending in IMAGES and beside is not None and beside.suffix != ".txt":
        return "an image", f"give its annotation file, {quoted(beside)}, or the folder, {folder}"
    if ending in IMAGES:
        return "an image", f"give the annotation file or the folder; `posetools annotate {folder}` labels images"
    if ending in _VIDEOS:
        return "a video", "give the file with its labels; label frames as images in a folder"
    if ending in _ARCHIVES:
        return "an archive", "unpack it and give the folder"
    if ending == ".txt":
        return "a text file", _YOLO_FOLDER
    if ending in (".yaml", ".yml") and yaml_keys(path) & {"keypoints", "category"}:
        return "a skeleton", f"give the annotations as SRC and this file as --skeleton {quoted(path)}"
    return None


def what_is_seen(sources: Sequence[Path], formats: Sequence[Format]) -> Iterator[str]:
    """Yield a line for each kind of file in sources without a common format, and the formats that match some of them.

    Raises:
        InputError: a folder cannot be read.
    """
    for source in sources:
        fitting = [each.name for each in formats if each.detect(source)]
        if fitting:
            yield f"{source}: {' and '.join(fitting)}"
        else:
            yield from _of_source(source, formats)


def _of_source(source: Path, formats: Sequence[Format]) -> Iterator[str]:
    if is_url(source):
        return
    if source.is_file():
        yield f"{source.name}: {_of_file(source)}"
        return
    endings = Counter(
        Path(name).suffix.lower() for _, _, entries in walk(source) for name, is_file, _ in entries if is_file
    )
    if not endings:
        yield f"{source}: contains no files"
        return
    if not set(endings) - IMAGES:
        typed = f"`posetools annotate {quoted(source)}` labels them"
        also = f"if the labels are in another folder, give it as SRC with --image-root {quoted(source)}"
        yield f"{source}: {endings.total()} images and no labels; {typed}; {also}"
        return
    yield from _of_json(source, formats)
    for ending in (".xml", *_TABLES, ".yaml", ".yml", ".txt", ".h5", ".slp"):
        if ending in endings:
            yield from _of_ending(source, ending, endings[ending])
    for ending in (".zip", *_ARCHIVES):
        if ending in endings:
            yield from _of_archives(source, ending)
    known = {*IMAGES, ".json", ".xml", *_TABLES, ".yaml", ".yml", ".txt", ".h5", ".slp", ".zip", *_ARCHIVES}
    others = [f"{ending or 'without ending'} ({number})" for ending, number in endings.items() if ending not in known]
    if others:
        yield f"other files: {first_names(sorted(others), _FIRST_FEW)}"


def signs_of(formats: Sequence[Format], sources: Sequence[Path]) -> Iterator[str]:
    """Yield, for each of several matching formats, the file that shows it."""
    for each in formats:
        named = (path for source in sources for path in _files(source) if each.detect(path))
        file = next(named, None)
        yield f"{each.name}: {f'{file.name}, ' if file else ''}{each.signs}"


def _files(source: Path) -> Iterator[Path]:
    return iter([source]) if source.is_file() else files_to_detect(source, *_ANY, widely=True)


def _elsewhere(path: Path, source: Path, formats: Sequence[Format]) -> str:
    """Return what to give for a file of a known format in an unexpected location; else an empty text."""
    each = next((each for each in formats if each.detect(path)), None)
    if each is None:
        return ""
    inside = (folder for folder in reversed(path.parents) if folder.is_relative_to(source) and folder != source)
    given = next((folder for folder in inside if each.detect(folder)), path)
    return f"is a {each.name} file in an unexpected location: give {quoted(given)} as SRC"


def _of_json(source: Path, formats: Sequence[Format]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    details: dict[str, str] = {}
    for path in files_to_detect(source, ".json", widely=True):
        elsewhere = _elsewhere(path, source, formats)
        reason, detail = (elsewhere, "") if elsewhere else _why_not(path)
        reasons.setdefault(reason, []).append(path.relative_to(source).as_posix())
        details.setdefault(reason, detail)
    for reason, names in reasons.items():
        more = f", and {len(names) - _FIRST_FEW} more" if len(names) > _FIRST_FEW else ""
        verb = "" if len(names) > 1 else details[reason]
        yield f"{', '.join(names[:_FIRST_FEW])}{more}: {reason}{verb}"


def _why_not(path: Path) -> tuple[str, str]:
    """Return why a .json file is in no known format, and details about this file only."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            return "not checked because it is large", ""
        if not read_bytes(path).strip():
            return "empty", ""
        document = read_json(path)
    except InputError as exc:
        if isinstance(exc.__cause__, UnicodeDecodeError):
            return "is not text in UTF-8; save it as UTF-8 in a text editor", f" ({exc.place})"
        return "is not JSON", f" ({exc.place})" if exc.place else f" ({exc.problem})"
    except OSError as exc:
        return f"cannot be read: {exc.strerror or exc}", ""
    known = looks_like(document)
    return (known, "") if known else ("JSON in none of these formats", f": {_shape(document)}")


def _shape(document: object) -> str:
    if isinstance(document, Mapping):
        keys = list(document)
        return printable(
            f"an object with {', '.join(map(show_value, keys[:_FIRST_FEW]))}" if keys else "an empty object"
        )
    if isinstance(document, list):
        return f"a list of {len(document)}" + (f", the first {_shape(document[0])}" if document else "")
    return show_value(document)


def _of_ending(source: Path, ending: str, number: int) -> Iterator[str]:
    reasons = Counter[str]()
    first: dict[str, str] = {}
    for path in files_to_detect(source, ending, widely=True):
        reason = _of_file(path)
        reasons[reason] += 1
        first.setdefault(reason, path.relative_to(source).as_posix())
    for reason, times in reasons.most_common(2):
        # Only some of many files were checked.
        files = first[reason] if times == 1 else f"{number if len(reasons) == 1 else times} *{ending} files"
        yield f"{files}: {reason}"


def _of_file(path: Path) -> str:
    """Return what a file in no known format is, if known."""
    ending = path.suffix.lower()
    if ending == ".json":
        reason, detail = _why_not(path)
        return reason + detail
    if ending == ".xml":
        return _of_xml(path)
    if ending in _TABLES:
        if _head(path).startswith(_VIA_3_TABLE):
            return "looks like a VIA 3 table; save the project as a .json file instead"
        return "a table; `posetools convert SRC --from custom --mapping FILE.toml` reads it"
    if ending in (".yaml", ".yml") and "kpt_shape" in yaml_keys(path):
        return "YOLO-pose YAML; give this file as SRC"
    if ending in (".yaml", ".yml"):
        return "YAML without kpt_shape, which YOLO-pose requires"
    if ending == ".txt":
        return _of_text(path)
    if ending == ".h5":
        return "HDF5; DeepLabCut labels are named CollectedData_<scorer>.h5"
    if ending == ".slp":
        return "SLEAP labels that cannot be read"
    if is_zip_name(path.name):
        return "a zip, which `posetools convert` reads"
    return "not an annotation file of a supported format"


def _head(path: Path) -> bytes:
    """Return the first bytes of a file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def _of_xml(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as exc:
        return f"cannot be read: {exc.strerror or exc}"
    root = _ROOT.search(head)
    if root is None:
        return "is not XML" if head.strip() else "empty"
    if root[1] == b"annotation":
        return "Pascal VOC, which has boxes but no keypoints"
    return f"XML from another program, with the element {show_value(root[1].decode())}"


def _of_text(path: Path) -> str:
    """Describe a text file by its number of columns."""
    try:
        lines = [line.split() for line in read_text(path).splitlines()[:_FIRST_FEW] if line.strip()]
    except InputError:
        return "is not text"
    columns = {len(line) for line in lines}
    if not lines:
        return "empty"
    if not all(_is_number(word) for line in lines for word in line) or len(columns) > 1:
        return "text"
    (number,) = columns
    if number == _BOX_COLUMNS:
        return "numbers in 5 columns: YOLO detection (class and box), without keypoints"
    return f"numbers in {number} columns; if it is YOLO-pose, {_YOLO_FOLDER}"


def _of_archives(source: Path, ending: str) -> Iterator[str]:
    names = [path.relative_to(source).as_posix() for path in files_to_detect(source, ending, widely=True)]
    listed = first_names(names, _FIRST_FEW)
    yield f"{listed}: in the folder; " + ("give it as SRC" if ending == ".zip" else "unpack it and give that folder")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _keys(*names: str) -> Callable[[Any], bool]:
    return lambda document: isinstance(document, Mapping) and all(name in document for name in names)


def _entries(*names: str) -> Callable[[Any], bool]:
    return lambda document: isinstance(document, list) and bool(document) and _keys(*names)(document[0])


_CVAT_BACKUP = "looks like a CVAT backup; export the task as CVAT for images 1.1"

# Description of a JSON document -> how to recognize it.
_SIGNS: Sequence[tuple[str, Callable[[Any], bool]]] = (
    ("looks like Supervisely; export it as COCO keypoints", _keys("tags", "size", "objects")),
    ("looks like COCO detection results, without images", _entries("image_id", "category_id", "score")),
    (
        "looks like COCO, but images, annotations and categories must be lists",
        _keys("images", "annotations", "categories"),
    ),
    ("looks like COCO without categories", _keys("images", "annotations")),
    (_CVAT_BACKUP, _entries("version", "shapes", "tracks")),
    (_CVAT_BACKUP, _keys("version", "tags", "shapes", "tracks")),
    ("looks like a labelme file without imagePath", _keys("shapes")),
    ("looks like CreateML, which has boxes but no keypoints", _entries("image", "annotations")),
    ("looks like OpenPose output for one image, without its size", _keys("people")),
    ("looks like a posetools record; give its folder instead", _keys("posetools", "splits")),
)


def looks_like(document: object) -> str | None:
    """Return what a JSON document in an unsupported format looks like, and what to export instead."""
    return next((said for said, sign in _SIGNS if sign(document)), None)
