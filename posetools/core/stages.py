"""The models of a pair, each of a stage of the road: what a config, a run and an option call them.

A pair is one detector, ``det``, and one pose estimator, ``pose``. Where the categories of a data set have different
skeletons, each skeleton has a pose estimator of its own, called ``pose-`` and the skeleton's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

Stage: TypeAlias = Literal["det", "pose"]

STAGES: tuple[Stage, ...] = ("det", "pose")
MODEL_NAMES: Mapping[str, str] = {"det": "detector", "pose": "pose estimator"}


def models_of(skeletons: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the models: the detector, and a pose estimator for each of the skeletons' names."""
    return STAGES if len(skeletons) == 1 else ("det", *(f"pose-{name}" for name in skeletons))


def stage_of(model: str) -> Stage:
    """Return the stage of a model, by its name."""
    return "det" if model == "det" else "pose"
