"""The page that ``validate --report`` writes: its contents, and that no data can run in it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.checks.validate import validate
from posetools.core.findings import Finding
from posetools.errors import RequestError
from posetools.pages.cutouts import region_of
from posetools.pages.validation.charts import BOX_EDGE, BOX_GRID, figures_of
from posetools.pages.validation.crops import Cropper
from posetools.pages.validation.page import SHOWN_PER_CODE, write_report
from tests.coco_sample import edit, write_sample

TRAIN, VAL = "train_coco.json", "val_coco.json"
HOSTILE = "<script>alert('1')</script>\"&.jpg"


class Page(HTMLParser):
    """The elements of a page: name and attributes, and all text outside scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += f" {data}" if self.elements and self.elements[-1][0] not in ("script", "style") else ""

    def of(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [a for name, a in self.elements if name == tag and wanted.items() <= a.items()]

    @property
    def text(self) -> str:
        return " ".join(self.words.split())


def check_links(page: Page) -> None:
    """Check that a page contains its images, and that all other links are within the page."""
    links = [a.get(key) or "" for _, a in page.elements for key in ("src", "href", "srcset", "data") if key in a]
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(set(ids)) == len(ids)
    inside = [link for link in links if link.startswith("#")]
    assert {link[1:] for link in inside} <= set(ids)
    assert inside
    assert all(link.startswith("data:image/") for link in links if link not in inside)


@pytest.fixture
def cars(tmp_path: Path) -> Path:
    write_sample(tmp_path / "cars")
    return tmp_path / "cars"


def page_of(data: Path) -> Page:
    target = data.parent / "report.html"
    write_report(validate(data), target)
    return Page(target)


def spoil(document: dict[str, Any]) -> None:
    document["annotations"][1]["area"] = 1.0
    document["annotations"][2]["keypoints"][0] += 150


def test_the_page_has_totals_charts_and_each_finding_with_its_image(cars: Path) -> None:
    edit(cars / TRAIN, spoil)
    page = page_of(cars)
    assert "3 images" in page.text
    assert "6 objects" in page.text
    assert "1 errors" in page.text
    assert "2 warnings" in page.text
    assert [(s["data-code"], s["data-severity"], s["data-count"]) for s in page.of("section") if "data-code" in s] == [
        ("E104", "error", "1"),
        ("W202", "warning", "1"),
        ("W211", "warning", "1"),
    ]
    assert "area must be a number greater than 1 (square pixels), got 1.0" in page.text
    assert f"{cars / TRAIN}: annotations[1] (id 2)" in page.text
    assert "check whether the point belongs to another object, or the box is too small" in page.text
    # Below the verdict, and at their findings.
    assert [img["alt"] for img in page.of("img")] == ["", "", "E104 in train: a.jpg", "W202 in train: sub/b.png"]
    assert len(page.of("svg", **{"class": "histogram"})) == 3
    assert len(page.of("svg", **{"class": "heat"})) == 8
    # Two splits, and eight keypoints in both.
    assert len(page.of("svg", **{"class": "bar"})) == 2 + 2 * 8
    assert "Fix it with posetools validate --fix" not in page.text


def test_the_same_findings_give_the_same_bytes(cars: Path) -> None:
    assert page_of(cars).source == page_of(cars).source


def test_hostile_names_and_labels_are_text(cars: Path) -> None:
    def name(document: dict[str, Any]) -> None:
        document["images"][0]["file_name"] = HOSTILE.replace("/", "_")
        document["images"][1]["file_name"] = "../" + HOSTILE + "\ud800"
        document["categories"].append({"id": 2, "name": HOSTILE, "keypoints": [], "skeleton": []})

    edit(cars / TRAIN, name)
    (cars / "images/a.jpg").rename(cars / "images" / HOSTILE.replace("/", "_"))
    page = page_of(cars)
    assert len(page.of("script")) == 1
    assert HOSTILE in page.text
    assert "alert" not in {key for _, attributes in page.elements for key in attributes}
    assert "<script>alert" not in page.source


def test_the_policy_names_the_script_and_the_style_and_nothing_else(cars: Path) -> None:
    edit(cars / TRAIN, spoil)
    page = page_of(cars)
    (policy,) = [a["content"] or "" for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for kind in ("script", "style"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page.source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    # A style attribute would be refused by the policy, an event handler too.
    for _, attributes in page.elements:
        assert not {key for key in attributes if key == "style" or key.startswith("on")}
    check_links(page)


def test_findings_beyond_a_number_are_counted_and_those_shown_are_spread_over_all(cars: Path) -> None:
    total = 3 * SHOWN_PER_CODE

    def many(document: dict[str, Any]) -> None:
        first = document["annotations"][0]
        document["annotations"] = [
            {**first, "id": 100 + i, "bbox": [10 + i, 20, 80, 60], "area": 1.0} for i in range(total)
        ]

    edit(cars / TRAIN, many)
    page = page_of(cars)
    (section,) = page.of("section", **{"data-code": "E104"})
    assert section["data-count"] == str(total)
    assert f"{SHOWN_PER_CODE} of {total} are shown" in page.text
    shown = re.findall(r"annotations\[(\d+)\] \(id \d+\)", page.text)
    assert len(shown) == SHOWN_PER_CODE
    assert (shown[0], shown[-1]) == ("0", str(total - 1))


def test_images_that_are_in_two_splits_stand_side_by_side(cars: Path) -> None:
    (cars / "images/c.jpg").write_bytes((cars / "images/a.jpg").read_bytes())
    page = page_of(cars)
    assert len(page.of("li", **{"class": "item pair"})) == 1
    assert [img["alt"] for img in page.of("img") if img["alt"]] == ["E126 in val: c.jpg", "E126 in train: a.jpg"]
    sources = [img["src"] for img in page.of("img")]
    assert all(source and source.startswith("data:image/") for source in sources)


@pytest.mark.parametrize("broken", ["missing", "unreadable", "none"])
def test_a_set_that_is_broken_all_over_still_has_its_page(cars: Path, broken: str) -> None:
    if broken == "missing":
        (cars / VAL).unlink()
        (cars / "images/a.jpg").unlink()
    elif broken == "unreadable":
        (cars / VAL).write_text("{")
        (cars / "images/a.jpg").write_bytes(b"no image")
    else:
        for name in (TRAIN, VAL):
            edit(cars / name, lambda document: document.update(images=[], annotations=[]))
    page = page_of(cars)
    assert page.of("section", **{"data-severity": "error"})


@pytest.mark.parametrize("value", [[], [1, 2, 3], ["a", 1, 1, 1], [0, 0, 0, 5], [1e300, 0, 5, 5], None, "x"])
def test_boxes_that_are_nonsense_are_drawn_as_far_as_they_can_be(cars: Path, value: object) -> None:
    edit(cars / TRAIN, lambda document: document["annotations"][1].update(bbox=value))
    page = page_of(cars)
    assert page.of("section", **{"data-severity": "error"}) or value == [1e300, 0, 5, 5]
    assert page.of("img")


@pytest.mark.parametrize("images", [None, {}, [1, None, {"id": []}]])
def test_annotations_are_looked_up_in_images_that_are_nonsense(cars: Path, images: object) -> None:
    def change(document: dict[str, Any]) -> None:
        document["images"] = images
        del document["annotations"][0]["bbox"]
        document["annotations"][1] = 5

    edit(cars / TRAIN, change)
    page = page_of(cars)
    assert "annotations[0]" in page.text
    assert page.of("img") == []


def test_a_single_file_has_a_page_too(cars: Path) -> None:
    target = cars.parent / "one.html"
    write_report(validate(cars / VAL), target)
    assert "1 images" in Page(target).text


def test_another_name_than_that_of_a_page_is_refused(cars: Path) -> None:
    for name in ("report.json", "images"):
        with pytest.raises(RequestError, match=r"--report must be a file that ends with \.html or \.htm, got"):
            write_report(validate(cars), cars / name)
    assert not (cars / "report.json").exists()


def test_a_crop_shows_the_object_and_its_points(cars: Path) -> None:
    edit(cars / TRAIN, spoil)
    report = validate(cars)
    (finding,) = [each for each in report.findings if each.code == "W202"]
    cropper = Cropper(report.checked)
    ringed, plain = (
        np.array(Pillow.open(io.BytesIO(base64.b64decode(crop.uri.partition(",")[2]))).convert("RGB")).astype(int)
        for each in (finding, replace(finding, keypoints=()))
        for crop in cropper.crops(each)
    )
    assert max(ringed.shape) <= 340
    # Only the ring around the finding's point is new, a few pixels of strong color.
    rows, columns = np.nonzero(np.abs(ringed - plain).sum(axis=2) > 150)
    assert 20 < len(rows) < 400
    assert rows.max() - rows.min() < 40
    assert columns.max() - columns.min() < 40


def test_what_a_crop_shows_holds_box_and_points_inside_the_image() -> None:
    boxes = np.array([[100.0, 100, 140, 110]])
    keypoints = np.zeros((1, 8, 3))
    keypoints[0, 0] = [300, 90, 2]
    x1, y1, x2, y2 = region_of(boxes, keypoints, (320, 240))
    assert x1 <= 60
    assert x2 == 320
    assert y1 < 90
    assert y2 > 110
    assert (x2 - x1) / (y2 - y1) <= 3.1
    outside = np.array([[-500.0, -500, -400, -400]])
    assert region_of(outside, np.zeros((1, 8, 3)), (320, 240)) == (0, 0, 6, 6)


def test_findings_about_no_image_have_none(cars: Path) -> None:
    cropper = Cropper(validate(cars).checked)
    for file, place in ((str(cars), ""), (str(cars / TRAIN), "categories[0] (id 1, car)"), ("other", "images[0]")):
        assert cropper.crops(Finding("W212", file, place, "x")) == ()
    for place in ("images[99]", "annotations[99]"):
        assert cropper.crops(Finding("E102", str(cars / TRAIN), place, "x")) == ()


def test_figures_count_every_labeled_point_in_its_cell(cars: Path) -> None:
    def place(document: dict[str, Any]) -> None:
        x, y, w, h = document["annotations"][0]["bbox"]
        document["annotations"] = document["annotations"][:1]
        document["annotations"][0]["keypoints"] = [
            *(x, y, 2, x + w / 2, y + h, 1, x + 3 * w, y, 2),
            *[0, 0, 0] * 5,
        ]

    edit(cars / TRAIN, place)
    material = validate(cars).checked
    figures = figures_of({"train": material.objects["train"]}, material.skeleton)
    names = material.skeleton.names
    assert [figures.keypoints[name]["train"] for name in names[:4]] == [(0, 0, 1), (0, 1, 0), (0, 0, 1), (1, 0, 0)]
    corner = int(BOX_GRID * BOX_EDGE / (1 + 2 * BOX_EDGE))
    assert np.argwhere(figures.places[names[0]]).tolist() == [[corner, corner]]
    assert np.argwhere(figures.places[names[1]]).tolist() == [[BOX_GRID - corner, BOX_GRID // 2]]
    assert figures.places[names[2]].sum() == 0
    for histogram in figures.histograms:
        assert sum(histogram.counts["train"]) == 1
        assert len(histogram.counts["train"]) == len(histogram.labels) == len(histogram.ranges)
    size, shape, visible = figures.histograms
    width, height = json.loads((cars / TRAIN).read_text())["annotations"][0]["bbox"][2:]
    low, high = size.ranges[size.counts["train"].index(1)].split(" to ")
    assert float(low) <= np.sqrt(width * height) <= float(high)
    assert shape.ranges[shape.counts["train"].index(1)] == "1.2:1 to 1.4:1"
    assert visible.counts["train"][2] == 1
