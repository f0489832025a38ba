"""A trainer of another package through all commands: found by its entry point, with an object that is not a car."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from posetools.datasets.convert import ConvertRequest, convert
from tests.road_object import SKELETON_YAML, write_object_set

ROOT = Path(__file__).resolve().parents[2]

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, and a site folder with the metadata of the trainer's package."""
    folder = tmp_path_factory.mktemp("trainers")
    write_object_set(folder / "labels", 8, 0)
    (folder / "critter.yaml").write_text(SKELETON_YAML, encoding="utf-8")
    result = convert(
        ConvertRequest(sources=(folder / "labels",), out=folder / "data", skeleton=str(folder / "critter.yaml"))
    )
    assert result.written
    metadata = folder / "site" / "mean_pose-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mean-pose\nVersion: 1.0\n", encoding="utf-8")
    entry = "[posetools.trainers]\nmean = tests.trainers.mean_trainer:TRAINER\n"
    (metadata / "entry_points.txt").write_text(entry, encoding="utf-8")
    return folder


@pytest.fixture
def command(folder: Path) -> Command:
    """Run a command of posetools in that folder, with the trainer installed."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        paths = os.pathsep.join(filter(None, (str(ROOT), str(folder / "site"), os.environ.get("PYTHONPATH"))))
        command = [sys.executable, "-m", "posetools", *map(str, words)]
        environment = {**os.environ, "PYTHONPATH": paths}
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
        )

    return run


def test_the_whole_road(command: Command, folder: Path) -> None:
    done = command("config", "data", "--trainer", "mean", "--out", "recipes")
    assert done.returncode == 0, done.stderr
    assert "next: posetools train data --configs recipes --trainer mean" in done.stdout
    done = command("train", "data", "--configs", "recipes", "--trainer", "mean")
    assert done.returncode == 0, done.stderr
    run = folder / "work_dirs" / "data-mean"
    assert json.loads((run / "trainer.json").read_text("utf-8")) == {"trainer": "mean", "data": "data"}

    done = command("eval", "--run", run, "--json", "eval.json")
    assert done.returncode == 0, done.stderr
    # The PCK of the mean pose in the labeled boxes, from the labels.
    stored = json.loads((run / "mean.json").read_text("utf-8"))
    labels = json.loads((folder / "data" / "val_coco.json").read_text("utf-8"))["annotations"]
    near = []
    for label in labels:
        x, y, width, height = label["bbox"]
        points = np.array(label["keypoints"]).reshape(-1, 3)
        predicted = np.array(stored["keypoints"]) * (width, height) + (x, y)
        distance = np.linalg.norm(points[:, :2] - predicted, axis=1) / max(width, height)
        near += (distance < 0.1)[points[:, 2] > 0].tolist()
    report = json.loads((folder / "eval.json").read_text("utf-8"))
    assert report["labelled_boxes"]["points"]["labelled"]["overall"]["PCK@0.1"] == pytest.approx(
        np.mean(near), abs=1e-9
    )

    done = command("predict", "data/images", "--run", run, "--save-predictions", "--output-root", "out")
    assert done.returncode == 0, done.stderr
    assert len(json.loads((folder / "out" / "predictions.json").read_text("utf-8"))) > 0
    assert command("prelabel", "data/images", "--run", run, "--out", "prelabeled").returncode in (0, 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("config", "data", "--trainer", "mean", "--minutes", "3"),
            "--minutes: the mean object (--trainer mean) does not have this option",
        ),
        (
            ("train", "data", "--trainer", "mean", "--stage", "pose"),
            "--stage pose: the mean object does not train this alone\n  fix: it has one model: leave --stage out",
        ),
        (
            ("train", "data", "--trainer", "mean", "--amp", "--epochs", "3"),
            "--amp, --epochs: the mean object (--trainer mean) does not have this option",
        ),
        (
            ("train", "data", "--trainer", "median"),
            "--trainer must be one of openmmlab, torchvision, mean, got 'median'",
        ),
        (("train", "data"), "--stage must be det, pose or all"),
        (("train", "--trainer", "mean", "--resume", "--work-dir", "none"), "none: has no run to resume"),
    ],
)
def test_what_it_cannot_do_is_refused(command: Command, words: tuple[str, ...], said: str) -> None:
    done = command(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_runs_without_their_trainer_and_trainers_that_fail(command: Command, folder: Path) -> None:
    run = folder / "other"
    run.mkdir()
    (run / "trainer.json").write_text('{"trainer": "gone", "data": "data"}', encoding="utf-8")
    done = command("predict", "data/images", "--run", run)
    assert done.returncode == 2
    assert "trainer must be one of openmmlab, torchvision, mean, got 'gone'" in done.stderr
    (run / "trainer.json").write_text('{"trainer": "mean", "data": "data"}', encoding="utf-8")
    done = command("export", "--run", run, "--out", "x.zip")
    assert done.returncode == 2
    said = "plug-in 'mean' (trainers) of package mean-pose 1.0 failed: ZeroDivisionError: no bundle today"
    assert said in done.stderr
    assert "Traceback" not in done.stderr
