"""``posetools validate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from posetools.validate import ValidationReport


def validate(
    data: Annotated[
        Path, typer.Argument(help="A data set folder (images/, train_coco.json, val_coco.json), or one COCO file.")
    ],
    skeleton: Annotated[
        str | None, typer.Option(help="A built-in skeleton or a YAML file.", show_default="the data set's own")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings count as errors do.")] = False,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write counts and all findings to this file too.")
    ] = None,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="First mend what has one right answer: area, num_keypoints, iscrowd, 0-based edges, boxes that leave "
            "the picture. Says what it changes; the files are replaced as a whole.",
        ),
    ] = False,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Check the picture files, not the COCO files alone.")
    ] = True,
) -> None:
    """Check a data set before training on it.

    Exit status: 0 no errors (warnings are printed, and do not count without --strict), 1 findings, 2 could not run.
    What each code means: docs/findings.md.
    """
    from posetools.cli.console import progress
    from posetools.files import write_json
    from posetools.validate import validate as check

    with progress() as tell:
        report = check(data, skeleton=skeleton, pictures=pictures, fix=fix, progress=tell)
    if json:
        write_json(json, report.as_dict())
    _print(report)
    raise typer.Exit(0 if report.ok(strict) else 1)


def _print(report: ValidationReport) -> None:
    from rich.markup import escape
    from rich.table import Table

    from posetools.cli.console import LISTED_PER_CODE, console, print_findings

    out = console()
    for fixed in report.fixed:
        out.print(f"fixed {escape(str(fixed.path))} (changes: {len(fixed.repairs)})")
        for done in fixed.repairs[:LISTED_PER_CODE]:
            out.print(f"  {done.code} {escape(done.place)}: {escape(done.message)}")
        if len(fixed.repairs) > LISTED_PER_CODE:
            out.print(f"  ... and {len(fixed.repairs) - LISTED_PER_CODE} more; --json lists all")
    if report.findings:
        print_findings(report.findings, out)
    table = Table("split", "pictures", "objects", "visible", "hidden", "not labelled", title=escape(str(report.data)))
    for split in report.splits:
        unlabelled, hidden, visible = report.keypoints[split]
        numbers = (report.images[split], report.instances[split], visible, hidden, unlabelled)
        table.add_row(escape(split), *map(str, numbers))
    out.print(table)
    fixable = sum(finding.fixable for finding in report.findings)
    hint = f"; --fix mends {fixable}" if fixable else ""
    out.print(f"errors: {report.errors}, warnings: {len(report.findings) - report.errors}{hint}")
