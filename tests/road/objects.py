"""The two objects that the road is walked with: labelme files of each, and the sizes of its two models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from posetools.synth import PLAIN, render_set
from tests.road_object import SKELETON_YAML, write_object_set

IMAGES = 40
# One large car an image: what five minutes on two cores learn with room to spare.
ONE_CAR = replace(PLAIN, cars=(1.0,), share=(0.55, 0.85))
SKELETON = "skeleton.yaml"


@dataclass(frozen=True, kw_only=True)
class RoadObject:
    """An object, and what differs in the commands for it from the README's.

    Attributes:
        name: of the data set and the run.
        label: makes labelme files in a folder.
        det: size of RTMDet.
        pose: size of RTMPose; t keeps no average of its weights, s does.
        skeleton: what `convert` is told of the skeleton.
        yaml: the text of the skeleton file that it names.
    """

    name: str
    label: Callable[[Path], object]
    det: str
    pose: str
    skeleton: tuple[str, ...] = ()
    yaml: str = field(default="", repr=False)


OBJECTS = (
    RoadObject(
        name="cars",
        label=lambda folder: render_set(folder, images=IMAGES, size=(160, 128), seed=11, variety=ONE_CAR, workers=2),
        det="tiny",
        pose="t",
    ),
    RoadObject(
        name="critters",
        label=lambda folder: write_object_set(folder, IMAGES, seed=11, size=(160, 128)),
        det="tiny",
        pose="s",
        skeleton=("--skeleton", SKELETON),
        yaml=SKELETON_YAML,
    ),
)
