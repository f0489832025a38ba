"""Real, tiny runs: their files, how they resume, and what is refused before the first iteration."""

from __future__ import annotations

import json
import math
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from posetools.core.skeleton import load_skeleton, read_skeleton
from posetools.core.stages import Stage
from posetools.errors import InputError, PosetoolsError, RequestError, RunError, StoppedError
from posetools.files.locks import only_one_in
from posetools.mm.configs import set_epochs
from posetools.training.hooks import TrainStatus
from posetools.training.request import TrainRequest
from posetools.training.train import train
from tests.tiny_runs import Recorder, Run, Tiny, make_tiny

pytestmark = pytest.mark.train

METRIC = {"det": "coco/bbox_mAP", "pose": "coco/AP"}


@pytest.fixture(params=["det", "pose"])
def run(request: pytest.FixtureRequest) -> Run:
    finished: Run = request.getfixturevalue(f"{request.param}_run")
    return finished


def test_the_run_tells_where_it_is(run: Run) -> None:
    statuses = run.told.statuses
    assert [s.epoch for s in statuses if s.phase == "scored"] == [1, 2]
    assert statuses[-1].done == statuses[-1].total
    losses = [s.loss for s in statuses if s.phase == "train"]
    assert losses
    assert all(loss is not None and math.isfinite(loss) for loss in losses)
    assert METRIC[run.stage] in statuses[-1].metrics
    assert f"training on cpu, work folder {run.work_dir}" in run.told.text
    each, total = statuses[-1].total // 2, statuses[-1].total
    many = "s" if each > 1 else ""
    length = f"2 epochs of {each} iteration{many}: {total} iterations; {total} iterations cannot train a model"
    assert length in run.told.text
    assert (run.result.iterations, run.result.enough) == (total, 0)


def test_the_work_folder_holds_what_is_needed_later(run: Run) -> None:
    names = {path.name for path in run.work_dir.iterdir() if path.is_file()}
    assert {run.config.name, "epoch_2.pth", "last_checkpoint", "skeleton.yaml", "metrics.json"} <= names
    assert run.result.last == run.checkpoint
    assert run.result.best is not None
    assert run.result.best.name in names
    assert run.result.best.name.startswith("best_coco_")
    assert read_skeleton(run.work_dir / "skeleton.yaml") == load_skeleton("car8")
    (log,) = run.work_dir.glob("*/*.log")
    assert "Epoch(train)" in log.read_text()


def test_metrics_json_has_numbers_or_null_never_minus_one(run: Run) -> None:
    document = json.loads((run.work_dir / "metrics.json").read_text())
    assert (document["epochs"], document["last"]["checkpoint"]) == (2, "epoch_2.pth")
    metrics = document["last"]["metrics"]
    large = "coco/bbox_mAP_l" if run.stage == "det" else "coco/AP (L)"
    # No object is larger than 96 x 96 pixels in images of 96 x 80.
    assert metrics[large] is None
    assert large not in run.result.metrics
    assert -1 not in metrics.values()
    assert run.result.metrics == {name: value for name, value in metrics.items() if value is not None}


