"""Formats of other packages: what a FormatPlugin yields, checked and read as any format.

Values come from files, so a wrong number is a finding on its object. Anything that is not what the protocol says is the
plug-in's mistake, and stops reading with an error that names its package.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from posetools.core.categories import Categories
from posetools.core.dataset import Visibility
from posetools.core.findings import Finding
from posetools.core.geometry import DECIMALS, MAX_COORDINATE, Floats
from posetools.errors import PluginError, PosetoolsError, RequestError, must_be, show_value
from posetools.files.walking import walk_files
from posetools.formats.declared import DeclaredCategory, SeenObject, SeenObjects, with_options
from posetools.formats.entry import Format
from posetools.formats.joining.made_boxes import box_round
from posetools.formats.labels import category_of, settled, unknown_label
from posetools.formats.options import ReadOptions
from posetools.formats.plugin import (
    Declares,
    FormatPlugin,
    Labeled,
    ProblemCode,
    ReadImage,
    ReadObject,
    ReadProblem,
)
from posetools.formats.reading import Corners, FileReading, PointXYV, Row
from posetools.formats.shards import ShardReading, shard_of
from posetools.formats.sources.many import Opener, SourceFile, without_entry
from posetools.imaging.header import is_image
from posetools.plugins.registry import Plugin, warn_of

_PROBLEM_CODES = get_args(ProblemCode)
_SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def as_format(plugin: Plugin, found: object) -> Format:
    """Return the format that a plug-in registers.

    Raises:
        PluginError: it is no FormatPlugin, or one with fields of other types.
    """
    if not isinstance(found, FormatPlugin):
        raise plugin.error(f"must be a FormatPlugin, got {show_value(found)}")
    _check_types(plugin, found, {"title": str, "signs": str}, "FormatPlugin")
    for name in ("detect", "read", "declares", "sample"):
        value = getattr(found, name)
        if not callable(value) and (value is not None or name in ("detect", "read")):
            raise plugin.error(f"must give a function as {name} of its FormatPlugin, got {show_value(value)}")
    return Format(
        name=plugin.name,
        title=found.title,
        detect=_Detection(plugin, found),
        signs=found.signs,
        shards=partial(_shards, plugin, found),
        declared=partial(_declared, plugin, found),
        lacks=frozenset({"splits"}),
        sample=found.sample,
    )


@dataclass(slots=True)
class _Detection:
    """Whether a path is in a plug-in's format. Detection of all other formats goes on after it failed."""

    plugin: Plugin
    found: FormatPlugin
    _has_failed: bool = False

    def __call__(self, path: Path) -> bool:
        if self._has_failed:
            return False
        try:
            with self.plugin.guarded("fails to detect its format"):
                said = self.found.detect(path)
                if not isinstance(said, bool | np.bool_):
                    raise self.plugin.error(f"must return True or False from detect, got {show_value(said)}")
        except PluginError as exc:
            self._has_failed = True
            warn_of(exc)
            return False
        return bool(said)


def _shards(
    plugin: Plugin, found: FormatPlugin, sources: Sequence[Path], categories: Categories, options: ReadOptions
) -> Iterator[ShardReading]:
    options = settled(categories, options)
    opener = Opener(options.image_roots)
    for source in sources:
        if not source.exists():
            raise RequestError(must_be(str(source), "an existing folder or file", "nothing there"))
        reader = _Reader(plugin, source, categories, options, opener)
        readings = [reader.read(each) for each in _labeled(plugin, found, source)]
        images = [path for path in walk_files(source) if is_image(path)] if source.is_dir() else []
        files = len({reading.file for reading in readings})
        yield shard_of(readings, categories, without_entry(images, readings, f"a {found.title} file"), files=files)


def _declared(
    plugin: Plugin, found: FormatPlugin, sources: Sequence[Path], options: ReadOptions
) -> Sequence[DeclaredCategory]:
    if found.declares is None:
        seen = SeenObjects(options, str(sources[0]))
        for source in sources:
            for each in _labeled(plugin, found, source):
                if isinstance(each, ReadImage):
                    seen.add([SeenObject(one.category, list(one.keypoints)) for one in each.objects])
        return seen.declared()
    declared = [
        DeclaredCategory(name, tuple(points), str(source))
        for source in sources
        for name, points in _declaration(plugin, found.declares, source).items()
    ]
    return [one for each in declared if (one := with_options(each, options))]


