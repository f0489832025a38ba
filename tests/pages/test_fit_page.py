"""The page of ``posetools fit``."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from PIL import Image as Pillow

from posetools.pages.fit.page import FitPage, write_fit_page
from tests.pages.test_report import Page

HOSTILE = "<script>alert('1')</script>\"& #1.html"


def test_it_links_files_by_their_path_from_the_page_and_contains_its_images(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    Pillow.new("RGB", (20, 10)).save(sheet)
    content = FitPage(
        name=HOSTILE,
        usable=True,
        sentences=(HOSTILE,),
        metrics={"box AP": 0.5, "pose AP": None},
        measured_on="2 validation images",
        files={tmp_path / "out" / HOSTILE: "a file", tmp_path / "data": "the data set"},
        images={sheet: "The sheet"},
        seconds={"convert": 1.4},
    )
    path = tmp_path / "out" / "report.html"
    path.parent.mkdir()
    write_fit_page(path, content)
    page = Page(path)
    assert [unquote(a["href"] or "") for a in page.of("a")] == [HOSTILE, "../data"]
    assert (page.of("img")[0]["src"] or "").startswith("data:image/")
    for text in ("The pair is usable.", "0.500 box AP", "n/a pose AP", "Measured on 2 validation images."):
        assert text in page.text
    assert len(page.of("script")) == 1
    before = path.read_bytes()
    write_fit_page(path, content)
    assert path.read_bytes() == before
