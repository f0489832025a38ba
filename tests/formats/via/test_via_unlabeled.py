"""Regions of VIA without a label: one finding per file, whose hints are followed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.cli.run import Done
from tests.formats.via.via_sources import Objects, convert, point, rect, region, said, save

FISH: Objects = {
    "0.jpg": [([10, 20, 50, 30], [15, 25, 2, 40, 30, 2])],
    "1.jpg": [([10, 20, 50, 30], [15, 25, 2, 40, 30, 2])],
}


def shapes(box: dict[str, Any], eye: dict[str, Any], tail: dict[str, Any]) -> list[dict[str, Any]]:
    return [rect(10, 20, 50, 30, **box), point(15, 25, **eye), point(40, 30, **tail)]


def typed(done: Done) -> list[str]:
    """Return the option that the hint of the only error names first, as typed in a shell."""
    _, hint = said(done, ("E311",))
    found = re.match(r"fix: (--[a-z-]+) ('[^']*'|\S+) (?:uses|maps|reads) ", hint)
    assert found, hint
    return shlex.split(f"{found[1]} {found[2]}")


@pytest.mark.parametrize(
    ("regions", "option"),
    [
        (shapes({"part": "fish"}, {"part": "eye"}, {"part": "tail"}), "label=part"),
        (shapes({"object": "fish"}, {"object": "eye"}, {"object": "tail"}), "label=object"),
        (shapes({"kind": "fish"}, {"part": {"eye": True}}, {"part": "tail", "kind": "x"}), "label=part,kind"),
        (shapes({"label": "fish"}, {"a part": "eye"}, {"a part": "tail"}), "label=label,a part"),
    ],
)
def test_the_attribute_with_the_names_of_the_skeleton_is_found(tmp_path: Path, regions: Any, option: str) -> None:
    source = save(tmp_path / "src", regions, regions)
    done, objects = convert(source)
    assert done.status == 1 and objects == {}
    [first, _] = said(done, ("E301", "E302", "E303", "E304", "E306", "E311", "E116"))
    assert "regions must have a label in label, name or class, got none for" in first
    assert typed(done) == ["--attribute", option]
    done, objects = convert(source, *typed(done))
    assert done.status == 0 and objects == FISH


def test_an_attribute_with_other_names_is_taken_and_they_are_mapped(tmp_path: Path) -> None:
    source = save(tmp_path / "src", shapes({"part": "Fisch"}, {"part": "Auge"}, {"part": "Flosse"}))
    done, _ = convert(source)
    assert typed(done) == ["--attribute", "label=part"] and "--map 'OLD=NEW' renames its values" in done.words
    maps = ("--map", "Fisch=fish", "--map", "Auge=eye", "--map", "Flosse=tail")
    assert convert(source, *typed(done), *maps)[1] == {"0.jpg": FISH["0.jpg"]}


def test_rectangles_without_a_label_where_the_points_have_one(tmp_path: Path) -> None:
    regions = shapes({"object": "1"}, {"label": "eye", "object": "1"}, {"label": "tail", "object": "1"})
    source = save(tmp_path / "src", regions, regions)
    done, objects = convert(source)
    assert objects == {} and typed(done) == ["--map", "=fish"]
    assert "got none for 2 (2 rect) in 2 images, which are not read (4 other regions" in said(done, ("E311",))[0]
    assert convert(source, *typed(done))[1] == FISH


def test_points_are_not_mapped_to_the_category(tmp_path: Path) -> None:
    source = save(tmp_path / "src", shapes({}, {}, {}))
    done, _ = convert(source)
    assert typed(done) == ["--map", "=fish"] and "--kpt-order eye,tail reads the points" in done.words
    done, objects = convert(source, *typed(done))
    assert objects == {} and "got none for 2 (2 point) in 1 image" in done.words
    assert typed(done) == ["--kpt-order", "eye,tail"]


def test_one_forgotten_label_is_given_in_via_or_left_out(tmp_path: Path) -> None:
    stray = region("polygon", {"all_points_x": [70, 80, 75], "all_points_y": [1, 1, 9]}, "")
    regions = shapes({"label": "fish"}, {"label": "eye"}, {"label": "tail"})
    source = save(tmp_path / "src", [*regions, stray], regions)
    done, objects = convert(source)
    assert objects == {} and "label them in VIA like the others; --map '=fish' maps" in done.words
    assert "0.jpg: regions[3]" in said(done, ("E311",))[0]
    assert convert(source, "--ignore", "")[1] == FISH


def test_images_with_such_regions_are_no_images_without_objects(tmp_path: Path) -> None:
    regions = shapes({"label": "fish"}, {"label": "eye"}, {"label": "tail"})
    source = save(tmp_path / "src", shapes({}, {}, {}), regions)
    done, objects = convert(source, "--keep-going")
    assert done.status == 1 and objects == {"1.jpg": FISH["1.jpg"]}


def test_one_category_alone_leaves_no_region_without_a_label_out_unsaid(tmp_path: Path) -> None:
    other = rect(70, 20, 9, 9, label="crab")
    source = save(tmp_path / "src", [*shapes({}, {"label": "eye"}, {"label": "tail"}), other])
    done, objects = convert(source, "--categories", "fish")
    assert objects == {} and "--map '=fish' maps those that are not points" in done.words
    done, objects = convert(source, "--categories", "fish", "--map", "=fish")
    assert objects == {"0.jpg": FISH["0.jpg"]}


def test_a_polyline_without_a_label_is_keypoints_in_their_order(tmp_path: Path) -> None:
    line = region("polyline", {"all_points_x": [15, 40], "all_points_y": [25, 30]}, {})
    source = save(tmp_path / "src", *[[rect(10, 20, 50, 30, label="fish"), line]] * 2)
    done, _ = convert(source)
    assert "--kpt-order eye,tail reads" in said(done, ("E311",))[1]
    done, objects = convert(source, "--kpt-order", "eye,tail")
    assert objects == FISH


def test_an_attribute_that_numbers_the_objects_is_named(tmp_path: Path) -> None:
    fish = [rect(10, 20, 50, 30, label="fish", nr="1"), point(15, 25, label="eye", nr="1")]
    other = [rect(20, 25, 60, 40, label="fish", nr="2"), point(25, 35, label="eye", nr="2")]
    source = save(tmp_path / "src", [*fish, *other, point(30, 40, label="tail", nr="2", color="red")])
    done, objects = convert(source)
    assert objects == {} and "--attribute object=nr uses nr as the object" in said(done, ("E304",))[1]
    _, objects = convert(source, "--attribute", "object=nr")
    assert objects == {"0.jpg": [([10, 20, 50, 30], [15, 25, 2, 0, 0, 0]), ([20, 25, 60, 40], [25, 35, 2, 30, 40, 2])]}
