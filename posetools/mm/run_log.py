"""Read mmengine's log of a training run into curves.

mmengine writes one JSON object per line into ``<work_dir>/<time>/vis_data/scalars.json``. A training line has the
iteration as ``iter`` and ``step``, and the ``epoch`` if the run counts in epochs. An evaluation line has the metrics
and, as ``step``, the epoch just finished (or the iteration, in runs that count in iterations).

Decisions:

- All curves are over iterations. No line has the length of an epoch; it is the distance between the first lines of two
  epochs. With a single epoch it is the last logged iteration.
- A resumed run has a folder for each start, named by the time. They are joined in that order. From the first iteration
  of a later start on, the lines of earlier starts are replaced, because those weights are gone. Starts without training
  (only an evaluation) are skipped.
- A number that is not finite is a gap. So is -1 in an evaluation, which COCO's metrics use for "nothing to measure".
- A killed run can leave half a last line; it is skipped and counted. Half a line elsewhere is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from posetools.core.geometry import Floats
from posetools.errors import InputError, RequestError, shortened
from posetools.files.disk import read_json, read_text

METRICS = "metrics.json"

_POSITION = frozenset({"epoch", "iter", "step"})
# Evaluations log their duration under the names that training uses.
_TIMES = frozenset({"time", "data_time", "memory"})
# Lower is better for these: losses, normalized and plain mean errors.
_ERROR_TAGS = re.compile("loss|NME|EPE|error", re.IGNORECASE)
_TIMESTAMP = r"\d{8}_\d{6}"
_BEST = re.compile(r"best_(?P<key>.+)_(?P<unit>epoch|iter)_(?P<number>\d+)\.pth")


@dataclass(frozen=True, slots=True)
class LoggedCurve:
    """The N values logged for one tag.

    Attributes:
        iterations: (N,) training iterations, increasing.
        values: (N,) NaN at gaps.
    """

    iterations: Floats
    values: Floats

    def __len__(self) -> int:
        return len(self.values)

    @property
    def gaps(self) -> int:
        """The number of values that are NaN."""
        return int(np.isnan(self.values).sum())

    @property
    def last(self) -> float | None:
        """The last value, None if it is a gap or the curve is empty."""
        return float(self.values[-1]) if len(self) and np.isfinite(self.values[-1]) else None


class BestName(NamedTuple):
    """The parts of mmengine's name of a best checkpoint: ``best_coco_AP_epoch_40.pth``.

    Attributes:
        key: the metric, with underscores for slashes.
        unit: ``epoch`` or ``iter``.
        number: how many of these units the checkpoint has been trained for.
    """

    key: str
    unit: str
    number: int

    def tag(self, tags: Iterable[str]) -> str | None:
        """Return which of these tags the name contains."""
        return next((tag for tag in tags if tag.replace("/", "_") == self.key), None)


@dataclass(frozen=True, slots=True)
class BestCheckpoint:
    """The best checkpoint of a run.

    Attributes:
        checkpoint: its file name.
        tag: the metric that selected it; None if no evaluation in the log has it.
        iteration: the training iteration at which it was saved.
        score: its metric; None if neither metrics.json nor the log has it.
    """

    checkpoint: str
    tag: str | None
    iteration: float
    score: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLog:
    """What a run logged.

    Attributes:
        work_dir: its folder.
        training: the curves of training, by tag (``loss``, ``lr``, ``time``, ...).
        metrics: the curves of evaluations, by tag (``coco/AP``, ...).
        epoch_iterations: iterations per epoch; None if the run counts in iterations.
        epochs: finished epochs; None if the run counts in iterations.
        iterations: the last logged iteration.
        resumed: the iteration after which each later start resumed.
        best: the best checkpoint, if any.
        broken: number of half lines that were skipped.
        replaced: number of lines of earlier starts that later starts replaced.
    """

    work_dir: Path
    training: Mapping[str, LoggedCurve]
    metrics: Mapping[str, LoggedCurve]
    epoch_iterations: float | None
    epochs: int | None
    iterations: int
    resumed: tuple[float, ...] = ()
    best: BestCheckpoint | None = None
    broken: int = 0
    replaced: int = 0

    @property
    def seconds_per_iteration(self) -> float | None:
        """The median, None if not logged."""
        times = self.training.get("time")
        finite = times.values[np.isfinite(times.values)] if times else np.zeros(0)
        return float(np.median(finite)) if len(finite) else None

    def when(self, iteration: float) -> str:
        """Return ``epoch 12`` for its last iteration, or ``iteration 340`` if the run does not count in epochs."""
        return self.at(iteration) if self.epoch_iterations is None else f"epoch {self.at(iteration)}"

    def at(self, iteration: float) -> str:
        """Return the epoch, ``12``, or ``iteration 340`` if the run does not count in epochs."""
        if self.epoch_iterations is None:
            return f"iteration {round(iteration)}"
        epochs = iteration / self.epoch_iterations
        return f"{epochs:.0f}" if abs(epochs - round(epochs)) < 0.005 else f"{epochs:.2f}"


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a log: the iteration, the epoch (None in evaluation lines), and the numbers."""

    iteration: float
    epoch: int | None
    training: bool
    numbers: Mapping[str, float]


