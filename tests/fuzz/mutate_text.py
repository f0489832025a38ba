"""Ways to damage XML, tables, lines of numbers, YAML, TOML, zip files and images."""

from __future__ import annotations

import csv
import io
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from random import Random

import yaml

from tests.fuzz.mutate import NUMBERS, TEXTS, any_value, mutate_bytes, mutate_document, mutate_json

_ATTRIBUTE = re.compile(r'="([^"]*)"')
_ELEMENT = re.compile(r"<[\w-]+[^<>]*(?:/>|>[^<]*</[\w-]+>)")
_BAD_XML = (
    "<box/>", "<points/>", "<!DOCTYPE a>", '<!DOCTYPE a [<!ENTITY b "c">]>', "<![CDATA[x]]>", "<track/>", "<image/>",
    "&lt;", "&nope;", "<?xml version='1.1'?>", '<box label="car" xtl="1" ytl="1" xbr="9" ybr="9" rotation="30"/>',
)  # fmt: skip


def _word(random: Random) -> str:
    return str(any_value(random))


def _escaped(random: Random) -> str:
    word = _word(random)
    if random.random() < 0.8:
        word = word.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return word.replace("\n", "&#10;")


def mutate_xml(random: Random, content: bytes) -> bytes:
    """Return XML with attributes, elements or bytes changed."""
    if random.random() < 0.15:
        return mutate_bytes(random, content)
    text = content.decode("utf-8", "replace")
    for _ in range(random.choice((1, 1, 2, 3))):
        text = random.choice((_attribute, _attribute, _attribute, _no_attribute, _element, _element, _raw))(
            random, text
        )
    return text.encode("utf-8", "surrogatepass")


def _one(random: Random, pattern: re.Pattern[str], text: str) -> tuple[int, int]:
    found = [match.span() for match in pattern.finditer(text)]
    return random.choice(found) if found else (0, 0)


def _attribute(random: Random, text: str) -> str:
    start, end = _one(random, _ATTRIBUTE, text)
    return f'{text[:start]}="{_escaped(random)}"{text[end:]}' if end else text


def _no_attribute(random: Random, text: str) -> str:
    start, end = _one(random, re.compile(r'\s[\w:]+="[^"]*"'), text)
    return text[:start] + (text[start:end] * 2 if random.random() < 0.2 else "") + text[end:]


def _element(random: Random, text: str) -> str:
    start, end = _one(random, _ELEMENT, text)
    return text[:start] + text[start:end] * random.choice((0, 2, 2, 3, 50)) + text[end:]


def _raw(random: Random, text: str) -> str:
    at = text.find(">", random.randrange(max(1, len(text)))) + 1
    return text[:at] + random.choice(_BAD_XML) + text[at:]


def mutate_table(random: Random, content: bytes) -> bytes:
    """Return CSV with cells, rows or columns changed."""
    if random.random() < 0.2:
        return mutate_bytes(random, content)
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline="")))
    except csv.Error:
        return mutate_bytes(random, content)
    for _ in range(random.choice((1, 1, 2, 3))):
        _change_rows(random, rows)
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=random.choice(("\n", "\n", "\r\n"))).writerows(rows)
    return out.getvalue().encode("utf-8", "surrogatepass")


def _change_rows(random: Random, rows: list[list[str]]) -> None:
    filled = [row for row in rows if row]
    if not filled:
        return
    row, what = random.choice(filled), random.randrange(8)
    column = random.randrange(len(row))
    if what < 4:
        row[column] = _word(random).replace("\x00", "\x01") if what < 3 else ""
    elif what == 4:
        del row[column]
    elif what == 5:
        row.insert(column, _word(random).replace("\x00", "\x01"))
    elif what == 6:
        rows.remove(row)
    else:
        rows.insert(random.randrange(len(rows) + 1), list(row))


def mutate_lines(random: Random, content: bytes) -> bytes:
    """Return lines of words separated by blanks with words or lines changed."""
    if random.random() < 0.2:
        return mutate_bytes(random, content)
    lines = [line.split(" ") for line in content.decode("utf-8", "replace").split("\n")]
    for _ in range(random.choice((1, 1, 2, 3))):
        _change_rows(random, lines)
    return "\n".join(" ".join(line) for line in lines).encode("utf-8", "surrogatepass")


