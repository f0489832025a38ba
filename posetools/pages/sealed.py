"""A page that is one file and stays as it was made: its template, its style, its script, and a policy that names both.

Jinja2 escapes every text that it puts in; what it must not escape (charts, the page's own script and style) is Markup
made in the package that has the template. The page's policy names the script and the style by their hashes, so that a
text that got past the escaping would still not run, and forbids everything from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image as Pillow
from PIL import features

from posetools.errors import RequestError, must_be, visible
from posetools.files.disk import write_text

PAGE_SUFFIXES = (".html", ".htm")
_PAGE_QUALITY = 72
_FOLDER = Path(__file__).resolve().parent


def check_target(path: Path) -> None:
    """Refuse what is no name for a page, before anything is done.

    Raises:
        RequestError: it does not end as a page does, or is a folder.
    """
    if path.is_dir() or path.suffix.lower() not in PAGE_SUFFIXES:
        raise RequestError(must_be("--report", f"a file that ends with {' or '.join(PAGE_SUFFIXES)}", str(path)))


def render_page(name: str, values: Mapping[str, Any]) -> str:
    """Return a page.

    Args:
        name: the folder with the page's own ``page.html``, ``page.js`` and, where it has one, ``page.css``.
        values: what the template shows, besides ``css``, ``js`` and ``policy``, which it gets from here.
    """
    # Loaded here, for most who ask whether a path could be that of a page then make none.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        # Names could otherwise turn the direction in which a page is read.
        finalize=_shown,
    )
    css, js = (_source(name, file) for file in ("page.css", "page.js"))
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src {_hash(css)}",
            f"script-src {_hash(js)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return environment.get_template(f"{name}/page.html").render({**values, "css": css, "js": js, "policy": policy})


def write_page(path: Path, text: str) -> None:
    """Write a page, atomically.

    Raises:
        OutputError: it cannot be written.
    """
    # JSON can hold halves of surrogate pairs, which UTF-8 cannot.
    write_text(path, text.encode("utf-8", "backslashreplace").decode("utf-8"))


def data_uri(image: Pillow.Image) -> str:
    """Return an image as a URI that holds it."""
    buffer = io.BytesIO()
    # A Pillow that was built without WebP writes images of twice the size.
    kind = "webp" if features.check("webp") else "jpeg"
    image.save(buffer, kind, quality=_PAGE_QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _shown(value: object) -> object:
    return "\n".join(map(visible, value.split("\n"))) if type(value) is str else value


def _source(name: str, file: str) -> Markup:
    """Return what all pages do, then what the page itself does."""
    paths = (_FOLDER / file, _FOLDER / name / file)
    return Markup("").join(Markup(path.read_text(encoding="utf-8")) for path in paths if path.is_file())


def _hash(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
