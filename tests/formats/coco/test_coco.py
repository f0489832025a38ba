from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from posetools.core.dataset import DatasetBuilder, Image, concatenate
from posetools.core.geometry import xywh_from_xyxy, xyxy_from_xywh
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.errors import InputError, RequestError
from posetools.formats.coco import format as coco
from posetools.formats.coco.sources import split_in
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult
from tests.build import make_dataset, make_image
from tests.coco_sample import Document, edit, make_sample, other_skeleton, write_sample

CAR8 = load_skeleton("car8")
TRAIN = "train_coco.json"


def read(*sources: Path, **options: Any) -> ReadResult:
    return coco.FORMAT.read(sources, CAR8, ReadOptions(**options))


def codes(result: ReadResult) -> list[str]:
    return [finding.code for finding in result.findings]


def places_in(document: Mapping[str, Any]) -> list[str]:
    return [f"annotations[{i}]" for i in range(len(document["annotations"]))]


def is_conserved(result: ReadResult, document: Mapping[str, Any]) -> bool:
    """Return whether every annotation is in the Dataset, in the findings, or counted as ignored."""
    if any(finding.code == "E113" for finding in result.findings):
        # Unnamed keypoints refuse the whole file.
        return True
    told = [*map(str, result.dataset.origins), *(finding.place for finding in result.findings)]
    lost = [
        place
        for place, entry in zip(places_in(document), document["annotations"], strict=True)
        if not any(place in text for text in told) and not has_reported_parent(entry, result, document)
    ]
    return len(lost) == sum(result.ignored.values())


def has_reported_parent(entry: Any, result: ReadResult, document: Mapping[str, Any]) -> bool:
    """Return whether an error is about an annotation's image or category: it covers the annotation too."""
    errors = [finding.place for finding in result.findings if finding.code.startswith("E")]
    return isinstance(entry, dict) and any(
        isinstance(parent, dict)
        and parent.get("id") == entry.get(key)
        and any(place.startswith(f"{kind}[{i}]") for place in errors)
        for kind, key in (("images", "image_id"), ("categories", "category_id"))
        for i, parent in enumerate(document[kind])
    )


# Round trip.


def test_what_was_written_is_read_back_exactly(tmp_path: Path) -> None:
    splits = write_sample(tmp_path / "cars")
    result = read(tmp_path / "cars")
    assert result.findings == ()
    assert result.files == 2
    assert result.dataset == concatenate(list(splits.values()))
    assert [image.split for image in result.dataset.images] == ["train", "val", "train"]
    assert all(image.path and image.path.is_file() for image in result.dataset.images)


def test_the_same_dataset_gives_the_same_bytes_and_ids_run_on(tmp_path: Path) -> None:
    splits = write_sample(tmp_path / "one")
    coco.write({"val": splits["val"], "train": splits["train"]}, tmp_path / "two", "copy")
    for name in ("train_coco.json", "val_coco.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    train, val = (json.loads((tmp_path / "one" / f"{split}_coco.json").read_text()) for split in ("train", "val"))
    assert [entry["id"] for entry in train["images"] + val["images"]] == [1, 2, 3]
    assert [entry["id"] for entry in train["annotations"] + val["annotations"]] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "one/images/sub/b.png").read_bytes() == (tmp_path / "one-source/sub/b.png").read_bytes()


