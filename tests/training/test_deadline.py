"""A config with ``minutes``: the run ends on time with a whole schedule."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posetools.mm.configs import load_config, set_epochs
from posetools.training.hooks import TrainStatus
from posetools.training.request import TrainRequest
from posetools.training.train import TrainResult, train
from tests.tiny_runs import Recorder, Tiny

pytestmark = pytest.mark.train


class Slow(Recorder):
    """Makes every iteration take longer, as other load on the machine does; each epoch by the next of some seconds."""

    def __init__(self, *seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def update(self, status: TrainStatus) -> None:
        super().update(status)
        if status.phase == "train":
            time.sleep(self._seconds[status.epoch % len(self._seconds)])


def _rates(work_dir: Path) -> list[float]:
    (log,) = work_dir.glob("*/vis_data/scalars.json")
    return [row["lr"] for row in map(json.loads, log.read_text().splitlines()) if "lr" in row]


def _train(
    tiny: Tiny, work_dir: Path, minutes: float, told: Recorder, more: tuple[str, ...] = (), **changes: Any
) -> TrainResult:
    options = (f"minutes={minutes}", "train_cfg.val_interval=1", "default_hooks.logger.interval=1", *more)
    request = TrainRequest(
        stage="det", config=tiny.det, work_dir=work_dir, cfg_options=options, device="cpu", **changes
    )
    return train(request, told)


def test_a_machine_that_became_slower_trains_fewer_epochs_and_the_rate_still_decays(tiny: Tiny, tmp_path: Path) -> None:
    told = Slow(0.5)
    result = _train(tiny, tmp_path / "run", 0.4, told, epochs=60)
    assert "slower than planned" in told.text
    assert 1 < result.epochs < 60
    rates = _rates(tmp_path / "run")
    assert rates[-1] < 0.5 * max(rates)
    config = load_config(next((tmp_path / "run").glob("*.py")))
    assert config.train_cfg.max_epochs == result.epochs
    resumed = Recorder()
    train(TrainRequest(stage="det", work_dir=tmp_path / "run", resume=True, device="cpu"), resumed)
    assert "nothing to do" in resumed.text
    more = result.epochs + 2
    longer = train(
        TrainRequest(stage="det", work_dir=tmp_path / "run", resume=True, device="cpu", epochs=more), resumed
    )
    assert longer.epochs == more


def test_a_run_that_has_all_its_iterations_does_not_fill_the_minutes(tiny: Tiny, tmp_path: Path) -> None:
    told = Recorder()
    result = _train(tiny, tmp_path / "run", 10, told, epochs=4)
    assert "than planned" not in told.text
    assert result.epochs == 4


class Clock(Recorder):
    """A clock by which each iteration takes the next of some seconds, by epoch, and an evaluation half a second."""

    def __init__(self, *seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self.now = 0.0

    def update(self, status: TrainStatus) -> None:
        super().update(status)
        self.now += self._seconds[status.epoch % len(self._seconds)] if status.phase == "train" else 0.5

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def every_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report every iteration, so that a Clock does not depend on the real time."""
    monkeypatch.setattr("posetools.training.hooks._LOSS_PAUSE", 0.0)


@pytest.mark.usefixtures("every_iteration")
def test_a_machine_that_became_faster_trains_more_epochs(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Clock(0.1)
    monkeypatch.setattr("posetools.training.deadline.time", told)
    limited = ("enough_iterations=1000",)
    result = _train(tiny, tmp_path / "run", 0.3, told, limited, epochs=4)
    assert "faster than planned" in told.text
    assert result.epochs > 4


@pytest.mark.usefixtures("every_iteration")
def test_load_that_comes_and_goes_leaves_the_schedule_its_shape(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Clock(0.9, 0.1, 0.6, 0.1)
    monkeypatch.setattr("posetools.training.deadline.time", told)
    limited = ("enough_iterations=1000",)
    result = _train(tiny, tmp_path / "run", 0.6, told, limited, epochs=20)
    assert told.text.count("than planned") > 2, told.text
    rates = _rates(tmp_path / "run")
    peak = rates.index(max(rates))
    # In the last part it only falls, to a twentieth of its peak; a cosine past its end would rise again.
    falling = rates[max(peak, 3 * len(rates) // 4) :]
    assert all(after <= before for before, after in pairwise(falling)), rates
    assert rates[-1] < 0.5 * max(rates), rates
    assert result.epochs > 4


@settings(max_examples=200, deadline=None)
@given(planned=st.integers(2, 400), epochs=st.lists(st.integers(2, 400), min_size=1, max_size=4))
def test_a_cosine_to_the_end_still_ends_there_at_any_length(planned: int, epochs: list[int]) -> None:
    first = planned // 2
    cosine = {"type": "CosineAnnealingLR", "by_epoch": True, "begin": first, "end": planned, "T_max": planned - first}
    from mmengine import Config

    config = Config({"train_cfg": {"max_epochs": planned}, "param_scheduler": [cosine], "default_hooks": {}})
    for number in epochs:
        set_epochs(config, number)
        (found,) = config.param_scheduler
        assert found.end == number and found.begin + found.T_max == found.end
