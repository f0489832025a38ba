"""The page itself: what the template shows, and the writing of it.

Jinja2 escapes every text that it puts in; what it must not escape (charts, the page's own script and style) is Markup
made in this package. The page's policy names the script and the style by their hashes, so that a text that got past
the escaping would still not run, and forbids everything from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from posetools.errors import RequestError, must_be
from posetools.files import write_text
from posetools.findings import RULES, Finding, count_by_code
from posetools.progress import Progress, silent
from posetools.report import charts
from posetools.report.crops import Crop, Cropper
from posetools.report.figures import figures_of
from posetools.report.material import Material, read_material
from posetools.validate import ValidationReport

# Findings of one code beyond this are counted, not shown: those that are lie evenly spread over all.
SHOWN_PER_CODE = 25
SUFFIXES = (".html", ".htm")


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


def check_target(path: Path) -> None:
    """Refuse what is no name for a page, before anything is checked.

    Raises:
        RequestError: it does not end as a page does, or is a folder.
    """
    if path.is_dir() or path.suffix.lower() not in SUFFIXES:
        raise RequestError(must_be("--report", f"a file that ends with {' or '.join(SUFFIXES)}", str(path)))


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
    text = render(report, material, progress)
    # JSON can hold halves of surrogate pairs, which UTF-8 cannot.
    write_text(path, text.encode("utf-8", "backslashreplace").decode("utf-8"))


def render(report: ValidationReport, material: Material, progress: Progress = silent) -> str:
    """Return the page.

    Args:
        report: what validation found.
        material: the data set.
        progress: told how far it is.
    """
    environment = Environment(
        loader=PackageLoader("posetools.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    source = {name: _source(environment, f"page.{name}") for name in ("css", "js")}
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
        **source,
        "policy": "; ".join(
            [
                "default-src 'none'",
                "img-src data:",
                f"style-src {_hash(source['css'])}",
                f"script-src {_hash(source['js'])}",
                "base-uri 'none'",
                "form-action 'none'",
            ]
        ),
    }
    return environment.get_template("page.html").render(values)


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


def _source(environment: Environment, name: str) -> Markup:
    assert environment.loader
    text, _, _ = environment.loader.get_source(environment, name)
    return Markup(text)


def _hash(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