def _declaration(plugin: Plugin, declares: Declares, source: Path) -> Mapping[str, Sequence[str]]:
    with plugin.guarded(f"fails to read {source}", PosetoolsError):
        said = declares(source)
        if not isinstance(said, Mapping) or not all(map(_is_declaration, said.items())):
            rule = "a mapping from categories to the names of their keypoints"
            raise plugin.error(f"must return {rule} from declares, got {show_value(said)}")
    return said


def _is_declaration(entry: tuple[object, object]) -> bool:
    category, names = entry
    is_list = isinstance(names, Sequence) and not isinstance(names, str | bytes)
    return _is_name(category) and is_list and all(map(_is_name, names))  # type: ignore[call-overload]


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _labeled(plugin: Plugin, found: FormatPlugin, source: Path) -> Iterator[Labeled]:
    """Yield what a plug-in reads, if it has the types that the protocol says."""
    declaration = _declaration(plugin, found.declares, source) if found.declares else None
    with plugin.guarded(f"fails to read {source}", PosetoolsError):
        for each in found.read(source):
            _check_labeled(plugin, each)
            if declaration is not None and isinstance(each, ReadImage):
                _check_declared(plugin, each, declaration)
            yield each


def _check_declared(plugin: Plugin, each: ReadImage, declaration: Mapping[str, Sequence[str]]) -> None:
    for one in each.objects:
        others = set(one.keypoints) - set(declaration.get(one.category, ()))
        if one.category not in declaration or others:
            what = f"keypoint {min(others)!r} of {one.category!r}" if others else f"category {one.category!r}"
            raise plugin.error(f"must declare all that it reads, but does not declare {what} in {each.file}")


def _check_labeled(plugin: Plugin, each: object) -> None:
    if isinstance(each, ReadProblem):
        _check_types(plugin, each, {"file": Path, "message": str, "place": str, "hint": str}, "ReadProblem")
        if each.code not in _PROBLEM_CODES:
            raise plugin.error(
                f"must give one of {', '.join(_PROBLEM_CODES)} as code of a ReadProblem, got {show_value(each.code)}"
            )
        return
    if not isinstance(each, ReadImage):
        raise plugin.error(f"must yield a ReadImage or a ReadProblem, got {show_value(each)}")
    types = {"file": Path, "image": (str, Path), "place": str, "split": (str, type(None))}
    _check_types(plugin, each, types, "ReadImage")
    for name, kind in (("objects", ReadObject), ("problems", ReadProblem)):
        listed = getattr(each, name)
        if not isinstance(listed, Sequence) or not all(isinstance(one, kind) for one in listed):
            raise plugin.error(
                f"must give a list of {kind.__name__} as {name} of {each.file}, got {show_value(listed)}"
            )
    for problem in each.problems:
        _check_labeled(plugin, problem)
    if each.split is not None and not _SPLIT.fullmatch(each.split):
        raise plugin.error(f"must give a name such as train as split of {each.file}, got {show_value(each.split)}")
    for one in each.objects:
        _check_types(plugin, one, {"category": str, "place": str, "keypoints": Mapping}, f"ReadObject of {each.file}")
        for name, point in one.keypoints.items():
            if not _is_name(name) or _numbers(point, 3) is None:
                rule = "x, y and visibility by the keypoint's name"
                raise plugin.error(f"must give {rule} in keypoints of {each.file}, got {show_value({name: point})}")
        if one.box is not None and _numbers(one.box, 4) is None:
            raise plugin.error(f"must give x1, y1, x2, y2 as box of {each.file}, got {show_value(one.box)}")


def _check_types(plugin: Plugin, one: object, types: Mapping[str, Any], what: str) -> None:
    for name, kind in types.items():
        value = getattr(one, name)
        if not isinstance(value, kind):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            rule = " or ".join("None" if each is type(None) else each.__name__ for each in kinds)
            raise plugin.error(f"must give a {rule} as {name} of its {what}, got {show_value(value)}")


def _numbers(value: Any, count: int) -> Floats | None:
    """Return some numbers as (count,) floats, NaN for those that are no pixels; None for anything else."""
    items = list(value) if isinstance(value, Sequence | np.ndarray) else []
    if len(items) != count or not all(isinstance(one, int | float | np.integer | np.floating) for one in items):
        return None
    # An integer may be larger than any float.
    return np.array([one if abs(one) <= MAX_COORDINATE else np.nan for one in items], dtype=np.float64)


def _rounded(value: object, count: int) -> list[float]:
    """Return checked numbers as all formats have them; NaN for all if one is no number of pixels."""
    numbers = _numbers(value, count)
    if numbers is None or np.isnan(numbers).any():
        return [np.nan] * count
    return [float(number) for number in numbers.round(DECIMALS)]


