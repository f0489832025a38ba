"""The mark of a labelme file that a model wrote: it tells predictions nobody has looked at from a person's labels.

labelme keeps top-level keys that it does not know, so the mark stays in a file that a person saves. What tells is the
digest in it: it is that of the whole text, which differs after any save, even one that changes no shape, for labelme
writes its own version and no line feed at the end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from posetools.files.disk import content_digest
from posetools.formats.labelme.write import labelme_text

MARK = "posetools"
# What a labelme file has of its own; every other key is somebody's.
OWN_KEYS = frozenset({"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth", MARK})

_DIGEST = "digest"


def marked_text(document: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Return a document as the text of a labelme file that carries the mark.

    Args:
        document: the document, without a mark.
        facts: what the mark says besides the digest.

    Raises:
        ValueError: it holds a number that is not finite.
    """

    def text(digest: str) -> str:
        return labelme_text({**document, MARK: {**facts, _DIGEST: digest}})

    return text(content_digest(text("").encode()))


def is_untouched(data: bytes) -> bool:
    """Return whether the file with this content is as a model wrote it: nobody has saved it since."""
    if f'"{MARK}"'.encode() not in data:
        return False
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    mark = document.get(MARK) if isinstance(document, dict) else None
    digest = mark.get(_DIGEST) if isinstance(mark, dict) else None
    if not isinstance(digest, str) or not digest:
        return False
    return content_digest(_blank(data, digest)) == digest


def _blank(data: bytes, digest: str) -> bytes:
    # The last one is the mark's: labelme_text keeps the order of keys, and the mark is the last of them.
    head, _, tail = data.rpartition(json.dumps(digest, ensure_ascii=False).encode())
    return head + b'""' + tail
