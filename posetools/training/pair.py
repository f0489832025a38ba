"""``posetools train --stage all``: the detector, then the pose estimator, then the evaluation of both together.

The work folder is the parent of both runs, ``<work_dir>/det`` and ``<work_dir>/pose``; other commands read it with
``--run``. Where the categories have different skeletons, each skeleton has a run: ``<work_dir>/pose-<skeleton>``. All
runs are checked before the first one starts, so that an error in a pose config shows up at once. All configs are
written at the start, so that ``--resume`` needs only the work folder, even before the pose run starts.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from posetools.core.stages import MODEL_NAMES, STAGES, Stage, models_of, stage_of
from posetools.errors import OutputError, RequestError, RunError, StoppedError, hint_lines
from posetools.evaluation.report import Report, as_document
from posetools.evaluation.run import EvalRequest, evaluate
from posetools.files.disk import write_json
from posetools.mm.configs import SCOPES, check_options, config_of_run, data_root_of, load_config
from posetools.mm.device import AUTO, check_device
from posetools.mm.run_folder import last_in, model_folders
from posetools.mm.stack import prepare, require_train
from posetools.mm.weights import check_weights, weights_sources
from posetools.pairs.find import check_file
from posetools.recipes.options import STARTER
from posetools.training.hooks import StepListener, TrainListener
from posetools.training.mishaps import AGAIN, NO_CHECKPOINT
from posetools.training.request import NO_WEIGHTS, WORK_DIRS, TrainRequest, check_training
from posetools.training.spread.config import recorded_processes
from posetools.training.spread.processes import by_first, here
from posetools.training.train import RunPlan, TrainResult, execute, plan_run

EVALUATION = "evaluation.json"

_Found = TypeVar("_Found")

_RESTARTS = "restarts this model"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainAllResult:
    """The results of all runs.

    Attributes:
        work_dir: the folder of all runs.
        models: name of a model (posetools/core/stages.py) -> the result of its run; the detector is the first.
        evaluation: of all together; None if there was nothing to do, and in all but the first of several processes.
    """

    work_dir: Path
    models: Mapping[str, TrainResult]
    evaluation: Report | None

    @property
    def det(self) -> TrainResult:
        """The detector's run."""
        return self.models["det"]

    @property
    def pose(self) -> TrainResult:
        """The run of the only pose estimator."""
        return self.models["pose"]


def train_all(request: TrainRequest, listener: StepListener) -> TrainAllResult:
    """Train all models of a pair, and evaluate them together.

    Args:
        request: what to train; its work folder is the parent of all runs; ``stage`` and ``config`` are ignored.
        listener: receives progress.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: one of the runs would fail or waste its time; the message lists why and what to do.
        InputError: a config or a checkpoint cannot be read.
        OutputError: something cannot be written.
        RunError: a run ended with an error of OpenMMLab or torch.
        StoppedError: the user stopped it; the message says how to continue.
    """
    _check_first(request)
    parent = parent_of(request)
    with _goes_on(request, parent):
        results = _train_both(request, listener)
        report = evaluate_run(parent, results, request, listener)
    return TrainAllResult(work_dir=parent, models=results, evaluation=report)


def train_both(request: TrainRequest, listener: StepListener) -> Mapping[str, TrainResult]:
    """Train all models of a pair, and return the result of each; arguments and errors are ``train_all``'s."""
    _check_first(request)
    return _train_both(request, listener)


def _check_first(request: TrainRequest) -> None:
    require_train("posetools train")
    check_both(request)
    prepare("posetools train")


def _train_both(request: TrainRequest, listener: StepListener) -> Mapping[str, TrainResult]:
    requests = model_requests(request)
    with listener.training() as told:
        planned = _of_all(requests, lambda own: plan_run(own, told))
    by_first(lambda: _keep_configs(planned))
    results = dict[str, TrainResult]()
    for model, plan in planned.items():
        det = results.get("det")
        backbone = (det.best or det.last) if det else None
        results[model] = _train(model, requests[model], plan, listener, backbone)
    return results


def check_both(request: TrainRequest) -> None:
    """Check the request for a pair as far as possible without torch.

    Raises:
        RequestError: an option is invalid, or a folder cannot be trained in.
        InputError: a file does not exist.
    """
    check_device(request.device)
    check_options(request.cfg_options)
    for path in request.pair:
        check_file(path, "config")
    if not request.pair:
        _of_all(model_requests(request), check_training)


