"""Writing Label Studio's tasks, and what comes back; nothing of a file is ever lost."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import posetools.formats.label_studio.format as label_studio
from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.datasets.convert import ConvertRequest, convert
from posetools.errors import InputError
from posetools.formats.options import ReadOptions
from tests.build import make_dataset, make_image, without_split
from tests.formats.label_studio.test_label_studio import LFT, LRT, SIZE, dot, rect, save, task

CAR8 = load_skeleton("car8")
# The Label Studio tags of the interface.
TAGS = {"View", "Image", "RectangleLabels", "KeyPointLabels", "Label", "Choices", "Choice"}

# Warnings that name what was read.
READ = ("W321", "W327", "W330", "W333")


@pytest.mark.parametrize("name", ["car8", "coco17"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), per_image=st.integers(0, 3))
def test_read_gives_back_what_write_wrote(
    tmp_path_factory: pytest.TempPathFactory, name: str, seed: int, per_image: int
) -> None:
    folder = tmp_path_factory.mktemp("label_studio")
    names = ["a.jpg", "a.png", "1a2b3c4d-a.jpg", "sub/a.jpg", "sub/deep er/ü #?%20&+=.jpg"]
    dataset = make_dataset(
        folder / "in", skeleton=load_skeleton(name), images=names, per_image=per_image, seed=seed, size=(67, 41)
    )
    label_studio.write({"train": dataset}, folder / "out", "hardlink")
    result = label_studio.FORMAT.read([folder / "out"], dataset.skeleton, ReadOptions())
    assert result.findings == () and result.files == 1
    assert {image.split for image in result.dataset.images} == {"train"}
    assert result.dataset.with_images(without_split(result.dataset.images)) == dataset


def test_points_come_back_to_a_billionth_of_a_pixel(tmp_path: Path) -> None:
    builder = DatasetBuilder(CAR8)
    builder.add_image(Image("a.jpg", *SIZE, path=make_image(tmp_path / "a.jpg", SIZE)))
    points = np.random.default_rng(1).uniform(-9, 400, (8, 2))
    keypoints = np.concatenate([points, np.full((8, 1), 2.0)], axis=1)
    builder.add_instance(
        "a.jpg", box=np.array([1 / 3, 0.1, 99.7, 80.123456789]), keypoints=keypoints, origin=Origin("x")
    )
    dataset = builder.build()
    label_studio.write({"train": dataset}, tmp_path / "out", "copy")
    again = label_studio.FORMAT.read([tmp_path / "out"], CAR8, ReadOptions()).dataset
    assert np.array_equal(again.boxes, dataset.boxes)
    assert np.abs(again.keypoints - dataset.keypoints).max() <= 5e-10


def test_written_files(tmp_path: Path) -> None:
    train, val = (
        make_dataset(tmp_path / "in", images=["a.jpg"]),
        make_dataset(tmp_path / "in", images=["b.jpg"], seed=5),
    )
    label_studio.write({"train": train, "val": val}, tmp_path / "out", "copy")
    tasks = json.loads((tmp_path / "out/tasks.json").read_text(encoding="utf-8"))
    assert [one["data"] for one in tasks] == [
        {"image": "/data/local-files/?d=images/a.jpg", "split": "train"},
        {"image": "/data/local-files/?d=images/b.jpg", "split": "val"},
    ]
    result = tasks[0]["annotations"][0]["result"]
    rectangles = [one for one in result if one["type"] == "rectanglelabels"]
    points = [one for one in result if one["type"] == "keypointlabels"]
    hidden = [one for one in result if one["type"] == "choices"]
    assert len(rectangles) == 2 and len(points) == train.num_labeled.sum()
    assert {one["parentID"] for one in points} <= {one["id"] for one in rectangles}
    assert {one["id"] for one in hidden} <= {one["id"] for one in points}
    assert len(hidden) == (train.visibility == 1).sum()
    every = [one["id"] for one in (*rectangles, *points)]
    assert len(set(every)) == len(every)
    assert (tmp_path / "out/images/b.jpg").read_bytes() == (tmp_path / "in/b.jpg").read_bytes()


def test_the_interface_has_the_tags_that_the_tasks_name(tmp_path: Path) -> None:
    label_studio.write({"train": make_dataset(tmp_path / "in")}, tmp_path / "out", "copy")
    root = ET.fromstring((tmp_path / "out/labeling_interface.xml").read_text(encoding="utf-8"))
    assert {one.tag for one in root.iter()} == TAGS
    tasks = json.loads((tmp_path / "out/tasks.json").read_text(encoding="utf-8"))
    kinds = {"RectangleLabels": "rectanglelabels", "KeyPointLabels": "keypointlabels", "Choices": "choices"}
    tags = {(one.get("name"), kinds[one.tag]): one for one in root if one.tag in kinds}
    for one in tasks[0]["annotations"][0]["result"]:
        tag = tags[one["from_name"], one["type"]]
        assert tag.get("toName") == one["to_name"] == "image"
        assert one["value"][one["type"]][0] in [label.get("value") for label in tag]
    labels = [(label.get("value"), label.get("model_index")) for label in root.iterfind("KeyPointLabels/Label")]
    assert labels == [(name, str(index)) for index, name in enumerate(CAR8.names)]


def test_the_same_data_set_gives_the_same_bytes(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "in")
    texts = []
    for name in ("one", "two"):
        label_studio.write({"train": dataset}, tmp_path / name, "copy")
        texts.append((tmp_path / name / "tasks.json").read_bytes())
    assert texts[0] == texts[1]


def test_through_convert_and_back(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "in", images=[f"{n}.jpg" for n in "abcde"])
    label_studio.write({"all": dataset}, tmp_path / "src", "copy")
    for source, out, target in (("src", "coco", "coco"), ("coco", "again", "label-studio")):
        assert convert(ConvertRequest(sources=(tmp_path / source,), out=tmp_path / out, target_format=target)).written
    again = label_studio.FORMAT.read([tmp_path / "again"], CAR8, ReadOptions()).dataset
    assert {image.split for image in again.images} == {"train", "val"}
    assert again.with_images(without_split(again.images)) == dataset


def crowd(folder: Path) -> dict[str, Dataset]:
    builder = DatasetBuilder(CAR8)
    builder.add_image(Image("a.jpg", *SIZE, path=make_image(folder / "a.jpg", SIZE)))
    box = np.array([1.0, 1, 5, 5])
    builder.add_instance("a.jpg", box=box, keypoints=np.zeros((8, 3)), origin=Origin("somewhere"), iscrowd=True)
    return {"train": builder.build()}


def same_name(folder: Path) -> dict[str, Dataset]:
    return {split: make_dataset(folder, images=["a.jpg"]) for split in ("train", "val")}


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (crowd, "iscrowd must be 0 (Label Studio has no crowds), got 1"),
        (same_name, "file_name must be the only image with the Label Studio file a.jpg, got 'a.jpg'"),
    ],
)
def test_what_label_studio_cannot_hold_is_refused(
    tmp_path: Path, make: Callable[[Path], dict[str, Dataset]], part: str
) -> None:
    with pytest.raises(InputError) as caught:
        label_studio.write(make(tmp_path / "in"), tmp_path / "out", "copy")
    assert part in str(caught.value)
    assert not (tmp_path / "out").exists()


IDS = st.sampled_from(["a", "b", "c", None])
AT = st.integers(0, 90)
LABELS = st.sampled_from(["car", "car", "bus", "stone"])
RECTANGLES = st.builds(lambda n, x, y, s, label: rect(n, x, y, s, s, label), IDS, AT, AT, st.integers(0, 60), LABELS)
POINTS = st.builds(
    lambda label, x, y, parent: dot(None, label, x, y, parent), st.sampled_from([LFT, LRT, "bus", "stone"]), AT, AT, IDS
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(result=st.lists(st.one_of(RECTANGLES, POINTS), max_size=7), from_keypoints=st.booleans())
def test_every_region_is_in_the_data_set_in_a_finding_or_counted(
    tmp_path: Path, result: list[dict[str, Any]], from_keypoints: bool
) -> None:
    if not (tmp_path / "a.jpg").exists():
        make_image(tmp_path / "a.jpg", SIZE)
    save(tmp_path, [task(*result)])
    options = ReadOptions(ignore=frozenset({"bus"}), box_from="keypoints" if from_keypoints else "annotation")
    read = label_studio.FORMAT.read([tmp_path], CAR8, options)
    told = " ".join(finding.place for finding in read.findings if finding.code not in READ)
    named = {int(index) for index in re.findall(r"result\[(\d+)\]", told)}
    kinds = [one["type"] for one in result]
    boxes = {int(index) for index in re.findall(r"result\[(\d+)\]", " ".join(map(str, read.dataset.origins)))}
    boxes = {index for index in boxes if kinds[index] == "rectanglelabels"}
    assert not boxes & named
    labeled = int(read.dataset.num_labeled.sum())
    assert len(boxes) + labeled + len(named) + sum(read.ignored.values()) == len(result)
