"""The Slurm job file of a training run, as text for ``sbatch``.

It starts one task per GPU, as ``posetools train --launcher slurm`` expects. The job may be stopped and restarted any
number of times: before its time limit Slurm sends a signal, and the job ends the training and requeues itself. When it
starts again, also after a node failure or preemption, it resumes from the last checkpoint in the work folder.
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
    """The options of a job.

    Attributes:
        arguments: of ``posetools train``: stage, data, work folder and others.
        nodes: number of machines.
        gpus: per machine.
        time: the time limit: ``MINUTES``, ``HH:MM:SS`` or ``DAYS-HH:MM:SS``.
        cpus: cores per GPU, for loading data.
        memory: per machine, with a unit (``64G``); None: Slurm's default.
        partition: the Slurm partition; None: Slurm's default.
        account: the Slurm account; None: Slurm's default.
        name: of the job; None: ``posetools-STAGE``.
        requeue: whether it is requeued at its time limit.
        warning: how many seconds before the limit the training stops.
        setup: shell lines before the training, such as activating an environment.
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
        RequestError: Slurm does not accept a value, or a job cannot resume with these arguments.
    """
    stage, found = _check_arguments(job.arguments)
    lines = ["#!/bin/bash", "# Written by `posetools slurm`; submit it with sbatch, from this folder."]
    lines += [f"#SBATCH --{name}={value}" if value else f"#SBATCH --{name}" for name, value in _directives(job, stage)]
    if job.setup:
        # Before `set -u`: scripts that activate an environment often read unset variables.
        lines += ["", *job.setup]
    lines += ["", "set -euo pipefail"]
    lines += [
        "",
        "# The address of the first process. Each job has its own port, as a machine may run several jobs.",
        'machines=$(scontrol show hostnames "$SLURM_JOB_NODELIST")',
        "MASTER_ADDR=${machines%%$'\\n'*}",
        "MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))",
        "export MASTER_ADDR MASTER_PORT",
        "",
        "# Resume an earlier run of this job.",
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
    "# Near the time limit: stop and requeue. The job keeps its number and resumes from the work folder.",
    "again() {",
    '    echo "posetools: time limit is near; requeuing job $SLURM_JOB_ID" >&2',
    '    kill -TERM "$training" || true',
    '    wait "$training" || true',
    '    scontrol requeue "$SLURM_JOB_ID"',
    "    exit 0",
    "}",
    "trap again USR1",
]


def _directives(job: SlurmJob, stage: str) -> list[tuple[str, str]]:
    """Return the options of sbatch; an empty value means a flag."""
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
        # B: the signal goes to this script only. Otherwise Slurm sends it to the processes, which do not handle it.
        found += [("requeue", ""), ("signal", f"B:USR1@{job.warning}")]
    else:
        found.append(("no-requeue", ""))
    return found


def _checked(option: str, text: str, pattern: re.Pattern[str], rule: str) -> str:
    if not pattern.fullmatch(text):
        raise RequestError(must_be(option, rule, text))
    return text


def _check_arguments(arguments: Sequence[str]) -> tuple[str, str]:
    """Return from the arguments of ``posetools train`` the stage, and the pattern of files that a run can resume."""
    named = {word.partition("=")[0] for word in arguments}
    for option in _OURS:
        if option in named:
            raise RequestError(
                f"{option}: is set by the job; remove it from the arguments of `posetools train` after --"
            )
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--stage", nargs="?")
    parser.add_argument("--work-dir", nargs="?")
    parser.add_argument("--fold", nargs="?")
    parser.add_argument("--folds", action="store_true")
    said, _ = parser.parse_known_args(arguments)
    stage, work_dir = said.stage, said.work_dir
    if stage not in _STAGES:
        raise RequestError(
            f"--stage after -- must be det, pose or all, got {stage!r}",
            hint="posetools slurm --gpus 4 -- --stage all DATA --work-dir work_dirs/NAME",
        )
    if not work_dir:
        raise RequestError(
            "--work-dir must be given after --: a restarted job looks there for checkpoints",
            hint="posetools slurm --gpus 4 -- --stage all DATA --work-dir work_dirs/NAME",
        )
    folder = Path(work_dir).as_posix()
    if said.folds or said.fold:
        folder = f"{folder}/fold-{said.fold or '*'}" + ("" if stage == "all" else f"/{stage}*")
    # Configs in the work folders of a pair, or checkpoints in that of one model.
    return stage, f"{folder}/*/*.py" if stage == "all" else f"{folder}/*.pth"
