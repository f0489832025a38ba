"""``posetools slurm``: bash parses the job file and runs it with fakes of Slurm's programs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.run import run

TRAIN = ["--", "--stage", "det", "data/my cars", "--work-dir", "work_dirs/my cars"]

# Slurm's variables, and programs that log their calls. srun trains until it is killed once, then it is done.
ENVIRONMENT = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_ID": "21234"}
PROGRAMS = {
    "scontrol": 'echo "scontrol $*" >> calls\nif [ "$1" = show ]; then printf "node1\\nnode2\\n"; fi',
    "srun": 'echo "srun $* at $MASTER_ADDR:$MASTER_PORT" >> calls\n[ -e done ] || exec sleep 60',
}


def _write(folder: Path, *options: str, train: Sequence[str] = TRAIN) -> Path:
    out = folder / "train.sbatch"
    done = run("slurm", "--out", out, *options, *train)
    assert (done.status, done.err) == (0, "")
    assert f"submit it: sbatch {out}" in done.out
    return out


def _status(job: Path) -> int:
    with _start(job) as running:
        return running.wait(20)


def _start(job: Path) -> subprocess.Popen[bytes]:
    programs = job.parent / "bin"
    programs.mkdir(exist_ok=True)
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(0o700)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(["bash", job], cwd=job.parent, env={**os.environ, **ENVIRONMENT, "PATH": path})


def _calls(folder: Path, number: int) -> list[str]:
    """Wait for that many calls and return them."""
    calls = folder / "calls"
    for _ in range(200):
        lines = calls.read_text().splitlines() if calls.is_file() else []
        if len(lines) >= number:
            return lines
        time.sleep(0.05)
    raise AssertionError(lines)


def test_the_directives_say_what_was_asked_for(tmp_path: Path) -> None:
    options = ["--nodes", "2", "--gpus", "4", "--time", "1-12:00:00", "--cpus", "6", "--memory", "120G"]
    options += ["--partition", "gpu", "--account", "cars", "--warning", "300", "--setup", "module load cuda"]
    text = _write(tmp_path, *options).read_text()
    directives = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]
    assert directives == [
        "job-name=posetools-det",
        "nodes=2",
        "ntasks-per-node=4",
        "gpus-per-node=4",
        "cpus-per-task=6",
        "time=1-12:00:00",
        "output=posetools-det-%j.log",
        "open-mode=append",
        "mem=120G",
        "partition=gpu",
        "account=cars",
        "requeue",
        "signal=B:USR1@300",
    ]
    assert text.index("module load cuda") < text.index("srun")


@pytest.mark.parametrize("options", [[], ["--no-requeue"], ["--setup", "source '.venv/bin/activate'"]])
@pytest.mark.parametrize("stage", ["pose", "all"])
def test_bash_can_read_it(tmp_path: Path, options: list[str], stage: str) -> None:
    job = _write(tmp_path, *options, train=["--", "--stage", stage, "data/a'b $(c)", "--work-dir", "w; d"])
    done = subprocess.run(["bash", "-n", job], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_job_whose_time_is_up_goes_back_into_the_queue_and_goes_on(tmp_path: Path) -> None:
    job = _write(tmp_path)
    arguments = "--stage det data/my cars --work-dir work_dirs/my cars --device cuda --launcher slurm"
    command = f"srun --kill-on-bad-exit=1 posetools train {arguments}"
    with _start(job) as running:
        assert _calls(tmp_path, 2) == ["scontrol show hostnames node[1-2]", f"{command} at node1:21234"]
        running.send_signal(signal.SIGUSR1)
        assert running.wait(20) == 0
    assert _calls(tmp_path, 3)[2] == "scontrol requeue 21234"

    work_dir = tmp_path / "work_dirs" / "my cars"
    work_dir.mkdir(parents=True)
    (work_dir / "epoch_3.pth").touch()
    (tmp_path / "done").touch()
    assert _status(job) == 0
    assert _calls(tmp_path, 5)[4] == f"{command} --resume at node1:21234"


def test_a_failed_training_fails_the_job(tmp_path: Path) -> None:
    job = _write(tmp_path, "--setup", "srun() { return 3; }")
    assert _status(job) == 3


def test_both_stages_go_on_when_one_has_begun(tmp_path: Path) -> None:
    train = ["--", "--stage=all", "data/cars", "--work-dir=runs/cars"]
    job = _write(tmp_path, train=train)
    (tmp_path / "runs" / "cars" / "det").mkdir(parents=True)
    (tmp_path / "runs" / "cars" / "det" / "rtmdet.py").touch()
    (tmp_path / "done").touch()
    assert _status(job) == 0
    assert " --resume at node1:" in _calls(tmp_path, 2)[1]


REFUSED = [
    (["--time", "a day"], TRAIN, "--time must be MINUTES, HH:MM:SS or DAYS-HH:MM:SS, got 'a day'"),
    (["--memory", "64 GB"], TRAIN, "--memory must be a number with K, M, G or T, such as 64G, got '64 GB'"),
    (["--partition", "gpu\n#SBATCH x"], TRAIN, "--partition must be a name without blanks"),
    ([], ["--", "data/cars", "--work-dir", "w"], "--stage after -- must be det, pose or all, got None"),
    ([], ["--", "data/cars", "--stage", "det"], "--work-dir must be given after --"),
    ([], [*TRAIN, "--gpus=4"], "--gpus: is set by the job"),
    ([], [*TRAIN, "--resume"], "--resume: is set by the job"),
]


@pytest.mark.parametrize(("options", "train", "sentence"), REFUSED)
def test_what_no_job_can_be_made_of_is_refused(
    tmp_path: Path, options: list[str], train: list[str], sentence: str
) -> None:
    out = tmp_path / "train.sbatch"
    done = run("slurm", "--out", out, *options, *train)
    assert done.status == 2
    assert sentence in done.err
    assert not out.exists()


def test_a_job_file_is_not_written_over(tmp_path: Path) -> None:
    out = _write(tmp_path)
    out.write_text("edited")
    done = run("slurm", "--out", out, *TRAIN)
    assert (done.status, out.read_text()) == (2, "edited")
    assert f"{out}: exists already\n  fix: --overwrite replaces it" in done.err
    _write(tmp_path, "--overwrite")
    assert "srun" in out.read_text()
