"""A self-contained page: its template, style and script, and a content security policy that names both.

Jinja2 escapes every text; what must not be escaped (charts, the page's own script and style) is Markup made next to the
template. The policy names the script and style by their hashes, so that text that bypassed the escaping would still not
run, and forbids everything external.
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
    """Refuse a path that is not an HTML file name, before anything else.

    Raises:
        RequestError: it has another file extension, or is a folder.
    """
    if path.is_dir() or path.suffix.lower() not in PAGE_SUFFIXES:
        raise RequestError(must_be("--report", f"a file that ends with {' or '.join(PAGE_SUFFIXES)}", str(path)))


def render_page(name: str, values: Mapping[str, Any]) -> str:
    """Return a page.

    Args:
        name: the folder with the page's own ``page.html``, ``page.js`` and optional ``page.css``.
        values: the template's values, except ``css``, ``js`` and ``policy``, which are added here.
    """
    # Imported here: most callers only check a path and render no page.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        # Names could otherwise contain characters that reverse the text direction.
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
    # JSON can contain lone surrogates, which UTF-8 cannot encode.
    write_text(path, text.encode("utf-8", "backslashreplace").decode("utf-8"))


def data_uri(image: Pillow.Image) -> str:
    """Return an image as a data URI."""
    buffer = io.BytesIO()
    # Without WebP in Pillow, images are twice as large.
    kind = "webp" if features.check("webp") else "jpeg"
    image.save(buffer, kind, quality=_PAGE_QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _shown(value: object) -> object:
    return "\n".join(map(visible, value.split("\n"))) if type(value) is str else value


def _source(name: str, file: str) -> Markup:
    """Return the source shared by all pages, then the page's own."""
    paths = (_FOLDER / file, _FOLDER / name / file)
    return Markup("").join(Markup(path.read_text(encoding="utf-8")) for path in paths if path.is_file())


def _hash(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
