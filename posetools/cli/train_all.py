"""``posetools train --stage all`` and ``--dry-run``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from posetools.cli.console import console, escape, table_of
from posetools.cli.evaluate_tables import print_reports
from posetools.cli.steps import Steps
from posetools.cli.train_display import display, run_one
from posetools.core.stages import MODEL_NAMES, STAGES
from posetools.evaluation.verdict import model_scores
from posetools.recipes.budget import BOX_AP50, PCK, verdict
from posetools.recipes.machine import busy_text
from posetools.trainers.runs import NamedTrainer, train_run
from posetools.training.dry_run import dry_run
from posetools.training.estimate import DryRun, StageEstimate, size_text, summary
from posetools.training.folds import fold_requests, resumable_folds
from posetools.training.pair import EVALUATION, TrainAllResult, model_requests, parent_of
from posetools.training.request import TrainRequest
from posetools.training.train import TrainResult


def run_all(trainer: NamedTrainer, request: TrainRequest) -> None:
    """Train all models, evaluate them together, and print the results."""
    result = train_run(trainer, request, Steps())
    if result.evaluation is not None:
        console().print()
        print_reports([result.evaluation], console())
    if request.fold is None:
        print_both(result)
    else:
        print_trained(result)


def run_folds(trainer: NamedTrainer, request: TrainRequest, *, both: bool) -> None:
    """Train each fold, both stages or one, and print the results and the command that evaluates all folds together."""
    out, requests = console(), fold_requests(request, both=both)
    for at, (fold, own) in enumerate(requests.items(), start=1):
        out.print(f"\n[bold]fold {fold}[/] ({at} of {len(requests)})")
        with resumable_folds(requests):
            if both:
                run_all(trainer, own)
            else:
                run_one(own)
    run = escape(str(parent_of(request)))
    out.print(f"\nwith both models of every fold: posetools eval --run {run} --folds")


def try_out(request: TrainRequest, *, both: bool) -> None:
    """Run a few iterations of one stage or both, and print what the whole run needs."""
    if request.fold is not None:
        (request,) = fold_requests(request, both=both).values()
    requests = model_requests(request) if both else {request.stage: request}
    with display() as listener:
        if busy_text():
            listener.say(busy_text())
        estimate = summary({model: dry_run(own, listener) for model, own in requests.items()})
    print_estimate(estimate)


def print_both(result: TrainAllResult) -> None:
    """Print the results of both runs and the next commands."""
    print_trained(result)
    out, run = console(), escape(str(result.work_dir))
    out.print(f"all metrics: {run}/{EVALUATION}")
    out.print(f"report: posetools eval --run {run} --report eval.html")
    out.print(f"use it: posetools predict --run {run} --output-root predictions IMAGES")
    out.print(f"export it: posetools export --run {run} --out {escape(result.work_dir.resolve().name)}.zip")


def print_trained(result: TrainAllResult) -> None:
    """Print the results of both runs."""
    out = console()
    rows = [(name, *map(cell, result.models.values())) for name, cell in _LEFT_COLUMNS.items()]
    heads = [MODEL_NAMES.get(model, model) for model in result.models]
    out.print(table_of(rows, "", *heads, title=f"trained: {escape(str(result.work_dir))}"))
    if result.evaluation is not None:
        for model, score in model_scores(result.evaluation).items():
            one, measure = result.models.get(model), BOX_AP50 if model == "det" else PCK
            # Judge models whose training was limited by time.
            if one and one.enough:
                said = verdict(measure, score, one.iterations, one.enough)
                out.print(said if model in STAGES else f"{model}: {said}", soft_wrap=True)


def print_estimate(estimate: DryRun) -> None:
    """Print what the run needs, a column per stage."""
    out = console()
    models = estimate.models
    rows = [(name, *map(cell, models.values())) for name, cell in _ROWS.items()]
    out.print(table_of((row for row in rows if any(row[1:])), "", *models, title="dry run: estimate of the whole run"))
    if len(models) > 1:
        out.print(f"evaluation of both at the end: {time_text(estimate.joint_seconds)}")
        out.print(f"total: {time_text(estimate.seconds)}")
    out.print(f"disk for checkpoints: {size_text(estimate.disk_needed)}, free: {size_text(estimate.disk)}")
    out.print(f"memory of this machine: {size_text(estimate.memory)}")
    for remark in estimate.remarks():
        out.print(f"[yellow]{escape(remark)}[/]")
    out.print("extrapolated from a short measurement; other load on this machine changes it. Nothing was kept.")


def time_text(seconds: float) -> str:
    """Return ``12 s``, ``3.5 min`` or ``2.5 h``; from two days on, days."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.1f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / timedelta(days=1).total_seconds():.1f} days"


_LEFT_COLUMNS: dict[str, Callable[[TrainResult], str]] = {
    "work folder": lambda one: one.work_dir.name,
    "epochs": lambda one: str(one.epochs),
    "trained now": lambda one: str(one.trained),
    "iterations": lambda one: str(one.iterations or ""),
    "best checkpoint": lambda one: one.best.name if one.best else "none",
    "last checkpoint": lambda one: one.last.name,
}


def _timed(one: StageEstimate) -> str:
    seen = one.measured
    text = f"{seen.seconds_per_iteration:.3g} s (mean of {seen.counted}, after {seen.warm_up})"
    if seen.early is None:
        return text
    return f"{text}; {seen.early.seconds_per_iteration:.3g} s at half the input size, in {one.schedule.early} epochs"


def _evaluations(one: StageEstimate) -> str:
    seen = one.measured
    part = f" (measured on {seen.evaluated:.0%})" if seen.evaluated < 1 else ""
    return f"{one.schedule.evaluations} x {time_text(seen.seconds_per_evaluation / one.shares)}{part}"


def _saved(one: StageEstimate) -> str:
    seen, schedule = one.measured, one.schedule
    best = f", best {size_text(seen.best)}" if seen.best else ""
    return f"{schedule.kept} of {schedule.saves} x {size_text(seen.checkpoint)}{best}"


_ROWS: dict[str, Callable[[StageEstimate], str]] = {
    "config": lambda one: one.config,
    "device": lambda one: one.device if one.processes == 1 else f"{one.processes} x {one.device.partition(':')[0]}",
    "batch size": lambda one: str(one.batch_size),
    "time per iteration": _timed,
    "waiting for data": lambda one: f"{one.measured.waiting:.0%} of it",
    "iterations": lambda one: f"{one.epoch_length} x {one.schedule.epochs} epochs = {one.iterations}",
    "training": lambda one: time_text(one.training_seconds),
    "evaluations": _evaluations,
    "saving": lambda one: f"{one.schedule.saves} x {time_text(one.measured.seconds_per_save)}",
    "start of epochs": lambda one: f"{one.schedule.epochs} x {time_text(one.measured.epoch_start)}",
    "start": lambda one: time_text(one.measured.start_up),
    "total": lambda one: time_text(one.seconds),
    "peak memory": lambda one: size_text(one.memory),
    "peak GPU memory": lambda one: size_text(one.measured.gpu_memory) if one.measured.gpu_memory is not None else "",
    "checkpoints kept": _saved,
}
