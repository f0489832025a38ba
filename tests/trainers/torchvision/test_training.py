"""A run is continued to the same weights, ends on time, and keeps the best checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from posetools.core.folder import categories_of
from posetools.errors import StoppedError
from posetools.pairs.trained import TrainedBy, record_trainer
from posetools.progress import Progress, silent
from posetools.trainers.torchvision.checkpoint import Checkpoint
from posetools.trainers.torchvision.recipe import TrainingRecipe
from posetools.trainers.torchvision.schedule import Clock, is_due, learning_rate
from posetools.trainers.torchvision.trainer import TRAINER
from posetools.trainers.trainer import RecipeRequest
from posetools.training.hooks import TrainListener, TrainStatus
from posetools.training.request import TrainRequest
from posetools.training.train import TrainResult


class Listener:
    """Records lines and progress; presses Ctrl-C after the iteration ``stop``."""

    def __init__(self, stop: int = 0) -> None:
        self.stop, self.lines, self.statuses = stop, list[str](), list[TrainStatus]()

    def step(self, title: str, command: str) -> None:
        self.lines.append(f"{title}{command}")

    def say(self, line: str) -> None:
        self.lines.append(line)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        yield silent

    @contextmanager
    def training(self) -> Iterator[TrainListener]:
        yield self

    def update(self, status: TrainStatus) -> None:
        self.statuses.append(status)
        if status.phase == "train" and status.done == self.stop:
            self.stop = 0
            raise KeyboardInterrupt


def recipe(kinds: Path, out: str, **options: object) -> Path:
    """Write a recipe of tiny inputs; return its folder."""
    stated = {"input_size": "64", "batch_size": "3", **options}
    request = RecipeRequest(
        data=kinds / "data", categories=categories_of(kinds / "data"), out=kinds / out, options=stated
    )
    TRAINER.recipe(request, Listener())
    return kinds / out


def train(kinds: Path, configs: Path, name: str, listener: Listener, *, resume: bool = False) -> TrainResult:
    request = TrainRequest(
        stage="det", data=kinds / "data", configs=configs, work_dir=kinds / name, device="cpu", resume=resume
    )
    TRAINER.check(request)
    record_trainer(kinds / name, TrainedBy("torchvision", kinds / "data"), request.categories)
    (result,) = TRAINER.train(request, listener).models.values()
    return result


def test_an_interrupted_run_continues_to_the_same_weights(kinds: Path) -> None:
    import torch

    configs = recipe(kinds, "three", epochs=3)
    whole = train(kinds, configs, "whole", Listener())
    assert (whole.epochs, whole.trained, whole.iterations) == (3, 3, 6)
    with pytest.raises(StoppedError, match="stopped in epoch 1 of 3; there is no checkpoint yet"):
        train(kinds, configs, "parts", Listener(stop=1))
    # In the second epoch, of two iterations each.
    with pytest.raises(StoppedError) as stopped:
        train(kinds, configs, "parts", Listener(stop=3), resume=True)
    command = f"posetools train --work-dir {kinds / 'parts'} --resume"
    assert stopped.value.way == f"{command} continues from there"
    listener = Listener()
    parts = train(kinds, configs, "parts", listener, resume=True)
    assert "resuming: epoch 1 of 3 is done" in listener.lines
    assert parts.trained == 2
    ours, theirs = (Checkpoint.load(one.last).weights for one in (whole, parts))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(weights, theirs[name]) for name, weights in ours.items())
    entries = [json.loads((kinds / name / "evaluations.json").read_text("utf-8")) for name in ("whole", "parts")]
    assert entries[0] == entries[1]
    assert [entry["epoch"] for entry in entries[0]["evaluations"]] == [1, 2, 3]
    # There is nothing left to do.
    again = train(kinds, configs, "parts", Listener(), resume=True)
    assert (again.epochs, again.trained) == (3, 0)


def test_a_run_ends_when_its_minutes_are_over(kinds: Path) -> None:
    listener = Listener()
    # Less than an epoch takes.
    result = train(kinds, recipe(kinds, "limited", epochs=5000, minutes=0.001), "limited-run", listener)
    assert (result.epochs, result.trained) == (1, 1)
    assert "0.001 minutes are enough for 1 epoch" in listener.lines
    last = Checkpoint.load(result.last)
    assert last.epoch == last.epochs == 1
    # It is evaluated all the same.
    assert result.best is not None
    assert listener.statuses[-1].phase == "scored"


def test_the_epochs_fit_into_the_minutes_with_their_evaluations() -> None:
    given = {"data": Path("data"), "input_size": (64, 64), "batch_size": 1, "lr": 1.0, "warmup_iters": 0}
    given |= {"pretrained": "none", "trainable_layers": 6, "flip": False, "evaluations": 10, "seed": 0}
    planned = TrainingRecipe.model_validate({**given, "epochs": 200, "minutes": 10})
    clock = Clock(planned, spent=0)
    clock.trained(9.9)
    clock.evaluated(19.5)
    # After one epoch, 590 s are left for epochs of 9.9 s and nine to ten evaluations of 19.5 s: 40 epochs.
    fitted = clock.fitted(1, 200)
    evaluated = [epoch for epoch in range(1, fitted + 1) if is_due(epoch, fitted, 10)]
    assert len(evaluated) == 10
    assert evaluated[-1] == fitted
    taken = (fitted - 1) * 9.9 + sum(epoch > 1 for epoch in evaluated) * 19.5
    assert taken <= 600 < taken + 9.9 + 19.5
    # Faster again: more epochs until half of them are done, then no more.
    for _ in range(3):
        clock.trained(1.0)
    assert clock.fitted(10, 40) == 200
    assert clock.fitted(30, 40) == 40
    assert Clock(planned, spent=601).seconds > 600
    unlimited = Clock(planned.model_copy(update={"minutes": None}), spent=9999)
    assert unlimited.fitted(1, 200) == 200
    rates = [learning_rate(planned, iteration, 100) for iteration in (0, 50, 99)]
    assert rates == pytest.approx([1.0, 0.5, 0.0], abs=1e-3)


def test_the_best_checkpoint_is_that_of_the_best_evaluation(kinds: Path) -> None:
    listener = Listener()
    result = train(kinds, recipe(kinds, "best", epochs=2), "best-run", listener)
    assert result.best is not None
    best = listener.statuses[-1].best
    assert best is not None
    assert Checkpoint.load(result.best).epoch == best.epoch
    assert Checkpoint.load(result.best).optimizer is None
