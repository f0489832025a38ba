"""From labelme files to a ShardReading: what a process does with a shard.

Most files are usual: the image is next to them, every shape has a group, every group is one rectangle and points with
different names. Those are read in one pass over their shapes. All others go through formats/joining/, which knows all
conventions and has a finding for whatever it cannot read; a test holds that both ways read the same.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from posetools.core.categories import Categories
from posetools.core.dataset import Image, Visibility
from posetools.core.findings import Finding
from posetools.errors import InputError
from posetools.files.disk import marked_encoding, portable_path, read_bytes
from posetools.files.urls import as_path, fetched, heads, is_url, real
from posetools.formats.joined import repaired
from posetools.formats.joining.objects import FileShapes
from posetools.formats.joining.shape_labels import Labels
from posetools.formats.joining.visibility_words import UnclearVisibility
from posetools.formats.joining.wording import ShapeReport, shape_name
from posetools.formats.labelme.embedded import EmbeddedImage, embedded_image
from posetools.formats.labelme.list import LabelmeFolder, LabelmeSource
from posetools.formats.labelme.model import Document, QuickDocument, QuickShape, parse_document, quick_document
from posetools.formats.labelme.write import is_untouched
from posetools.formats.options import ReadOptions
from posetools.formats.reading import FileReading
from posetools.formats.shards import ImageSource, Object, ShardBuilder, ShardReading, split_by_folders
from posetools.formats.sources.code_pages import is_utf8
from posetools.formats.sources.locate import (
    LONGEST_NAME,
    ImageFinder,
    Location,
    Match,
    OtherImageFinding,
    PathFrom,
    check_size,
    is_sane,
    name_below,
    open_image,
)
from posetools.imaging.header import Header
from posetools.scale.shards import no_collection

# A name up to this many characters is short enough in any encoding.
_SURELY_SHORT = LONGEST_NAME // 4
_VISIBLE = int(Visibility.VISIBLE)
# A bare file name on any platform; a colon may belong to a drive.
_IS_A_NAME = re.compile(r"\.*[^.\\/:\0][^\\/:\0]*").fullmatch


@dataclass(frozen=True)
class ShardReader:
    """Reads a shard of labelme files; sent to other processes.

    Attributes:
        finders: source folder -> its image finder.
        categories: the categories, each with its skeleton.
        labels: how labels are read.
        options: the user's options.
        pages: source folder -> the code page of its files that are not UTF-8, once it is known.
    """

    finders: Mapping[Path, ImageFinder]
    categories: Categories
    labels: Labels
    options: ReadOptions
    pages: Mapping[Path, str] = field(default_factory=dict)

    def __call__(self, shard: Sequence[LabelmeSource]) -> tuple[ShardReading, list[LabelmeSource]]:
        """Return the files' content, and the files that are not UTF-8, put off until their code page is known."""
        builder, foreign = ShardBuilder(self.categories), list[LabelmeSource]()
        remote = [self.named(one) for one in shard] if any(map(is_url, {folder.start for _, folder in shard})) else []
        with no_collection(), fetched(remote), heads(self._named_images(remote)):
            for name, folder in shard:
                if not self._read(name, folder, builder):
                    foreign.append((name, folder))
            return builder.build(files=len(shard) - len(foreign)), foreign

    @staticmethod
    def named(source: LabelmeSource) -> str:
        """Return a file's name in messages."""
        name, folder = source
        return folder.shown + name

    def _named_images(self, paths: Sequence[str]) -> Iterator[str]:
        """Yield the images next to these files that will be opened, as far as the files name them."""
        for path in () if self._trusts_all else paths:
            try:
                quick = quick_document(read_bytes(path))
            except InputError:
                continue
            if quick is not None and _IS_A_NAME(quick.imagePath):
                yield path[: path.rfind("/") + 1] + quick.imagePath

    def _read(self, name: str, folder: LabelmeFolder, builder: ShardBuilder) -> bool:
        """Add a file's content; return False, and add nothing, when its encoding is unknown."""
        path = folder.start + name
        try:
            data = read_bytes(path)
        except InputError as exc:
            file = as_path(path)
            builder.add(FileReading(file, findings=[Finding("E310", str(file), exc.place, exc.problem, exc.hint)]))
            return True
        quick = quick_document(data)
        if quick is None and not is_utf8(data) and marked_encoding(data) is None:
            page = self.pages.get(folder.root)
            if page is None:
                return False
            with suppress(UnicodeDecodeError):
                # It fits, unless the file has changed since; then it is refused as not UTF-8.
                data = data.decode(page).encode()
            quick = quick_document(data)
        if quick is None or not self._add_usual(name, folder, quick, builder):
            builder.add(self._read_any(as_path(path), folder, data), keep_path=self.options.need_images)
        return True

    def _add_usual(self, file_name: str, folder: LabelmeFolder, document: QuickDocument, builder: ShardBuilder) -> bool:
        """Add a file with only usual content; return False, and add nothing, for any other."""
        prefix, named, shapes = folder.prefix, document.imagePath, document.shapes
        if prefix is None or not _IS_A_NAME(named):
            return False
        path = folder.start + named
        if self._trusts_all:
            width, height = document.imageWidth, document.imageHeight
            if len(named) > _SURELY_SHORT and len(named.encode()) > LONGEST_NAME:
                return False
        else:
            width, height = self._size(path, document) if _is_file(path) else (None, None)
        if width is None or height is None:
            return False
        try:
            objects = self._usual.objects(shapes)
        except (KeyError, ValueError):
            # An unknown label, or a shape whose type does not fit its label.
            return False
        if self.options.one_object and len(objects) > 1:
            return False
        name, needed = prefix + named, self.options.need_images
        split = split_by_folders(name, folder.origin)
        image = Image(name, *builder.shared((width, height)), as_path(path) if needed else None, split)
        source = ImageSource(folder.shown + file_name, folder.real + named, folder.origin, len(shapes))
        builder.add_image(image, source, objects)
        return True

    def _size(self, path: str, document: QuickDocument) -> tuple[int | None, int | None]:
        """Return the image's size if the file gives the same or none; else None twice."""
        said = document.imageWidth, document.imageHeight
        if self.options.trust_sizes:
            return said
        image = open_image(as_path(path))
        if isinstance(image, Finding):
            return None, None
        size = image.header.size
        return size if said in (size, (None, None)) else (None, None)

    @cached_property
    def _trusts_all(self) -> bool:
        return self.options.trust_sizes and not self.options.need_images

    @cached_property
    def _usual(self) -> UsualShapes:
        return UsualShapes.of(self.labels, self.categories)

    def _read_any(self, file: Path, folder: LabelmeFolder, data: bytes) -> FileReading:
        root, origin, options = folder.root, folder.origin, self.options
        document = parse_document(data, str(file))
        if isinstance(document, Finding):
            return FileReading(file, findings=[document])
        unseen: list[Finding] = [_unseen(file)] if is_untouched(data) else []
        unseen += repaired(file, document.repairs)
        shown = self._shown(document, file, root)
        if isinstance(shown, FileReading):
            return shown
        shapes = FileShapes(shown.header.size, self.categories, self.labels, options, ShapeReport(str(file)))
        rows = shapes.read(document.shapes)
        return FileReading(
            file,
            image=shown.path,
            identity=shown.identity,
            name=name_below(shown.beside, (root, *options.image_roots)),
            origin=origin,
            size=shown.header.size,
            rows=rows,
            findings=[*unseen, *shown.notes, *shapes.report.findings],
            ignored=shapes.ignored,
            objects=len(document.shapes),
        )

    def _shown(self, document: Document, file: Path, root: Path) -> EmbeddedImage | FileReading:
        """Return the image of a file, or the reading that says why there is none."""
        match = self._find(document, file, root)
        if isinstance(match, Finding):
            shown = embedded_image(document, match, file, root, self.options)
            if isinstance(shown, Finding):
                lost = shown if isinstance(shown, OtherImageFinding) else _with_loss(shown, document)
                return FileReading(file, findings=[lost])
        else:
            found = match.path
            identity = str(found.parent.resolve() / found.name) if self._trusts_all else real(found)
            image = self._open(found, document)
            if isinstance(image, Finding):
                return FileReading(file, identity=identity, findings=[_with_loss(image, document, file)])
            shown = EmbeddedImage(image.path, image.header, identity, image.path, match.notes)
        if document.size is not None:
            image = Location(shown.beside, shown.header)
            wrong = check_size(image, *document.size, file=file, place="imageWidth, imageHeight")
            if wrong is not None:
                return FileReading(file, identity=shown.identity, findings=[_with_loss(wrong, document)])
        return shown

    def _find(self, document: Document, file: Path, root: Path) -> Match | Finding:
        relative = portable_path(document.image_path)
        if self._trusts_all and document.size is not None and relative is not None:
            # The image is not opened: it is enough that its path stays in the source.
            path, top = _normal(file.parent / relative), _normal(root)
            if relative.parts and is_sane(path) and path.is_relative_to(top):
                return Match(path, file.parent)
        return self.finders[root].find([PathFrom(document.image_path, file.parent)], file=file, place="imagePath")

    def _open(self, path: Path, document: Document) -> Location | Finding:
        if self.options.trust_sizes and document.size is not None:
            return Location(path, Header(*document.size))
        return open_image(path)


