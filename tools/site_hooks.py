"""Hooks of mkdocs.yml: the site is built from the same Markdown files that GitHub shows.

The README and a few other files outside docs/ become pages, links between files become links between pages, and Mermaid
diagrams become SVG at build time, so that a reader's browser loads no script for them.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import mermaidx
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
# Files outside docs/ that are part of the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "posetools/weights/README.md": "starter-weights.md",
    "notebooks/road.ipynb": "road.ipynb",
}
_FILES = {page: file for file, page in PAGES.items()}
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHORT_CODE = re.compile(r"<code>(?=[^<]{1,28}</code>)")
# Code, which stays as it is, or a link.
_CODE_OR_LINK = re.compile(
    r"^```.*?^```$|\[(?P<label>(?:[^\[\]`]|`[^`\n]*`)*)\]\((?P<path>[^()\s#]+)(?P<anchor>#[^()\s]*)?\)|`[^`\n]*`",
    re.MULTILINE | re.DOTALL,
)


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the files outside docs/."""
    for file, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / file).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Point the links of one page at pages, and draw its diagrams."""
    name = page.file.src_uri
    return _FENCE.sub(_diagram, with_site_links(markdown, name, config.repo_url))


def on_page_content(html: str, **_: Any) -> str:
    """Keep short code on one line: a browser would break an option such as ``--out`` after its hyphens."""
    return _SHORT_CODE.sub('<code class="short">', html)


def with_site_links(markdown: str, page: str, repository: str | None) -> str:
    """Return a page's text with links between files turned into links between pages.

    A link to a file that is not part of the site leads to the repository; without a repository URL only its text stays.

    Args:
        markdown: the text.
        page: the page's name, as in the navigation of mkdocs.yml.
        repository: the URL of the repository, where there is one.
    """
    folder = posixpath.dirname(_FILES.get(page, f"docs/{page}"))

    def replace(match: re.Match[str]) -> str:
        path, anchor = match["path"], match["anchor"] or ""
        if path is None or "://" in path or path.startswith("mailto:"):
            return match[0]
        file = posixpath.normpath(posixpath.join(folder, path))
        target = PAGES.get(file, file.removeprefix("docs/"))
        if target != file:
            return f"[{match['label']}]({posixpath.relpath(target, posixpath.dirname(page) or '.')}{anchor})"
        if not (ROOT / file).exists():
            return match[0]
        return f"[{match['label']}]({repository.rstrip('/')}/blob/main/{file})" if repository else match["label"]

    return _CODE_OR_LINK.sub(replace, markdown)


def _diagram(match: re.Match[str]) -> str:
    if match[1] != "mermaid":
        return match[0]
    svg = mermaidx.render(match[2], theme="neutral").svg()
    # Styles inside the SVG name its id, which must be unique on a page.
    return f'<div class="diagram">{svg.replace("my-svg", f"diagram-{match.start()}")}</div>\n'