def test_a_written_annotation_has_all_that_coco_wants(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")
    document = json.loads((tmp_path / "cars" / TRAIN).read_text())
    annotation = document["annotations"][0]
    assert annotation["bbox"] == [10.5, 20.25, 159.625, 119.75]
    assert annotation["area"] == 159.625 * 119.75
    assert (annotation["iscrowd"], annotation["segmentation"], annotation["num_keypoints"]) == (0, [], 7)
    assert annotation["keypoints"][2::3] == [2, 2, 2, 2, 2, 0, 1, 1]
    assert all(isinstance(v, int) for v in annotation["keypoints"][2::3])
    (category,) = document["categories"]
    assert (category["id"], category["name"], category["supercategory"]) == (1, "car", "car")
    assert category["skeleton"] == [[1, 2], [3, 4], [5, 6], [7, 8]]


_COORDINATE = st.floats(-5e4, 5e4, allow_nan=False).map(lambda value: round(value, 9))


@settings(max_examples=1000, deadline=None)
@given(st.tuples(_COORDINATE, _COORDINATE), st.tuples(_COORDINATE, _COORDINATE))
def test_a_box_comes_back_to_the_last_bit(a: tuple[float, float], b: tuple[float, float]) -> None:
    box = np.array([[*np.minimum(a, b), *np.maximum(a, b)]])
    again = xyxy_from_xywh(np.array(json.loads(json.dumps(xywh_from_xyxy(box).tolist()))))
    assert (again == box).all()


_PIXEL = st.floats(0, 320, allow_nan=False)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_PIXEL, _PIXEL, _PIXEL, _PIXEL, st.integers(0, 2)), min_size=1, max_size=4), st.booleans())
def test_any_object_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, float, float, int]], crowd: bool
) -> None:
    builder = DatasetBuilder(CAR8)
    builder.add_image(Image("a.jpg", 320, 320))
    for x, y, w, h, v in rows:
        points = np.tile([y, w / 3, v], (8, 1))
        box = np.array([x, y, x + w + 2, y + h + 2])
        builder.add_instance("a.jpg", box=box, keypoints=points, origin=Origin(""), iscrowd=crowd)
    dataset = builder.build()
    path = tmp_path_factory.mktemp("any") / "any.json"
    coco.write_split(dataset, path)
    result = coco.read_split(path, path.parent, CAR8)
    assert result.findings == ()
    assert result.dataset == dataset


def test_pycocotools_opens_what_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    splits = write_sample(tmp_path / "cars")
    opened = COCO(tmp_path / "cars" / TRAIN)
    opened.info()
    capsys.readouterr()
    assert opened.getCatIds(catNms=["car"]) == [1]
    assert len(opened.loadAnns(opened.getAnnIds(iscrowd=False))) == len(splits["train"])


@pytest.mark.train
def test_mmdet_and_mmpose_open_what_was_written(tmp_path: Path) -> None:
    from mmdet.datasets import CocoDataset as DetDataset
    from mmpose.datasets import CocoDataset as PoseDataset

    splits = write_sample(tmp_path / "cars")
    root = str(tmp_path / "cars")
    det = DetDataset(
        data_root=root, ann_file=TRAIN, data_prefix={"img": "images/"}, metainfo={"classes": ["car"]}, pipeline=[]
    )
    assert len(det) == 2
    first = det.get_data_info(0)
    assert (first["width"], first["height"]) == (320, 240)
    assert Path(first["img_path"]).is_file()
    np.testing.assert_allclose(first["instances"][0]["bbox"], splits["train"].boxes[0])
    pose = PoseDataset(
        data_root=root, ann_file=TRAIN, data_prefix={"img": "images/"}, metainfo=CAR8.metainfo(), pipeline=[]
    )
    assert len(pose) == 4
    item = pose.get_data_info(1)
    np.testing.assert_allclose(item["bbox"][0], splits["train"].boxes[1])
    np.testing.assert_allclose(item["keypoints"][0], splits["train"].keypoints[1, :, :2], rtol=1e-6)
    assert item["num_keypoints"] == splits["train"].num_labeled[1]


@pytest.mark.parametrize(
    ("image", "part"),
    [
        (Image("../x.jpg", 320, 240, path=Path("x.jpg")), "file_name must be a path that stays in images/, got '../x"),
        (Image("x.jpg", 320, 240), "path must be an image file for images/, got None"),
    ],
)
def test_the_writer_refuses_images_it_cannot_place(tmp_path: Path, image: Image, part: str) -> None:
    builder = DatasetBuilder(CAR8)
    builder.add_image(image)
    with pytest.raises(InputError) as caught:
        coco.write({"train": builder.build()}, tmp_path / "out", "copy")
    assert part in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_writer_refuses_one_name_in_two_splits(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "source", images=("a.jpg",))
    with pytest.raises(InputError, match=r"a\.jpg: file_name must be in one split only \(train has it\), got 'val'"):
        coco.write({"train": dataset, "val": dataset}, tmp_path / "out", "copy")


# Detection, and the locations of files and images.


@pytest.mark.parametrize(
    ("stem", "split"),
    [
        ("train_coco", "train"),
        ("val_coco", "val"),
        ("person_keypoints_train2017", "train"),
        ("cars_val", "val"),
        ("valid", "val"),
        ("test-dev", "test"),
        ("train_val", None),
        ("trainval", None),
        ("annotations", None),
        ("contest", None),
    ],
)
def test_a_split_is_declared_by_one_word_in_the_name(stem: str, split: str | None) -> None:
    assert split_in(stem) == split


