"""The page itself: what the template shows. How it is sealed, and written: sealed.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posetools.findings import RULES, Finding, count_by_code
from posetools.progress import Progress, silent
from posetools.report import charts
from posetools.report.crops import Crop, Cropper
from posetools.report.figures import figures_of
from posetools.report.material import Material, read_material
from posetools.report.sealed import check_target, render_page, write_page
from posetools.validate import ValidationReport

# Findings of one code beyond this are counted, not shown: those that are lie evenly spread over all.
SHOWN_PER_CODE = 25


@dataclass(frozen=True, slots=True)
class Item:
    """One finding as it is shown, with what is drawn of it."""

    finding: Finding
    crops: tuple[Crop, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """The findings of one code: those that are shown, and how many there are."""

    code: str
    severity: str
    title: str
    why: str
    count: int
    items: tuple[Item, ...]


def write_report(
    report: ValidationReport,
    path: Path,
    *,
    material: Material | None = None,
    skeleton: str | Path | None = None,
    progress: Progress = silent,
) -> None:
    """Write what validation found as one HTML page, atomically; the same findings give the same bytes.

    Args:
        report: what validation found.
        path: the page; it ends with ``.html``.
        material: the data set, when it has been read already.
        skeleton: a built-in name or a file, as validation was told; None for the data set's own.
        progress: told how far it is.

    Raises:
        RequestError: ``path`` is no name for a page, or the data set is not there any more.
        InputError: the skeleton cannot be read.
        OutputError: the page cannot be written.
    """
    check_target(path)
    material = material or read_material(report, skeleton)
    write_page(path, render(report, material, progress))


def render(report: ValidationReport, material: Material, progress: Progress = silent) -> str:
    """Return the page.

    Args:
        report: what validation found.
        material: the data set.
        progress: told how far it is.
    """
    figures = figures_of(material.objects, material.skeleton)
    values: dict[str, Any] = {
        "report": report,
        "warnings": len(report.findings) - report.errors,
        "sections": tuple(_sections(report.findings, Cropper(material), progress)),
        "keypoints": {
            name: [(split, counts, charts.bar(counts)) for split, counts in of_split.items()]
            for name, of_split in figures.keypoints.items()
        },
        "splits": [(split, charts.bar(report.keypoints[split])) for split in report.splits],
        "histograms": [(chart.title, charts.histogram(chart)) for chart in figures.histograms],
        "heat_maps": [(name, charts.heat_map(counts, name)) for name, counts in figures.places.items()],
        "split_colors": charts.SPLIT_COLORS,
        "shown_per_code": SHOWN_PER_CODE,
    }
    return render_page("posetools.report", values)


def _sections(findings: Sequence[Finding], cropper: Cropper, progress: Progress) -> Iterator[Section]:
    counts = count_by_code(findings)
    total = sum(min(count, SHOWN_PER_CODE) for count in counts.values())
    done = 0
    for code, count in counts.items():
        of_code = [finding for finding in findings if finding.code == code]
        spread = np.linspace(0, count - 1, min(count, SHOWN_PER_CODE)).round().astype(int).tolist()
        items = []
        for index in spread:
            items.append(Item(of_code[index], cropper.crops(of_code[index])))
            done += 1
            progress("drawing findings", done, total)
        rule = RULES[code]
        yield Section(code, str(of_code[0].severity), rule.title, rule.why, count, tuple(items))
