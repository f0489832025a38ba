"""A pair of configs for this machine: what has to be measured on it is measured, and then the recipe is chosen.

Only what the user asks for is measured: ``batch_size = "auto"`` and ``minutes``. Both need the ``train`` extra; without
them nothing here imports torch, unless there is a GPU to ask.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from posetools.mm.machine import this_machine
from posetools.mm.runtime import prepare
from posetools.recipes.costs import Measured, StageName
from posetools.recipes.emit import ChosenPair, emit_pair
from posetools.recipes.machine import Machine
from posetools.recipes.options import AUTO, RecipeOptions
from posetools.skeleton import Skeleton

STAGES: tuple[StageName, ...] = ("det", "pose")
_NO_GPU = "auto measures on a GPU, and there is none here"


def emit_fitting(
    data_root: Path, skeleton: Skeleton, options: RecipeOptions, out: Path, *, overwrite: bool = False
) -> ChosenPair:
    """Write the pair for this machine, after measuring what was asked for.

    Args:
        data_root: the data set's folder.
        skeleton: the data set's skeleton.
        options: what the user said.
        out: the folder to write to.
        overwrite: replace files that differ from what would be written.

    Raises:
        MissingExtraError: something is to be measured and the ``train`` extra is not installed.
        RequestError: the data set cannot be trained on, or a file is in the way.
        InputError: a COCO file cannot be read or is not of this skeleton.
        RunError: a trial fails.
        OutputError: a file cannot be written.
    """
    machine = this_machine()
    measured = {stage: Measured() for stage in STAGES}
    for stage in STAGES:
        said = options.det if stage == "det" else options.pose
        if said.batch_size == AUTO and machine.gpu is None:
            measured[stage] = Measured(batch_note=_NO_GPU)
        elif said.batch_size == AUTO:
            measured[stage] = _largest_batch(stage, data_root, skeleton, options, machine)
    if options.minutes is not None:
        measured = _timed(data_root, skeleton, options, machine, measured)
    return emit_pair(data_root, skeleton, options, out, overwrite=overwrite, machine=machine, measured=measured)


def _largest_batch(
    stage: StageName, data_root: Path, skeleton: Skeleton, options: RecipeOptions, machine: Machine
) -> Measured:
    from posetools.mm.batch_trial import on_gpu

    prepare("posetools config --batch-size auto")
    with TemporaryDirectory() as folder:
        pair = emit_pair(data_root, skeleton, options, Path(folder), machine=machine)
        samples = pair.facts.train.pictures if stage == "det" else pair.facts.train.posed
        return on_gpu(stage, pair.det if stage == "det" else pair.pose, samples)


def _timed(
    data_root: Path,
    skeleton: Skeleton,
    options: RecipeOptions,
    machine: Machine,
    measured: dict[StageName, Measured],
) -> dict[StageName, Measured]:
    """Return what was measured with the time of an iteration; a stage whose epochs are stated is not timed."""
    from posetools.mm.dry_run import dry_run
    from posetools.mm.train import NO_WEIGHTS, TrainRequest

    prepare("posetools config --minutes")
    found = dict(measured)
    with TemporaryDirectory() as folder:
        where = Path(folder)
        pair = emit_pair(data_root, skeleton, options, where, machine=machine, measured=measured)
        for stage in STAGES:
            said, config = (options.det, pair.det) if stage == "det" else (options.pose, pair.pose)
            if said.epochs is not None:
                continue
            estimate = dry_run(TrainRequest(stage=stage, config=config, work_dir=where / stage, weights=NO_WEIGHTS))
            seconds = estimate.measured.seconds_per_iteration
            found[stage] = replace(
                found[stage],
                seconds=seconds,
                seconds_batch=estimate.batch_size,
                overhead=estimate.seconds - estimate.training_seconds,
            )
    return found
