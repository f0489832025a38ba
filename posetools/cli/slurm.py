"""``posetools slurm``: the job file of a training run on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from posetools.errors import RequestError, printable

_Train = Annotated[
    list[str],
    typer.Argument(
        metavar="TRAIN", help="After --, what follows `posetools train`: --stage, DATA, --work-dir and so on."
    ),
]
_Out = Annotated[Path, typer.Option("--out", "-o", help="The job file.")]
_Nodes = Annotated[int, typer.Option(min=1, help="Machines.")]
_Gpus = Annotated[int, typer.Option(min=1, help="GPUs of each machine.")]
_Time = Annotated[str, typer.Option(metavar="TIME", help="When Slurm ends it: MINUTES, HH:MM:SS or DAYS-HH:MM:SS.")]
_Cpus = Annotated[int, typer.Option(min=1, help="Cores for each GPU; they load its data.")]
_Memory = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Memory of each machine, such as 64G.", show_default="Slurm's")
]
_Partition = Annotated[str | None, typer.Option(help="Where it is queued.", show_default="Slurm's")]
_Account = Annotated[str | None, typer.Option(help="Who pays.", show_default="Slurm's")]
_Name = Annotated[str | None, typer.Option(help="Of the job.", show_default="posetools-STAGE")]
_NoRequeue = Annotated[
    bool, typer.Option("--no-requeue", help="End with the time, instead of going back into the queue.")
]
_Warning = Annotated[
    int, typer.Option(min=1, metavar="SECONDS", help="How long before its time is up the training is stopped.")
]
_Setup = Annotated[
    list[str] | None, typer.Option(metavar="LINE", help="Shell that comes first, such as 'source .venv/bin/activate'.")
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
    """Write a job file for Slurm that trains on several GPUs and goes on by itself when its time was up.

    Nothing is submitted: look at the file, then hand it to sbatch.
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
        raise RequestError(f"{out}: exists\n  --overwrite replaces it; or choose another --out")
    write_text(out, text)
    print(printable(f"{out}: {nodes * gpus} processes, one for each GPU"))
    print(printable(f"look at it, then submit it: sbatch {out}"))