@dataclass(frozen=True, slots=True)
class UsualShapes:
    """Reads the shapes of a file in one pass, when all of them are usual.

    Attributes:
        columns: label -> the index of its x, y, visibility in an object's numbers; for a box, minus its category's id.
        others: category id -> the indices of the visibilities that its objects lack.
        empty: the numbers of an object without labeled keypoints.
        labels: how visibility is read.
    """

    columns: Mapping[str, int]
    others: Mapping[int, Sequence[int]]
    empty: list[float]
    labels: Labels

    @classmethod
    def of(cls, labels: Labels, categories: Categories) -> UsualShapes:
        """Return the reader for some categories and the user's names; with a label pattern no shape is usual."""
        columns: dict[str, int] = {}
        for label in () if labels.pattern else {*labels.names, *categories.ids, *labels.index}:
            name = labels.names.get(label, label)
            if label in labels.ignored or labels.loss(label):
                continue
            if name in categories.ids:
                columns[label] = -categories.ids[name]
            elif name in labels.index:
                columns[label] = 3 * labels.index[name]
        every = range(categories.num_keypoints)
        own = {number: {*columns.tolist()} for number, columns in categories.columns.items()}
        others = {number: [3 * at + 2 for at in every if at not in one] for number, one in own.items()}
        return cls(columns, others, [0] * (3 * len(every)), labels)

    def objects(self, shapes: Sequence[QuickShape]) -> list[Object]:
        """Return the objects of one file, in the order of their rectangles.

        Raises:
            KeyError: a label is unknown.
            ValueError: a shape is not usual.
        """
        columns, empty = self.columns, self.empty
        by_group: dict[int | None, list[float]] = {}
        objects: dict[int | None, Object] = {}
        # The shapes of a group usually follow each other.
        numbers, last = empty, object()
        for index, shape in enumerate(shapes):
            column, group = columns[shape.label], shape.group_id
            if group != last:
                last = group
                numbers = by_group.get(group) or by_group.setdefault(group, empty.copy())
            if column >= 0:
                if shape.shape_type != "point" or numbers[column + 2]:
                    raise ValueError
                ((numbers[column], numbers[column + 1]),) = shape.points
                marked = shape.flags or shape.description or shape.difficult or shape.attributes
                numbers[column + 2] = self._marked(shape) if marked else _VISIBLE
            else:
                (x1, y1), (x2, y2) = shape.points
                if shape.shape_type != "rectangle" or x1 == x2 or y1 == y2 or group in objects:
                    raise ValueError
                if shape.difficult or (shape.flags and any(shape.flags.values())):
                    raise ValueError
                box = x1 if x1 < x2 else x2, y1 if y1 < y2 else y2, x2 if x1 < x2 else x1, y2 if y1 < y2 else y1
                objects[group] = box, numbers, shape_name(index), -column
        if len(objects) != len(by_group) or None in by_group:
            raise ValueError
        if any(numbers[at] for _, numbers, _, category in objects.values() for at in self.others[category]):
            raise ValueError
        return list(objects.values())

    def _marked(self, shape: QuickShape) -> int:
        """Return the visibility of a point with flags, a description or the like.

        Raises:
            ValueError: a flag that is on does not mean occluded, or the visibility is unclear.
        """
        if any(on and flag not in self.labels.hidden for flag, on in (shape.flags or {}).items()):
            raise ValueError
        said = self.labels.visibility_of(shape)
        if isinstance(said, UnclearVisibility) or not said:
            raise ValueError
        return int(said)


def _is_file(path: str) -> bool:
    """Return whether the path is certainly a file and not a link to one."""
    if is_url(path):
        return as_path(path).is_file()
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _normal(path: Path) -> Path:
    return path.resolve() if is_url(path) else as_path(os.path.normpath(path))


def _unseen(file: Path) -> Finding:
    message = "must be labels that a person saved, got a model's predictions, not saved since"
    return Finding(
        "W325", str(file), "", message, "review it in labelme and save it; the flag `checked` marks it as right"
    )


def _with_loss(finding: Finding, document: Document, file: Path | None = None) -> Finding:
    """Return a finding about a whole image that also says how many shapes are left out with it."""
    named = f"{file} names it; " if file else ""
    return replace(finding, message=f"{finding.message} ({named}{len(document.shapes)} shapes left out)")
