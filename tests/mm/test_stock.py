"""OpenMMLab's own tools open the files of a run: with torch's defaults, no option, and without posetools."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from posetools.core.folder import IMAGES
from posetools.mm.configs import config_of_run, load_config
from posetools.training.request import TrainRequest
from posetools.training.train import train
from tests.stock import stock
from tests.tiny_runs import Recorder, Run, Tiny

pytestmark = pytest.mark.train


def test_the_stock_test_script_opens_a_checkpoint(det_run: Run, tmp_path: Path) -> None:
    config = config_of_run(det_run.work_dir)
    log = stock("mmdet", "tools/test.py", config, det_run.checkpoint, "--work-dir", tmp_path / "work")
    assert "coco/bbox_mAP" in log


def test_the_demo_of_mmpose_runs_with_the_files_of_both_runs(
    tiny: Tiny, det_run: Run, pose_run: Run, tmp_path: Path
) -> None:
    from PIL import Image

    models = [path for each in (det_run, pose_run) for path in (config_of_run(each.work_dir), each.checkpoint)]
    image = tiny.data / IMAGES / "4.png"
    options: list[str | Path] = ["--input", image, "--output-root", tmp_path, "--device", "cpu", "--bbox-thr", "0"]
    stock("mmpose", "demo/topdown_demo_with_mmdet.py", *models, *options, "--kpt-thr", "0", "--save-predictions")
    before, after = (Image.open(path).convert("RGB") for path in (image, tmp_path / "4.png"))
    assert before.size == after.size
    assert before.tobytes() != after.tobytes()
    assert (tmp_path / "results_4.json").is_file()


def test_everything_in_a_checkpoint_is_plain(pose_run: Run) -> None:
    import numpy as np
    import torch

    # In this process posetools has extended torch's allow-list, so the test checks each value.
    content = torch.load(pose_run.checkpoint, weights_only=True)
    seen: list[type] = []

    def walk(value: object) -> None:
        seen.append(type(value))
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
            walk(part)

    walk(content)
    assert not any(kind.__module__.startswith(("numpy", "mmengine")) for kind in seen)
    log = content["message_hub"]["log_scalars"]["train/loss"]
    assert len(log["values"]) == len(log["counts"]) == content["meta"]["iter"]
    assert np.isfinite(log["values"].numpy()).all()


def test_a_resumed_run_keeps_its_log_and_its_data_set(pose_run: Run, tiny: Tiny, tmp_path: Path) -> None:
    import torch

    work_dir = tmp_path / "work"
    shutil.copytree(pose_run.work_dir, work_dir)
    before = set(work_dir.glob("*/*.log"))
    request = TrainRequest(stage="pose", config=tiny.pose, work_dir=work_dir, resume=True, epochs=3, device="cpu")
    train(request, Recorder())
    (log,) = set(work_dir.glob("*/*.log")) - before
    said = log.read_text()
    assert "resumed epoch: 2" in said
    assert "metainfo from the resumed checkpoint is different" not in said
    assert "is not HistoryBuffer" not in said
    kept = torch.load(work_dir / "epoch_3.pth", weights_only=True)["message_hub"]["log_scalars"]["train/loss"]
    first = torch.load(pose_run.checkpoint, weights_only=True)["message_hub"]["log_scalars"]["train/loss"]
    assert kept["values"][: len(first["values"])].tolist() == first["values"].tolist()
    assert len(kept["values"]) > len(first["values"])


def test_two_starts_in_one_process_log_into_a_folder_each(pose_run: Run, tiny: Tiny, tmp_path: Path) -> None:
    work_dir = tmp_path / "work"
    shutil.copytree(pose_run.work_dir, work_dir)
    seen = set(work_dir.glob("*/vis_data/scalars.json"))
    for epochs in (3, 4):
        request = TrainRequest(stage="pose", config=tiny.pose, work_dir=work_dir, resume=True, device="cpu")
        train(replace(request, epochs=epochs), Recorder())
        (log,) = set(work_dir.glob("*/vis_data/scalars.json")) - seen
        assert f'"epoch": {epochs}' in log.read_text()
        seen.add(log)
    assert load_config(config_of_run(work_dir)).visualizer.name == str(work_dir)
