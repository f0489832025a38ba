"""Ways to damage bytes and documents (JSON and YAML). Each takes a ``Random``, so that a number reproduces a case."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from random import Random
from typing import Any, TypeAlias

Place: TypeAlias = tuple[Any, Any]

NUMBERS: tuple[Any, ...] = (
    0, -0.0, -1, 1, 0.5, 2, 3, 1e308, -1e308, 1e-320, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400,
    float("nan"), float("inf"), float("-inf"), 1e6, 1e7 + 0.5, True,
)  # fmt: skip
TEXTS: tuple[str, ...] = (
    "", " ", "car", "left-front-tire", "a\nb.jpg", "🚗.jpg", "a.jpg", "b.jpg", "../a.jpg", "/etc/passwd", "C:\\a.jpg",
    "\x00", "a\x00b", "\ud800", "\u202etxt", "NaN", "1", "-1", "１", "²", "x" * 300, "a/" * 600 + "b", "é", "e\u0301",
    "\ufeffcar", "{name}", "%s%n", "<b>", "&amp;", "[bold]", "con", ".", "..", "a.jpg/", "\\\\host\\share\\a.jpg",
    "1e400", "9" * 5000, "file:///etc/passwd", "http://[::1", "//", "?d=a.jpg", "data:image/png;base64,AA==",
)  # fmt: skip
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, [1, 2], {"x": 1}, [[[[]]]])


def any_value(random: Random) -> Any:
    """Return a new value that is rarely valid; it is not shared, as values in a document are changed in place."""
    return deepcopy(random.choice(random.choice((NUMBERS, TEXTS, OTHERS))))


def mutate_bytes(random: Random, content: bytes) -> bytes:
    """Return the bytes with one change that ignores their meaning."""
    return random.choice(_BYTES)(random, content)


def _cut(random: Random, content: bytes) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _behead(random: Random, content: bytes) -> bytes:
    return content[random.randrange(len(content) + 1) :]


def _flip(random: Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(min(len(changed), random.choice((1, 1, 2, 8)))):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def _insert(random: Random, content: bytes) -> bytes:
    at = random.randrange(len(content) + 1)
    return content[:at] + random.choice(_PIECES) + content[at:]


def _repeat(random: Random, content: bytes) -> bytes:
    start = random.randrange(len(content) + 1)
    end = min(len(content), start + random.choice((1, 10, 100, 1000)))
    return content[:end] + content[start:end] * random.choice((1, 2, 20)) + content[end:]


def _drop(random: Random, content: bytes) -> bytes:
    start = random.randrange(len(content) + 1)
    return content[:start] + content[start + random.choice((1, 3, 30, 300)) :]


def _recode(random: Random, content: bytes) -> bytes:
    text = content.decode("utf-8", "replace")
    return text.encode(random.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp037")), "replace")


def _bom(random: Random, content: bytes) -> bytes:
    return random.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf" * 2)) + content


def _lines(random: Random, content: bytes) -> bytes:
    return content.replace(b"\n", random.choice((b"\r\n", b"\r", b"\n\n", b"", b"\x0b", "\u2028".encode())))


def _deep(random: Random, content: bytes) -> bytes:
    opening, closing = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"<a>", b"</a>"), (b"(", b")"), (b"- ", b"")))
    depth = random.choice((50, 2000, 100_000))
    middle = content if random.random() < 0.5 else b"1"
    return opening * depth + middle + closing * depth


def _replace(random: Random, content: bytes) -> bytes:
    del content
    return random.choice(
        (b"", b"\x00" * 100, b"null", b"[]", b"{}", b'""', b"0", b"\xff", b"\n", b"NaN", b"PK\x03\x04")
    )


_PIECES = (
    b"\x00", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"NaN", b"Infinity", b"-", b"1e999", b"9" * 5000, b'"', b"'", b",",
    b"[", b"{", b"}", b"\\u0000", b"\\ud800", b"\n", b"\r", b"\t", b"<!--", b"]]>", b"&x;", b"!!python/none ", b"&a ",
    b"*a ", b"\xf0\x9f\x9a\x97", b"0" * 70_000,
)  # fmt: skip
_BYTES: tuple[Callable[[Random, bytes], bytes], ...] = (
    _cut, _cut, _behead, _flip, _flip, _insert, _insert, _repeat, _drop, _recode, _bom, _lines, _deep, _replace,
)  # fmt: skip


def places(document: Any) -> list[Place]:
    """Return (container, key) of everything in a document, from the outside in."""
    return list(_places(document))


def _places(node: Any) -> Iterator[Place]:
    # YAML's anchors can make a document that holds itself.
    waiting, seen = [node], set()
    while waiting:
        inner = waiting.pop()
        if id(inner) in seen:
            continue
        seen.add(id(inner))
        items = inner.items() if isinstance(inner, dict) else enumerate(inner) if isinstance(inner, list) else ()
        for key, value in items:
            yield inner, key
            if isinstance(value, dict | list):
                waiting.append(value)


def mutate_document(random: Random, document: Any) -> Any:
    """Change one thing in a document of dicts and lists, in place; return it, or its replacement."""
    found = places(document)
    if not found or random.random() < 0.01:
        return any_value(random)
    node, key = random.choice(found)
    random.choice(_DOCUMENT)(random, node, key)
    return document


def _set_any(random: Random, node: Any, key: Any) -> None:
    node[key] = any_value(random)


def _nudge(random: Random, node: Any, key: Any) -> None:
    value = node[key]
    if isinstance(value, int | float):
        node[key] = random.choice((*NUMBERS, -value, value + 1, value * 1000, repr(value), [value]))
    elif isinstance(value, str):
        node[key] = random.choice((*TEXTS, value + "\n", value.upper(), value + " ", value[:-1], value * 2, [value]))
    else:
        node[key] = any_value(random)


def _delete(random: Random, node: Any, key: Any) -> None:
    del random, node[key]


def _double(random: Random, node: Any, key: Any) -> None:
    copied = deepcopy(node[key])
    if isinstance(node, list):
        node[key:key] = [copied] * random.choice((1, 1, 1, 5, 200))
    else:
        node[random.choice((str(key) + "2", str(key).upper(), random.choice(TEXTS)))] = copied


def _swap(random: Random, node: Any, key: Any) -> None:
    other = random.choice(list(node) if isinstance(node, dict) else range(len(node)))
    node[key], node[other] = node[other], node[key]


def _wrap(random: Random, node: Any, key: Any) -> None:
    value = node[key]
    for _ in range(random.choice((1, 1, 1, 30, 300))):
        value = [value] if random.random() < 0.5 else {"a": value}
    node[key] = value


def _empty(random: Random, node: Any, key: Any) -> None:
    value = node[key]
    is_known = isinstance(value, list | dict | str | int | float)
    node[key] = type(value)() if is_known else deepcopy(random.choice(OTHERS))


_DOCUMENT: tuple[Callable[[Random, Any, Any], None], ...] = (
    _set_any, _nudge, _nudge, _nudge, _delete, _double, _swap, _wrap, _empty,
)  # fmt: skip


def json_bytes(random: Random, document: Any) -> bytes:
    """Return a document as JSON text, in one of the styles of other writers."""
    text = json.dumps(document, ensure_ascii=random.random() < 0.5, indent=random.choice((None, None, 1)))
    if random.random() < 0.05:
        text = _twice(random, text)
    return text.encode("utf-8", "surrogatepass")


def _twice(random: Random, text: str) -> str:
    """Repeat a key with another value."""
    at = text.find("{", random.randrange(max(1, len(text))))
    if at < 0 or text[at + 1 : at + 2] in ("}", ""):
        return text
    key = text[at + 1 : text.find(":", at)]
    return text[: at + 1] + f"{key}: {json.dumps(any_value(random))}, " + text[at + 1 :]


def mutate_json(random: Random, content: bytes) -> bytes:
    """Return a JSON file with one to three changes to its document; invalid JSON is changed as bytes."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return mutate_bytes(random, content)
    for _ in range(random.choice((1, 1, 2, 3))):
        document = mutate_document(random, document)
    return json_bytes(random, document)
