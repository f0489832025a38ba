"""What a source holds that no format fits: a line for each kind of file, and what to give instead.

Also the refusal of a file that is no annotation at all: an image, a video, an archive.
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

# Names and endings that a line lists.
_FIRST_FEW = 5
# Larger files are not parsed for a message.
_LARGEST_FILE = 64 << 20
_HEAD_BYTES = 4096
_VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".mts"})
_ARCHIVES = (".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".7z", ".rar")
_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
# Endings of annotation files of some format, for the message that several fit.
_ANY = (".json", ".xml", ".csv", ".h5", ".slp", ".yaml", ".yml")
_ROOT = re.compile(rb"<([A-Za-z_][\w.-]*)[\s/>]")
_VIA_3_TABLE = b"# Exported using VGG Image Annotator"
# YOLO's detection: class and box.
_BOX_COLUMNS = 5

_YOLO_FOLDER = "give the folder that holds data.yaml, or images/ and labels/"


def check_source(path: Path) -> None:
    """Refuse a file that is no annotation by its name, and say what to give instead.

    Raises:
        RequestError: it is an image, a video, an archive other than zip, or a text file.
    """
    if is_url(path):
        if is_zip_name(path.name):
            raise RequestError(f"{path}: SRC must be a local zip file, got a URL\n  download it, and give the file")
        return
    if path.is_file() and (problem := _no_annotation(path)):
        raise RequestError(f"{path}: SRC must be an annotation file, a folder or a zip file, got {problem}")


def _no_annotation(path: Path) -> str:
    from posetools.files.yaml_text import yaml_keys

    ending, folder = path.suffix.lower(), quoted(path.parent)
    labels = [path.with_suffix(each) for each in (".json", ".xml", ".txt")]
    beside = next((each for each in labels if each.is_file()), None)
    if ending in IMAGES and beside is not None and beside.suffix != ".txt":
        return f"an image\n  give its annotation file, {quoted(beside)}, or the folder, {folder}"
    if ending in IMAGES:
        return f"an image\n  give the annotation file or the folder; `posetools annotate {folder}` labels images"
    if ending in _VIDEOS:
        return "a video\n  give the file with its labels; frames are labeled as images, in a folder"
    if ending in _ARCHIVES:
        return "an archive\n  unpack it, and give the folder"
    if ending == ".txt":
        return f"a text file\n  {_YOLO_FOLDER}"
    if ending in (".yaml", ".yml") and yaml_keys(path) & {"keypoints", "category"}:
        return f"a skeleton\n  give the annotations, and this file as --skeleton {quoted(path)}"
    return ""


def what_is_seen(sources: Sequence[Path], formats: Sequence[Format]) -> Iterator[str]:
    """Yield a line for each kind of file in sources that no format fits, and which formats fit some of them.

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
        yield f"{source}: holds no file"
        return
    if not set(endings) - IMAGES:
        typed = f"`posetools annotate {quoted(source)}` labels them"
        also = f"if the labels are elsewhere, give them as SRC with --image-root {quoted(source)}"
        yield f"{source}: {endings.total()} images and nothing else: nothing is labeled yet; {typed}; {also}"
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
    """Yield for each of several formats that fit which file says so."""
    for each in formats:
        named = (path for source in sources for path in _files(source) if each.detect(path))
        file = next(named, None)
        yield f"{each.name}: {f'{file.name}, ' if file else ''}{each.signs}"


def _files(source: Path) -> Iterator[Path]:
    return iter([source]) if source.is_file() else files_to_detect(source, *_ANY, widely=True)


