"""DeepLabCut: the labels of a project, ``CollectedData_<scorer>.csv`` or ``.h5`` in each video's folder.

Rules for reading; docs/formats.md explains them to users, tests/formats/deeplabcut/ tests each of them.

- A row is an image, and an individual with at least one labeled point in it is an object; a file without
  ``individuals`` has one. ``single`` (DeepLabCut's body parts of no animal) is an individual like any other. NaN means
  not labeled. A row without a labeled point is an image without objects.
- DeepLabCut has no boxes: they come from the keypoints with --box-from keypoints, else every object is a finding. It
  has no visibility: points are visible with --assume-visible, else reading is refused.
- The body parts are the skeleton's keypoints, or are mapped or left out by name; so are individuals. An unknown body
  part is reported once per file.
- The image ``labeled-data/video/img.png`` is searched for in the project (the folder with labeled-data), next to the
  file, and relative to the file. Its name in the data set is ``video/img.png``.
- In a folder only files named CollectedData are read, and an .h5 file only without a .csv of the same name: if both
  exist, their content must be the same (twins.py). .h5 needs the extra ``deeplabcut``. It is read without pandas, which
  would unpickle parts of it: a file cannot run code.
- table.py handles .csv lines that end early, semicolons and the like.
- Files with ``likelihood`` are predictions, and are refused.

Written: ``labeled-data/<folder>/CollectedData_posetools.csv`` with the images next to it, and the .h5 file if the
extra is installed. Individuals are written if an image has several objects. DeepLabCut cannot hold, so not written:
boxes, areas, occluded keypoints, splits. Refused: several
categories, iscrowd, and objects without a labeled point.
"""

from __future__ import annotations

import math
import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, Split, Visibility
from posetools.core.findings import Finding
from posetools.core.geometry import MAX_COORDINATE
from posetools.core.skeleton import Skeleton
from posetools.errors import InputError, RequestError, must_be, quoted
from posetools.files.disk import Transfer, transfer
from posetools.files.walking import files_to_detect
from posetools.formats.declared import DeclaredCategory
from posetools.formats.deeplabcut.declared import LABELED_DATA, declared_in
from posetools.formats.deeplabcut.table import (
    ONLY,
    Column,
    Table,
    TableRow,
    csv_text,
    is_csv_table,
    read_table,
    write_h5,
)
from posetools.formats.deeplabcut.twins import Twins
from posetools.formats.entry import Format
from posetools.formats.joining.made_boxes import box_round
from posetools.formats.labels import only_skeleton, settled, unknown_label
from posetools.formats.options import ReadOptions
from posetools.formats.plain_numbers import cell_number
from posetools.formats.reading import FileReading, PointXYV, Row
from posetools.formats.shards import ShardReading, shard_of
from posetools.formats.sources.many import Opener, SourceFile, list_sources, without_entry
from posetools.formats.target import check_holdable, check_labeled, put_text, slices

SCORER = "posetools"
# The folder for images that are in no folder.
_FRAMES = "frames"
_STEM = f"CollectedData_{SCORER}"


def detect(path: Path, *, widely: bool = False) -> bool:
    """Return whether the path is a DeepLabCut file, or a folder with one among the .csv and .h5 files checked."""
    if path.is_dir():
        return any(map(_is_collected, files_to_detect(path, ".csv", ".h5", widely=widely)))
    return path.is_file() and (_is_collected(path) or (path.suffix.lower() == ".csv" and is_csv_table(path)))


