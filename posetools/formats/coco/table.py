"""One COCO file as columns: all valid entries, and a finding for each invalid one.

The checks and the reader use these arrays. A file is read once, and its entries are objects only one batch at a time;
places and messages are made only for problems. The structs that model.py derives from its models are several times
faster than the models. An entry that a struct refuses goes to the model, which decides, so only an invalid entry is
slow. A test compares structs and models on generated files.
"""

from __future__ import annotations

import codecs
import itertools
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import msgspec
import numpy as np
from pydantic import ValidationError

from posetools.core.findings import Finding
from posetools.core.geometry import Ints
from posetools.errors import InputError, Place
from posetools.files.disk import read_bytes, read_json
from posetools.formats.coco.columns import AnnotationColumns, AnnotationRows, ImageColumns, ImageRows
from posetools.formats.coco.model import (
    MAX_ID,
    CocoAnnotation,
    CocoCategory,
    CocoFile,
    CocoImage,
    finding_from,
    own_errors,
    struct_of,
)
from posetools.scale.shards import no_collection

LISTS = ("images", "annotations", "categories")

_EntryModel = type[CocoImage | CocoAnnotation | CocoCategory]
_STRUCTS: dict[_EntryModel, type[Any]] = {model: struct_of(model) for model in (CocoImage, CocoAnnotation)}
# msgspec and the models refuse values; both refuse invalid JSON, deep nesting, and integers with too many digits.
_REFUSED = (msgspec.MsgspecError, RecursionError, ValueError, OverflowError)
# How many entries are objects at once; more would not stay in the processor's caches.
_FILE_BATCH = 1024
_TEXT_CHUNK = 1 << 20
_STRIDE = 64
_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")


def has_lists(document: object) -> TypeGuard[Mapping[str, Any]]:
    """Return whether a parsed document has COCO's three lists."""
    return isinstance(document, Mapping) and all(isinstance(document.get(name), list) for name in LISTS)


class RawFile(msgspec.Struct, frozen=True, gc=False):
    """A COCO file whose entries are still text; optional keys may be UNSET."""

    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[msgspec.Raw]
    info: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    licenses: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, eq=False, slots=True)
class CocoTable:
    """One COCO file.

    Attributes:
        path: the file.
        findings: errors on invalid entries, which are not in the columns.
        refused: index of an annotation in the file -> its findings, for invalid annotations.
        readable: whether the three lists are there; without them the columns are empty.
        images: the images.
        annotations: the objects.
        categories: place in the file -> the category.
        image_ids: the ids of all images, including invalid ones.
        category_ids: the ids of all categories, including invalid ones.
        num_images: how many images the file lists, including invalid ones.
        num_annotations: how many annotations the file lists, including invalid ones.
        num_categories: how many categories the file lists, including invalid ones.
    """

    path: Path
    findings: tuple[Finding, ...]
    refused: Mapping[int, tuple[Finding, ...]]
    readable: bool
    images: ImageColumns
    annotations: AnnotationColumns
    categories: Mapping[Place, CocoCategory]
    image_ids: frozenset[int]
    category_ids: frozenset[int]
    num_images: int
    num_annotations: int
    num_categories: int

    def image_rows(self) -> Ints:
        """Return for each annotation the row of its image in ``images``, or -1: (N,)."""
        if not len(self.images):
            return np.full(len(self.annotations), -1, dtype=np.int64)
        order = np.argsort(self.images.ids, kind="stable")
        ids = self.images.ids[order]
        at = np.minimum(np.searchsorted(ids, self.annotations.image_ids), len(ids) - 1)
        return np.where(ids[at] == self.annotations.image_ids, order[at], -1)


def read_table(path: Path) -> CocoTable:
    """Return the COCO file at ``path`` as columns.

    Raises:
        InputError: the file cannot be read or is not JSON.
    """
    raw = split_text(read_bytes(path))
    if raw is not None:
        beside = {"info": raw.info, "licenses": raw.licenses}
        try:
            head = {name: parse(text) for name, text in beside.items() if isinstance(text, msgspec.Raw)}
            return _Reading(path).table(head, {name: getattr(raw, name) for name in LISTS}, raw=True)
        except RecursionError:
            # An entry that is nested more deeply than Python's json allows.
            pass
    return table_from(read_json(path), path)