def find_runs(folder: Path) -> tuple[Path, ...]:
    """Return the work folders in a folder: itself if it is one, else its subfolders that are one, sorted.

    Raises:
        RequestError: there is none.
    """
    if logs_of(folder):
        return (folder,)
    found = tuple(sorted(path for path in folder.glob("*") if path.is_dir() and logs_of(path)))
    if not found:
        what = (
            "it is not a folder"
            if not folder.is_dir()
            else "neither it nor a subfolder has <time>/vis_data/scalars.json"
        )
        raise RequestError(
            f"{folder}: must be the work folder of a training run, or contain some: {what}",
            hint="pass the folder that `posetools train` printed; the default is work_dirs/<name of the config>",
        )
    return found


def logs_of(work_dir: Path) -> tuple[Path, ...]:
    """Return the logs in a work folder, one for each start, earliest first."""
    logs = []
    for start in sorted(path for path in work_dir.glob("*") if re.fullmatch(_TIMESTAMP, path.name)):
        # The same lines under three names: two from mmengine, one from its predecessors.
        names = "vis_data/scalars.json", f"vis_data/{start.name}.json", f"{start.name}.json"
        logs += [path for path in map(start.joinpath, names) if path.is_file()][:1]
    return tuple(logs)


def read_run(work_dir: Path) -> RunLog:
    """Return the log of the run in a work folder.

    Raises:
        RequestError: it has no log, or one without a training iteration.
        InputError: a log cannot be read, or a line before its last is not a JSON object.
    """
    logs = logs_of(work_dir)
    if not logs:
        raise RequestError(
            f"{work_dir}: must be the work folder of a training run: it has no <time>/vis_data/scalars.json"
        )
    starts = [_read_log(log) for log in logs]
    broken = sum(cut for _, cut in starts)
    of_starts = [records for records, _ in starts if any(_is_training(record) for record in records)]
    if not of_starts:
        raise RequestError(
            f"{logs[-1]}: has no training iteration yet",
            hint="try again later: mmengine logs every 10 or 50 iterations",
        )
    per_epoch = _iterations_per_epoch(of_starts)
    lines, resumed, replaced = _joined(_lines(records, per_epoch) for records in of_starts)
    metrics = _curves(line for line in lines if not line.training)
    return RunLog(
        work_dir=work_dir,
        training=_curves(line for line in lines if line.training),
        metrics=metrics,
        epoch_iterations=per_epoch,
        epochs=_epochs_done(lines, per_epoch),
        iterations=round(max(line.iteration for line in lines)),
        resumed=tuple(resumed),
        best=_best(work_dir, metrics, per_epoch),
        broken=broken,
        replaced=replaced,
    )


def _joined(starts: Iterable[Sequence[_Line]]) -> tuple[list[_Line], list[float], int]:
    """Return the valid lines of all starts, the iterations after which later starts resumed, and the replaced count."""
    lines, resumed, replaced = list[_Line](), list[float](), 0
    for later in starts:
        begin = min(line.iteration for line in later if line.training)
        kept = [line for line in lines if line.iteration < begin]
        replaced += len(lines) - len(kept)
        resumed = [at for at in resumed if at < begin]
        if kept:
            resumed.append(kept[-1].iteration)
        lines = [*kept, *later]
    return lines, resumed, replaced