def shards(sources: Sequence[Path], categories: Categories, options: ReadOptions) -> Iterator[ShardReading]:
    """Yield the content of DeepLabCut files, or of the files in these folders.

    Raises:
        RequestError: a source does not exist or holds no such file, or an option is missing or invalid.
        MissingExtraError: an .h5 file needs packages that are not installed.
    """
    skeleton = only_skeleton(categories, "DeepLabCut files")
    # --categories names the kind of animal, not an individual.
    is_asked = options.categories == (skeleton.category.name,)
    options = settled(categories, replace(options, categories=None) if is_asked else options)
    files, images = _files(sources)
    if not options.assume_visible:
        raise RequestError(
            f"{files[0].file}: points must have a visibility, but DeepLabCut has none",
            hint="--assume-visible reads every labeled point as visible",
        )
    opener = Opener(options.image_roots)
    readings: list[FileReading] = []
    twins = Twins()
    # Users who give a .csv file have chosen it over its .h5 file.
    named = {os.path.realpath(source) for source in sources}
    for done, source in enumerate(files, start=1):
        table = read_table(source.file)
        if isinstance(table, Finding):
            readings.append(FileReading(source.file, findings=[table]))
            continue
        is_doubled = source.file.suffix.lower() == ".csv" and os.path.realpath(source.file) not in named
        differs = twins.compare(source.file, table) if is_doubled else None
        read = _Rows(source, table, skeleton, options, leaves_others=is_asked).read(opener)
        readings += read if differs is None else _left_out(read, differs)
        options.progress("reading DeepLabCut files", done, len(files))
    more = [*twins.findings(), *without_entry(images, readings, "a DeepLabCut file")]
    yield shard_of(readings, categories, more, files=len(files))


def declared(sources: Sequence[Path], options: ReadOptions) -> Sequence[DeclaredCategory]:
    """Return the categories that DeepLabCut's projects or files declare (declared.py).

    Raises:
        RequestError: a source does not exist or holds no such file.
        MissingExtraError: an .h5 file needs packages that are not installed.
    """
    return declared_in(_files(sources)[0], options)


def write(splits: Mapping[str, Split], folder: Path, how: Transfer) -> None:
    """Write labeled-data/ with a CSV file and the images in each folder; all splits go into one.

    Raises:
        RequestError: there are several categories.
        InputError: DeepLabCut cannot hold something (see the module's docstring).
        OutputError: a file cannot be written.
    """
    names = next((only_skeleton(part.categories, "DeepLabCut files").names for part in splits.values()), ())
    check_holdable(splits, "DeepLabCut", lambda _, name: _written_name(name))
    rows: dict[str, list[TableRow]] = {}
    check_labeled(splits, "DeepLabCut")
    most = max((number for dataset in slices(splits.values()) for number in dataset.counts.tolist()), default=0)
    for dataset in slices(splits.values()):
        for image, objects in zip(dataset.images, dataset.rows_of_images(), strict=True):
            written = _written_name(image.file_name)
            if image.path is not None:
                transfer(image.path, folder / written, how)
            values = [value for row in objects for value in _values(dataset, row)]
            values += [math.nan] * (2 * len(names) * max(most, 1) - len(values))
            rows.setdefault(str(PurePosixPath(written).parent), []).append(TableRow(written, values, ""))
    individuals = [ONLY] if most <= 1 else [f"individual{number + 1}" for number in range(most)]
    pairs = [(individual, name) for individual in individuals for name in names]
    columns = [Column(*pair, 2 * place, 2 * place + 1) for place, pair in enumerate(pairs)]
    for parent, listed in rows.items():
        table = Table(columns, listed)
        put_text(folder / parent / f"{_STEM}.csv", csv_text(table, SCORER))
        write_h5(table, SCORER, folder / parent / f"{_STEM}.h5")


FORMAT = Format(
    name="deeplabcut",
    title="DeepLabCut",
    detect=detect,
    detect_widely=partial(detect, widely=True),
    signs="a file CollectedData*.csv or .h5, or a .csv file with the header lines scorer, bodyparts, coords",
    shards=shards,
    endings=(".csv", ".h5"),
    declared=declared,
    write=write,
    lacks=frozenset({"splits", "boxes", "occluded", "areas", "names", "links", "pairs", "sigmas"}),
)


def _left_out(readings: Sequence[FileReading], finding: Finding) -> list[FileReading]:
    """Return a file's readings without their content, the first with the finding that says why."""
    none = [FileReading(reading.file, identity=reading.identity) for reading in readings]
    return [replace(none[0], findings=[finding]), *none[1:]]


