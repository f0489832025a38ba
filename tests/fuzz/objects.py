"""The objects of a damaged source that can still be parsed, counted without posetools' readers.

A claim is one object: its file, and the places of which a finding must name one if it is not read. Files that cannot be
parsed here have no claims; other tests check that the reader reports them.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

from posetools.core.findings import Finding
from tests.fuzz.samples import CAR8
from tests.fuzz.tree import Tree


def is_same(one: str, other: str) -> bool:
    """Return whether two names are the same file, with symlinks resolved."""
    return os.path.realpath(one) == os.path.realpath(other)


@dataclass(frozen=True)
class Claim:
    """One object.

    Attributes:
        file: the file below the source.
        places: a finding on this file that names one of these covers the object; so does one without a place.
        image: the name of its image; a finding on that covers the object too.
    """

    file: str
    places: tuple[str, ...]
    image: object = ""

    def is_in(self, finding: Finding, root: str) -> bool:
        """Return whether the finding covers this object."""
        if not finding.code.startswith("E") and finding.code not in ("W322", "W323", "W337"):
            return False
        if (finding.code == "E301" and finding.details) or " files, this is the first)" in finding.message:
            # One finding for the whole run: all unknown labels, or shapes of several files, including their dependents.
            return True
        # A file may have been read through a link to it.
        same = finding.file == f"{root}/{self.file}" or is_same(finding.file, f"{root}/{self.file}")
        if not same and not finding.file.endswith("/data.yaml"):
            # A finding on an image that cannot be read.
            named = str(self.image).replace("\\", "/").rpartition("/")[2]
            return bool(named) and finding.file.rpartition("/")[2] == named
        # One finding for all objects with the same mistake names some of them.
        if finding.code == "E310" or " objects: " in finding.message:
            return True
        if "left out" in finding.message and self.image and repr(self.image) in finding.message:
            return True
        if finding.code == "W323" and "label files belong to images that no split lists" in finding.message:
            return True
        # A place names shapes, or what the whole file depends on.
        inner = any(
            mark in finding.place for mark in ("shapes[", "annotations[", "region", "line ", "image[", "tasks[")
        )
        return not inner or any(re.search(rf"{re.escape(place)}(?!\d)", finding.place) for place in self.places)


def missing(claims: Sequence[Claim], findings: Iterable[Finding], root: str) -> list[Claim]:
    """Return the objects without a finding."""
    told = list(findings)
    return [claim for claim in claims if not any(claim.is_in(finding, root) for finding in told)]


def _files(tree: Tree, *suffixes: str) -> Iterator[tuple[str, bytes]]:
    for name, content in tree.items():
        # Names that start with a dot are hidden, and not read.
        if isinstance(content, bytes) and PurePosixPath(name).suffix in suffixes and "/." not in f"/{name}":
            yield name, content


def _documents(tree: Tree) -> Iterator[tuple[str, Any]]:
    for name, content in _files(tree, ".json"):
        try:
            yield name, json.loads(content.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            continue


def _list(value: object, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def labelme(tree: Tree) -> Iterator[Claim]:
    """Yield each rectangle of a car and each point with a keypoint's name."""
    for name, document in _documents(tree):
        for index, shape in enumerate(_list(document, "shapes")):
            kind = (shape.get("shape_type"), shape.get("label")) if isinstance(shape, dict) else (None, None)
            if kind == ("rectangle", "car") or (kind[0] == "point" and kind[1] in CAR8.names):
                yield Claim(name, (f"shapes[{index}]",), document.get("imagePath"))


def coco(tree: Tree) -> Iterator[Claim]:
    """Yield each annotation."""
    for name, document in _documents(tree):
        if name.endswith("_coco.json") and "/" not in name:
            images = [entry for entry in _list(document, "images") if isinstance(entry, dict)]
            for index, entry in enumerate(_list(document, "annotations")):
                # A finding on its image covers an object too.
                number = entry.get("image_id") if isinstance(entry, dict) else None
                image = next((image.get("file_name") for image in images if image.get("id") == number), "")
                yield Claim(name, (f"annotations[{index}]",), image)


def cvat(tree: Tree) -> Iterator[Claim]:
    """Yield each box of a car."""
    for name, content in _files(tree, ".xml"):
        if b"<!" in content:
            continue
        try:
            root = ElementTree.fromstring(content)
        except (ElementTree.ParseError, ValueError, LookupError):
            continue
        for index, image in enumerate(root.findall("image") if root.tag == "annotations" else ()):
            for box in image.findall("box"):
                if box.get("label") == "car":
                    yield Claim(name, (f"image[{index}]",), image.get("name"))


