"""Checks of the images that COCO files name: names, headers, sizes, EXIF rotation, duplicates.

Only headers are read; a whole file is read only if another has the same length, beginning and end.
Reading runs in shards (posetools/checks/inspection.py), possibly on other machines.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from posetools.checks.inspection import Inspection, are_alike, digests, ends, inspect
from posetools.core.findings import Finding
from posetools.core.place import Origin
from posetools.errors import Place, must_be
from posetools.files.urls import absolute
from posetools.formats.coco.sources import safe_name
from posetools.formats.coco.table import CocoTable
from posetools.formats.sources.locate import Location, check_size
from posetools.imaging.decoding import upright_command
from posetools.progress import Progress
from posetools.scale.shards import SHARD, Engine, OwnProcess, cut, run_shards


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image entry of a COCO file.

    Attributes:
        split: the file's split.
        table: the file.
        row: the row in ``table.images``.
        name: the normalized name.
        fold: the number of the fold that has it in val; 0 without folds.
    """

    split: str
    table: CocoTable
    row: int
    name: str
    fold: int = 0

    @property
    def place(self) -> Place:
        """Its place in the file."""
        return self.table.images.place(self.row)

    @property
    def where(self) -> str:
        """The file's name, and its place in it."""
        return f"{self.table.path.name}: {self.place}"

    def finding(self, code: str, message: str, hint: str, other: ListedImage | None = None) -> Finding:
        """Return a finding at this image, or at it and another one."""
        origin = Origin(str(other.table.path), other.place) if other else None
        return Finding(code, str(self.table.path), self.place, message, hint, other=origin)


def check_names(
    tables: Mapping[str, CocoTable], folds: Mapping[str, int] | None = None
) -> tuple[tuple[ListedImage, ...], tuple[Finding, ...]]:
    """Return the images with unique names inside the folder, and findings on all others.

    Args:
        tables: split -> file.
        folds: file name -> the number of the fold that has the image in val; None without folds.
    """
    parts = folds or {}
    first: dict[str, ListedImage] = {}
    findings = []
    for split, table in tables.items():
        for row, file_name in enumerate(table.images.file_names):
            name = safe_name(file_name)
            listed = ListedImage(split, table, row, name or "", parts.get(file_name, 0))
            if name is None:
                message = must_be("file_name", "a path that stays in images/", file_name)
                findings.append(listed.finding("E125", message, "write the path relative to images/"))
            elif name in first:
                findings.append(_double(listed, first[name], "file"))
            else:
                first[name] = listed
    return tuple(first.values()), tuple(findings)


def check_images(
    images: Sequence[ListedImage], folder: Path, progress: Progress, engine: Engine | None = None
) -> Iterator[Finding]:
    """Yield images that are missing, unreadable, duplicated, or of another size than stated.

    Args:
        images: what ``check_names`` returned.
        folder: the folder that the names are relative to.
        progress: receives progress.
        engine: what runs the shards; None for this process.
    """
    run = partial(run_shards, engine=engine or OwnProcess(), progress=progress)
    # Names are normalized (check_names), and there may be millions.
    start = absolute(folder)
    paths = [os.path.join(start, listed.name) for listed in images]  # noqa: PTH118
    like: dict[tuple[int, str], list[int]] = defaultdict(list)
    seen = chain.from_iterable(run(inspect, cut(paths, SHARD), what="checking images"))
    for at, (listed, found) in enumerate(zip(images, seen, strict=True)):
        if found.header:
            like[found.length, found.start].append(at)
        header = found.header
        sized = header and header.size == tuple(listed.table.images.sizes[listed.row].tolist())
        if not sized or (header and header.ignored != 1):
            yield from _problems(listed, folder, found)
    # Only files of the same length, beginning and end can be identical.
    groups: Iterable[list[int]] = like.values()
    for look in (ends, digests):
        suspects = [(number, at) for number, group in enumerate(groups) if len(group) > 1 for at in group]
        named = cut([paths[at] for _, at in suspects], SHARD)
        closer: dict[tuple[int, str], list[int]] = defaultdict(list)
        looks = chain.from_iterable(run(look, named, what="comparing images"))
        for (number, at), digest in zip(suspects, looks, strict=True):
            if digest:
                closer[number, digest].append(at)
            else:
                # The file was deleted in the meantime.
                yield from _problems(images[at], folder, inspect([paths[at]])[0])
        groups = closer.values()
    pairs = [(at, group[0]) for group in groups for at in group[1:]]
    both = [(paths[at], paths[other]) for at, other in pairs]
    same = chain.from_iterable(run(are_alike, cut(both, SHARD), what="comparing twins"))
    for (at, other), alike in zip(pairs, same, strict=True):
        if alike:
            yield _double(images[at], images[other], "content")


def _problems(listed: ListedImage, folder: Path, found: Inspection) -> Iterator[Finding]:
    images, path = listed.table.images, folder / listed.name
    name = images.file_names[listed.row]
    if found.header is None and not found.problem:
        message = must_be("file_name", f"an existing image in {path.parent}", name)
        yield listed.finding("E121", message, "put the image there, or remove it from images and annotations")
    elif found.header is None:
        message = f"{must_be('file_name', 'an image that can be read', name)} ({found.problem})"
        hint = found.hint or "replace the file, or remove it from images and annotations"
        yield listed.finding("E122", message, hint)
    else:
        width, height = images.sizes[listed.row].tolist()
        wrong = check_size(Location(path, found.header), width, height, file=listed.table.path, place="image")
        if wrong:
            yield replace(wrong, place=listed.place)
        elif found.header.ignored != 1:
            message = must_be("EXIF orientation", "1 (as stored) where OpenCV ignores it", found.header.ignored)
            hint = (
                "check its labels with `posetools view`: labelme and browsers rotate this image, training does not. "
                f"If they are right: `posetools convert --bake-rotation`. If they are not: {upright_command(path)}"
            )
            yield listed.finding("W326", f"{name}: {message}", hint)


def _double(listed: ListedImage, other: ListedImage, what: str) -> Finding:
    if listed.split == other.split and listed.fold != other.fold:
        message = must_be(what, f"in one fold only ({other.where} has it in fold {other.fold})", listed.name)
        hint = "keep one of the two, and write the folds again with `posetools split --folds`"
        return listed.finding("E126", message, f"{hint}: evaluation would use training data", other)
    if listed.split == other.split:
        message = must_be(what, f"in one entry only ({other.place} has it)", listed.name)
        return listed.finding("W206", message, "keep one of the two, with the objects of both", other)
    message = must_be(what, f"in one split only ({other.where} has it)", listed.name)
    hint = (
        "remove it from one split, or run `posetools split` again"
        if what == "file"
        else "`posetools subset DATA --out NEW --without-finding E126` removes it from one"
    ) + ": evaluation would use training data"
    return listed.finding("E126", message, hint, other)
