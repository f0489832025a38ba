"""The two sets of weights in a checkpoint of a run with an EMAHook: their average, and the weights as trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_AVERAGED = "module."


def raw_weights(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the weights as trained, None where the run kept no average.

    mmengine's EMAHook swaps the two when it saves: ``state_dict`` has the average, ``ema_state_dict`` the others.
    """
    swapped = checkpoint.get("ema_state_dict")
    if not isinstance(swapped, Mapping):
        return None
    own = {name.removeprefix(_AVERAGED): value for name, value in swapped.items() if str(name).startswith(_AVERAGED)}
    return {**checkpoint.get("state_dict", {}), **own}
