"""``posetools fit``: one command from labeled images to a verified bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from posetools.cli.options import Pretrained, pairs
from posetools.cli.source_options import BoxFrom, From, Ignore, Map, OneObject, SkeletonName, SplitBy, Val

_Source = Annotated[
    Path,
    typer.Argument(metavar="FOLDER", help="Labeled images that `posetools convert` reads, or a data set folder."),
]
_Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="DIR", help="Folder for all output.", show_default="work_dirs/NAME_OF_FOLDER"),
]
Minutes = Annotated[float, typer.Option(help="Time limit for training both models.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Train without asking. Errors in the labels still stop it.")]
_Det = Annotated[
    Literal["nano", "tiny", "s", "m", "l", "x"] | None,
    typer.Option(help="RTMDet size.", show_default="tiny; with a GPU m"),
]
_Pose = Annotated[
    Literal["t", "s", "m", "l", "x"] | None, typer.Option(help="RTMPose size.", show_default="t; with a GPU m")
]
_Seed = Annotated[int | None, typer.Option(min=0, help="Random seed of split and training.", show_default="0 and 21")]
_Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Delete the results of an earlier fit in --out, and start again.")
]
# The options that a later call must repeat, and their parameters.
_OPTIONS = {
    "--minutes": "minutes",
    "--det": "det",
    "--pose": "pose",
    "--pretrained": "pretrained",
    "--seed": "seed",
    "--from": "source_format",
    "--skeleton": "skeleton",
    "--map": "names",
    "--ignore": "ignore",
    "--one-object-per-image": "one_object",
    "--box-from": "box_from",
    "--val": "val",
    "--split-by": "split_by",
}


def fit(
    source: _Source,
    out: _Out = None,
    minutes: Minutes = 60.0,
    yes: Yes = False,
    det: _Det = None,
    pose: _Pose = None,
    pretrained: Pretrained = None,
    seed: _Seed = None,
    source_format: From = None,
    skeleton: SkeletonName = None,
    names: Map = None,
    ignore: Ignore = None,
    one_object: OneObject = False,
    box_from: BoxFrom = "annotation",
    val: Val = None,
    split_by: SplitBy = None,
    overwrite: _Overwrite = False,
) -> None:
    """Train a pair on labeled images in one command: convert, validate, config, train, eval, export, verify.

    Prints each step as the command that does the same. The same call again continues a stopped fit: finished steps are
    skipped, a stopped training resumes.

    Exit status: 0 done; 1 the labels have errors, or a step failed; 2 could not run.
    """
    given = {**locals(), "box_from": None if box_from == "annotation" else box_from}
    from posetools.cli.fit_steps import FitSteps, command_of, print_fit, typed_options
    from posetools.datasets.convert import ConvertRequest
    from posetools.datasets.split import DEFAULT_SEED
    from posetools.formats.options import ReadOptions
    from posetools.workflow.fit import fit as run
    from posetools.workflow.fit_request import FitRequest

    out = out or Path("work_dirs") / (source.resolve().stem if source.is_file() else source.resolve().name)
    typed = typed_options({option: given[name] for option, name in _OPTIONS.items()})
    read = ReadOptions(names=pairs(names or ()), ignore=frozenset(ignore or ()), one_object=one_object)
    conversion = ConvertRequest(sources=(), out=out, source_format=source_format, skeleton=skeleton, val=val)
    read = replace(read, box_from=box_from)
    conversion = replace(conversion, read=read, split_by=split_by, seed=seed or DEFAULT_SEED)
    request = FitRequest(source=source, out=out, minutes=minutes, det=det, pose=pose, pretrained=pretrained, seed=seed)
    command = command_of("fit", source, {"--out": [str(out)], **typed}, yes=yes)
    typed = {"FOLDER": [str(source.resolve())], **typed}
    request = replace(request, conversion=conversion, typed=typed, command=command, overwrite=overwrite)
    print_fit(run(request, FitSteps(yes=yes)), command)
