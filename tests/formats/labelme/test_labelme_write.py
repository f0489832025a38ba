"""Writing labelme, and what comes back: sources, names, detection, worker processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import posetools.formats.labelme.format as labelme
from posetools.core.dataset import Dataset, DatasetBuilder, Image, concatenate
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.errors import InputError, OutputError
from posetools.files.disk import Transfer
from posetools.formats.options import ReadOptions
from tests.build import make_dataset, make_image
from tests.formats.labelme.test_labelme import box, document, save, valid

CAR8 = load_skeleton("car8")


@pytest.mark.parametrize("skeleton", ["car8", "coco17"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), per_image=st.integers(0, 3))
def test_read_gives_back_what_write_wrote(
    tmp_path_factory: pytest.TempPathFactory, skeleton: str, seed: int, per_image: int
) -> None:
    folder = tmp_path_factory.mktemp("labelme")
    names = ["a.jpg", "b.png", "sub/a.jpg", "sub/deep er/ü.jpg"]
    dataset = make_dataset(
        folder / "in", skeleton=load_skeleton(skeleton), images=names, per_image=per_image, seed=seed, size=(64, 48)
    )
    labelme.write({"train": dataset}, folder / "out", "hardlink")
    result = labelme.FORMAT.read([folder / "out"], dataset.skeleton, ReadOptions())
    assert result.findings == () and result.files == len(names)
    assert result.dataset == dataset
    assert all(image.path == folder / "out" / image.file_name for image in result.dataset.images)


@pytest.mark.parametrize("how", ["copy", "hardlink", "symlink"])
def test_written_file(tmp_path: Path, how: Transfer) -> None:
    dataset = make_dataset(tmp_path / "in", images=["sub/a.jpg"], per_image=2)
    labelme.write({"train": dataset}, tmp_path / "out", how)
    text = (tmp_path / "out/sub/a.json").read_text(encoding="utf-8")
    content = json.loads(text)
    assert text.startswith('{\n  "version": "5.4.1",\n') and text.endswith("}\n")
    assert (content["imagePath"], content["imageData"]) == ("a.jpg", None)
    assert (content["imageWidth"], content["imageHeight"]) == (320, 240)
    rectangles = [shape for shape in content["shapes"] if shape["shape_type"] == "rectangle"]
    assert [shape["group_id"] for shape in rectangles] == [0, 1]
    assert [[*shape["points"][0], *shape["points"][1]] for shape in rectangles] == dataset.boxes.tolist()
    points = [shape for shape in content["shapes"] if shape["shape_type"] == "point"]
    assert len(points) == dataset.num_labeled.sum()
    hidden = [shape["label"] for shape in points if shape["flags"] == {"occluded": True} and shape["group_id"] == 0]
    assert hidden == [name for name, v in zip(CAR8.names, dataset.visibility[0], strict=True) if v == 1]
    written = tmp_path / "out/sub/a.jpg"
    assert written.read_bytes() == (tmp_path / "in/sub/a.jpg").read_bytes()
    assert written.is_symlink() == (how == "symlink")


def test_splits_are_written_into_one_folder(tmp_path: Path) -> None:
    train = make_dataset(tmp_path / "in", images=["a.jpg"])
    val = make_dataset(tmp_path / "in", images=["b.jpg"], seed=5)
    labelme.write({"train": train, "val": val}, tmp_path / "out", "copy")
    assert labelme.FORMAT.read([tmp_path / "out"], CAR8, ReadOptions()).dataset == concatenate([train, val])


def test_the_same_data_set_gives_the_same_bytes(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "in")
    for name in ("one", "two"):
        labelme.write({"train": dataset}, tmp_path / name, "copy")
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def crowd(folder: Path) -> dict[str, Dataset]:
    dataset = make_dataset(folder)
    return {"train": replace(dataset, iscrowd=np.array([False, True, False, False]))}


def same_stem(folder: Path) -> dict[str, Dataset]:
    return {"train": make_dataset(folder, images=["a.jpg", "a.png"])}


def same_name(folder: Path) -> dict[str, Dataset]:
    return {"train": make_dataset(folder, images=["a.jpg"]), "val": make_dataset(folder, images=["a.jpg"])}


def flat_box(folder: Path) -> dict[str, Dataset]:
    builder = DatasetBuilder(CAR8)
    builder.add_image(Image("a.jpg", 320, 240, path=make_image(folder / "a.jpg")))
    builder.add_instance("a.jpg", box=np.array([5.0, 5, 5, 9]), keypoints=np.zeros((8, 3)), origin=Origin("somewhere"))
    return {"train": builder.build()}


def leads_out(folder: Path) -> dict[str, Dataset]:
    builder = DatasetBuilder(CAR8)
    builder.add_image(Image("../a.jpg", 320, 240, path=make_image(folder / "a.jpg")))
    return {"train": builder.build()}


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (
            crowd,
            ["a.jpg: a.jpg: object 1: iscrowd must be 0", "labelme has no crowds", "got 1", "leaves these objects out"],
        ),
        (same_stem, ["a.png: file_name must be the only image with the labelme file a.json, got 'a.jpg'", "rename"]),
        (same_name, ["a.jpg: file_name must be the only image with the labelme file a.json, got 'a.jpg'"]),
        (flat_box, ["a.jpg: somewhere: box must be x1, y1, x2, y2 with width and height, got [5.0, 5.0, 5.0, 9.0]"]),
        (leads_out, ["file_name must be a relative path that stays in its folder, got '../a.jpg'"]),
        (lambda _: {"train": make_dataset()}, ["a.jpg: path must be an image file", "got None"]),
    ],
)
def test_what_labelme_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, make: Callable[[Path], dict[str, Dataset]], parts: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        labelme.write(make(tmp_path / "in"), tmp_path / "out", "copy")
    for part in parts:
        assert part in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "in", images=["a.jpg"])
    (tmp_path / "out/a.json").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"a\.json: cannot be written: Is a directory"):
        labelme.write({"train": dataset}, tmp_path / "out", "copy")


def names(result_dataset: Dataset) -> list[str]:
    return [image.file_name for image in result_dataset.images]


def test_a_file_as_source_takes_its_folder_as_root(tmp_path: Path) -> None:
    make_image(tmp_path / "in/photos/a.jpg")
    file = save(tmp_path / "in", valid() | {"imagePath": "photos\\a.jpg"})
    make_image(tmp_path / "in/unlabelled.jpg")
    result = labelme.FORMAT.read([file], CAR8, ReadOptions())
    assert result.findings == () and names(result.dataset) == ["photos/a.jpg"]


def test_image_in_a_sibling_folder(tmp_path: Path) -> None:
    make_image(tmp_path / "images/a.jpg")
    save(tmp_path / "json", valid() | {"imagePath": "..\\images\\a.jpg"})
    assert names(labelme.FORMAT.read([tmp_path], CAR8, ReadOptions()).dataset) == ["images/a.jpg"]
    result = labelme.FORMAT.read([tmp_path / "json"], CAR8, ReadOptions())
    assert [finding.code for finding in result.findings] == ["E308"]
    allowed = labelme.FORMAT.read([tmp_path / "json"], CAR8, ReadOptions(image_roots=(tmp_path / "images",)))
    assert allowed.findings == () and names(allowed.dataset) == ["a.jpg"]


def test_images_of_one_name_from_different_sources_all_survive(tmp_path: Path) -> None:
    sources = [tmp_path / "x/cars", tmp_path / "y/cars", tmp_path / "z/vans", tmp_path / "w"]
    for number, source in enumerate(sources):
        make_image(source / "a.jpg", seed=number)
        save(source, document(box(number, 0, 50, 50)))
    make_image(sources[3] / "own.jpg")
    save(sources[3], document(imagePath="own.jpg"), "own.json")
    dataset = labelme.FORMAT.read(sources, CAR8, ReadOptions()).dataset
    assert names(dataset) == ["cars-2/a.jpg", "cars/a.jpg", "own.jpg", "vans/a.jpg", "w/a.jpg"]
    boxes = {instance.image.file_name: instance.box[0] for instance in dataset}
    assert boxes == {"cars/a.jpg": 0, "cars-2/a.jpg": 1, "vans/a.jpg": 2, "w/a.jpg": 3}
    assert {image.file_name: image.path for image in dataset.images}["cars-2/a.jpg"] == sources[1] / "a.jpg"


def test_overlapping_sources_are_read_once(tmp_path: Path) -> None:
    make_image(tmp_path / "sub/a.jpg")
    file = save(tmp_path / "sub", valid())
    (tmp_path / "link").symlink_to(tmp_path / "sub")
    (tmp_path / "sub/circle").symlink_to(tmp_path)
    result = labelme.FORMAT.read([tmp_path, tmp_path / "sub", file], CAR8, ReadOptions())
    assert result.findings == () and result.files == 1 and len(result.dataset) == 2


def test_a_link_to_a_folder_that_holds_the_source_is_not_followed(tmp_path: Path) -> None:
    source = tmp_path / "above" / "source"
    make_image(source / "a.jpg")
    for folder in (source, tmp_path / "above"):
        save(folder, valid())
    (source / "up").symlink_to(tmp_path / "above")
    (source / "root").symlink_to("/")
    result = labelme.FORMAT.read([source], CAR8, ReadOptions())
    assert (result.files, result.findings, len(result.dataset)) == (1, (), 2)


def test_workers_give_the_same_result_in_the_same_order(tmp_path: Path) -> None:
    image = make_image(tmp_path / "0.jpg", (64, 48))
    for number in range(300):
        if number:
            (tmp_path / f"{number}.jpg").hardlink_to(image)
        shape = box(number, 0, 400, 40) | ({"label": "bus"} if number % 50 == 0 else {})
        content = document(shape, imagePath=f"{number}.jpg", imageWidth=64, imageHeight=48)
        save(tmp_path, content, f"{number}.json")
    told: list[tuple[str, int, int]] = []
    one, two = (
        labelme.FORMAT.read([tmp_path], CAR8, ReadOptions(workers=workers, progress=lambda *args: told.append(args)))
        for workers in (1, 2)
    )
    assert one.dataset == two.dataset and one.dataset.origins == two.dataset.origins
    assert one.findings == two.findings and len(one.findings) == 6 and len(one.dataset) == 294
    steps = [("reading labelme files", done, 300) for done in (256, 300)]
    assert told == steps * 2


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: save(p, valid()).parent, True),
        (lambda p: save(p, valid()), True),
        (lambda p: save(p / "deep/er", valid()).parents[2], True),
        (lambda p: save(p, valid() | {"imageWidth": "?"}), True),
        (lambda p: save(p, {"images": [], "annotations": []}).parent, False),
        (lambda p: save(p, b"{").parent, False),
        (lambda p: p, False),
        (lambda p: p / "nowhere", False),
        (lambda p: make_image(p / "a.jpg"), False),
    ],
)
def test_detect(tmp_path: Path, make: Callable[[Path], Path], expected: bool) -> None:
    assert labelme.detect(make(tmp_path)) is expected
