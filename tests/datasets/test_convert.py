"""convert: from real files of one format to real files of another, opened by the programs that read them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.core.dataset import Dataset, concatenate
from posetools.core.skeleton import Skeleton, load_skeleton
from posetools.datasets.convert import ConvertRequest, convert
from posetools.errors import InputError, OutputError, RequestError
from posetools.files import walking
from posetools.files.disk import Transfer
from posetools.formats import FORMATS
from posetools.formats import result as result_module
from posetools.formats.coco import format as coco
from posetools.formats.labelme import format as labelme
from posetools.formats.options import ReadOptions
from posetools.imaging.header import read_header
from tests.build import make_dataset, make_image, without_split
from tests.converting import NAMES, contents, convert_one, instances, labelme_source, write_source, written

REAL_CARS = Path(__file__).resolve().parents[3] / "shared" / "real_cars"


def _reread(folder: Path, format_name: str, skeleton: Skeleton | None = None) -> Dataset:
    result = FORMATS[format_name].read([folder], skeleton or load_skeleton(), ReadOptions())
    assert result.findings == ()
    return result.dataset


def _plain(dataset: Dataset) -> Dataset:
    return replace(dataset, images=without_split(dataset.images))


def test_labelme_becomes_coco_that_pycocotools_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools.coco import COCO

    source, dataset = labelme_source(tmp_path)
    result = convert_one(source, tmp_path / "out")
    assert (result.written, result.source_format, result.findings, result.files) == (True, "labelme", (), 10)
    assert {split: counts.images for split, counts in result.counts.items()} == {"train": 9, "val": 1}
    assert concatenate([_plain(part) for part in written(tmp_path / "out").values()]) == dataset
    seen = 0
    for split, part in written(tmp_path / "out").items():
        coco = COCO(str(tmp_path / "out" / f"{split}_coco.json"))
        for image in coco.loadImgs(coco.getImgIds()):
            path = tmp_path / "out" / "images" / image["file_name"]
            assert path.read_bytes() == (tmp_path / "pictures" / image["file_name"]).read_bytes()
            assert read_header(path).size == (image["width"], image["height"])
        annotations = coco.loadAnns(coco.getAnnIds())
        seen += len(annotations)
        keypoints = np.array([annotation["keypoints"] for annotation in annotations]).reshape(-1, 8, 3)
        np.testing.assert_array_equal(keypoints, part.keypoints)
        assert coco.loadCats(coco.getCatIds())[0]["keypoints"] == list(load_skeleton().names)
    assert seen == len(dataset) == 20
    capsys.readouterr()


def test_conversion_json_says_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelme_source(tmp_path)
    monkeypatch.chdir(tmp_path)
    convert_one(Path("src"), Path("out"), val=0.3, seed=5, read=ReadOptions(ignore=frozenset({"tree"})))
    text = (tmp_path / "out" / "conversion.json").read_text()
    record = json.loads(text)
    assert str(tmp_path) not in text
    assert record["source"] == {"format": "labelme", "paths": ["src"], "files": 10, "ignored": {}}
    assert record["format"] == "coco"
    assert record["split"] == {"by": "image", "val": 0.3, "seed": 5, "groups": 10, "reason": "by image"}
    assert record["options"]["ignore"] == ["tree"]
    assert (record["finding_counts"], record["findings"]) == ({}, [])
    assert Skeleton.model_validate(record["skeleton"]) == load_skeleton()
    visibility = written(Path("out"))["val"].visibility[:, 2]
    assert record["splits"]["val"]["pictures"] == 3
    assert record["splits"]["val"]["instances"] == 6
    assert record["splits"]["val"]["keypoints"]["left-front-tire"] == {
        "visible": int((visibility == 2).sum()),
        "hidden": int((visibility == 1).sum()),
        "not_labelled": int((visibility == 0).sum()),
    }


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = labelme_source(tmp_path)
    # Small enough to distribute the ten files to two processes.
    monkeypatch.setattr(labelme, "SHARD", 3)
    convert_one(source, tmp_path / "once")
    convert_one(source, tmp_path / "again")
    convert_one(source, tmp_path / "parallel", read=ReadOptions(workers=2))
    once = contents(tmp_path / "once")
    assert len(once) == 14
    assert contents(tmp_path / "again") == once
    assert contents(tmp_path / "parallel") == once


def test_images_of_one_name_from_two_folders_both_survive(tmp_path: Path) -> None:
    first = make_dataset(tmp_path / "p1", images=["a.jpg", "deep/b.jpg"], seed=1)
    second = make_dataset(tmp_path / "p2", images=["a.jpg", "deep/b.jpg"], seed=5)
    sources = tuple(
        write_source(tmp_path / name, "labelme", {"all": part}) for name, part in (("one", first), ("two", second))
    )
    result = convert(ConvertRequest(sources=sources, out=tmp_path / "out", val=0.5))
    assert result.findings == ()
    out = tmp_path / "out" / "images"
    contents = {path.read_bytes() for path in out.rglob("*.jpg")}
    assert contents == {path.read_bytes() for folder in ("p1", "p2") for path in (tmp_path / folder).rglob("*.jpg")}
    listed = [image for part in written(tmp_path / "out").values() for image in part.images]
    assert len(listed) == 4
    assert all((out / image.file_name).is_file() for image in listed)
    assert {image.file_name.rpartition("/")[2] for image in listed} == {"a.jpg", "b.jpg"}
    assert instances(result) == len(first) + len(second)


def test_round_trip_through_all_formats_gives_the_same_data(tmp_path: Path) -> None:
    source, dataset = labelme_source(tmp_path, images=["a.jpg", "b/c.jpg", "b/d.jpg", "e.jpg"])
    convert_one(source, tmp_path / "coco", val=0.5)
    convert_one(tmp_path / "coco", tmp_path / "yolo", target_format="yolo-pose")
    convert_one(tmp_path / "yolo", tmp_path / "labelme", target_format="labelme")
    back = convert_one(tmp_path / "labelme", tmp_path / "coco2", val=0.5)
    assert back.source_format == "labelme"
    whole = concatenate([_plain(part) for part in written(tmp_path / "coco2").values()])
    np.testing.assert_allclose(whole.boxes, dataset.boxes, atol=1e-6)
    np.testing.assert_allclose(whole.keypoints, dataset.keypoints, atol=1e-6)
    assert [image.file_name.rpartition("/")[2] for image in whole.images] == ["a.jpg", "c.jpg", "d.jpg", "e.jpg"]


# The split.


def _declared(tmp_path: Path, **splits: list[str]) -> Path:
    parts = {
        split: replace(part, images=tuple(replace(image, split=split) for image in part.images))
        for split, names in splits.items()
        for part in [make_dataset(tmp_path / "pictures", images=names)]
    }
    return write_source(tmp_path / "src", "yolo-pose", parts)


def _sides(out: Path) -> dict[str, list[str]]:
    return {
        split: [image.file_name.rpartition("/")[2] for image in part.images] for split, part in written(out).items()
    }


def test_a_declared_split_is_kept_and_a_test_set_stays_one(tmp_path: Path) -> None:
    source = _declared(tmp_path, train=["a.jpg"], val=["b.jpg", "c.jpg"], test=["d.jpg"])
    result = convert_one(source, tmp_path / "out")
    assert _sides(tmp_path / "out") == {"train": ["a.jpg"], "val": ["b.jpg", "c.jpg"], "test": ["d.jpg"]}
    assert (tmp_path / "out" / "test_coco.json").is_file()
    assert result.split
    assert result.split.as_dict() == {
        "by": "declared",
        "val": None,
        "seed": None,
        "groups": None,
        "reason": "as declared by the source (change it with --val or --split-by)",
    }


@pytest.mark.parametrize("more", [{"val": 0.5}, {"split_by": "image"}])
def test_a_declared_split_gives_way_to_one_that_is_asked_for(tmp_path: Path, more: dict[str, Any]) -> None:
    source = _declared(tmp_path, train=["a.jpg"], val=["b.jpg", "c.jpg", "e.jpg"], test=["d.jpg"])
    result = convert_one(source, tmp_path / "out", **more)
    sides = _sides(tmp_path / "out")
    assert sides["test"] == ["d.jpg"]
    assert len(sides["val"]) == (2 if "val" in more else 1)
    assert sorted(sides["train"] + sides["val"]) == ["a.jpg", "b.jpg", "c.jpg", "e.jpg"]
    assert result.split
    assert "test kept as declared by the source" in result.split.reason


@pytest.mark.parametrize("declared", ["train", "val", "test"])
def test_a_source_with_one_side_only_is_split(tmp_path: Path, declared: str) -> None:
    result = convert_one(_declared(tmp_path, **{declared: NAMES}), tmp_path / "out")
    assert {split: len(names) for split, names in _sides(tmp_path / "out").items()} == {"train": 9, "val": 1}
    assert result.split
    assert result.split.by == "image"


def test_clips_stay_together(tmp_path: Path) -> None:
    names = [f"{clip}_{frame:03}.jpg" for clip in "abc" for frame in range(4)]
    result = convert_one(labelme_source(tmp_path, images=names, per_image=1)[0], tmp_path / "out")
    assert result.split
    assert result.split.by == "clip"
    assert len({name[0] for name in _sides(tmp_path / "out")["val"]}) == 1
    assert len(_sides(tmp_path / "out")["val"]) == 4


def test_a_split_that_is_not_possible_writes_nothing(tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path, images=["a.jpg"])
    with pytest.raises(
        RequestError, match=r"a split needs at least 2 images.*got 1\n  fix: --val 0 puts all images into"
    ):
        convert_one(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert convert_one(source, tmp_path / "out", target_format="labelme").written


# What cannot be read.


def _break_label(source: Path, name: str, label: str) -> None:
    """Give the first rectangle of a labelme file another label."""
    path = source / name
    document = json.loads(path.read_text())
    next(shape for shape in document["shapes"] if shape["shape_type"] == "rectangle")["label"] = label
    path.write_text(json.dumps(document))


def test_errors_write_nothing_unless_told_to_keep_going(tmp_path: Path) -> None:
    source, dataset = labelme_source(tmp_path, per_image=1)
    _break_label(source, "c.json", "lorry")
    stopped = convert_one(source, tmp_path / "out", skeleton="car8")
    assert not stopped.written
    assert (stopped.counts, stopped.split) == ({}, None)
    assert not (tmp_path / "out").exists()
    finding = stopped.findings[0]
    assert (finding.code, finding.file) == ("E301", str(source / "c.json"))
    assert "lorry" in finding.message
    went_on = convert_one(source, tmp_path / "out", skeleton="car8", keep_going=True)
    assert went_on.written
    assert went_on.findings == stopped.findings
    assert instances(went_on) == len(dataset) - 1
    record = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert record["findings"][0]["place"] == finding.place
    assert record["finding_counts"]["E301"] == 1
    mapped = convert_one(source, tmp_path / "mapped", read=ReadOptions(names={"lorry": "car"}))
    assert instances(mapped) == len(dataset)


def test_warnings_alone_write(tmp_path: Path) -> None:
    source, dataset = labelme_source(tmp_path)
    make_image(source / "unlabelled.jpg")
    result = convert_one(source, tmp_path / "out")
    assert result.written
    assert {finding.code for finding in result.findings} == {"W322"}
    assert instances(result) == len(dataset)


@pytest.mark.parametrize("keep_going", [False, True])
def test_a_source_without_objects_writes_nothing(tmp_path: Path, keep_going: bool) -> None:
    source, _ = labelme_source(tmp_path, per_image=0)
    result = convert_one(source, tmp_path / "out", keep_going=keep_going)
    assert not result.written
    assert [finding.code for finding in result.findings] == ["E116"]
    assert "objects must be at least 1, got 0 in 10 images and 10 annotation files" in result.findings[0].message
    assert not (tmp_path / "out").exists()


def test_a_side_without_objects_is_an_error(tmp_path: Path) -> None:
    full = make_dataset(tmp_path / "pictures", images=["a.jpg", "b.jpg"])
    empty = make_dataset(tmp_path / "pictures", images=["c.jpg"], per_image=0)
    source = write_source(tmp_path / "src", "yolo-pose", {"train": full, "val": empty})
    result = convert_one(source, tmp_path / "out")
    assert not result.written
    found = [finding for finding in result.findings if finding.code == "E116"]
    assert found[0].place == "val"
    assert "objects must be at least 1 in each split, got 0 in 1 images of val" in found[0].message


# Images.


@pytest.mark.parametrize("how", ["copy", "hardlink", "symlink"])
def test_rotation_is_baked_into_files_and_nowhere_else(tmp_path: Path, how: Transfer) -> None:
    dataset = make_dataset(images=["a.jpg", "b.jpg", "c.png"], size=(320, 240))
    for name, orientation in (("a.jpg", 6), ("b.jpg", 1), ("c.png", 3)):
        stored = (240, 320) if orientation == 6 else (320, 240)
        make_image(tmp_path / "pictures" / name, stored, orientation=orientation)
    images = tuple(replace(image, path=tmp_path / "pictures" / image.file_name) for image in dataset.images)
    source = write_source(tmp_path / "src", "labelme", {"all": replace(dataset, images=images)})
    before = contents(source)
    plain = convert_one(source, tmp_path / "plain", images=how)
    baked = convert_one(source, tmp_path / "baked", images=how, bake_rotation=True)
    assert contents(source) == before
    assert plain.counts == baked.counts and written(tmp_path / "plain") == written(tmp_path / "baked")
    for name in ("a.jpg", "b.jpg", "c.png"):
        untouched = tmp_path / "plain" / "images" / name
        assert untouched.read_bytes() == before[name]
        upright = tmp_path / "baked" / "images" / name
        assert read_header(upright).orientation == 1
        with Pillow.open(upright) as opened:
            assert opened.size == (320, 240)
        rotated = name != "b.jpg"
        assert (upright.read_bytes() == before[name]) != rotated
        assert upright.is_symlink() == (how == "symlink" and not rotated)
        assert upright.samefile(source / name) == (how != "copy" and not rotated)


def test_an_image_that_cannot_be_copied_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = labelme_source(tmp_path)
    real = shutil.copyfile
    copied: list[Path] = []

    def fail(a: Path, b: Path) -> Path:
        copied.append(b)
        if len(copied) == 5:
            raise OSError(28, "No space left on device")
        return real(a, b)

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        convert_one(source, tmp_path / "deep" / "out")
    assert len(copied) == 5
    assert list((tmp_path / "deep").iterdir()) == []


@pytest.mark.skipif(not REAL_CARS.is_dir(), reason="the real photos are not part of the repository")
def test_real_photos_convert_without_a_finding(tmp_path: Path) -> None:
    result = convert_one(REAL_CARS, tmp_path / "out")
    assert result.findings == ()
    assert instances(result) == 10
    again = _reread(tmp_path / "out", "coco")
    assert len(again) == 10


@pytest.mark.parametrize("workers", [1, 2])
def test_what_comes_in_shards_is_what_a_dataset_would_be_written_as(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    source, _ = labelme_source(tmp_path, images=[f"{name}/{i}.jpg" for name in "ab" for i in range(7)])
    # Read in shards of four images, and written in slices of three.
    monkeypatch.setattr(result_module, "SLICE", 3)
    monkeypatch.setattr(labelme, "SHARD", 4)
    convert_one(source, tmp_path / "out", val=0.3, read=ReadOptions(workers=workers))
    splits = written(tmp_path / "out")
    (tmp_path / "again").mkdir()
    coco.write(splits, tmp_path / "again", "copy")
    for split in splits:
        text = (tmp_path / "out" / f"{split}_coco.json").read_text()
        assert (tmp_path / "again" / f"{split}_coco.json").read_text() == text
        assert len(json.loads(text)["annotations"]) == len(splits[split]) > 0


def test_images_that_are_left_where_they_are_need_not_be_there(tmp_path: Path) -> None:
    source, dataset = labelme_source(tmp_path)
    for path in source.rglob("*.jpg"):
        path.unlink()
    trusting = ReadOptions(trust_sizes=True)
    result = convert_one(source, tmp_path / "out", images="none", read=trusting)
    assert (result.written, result.findings) == (True, ())
    assert instances(result) == len(dataset)
    assert not (tmp_path / "out" / "images").exists()
    again = convert_one(tmp_path / "out", tmp_path / "again", images="none", read=trusting)
    assert (again.findings, again.counts) == ((), result.counts)
    assert written(tmp_path / "again") == written(tmp_path / "out")
    lost = convert_one(source, tmp_path / "copied", read=trusting)
    assert {finding.code for finding in lost.findings} == {"E121"} and not lost.written


@pytest.mark.parametrize(
    ("more", "said"), [({"target_format": "yolo-pose"}, "yolo-pose"), ({"bake_rotation": True}, "--bake-rotation")]
)
def test_images_are_needed_for_what_needs_them(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    source, _ = labelme_source(tmp_path)
    with pytest.raises(RequestError, match=f"--images none requires --to coco .* got .*{said}"):
        convert_one(source, tmp_path / "out", images="none", **more)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are UTF-8 here")
@pytest.mark.parametrize("target", ["coco", "labelme", "via", "cvat", "yolo-pose"])
def test_an_image_whose_name_is_no_utf_8_is_refused(tmp_path: Path, target: str) -> None:
    write = FORMATS["yolo-pose"].write
    assert write
    whole = make_dataset(tmp_path / "in")
    (tmp_path / "src").mkdir()
    write({"train": whole.select_images([0]), "val": whole.select_images([1])}, tmp_path / "src", "copy")
    for path in [*(tmp_path / "src").rglob("a.jpg"), *(tmp_path / "src").rglob("a.txt")]:
        path.rename(path.with_name(f"\udcff{path.suffix}"))
    with pytest.raises(
        InputError, match=r"file_name must be text in UTF-8, got '\\udcff.jpg'\n  fix: rename the image"
    ):
        convert(ConvertRequest(sources=(tmp_path / "src",), out=tmp_path / "out", target_format=target))
    assert not (tmp_path / "out").exists()


def test_a_source_is_walked_once_whoever_asks_for_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = labelme_source(tmp_path)
    walked: list[Path] = []
    real = walking._walk

    def watched(folder: Path) -> list[walking.FolderEntries]:
        walked.append(folder)
        return real(folder)

    monkeypatch.setattr(walking, "_walk", watched)
    convert_one(source, tmp_path / "out")
    assert walked == [source]