def _read_log(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the lines of a log that have a step, and whether the last line was cut (1 or 0)."""
    lines = [(number, text) for number, text in enumerate(read_text(path).splitlines(), 1) if text.strip()]
    records, broken = [], 0
    for number, text in lines:
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as exc:
            if number != lines[-1][0]:
                raise InputError(path, f"line {number}", f"is not valid JSON: {shortened(str(exc))}") from exc
            broken = 1
            continue
        if not isinstance(record, dict):
            raise InputError(path, f"line {number}", f"must be a JSON object, got {type(record).__name__}")
        # The result of a test is in a file of the same name, without a step.
        if _is_number(record.get("step")):
            records.append(record)
    return records, broken


def _is_training(record: Mapping[str, Any]) -> bool:
    return "iter" in record


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _iterations_per_epoch(starts: Sequence[Sequence[Mapping[str, Any]]]) -> float | None:
    """Return the iterations per epoch, None if the run does not count in epochs."""
    first: dict[int, float] = {}
    last = (0, 0.0)
    for record in (record for records in starts for record in records if _is_training(record) and "epoch" in record):
        epoch, iteration = int(record["epoch"]), float(record["step"])
        first[epoch] = min(iteration, first.get(epoch, iteration))
        last = max(last, (epoch, iteration))
    if not first:
        return None
    epochs = sorted(first)
    steps = [(first[b] - first[a]) / (b - a) for a, b in pairwise(epochs)]
    return float(np.median(steps)) if steps else last[1] / last[0]


def _lines(records: Sequence[Mapping[str, Any]], per_epoch: float | None) -> list[_Line]:
    lines, epoch, iteration = [], 0, 0.0
    for record in records:
        training, step = _is_training(record), float(record["step"])
        if training:
            epoch, iteration = int(record.get("epoch", 0)), step
        elif per_epoch is not None and (step <= epoch or step < iteration):
            step *= per_epoch
        # With log_with_hierarchy, mmengine puts a prefix before every tag.
        plain = {tag.removeprefix("train/").removeprefix("val/"): value for tag, value in record.items()}
        numbers = {tag: value for tag, value in plain.items() if tag not in _POSITION and _is_number(value)}
        if not training:
            numbers = {
                tag: float("nan") if value == -1 else value for tag, value in numbers.items() if tag not in _TIMES
            }
        lines.append(_Line(step, epoch if training else None, training, numbers))
    return lines


def _epochs_done(lines: Sequence[_Line], per_epoch: float | None) -> int | None:
    if per_epoch is None:
        return None
    seen = {line.epoch for line in lines if line.epoch is not None}
    under_way = max(seen)
    # An epoch is finished if it has an evaluation, or a line of its last iteration. That line is not always logged, and
    # only identifiable when other epochs give the length.
    ends = [line.iteration for line in lines if not line.training or len(seen) > 1]
    return under_way if max(ends, default=0.0) > under_way * per_epoch - 0.5 else under_way - 1


def _curves(lines: Iterable[_Line]) -> dict[str, LoggedCurve]:
    points: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for tag, value in line.numbers.items():
            points.setdefault(tag, []).append((line.iteration, value if np.isfinite(value) else float("nan")))
    curves = {}
    for tag, of_tag in points.items():
        columns = np.array(of_tag, dtype=np.float64).reshape(-1, 2)
        curves[tag] = LoggedCurve(columns[:, 0], columns[:, 1])
    return curves


def best_of(tag: str, curve: LoggedCurve) -> tuple[float, float] | None:
    """Return iteration and value of a curve's best point, the lowest for losses and errors; None without any."""
    if curve.gaps == len(curve):
        return None
    at = int(np.nanargmin(curve.values) if _ERROR_TAGS.search(tag) else np.nanargmax(curve.values))
    return float(curve.iterations[at]), float(curve.values[at])


def parse_best(name: str) -> BestName | None:
    """Parse the name of a best checkpoint; None if it is not one of mmengine's."""
    match = _BEST.fullmatch(name)
    return BestName(match["key"], match["unit"], int(match["number"])) if match else None


def _best(work_dir: Path, metrics: Mapping[str, LoggedCurve], per_epoch: float | None) -> BestCheckpoint | None:
    """Return the best checkpoint: the one in the folder, else the one that metrics.json names."""
    recorded = _recorded_best(work_dir)
    names = {path.name: said for path in work_dir.glob("best_*.pth") if (said := parse_best(path.name))}
    name = str(recorded.get("checkpoint", ""))
    if names and name not in names:
        # mmengine saves a better one, then removes the old one; only a crash in between leaves both.
        name = max(names, key=lambda candidate: (names[candidate].number, candidate))
    said = parse_best(name)
    if said is None:
        return None
    iteration = said.number * (per_epoch or 1.0) if said.unit == "epoch" else float(said.number)
    tag = said.tag(metrics)
    score = recorded.get("score") if recorded.get("checkpoint") == name else None
    if not _is_number(score):
        curve = metrics[tag] if tag else LoggedCurve(np.zeros(0), np.zeros(0))
        at = np.flatnonzero(np.isclose(curve.iterations, iteration) & np.isfinite(curve.values))
        score = curve.values[at[-1]] if len(at) else None
    return BestCheckpoint(name, tag, iteration, None if score is None else float(score))


def _recorded_best(work_dir: Path) -> Mapping[str, Any]:
    path = work_dir / METRICS
    document = read_json(path) if path.is_file() else {}
    best = document.get("best") if isinstance(document, dict) else None
    return best if isinstance(best, dict) else {}
