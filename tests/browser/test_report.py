"""The report in a real browser: its filters, its script under its policy, its width on a phone, no request anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.checks.validate import validate
from posetools.core.dataset import DatasetBuilder, Image
from posetools.core.place import Origin
from posetools.core.skeleton import dump_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.formats.coco import format as coco
from posetools.pages.validation.page import write_report
from tests.coco_sample import edit, write_sample

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>.jpg".replace("/", "_")
# What Chromium shows of itself before the page is opened.
_OWN = ("chrome:", "chrome-untrusted:", "devtools:", "data:", "about:")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of a set with errors, warnings, a pair, and a hostile file name."""
    folder = tmp_path_factory.mktemp("report")
    cars = folder / "cars"
    write_sample(cars)

    def spoil(document: dict[str, Any]) -> None:
        document["images"][0]["file_name"] = HOSTILE
        document["annotations"][1]["area"] = 1.0
        document["annotations"][2]["keypoints"][0] += 150

    edit(cars / "train_coco.json", spoil)
    (cars / "images/c.jpg").write_bytes((cars / "images/a.jpg").read_bytes())
    (cars / "images/a.jpg").rename(cars / "images" / HOSTILE)
    write_report(validate(cars), folder / "report.html")
    return folder / "report.html"


def open_page(chromium: Any, report: Path, fragment: str = "", width: int = 1280, scheme: str = "light") -> None:
    """Open the page again, with nothing left in the logs, on a screen of that width in CSS pixels."""
    chromium.get("about:blank")
    chromium.get_log("browser")
    chromium.get_log("performance")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    chromium.get(f"{report.as_uri()}{fragment}")


def codes(chromium: Any) -> list[str]:
    """Return the codes of the sections that can be seen."""
    sections = chromium.find_elements("css selector", "section.code")
    return [section.get_attribute("data-code") for section in sections if section.is_displayed()]


def click(chromium: Any, value: str) -> None:
    chromium.find_element("css selector", f"input[value='{value}']").click()


def fragment(chromium: Any) -> str:
    found: str = chromium.execute_script("return location.hash")
    return found


ALL = ["E104", "E126", "W202", "W211"]


def test_filters_by_code_and_severity_change_what_is_shown_and_the_address(chromium: Any, report: Path) -> None:
    open_page(chromium, report)
    assert codes(chromium) == ALL
    assert chromium.find_element("id", "status").text == "4 of 4 findings"
    click(chromium, "W202")
    assert codes(chromium) == ["E104", "E126", "W211"]
    assert fragment(chromium) == "#off=W202"
    click(chromium, "error")
    assert codes(chromium) == ["W211"]
    assert chromium.find_element("id", "status").text == "1 of 4 findings"
    click(chromium, "W202")
    click(chromium, "error")
    assert codes(chromium) == ALL
    assert fragment(chromium) == ""
    chromium.find_element("id", "none").click()
    assert codes(chromium) == []
    click(chromium, "E126")
    assert codes(chromium) == ["E126"]
    chromium.find_element("id", "all").click()
    assert codes(chromium) == ALL


def test_the_address_keeps_the_filter(chromium: Any, report: Path) -> None:
    open_page(chromium, report, "#off=warning,E104")
    assert codes(chromium) == ["E126"]
    chromium.refresh()
    assert codes(chromium) == ["E126"]
    chromium.execute_script("location.hash = 'off=E126'")
    chromium.execute_async_script("setTimeout(arguments[0], 50)")
    assert codes(chromium) == ["E104", "W202", "W211"]
    open_page(chromium, report, "#off=%3Cscript%3E")
    assert codes(chromium) == ALL


def test_the_keyboard_alone_works_the_filters(chromium: Any, report: Path) -> None:
    from selenium.webdriver import ActionChains, Keys

    open_page(chromium, report)
    chromium.execute_script("document.querySelector('input[value=warning]').focus()")
    ActionChains(chromium).send_keys(Keys.SPACE).perform()
    assert codes(chromium) == ["E104", "E126"]
    ActionChains(chromium).send_keys(Keys.TAB).perform()
    assert chromium.execute_script("return document.activeElement.value") == "E104"
    ActionChains(chromium).send_keys(Keys.SPACE).perform()
    assert codes(chromium) == ["E126"]


def test_the_button_copies_file_and_place(chromium: Any, report: Path) -> None:
    open_page(chromium, report)
    grant = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    chromium.execute_cdp_cmd("Browser.grantPermissions", grant)
    button = chromium.find_element("css selector", "[data-code=E104] button.copy")
    button.click()
    copied = chromium.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert copied == f"{report.parent / 'cars' / 'train_coco.json'}: annotations[1] (id 2)"
    assert button.text == "copied"


