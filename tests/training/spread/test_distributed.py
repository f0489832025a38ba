"""Two processes on the CPU, over gloo, from data loading to evaluation; and how they are started and ended."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from posetools.core.folder import IMAGES, ann_file
from posetools.core.stages import Stage
from posetools.errors import RequestError, RunError, StoppedError
from posetools.formats.coco.format import write_split
from posetools.mm.configs import config_of_run, load_config
from posetools.mm.patches import runner_device
from posetools.mm.stack import prepare, quiet
from posetools.training.hooks import TrainStatus
from posetools.training.request import TrainRequest
from posetools.training.spread.config import recorded_processes, spread_out
from posetools.training.spread.launch import to_start
from posetools.training.spread.processes import ProcessPlace, device_of, place_of
from posetools.training.train import TrainResult, train
from tests.build import make_dataset
from tests.tiny_runs import Recorder, make_tiny

pytestmark = pytest.mark.train

ROOT = Path(__file__).resolve().parents[3]
# Of three images, with an object each, two processes get one twice.
NUMBER = 3
PROBED = """
_base_ = {base!r}
custom_imports = dict(imports=['tests.training.spread.distributed_probe'])
custom_hooks = [*_base_.custom_hooks, dict(type='ProbeHook', folder={folder!r})]
val_evaluator = [_base_.val_evaluator, dict(type='ProbeMetric')]
model = dict(backbone=dict(frozen_stages={frozen}), test_cfg=dict({test_cfg}))
"""


@dataclass(frozen=True)
class Probed:
    """A pair of configs that records what each process does, for a data set with an odd number of images."""

    root: Path

    def request(self, stage: Stage, **changes: Any) -> TrainRequest:
        config, work_dir = self.root / f"{stage}.py", self.root / "runs" / stage
        request = TrainRequest(stage=stage, config=config, work_dir=work_dir, device="cpu", processes=2)
        return replace(request, **changes)


@dataclass(frozen=True)
class Finished:
    """The result of a run of two processes.

    Attributes:
        stage: of which model.
        work_dir: its work folder.
        lines: the messages of all processes.
        seen: the record of each process.
    """

    stage: Stage
    work_dir: Path
    lines: list[str]
    seen: list[dict[str, Any]]

    @property
    def config(self) -> Any:
        return load_config(config_of_run(self.work_dir))

    @property
    def metrics(self) -> dict[str, float]:
        metrics: dict[str, float] = json.loads((self.work_dir / "metrics.json").read_text())["last"]["metrics"]
        return metrics


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Let the processes import the probe, and start them in their own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.chdir(tmp_path_factory.mktemp("cwd"))
        yield


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Probed:
    root = tmp_path_factory.mktemp("probed")
    tiny = make_tiny(root)
    names = [f"{number}.png" for number in range(2 * NUMBER)]
    dataset = make_dataset(tiny.data / IMAGES, images=names, per_image=1, size=(96, 80), seed=2)
    write_split(dataset.select_images(range(NUMBER)), ann_file(tiny.data, "train"))
    write_split(dataset.select_images(range(NUMBER, 2 * NUMBER)), ann_file(tiny.data, "val"))
    # Untrained, RTMDet detects only boxes without a size, which it drops by default.
    rows: list[tuple[Stage, Path, int, str]] = [
        ("det", tiny.det, -1, "score_thr=0.0, min_bbox_size=-1"),
        ("pose", tiny.pose, 1, ""),
    ]
    for stage, base, frozen, test_cfg in rows:
        folder = str(root / f"seen_{stage}")
        text = PROBED.format(base=str(base), folder=folder, frozen=frozen, test_cfg=test_cfg)
        (root / f"{stage}.py").write_text(text)
    return Probed(root)


def _finished(probed: Probed, stage: Stage, lines: list[str]) -> Finished:
    seen = [json.loads((probed.root / f"seen_{stage}" / f"{rank}.json").read_text()) for rank in (0, 1)]
    return Finished(stage, probed.root / "runs" / stage, lines, seen)


@pytest.fixture(scope="module")
def pose(probed: Probed) -> Finished:
    """Return a run that was started with ``--processes 2``; two stages of its backbone are frozen."""
    told = Recorder()
    result = train(probed.request("pose"), told)
    assert isinstance(result, TrainResult)
    assert (result.epochs, result.trained) == (2, 2)
    assert [status.epoch for status in told.statuses if status.phase == "scored"] == [1, 2]
    return _finished(probed, "pose", told.lines)


@pytest.fixture(scope="module")
def det(probed: Probed) -> Finished:
    """Return a run that torchrun started."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "posetools"]
    command += ["train", "--stage", "det", "--config", str(probed.root / "det.py"), "--device", "cpu"]
    command += ["--work-dir", str(probed.root / "runs" / "det"), "--launcher", "pytorch"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("last checkpoint") == 1
    return _finished(probed, "det", done.stderr.splitlines())


@pytest.fixture(params=["det", "pose"])
def run(request: pytest.FixtureRequest) -> Finished:
    finished: Finished = request.getfixturevalue(request.param)
    return finished


def test_each_sample_is_seen_once_up_to_padding(run: Finished) -> None:
    for loop in ("train", "val"):
        for epoch in zip(*(process[loop] for process in run.seen), strict=True):
            counts = Counter(sample for part in epoch for sample in part)
            # Only evaluation does without padding, in MMPose's recipes.
            padded = loop == "train" or run.stage == "det"
            assert [len(part) for part in epoch] == [2, 2 if padded else 1]
            assert sorted(counts.values()) == [1] * (NUMBER - 1) + [2 if padded else 1]
    assert len(run.seen[0]["train"]) == 2


def test_both_processes_end_with_the_same_weights(run: Finished) -> None:
    first, second = run.seen
    # Those of the model, and the average of them where the recipe keeps one.
    assert len(first["weights"]) == (2 if any("EMA" in hook["type"] for hook in run.config.custom_hooks) else 1)
    assert first["weights"] == second["weights"]


def test_frozen_stages_stay_frozen(pose: Finished) -> None:
    trained = pose.seen[0]["trained"]
    assert [name for name in trained if name.startswith(("backbone.stem", "backbone.stage1"))] == []
    assert any(name.startswith("backbone.stage2") for name in trained)


def test_one_process_measures_the_same_on_the_same_checkpoint(run: Finished, tmp_path: Path) -> None:
    from mmengine.runner import Runner

    prepare("this test")
    config = run.config
    config.launcher, config.work_dir, config.resume = "none", str(tmp_path), False
    config.load_from = str(run.work_dir / "epoch_2.pth")
    config.test_dataloader, config.test_evaluator = config.val_dataloader, config.val_evaluator
    with quiet(), runner_device("cpu"):
        alone = {name: float(value) for name, value in Runner.from_cfg(config).test().items()}
    together = run.metrics
    assert together["probe/number"] == NUMBER
    assert together["probe/score"] > 0
    for name, value in alone.items():
        # metrics.json has None for COCO's -1.
        assert together[name] == (None if value == -1 else pytest.approx(value, rel=1e-6, abs=1e-6)), name


def test_there_is_one_work_folder_and_one_process_that_tells(run: Finished) -> None:
    assert len(list(run.work_dir.glob("*/*.log"))) == 1
    assert len(list(run.work_dir.glob("*.py"))) == 1
    assert {"epoch_1.pth", "epoch_2.pth", "last_checkpoint", "metrics.json", "skeleton.yaml"} <= {
        path.name for path in run.work_dir.iterdir()
    }
    assert [line for line in run.lines if line.startswith("training on ")] == [
        f"training on cpu, work folder {run.work_dir}"
    ]
    # mmengine's own way to gather evaluations leaves a folder here.
    assert list(Path.cwd().iterdir()) == []


def test_the_learning_rate_goes_with_the_square_root(run: Finished, probed: Probed) -> None:
    before = load_config(probed.root / f"{run.stage}.py").optim_wrapper.optimizer.lr
    assert run.config.optim_wrapper.optimizer.lr == pytest.approx(before * math.sqrt(2))
    (line,) = [line for line in run.lines if " samples per step" in line]
    assert line == (
        f"2 processes: 2 x 2 = 4 samples per step, learning rate {before:.3g} x sqrt(2) = {before * math.sqrt(2):.3g}"
    )
    assert recorded_processes(config_of_run(run.work_dir)) == (2, False)


class Interrupter(Recorder):
    """Presses Ctrl-C in the third epoch."""

    def update(self, status: TrainStatus) -> None:
        super().update(status)
        if len(self.statuses) == 1:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_resumed_run_has_as_many_processes_and_ctrl_c_ends_all(probed: Probed, pose: Finished) -> None:
    rate = pose.config.optim_wrapper.optimizer.lr
    told = Interrupter()
    handler = signal.getsignal(signal.SIGINT)
    request = probed.request("pose", config=None, processes=None, resume=True, epochs=100)
    with pytest.raises(StoppedError) as caught:
        train(request, told)
    assert caught.value.exit_status == 130
    assert f"posetools train --stage pose --work-dir {pose.work_dir} --resume continues from there" in str(caught.value)
    assert "starting 2 processes" in told.lines
    assert f"resuming from {pose.work_dir / 'epoch_2.pth'}: epoch 2 of 100 is done" in told.lines
    # The rate was scaled when the run started.
    assert not any(" samples per step" in line for line in told.lines)
    assert pose.config.optim_wrapper.optimizer.lr == rate
    assert signal.getsignal(signal.SIGINT) is handler
    assert _children() == {}


class Killer(Recorder):
    """Kills the second process when training starts."""

    def say(self, line: str) -> None:
        super().say(line)
        if line.startswith("training on "):
            os.kill(_children()["1"], signal.SIGKILL)


def _children() -> dict[str, int]:
    """Return the processes that this one has started for training, by their number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) != os.getpid() or "spread.worker" not in (folder / "cmdline").read_text():
                continue
            entries = (folder / "environ").read_text().split("\0")
        except OSError:
            continue
        found[next(entry for entry in entries if entry.startswith("RANK=")).removeprefix("RANK=")] = int(folder.name)
    return found


def test_a_process_that_dies_ends_all_with_one_sentence(probed: Probed, tmp_path: Path) -> None:
    told = Killer()
    with pytest.raises(RunError) as caught:
        train(probed.request("pose", work_dir=tmp_path / "run"), told)
    assert caught.value.exit_status == 1
    assert str(caught.value) == (
        "training failed: process 1 of 2 was killed by SIGKILL; the machine's memory may have been full\n"
        "  there is no checkpoint yet\n"
        "  fix: the same command restarts the run"
    )
    assert _children() == {}


def test_what_a_process_says_when_it_fails_is_the_one_sentence(probed: Probed, tmp_path: Path) -> None:
    request = probed.request("pose", work_dir=tmp_path, cfg_options=("default_hooks.timer.type=NoSuchHook",))
    with pytest.raises(RunError) as caught:
        train(request)
    first, second = str(caught.value).splitlines()
    assert first.startswith("training failed: KeyError: ")
    assert "NoSuchHook is not in the" in first
    assert "see the log for the traceback: " in second


def test_another_number_of_processes_is_refused(probed: Probed, pose: Finished) -> None:
    request = probed.request("pose", config=None, processes=1, resume=True, epochs=200)
    with pytest.raises(RequestError) as caught:
        train(request)
    assert str(caught.value) == (
        f"{pose.work_dir}: must be resumed with 2 processes, as it was trained, got 1: "
        "batch size, learning rate and schedule depend on it\n"
        "  fix: resume it with --gpus 2 (or --processes 2 --device cpu); or start a new run from its weights "
        "with --weights"
    )


PLACES: list[tuple[str, dict[str, str], ProcessPlace]] = [
    ("none", {"RANK": "3"}, ProcessPlace(0, 0, 1)),
    ("pytorch", {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "8"}, ProcessPlace(3, 1, 8)),
    ("slurm", {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NTASKS": "8"}, ProcessPlace(5, 1, 8)),
    (
        "mpi",
        {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_SIZE": "4"},
        ProcessPlace(2, 0, 4),
    ),
]


@pytest.mark.parametrize(("launcher", "environment", "place"), PLACES)
def test_each_launcher_says_which_process_this_is(
    launcher: str, environment: dict[str, str], place: ProcessPlace
) -> None:
    assert place_of(launcher, environment) == place


@pytest.mark.parametrize(
    ("launcher", "environment", "sentence"),
    [
        ("slurm", {}, "--launcher slurm: the environment variable SLURM_PROCID must be a number, got ''\n  fix: start"),
        ("pytorch", {"RANK": "0", "LOCAL_RANK": "x"}, "variable LOCAL_RANK must be a number, got 'x'"),
        ("horovod", {}, "--launcher must be none, pytorch, slurm, mpi, got 'horovod'"),
    ],
)
def test_a_launcher_that_has_started_nothing_is_refused(
    launcher: str, environment: dict[str, str], sentence: str
) -> None:
    with pytest.raises(RequestError) as caught:
        place_of(launcher, environment)
    assert sentence in str(caught.value)


REQUESTS: list[tuple[dict[str, Any], str]] = [
    ({"gpus": 99}, "--gpus 99: torch can use "),
    ({"gpus": 2, "device": "cpu"}, "--gpus 2 uses the first 2 GPUs, it cannot be combined with --device cpu"),
    ({"gpus": 2, "processes": 2}, "--gpus, --processes and --launcher cannot be combined"),
    ({"gpus": 2, "launcher": "slurm"}, "--gpus, --processes and --launcher cannot be combined"),
    ({"processes": 2, "device": "cuda"}, "--processes 2 is for the CPU, got --device cuda and "),
]


@pytest.mark.parametrize(("changes", "sentence"), REQUESTS)
def test_what_cannot_be_started_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        to_start(TrainRequest(stage="det", **changes))
    assert sentence in str(caught.value)


def test_a_process_gets_the_device_of_its_number() -> None:
    assert device_of(ProcessPlace(5, 1, 8), "cpu") == "cpu"
    with pytest.raises(RequestError, match="process 99 of this machine requires its own GPU, but torch can use "):
        device_of(ProcessPlace(99, 99, 100), "cuda")
    with pytest.raises(RequestError, match="--device must be auto, cuda or cpu for several processes, got 'cuda:1'"):
        device_of(ProcessPlace(1, 1, 2), "cuda:1")


def test_what_eight_gpus_change_in_a_config(probed: Probed) -> None:
    config, said = load_config(probed.root / "det.py"), list[str]()
    rate, floor = config.optim_wrapper.optimizer.lr, config.param_scheduler[1].eta_min
    config.iterations = 8000
    config.param_scheduler[0].end = 800
    spread_out(config, 8, gpus=True, say=said.append)
    assert config.optim_wrapper.optimizer.lr == pytest.approx(rate * math.sqrt(8))
    assert config.param_scheduler[1].eta_min == pytest.approx(floor * math.sqrt(8))
    # A tenth of a thousand steps each.
    assert config.param_scheduler[0].end == 100
    assert (config.sync_bn, config.launcher, config.processes) == ("torch", "pytorch", 8)
    assert [metric.collect_device for metric in config.val_evaluator] == ["gpu", "gpu"]
    # The config of that run, for one process again.
    spread_out(config, 1, gpus=False, say=said.append)
    assert config.optim_wrapper.optimizer.lr == pytest.approx(rate)
    assert (config.launcher, config.processes) == ("none", 1)
    assert [line.partition(":")[0] for line in said] == ["8 processes", "one process"]


def test_a_rate_that_the_user_states_stays(probed: Probed) -> None:
    config, said = load_config(probed.root / "pose.py"), list[str]()
    config.optim_wrapper.optimizer.lr = 0.002
    spread_out(config, 4, gpus=True, options=("optim_wrapper.optimizer.lr=0.002",), say=said.append)
    assert config.optim_wrapper.optimizer.lr == 0.002
    assert said == ["4 processes: 4 x 2 = 8 samples per step, learning rate 0.002 from the command line"]


def test_batch_normalization_of_stock_configs_is_made_fit_for_the_cpu(probed: Probed) -> None:
    config, said = load_config(probed.root / "det.py"), list[str]()
    config.model.neck.norm_cfg = {"type": "SyncBN"}
    spread_out(config, 2, gpus=False, say=said.append)
    assert config.model.neck.norm_cfg.type == "BN"
    assert said[1:] == ["SyncBN cannot run on the CPU: using BN"]
