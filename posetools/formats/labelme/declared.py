"""What labelme files declare: rectangles' labels are categories, points' labels are keypoints.

A file is read for its labels only. Where the labels are those of a built-in skeleton, the first files decide, and a
misspelled label is one that this skeleton lacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from posetools.core.findings import Finding
from posetools.errors import InputError
from posetools.files.disk import read_bytes
from posetools.files.urls import fetched, is_url
from posetools.files.walking import files_ending
from posetools.formats.declared import DeclaredCategory, SeenObjects, of_built_in
from posetools.formats.joining.seen_shapes import add_shapes
from posetools.formats.labelme.model import AnyShape, BadShape
from posetools.formats.labelme.pages import some_reading
from posetools.formats.options import ReadOptions
from posetools.formats.sources.code_pages import is_utf8

# Files that tell whether the labels are a built-in skeleton's; at a URL no others are read.
_TELLING_FILES = 200


def declared(
    sources: Sequence[Path], options: ReadOptions, *, with_doubts: bool = False
) -> tuple[DeclaredCategory, ...]:
    """Return the categories in labelme files, in the order of first appearance over sorted files.

    Args:
        sources: files and folders.
        options: how labels are read.
        with_doubts: whether labels that may be mistakes count as names.

    Raises:
        RequestError: a label is on under 5 % of the objects, or is spelled like another one.
    """
    where = str(sources[0])
    first = SeenObjects(options, where)
    files = [_files(path) for path in sources]
    start = [path for each in files for path in islice(each, _TELLING_FILES)]
    remote = [str(path) for path in start if is_url(path)]
    with fetched(remote):
        known = [shapes for path in start if (shapes := _shapes(path, options))]
    for shapes in known:
        add_shapes(first, shapes)
    found, doubt = first.with_doubt()
    if (built_in := of_built_in(found)) or remote:
        return built_in or found
    others = [path for each in files for path in each]
    if others:
        every = SeenObjects(options, where)
        for shapes in (*known, *(shapes for path in others if (shapes := _shapes(path, options)))):
            add_shapes(every, shapes)
        found, doubt = every.with_doubt()
    if doubt and not with_doubts and any(category.keypoints for category in found):
        raise doubt
    return found


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from files_ending(path, ".json")
    elif path.suffix.lower() == ".json" and path.is_file():
        yield path


def _shapes(file: Path, options: ReadOptions) -> list[AnyShape]:
    """Return the labeled shapes of a file; none if it is no labelme file.

    In a file of unknown encoding only ASCII labels count: they are the same in all encodings.
    """
    try:
        data = read_bytes(file)
    except InputError:
        return []
    document = some_reading(data, str(file), options.encoding)
    if isinstance(document, Finding):
        return []
    known = options.encoding is not None or is_utf8(data)
    shapes = (shape for shape in document.shapes if not isinstance(shape, BadShape))
    return [shape for shape in shapes if shape.label and (known or shape.label.isascii())]
