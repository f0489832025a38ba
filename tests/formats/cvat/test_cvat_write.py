"""Writing CVAT for images, and what comes back; nothing of a file is ever lost."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import posetools.formats.cvat.format as cvat
from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.datasets.convert import ConvertRequest, convert
from posetools.errors import InputError
from posetools.formats.options import ReadOptions
from tests.build import make_dataset, make_image, without_split
from tests.formats.cvat.test_cvat import LFT, LRT, SIZE, box, document, image, point, save, skeleton, tag

CAR8 = load_skeleton("car8")

# Warnings that name what was read.
READ = ("W321", "W327", "W330", "W333")


@pytest.mark.parametrize("name", ["car8", "coco17"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), per_image=st.integers(0, 3))
def test_read_gives_back_what_write_wrote(
    tmp_path_factory: pytest.TempPathFactory, name: str, seed: int, per_image: int
) -> None:
    folder = tmp_path_factory.mktemp("cvat")
    names = ["a.jpg", "a.png", "sub/a.jpg", "sub/deep er/ü <&\"'.jpg"]
    dataset = make_dataset(
        folder / "in", skeleton=load_skeleton(name), images=names, per_image=per_image, seed=seed, size=(64, 48)
    )
    cvat.write({"train": dataset}, folder / "out", "hardlink")
    result = cvat.FORMAT.read([folder / "out"], dataset.skeleton, ReadOptions())
    assert result.findings == () and result.files == 1
    assert {image.split for image in result.dataset.images} == {"train"}
    assert result.dataset.with_images(without_split(result.dataset.images)) == dataset


def test_points_keep_all_their_digits(tmp_path: Path) -> None:
    builder = DatasetBuilder(CAR8)
    builder.add_image(Image("a.jpg", *SIZE, path=make_image(tmp_path / "a.jpg", SIZE)))
    points = np.random.default_rng(1).uniform(-9, 400, (8, 2))
    keypoints = np.concatenate([points, np.full((8, 1), 2.0)], axis=1)
    builder.add_instance(
        "a.jpg", box=np.array([1 / 3, 0.1, 99.7, 80.123456789]), keypoints=keypoints, origin=Origin("x")
    )
    dataset = builder.build()
    cvat.write({"all": dataset}, tmp_path / "out", "copy")
    assert cvat.FORMAT.read([tmp_path / "out"], CAR8, ReadOptions()).dataset == dataset


def test_splits_keep_images_of_one_name_apart(tmp_path: Path) -> None:
    train = make_dataset(tmp_path / "in/train", images=["a.jpg"])
    val = make_dataset(tmp_path / "in/val", images=["a.jpg"], seed=5)
    cvat.write({"train": train, "val": val}, tmp_path / "out", "copy")
    result = cvat.FORMAT.read([tmp_path / "out"], CAR8, ReadOptions())
    assert [(i.file_name, i.split) for i in result.dataset.images] == [("train/a.jpg", "train"), ("val/a.jpg", "val")]
    assert result.dataset.boxes.tolist() == [*train.boxes.tolist(), *val.boxes.tolist()]


def test_written_file(tmp_path: Path) -> None:
    train, val = (
        make_dataset(tmp_path / "in", images=["a.jpg"]),
        make_dataset(tmp_path / "in", images=["b.jpg"], seed=5),
    )
    cvat.write({"train": train, "val": val}, tmp_path / "out", "copy")
    root = ET.parse(tmp_path / "out/annotations.xml").getroot()
    labels = {
        (label.findtext("name"), label.findtext("type"), label.findtext("parent"))
        for label in root.iterfind("meta/project/labels/label")
    }
    assert labels == {
        ("car-box", "rectangle", None),
        ("car", "skeleton", None),
        *((name, "points", "car") for name in CAR8.names),
    }
    assert root.findtext("meta/project/subsets") == "train\nval"
    groups = [shape.get("group_id") for shape in root.iterfind("image/box")]
    assert groups == ["1", "2", "3", "4"], "CVAT keeps groups per task, and 0 is none"
    first = root.find("image/skeleton")
    assert first is not None
    said = {one.get("label"): (one.get("outside"), one.get("occluded")) for one in first}
    meaning = {0: ("1", "0"), 1: ("0", "1"), 2: ("0", "0")}
    assert said == {name: meaning[int(v)] for name, v in zip(CAR8.names, train.visibility[0], strict=True)}
    assert (tmp_path / "out/images/train/a.jpg").read_bytes() == (tmp_path / "in/a.jpg").read_bytes()


def test_the_drawing_of_the_skeleton_is_that_of_cvat(tmp_path: Path) -> None:
    """CVAT's label constructor: a circle per sublabel, in their order, and lines between the circles' numbers."""
    cvat.write({"all": make_dataset(tmp_path / "in")}, tmp_path / "out", "copy")
    root = ET.parse(tmp_path / "out/annotations.xml").getroot()
    drawing = ET.fromstring(f"<svg>{root.findtext('meta/task/labels/label/svg')}</svg>")
    circles = [(one.get("data-label-name"), one.get("data-node-id")) for one in drawing.iterfind("circle")]
    assert circles == [(name, str(number)) for number, name in enumerate(CAR8.names, start=1)]
    lines = [[int(one.get(f"data-node-{end}", "0")) for end in ("from", "to")] for one in drawing.iterfind("line")]
    assert lines == CAR8.coco_edges
    assert all(0 <= float(one.get("cx", "-1")) <= 100 for one in drawing.iterfind("circle"))


def test_the_same_data_set_gives_the_same_bytes(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "in")
    texts = []
    for name in ("one", "two"):
        cvat.write({"train": dataset}, tmp_path / name, "copy")
        texts.append((tmp_path / name / "annotations.xml").read_bytes())
    assert texts[0] == texts[1]


def test_through_convert_and_back(tmp_path: Path) -> None:
    cvat.write({"all": make_dataset(tmp_path / "in", images=[f"{n}.jpg" for n in "abcde"])}, tmp_path / "src", "copy")
    for source, out, target in (("src", "coco", "coco"), ("coco", "again", "cvat")):
        assert convert(ConvertRequest(sources=(tmp_path / source,), out=tmp_path / out, target_format=target)).written
    one, two = (cvat.FORMAT.read([tmp_path / name], CAR8, ReadOptions()).dataset for name in ("src", "again"))
    assert two.with_images(without_split(two.images)) == one


def crowd(folder: Path) -> Dataset:
    builder = DatasetBuilder(CAR8)
    builder.add_image(Image("a.jpg", *SIZE, path=make_image(folder / "a.jpg", SIZE)))
    box = np.array([1.0, 1, 5, 5])
    builder.add_instance("a.jpg", box=box, keypoints=np.zeros((8, 3)), origin=Origin("somewhere"), iscrowd=True)
    return builder.build()


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (crowd, "iscrowd must be 0 (CVAT has no crowds), got 1"),
        (lambda _: make_dataset(), "path must be an image file for the CVAT annotations, got None"),
        (
            lambda folder: make_dataset(folder, images=["a\x01.jpg"]),
            "file_name must be text that XML can hold, without control characters, got 'a\\x01.jpg'",
        ),
    ],
)
def test_what_cvat_cannot_hold_is_refused(tmp_path: Path, make: Callable[[Path], Dataset], part: str) -> None:
    with pytest.raises(InputError) as caught:
        cvat.write({"train": make(tmp_path / "in")}, tmp_path / "out", "copy")
    assert part in str(caught.value)
    assert not (tmp_path / "out").exists()


GROUPS = st.sampled_from([0, 0, 1, 2])
AT = st.integers(0, 90)
POINTS = st.builds(
    lambda label, x, y, outside: point(label, x, y, outside=outside),
    st.sampled_from([LFT, LRT, "bus", "stone"]),
    AT,
    AT,
    st.integers(0, 1),
)
BOXES = st.builds(
    lambda x, y, side, label, group: box(x, y, x + side, y + side, label=label, group_id=group),
    AT,
    AT,
    st.integers(0, 60),
    st.sampled_from(["car-box", "car", "bus", "stone"]),
    GROUPS,
)
SKELETONS = st.builds(
    lambda points, label, group: skeleton(*points, label=label, group_id=group),
    st.lists(POINTS, max_size=3),
    st.sampled_from(["car", "car", "bus"]),
    GROUPS,
)
OTHERS = st.sampled_from([point(LFT, 5, 5), tag("polygon", label="car", points="1,1;9,9"), tag("tag", label="bus")])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shapes=st.lists(st.one_of(BOXES, SKELETONS, OTHERS), max_size=6), from_keypoints=st.booleans())
def test_every_shape_is_in_the_data_set_in_a_finding_or_counted(
    tmp_path: Path, shapes: list[str], from_keypoints: bool
) -> None:
    if not (tmp_path / "a.jpg").exists():
        make_image(tmp_path / "a.jpg", SIZE)
    save(tmp_path, document(image(*shapes)))
    options = ReadOptions(ignore=frozenset({"bus"}), box_from="keypoints" if from_keypoints else "annotation")
    result = cvat.FORMAT.read([tmp_path], CAR8, options)
    root = ET.fromstring(document(image(*shapes)))
    told = " ".join(finding.place for finding in result.findings if finding.code not in READ)
    boxes = [one.get("label") for one in root.iterfind("image/box")]
    for number, label in enumerate(boxes):
        assert label == "bus" or f"box[{number}]" in f"{told} {' '.join(map(str, result.dataset.origins))}"
    assert told.count("polygon[") == len(root.findall("image/polygon"))
    # A point is labeled in the data set, named in a finding, or counted, unless its whole skeleton is.
    whole = set(re.findall(r"skeleton\[(\d+)\](?!\.)", told))
    skeletons = root.findall("image/skeleton")
    read = [one for i, one in enumerate(skeletons) if str(i) not in whole and one.get("label") != "bus"]
    points = [part for one in read for part in one] + root.findall("image/points")
    named = set(re.findall(r"(?:skeleton\[\d+\]\.)?points\[\d+\]", told))
    others = [*root.findall("image/skeleton"), *root.findall("image/tag"), *root.findall("image/box")]
    counted = sum(result.ignored.values()) - sum(one.get("label") == "bus" for one in others)
    seen = sum(one.get("outside") == "0" for one in points)
    assert int(result.dataset.num_labeled.sum()) + len(named) + counted == seen
