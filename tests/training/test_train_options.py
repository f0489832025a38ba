"""Options of a run that are not in its config: early stopping, checkpoints to keep, trackers."""

from __future__ import annotations

import json
import math
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from posetools.errors import InputError, MissingExtraError, RequestError
from posetools.mm.configs import load_config
from posetools.mm.evaluations import Evaluations, early_stopping_of, evaluations_of, is_due, set_early_stopping
from posetools.training.request import TrainRequest
from posetools.training.trackers import add_trackers, check_trackers
from posetools.training.train import train
from tests.tiny_runs import Recorder, Tiny

pytestmark = pytest.mark.train

# Nothing is learned, so no evaluation is better than the first.
STILL = ("optim_wrapper.optimizer.lr=0.0", "param_scheduler=None")


def test_a_run_that_learns_nothing_stops_early_and_is_finished(tiny: Tiny, tmp_path: Path) -> None:
    work_dir, told = tmp_path / "run", Recorder()
    options = (*STILL, "default_hooks.checkpoint.interval=5")
    request = TrainRequest(
        stage="pose",
        config=tiny.pose,
        work_dir=work_dir,
        epochs=8,
        device="cpu",
        early_stopping=2,
        keep=2,
        cfg_options=options,
    )
    result = train(request, told)
    best = result.metrics["coco/AP"]
    why = f"no better coco/AP than {best:.3f} in 2 evaluations"
    assert f"stopped early after epoch 3 of 8: {why}" in told.lines
    assert told.lines[-1].startswith(f"warning: {work_dir}: coco/AP was 0.000 at all 3 evaluations")
    # The last epoch is saved, though no checkpoint was due.
    assert (result.epochs, result.last) == (3, work_dir / "epoch_3.pth")
    assert result.best == work_dir / "best_coco_AP_epoch_3.pth"
    assert [status.best.epoch for status in told.statuses if status.best][-1] == 3
    again = Recorder()
    finished = train(TrainRequest(stage="pose", work_dir=work_dir, resume=True, device="cpu"), again)
    assert (finished.epochs, finished.trained) == (3, 0)
    assert again.lines == [
        f"nothing to do: {work_dir / 'epoch_3.pth'} stopped early at epoch 3 of 8: {why}; "
        "pass --early-stopping 0, or more than 2, to continue"
    ]
    # Earlier evaluations count: one more makes three.
    longer = TrainRequest(stage="pose", work_dir=work_dir, resume=True, device="cpu", early_stopping=3)
    assert train(longer).epochs == 4


def test_keep_is_obeyed_and_one_is_too_few(tiny: Tiny, tmp_path: Path) -> None:
    told, work_dir = Recorder(), tmp_path / "run"
    options = (*STILL, "default_hooks.checkpoint.max_keep_ckpts=1")
    train(
        TrainRequest(stage="pose", config=tiny.pose, work_dir=work_dir, epochs=3, device="cpu", cfg_options=options),
        told,
    )
    assert sorted(path.name for path in work_dir.glob("epoch_*.pth")) == ["epoch_2.pth", "epoch_3.pth"]
    assert any(line.startswith("keeping 2 checkpoints") for line in told.lines)


def _monitored(tmp_path: Path, *scores: float | None, rule: str = "greater") -> Evaluations:
    evaluations = Evaluations(tmp_path / "evaluations.json", writes=True, monitor="coco/AP", rule=rule)
    for epoch, score in enumerate(scores, start=1):
        evaluations.add(epoch, {} if score is None else {"coco/AP": score})
    return evaluations


def test_the_best_evaluation_and_how_long_ago_it_was(tmp_path: Path) -> None:
    assert _monitored(tmp_path).best is None
    best = _monitored(tmp_path, 0.0, 0.3, None, 0.3, math.nan, 0.2).best
    assert best is not None
    assert (best.value, best.epoch, best.since) == (0.3, 4, 2)
    lowest = _monitored(tmp_path, 3.0, 1.0, 2.0, rule="less").best
    assert lowest is not None
    assert (lowest.value, lowest.epoch, lowest.since) == (1.0, 2, 1)


def test_evaluations_are_read_up_to_where_the_run_goes_on(tmp_path: Path) -> None:
    _monitored(tmp_path, 0.1, 0.2, 0.3)
    later = Evaluations(tmp_path / "evaluations.json", writes=True, monitor="coco/AP")
    assert later.read(until=2)
    assert [epoch for epoch, _ in later.entries] == [1, 2]
    later.add(3, {"coco/AP": 0.5})
    assert json.loads(later.path.read_text()) == {
        "evaluations": [
            {"epoch": 1, "metrics": {"coco/AP": 0.1}},
            {"epoch": 2, "metrics": {"coco/AP": 0.2}},
            {"epoch": 3, "metrics": {"coco/AP": 0.5}},
        ]
    }
    later.path.write_text('{"evaluations": [{"epoch": "x"}]}')
    with pytest.raises(InputError, match=r"evaluations must be a list of epochs with their metrics, got .*\n.*without"):
        later.read(until=2)
    assert not Evaluations(tmp_path / "none.json").read(until=2)


