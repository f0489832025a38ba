"""A tiny data set, its smallest pair of configs, and both models trained once per session."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from posetools.core.folder import IMAGES, ann_file
from posetools.core.skeleton import load_skeleton
from posetools.core.stages import Stage
from posetools.formats.coco.format import write_split
from posetools.recipes.emit import emit_pair
from posetools.recipes.options import DetOptions, DetSize, PoseOptions, RecipeOptions
from posetools.training.hooks import TrainStatus
from posetools.training.request import TrainRequest
from posetools.training.train import TrainResult, train
from tests.build import make_dataset

# Weak augmentation from the start: mosaic and mixup take time and are not tested here.
# At this learning rate, two epochs leave the boxes their first scores, above the threshold of predictions.
_SMALL = {"input_size": (64, 64), "epochs": 2, "stage2_epochs": 2, "batch_size": 2, "backbone": "none", "lr": 5e-4}


@dataclass
class Recorder:
    """A listener that records its events."""

    lines: list[str] = field(default_factory=list)
    statuses: list[TrainStatus] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.lines.append(line)

    def update(self, status: TrainStatus) -> None:
        self.statuses.append(status)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True)
class Tiny:
    """A data set of six images and its pair of configs."""

    data: Path
    det: Path
    pose: Path

    def config(self, stage: Stage) -> Path:
        return self.det if stage == "det" else self.pose


@dataclass(frozen=True)
class Run:
    """A finished run."""

    stage: Stage
    config: Path
    work_dir: Path
    result: TrainResult
    told: Recorder

    @property
    def checkpoint(self) -> Path:
        return self.work_dir / "epoch_2.pth"


def tiny_options(det: DetSize = "tiny") -> RecipeOptions:
    """Return the options of the smallest configs."""
    return RecipeOptions(
        det=DetOptions.model_validate({"size": det, **_SMALL}),
        pose=PoseOptions.model_validate({"size": "t", **_SMALL}),
        workers=0,
    )


def make_tiny(root: Path, det: DetSize = "tiny") -> Tiny:
    data = root / "cars"
    dataset = make_dataset(data / IMAGES, images=[f"{i}.png" for i in range(6)], size=(96, 80), seed=2)
    write_split(dataset.select_images(range(4)), ann_file(data, "train"))
    write_split(dataset.select_images((4, 5)), ann_file(data, "val"))
    pair = emit_pair(data, load_skeleton("car8"), tiny_options(det), root / "configs")
    return Tiny(data, pair.det, pair.pose)


def train_tiny(tiny: Tiny, stage: Stage, work_dir: Path) -> Run:
    told = Recorder()
    result = train(TrainRequest(stage=stage, config=tiny.config(stage), work_dir=work_dir, device="cpu"), told)
    return Run(stage, tiny.config(stage), work_dir, result, told)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def det_run(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_tiny(tiny, "det", tmp_path_factory.mktemp("det_run"))


@pytest.fixture(scope="session")
def pose_run(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_tiny(tiny, "pose", tmp_path_factory.mktemp("pose_run"))
