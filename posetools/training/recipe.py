"""A pair of configs for this machine: what has to be measured on it is measured, and then the recipe is chosen.

Only what the user asks for is measured: ``batch_size = "auto"`` and ``minutes``. Both need the ``train`` extra; without
them nothing here imports torch, unless there is a GPU to ask.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from posetools.core.skeleton import Skeleton
from posetools.core.stages import STAGES, Stage
from posetools.mm.machine import this_machine
from posetools.mm.runtime import prepare
from posetools.recipes.emit import ChosenPair, check_absent, emit_pair, pair_paths
from posetools.recipes.machine import Machine, busy_text
from posetools.recipes.options import AUTO, RecipeOptions
from posetools.recipes.recipe import Measured
from posetools.training.hooks import SilentListener, TrainListener

_NO_GPU = "auto measures on a GPU, and there is none here"


def emit_fitting(
    data_root: Path,
    skeleton: Skeleton,
    options: RecipeOptions,
    out: Path,
    *,
    overwrite: bool = False,
    listener: TrainListener | None = None,
) -> ChosenPair:
    """Write the pair for this machine, after measuring what was asked for.

    Args:
        data_root: the data set's folder.
        skeleton: the data set's skeleton.
        options: what the user said.
        out: the folder to write to.
        overwrite: replace files that differ from what would be written.
        listener: told what is measured.

    Raises:
        MissingExtraError: something is to be measured and the ``train`` extra is not installed.
        RequestError: the data set cannot be trained on, or a file is in the way.
        InputError: a COCO file cannot be read or is not of this skeleton.
        RunError: a trial fails.
        OutputError: a file cannot be written.
    """
    told = listener or SilentListener()
    if not overwrite and _is_measured(options):
        check_absent(pair_paths(options, skeleton, out))
    machine = this_machine()
    measured = {stage: Measured() for stage in STAGES}
    for stage in STAGES:
        said = options.det if stage == "det" else options.pose
        if said.batch_size == AUTO and machine.gpu is None:
            measured[stage] = Measured(batch_note=_NO_GPU)
        elif said.batch_size == AUTO:
            measured[stage] = _largest_batch(stage, data_root, skeleton, options, machine)
    if options.minutes is not None:
        measured = _timed(data_root, skeleton, options, machine, measured, told)
    return emit_pair(data_root, skeleton, options, out, overwrite=overwrite, machine=machine, measured=measured)


def _largest_batch(
    stage: Stage, data_root: Path, skeleton: Skeleton, options: RecipeOptions, machine: Machine
) -> Measured:
    from posetools.training.batch_trial import on_gpu

    prepare("posetools config --batch-size auto")
    with TemporaryDirectory() as folder:
        pair = emit_pair(data_root, skeleton, options, Path(folder), machine=machine)
        samples = pair.facts.train.pictures if stage == "det" else pair.facts.train.posed
        return on_gpu(stage, pair.det if stage == "det" else pair.pose, samples)


def _is_measured(options: RecipeOptions) -> bool:
    stages = (options.det, options.pose)
    timed = options.minutes is not None and any(said.epochs is None for said in stages)
    return timed or any(said.batch_size == AUTO for said in stages)


def _timed(
    data_root: Path,
    skeleton: Skeleton,
    options: RecipeOptions,
    machine: Machine,
    measured: dict[Stage, Measured],
    told: TrainListener,
) -> dict[Stage, Measured]:
    """Return what was measured with the time of an iteration; a stage whose epochs are stated is not timed."""
    from posetools.training.dry_run import dry_run
    from posetools.training.train import NO_WEIGHTS, TrainRequest

    busy = busy_text()
    if busy:
        told.say(busy)
    found = dict(measured)
    with TemporaryDirectory() as folder:
        where = Path(folder)
        pair = emit_pair(data_root, skeleton, options, where, machine=machine, measured=measured)
        prepare("posetools config --minutes")
        for stage in STAGES:
            said, config = (options.det, pair.det) if stage == "det" else (options.pose, pair.pose)
            if said.epochs is not None:
                continue
            told.say(f"timing {stage}: a few iterations, an evaluation, a checkpoint")
            request = TrainRequest(stage=stage, config=config, work_dir=where / stage, weights=NO_WEIGHTS)
            estimate = dry_run(request)
            seen = estimate.measured
            found[stage] = replace(
                found[stage],
                seconds=seen.seconds_per_iteration,
                seconds_batch=estimate.batch_size,
                start_up=seen.start_up,
                epoch_start=seen.epoch_start,
                evaluation=seen.seconds_per_evaluation + seen.seconds_per_save,
            )
            told.say(
                f"{stage}: {seen.seconds_per_iteration:.2g} s an iteration, "
                f"{found[stage].evaluation:.2g} s an evaluation with its checkpoint"
            )
    return found
