"""Output of ``posetools fit`` and ``demo``: each step as its own command prints it, the question, and the summary."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from posetools.checks.validate import ValidationReport
from posetools.cli.config import print_recipe
from posetools.cli.console import console, escape, table_of
from posetools.cli.convert import print_conversion
from posetools.cli.evaluate_tables import print_reports
from posetools.cli.export import print_export
from posetools.cli.steps import Steps
from posetools.cli.train_all import print_estimate
from posetools.cli.validate import print_validation
from posetools.cli.verify import print_verified
from posetools.datasets.convert import ConvertRequest, ConvertResult
from posetools.errors import RequestError, counted, quoted
from posetools.evaluation.report import Report
from posetools.evaluation.tables import number
from posetools.exporting.export import ExportResult
from posetools.recipes.emit import ChosenPair
from posetools.runtime.verify import VerifyReport
from posetools.trainers.openmmlab import files_of
from posetools.training.estimate import DryRun
from posetools.workflow.fit import words_of
from posetools.workflow.fit_folder import TypedOptions
from posetools.workflow.fit_request import FitResult


class FitSteps(Steps):
    """Shows a fit, and asks before it trains."""

    def __init__(self, *, yes: bool) -> None:
        """Take whether to train without asking.

        Raises:
            RequestError: it has to ask, and there is no terminal.
        """
        super().__init__()
        self._yes = yes
        if not yes and not sys.stdin.isatty():
            raise RequestError(
                "there is no terminal to ask in before training", hint="add --yes to train without asking"
            )

    def converted(self, result: ConvertResult, request: ConvertRequest) -> None:
        """Print a conversion, or the findings that prevent it."""
        print_conversion(result, request, following=False)

    def validated(self, report: ValidationReport) -> None:
        """Print the findings of the data set."""
        print_validation(report)

    def emitted(self, pair: ChosenPair) -> None:
        """Print the configs."""
        print_recipe(files_of(pair))

    def agrees(self, estimate: DryRun) -> bool:
        """Print the estimate, and return whether to train."""
        print_estimate(estimate)
        try:
            return self._yes or typer.confirm("Train now?", default=True)
        except typer.Abort as exc:
            # Ctrl-C in the question is as everywhere else.
            raise KeyboardInterrupt from exc

    def evaluated(self, report: Report) -> None:
        """Print the metrics."""
        print_reports([report], console())

    def exported(self, result: ExportResult) -> None:
        """Print the bundle."""
        print_export(result, console())

    def verified(self, report: VerifyReport, bundle: Path) -> None:
        """Print the comparison of a bundle with its export."""
        print_verified(report, bundle, console())


def typed_options(values: Mapping[str, str | bool | float | Sequence[str] | None]) -> TypedOptions:
    """Return the given options as typed; None, False and an empty list are not given."""
    # 0 is given.
    return {name: _texts(value) for name, value in values.items() if value or (value == 0 and value is not False)}


def _texts(value: str | bool | float | Sequence[str]) -> Sequence[str]:
    if value is True:
        return ()
    if isinstance(value, int | float):
        return [f"{value:g}"]
    return [value] if isinstance(value, str) else list(value)


def command_of(command: str, source: Path | None, options: TypedOptions, *, yes: bool) -> str:
    """Return the command that continues a call."""
    words = ["posetools", command, *([str(source)] if source else []), *words_of(options), *(["--yes"] if yes else [])]
    return shlex.join(words)


def print_fit(result: FitResult, command: str) -> None:
    """Print the metrics, whether the pair is usable, and the files to open."""
    out, figures = console(), result.figures
    rows = [(name, number(value)) for name, value in figures.metrics.items()]
    title = f"{counted(figures.images, 'validation image')}, {counted(figures.objects, 'object')}"
    out.print()
    out.print(table_of(rows, "metric", "value", right=True, title=title))
    times = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in result.seconds.items())
    out.print(f"{sum(result.seconds.values()) / 60:.1f} minutes: {times}", soft_wrap=True)
    color, text = ("green", "the pair is usable") if figures.usable else ("red", "the pair is NOT usable yet")
    out.print(f"\n[bold {color}]{text}[/]")
    for sentence in figures.sentences:
        out.print(f"  {escape(sentence)}", soft_wrap=True)
    if not figures.usable:
        out.print("  more minutes, more labeled images or pretrained weights help; start again with --overwrite:")
        out.print(f"  {escape(command)} --overwrite", soft_wrap=True)
    out.print("\nopen:")
    for path, what in result.files.items():
        out.print(f"  {escape(str(path))}  {escape(what)}", soft_wrap=True)
    out.print(
        f"use it: posetools predict IMAGES --bundle {escape(quoted(result.bundle))} --output-root out", soft_wrap=True
    )