@pytest.mark.parametrize(
    ("epoch", "due"), [(1, False), (2, True), (3, False), (7, True), (8, True), (9, True), (10, True)]
)
def test_an_evaluation_is_due_as_in_mmengine(epoch: int, due: bool) -> None:
    from mmengine.runner.utils import calc_dynamic_intervals

    loop = {"max_epochs": 10, "val_interval": 2, "val_begin": 2, "dynamic_intervals": [(8, 1)]}
    assert is_due(loop, epoch) is due
    milestones, intervals = calc_dynamic_intervals(2, [(8, 1)])
    interval = intervals[sum(start <= epoch + 1 for start in milestones) - 1]
    assert (epoch >= 2 and (epoch % interval == 0 or epoch == 10)) is due


def test_early_stopping_goes_into_the_config_once(tiny: Tiny, tmp_path: Path) -> None:
    config = load_config(tiny.pose)
    before = len(config.get("custom_hooks") or ())
    for patience in (5, 3):
        set_early_stopping(config, patience, evaluations_of(config, tmp_path))
        assert early_stopping_of(config) == patience
        assert len(config.custom_hooks) == before + 1
    set_early_stopping(config, 0, evaluations_of(config, tmp_path))
    assert (early_stopping_of(config), len(config.custom_hooks)) == (0, before)
    config.default_hooks.checkpoint.save_best = None
    with pytest.raises(RequestError, match=r"--early-stopping needs default_hooks.checkpoint.save_best"):
        set_early_stopping(config, 2, evaluations_of(config, tmp_path))


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_gets_the_curves(tiny: Tiny, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    work_dir = tmp_path / "run"
    options = ("default_hooks.logger.interval=1",)
    train(
        TrainRequest(
            stage="pose",
            config=tiny.pose,
            work_dir=work_dir,
            epochs=1,
            device="cpu",
            trackers=("tensorboard",),
            cfg_options=options,
        )
    )
    (folder,) = {path.parent for path in work_dir.rglob("events.out.tfevents*")}
    events = EventAccumulator(str(folder))
    events.Reload()
    assert {"loss", "lr", "coco/AP"} <= set(events.Tags()["scalars"])
    assert all(math.isfinite(event.value) for event in events.Scalars("loss"))


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_gets_the_config_and_no_source_files(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    Path("private.py").write_text("SECRET = 1\n")
    work_dir = tmp_path / "run"
    train(TrainRequest(stage="pose", config=tiny.pose, work_dir=work_dir, epochs=1, device="cpu", trackers=("wandb",)))
    (record,) = work_dir.rglob("*.wandb")
    content = record.read_bytes()
    assert b"train_dataloader" in content
    assert b"private.py" not in content


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="tensorboard is installed")
def test_tensorboard_that_is_missing_is_named_before_the_run(tiny: Tiny, tmp_path: Path) -> None:
    request = TrainRequest(
        stage="pose", config=tiny.pose, work_dir=tmp_path / "run", device="cpu", trackers=("tensorboard",)
    )
    with pytest.raises(MissingExtraError, match=r"--tracker tensorboard needs the 'train' extra \(tensorboard is not"):
        train(request)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("tracker", ["wandb", "mlflow"])
def test_a_tracker_that_is_missing_is_named_with_its_command(tracker: str) -> None:
    if find_spec(tracker) is not None:
        pytest.skip(f"{tracker} is installed")
    message = (
        f"--tracker {tracker} requires the package {tracker}, which is not installed\n  fix: install it with: uv pip"
    )
    with pytest.raises(RequestError, match=re.escape(message)):
        check_trackers([tracker])


def test_an_unknown_tracker_is_refused() -> None:
    with pytest.raises(RequestError, match="--tracker must be one of tensorboard, wandb, mlflow, got 'comet'"):
        check_trackers(["comet"])


def _backends(config: Any) -> list[str]:
    return [backend["type"] for backend in config.visualizer.vis_backends]


def test_trackers_are_added_to_the_backends_that_are_there(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from posetools.training import trackers

    # The packages are not needed to write the config.
    monkeypatch.setattr(trackers, "check_trackers", lambda _: None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = load_config(tiny.pose)
    for _ in range(2):
        add_trackers(config, ("wandb", "mlflow"), tmp_path / "run7")
        assert _backends(config) == ["LocalVisBackend", "WandbVisBackend", "MLflowVisBackend"]
    assert config.visualizer.vis_backends[1]["init_kwargs"] == {"project": "posetools", "name": "run7"}
    assert "tracking_uri" not in config.visualizer.vis_backends[2]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    add_trackers(config, ("mlflow",), tmp_path / "run7")
    assert config.visualizer.vis_backends[2]["tracking_uri"] == "https://mlflow.example"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example")
    with pytest.raises(RequestError, match="must not contain a password") as caught:
        add_trackers(config, ("mlflow",), tmp_path / "run7")
    assert "secret" not in str(caught.value)