def table_from(document: object, path: Path, *, reading: bool = False) -> CocoTable:
    """Return a parsed COCO document as columns.

    Args:
        document: the file, as parsed.
        path: the file, for the findings.
        reading: True when converting: findings then leave out fields that the reader computes from others.
    """
    return _Reading(path, reading=reading).of_document(document)


def clean_table(document: object, path: Path) -> CocoTable | None:
    """Return a parsed COCO document as columns if all of it is valid; None at the first invalid entry.

    All values in the result have the models' types, so no conversion is needed.
    """
    try:
        return _Reading(path, strict=True).of_document(document)
    except ValidationError:
        return None


def unreadable_table(path: Path, error: InputError) -> CocoTable:
    """Return the empty table of an unreadable file, with the finding that says why."""
    found = _Reading(path)
    hint = "export the file again"
    found.findings.append(Finding("E310", str(path), error.place, error.problem, hint))
    return found.empty()


def read_entries(path: Path, wanted: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, int, Any]]:
    """Yield some entries of a COCO file's lists, parsed one by one: list, index, entry.

    Args:
        path: the file.
        wanted: the list's name -> ascending indices; missing ones are skipped.

    Raises:
        InputError: the file cannot be read or is not JSON.
    """
    raw = split_text(read_bytes(path))
    document = read_json(path) if raw is None else {}
    for kind, positions in wanted.items():
        entries: Any = getattr(raw, kind, None) or document.get(kind)
        for at in itertools.takewhile(len(entries).__gt__, positions) if isinstance(entries, list) else ():
            yield kind, at, entries[at] if raw is None else parse(entries[at])


def split_text(content: bytes) -> RawFile | None:
    """Return the lists of a COCO file, or None for content that msgspec refuses, or that only Python's json refuses."""
    if not (content.isascii() or _is_utf8(content)) or _has_long_number(content):
        return None
    start = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
    try:
        return msgspec.json.decode(memoryview(content)[start:], type=RawFile)
    except _REFUSED:
        return None


def _is_utf8(content: bytes) -> bool:
    # In chunks, as the decoded text may take four times the memory. msgspec checks only the strings that it keeps.
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), _TEXT_CHUNK):
            decoder.decode(content[start : start + _TEXT_CHUNK], start + _TEXT_CHUNK >= len(content))
    except UnicodeDecodeError:
        return False
    return True


def _has_long_number(content: bytes) -> bool:
    """Return whether a skipped key may hold an integer with more digits than Python converts."""
    # A run of digits that long also shows in every 64th byte.
    longest = sys.get_int_max_str_digits() // _STRIDE
    return bool(longest) and b"0" * longest in content[::_STRIDE].translate(_AS_ZEROS)


def parse(raw: msgspec.Raw) -> Any:
    """Return the value of a piece of text from ``split_text``."""
    try:
        return msgspec.json.decode(raw)
    except _REFUSED:
        # Python reads a number like 1e400 as infinity.
        return json.loads(str(memoryview(raw), "utf-8"))


