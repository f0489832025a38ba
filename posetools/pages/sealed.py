"""A page that is one file and stays as it was made: its template, its style, its script, and a policy that names both.

Jinja2 escapes every text that it puts in; what it must not escape (charts, the page's own script and style) is Markup
made in the package that has the template. The page's policy names the script and the style by their hashes, so that a
text that got past the escaping would still not run, and forbids everything from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image as Pillow
from PIL import features

from posetools.errors import RequestError, must_be, visible
from posetools.files.disk import write_text

SUFFIXES = (".html", ".htm")
_QUALITY = 72


def check_target(path: Path) -> None:
    """Refuse what is no name for a page, before anything is done.

    Raises:
        RequestError: it does not end as a page does, or is a folder.
    """
    if path.is_dir() or path.suffix.lower() not in SUFFIXES:
        raise RequestError(must_be("--report", f"a file that ends with {' or '.join(SUFFIXES)}", str(path)))


def render_page(package: str, values: Mapping[str, Any], *, styles: Sequence[str] = ()) -> str:
    """Return a page.

    Args:
        package: the package with ``page.html``, ``page.css`` and ``page.js``.
        values: what the template shows, besides ``css``, ``js`` and ``policy``, which it gets from here.
        styles: packages whose ``page.css`` come before its own.
    """
    # Loaded here, for most who ask whether a path could be that of a page then make none.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        # Names could otherwise turn the direction in which a page is read.
        finalize=_shown,
    )
    css = Markup("").join(_source(each, "page.css") for each in (*styles, package))
    # What all pages do comes first.
    js = Markup("").join((_source("posetools.pages.validation", "scroll.js"), _source(package, "page.js")))
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
    return environment.get_template("page.html").render({**values, "css": css, "js": js, "policy": policy})


def write_page(path: Path, text: str) -> None:
    """Write a page, atomically.

    Raises:
        OutputError: it cannot be written.
    """
    # JSON can hold halves of surrogate pairs, which UTF-8 cannot.
    write_text(path, text.encode("utf-8", "backslashreplace").decode("utf-8"))


def data_uri(picture: Pillow.Image) -> str:
    """Return a picture as a URI that holds it."""
    buffer = io.BytesIO()
    # A Pillow that was built without WebP writes pictures of twice the size.
    kind = "webp" if features.check("webp") else "jpeg"
    picture.save(buffer, kind, quality=_QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _shown(value: object) -> object:
    return "\n".join(map(visible, value.split("\n"))) if type(value) is str else value


def _source(package: str, name: str) -> Markup:
    from jinja2 import Environment, PackageLoader

    environment = Environment(autoescape=True)
    text, _, _ = PackageLoader(package, ".").get_source(environment, name)
    return Markup(text)


def _hash(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
