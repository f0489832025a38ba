"""From a data set of two categories to a bundle, by the commands; the bundle then runs without torch."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.mm.run_log import read_run
from tests.trainers.torchvision.conftest import Command, command_in
from tests.two_kinds import KINDS

RUN = "work_dirs/data-torchvision"
# A finder before all others that hides packages.
WITHOUT_TORCH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "onnx", "mmengine", "mmcv", "mmdet", "mmpose"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
"""


def done(call: subprocess.CompletedProcess[str], status: int = 0) -> str:
    assert call.returncode == status, call.stdout + call.stderr
    assert "Traceback" not in call.stderr
    return call.stdout + call.stderr


@pytest.fixture(scope="module")
def trained(kinds: Path) -> Path:
    """The folder after `config`, `train` and `export`."""
    run = command_in(kinds)
    said = done(run("config", "data", "--trainer", "torchvision", "--input-size", "64", "--epochs", "2", "--explain"))
    assert "one model, trained for at most 60 minutes" in said
    assert "5 images to train on, with 11 objects" in said
    said = done(run("train", "data", "--trainer", "torchvision"))
    assert "export it: posetools export --run work_dirs/data-torchvision" in said
    said = done(run("export", "--run", RUN, "--out", "kinds.zip", "--data", "data", "--bbox-thr", "0.05"))
    assert "network, size" in said
    return kinds


def predictions(folder: Path, run: Command, *model: str) -> list[dict[str, Any]]:
    done(run("predict", "data/images", *model, "--bbox-thr", "0.05", "--save-predictions", "--output-root", "out"))
    found: list[dict[str, Any]] = json.loads((folder / "out" / "predictions.json").read_text("utf-8"))
    return found


def test_a_bundle_predicts_what_its_run_does_without_torch(trained: Path) -> None:
    ours = predictions(trained, command_in(trained), "--run", RUN)
    theirs = predictions(trained, command_in(trained, start=WITHOUT_TORCH), "--bundle", "kinds.zip")
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert one["category_id"] == other["category_id"]
        assert one["bbox"] == pytest.approx(other["bbox"], abs=0.5)
        assert one["keypoints"] == pytest.approx(other["keypoints"], abs=0.5)
    # Each object has the keypoints of its own category.
    assert {len(one["keypoints"]) // 3 for one in ours} <= {one.num_keypoints for one in KINDS.skeletons}


def test_a_bundle_verifies_and_evaluates_as_its_run_does(trained: Path) -> None:
    run = command_in(trained, start=WITHOUT_TORCH)
    assert "detector and pose estimator" in done(run("verify", "kinds.zip"))
    done(run("eval", "--bundle", "kinds.zip", "--data", "data", "--json", "bundle.json"))
    done(command_in(trained)("eval", "--run", RUN, "--json", "run.json"))
    ours, theirs = (json.loads((trained / name).read_text("utf-8")) for name in ("run.json", "bundle.json"))
    assert set(ours["categories"]) == {"car", "critter"}
    for name, of_run in ours["categories"].items():
        of_bundle = theirs["categories"][name]
        assert of_bundle["bbox"]["AP"] == pytest.approx(of_run["bbox"]["AP"], abs=0.01)
        points, others = (one["labelled_boxes"]["points"]["labelled"]["overall"] for one in (of_run, of_bundle))
        assert others["points"] == points["points"] > 0
        assert others["NME"] == pytest.approx(points["NME"], abs=0.01)
    said = run("prelabel", "data/images", "--bundle", "kinds.zip", "--out", "labels", "--bbox-thr", "0.05")
    assert said.returncode in (0, 2), said.stderr


def test_two_runs_are_compared_side_by_side(trained: Path) -> None:
    said = done(command_in(trained)("eval", "--run", RUN, "--run", RUN, "--json", "both.json"))
    assert said.count("best.pth") >= 2


def test_its_log_has_the_curves_of_a_run(trained: Path) -> None:
    log = read_run(trained / RUN)
    assert log.epochs == 2
    assert {"loss", "loss_keypoint", "lr", "time"} <= log.training.keys()
    assert log.epoch_iterations == 2
    assert len(log.metrics["labelled_boxes/PCK@0.1"]) == 2
    assert np.isfinite(log.training["loss"].values).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "--run", RUN, "--out", "x.zip", "--half"), "--half: torchvision's Keypoint R-CNN is exported in"),
        (("eval", "--run", RUN, "--flip-test"), "--flip-test: torchvision's Keypoint R-CNN does not have this option"),
        (("train", "data", "--trainer", "torchvision", "--stage", "pose"), "it has one model: leave --stage out"),
        (("train", "data", "--trainer", "torchvision", "--amp"), "--amp: torchvision's Keypoint R-CNN"),
        (("config", "data", "--trainer", "torchvision", "--det", "s"), "--det: torchvision's Keypoint R-CNN"),
        (("config", "data", "--trainer", "torchvision", "--input-size", "100", "--overwrite"), "multiple of 64"),
        (("config", "data", "--trainer", "torchvision", "--batch-size", "auto"), "--batch-size must be a whole number"),
        (("config", "data", "--trainer", "torchvision"), "torchvision_data.toml: exists already"),
        (("train", "data", "--trainer", "torchvision"), "has an earlier run"),
        (("predict", "data/images", "--run", "empty"), "empty: has no checkpoint"),
    ],
)
def test_what_it_cannot_do_is_refused(trained: Path, words: tuple[str, ...], said: str) -> None:
    (trained / "empty").mkdir(exist_ok=True)
    (trained / "empty" / "trainer.json").write_text('{"trainer": "torchvision", "data": "data"}', encoding="utf-8")
    before = (trained / "configs" / "torchvision_data.toml").read_bytes()
    assert said in done(command_in(trained)(*words), 2)
    assert (trained / "configs" / "torchvision_data.toml").read_bytes() == before
    assert not (trained / "x.zip").exists()


def test_a_recipe_with_a_mistake_names_it(trained: Path) -> None:
    path = trained / "wrong" / "torchvision_data.toml"
    path.parent.mkdir(exist_ok=True)
    text = (trained / "configs" / "torchvision_data.toml").read_text("utf-8")
    path.write_text(text.replace("batch_size = 4", "batch_size = 0"), encoding="utf-8")
    words = ("train", "data", "--trainer", "torchvision", "--configs", "wrong", "--work-dir", "other")
    said = done(command_in(trained)(*words), 2)
    assert "wrong/torchvision_data.toml: batch_size" in said
    assert not (trained / "other").exists()


def test_a_checkpoint_runs_no_code(trained: Path) -> None:
    import torch

    folder = trained / "hostile"
    folder.mkdir()
    (folder / "trainer.json").write_text('{"trainer": "torchvision", "data": "data"}', encoding="utf-8")

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (trained / "touched",)

    torch.save({"meta": Hostile()}, folder / "best.pth")
    said = done(command_in(trained)("predict", "data/images", "--run", "hostile"), 2)
    assert "hostile/best.pth: must hold tensors, plain values" in said
    assert not (trained / "touched").exists()
