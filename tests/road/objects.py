"""The two objects for the road: labelme files of each, and the sizes of its two models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from posetools.synth import PLAIN, render_set
from tests.road_object import SKELETON_YAML, write_object_set

IMAGES = 40
# One large car per image, easy to learn in minutes on two cores.
ONE_CAR = replace(PLAIN, cars=(1.0,), share=(0.55, 0.85))
SKELETON = "skeleton.yaml"


@dataclass(frozen=True, kw_only=True)
class RoadObject:
    """An object, and the differences of its commands from the README's.

    Attributes:
        name: of the data set and the run.
        label: creates labelme files in a folder.
        det: size of RTMDet.
        pose: size of RTMPose; t has no EMA, s does.
        skeleton: the skeleton options of `convert`.
        yaml: the text of their skeleton file.
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
