"""Reading CVAT for images 1.1: one test per convention, and a table of the ways to break one valid file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import posetools.formats.cvat.format as cvat
from posetools.core.skeleton import load_skeleton
from posetools.errors import RequestError
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult
from tests.build import make_image

CAR8 = load_skeleton("car8")
SIZE = (320, 240)
LFT, LRT, RRT = "left-front-tire", "left-rear-tire", "right-rear-tire"


def tag(kind: str, body: str = "", **attributes: object) -> str:
    """Return an element; a leading underscore in an attribute's name is dropped."""
    said = "".join(f' {name.removeprefix("_")}="{value}"' for name, value in attributes.items())
    return f"<{kind}{said}>{body}</{kind}>"


def box(x1: float, y1: float, x2: float, y2: float, body: str = "", **more: Any) -> str:
    given = {"label": "car-box", "xtl": x1, "ytl": y1, "xbr": x2, "ybr": y2, "occluded": 0, "z_order": 0} | more
    return tag("box", body, **given)


def point(label: str, x: float, y: float, body: str = "", **more: Any) -> str:
    given = {"label": label, "source": "manual", "outside": 0, "occluded": 0, "points": f"{x},{y}"} | more
    return tag("points", body, **given)


def skeleton(*points: str, **more: Any) -> str:
    return tag("skeleton", "".join(points), **({"label": "car", "source": "manual", "z_order": 0} | more))


def image(*shapes: str, **more: Any) -> str:
    given = {"id": 0, "name": "a.jpg", "width": SIZE[0], "height": SIZE[1]} | more
    return tag("image", "".join(shapes), **given)


def document(*images: str) -> str:
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{"".join(images)}</annotations>'


VALID = image(
    box(10, 20, 110, 90, group_id=1),
    skeleton(
        point(LFT, 30.5, 80.25),
        point(LRT, 90, 80, occluded=1),
        point(RRT, 50, 50, outside=1),
        group_id=1,
    ),
    box(150, 20, 300, 120, group_id=2),
    skeleton(point(LFT, 170, 100), group_id=2),
)


