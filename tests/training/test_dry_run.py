"""Dry runs: what they measure and estimate, that they leave no files, and what they refuse."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from posetools.core.stages import Stage
from posetools.errors import RequestError, RunError
from posetools.mm.configs import load_config, set_epochs
from posetools.training.dry_run import Limits, dry_run
from posetools.training.estimate import DryRun, Schedule, StageEstimate, Timing, schedule_of, size_text, summary
from posetools.training.memory import MemoryWatch, memory_of_machine
from posetools.training.request import TrainRequest
from tests.tiny_runs import Recorder, Run, Tiny

pytestmark = pytest.mark.train

# Three warm-up and four counted iterations of 0.5 s; each waits 0.05 s for its batch, the first 0.1 s longer; half of
# an evaluation of 4 s; and checkpoints that take 0.25 s.
MEASURED = Timing(
    started=94.0,
    train=100.0,
    waits=[0.15, *6 * [0.05]],
    iterations=[100.5, 101.0, 101.5, 102.0, 102.5, 103.0, 103.5],
    epoch=103.5,
    val=103.75,
    batches=[104.25],
    scored=105.75,
    ended=106.0,
    epoch_length=10,
    val_length=2,
    memory=2_000_000_000,
    checkpoint=40_000_000,
    best=20_000_000,
)
DET = StageEstimate(
    stage="det",
    config="rtmdet.py",
    device="cpu",
    batch_size=8,
    work_dir=Path("work_dirs/cars/det"),
    schedule=Schedule(epochs=30, evaluations=3, saves=3, kept=2),
    measured=MEASURED,
)
POSE = replace(DET, stage="pose", measured=replace(MEASURED, scored=108.75, ended=109.0))


def _timing() -> Timing:
    """Five iterations of 2, 2, 1, 1, 1 seconds from second 10 on; each waits a tenth for its batch."""
    return Timing(
        started=4.0,
        train=10.0,
        waits=[0.2, 0.2, 0.1, 0.1, 0.1],
        iterations=[12.0, 14.0, 15.0, 16.0, 17.0],
        epoch=17.0,
        val=17.5,
        batches=[19.5, 20.5, 21.5],
        scored=22.1,
        ended=22.4,
        epoch_length=50,
        val_length=6,
    )


def test_the_second_half_of_the_iterations_counts() -> None:
    timing = _timing()
    assert (timing.warm_up, timing.counted) == (2, 3)
    assert timing.seconds_per_iteration == pytest.approx(1.0)
    assert timing.waiting == pytest.approx(0.1)
    # The first batch of each epoch takes a tenth longer than the counted ones.
    assert timing.epoch_start == pytest.approx(0.1)
    # Six seconds until the first batch, and two extra seconds in the first two iterations.
    assert timing.start_up == pytest.approx(8.0 - 0.1)


def test_an_evaluation_of_a_part_is_scaled_to_all_images() -> None:
    # The first batch as it was, five further ones of a second, and twice the metrics of half the images.
    assert _timing().seconds_per_evaluation == pytest.approx(2.0 + 5 * 1.0 + 2 * 0.6)
    # Half a second after the epoch, which includes formatting the config, and less after the evaluation.
    assert _timing().seconds_per_save == pytest.approx(0.3)


def test_one_iteration_or_one_batch_is_all_there_is() -> None:
    timing = replace(_timing(), waits=[0.2], iterations=[12.0], batches=[19.5])
    assert (timing.warm_up, timing.counted, timing.seconds_per_iteration) == (0, 1, 2.0)
    assert timing.seconds_per_evaluation == pytest.approx(6 * 2.0 + 6 * 2.6)


def test_the_parts_add_up() -> None:
    assert DET.iterations == 300
    assert DET.training_seconds == 150.0
    assert DET.evaluation_seconds == 12.0
    assert DET.seconds == pytest.approx(6.0 + 30 * 0.1 + 150.0 + 12.0 + 3 * 0.25)
    # Two kept, one more until the oldest is removed, and the best.
    assert DET.disk == 3 * 40_000_000 + 20_000_000
    both = DryRun(models={"det": DET, "pose": POSE}, memory=10**12, gpu_memory=None, disk=10**12)
    assert both.joint_seconds == 4.0 + 2 * 10.0
    assert both.seconds == DET.seconds + POSE.seconds + 24.0
    assert replace(both, models={"det": DET}).joint_seconds == 0.0
    assert list(both.remarks()) == []


def test_gpus_share_the_work_and_cpu_processes_the_cores() -> None:
    on_gpus = replace(DET, device="cuda:0", processes=4)
    assert (on_gpus.epoch_length, on_gpus.iterations) == (3, 90)
    assert on_gpus.evaluation_seconds == 3.0
    assert on_gpus.memory == 4 * MEASURED.memory
    on_cpu = replace(DET, processes=2)
    assert (on_cpu.epoch_length, on_cpu.evaluation_seconds) == (10, 12.0)
    remarks = DryRun(models={"det": on_gpus, "pose": on_cpu}, memory=10**12, gpu_memory=None, disk=10**12).remarks()
    for remark, how in zip(remarks, ("4 processes: measured in one and divided by 4", "not divided, as"), strict=True):
        assert how in remark


def test_what_is_short_is_said() -> None:
    hungry = replace(MEASURED, waits=7 * [0.3], gpu_memory=23_000_000_000)
    short = DryRun(
        models={"det": replace(DET, measured=hungry)}, memory=2_100_000_000, gpu_memory=24_000_000_000, disk=100_000_000
    )
    memory, gpu, waiting, disk = short.remarks()
    assert memory.startswith("det: memory is short: 2.0 GB of 2.1 GB; use a smaller batch or fewer loader")
    assert gpu.startswith("det: GPU memory is short: 23.0 GB of 24.0 GB; use a smaller batch or --amp")
    assert waiting.startswith("det: the model waits for data 60% of the time")
    assert disk.startswith("disk: 140 MB needed, 100 MB free: keep fewer")


@pytest.mark.parametrize("epochs", [1, 2, 7, 30])
@pytest.mark.parametrize("start", [0, 1])
def test_evaluations_and_checkpoints_are_counted_as_mmengine_does(tiny: Tiny, epochs: int, start: int) -> None:
    from mmengine.hooks import CheckpointHook
    from mmengine.runner.loops import EpochBasedTrainLoop

    config = load_config(tiny.det)
    set_epochs(config, epochs)
    config.train_cfg.update(val_interval=4, dynamic_intervals=[(max(1, epochs - 3), 1)], val_begin=2)
    config.default_hooks.checkpoint.update(interval=4, max_keep_ckpts=3)

    class Runner:
        """The attributes of a runner that the loop and the hook use to count."""

        epoch, max_epochs, val_loop = start, epochs, None

    runner: Any = Runner()
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    loop._epoch, loop._max_epochs, loop.val_begin = start, epochs, config.train_cfg.val_begin
    loop.dynamic_milestones, loop.dynamic_intervals = [0, max(1, epochs - 3)], [4, 1]
    hook = CheckpointHook(interval=4, save_last=True)
    evaluated = saved = 0
    while loop.epoch < epochs:
        runner.epoch = loop.epoch
        saved += hook.every_n_epochs(runner, 4, 0) or hook.is_last_train_epoch(runner)
        loop._epoch += 1
        loop._decide_current_val_interval()
        due = loop.epoch % loop.val_interval == 0 or loop.epoch == epochs
        evaluated += loop.epoch >= loop.val_begin and due
    counted = schedule_of(config, start)
    assert (counted.epochs, counted.evaluations, counted.saves) == (max(0, epochs - start), evaluated, saved)
    assert counted.kept == min(saved, 3)


def test_a_config_that_counts_iterations_is_refused(tiny: Tiny) -> None:
    config = load_config(tiny.det)
    config.train_cfg = {"type": "IterBasedTrainLoop", "max_iters": 100}
    with pytest.raises(RequestError, match=r"max_epochs and checkpoints by epoch must be set for --dry-run"):
        schedule_of(config)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder in which this test's temporary folders are made; other tests have their own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("stage", ["det", "pose"])
def test_a_dry_run_measures_the_real_thing_and_leaves_nothing(
    tiny: Tiny, tmp_path: Path, temporary: Path, stage: Stage
) -> None:
    told = Recorder()
    work_dir = tmp_path / "run"
    request = TrainRequest(stage=stage, config=tiny.config(stage), work_dir=work_dir, device="cpu", epochs=20)
    estimate = dry_run(request, told)
    assert not work_dir.exists()
    assert not list(temporary.glob("posetools-*"))
    assert told.text.splitlines()[-1].startswith(f"trying {stage} on cpu")
    seen = estimate.measured
    config = load_config(tiny.config(stage))
    batch = config.train_dataloader.batch_size
    assert (estimate.config, estimate.batch_size, estimate.work_dir) == (tiny.config(stage).name, batch, work_dir)
    # Four images in batches of two; all of the tiny val is evaluated.
    assert seen.counted >= 1
    assert seen.counted + seen.warm_up == seen.epoch_length
    assert (seen.epoch_length, seen.evaluated) == (2 if stage == "det" else seen.epoch_length, 1.0)
    assert estimate.schedule.epochs == 20
    assert 0 < seen.seconds_per_iteration < 60
    assert 0 <= seen.waiting < 1
    # A network and torch take some hundred megabytes; only the best checkpoint has no optimizer.
    assert 100e6 < seen.memory < memory_of_machine()
    assert seen.checkpoint > seen.best > 1e6
    assert seen.gpu_memory is None
    assert estimate.seconds > 20 * seen.epoch_length * seen.seconds_per_iteration
    found = summary({"det": estimate})
    assert found.disk == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)


def test_two_iterations_are_enough_with_loaders_too(tiny: Tiny, tmp_path: Path) -> None:
    options = ("train_dataloader.num_workers=1", "train_dataloader.persistent_workers=False")
    request = TrainRequest(stage="pose", config=tiny.pose, work_dir=tmp_path / "run", device="cpu", cfg_options=options)
    seen = dry_run(request, limits=Limits(fewest=2, most=2, batches=1)).measured
    assert (seen.warm_up, seen.counted) == (1, 1)


def test_no_crops_are_kept(tiny: Tiny, tmp_path: Path) -> None:
    told, work_dir = Recorder(), tmp_path / "run"
    request = TrainRequest(stage="pose", config=tiny.pose, work_dir=work_dir, device="cpu", cache="crops")
    dry_run(request, told, Limits(most=2, batches=1))
    assert "without --cache" in told.text
    assert not work_dir.exists()


def test_what_is_left_of_a_resumed_run_is_estimated(pose_run: Run) -> None:
    names = sorted(path.name for path in pose_run.work_dir.iterdir())
    request = TrainRequest(stage="pose", work_dir=pose_run.work_dir, resume=True, epochs=6, device="cpu")
    estimate = dry_run(request, limits=Limits(most=2, batches=1))
    assert estimate.schedule.epochs == 4
    assert sorted(path.name for path in pose_run.work_dir.iterdir()) == names
    with pytest.raises(RequestError, match=r"nothing to do: .*epoch_2.pth is at epoch 2 of 2\n  fix: pass a larger"):
        dry_run(replace(request, epochs=None))


def test_it_is_refused_for_what_the_real_run_is_refused_for(tiny: Tiny, det_run: Run, tmp_path: Path) -> None:
    request = TrainRequest(stage="det", config=tiny.det, work_dir=tmp_path / "run", device="cuda:99")
    with pytest.raises(RequestError, match=r"training is refused, for one problem:\n  1. --device cuda:99"):
        dry_run(request)
    with pytest.raises(RequestError, match="has checkpoints of an earlier run"):
        dry_run(replace(request, work_dir=det_run.work_dir, device="cpu"))


def test_a_failure_does_not_name_the_folder_that_is_gone(tiny: Tiny, tmp_path: Path, temporary: Path) -> None:
    options = ("default_hooks.timer.type=NoSuchHook",)
    request = TrainRequest(stage="det", config=tiny.det, work_dir=tmp_path / "run", device="cpu", cfg_options=options)
    with pytest.raises(RunError) as caught:
        dry_run(request)
    first, second = str(caught.value).splitlines()
    assert "NoSuchHook is not in the" in first
    assert second == "  fix: set POSETOOLS_DEBUG=1 for the traceback"
    assert not list(temporary.glob("posetools-*"))


def test_no_tracker_is_used_and_no_pair_is_emitted(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("visualizer.vis_backends=[dict(type='NoSuchTracker')]",)
    request = TrainRequest(stage="pose", config=tiny.pose, device="cpu", cfg_options=options)
    dry_run(request, limits=Limits(most=2, batches=1))
    told = Recorder()
    # The default pair is too large for a test: the missing GPU ends it after the pair was found.
    with pytest.raises(RequestError, match="cuda:99"):
        dry_run(TrainRequest(stage="det", data=tiny.data, weights="none", device="cuda:99"), told)
    assert f"no config for {tiny.data} in configs: using the default pair, not kept" in told.text
    assert list(tmp_path.iterdir()) == []


def test_memory_is_watched_while_it_is_taken() -> None:
    import numpy as np

    with MemoryWatch() as watch:
        base = watch.peak
        block = np.ones(100_000_000, dtype=np.uint8)
        time.sleep(0.1)
        del block
    assert watch.peak - base > 80e6
    assert memory_of_machine() > watch.peak > 0


def test_what_a_process_holds_that_was_started_is_counted() -> None:
    program = "import time; block = bytearray(b'x') * 100_000_000; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        with MemoryWatch() as watch:
            base = psutil.Process().memory_info().rss
            child.stdout.readline()
            time.sleep(0.5)
        child.kill()
    assert watch.peak - base > 80e6


@pytest.mark.parametrize(("number", "text"), [(35_400_000, "35 MB"), (1_500_000_000, "1.5 GB"), (0, "0 MB")])
def test_sizes_are_read_at_a_glance(number: int, text: str) -> None:
    assert size_text(number) == text
