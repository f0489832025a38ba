"""Boxes of objects with one labeled point, or with points on one line: the same rule in every format."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from posetools.formats.joining.made_boxes import LEAST_PIXELS, ThinBox, box_round, complete
from posetools.formats.options import ReadOptions
from tests.build import make_image
from tests.cli.run import run

SIZE = (320, 240)
NAMES = ("nose", "left_ear", "tail")
# For each image its dogs, and for each dog its labeled points by name.
Dogs = Sequence[dict[str, tuple[float, float]]]
WHOLE = {"nose": (100.0, 60.0), "left_ear": (140.0, 50.0), "tail": (120.0, 130.0)}
POINT = {"nose": (200.0, 100.0)}
LINE = {"nose": (10.0, 20.0), "tail": (10.0, 80.0)}


def skeleton(folder: Path) -> Path:
    path = folder / "dog.yaml"
    if not path.exists():
        assert run("skeleton", "new", path, "--keypoints", ",".join(NAMES), "--category", "dog").status == 0
    return path


def labelme(folder: Path, images: Sequence[Dogs]) -> list[str | Path]:
    for number, dogs in enumerate(images):
        make_image(folder / f"img{number}.png", SIZE, seed=number)
        shapes = [
            {"label": name, "points": [xy], "shape_type": "point", "group_id": group, "flags": {}}
            for group, dog in enumerate(dogs)
            for name, xy in dog.items()
        ]
        document = {"shapes": shapes, "imagePath": f"img{number}.png", "imageWidth": SIZE[0], "imageHeight": SIZE[1]}
        (folder / f"img{number}.json").write_text(json.dumps(document))
    return [folder]


def coco(folder: Path, images: Sequence[Dogs]) -> list[str | Path]:
    document: dict[str, Any] = {"images": [], "annotations": []}
    document["categories"] = [{"id": 1, "name": "dog", "keypoints": NAMES, "skeleton": []}]
    for number, dogs in enumerate(images):
        make_image(folder / f"img{number}.png", SIZE, seed=number)
        document["images"].append(
            {"id": number + 1, "file_name": f"img{number}.png", "width": SIZE[0], "height": SIZE[1]}
        )
        for dog in dogs:
            triples = [value for name in NAMES for value in (*dog[name], 2)] if len(dog) == 3 else [
                value for name in NAMES for value in ((*dog[name], 2) if name in dog else (0, 0, 0))
            ]  # fmt: skip
            number_of = len(document["annotations"]) + 1
            document["annotations"].append(
                {"id": number_of, "image_id": number + 1, "category_id": 1, "keypoints": triples, "iscrowd": 0}
            )
    (folder / "dogs.json").write_text(json.dumps(document))
    return [folder / "dogs.json"]


def deeplabcut(folder: Path, images: Sequence[Dogs]) -> list[str | Path]:
    most = max(map(len, images))
    keys = [(f"dog{i}", name) for i in range(most) for name in NAMES]
    heads = [
        ["scorer", *("me" for _ in keys for _ in "xy")],
        ["individuals", *(owner for owner, _ in keys for _ in "xy")],
        ["bodyparts", *(name for _, name in keys for _ in "xy")],
        ["coords", *("xy" * len(keys))],
    ]
    clip = folder / "labeled-data/clip"
    for number, dogs in enumerate(images):
        make_image(clip / f"img{number}.png", SIZE, seed=number)
        cells = {(f"dog{i}", name): xy for i, dog in enumerate(dogs) for name, xy in dog.items()}
        row = [str(value) for key in keys for value in cells.get(key, ("", ""))]
        heads.append([f"labeled-data/clip/img{number}.png", *row])
    (clip / "CollectedData_me.csv").write_text("\n".join(map(",".join, heads)) + "\n")
    return [folder, "--assume-visible"]


def custom(folder: Path, images: Sequence[Dogs]) -> list[str | Path]:
    lines = ["image,dog,part,x,y"]
    for number, dogs in enumerate(images):
        make_image(folder / f"img{number}.png", SIZE, seed=number)
        lines += [f"img{number}.png,{i},{name},{x},{y}" for i, dog in enumerate(dogs) for name, (x, y) in dog.items()]
    (folder / "dogs.csv").write_text("\n".join(lines) + "\n")
    (folder / "mapping.toml").write_text(
        'file = "csv"\n[columns]\npicture = "image"\nobject = "dog"\n[point]\nname = "part"\nx = "x"\ny = "y"\n'
    )
    return [folder / "dogs.csv", "--mapping", folder / "mapping.toml", "--assume-visible"]


def via(folder: Path, images: Sequence[Dogs]) -> list[str | Path]:
    document = {}
    for number, dogs in enumerate(images):
        path = make_image(folder / f"img{number}.png", SIZE, seed=number)
        regions = [
            {
                "shape_attributes": {"name": "point", "cx": x, "cy": y},
                "region_attributes": {"label": name, "object": str(i)},
            }
            for i, dog in enumerate(dogs)
            for name, (x, y) in dog.items()
        ]
        size = path.stat().st_size
        document[f"{path.name}{size}"] = {
            "filename": path.name, "size": size, "regions": regions, "file_attributes": {}
        }  # fmt: skip
    (folder / "via.json").write_text(json.dumps(document))
    return [folder / "via.json"]


def cvat(folder: Path, images: Sequence[Dogs]) -> list[str | Path]:
    lines = ["<?xml version='1.0' encoding='utf-8'?>", "<annotations><version>1.1</version>"]
    for number, dogs in enumerate(images):
        make_image(folder / f"img{number}.png", SIZE, seed=number)
        lines.append(f'<image id="{number}" name="img{number}.png" width="{SIZE[0]}" height="{SIZE[1]}">')
        for dog in dogs:
            lines.append('<skeleton label="dog" source="manual" z_order="0">')
            for name in NAMES:
                x, y = dog.get(name, (0.0, 0.0))
                outside = int(name not in dog)
                lines.append(f'<points label="{name}" outside="{outside}" occluded="0" points="{x},{y}"/>')
            lines.append("</skeleton>")
        lines.append("</image>")
    (folder / "annotations.xml").write_text("\n".join([*lines, "</annotations>"]))
    return [folder / "annotations.xml"]


FORMATS = [labelme, coco, deeplabcut, custom, via, cvat]


def boxes(
    tmp_path: Path, make: Callable[[Path, Sequence[Dogs]], list[str | Path]], images: Sequence[Dogs], *more: str
) -> Any:
    """Return the sorted boxes of each image written by ``convert``, and the findings in its record."""
    source, out = tmp_path / "source", tmp_path / "out"
    for folder in (source, out):
        shutil.rmtree(folder, ignore_errors=True)
    source.mkdir()
    arguments = make(source, images)
    options: list[str | Path] = ["--skeleton", skeleton(tmp_path), "--box-from", "keypoints", "--out", out, *more]
    done = run("convert", *arguments, *options)
    assert done.status == 0, done.out + done.err
    found: dict[str, list[list[float]]] = {}
    for split in ("train", "val"):
        document = json.loads((out / f"{split}_coco.json").read_text())
        names = {image["id"]: image["file_name"].rpartition("/")[2] for image in document["images"]}
        for one in document["annotations"]:
            found.setdefault(names[one["image_id"]], []).append(one["bbox"])
            assert one["area"] > 1
    checked = run("validate", out, "--skeleton", skeleton(tmp_path))
    assert checked.status == 0, checked.out + checked.err
    findings = json.loads((out / "conversion.json").read_text())
    said = [one for one in findings["findings"] if one["code"] == "W333"]
    return {name: sorted(each) for name, each in found.items()}, said


@pytest.mark.parametrize("make", FORMATS)
def test_an_object_of_one_point_or_line_has_the_size_of_the_images_others(
    tmp_path: Path, make: Callable[[Path, Sequence[Dogs]], list[str | Path]]
) -> None:
    # The whole dog is 40 px wide and 80 px high.
    found, said = boxes(tmp_path, make, [[WHOLE, POINT], [LINE, WHOLE]], "--box-margin", "0")
    assert found["img0.png"] == [[100, 50, 40, 80], [160, 60, 80, 80]]
    # Centered on x = 10 it would start at -30.
    assert found["img1.png"] == [[0, 20, 80, 60], [100, 50, 40, 80]]
    assert len(said) == 1, said
    assert "2 objects: sides without length were set to 80 px, like the image's other objects (2)" in said[0]["message"]
    assert "--box-margin 20px" in said[0]["hint"]


@pytest.mark.parametrize("make", FORMATS)
def test_without_others_it_is_a_share_of_the_image(
    tmp_path: Path, make: Callable[[Path, Sequence[Dogs]], list[str | Path]]
) -> None:
    found, said = boxes(tmp_path, make, [[POINT], [{"tail": (320.0, 240.0)}], [WHOLE]])
    # 0.05 of 240 px.
    assert found["img0.png"] == [[194, 94, 12, 12]] and found["img1.png"] == [[308, 228, 12, 12]]
    assert (
        len(said) == 1
        and "in 2 objects: sides without length were set to 12 px, 5% of the image (2)" in said[0]["message"]
    )


@pytest.mark.parametrize("make", FORMATS)
def test_the_hint_followed(tmp_path: Path, make: Callable[[Path, Sequence[Dogs]], list[str | Path]]) -> None:
    found, said = boxes(tmp_path, make, [[WHOLE, POINT], [LINE]], "--box-margin", "20px")
    assert found["img0.png"] == [[80, 30, 80, 120], [180, 80, 40, 40]]
    assert found["img1.png"] == [[0, 0, 30, 100]] and not said


def test_shards_and_workers_give_the_same(tmp_path: Path) -> None:
    images: list[Dogs] = [[POINT, WHOLE] if number % 3 else [LINE] for number in range(12)]
    one = boxes(tmp_path, labelme, images)
    record = json.loads((tmp_path / "out/conversion.json").read_text())
    assert boxes(tmp_path, labelme, images, "--workers", "2") == one and len(one[1]) == 1
    assert json.loads((tmp_path / "out/conversion.json").read_text()) == record


@pytest.mark.parametrize(
    ("points", "box"),
    [
        ([(10, 20, 2), (30, 60, 1)], (10, 20, 30, 60)),
        ([(10, 20, 2), (10.4, 60, 1)], ThinBox(10, 20, 10.4, 60)),
        ([(0, 0, 2)], ThinBox(0, 0, 0, 0)),
        ([(320, 240, 2)], ThinBox(320, 240, 320, 240)),
        ([(-5, 100, 2), (0, 120, 2)], ThinBox(0, 100, 0, 120)),
        ([(-5, 100, 2)], None),
        ([(100, 241, 2)], None),
        ([(100, 100, 0)], None),
    ],
)
def test_what_has_a_box(points: list[tuple[float, float, int]], box: tuple[float, ...] | None) -> None:
    made = box_round(points, ReadOptions(box_margin=0.0), SIZE)
    assert made == box and type(made) is type(box)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (320, 240), (10000, 2)])
@pytest.mark.parametrize("place", [(0.0, 0.0), (0.3, 0.7), (1.0, 1.0), (1.0, 0.0)])
def test_a_completed_box_is_in_the_image_and_holds_its_point(size: tuple[int, int], place: tuple[float, float]) -> None:
    x, y = place[0] * size[0], place[1] * size[1]
    for others in ([], [(0.0, 0.0, float(size[0]), float(size[1]))]):
        ((x1, y1, x2, y2), *_), given, by_others = complete([ThinBox(x, y, x, y), *others], size)
        assert 0 <= x1 <= x <= x2 <= size[0] and 0 <= y1 <= y <= y2 <= size[1]
        assert min(x2 - x1, y2 - y1) >= min(LEAST_PIXELS, *size) and by_others is bool(others) and len(given) == 2


@pytest.mark.parametrize("bbox", [[200, 100, 0, 0], [200, 100, 0, 60], [], None])
def test_a_coco_box_without_size_is_none(tmp_path: Path, bbox: Any) -> None:
    def make(folder: Path, images: Sequence[Dogs]) -> list[str | Path]:
        arguments = coco(folder, images)
        document = json.loads((folder / "dogs.json").read_text())
        document["annotations"][1] |= {"bbox": bbox, "area": 0}
        (folder / "dogs.json").write_text(json.dumps(document))
        return arguments

    found, said = boxes(tmp_path, make, [[WHOLE, POINT], [WHOLE]], "--box-margin", "0")
    assert found["img0.png"] == [[100, 50, 40, 80], [160, 60, 80, 80]] and len(said) == 1
