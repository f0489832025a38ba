"""``train --stage all``: both stages, one after the other, and resuming at any point."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from posetools.cli.train_all import print_both, time_text
from posetools.errors import InputError, PosetoolsError, RequestError, RunError, StoppedError
from posetools.evaluation.report import as_document
from posetools.mm.configs import load_config
from posetools.pairs.find import pair_of_run
from posetools.progress import Progress, silent
from posetools.recipes.emit import emit_pair
from posetools.recipes.options import build_options
from posetools.training.hooks import TrainListener, TrainStatus
from posetools.training.mishaps import AGAIN
from posetools.training.pair import _goes_on, model_requests, parent_of, train_all
from posetools.training.request import TrainRequest
from tests.cli.run import run
from tests.tiny_runs import Recorder, Run, Tiny

pytestmark = pytest.mark.train


class Steps(Recorder):
    """Records the steps; presses Ctrl-C at one of them, or in a stage's second epoch."""

    def __init__(self, stop_at: str = "", stop_in: str = "") -> None:
        super().__init__()
        self.steps: list[tuple[str, str]] = []
        self._stop_at, self._stop_in = stop_at, stop_in

    def step(self, title: str, command: str) -> None:
        self.steps.append((title, command))
        if self._stop_at and self._stop_at in title:
            signal.raise_signal(signal.SIGINT)

    def update(self, status: TrainStatus) -> None:
        super().update(status)
        stage = self.steps[-1][0]
        if self._stop_in and self._stop_in in stage and status.epoch == 2 and status.phase == "train":
            signal.raise_signal(signal.SIGINT)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        yield silent

    @contextmanager
    def training(self) -> Iterator[TrainListener]:
        yield self


def _request(tiny: Tiny, work_dir: Path, **changes: Any) -> TrainRequest:
    request = TrainRequest(stage="det", data=tiny.data, configs=tiny.det.parent, work_dir=work_dir, device="cpu")
    return replace(request, **changes)


def _resume(work_dir: Path) -> TrainRequest:
    return TrainRequest(stage="det", work_dir=work_dir, resume=True, device="cpu")


