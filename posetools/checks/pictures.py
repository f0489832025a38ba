"""The pictures that COCO files name: names, headers, sizes, EXIF rotation, and pictures that are there twice.

Headers only are read; contents are compared by hash, and hashed only where another file has the same length.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from posetools.errors import InputError, must_be
from posetools.findings import Finding
from posetools.formats.coco_sources import safe_name
from posetools.formats.coco_table import CocoTable
from posetools.formats.locate import Located, check_size
from posetools.pictures import content_hash, read_header
from posetools.progress import Progress


@dataclass(frozen=True, slots=True)
class Listed:
    """A picture as a COCO file lists it.

    Attributes:
        split: the file's split.
        table: the file.
        row: the row in ``table.images``.
        name: the normalised name.
    """

    split: str
    table: CocoTable
    row: int
    name: str

    @property
    def place(self) -> str:
        """Its place in the file."""
        return self.table.images.place(self.row)

    @property
    def where(self) -> str:
        """The file's name, and its place in it."""
        return f"{self.table.path.name}: {self.place}"

    def finding(self, code: str, message: str, hint: str) -> Finding:
        """Return a finding at this picture."""
        return Finding(code, str(self.table.path), self.place, message, hint)


def check_names(tables: Mapping[str, CocoTable]) -> tuple[tuple[Listed, ...], tuple[Finding, ...]]:
    """Return the pictures whose names stay in the folder, each once, and findings on all others."""
    first: dict[str, Listed] = {}
    findings = []
    for split, table in tables.items():
        for row, file_name in enumerate(table.images.file_names):
            name = safe_name(file_name)
            listed = Listed(split, table, row, name or "")
            if name is None:
                message = must_be("file_name", "a path that stays in images/", file_name)
                findings.append(listed.finding("E125", message, "write the path as seen from images/"))
            elif name in first:
                findings.append(_double(listed, first[name], "file"))
            else:
                first[name] = listed
    return tuple(first.values()), tuple(findings)


def check_pictures(pictures: tuple[Listed, ...], folder: Path, progress: Progress) -> Iterator[Finding]:
    """Yield pictures that are missing, unreadable, of another size than said, or there twice.

    Args:
        pictures: what ``check_names`` returned.
        folder: the folder that the names are seen from.
        progress: told how far it is.
    """
    by_length: dict[int, list[Listed]] = defaultdict(list)
    for done, listed in enumerate(pictures, start=1):
        path = folder / listed.name
        problem = _header_problem(listed, path)
        if problem is None or problem.code in ("E123", "E124"):
            by_length[path.stat().st_size].append(listed)
        if problem:
            yield problem
        progress("checking pictures", done, len(pictures))
    same = [group for group in by_length.values() if len(group) > 1]
    done, total = 0, sum(map(len, same))
    for group in same:
        first: dict[str, Listed] = {}
        for listed in group:
            other = first.setdefault(content_hash(folder / listed.name), listed)
            if other is not listed:
                yield _double(listed, other, "content")
            done += 1
            progress("comparing pictures", done, total)


def _header_problem(listed: Listed, path: Path) -> Finding | None:
    images = listed.table.images
    name = images.file_names[listed.row]
    if not path.is_file():
        message = must_be("file_name", f"an existing picture in {path.parent}", name)
        return listed.finding("E121", message, "put the picture there, or take it out of images and annotations")
    try:
        header = read_header(path)
    except InputError as exc:
        message = f"{must_be('file_name', 'a picture that can be read', name)} ({exc.problem})"
        return listed.finding("E122", message, "replace the file, or take it out of images and annotations")
    width, height = images.sizes[listed.row].tolist()
    wrong = check_size(Located(path, header), width, height, file=listed.table.path, place="image")
    return replace(wrong, place=listed.place) if wrong else None


def _double(listed: Listed, other: Listed, what: str) -> Finding:
    if listed.split == other.split:
        message = must_be(what, f"that of one entry only ({other.place} has it)", listed.name)
        return listed.finding("W206", message, "keep one of the two, with the objects of both")
    message = must_be(what, f"in one split only ({other.where} has it)", listed.name)
    hint = "the evaluation would be of training data: take it out of one split, or `posetools split` anew"
    return listed.finding("E126", message, hint)
