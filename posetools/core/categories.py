"""The categories of a data set, each with its skeleton.

Most data sets have one category. Where there are several, each has its own skeleton, or shares one with others; a
category without keypoints has boxes only. Arrays of keypoints have a column for each different name of a keypoint:
``nose`` of persons and ``nose`` of dogs are one column, and an object has values in its own category's columns only.

The file of one category is a skeleton file. Categories that share a skeleton are listed in its ``categories``, in place
of its ``category``; different skeletons are a list under ``skeletons``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from posetools.core.skeleton import BUILT_IN, DEFAULT, Skeleton, check_posed, dump_skeleton, load_skeleton
from posetools.errors import InputError, from_validation, must_be
from posetools.files.disk import read_text
from posetools.files.yaml_text import flow_text, parse_yaml

if TYPE_CHECKING:
    from posetools.core.geometry import Ints

# The keys of a file, or a record, with several skeletons, and of a skeleton of several categories.
_SKELETONS, _CATEGORIES = "skeletons", "categories"


@dataclass(frozen=True)
class Categories(Mapping[int, Skeleton]):
    """COCO category id -> the skeleton that belongs to the category, in the order of the data set.

    Attributes:
        skeletons: one for each category; ids and names of the categories are unique.
    """

    skeletons: tuple[Skeleton, ...]

    def __post_init__(self) -> None:
        named = [skeleton.category for skeleton in self.skeletons]
        for field in ("id", "name"):
            values = [getattr(category, field) for category in named]
            for value in values:
                if values.count(value) > 1:
                    raise ValueError(f"{field} of categories must be unique, got {value!r} {values.count(value)} times")
        if not named:
            raise ValueError("categories must be at least one, got none")

    @classmethod
    def of(cls, what: Skeleton | Categories) -> Categories:
        """Return categories as they are, and a skeleton as the only category."""
        return what if isinstance(what, Categories) else cls((what,))

    @classmethod
    def numbered(cls, found: Iterable[tuple[Any, Skeleton]]) -> Categories:
        """Return categories with the ids of their source, or 1, 2, ... if these are not different positive integers.

        A single category has the id 1: MMPose drops detections of a single category of another id.

        Args:
            found: the id in the source, and the skeleton, of each category.
        """
        ids, skeletons = zip(*found, strict=True)
        numbers = [number for number in ids if type(number) is int and number > 0]
        if len(ids) == 1 or len(set(numbers)) < len(ids):
            numbers = list(range(1, len(ids) + 1))
        renumbered = (
            one.model_copy(update={"category": one.category.model_copy(update={"id": number})})
            for number, one in zip(numbers, skeletons, strict=True)
        )
        return cls(tuple(renumbered))

    def __getitem__(self, category_id: int) -> Skeleton:
        return self._by_id[category_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self.skeletons)

    @cached_property
    def _by_id(self) -> dict[int, Skeleton]:
        return {skeleton.category.id: skeleton for skeleton in self.skeletons}

    @cached_property
    def ids(self) -> dict[str, int]:
        """Category name -> its id."""
        return {skeleton.category.name: number for number, skeleton in self.items()}

    @property
    def name(self) -> str:
        """The names of the skeletons, each once, for messages."""
        return ", ".join(dict.fromkeys(skeleton.name for skeleton in self.skeletons))

    @property
    def told(self) -> str:
        """The names of the categories for messages: ``'car', 'van' or 'cone'``."""
        *first, last = map(repr, self.ids)
        return f"{', '.join(first)} or {last}" if first else last

    @property
    def only(self) -> Skeleton:
        """The skeleton of the only category.

        Raises:
            ValueError: there are several.
        """
        if len(self) > 1:
            raise ValueError(f"one category is needed, got {', '.join(self.ids)}")
        return self.skeletons[0]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The K names of the columns of keypoints, each once."""
        return tuple(dict.fromkeys(name for skeleton in self.skeletons for name in skeleton.names))

    @cached_property
    def index(self) -> dict[str, int]:
        """Keypoint name -> its column."""
        return {name: i for i, name in enumerate(self.names)}

    @property
    def num_keypoints(self) -> int:
        """K, the number of columns."""
        return len(self.names)

    @cached_property
    def columns(self) -> dict[int, Ints]:
        """Category id -> the columns of its keypoints, in the order of its skeleton."""
        # Showing a skeleton needs no arrays.
        import numpy as np

        return {
            number: np.array([self.index[name] for name in skeleton.names], dtype=np.int64)
            for number, skeleton in self.items()
        }

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form: ``skeleton`` for one category, ``skeletons`` for several."""
        documents = [skeleton.model_dump(mode="json") for skeleton in self.skeletons]
        return {"skeleton": documents[0]} if len(documents) == 1 else {_SKELETONS: documents}

    @cached_property
    def groups(self) -> tuple[Categories, ...]:
        """The categories of each different skeleton, in the order of the first one."""
        groups: dict[str, list[Skeleton]] = {}
        for skeleton in self.skeletons:
            groups.setdefault(_points(skeleton), []).append(skeleton)
        return tuple(Categories(tuple(group)) for group in groups.values())

    @cached_property
    def posed(self) -> Mapping[str, Categories]:
        """Name of a skeleton -> its categories, for each different skeleton with keypoints: one pose estimator each."""
        found: dict[str, Categories] = {}
        for group in self.groups:
            name = group.skeletons[0].name
            if group.num_keypoints:
                found[name if name not in found else f"{name}-{group.skeletons[0].category.id}"] = group
        return found


def _points(skeleton: Skeleton) -> str:
    """Return everything in a skeleton but its name and category."""
    return skeleton.model_dump_json(exclude={"name", "category"})


def load_categories(name_or_path: str | Path = DEFAULT) -> Categories:
    """Return the category of a built-in skeleton, or the categories of the skeleton file at a path.

    Raises:
        RequestError: it is neither a built-in name nor an existing file.
        InputError: the file breaks a rule.
    """
    if str(name_or_path) in BUILT_IN or not Path(name_or_path).is_file():
        return Categories.of(load_skeleton(name_or_path))
    return read_categories(Path(name_or_path))


def read_categories(path: Path) -> Categories:
    """Return the categories of a skeleton file.

    Raises:
        InputError: the file cannot be read, is no YAML, or breaks a rule.
    """
    return parse_categories(path, read_text(path))


def parse_categories(path: Path | str, text: str) -> Categories:
    """Return the categories in the YAML text of a skeleton file.

    Args:
        path: the file, for messages.
        text: as ``dump_categories`` writes it.

    Raises:
        InputError: it is no YAML, or breaks a rule.
    """
    document = parse_yaml(path, text)
    listed = document.get(_SKELETONS) if isinstance(document, dict) and set(document) == {_SKELETONS} else None
    if listed is None:
        return _categories(path, [("", document)])
    if not isinstance(listed, list) or not listed:
        raise InputError(path, _SKELETONS, must_be(_SKELETONS, "a list of skeletons", listed))
    return _categories(path, [(f"{_SKELETONS}[{i}].", entry) for i, entry in enumerate(listed)])


def categories_in(path: Path, document: Mapping[str, Any]) -> Categories:
    """Return the categories of a JSON document that has the keys of ``Categories.as_record``.

    Args:
        path: its file, for messages.
        document: the document.

    Raises:
        InputError: a skeleton breaks a rule.
    """
    if _SKELETONS in document:
        return _categories(path, [(f"{_SKELETONS}[{i}].", entry) for i, entry in enumerate(document[_SKELETONS])])
    return _categories(path, [("skeleton.", document["skeleton"])])


def _categories(path: Path | str, entries: Sequence[tuple[str, Any]]) -> Categories:
    found: list[Skeleton] = []
    for place, entry in entries:
        own = entry.get(_CATEGORIES) if isinstance(entry, dict) else None
        shared = {key: value for key, value in entry.items() if key != _CATEGORIES} if isinstance(own, list) else entry
        for each in [{**shared, "category": one} for one in own] if isinstance(own, list) else [shared]:
            try:
                found.append(Skeleton.model_validate(each))
            except ValidationError as exc:
                error = from_validation(path, exc)
                raise InputError(
                    path, f"{place}{error.place}".rstrip("."), error.problem, *error.details, hint=error.hints
                ) from exc
    check_posed(path, found)
    try:
        return Categories(tuple(found))
    except ValueError as exc:
        raise InputError(path, _CATEGORIES, str(exc)) from exc


def dump_categories(categories: Categories) -> str:
    """Return the YAML text of some categories; ``read_categories`` gives them back unchanged."""
    texts = []
    # The order stays: MMDet numbers categories by their order.
    for _, run in groupby(categories.skeletons, key=lambda skeleton: skeleton.model_dump_json(exclude={"category"})):
        first, *others = run
        named = [one.category.model_dump(mode="json") for one in (first, *others)]
        text = dump_skeleton(first)
        if len(named) > 1:
            text = text.replace(f"category: {flow_text(named[0])}\n", f"{_CATEGORIES}: {flow_text(named)}\n", 1)
        texts.append(text)
    if len(texts) == 1:
        return texts[0]
    entries = [f"  - {indent(text, '    ').lstrip()}" for text in texts]
    return "".join([f"{_SKELETONS}:\n", *entries])