def test_det_pose_and_the_evaluation_of_both(tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parent, steps = tmp_path / "cars", Steps()
    # As in a config whose length was chosen by time.
    short = ("det.enough_iterations=500", "pose.enough_iterations=600")
    result = train_all(_request(tiny, parent, epochs=1, cfg_options=short), steps)
    print_both(result)
    words = " ".join(capsys.readouterr().out.split())
    for said in (
        f"trained {result.det.iterations} of the recipe's 500 iterations",
        f"trained {result.pose.iterations} of the recipe's 600 iterations",
        "box AP50 ",
        "PCK@0.1 on labeled boxes ",
        f"│ iterations │ {result.det.iterations} │ {result.pose.iterations} │",
    ):
        assert said in words
    assert [title for title, _ in steps.steps] == [
        "train the detector",
        "train the pose estimator",
        "evaluate both together",
    ]
    assert steps.steps[1][1] == f"posetools train --stage pose --config {tiny.pose} --work-dir {parent / 'pose'}"
    assert steps.steps[2][1] == f"posetools eval --run {parent}"
    assert (result.det.work_dir, result.pose.work_dir) == (parent / "det", parent / "pose")
    assert (result.det.trained, result.pose.trained) == (1, 1)
    # What the other commands read.
    pair = pair_of_run(parent)
    assert (pair.det.work_dir, pair.pose.work_dir) == (parent / "det", parent / "pose")
    assert result.evaluation is not None
    document = json.loads((parent / "evaluation.json").read_text())
    assert document == json.loads(json.dumps(as_document((result.evaluation,))))
    assert str(pair.det.checkpoint) in json.dumps(document)
    assert sorted(path.name for path in parent.iterdir()) == ["det", "evaluation.json", "pose"]

    again = Steps()
    finished = train_all(_resume(parent), again)
    assert (finished.det.trained, finished.pose.trained, finished.evaluation) == (0, 0, None)
    assert f"nothing to do: {parent / 'det' / 'epoch_1.pth'} is at epoch 1 of 1" in again.lines
    written = parent / "evaluation.json"
    assert again.lines[-1] == f"nothing to do: both models are trained, their evaluation is in {written}"


def test_it_goes_on_wherever_it_stopped(tiny: Tiny, tmp_path: Path) -> None:
    parent = tmp_path / "cars"
    going_on = f"  posetools train --stage all --work-dir {parent} --device cpu --resume continues from there"
    # In the detector's second epoch: the command-line options also apply to the pose estimator later.
    options = ("det.optim_wrapper.optimizer.lr=1e-4", "pose.randomness.seed=7", "env_cfg.cudnn_benchmark=True")
    with pytest.raises(StoppedError) as caught:
        train_all(_request(tiny, parent, cfg_options=options, weights="none"), Steps(stop_in="detector"))
    kept = parent / "det" / "epoch_1.pth"
    *sentence, last = str(caught.value).splitlines()
    assert last == going_on
    said = " ".join(sentence)
    assert said.startswith("stopped")
    assert "epoch 2 of 2" in said
    assert f"{kept} is kept" in said
    assert "--resume" not in said
    # Before the pose estimator's first iteration.
    with pytest.raises(StoppedError, match="continues from there"):
        train_all(_resume(parent), Steps(stop_at="pose estimator"))
    assert (parent / "det" / "epoch_2.pth").is_file()
    assert not list((parent / "pose").glob("*.pth"))
    # In its second epoch.
    steps = Steps(stop_in="pose estimator")
    with pytest.raises(StoppedError, match=r"pose/epoch_1.pth is kept"):
        train_all(_resume(parent), steps)
    assert f"nothing to do: {parent / 'det' / 'epoch_2.pth'} is at epoch 2 of 2" in steps.lines
    # In the evaluation.
    with pytest.raises(StoppedError) as caught:
        train_all(_resume(parent), Steps(stop_at="both together"))
    assert str(caught.value) == f"stopped; finished epochs are kept\n{going_on}"
    assert not (parent / "evaluation.json").exists()
    result = train_all(_resume(parent), Steps())
    assert (result.det.trained, result.pose.trained) == (0, 0)
    assert (result.det.epochs, result.pose.epochs) == (2, 2)
    assert (parent / "evaluation.json").is_file()

    det, pose = (load_config(getattr(pair_of_run(parent), stage).config) for stage in ("det", "pose"))
    assert det.optim_wrapper.optimizer.lr == 1e-4 != pose.optim_wrapper.optimizer.lr
    assert pose.randomness.seed == 7 != det.randomness.seed
    assert det.env_cfg.cudnn_benchmark
    assert pose.env_cfg.cudnn_benchmark


def test_stopped_before_the_start_it_does_not_mention_resuming(tmp_path: Path) -> None:
    # As in the folder of a fit: configs that are no run.
    (tmp_path / "cars/configs").mkdir(parents=True)
    (tmp_path / "cars/configs/rtmdet.py").touch()
    with pytest.raises(StoppedError) as caught, _goes_on(TrainRequest(stage="det"), tmp_path / "cars"):
        raise KeyboardInterrupt
    assert str(caught.value).splitlines() == [
        "stopped before the first epoch; there is no checkpoint yet",
        "  the same command restarts the run",
    ]


@pytest.mark.parametrize("kind", [RunError, StoppedError])
def test_the_command_to_continue_is_for_both_runs(kind: type[RunError]) -> None:
    request = TrainRequest(stage="det")
    with pytest.raises(kind) as caught, _goes_on(request, Path("a b")):
        raise kind("the loss became nan", "there is no checkpoint yet", hint="lower the rate", way=AGAIN)
    command = "posetools train --stage all --work-dir 'a b' --resume"
    stopped = [f"  {command} restarts this model"]
    failed = ["  fix: lower the rate", f"       continue with {command}"]
    assert str(caught.value).splitlines() == [
        "the loss became nan",
        "  there is no checkpoint yet",
        *(stopped if kind is StoppedError else failed),
    ]


def test_a_failed_run_says_how_both_go_on(tiny: Tiny, tmp_path: Path) -> None:
    request = _request(tiny, tmp_path / "cars", cfg_options=("det.default_hooks.timer.type=NoSuchHook",))
    with pytest.raises(RunError) as caught:
        train_all(request, Steps())
    first, *_, last = str(caught.value).splitlines()
    assert "NoSuchHook is not in the" in first
    command = f"posetools train --stage all --work-dir {tmp_path / 'cars'} --device cpu --resume"
    assert last == f"       continue with {command}"


def test_both_are_checked_before_the_first_one_starts(tiny: Tiny, tmp_path: Path) -> None:
    options = ("pose.model.head.out_channels=17", "det.model.bbox_head.num_classes=80")
    with pytest.raises(RequestError) as caught:
        train_all(_request(tiny, tmp_path / "cars", cfg_options=options), Steps())
    text = str(caught.value)
    assert f"{tiny.det}: training is refused, for one problem" in text
    assert f"{tiny.pose}: training is refused, for one problem" in text
    assert "model.head.out_channels must be 8" in text
    assert list(tmp_path.iterdir()) == []


def test_runs_of_earlier_are_not_written_over(tiny: Tiny, det_run: Run, tmp_path: Path) -> None:
    parent = tmp_path / "cars"
    shutil.copytree(det_run.work_dir, parent / "det")
    with pytest.raises(RequestError, match=r"det: has checkpoints of an earlier run\n  fix: continue it with --resume"):
        train_all(_request(tiny, parent), Steps())


def test_two_configs_in_any_order(tiny: Tiny, tmp_path: Path) -> None:
    request = TrainRequest(stage="det", pair=(tiny.pose, tiny.det), device="cpu")
    assert parent_of(request) == Path("work_dirs/cars")
    requests = model_requests(request)
    assert {stage: one.config for stage, one in requests.items()} == {"det": tiny.det, "pose": tiny.pose}
    assert requests["pose"].work_dir == Path("work_dirs/cars/pose")
    named = replace(request, pair=(), work_dir=tmp_path / "mine", data=tiny.data)
    assert parent_of(named) == tmp_path / "mine"
    assert model_requests(named)["det"].config is None


def test_options_go_to_the_stage_they_name(tiny: Tiny) -> None:
    options = ("a=1", "det.b=2", "pose.c=3", "detail=4")
    requests = model_requests(TrainRequest(stage="det", data=tiny.data, cfg_options=options))
    own = {stage: one.cfg_options for stage, one in requests.items()}
    assert own == {"det": ("a=1", "b=2", "detail=4"), "pose": ("a=1", "c=3", "detail=4")}


def test_crops_are_for_the_pose_estimator(tiny: Tiny) -> None:
    requests = model_requests(TrainRequest(stage="det", data=tiny.data, cache="crops", cache_dir=Path("crops")))
    assert {stage: (one.cache, one.cache_dir) for stage, one in requests.items()} == {
        "det": (None, None),
        "pose": ("crops", Path("crops")),
    }


REQUESTS: list[tuple[dict[str, Any], tuple[str, ...], type[PosetoolsError], str]] = [
    ({}, (), RequestError, "--data DIR, or --config FILE twice, must say what to train on"),
    ({"resume": True}, (), RequestError, "--work-dir DIR must say which runs to resume"),
    (
        {},
        ("det",),
        RequestError,
        r"--config with --stage all must be given twice, .* got .*rtmdet.*\(mmdet\)\n  fix: omit it",
    ),
    ({}, ("det", "det"), RequestError, "for a detector and for a pose estimator, got"),
    ({}, ("gone.py",), InputError, "gone.py: config does not exist"),
    (
        {"weights": "a.pth", "data": Path("cars")},
        (),
        RequestError,
        "--weights a.pth: cannot be combined with --stage all: .*\n  fix: use --cfg-options det.load_from=",
    ),
    (
        {"work_dir": Path("gone"), "resume": True},
        (),
        RequestError,
        "gone: has no run of --stage all to resume\n  fix: omit --resume",
    ),
]


@pytest.mark.parametrize(("changes", "configs", "kind", "message"), REQUESTS)
def test_requests_that_mean_nothing(
    tiny: Tiny, changes: dict[str, Any], configs: tuple[str, ...], kind: type[PosetoolsError], message: str
) -> None:
    paths = tuple(tiny.det if name == "det" else Path(name) for name in configs)
    with pytest.raises(kind, match=message):
        train_all(TrainRequest(stage="det", pair=paths, **changes), Steps())


def test_both_are_tried_on_the_command_line_and_nothing_is_kept(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1000.0, 0.0, 0.0))
    words: list[str | Path] = ["train", "--stage", "all", "--config", tiny.pose, "--config", tiny.det]
    words += ["--work-dir", tmp_path / "cars", "--device", "cpu", "--epochs", "30", "--dry-run"]
    done = run(*words)
    assert done.status == 0, done.err
    assert done.err.startswith("this machine is busy: a load of 1000.0 on ")
    assert "trying det on cpu" in done.err
    assert "trying pose on cpu" in done.err
    lines = done.out.splitlines()
    assert [line for line in lines if "│ config " in line and "rtmdet" in line and "rtmpose" in line]
    (iterations,) = (line for line in lines if "│ iterations" in line)
    assert "2 x 30 epochs = 60" in iterations
    for row in ("time per iteration", "evaluations", "peak memory", "checkpoints kept"):
        assert [line for line in lines if f"│ {row}" in line]
    assert "evaluation of both at the end: " in done.out
    assert "Nothing was kept" in done.out
    assert list(tmp_path.iterdir()) == []


