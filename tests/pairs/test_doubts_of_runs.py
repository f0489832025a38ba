"""Two epochs on six images train nothing: the run says so, and commands that use its checkpoints warn."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from posetools.core.folder import IMAGES
from tests.cli.run import run
from tests.tiny_runs import Run, Tiny

pytestmark = pytest.mark.train


def test_a_run_without_a_single_detection_says_so_at_its_end(det_run: Run, pose_run: Run) -> None:
    for each, metric in ((det_run, "coco/bbox_mAP"), (pose_run, "coco/AP")):
        last = each.told.lines[-1]
        assert last.startswith(f"warning: {each.work_dir}: {metric} was 0.000 at "), each.told.text


def test_predict_export_and_publish_warn(tiny: Tiny, det_run: Run, pose_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    for each, name in ((det_run, "det"), (pose_run, "pose")):
        shutil.copytree(each.work_dir, folder / name)
    done = run("predict", tiny.data / IMAGES / "4.png", "--run", folder, "--device", "cpu")
    assert done.status == 0, done.err
    assert done.err.count("of the run: this model detects (almost) nothing") == 2
    out = tmp_path / "cars.zip"
    done = run("export", "--run", folder, "--out", out, "--samples", "0")
    assert done.status == 0, done.err
    assert done.words.count("this model detects (almost) nothing") == 2
    done = run("predict", tiny.data / IMAGES / "4.png", "--bundle", out, "--device", "cpu")
    assert f"warning: {out}: its detector had AP 0.000 when it was exported" in done.err
    done = run("publish", folder / "det" / "epoch_2.pth", "--out", tmp_path / "x.pth")
    assert done.status == 0, done.err
    assert "coco/bbox_mAP was 0.000" in done.words


def test_train_all_says_so_too(tiny: Tiny, tmp_path: Path) -> None:
    configs: list[str | Path] = ["--config", tiny.det, "--config", tiny.pose]
    done = run("train", "--stage", "all", *configs, "--work-dir", tmp_path / "all", "--device", "cpu", "--epochs", "1")
    assert done.status == 0, done.err
    # MMDet's metric gives no numbers when nothing was predicted at all.
    assert re.search(
        r"(coco/bbox_mAP was 0\.000|det: no AP) at (its one evaluation|all \d+ evaluations) of", done.words
    )
    assert re.search(r"coco/AP was 0\.000 at (its one evaluation|all \d+ evaluations) of", done.words)
    assert "undertrained: " in done.words
