"""The entries of a COCO file, decoded a batch at a time and put into columns.

Pydantic's models (coco_model.py) say what an entry must be. The structs here say the same to msgspec, which reads JSON
text several times as fast; an entry that it refuses goes to the model, whose word counts. So an entry with a mistake
costs its own time only, and nothing is judged by the structs alone that the models would judge otherwise: a test
compares the two on generated files.
"""

from __future__ import annotations

import codecs
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import msgspec
from msgspec import Meta
from pydantic import BaseModel, ValidationError

from posetools.core.findings import Finding
from posetools.core.geometry import MAX_COORDINATE
from posetools.formats.coco.errors import finding_from, own_errors
from posetools.formats.coco.model import MAX_ID, MIN_AREA

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_Id = Annotated[int, Meta(ge=0, le=MAX_ID)]
_Pixels = Annotated[int, Meta(ge=1, le=MAX_COORDINATE)]
_Coordinate = Annotated[float, Meta(ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
_Side = Annotated[float, Meta(gt=0, le=MAX_COORDINATE)]


class ImageEntry(msgspec.Struct, frozen=True, gc=False):
    """CocoImage, as msgspec reads it."""

    id: _Id
    file_name: Annotated[str, Meta(min_length=1)]
    width: _Pixels
    height: _Pixels


class AnnotationEntry(msgspec.Struct, frozen=True, gc=False):
    """CocoAnnotation, as msgspec reads it."""

    id: _Id
    image_id: _Id
    category_id: _Id
    bbox: tuple[_Coordinate, _Coordinate, _Side, _Side]
    area: Annotated[float, Meta(gt=MIN_AREA, le=MAX_COORDINATE**2)]
    iscrowd: Annotated[int, Meta(ge=0, le=1)]
    num_keypoints: _Id
    keypoints: list[_Coordinate]


class RawFile(msgspec.Struct, frozen=True, gc=False):
    """A COCO file whose entries are still text.

    Attributes:
        images: the text of each picture.
        annotations: likewise of each annotation.
        categories: likewise of each category.
        info: likewise, where it is there.
        licenses: likewise.
    """

    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[msgspec.Raw]
    info: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    licenses: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


# What msgspec raises where it refuses: values, text that is no JSON, nesting, integers of too many digits.
REFUSED = (msgspec.MsgspecError, RecursionError, ValueError, OverflowError)
# Entries that are objects at once; more do not stay in the processor's caches.
_BATCH = 1024
_CHUNK = 1 << 20
_STRIDE = 64
_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")

Row = TypeVar("Row")
Row_contra = TypeVar("Row_contra", contravariant=True)


class Rows(Protocol[Row_contra]):
    """Collects the rows of one list."""

    def add(self, position: Sequence[int], rows: Sequence[Row_contra], /) -> None:
        """Add rows, with their indices in the file's list."""


@dataclass(slots=True)
class Refused:
    """What did not keep to the models.

    Attributes:
        path: the file.
        findings: what was wrong.
        ids: the list's name -> the ids of its entries with findings, where they are integers.
        annotations: index of an annotation -> what was wrong with it.
        reading: whether the file is read to be converted, rather than checked.
    """

    path: Path
    findings: list[Finding] = field(default_factory=list)
    ids: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    annotations: dict[int, tuple[Finding, ...]] = field(default_factory=dict)
    reading: bool = False

    def add_of_file(self, document: object, error: ValidationError) -> None:
        """Add what pydantic said of a file as a whole."""
        self.findings += [finding_from(one, one["loc"], _at(document, one["loc"]), self.path) for one in _errors(error)]

    def add(self, kind: str, position: int, entry: object, error: ValidationError) -> None:
        """Add what pydantic said of one entry."""
        errors = _errors(error)
        told = own_errors(errors) if self.reading and kind == "annotations" else [(one, 0) for one in errors]
        found = tuple(
            finding_from(one, (kind, position, *one["loc"]), entry, self.path, reading=self.reading, more=more)
            for one, more in told
        )
        self.findings += found
        if kind == "annotations":
            self.annotations[position] = found
        number = entry.get("id") if isinstance(entry, Mapping) else None
        if isinstance(number, int) and 0 <= number <= MAX_ID:
            self.ids[kind].add(int(number))


def _errors(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False)


def _at(document: object, loc: tuple[int | str, ...]) -> object:
    """Return the entry that a place is in, or the document when it is in none."""
    entry: object = document[loc[0]][loc[1]] if isinstance(document, Mapping) and len(loc) > 1 else document
    return entry


def split_text(content: bytes) -> RawFile | None:
    """Return the lists of a COCO file, or None for what msgspec refuses, or reads though Python's json would not."""
    if not (content.isascii() or _is_utf8(content)) or _has_long_number(content):
        return None
    start = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
    try:
        return msgspec.json.decode(memoryview(content)[start:], type=RawFile)
    except REFUSED:
        return None


def _is_utf8(content: bytes) -> bool:
    # In pieces, for as text it may take four times the memory. msgspec looks only into the strings that it keeps.
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), _CHUNK):
            decoder.decode(content[start : start + _CHUNK], start + _CHUNK >= len(content))
    except UnicodeDecodeError:
        return False
    return True


