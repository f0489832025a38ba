"""What the readers of formats with one annotation file per picture share: walking, reading in parallel, collecting.

Such a reader turns every annotation file into a FileReading, in any process; ``collect`` joins them into one Dataset.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from posetools.dataset import DatasetBuilder, Image
from posetools.errors import RunError, must_be
from posetools.findings import Finding, sort_findings
from posetools.formats.base import ReadResult
from posetools.progress import Progress
from posetools.skeleton import Skeleton

_CHUNK = 128

Item = TypeVar("Item")
Result = TypeVar("Result")
Corners = tuple[float, float, float, float]
PointXYV = tuple[float, float, int]


class Row(NamedTuple):
    """One object: its box (x1, y1, x2, y2), its K keypoints (x, y, visibility), and where it stands."""

    box: Corners
    keypoints: Sequence[PointXYV]
    place: str


@dataclass(frozen=True, slots=True)
class FileReading:
    """What one annotation file gave.

    Attributes:
        file: the annotation file.
        picture: the picture, or None when it is left out.
        identity: the picture's path with every link followed, when there is one, even if it is left out.
        name: the picture's name in the Dataset, if no other picture wants it.
        origin: what is put before the name when another picture wants it too.
        size: (width, height) of the upright picture.
        split: the split that the source declares, or None.
        rows: its objects.
        findings: what could not be read, and what is odd.
        ignored: label -> how many shapes were left out on purpose.
        objects: how many shapes or lines the file holds, for the message when all are left out.
    """

    file: Path
    picture: Path | None = None
    identity: str = ""
    name: str = ""
    origin: str = ""
    size: tuple[int, int] = (0, 0)
    split: str | None = None
    rows: Sequence[Row] = ()
    findings: Sequence[Finding] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    objects: int = 0


def walk_files(folder: Path) -> list[Path]:
    """Return every file below a folder, sorted; hidden ones are left out, links to folders followed once."""
    found: list[Path] = []
    seen = set()
    for at, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(at)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(at, name) for name in files if not name.startswith(".")]
    return sorted(found)


def map_in_order(
    work: Callable[[Item], Result], items: Sequence[Item], *, workers: int, progress: Progress, what: str
) -> list[Result]:
    """Return ``work`` of every item, in their order, done by ``workers`` processes.

    Args:
        work: a function that can be pickled when there are several workers, and so must be its results.
        items: what it is called with.
        workers: 1 works in this process.
        progress: told how far it is.
        what: what is being done, for ``progress``.

    Raises:
        RunError: a worker process was ended from outside.
    """
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    results: list[Result] = []
    if workers <= 1 or len(chunks) == 1:
        for chunk in chunks:
            results += _run_chunk(work, chunk)
            progress(what, len(results), len(items))
        return results
    # Spawned processes share no locks with the threads of this one, on any platform.
    with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_run_chunk, work, chunk) for chunk in chunks]
        try:
            for future in futures:
                results += future.result()
                progress(what, len(results), len(items))
        except BrokenProcessPool as exc:
            raise RunError(
                f"{what}: a worker process was ended from outside, perhaps for want of memory\n"
                "  --workers 1 reads in one process"
            ) from exc
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return results


def _run_chunk(work: Callable[[Item], Result], chunk: Sequence[Item]) -> list[Result]:
    return [work(item) for item in chunk]


def collect(
    readings: Sequence[FileReading], skeleton: Skeleton, more: Iterable[Finding] = (), *, files: int
) -> ReadResult:
    """Return one Dataset of all readings, with every finding and every count.

    Two readings of one picture are both left out, with a finding each: which of them is right is not known.

    Args:
        readings: one per annotation file.
        skeleton: the skeleton of all.
        more: findings that belong to no file's reading.
        files: how many annotation files there are.
    """
    by_picture: dict[str, list[FileReading]] = {}
    for reading in readings:
        if reading.picture is not None:
            by_picture.setdefault(reading.identity, []).append(reading)
    doubles = [finding for group in by_picture.values() if len(group) > 1 for finding in _double(group)]
    kept = [group[0] for group in by_picture.values() if len(group) == 1]
    builder = DatasetBuilder(skeleton)
    for reading, name in zip(kept, unique_names([(r.origin, r.name) for r in kept]), strict=True):
        width, height = reading.size
        builder.add_image(Image(name, width, height, path=reading.picture, split=reading.split))
        for row in reading.rows:
            builder.add_instance(
                name,
                box=np.array(row.box, dtype=np.float64),
                keypoints=np.array(row.keypoints, dtype=np.float64),
                place=row.place,
            )
    ignored = Counter[str]()
    for reading in readings:
        ignored.update(reading.ignored)
    findings = [finding for reading in readings for finding in reading.findings]
    return ReadResult(
        dataset=builder.build(),
        findings=sort_findings([*findings, *doubles, *more]),
        files=files,
        ignored=dict(sorted(ignored.items())),
    )


def _double(group: Sequence[FileReading]) -> list[Finding]:
    findings = []
    for reading in group:
        others = " and ".join(str(other.file) for other in group if other is not reading)
        rule = f"the only annotation of {reading.picture}"
        message = f"{must_be('the file', rule, others)} besides; none of them is read ({reading.objects} shapes here)"
        findings.append(Finding("E313", str(reading.file), "", message, "move all but one of them out of the source"))
    return findings


def unique_names(wanted: Sequence[tuple[str, str]]) -> list[str]:
    """Return a name for each picture so that all differ, from (origin, name) pairs.

    A name that only one picture wants stays as it is. Where several want it, each gets its origin put before it, and
    a number after the origin when that is taken too.
    """
    times = Counter(name for _, name in wanted)
    used = {name for name, count in times.items() if count == 1}
    names = []
    for origin, name in wanted:
        if times[name] == 1:
            names.append(name)
            continue
        number, candidate = 1, f"{origin}/{name}"
        while candidate in used:
            number += 1
            candidate = f"{origin}-{number}/{name}"
        used.add(candidate)
        names.append(candidate)
    return names
