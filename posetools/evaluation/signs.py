"""What the work folder and the checkpoint of a model say about a low AP: its training, and its other set of weights."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from posetools.core.dataset import Dataset
from posetools.core.stages import Stage
from posetools.errors import InputError, RequestError
from posetools.evaluation.remarks import Remark
from posetools.evaluation.scoring import BBOX_THR, score_boxes, score_poses
from posetools.evaluation.undertrained import ZERO_AP, Training, undertrained
from posetools.mm.inference import Detector, PoseEstimator
from posetools.mm.run_log import METRICS, read_run
from posetools.progress import Progress

_MEASURE = {"det": "box AP", "pose": "pose AP on labelled boxes"}


def box_signs(
    detector: Detector, label: int, truth: Dataset, ap: float | None, progress: Progress
) -> tuple[Remark, ...]:
    """Return why a detector's AP is low, as far as its work folder and its checkpoint tell.

    Args:
        detector: the model.
        label: the index of the object's class.
        truth: the labels.
        ap: what it reaches on them.
        progress: told how many pictures are done, when the weights as trained are measured.
    """

    def as_trained() -> float | None:
        raw = Detector(detector.config_file, detector.checkpoint, detector.device, raw=True)
        return score_boxes(raw, label, truth, progress).ap

    return (*undertrained(ap, _training(detector, "det")), *_averages(detector, "det", ap, as_trained))


def pose_signs(estimator: PoseEstimator, truth: Dataset, ap: float | None, progress: Progress) -> tuple[Remark, ...]:
    """Return why a pose estimator's AP on labelled boxes is low, likewise."""

    def as_trained() -> float | None:
        raw = PoseEstimator(estimator.config_file, estimator.checkpoint, estimator.device, raw=True)
        return score_poses(raw, truth, bbox_thr=BBOX_THR, progress=progress)[0].oks.ap

    return (*undertrained(ap, _training(estimator, "pose")), *_averages(estimator, "pose", ap, as_trained))


def _averages(
    model: Detector | PoseEstimator, stage: Stage, ap: float | None, as_trained: Callable[[], float | None]
) -> tuple[Remark, ...]:
    if ap is None or ap >= ZERO_AP or not model.averaged:
        return ()
    other = as_trained() or 0.0
    measured = f"{_MEASURE[stage]} is {ap:.3f} with the averaged weights and {other:.3f} with the weights as trained"
    if other < ZERO_AP:
        return (Remark("both-weights", f"{measured}: the average is not the cause"),)
    text = (
        f"{measured}: the weights as trained are better, and the average, which eval, predict and export use, is "
        "broken or lags behind"
    )
    return (Remark("raw-better", text),)


def _training(model: Detector | PoseEstimator, stage: Stage) -> Training | None:
    """Return how a model was trained, None where its checkpoint is not in the work folder of a run."""
    path = Path(model.checkpoint)
    if not path.is_file():
        return None
    iterations = model.checkpoint_meta.get("iter")
    number = iterations if isinstance(iterations, int) and iterations > 0 else None
    config, folder = model.config, path.parent
    epochs = (config.get("train_cfg") or {}).get("max_epochs") or 0
    words = ["posetools", "train", "--stage", stage, "--work-dir", str(folder), "--resume"]
    try:
        log = read_run(folder)
    except (RequestError, InputError):
        return Training(iterations=number)
    if not (folder / METRICS).is_file() and log.epochs is not None and log.epochs < epochs:
        return Training(iterations=number, stopped=(log.epochs, epochs), command=shlex.join(words))
    return Training(
        iterations=number,
        loss=log.training.get("loss"),
        rate=log.training.get("base_lr") or log.training.get("lr"),
        since=_last_switch(config, epochs) * (log.epoch_iterations or 0.0),
        command=shlex.join([*words, "--epochs", str(2 * epochs)]) if epochs else "",
    )


def _last_switch(config: Any, epochs: int) -> int:
    """Return the epoch from which a run trains with its last pipeline; 0 when it has one only."""
    switches = [hook.get("switch_epoch") or 0 for hook in config.get("custom_hooks") or ()]
    return max((epoch for epoch in switches if 0 < epoch < epochs), default=0)
