"""A short training from random weights: half the input size first, then all of it, and still on time."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from posetools.core.categories import Categories
from posetools.core.skeleton import load_skeleton
from posetools.mm.configs import load_config, set_epochs
from posetools.mm.stack import RunHook, prepare, quiet
from posetools.recipes.emit import emit_pair
from posetools.recipes.machine import Machine
from posetools.recipes.options import RecipeOptions
from posetools.recipes.recipe import Measurement
from posetools.training.dry_run import dry_run
from posetools.training.hooks import TrainStatus
from posetools.training.recipe import emit_fitting
from posetools.training.request import TrainRequest
from posetools.training.train import TrainResult, execute, plan_run
from tests.tiny_runs import Recorder, Tiny

pytestmark = pytest.mark.train
EARLY, FULL = 96, 192
RANDOM: dict[str, Any] = {"input_size": FULL, "batch_size": 2, "load_from": "none", "backbone": "none", "repeat": 1}
# By which the recipe plans: an epoch is two iterations.
PLANNED = Measurement(seconds=1.0, early=0.5, seconds_batch=2, evaluation=0.5)


class Watch(RunHook):
    """A clock by which an iteration takes some seconds at each size, and an evaluation half a second."""

    def __init__(self, early: float = 0.5, full: float = 1.0, *, slow_from: float = 1e9, slower: float = 1.0) -> None:
        self.now = 0.0
        self.sides: list[int] = []
        self._seconds = {EARLY: early, FULL: full}
        self._slow_from, self._slower = slow_from, slower

    def monotonic(self) -> float:
        return self.now

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:  # noqa: ARG002
        height, width = data_batch["inputs"][0].shape[-2:]
        assert height == width
        self.sides.append(width)
        self._pass(self._seconds[width])

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:  # noqa: ARG002
        self._pass(0.5)

    def _pass(self, seconds: float) -> None:
        self.now += seconds * (self._slower if self.now > self._slow_from else 1.0)

    @property
    def runs(self) -> list[tuple[int, int]]:
        return [(side, len(list(same))) for side, same in groupby(self.sides)]


class Timed(Recorder):
    """Also records when it was told."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch
        self.times: list[float] = []

    def update(self, status: TrainStatus) -> None:
        super().update(status)
        self.times.append(self.watch.now)


