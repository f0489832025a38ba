"""Fast reading of COCO files gives the same result as pydantic, on thousands of generated files.

POSETOOLS_CASES sets how many; the number of a failing case reproduces it.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from posetools.errors import InputError
from posetools.files.disk import read_json, read_text
from posetools.formats.coco.columns import AnnotationColumns, ImageColumns
from posetools.formats.coco.model import CocoFile, finding_from
from posetools.formats.coco.table import CocoTable, read_table, split_text, table_from

CASES = int(os.environ.get("POSETOOLS_CASES", "1500"))
AT_ONCE = 250
LISTS = ("images", "annotations", "categories")
Plain = dict[str, Any]

LONG = "1" * 5000
# Values as JSON text, valid and broken.
_VALUES = r"""
0 -0 -0.0 1 -1 2 3 7 0.5 -0.5 1.0 1e0 1E2 1.5e+2 1e-7 2147483647 2147483648 9007199254740993 9223372036854775807
9223372036854775808 18446744073709551615 18446744073709551616 -9223372036854775809 1000000 1000000.0 1000001
1000000.0000000001 -1000000 -1000000.5 1e6 1e12 1000000000000.0001 1.0000000000000002 1.0000000000000001 4.9e-324
2.2250738585072011e-308 1e-400 1e308 1e309 1e400 -1e400 0.1 0.30000000000000004 123456789012345678901234567890.5
0.1000000000000000055511151231257827021181583404541015625 5e-325 640.123456789012345678
true false null NaN Infinity -Infinity nan [] {} [1] [[1]] [1,2,3,4] [1,2,3] [1,2,3,4,5] [0,0,0,0] [1,2,-3,4] [[1,2]]
"" "a" "1" "\ud800" "\udc00x" "\ud83d\ude00" "\u0000" "é" "日本" "\u00e9" "a\/b" {"a":[1,{"b":null}]} {"a":1,"a":2}
[1,2,"3",4] [true,2,3,4] [1,null,3,4] [1,2,3,0] [1,2,3,1e-400] [1,2,NaN,4] [[1,2],[2,3]] [[0,1]] ["a","b"] [null]
01 1. .5 +1 1e - "a "\x" "\u12G4" [1,] {"a":1,} {1:2} tru 0x1 'a' // undefined
"""
FRAGMENTS = (
    *_VALUES.split(),
    '"a\tb"',
    *("1" * 400, f"[{'1' * 400},2,3,4]", f"-{'1' * 330}"),
    *(LONG, f"[{LONG}]", f"-{LONG}", f"0.{LONG}", f"{LONG}.5"),
    *("[" * 150 + "]" * 150, "[" * 5000 + "]" * 5000, '{"a":' * 400 + "1" + "}" * 400),
)
EXTRA_KEYS = ("x", "segmentation", "model_config", "__class__", "é", "", "id ", "\\ud800", "a\\nb")


def whole() -> dict[str, Any]:
    """Return a small valid file."""
    annotation = {
        "image_id": 1,
        "category_id": 1,
        "bbox": [1.5, 2, 30, 40.25],
        "area": 1207.5,
        "iscrowd": 0,
        "num_keypoints": 2,
        "keypoints": [3, 4.5, 2, 5, 6, 1, 0, 0, 0],
    }
    return {
        "info": {"year": 2017},
        "licenses": [{"id": 1}],
        "images": [{"id": i, "file_name": f"sub/{i}é.jpg", "width": 64, "height": 48} for i in (1, 2, 3)],
        "annotations": [{"id": i, **annotation, "segmentation": [[1, 2, 3.5]]} for i in (1, 2, 3, 4)],
        "categories": [
            {"id": 1, "name": "car", "supercategory": "", "keypoints": ["a", "b", "c"], "skeleton": [[1, 2], [2, 3]]},
            {"id": 2, "name": "bus"},
        ],
    }


class Maker:
    """Generates one file from a number: a valid one with changes, first to values, then to the text."""

    def __init__(self, number: int) -> None:
        self.random = random.Random(number)
        self.fragments: list[str] = []
        self.document = whole()

    def make(self) -> bytes:
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 3))):
            self.random.choice((self.value, self.value, self.item, self.extra, self.top, self.drop, self.entry))()
        text = json.dumps(self.document, ensure_ascii=self.random.random() < 0.5)
        for index, fragment in enumerate(self.fragments):
            text = text.replace(f'"@{index}@"', fragment)
        content = text.encode("utf-8", "surrogatepass")
        if self.random.random() < 0.4:
            change = self.random.choice((cut, take_out, put_in, mark, twice, spaced, after, bad_byte, other_encoding))
            content = change(content, self.random)
        return content

    def fragment(self) -> str:
        self.fragments.append(self.random.choice(FRAGMENTS))
        return f"@{len(self.fragments) - 1}@"

    def some(self) -> dict[str, Any]:
        entries = [entry for entry in self.document.get(self.random.choice(LISTS)) or () if isinstance(entry, dict)]
        return self.random.choice(entries) if isinstance(entries, list) and entries else {}

    def value(self) -> None:
        entry = self.some()
        if entry:
            entry[self.random.choice(sorted(entry))] = self.fragment()

    def item(self) -> None:
        entry = self.some()
        lists = [value for value in entry.values() if isinstance(value, list) and value]
        if lists:
            chosen = self.random.choice(lists)
            chosen[self.random.randrange(len(chosen))] = self.fragment()

    def extra(self) -> None:
        self.random.choice((self.some(), self.document))[self.random.choice(EXTRA_KEYS)] = self.fragment()

    def top(self) -> None:
        self.document[self.random.choice(sorted(self.document))] = self.fragment()

    def drop(self) -> None:
        chosen = self.random.choice((self.some(), self.some(), self.document))
        if chosen:
            del chosen[self.random.choice(sorted(chosen))]

    def entry(self) -> None:
        entries = self.document.get(self.random.choice(LISTS))
        if isinstance(entries, list) and entries:
            entries[self.random.randrange(len(entries))] = self.fragment()


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def take_out(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + content[at + 1 :]


def put_in(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return (
        content[:at]
        + rng.choice([b"\0", b"\n", b"\r", b"\x0c", b",", b"{", b"]", b'"', b"\\", b"e", b"0", b"-"])
        + content[at:]
    )


def mark(content: bytes, rng: random.Random) -> bytes:
    return b"\xef\xbb\xbf" * rng.choice((1, 1, 2)) + content


def twice(content: bytes, rng: random.Random) -> bytes:
    """Put a second value before or after that of a key."""
    key = rng.choice([b"id", b"bbox", b"keypoints", b"area", b"images", b"annotations", b"info", b"x"])
    other = b'"' + key + b'": ' + rng.choice([b"1", b"null", b"[]", b"[1, 2, 3, 4]", b'"a"', b"NaN"])
    if rng.random() < 0.5:
        return content.replace(b"{", b"{" + other + b", ", rng.choice((1, 2, 5)))
    return content.replace(b"}", b", " + other + b"}", rng.choice((3, 5, 8)))


def spaced(content: bytes, rng: random.Random) -> bytes:
    return content.replace(b",", rng.choice([b" ,\n", b"\t,\r\n", b",\xc2\xa0", b",\x0b"]))


def after(content: bytes, rng: random.Random) -> bytes:
    return content + rng.choice([b" \n", b"\0", b"x", b"{}", b",", b"\xff"])


def bad_byte(content: bytes, rng: random.Random) -> bytes:
    at = max(content.find(rng.choice([b"year", b"file_name", b".jpg", b"car", b"iscrowd"])), 0)
    return (
        content[:at] + rng.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"]) + content[at:]
    )


def other_encoding(content: bytes, rng: random.Random) -> bytes:
    return content.decode("utf-8", "replace").encode(
        rng.choice(["utf-16", "utf-16-le", "utf-32", "latin-1"]), "replace"
    )


def by_pydantic(path: Path) -> Plain:
    """Return the result of the models alone, for the whole file at once."""
    text = read_text(path)
    try:
        file = CocoFile.model_validate_json(text)
    except ValidationError:
        return document_by_pydantic(read_json(path), path)
    return plain_rows(file, {name: range(len(getattr(file, name))) for name in LISTS}, {}, ())


def document_by_pydantic(document: Any, path: Path) -> Plain:
    errors = []
    try:
        CocoFile.model_validate(document)
    except ValidationError as exc:
        errors = exc.errors()
    found = []
    for error in errors:
        loc = error["loc"]
        found.append(finding_from(error, loc, document[loc[0]][loc[1]] if len(loc) > 1 else document, path))
    if not isinstance(document, dict) or not all(isinstance(document.get(name), list) for name in LISTS):
        return plain_rows(CocoFile(images=[], annotations=[], categories=[]), dict.fromkeys(LISTS, ()), None, found)
    bad = {error["loc"][:2] for error in errors}
    kept = {name: [i for i in range(len(document[name])) if (name, i) not in bad] for name in LISTS}
    file = CocoFile.model_validate({name: [document[name][i] for i in kept[name]] for name in LISTS})
    return plain_rows(file, kept, document, found)


def plain_rows(file: CocoFile, kept: Mapping[str, Sequence[int]], document: Any, found: Sequence[Any]) -> Plain:
    def ids(name: str) -> set[int]:
        known = {row.id for row in getattr(file, name)}
        entries = [entry.get("id") for entry in (document or {}).get(name, ()) if isinstance(entry, dict)]
        return known | {int(n) for n in entries if isinstance(n, int) and 0 <= n < 2**63}

    lengths = [len(row.keypoints) for row in file.annotations]
    numbers = [float(value) for row in file.annotations for value in row.keypoints]
    images = ImageColumns(
        position=np.array(kept["images"], dtype=np.int64),
        ids=np.array([row.id for row in file.images], dtype=np.int64),
        sizes=np.array([[row.width, row.height] for row in file.images], dtype=np.int64).reshape(-1, 2),
        file_names=tuple(row.file_name for row in file.images),
    )
    annotations = AnnotationColumns(
        position=np.array(kept["annotations"], dtype=np.int64),
        ids=np.array([row.id for row in file.annotations], dtype=np.int64),
        image_ids=np.array([row.image_id for row in file.annotations], dtype=np.int64),
        category_ids=np.array([row.category_id for row in file.annotations], dtype=np.int64),
        bbox=np.array([row.bbox for row in file.annotations], dtype=np.float64).reshape(-1, 4),
        areas=np.array([row.area for row in file.annotations], dtype=np.float64),
        iscrowd=np.array([row.iscrowd for row in file.annotations], dtype=np.bool_),
        num_keypoints=np.array([row.num_keypoints for row in file.annotations], dtype=np.int64),
        keypoints=np.array(numbers, dtype=np.float64),
        starts=np.cumsum([0, *lengths]).astype(np.int64),
    )
    return {
        "findings": sorted(map(repr, found)),
        "readable": document is not None,
        "images": plain_columns(images),
        "annotations": plain_columns(annotations),
        "categories": [
            (at, row.id, row.name, *map(frozen, (row.keypoints, row.skeleton)))
            for at, row in zip(kept["categories"], file.categories, strict=True)
        ],
        "ids": [ids("images"), ids("categories")],
        "numbers": [len((document or {}).get(name, getattr(file, name))) for name in LISTS],
    }


def frozen(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


def plain_columns(columns: ImageColumns | AnnotationColumns) -> dict[str, Any]:
    """Return columns in a form that is equal only if every bit is."""
    values = {name: getattr(columns, name) for name in columns.__slots__}
    return {
        name: value if isinstance(value, tuple) else (value.dtype.str, value.shape, value.tobytes())
        for name, value in values.items()
    }


def plain(table: CocoTable) -> Plain:
    return {
        "findings": sorted(map(repr, table.findings)),
        "readable": table.readable,
        "images": plain_columns(table.images),
        "annotations": plain_columns(table.annotations),
        "categories": [
            (int(place.split("[")[1].split("]")[0]), row.id, row.name, *map(frozen, (row.keypoints, row.skeleton)))
            for place, row in table.categories.items()
        ],
        "ids": [set(table.image_ids), set(table.category_ids)],
        "numbers": [table.num_images, table.num_annotations, table.num_categories],
    }


def outcome(work: Callable[[], Plain]) -> Plain | str:
    try:
        return work()
    except InputError as exc:
        return str(exc)


@pytest.mark.parametrize("start", range(0, CASES, AT_ONCE))
def test_what_is_read_is_what_pydantic_reads(tmp_path: Path, start: int) -> None:
    path = tmp_path / "x.json"
    for number in range(start, min(start + AT_ONCE, CASES)):
        content = Maker(number).make()
        path.write_bytes(content)
        expected = outcome(lambda: by_pydantic(path))
        assert outcome(lambda: plain(read_table(path))) == expected, f"case {number}: {content[:3000]!r}"
        if isinstance(expected, dict):
            document = read_json(path)
            assert plain(table_from(document, path)) == document_by_pydantic(document, path), f"case {number}"


def test_the_cases_are_of_all_kinds(tmp_path: Path) -> None:
    """The file is read by msgspec alone, has entries for pydantic, is refused by msgspec as a whole, or is not JSON."""
    kinds = set()
    for number in range(300):
        content = Maker(number).make()
        (tmp_path / "x.json").write_bytes(content)
        found = outcome(lambda: plain(read_table(tmp_path / "x.json")))
        kinds.add((split_text(content) is not None, isinstance(found, str) or bool(found["findings"]), type(found)))
    assert kinds >= {(True, False, dict), (True, True, dict), (False, True, dict), (False, True, str)}


@pytest.mark.parametrize("depth", range(800, 1040, 8))
@pytest.mark.parametrize("key", ["x", "id"])
def test_nesting_near_the_limit_is_read_or_refused_in_a_sentence(tmp_path: Path, depth: int, key: str) -> None:
    document = whole()
    document["annotations"][0] = {**document["annotations"][0], key: "@"}
    (tmp_path / "x.json").write_text(json.dumps(document).replace('"@"', "[" * depth + "]" * depth))
    found = outcome(lambda: plain(read_table(tmp_path / "x.json")))
    assert isinstance(found, dict) or found.endswith("is nested too deeply for an annotation file")
