"""Data sets with folds, and a tiny pair trained on each fold by the commands that a user types, once per session."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from posetools.core.dataset import concatenate
from posetools.core.folder import IMAGES, ann_file, categories_of, fold_split
from posetools.datasets.io import write
from posetools.formats.coco.format import read_split, write_split
from posetools.mm.checkpoint import load_checkpoint
from tests.cli.run import run
from tests.road_object import SKELETON_YAML, write_object_set
from tests.two_kinds import two_kinds

# The smallest networks, from random weights; without RECIPE an epoch has 50 iterations.
TINY = ("--det", "tiny", "--pose", "t", "--input-size", "64", "--epochs", "1", "--pretrained", "none", "--workers", "0")
RECIPE = "[det]\nrepeat = 1\n[pose]\nrepeat = 1\n"


@dataclass(frozen=True)
class FoldRuns:
    """A data set with two folds, the configs of its folds, and a trained pair of each."""

    data: Path
    configs: Path
    work: Path
    printed: str


def write_folds(data: Path, number: int) -> None:
    """Divide the images of train and val into folds: every image is in the val split of one."""
    splits = [read_split(ann_file(data, one), data / IMAGES, categories_of(data)) for one in ("train", "val")]
    whole = concatenate([split.dataset for split in splits])
    for fold in range(1, number + 1):
        held = set(range(fold - 1, len(whole.images), number))
        (data / "folds" / str(fold)).mkdir(parents=True, exist_ok=True)
        write_split(whole.select_images(held), ann_file(data, fold_split(fold, "val")))
        rest = set(range(len(whole.images))) - held
        write_split(whole.select_images(rest), ann_file(data, fold_split(fold, "train")))


def exchange(one: Path, other: Path) -> None:
    """Exchange the names of two folders."""
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def make_critters(root: Path, folds: int = 2) -> Path:
    """Convert seven images of animals that a person could have labeled, and divide them into folds."""
    write_object_set(root / "labels", 7, 5, (96, 80))
    (root / "critter.yaml").write_text(SKELETON_YAML)
    data = root / "critters"
    done = run("convert", root / "labels", "--out", data, "--skeleton", root / "critter.yaml", "--val", "0.3")
    assert done.status == 0, done.words
    if folds:
        write_folds(data, folds)
    return data


def train_folds(root: Path, data: Path) -> FoldRuns:
    configs, work, recipe = root / "configs", root / "work", root / "recipe.toml"
    recipe.write_text(RECIPE)
    done = run("config", data, "--out", configs, "--folds", "--recipe", recipe, *TINY)
    assert done.status == 0, done.words
    assert f"next: posetools train --stage all {data} --configs {configs} --folds" in done.out
    done = run("train", "--stage", "all", data, "--folds", "--configs", configs, "--work-dir", work, "--device", "cpu")
    assert done.status == 0, done.words
    return FoldRuns(data, configs, work, done.words)


def with_boxes(runs: FoldRuns, target: Path) -> Path:
    """Copy the runs, with detectors that predict boxes of different sizes and scores in every image."""
    import torch

    shutil.copytree(runs.work, target)
    for path in target.glob("fold-*/det/*.pth"):
        content = load_checkpoint(path)
        for level in range(3):
            content["state_dict"][f"bbox_head.rtm_cls.{level}.weight"] *= 300
            content["state_dict"][f"bbox_head.rtm_reg.{level}.bias"] += 1.5
        torch.save(content, path)
    return target


@pytest.fixture(scope="session")
def critters(tmp_path_factory: pytest.TempPathFactory) -> FoldRuns:
    root = tmp_path_factory.mktemp("critters")
    return train_folds(root, make_critters(root))


@pytest.fixture(scope="session")
def both_kinds(tmp_path_factory: pytest.TempPathFactory) -> FoldRuns:
    """Cars and animals, with a pose estimator of each: six models."""
    root = tmp_path_factory.mktemp("both")
    data = two_kinds(root / "rendered", 12, 3)
    write({"train": data.select_images(range(9)), "val": data.select_images(range(9, 12))}, root / "set")
    write_folds(root / "set", 2)
    return train_folds(root, root / "set")