def _elsewhere(path: Path, source: Path, formats: Sequence[Format]) -> str:
    """Return what to give for a file that a format fits, though not where the format has such files; else nothing."""
    each = next((each for each in formats if each.detect(path)), None)
    if each is None:
        return ""
    inside = (folder for folder in reversed(path.parents) if folder.is_relative_to(source) and folder != source)
    given = next((folder for folder in inside if each.detect(folder)), path)
    return f"is a {each.name} file, but not where these are looked for: give {quoted(given)} as SRC"


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
    """Return why a .json file says no format, in words that may be those of many, and what is so of this one alone."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            return "not looked at, for it is large", ""
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
    return (known, "") if known else ("JSON of none of these formats", f": {_shape(document)}")


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
        # Of many files a few from all over the folder were looked at.
        files = first[reason] if times == 1 else f"{number if len(reasons) == 1 else times} *{ending} files"
        yield f"{files}: {reason}"


def _of_file(path: Path) -> str:
    """Return what a file is that no format fits, as far as that is known."""
    ending = path.suffix.lower()
    if ending == ".json":
        reason, detail = _why_not(path)
        return reason + detail
    if ending == ".xml":
        return _of_xml(path)
    if ending in _TABLES:
        if _head(path).startswith(_VIA_3_TABLE):
            return "looks like a table of VIA 3; save the project there, a .json file"
        return "a table; `posetools convert SRC --from custom --mapping FILE.toml` says what its columns are"
    if ending in (".yaml", ".yml") and "kpt_shape" in yaml_keys(path):
        return "YAML of YOLO-pose; give this file as SRC"
    if ending in (".yaml", ".yml"):
        return "YAML without kpt_shape, which YOLO-pose declares there"
    if ending == ".txt":
        return _of_text(path)
    if ending == ".h5":
        return "HDF5; DeepLabCut's labels are called CollectedData_<scorer>.h5"
    if ending == ".slp":
        return "SLEAP's labels, which cannot be read"
    if is_zip_name(path.name):
        return "a zip, which `posetools convert` reads"
    return "not an annotation file of a supported format"


def _head(path: Path) -> bytes:
    """Return the first bytes of a file; of one that cannot be read none."""
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
        return "Pascal VOC, which holds boxes and no keypoints"
    return f"XML of another program, with the element {show_value(root[1].decode())}"


def _of_text(path: Path) -> str:
    """Return what a text file is by the number of its columns, which says only what it is not."""
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
        return "numbers in 5 columns: YOLO detection, class and box, without keypoints"
    return f"numbers in {number} columns; if it is YOLO-pose, {_YOLO_FOLDER}"


def _of_archives(source: Path, ending: str) -> Iterator[str]:
    names = [path.relative_to(source).as_posix() for path in files_to_detect(source, ending, widely=True)]
    listed = first_names(names, _FIRST_FEW)
    yield f"{listed}: in the folder; " + ("give it as SRC" if ending == ".zip" else "unpack it, and give that folder")


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


_CVAT_BACKUP = "looks like a backup of CVAT; export the task there as CVAT for images 1.1"

# What a JSON document is of -> its sign.
_SIGNS: Sequence[tuple[str, Callable[[Any], bool]]] = (
    ("looks like Supervisely; export COCO keypoints there", _keys("tags", "size", "objects")),
    ("looks like results of a COCO model, without images", _entries("image_id", "category_id", "score")),
    (
        "looks like COCO, but images, annotations and categories must be lists",
        _keys("images", "annotations", "categories"),
    ),
    ("looks like COCO without categories", _keys("images", "annotations")),
    (_CVAT_BACKUP, _entries("version", "shapes", "tracks")),
    (_CVAT_BACKUP, _keys("version", "tags", "shapes", "tracks")),
    ("looks like a labelme file without imagePath", _keys("shapes")),
    ("looks like CreateML, which holds boxes and no keypoints", _entries("image", "annotations")),
    ("looks like OpenPose's output for one image, without its size", _keys("people")),
    ("looks like a record of posetools; give the folder that it is in", _keys("posetools", "splits")),
)


def looks_like(document: object) -> str | None:
    """Return what a JSON document of a format that is not read looks like, and what to export instead."""
    return next((said for said, sign in _SIGNS if sign(document)), None)
