"""Whether a low AP comes from too little training, judged by the log, the boxes and the checkpoint.

Four signs, each a remark with its numbers:

- few iterations: fewer than FEW. From random weights, a model detects nothing before that.
- the loss still falls at the end: from the third quarter of the schedule to the last it falls by more than FALLING of
  the total fall since the first, and by more than its noise. A loss that decays as exp(-t / T) does so in a run shorter
  than about 4 T. Quarters are of the sum of the learning rates, because no loss falls at a rate near 0 at the end of a
  schedule. If the training data change during the run (the last epochs without mosaic), only the part after counts.
- no predicted box reaches an IoU of OVERLAP with any label.
- the trained weights are far better than their average; both are measured.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Floats, pairwise_iou
from posetools.core.stages import Stage
from posetools.errors import InputError, RequestError
from posetools.evaluation.coco import Predictions
from posetools.evaluation.metrics import box_scores
from posetools.evaluation.remarks import Remark
from posetools.evaluation.scoring import collect, pose_scores
from posetools.mm.inference import Detector, PoseEstimator
from posetools.mm.run_log import METRICS, LoggedCurve, read_run
from posetools.progress import Progress

# AP at which it is no longer low, and below which it is practically 0.
LOW_AP, ZERO_AP = 0.5, 0.01
FEW = 300
FALLING = 0.1
OVERLAP = 0.1
# Codes of remarks that explain a low AP.
CAUSES = frozenset({"stopped", "few-iterations", "still-falling", "nowhere", "raw-better"})
# The fewest logged values for a trend; the fall must be this many standard errors.
_FEWEST_VALUES, _IN_QUARTER, _STANDARD_ERRORS = 12, 3, 3.0
_MEASURE = {"det": "box AP", "pose": "pose AP on labeled boxes"}
_FLIPS = (
    "the config mirrors every crop when training evaluates (flip_test=True), so the AP in the training log differs. "
    "Here no crop is mirrored, as in `posetools predict`; add --flip-test to measure the gain"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """How a model was trained.

    Attributes:
        iterations: of the evaluated checkpoint; None: not known.
        loss: the logged curve; None without a log.
        rate: the learning rate at each logged loss; None: not known.
        since: the iteration from which the training data stayed the same.
        stopped: the epochs done and those of the schedule, if the run did not finish.
        command: the command that trains longer.
    """

    iterations: int | None = None
    loss: LoggedCurve | None = None
    rate: LoggedCurve | None = None
    since: float = 0.0
    stopped: tuple[int, int] | None = None
    command: str = ""


def undertrained(ap: float | None, training: Training | None) -> tuple[Remark, ...]:
    """Return the signs of too little training in the log of a model with a low AP.

    Args:
        ap: the AP; None: undefined.
        training: how it was trained; None: not known.
    """
    if training is None or ap is None or ap >= LOW_AP:
        return ()
    found = []
    if training.stopped is not None:
        done, planned = training.stopped
        found.append(("stopped", f"the run ended after {done} of {planned} epochs"))
    if training.iterations is not None and training.iterations < FEW:
        text = f"{training.iterations} iterations; from random weights a model detects little before {FEW}"
        found.append(("few-iterations", text))
    fall = fall_at_end(training.loss, training.rate, training.since) if training.loss is not None else None
    if fall is not None:
        before, after = fall
        text = f"the loss still falls in the last quarter of the schedule, from {before:.3g} to {after:.3g}"
        found.append(("still-falling", text))
    more = f"; train longer with `{training.command}`" if training.command else ""
    return tuple(Remark(code, f"undertrained: {text}{more}") for code, text in found)


def fall_at_end(loss: LoggedCurve, rate: LoggedCurve | None = None, since: float = 0.0) -> tuple[float, float] | None:
    """Return the mean loss of the last two quarters of a schedule if it still falls between them, else None.

    Args:
        loss: the logged losses.
        rate: the learning rate at the same iterations; None: constant.
        since: the first iteration that counts.
    """
    same = rate is not None and np.array_equal(rate.iterations, loss.iterations)
    rates = rate.values if rate is not None and same else np.ones(len(loss))
    counted = (loss.iterations > since) & np.isfinite(loss.values) & np.isfinite(rates)
    if counted.sum() < _FEWEST_VALUES:
        return None
    progress = np.cumsum(rates[counted] * np.diff(loss.iterations[counted], prepend=since))
    quarter = np.minimum((4 * progress / progress[-1]).astype(np.int64), 3)
    quarters = [loss.values[counted][quarter == number] for number in range(4)]
    if min(map(len, quarters)) < _IN_QUARTER:
        return None
    first, before, after = (float(part.mean()) for part in (quarters[0], *quarters[2:]))
    noise = float(np.sqrt(sum(_variance(part) / len(part) for part in quarters[2:])))
    fallen = before - after
    return (before, after) if fallen > _STANDARD_ERRORS * noise and fallen > FALLING * (first - after) else None


def _variance(values: Floats) -> float:
    """Return the variance around the line through the values: a trend is not noise."""
    places = np.arange(len(values), dtype=np.float64)
    line = np.polyval(np.polyfit(places, values, 1), places)
    return float(((values - line) ** 2).sum() / max(len(values) - 2, 1))


def nowhere(truth: Dataset, boxes: Predictions) -> Iterator[Remark]:
    """Yield the remark for boxes that overlap no label."""
    if not len(boxes) or not len(truth):
        return
    best = 0.0
    for rows, found in zip(truth.rows_of_images(), boxes.rows_of_images(len(truth.images)), strict=True):
        best = max(best, float(pairwise_iou(truth.boxes[list(rows)], boxes.boxes[found]).max(initial=0.0)))
    if best < OVERLAP:
        text = (
            f"none of {len(boxes)} predicted boxes overlaps a labeled object (the best IoU is {best:.2f}), as with a "
            "nearly untrained model"
        )
        yield Remark("nowhere", text)


def signs(
    model: Detector | PoseEstimator, truth: Dataset, ap: float | None, progress: Progress, *, label: int = 0
) -> tuple[Remark, ...]:
    """Return why a model's AP is low, from its work folder and its checkpoint.

    Args:
        model: the detector, or the pose estimator.
        truth: the labels.
        ap: its AP on them, a pose estimator's on labeled boxes.
        progress: receives the number of images done when the trained weights are measured.
        label: the index of the object's class in a detector's ``classes``.
    """
    stage: Stage = "det" if isinstance(model, Detector) else "pose"
    found = undertrained(ap, _training_of(model, stage))
    if ap is not None and ap < ZERO_AP and model.averaged:
        found += (_averages(stage, ap, _ap_as_trained(model, truth, label, progress) or 0.0),)
    if isinstance(model, PoseEstimator) and model.flips_by_config:
        found += (Remark("flip-test", _FLIPS),)
    return found


def _ap_as_trained(model: Detector | PoseEstimator, truth: Dataset, label: int, progress: Progress) -> float | None:
    if isinstance(model, Detector):
        detector = Detector(model.config_file, model.checkpoint, model.device, raw=True)
        return box_scores(truth, collect(truth, detector=detector, label=label, progress=progress).boxes).ap
    estimator = PoseEstimator(model.config_file, model.checkpoint, model.device, raw=True)
    return pose_scores(truth, collect(truth, estimator=estimator, progress=progress).on_labels).oks.ap


def _averages(stage: Stage, ap: float, other: float) -> Remark:
    measured = f"{_MEASURE[stage]} is {ap:.3f} with the averaged weights and {other:.3f} with the trained weights"
    if other < ZERO_AP:
        return Remark("both-weights", f"{measured}: the average is not the cause")
    text = (
        f"{measured}: the trained weights are better; the average, which eval, predict and export use, is broken or "
        "lags behind"
    )
    return Remark("raw-better", text)


def _training_of(model: Detector | PoseEstimator, stage: Stage) -> Training | None:
    """Return how a model was trained, None if its checkpoint is not in a run's work folder."""
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
    switches = [hook.get("switch_epoch") or 0 for hook in config.get("custom_hooks") or ()]
    return Training(
        iterations=number,
        loss=log.training.get("loss"),
        rate=log.training.get("base_lr") or log.training.get("lr"),
        # After the last switch the pipeline stays the same.
        since=max((epoch for epoch in switches if 0 < epoch < epochs), default=0) * (log.epoch_iterations or 0.0),
        command=shlex.join([*words, "--epochs", str(2 * epochs)]) if epochs else "",
    )