def _files(sources: Sequence[Path]) -> tuple[list[SourceFile], list[Path]]:
    return list_sources(sources, _is_to_be_read, "DeepLabCut's CollectedData files (.csv or .h5)")


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in (".csv", ".h5")


def _is_collected(path: Path) -> bool:
    named = path.name.startswith("CollectedData") and _is_table(path)
    return named and (path.suffix.lower() == ".h5" or is_csv_table(path))


def _is_to_be_read(path: Path) -> bool:
    doubled = path.suffix.lower() == ".h5" and path.with_suffix(".csv").is_file()
    return path.name.startswith("CollectedData") and _is_table(path) and not doubled


@dataclass
class _Rows:
    """Reads the rows of one file; every labeled point ends up in a reading, in a finding, or in ``ignored``."""

    source: SourceFile
    table: Table
    skeleton: Skeleton
    options: ReadOptions
    # Whether individuals without any of the keypoints are left out on purpose.
    leaves_others: bool = False
    ignored: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    _unknown: Counter[str] = field(default_factory=Counter)
    _others: dict[str, int] = field(default_factory=dict)
    _boxless: list[str] = field(default_factory=list)

    @property
    def file(self) -> str:
        return str(self.source.file)

    def read(self, opener: Opener) -> list[FileReading]:
        """Return a reading per row, and one for the file itself."""
        self._check_twice()
        self._others = dict.fromkeys(self._other_individuals(), 0)
        readings = [self._read_row(row, opener) for row in self.table.rows]
        known = self.skeleton.names
        self.findings += self.table.findings
        self._refuse_individuals()
        for name, times in sorted(self._unknown.items()):
            rule = f"a keypoint of skeleton {self.skeleton.name} ({times} labeled points left out)"
            found = unknown_label(name, known, file=self.file, place="bodyparts", field="a body part", rule=rule)
            self.findings.append(replace(found, of="point", number=times))
        if self._boxless:
            hint = "--box-from keypoints makes boxes from labeled points"
            message = f"an object must have a box, got {len(self._boxless)} without: DeepLabCut files have no boxes"
            self.findings.append(Finding("E306", self.file, self._boxless[0], message, hint))
        return [*readings, FileReading(self.source.file, findings=self.findings, ignored=self.ignored)]

    def _check_twice(self) -> None:
        """Refuse a file in which two body parts of an individual map to one keypoint."""
        parts: dict[tuple[str, str], list[str]] = defaultdict(list)
        for column in self.table.columns:
            if not any(label in self.options.ignore for label in (column.individual, column.bodypart)):
                parts[column.individual, self._name(column)].append(column.bodypart)
        for (_, name), labels in parts.items():
            if len(labels) > 1 and name in self.skeleton.index:
                problem = must_be("--map", f"one body part for {name!r}", f"{len(labels)}: {', '.join(labels)}")
                ways = " or ".join(f"--ignore {quoted(label)}" for label in labels)
                raise InputError(self.source.file, "bodyparts", problem, hint=f"{ways} leaves one out")

    def _other_individuals(self) -> set[str]:
        """Return individuals that have none of the keypoints, if others have some: they are another kind of object."""
        all_ = {column.individual for column in self.table.columns}
        fitting = {column.individual for column in self.table.columns if self._name(column) in self.skeleton.index}
        return {label for label in all_ - fitting if label not in self.options.ignore} if fitting else set()

    def _refuse_individuals(self) -> None:
        for name, times in self._others.items():
            if times:
                parts = ", ".join(column.bodypart for column in self.table.columns if column.individual == name)
                field_name = f"individual {name!r} ({times} labeled points left out)"
                message = must_be(field_name, f"one with keypoints of skeleton {self.skeleton.name}", parts)
                hint = f"--ignore {shlex.quote(name)} leaves it out; --map OLD=NAME maps its body parts"
                self.findings.append(Finding("E301", self.file, "individuals", message, hint))

    def _name(self, column: Column) -> str:
        return self.options.names.get(column.bodypart, column.bodypart)

    def _read_row(self, row: TableRow, opener: Opener) -> FileReading:
        texts = [row.image.replace("\\", "/")]
        # DeepLabCut writes the path relative to the project, two folders above the file.
        texts = [f"../../{texts[0]}", PurePosixPath(texts[0]).name, texts[0]]
        findings: list[Finding] = []
        objects = {} if row.problem else self._objects(row, findings)
        reading = opener.open(self.source, texts, place=row.place, objects=len(objects), what="objects")
        if row.problem:
            hint = "correct or remove the line"
            lost = [Finding("E309", self.file, row.place, row.problem, hint)]
            return FileReading(self.source.file, identity=reading.identity, findings=lost)
        if reading.image is None:
            return replace(reading, findings=[*reading.findings, *findings])
        rows = []
        for individual, points in objects.items():
            place = f"{row.place} ({individual})" if individual else row.place
            if self.options.box_from != "keypoints":
                self._boxless.append(row.place)
                continue
            box = box_round(points, self.options, reading.size)
            if box is None:
                hint = "correct or remove its points"
                message = must_be("an object", f"one with a labeled point in {row.image}", "none")
                findings.append(Finding("E306", self.file, place, message, hint))
            else:
                rows.append(Row(box, points, place, self.skeleton.category.id))
        parent = reading.image.parent
        named = f"{parent.name}/{reading.image.name}" if parent.parent.name == LABELED_DATA else reading.name
        return replace(reading, name=named, rows=rows, findings=[*reading.findings, *findings])

    def _objects(self, row: TableRow, findings: list[Finding]) -> dict[str, list[PointXYV]]:
        objects: dict[str, list[PointXYV]] = {}
        for column in self.table.columns:
            point = self._point(row, column, findings)
            if point is None:
                continue
            name = self._name(column)
            left_out = next(
                (label for label in (column.individual, column.bodypart) if label in self.options.ignore), ""
            )
            if left_out:
                self.ignored[left_out] += 1
            elif column.individual in self._others:
                (self.ignored if self.leaves_others else self._others)[column.individual] += 1
            elif name not in self.skeleton.index:
                self._unknown[column.bodypart] += 1
            else:
                absent: list[PointXYV] = [(0.0, 0.0, 0)] * self.skeleton.num_keypoints
                objects.setdefault(column.individual, absent)[self.skeleton.index[name]] = point
        return objects

    def _point(self, row: TableRow, column: Column, findings: list[Finding]) -> PointXYV | None:
        """Return a point, or None if it is not labeled or cannot be read."""
        x, y = cell_number(row.values[column.x]), cell_number(row.values[column.y])
        if x is not None and y is not None and math.isnan(x) and math.isnan(y):
            return None
        if x is None or y is None or math.isnan(x) or math.isnan(y):
            owner = f"{column.individual}: {column.bodypart}" if column.individual else column.bodypart
            rule = f"two numbers of at most {MAX_COORDINATE}, or both empty"
            value = [row.values[column.x], row.values[column.y]]
            hint = "correct or remove the point in DeepLabCut"
            findings.append(Finding("E311", self.file, row.place, must_be(f"{owner} (x, y)", rule, value), hint))
            return None
        return x, y, int(Visibility.VISIBLE)


def _written_name(name: str) -> str:
    """Return the path for an image: DeepLabCut supports one folder below labeled-data/."""
    *folders, last = PurePosixPath(name).parts
    return f"{LABELED_DATA}/{'__'.join(folders) or _FRAMES}/{last}"


def _values(dataset: Dataset, row: int) -> list[float]:
    points = dataset.keypoints[row]
    labeled = points[:, 2:] > Visibility.NOT_LABELED
    values: list[float] = np.where(labeled, points[:, :2], np.nan).ravel().tolist()
    return values
