"""custom: a CSV or JSON-lines table, read by a mapping in TOML (mapping.py). Read only.

Rules for reading; docs/formats.md explains them to users, tests/formats/custom/test_custom.py tests each of them.

- ``--mapping FILE`` maps the columns. Columns that it does not name are not read. In JSON lines a column can
  be a path into the object: ``box.0``, ``points.lfb.x``.
- [point]: one row per point. Rows with the same image and object (columns.object) form one object; without that column
  all rows of an image do. The box may be in any of them, and must be the same in all; a row without
  a point's name only gives the box.
- [points]: one row per object, one column each for x, y and visibility of each keypoint.
- A point whose x and y are empty is not labeled. Words in the visibility column are compared as text; 2.0 is 2, and
  ``Visible`` is ``visible`` if the mapping has only one of them (W324). Without such a column, points are refused
  unless --assume-visible is given.
- Without [box], or if its four cells are empty, the object is a finding unless its box comes from the keypoints.
- Fractions and percentages refer to the upright image and are converted to pixels, to 1e-9.
- A row with only an image makes that an image without objects.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from posetools.core.categories import Categories
from posetools.core.findings import Finding
from posetools.core.skeleton import Skeleton
from posetools.errors import InputError, Place, RequestError, must_be
from posetools.files.disk import read_bytes
from posetools.formats.custom.declared import declared_by
from posetools.formats.custom.mapping import TableMapping, read_mapping
from posetools.formats.custom.objects import CustomRow, RowsOfImage
from posetools.formats.declared import DeclaredCategory
from posetools.formats.entry import Format
from posetools.formats.labels import only_skeleton, settled
from posetools.formats.options import ReadOptions
from posetools.formats.reading import FileReading
from posetools.formats.shards import ShardReading, shard_of
from posetools.formats.sources.many import Opener, SourceFile, list_sources

_TABLE_SUFFIXES = {"csv": (".csv", ".tsv"), "jsonl": (".jsonl", ".ndjson")}
_SPLIT_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def shards(sources: Sequence[Path], categories: Categories, options: ReadOptions) -> Iterator[ShardReading]:
    """Yield the content of these tables, or of the tables in these folders.

    Raises:
        RequestError: no mapping is given, a source does not exist or holds no table, or a required option is missing.
        InputError: the mapping breaks a rule.
    """
    if options.mapping is None:
        raise RequestError("--mapping FILE.toml must be given with format custom, got none")
    mapping = read_mapping(options.mapping)
    skeleton = only_skeleton(categories, "custom tables")
    _check_names(mapping, options.mapping, skeleton, options)
    options = settled(categories, replace(options, names={**mapping.names, **options.names}))
    files = _files(sources, mapping)
    if not mapping.has_visibility and not options.assume_visible:
        raise RequestError(
            f"{options.mapping}: visibility must be a column of the points, got none",
            hint="--assume-visible reads every labeled point as visible",
        )
    opener = Opener(options.image_roots)
    readings: list[FileReading] = []
    for done, source in enumerate(files, start=1):
        readings += _read_file(source, mapping, opener, skeleton, options)
        options.progress("reading tables", done, len(files))
    yield shard_of(readings, categories, files=len(files))


def declared(sources: Sequence[Path], options: ReadOptions) -> Sequence[DeclaredCategory]:
    """Return the categories that tables declare (declared.py); unreadable tables are left to the reader.

    Raises:
        RequestError: a source does not exist or holds no table, or a label is in doubt.
        InputError: the mapping breaks a rule.
    """
    if options.mapping is None:
        return ()
    mapping = read_mapping(options.mapping)
    files = _files(sources, mapping)
    tables = []
    for source in files:
        try:
            tables.append(_rows(source.file, mapping, []))
        except (UnicodeDecodeError, InputError, csv.Error):
            continue
    options = replace(options, names={**mapping.names, **options.names})
    return declared_by(tables, mapping, options, str(files[0].file))


FORMAT = Format(
    name="custom",
    title="custom",
    detect=lambda _: False,
    signs="never auto-detected: --from custom --mapping FILE.toml",
    shards=shards,
    endings=(".csv", ".tsv", ".jsonl", ".ndjson"),
    declared=declared,
    lacks=frozenset({"splits"}),
)


def _files(sources: Sequence[Path], mapping: TableMapping) -> list[SourceFile]:
    suffixes = _TABLE_SUFFIXES[mapping.file]
    return list_sources(sources, lambda path: path.suffix.lower() in suffixes, f"{' or '.join(suffixes)} files")[0]


def _check_names(mapping: TableMapping, path: Path, skeleton: Skeleton, options: ReadOptions) -> None:
    known = (skeleton.category.name, *skeleton.names)
    for name, new in mapping.names.items():
        if new not in known:
            problem = must_be("the name", f"one of skeleton {skeleton.name}: {', '.join(known)}", new)
            raise InputError(path, f"names.{name}", problem)
    listed = mapping.points.names if mapping.points and mapping.points.names else ()
    for name in listed:
        meant = options.names.get(name, mapping.names.get(name, name))
        if meant not in skeleton.index and name not in options.ignore:
            problem = must_be("a name", f"a keypoint of skeleton {skeleton.name}, or mapped to one in [names]", name)
            raise InputError(path, "points.names", problem, hint=f"--ignore {name!r} leaves the columns out")


def _read_file(
    source: SourceFile, mapping: TableMapping, opener: Opener, skeleton: Skeleton, options: ReadOptions
) -> list[FileReading]:
    file = str(source.file)
    findings: list[Finding] = []
    try:
        rows = _rows(source.file, mapping, findings)
    except UnicodeDecodeError as exc:
        problem = f"text must be {mapping.encoding}, as the mapping says, got another encoding at byte {exc.start}"
        return [FileReading(source.file, findings=[Finding("E310", file, "", problem, "set encoding in the mapping")])]
    except (InputError, csv.Error) as exc:
        problem = exc.problem if isinstance(exc, InputError) else f"is not valid CSV: {exc}"
        place = exc.place if isinstance(exc, InputError) else ""
        return [FileReading(source.file, findings=[Finding("E310", file, place, problem, "correct the file")])]
    needed = mapping.needed(mapping.points.names or skeleton.names if mapping.points else ())
    missing = [column for column in needed if not any(column in row.cells for row in rows)]
    if missing and rows:
        have = sorted({column for row in rows for column in row.cells})
        message = must_be("the columns", f"a list with {', '.join(missing)}, as {options.mapping} says", have)
        wrong = Finding("E310", file, "", message, "correct the table or the mapping")
        return [FileReading(source.file, findings=[*findings, wrong])]
    by_image: dict[str, list[CustomRow]] = {}
    for row in rows:
        by_image.setdefault(row.text(mapping.columns.picture), []).append(row)
    for row in by_image.pop("", []):
        message = must_be(mapping.columns.picture, "an image's path", "")
        findings.append(Finding("E309", file, row.place, message, "correct the row"))
    repaired = Counter[str]()
    readings = [
        _read_image(source, image, listed, mapping, opener, skeleton, options, repaired)
        for image, listed in by_image.items()
    ]
    findings += [Finding("W324", file, "", f"{what} ({times})") for what, times in sorted(repaired.items())]
    return [*readings, FileReading(source.file, findings=findings)]


def _rows(file: Path, mapping: TableMapping, findings: list[Finding]) -> list[CustomRow]:
    """Return the rows of a table, and add findings on those that cannot be read.

    Raises:
        UnicodeDecodeError, InputError, csv.Error: the table cannot be read.
    """
    text = read_bytes(file).decode("utf-8-sig" if mapping.encoding == "utf-8" else mapping.encoding)
    return list(_csv_rows(text, mapping) if mapping.file == "csv" else _json_rows(text, str(file), findings))


def _csv_rows(text: str, mapping: TableMapping) -> Iterator[CustomRow]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=mapping.delimiter, strict=True)
    names = [name.strip() for name in reader.fieldnames or ()]
    if len(set(names)) != len(names):
        raise InputError("", "line 1", must_be("the columns", "all different", names))
    reader.fieldnames = names
    for row in reader:
        if None in row or None in row.values():
            got = sum(value is not None for key, value in row.items() if key is not None) + len(row.get(None) or [])
            raise InputError("", f"line {reader.line_num}", must_be("the line", f"{len(names)} values", got))
        yield CustomRow(f"line {reader.line_num}", row)


def _json_rows(text: str, file: str, findings: list[Finding]) -> Iterator[CustomRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            raw = from_json(line)
        except ValueError as exc:
            raw, problem = None, f"is not valid JSON: {exc}"
        else:
            problem = must_be("the line", "a JSON object", raw)
        if isinstance(raw, dict):
            yield CustomRow(f"line {number}", dict(_flat(raw, "")))
        else:
            findings.append(Finding("E309", file, f"line {number}", problem, "correct the line"))


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every value in a JSON value with its path: ``points.lfb.x``, ``box.0``."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _read_image(
    source: SourceFile,
    image: str,
    rows: Sequence[CustomRow],
    mapping: TableMapping,
    opener: Opener,
    skeleton: Skeleton,
    options: ReadOptions,
    repaired: Counter[str],
) -> FileReading:
    column = mapping.columns.picture
    place = Place.within(rows[0].place, column)
    reading = opener.open(source, [image], place=place, objects=len(rows), what="rows")
    if reading.image is None:
        return reading
    found = RowsOfImage(str(source.file), reading.size, mapping, skeleton, options, repaired=repaired)
    objects = found.read(rows)
    splits = {row.text(mapping.columns.split) for row in rows} - {""}
    if len(splits) > 1 or not all(map(_SPLIT_WORD.fullmatch, splits)):
        rule = "one word in all rows of an image, such as train"
        message = must_be(str(mapping.columns.split), rule, sorted(splits))
        wrong = Finding("E311", str(source.file), place, f"{message} ({len(rows)} rows left out)", "correct the rows")
        return FileReading(source.file, identity=reading.identity, findings=[wrong])
    return replace(
        reading,
        split=next(iter(splits), None),
        rows=objects,
        findings=[*reading.findings, *found.findings],
        ignored=found.ignored,
    )
