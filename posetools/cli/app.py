"""The command line as a whole: its commands, and the one place where errors become text and an exit status.

A command's module imports only the standard library, typer and posetools.errors; everything else is imported in the
body of the command that needs it, so that ``posetools --help`` costs nothing.

Exit status: 0 done, 1 findings (or a run that ended early), 2 could not run.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from posetools import __version__
from posetools.cli import (
    annotate,
    config,
    convert,
    demo,
    diff,
    doctor,
    evaluate,
    export,
    merge,
    plot,
    predict,
    prelabel,
    publish,
    review,
    sigmas,
    skeleton,
    slurm,
    split,
    subset,
    train,
    validate,
    verify,
    view,
)
from posetools.errors import PosetoolsError

_STOPPED = 130

app = typer.Typer(
    name="posetools",
    help="Labelled pictures in, a trained and evaluated RTMDet + RTMPose pair out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_PANELS = {
    "Data": (
        convert.convert,
        validate.validate,
        split.split,
        merge.merge,
        subset.subset,
        diff.diff,
        sigmas.sigmas,
        view.view,
    ),
    "Labelling with a model": (annotate.annotate, prelabel.prelabel, review.review),
    "Training": (config.config, train.train, slurm.slurm, evaluate.evaluate, plot.plot),
    "Using a pair": (predict.predict, publish.publish, export.export, verify.verify),
    "Getting started": (demo.demo, doctor.doctor),
}
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command("eval" if _command is evaluate.evaluate else None, rich_help_panel=_panel)(_command)
app.command("test", hidden=True)(evaluate.evaluate)
app.add_typer(skeleton.app, name="skeleton", rich_help_panel="Getting started")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"posetools {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Labelled pictures in, a trained and evaluated RTMDet + RTMPose pair out."""


def main() -> None:
    """Run the command line; errors become one message and an exit status here."""
    try:
        app()
    except PosetoolsError as exc:
        print(f"error: {exc}", file=sys.stderr)
        sys.exit(exc.exit_status)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(_STOPPED)
    except SystemExit as exc:
        # What typer makes of a KeyboardInterrupt, without a word.
        if exc.code == _STOPPED:
            print("stopped", file=sys.stderr)
        raise
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has gone: not an error of ours, and nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
