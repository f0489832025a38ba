"""VIA 3: image projects are read as VIA 2's, videos are refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from posetools.core.skeleton import load_skeleton
from posetools.formats.options import ReadOptions
from posetools.formats.via import format as via
from tests.build import make_image
from tests.cli.run import run
from tests.formats.via.via_sources import Objects, convert, said

ATTRIBUTES = {
    "1": {"aname": "label", "type": 4, "options": {"0": "fish", "1": "eye", "2": "tail"}},
    "2": {"aname": "occluded", "type": 2, "options": {"7": "yes", "8": "no"}},
    "3": {"aname": "pond", "type": 1, "options": {}},
}
REGIONS: Mapping[str, Mapping[str, Any]] = {
    "1_box": {"vid": "1", "z": [], "xy": [2, 10, 20, 50, 30], "av": {"1": "0"}},
    "1_eye": {"vid": "1", "z": [], "xy": [1, 15, 25.5], "av": {"1": "1", "2": "7"}},
    "1_tail": {"vid": "1", "z": [], "xy": [1, 40, 30], "av": {"1": "2", "2": ""}},
}
READ: Objects = {"a.jpg": [([10, 20, 50, 30], [15, 25.5, 1, 40, 30, 2])]}


def project(regions: Mapping[str, Any], **tables: Any) -> dict[str, Any]:
    base = {
        "project": {"pid": "__VIA_PROJECT_ID__", "vid_list": ["1"]},
        "config": {"file": {}, "ui": {}},
        "attribute": ATTRIBUTES,
        "file": {"1": {"fid": 1, "fname": "a.jpg", "type": 2, "loc": 1, "src": ""}},
        "view": {"1": {"fid_list": [1]}},
        "metadata": regions,
    }
    return base | tables


def save(tmp_path: Path, regions: Mapping[str, Any] = REGIONS, **tables: Any) -> Path:
    source = tmp_path / "src"
    make_image(source / "a.jpg")
    (source / "pond.json").write_text(json.dumps(project(regions, **tables)))
    return source


def with_region(xy: Any, **av: Any) -> dict[str, Any]:
    """Return the regions with another one instead of the eye's point."""
    return {**REGIONS, "1_eye": {"vid": "1", "z": [], "xy": xy, "av": {"1": "1", "2": "7"} | av}}


def test_a_project_is_detected_and_read(tmp_path: Path) -> None:
    done, objects = convert(save(tmp_path))
    assert done.status == 0 and objects == READ
    assert "1 via annotation file" in done.words and not said(done, ("W323", "W324"))


@pytest.mark.parametrize(
    ("regions", "eye", "counted"),
    [
        (with_region([1, "15", "25.5"]), [15, 25.5, 1], "coordinates as strings were read as numbers (1)"),
        (with_region(["1", 15, 25.5]), [15, 25.5, 1], ""),
        (with_region([3, 15, 25.5, 4]), [15, 25.5, 1], "read as its center (1)"),
        (with_region([9, 18, 25, 15, 28, 12, 25]), [15, 25, 1], "read as its center (1)"),
        (with_region([1, 15, 25.5], **{"1": "eye"}), [15, 25.5, 1], ""),
        (with_region([1, 15, 25.5], **{"2": "8"}), [15, 25.5, 2], ""),
        (with_region([1, 15, 25.5], **{"2": 7}), [15, 25.5, 1], ""),
    ],
)
def test_ways_to_write_a_point(tmp_path: Path, regions: Any, eye: list[float], counted: str) -> None:
    done, objects = convert(save(tmp_path, regions))
    assert objects == {"a.jpg": [([10, 20, 50, 30], [*eye, 40, 30, 2])]}
    assert len(said(done)) == bool(counted) and counted in "".join(said(done))


@pytest.mark.parametrize(
    ("xy", "box"),
    [
        ([8, 10, 30, 35, 20, 60, 40, 30, 50], [10, 20, 50, 30]),
        ([7, 10, 20, 60, 20, 60, 50, 40, 50], [10, 20, 50, 30]),
        ([4, 35, 35, 25, 15], [10, 20, 50, 30]),
        ([3, 35, 35, 20], [15, 15, 40, 40]),
        ([2, 60, 50, -50, -30], [10, 20, 50, 30]),
    ],
)
def test_shapes_around_an_object(tmp_path: Path, xy: list[float], box: list[float]) -> None:
    regions = {**REGIONS, "1_box": {"vid": 1, "z": [], "xy": xy, "av": {"1": "0"}}}
    assert convert(save(tmp_path, regions))[1] == {"a.jpg": [(box, READ["a.jpg"][0][1])]}


@pytest.mark.parametrize(
    "file",
    [
        {"fname": "pond/b.jpg", "type": 2, "loc": 1, "src": ""},
        {"fname": "b.jpg", "type": "2", "loc": 3, "src": "pond/b.jpg"},
        {"fname": "http://localhost/pond/b.jpg?v=1", "type": 2, "loc": 2, "src": "http://localhost/pond/b.jpg?v=1"},
    ],
)
def test_where_the_image_is(tmp_path: Path, file: Any) -> None:
    source = save(tmp_path, file={"1": file})
    (source / "pond").mkdir()
    (source / "a.jpg").rename(source / ("b.jpg" if "://" in file["fname"] else "pond/b.jpg"))
    done, objects = convert(source)
    assert list(objects.values()) == list(READ.values())
    # A folder of another name is reported.
    assert bool(said(done, ("W332",))) is ("://" in file["fname"])


