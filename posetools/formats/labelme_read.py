"""From labelme files to a Part: what a process does with a shard of them.

Most files are usual: the picture lies beside them, every shape has a group, every group is one rectangle and points of
different names. Those are read in one pass over their shapes. All others go the way of labelme_group, which knows all
conventions and has a finding for whatever it cannot read; a test holds that both ways read the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from posetools.dataset import Visibility
from posetools.errors import InputError
from posetools.files import portable_path, read_bytes
from posetools.findings import Finding
from posetools.formats.base import ReadOptions
from posetools.formats.collect import FileReading
from posetools.formats.labelme_group import FileShapes
from posetools.formats.labelme_labels import Labels
from posetools.formats.labelme_mark import is_untouched
from posetools.formats.labelme_model import Document, QuickDocument, QuickShape, parse_document, quick_document
from posetools.formats.locate import LONGEST_NAME, Located, PictureFinder, check_size, is_sane, name_below, open_picture
from posetools.formats.parts import Packing, Part, row_length
from posetools.pictures import Header
from posetools.shards import no_collection
from posetools.skeleton import Skeleton

# Where an object's keypoints begin in a Part.
_FIRST_POINT = 4
_VISIBLE, _HIDDEN = float(Visibility.VISIBLE), float(Visibility.HIDDEN)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder with labelme files.

    Attributes:
        start: its path, with a separator at the end.
        real: the same, with every link followed.
        prefix: what the names of its pictures in the Dataset begin with; None when it leads out of the source.
        root: the source folder.
        origin: that folder's own name.
    """

    start: str
    real: str
    prefix: str | None
    root: Path
    origin: str


class Source(NamedTuple):
    """One annotation file: its name, and the folder that it is in."""

    name: str
    folder: Folder

    @property
    def path(self) -> str:
        """The file's path."""
        return self.folder.start + self.name


@dataclass(frozen=True)
class ShardReader:
    """Reads a shard of labelme files; goes to other processes.

    Attributes:
        finders: source folder -> what finds pictures in it.
        skeleton: the skeleton.
        labels: how labels are read.
        options: the user's options.
        packing: what becomes of the objects.
    """

    finders: Mapping[Path, PictureFinder]
    skeleton: Skeleton
    labels: Labels
    options: ReadOptions
    packing: Packing

    def __call__(self, shard: Sequence[Source]) -> Part:
        """Return what the files hold."""
        part = Part()
        with no_collection():
            for source in shard:
                self._read(source, part)
            return part.pack(self.skeleton, self.packing)

    def _read(self, source: Source, part: Part) -> None:
        path = source.path
        try:
            data = read_bytes(path)
        except InputError as exc:
            part.add(FileReading(Path(path), findings=[_unreadable(exc, path)]), ())
            return
        quick = quick_document(data)
        if quick is None or not self._add_usual(source, quick, part):
            reading = self._read_any(source, Path(path), data)
            part.add(reading, [row.number for row in reading.rows])

    def _add_usual(self, source: Source, document: QuickDocument, part: Part) -> bool:
        """Add a file in which all is usual; return whether it is, for else nothing is added."""
        folder, picture = source.folder, document.imagePath
        if folder.prefix is None or not self._lies_beside(folder, picture):
            return False
        size = self._size(folder, document)
        count = -1 if size is None else self._usual.add_objects(document.shapes, part)
        if size is None or count < 0:
            return False
        part.files.append(source.path)
        part.pictures.append(folder.start + picture if self.options.need_pictures else "")
        part.identities.append(folder.real + picture)
        part.names.append(folder.prefix + picture)
        part.origins.append(folder.origin)
        part.sizes.append(size)
        part.splits.append(None)
        part.shapes.append(len(document.shapes))
        part.counts.append(count)
        part.read += 1
        return True

    def _lies_beside(self, folder: Folder, picture: str) -> bool:
        """Return whether the picture is certainly a file of its own in the folder."""
        if "/" in picture or "\\" in picture or ":" in picture or "\0" in picture or picture in ("", ".", ".."):
            return False
        if self._trusts_all:
            return len(picture.encode()) <= LONGEST_NAME
        try:
            return stat.S_ISREG(os.lstat(folder.start + picture).st_mode)
        except OSError:
            return False

    def _size(self, folder: Folder, document: QuickDocument) -> tuple[int, int] | None:
        """Return the picture's size when it is what the file says, if that says one; else None."""
        if self.options.trust_sizes:
            if document.imageWidth is None or document.imageHeight is None:
                return None
            return document.imageWidth, document.imageHeight
        picture = open_picture(Path(folder.start + document.imagePath))
        if isinstance(picture, Finding):
            return None
        size = picture.header.size
        return size if document.imageWidth is None or (document.imageWidth, document.imageHeight) == size else None

    @cached_property
    def _trusts_all(self) -> bool:
        return self.options.trust_sizes and not self.options.need_pictures

    @cached_property
    def _usual(self) -> UsualShapes:
        return UsualShapes.of(self.labels, self.skeleton)

    def _read_any(self, source: Source, file: Path, data: bytes) -> FileReading:
        root, origin, options = source.folder.root, source.folder.origin, self.options
        document = parse_document(data, str(file))
        if isinstance(document, Finding):
            return FileReading(file, findings=[document])
        unseen = [_unseen(file)] if is_untouched(data) else []
        found = self._find(document, file, root)
        if isinstance(found, Finding):
            return FileReading(file, findings=[_with_loss(found, document)])
        identity = str(found.parent.resolve() / found.name) if self._trusts_all else os.path.realpath(found)
        picture = self._open(found, document)
        if isinstance(picture, Finding):
            return FileReading(file, identity=identity, findings=[_with_loss(picture, document, file)])
        if document.size is not None:
            wrong = check_size(picture, *document.size, file=file, place="imageWidth, imageHeight")
            if wrong is not None:
                return FileReading(file, identity=identity, findings=[_with_loss(wrong, document)])
        shapes = FileShapes(str(file), picture.header.size, self.skeleton, self.labels, options)
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

    def _find(self, document: Document, file: Path, root: Path) -> Path | Finding:
        relative = portable_path(document.picture)
        if self._trusts_all and document.size is not None and relative is not None:
            # Nobody needs the picture: it is enough that its name stays in the source.
            path = Path(os.path.normpath(file.parent / relative))
            if relative.parts and is_sane(path) and path.is_relative_to(os.path.normpath(root)):
                return path
        return self.finders[root].find(document.picture, beside=file, place="imagePath")

    def _open(self, path: Path, document: Document) -> Located | Finding:
        if self.options.trust_sizes and document.size is not None:
            return Located(path, Header(*document.size))
        return open_picture(path)


