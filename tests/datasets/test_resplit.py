"""``posetools split``: refusals, word for word, and the counts of strata; test_split.py has the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posetools.datasets.resplit import resplit
from posetools.errors import InputError, RequestError

Document = dict[str, Any]
Change = Callable[[Document], object]
HINT = "`posetools validate` lists all errors in the file"
POINTS = ["a", "b", "c"]


def document(split: str, images: int) -> Document:
    first = 0 if split == "train" else 50
    return {
        "images": [{"id": first + i, "file_name": f"{split}{i}.jpg"} for i in range(images)],
        "annotations": [
            {"id": first + i, "image_id": first + i, "area": 5000.0, "keypoints": [1, 1, 2, 1, 1, 1, 0, 0, 0]}
            for i in range(images)
        ],
        "categories": [{"id": 1, "name": "car", "keypoints": POINTS}],
    }


def write(folder: Path, train: Change = lambda _: None, val: Change = lambda _: None) -> Path:
    folder.mkdir()
    for split, change, images in (("train", train, 3), ("val", val, 2)):
        content = document(split, images)
        change(content)
        (folder / f"{split}_coco.json").write_text(json.dumps(content))
    return folder


def of(**values: Any) -> Change:
    """Change the second annotation."""
    return lambda d: d["annotations"][1].update(values)


def image(**values: Any) -> Change:
    return lambda d: d["images"][1].update(values)


@pytest.mark.parametrize(
    ("change", "place", "problem"),
    [
        (lambda d: d.pop("images"), "images", "images must be a list of objects, got None"),
        (lambda d: d.update(annotations=[3]), "annotations", "annotations must be a list of objects, got [3]"),
        (image(file_name=3), "images[1]", "file_name must be a text, got 3"),
        (image(id=None), "images[1]", "id must be a whole number, got None"),
        (image(id=0), "images[1]", "id must be unique in this file, got 0"),
        (of(id=2.5), "annotations[1]", "id must be a whole number, got 2.5"),
        (of(id=2), "annotations[2]", "id must be unique in this file, got 2"),
        (of(image_id=9), "annotations[1] (id 1)", "image_id must be the id of an image in this file, got 9"),
        (of(image_id=None), "annotations[1] (id 1)", "image_id must be the id of an image in this file, got None"),
        (of(keypoints="x"), "annotations[1] (id 1)", "keypoints must be a list of numbers, got 'x'"),
        (of(keypoints=[1, "x"]), "annotations[1] (id 1)", "keypoints must be a list of numbers, got [1, 'x']"),
        (of(keypoints=[1] * 6), "annotations[1] (id 1)", "keypoints must be 9 numbers, as the category says, got 6"),
    ],
)
def test_a_file_that_cannot_be_kept_is_refused(tmp_path: Path, change: Change, place: str, problem: str) -> None:
    folder = write(tmp_path / "d", change)
    with pytest.raises(InputError) as caught:
        resplit(folder)
    # A place at the start of the sentence is not repeated.
    where = f"{place}: " if not problem.startswith(place) else ""
    assert caught.value.place == place
    assert str(caught.value) == f"{folder / 'train_coco.json'}: {where}{problem}\n  fix: {HINT}"
    assert (caught.value.place, caught.value.hint) == (place, HINT)


def test_files_that_are_no_coco_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    (folder / "train_coco.json").write_text("[1]")
    with pytest.raises(InputError) as caught:
        resplit(folder)
    path = folder / "train_coco.json"
    assert str(caught.value) == f"{path}: a COCO file must be an object, got [1]\n  fix: {HINT}"
    assert caught.value.place == ""


def test_other_categories_in_the_other_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", val=lambda d: d.update(categories=[]))
    with pytest.raises(InputError) as caught:
        resplit(folder)
    assert str(caught.value) == (
        f"{folder / 'val_coco.json'}: categories must be those of train_coco.json, got []\n  fix: {HINT}"
    )


def test_numbers_that_json_has_not(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", of(score=float("nan")))
    with pytest.raises(InputError) as caught:
        resplit(folder)
    assert str(caught.value) == f"{folder}: numbers must be finite, got NaN or infinity\n  fix: {HINT}"
    assert caught.value.place == ""


@pytest.mark.parametrize("keypoints", [None, [], [1, 1, 2] * 3])
def test_keypoints_may_be_missing(tmp_path: Path, keypoints: list[int] | None) -> None:
    folder = write(tmp_path / "d", of(keypoints=keypoints))
    assert sum(counts.instances for counts in resplit(folder, val=0.4).counts.values()) == 5


def test_without_names_of_keypoints_any_number_will_do(tmp_path: Path) -> None:
    def change(document: Document) -> None:
        document["categories"] = ["x", {"id": 1}, {"id": 2, "keypoints": 3}]
        document["annotations"][0]["keypoints"] = [1, 1, 2]

    folder = write(tmp_path / "d", change, change)
    assert resplit(folder, val=0.4).counts["train"].keypoints == {}


def test_a_file_without_categories_and_one_without_objects(tmp_path: Path) -> None:
    def change(document: Document) -> None:
        del document["categories"]
        document["annotations"] = []

    folder = write(tmp_path / "d", change, change)
    assert {split: counts.images for split, counts in resplit(folder, val=0.4).counts.items()} == {
        "train": 3,
        "val": 2,
    }


def test_ids_that_clash_are_counted_anew_from_1(tmp_path: Path) -> None:
    def change(document: Document) -> None:
        for number, (image, entry) in enumerate(zip(document["images"], document["annotations"], strict=True)):
            image["id"], entry["image_id"] = number, number

    folder = write(tmp_path / "d", val=change)
    assert resplit(folder, val=0.4).renumbered == ("images",)
    images = [e for s in ("train", "val") for e in json.loads((folder / f"{s}_coco.json").read_text())["images"]]
    names = ["train0.jpg", "train1.jpg", "train2.jpg", "val0.jpg", "val1.jpg"]
    assert {image["id"]: image["file_name"] for image in images} == dict(enumerate(names, start=1))


def test_text_ids_are_kept(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", lambda d: (d["images"][1].update(id="p"), d["annotations"][1].update(image_id="p")))
    result = resplit(folder, val=0.4)
    assert result.renumbered == ()
    entries = [e for s in ("train", "val") for e in json.loads((folder / f"{s}_coco.json").read_text())["annotations"]]
    assert sorted(str(entry["image_id"]) for entry in entries) == ["0", "2", "50", "51", "p"]


def test_only_annotations_are_numbered_anew_where_only_their_ids_clash(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", val=lambda d: d["annotations"][0].update(id=0))
    assert resplit(folder, val=0.4).renumbered == ("annotations",)


@pytest.mark.parametrize("area", [None, "x", True, 0, -1.0, float("inf"), float("nan")])
def test_what_is_no_area(tmp_path: Path, area: object) -> None:
    folder = write(tmp_path / "d", of(area=area))
    with pytest.raises(InputError) as caught:
        resplit(folder, stratify="size")
    assert str(caught.value) == (
        f"{folder}: annotation 1: area must be a number of square pixels for --stratify size, got {area!r}\n"
        "  fix: `posetools validate --fix` fixes areas"
    )


def test_strata_by_size(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "d",
        lambda d: [a.update(area=area) for a, area in zip(d["annotations"], (0.5, 1, 1023.9), strict=True)],
        lambda d: (d["annotations"].pop(), d["annotations"][0].update(area=9216)),
    )
    strata = {label: total for label, (total, _) in resplit(folder, val=0.4, stratify="size").strata.items()}
    assert strata == {"small objects": 3, "large objects": 1, "images without objects": 1}


def test_strata_by_visibility(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", of(keypoints=[]), lambda d: d["annotations"].clear())
    strata = {label: total for label, (total, _) in resplit(folder, val=0.4, stratify="visibility").strata.items()}
    assert strata == {
        "unlabeled points": 2 + 3,
        "occluded points": 2,
        "visible points": 2,
        "images without objects": 2,
    }


def test_what_is_no_visibility(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", of(keypoints=[1, 1, 0, 1, 1, 5, 1, 1, 1]))
    with pytest.raises(InputError) as caught:
        resplit(folder, stratify="visibility")
    assert str(caught.value) == (
        f"{folder}: annotation 1: visibility must be 0, 1 or 2 for --stratify visibility, got [0, 5, 1]\n  fix: {HINT}"
    )


def test_visibility_of_no_points(tmp_path: Path) -> None:
    def change(document: Document) -> None:
        document["categories"] = []

    folder = write(tmp_path / "d", change, change)
    with pytest.raises(RequestError) as caught:
        resplit(folder, stratify="visibility")
    assert str(caught.value) == (f"{folder}: --stratify visibility requires keypoints in the category, got none")
    assert resplit(folder, stratify="size").strata


def test_the_record_of_a_conversion_keeps_what_else_it_holds(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    old = {"posetools": "1", "splits": {"test": {"pictures": 7}, "val": {"pictures": 9}}, "own": [1]}
    (folder / "conversion.json").write_text(json.dumps(old))
    result = resplit(folder, val=0.4, seed=3, by="image", stratify="size")
    record = json.loads((folder / "conversion.json").read_text())
    assert (record["posetools"], record["own"]) == ("1", [1])
    assert record["splits"] == {
        "test": {"pictures": 7},
        **{split: json.loads(json.dumps(counts.as_dict())) for split, counts in result.counts.items()},
    }
    assert record["split"] == {
        "by": "image",
        "val": 0.4,
        "seed": 3,
        "groups": 5,
        "reason": "by image, as requested, stratified by size",
        "stratify": "size",
    }
    resplit(folder, val=0.2)
    assert "stratify" not in json.loads((folder / "conversion.json").read_text())["split"]
    (folder / "conversion.json").write_text('{"splits": 3}')
    resplit(folder)
    assert set(json.loads((folder / "conversion.json").read_text())["splits"]) == {"train", "val"}


def test_a_record_that_is_none(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    (folder / "conversion.json").write_text("[]")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError) as caught:
        resplit(folder)
    assert str(caught.value) == (
        f"{folder / 'conversion.json'}: conversion.json must be an object, as convert writes it, got []"
    )
    assert caught.value.place == ""
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_without_train_and_val(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    for split in ("train", "val"):
        (folder / f"{split}_coco.json").rename(folder / f"{split}2_coco.json")
    with pytest.raises(RequestError) as caught:
        resplit(folder)
    assert str(caught.value) == f"{folder}: must have a train_coco.json or a val_coco.json, got train2, val2"


def test_defaults_are_those_of_convert(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    result = resplit(folder)
    assert (result.plan.by, len(result.plan.val), result.untouched, dict(result.strata)) == ("image", 1, (), {})
    assert result.finished is False


def val_names(folder: Path) -> frozenset[str]:
    content = json.loads((folder / "val_coco.json").read_text())
    return frozenset(image["file_name"] for image in content["images"])


def test_another_seed_is_another_split_and_the_same_seed_the_same_one(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    splits = []
    for _ in range(2):
        for seed in range(8):
            resplit(folder, val=0.4, seed=seed)
            splits.append(val_names(folder))
    assert splits[:8] == splits[8:]
    assert len(set(splits)) > 1


def test_each_file_keeps_keys_of_its_own(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", lambda d: d.update(info="train"), lambda d: d.update(info="val", licenses=[]))
    resplit(folder, val=0.4)
    train, val = (json.loads((folder / f"{split}_coco.json").read_text()) for split in ("train", "val"))
    assert (train["info"], "licenses" in train) == ("train", False)
    assert (val["info"], val["licenses"]) == ("val", [])
