"""The values of the template."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image as Pillow

from posetools.evaluation.tables import number
from posetools.pages.sealed import check_target, data_uri, render_page, write_page


@dataclass(frozen=True, kw_only=True, slots=True)
class FitPage:
    """The content of the page.

    Attributes:
        name: of the fit.
        usable: whether the pair is usable.
        sentences: why.
        metrics: metric -> value; None: undefined.
        measured_on: the images that the metrics are of.
        files: file or folder -> what it is; the page links to each by its path from the page.
        images: image file -> its title; the images are part of the page.
        seconds: step -> its duration.
    """

    name: str
    usable: bool
    sentences: tuple[str, ...]
    metrics: Mapping[str, float | None]
    measured_on: str
    files: Mapping[Path, str]
    images: Mapping[Path, str]
    seconds: Mapping[str, float]


def write_fit_page(path: Path, content: FitPage) -> None:
    """Write the page, atomically; the same content gives the same bytes.

    Raises:
        RequestError: ``path`` is not an HTML file name.
        OutputError: the page cannot be written.
    """
    check_target(path)
    links = [(_relative(file, path.parent), what) for file, what in content.files.items()]
    images = []
    for file, title in content.images.items():
        with Pillow.open(file) as image:
            images.append((title, data_uri(image.convert("RGB"))))
    values = {
        "fit": content,
        "metrics": [(name, number(value)) for name, value in content.metrics.items()],
        "links": [(quote(relative), relative, what) for relative, what in links],
        "images": images,
    }
    write_page(path, render_page("fit", values))


def _relative(file: Path, folder: Path) -> str:
    return Path(os.path.relpath(file, folder)).as_posix()