def model_requests(request: TrainRequest) -> Mapping[str, TrainRequest]:
    """Return the request of each model: work folder, config, resumed or not.

    Raises:
        RequestError: the configs are not one pair.
        InputError: a config cannot be read.
    """
    if request.weights not in (None, NO_WEIGHTS, STARTER):
        raise RequestError(
            f"--weights {request.weights}: cannot be combined with --stage all: both models would start from one file",
            hint="use --cfg-options det.load_from=FILE pose.load_from=FILE, or train them one by one",
        )
    given, parent = _pair_of(request.pair), parent_of(request)
    found: dict[str, TrainRequest] = {}
    for model, category in _models(request, given, parent).items():
        stage, folder = stage_of(model), parent / model
        own = replace(
            request,
            stage=stage,
            pair=(),
            category=category,
            work_dir=folder,
            cfg_options=_own_options(request.cfg_options, stage),
        )
        if stage != "pose":
            # Crops are for poses.
            own = replace(own, cache=None, cache_dir=None)
        if given:
            own = replace(own, config=given[model], resume=request.resume and last_in(folder) is not None)
        elif request.resume:
            own = _resumed(own, folder)
        found[model] = own
    if request.resume and not any(has_begun(parent / model) for model in found):
        raise RequestError(
            f"{parent}: has no run of --stage all to resume",
            hint="omit --resume to start both runs from the first epoch",
        )
    return found


def _models(request: TrainRequest, given: Mapping[str, Path], parent: Path) -> Mapping[str, str | None]:
    """Return the names of the models, each with a category that it is for; None: it needs none."""
    if given:
        return dict.fromkeys(given)
    if request.data is None:
        there = (path.name for path in model_folders(parent) if has_begun(path))
        poses = [name for name in there if name not in STAGES]
        return dict.fromkeys(("det", *poses) if poses else STAGES)
    posed = request.categories.posed
    det, *poses = models_of(tuple(posed))
    firsts = (next(iter(group.ids)) if len(posed) > 1 else None for group in posed.values())
    return {det: None, **dict(zip(poses, firsts, strict=True))}


def _pair_of(configs: Sequence[Path]) -> Mapping[str, Path]:
    if not configs:
        return {}
    loaded = {path: load_config(path) for path in configs}
    scopes = {path: config.get("default_scope") for path, config in loaded.items()}
    det, poses = ([path for path in configs if scopes[path] == SCOPES[stage]] for stage in STAGES)
    skeletons = {str(loaded[path].get("skeleton", "")) for path in poses}
    if len(det) != 1 or not poses or len(configs) != 1 + len(poses) or len(skeletons) != len(poses):
        listed = ", ".join(f"{path} ({scope})" for path, scope in scopes.items())
        raise RequestError(
            f"--config with --stage all must be given twice, for a detector and for a pose estimator, got {listed}",
            hint="omit it to train the pair emitted for the data set",
        )
    names = models_of([str(loaded[path].get("skeleton", "")) for path in poses])
    return dict(zip(names, [*det, *poses], strict=True))


def parent_of(request: TrainRequest) -> Path:
    """Return the folder of both runs: the requested one, or ``work_dirs/<name of the data set's folder>``.

    Raises:
        RequestError: neither a folder nor a data set was given.
        InputError: a config cannot be read.
    """
    if request.work_dir is not None:
        return request.work_dir
    if request.data is None and not request.pair:
        missing = "--work-dir DIR" if request.resume else "--data DIR, or --config FILE twice,"
        what = "which runs to resume" if request.resume else "what to train on"
        raise RequestError(f"{missing} must say {what}", hint="posetools train --help")
    data = request.data or data_root_of(load_config(request.pair[0]))
    return WORK_DIRS / data.resolve().name


def _own_options(options: Sequence[str], stage: Stage) -> tuple[str, ...]:
    """Return the options of a stage: common ones, and its own (``det.load_from=...``) without the prefix."""
    others = tuple(f"{other}." for other in STAGES if other != stage)
    return tuple(option.removeprefix(f"{stage}.") for option in options if not option.startswith(others))


def _resumed(own: TrainRequest, folder: Path) -> TrainRequest:
    """Return the request for a run that resumes, or that starts with the config kept for it."""
    if last_in(folder):
        return replace(own, config=None)
    if not has_begun(folder):
        return replace(own, config=None, resume=False)
    path = config_of_run(folder)
    if own.gpus is None and own.processes is None and own.launcher == "none":
        prepare("posetools train")
        number, gpus = recorded_processes(path)
        own = replace(own, gpus=number if gpus else None, processes=None if gpus or number == 1 else number)
    return replace(own, config=path, resume=False)


def has_begun(folder: Path) -> bool:
    """Return whether the folder of a run has its config, which is written at the start."""
    return folder.is_dir() and any(folder.glob("*.py"))


