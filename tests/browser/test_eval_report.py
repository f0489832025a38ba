"""The page of an evaluation in a real browser: its filter, its policy, light and dark, narrow and wide, no request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posetools.evaluation.report import Subject
from posetools.evaluation.run import measure
from posetools.pages.evaluation.page import write_report
from posetools.synth.dataset import render_set
from tests.browser.test_report import _OWN, check_scrolling, click, fragment, open_page
from tests.oracle import Oracle

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=document.title='owned'><script>document.title='owned'<_script>"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Write the page of one pair, and that of two side by side; the name of the first is hostile."""
    folder = tmp_path_factory.mktemp("eval")
    truth = render_set(folder / "cars", images=10, size=(160, 120), seed=5)
    oracles = (
        Oracle(truth, blur=0.03, lost=frozenset({0, 4}), flipped=frozenset({2, 3}), ghosts=2),
        Oracle(truth, blur=0.08, lost=frozenset({1})),
    )
    reports = [
        measure(Subject(name, "det.pth", "pose.pth", "data/cars", "val", 0.05), oracle, oracle, truth)
        for name, oracle in zip((HOSTILE, "second"), oracles, strict=True)
    ]
    for number in (1, 2):
        write_report(reports[:number], folder / f"{number}.html")
    return {number: folder / f"{number}.html" for number in (1, 2)}


def kinds(chromium: Any) -> list[set[str]]:
    """Return the kinds of error of the cases that can be seen."""
    cases = chromium.find_elements("css selector", "li.case")
    return [set(case.get_attribute("data-kinds").split()) for case in cases if case.is_displayed()]


def test_the_filter_shows_cases_by_kind_and_stands_in_the_address(chromium: Any, pages: dict[int, Path]) -> None:
    open_page(chromium, pages[1])
    every = kinds(chromium)
    assert {"no_box", "left_right", "background"} <= set.union(*every)
    click(chromium, "no_box")
    assert kinds(chromium) == [case for case in every if case != {"no_box"}]
    assert fragment(chromium) == "#off=no_box"
    chromium.find_element("id", "none").click()
    assert kinds(chromium) == []
    click(chromium, "left_right")
    assert kinds(chromium) == [case for case in every if "left_right" in case]
    shown = chromium.find_element("id", "status").text
    assert shown == f"{len(kinds(chromium))} of {len(every)} cases"
    chromium.refresh()
    assert chromium.find_element("id", "status").text == shown
    chromium.find_element("id", "all").click()
    assert kinds(chromium) == every
    assert fragment(chromium) == ""


@pytest.mark.parametrize("number", [1, 2])
def test_nothing_in_data_acts_and_nothing_is_fetched(chromium: Any, pages: dict[int, Path], number: int) -> None:
    open_page(chromium, pages[number])
    images = chromium.find_elements("css selector", "li.case img")
    panels = chromium.find_elements("css selector", "li.case figure")
    assert len(images) == len(panels) == len(chromium.find_elements("css selector", "li.case")) * (1 + number) > 0
    widths = "return [...document.images].map(image => image.naturalWidth)"
    assert min(chromium.execute_script(widths)) > 30
    assert "evaluation" in chromium.title
    assert HOSTILE in chromium.find_element("tag name", "body").text
    assert chromium.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(_OWN)] == [pages[number].as_uri()]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_screen_and_follows_light_and_dark(
    chromium: Any, pages: dict[int, Path], width: int, scheme: str
) -> None:
    for number in (1, 2):
        open_page(chromium, pages[number], width=width, scheme=scheme)
        assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
        background = chromium.execute_script("return getComputedStyle(document.body).backgroundColor")
        red = int(background.removeprefix("rgb(").split(",")[0])
        assert (red < 60) if scheme == "dark" else (red > 200)
        verdict = chromium.find_element("class name", "verdict").rect
        assert verdict["y"] + verdict["height"] < chromium.find_element("tag name", "main").rect["y"]
        if width < 500:
            check_scrolling(chromium)
        first, second = chromium.find_elements("css selector", "li.case:first-child figure")[:2]
        if width > 1000:
            assert (first.rect["y"], first.rect["x"] < second.rect["x"]) == (second.rect["y"], True)
        stroke = "return getComputedStyle(document.querySelector('path.line')).stroke"
        assert chromium.execute_script(stroke) not in ("none", background)


def test_without_scripts_every_case_can_be_seen(chromium: Any, pages: dict[int, Path]) -> None:
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        open_page(chromium, pages[1])
        assert len(kinds(chromium)) == len(chromium.find_elements("css selector", "li.case")) > 4
        assert not chromium.find_element("id", "filters").is_displayed()
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_what_stands_out_leads_to_its_image(chromium: Any, pages: dict[int, Path]) -> None:
    open_page(chromium, pages[1])
    sentence = chromium.find_element("css selector", ".sentence").text
    assert sentence.startswith(("Boxes are the weak half: ", "Poses are the weak half: "))
    first = chromium.find_elements("css selector", ".first a")
    assert [each.get_attribute("hash") for each in first] == [f"#case-{number}" for number in range(1, 7)]
    for chart in (".first", ".curve", ".heat"):
        link = chromium.find_element("css selector", f"{chart} a")
        place = chromium.execute_script("return arguments[0].getAttribute('href')", link)
        link.find_element("css selector", "img, circle").click()
        shown = chromium.find_element("css selector", "li.case:target")
        assert f"#{shown.get_attribute('id')}" == place
        top = chromium.execute_script("return arguments[0].getBoundingClientRect().top", shown)
        assert 0 <= top < 500
    chromium.find_element("id", "none").click()
    chromium.find_element("css selector", ".first a").click()
    chromium.execute_async_script("setTimeout(arguments[0], 50)")
    assert chromium.find_element("id", "case-1").is_displayed(), "a link shows what the filter hid"


def test_every_axis_has_a_name(chromium: Any, pages: dict[int, Path]) -> None:
    open_page(chromium, pages[1])
    for chart in chromium.find_elements("css selector", "svg.curve"):
        texts = [each.text for each in chart.find_elements("tag name", "text")]
        named = {text for text in texts if text and not text.replace(".", "").isdigit()}
        assert len(named) >= 2, chart.get_attribute("aria-label")
