"""Training: one stage of a pair, by mmengine's Runner, in a work folder that can be resumed.

The work folder holds the config as run, mmengine's log (in a folder named by the time), the last checkpoints
(``epoch_N.pth``, named by ``last_checkpoint``), the best one (``best_*.pth``), the skeleton, and metrics.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posetools.dataset_folder import skeleton_of
from posetools.errors import InputError, RequestError, StoppedError
from posetools.files import write_json, write_text
from posetools.mm.checkpoint import load_checkpoint
from posetools.mm.configs import (
    Stage,
    apply_options,
    check_stage,
    config_of_run,
    data_root_of,
    drop_pretrained,
    load_config,
    set_epochs,
)
from posetools.mm.device import AUTO, runner_device
from posetools.mm.hooks import SilentListener, TrainListener, defined_metrics, progress_hook
from posetools.mm.preflight import check_run
from posetools.mm.quiet import failures, quiet
from posetools.mm.runtime import prepare
from posetools.skeleton import Skeleton, dump_skeleton

SKELETON = "skeleton.yaml"
METRICS = "metrics.json"
WORK_DIRS = Path("work_dirs")

NO_WEIGHTS = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainRequest:
    """What a user may say about a run.

    Attributes:
        stage: which of the two models.
        data: the data set's folder, from which the config is found or emitted; None: the config says.
        config: the config; None: the one emitted for ``data``, or with ``resume`` the one in the work folder.
        configs: the folder in which an emitted pair is looked for, and into which a default one is emitted.
        work_dir: None: ``work_dirs/<name of the config>``.
        resume: go on from the last checkpoint in the work folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        amp: mixed precision.
        weights: a file or URL that the whole model starts from, or ``none``; None: as the config says.
        epochs: how many in all; None: as the config says.
        seed: None: as the config says.
        skeleton: a built-in name or a file; None: the data set's.
        cfg_options: ``key=value`` texts that are merged into the config, last of all.
    """

    stage: Stage
    data: Path | None = None
    config: Path | None = None
    configs: Path = Path("configs")
    work_dir: Path | None = None
    resume: bool = False
    device: str = AUTO
    amp: bool = False
    weights: str | None = None
    epochs: int | None = None
    seed: int | None = None
    skeleton: str | None = None
    cfg_options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run left.

    Attributes:
        work_dir: the work folder.
        last: the last checkpoint.
        best: the best one, None when the run was never evaluated or nothing could be measured.
        metrics: of the last evaluation, without what could not be measured.
        epochs: how many the last checkpoint has been trained for.
        trained: how many of them this call added; 0 when there was nothing to do.
    """

    work_dir: Path
    last: Path
    best: Path | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 0
    trained: int = 0


def train(request: TrainRequest, listener: TrainListener | None = None) -> TrainResult:
    """Train one stage.

    Args:
        request: what to train.
        listener: told where the run is.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: the run would fail or waste its time; the message lists why and what to do.
        InputError: the config or a checkpoint cannot be read.
        RunError: the run ended with an error of OpenMMLab or torch.
        StoppedError: the user stopped it; the message says how to go on.
    """
    prepare("posetools train")
    told = listener or SilentListener()
    config, work_dir = _planned(request, told)
    checkpoint = _checkpoint_to_resume(work_dir) if request.resume else None
    start = _epoch_of(checkpoint) if checkpoint else 0
    if checkpoint and start >= config.train_cfg.get("max_epochs", 0):
        told.say(f"nothing to do: {checkpoint} is at epoch {start} of {config.train_cfg['max_epochs']}")
        return TrainResult(work_dir, checkpoint, best_in(work_dir), epochs=start)
    _set_weights(config, request.weights, checkpoint)
    skeleton = skeleton_of(data_root_of(config), request.skeleton)
    told.say(f"checking the data set {data_root_of(config)} and the config {config.filename}")
    device = check_run(config, request.stage, skeleton, device=request.device, amp=request.amp, say=told.say)
    if checkpoint:
        told.say(f"resuming from {checkpoint}: epoch {start} of {config.train_cfg['max_epochs']} is done")
    told.say(f"training on {device}, work folder {work_dir}")
    return _run(config, request.stage, work_dir, skeleton, device, start, told)


def _planned(request: TrainRequest, told: TrainListener) -> tuple[Any, Path]:
    """Return the config with the user's changes, and the work folder."""
    path, work_dir = _places(request, told)
    config = load_config(path)
    check_stage(config, request.stage)
    if request.data is not None and data_root_of(config).resolve() != request.data.resolve():
        raise RequestError(
            f"{path}: is of the data set {data_root_of(config)}, not of {request.data}\n"
            f"  `posetools config {request.data}` emits a pair for that one"
        )
    _change(config, request)
    config.work_dir = str(work_dir)
    return config, work_dir


def _places(request: TrainRequest, told: TrainListener) -> tuple[Path, Path]:
    """Return the config's file and the work folder."""
    if request.resume and request.work_dir is not None and request.config is None:
        path, work_dir = None, request.work_dir
    else:
        path = request.config or _found_or_emitted(request, told)
        work_dir = request.work_dir or WORK_DIRS / path.stem
    if request.resume:
        _checkpoint_to_resume(work_dir)
    elif any(work_dir.glob("*.pth")):
        raise RequestError(
            f"{work_dir}: holds checkpoints of an earlier run\n  --resume goes on with it; or choose another --work-dir"
        )
    # With --resume, the config as run: it holds what was said on the command line the first time.
    as_run = None if request.config or not request.resume else config_of_run(work_dir)
    return as_run or path or config_of_run(work_dir), work_dir


