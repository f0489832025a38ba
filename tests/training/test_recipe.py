"""Measurements on the machine before a recipe is chosen, and a frozen backbone in a real training."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from posetools.core.categories import Categories
from posetools.core.skeleton import load_skeleton
from posetools.core.stages import Stage
from posetools.errors import RunError
from posetools.mm import device as mm_machine
from posetools.mm.device import this_machine
from posetools.recipes.emit import emit_pair
from posetools.recipes.machine import GIB
from posetools.recipes.options import RecipeOptions
from posetools.training.recipe import _is_out_of_memory, emit_fitting, largest_batch, note, trial
from posetools.training.request import TrainRequest
from posetools.training.train import train
from tests.tiny_runs import Recorder, Run, Tiny

pytestmark = pytest.mark.train
CAR8 = load_skeleton("car8")
SMALL: dict[str, Any] = {"input_size": 64, "batch_size": 2, "backbone": "none"}


def test_torch_is_asked_only_where_there_is_a_sign_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(mm_machine, "has_gpu", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("asked"))
    assert this_machine().gpus == ()
    # A driver is there, but torch cannot use it: training would run on the CPU.
    monkeypatch.setattr(mm_machine, "has_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert this_machine().gpus == ()


@pytest.mark.parametrize(
    ("limit", "smallest", "largest", "batch", "tried"),
    [
        (100, 2, 128, 8, [2, 4, 8, 16]),
        (1e9, 2, 20, 20, [2, 4, 8, 16, 20]),
        (15, 2, 128, None, [2]),
        (1e9, 8, 3, 3, [3]),
        (80, 2, 128, 8, [2, 4, 8, 16]),
    ],
)
def test_the_batch_is_doubled_until_it_does_not_fit(
    limit: float, smallest: int, largest: int, batch: int | None, tried: list[int]
) -> None:
    found, peaks = largest_batch(lambda size: 10 * size, limit, smallest=smallest, largest=largest)
    assert found == batch
    assert list(peaks) == tried


def test_out_of_memory_ends_the_search_and_the_note_says_what_was_tried() -> None:
    found, peaks = largest_batch(lambda size: None if size > 8 else size * GIB, 24 * GIB, smallest=4, largest=64)
    assert found == 8
    assert note(peaks, 24 * GIB) == "measured (4: 4.0 GiB, 8: 8.0 GiB, 16: out of memory); limit 80 % of 24 GiB"


def test_torchs_error_for_a_full_gpu_is_found_among_the_causes() -> None:
    import torch

    error = RunError("training failed")
    error.__cause__ = RuntimeError("something else")
    assert not _is_out_of_memory(error)
    error.__cause__.__cause__ = torch.cuda.OutOfMemoryError("CUDA out of memory")
    assert _is_out_of_memory(error)


def test_trials_on_the_cpu_train_with_each_batch_up_to_a_limit(tiny: Tiny) -> None:
    # Without a GPU the trials are real, and a made-up number of bytes per sample replaces the memory.
    needed: dict[int, int] = {}

    def peak(batch: int) -> int:
        seen = trial("pose", tiny.pose, batch)
        assert seen.gpu_memory is None
        assert seen.memory > 0
        needed[batch] = 100 * batch
        return needed[batch]

    found, peaks = largest_batch(peak, 250, smallest=1, largest=8)
    assert found == 2
    assert peaks == needed == {1: 100, 2: 200, 4: 400}


def test_minutes_are_divided_by_the_time_that_iterations_take(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1000.25, 0.0, 0.0))
    told = Recorder()
    options = RecipeOptions.model_validate(
        {"workers": 0, "minutes": 1, "det": {"size": "tiny", "epochs": 3, **SMALL}, "pose": {"size": "t", **SMALL}}
    )
    pair = emit_fitting(tiny.data, Categories.of(CAR8), options, tmp_path, listener=told)
    assert pair.recipe.det.epochs == 3
    busy, timing, measured = told.lines
    assert busy.startswith("this machine is busy: a load of 1000.2 on ")
    assert timing == "timing pose: a few iterations, an evaluation, a checkpoint"
    assert re.fullmatch(r"pose: [\d.]+ s per iteration, [\d.]+ s per evaluation with checkpoint", measured)
    reason = pair.recipe.pose.because["epochs"].reason
    assert "(measured)" in reason or "each seen 600 times" in reason
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rtmdet_tiny_car8.py", "rtmpose-t_car8.py"]


@pytest.mark.parametrize("stage", ["det", "pose"])
def test_a_frozen_backbone_is_the_same_bit_for_bit_after_training(
    stage: Stage, tiny: Tiny, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    import torch

    from posetools.mm.checkpoint import load_checkpoint

    start: Run = request.getfixturevalue(f"{stage}_run")
    frozen = {**SMALL, "load_from": str(start.checkpoint), "freeze": "backbone", "epochs": 1, "repeat": 1}
    frozen["ema"] = False
    options = RecipeOptions.model_validate(
        {
            "workers": 0,
            "det": {"size": "tiny", **SMALL},
            "pose": {"size": "t", **SMALL},
            stage: {"size": "tiny" if stage == "det" else "t", **frozen},
        }
    )
    pair = emit_pair(tiny.data, CAR8, options, tmp_path / "configs")
    config = pair.det if stage == "det" else pair.pose
    result = train(TrainRequest(stage=stage, config=config, work_dir=tmp_path / "run", device="cpu"), None)
    before, after = (load_checkpoint(path)["state_dict"] for path in (start.checkpoint, result.last))
    backbone = [name for name in after if name.startswith("backbone.")]
    statistics = [name for name in backbone if "running_" in name or "num_batches_tracked" in name]
    rest = [name for name in after if not name.startswith("backbone.") and after[name].is_floating_point()]
    assert len(backbone) > 100
    assert len(statistics) > 50
    assert all(torch.equal(before[name], after[name]) for name in backbone)
    changed = [name for name in rest if not torch.equal(before[name], after[name])]
    assert len(changed) > len(rest) / 2
