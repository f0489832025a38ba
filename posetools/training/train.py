"""Train one stage of a pair with mmengine's Runner, in a work folder that can be resumed.

The work folder has the config as run, mmengine's log (in a folder named by the time), the last checkpoints
(``epoch_N.pth``, named by ``last_checkpoint``), the best one (``best_*.pth``), the skeleton, evaluations.json, and at
the end metrics.json. The hooks are added in ``_run``; ``mishaps`` turns errors into messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from posetools.core.categories import Categories, dump_categories
from posetools.core.folder import categories_of
from posetools.core.stages import Stage
from posetools.errors import RequestError, must_be, quoted
from posetools.files.disk import write_json, write_text
from posetools.files.locks import only_one_in
from posetools.mm.configs import (
    apply_options,
    check_fold,
    check_stage,
    config_of_run,
    data_root_of,
    drop_pretrained,
    load_config,
    set_epochs,
)
from posetools.mm.device import this_machine
from posetools.mm.evaluations import ResumeHook, evaluations_of, nothing_left, set_early_stopping, stopping_text
from posetools.mm.patches import patched_run
from posetools.mm.run_folder import SKELETON, best_in, checkpoint_to_resume, resumable
from posetools.mm.run_log import METRICS
from posetools.mm.stack import prepare, require_train
from posetools.mm.weights import WeightsHook, starter_file
from posetools.pairs.doubts import doubt_of_evaluations
from posetools.recipes.annotations import Annotations
from posetools.recipes.emit import emit_pair
from posetools.recipes.options import STARTER, RecipeOptions
from posetools.recipes.starter import starter_pair
from posetools.training.crops.cache import CropsCache, CropsHook, crops_cache
from posetools.training.deadline import DeadlineHook
from posetools.training.hooks import ProgressHook, SilentListener, TrainListener, defined_metrics
from posetools.training.mishaps import FEWEST_KEPT, GuardHook, watched
from posetools.training.preflight import check_run
from posetools.training.request import NO_WEIGHTS, WORK_DIRS, TrainRequest, check_training, check_work_dir
from posetools.training.resuming import ScheduleHook, SeedHook
from posetools.training.saving import SavingHook, clear_unfinished
from posetools.training.speed import make_fast
from posetools.training.spread.config import hooks_of_several, spread_out
from posetools.training.spread.launch import launch, to_start
from posetools.training.spread.processes import by_first, here, in_turn, join
from posetools.training.trackers import add_trackers, name_visualizer


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The result of a run.

    Attributes:
        work_dir: the work folder.
        last: the last checkpoint.
        best: the best one, None if there was no evaluation or nothing to measure.
        metrics: of the last evaluation, without undefined ones.
        epochs: epochs of the last checkpoint.
        trained: epochs trained by this call; 0 if there was nothing to do.
        iterations: their iterations; 0 if there was nothing to do.
        enough: iterations of the recipe without a time limit; 0: time did not limit it.
    """

    work_dir: Path
    last: Path
    best: Path | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 0
    trained: int = 0
    iterations: int = 0
    enough: int = 0


def train(request: TrainRequest, listener: TrainListener | None = None) -> TrainResult:
    """Train one stage.

    Args:
        request: what to train.
        listener: receives progress.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: the run would fail or waste its time; the message lists why and what to do.
        InputError: the config or a checkpoint cannot be read.
        RunError: the run ended with an error of OpenMMLab or torch.
        StoppedError: the user stopped it; the message says how to continue.
    """
    require_train("posetools train")
    check_training(request)
    prepare("posetools train")
    told = listener or SilentListener()
    return execute(plan_run(request, told), told)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """A checked run, ready to start.

    Attributes:
        stage: which of the two models.
        config: the config with the user's changes.
        work_dir: the work folder.
        checkpoint: the checkpoint to resume, or None.
        start: epochs of the checkpoint.
        categories: those of the model; None when nothing is left to train.
        device: ``cpu`` or ``cuda:N``.
        processes: number to start on this machine; 1: this one trains.
        cache: the crop cache, or None.
        left: why nothing is left to train, as a sentence.
    """

    stage: Stage
    config: Any
    work_dir: Path
    checkpoint: Path | None = None
    start: int = 0
    categories: Categories | None = None
    device: str = ""
    processes: int = 1
    cache: CropsCache | None = None
    left: str = ""


