"""``posetools train --stage all``: the detector, then the pose estimator, then the evaluation of both together.

The work folder is the parent of both runs, ``<work_dir>/det`` and ``<work_dir>/pose``, which is what ``--run`` of the
other commands reads. Both runs are checked before the first one starts: a pose config that cannot be trained is no
surprise for the next morning. For the same reason both configs as run are written at once, so that ``--resume`` needs
nothing but the work folder, even when the pose estimator has not begun.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from posetools.core.stages import MODEL_NAMES, STAGES, Stage
from posetools.errors import OutputError, RequestError, RunError, StoppedError
from posetools.evaluation.report import Report, as_document
from posetools.evaluation.run import EvalRequest, evaluate
from posetools.files.disk import write_json
from posetools.mm.configs import SCOPES, check_options, config_of_run, data_root_of, load_config
from posetools.mm.device import AUTO, check_device
from posetools.mm.run_folder import last_in
from posetools.mm.stack import prepare, require_train
from posetools.pairs.find import check_file
from posetools.training.hooks import StepListener
from posetools.training.mishaps import AGAIN, NO_CHECKPOINT
from posetools.training.request import NO_WEIGHTS, WORK_DIRS, TrainRequest, check_training
from posetools.training.spread.config import recorded_processes
from posetools.training.spread.processes import by_first, here
from posetools.training.train import RunPlan, TrainResult, execute, plan_run

EVALUATION = "evaluation.json"

_Found = TypeVar("_Found")

_PART_COUNT = len(STAGES) + 1
_RESTARTS = "restarts this model"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainAllResult:
    """What both runs left.

    Attributes:
        work_dir: the folder of both runs.
        det: the detector's run.
        pose: the pose estimator's.
        evaluation: of both together; None when there was nothing to do, and in all but the first of several processes.
    """

    work_dir: Path
    det: TrainResult
    pose: TrainResult
    evaluation: Report | None


def train_all(request: TrainRequest, configs: Sequence[Path], listener: StepListener) -> TrainAllResult:
    """Train both models of a pair, and evaluate them together.

    Args:
        request: what to train; its work folder is that of both runs, its ``stage`` and ``config`` do not count.
        configs: a detector's and a pose estimator's, in any order; or none: those of the data set, or with ``resume``
            those in the work folder.
        listener: told what is done.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: one of the runs would fail or waste its time; the message lists why and what to do.
        InputError: a config or a checkpoint cannot be read.
        OutputError: something cannot be written.
        RunError: a run ended with an error of OpenMMLab or torch.
        StoppedError: the user stopped it; the message says how to go on.
    """
    require_train("posetools train")
    check_both(request, configs)
    prepare("posetools train")
    parent = parent_of(request, configs)
    requests = stage_requests(request, configs)
    with _goes_on(request, parent):
        with listener.training() as told:
            planned = _of_both(requests, lambda own: plan_run(own, told))
        by_first(lambda: _keep_configs(planned))
        results = {
            stage: _train(number, stage, requests[stage], planned[stage], listener)
            for number, stage in enumerate(STAGES, start=1)
        }
        report = _evaluate(parent, results, request, listener)
    return TrainAllResult(work_dir=parent, det=results["det"], pose=results["pose"], evaluation=report)


def check_both(request: TrainRequest, configs: Sequence[Path]) -> None:
    """Refuse what is wrong with the request for a pair and can be known without torch.

    Raises:
        RequestError: an option means nothing, or a folder cannot be trained in.
        InputError: a file is not there.
    """
    check_device(request.device)
    check_options(request.cfg_options)
    for path in configs:
        check_file(path, "config")
    if not configs:
        _of_both(stage_requests(request, configs), check_training)


def stage_requests(request: TrainRequest, configs: Sequence[Path]) -> Mapping[Stage, TrainRequest]:
    """Return what to train in each stage: where, with which config, resumed or not.

    Raises:
        RequestError: what is asked for is not one pair.
        InputError: a config cannot be read.
    """
    if request.weights not in (None, NO_WEIGHTS):
        raise RequestError(
            f"--weights {request.weights}: with --stage all it would start both models from one file\n"
            "  --cfg-options det.load_from=FILE pose.load_from=FILE names one for each; or train them one by one"
        )
    by_stage, parent = _pair_of(configs), parent_of(request, configs)
    found: dict[Stage, TrainRequest] = {}
    for stage in STAGES:
        own = replace(
            request, stage=stage, work_dir=parent / stage, cfg_options=_own_options(request.cfg_options, stage)
        )
        if stage != "pose":
            # Crops are for poses.
            own = replace(own, cache=None, cache_dir=None)
        if by_stage:
            own = replace(own, config=by_stage[stage], resume=request.resume and last_in(parent / stage) is not None)
        elif request.resume:
            own = _resumed(own, parent / stage)
        found[stage] = own
    if request.resume and not any(_has_begun(parent / stage) for stage in STAGES):
        raise RequestError(
            f"{parent}: has no run of --stage all to go on with\n  without --resume both runs start at the first epoch"
        )
    return found


def _pair_of(configs: Sequence[Path]) -> Mapping[Stage, Path]:
    if not configs:
        return {}
    scopes = {path: load_config(path).get("default_scope") for path in configs}
    found = {stage: [path for path in configs if scopes[path] == SCOPES[stage]] for stage in STAGES}
    if len(configs) != len(STAGES) or any(len(paths) != 1 for paths in found.values()):
        listed = ", ".join(f"{path} ({scope})" for path, scope in scopes.items())
        raise RequestError(
            f"--config with --stage all must be given twice, for a detector and for a pose estimator, got {listed}\n"
            "  without it the pair that was emitted for the data set is trained"
        )
    return {stage: paths[0] for stage, paths in found.items()}


def parent_of(request: TrainRequest, configs: Sequence[Path]) -> Path:
    """Return the folder of both runs: what was said, or ``work_dirs/<name of the data set's folder>``.

    Raises:
        RequestError: neither that nor a data set was named.
        InputError: a config cannot be read.
    """
    if request.work_dir is not None:
        return request.work_dir
    if request.data is None and not configs:
        missing = "--work-dir DIR" if request.resume else "--data DIR, or --config FILE twice,"
        what = "which runs to go on with" if request.resume else "what to train on"
        raise RequestError(f"{missing} must say {what}\n  posetools train --help")
    data = request.data or data_root_of(load_config(configs[0]))
    return WORK_DIRS / data.resolve().name


def _own_options(options: Sequence[str], stage: Stage) -> tuple[str, ...]:
    """Return the options of a stage: those of both, and those that name it (``det.load_from=...``) without its name."""
    others = tuple(f"{other}." for other in STAGES if other != stage)
    return tuple(option.removeprefix(f"{stage}.") for option in options if not option.startswith(others))


def _resumed(own: TrainRequest, folder: Path) -> TrainRequest:
    """Return the request for a run that goes on, or that starts with the config that was kept for it."""
    if last_in(folder):
        return replace(own, config=None)
    if not _has_begun(folder):
        return replace(own, config=None, resume=False)
    path = config_of_run(folder)
    if own.gpus is None and own.processes is None and own.launcher == "none":
        prepare("posetools train")
        number, gpus = recorded_processes(path)
        own = replace(own, gpus=number if gpus else None, processes=None if gpus or number == 1 else number)
    return replace(own, config=path, resume=False)


def _has_begun(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("*.py"))


def _of_both(requests: Mapping[Stage, TrainRequest], work: Callable[[TrainRequest], _Found]) -> dict[Stage, _Found]:
    """Return what ``work`` gives for both runs; what is wrong with either is told before the first one starts."""
    found, problems = dict[Stage, _Found](), list[str]()
    for stage, own in requests.items():
        try:
            found[stage] = work(own)
        except RequestError as exc:
            problems.append(str(exc))
    if problems:
        raise RequestError("\n".join(dict.fromkeys(problems)))
    return found


def _keep_configs(planned: Mapping[Stage, RunPlan]) -> None:
    """Write the configs as run into the folders of the runs, where mmengine would write them when each one starts."""
    for one in planned.values():
        if one.checkpoint is not None:
            continue
        path = one.work_dir / Path(one.config.filename).name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            one.config.dump(str(path))
        except OSError as exc:
            raise OutputError(f"{path}: cannot be written: {exc.strerror or exc}") from exc


def _train(number: int, stage: Stage, request: TrainRequest, planned: RunPlan, listener: StepListener) -> TrainResult:
    how = ("--resume",) if request.resume else ("--config", planned.config.filename)
    words = ("posetools", "train", "--stage", stage, *how, "--work-dir", str(planned.work_dir))
    listener.step(f"the {MODEL_NAMES[stage]} (part {number} of {_PART_COUNT})", shlex.join(words))
    with listener.training() as told:
        return execute(planned, told)


def _evaluate(
    parent: Path, results: Mapping[Stage, TrainResult], request: TrainRequest, listener: StepListener
) -> Report | None:
    path = parent / EVALUATION
    if not here().first:
        return None
    if path.is_file() and not any(result.trained for result in results.values()):
        listener.say(f"nothing to do: both are trained, and {path} has their evaluation")
        return None
    listener.step(
        f"both together (part {_PART_COUNT} of {_PART_COUNT})", shlex.join(["posetools", "eval", "--run", str(parent)])
    )
    with listener.progress() as progress:
        report = evaluate(EvalRequest(run=parent, device=request.device), progress)
    write_json(path, as_document((report,)))
    return report


@contextmanager
def _goes_on(request: TrainRequest, parent: Path) -> Iterator[None]:
    """Let what ends one of the runs say how both go on."""
    device = () if request.device == AUTO else ("--device", request.device)
    words = ("posetools", "train", "--stage", "all", "--work-dir", str(parent), *device, "--resume")
    command = shlex.join(words)
    try:
        yield
    except RunError as exc:
        # Its own way on is that of one of the runs alone.
        if isinstance(exc, StoppedError):
            what = _RESTARTS if exc.way == AGAIN else "goes on from there"
            raise StoppedError(f"{exc.happened}\n  {command} {what}") from exc
        raise RunError(f"{exc.happened}\n  {command} goes on with both, once that is mended") from exc
    except KeyboardInterrupt as exc:
        if not any(_has_begun(parent / stage) for stage in STAGES):
            raise StoppedError(f"stopped before the first epoch; {NO_CHECKPOINT}{AGAIN}") from exc
        if not any(last_in(parent / stage) for stage in STAGES):
            raise StoppedError(f"stopped before the first epoch; {NO_CHECKPOINT}\n  {command} {_RESTARTS}") from exc
        raise StoppedError(f"stopped; what is trained is kept\n  {command} goes on from there") from exc