def test_what_speaks_of_the_whole_image_is_noted(tmp_path: Path) -> None:
    done, objects = convert(save(tmp_path, {**REGIONS, "1_x": {"vid": "1", "z": [], "xy": [], "av": {"3": "deep"}}}))
    assert objects == READ and "file attributes (pond) are not carried over" in said(done, ("W323",))[0]


def test_an_image_without_regions_is_one_without_objects(tmp_path: Path) -> None:
    files = {str(n): {"fid": n, "fname": f"{name}.jpg", "type": 2} for n, name in ((1, "a"), (2, "b"))}
    source = save(tmp_path, file=files, view={"1": {"fid_list": ["1"]}, "2": {"fid_list": [2]}})
    make_image(source / "b.jpg")
    assert convert(source)[1] == {**READ, "b.jpg": []}


def test_regions_without_a_label_name_the_attribute_that_has_it(tmp_path: Path) -> None:
    attributes = {**ATTRIBUTES, "1": {**ATTRIBUTES["1"], "aname": "part"}}
    source = save(tmp_path, attribute=attributes)
    done, objects = convert(source)
    assert objects == {} and "--attribute label=part uses part ('fish', 'eye', 'tail') as the label" in done.words
    assert convert(source, "--attribute", "label=part")[1] == READ


def test_a_video_is_refused_and_named_and_images_beside_it_are_read(tmp_path: Path) -> None:
    film = {"fid": 2, "fname": "swim.mp4", "type": 4, "loc": 1, "src": ""}
    moment = {"vid": "2", "z": [1.25], "xy": [1, 3, 4], "av": {"1": "1"}}
    files = {"1": {"fid": 1, "fname": "a.jpg", "type": 2}, "2": film}
    source = save(
        tmp_path, {**REGIONS, "2_x": moment}, file=files, view={"1": {"fid_list": [1]}, "2": {"fid_list": [2]}}
    )
    done, objects = convert(source)
    message, hint = said(done, ("E310",))
    assert done.status == 1 and objects == {}
    assert "got a VIA 3 project with video or audio (swim.mp4): its 1 regions belong to times" in message
    assert "ffmpeg" in hint
    done, objects = convert(source, "--keep-going")
    assert done.status == 1 and objects == READ


@pytest.mark.parametrize(
    ("regions", "tables", "code", "words"),
    [
        (
            with_region([1, 15]),
            {},
            "E311",
            "xy must be a list of a VIA 3 shape (1 to 9) and its numbers",
        ),
        (with_region([1, 15, "left"]), {}, "E311", "xy.cy must be a finite number, got 'left'"),
        (with_region([12, 15, 25]), {}, "E311", "xy must be a list of a VIA 3 shape"),
        (with_region("1"), {}, "E311", "xy must be a list of a VIA 3 shape"),
        (with_region([9, 1, 1, 2, 2, 3, 3]), {}, "E311", "xy must be a list of a VIA 3 shape"),
        (with_region([9, 10**400, 1, 2, 2, 3, 3]), {}, "E311", "xy must be a list of a VIA 3 shape"),
        (with_region([5, 1, 1, 2, 2]), {}, "E302", "must be 'point', got 'polyline'"),
        (with_region([1, 15, 25], **{"1": "9"}), {}, "E301", "got '9'"),
        ({**REGIONS, "x": {"vid": "5", "xy": [1, 2, 3]}}, {}, "E311", "vid must be a view of the project, got"),
        ({**REGIONS, "x": 7}, {}, "E311", "vid must be a view of the project"),
        (REGIONS, {"view": {"1": {"fid_list": [1, 1]}}}, "E311", "fid_list must be a list of one file"),
        (REGIONS, {"view": {"1": 3}}, "E311", "fid_list must be a list of one file"),
        (REGIONS, {"file": {}}, "E311", "the file of the view must be in the table file under 1"),
        (REGIONS, {"file": [1]}, "E310", "file must be an object of a VIA 3 project"),
    ],
)
def test_ways_to_break_one(tmp_path: Path, regions: Any, tables: dict[str, Any], code: str, words: str) -> None:
    found = via.FORMAT.read(
        [save(tmp_path, regions, **tables)], load_skeleton("car8"), ReadOptions(names=CARS)
    ).findings
    assert code in {one.code for one in found}
    assert any(words in one.message for one in found), found


CARS = {"fish": "car", "eye": "left-front-tire", "tail": "left-rear-tire"}


def test_an_empty_project_and_a_table_of_one(tmp_path: Path) -> None:
    source = save(tmp_path, metadata=[], view=[], file=[], attribute=[])
    assert via.detect(source)
    found = via.FORMAT.read([source], load_skeleton("car8"), ReadOptions()).findings
    assert [one.code for one in found] == ["W322"]
    (source / "pond.json").unlink()
    (source / "pond.csv").write_text("# Exported using VGG Image Annotator (http://...)\n# Notes:\n")
    done = run("convert", source, "--out", tmp_path / "out")
    assert "pond.csv: looks like a VIA 3 table; save the project as a .json file instead" in done.words
