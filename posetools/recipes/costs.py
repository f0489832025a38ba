"""What training costs, estimated before anything is built: seconds of an iteration on a CPU, memory on a GPU.

These are orders of magnitude that a recipe needs to aim at all. `posetools train --dry-run` and `--minutes` measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from posetools.core.stages import Stage
from posetools.recipes.options import DetOptions, PoseOptions
from posetools.recipes.stock import DET, DET_INPUT, LIKE, POSE, POSE_INPUT

InputSize: TypeAlias = tuple[int, int]

# 10^9 multiply-adds of the forward pass that a core trains through in a second (backward pass, optimizer and loading
# included). Measured with 2 cores: RTMDet-tiny at 256 x 192 in batches of 8 takes 0.43 s an iteration, RTMPose-t at
# 128 x 128 in batches of 32 0.27 s.
CPU_SPEED: dict[Stage, float] = {"det": 9.1, "pose": 7.1}
# RTMPose is RTMDet's backbone with a small head: about this share of the memory, at the same number of pixels.
POSE_MEMORY = 0.6
# The part of a GPU's memory that a batch may fill: drivers, caches and crowded pictures need the rest.
GPU_SHARE = 0.8
# What a GPU is taken for when nothing can say how large it is.
UNKNOWN_GIB = 8.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured on this machine before the recipe was chosen.

    Attributes:
        batch: the largest batch that fits.
        batch_note: how that was found out, or why it was not.
        seconds: how long an iteration takes, at ``seconds_batch``.
        seconds_batch: the batch with which it was timed.
        start_up: seconds before the first iteration.
        epoch_start: seconds that each epoch takes besides its iterations.
        evaluation: seconds of an evaluation and the checkpoint that is saved with it.
    """

    batch: int | None = None
    batch_note: str = ""
    seconds: float | None = None
    seconds_batch: int = 1
    start_up: float = 0.0
    epoch_start: float = 0.0
    evaluation: float = 0.0


def flops(options: DetOptions | PoseOptions, size: InputSize) -> float:
    """Return the multiply-adds of one sample, in 10^9."""
    if isinstance(options, DetOptions):
        return DET[options.size].flops * _pixels(size) / _pixels(DET_INPUT)
    return POSE[options.size].flops * _pixels(size) / _pixels(POSE_INPUT)


def cpu_seconds(options: DetOptions | PoseOptions, size: InputSize, batch: int, cores: int) -> float:
    """Return about how long an iteration takes on the CPU."""
    stage: Stage = "det" if isinstance(options, DetOptions) else "pose"
    return flops(options, size) * batch / (CPU_SPEED[stage] * cores)


def sample_gib(options: DetOptions | PoseOptions, size: InputSize) -> float:
    """Return about how much memory of a GPU one sample of a batch takes in training."""
    det = options.size if isinstance(options, DetOptions) else LIKE[options.size]
    share = 1.0 if isinstance(options, DetOptions) else POSE_MEMORY
    return share * DET[det].memory / 32 * _pixels(size) / _pixels(DET_INPUT)


def _pixels(size: InputSize) -> int:
    return size[0] * size[1]
