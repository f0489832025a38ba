"""--kpt-order: keypoints identified only by their order, and outlines that look like them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from tests.build import make_image
from tests.cli.run import Done, run

SIZE = (640, 480)
NAMES = ("seat", "back-left", "back-right")
# Two chairs: their corners and their points in the order seat, back-right, back-left.
CHAIRS = (
    ((100, 100, 300, 300), ((150, 250), (280, 110), (120, 115))),
    ((350, 150, 500, 400), ((400, 350), (480, 160), (360, 170))),
)
ORDER = "seat,back-right,back-left"


def coco_keypoints(points: Any) -> list[float]:
    seat, right, left = points
    return [*seat, 2, *left, 2, *right, 2]


def labelme(folder: Path, *, kind: str = "linestrip", boxes: bool = True, more: Any = ()) -> None:
    shapes: list[Any] = [*more]
    for (x1, y1, x2, y2), points in CHAIRS:
        if kind == "point":
            shapes += [{"label": "chair", "points": [one], "shape_type": "point"} for one in points]
        else:
            shapes.append({"label": "chair", "points": points, "shape_type": kind})
        if boxes:
            shapes.append({"label": "chair", "points": [[x1, y1], [x2, y2]], "shape_type": "rectangle"})
    for name in "ab":
        make_image(folder / f"{name}.jpg", SIZE)
        document = {"shapes": shapes, "imagePath": f"{name}.jpg", "imageWidth": SIZE[0], "imageHeight": SIZE[1]}
        (folder / f"{name}.json").write_text(json.dumps({"version": "5.5.0", "imageData": None} | document))


def cvat(folder: Path) -> None:
    images = ""
    for name in "ab":
        make_image(folder / f"{name}.jpg", SIZE)
        images += f'<image id="0" name="{name}.jpg" width="640" height="480">'
        for (x1, y1, x2, y2), points in CHAIRS:
            pairs = ";".join(f"{x}.00,{y}.00" for x, y in points)
            images += f'<points label="chair" occluded="0" points="{pairs}"></points>'
            images += f'<box label="chair" occluded="0" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"></box>'
        images += "</image>"
    (folder / "annotations.xml").write_text(f"<annotations><version>1.1</version>{images}</annotations>")


def label_studio(folder: Path) -> None:
    tasks: list[dict[str, Any]] = []
    for name in "ab":
        make_image(folder / f"{name}.jpg", SIZE)
        result: list[dict[str, Any]] = []
        for number, ((x1, y1, x2, y2), points) in enumerate(CHAIRS):
            for index, (x, y) in enumerate(points):
                value = {"x": x / 6.4, "y": y / 4.8, "width": 0.5, "keypointlabels": ["chair"]}
                result.append({"type": "keypointlabels", "id": f"p{number}{index}", "value": value})
            value = {"x": x1 / 6.4, "y": y1 / 4.8, "width": (x2 - x1) / 6.4, "height": (y2 - y1) / 4.8}
            value |= {"rotation": 0, "rectanglelabels": ["chair"]}
            result.append({"type": "rectanglelabels", "id": f"r{number}", "value": value})
        for one in result:
            one |= {"original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0}
        tasks.append({"id": len(tasks), "data": {"image": f"{name}.jpg"}, "annotations": [{"result": result}]})
    (folder / "project.json").write_text(json.dumps(tasks))


def via(folder: Path, *, labels: bool = True) -> None:
    entries = {}
    for name in "ab":
        make_image(folder / f"{name}.jpg", SIZE)
        regions: list[Any] = []
        for (x1, y1, x2, y2), points in CHAIRS:
            box = {"name": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
            line = {"name": "polyline", "all_points_x": [x for x, _ in points], "all_points_y": [y for _, y in points]}
            points_alone = [{"name": "point", "cx": x, "cy": y} for x, y in points]
            shapes = [line, box] if labels else points_alone
            said = {"label": "chair"} if labels else {}
            regions += [{"shape_attributes": one, "region_attributes": said} for one in shapes]
        entries[name] = {"filename": f"{name}.jpg", "size": 1, "regions": regions, "file_attributes": {}}
    (folder / "via.json").write_text(json.dumps({"_via_img_metadata": entries, "_via_settings": {}}))


def convert(folder: Path, *options: str) -> Done:
    path = folder.parent / "chair.yaml"
    if not path.exists():
        assert run("skeleton", "new", path, "--names", ",".join(NAMES), "--category", "chair").status == 0
    return run("convert", folder, "--skeleton", path, "--out", folder.parent / "out", *options)


def objects(folder: Path) -> list[dict[str, Any]]:
    files = [folder.parent / "out" / f"{split}_coco.json" for split in ("train", "val")]
    return [one for file in files for one in COCO(file).dataset["annotations"]]


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(labelme, id="linestrip"),
        pytest.param(lambda folder: labelme(folder, kind="polygon"), id="polygon"),
        pytest.param(lambda folder: labelme(folder, kind="points"), id="labelme's points"),
        pytest.param(lambda folder: labelme(folder, kind="point"), id="single points"),
        cvat,
        label_studio,
        via,
    ],
)
def test_points_get_the_names_of_the_order(tmp_path: Path, write: Any) -> None:
    """Both objects, from every tool; without the option there is one error, which names it."""
    folder = tmp_path / "src"
    folder.mkdir()
    write(folder)
    refused = convert(folder)
    assert refused.status == 1 and f"--kpt-order {','.join(NAMES)}" in refused.words and "E302" in refused.words
    assert "E303" not in refused.words and "E306" not in refused.words
    assert convert(folder, "--kpt-order", ORDER).status == 0
    found = objects(folder)
    expected = [((x1, y1, x2 - x1, y2 - y1), coco_keypoints(points)) for (x1, y1, x2, y2), points in CHAIRS] * 2
    assert [one["bbox"] for one in found] == [pytest.approx(box, abs=1e-6) for box, _ in expected]
    assert [one["keypoints"] for one in found] == [pytest.approx(points, abs=1e-6) for _, points in expected]


def test_via_points_without_any_label(tmp_path: Path) -> None:
    """The hints lead to boxes from points, one after another."""
    folder = tmp_path / "src"
    folder.mkdir()
    via(folder, labels=False)
    assert f"--kpt-order {','.join(NAMES)} reads the points" in convert(folder).words
    assert "--box-from keypoints" in convert(folder, "--kpt-order", ORDER).words
    assert convert(folder, "--kpt-order", ORDER, "--box-from", "keypoints", "--box-margin", "0").status == 0
    assert [one["keypoints"] for one in objects(folder)] == [coco_keypoints(points) for _, points in CHAIRS] * 2
    assert objects(folder)[0]["bbox"] == [120, 110, 160, 140]


def test_a_missing_point_shifts_no_names(tmp_path: Path) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    labelme(folder, kind="point", boxes=False, more=[{"label": "chair", "points": [[9, 9]], "shape_type": "point"}])
    ran = convert(folder, "--kpt-order", ORDER, "--box-from", "keypoints")
    assert ran.status == 1 and "points without names in a row must be 3, as in --kpt-order, got 7" in ran.words


def test_a_column_may_be_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    labelme(folder)
    ran = convert(folder, "--kpt-order", "seat,back-right,dirt", "--ignore", "dirt")
    assert ran.status == 0
    assert {tuple(one["keypoints"][2::3]) for one in objects(folder)} == {(2, 0, 2)}


@pytest.mark.parametrize(("order", "part"), [("seat,back,back-left", "got 'back'"), ("seat,seat,back-left", "twice")])
def test_names_of_the_order_are_the_skeletons(tmp_path: Path, order: str, part: str) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    labelme(folder)
    ran = convert(folder, "--kpt-order", order)
    assert ran.status == 2 and "--kpt-order" in ran.words and part in ran.words


def test_a_triangle_around_named_points_is_an_outline(tmp_path: Path) -> None:
    """Three corners and three keypoints: the named points show that the corners are not keypoints."""
    folder = tmp_path / "src"
    folder.mkdir()
    seat = {"label": "seat", "points": [[150, 200]], "shape_type": "point"}
    labelme(folder, kind="polygon", boxes=False, more=[seat])
    assert convert(folder).status == 0
    found = objects(folder)
    assert [one["bbox"] for one in found] == [[120, 110, 160, 140], [360, 160, 120, 190]] * 2
    assert [one["num_keypoints"] for one in found] == [1, 0] * 2


def test_outlines_of_that_many_corners_can_be_taken(tmp_path: Path) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    labelme(folder, kind="polygon", boxes=False)
    assert "--box-from outlines" in convert(folder).words
    assert convert(folder, "--box-from", "outlines").status == 0
    assert objects(folder)[0]["bbox"] == [120, 110, 160, 140]