def plan_run(request: TrainRequest, told: TrainListener) -> RunPlan:
    """Check a request completely, and return the run.

    Raises:
        RequestError: the run would fail or waste its time; the message lists why and what to do.
        InputError: the config or a checkpoint cannot be read.
    """
    processes, asked = to_start(request)
    place, asked = join(request.launcher, asked)
    told = told if place.first else SilentListener()
    config, work_dir = in_turn(lambda: _planned(request, told))
    cache = crops_cache(request.cache, request.cache_dir, stage=request.stage, work_dir=work_dir)
    planned = RunPlan(stage=request.stage, config=config, work_dir=work_dir, cache=cache)
    if request.resume:
        found = resumable(work_dir, told.say)
        planned = replace(planned, checkpoint=found.path, start=found.epoch)
        # The order of the samples also depends on the seed.
        _set_seed(config, found.seed, request.seed, told)
        left = by_first(lambda: nothing_left(config, work_dir, found))
        if left:
            return replace(planned, left=left)
    checkpoint = planned.checkpoint
    _set_weights(config, request, checkpoint)
    categories = model_categories(config, request)
    told.say(f"checking the data set {data_root_of(config)} and the config {config.filename}")
    device = by_first(lambda: check_run(config, request.stage, categories, device=asked, amp=request.amp, say=told.say))
    number = max(processes, place.world)
    spread_out(config, number, gpus=device != "cpu", options=request.cfg_options, say=told.say)
    own = asked if place.several else device
    return replace(planned, categories=categories, device=own, processes=processes)


def execute(planned: RunPlan, told: TrainListener, hooks: Sequence[Any] = ()) -> TrainResult:
    """Run a planned run.

    Raises:
        RequestError: another run is writing into the work folder.
        RunError: the run ended with an error of OpenMMLab or torch.
        StoppedError: the user stopped it; the message says how to continue.
    """
    told = told if here().first else SilentListener()
    epochs = planned.config.train_cfg.get("max_epochs")
    if planned.categories is None:
        told.say(planned.left)
        last = checkpoint_to_resume(planned.work_dir)
        return TrainResult(planned.work_dir, last, best_in(planned.work_dir), epochs=planned.start)
    if planned.processes > 1:
        return launch(planned, told)
    if planned.checkpoint:
        told.say(f"resuming from {planned.checkpoint}: epoch {planned.start} of {epochs} is done")
    told.say(f"training on {planned.device}, work folder {planned.work_dir}")
    with ExitStack() as stack:
        by_first(lambda: stack.enter_context(only_one_in(planned.work_dir)))
        return _run(planned, planned.categories, told, hooks)


def _planned(request: TrainRequest, told: TrainListener) -> tuple[Any, Path]:
    """Return the config with the user's changes, and the work folder."""
    path, work_dir = _places(request, told)
    config = load_config(path)
    check_stage(config, request.stage)
    if request.data is not None and data_root_of(config).resolve() != request.data.resolve():
        raise RequestError(
            f"{path}: is for the data set {data_root_of(config)}, not for {request.data}",
            hint=f"run `posetools config {quoted(request.data)}` for its own pair",
        )
    check_fold(config, data_root_of(config))
    config.work_dir = str(work_dir)
    _change(config, request, told)
    if config.get("annotations"):
        categories = model_categories(config, request)
        own = Annotations(config.skeleton, categories, Path(config.annotations), config.get("fold"))
        if own.update(data_root_of(config)):
            told.say(f"{own.folder}: copied the annotations of {own.categories.name} from {data_root_of(config)}")
    return config, work_dir


def model_categories(config: Any, request: TrainRequest) -> Categories:
    """Return the categories that a config's model is for: all, or those of its skeleton.

    Raises:
        RequestError: the data set has no such skeleton, or no category with keypoints.
        InputError: a file of the data set cannot be read.
    """
    data = data_root_of(config)
    categories = categories_of(data, request.skeleton)
    if request.stage == "det" or (len(categories) == 1 and not config.get("skeleton")):
        return categories
    own = categories.posed.get(str(config.get("skeleton")))
    if own is None:
        rule = f"a skeleton of {data}: {', '.join(categories.posed)}"
        problem = must_be(f"{config.filename}: skeleton", rule, config.get("skeleton"))
        raise RequestError(problem, hint=f"run `posetools config {quoted(data)} --overwrite` for new configs")
    return own


def _places(request: TrainRequest, told: TrainListener) -> tuple[Path, Path]:
    """Return the config's file and the work folder."""
    if request.resume and request.work_dir is not None and request.config is None:
        path, work_dir = None, request.work_dir
    else:
        path = request.config or _found_or_emitted(request, told)
        work_dir = request.work_dir or WORK_DIRS / path.stem
    check_work_dir(work_dir, resume=request.resume)
    # With --resume, the config as run, which has the options of the first call.
    as_run = None if request.config or not request.resume else config_of_run(work_dir)
    return as_run or path or config_of_run(work_dir), work_dir


def _found_or_emitted(request: TrainRequest, told: TrainListener) -> Path:
    data, path = request.folder, request.found_config()
    if path is None:
        options = starter_pair() if request.weights == STARTER else RecipeOptions()
        pair = emit_pair(data, request.categories, options, request.configs, machine=this_machine(), fold=request.fold)
        listed = ", ".join(map(str, pair.configs.values()))
        told.say(f"no config for {data} in {request.configs}: wrote the default pair, {listed}")
        path = pair.configs[request.model]
    told.say(f"config: {path}")
    return path