def save(folder: Path, text: str | bytes, name: str = "annotations.xml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(folder: Path, *shapes: str, **options: Any) -> ReadResult:
    """Read a folder with one image, whose entry holds these shapes."""
    make_image(folder / "images/a.jpg", SIZE)
    save(folder, document(image(*shapes)))
    return cvat.FORMAT.read([folder], CAR8, ReadOptions(**options))


def visibility(result: ReadResult, row: int = 0) -> dict[str, int]:
    return {name: int(v) for name, v in zip(CAR8.names, result.dataset.visibility[row], strict=True) if v}


def codes(result: ReadResult) -> list[tuple[str, str]]:
    return [(finding.code, finding.place) for finding in result.findings]


def texts(result: ReadResult) -> str:
    return "\n".join(f"{finding.message}\n{finding.hint}" for finding in result.findings)


def test_box_and_skeleton_of_a_group(tmp_path: Path) -> None:
    make_image(tmp_path / "images/a.jpg", SIZE)
    file = save(tmp_path, document(VALID))
    result = cvat.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert result.findings == () and result.files == 1 and result.ignored == {}
    assert result.dataset.boxes.tolist() == [[10, 20, 110, 90], [150, 20, 300, 120]]
    assert visibility(result) == {LFT: 2, LRT: 1} and visibility(result, 1) == {LFT: 2}
    assert result.dataset[0].keypoints[CAR8.index[LFT]].tolist() == [30.5, 80.25, 2]
    assert result.dataset[0].keypoints[CAR8.index[RRT]].tolist() == [0, 0, 0], "outside"
    assert tuple(map(str, result.dataset.origins)) == (
        f"{file}: image[0] (a.jpg): box[0]",
        f"{file}: image[0] (a.jpg): box[1]",
    )
    assert [(i.file_name, i.path, i.split) for i in result.dataset.images] == [
        ("a.jpg", tmp_path / "images/a.jpg", None)
    ]


@pytest.mark.parametrize(("label", "names"), [("car", {}), ("vehicle_bbox", {"vehicle_bbox": "car"})])
def test_other_labels_of_the_box(tmp_path: Path, label: str, names: dict[str, str]) -> None:
    shapes = (box(0, 0, 99, 99, label=label, group_id=7), skeleton(point(LFT, 9, 9), group_id=7))
    result = read(tmp_path, *shapes, names=names)
    assert result.findings == () and len(result.dataset) == 1 and visibility(result) == {LFT: 2}


def test_labels_of_skeleton_and_points_through_map(tmp_path: Path) -> None:
    shapes = (box(0, 0, 99, 99, group_id=1), skeleton(point("1", 9, 9), label="s1", group_id=1))
    result = read(tmp_path, *shapes, names={"1": LFT, "s1": "car"})
    assert result.findings == () and visibility(result) == {LFT: 2}


def test_a_skeleton_without_group_belongs_to_the_only_box_that_can_be_its_own(tmp_path: Path) -> None:
    boxes = [box(0, 0, 200, 200), box(50, 50, 100, 100)]
    skeletons = [skeleton(point(LFT, 60, 60), point(LRT, 70, 70)), skeleton(point(LFT, 9, 9))]
    result = read(tmp_path, *boxes, *skeletons)
    assert [visibility(result, row) for row in (0, 1)] == [{LFT: 2}, {LFT: 2, LRT: 2}]
    assert codes(result) == [("W321", "image[0] (a.jpg): skeleton[0]")] and "got none for skeleton[0]" in texts(result)
    result = read(tmp_path, *boxes, skeletons[0])
    assert [visibility(result, row) for row in (0, 1)] == [{}, {}]
    assert [code for code, _ in codes(result)] == ["E304"] and "group them (key G)" in texts(result)


def test_a_skeleton_that_sticks_out_of_its_box_a_little_makes_no_second_object(tmp_path: Path) -> None:
    for options in ({}, {"box_from": "keypoints"}):
        result = read(tmp_path, box(50, 50, 150, 150), skeleton(point(LFT, 60, 45), point(LRT, 70, 70)), **options)
        assert [visibility(result, 0), len(result.dataset)] == [{LFT: 2, LRT: 2}, 1]
        assert [code for code, _ in codes(result)] == ["W330"]


def test_a_flat_point_just_outside_the_only_box_is_its_own(tmp_path: Path) -> None:
    result = read(tmp_path, box(0, 0, 50, 50), point(LFT, 52, 9), point(LRT, 9, 9))
    assert visibility(result, 0) == {LFT: 2, LRT: 2} and codes(result) == [("W327", "image[0] (a.jpg): points[0]")]
    assert "is 2 px (4.0% of its side) outside box[0]" in texts(result)


def test_a_group_wins_over_containment(tmp_path: Path) -> None:
    result = read(tmp_path, box(0, 0, 50, 50), box(60, 0, 90, 50, group_id=3), skeleton(point(LFT, 9, 9), group_id=3))
    assert [visibility(result, row) for row in (0, 1)] == [{}, {LFT: 2}] and result.findings == ()


def test_points_without_skeleton(tmp_path: Path) -> None:
    shapes = (
        box(0, 0, 50, 50),
        point(LFT, 9, 9),
        box(60, 0, 90, 50, group_id=3),
        point(LRT, 70, 9, group_id=3, occluded=1),
    )
    result = read(tmp_path, *shapes)
    assert [visibility(result, row) for row in (0, 1)] == [{LFT: 2}, {LRT: 1}]
    assert codes(result) == []


def test_a_skeleton_without_box(tmp_path: Path) -> None:
    shapes = (skeleton(point(LFT, 100, 100), point(LRT, 200, 150), group_id=4), skeleton(point(LFT, 9, 9)))
    result = read(tmp_path, *shapes)
    where = "image[0] (a.jpg): "
    assert codes(result) == [
        ("E306", f"{where}skeleton[0].points[0], skeleton[0].points[1]"),
        ("E306", f"{where}skeleton[1].points[0]"),
    ]
    assert "group 4 must have one rectangle labeled 'car', got none for 2 points" in texts(result)
    assert "group them (key G)" in texts(result) and "--box-from keypoints" in texts(result)
    made = read(tmp_path, shapes[0], box_from="keypoints", box_margin=0.1)
    assert made.findings == () and made.dataset.boxes.tolist() == [[90, 95, 210, 155]]


def test_a_box_alone_is_an_object_without_keypoints(tmp_path: Path) -> None:
    result = read(tmp_path, box(0, 0, 50, 50))
    assert result.findings == () and len(result.dataset) == 1 and visibility(result) == {}


@pytest.mark.parametrize(
    ("shapes", "code", "place", "part"),
    [
        ([box(0, 0, 50, 50), skeleton(point(LFT, 9, 9)), skeleton(point(LFT, 19, 9))], "E304", "skeleton[0]",
         "in only one possible box, or joined with it, got 'box[0] and skeleton[1]'"),
        ([box(0, 0, 50, 50), box(1, 1, 51, 51), skeleton(point(LFT, 9, 9))], "E304", "skeleton[0]",
         "got 'box[0] and box[1]'"),
        ([box(0, 0, 50, 50, group_id=1), skeleton(point(LFT, 9, 9), group_id=1),
          skeleton(point(LRT, 9, 9), group_id=1)], "E307", "skeleton[0], skeleton[1]",
         "one skeleton and its box in group 1, got '2 skeletons'"),
        ([box(0, 0, 50, 50, group_id=1), box(0, 0, 60, 60, group_id=1)], "E307", "box[0], box[1]",
         "group 1 must have one rectangle, got 2"),
        ([skeleton(point(LFT, 9, 9, outside=1))], "E306", "skeleton[0]", "got '1 points outside'"),
        ([skeleton(point(LFT, 9, 9, outside=1), group_id=3)], "E306", "skeleton[0]", "got '1 points outside'"),
        ([skeleton()], "E306", "skeleton[0]", "got '0 points outside'"),
        ([box(0, 0, 50, 50), point(LFT, 90, 9)], "E303", "points[0]", "move it into its box"),
        ([box(0, 0, 50, 50, group_id=1), skeleton(point(LFT, 9, 9), point(LFT, 19, 9), group_id=1)], "E305",
         "skeleton[0].points[0], skeleton[0].points[1]", "at most one point of an object"),
    ],
)  # fmt: skip
def test_what_is_ambiguous_is_told(tmp_path: Path, shapes: list[str], code: str, place: str, part: str) -> None:
    result = read(tmp_path, *shapes)
    assert (code, f"image[0] (a.jpg): {place}") in codes(result)
    assert part in texts(result)
    assert not any(visibility(result, row) for row in range(len(result.dataset)))


def test_what_is_not_carried_over_is_told_once(tmp_path: Path) -> None:
    color = tag("attribute", "red", name="color")
    shapes = [
        box(0, 0, 50, 50, color, occluded=1, group_id=1),
        skeleton(point(LFT, 9, 9, color), point(LRT, 19, 9, tag("attribute", "true", name="Occluded")), group_id=1),
        tag("tag", label="night"),
        tag("tag", label="day"),
    ]
    result = read(tmp_path, *shapes, ignore=frozenset({"day"}))
    assert codes(result) == [("W323", "")] and result.ignored == {"day": 1}
    assert "attribute 'color' (2), occluded of box elements (1), tag 'night' (1)" in texts(result)
    assert visibility(result) == {LFT: 2, LRT: 1}, "an attribute may say that a point is hidden"


def test_a_turned_box_becomes_the_upright_one_round_it(tmp_path: Path) -> None:
    result = read(tmp_path, box(100, 100, 200, 140, rotation=90))
    assert result.dataset.boxes.tolist() == [[130, 70, 170, 170]]
    assert codes(result) == [("W323", "")] and "rotation of box elements" in texts(result)


@pytest.mark.parametrize(
    ("shape", "code", "part"),
    [
        (tag("polygon", label="car", points="1,1;9,1;9,9"), "E302", "must be the outline of box[0], or of"),
        (tag("polygon", label="bus", points="1,1;9,1;9,9"), "E301", "got 'bus'"),
        (tag("polyline", label=LFT, points="1,1;9,1"), "E302", "must be 'point', got 'polyline'"),
        (tag("ellipse", label="car", cx=5, cy=5, rx=2, ry=2), "E302", "ellipse[0] must be the outline of box[0]"),
        (tag("mask", label="car", rle="1,2", left=1, top=1, width=3, height=1), "E302", "be the outline of box[0]"),
        (tag("cuboid", label="car"), "E302", "got 'cuboid'"),
        (skeleton(point(LFT, 1, 1), label="person"), "E301", "label must be the category 'car', got 'person'"),
    ],
)  # fmt: skip
def test_other_shapes(tmp_path: Path, shape: str, code: str, part: str) -> None:
    result = read(tmp_path, box(0, 0, 50, 50), shape)
    kind = shape[1:].partition(" ")[0]
    assert codes(result) == [(code, f"image[0] (a.jpg): {kind}[0]")] and part in texts(result)
    ignored = read(tmp_path, box(0, 0, 50, 50), shape, ignore=frozenset({"car", "bus", LFT, "person"}))
    assert ignored.findings == () and sum(ignored.ignored.values()) == 1


# (text to replace, its replacement, code, place of the finding after the image's, parts of message and hint)
MISTAKES: list[tuple[str, str, str, str, list[str]]] = [
    (f'label="{LFT}" source="manual" outside="0" occluded="0" points="30.5,80.25"', 'points="30.5,80.25"', "E311",
     ": skeleton[0].points[0].label", ["label must be a string, got None", "correct the shape in CVAT, or delete it"]),
    (f'label="{LRT}"', 'label="left-rear-tyre"', "E301", ": skeleton[0].points[1]",
     ["got 'left-rear-tyre'", "if you mean 'left-rear-tire'", "--map 'left-rear-tyre=left-rear-tire'"]),
    ('points="30.5,80.25"', 'points="30.5"', "E311", ": skeleton[0].points[0].points",
     ["points must be x,y pairs of finite numbers of at most 1000000 px, separated by ;, got '30.5'"]),
    ('points="30.5,80.25"', 'points="nan,80"', "E311", ": skeleton[0].points[0].points", ["got 'nan,80'"]),
    ('points="30.5,80.25"', 'points="1e9,80"', "E311", ": skeleton[0].points[0].points", ["got '1e9,80'"]),
    ('points="30.5,80.25"', 'points=""', "E311", ": skeleton[0].points[0].points", ["got ''"]),
    ('points="30.5,80.25"', 'points="1,2;3,4"', "E311", ": skeleton[0].points[0].points",
     ["points must be one pair (x, y), got [[1.0, 2.0], [3.0, 4.0]]"]),
    ('occluded="1"', 'occluded="maybe"', "E311", ": skeleton[0].points[1].occluded",
     ["occluded must be 0 or 1, got 'maybe'"]),
    ('outside="1"', 'outside="2"', "E311", ": skeleton[0].points[2].outside", ["outside must be 0 or 1, got '2'"]),
    ('xtl="10"', 'xtl="inf"', "E311", ": box[0].xtl", ["xtl must be a finite number of at most 1000000 px, got 'inf'"]),
    ('xtl="10" ', "", "E311", ": box[0].xtl", ["got None"]),
    ('xbr="110"', 'xbr="10"', "E311", ": box[0].points", ["2 opposite or 4 upright corners of a rectangle with width"]),
    ('group_id="1"', 'group_id="x"', "E311", ": box[0].group_id", ["group_id must be an integer, got 'x'"]),
    ('<skeleton label="car" ', "<skeleton ", "E311", ": skeleton[0].label", ["label must be a string, got None"]),
    ('name="a.jpg"', 'name="b.jpg"', "E121", "", ["an existing image, got 'b.jpg'", "4 shapes left out"]),
    ('name="a.jpg"', 'name="../a.jpg"', "E125", "", ["got '../a.jpg'", "--image-root DIR also searches"]),
    ('width="320"', 'width="640"', "E123", "", ["must be (320, 240), the size of a.jpg, got (640, 240)", "4 shapes"]),
    ('width="320"', 'width="0"', "E311", "", ["width must be a positive integer (pixels), got '0'", "4 shapes left"]),
    ('width="320"', 'width="wide"', "E311", "", ["width must be a positive integer (pixels), got 'wide'"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "code", "place", "parts"), MISTAKES)
def test_mistakes(tmp_path: Path, old: str, new: str, code: str, place: str, parts: list[str]) -> None:
    make_image(tmp_path / "images/a.jpg", SIZE)
    assert old in VALID
    file = save(tmp_path, document(VALID.replace(old, new, 1)))
    result = cvat.FORMAT.read([tmp_path], CAR8, ReadOptions())
    where = "image[0] (a.jpg)" if 'name="' not in new else f"image[0] ({new[6:-1]})"
    found = [f for f in result.findings if f.code == code and f"{f.place}, ".startswith(f"{where}{place}, ")]
    assert len(found) == 1, result.findings
    assert found[0].file == str(file)
    for part in parts:
        assert part in f"{found[0].message}\n{found[0].hint}"


BOMB = (
    '<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    '<annotations><image name="&b;" width="1" height="1"/></annotations>'
)
EXTERNAL = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><annotations><image name="&e;"/></annotations>'


@pytest.mark.parametrize(
    ("content", "place", "part"),
    [
        (b"<annotations", "line 1, column 1", "is not valid XML: unclosed token"),
        (b"<annotations>\n<image></annotations>", "line 2, column 10", "is not valid XML: mismatched tag"),
        (BOMB, "", "without a document type, got DTDForbidden"),
        (EXTERNAL, "", "without a document type, got DTDForbidden"),
        ('<?xml version="1.0" encoding="klingon"?><annotations/>', "", "in a known encoding"),
        ("<a><annotations/></a>", "", "a CVAT file: an annotations element with image elements, got 'a'"),
        ('<annotations><track id="0" label="car"/><track id="1"/></annotations>', "track[0]",
         "must be one with a shape that is not outside in some track, got '2 tracks'"),
        ('<annotations><track id="0" label="car"/><image name="a.jpg"/></annotations>', "track[0]",
         "must be of 'CVAT for images 1.1', without tracks, got '1 tracks'"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read(tmp_path: Path, content: str | bytes, place: str, part: str) -> None:
    make_image(tmp_path / "images/a.jpg", SIZE)
    save(tmp_path, document(VALID))
    file = save(tmp_path, content, "b.xml")
    result = cvat.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert len(result.dataset) == 2, "the other file is read all the same"
    assert next((f.code, f.file, f.place) for f in result.findings) == ("E310", str(file), place)
    assert part in result.findings[0].message and "CVAT for images 1.1" in result.findings[0].hint


def test_images_of_a_project_lie_in_folders_of_subsets(tmp_path: Path) -> None:
    for subset in ("Train", "Validation", "backup"):
        make_image(tmp_path / f"images/{subset}/sub/a.jpg", SIZE)
    entries = [image(name="sub/a.jpg", subset=subset) for subset in ("Train", "Validation", "backup")]
    save(tmp_path, document(*entries))
    result = cvat.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert result.findings == ()
    assert [(i.file_name, i.split) for i in result.dataset.images] == [
        ("Train/sub/a.jpg", "train"),
        ("Validation/sub/a.jpg", "val"),
        ("backup/sub/a.jpg", None),
    ]


def test_images_beside_the_file_and_in_image_roots(tmp_path: Path) -> None:
    make_image(tmp_path / "src/b.jpg", SIZE)
    make_image(tmp_path / "elsewhere/deep/a.jpg", SIZE)
    make_image(tmp_path / "src/unlabelled.jpg", SIZE)
    file = save(tmp_path / "src", document(VALID, image(name="b.jpg")))
    result = cvat.FORMAT.read([tmp_path / "src"], CAR8, ReadOptions(image_roots=(tmp_path / "elsewhere",)))
    assert [(f.code, f.file) for f in result.findings] == [("W322", str(tmp_path / "src/unlabelled.jpg"))]
    assert [i.file_name for i in result.dataset.images] == ["b.jpg", "deep/a.jpg"], "b.jpg has no objects"
    without = cvat.FORMAT.read([file], CAR8, ReadOptions())
    assert codes(without) == [("E121", "image[0] (a.jpg)")]


def test_an_image_that_is_listed_twice_is_left_out(tmp_path: Path) -> None:
    make_image(tmp_path / "images/a.jpg", SIZE)
    make_image(tmp_path / "images/b.jpg", SIZE)
    save(tmp_path, document(VALID, image(name="b.jpg"), VALID))
    result = cvat.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert codes(result) == [("E313", "image[0] (a.jpg)"), ("E313", "image[2] (a.jpg)")]
    assert "images/a.jpg, got image[2] (a.jpg) too; none of them is read (4 shapes here)" in texts(result)
    assert [i.file_name for i in result.dataset.images] == ["b.jpg"]


def test_sources_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"must be a folder with CVAT's \.xml files, got 'none in it'"):
        cvat.FORMAT.read([tmp_path], CAR8, ReadOptions())
    with pytest.raises(RequestError, match="must be an existing folder or file"):
        cvat.FORMAT.read([tmp_path / "no.xml"], CAR8, ReadOptions())


def test_detection(tmp_path: Path) -> None:
    file = save(tmp_path, document(VALID))
    voc = save(tmp_path / "voc", "<annotation><folder>x</folder></annotation>", "a.xml")
    assert cvat.detect(tmp_path) and cvat.detect(file)
    assert not cvat.detect(voc) and not cvat.detect(voc.parent)


@pytest.mark.parametrize("value", ["", "-1", "9" * 5000, "nan", "1e999", "ü", "../..", "&#10;", "x" * 5000])
def test_no_value_of_any_attribute_stops_the_reading(tmp_path: Path, value: str) -> None:
    make_image(tmp_path / "images/a.jpg", SIZE)
    for found in re.finditer('"[^"]*"', VALID):
        text = f'{VALID[: found.start()]}"{value}"{VALID[found.end() :]}'
        save(tmp_path, document(text))
        result = cvat.FORMAT.read([tmp_path], CAR8, ReadOptions())
        assert result.files == 1 and (result.findings or len(result.dataset) == 2)


def test_skeletons_in_skeletons(tmp_path: Path) -> None:
    nested = "<skeleton label='car'>" * 3000 + "</skeleton>" * 3000
    result = read(tmp_path, box(0, 0, 9, 9), nested)
    assert ("E302", "image[0] (a.jpg): skeleton[0].skeleton[0]") in codes(result)
