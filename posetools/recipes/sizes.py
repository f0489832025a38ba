"""The sizes of the two models when the user does not choose them."""

from __future__ import annotations

from posetools.recipes.machine import Machine
from posetools.recipes.options import DetOptions, DetSize, PoseOptions, PoseSize


def sizes_for(machine: Machine) -> tuple[DetSize, PoseSize, str]:
    """Return the sizes of RTMDet and RTMPose that train in an hour on a machine, and the reason."""
    if machine.gpu is None:
        return "tiny", "t", "no GPU: the smallest models, which a CPU can train in an hour"
    return DetOptions().size, PoseOptions().size, "the default with a GPU"