@dataclass(frozen=True, slots=True)
class UsualShapes:
    """Reads the shapes of a file in one pass, when all of them are usual.

    Attributes:
        columns: label -> where its x, y, visibility stand in an object's numbers; -1 for the box.
        empty: the numbers of an object that nothing is known of.
        labels: how visibility is read.
    """

    columns: Mapping[str, int]
    empty: list[float]
    labels: Labels

    @classmethod
    def of(cls, labels: Labels, skeleton: Skeleton) -> UsualShapes:
        """Return the reader for a skeleton and the user's names; with a label pattern no shape is usual."""
        columns: dict[str, int] = {}
        for label in () if labels.pattern else {*labels.names, labels.category, *labels.index}:
            name = labels.names.get(label, label)
            if label in labels.ignored:
                continue
            if name == labels.category:
                columns[label] = -1
            elif name in labels.index:
                columns[label] = _FIRST_POINT + 3 * labels.index[name]
        return cls(columns, [0.0] * row_length(skeleton), labels)

    def add_objects(self, shapes: Sequence[QuickShape], part: Part) -> int:
        """Add the objects of one file to a Part and return how many; when a shape is not usual, add none: -1."""
        column_of, empty = self.columns.get, self.empty
        by_group: dict[int | None, list[float]] = {}
        objects: list[list[float]] = []
        for index, shape in enumerate(shapes, start=1):
            column, group = column_of(shape.label), shape.group_id
            if group in by_group:
                numbers = by_group[group]
            elif group is None:
                return -1
            else:
                numbers = by_group[group] = empty.copy()
            if column is None:
                return -1
            if column >= 0:
                if numbers[column + 2] or shape.shape_type != "point" or len(shape.points) != 1:
                    return -1
                ((numbers[column], numbers[column + 1]),) = shape.points
                marked = shape.flags or shape.description or shape.difficult
                visibility = self._marked(shape) if marked else _VISIBLE
                if not visibility:
                    return -1
                numbers[column + 2] = visibility
            else:
                if numbers[-1] or not _is_usual_box(shape):
                    return -1
                (x1, y1), (x2, y2) = shape.points
                numbers[:4] = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
                # One more than the shape's index, so that it is never 0; put right below.
                numbers[-1] = index
                objects.append(numbers)
        if len(objects) != len(by_group):
            return -1
        for numbers in objects:
            numbers[-1] -= 1
            part.values += numbers
        return len(objects)

    def _marked(self, shape: QuickShape) -> float:
        """Return a point's visibility; 0 when it has a mark that means nothing here, which is not usual."""
        hidden, flags = self.labels.hidden, shape.flags
        if flags and not shape.description and not shape.difficult:
            visibility = _VISIBLE
            for flag in flags:
                if flags[flag]:
                    if flag not in hidden:
                        return 0.0
                    visibility = _HIDDEN
            return visibility
        if flags and any(on and flag.casefold() not in hidden for flag, on in flags.items()):
            return 0.0
        return float(self.labels.visibility(shape, None) or 0)


def _is_usual_box(shape: QuickShape) -> bool:
    if shape.shape_type != "rectangle" or len(shape.points) != 2 or shape.difficult:
        return False
    (x1, y1), (x2, y2) = shape.points
    return x1 != x2 and y1 != y2 and not (shape.flags and any(shape.flags.values()))


def _unreadable(error: InputError, file: str) -> Finding:
    return Finding("E310", file, error.place, error.problem, error.hint)


def _unseen(file: Path) -> Finding:
    message = "must be a person's labels, but holds a model's predictions, which nobody has saved since"
    return Finding(
        "W325", str(file), "", message, "look at it in labelme, and save it: its flag `checked` says it is right"
    )


def _with_loss(finding: Finding, document: Document, file: Path | None = None) -> Finding:
    """Return a finding about a whole picture that also says how many shapes are left out with it."""
    named = f"{file} names it; " if file else ""
    return replace(finding, message=f"{finding.message} ({named}{len(document.shapes)} shapes left out)")
