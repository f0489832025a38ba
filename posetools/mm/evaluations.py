"""All evaluations of a run, in ``evaluations.json`` of its work folder: one line each, written after each.

mmengine has them in its log, and forgets them when it resumes. They show which was the best, whether the run should
stop early, and whether the run was killed before it evaluated its last checkpoint; ``ResumeHook`` then evaluates it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from posetools.errors import InputError, RequestError, must_be
from posetools.files.disk import read_json, write_json
from posetools.mm.run_folder import ResumePoint
from posetools.mm.stack import RunHook

EVALUATIONS = "evaluations.json"

# Progress means an increase by more than this. Equal values, such as AP 0 for many evaluations, are no progress.
_STEP = 1e-6
_STOPPING = "EarlyStoppingHook"


@dataclass(frozen=True, slots=True)
class BestEvaluation:
    """The best evaluation so far.

    Attributes:
        name: the metric.
        value: its value.
        epoch: its epoch.
        since: number of evaluations with this metric since the last progress.
    """

    name: str
    value: float
    epoch: int
    since: int = 0


@dataclass
class Evaluations:
    """The evaluations of one run.

    Attributes:
        path: the file.
        writes: whether this process writes it.
        monitor: the metric that selects the best checkpoint, None without one.
        rule: ``greater`` or ``less`` is better.
        entries: epoch and metrics of each, in order; None for metrics that could not be measured.
        recorded: whether an earlier start of the run wrote the file.
    """

    path: Path
    writes: bool = False
    monitor: str | None = None
    rule: str = "greater"
    entries: list[tuple[int, dict[str, float | None]]] = field(default_factory=list)
    recorded: bool = False

    def add(self, epoch: int, metrics: Mapping[str, float | None]) -> None:
        """Add an evaluation, and write the file.

        Raises:
            OutputError: it cannot be written.
        """
        # Later entries are obsolete: the run went back to an earlier checkpoint.
        self.entries = [entry for entry in self.entries if entry[0] < epoch]
        finite = {name: None if value is None or not math.isfinite(value) else value for name, value in metrics.items()}
        self.entries.append((epoch, finite))
        self.write()

    def write(self) -> None:
        """Write the file.

        Raises:
            OutputError: it cannot be written.
        """
        if self.writes:
            lines = [{"epoch": epoch, "metrics": metrics} for epoch, metrics in self.entries]
            write_json(self.path, {"evaluations": lines})

    def read(self, until: int) -> bool:
        """Read the file of an earlier start of the run, and return whether it exists.

        Args:
            until: the epoch of the checkpoint to resume from; later evaluations are repeated.

        Raises:
            InputError: the file has another structure.
        """
        if not self.path.is_file():
            return False
        document = read_json(self.path)
        try:
            entries = [(int(entry["epoch"]), dict(entry["metrics"])) for entry in document["evaluations"]]
        except (TypeError, KeyError, ValueError) as exc:
            problem = must_be("evaluations", "a list of epochs with their metrics", document)
            raise InputError(self.path, "", problem, hint="delete this file; the run resumes without it") from exc
        self.entries, self.recorded = [entry for entry in entries if entry[0] <= until], True
        return True

    @property
    def best(self) -> BestEvaluation | None:
        """Return the best evaluation, the later of two equal ones; None if nothing could be measured yet."""
        best: BestEvaluation | None = None
        sign = 1.0 if self.rule == "greater" else -1.0
        # Later evaluations must exceed this by a step to count as progress.
        reached, since = -math.inf, 0
        for epoch, metrics in self.entries:
            value = metrics.get(self.monitor or "")
            if value is None:
                continue
            reached, since = (sign * value, 0) if sign * value - reached > _STEP else (reached, since + 1)
            if best is None or sign * (value - best.value) >= 0:
                best = BestEvaluation(str(self.monitor), value, epoch)
        return replace(best, since=since) if best else None


def evaluations_of(config: Any, work_dir: Path, *, writes: bool = False, until: int | None = None) -> Evaluations:
    """Return the evaluations of a run, with the metric that its config selects the best checkpoint by.

    Args:
        config: the config of the run.
        work_dir: the work folder of the run.
        writes: whether this process writes them.
        until: read the evaluations of earlier starts up to this epoch; None: read none.

    Raises:
        InputError: the file has another structure.
    """
    checkpoint = (config.get("default_hooks") or {}).get("checkpoint") or {}
    best, rule = checkpoint.get("save_best"), checkpoint.get("rule")
    monitor = best[0] if isinstance(best, list | tuple) and best else best
    rule = rule[0] if isinstance(rule, list | tuple) and rule else rule
    name = monitor if isinstance(monitor, str) and monitor != "auto" else None
    evaluations = Evaluations(work_dir / EVALUATIONS, writes, name, rule or "greater")
    if until is not None:
        evaluations.read(until)
    return evaluations


def set_early_stopping(config: Any, patience: int, evaluations: Evaluations) -> None:
    """Make a config stop after ``patience`` evaluations without a better metric, in place; 0: never.

    Raises:
        RequestError: the config selects no best checkpoint, so no metric is known.
    """
    hooks = [hook for hook in config.get("custom_hooks") or () if hook.get("type") != _STOPPING]
    if patience:
        if evaluations.monitor is None:
            raise RequestError(
                f"{config.filename}: --early-stopping needs default_hooks.checkpoint.save_best, which names the metric"
            )
        hook = {"type": _STOPPING, "monitor": evaluations.monitor, "rule": evaluations.rule, "min_delta": _STEP}
        hooks.append({**hook, "patience": patience})
    config.custom_hooks = hooks


def early_stopping_of(config: Any) -> int:
    """Return the number of evaluations without a better metric after which a config stops, 0 for never."""
    found = (hook for hook in config.get("custom_hooks") or () if hook.get("type") == _STOPPING)
    return next((int(hook.get("patience", 5)) for hook in found), 0)


def nothing_left(config: Any, work_dir: Path, found: ResumePoint) -> str:
    """Return a message if the last checkpoint is the end of the run, empty if something is left to do.

    Raises:
        InputError: the record of evaluations cannot be read.
    """
    epochs = config.train_cfg.get("max_epochs", 0)
    evaluations = evaluations_of(config, work_dir, until=found.epoch)
    patience = early_stopping_of(config)
    best = evaluations.best
    if patience and best and best.since >= patience:
        return (
            f"nothing to do: {found.path} stopped early at epoch {found.epoch} of {epochs}: "
            f"{stopping_text(evaluations)}; pass --early-stopping 0, or more than {best.since}, to continue"
        )
    # A run killed during its last evaluation still has to do it.
    evaluated = not evaluations.recorded or any(epoch == found.epoch for epoch, _ in evaluations.entries)
    if found.epoch >= epochs and (evaluated or not is_due(config.train_cfg, found.epoch)):
        return f"nothing to do: {found.path} is at epoch {found.epoch} of {epochs}"
    return ""


def stopping_text(evaluations: Evaluations) -> str:
    """Return why a run stops early."""
    best = evaluations.best
    if best is None:
        return "nothing could be measured"
    return f"no better {best.name} than {best.value:.3f} in {best.since} evaluations"


class ResumeHook(RunHook):
    """Does the evaluation that a resumed run missed because it was killed.

    It also restores the counter of EarlyStoppingHook, which no checkpoint holds.
    """

    priority = "LOWEST"

    def __init__(self, evaluations: Evaluations, last: Path) -> None:
        self._evaluations, self._last = evaluations, last

    def before_train(self, runner: Any) -> None:
        """Restore the counter, and evaluate if due."""
        from mmengine.hooks import CheckpointHook, EarlyStoppingHook

        evaluations, best = self._evaluations, self._evaluations.best
        for hook in runner.hooks:
            if isinstance(hook, EarlyStoppingHook) and best and hook.monitor == best.name:
                hook.best_score, hook.wait_count = best.value, best.since
        if not evaluations.recorded or runner.val_loop is None or not is_due(runner.cfg.train_cfg, runner.epoch):
            return
        if any(epoch == runner.epoch for epoch, _ in evaluations.entries):
            return
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook):
                # The hook saves this checkpoint again if it is the best.
                hook.last_ckpt = str(self._last)
        runner.val_loop.run()


def is_due(train_cfg: Mapping[str, Any], epoch: int) -> bool:
    """Return whether mmengine's loop evaluates after this many epochs."""
    interval = train_cfg.get("val_interval") or 1
    for start, later in train_cfg.get("dynamic_intervals") or ():
        # mmengine's loop looks one epoch ahead, too.
        interval = later if epoch + 1 >= start else interval
    begins = epoch >= (train_cfg.get("val_begin") or 1)
    return begins and (epoch % interval == 0 or epoch == train_cfg.get("max_epochs"))