def test_detect_takes_coco_and_nothing_else(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")
    (tmp_path / "labelme").mkdir()
    (tmp_path / "labelme/a.json").write_text('{"version": "5.0", "shapes": [], "imagePath": "a.jpg"}')
    (tmp_path / "broken.json").write_text('{"images": [')
    assert coco.detect(tmp_path / "cars")
    assert coco.detect(tmp_path / "cars" / TRAIN)
    assert not any(coco.detect(tmp_path / name) for name in ("labelme", "labelme/a.json", "broken.json", "nothing"))


def release(tmp_path: Path) -> Path:
    """Make a folder like a COCO release: annotations/, train2017/ and val2017/, one file name in both."""
    root = tmp_path / "release"
    for split in ("train", "val"):
        name = f"instances_{split}2017"
        dataset = make_sample(root / f"{split}2017", ("0001.jpg",), split=split, seed=split == "val")
        coco.write_split(dataset, root / "annotations" / f"{name}.json")
    return root


def test_a_release_folder_is_read_and_equal_names_survive(tmp_path: Path) -> None:
    root = release(tmp_path)
    assert coco.detect(root)
    result = read(root)
    assert result.findings == ()
    found = {image.file_name: (image.split, image.path) for image in result.dataset.images}
    assert found == {
        "train2017/0001.jpg": ("train", root / "train2017/0001.jpg"),
        "val2017/0001.jpg": ("val", root / "val2017/0001.jpg"),
    }
    one = read(root / "annotations/instances_val2017.json")
    assert [image.file_name for image in one.dataset.images] == ["0001.jpg"]


def test_images_lie_beside_the_file_and_backslashes_are_slashes(tmp_path: Path) -> None:
    dataset = make_sample(tmp_path, ("sub/a.jpg",), split="train")
    coco.write_split(dataset, tmp_path / "cars.json")
    edit(tmp_path / "cars.json", lambda d: d["images"][0].update(file_name=".\\sub\\a.jpg"))
    result = read(tmp_path)
    assert result.findings == ()
    assert [image.file_name for image in result.dataset.images] == ["sub/a.jpg"]


def test_a_source_without_coco_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="must be a COCO file or a folder with some"):
        read(tmp_path)
    with pytest.raises(RequestError, match="but there is no such file or folder"):
        read(tmp_path / "nothing")


def test_a_truncated_file_is_a_finding_and_the_other_is_read(tmp_path: Path) -> None:
    splits = write_sample(tmp_path / "cars")
    (tmp_path / "cars/val_coco.json").write_text('{"images": [\n{"id": 1,')
    result = read(tmp_path / "cars")
    assert result.dataset == splits["train"]
    (finding,) = result.findings
    assert (finding.code, finding.file) == ("E310", str(tmp_path / "cars/val_coco.json"))
    assert finding.place.startswith("line 2, column")


