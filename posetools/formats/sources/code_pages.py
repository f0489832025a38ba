"""Code pages, the encodings before UTF-8, and which of them can decode given bytes.

Bytes do not state their code page, and most decode with several: only the text shows which one is right.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Collection, Iterable, Sequence

from posetools.errors import RequestError, must_be

# Those of Windows' languages: Chinese, Japanese, Korean and traditional Chinese first, which fit the fewest bytes.
PAGES = (
    "gbk",
    "cp932",
    "cp949",
    "cp950",
    "cp1252",
    "cp1251",
    "cp1250",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "cp1257",
    "cp1258",
    "cp874",
)
# No name has characters of these kinds: control, unassigned, private, half of a pair.
_NOT_TEXT = frozenset({"Cc", "Cn", "Co", "Cs"})
# What every encoding of an annotation file leaves as it is; one of Python's decodes the name in punycode at its end.
_PLAIN_BYTES = b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCXYZ[]^_`abcxyz{|} a.xn--mnchen-3ya"
_ESCAPED_LETTER = b"\\u0041"


def check_encoding(name: str) -> None:
    """Refuse an unknown encoding, or one that changes ASCII.

    Raises:
        RequestError: it is refused.
    """
    try:
        is_text = codecs.lookup(name)._is_text_encoding
        sound = (
            is_text
            and _PLAIN_BYTES.decode(name) == _PLAIN_BYTES.decode("ascii")
            and len(_ESCAPED_LETTER.decode(name)) == len(_ESCAPED_LETTER)
        )
    except (LookupError, ValueError):
        sound = False
    if not sound:
        rule = "a Python encoding that keeps ASCII unchanged, such as gbk, shift_jis or cp1252"
        raise RequestError(must_be("--encoding", rule, name))


def is_utf8(content: bytes) -> bool:
    """Return whether bytes are text in UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def foreign_pieces(content: bytes) -> frozenset[bytes]:
    """Return the non-ASCII texts in quotation marks in a JSON file; each piece has whole characters only.

    A quotation mark is no part of a character in any of PAGES.
    """
    return frozenset(piece for piece in content.split(b'"') if not piece.isascii())


def readings(pieces: Collection[bytes], pages: Iterable[str] = PAGES) -> dict[str, tuple[str, ...]]:
    """Return page -> the pieces as text, for the pages that fit all of them; the first of pages with equal texts."""
    found: dict[tuple[str, ...], str] = {}
    for page in pages:
        try:
            texts = tuple(piece.decode(page) for piece in pieces)
        except UnicodeDecodeError:
            continue
        if is_text(texts):
            found.setdefault(texts, page)
    return {page: texts for texts, page in found.items()}


def fitting(pieces: Collection[bytes], pages: Iterable[str] = PAGES) -> list[str]:
    """Return the pages that fit all pieces."""
    return [page for page in pages if readings(pieces, [page])]


def is_text(texts: Iterable[str]) -> bool:
    """Return whether these can be names or descriptions: they hold no control characters but the ends of lines."""
    marks = set[str]().union(*texts) - set("\t\r\n")
    return not any(unicodedata.category(mark) in _NOT_TEXT for mark in marks)


def likeness(texts: Sequence[str]) -> float:
    """Return how many of the characters beyond ASCII are letters, as they are in names: 0 to 1."""
    foreign = [mark for text in texts for mark in text if not mark.isascii()]
    return sum(unicodedata.category(mark)[0] in "LM" for mark in foreign) / max(len(foreign), 1)
