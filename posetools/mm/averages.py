"""Averaged (EMA) and raw weights of a checkpoint, and averages that went stale.

With an EMAHook, mmengine saves the average as ``state_dict``, which is used to evaluate and predict, and the raw
weights as ``ema_state_dict``, each name with the prefix ``module.`` (docstring of ``publish``).

posetools 0.1 broke that average in runs of one process on a CPU: it gave the averaged model new storage after mmengine
had listed the old one, so all four-dimensional weights (convolutions) kept their values from before the first
iteration. Those runs were evaluated, kept as best, published and exported with untrained convolutions.

How to detect such a checkpoint: Adam moves every parameter by about the learning rate in each step, regardless of its
shape, so the distance between average and weights (root mean square) is about the same for convolutions as for biases
and batch norms. Measured on RTMDet-tiny and RTMPose-s after 10 to 40 iterations: 0.99 to 1.01 times the distance of
the others in sound checkpoints, 3 to 93 times in stale ones, increasing with each iteration. Newer checkpoints name
the version that wrote them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from posetools.errors import as_message

VERSION_KEY = "posetools_version"

_MODULE_PREFIX = "module."
_CONVOLUTION = 4
# Running means and variances move by BN's own momentum, not by the learning rate.
_BN_STATISTICS = ("running_mean", "running_var")
# Minimum ratio in a stale average: distance of the convolutions to distance of the other parameters.
_STALE = 2.0


def raw_weights(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the raw weights of a checkpoint that also holds their average, None when it holds no average."""
    given = checkpoint.get("ema_state_dict")
    if not isinstance(given, Mapping):
        return None
    return {
        name.removeprefix(_MODULE_PREFIX): value for name, value in given.items() if name.startswith(_MODULE_PREFIX)
    } or None


def is_stale(checkpoint: Mapping[str, Any]) -> bool:
    """Return whether the average in a checkpoint of an earlier version holds untrained convolutions."""
    meta = checkpoint.get("meta") or {}
    raw = raw_weights(checkpoint)
    if raw is None or VERSION_KEY in meta or "AdamW" not in str(meta.get("cfg", "")):
        return False
    distances: dict[bool, list[float]] = {True: [], False: []}
    for is_convolution, distance in _distances(checkpoint["state_dict"], raw):
        distances[is_convolution].append(distance)
    if not all(distances.values()):
        return False
    return statistics.median(distances[True]) > _STALE * statistics.median(distances[False])


def _distances(average: Mapping[str, Any], raw: Mapping[str, Any]) -> Iterator[tuple[bool, float]]:
    """Yield, for each trained parameter, whether it is a convolution's and its root mean square distance."""
    for name, weight in raw.items():
        mean = average.get(name)
        if (
            mean is None
            or not weight.is_floating_point()
            or name.endswith(_BN_STATISTICS)
            or mean.shape != weight.shape
        ):
            continue
        distance = float((mean.float() - weight.float()).square().mean().sqrt())
        # Frozen parameters do not move.
        if distance:
            yield weight.dim() == _CONVOLUTION, distance


def stale_text(path: Path | str) -> str:
    """Return the sentence for a checkpoint with a stale average."""
    folder = path.parent if isinstance(path, Path) else path
    return as_message(
        f"{path}: its averaged weights (in use here) contain untrained convolutions: posetools 0.1 broke the "
        "average in CPU runs",
        hint=f"posetools rescue {folder}   replaces them with the raw weights",
    )
