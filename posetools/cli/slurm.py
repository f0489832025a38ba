"""``posetools slurm``: writes the job file of a training run on a cluster."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from posetools.errors import RequestError, printable

_Train = Annotated[
    list[str],
    typer.Argument(
        metavar="-- TRAIN...", help="After --, the arguments of `posetools train`: --stage, DATA, --work-dir and so on."
    ),
]
_request = partial(typer.Option, rich_help_panel="Resources")
_Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Job file to write.")]
_Nodes = Annotated[int, _request(min=1, metavar="N", help="Number of nodes.")]
_Gpus = Annotated[int, _request(min=1, metavar="N", help="GPUs per node.")]
_Time = Annotated[str, _request(metavar="TIME", help="Time limit: MINUTES, HH:MM:SS or DAYS-HH:MM:SS.")]
_Cpus = Annotated[int, _request(min=1, metavar="N", help="CPU cores per GPU, for loading data.")]
_Memory = Annotated[str | None, _request(metavar="SIZE", help="Memory per node, such as 64G.", show_default="Slurm's")]
_Partition = Annotated[str | None, _request(metavar="NAME", help="Slurm partition.", show_default="Slurm's")]
_Account = Annotated[str | None, _request(metavar="NAME", help="Account to charge.", show_default="Slurm's")]
_Name = Annotated[str | None, typer.Option(metavar="NAME", help="Job name.", show_default="posetools-STAGE")]
_NoRequeue = Annotated[
    bool, typer.Option("--no-requeue", help="End at the time limit, instead of resuming in a new job.")
]
_Warning = Annotated[int, typer.Option(min=1, metavar="SECONDS", help="Stop training SECONDS before the time limit.")]
_Setup = Annotated[
    list[str] | None,
    typer.Option(metavar="LINE", help="Shell line to run first, such as 'source .venv/bin/activate'. Repeatable."),
]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the job file.")]


def slurm(
    arguments: _Train,
    out: _Out = Path("train.sbatch"),
    nodes: _Nodes = 1,
    gpus: _Gpus = 1,
    time: _Time = "24:00:00",
    cpus: _Cpus = 8,
    memory: _Memory = None,
    partition: _Partition = None,
    account: _Account = None,
    name: _Name = None,
    no_requeue: _NoRequeue = False,
    warning: _Warning = 120,
    setup: _Setup = None,
    overwrite: _Overwrite = False,
) -> None:
    """Write a Slurm job file that trains on several GPUs and resumes after its time limit.

    Nothing is submitted: check the file, then submit it with sbatch.
    """
    from posetools.files.disk import write_text
    from posetools.training.slurm import SlurmJob, job_text

    job = SlurmJob(
        arguments=tuple(arguments),
        nodes=nodes,
        gpus=gpus,
        time=time,
        cpus=cpus,
        memory=memory,
        partition=partition,
        account=account,
        name=name,
        requeue=not no_requeue,
        warning=warning,
        setup=tuple(setup or ()),
    )
    text = job_text(job)
    if out.exists() and not overwrite:
        raise RequestError(f"{out}: exists already", hint="--overwrite replaces it; or choose another --out")
    write_text(out, text)
    print(printable(f"{out}: {nodes * gpus} processes, one per GPU"))
    print(printable(f"check it, then submit it: sbatch {out}"))
