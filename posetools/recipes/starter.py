"""The starter weights: which models they fit, and where their files are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from posetools import weights
from posetools.core.stages import Stage
from posetools.recipes.options import STARTER, DetOptions, PoseOptions, RecipeOptions

# The skeleton of the trained pose estimator.
STARTER_SKELETON = "car8"


@dataclass(frozen=True, slots=True)
class StarterWeights:
    """The starter weights of one stage.

    Attributes:
        model: its name.
        size: the only size that has starter weights.
        scale: depth and width of its network, relative to size l; RTMDet's and RTMPose's backbones are the same.
        input_size: (width, height) in training.
        file: name of the file in ``posetools/weights/``.
    """

    model: str
    size: str
    scale: tuple[float, float]
    input_size: tuple[int, int]
    file: str

    @property
    def path(self) -> Path:
        """The file in this installation."""
        return Path(weights.__file__).parent / self.file

    @property
    def expression(self) -> str:
        """The Python expression for the file, in any installation; ``files`` is that of importlib.resources."""
        return f"str(files('posetools') / 'weights' / {self.file!r})"


STARTERS: Mapping[Stage, StarterWeights] = {
    "det": StarterWeights("RTMDet", "tiny", (0.167, 0.375), (256, 192), "rtmdet-tiny_car8.pth"),
    "pose": StarterWeights("RTMPose", "t", (0.167, 0.375), (160, 128), "rtmpose-t_car8.pth"),
}
STARTER_SIZES = " ".join(f"--{stage} {starter.size}" for stage, starter in STARTERS.items())


def may_start(options: RecipeOptions) -> bool:
    """Return whether starter weights fit a pair whose initial weights the user did not set."""
    return all(
        said.size == STARTERS[stage].size and said.load_from is None and said.backbone is None
        for stage, said in _stages(options).items()
    )


def with_starter(options: RecipeOptions) -> RecipeOptions:
    """Return the options with starter weights for both models."""
    det, pose = (said.model_copy(update={"load_from": STARTER}) for said in _stages(options).values())
    return options.model_copy(update={"det": det, "pose": pose})


def starter_pair() -> RecipeOptions:
    """Return the options of the pair that the starter weights are for."""
    sizes = {stage: {"size": starter.size} for stage, starter in STARTERS.items()}
    return with_starter(RecipeOptions.model_validate(sizes))


def _stages(options: RecipeOptions) -> dict[Stage, DetOptions | PoseOptions]:
    return {"det": options.det, "pose": options.pose}
