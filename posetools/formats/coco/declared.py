"""What COCO files declare of their categories, read without the images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from posetools.core.coco_document import links_of
from posetools.errors import InputError
from posetools.files.disk import read_bytes, read_json
from posetools.formats.coco.keypoints import are_numbered, number_of_pairs, numbers_of_points
from posetools.formats.coco.model import raw_place
from posetools.formats.coco.sources import files_of, without_twins
from posetools.formats.coco.table import parse, split_text
from posetools.formats.declared import DeclaredCategory, made_names, with_options
from posetools.formats.options import ReadOptions


def declared(sources: Sequence[Path], options: ReadOptions) -> tuple[DeclaredCategory, ...]:
    """Return the categories of COCO files, or of folders with some; those with the same content once.

    Keypoints without names are named kpt_0, kpt_1, ..., or as --kpt-order says.

    Raises:
        RequestError: a source has no COCO file.
    """
    found: dict[tuple[object, ...], DeclaredCategory] = {}
    for path in (path for source in sources for path in without_twins(files_of(source))[0]):
        for each in _in_file(path, options):
            category = with_options(each, options)
            if category is not None:
                found.setdefault((category.name, category.keypoints, category.links), category)
    return tuple(found.values())


def _in_file(path: Path, options: ReadOptions) -> Iterator[DeclaredCategory]:
    try:
        raw = split_text(read_bytes(path))
        categories = read_json(path).get("categories") if raw is None else [parse(each) for each in raw.categories]
        entries = [(at, each) for at, each in enumerate(categories or ()) if _is_named(each)]
        unnamed = options.kpt_order is not None or not all(each.get("keypoints") for _, each in entries)
        # Objects are read only if the categories do not say all.
        document = read_json(path) if unnamed else {}
    except (InputError, AttributeError, TypeError):
        # Reading the objects reports what is wrong.
        return
    objects = document.get("annotations") or ()
    numbers = numbers_of_points(objects)
    for at, entry in entries:
        number = entry["id"] if type(entry.get("id")) is int else -1
        counts = set(numbers.get(number, ()))
        if not counts and options.assume_visible:
            counts = {number_of_pairs(objects, number)} - {0}
        yield _declared(entry, f"{path}: {raw_place('categories', at, entry)}", counts, options)
    if not entries and options.kpt_order is not None:
        yield DeclaredCategory("", options.kpt_order, str(path))


def _declared(entry: Mapping[str, Any], where: str, counts: set[int], options: ReadOptions) -> DeclaredCategory:
    """Return an entry in ``categories``, whose objects have these numbers of keypoints."""
    names = entry.get("keypoints")
    known = tuple(map(str, names)) if isinstance(names, list) else ()
    number = entry["id"] if type(entry.get("id")) is int else None
    order = options.kpt_order
    if order is not None and (known or counts) and not set(order) & {options.names.get(name, name) for name in known}:
        return DeclaredCategory(entry["name"], order, where, number, links_of(entry))
    if known or len(counts) != 1:
        return DeclaredCategory(
            entry["name"], known, where, number, links_of(entry), named=not (known and are_numbered(known))
        )
    return DeclaredCategory(entry["name"], made_names(*counts), where, number, named=False)


def _is_named(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("name"), str)