_YAML = (
    "!!python/object/apply:os.system ['true']", "!!binary aaa", "!!timestamp 2001-99-99", "!!int 0x", "!!float abc",
    "2001-02-30", "2001-01-01T25:00:00Z", "1:60:99", "&a [*a]", "{<<: 1}", "? [1]", "0o9", ".nan", "!foo 1", "|", "*b",
    "&a {b: *a}", "!!set {a, b}", "!!omap [a: 1]", "0b", "1_000", "%TAG", "---", "...", "\t", "{[a]: 1}", "{{a: 1}: 2}",
)  # fmt: skip


def mutate_yaml(random: Random, content: bytes) -> bytes:
    """Return YAML with its document or its text changed."""
    what = random.random()
    if what < 0.15:
        return mutate_bytes(random, content)
    text = content.decode("utf-8", "replace")
    if what < 0.4:
        places = [match.end() for match in re.finditer(r": |- |\[|, ", text)] or [0]
        at = random.choice(places)
        end = min((index for index in (text.find(mark, at) for mark in ",]}\n") if index >= 0), default=len(text))
        value = random.choice((*_YAML, *map(str, NUMBERS), *TEXTS))
        return (text[:at] + value + text[end:]).encode("utf-8", "surrogatepass")
    try:
        document = mutate_document(random, yaml.safe_load(text))
        if random.random() < 0.3:
            document = mutate_document(random, document)
        return yaml.safe_dump(document, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return mutate_bytes(random, content)


def mutate_toml(random: Random, content: bytes) -> bytes:
    """Return TOML with a value or its text changed."""
    if random.random() < 0.3:
        return mutate_bytes(random, content)
    lines = content.decode("utf-8", "replace").split("\n")
    number = random.randrange(len(lines))
    key, equals, _ = lines[number].partition("=")
    values = ('""', "[]", "1", "nan", "{}", "true", '"x"', '"{name}"', '"{"', '"{0}"', '"{name.x}"', '"{name!r:>9}"',
              "1979-05-27", '["a", ["b"]]', '"\\u0000"', "0x", "[[a]]", '"image"', '"x"', "1e400")  # fmt: skip
    lines[number] = f"{key}= {random.choice(values)}" if equals else random.choice(("", lines[number] * 2, "[new]"))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def mutate_zip(random: Random, content: bytes) -> bytes:
    """Return a zip file with its bytes, or members, changed."""
    if random.random() < 0.5:
        return mutate_bytes(random, content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as old:
            members = [(info.filename, old.read(info)) for info in old.infolist()]
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError):
        return mutate_bytes(random, content)
    place = random.randrange(len(members)) if members else 0
    what = random.randrange(4)
    if not members or what == 0:
        members.append((random.choice(TEXTS).replace("\ud800", "") or "x", b"x"))
    elif what == 1:
        del members[place]
    else:
        name, inner = members[place]
        change = mutate_json if name.endswith(".json") and what == 2 else mutate_bytes
        members[place] = (name, change(random, inner))
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", random.choice((0, 8))) as new:
        warnings.simplefilter("ignore")
        for name, inner in members:
            new.writestr(name.replace("\x00", "") or "x", inner)
    return out.getvalue()


@cache
def png(width: int, height: int) -> bytes:
    """Return a black PNG with one bit per pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, row = zlib.compressobj(1), bytes(1 + (width + 7) // 8)
    parts = [packer.compress(row * height), packer.flush()]
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"".join(parts)) + chunk(b"IEND", b"")


def mutate_image(random: Random, content: bytes) -> bytes:
    """Return an image that is empty, truncated, huge, in another format, or has other bytes."""
    changes: tuple[Callable[[], bytes], ...] = (
        lambda: b"",
        lambda: content[: random.randrange(len(content) + 1)],
        lambda: png(10_000, 10_000),
        lambda: png(10_000, 10_000)[:33],
        lambda: png(1, 1),
        lambda: b"GIF89a\x00\x00\x00\x00",
        lambda: mutate_bytes(random, content),
        lambda: _resized_jpeg(random, content),
    )
    return random.choice(changes)()


def _resized_jpeg(random: Random, content: bytes) -> bytes:
    start = content.find(b"\xff\xc0") + 5
    size = struct.pack(">HH", random.choice((0, 1, 65_535)), random.choice((0, 1, 65_535)))
    return content[:start] + size + content[start + 4 :]