def test_nothing_in_data_acts_and_nothing_is_fetched(chromium: Any, report: Path) -> None:
    open_page(chromium, report)
    images = chromium.find_elements("tag name", "img")
    # Four at their findings, and one of each of three kinds below the verdict; the fourth is about no image.
    assert len(images) == 4 + 3
    assert all(chromium.execute_script("return arguments[0].naturalWidth", image) > 100 for image in images)
    assert chromium.title == "cars: 2 errors, 2 warnings"
    assert HOSTILE in chromium.find_element("tag name", "main").text
    # A refused style, script or image would stand in the console.
    assert chromium.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(_OWN)] == [report.as_uri()]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_screen_and_follows_light_and_dark(
    chromium: Any, report: Path, width: int, scheme: str
) -> None:
    open_page(chromium, report, width=width, scheme=scheme)
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
    background = chromium.execute_script("return getComputedStyle(document.body).backgroundColor")
    red = int(background.removeprefix("rgb(").split(",")[0])
    assert (red < 60) if scheme == "dark" else (red > 200)
    verdict, totals = (chromium.find_element("css selector", each).rect for each in (".verdict", ".totals"))
    assert verdict["y"] + verdict["height"] < totals["y"]
    pair = chromium.find_elements("css selector", "[data-code=E126] img")
    assert len(pair) == 2
    assert pair[0].rect["y"] == pair[1].rect["y"]
    assert pair[0].rect["x"] < pair[1].rect["x"]


def test_without_scripts_everything_can_be_read(chromium: Any, report: Path) -> None:
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        open_page(chromium, report)
        assert codes(chromium) == ALL
        assert not chromium.find_element("id", "filters").is_displayed()
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_on_paper_it_is_light_and_has_no_controls(chromium: Any, report: Path) -> None:
    open_page(chromium, report, scheme="dark")
    media = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        color = "return getComputedStyle(document.body).backgroundColor"
        assert chromium.execute_script(color) == "rgb(255, 255, 255)"
        assert not chromium.find_element("id", "filters").is_displayed()
        assert not any(button.is_displayed() for button in chromium.find_elements("css selector", ".copy"))
        assert codes(chromium) == ALL
    finally:
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_the_verdict_leads_to_the_findings_also_to_those_that_the_filter_hides(chromium: Any, report: Path) -> None:
    open_page(chromium, report)
    assert (
        chromium.find_element("css selector", ".sentence").text
        == "Not ready to train: 2 errors to fix first; --fix can fix 1 of them."
    )
    first = chromium.find_elements("css selector", ".first a")
    assert [each.text.split()[0] for each in first] == ALL
    click(chromium, "W211")
    first[2].click()
    assert codes(chromium) == ["E104", "E126", "W202"], "a link to what can be seen leaves the filter as it is"
    assert 0 <= chromium.execute_script("return document.getElementById('W202').getBoundingClientRect().top") < 450
    first = chromium.find_elements("css selector", ".first a")
    first[3].click()
    chromium.execute_async_script("setTimeout(arguments[0], 50)")
    assert codes(chromium) == ALL


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of a set of another object, with long names, and a box that is unlike all others."""
    folder = tmp_path_factory.mktemp("many")
    skeleton = draft_skeleton("dog", ["left-front-paw-of-a-dog", "right-front-paw-of-a-dog", "nose"], "dog").skeleton
    (folder / "dog.yaml").write_text(dump_skeleton(skeleton))
    rng = np.random.default_rng(0)
    splits = {}
    for split, count in (("train", 30), ("val", 8)):
        builder = DatasetBuilder(skeleton)
        for number in range(count):
            name = f"{split}_{number}.png"
            Pillow.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(folder / name)
            builder.add_image(Image(name, 80, 60, path=folder / name, split=split))
            side = 3.0 if (split, number) == ("train", 7) else 40.0
            box = np.array([10.0, 10.0, 10 + side, 10 + side])
            points = np.column_stack([np.linspace(10.5, 9.5 + side, 3), np.linspace(10.5, 9.5 + side, 3), [2, 1, 2]])
            builder.add_instance(name, box=box, keypoints=points, origin=Origin(name))
        splits[split] = builder.build()
    coco.write(splits, folder / "dogs", "copy")
    found = validate(folder / "dogs", skeleton=folder / "dog.yaml")
    write_report(found, folder / "many.html")
    return folder / "many.html"


def test_an_outlier_of_a_chart_leads_to_its_image(chromium: Any, many: Path) -> None:
    open_page(chromium, many)
    (dot,) = chromium.find_elements("css selector", ".histogram a")
    dot.find_element("css selector", "circle").click()
    shown = chromium.find_element("css selector", ".item:target")
    assert "train_7.png" in shown.text
    assert "box of 3 px" in shown.text
    assert chromium.execute_script("return arguments[0].querySelector('img').naturalWidth", shown) > 100
    top = chromium.execute_script("return arguments[0].getBoundingClientRect().top", shown)
    assert 0 <= top < 700
    assert len(codes(chromium)) == len(chromium.find_elements("css selector", "section.code")) > 0


@pytest.mark.parametrize("scripted", [True, False])
def test_tables_that_scroll_on_a_phone_say_so(chromium: Any, many: Path, scripted: bool) -> None:
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripted})
    try:
        open_page(chromium, many, width=400)
        check_scrolling(chromium, scripted=scripted)
        open_page(chromium, many, width=1280)
        assert not any(each.is_displayed() for each in chromium.find_elements("class name", "sideways"))
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def check_scrolling(chromium: Any, *, scripted: bool = True) -> None:
    """Check that all tables that are wider than their frame say so in words that can be seen, and no other."""
    wider = 0
    for box in chromium.find_elements("class name", "scroll"):
        hint, table = (box.find_element("css selector", each) for each in (".sideways", "table"))
        scrolls = table.rect["width"] > box.rect["width"]
        wider += scrolls
        assert hint.is_displayed() or not scrolls
        assert not hint.is_displayed() or scrolls or not scripted
        if scrolls:
            assert "Scroll sideways" in hint.text
            assert hint.rect["x"] + hint.rect["width"] <= 400
    assert wider