def _has_long_number(content: bytes) -> bool:
    """Return whether there may be an integer of more digits than Python makes an int of, in a key that is skipped."""
    # So long a run of digits shows in every 64th byte too.
    longest = sys.get_int_max_str_digits() // _STRIDE
    return bool(longest) and b"0" * longest in content[::_STRIDE].translate(_AS_ZEROS)


def parse(raw: msgspec.Raw) -> Any:
    """Return what a piece of text that ``split_text`` gave holds."""
    try:
        return msgspec.json.decode(raw)
    except REFUSED:
        # A number like 1e400 is infinite for Python.
        return json.loads(str(memoryview(raw), "utf-8"))


def read_raw(
    kind: str, entries: Sequence[msgspec.Raw], of: tuple[type[Row], type[BaseModel]], rows: Rows[Any], refused: Refused
) -> None:
    """Decode the entries of one list into ``rows``; what does not keep to the model goes to ``refused``.

    Args:
        kind: the list's name.
        entries: their text.
        of: the struct and the model that both say what they must be.
        rows: collects those that are.
        refused: collects what is wrong with the others.
    """
    struct, model = of
    decode = msgspec.json.Decoder(struct).decode

    def judged(position: int, raw: msgspec.Raw) -> object | None:
        try:
            return decode(raw)
        except REFUSED:
            return _judged(kind, position, parse(raw), model, refused)

    for start in range(0, len(entries), _BATCH):
        batch = entries[start : start + _BATCH]
        try:
            rows.add(range(start, start + len(batch)), list(map(decode, batch)))
        except REFUSED:
            _add_good(start, batch, judged, rows)


def read_parsed(
    kind: str, entries: Sequence[object], model: type[BaseModel], rows: Rows[Any], refused: Refused
) -> None:
    """Put the entries of one list, as parsed, into ``rows``; what does not keep to the model goes to ``refused``."""

    def judged(position: int, entry: object) -> object | None:
        return _judged(kind, position, entry, model, refused)

    for start in range(0, len(entries), _BATCH):
        _add_good(start, entries[start : start + _BATCH], judged, rows)


def read_strict(entries: Sequence[object], model: type[BaseModel], rows: Rows[Any]) -> None:
    """Put the entries of one list, as parsed, into ``rows``.

    Raises:
        ValidationError: an entry does not keep to the model; some may be in ``rows``.
    """
    for start in range(0, len(entries), _BATCH):
        batch = entries[start : start + _BATCH]
        rows.add(range(start, start + len(batch)), list(map(model.model_validate, batch)))


def _judged(kind: str, position: int, entry: object, model: type[BaseModel], refused: Refused) -> object | None:
    try:
        return model.model_validate(entry)
    except ValidationError as exc:
        refused.add(kind, position, entry, exc)
        return None


def _add_good(start: int, batch: Sequence[Any], judged: Callable[[int, Any], object | None], rows: Rows[Any]) -> None:
    made = [judged(position, entry) for position, entry in enumerate(batch, start)]
    rows.add([at for at, row in enumerate(made, start) if row is not None], [row for row in made if row is not None])