@dataclass(slots=True)
class _Reader:
    """Reads what a plug-in yields of one source."""

    plugin: Plugin
    source: Path
    categories: Categories
    options: ReadOptions
    opener: Opener

    def read(self, each: Labeled) -> FileReading:
        if isinstance(each, ReadProblem):
            return FileReading(each.file, findings=[_finding(each)])
        root = self.source if self.source.is_dir() else self.source.parent
        file = SourceFile(each.file, root, root.resolve().name)
        reading = self.opener.open(file, [_relative(each)], place=each.place, objects=len(each.objects), what="objects")
        if reading.image is None:
            return reading
        found = _Objects(self.plugin, str(each.file), reading.size, self.categories, self.options)
        rows = [found.row(one, one.place or f"objects[{at}]") for at, one in enumerate(each.objects)]
        return replace(
            reading,
            split=each.split,
            rows=[row for row in rows if row is not None],
            findings=[*reading.findings, *map(_finding, each.problems), *found.findings],
            ignored=found.ignored,
        )


def _finding(problem: ReadProblem) -> Finding:
    return Finding(problem.code, str(problem.file), problem.place, problem.message, problem.hint)


def _relative(each: ReadImage) -> str:
    """Return an image's path as the annotation file would write it."""
    if isinstance(each.image, str):
        return each.image
    try:
        return os.path.relpath(each.image, each.file.parent)
    except ValueError:
        # It is on another drive.
        return str(each.image)


@dataclass(slots=True)
class _Objects:
    """Reads the objects of one image; each is a row, or ends up in ``findings`` or ``ignored``."""

    plugin: Plugin
    file: str
    size: tuple[int, int]
    categories: Categories
    options: ReadOptions
    findings: list[Finding] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)

    def row(self, one: ReadObject, place: str) -> Row | None:
        if one.category in self.options.ignore:
            self.ignored[one.category] += 1
            return None
        category = category_of(one.category, self.categories, self.options)
        if category is None:
            self._refuse_label(one.category, list(self.categories.ids), place, "category", self.categories.told)
            return None
        points = self._points(one, category, place)
        box = self._box(one, points, place)
        return None if box is None else Row(box, points, place, category)

    def _find(self, code: str, place: str, message: str, hint: str = "") -> None:
        self.findings.append(Finding(code, self.file, place, message, hint))

    def _refuse_label(self, label: str, known: Sequence[str], place: str, what: str, rule: str) -> None:
        found = unknown_label(label, known, file=self.file, place=place, field=what, rule=rule)
        self.findings.append(replace(found, of="rectangle" if what == "category" else "point"))

    def _refuse_value(self, what: str, rule: str, value: object, place: str) -> None:
        hint = f"correct it in the file; if it is right there, {self.plugin.title} reads it wrongly"
        self._find("E311", place, must_be(what, rule, value), hint)

    def _points(self, one: ReadObject, category: int, place: str) -> list[PointXYV]:
        skeleton = self.categories[category]
        points: list[PointXYV] = [(0.0, 0.0, 0)] * self.categories.num_keypoints
        for label, point in one.keypoints.items():
            name = self.options.names.get(label, label)
            if label in self.options.ignore:
                self.ignored[label] += 1
                continue
            if name not in skeleton.index:
                self._refuse_label(label, skeleton.names, place, "keypoint", f"a keypoint of skeleton {skeleton.name}")
                continue
            x, y, visibility = _rounded(point, 3)
            if visibility not in tuple(Visibility):
                rule = f"x and y of at most {MAX_COORDINATE} and a visibility of 0, 1 or 2"
                self._refuse_value(f"keypoint {label!r}", rule, list(point), place)
            elif points[at := self.categories.index[name]][2]:
                self._find("E305", place, must_be(name, "at most one point of an object", "2 points"))
            elif visibility:
                points[at] = (x, y, int(visibility))
        return points

    def _box(self, one: ReadObject, points: Sequence[PointXYV], place: str) -> Corners | None:
        if one.box is not None:
            x1, y1, x2, y2 = _rounded(one.box, 4)
            if x1 < x2 and y1 < y2:
                return x1, y1, x2, y2
            rule = f"x1, y1, x2, y2 of at most {MAX_COORDINATE} with width and height"
            self._refuse_value("box", rule, list(one.box), place)
            return None
        from_points = self.options.box_from == "keypoints"
        box = box_round(points, self.options, self.size) if from_points else None
        if box is None:
            hint = (
                "none of its labeled keypoints is in the image"
                if from_points
                else "--box-from keypoints makes boxes from labeled points"
            )
            self._find("E306", place, must_be("an object", "one with a box", "none"), hint)
        return box