def test_one_stage_has_one_config(tiny: Tiny) -> None:
    done = run("train", "--stage", "det", "--config", tiny.det, "--config", tiny.pose)
    assert done.status == 2
    assert done.err.startswith(
        f"error: --config must be given once, got {tiny.det}, {tiny.pose}\n  fix: leave one out, or --stage all"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.216, "0.22 s"), (12.4, "12 s"), (130.0, "2.2 min"), (9000.0, "2.5 h"), (259200.0, "3.0 days")],
)
def test_times_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_the_pose_estimator_starts_with_the_backbone_of_the_trained_detector(tiny: Tiny, tmp_path: Path) -> None:
    import torch

    options = {"det": {"size": "tiny"}, "pose": {"size": "t", "backbone": "detector", "load_from": "none"}}
    small: dict[str, dict[str, object]] = {
        stage: {**given, "input_size": 64, "batch_size": 4, "epochs": 1, "lr": 1e-9} for stage, given in options.items()
    }
    small["det"]["backbone"] = "none"
    emit_pair(tiny.data, None, build_options(None, {**small, "": {"workers": 0}}), tmp_path / "configs")
    steps = Steps()
    request = _request(tiny, tmp_path / "run", configs=tmp_path / "configs")
    result = train_all(request, steps)
    assert f"{result.det.best or result.det.last}: " in steps.text
    # At this learning rate the weights stay as they were loaded.
    trained, given = (
        torch.load(path, map_location="cpu", weights_only=False)["state_dict"]
        for path in (result.pose.last, result.det.best or result.det.last)
    )
    name = "backbone.stem.0.conv.weight"
    assert torch.allclose(trained[name], given[name], atol=1e-6)