def yolo_pose(tree: Tree) -> Iterator[Claim]:
    """Yield each line with content."""
    for name, content in _files(tree, ".txt"):
        try:
            lines = content.decode("utf-8-sig").split("\n")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, start=1):
            if line.strip() and name.startswith("labels/"):
                yield Claim(name, (f"line {number}",), f"{PurePosixPath(name).stem}.jpg")


def label_studio(tree: Tree) -> Iterator[Claim]:
    """Yield each rectangle of a task with one annotation."""
    for name, document in _documents(tree):
        for index, task in enumerate(document if isinstance(document, list) else ()):
            made = _list(task, "annotations")
            data = task.get("data") if isinstance(task, dict) else None
            image = next(iter(data.values()), "") if isinstance(data, dict) else ""
            regions: dict[str, Any] = {}
            for number, entry in enumerate(_list(made[0], "result") if len(made) == 1 else ()):
                if isinstance(entry, dict) and entry.get("type") == "rectanglelabels":
                    regions[str(entry.get("id", number))] = entry
            for _ in regions:
                yield Claim(name, (f"tasks[{index}]",), image)


def via(tree: Tree) -> Iterator[Claim]:
    """Yield each rectangle."""
    for name, document in _documents(tree):
        entries = document.get("_via_img_metadata") if isinstance(document, dict) else None
        for key, entry in entries.items() if isinstance(entries, dict) else ():
            for region in _list(entry, "regions"):
                shape = region.get("shape_attributes") if isinstance(region, dict) else None
                if isinstance(shape, dict) and shape.get("name") == "rect":
                    yield Claim(name, (key, str(entry.get("filename")), repr(key)), entry.get("filename"))


def via3(tree: Tree) -> Iterator[Claim]:
    """Yield each rectangle of a view that shows one image."""
    for name, document in _documents(tree):
        tables = document if isinstance(document, dict) else {}
        regions, views, files = (tables.get(key) for key in ("metadata", "view", "file"))
        for key, region in regions.items() if isinstance(regions, dict) else ():
            vid, xy = (region.get("vid"), region.get("xy")) if isinstance(region, dict) else (None, None)
            shown = _list(views.get(vid), "fid_list") if isinstance(views, dict) and isinstance(vid, str) else []
            source = files.get(str(shown[0])) if isinstance(files, dict) and len(shown) == 1 else None
            if isinstance(source, dict) and isinstance(xy, list) and xy[:1] == [2]:
                yield Claim(name, (repr(key), str(source.get("fname"))), source.get("fname"))


def _rows(content: bytes) -> list[tuple[int, list[str]]]:
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        return [(reader.line_num, row) for row in reader if row]
    except (csv.Error, UnicodeDecodeError):
        return []


def deeplabcut(tree: Tree) -> Iterator[Claim]:
    """Yield each row with at least two labeled points that do not form an axis-parallel line."""
    for name, content in _files(tree, ".csv"):
        rows = _rows(content) if PurePosixPath(name).name.startswith("CollectedData") else []
        for number, row in rows[3:] if len(rows) > 3 and rows[2][1][:1] == ["coords"] else ():
            if sum(1 for cell in row[1:] if re.fullmatch(r"\d+\.\d+", cell)) >= 4:
                yield Claim(
                    name,
                    (f"line {number}", "bodyparts"),
                    row[2] if len(row) > 2 and not "".join(rows[0][1][1:2]) else row[0],
                )


def custom(tree: Tree) -> Iterator[Claim]:
    """Yield each object with an image, a name and a box in one row."""
    content = tree.get("cars.csv")
    rows = _rows(content) if isinstance(content, bytes) else []
    seen: dict[tuple[str, str], list[int]] = {}
    boxed = set()
    for number, row in rows[1:] if rows else ():
        if len(row) == 10 and row[0] and row[1]:
            seen.setdefault((row[0], row[1]), []).append(number)
            boxed |= {(row[0], row[1])} if all(row[6:]) else set()
    for key, numbers in seen.items():
        if key in boxed:
            yield Claim("cars.csv", tuple(f"line {number}" for number in numbers), key[0])


CLAIMS: Mapping[str, Callable[[Tree], Iterator[Claim]]] = {
    "labelme": labelme,
    "coco": coco,
    "cvat": cvat,
    "yolo-pose": yolo_pose,
    "label-studio": label_studio,
    "via": via,
    "via3": via3,
    "deeplabcut": deeplabcut,
    "custom": custom,
}
