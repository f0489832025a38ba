"""The demo runs every step."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image as Pillow

from posetools import cli

pytestmark = pytest.mark.train


def _demo(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["posetools", "demo", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0


def test_quick_demo_goes_through_every_station(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _demo(monkeypatch, "--quick", "--out", "demo", "--seed", "3")
    said = capsys.readouterr().out
    for command in (
        "$ posetools convert demo/labelme --out demo/data --val 0.2 --seed 3",
        "$ posetools validate demo/data",
        "$ posetools config demo/data --recipe demo/recipe.toml --out demo/configs",
        "$ posetools train --stage det --config demo/configs/rtmdet_tiny_car8.py --work-dir demo/work_dirs/det",
        "$ posetools train --stage pose --config demo/configs/rtmpose-t_car8.py --work-dir demo/work_dirs/pose",
        "$ posetools eval --stage det demo/work_dirs/det/",
        "$ posetools eval --stage pose demo/work_dirs/pose/",
        "AP50",
        "PCK@0.1",
    ):
        assert command in said
    out = tmp_path / "demo"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo"]
    assert sorted(path.name for path in out.iterdir()) == [
        "configs",
        "data",
        "labelme",
        "predictions.png",
        "recipe.toml",
        "results.json",
        "work_dirs",
    ]
    results = json.loads((out / "results.json").read_text())
    assert results["finished"] is True
    assert results["iterations"]["det"] == 2
    assert results["epochs"] == {"det": 1, "pose": 1}
    assert results["det"]["images"] == results["pose"]["images"] == 2
    assert results["pose"]["detected_boxes"] is not None
    assert set(results["seconds"]) >= {"render", "convert", "validate", "config", "train det", "train pose", "eval"}
    with Pillow.open(out / "predictions.png") as sheet:
        # Two tiles of two images each, and the gaps between them.
        assert sheet.width == 2 * (2 * 96 + 2) + 3 * 4


def test_timing_chooses_the_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from posetools.cli.steps import Steps
    from posetools.mm.configs import load_config
    from posetools.workflow import demo as module

    seconds = {"det": 0.5, "pose": 0.1}
    monkeypatch.setattr(module, "seconds_per_iteration", lambda stage, *_, **__: seconds[stage])
    det_half, pose_half = replace(module.QUICK.det, share=0.5), replace(module.QUICK.pose, share=0.5)
    settings = replace(module.QUICK, timed_iterations=2, det=det_half, pose=pose_half)
    request = module.DemoRequest(out=tmp_path, minutes=0.2, settings=settings)
    run = module._DemoRun(request, Steps())
    run.render()
    run.convert()
    pair = run.config()
    # 8 images in batches of 4 are 2 iterations: 6 seconds are 6 epochs.
    det, pose = load_config(pair.det), load_config(pair.pose)
    # 8 images in batches of 4 are 2 iterations: 6 seconds are 6 epochs.
    assert det.train_cfg["max_epochs"] == 6
    objects = len(json.loads((tmp_path / "data" / "train_coco.json").read_text())["annotations"])
    assert pose.train_cfg["max_epochs"] == round(60 / -(-objects // 8))
    # The weaker augmentation from the start, and the hooks of every run, including EMA.
    assert [hook["type"] for hook in det.custom_hooks] == ["EMAHook"]
    steps = det.train_dataloader.dataset.pipeline
    assert "CachedMosaic" not in [step["type"] for step in steps]
    assert steps[2]["type"] == "RandomResize"
    assert pose.train_dataloader.dataset.pipeline[3]["type"] == "RandomBBoxTransform"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["configs", "data", "labelme", "recipe.toml"]


@pytest.mark.parametrize(
    ("iterations", "epochs", "samples"),
    [(100.0, 10, None), (19.9, 2, None), (14.9, 1, None), (5.1, 1, None), (4.9, 1, 32), (0.3, 1, 16)],
)
def test_time_that_is_too_short_for_an_epoch_takes_a_part_of_it(
    iterations: float, epochs: int, samples: int | None
) -> None:
    from posetools.workflow.demo import TrainingPlan, plan_training

    plan = plan_training(iterations, samples=78, batch_size=8)
    # Each of the 78 samples seen 600 times.
    assert plan == TrainingPlan(epochs, samples, enough=5850)
    assert plan.cfg_options == (() if samples is None else (f"train_dataloader.dataset.indices={samples}",))
    assert plan_training(0.1, samples=5, batch_size=8) == TrainingPlan(1, enough=375)


def test_nothing_is_written_for_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["posetools", "demo", "--minutes", "0", "--out", str(tmp_path / "demo")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert not (tmp_path / "demo").exists()