def _change(config: Any, request: TrainRequest, told: TrainListener) -> None:
    work_dir = Path(config.work_dir)
    if request.epochs is not None:
        set_epochs(config, request.epochs)
        # A number of epochs wins over the time limit that chose the config's.
        config.pop("minutes", None)
    if request.seed is not None:
        config.randomness = {**(config.get("randomness") or {}), "seed": request.seed}
    if request.amp:
        config.optim_wrapper["type"] = "AmpOptimWrapper"
        config.optim_wrapper.setdefault("loss_scale", "dynamic")
    if request.keep is not None and config.default_hooks.get("checkpoint"):
        config.default_hooks["checkpoint"]["max_keep_ckpts"] = request.keep
    add_trackers(config, request.trackers, work_dir)
    if request.early_stopping is not None:
        set_early_stopping(config, request.early_stopping, evaluations_of(config, work_dir))
    apply_options(config, request.cfg_options)
    saved = config.default_hooks.get("checkpoint") or {}
    if 0 < saved.get("max_keep_ckpts", -1) < FEWEST_KEPT:
        told.say(f"keeping {FEWEST_KEPT} checkpoints, in case the newer one gets damaged")
        saved["max_keep_ckpts"] = FEWEST_KEPT
    name_visualizer(config, work_dir)


def _set_seed(config: Any, recorded: int | None, asked: int | None, told: TrainListener) -> None:
    if recorded is None:
        return
    if asked not in (None, recorded):
        told.say(f"ignoring --seed {asked}: a resumed run keeps its seed {recorded}")
    config.randomness = {**(config.get("randomness") or {}), "seed": recorded}


def _set_weights(config: Any, request: TrainRequest, checkpoint: Path | None) -> None:
    weights = request.weights
    if weights is not None or checkpoint is not None:
        drop_pretrained(config.model)
        config.load_from = None if weights == NO_WEIGHTS else weights
        if weights == STARTER and checkpoint is None:
            config.load_from = starter_file(config, request.stage)
    config.resume = checkpoint is not None
    if checkpoint is not None:
        config.load_from = str(checkpoint)


def _run(planned: RunPlan, categories: Categories, told: TrainListener, hooks: Sequence[Any]) -> TrainResult:
    from mmengine.runner import Runner

    config, work_dir, checkpoint, first = planned.config, planned.work_dir, planned.checkpoint, here().first
    evaluations = evaluations_of(config, work_dir, writes=first)
    if checkpoint:
        evaluations = by_first(lambda: evaluations_of(config, work_dir, until=planned.start))
        evaluations.writes = first
    elif first:
        evaluations.write()
    if first:
        write_text(work_dir / SKELETON, dump_categories(categories))
        clear_unfinished(work_dir)
    saving, progress, runner = SavingHook(), ProgressHook(told, evaluations), None
    own = [WeightsHook(), GuardHook(), saving, SeedHook()]
    # After all others, since it evaluates and may save.
    own += [ResumeHook(evaluations, checkpoint)] if checkpoint else []
    own += [progress, *hooks, *hooks_of_several(config, planned.device)]
    own += [CropsHook(planned.cache, told.say)] if planned.cache else []
    own += [ScheduleHook(told.say)] if checkpoint else []
    own += [DeadlineHook(config.minutes, told.say)] if config.get("minutes") else []
    with watched(planned.stage, work_dir, lambda: runner), patched_run(config, planned.device, saving.save):
        runner = Runner.from_cfg(config)
        for hook in own:
            runner.register_hook(hook)
        make_fast(runner)
        runner.train()
    if runner.train_loop.stop_training:
        told.say(f"stopped early after epoch {runner.epoch} of {runner.max_epochs}: {stopping_text(evaluations)}")
    doubt = doubt_of_evaluations(evaluations)
    if doubt:
        told.say(f"warning: {doubt}")
    return by_first(lambda: _finish(runner, work_dir, progress.metrics, planned.start))


def _finish(runner: Any, work_dir: Path, metrics: Mapping[str, float | None], start: int) -> TrainResult:
    hub = runner.message_hub
    best_name = hub.get_info("best_ckpt")
    best = work_dir / Path(best_name).name if best_name else None
    last = checkpoint_to_resume(work_dir)
    epochs = int(runner.epoch)
    write_json(
        work_dir / METRICS,
        {
            "config": Path(runner.cfg.filename).name,
            "epochs": epochs,
            "last": {"checkpoint": last.name, "metrics": dict(metrics)},
            "best": {"checkpoint": best.name, **defined_metrics({"score": hub.get_info("best_score")})}
            if best
            else None,
        },
    )
    measured = {name: value for name, value in metrics.items() if value is not None}
    ran = {"iterations": int(runner.iter), "enough": runner.cfg.get("enough_iterations", 0)}
    return TrainResult(work_dir, last, best, measured, epochs=epochs, trained=epochs - start, **ran)