def test_a_moved_run_is_resumed_at_the_next_epoch(
    pose_run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(pose_run.work_dir, moved)
    told = Recorder()
    result = train(TrainRequest(stage="pose", work_dir=moved, resume=True, epochs=3, device="cpu"), told)
    assert (result.epochs, result.trained, result.last) == (3, 1, moved / "epoch_3.pth")
    assert f"resuming from {moved / 'epoch_2.pth'}: epoch 2 of 3 is done" in told.text
    total = told.statuses[-1].total
    assert f": {total} iterations, {2 * total // 3} of them done" in told.text
    assert {status.epoch for status in told.statuses} == {3}
    # OpenMMLab's own output is in its log, not on the terminal.
    assert capfd.readouterr().out == ""


def test_a_finished_run_says_so(run: Run) -> None:
    told = Recorder()
    result = train(TrainRequest(stage=run.stage, work_dir=run.work_dir, resume=True), told)
    assert told.lines == [f"nothing to do: {run.checkpoint} is at epoch 2 of 2"]
    assert (result.trained, result.epochs, result.best) == (0, 2, run.result.best)


class Interrupter(Recorder):
    """Presses Ctrl-C in the second epoch."""

    def update(self, status: TrainStatus) -> None:
        super().update(status)
        if status.epoch == 2 and status.phase == "train":
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_keeps_the_last_epoch_and_says_how_to_go_on(tiny: Tiny, tmp_path: Path) -> None:
    work_dir = tmp_path / "run"
    request = TrainRequest(stage="pose", config=tiny.pose, work_dir=work_dir, device="cpu")
    with pytest.raises(StoppedError) as caught:
        train(request, Interrupter())
    assert caught.value.exit_status == 130
    kept = work_dir / "epoch_1.pth"
    assert str(caught.value) == (
        f"stopped in epoch 2 of 2; {kept} is kept\n"
        f"  posetools train --stage pose --work-dir {work_dir} --resume continues from there"
    )
    result = train(TrainRequest(stage="pose", work_dir=work_dir, resume=True, device="cpu"))
    assert (result.epochs, result.trained) == (2, 1)


def test_a_failure_of_openmmlab_is_one_sentence_and_the_log(tiny: Tiny, tmp_path: Path) -> None:
    options = ("default_hooks.timer.type=NoSuchHook",)
    request = TrainRequest(stage="det", config=tiny.det, work_dir=tmp_path, device="cpu", cfg_options=options)
    with pytest.raises(RunError) as caught:
        train(request)
    first, second = str(caught.value).splitlines()
    assert first.startswith("training failed: KeyError: ")
    assert "NoSuchHook is not in the" in first
    (log,) = tmp_path.glob("*/*.log")
    assert second == f"  fix: see the log for the traceback: {log}"
    assert "Traceback (most recent call last)" in log.read_text()


OPTIONS: list[tuple[str, Stage, dict[str, Any], list[str]]] = [
    (
        "a string for classes",
        "det",
        {"cfg_options": ("train_dataloader.dataset.metainfo.classes=car",)},
        ["E133", "train_dataloader.dataset.metainfo: classes must be a tuple or a list, got 'car'", "('car', )"],
    ),
    (
        "classes that the data does not have",
        "det",
        {"cfg_options": ("val_dataloader.dataset.metainfo.classes=[Car]",)},
        ["E133", "classes must be names of categories in", "val_coco.json (car), got ('Car',)", "'car'"],
    ),
    (
        "another number of classes in the head",
        "det",
        {"cfg_options": ("model.bbox_head.num_classes=80",)},
        ["model.bbox_head.num_classes must be 1, got 80"],
    ),
    (
        "another number of keypoints in the head",
        "pose",
        {"cfg_options": ("model.head.out_channels=17",)},
        ["model.head.out_channels must be 8, the number of keypoints of skeleton car8, got 17", "posetools config"],
    ),
    (
        "too few sigmas",
        "pose",
        {"cfg_options": ("val_dataloader.dataset.metainfo.sigmas=[0.05,0.05]",)},
        ["E131", "val_dataloader.dataset.metainfo: sigmas must be 8 numbers, got '2 numbers'"],
    ),
    (
        "the data of another skeleton",
        "pose",
        {"skeleton": "coco17"},
        ["categories: keypoints must be the 17 keypoints of skeleton coco17", "left-front-bumper"],
    ),
    (
        "no evaluation",
        "det",
        {"cfg_options": ("val_cfg=None", "val_evaluator=None")},
        ["val_evaluator and val_cfg must be set", "posetools split"],
    ),
    (
        "no such annotation file",
        "pose",
        {"cfg_options": ("val_dataloader.dataset.ann_file=gone.json",)},
        ["val: ", "gone.json does not exist", "posetools convert"],
    ),
    (
        "no such weights",
        "pose",
        {"cfg_options": ("load_from=gone.pth",)},
        ["weights (load_from): gone.pth: cannot be read", "none"],
    ),
    (
        "weights out of reach",
        "det",
        {"weights": "http://127.0.0.1:9/rtmdet.pth"},
        [
            "weights (load_from): http://127.0.0.1:9/rtmdet.pth: cannot be downloaded",
            "--weights starter",
            "--weights FILE",
        ],
    ),
    ("no such GPU", "det", {"device": "cuda:99"}, ["--device cuda:99: this environment has", "--device auto"]),
    ("mixed precision on the CPU", "pose", {"amp": True}, ["--amp requires a GPU", "omit --amp"]),
]


@pytest.mark.parametrize(("stage", "changes", "parts"), [row[1:] for row in OPTIONS], ids=[row[0] for row in OPTIONS])
def test_what_would_waste_a_night_is_refused(
    tiny: Tiny, tmp_path: Path, stage: Stage, changes: dict[str, Any], parts: list[str]
) -> None:
    request = TrainRequest(stage=stage, config=tiny.config(stage), work_dir=tmp_path / "run", device="cpu")
    with pytest.raises(RequestError) as caught:
        train(replace(request, **changes))
    text = str(caught.value)
    assert text.startswith(f"{tiny.config(stage)}: training is refused, for ")
    assert [part for part in parts if part not in text] == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"weights": "gone.pth"},
            "gone.pth: file of weights does not exist\n  fix: use --weights starter for those of",
        ),
        ({"device": "tpu"}, "--device must be auto, cpu, cuda or cuda:N, got 'tpu'"),
    ],
)
def test_what_needs_no_torch_is_refused_before_it_is_imported(
    tiny: Tiny, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    request = TrainRequest(stage="pose", config=tiny.pose, work_dir=tmp_path / "run", device="cpu")
    with pytest.raises(PosetoolsError, match=re.escape(sentence)):
        train(replace(request, **changes))
    assert not (tmp_path / "run").exists()


def test_all_problems_are_in_one_message(tiny: Tiny, tmp_path: Path) -> None:
    request = TrainRequest(
        stage="det",
        config=tiny.det,
        work_dir=tmp_path,
        device="cuda:99",
        cfg_options=("val_cfg=None", "load_from=gone.pth"),
    )
    with pytest.raises(
        RequestError, match=r"for 3 problems:\n  1. .*val_cfg(.|\n)*2. weights(.|\n)*3. --device cuda:99"
    ):
        train(request)


@pytest.mark.parametrize(
    ("stage", "change", "parts"),
    [
        ("pose", {"area": 0.0}, ["E104", "train_coco.json: annotations[0]", "area", "got 0.0"]),
        ("pose", {"iscrowd": 1}, ["train: ", "has no objects with labeled keypoints left after MMPose's filter"]),
        ("det", {"iscrowd": 1}, ["train: ", "has no boxes left after MMDet's filter", "posetools validate"]),
    ],
)
def test_bad_data_is_refused(tmp_path: Path, stage: Stage, change: dict[str, Any], parts: list[str]) -> None:
    tiny = make_tiny(tmp_path)
    path = tiny.data / "train_coco.json"
    document = json.loads(path.read_text())
    for annotation in document["annotations"]:
        annotation.update(change)
    path.write_text(json.dumps(document))
    with pytest.raises(RequestError) as caught:
        train(TrainRequest(stage=stage, config=tiny.config(stage), work_dir=tmp_path / "run", device="cpu"))
    assert [part for part in parts if part not in str(caught.value)] == []


REQUESTS: list[tuple[dict[str, Any], type[PosetoolsError], str]] = [
    ({"resume": True}, RequestError, "has no checkpoint to resume from"),
    ({"config": None}, RequestError, "--data DIR or --config FILE must say what to train on"),
    ({"config": Path("gone.py")}, InputError, "gone.py: config does not exist"),
    ({"data": Path("elsewhere")}, RequestError, "not for elsewhere\n  fix: run `posetools config elsewhere`"),
    ({"stage": "pose"}, RequestError, "must be 'mmpose' for --stage pose, got 'mmdet'\n  fix: pass --stage det"),
    ({"cfg_options": ("max_epochs",)}, RequestError, "--cfg-options must be key=value, got 'max_epochs'"),
    ({"cfg_options": ("a=[(1,2]",)}, RequestError, r"--cfg-options a=\[\(1,2\]: cannot be set in the config"),
]


@pytest.mark.parametrize(("changes", "kind", "message"), REQUESTS)
def test_requests_that_mean_nothing(
    tiny: Tiny, tmp_path: Path, changes: dict[str, Any], kind: type[PosetoolsError], message: str
) -> None:
    request = TrainRequest(stage="det", config=tiny.det, work_dir=tmp_path, device="cpu")
    with pytest.raises(kind, match=message):
        train(replace(request, **changes))


def test_a_work_folder_with_checkpoints_is_not_written_to(det_run: Run) -> None:
    before = sorted(path.name for path in det_run.work_dir.iterdir())
    with pytest.raises(RequestError, match=r"has checkpoints of an earlier run\n  fix: continue it with --resume, or"):
        train(TrainRequest(stage="det", config=det_run.config, work_dir=det_run.work_dir))
    assert sorted(path.name for path in det_run.work_dir.iterdir()) == before


def test_a_work_folder_that_another_run_writes_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    work_dir, said = tmp_path / "work", r"work: another run of posetools \(process \d+\) is writing here"
    with only_one_in(work_dir), pytest.raises(RequestError, match=said):
        train(TrainRequest(stage="pose", config=tiny.pose, work_dir=work_dir, device="cpu"))
    assert not list(work_dir.rglob("*.pth"))


def test_the_emitted_pair_is_found_or_a_default_one_written(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = Recorder()
    request = TrainRequest(stage="pose", data=tiny.data, configs=tiny.pose.parent, device="cuda:99", weights="none")
    with pytest.raises(RequestError, match="cuda:99"):
        train(request, told)
    assert told.lines[0] == f"config: {tiny.pose}"
    with pytest.raises(RequestError, match="cuda:99"):
        train(replace(request, configs=Path("configs")), told)
    assert f"no config for {tiny.data} in configs: wrote the default pair, configs/rtmdet_m_car8.py" in told.text
    assert Path("configs/rtmpose-m_car8.py").is_file()


def test_weights_are_started_from(tiny: Tiny, pose_run: Run, tmp_path: Path) -> None:
    import torch

    from posetools.mm.checkpoint import load_checkpoint

    still = ("optim_wrapper.optimizer.lr=0.0", "param_scheduler=None")
    train(
        TrainRequest(
            stage="pose",
            config=tiny.pose,
            work_dir=tmp_path,
            weights=str(pose_run.checkpoint),
            epochs=1,
            seed=3,
            device="cpu",
            cfg_options=still,
        )
    )
    first, then = load_checkpoint(pose_run.checkpoint), load_checkpoint(tmp_path / "epoch_1.pth")
    assert then["meta"]["seed"] == 3
    assert torch.equal(first["state_dict"]["head.final_layer.weight"], then["state_dict"]["head.final_layer.weight"])


def test_other_epochs_keep_the_shape_of_the_schedule() -> None:
    from mmengine import Config

    config = Config(
        {
            "train_cfg": {"max_epochs": 300, "val_interval": 10, "dynamic_intervals": [(280, 1)]},
            "param_scheduler": [
                {"type": "LinearLR", "by_epoch": False, "begin": 0, "end": 1000},
                {"type": "CosineAnnealingLR", "begin": 150, "end": 300, "T_max": 150, "by_epoch": True},
            ],
            "custom_hooks": [{"type": "EMAHook"}, {"type": "PipelineSwitchHook", "switch_epoch": 280}],
            "default_hooks": {"checkpoint": {"interval": 10}},
        }
    )
    set_epochs(config, 30)
    assert config.train_cfg == {"max_epochs": 30, "val_interval": 1, "dynamic_intervals": [(28, 1)]}
    assert config.param_scheduler[0]["end"] == 100
    assert [config.param_scheduler[1][key] for key in ("begin", "end", "T_max")] == [15, 30, 15]
    assert config.custom_hooks[1]["switch_epoch"] == 28
    assert config.default_hooks.checkpoint.interval == 1
    set_epochs(config, 3000)
    assert (config.param_scheduler[0]["end"], config.train_cfg["val_interval"]) == (100, 1)
    assert (config.param_scheduler[1]["begin"], config.custom_hooks[1]["switch_epoch"]) == (1500, 2800)
    set_epochs(config, 1)
    assert [config.param_scheduler[1][key] for key in ("begin", "end", "T_max")] == [0, 1, 1]
