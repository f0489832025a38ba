"""YOLO-pose: one text file per image, one line per object, all in fractions of the image.

A line is ``class cx cy w h`` and then K points of two (``x y``) or three numbers (``x y v``). layout.py says where
files are searched for, columns.py which point is which. Rules for reading:

- ``kpt_shape`` and ``flip_idx`` are declared in data.yaml, or ``kpt_shape`` is given as an option; a line with another
  count of numbers is a finding. The columns' order is the option's, else that of ``kpt_names``, else kpt_0 to kpt_K-1
  if the skeleton was made of a set without names, else the skeleton's if K and ``flip_idx`` agree with it. Keypoints
  of the skeleton without a column are not labeled.
- Classes named like the categories are read (class 0 if there is one category and classes have no names); other classes
  must be left out by name. A class without a name is identified by its number. Each class has the points that
  ``kpt_names`` gives it; a labeled point that the category does not have is a finding.
- ``v`` is 0 (not labeled), 1 (labeled but not visible) or 2 (visible). Points without ``v`` are refused unless the user
  reads them as visible; then (0, 0) means not labeled, and so do negative numbers (ultralytics masks them) and NaN.
  Lines with scores for ``v`` (mostly fractions) are read in the same way.
- A point at (-1, -1), the mark of a missing one, is not labeled whatever ``v`` is. A line with only class and box is
  an object without labeled keypoints. Both are counted (W324).
- Fractions refer to the upright image (after EXIF rotation) and are converted to pixels, to 1e-9. The center and the
  sides of a box are in [0, 1]; labeled points may be outside.
- An image with an empty label file is one without objects; so is one without a label file, which is reported.
- The split that data.yaml or the folders declare is kept.

Written: ``images/<split>``, ``labels/<split>`` and data.yaml with ``kpt_shape``, ``flip_idx`` (if training may mirror
images), ``names``, ``kpt_names`` and paths relative to its folder; unlabeled points as ``0 0 0``; numbers with all
their digits. All classes have the keypoints of all categories, each name once. YOLO-pose cannot hold iscrowd (refused),
an area (width times height when read again), a labeled point or box center outside the image (refused: ultralytics
skips such images), or keypoints that have another left/right partner in another category (refused).
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import yaml

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, Split, Visibility
from posetools.core.findings import Finding
from posetools.core.geometry import (
    MAX_COORDINATE,
    Floats,
    denormalize_points,
    normalize_points,
    xyxy_from_yolo,
    yolo_from_xyxy,
)
from posetools.errors import InputError, RequestError, must_be
from posetools.files.disk import Transfer, read_text, transfer
from posetools.formats.entry import Format
from posetools.formats.joined import CauseFinding, RepeatedFinding, repaired
from posetools.formats.joining.label_hints import as_typed
from posetools.formats.labels import category_of, settled, unknown_label
from posetools.formats.options import ReadOptions
from posetools.formats.plain_numbers import cell_number
from posetools.formats.reading import FileReading, Row
from posetools.formats.shards import ShardReading, shard_of
from posetools.formats.sources.locate import name_below, open_image
from posetools.formats.target import check_holdable, put_text, slices, slices_of_splits
from posetools.formats.yolo_pose.columns import LineColumns, declare_columns
from posetools.formats.yolo_pose.data_yaml import IMAGES, YoloSet
from posetools.formats.yolo_pose.declared import declared
from posetools.formats.yolo_pose.layout import (
    YOLO_SPLITS,
    YoloImage,
    is_yolo_pose,
    label_path,
    list_images,
    open_source,
    outside,
)
from posetools.progress import silent
from posetools.scale.shards import SHARD, cut, engine_for, run_shards

# Rounding in other tools may add this much to a fraction.
_SLACK = 1e-6
# Class, center and size.
_BOX_ALONE = 5
# Some programs write this as both coordinates of a missing keypoint.
_MISSING_COORDINATE = -1.0
# Boxes in fractions have no larger numbers; boxes in pixels do.
_LARGEST_FRACTION = 2


class _Task(NamedTuple):
    listed: YoloImage
    source: YoloSet
    columns: LineColumns
    origin: str


def shards(sources: Sequence[Path], categories: Categories, options: ReadOptions) -> Iterator[ShardReading]:
    """Yield the content of YOLO-pose folders, or of data.yaml files.

    Raises:
        RequestError: a source does not exist or has no images, or an option is required.
        InputError: data.yaml cannot be read, or contradicts itself or the skeleton.
    """
    options = settled(categories, options)
    tasks: list[_Task] = []
    findings: list[Finding] = []
    for path in sources:
        source = open_source(path)
        findings += source.findings
        columns = declare_columns(source, categories, options, findings)
        _check_classes(source, columns, categories, options)
        listed, wrong = list_images(source, options.image_roots, new_split=options.new_split)
        findings += wrong
        home = source.root.resolve().name
        tasks += [_Task(one, source, columns, (len(sources) == 1 and one.split) or home) for one in listed]
    unique = list({os.path.realpath(task.listed.image): task for task in reversed(tasks)}.values())[::-1]
    portable = replace(options, progress=silent, engine=None)
    work = partial(_read_images, categories=categories, options=portable)
    what, engine = "reading YOLO-pose files", options.engine or engine_for(options.workers)
    yield from run_shards(work, cut(unique, SHARD), engine, options.progress, what)
    yield shard_of([], categories, findings, files=0)


def write(splits: Mapping[str, Split], folder: Path, how: Transfer) -> None:
    """Write a YOLO-pose folder with data.yaml.

    Raises:
        RequestError: a split is not one of train, val and test.
        InputError: YOLO-pose cannot hold something (see the module's docstring).
        OutputError: a file cannot be written.
    """
    unknown = sorted(set(splits) - set(YOLO_SPLITS))
    if unknown:
        raise RequestError(must_be("splits of a YOLO-pose data set", f"among {', '.join(YOLO_SPLITS)}", unknown))
    check_holdable(splits, "YOLO-pose", lambda split, name: str(_label_name(split, name)))
    for dataset in slices(splits.values()):
        _check_inside(dataset)
    for categories in [part.categories for part in splits.values()][:1]:
        text = _data_yaml(categories, [split for split in YOLO_SPLITS if split in splits])
        put_text(folder / "data.yaml", text)
    for split, dataset in slices_of_splits(splits):
        for image, rows in zip(dataset.images, dataset.rows_of_images(), strict=True):
            if image.path is not None:
                transfer(image.path, folder / IMAGES / split / image.file_name, how)
            part = slice(rows.start, rows.stop)
            text = _label_text(dataset, part, image.size)
            put_text(folder / _label_name(split, image.file_name), text)


FORMAT = Format(
    name="yolo-pose",
    title="YOLO-pose",
    detect=is_yolo_pose,
    signs="data.yaml with kpt_shape, or images/ and labels/ with .txt files",
    shards=shards,
    # The label files are checked one by one.
    endings=(".yaml", ".yml"),
    declared=declared,
    write=write,
    lacks=frozenset({"areas", "links", "sigmas"}),
    in_shards=True,
)


def _check_classes(source: YoloSet, columns: LineColumns, categories: Categories, options: ReadOptions) -> None:
    """Refuse a data set without a class for any category: every line of it would be a finding."""
    if columns.classes is None or any(category_of(name, categories, options) for name in columns.classes.values()):
        return
    names = list(columns.classes.values())
    problem = must_be("names", f"a list with the skeleton's category {categories.told}", names)
    near = names[0] if names else "OLD"
    raise InputError(source.where, "names", problem, hint=f"--map '{near}={next(iter(categories.ids))}' maps it")


def _read_images(tasks: Sequence[_Task], *, categories: Categories, options: ReadOptions) -> ShardReading:
    readings = (_read_image(task, categories=categories, options=options) for task in tasks)
    return shard_of(readings, categories, files=sum(task.listed.label.is_file() for task in tasks))


def _read_image(task: _Task, *, categories: Categories, options: ReadOptions) -> FileReading:
    image, label = task.listed.image, task.listed.label
    roots = (task.source.root, *options.image_roots)
    elsewhere = outside(image, roots) or outside(label, roots, "the label file")
    located = elsewhere or open_image(image)
    if isinstance(located, Finding):
        return FileReading(label, findings=[replace(located, message=f"{located.message} (left out with {label})")])
    lines = _Lines(str(label), located.header.size, task.columns, categories, options)
    if label.is_file():
        try:
            lines.read(read_text(label))
        except InputError as exc:
            lines.findings.append(Finding("E310", str(label), exc.place, exc.problem, "save it as UTF-8"))
    else:
        message = f"the image must have a label file, got none at {label}: read as without objects"
        hint, cause = "an empty label file means no objects", "images without a label file have no objects"
        lines.findings.append(CauseFinding("W322", str(image), "", message, hint, cause=cause))
    return FileReading(
        label,
        image=image,
        identity=os.path.realpath(image),
        name=name_below(image, (task.listed.base, *roots)),
        origin=task.origin,
        size=located.header.size,
        split=task.listed.split,
        rows=lines.rows(),
        findings=lines.findings,
        ignored=lines.ignored,
        objects=lines.objects,
    )


@dataclass
class _Lines:
    """Reads one label file; every line ends up in ``rows``, in ``findings`` or in ``ignored``."""

    file: str
    size: tuple[int, int]
    columns: LineColumns
    categories: Categories
    options: ReadOptions
    findings: list[Finding] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    objects: int = 0
    _boxes_alone: int = 0
    _numbers: list[int] = field(default_factory=list)
    _category_ids: list[int] = field(default_factory=list)
    _values: list[list[float]] = field(default_factory=list)

    def read(self, text: str) -> None:
        for number, line in enumerate(text.split("\n"), start=1):
            tokens = line.split()
            if tokens:
                self.objects += 1
                category = self._category(number, tokens[0])
                if category is not None:
                    self._add(number, category, tokens)

    def rows(self) -> list[Row]:
        if not self._values:
            return []
        table = np.array(self._values, dtype=np.float64)
        points = table[:, 5:].reshape(len(table), -1, self.columns.dims)
        visibility = self._visibility(points)
        self._note_unlabeled(points, visibility)
        places = np.dstack([denormalize_points(points[:, :, :2], self.size), visibility])
        keypoints = np.zeros((len(table), self.categories.num_keypoints, 3))
        ids = np.array(self._category_ids)
        for category, order in self.columns.keypoints.items():
            read = [(column, keypoint) for column, keypoint in enumerate(order) if keypoint is not None]
            rows, (columns, own) = np.flatnonzero(ids == category), zip(*read, strict=True) if read else ((), ())
            keypoints[np.ix_(rows, own)] = places[np.ix_(rows, columns)]
        boxes = xyxy_from_yolo(table[:, 1:5], self.size)
        values = zip(boxes.tolist(), keypoints.tolist(), self._numbers, self._category_ids, strict=True)
        return [
            Row((x1, y1, x2, y2), [(x, y, int(seen)) for x, y, seen in own], f"line {number}", category)
            for (x1, y1, x2, y2), own, number, category in values
            if self._is_own(number, category, own)
        ]

    def _is_own(self, number: int, category: int, keypoints: Sequence[Sequence[float]]) -> bool:
        """Return whether only the category's own keypoints are labeled; else add a finding."""
        if len(self.categories) == 1:
            return True
        skeleton, names = self.categories[category], self.categories.names
        labeled = [name for name, (_, _, seen) in zip(names, keypoints, strict=True) if seen]
        others = [name for name in labeled if name not in skeleton.index]
        if others:
            problem = must_be("labeled points", f"keypoints of {skeleton.category.name!r}, the line's class", others)
            self._find("E311", number, problem, "correct the class, or write 0 0 0 for these points")
        return not others

    def _visibility(self, points: Floats) -> Floats:
        """Return the (N, K) visibilities of (N, K, 2 or 3) points, and set missing points to zero in place."""
        scores = 0
        missing = np.isnan(points).any(axis=2) | (points[:, :, :2] == _MISSING_COORDINATE).all(axis=2)
        if self.columns.dims == 2:
            missing |= (points < 0).any(axis=2)
            visibility = np.where((points == 0).all(axis=2), Visibility.NOT_LABELED, Visibility.VISIBLE)
        else:
            visibility = points[:, :, 2].copy()
            # Only lines with scores have a value between 0 and 1.
            scored = ((visibility > 0) & (visibility < 1)).any(axis=1)
            seen = np.where((points[:, :, :2] == 0).all(axis=2), Visibility.NOT_LABELED, Visibility.VISIBLE)
            visibility[scored] = seen[scored]
            missing[scored] |= (points[scored, :, :2] < 0).any(axis=2)
            scores = int(scored.sum())
        marked = missing & (visibility != Visibility.NOT_LABELED)
        visibility[missing] = Visibility.NOT_LABELED
        points[missing] = 0
        notes = {
            "lines with scores for visibility read by --assume-visible": scores,
            "keypoints with negative numbers or NaN read as not labeled": int(marked.sum()),
            "lines with only class and box read as objects without labeled keypoints": self._boxes_alone,
        }
        self.findings += repaired(self.file, notes)
        return visibility

    def _find(self, code: str, number: int, message: str, hint: str = "") -> None:
        self.findings.append(Finding(code, self.file, f"line {number}", message, hint))

    def _repeat(self, code: str, number: int, message: str, hint: str, what: str) -> None:
        """Add a finding that is reported once for all lines of a run."""
        self.findings.append(RepeatedFinding(code, self.file, f"line {number}", message, hint, what=what))

    def _category(self, number: int, token: str) -> int | None:
        """Return the id of a line's category; None if the line is left out or is a finding."""
        value = _as_number(token)
        index = int(value) if value is not None and value >= 0 and value.is_integer() else None
        if index is None:
            self._find("E311", number, must_be("class", "a whole number, 0 or more", token), "correct the line")
            return None
        classes = self.columns.classes
        name = (classes or {}).get(index, str(index))
        if name in self.options.ignore:
            self.ignored[name] += 1
            return None
        found = category_of(name, self.categories, self.options)
        if found is None and classes is None and index == 0 and len(self.categories) == 1:
            (found,) = self.categories
        if found in self.columns.keypoints:
            return found
        known = list(self.categories.ids)
        if classes is not None and index not in classes:
            rule = f"one of the {len(classes)} in names, {sorted(classes)}"
            hint = f"--ignore {index} leaves its objects out; --map {index}={known[0]} reads them"
            self._find("E311", number, must_be("class", rule, index), hint)
            return None
        rule = f"the category {self.categories.told}"
        place = f"line {number}"
        unknown = unknown_label(name, known, file=self.file, place=place, field="class", rule=rule)
        self.findings.append(replace(unknown, of="rectangle"))
        return None

    def _add(self, number: int, category: int, tokens: Sequence[str]) -> None:
        if len(tokens) == _BOX_ALONE:
            self._boxes_alone += 1
            tokens = [*tokens, *["0"] * (self.columns.per_line - _BOX_ALONE)]
        if len(tokens) != self.columns.per_line:
            rule = f"{self.columns.per_line} numbers (5 and {self.columns.points} points of {self.columns.dims})"
            problem = f"the line must be {rule}, got {len(tokens)}"
            self._repeat("E309", number, problem, _shape_hint(len(tokens)), problem)
            return
        values = []
        for column, token in enumerate(tokens, start=1):
            value = _as_number(token, nan=column > _BOX_ALONE)
            if value is None:
                self._find(
                    "E311",
                    number,
                    must_be(f"number {column}", f"a finite number of at most {MAX_COORDINATE}", token),
                    "correct the line",
                )
                return
            values.append(value)
        problem = self._wrong_value(values)
        if problem:
            self._refuse(number, problem, values)
            return
        self._numbers.append(number)
        self._category_ids.append(category)
        self._values.append(values)

    def _refuse(self, number: int, problem: str, values: Sequence[float]) -> None:
        if self._has_scores(values):
            hint = "if these are scores, --assume-visible reads every point as visible, and (0, 0) as not labeled"
            self._repeat("E311", number, problem, hint, "visibility must be 0, 1 or 2, got fractions in lines")
        elif max(values[1:_BOX_ALONE]) > _LARGEST_FRACTION:
            hint = "if these are pixels, divide x and w by the image's width, y and h by its height"
            self._repeat("E311", number, problem, hint, "a box must be in fractions of the image, got larger numbers")
        else:
            self._find("E311", number, problem, "correct the line; all but class and visibility are fractions")

    def _has_scores(self, values: Sequence[float]) -> bool:
        """Return whether most third numbers of a line are fractions; a single one is a mistake."""
        seen = [value for value in values[_BOX_ALONE + 2 :: 3] if value] if self.columns.dims > 2 else []
        return 2 * sum(0 < value < 1 for value in seen) > len(seen)

    def _wrong_value(self, values: Sequence[float]) -> str:
        for name, value in zip(("cx", "cy", "w", "h"), values[1:5], strict=True):
            if not -_SLACK <= value <= 1 + _SLACK:
                return must_be(name, "in [0, 1], a fraction of the image", value)
            if name in "wh" and value <= 0:
                return must_be(name, "greater than 0", value)
        dims = self.columns.dims
        scores = self.options.assume_visible and self._has_scores(values)
        for point in range(self.columns.points):
            x, y, *rest = values[_BOX_ALONE + point * dims : _BOX_ALONE + (point + 1) * dims]
            if math.isnan(x) and math.isnan(y):
                continue
            if rest and rest[0] not in (0.0, 1.0, 2.0) and not (scores and 0 <= rest[0] <= 1):
                return must_be(f"visibility of point {point}", "0, 1 or 2", rest[0])
            if (math.isnan(x) or math.isnan(y)) and 0.0 not in rest:
                return must_be(f"point {point}", "two numbers, or NaN NaN for a missing one", [x, y])
        return ""

    def _note_unlabeled(self, points: Floats, visibility: Floats) -> None:
        odd = ((visibility == Visibility.NOT_LABELED) & (points[:, :, :2] != 0).any(axis=2)).any(axis=1)
        numbers = [number for number, wrong in zip(self._numbers, odd.tolist(), strict=True) if wrong]
        if numbers:
            listed = ", ".join(f"line {number}" for number in numbers)
            message = "points with visibility 0 must be 0 0 0, got coordinates: left out"
            hint = "write visibility 1 for labeled but not visible"
            found = RepeatedFinding("W203", self.file, listed, message, hint, what=message, number=len(numbers))
            self.findings.append(found)


def _shape_hint(numbers: int) -> str:
    """Return what to type if a line does not have the declared count of numbers."""
    points = numbers - _BOX_ALONE
    fitting = [f"--kpt-shape {points // dims},{dims}" for dims in (3, 2) if points > 0 and points % dims == 0]
    if not fitting:
        return "correct the line: class, box, then 2 or 3 numbers for each keypoint"
    return f"{' or '.join(fitting)} reads lines of {numbers} numbers if all lines are so; else correct the line"


def _as_number(token: str, *, nan: bool = False) -> float | None:
    value = cell_number(token)
    return None if value is None or (math.isnan(value) and not nan) else value


def _label_name(split: str, file_name: str) -> Path:
    image = Path(IMAGES, split, *PurePosixPath(file_name).parts)
    return label_path(image, [Path()])


def _check_inside(dataset: Dataset) -> None:
    for instance in dataset:
        box = yolo_from_xyxy(instance.box[None], instance.image.size)[0]
        labeled = instance.keypoints[instance.keypoints[:, 2] > Visibility.NOT_LABELED, :2]
        points = normalize_points(labeled, instance.image.size)
        for name, values, shown in (("box", box, instance.box), ("keypoints", points, labeled)):
            if ((values < 0) | (values > 1)).any():
                rule = f"in the image of {instance.image.size} pixels for YOLO-pose (of a box, center and size)"
                problem = must_be(name, rule, shown.tolist())
                hint = "correct or delete the object; ultralytics would skip the whole image"
                raise InputError(instance.image.file_name, str(instance.origin), problem, hint=hint)


def _label_text(dataset: Dataset, part: slice, size: tuple[int, int]) -> str:
    """Return the lines of the objects of an image, which are a slice of a Dataset."""
    lines = []
    classes = {category: index for index, category in enumerate(dataset.categories)}
    boxes, keypoints = yolo_from_xyxy(dataset.boxes[part], size), dataset.keypoints[part]
    points = normalize_points(keypoints[:, :, :2], size).tolist()
    visibility = keypoints[:, :, 2].astype(int).tolist()
    values = zip(dataset.category_ids[part].tolist(), boxes.tolist(), points, visibility, strict=True)
    for category, box, places, seen in values:
        numbers = [str(classes[category]), *map(repr, box)]
        for (x, y), v in zip(places, seen, strict=True):
            numbers += [repr(x), repr(y), str(v)] if v else ["0", "0", "0"]
        lines.append(" ".join(numbers) + "\n")
    return "".join(lines)


def _data_yaml(categories: Categories, splits: Sequence[str]) -> str:
    names = list(categories.names)
    posed = [group.skeletons[0] for group in categories.posed.values()]
    document = {
        **{split: f"{IMAGES}/{split}" for split in splits},
        "kpt_shape": [len(names), 3],
        # Without it ultralytics does not mirror images.
        **({"flip_idx": _flip_idx(categories)} if all(skeleton.mirrors for skeleton in posed) else {}),
        "names": dict(enumerate(categories.ids)),
        "kpt_names": {index: list(names) for index in range(len(categories))},
    }
    text = yaml.safe_dump(document, default_flow_style=None, sort_keys=False, allow_unicode=True, width=10_000)
    return f"# Paths are relative to this file's folder.\n{text}"


def _flip_idx(categories: Categories) -> list[int]:
    """Return the indices of the columns in a mirrored image, one list for all classes.

    Raises:
        RequestError: a keypoint swaps with another one in another category.
    """
    swaps: dict[str, dict[str, str]] = {}
    for skeleton in categories.skeletons:
        for point in skeleton.keypoints:
            swaps.setdefault(point.name, {})[skeleton.category.name] = point.swap or point.name
    for name, found in swaps.items():
        if len(set(found.values())) > 1:
            rule = "the same keypoint in all categories of a YOLO-pose data set, which has one flip_idx"
            problem = must_be(f"the keypoint that {name!r} becomes in a mirrored image", rule, found)
            hint = f"--categories {as_typed(next(iter(found)))} takes the objects of one"
            raise RequestError(problem, hint=hint)
    return [categories.index[next(iter(swaps[name].values()))] for name in categories.names]
