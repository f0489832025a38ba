from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posetools.errors import InputError, PosetoolsError, RequestError
from posetools.recipes.facts import SplitFacts, read_facts
from posetools.skeleton import load_skeleton
from tests.recipes.sample import write_coco

CAR8 = load_skeleton("car8")


def test_pictures_objects_and_negatives_are_counted(tmp_path: Path) -> None:
    facts = read_facts(write_coco(tmp_path, train=5, val=3, empty=2), CAR8)
    assert facts.train == SplitFacts(pictures=5, negatives=2, objects=6, posed=6)
    assert facts.val == SplitFacts(pictures=3, negatives=0, objects=6, posed=6)


def test_crowds_and_objects_without_keypoints_are_not_for_rtmpose(tmp_path: Path) -> None:
    def mutate(document: dict[str, Any]) -> None:
        document["annotations"][0]["iscrowd"] = 1
        document["annotations"][1]["num_keypoints"] = 0

    facts = read_facts(_changed(tmp_path, mutate), CAR8)
    assert (facts.train.objects, facts.train.posed) == (8, 6)


def _changed(folder: Path, mutate: Callable[[dict[str, Any]], object]) -> Path:
    path = write_coco(folder) / "train_coco.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    mutate(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("mutate", "error", "parts"),
    [
        (lambda d: d.pop("images"), InputError, ["images: images must be a list of objects", "got None", "validate"]),
        (lambda d: d.update(annotations=[1]), InputError, ["annotations must be a list of objects", "got [1]"]),
        (
            lambda d: d["categories"][0].update(name="Car"),
            InputError,
            ["categories: categories must be one with the name 'car'", "got ['Car']", "--skeleton"],
        ),
        (
            lambda d: d["categories"][0]["keypoints"].pop(),
            InputError,
            ["categories[0].keypoints: keypoints must be the 8 names of skeleton car8", "got ['left-front", "--skel"],
        ),
        (
            lambda d: d.update(annotations=[]),
            RequestError,
            ["must hold pictures and objects with labelled keypoints, got 4 pictures and 0 such objects"],
        ),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    tmp_path: Path, mutate: Callable[[dict[str, Any]], object], error: type[PosetoolsError], parts: list[str]
) -> None:
    folder = _changed(tmp_path, mutate)
    with pytest.raises(error) as caught:
        read_facts(folder, CAR8)
    assert str(caught.value).startswith(f"{folder / 'train_coco.json'}: ")
    for part in parts:
        assert part in str(caught.value)


def test_both_splits_have_to_be_there(tmp_path: Path) -> None:
    (write_coco(tmp_path) / "val_coco.json").unlink()
    with pytest.raises(RequestError, match=r"val_coco\.json: must be there.*\n.*posetools split"):
        read_facts(tmp_path, CAR8)
    with pytest.raises(RequestError, match="must be a data set folder, but there is no such folder"):
        read_facts(tmp_path / "nowhere", CAR8)
