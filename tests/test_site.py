"""The documentation's website: complete, without broken links, and without requests to other hosts."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.website import ROOT, build

# What a browser loads by itself: tag -> the attribute with the address.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data", "use": "href"}
# Links in a page's head that load nothing.
NOT_LOADED = {"canonical", "prev", "next", "alternate"}
PARTS = ("h1", "h2", "h3", "h4", "li", "table", "tr", "pre")


class Reader(HTMLParser):
    """Collects what a page loads, and counts the parts of its article."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.parts: Counter[str] = Counter()
        self._in_article = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and values.get("rel") not in NOT_LOADED:
            self.loaded.append(values.get("href") or "")
        elif tag in LOADED:
            self.loaded.append(values.get(LOADED[tag]) or "")
        self._in_article |= tag == "article"
        if self._in_article:
            self.parts[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        self._in_article &= tag != "article"


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader


def outside(address: str) -> bool:
    return re.match(r"(\w+:)?//", address.strip("'\" ")) is not None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder


def page_files() -> list[tuple[str, Path]]:
    """Return the name in the site and the file of every page."""
    others = {"index": "README.md", "contributing": "CONTRIBUTING.md", "security": "SECURITY.md"}
    others |= {
        "changelog": "CHANGELOG.md",
        "benchmarks": "benchmarks/README.md",
        "starter-weights": "posetools/weights/README.md",
    }
    named = [(name, ROOT / file) for name, file in others.items()]
    return named + [(path.stem, path) for path in sorted((ROOT / "docs").glob("*.md"))]


def test_every_file_of_the_documentation_is_a_page_in_the_navigation(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    for name, file in page_files():
        assert (site / f"{name}.html").is_file(), file
        assert re.search(rf'<a href="{name}\.html" class="md-(?:nav|tabs)__link', home), f"{name} is not in nav"


def test_pages_show_what_github_shows(site: Path) -> None:
    for name, file in page_files():
        tokens = MarkdownIt("commonmark").enable("table").parse(file.read_text(encoding="utf-8"))
        wanted = Counter(token.tag for token in tokens if token.nesting == 1)
        diagrams = sum(token.info == "mermaid" for token in tokens)
        wanted["pre"] = sum(token.type in ("fence", "code_block") for token in tokens) - diagrams
        shown = read(site / f"{name}.html").parts
        assert {part: shown[part] for part in PARTS} == {part: wanted[part] for part in PARTS}, file
        assert shown["svg"] >= diagrams, file


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(page_files())
    for page in pages:
        assert [address for address in read(page).loaded if outside(address)] == [], page.name
        for style in re.findall(r"<style[^>]*>(.*?)</style>", page.read_text(encoding="utf-8"), re.DOTALL):
            assert not re.search(r"@import|url\(['\"]?(?:https?:)?//", style), page.name
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert "@import" not in text, sheet.name
        assert [address for address in re.findall(r"url\(([^)]*)\)", text) if outside(address)] == [], sheet.name


def test_search_knows_every_page(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert {f"{name}.html" for name, _ in page_files()} - found <= {"index.html"}
    assert found & {"", "index.html"}


@pytest.mark.parametrize("link", ["[a](absent.md)", "[a](convert.md#absent)", "[a](../absent/README.md)"])
def test_a_broken_link_stops_the_build(tmp_path: Path, link: str) -> None:
    copy = tmp_path / "copy"
    for name in ("docs", "tools", "benchmarks", "notebooks"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "posetools/weights", copy / "posetools/weights", ignore=shutil.ignore_patterns("*.pth"))
    for path in (*ROOT.glob("*.md"), ROOT / "mkdocs.yml"):
        shutil.copy(path, copy)
    with (copy / "docs" / "install.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{link}\n")
    done = build(tmp_path / "site", copy / "mkdocs.yml")
    assert done.returncode == 1
    assert "install.md" in done.stderr
    assert link[4:-1].partition("/README")[0].rpartition("/")[2] in done.stderr
