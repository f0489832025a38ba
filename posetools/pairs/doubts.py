"""Warn about models whose AP was 0 or was never measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posetools.core.stages import MODEL_NAMES, Stage
from posetools.errors import InputError, as_message
from posetools.files.disk import read_json
from posetools.mm.evaluations import EVALUATIONS, Evaluations
from posetools.mm.run_log import METRICS

# Names of AP in OpenMMLab's evaluators, and in a bundle's manifest.
_AP_NAMES = {"det": ("bbox/AP", "coco/bbox_mAP"), "pose": ("labelled_boxes/OKS/AP", "coco/AP")}
_BOXES = ("bbox", "coco/bbox")
# Tables show a smaller AP as 0.000.
_SHOWN_AS_ZERO = 0.0005
_WHY = "run `posetools eval` to see why"


def doubt_of_evaluations(evaluations: Evaluations) -> str:
    """Return the warning for a run whose AP was 0 at every evaluation, or was never measured; else ""."""
    folder, measured = evaluations.path.parent, [metrics for _, metrics in evaluations.entries]
    if measured and not any(map(_ap_of, measured)):
        return as_message(
            f"{folder}: no AP at {_times(len(measured))} of the run: nothing was predicted, or nothing is labeled",
            hint=_WHY,
        )
    return _zero(str(folder), measured)


def doubt_of_checkpoint(checkpoint: Path | str) -> str:
    """Return the warning for a checkpoint of a run with an AP of 0 or without an evaluation; else "".

    A file outside of a work folder of ``posetools train`` has no record, and gets no warning.
    """
    folder = Path(checkpoint).parent
    measured = _recorded(folder) if Path(checkpoint).is_file() else None
    if measured is None:
        return ""
    if not any(_ap_of(metrics) for metrics in measured):
        return as_message(
            f"{checkpoint}: AP was never measured in its run, so it may detect nothing",
            hint=f"measure it with `posetools eval {checkpoint} --stage det|pose`",
        )
    return _zero(str(checkpoint), measured)


def doubts_of_pair(*checkpoints: Path | str) -> tuple[str, ...]:
    """Return the warnings for the checkpoints of a pair."""
    return tuple(text for text in map(doubt_of_checkpoint, checkpoints) if text)


def doubts_of_bundle(
    bundle: Path,
    metrics: Mapping[str, float | None],
    estimators: Mapping[str, Mapping[str, float | None]] | None = None,
) -> tuple[str, ...]:
    """Return the warnings for a bundle with a model whose AP was 0 or was never measured.

    Args:
        bundle: the file.
        metrics: the pair's metrics in its manifest; of several pose estimators, those of the detector.
        estimators: the metrics of each pose estimator, by what it estimates; None: there is one.
    """
    found = []
    models: list[tuple[Stage, str, Mapping[str, float | None]]] = [("det", MODEL_NAMES["det"], metrics)]
    models += [("pose", MODEL_NAMES["pose"] + name, own) for name, own in (estimators or {"": metrics}).items()]
    for stage, model, known in models:
        values = [value for name in _AP_NAMES[stage] if (value := known.get(name)) is not None]
        # A manifest may have metrics with unknown names.
        measured = values or any(name.startswith(_BOXES) == (stage == "det") for name in known)
        if not measured or (values and values[0] < _SHOWN_AS_ZERO):
            what = f"had AP {values[0]:.3f}" if values else "was never measured"
            hint = f"measure it with `posetools eval --bundle {bundle} --data DIR`"
            found.append(as_message(f"{bundle}: its {model} {what} when it was exported", hint=hint))
    return tuple(found)


def _zero(where: str, measured: Sequence[Mapping[str, Any]]) -> str:
    values = [ap for metrics in measured if (ap := _ap_of(metrics))]
    if not values or any(value >= _SHOWN_AS_ZERO for _, value in values):
        return ""
    return as_message(
        f"{where}: {values[0][0]} was 0.000 at {_times(len(values))} of the run: this model detects (almost) nothing",
        hint=_WHY,
    )


def _times(number: int) -> str:
    return "its one evaluation" if number == 1 else f"all {number} evaluations"


def _ap_of(metrics: Mapping[str, Any]) -> tuple[str, float] | None:
    for names in _AP_NAMES.values():
        for name in names:
            value = metrics.get(name)
            if isinstance(value, int | float):
                return name, float(value)
    return None


def _recorded(folder: Path) -> list[Mapping[str, Any]] | None:
    """Return the metrics of all evaluations of the run in a folder, None without a record."""
    evaluations = Evaluations(folder / EVALUATIONS)
    try:
        if evaluations.read(2**62):
            return [metrics for _, metrics in evaluations.entries]
        # Old runs have only the metrics of the last checkpoint.
        document = read_json(folder / METRICS)
    except InputError:
        return None
    last = document.get("last") if isinstance(document, dict) else None
    return [(last.get("metrics") or {}) if isinstance(last, dict) else {}]
