"""Determine the skeleton of a folder or file if the user does not name one.

Only the named folder and its parent are searched, in this order: a ``skeleton.yaml`` (written by the user or by
``posetools prelabel`` and ``review``), the data set that it is or is in, and the built-in skeleton that matches its
labelme labels. If nothing is labeled yet, the default is used, and the output says so. Labels of no built-in skeleton
are never read as the default's: the error asks for ``--skeleton``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from posetools.core.findings import Finding
from posetools.core.folder import CONVERSION, is_data_set, is_record, skeleton_of
from posetools.core.skeleton import (
    BUILT_IN,
    DEFAULT,
    Skeleton,
    dump_skeleton,
    load_skeleton,
    new_command,
    new_file,
    read_skeleton,
)
from posetools.errors import InputError, RequestError, first_names, show_value
from posetools.files.disk import read_bytes, write_text
from posetools.files.urls import is_url
from posetools.files.walking import files_ending
from posetools.formats.entry import Format
from posetools.formats.labelme.model import BadShape
from posetools.formats.labelme.pages import some_reading
from posetools.formats.options import ReadOptions
from posetools.formats.sources.code_pages import is_utf8

SKELETON_FILE = "skeleton.yaml"
# Labelme files that are read for their labels, and labels that a message lists.
_FILES_READ, _LISTED_LABELS = 200, 10


@dataclass(frozen=True, slots=True)
class OwnSkeleton:
    """A skeleton, and why it was chosen.

    Attributes:
        skeleton: the skeleton.
        option: the equivalent value of ``--skeleton``: a built-in name or a path; a folder for a data set's.
        source: where it comes from, in words.
    """

    skeleton: Skeleton
    option: str
    source: str


def own_skeleton(
    paths: Sequence[Path],
    explicit: str | Path | None = None,
    *,
    by_labels: bool = True,
    names: Mapping[str, str] | None = None,
    ignore: Collection[str] = (),
    encoding: str | None = None,
) -> OwnSkeleton:
    """Return the skeleton of some sources of one format.

    Args:
        paths: files or folders.
        explicit: the user's choice: a built-in name or a file.
        by_labels: whether labelme labels may determine it.
        names: label -> its name in the skeleton (``--map``).
        ignore: labels to ignore (``--ignore``).
        encoding: of labelme files that are not UTF-8 (``--encoding``).

    Raises:
        RequestError: the labels are of no built-in skeleton and nothing else determines it.
        InputError: a skeleton file cannot be read or breaks a rule.
    """
    if explicit is not None:
        return OwnSkeleton(load_skeleton(explicit), str(explicit), "set by you")
    local = [path for path in paths if not is_url(path)]
    for path in local:
        if (recorded := _recorded(path if path.is_dir() else path.parent)) is not None:
            return recorded
    shapes = _shapes_in(local if by_labels else (), names or {}, ignore, encoding)
    labels = {label for _, label in shapes}
    for path in local:
        around = path.resolve().parent if path.name in ("", "..") else path.parent
        recorded = _recorded(around) if path.is_dir() else None
        if recorded is not None and fits(labels, recorded.skeleton):
            return recorded
    if not labels:
        return OwnSkeleton(load_skeleton(DEFAULT), DEFAULT, "the default, as there are no labels yet")
    for name in BUILT_IN:
        skeleton = load_skeleton(name)
        if fits(labels, skeleton):
            return OwnSkeleton(skeleton, name, f"auto-detected from the labels in {paths[0]}")
    raise _ask(paths[0], shapes)


def source_skeleton(
    source: Format, paths: Sequence[Path], explicit: str | Path | None, options: ReadOptions
) -> OwnSkeleton:
    """Return ``own_skeleton`` for files to convert, read with ``options``.

    Raises:
        RequestError, InputError: as ``own_skeleton``.
    """
    # With a label pattern, labels are not names themselves.
    by_labels = source.name == "labelme" and options.label_pattern is None
    return own_skeleton(
        paths, explicit, by_labels=by_labels, names=options.names, ignore=options.ignore, encoding=options.encoding
    )


def keep_skeleton(folder: Path, skeleton: Skeleton) -> Path | None:
    """Write a skeleton into a folder of images for the next commands, unless it is the default.

    Args:
        folder: the folder with the images and their labelme files, or its parent.
        skeleton: of the models whose predictions these files contain.

    Returns:
        The written file; None if none was needed.

    Raises:
        RequestError: the folder already has another skeleton.
        InputError: the existing file is not a skeleton.
        OutputError: the file cannot be written.
    """
    file = folder / SKELETON_FILE
    if file.exists():
        if set(read_skeleton(file).names) != set(skeleton.names):
            raise RequestError(
                f"{file}: keypoints must be those of the models, {show_value(', '.join(skeleton.names))}",
                hint="choose models of this skeleton, or move the file away",
            )
        return None
    if skeleton.names == load_skeleton(DEFAULT).names:
        return None
    write_text(file, dump_skeleton(skeleton))
    return file


def fits(labels: Collection[str], skeleton: Skeleton) -> bool:
    """Return whether at least half of the labels are names of a skeleton; the rest may be typos or other objects."""
    known = {skeleton.category.name, *skeleton.names}
    return 2 * len(known & set(labels)) >= len(set(labels))


def _recorded(folder: Path) -> OwnSkeleton | None:
    file = folder / SKELETON_FILE
    if file.is_file():
        return OwnSkeleton(read_skeleton(file), str(file), f"from {file}")
    record = folder / CONVERSION
    if (record.is_file() and is_record(record)) or is_data_set(folder):
        return OwnSkeleton(skeleton_of(folder), str(folder), f"from the data set {folder}")
    return None


def _shapes_in(
    paths: Sequence[Path], names: Mapping[str, str], ignore: Collection[str], encoding: str | None
) -> list[tuple[str, str]]:
    """Return (type, label) of the shapes in the first readable labelme files of some folders.

    For a file of unknown encoding only ASCII labels count: they are the same in all encodings.
    """
    found = []
    for file in islice(_json_files(paths), _FILES_READ):
        try:
            data = read_bytes(file)
        except InputError:
            continue
        document = some_reading(data, str(file), encoding)
        for shape in () if isinstance(document, Finding) else document.shapes:
            label = shape.label
            if label and label not in ignore and (encoding or label.isascii() or is_utf8(data)):
                found.append(("" if isinstance(shape, BadShape) else shape.shape_type, names.get(label, label)))
    return found


def _json_files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from files_ending(path, ".json")
        elif path.suffix.lower() == ".json" and path.is_file():
            yield path


def _ask(path: Path, shapes: Sequence[tuple[str, str]]) -> RequestError:
    listed = first_names(sorted({label for _, label in shapes}), _LISTED_LABELS)
    points = dict.fromkeys(label for kind, label in shapes if kind == "point")
    boxes = Counter(label for kind, label in shapes if kind == "rectangle").most_common(1)
    category = boxes[0][0] if boxes else ""
    return RequestError(
        f"{path}: labels must be names of a built-in skeleton ({', '.join(BUILT_IN)}) without --skeleton, "
        f"got {show_value(listed)}",
        hint=(new_command(points, category), f"then add: --skeleton {new_file(category)}"),
    )
