"""The job file of a training run on a cluster with Slurm, as text for ``sbatch``.

One task is started for each GPU, which is what ``posetools train --launcher slurm`` expects. The job may be stopped and
started again any number of times: before its time is up Slurm sends it a signal, at which it ends the training and puts
itself back into the queue; started again, after that or after a machine was lost or taken away, it finds checkpoints in
the work folder and goes on from the last one.
"""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from posetools.core.stages import STAGES
from posetools.errors import RequestError, must_be

_TIME = re.compile(r"\d+|\d+:\d\d|\d+:\d\d:\d\d|\d+-\d+|\d+-\d+:\d\d|\d+-\d+:\d\d:\d\d")
_MEMORY = re.compile(r"\d+[KMGT]?")
_SLURM_NAME = re.compile(r"[\w.,@+:/-]+")
_STAGES = (*STAGES, "all")
_OURS = ("--gpus", "--processes", "--launcher", "--resume", "--device", "--dry-run")


@dataclass(frozen=True, kw_only=True, slots=True)
class SlurmJob:
    """What a job asks for.

    Attributes:
        arguments: of ``posetools train``: stage, data, work folder and whatever else.
        nodes: how many machines.
        gpus: of each machine.
        time: after which Slurm ends it: ``MINUTES``, ``HH:MM:SS`` or ``DAYS-HH:MM:SS``.
        cpus: cores for each GPU, which load its data.
        memory: of each machine, with a unit (``64G``); None: Slurm's default.
        partition: where it is queued; None: Slurm's default.
        account: who pays; None: Slurm's default.
        name: of the job; None: ``posetools-STAGE``.
        requeue: whether it goes back into the queue when its time is up.
        warning: how many seconds before that it stops the training.
        setup: lines of shell that come before the training, say to activate an environment.
    """

    arguments: tuple[str, ...]
    nodes: int = 1
    gpus: int = 1
    time: str = "24:00:00"
    cpus: int = 8
    memory: str | None = None
    partition: str | None = None
    account: str | None = None
    name: str | None = None
    requeue: bool = True
    warning: int = 120
    setup: tuple[str, ...] = ()


def job_text(job: SlurmJob) -> str:
    """Return the job file.

    Raises:
        RequestError: a value is none that Slurm takes, or the arguments are none that a job can run again.
    """
    stage, work_dir = _check_arguments(job.arguments)
    lines = ["#!/bin/bash", "# Written by `posetools slurm`; submit it with sbatch, from this folder."]
    lines += [f"#SBATCH --{name}={value}" if value else f"#SBATCH --{name}" for name, value in _directives(job, stage)]
    if job.setup:
        # Before the next line: what activates an environment often reads variables that are not set.
        lines += ["", *job.setup]
    lines += ["", "set -euo pipefail"]
    # A checkpoint in the work folder: of one run, or of one of both.
    found = f"{work_dir}/*/*.py" if stage == "all" else f"{work_dir}/*.pth"
    lines += [
        "",
        "# Where the processes find the first one. Each job has a port of its own: a machine may run several jobs.",
        'machines=$(scontrol show hostnames "$SLURM_JOB_NODELIST")',
        "MASTER_ADDR=${machines%%$'\\n'*}",
        "MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))",
        "export MASTER_ADDR MASTER_PORT",
        "",
        "# What an earlier run of this job has left is gone on with.",
        "resume=()",
        f"if compgen -G {shlex.quote(found)} > /dev/null; then resume=(--resume); fi",
    ]
    lines += _RUN_AGAIN if job.requeue else []
    words = shlex.join(["posetools", "train", *job.arguments, "--device", "cuda", "--launcher", "slurm"])
    lines += [
        "",
        f'srun --kill-on-bad-exit=1 {words} ${{resume[@]+"${{resume[@]}}"}} &',
        "training=$!",
        'wait "$training"',
    ]
    return "\n".join(lines) + "\n"


_RUN_AGAIN = [
    "",
    "# The time is nearly up. Slurm keeps the number of the job, and its place is found in the work folder.",
    "again() {",
    '    echo "posetools: the time is nearly up; job $SLURM_JOB_ID goes back into the queue" >&2',
    '    kill -TERM "$training" || true',
    '    wait "$training" || true',
    '    scontrol requeue "$SLURM_JOB_ID"',
    "    exit 0",
    "}",
    "trap again USR1",
]


def _directives(job: SlurmJob, stage: str) -> list[tuple[str, str]]:
    """Return the options of sbatch; an empty value is none."""
    for field, value in (("nodes", job.nodes), ("gpus", job.gpus), ("cpus", job.cpus), ("warning", job.warning)):
        if value < 1:
            raise RequestError(must_be(f"--{field}", "a positive number", value))
    name = job.name or f"posetools-{stage}"
    found = [
        ("job-name", _checked("--name", name, _SLURM_NAME, "a name without blanks")),
        ("nodes", str(job.nodes)),
        ("ntasks-per-node", str(job.gpus)),
        ("gpus-per-node", str(job.gpus)),
        ("cpus-per-task", str(job.cpus)),
        ("time", _checked("--time", job.time, _TIME, "MINUTES, HH:MM:SS or DAYS-HH:MM:SS")),
        ("output", f"{name}-%j.log"),
        ("open-mode", "append"),
    ]
    if job.memory is not None:
        found.append(("mem", _checked("--memory", job.memory, _MEMORY, "a number with K, M, G or T, such as 64G")))
    for field, text in (("partition", job.partition), ("account", job.account)):
        if text is not None:
            found.append((field, _checked(f"--{field}", text, _SLURM_NAME, "a name without blanks")))
    if job.requeue:
        # B: to this script, which passes it on. Without it Slurm would tell the processes, which know no such signal.
        found += [("requeue", ""), ("signal", f"B:USR1@{job.warning}")]
    else:
        found.append(("no-requeue", ""))
    return found


def _checked(option: str, text: str, pattern: re.Pattern[str], rule: str) -> str:
    if not pattern.fullmatch(text):
        raise RequestError(must_be(option, rule, text))
    return text


def _check_arguments(arguments: Sequence[str]) -> tuple[str, str]:
    """Return the stage and the work folder that the arguments of ``posetools train`` name."""
    named = {word.partition("=")[0] for word in arguments}
    for option in _OURS:
        if option in named:
            raise RequestError(
                f"{option}: the job says it itself; leave it out of the arguments of `posetools train` after --"
            )
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--stage", nargs="?")
    parser.add_argument("--work-dir", nargs="?")
    said, _ = parser.parse_known_args(arguments)
    stage, work_dir = said.stage, said.work_dir
    if stage not in _STAGES:
        raise RequestError(
            f"--stage det, pose or all must be among the arguments of `posetools train` after --, got {stage!r}\n"
            "  posetools slurm --gpus 4 -- --stage all DATA --work-dir work_dirs/NAME"
        )
    if not work_dir:
        raise RequestError(
            "--work-dir must be among the arguments of `posetools train` after --: started again, the job looks there "
            "for checkpoints\n  posetools slurm --gpus 4 -- --stage all DATA --work-dir work_dirs/NAME"
        )
    return stage, Path(work_dir).as_posix()
