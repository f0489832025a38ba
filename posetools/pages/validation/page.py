"""The values of the template; sealed.py renders and writes the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from posetools.checks.data import CheckedData
from posetools.checks.structure import SoundObjects
from posetools.checks.validate import LabelCounts, ValidationReport
from posetools.core.findings import Finding, count_by_code
from posetools.core.verdict import Thing
from posetools.pages.charts import SPLIT_COLORS
from posetools.pages.sealed import check_target, render_page, write_page
from posetools.pages.validation import charts
from posetools.pages.validation.charts import Figures, figures_of
from posetools.pages.validation.crops import CropImage, Cropper
from posetools.progress import Progress, silent

# Kinds of findings right below the verdict.
FIRST_KINDS = 6
# Most findings of one code that are shown, evenly spaced; the others are only counted.
SHOWN_PER_CODE = 25


class FirstLook(NamedTuple):
    """The findings of one code to check first, with one example and its image."""

    thing: Thing
    finding: Finding
    crop: CropImage | None


class LinkedObject(NamedTuple):
    """An object that charts link to: its id in the page, what is unusual about it, file and place, its image."""

    id: str
    texts: tuple[str, ...]
    where: str
    crop: CropImage | None


class SkeletonFigures(NamedTuple):
    """The figures of one skeleton: the names of its categories, bars of its keypoints, charts, and outliers in them.

    The names are empty if the data set has no other skeleton.
    """

    names: str
    keypoints: dict[str, list[tuple[str, tuple[int, int, int], Markup]]]
    histograms: list[tuple[str, Markup]]
    heat_maps: list[tuple[str, Markup]]
    outliers: tuple[LinkedObject, ...]


class Section(NamedTuple):
    """The findings of one code: their number, and those that are shown, with their images."""

    code: str
    severity: str
    title: str
    why: str
    number: int
    shown: tuple[tuple[Finding, tuple[CropImage, ...]], ...]


def write_report(report: ValidationReport, path: Path, *, progress: Progress = silent) -> None:
    """Write a validation report as one HTML page, atomically; the same findings give the same bytes.

    Args:
        report: the result of validation.
        path: the page; it ends with ``.html``.
        progress: receives progress.

    Raises:
        RequestError: ``path`` is not an HTML file name.
        OutputError: the page cannot be written.
    """
    check_target(path)
    write_page(path, render(report, progress))


def render(report: ValidationReport, progress: Progress = silent) -> str:
    """Return the page.

    Args:
        report: the result of validation.
        progress: receives progress.
    """
    cropper = Cropper(report.checked)
    sections = tuple(_sections(report.findings, cropper, progress))
    values: dict[str, Any] = {
        "report": report,
        "verdict": report.verdict,
        "first": _first(report.verdict.things, sections),
        "warnings": len(report.findings) - report.errors,
        "sections": sections,
        "rows": list(_rows(report)),
        "skeletons": list(_skeletons(report.checked, cropper)),
        "split_colors": SPLIT_COLORS,
        "shown_per_code": SHOWN_PER_CODE,
    }
    return render_page("validation", values)


def _rows(report: ValidationReport) -> Iterator[tuple[str, str, LabelCounts, Markup]]:
    """Yield the split, the category or nothing for all, the counts, and their bar."""
    for split in report.splits:
        whole = LabelCounts(report.images[split], report.instances[split], report.keypoints[split])
        for name, counts in {"": whole, **report.categories.get(split, {})}.items():
            yield split, name, counts, charts.visibility_bar(counts.keypoints)


def _skeletons(checked: CheckedData, cropper: Cropper) -> Iterator[SkeletonFigures]:
    """Yield the figures of each different skeleton."""
    first = 1
    for group, objects in checked.parts():
        figures = figures_of(objects, group.skeletons[0])
        outliers = _outliers(figures, objects, cropper, first)
        first += len(outliers)
        links = {place: shown.id for place, shown in outliers.items()}
        yield SkeletonFigures(
            names=", ".join(group.ids) if len(group) < len(checked.categories) else "",
            keypoints={
                name: [(split, counts, charts.visibility_bar(counts)) for split, counts in of_split.items()]
                for name, of_split in figures.keypoints.items()
            },
            histograms=[(chart.title, charts.histogram(chart, links)) for chart in figures.histograms],
            heat_maps=[
                (name, charts.heat_map(counts, name, figures.outliers[name], links))
                for name, counts in figures.places.items()
            ],
            outliers=tuple(outliers.values()),
        )


def _first(things: Sequence[Thing], sections: Sequence[Section]) -> tuple[FirstLook, ...]:
    """Return the most serious kinds of findings, each with an example, with an image if possible."""
    by_code = {section.code: section for section in sections}
    first = []
    for thing in things[:FIRST_KINDS]:
        shown = by_code[thing.code].shown
        finding, crops = next((each for each in shown if each[1]), shown[0])
        first.append(FirstLook(thing, finding, crops[0] if crops else None))
    return tuple(first)


def _outliers(
    figures: Figures, objects: Mapping[str, SoundObjects], cropper: Cropper, first: int
) -> dict[tuple[str, int], LinkedObject]:
    """Return the objects that charts link to, by split and row; their numbers begin with ``first``."""
    found = [outlier for chart in figures.histograms for _, outlier in chart.outliers]
    found += [outlier for of_keypoint in figures.outliers.values() for outlier in of_keypoint]
    texts: dict[tuple[str, int], list[str]] = {}
    for outlier in found:
        texts.setdefault((outlier.split, outlier.row), []).append(outlier.text)
    shown = {}
    for number, ((split, row), of_object) in enumerate(texts.items(), start=first):
        table, at = objects[split].table, int(objects[split].rows[row])
        where = f"{table.path}: {table.annotations.place(at)}"
        shown[split, row] = LinkedObject(f"outlier-{number}", tuple(of_object), where, cropper.object_crop(split, at))
    return shown


def _sections(findings: Sequence[Finding], cropper: Cropper, progress: Progress) -> Iterator[Section]:
    counts = count_by_code(findings)
    total = sum(min(count, SHOWN_PER_CODE) for count in counts.values())
    done = 0
    for code, count in counts.items():
        of_code = [finding for finding in findings if finding.code == code]
        spread = np.linspace(0, count - 1, min(count, SHOWN_PER_CODE)).round().astype(int).tolist()
        shown = []
        for index in spread:
            shown.append((of_code[index], cropper.crops(of_code[index])))
            done += 1
            progress("drawing findings", done, total)
        rule = of_code[0].rule
        yield Section(code, str(of_code[0].severity), rule.title, rule.why, count, tuple(shown))