def _of_all(requests: Mapping[str, TrainRequest], work: Callable[[TrainRequest], _Found]) -> dict[str, _Found]:
    """Return ``work``'s results for all runs, or raise the problems of all at once."""
    found, problems = dict[str, _Found](), dict[str, RequestError]()
    for model, own in requests.items():
        try:
            found[model] = work(own)
        except RequestError as exc:
            problems[str(exc)] = exc
    if problems:
        first, *others = problems.values()
        details = (line for other in others for line in (other.sentence, *other.details, *hint_lines(other.hints)))
        raise RequestError(first.sentence, *first.details, *hint_lines(first.hints), *details)
    return found


def _keep_configs(planned: Mapping[str, RunPlan]) -> None:
    """Write all configs into the run folders, where mmengine writes each when its run starts."""
    for one in planned.values():
        if one.checkpoint is not None:
            continue
        path = one.work_dir / Path(one.config.filename).name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            one.config.dump(str(path))
        except OSError as exc:
            raise OutputError(f"{path}: cannot be written: {exc.strerror or exc}") from exc


def _train(
    model: str, request: TrainRequest, planned: RunPlan, listener: StepListener, backbone: Path | None
) -> TrainResult:
    stage = request.stage
    how = ("--resume",) if request.resume else ("--config", planned.config.filename)
    words = ("posetools", "train", "--stage", stage, *how, "--work-dir", str(planned.work_dir))
    whose = f" of {planned.config.skeleton}" if model not in STAGES else ""
    listener.step(f"train the {MODEL_NAMES[stage]}{whose}", shlex.join(words))
    with listener.training() as told:
        if backbone is not None and planned.config.get("detector_backbone") and not planned.checkpoint:
            _hand_over(backbone, planned.config, told)
        return execute(planned, told)


def _hand_over(checkpoint: Path, config: Any, told: TrainListener) -> None:
    """Make the pose estimator start with the detector's backbone.

    Raises:
        RequestError: none of its weights fits.
    """
    config.model.backbone.init_cfg = {"type": "Pretrained", "prefix": "backbone.", "checkpoint": str(checkpoint)}
    given = {source: source.load(told.say) for source in weights_sources(config)}
    loaded = {source: weights for source, weights in given.items() if weights is not None}
    for problem in check_weights(config, "pose", loaded, told.say):
        raise RequestError(problem)


def evaluate_run(
    parent: Path, results: Mapping[str, TrainResult], request: TrainRequest, listener: StepListener
) -> Report | None:
    """Evaluate a trained run on its val split, and write ``evaluation.json`` into it.

    Args:
        parent: the run's folder.
        results: of its models; if none was trained by this call, an earlier evaluation is kept.
        request: what was trained.
        listener: receives progress.

    Returns:
        The report; None if it is kept, or in all but the first of several processes.
    """
    path = parent / EVALUATION
    if not here().first:
        return None
    if path.is_file() and not any(result.trained for result in results.values()):
        what = "both models are trained, their" if len(results) > 1 else "the model is trained, its"
        listener.say(f"nothing to do: {what} evaluation is in {path}")
        return None
    listener.step(
        "evaluate both together" if len(results) > 1 else "evaluate the model",
        shlex.join(["posetools", "eval", "--run", str(parent)]),
    )
    with listener.progress() as progress:
        report = evaluate(EvalRequest(run=parent, device=request.device), progress)
    write_json(path, as_document((report,)))
    return report


@contextmanager
def _goes_on(request: TrainRequest, parent: Path) -> Iterator[None]:
    """Make errors of either run name the command that continues both."""
    device = () if request.device == AUTO else ("--device", request.device)
    words = ("posetools", "train", "--stage", "all", "--work-dir", str(parent), *device, "--resume")
    command = shlex.join(words)
    try:
        yield
    except RunError as exc:
        # The error's own command resumes one run only.
        if isinstance(exc, StoppedError):
            what = _RESTARTS if exc.way == AGAIN else "continues from there"
            raise StoppedError(exc.sentence, *exc.details, way=f"{command} {what}") from exc
        way = f"continue with {command}"
        raise RunError(exc.sentence, *exc.details, hint=exc.advice, way=way) from exc
    except KeyboardInterrupt as exc:
        if not any(map(has_begun, model_folders(parent))):
            raise StoppedError(f"stopped before the first epoch; {NO_CHECKPOINT}", way=AGAIN) from exc
        if not any(map(last_in, model_folders(parent))):
            raise StoppedError(
                f"stopped before the first epoch; {NO_CHECKPOINT}", way=f"{command} {_RESTARTS}"
            ) from exc
        raise StoppedError("stopped; finished epochs are kept", way=f"{command} continues from there") from exc
