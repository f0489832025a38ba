"""The two models of a pair, each a stage of the road: what a config, a run and an option call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Stage: TypeAlias = Literal["det", "pose"]

STAGES: tuple[Stage, ...] = ("det", "pose")
MODEL_NAMES: Mapping[str, str] = {"det": "detector", "pose": "pose estimator"}