def test_an_image_in_two_files_is_left_out_with_a_finding_for_each(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")
    shutil.copy(tmp_path / "cars" / TRAIN, tmp_path / "cars/more_coco.json")
    result = read(tmp_path / "cars")
    doubles = [finding for finding in result.findings if finding.code == "E313"]
    assert [Path(finding.file).name for finding in doubles] == ["more_coco.json"] * 2 + [TRAIN] * 2
    assert "more_coco.json: images[0] (id 1, a.jpg)" in doubles[2].message
    assert codes(result) == ["E313"] * 4
    assert len(result.dataset) == 2


@pytest.mark.parametrize("name", ["/etc/x.jpg", "C:\\x.jpg", "../../x.jpg"])
def test_an_image_outside_is_an_error_that_names_image_root(tmp_path: Path, name: str) -> None:
    write_sample(tmp_path / "cars")
    document = edit(tmp_path / "cars" / TRAIN, lambda d: d["images"][0].update(file_name=name))
    result = read(tmp_path / "cars")
    (finding,) = (finding for finding in result.findings if finding.code == "E125")
    assert finding.place == f"images[0] (id 1, {name})"
    assert finding.message == f"file_name must be a path inside {tmp_path / 'cars'}, got {name!r}"
    assert "--image-root" in finding.hint
    assert codes(result) == ["E125"]
    assert is_conserved(read(tmp_path / "cars" / TRAIN), document)

    folder = "etc" if name.startswith("/etc") else "deep"
    make_image(tmp_path / "elsewhere" / folder / "x.jpg", (320, 240))
    found = read(tmp_path / "cars", image_roots=(tmp_path / "elsewhere",))
    assert found.findings == ()
    assert f"{folder}/x.jpg" in [image.file_name for image in found.dataset.images]


def test_a_link_out_of_the_source_is_an_error_that_names_image_root(tmp_path: Path) -> None:
    splits = write_sample(tmp_path / "cars")
    coco.write(splits, tmp_path / "links", "symlink")
    finding = next(f for f in read(tmp_path / "links").findings if f.place == "images[0] (id 1, a.jpg)")
    assert finding.code == "E308"
    target = tmp_path / "cars-source/a.jpg"
    assert finding.message.endswith(f"got 'a.jpg', a link to {target.resolve()}")
    assert f"--image-root {target.resolve().parent}" in finding.hint
    found = read(tmp_path / "links", image_roots=(tmp_path / "cars-source",))
    assert found.findings == ()
    assert len(found.dataset) == 6


# Names, categories, and repairs.


def test_keypoints_are_mapped_by_name(tmp_path: Path) -> None:
    splits = write_sample(tmp_path / "cars")

    def reorder(document: Document) -> None:
        names = document["categories"][0]["keypoints"]
        document["categories"][0].update(name="vehicle", keypoints=["roof", "LFB", *names[:0:-1]])
        for annotation in document["annotations"]:
            points = np.array(annotation["keypoints"]).reshape(8, 3)
            annotation["keypoints"] = [5, 5, 1, *points[0].tolist(), *points[:0:-1].ravel().tolist()]
            annotation["num_keypoints"] += 1

    edit(tmp_path / "cars" / TRAIN, reorder)
    unmapped = read(tmp_path / "cars" / TRAIN)
    assert codes(unmapped) == ["E301"] * 4
    assert unmapped.findings[0].message == "category must be the skeleton's category 'car', got 'vehicle'"
    names = {"vehicle": "car", "LFB": "left-front-bumper"}
    half = read(tmp_path / "cars" / TRAIN, names=names)
    assert codes(half) == ["E301"]
    assert half.findings[0].place == "categories[0] (id 1, vehicle)"
    assert half.findings[0].message == "keypoints[0] must be a keypoint of skeleton car8, got 'roof'"
    result = read(tmp_path / "cars" / TRAIN, names=names, ignore=frozenset({"roof"}))
    assert result.findings == ()
    assert result.ignored == {"roof": 4}
    assert result.dataset == splits["train"]


def test_points_that_the_file_does_not_have_are_not_labeled(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")

    def shorten(document: Document) -> None:
        del document["categories"][0]["keypoints"][0]
        for annotation in document["annotations"]:
            del annotation["keypoints"][:3]
            annotation["num_keypoints"] = sum(v > 0 for v in annotation["keypoints"][2::3])

    edit(tmp_path / "cars" / TRAIN, shorten)
    result = read(tmp_path / "cars" / TRAIN)
    assert result.findings == ()
    assert (result.dataset.keypoints[:, 0] == 0).all()
    assert (result.dataset.visibility[0] == (0, 2, 2, 2, 2, 0, 1, 1)).all()


def test_a_name_twice_is_a_finding(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")
    edit(tmp_path / "cars" / TRAIN, lambda d: d["categories"][0]["keypoints"].__setitem__(5, "left-front-bumper"))
    (finding,) = read(tmp_path / "cars" / TRAIN).findings
    assert finding.code == "E305"
    rule = "the only one that is 'left-front-bumper' (keypoints[0] is)"
    assert finding.message == f"keypoints[5] must be {rule}, got 'left-front-bumper'"


def test_another_category_is_a_finding_or_ignored_and_counted(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")

    def add_truck(document: Document) -> None:
        document["categories"].append({"id": 7, "name": "truck"})
        # An object of a detection data set: no keypoints, no area, and also a wrong box.
        document["annotations"][2] = {"id": 3, "image_id": 2, "category_id": 7, "bbox": [1, 2, 0, 4]}
        document["annotations"][3].update(category_id=7, keypoints=[])

    document = edit(tmp_path / "cars" / TRAIN, add_truck)
    result = read(tmp_path / "cars" / TRAIN)
    assert {(f.code, f.place) for f in result.findings} >= {("E301", "annotations[3] (id 4)")}
    assert len(result.dataset) == 2
    assert is_conserved(result, document)
    ignored = read(tmp_path / "cars" / TRAIN, ignore=frozenset({"truck"}))
    assert ignored.findings == ()
    assert ignored.ignored == {"truck": 2}
    assert is_conserved(ignored, document)


def test_what_fix_would_mend_is_mended_and_said(tmp_path: Path) -> None:
    splits = write_sample(tmp_path / "cars")

    def spoil(document: Document) -> None:
        document["annotations"][0]["area"] = 1.0
        document["annotations"][1]["num_keypoints"] = 2
        del document["annotations"][2]["iscrowd"], document["annotations"][2]["area"]
        for i, annotation in enumerate(document["annotations"]):
            annotation.update(id=i, category_id=0)
        document["categories"][0]["id"] = 0

    edit(tmp_path / "cars" / TRAIN, spoil)
    result = read(tmp_path / "cars" / TRAIN)
    assert result.dataset == splits["train"]
    assert [(f.code, f.place, f.message) for f in result.findings] == [
        ("W324", "annotations[0] (id 0)", "area set to 19115.09375, was 1.0 (and 1 more such object)"),
        ("W324", "annotations[1] (id 1)", "num_keypoints set to 6, was 2"),
        ("W324", "annotations[2] (id 2)", "iscrowd set to 0, was missing"),
    ]


def test_an_area_of_its_own_is_kept(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")
    edit(tmp_path / "cars" / TRAIN, lambda d: d["annotations"][0].update(area=123.5, iscrowd=1))
    dataset = read(tmp_path / "cars" / TRAIN).dataset
    assert dataset.areas[0] == 123.5
    assert dataset.iscrowd.tolist() == [True, False, False, False]


def test_objects_without_keypoints_are_kept(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")
    edit(tmp_path / "cars" / TRAIN, lambda d: [d["annotations"][i].pop("keypoints") for i in (1, 2)])
    edit(tmp_path / "cars" / TRAIN, lambda d: [d["annotations"][i].pop("num_keypoints") for i in (1, 2)])
    result = read(tmp_path / "cars" / TRAIN)
    (finding,) = result.findings
    assert finding.code == "W324"
    assert "2 objects without any, the first is annotations[1] (id 2)" in finding.message
    assert result.dataset.num_labeled.tolist() == [7, 0, 0, 6]


def test_a_missing_box_comes_from_the_keypoints_only_when_asked(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")
    edit(tmp_path / "cars" / TRAIN, lambda d: d["annotations"][0].pop("bbox"))
    (finding,) = read(tmp_path / "cars" / TRAIN).findings
    assert (finding.code, finding.place) == ("E101", "annotations[0] (id 1)")
    assert "--box-from keypoints" in finding.hint
    result = read(tmp_path / "cars" / TRAIN, box_from="keypoints", box_margin=0.0)
    assert result.findings == ()
    keypoints = result.dataset.keypoints[0]
    labeled = keypoints[keypoints[:, 2] > 0, :2]
    assert result.dataset.boxes[0].tolist() == [*labeled.min(axis=0), *labeled.max(axis=0)]


def test_what_is_not_carried_over_is_said_once_with_counts(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")

    def add(document: Document) -> None:
        for annotation in document["annotations"]:
            annotation.update(segmentation=[[1, 2, 3, 4, 5, 6]], track_id=4)
        document["images"][0]["license"] = 1

    edit(tmp_path / "cars" / TRAIN, add)
    (finding,) = read(tmp_path / "cars" / TRAIN).findings
    assert (finding.code, finding.place) == ("W323", "")
    assert finding.message.endswith("annotations.segmentation (4), annotations.track_id (4), images.license (1)")


# One valid file, one mutation, one finding; everything else is read, and nothing is lost.

Change = Callable[[Document], object]


def annotation(**values: Any) -> Change:
    return lambda d: d["annotations"][1].update(values)


BROKEN: dict[str, tuple[Change, str, str, str]] = {
    "negative id": (
        lambda d: d["annotations"][1].update(id=-3),
        "E102",
        "annotations[1] (id -3)",
        "id must be an integer of at least 0, ",
    ),
    "boolean id": (annotation(id=True), "E102", "annotations[1]", "id must be an integer of at least 0, got True"),
    "text number": (
        annotation(bbox=["one", 2, 3, 4]),
        "E102",
        "annotations[1] (id 2)",
        "bbox[0] must be a number of pix",
    ),
    "boolean": (
        annotation(bbox=[True, 2, 3, 4]),
        "E102",
        "annotations[1] (id 2)",
        "bbox[0] must be a number of pixels",
    ),
    "three numbers": (annotation(bbox=[1, 2, 3]), "E102", "annotations[1] (id 2)", "bbox must be 4 numbers"),
    "five numbers": (annotation(bbox=[1, 2, 3, 4, 5]), "E102", "annotations[1] (id 2)", "bbox must be 4 numbers"),
    "nan": (annotation(bbox=[1, 2, float("nan"), 4]), "E103", "annotations[1] (id 2)", "bbox[2] must be a finite numb"),
    "infinity": (
        annotation(area=float("inf")),
        "E103",
        "annotations[1] (id 2)",
        "area must be a finite number, got inf",
    ),
    "tiny box": (
        annotation(bbox=[1, 2, 1, 1], area=0),
        "E104",
        "annotations[1] (id 2)",
        "area must be a number greater",
    ),
    "length": (annotation(keypoints=[1, 2, 2] * 7), "E106", "annotations[1] (id 2)", "24 in all, got 21"),
    "visibility": (
        annotation(keypoints=[1, 2, 3] * 8),
        "E107",
        "annotations[1] (id 2)",
        "keypoints[2] must be a visib",
    ),
    "flat box": (
        annotation(bbox=[1, 2, 3, 0]),
        "E108",
        "annotations[1] (id 2)",
        "bbox[3] must be greater than 0, got 0",
    ),
    "no image": (
        annotation(image_id=9),
        "E110",
        "annotations[1] (id 2)",
        "image_id must be the id of an entry in im",
    ),
    "no category": (
        annotation(category_id=9),
        "E111",
        "annotations[1] (id 2)",
        "category_id must be the id of an entry",
    ),
    "crowd 2": (annotation(iscrowd=2), "E115", "annotations[1] (id 2)", "iscrowd must be 0 or 1, got 2"),
    "no object": (lambda d: d["annotations"].__setitem__(1, 5), "E102", "annotations[1]", "must be an object, got 5"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_object_is_a_finding_and_the_rest_is_read(tmp_path: Path, case: str) -> None:
    change, code, place, part = BROKEN[case]
    splits = write_sample(tmp_path / "cars")
    document = edit(tmp_path / "cars" / TRAIN, change)
    result = read(tmp_path / "cars" / TRAIN)
    (finding,) = (f for f in result.findings if f.code != "W324")
    assert (finding.code, finding.file, finding.place) == (code, str(tmp_path / "cars" / TRAIN), place)
    assert part in finding.message
    kept = [row for row in range(4) if row != 1]
    assert np.array_equal(result.dataset.boxes, splits["train"].boxes[kept])
    assert is_conserved(result, document)


BROKEN_FILE: dict[str, tuple[Change, str, str, str]] = {
    "no list": (lambda d: d.pop("images"), "E101", "", "images must be a list, but is missing"),
    "no such list": (lambda d: d.update(annotations={}), "E102", "annotations", "annotations must be a list, got {}"),
    "no names": (
        lambda d: d["categories"][0].pop("keypoints"),
        "E113",
        "categories[0] (id 1, car)",
        "keypoints must name ",
    ),
    "category": (
        lambda d: d["categories"][0].update(keypoints=3),
        "E102",
        "categories[0] (id 1, car)",
        "a list of names",
    ),
    "size": (
        lambda d: d["images"][0].update(width=321),
        "E123",
        "images[0] (id 1, a.jpg)",
        "image (width, height) must be",
    ),
    "missing": (
        lambda d: d["images"][0].update(file_name="x.jpg"),
        "E121",
        "images[0] (id 1, x.jpg)",
        "an existing imag",
    ),
    "no width": (
        lambda d: d["images"][0].update(width="wide"),
        "E102",
        "images[0] (id 1, a.jpg)",
        "width must be an integer of",
    ),
    "image id": (
        lambda d: d["images"][1].update(id=1),
        "E109",
        "images[1] (id 1, sub/b.png)",
        "unique among the images",
    ),
    "twice": (
        lambda d: d["images"][1].update(file_name="a.jpg"),
        "E313",
        "images[0] (id 1, a.jpg)",
        "the only entry of",
    ),
}


@pytest.mark.parametrize("case", BROKEN_FILE)
def test_the_finding_of_a_broken_entry_has_its_objects(tmp_path: Path, case: str) -> None:
    change, code, place, part = BROKEN_FILE[case]
    write_sample(tmp_path / "cars")
    document = edit(tmp_path / "cars" / TRAIN, change)
    result = read(tmp_path / "cars" / TRAIN)
    found = [f for f in result.findings if f.code == code and f.place == place]
    assert len(found) == 1
    assert part in found[0].message
    # Without its id, no object belongs to the second image.
    assert not {"E110", "E111"} & set(codes(result)) or case == "image id"
    if isinstance(document.get("images"), list) and isinstance(document["annotations"], list):
        assert is_conserved(result, document)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_mutation_loses_an_object(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = _shared_sample(tmp_path_factory)
    document = json.loads((folder / TRAIN).read_text())
    junk = st.one_of(st.none(), st.booleans(), st.integers(-3, 9), st.floats(), st.text(max_size=3), st.just([]))
    for _ in range(data.draw(st.integers(1, 4))):
        entry = data.draw(
            st.sampled_from([e for kind in ("annotations", "images", "categories") for e in document[kind]])
        )
        key = data.draw(st.sampled_from(sorted(entry) or ["id"]))
        if data.draw(st.booleans()):
            entry.pop(key, None)
        elif isinstance(entry.get(key), list) and entry[key] and data.draw(st.booleans()):
            entry[key][data.draw(st.integers(0, len(entry[key]) - 1))] = data.draw(junk)
        else:
            entry[key] = data.draw(junk)
    path = folder / "mutated.json"
    path.write_text(json.dumps(document))
    assert is_conserved(read(path), document)


_SAMPLE: dict[str, Path] = {}


def _shared_sample(factory: pytest.TempPathFactory) -> Path:
    if "folder" not in _SAMPLE:
        _SAMPLE["folder"] = factory.mktemp("mutated") / "cars"
        write_sample(_SAMPLE["folder"])
    return _SAMPLE["folder"]


# A posetools data set without its images.


def test_read_split_opens_no_image(tmp_path: Path) -> None:
    splits = write_sample(tmp_path / "cars")
    shutil.rmtree(tmp_path / "cars/images")
    result = coco.read_split(tmp_path / "cars" / TRAIN, tmp_path / "cars/images", CAR8)
    assert result.findings == ()
    assert result.dataset == splits["train"]
    assert result.dataset.images[1].path == tmp_path / "cars/images/sub/b.png"


def test_read_split_refuses_names_that_leave_the_folder(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")
    edit(tmp_path / "cars" / TRAIN, lambda d: d["images"][0].update(file_name="../a.jpg"))
    result = coco.read_split(tmp_path / "cars" / TRAIN, tmp_path / "cars/images", CAR8)
    assert codes(result) == ["E125"]


def test_the_skeleton_decides_name_and_id_of_the_category(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")
    vehicle = other_skeleton(category={"name": "vehicle", "id": 3})
    result = coco.FORMAT.read([tmp_path / "cars" / TRAIN], vehicle, ReadOptions(names={"car": "vehicle"}))
    assert result.findings == ()
    coco.write({"train": result.dataset}, tmp_path / "out", "hardlink")
    document = json.loads((tmp_path / "out" / TRAIN).read_text())
    assert (document["categories"][0]["id"], document["categories"][0]["name"]) == (3, "vehicle")
    assert {entry["category_id"] for entry in document["annotations"]} == {3}


def test_a_link_that_leads_to_itself_is_told(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")
    image = tmp_path / "cars/images/a.jpg"
    image.unlink()
    image.symlink_to("a.jpg")
    (finding,) = [f for f in read(tmp_path / "cars").findings if f.place == "images[0] (id 1, a.jpg)"]
    assert finding.code == "E308" and "got 'a.jpg', a link to " in finding.message
    assert finding.hint == "the link is broken: put the image in its place"
