"""The COCO files of a data set as documents: every entry and key as written, even in files with errors.

Whoever needs arrays, and findings on what breaks the format, reads posetools/formats/coco/table.py instead.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from posetools.errors import InputError, must_be
from posetools.files.disk import read_json

HINT = "`posetools validate` lists all errors in the file"


@dataclass(frozen=True, eq=False)
class CocoDocument:
    """One COCO file, as parsed.

    Attributes:
        path: the file.
        content: what is in it.
    """

    path: Path
    content: Any

    def entries(self, kind: str) -> list[Any]:
        """Return ``images``, ``annotations`` or ``categories``, unchecked; empty if missing."""
        value = self.content.get(kind) if isinstance(self.content, dict) else None
        return value if isinstance(value, list) else []

    def objects(self, kind: str, hint: str = HINT) -> list[dict[str, Any]]:
        """Return one of the three lists.

        Raises:
            InputError: it is no list of objects.
        """
        value = self.content.get(kind) if isinstance(self.content, dict) else None
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise InputError(self.path, kind, must_be(kind, "a list of objects", value), hint=hint)
        return value

    def of_categories(self, names: Collection[str]) -> CocoDocument:
        """Return the document with all images, and with the annotations of some categories only."""
        known = [
            entry for entry in self.entries("categories") if isinstance(entry, dict) and entry.get("name") in names
        ]
        ids = [entry.get("id") for entry in known]
        own = [one for one in self.entries("annotations") if isinstance(one, dict) and one.get("category_id") in ids]
        return CocoDocument(self.path, {**self.content, "categories": known, "annotations": own})

    def image_name(self, kind: str, position: int) -> str | None:
        """Return the file name of an entry in ``images``, or that of an annotation's image; None: unknown."""
        entries = self.entries(kind)
        entry = entries[position] if position < len(entries) else None
        if not isinstance(entry, dict):
            return None
        name = entry.get("file_name") if kind == "images" else self._names.get(str(entry.get("image_id")))
        return name if isinstance(name, str) else None

    @cached_property
    def _names(self) -> dict[str, Any]:
        images = (entry for entry in self.entries("images") if isinstance(entry, dict))
        return {str(entry.get("id")): entry.get("file_name") for entry in images}


def links_of(category: Mapping[str, Any]) -> tuple[tuple[int, int], ...] | None:
    """Return the edges of an entry in ``categories`` as 0-based pairs; None if it has none, or invalid ones.

    COCO's indices are 1-based. Some programs write 0-based ones, which a 0 among them shows.
    """
    names, edges = category.get("keypoints"), category.get("skeleton")
    if not isinstance(names, list) or not isinstance(edges, list) or not all(map(_is_pair, edges)):
        return None
    indices = [index for edge in edges for index in edge]
    first = 0 if 0 in indices else 1
    if indices and (min(indices) < first or max(indices) >= len(names) + first):
        return None
    return tuple((a - first, b - first) for a, b in edges)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(index) is int for index in value)


def read_document(path: Path) -> CocoDocument:
    """Return a COCO file.

    Raises:
        InputError: it cannot be read or is not JSON.
    """
    return CocoDocument(path, read_json(path))
