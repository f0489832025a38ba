"""Writing YOLO-pose, reading it back, detection, worker processes; and nothing is ever lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import posetools.formats.yolo_pose.format as yolo_pose
from posetools.core.dataset import Dataset, DatasetBuilder, Image, concatenate
from posetools.core.findings import Severity
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.errors import InputError, RequestError
from posetools.formats.options import ReadOptions
from tests.build import make_dataset, make_image, without_split
from tests.formats.yolo_pose.test_yolo_pose import LINE, declare, put, read

CAR8 = load_skeleton("car8")


def with_split(dataset: Dataset, split: str) -> Dataset:
    return dataset.with_images([replace(image, split=split) for image in dataset.images])


@pytest.mark.parametrize("skeleton", ["car8", "coco17"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), per_image=st.integers(0, 3), width=st.integers(8, 500))
def test_read_gives_back_what_write_wrote(
    tmp_path_factory: pytest.TempPathFactory, skeleton: str, seed: int, per_image: int, width: int
) -> None:
    folder = tmp_path_factory.mktemp("yolo")
    parts = {
        split: with_split(
            make_dataset(
                folder / split,
                skeleton=load_skeleton(skeleton),
                images=images,
                per_image=per_image,
                seed=seed,
                size=(max(width, 48), 77),
            ),
            split,
        )
        for split, images in {"train": ["a.jpg", "images/b.png"], "val": ["sub/a.jpg", "sub/deep er/ü.jpg"]}.items()
    }
    yolo_pose.write(parts, folder / "out", "hardlink")
    result = yolo_pose.FORMAT.read([folder / "out"], load_skeleton(skeleton), ReadOptions())
    assert result.findings == () and result.files == 4
    assert result.dataset == concatenate(list(parts.values()))


def test_written_files(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "in", images=["sub/a.jpg"], per_image=2)
    yolo_pose.write(
        {"val": dataset, "train": make_dataset(tmp_path / "in", images=["b.jpg"])}, tmp_path / "out", "copy"
    )
    assert (tmp_path / "out/images/val/sub/a.jpg").read_bytes() == (tmp_path / "in/sub/a.jpg").read_bytes()
    lines = (tmp_path / "out/labels/val/sub/a.txt").read_text().splitlines()
    assert len(lines) == 2 and all(len(line.split()) == 5 + 8 * 3 for line in lines)
    for line, seen in zip(lines, dataset.visibility, strict=True):
        for point, visibility in enumerate(seen):
            triple = line.split()[5 + 3 * point : 8 + 3 * point]
            assert triple[2] == str(visibility) and (visibility or triple == ["0", "0", "0"])
    text = (tmp_path / "out/data.yaml").read_text()
    document = yaml.safe_load(text)
    # ultralytics resolves a relative path in its own settings folder; without one, in data.yaml's.
    assert "path" not in document
    assert (document["train"], document["val"]) == ("images/train", "images/val")
    assert document["kpt_shape"] == [8, 3] and document["flip_idx"] == [4, 5, 6, 7, 0, 1, 2, 3]
    assert document["names"] == {0: "car"} and document["kpt_names"] == {0: list(CAR8.names)}
    assert text.index("train:") < text.index("val:") < text.index("kpt_shape:")


def test_flip_idx_is_left_out_where_images_must_not_be_mirrored(tmp_path: Path) -> None:
    skeleton = draft_skeleton("cone", ["kpt_0", "kpt_1"], "cone").skeleton
    for flip in (None, True):
        written = make_dataset(tmp_path / "in", skeleton=skeleton.model_copy(update={"flip": flip}))
        yolo_pose.write({"train": written}, tmp_path / str(flip), "copy")
        document = yaml.safe_load((tmp_path / str(flip) / "data.yaml").read_text())
        assert document.get("flip_idx") == ([0, 1] if flip else None)


def crowd(folder: Path) -> dict[str, Dataset]:
    return {"train": replace(make_dataset(folder), iscrowd=np.array([False, True, False, False]))}


def same_stem(folder: Path) -> dict[str, Dataset]:
    return {"train": make_dataset(folder, images=["a.jpg", "a.png"])}


def one_object(folder: Path, box: list[float], point: tuple[float, float]) -> dict[str, Dataset]:
    builder = DatasetBuilder(CAR8)
    builder.add_image(Image("a.jpg", 320, 240, path=make_image(folder / "a.jpg")))
    keypoints = np.zeros((8, 3))
    keypoints[3] = (*point, 1)
    builder.add_instance("a.jpg", box=np.array(box), keypoints=keypoints, origin=Origin("somewhere"))
    return {"train": builder.build()}


@pytest.mark.parametrize(
    ("make", "error", "parts"),
    [
        (crowd, InputError, ["a.jpg: a.jpg: object 1: iscrowd must be 0", "YOLO-pose has no crowds", "got 1"]),
        (same_stem, InputError, ["a.png: file_name must be the only image with the YOLO-pose file labels/train/a"]),
        (lambda p: one_object(p, [10, 10, 20, 20], (-3, 9)), InputError,
         ["a.jpg: somewhere: keypoints must be in the image of (320, 240) pixels", "got [[-3.0, 9.0]]", "would skip"]),
        (lambda p: one_object(p, [-90, 10, 20, 20], (3, 9)), InputError, ["box must be in the image", "got [-90.0"]),
        (lambda p: one_object(p, [9, 9, 9, 20], (3, 9)), InputError, ["box must be x1, y1, x2, y2 with width and"]),
        (lambda p: {"all": make_dataset(p)}, RequestError,
         ["splits of a YOLO-pose data set must be among train, val, test, got ['all']"]),
        (lambda _: {"train": make_dataset()}, InputError, ["a.jpg: path must be an image file", "got None"]),
    ],
)  # fmt: skip
def test_what_yolo_pose_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, make: Callable[[Path], dict[str, Dataset]], error: type[Exception], parts: list[str]
) -> None:
    with pytest.raises(error) as caught:
        yolo_pose.write(make(tmp_path / "in"), tmp_path / "out", "copy")
    for part in parts:
        assert part in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_same_data_set_gives_the_same_bytes(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "in")
    for name in ("one", "two"):
        yolo_pose.write({"train": dataset}, tmp_path / name, "copy")
    for path in ("data.yaml", "labels/train/a.txt", "labels/train/b.txt"):
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_sources_of_one_name_both_survive(tmp_path: Path) -> None:
    for number, folder in enumerate(["x/cars", "y/cars"]):
        put(tmp_path / folder, LINE, f"own{number}")
        put(tmp_path / folder, LINE)
        declare(tmp_path / folder, val=...)
    sources = [tmp_path / "x/cars", tmp_path / "y/cars", tmp_path / "x/cars/data.yaml"]
    result = yolo_pose.FORMAT.read(sources, CAR8, ReadOptions())
    names = [image.file_name for image in result.dataset.images]
    assert names == ["cars-2/a.jpg", "cars/a.jpg", "own0.jpg", "own1.jpg"] and result.findings == ()


def test_workers_give_the_same_result(tmp_path: Path) -> None:
    put(tmp_path, LINE, "0")
    for number in range(1, 140):
        (tmp_path / f"images/train/{number}.jpg").hardlink_to(tmp_path / "images/train/0.jpg")
        (tmp_path / f"labels/train/{number}.txt").write_text(LINE if number % 20 else "x")
    declare(tmp_path, val=...)
    one, two = (yolo_pose.FORMAT.read([tmp_path], CAR8, ReadOptions(workers=workers)) for workers in (1, 2))
    assert one.dataset == two.dataset and one.findings == two.findings
    assert len(one.findings) == 6 and len(one.dataset) == 134


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: declare(p), True),
        (lambda p: declare(p).parent, True),
        (lambda p: declare(p, kpt_shape=...).parent, False),
        (lambda p: put(p, LINE).parents[2], True),
        (lambda p: make_image(p / "images/a.jpg").parents[1], False),
        (lambda p: p, False),
        (lambda p: p / "nowhere", False),
    ],
)
def test_detect(tmp_path: Path, make: Callable[[Path], Path], expected: bool) -> None:
    assert yolo_pose.FORMAT.detect(make(tmp_path)) is expected


NUMBER = st.sampled_from(["0.5", "0.25", "1", "0", "2", "-0.5", "1e-3", "nan", "inf", "x", "1e999", "0x1", "١"])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_line_is_read_or_reported_or_counted(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    lines: list[str] = data.draw(st.lists(st.sampled_from([LINE, "", "1 0.5", "7"]), max_size=6))
    for index in range(len(lines)):
        parts = lines[index].split()
        changed = data.draw(st.integers(0, 2 * len(parts)))
        if changed < len(parts):
            parts[changed] = data.draw(NUMBER)
            lines[index] = " ".join(parts)
    folder = tmp_path_factory.mktemp("lines")
    result = read(folder, *lines, names=["car", "bus"], options=ReadOptions(ignore=frozenset({"bus"})))
    errors = [finding for finding in result.findings if finding.severity is Severity.ERROR]
    assert len({finding.place for finding in errors}) == len(errors)
    held = len(result.dataset) + len(errors) + sum(result.ignored.values())
    assert held == sum(bool(line.split()) for line in lines)
    assert without_split(result.dataset.images)[0].file_name == "a.jpg"
    assert np.isfinite(result.dataset.keypoints).all() and np.isfinite(result.dataset.boxes).all()
