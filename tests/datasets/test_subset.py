"""Subsets: which images and objects are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from posetools.checks.validate import validate
from posetools.core.dataset import Dataset
from posetools.core.findings import Finding
from posetools.core.skeleton import load_skeleton
from posetools.datasets.derived import read_set
from posetools.datasets.subset import SubsetRequest, subset
from posetools.errors import InputError, RequestError
from tests.build import make_dataset
from tests.converting import contents, write_source

TRAIN = ["day/1.jpg", "day/2.jpg", "night/3.jpg", "night/4.jpg"]
VAL = ["day/5.jpg", "night/6.jpg"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    whole = make_dataset(tmp_path / "pictures", images=[*TRAIN, *VAL], size=(160, 120))
    splits = {
        split: whole.select_images(i for i, image in enumerate(whole.images) if image.file_name in names)
        for split, names in (("train", TRAIN), ("val", VAL))
    }
    return write_source(tmp_path / "cars", "coco", splits)


def _read(folder: Path) -> dict[str, Dataset]:
    return dict(read_set(folder, load_skeleton("car8")).splits)


def _names(folder: Path) -> dict[str, list[str]]:
    return {split: [image.file_name for image in each.images] for split, each in _read(folder).items()}


def _edit(data: Path, split: str, row: int, **changes: Any) -> None:
    path = data / f"{split}_coco.json"
    document = json.loads(path.read_text())
    document["annotations"][row] |= changes
    path.write_text(json.dumps(document))


def _subset(data: Path, **more: Any) -> Path:
    out = data.parent / "out"
    subset(SubsetRequest(data=data, out=out, overwrite=True, **more))
    return out


def test_without_conditions_it_is_a_copy(data: Path) -> None:
    before = contents(data)
    out = _subset(data)
    assert _read(out) == _read(data)
    assert validate(out).errors == 0
    assert contents(data) == before
    record = json.loads((out / "conversion.json").read_text())
    assert record["source"] == {"format": "subset", "paths": [str(data)], "files": 2, "ignored": {}}
    assert record["before"] == {"train": {"pictures": 4, "instances": 8}, "val": {"pictures": 2, "instances": 4}}
    first = contents(out)
    assert contents(_subset(data)) == first


def test_names_by_pattern_and_by_file(data: Path) -> None:
    assert _names(_subset(data, names="night/*")) == {"train": ["night/3.jpg", "night/4.jpg"], "val": ["night/6.jpg"]}
    (data.parent / "list.txt").write_text("night/6.jpg\n\n  day/1.jpg \n")
    out = _subset(data, names=str(data.parent / "list.txt"))
    assert _names(out) == {"train": ["day/1.jpg"], "val": ["night/6.jpg"]}
    # Objects are kept unchanged with their images, and nothing else.
    assert _read(out)["train"] == _read(data)["train"].select_images([0])
    assert sorted(path.name for path in (out / "images").rglob("*.jpg")) == ["1.jpg", "6.jpg"]


def test_split_alone_and_a_split_without_images(data: Path) -> None:
    request = SubsetRequest(data=data, out=data.parent / "out", splits=("val",))
    result = subset(request)
    assert result.notes == ("train: not requested",)
    assert _names(request.out) == {"val": VAL}
    result = subset(replace(request, splits=(), names="day/1.jpg", overwrite=True))
    assert result.notes == ("val: no image left, so no val_coco.json",)
    assert _names(request.out) == {"train": ["day/1.jpg"]}


def test_size_keeps_images_whole_unless_objects_are_asked_for(data: Path) -> None:
    before = _read(data)["train"]
    longer = (before.boxes[:, 2:] - before.boxes[:, :2]).max(axis=1)
    bound = float(sorted(longer)[-1])
    of_largest = before[int(longer.argmax())].image.file_name
    whole = _read(_subset(data, splits=("train",), min_size=bound))["train"]
    assert [image.file_name for image in whole.images] == [of_largest]
    assert len(whole) == 2
    one = _read(_subset(data, splits=("train",), min_size=bound, objects=True))["train"]
    assert (len(one), one.boxes.tolist()) == (1, [before.boxes[longer.argmax()].tolist()])
    small = _read(_subset(data, max_size=bound - 0.001, objects=True))["train"]
    assert len(small) == len(before) - 1


def test_size_class_is_cocos_by_area(data: Path) -> None:
    for row, area in enumerate([1023.9, 1024, 9215.9, 9216]):
        _edit(data, "train", 2 * row, area=area)
        _edit(data, "train", 2 * row + 1, area=2000)
    assert _names(_subset(data, size_class="small"))["train"] == TRAIN[:1]
    assert _names(_subset(data, size_class="large"))["train"] == TRAIN[3:]
    assert len(_read(_subset(data, size_class="large", objects=True))["train"]) == 1


def test_finding_and_without_finding(data: Path) -> None:
    box = json.loads((data / "val_coco.json").read_text())["annotations"][2]["bbox"]
    _edit(data, "val", 3, bbox=box, area=box[2] * box[3])
    assert [f.place for f in validate(data).findings if f.code == "W205"]
    assert _names(_subset(data, findings=frozenset({"W205"}))) == {"val": ["night/6.jpg"]}
    assert _names(_subset(data, without=frozenset({"W205"}))) == {"train": TRAIN, "val": ["day/5.jpg"]}
    # --objects drops only the objects with findings.
    kept = _read(_subset(data, without=frozenset({"W205"}), objects=True))["val"]
    named = _named_objects(data, "W205")
    assert len(kept) == 4 - len(named)
    assert len(kept.images) == 2
    only = _read(_subset(data, findings=frozenset({"W205"}), objects=True))["val"]
    assert len(only) == len(named)


def _named_objects(data: Path, code: str) -> list[Finding]:
    return [finding for finding in validate(data).findings if finding.code == code]


def test_what_cannot_be_read_matters_where_it_is_kept(data: Path) -> None:
    _edit(data, "train", 0, keypoints=[1, 2, 2])
    request = SubsetRequest(data=data, out=data.parent / "out")
    with pytest.raises(InputError) as caught:
        subset(request)
    assert f"{data}/train_coco.json: annotations[0] (id 1): keypoints must be 3 numbers" in str(caught.value)
    assert "leave such images out with --without-finding CODE" in str(caught.value)
    assert not request.out.exists()
    assert _names(_subset(data, names="night/*"))["train"] == TRAIN[2:]
    assert _names(_subset(data, without=frozenset({"E106"})))["train"] == TRAIN[1:]
    assert validate(request.out).errors == 0


def test_limit_is_by_lot_and_keeps_the_shares(data: Path) -> None:
    names = _names(_subset(data, limit=3))
    assert {split: len(each) for split, each in names.items()} == {"train": 2, "val": 1}
    assert names == _names(_subset(data, limit=3))
    drawn = {json.dumps(_names(_subset(data, limit=3, seed=seed))) for seed in range(6)}
    assert len(drawn) > 1
    assert {split: len(each) for split, each in _names(_subset(data, limit=2)).items()} == {"train": 1, "val": 1}
    assert sum(len(each) for each in _names(_subset(data, limit=1)).values()) == 1
    assert _names(_subset(data, limit=99)) == {"train": TRAIN, "val": VAL}


def test_refusals_write_nothing(data: Path) -> None:
    out = data.parent / "new"
    (data.parent / "list.txt").write_text("day/1.jpg\nnone.jpg\n")
    (data.parent / "empty.txt").write_text("\n")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"splits": ("test",)}, "--split must be one of train, val, got 'test'"),
        ({"findings": frozenset({"E999"})}, "--finding must be a code of posetools, got 'E999'"),
        ({"findings": frozenset({"E101"}), "without": frozenset({"E101"})}, "must be other codes than --finding"),
        ({"names": "noon/*"}, "--names must be a file with names, or a pattern that matches an image"),
        ({"names": str(data.parent / "list.txt")}, "one per line, relative to images/, but 1 are not: none.jpg"),
        ({"names": str(data.parent / "empty.txt")}, "but it is empty"),
        ({"size_class": "huge"}, "--size must be one of small, medium, large, got 'huge'"),
        ({"min_size": 9.0, "max_size": 8.0}, "--min-size must be at most --max-size (8), got 9.0"),
        ({"min_size": 1e6}, "no image meets all conditions; nothing was written"),
        ({"limit": 0}, "--limit must be 1 or more, got 0"),
        ({"objects": True}, "--objects requires a condition on size or findings"),
        ({"out": data / "part"}, "--out must be outside the source"),
        ({"data": data.parent / "no"}, "does not exist"),
    ]
    for changes, part in cases:
        with pytest.raises(RequestError) as caught:
            subset(replace(SubsetRequest(data=data, out=out), **changes))
        assert part in str(caught.value)
    assert not out.exists()