def _found_or_emitted(request: TrainRequest, told: TrainListener) -> Path:
    from posetools.recipes.emit import emit_pair
    from posetools.recipes.find import find_pair
    from posetools.recipes.options import RecipeOptions

    if request.data is None:
        raise RequestError("--data DIR or --config FILE must say what to train on\n  posetools train --help")
    pair = find_pair(request.data, request.configs)
    if pair is None:
        skeleton = skeleton_of(request.data, request.skeleton)
        pair = emit_pair(request.data, skeleton, RecipeOptions(), request.configs)
        told.say(f"no config for {request.data} in {request.configs}: wrote the default pair, {pair.det}, {pair.pose}")
    path = pair.det if request.stage == "det" else pair.pose
    told.say(f"config: {path}")
    return path


def _change(config: Any, request: TrainRequest) -> None:
    if request.epochs is not None:
        set_epochs(config, request.epochs)
    if request.seed is not None:
        config.randomness = {**(config.get("randomness") or {}), "seed": request.seed}
    if request.amp:
        config.optim_wrapper["type"] = "AmpOptimWrapper"
        config.optim_wrapper.setdefault("loss_scale", "dynamic")
    apply_options(config, request.cfg_options)
    visualizer = config.get("visualizer")
    if visualizer:
        # Under its stock name, a second run in this process would write its curves into the folder of the first.
        visualizer.pop("name", None)


def _set_weights(config: Any, weights: str | None, checkpoint: Path | None) -> None:
    if weights is not None or checkpoint is not None:
        drop_pretrained(config.model)
        config.load_from = None if weights == NO_WEIGHTS else weights
    config.resume = checkpoint is not None
    if checkpoint is not None:
        config.load_from = str(checkpoint)


def _checkpoint_to_resume(work_dir: Path) -> Path:
    checkpoint = last_in(work_dir)
    if checkpoint is None:
        raise RequestError(
            f"{work_dir}: has no checkpoint to resume from\n  without --resume the run starts at the first epoch"
        )
    return checkpoint


def last_in(work_dir: Path) -> Path | None:
    """Return the last checkpoint of a work folder, as mmengine records it, or None."""
    record = work_dir / "last_checkpoint"
    if not record.is_file():
        return None
    recorded = Path(record.read_text(encoding="utf-8").strip())
    # mmengine records an absolute path, which a work folder that was moved has left behind.
    beside = work_dir / recorded.name
    return beside if beside.is_file() else recorded


def _epoch_of(checkpoint: Path) -> int:
    meta = load_checkpoint(checkpoint).get("meta") or {}
    if "epoch" not in meta:
        raise InputError(checkpoint, "meta.epoch", "must be there: this is no checkpoint that can be resumed")
    return int(meta["epoch"])


def best_in(work_dir: Path) -> Path | None:
    """Return the best checkpoint of a work folder, or None when the run was never evaluated."""
    return max(work_dir.glob("best_*.pth"), key=lambda path: path.stat().st_mtime, default=None)


def _run(
    config: Any, stage: Stage, work_dir: Path, skeleton: Skeleton, device: str, start: int, told: TrainListener
) -> TrainResult:
    from mmengine.runner import Runner

    write_text(work_dir / SKELETON, dump_skeleton(skeleton))
    hook = progress_hook(told)
    runner: Any = None
    try:
        with failures("training failed", work_dir), quiet(), _formatted_once(), runner_device(device):
            runner = Runner.from_cfg(config)
            runner.register_hook(hook)
            runner.train()
    except KeyboardInterrupt as exc:
        raise _stopped(runner, stage, work_dir) from exc
    return _finish(runner, work_dir, hook.metrics, start)


@contextmanager
def _formatted_once() -> Iterator[None]:
    """Let mmengine lay out the text of the config once: yapf takes a second for it, with every checkpoint anew."""
    from mmengine.config import config as module

    layout, known = module.FormatCode, dict[str, Any]()

    def remembered(text: str, **style: Any) -> Any:
        if text not in known:
            known[text] = layout(text, **style)
        return known[text]

    module.FormatCode = remembered
    try:
        yield
    finally:
        module.FormatCode = layout


def _stopped(runner: Any, stage: Stage, work_dir: Path) -> StoppedError:
    where = f"in epoch {runner.epoch + 1} of {runner.max_epochs}" if runner is not None else "before the first epoch"
    if (work_dir / "last_checkpoint").is_file():
        kept = _checkpoint_to_resume(work_dir)
        return StoppedError(
            f"stopped {where}; {kept} is kept\n"
            f"  posetools train --stage {stage} --work-dir {work_dir} --resume goes on from there"
        )
    return StoppedError(f"stopped {where}, with no checkpoint yet: the same command starts anew")


def _finish(runner: Any, work_dir: Path, metrics: Mapping[str, float | None], start: int) -> TrainResult:
    hub = runner.message_hub
    best_name = hub.get_info("best_ckpt")
    best = work_dir / Path(best_name).name if best_name else None
    last = _checkpoint_to_resume(work_dir)
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
    return TrainResult(work_dir, last, best, measured, epochs=epochs, trained=epochs - start)
