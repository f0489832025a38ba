"""The demo's recipe: the options that it states, as the TOML file that ``posetools config --recipe`` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping

_VAL_BATCH_SIZE = 16


def stage_options(size: str, input_size: int | str, *, epochs: int, batch_size: int, lr: float) -> dict[str, object]:
    """Return one stage's options, for ``recipe_text``."""
    return {
        "size": size,
        "input_size": input_size,
        "epochs": epochs,
        "stage2_epochs": epochs,
        "val_interval": epochs,
        "batch_size": batch_size,
        "val_batch_size": _VAL_BATCH_SIZE,
        "lr": lr,
        "backbone": "none",
    }


def recipe_text(shared: Mapping[str, object], stages: Mapping[str, Mapping[str, object]]) -> str:
    """Return the TOML text of options for both stages, and of one table per stage. Values are texts and numbers."""
    lines = ["# The options of the demo, as `posetools config --recipe` takes them. Training is short here: the weaker"]
    lines += ["# augmentation of stage 2 holds from the start, and the only evaluation comes after the last epoch."]
    lines += _entries(shared)
    for stage, options in stages.items():
        lines += ["", f"[{stage}]", *_entries(options)]
    return "\n".join(lines) + "\n"


def _entries(options: Mapping[str, object]) -> list[str]:
    # JSON's texts and numbers are TOML's too.
    return [f"{key} = {json.dumps(value)}" for key, value in options.items()]