@pytest.fixture(scope="module")
def config(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = {"workers": 0, "minutes": 0.8, "det": {"size": "tiny", **RANDOM}, "pose": {"size": "t", "epochs": 1}}
    pair = emit_pair(
        tiny.data,
        load_skeleton("car8"),
        RecipeOptions.model_validate(options),
        tmp_path_factory.mktemp("early"),
        machine=Machine(2),
        measured={"det": PLANNED},
    )
    return pair.det


def _train(config: Path, work_dir: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> tuple[TrainResult, Timed]:
    for module in ("deadline", "hooks"):
        monkeypatch.setattr(f"posetools.training.{module}.time", watch)
    options = ("default_hooks.logger.interval=1",)
    request = TrainRequest(stage="det", config=config, work_dir=work_dir, cfg_options=options, device="cpu")
    told = Timed(watch)
    prepare("posetools train")
    return execute(plan_run(request, told), told, hooks=(watch,)), told


def test_stock_mmdet_trains_at_half_the_size_and_then_at_the_full_one(config: Path, tmp_path: Path) -> None:
    prepare("posetools train")
    from mmengine.runner import Runner

    loaded = load_config(config)
    assert (loaded.early_size, loaded.input_size) == ((EARLY, EARLY), (FULL, FULL))
    set_epochs(loaded, 3)
    loaded.work_dir = str(tmp_path / "stock")
    watch = Watch()
    with quiet():
        runner = Runner.from_cfg(loaded)
        runner.register_hook(watch)
        runner.train()
    # Two of the epochs, and the last third of them, of two iterations each.
    assert watch.runs == [(EARLY, 4), (FULL, 2)]


def test_the_plan_is_kept_and_the_time_left_is_right_at_both_sizes(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, watch = load_config(config), Watch()
    result, told = _train(config, tmp_path / "run", watch, monkeypatch)
    epochs, full = loaded.max_epochs, loaded.stage2_num_epochs
    assert "than planned" not in told.text
    assert watch.runs == [(EARLY, 2 * (epochs - full)), (FULL, 2 * full)]
    assert result.epochs == epochs
    limit = 60 * loaded.minutes
    assert 0.85 * limit < watch.now <= 1.05 * limit
    for status, at in zip(told.statuses, told.times, strict=True):
        # From the first evaluations on, which the rate includes.
        if status.phase == "train" and status.epoch > loaded.val_interval and status.seconds_left:
            assert status.seconds_left == pytest.approx(watch.now - at, rel=0.15, abs=1.0), status


@pytest.mark.parametrize(
    "speeds",
    [
        # Iterations at the full size take longer than planned, which is known only after the first of them.
        {"full": 1.4},
        # The machine is slower from the start, and becomes slower at the full size.
        {"slow_from": -1.0, "slower": 1.3},
        {"slow_from": 14.0, "slower": 2.0},
    ],
)
def test_a_slower_machine_ends_on_time_at_the_full_size(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speeds: dict[str, float]
) -> None:
    loaded, watch = load_config(config), Watch(**speeds)
    result, told = _train(config, tmp_path / "run", watch, monkeypatch)
    assert "slower than planned" in told.text
    assert 1 < result.epochs < loaded.max_epochs
    limit = 60 * loaded.minutes
    assert 0.8 * limit < watch.now <= 1.05 * limit, watch.now / limit
    (first, _), (last, full) = watch.runs
    assert (first, last) == (EARLY, FULL)
    if speeds.get("slow_from", 0) < 0:
        # Known from the first epoch: the full size still has a third.
        assert full / len(watch.sides) == pytest.approx(1 / 3, abs=0.08)
    (log,) = (tmp_path / "run").glob("*/vis_data/scalars.json")
    rates = [row["lr"] for row in map(json.loads, log.read_text().splitlines()) if "lr" in row]
    assert rates[-1] < 0.5 * max(rates)


def test_minutes_are_chosen_from_both_sizes(tiny: Tiny, tmp_path: Path) -> None:
    options = {"workers": 0, "minutes": 0.8, "det": {"size": "tiny", **RANDOM}, "pose": {"size": "t", "epochs": 1}}
    told = Recorder()
    categories = Categories.of(load_skeleton("car8"))
    pair = emit_fitting(tiny.data, categories, RecipeOptions.model_validate(options), tmp_path, listener=told)
    (measured,) = (line for line in told.lines if line.startswith("det: "))
    full, early = (
        float(number) for number in re.findall(r"([\d.]+) s (?:per iteration|at half the input size)", measured)
    )
    found = pair.recipe.det
    # Less than 0.4 is load that has changed.
    assert found.early_cost == pytest.approx(max(0.4, early / full), rel=0.1)
    # A busy machine may be too slow for two sizes.
    if found.early_size:
        assert load_config(pair.det).early_cost == pytest.approx(found.early_cost, abs=0.01)
        assert "(measured)" in found.because["early_size"].reason


def test_a_dry_run_times_both_sizes_and_estimates_the_whole_run(config: Path, tmp_path: Path) -> None:
    request = TrainRequest(stage="det", config=config, work_dir=tmp_path / "run", device="cpu")
    options = ("train_dataloader.num_workers=1", "train_dataloader.persistent_workers=True")
    estimate = dry_run(replace(request, cfg_options=options))
    seen, loaded = estimate.measured, load_config(config)
    assert seen.early is not None
    assert len(seen.early.iterations) == len(seen.iterations) == 2
    assert estimate.schedule.early == loaded.max_epochs - loaded.stage2_num_epochs
    by_hand = 2 * (
        estimate.schedule.early * seen.early.seconds_per_iteration
        + loaded.stage2_num_epochs * seen.seconds_per_iteration
    )
    assert estimate.training_seconds == pytest.approx(by_hand)
    assert seen.start_up > seen.early.train - seen.early.started