class _Reading:
    """Collects the content of a file: rows for valid entries, findings for the others."""

    def __init__(self, path: Path, *, reading: bool = False, strict: bool = False) -> None:
        """Begin to read.

        Args:
            path: the file.
            reading: True when converting, False when checking.
            strict: raise the first ValidationError instead of collecting findings.
        """
        self.path, self._reading, self._strict = path, reading, strict
        self.findings: list[Finding] = []
        self._refused: dict[int, tuple[Finding, ...]] = {}
        self._images, self._annotations = ImageRows(), AnnotationRows()
        self._categories: dict[Place, CocoCategory] = {}
        # The list's name -> the integer ids of its invalid entries.
        self._ids: dict[str, set[int]] = defaultdict(set)

    def of_document(self, document: Any) -> CocoTable:
        """Return a parsed document as columns."""
        if has_lists(document):
            return self.table(document, {name: document[name] for name in LISTS}, raw=False)
        self._check(document, document)
        return self.empty()

    def empty(self) -> CocoTable:
        """Return empty columns, for a file without the three lists."""
        return self._made(dict.fromkeys(LISTS, 0), readable=False)

    def table(self, head: Mapping[str, Any], lists: Mapping[str, Sequence[Any]], *, raw: bool) -> CocoTable:
        """Return the columns of three lists.

        Args:
            head: the rest of the file, as parsed.
            lists: the entries by the list's name.
            raw: whether these are still text.
        """
        self._check({**head, **{name: [] for name in LISTS}}, head)
        with no_collection():
            self._read("images", lists["images"], CocoImage, self._images.add, raw=raw)
            self._read("annotations", lists["annotations"], CocoAnnotation, self._annotations.add, raw=raw)
            self._read("categories", lists["categories"], CocoCategory, self._add_categories, raw=raw)
        return self._made({name: len(lists[name]) for name in LISTS})

    def _check(self, part: object, document: object) -> None:
        """Check what is outside the lists of a document, or report why it is no COCO file."""
        try:
            CocoFile.model_validate(part)
        except ValidationError as exc:
            if self._strict:
                raise
            errors = exc.errors(include_url=False)
            self.findings += [finding_from(one, one["loc"], _at(document, one["loc"]), self.path) for one in errors]

    def _read(
        self,
        kind: str,
        entries: Sequence[Any],
        model: _EntryModel,
        add: Callable[[Sequence[int], Sequence[Any]], None],
        *,
        raw: bool,
    ) -> None:
        """Add the valid entries of one list, one batch at a time."""
        decode = _decoder(model, raw=raw)
        for start in range(0, len(entries), _FILE_BATCH):
            batch = entries[start : start + _FILE_BATCH]
            try:
                made = list(map(decode, batch))
            except _REFUSED:
                rows: dict[int, Any] = {}
                for at, entry in enumerate(batch, start):
                    try:
                        rows[at] = decode(entry)
                    except _REFUSED:
                        self._judge(kind, at, parse(entry) if raw else entry, model, rows)
                add(list(rows), list(rows.values()))
            else:
                add(range(start, start + len(batch)), made)

    def _judge(self, kind: str, position: int, entry: object, model: _EntryModel, rows: dict[int, Any]) -> None:
        """Add an entry that a struct refused to the rows if the model accepts it; else report it."""
        try:
            rows[position] = model.model_validate(entry)
        except ValidationError as exc:
            if self._strict:
                raise
            errors = exc.errors(include_url=False)
            told = own_errors(errors) if self._reading and kind == "annotations" else [(one, 0) for one in errors]
            found = tuple(
                finding_from(one, (kind, position, *one["loc"]), entry, self.path, reading=self._reading, more=more)
                for one, more in told
            )
            self.findings += found
            if kind == "annotations":
                self._refused[position] = found
            number = entry.get("id") if isinstance(entry, Mapping) else None
            if isinstance(number, int) and 0 <= number <= MAX_ID:
                self._ids[kind].add(int(number))

    def _add_categories(self, position: Sequence[int], rows: Sequence[CocoCategory]) -> None:
        for at, category in zip(position, rows, strict=True):
            self._categories[Place.entry("categories", at, f"id {category.id}", category.name)] = category

    def _made(self, numbers: Mapping[str, int], *, readable: bool = True) -> CocoTable:
        images = self._images.columns()
        return CocoTable(
            path=self.path,
            findings=tuple(self.findings),
            refused=self._refused,
            readable=readable,
            images=images,
            annotations=self._annotations.columns(),
            categories=self._categories,
            image_ids=frozenset(images.ids.tolist()) | self._ids["images"],
            category_ids=frozenset(category.id for category in self._categories.values()) | self._ids["categories"],
            num_images=numbers["images"],
            num_annotations=numbers["annotations"],
            num_categories=numbers["categories"],
        )


def _decoder(model: _EntryModel, *, raw: bool) -> Callable[[Any], Any]:
    """Return the function that makes an object from an entry, text or parsed, or refuses it."""
    struct = _STRUCTS.get(model)
    if struct is None:
        return (lambda entry: model.model_validate(parse(entry))) if raw else model.model_validate
    if raw:
        return msgspec.json.Decoder(struct).decode

    def converted(entry: object) -> Any:
        row = msgspec.convert(entry, struct)
        if model is CocoImage:
            # JSON can hold half of a surrogate pair, which is not valid text: UnicodeEncodeError.
            row.file_name.encode()
        return row

    return converted


def _at(document: object, loc: tuple[int | str, ...]) -> object:
    """Return the entry that a location is in, or the document if it is in none."""
    entry: object = document[loc[0]][loc[1]] if isinstance(document, Mapping) and len(loc) > 1 else document
    return entry
