"""``posetools validate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posetools.cli.console import LISTED_PER_CODE, console, escape, print_findings, progress, table_of
from posetools.cli.options import SKELETON_HELP, refuse_url, source_path
from posetools.errors import first_lines, printable

if TYPE_CHECKING:
    from posetools.checks.validate import ValidationReport

# Number of kinds of findings that the verdict names.
_FIRST_KINDS = 3

Data = Annotated[
    Path,
    typer.Argument(
        parser=source_path,
        metavar="DATA",
        help="Data set folder (images/, train_coco.json, val_coco.json) or COCO file, also at a URL (s3://...).",
    ),
]
SkeletonName = Annotated[
    str | None, typer.Option(metavar="NAME|FILE", help=SKELETON_HELP, show_default="the data set's")
]
Strict = Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Also write counts and all findings to FILE.")
]
Fix = Annotated[
    bool,
    typer.Option(
        "--fix",
        help="First fix findings with one correct answer: area, num_keypoints, iscrowd, 0-based edges, boxes that "
        "extend beyond the image. Prints each change.",
    ),
]
Images = Annotated[bool, typer.Option("--images/--no-images", help="Check the image files too.")]
NearDuplicates = Annotated[
    bool,
    typer.Option(
        "--near-duplicates",
        help="Also find near-duplicate images across splits (W221) and between clips of one split (W220). Decodes "
        "every image. Needs the extra `leaks`.",
    ),
]
Report = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE.html", help="Write an HTML report: charts, and findings with images."),
]
Workers = Annotated[int, typer.Option(min=1, help="Processes that check and hash images in parallel.")]
ClusterAddress = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="Check and hash images on a Dask cluster instead of --workers. ADDRESS is its scheduler, such as "
        "tcp://HOST:8786. Needs the extra `cluster`.",
    ),
]


def validate(
    data: Data,
    skeleton: SkeletonName = None,
    strict: Strict = False,
    json: Json = None,
    fix: Fix = False,
    images: Images = True,
    near_duplicates: NearDuplicates = False,
    report: Report = None,
    workers: Workers = 1,
    cluster: ClusterAddress = None,
) -> None:
    """Check a data set before training: labels, keypoints, splits and images.

    docs/findings.md explains each code.

    Exit status: 0 no errors (warnings count only with --strict); 1 errors; 2 could not run.
    """
    from posetools.checks.validate import validate as check
    from posetools.files.disk import write_json
    from posetools.pages.sealed import check_target
    from posetools.pages.validation.page import write_report
    from posetools.scale.cluster import engine_of

    if report:
        check_target(report)
    refuse_url(data, {"--report": bool(report)})
    engine = engine_of(cluster, workers)
    with progress() as tell:
        found = check(
            data,
            skeleton=skeleton,
            images=images,
            near_duplicates=near_duplicates,
            fix=fix,
            progress=tell,
            engine=engine,
        )
        if report:
            write_report(found, report, progress=tell)
    if json:
        write_json(json, found.as_dict())
    print_validation(found)
    if report:
        print(printable(f"wrote {report}"))
    raise typer.Exit(0 if found.ok(strict) else 1)


def print_validation(report: ValidationReport) -> None:
    """Print the findings, counts and verdict."""
    out = console()
    for path, repairs in report.fixed.items():
        out.print(f"fixed {escape(str(path))} (changes: {len(repairs)})")
        lines = [f"  {done.code} {done.place}: {done.message}" for done in repairs]
        for line in first_lines(lines, LISTED_PER_CODE, "  ... and {} more; --json lists all"):
            out.print(escape(line))
    print_findings(report.findings, out)
    rows = []
    for split in report.splits:
        rows.append((split, *_numbers(report.images[split], report.instances[split], report.keypoints[split])))
        rows += [(f"  {name}", *_numbers(*counts)) for name, counts in report.categories.get(split, {}).items()]
    heads = ("split", "images", "objects", "visible", "occluded", "unlabeled")
    out.print(table_of(rows, *heads, title=escape(str(report.data))))
    for note in report.notes:
        out.print(escape(note))
    fixable = sum(finding.fixable for finding in report.findings)
    hint = f"; --fix fixes {fixable}" if fixable else ""
    out.print(f"errors: {report.errors}, warnings: {len(report.findings) - report.errors}{hint}")
    verdict = report.verdict
    first = ", ".join(map(str, verdict.things[:_FIRST_KINDS]))
    more = f", and {len(verdict.things) - _FIRST_KINDS} more" if len(verdict.things) > _FIRST_KINDS else ""
    out.print(f"[bold]{verdict.sentence}[/]")
    if first:
        out.print(f"  {first}{more}")


def _numbers(images: int, objects: int, keypoints: tuple[int, int, int]) -> list[str]:
    unlabeled, hidden, visible = keypoints
    return [str(number) for number in (images, objects, visible, hidden, unlabeled)]
