"""A data set on disk: whose splits it has, and which skeleton is its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posetools.core.folder import SPLIT_JOURNAL, is_record, skeleton_of, splits_of
from posetools.core.skeleton import dump_skeleton, load_skeleton
from posetools.errors import InputError, RequestError
from tests.coco_sample import other_skeleton

CAR8 = load_skeleton("car8")


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def keypoints(*names: str) -> dict[str, Any]:
    return {"categories": [{"id": 2, "name": "x"}, {"id": 1, "name": "car", "keypoints": list(names)}]}


def test_the_skeleton_that_is_asked_for_goes_before_all_others(tmp_path: Path) -> None:
    own = other_skeleton(name="mine")
    (tmp_path / "mine.yaml").write_text(dump_skeleton(own), encoding="utf-8")
    write(tmp_path / "conversion.json", {"skeleton": CAR8.model_dump()})
    assert skeleton_of(tmp_path, "coco17") == load_skeleton("coco17")
    assert skeleton_of(tmp_path, tmp_path / "mine.yaml") == own
    assert skeleton_of(tmp_path) == CAR8


def test_the_file_goes_before_the_record_and_that_before_the_categories(tmp_path: Path) -> None:
    own, edited = other_skeleton(name="mine"), other_skeleton(name="edited")
    write(tmp_path / "conversion.json", {"skeleton": own.model_dump(mode="json")})
    write(tmp_path / "train_coco.json", keypoints(*CAR8.names))
    assert skeleton_of(tmp_path) == own
    (tmp_path / "skeleton.yaml").write_text(dump_skeleton(edited), encoding="utf-8")
    assert skeleton_of(tmp_path) == edited


@pytest.mark.parametrize("sigma", [None, 0.3])
def test_a_record_of_before_templates_gets_the_built_in_ones_where_all_else_is_the_same(
    tmp_path: Path, sigma: float | None
) -> None:
    old = CAR8.model_dump(mode="json") | {"template": None}
    if sigma:
        old["sigmas"] = [sigma] * 8
    write(tmp_path / "conversion.json", {"skeleton": old})
    got = skeleton_of(tmp_path)
    assert (got == CAR8) is (sigma is None)
    assert got.sigmas[0] == (sigma or CAR8.sigmas[0])


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_built_in_skeleton_fits_by_its_names(tmp_path: Path, split: str) -> None:
    write(tmp_path / f"{split}_coco.json", keypoints(*CAR8.names))
    assert skeleton_of(tmp_path) == CAR8


def test_categories_of_another_program_say_the_names_in_their_order_pairs_and_links(tmp_path: Path) -> None:
    document = keypoints("nose", "left_ear", "right_ear")
    # A 0 shows that the links are 0-based.
    document["categories"][1]["skeleton"] = [[0, 1], [0, 2]]
    write(tmp_path / "train_coco.json", document)
    skeleton = skeleton_of(tmp_path)
    assert (skeleton.names, skeleton.pairs) == (("nose", "left_ear", "right_ear"), (("left_ear", "right_ear"),))
    assert (skeleton.category.name, skeleton.coco_edges) == ("car", [[1, 2], [1, 3]])
    # Training reads the file as it is, so another order is another skeleton than the built-in one.
    write(tmp_path / "train_coco.json", keypoints(*reversed(CAR8.names)))
    assert skeleton_of(tmp_path).names == CAR8.names[::-1]
    assert set(skeleton_of(tmp_path).pairs) == {pair[::-1] for pair in CAR8.pairs}


@pytest.mark.parametrize(
    "document",
    [
        keypoints(),
        {"categories": 3},
        {"categories": ["x", {"keypoints": "y"}]},
        {},
        [],
    ],
)
def test_categories_without_keypoints_give_no_skeleton(tmp_path: Path, document: object) -> None:
    write(tmp_path / "train_coco.json", document)
    with pytest.raises(RequestError) as caught:
        skeleton_of(tmp_path)
    rule = "at least one category with keypoints, to have a skeleton without --skeleton"
    command = "posetools skeleton new FILE --keypoints A,B,..."
    assert str(caught.value) == (
        f"{tmp_path} must be {rule}, got 'none'\n"
        f"  fix: --skeleton FILE names the keypoints; `{command}` writes such a file"
    )


def test_several_categories_with_keypoints_are_named(tmp_path: Path) -> None:
    document = keypoints(*CAR8.names)
    document["categories"][0]["keypoints"] = ["nose"]
    write(tmp_path / "train_coco.json", document)
    with pytest.raises(
        RequestError, match=r"got \['x', 'car'\]\n  fix: `posetools convert .* --categories NAME --out "
    ):
        skeleton_of(tmp_path)


@pytest.mark.parametrize(
    ("record", "place", "problem"),
    [
        ({"skeleton": {**CAR8.model_dump(mode="json"), "sigmas": [0.1]}}, "skeleton", "sigmas"),
        ({"skeleton": {**CAR8.model_dump(mode="json"), "name": 3}}, "skeleton.name", "got 3"),
    ],
)
def test_a_record_that_is_none_is_named(tmp_path: Path, record: object, place: str, problem: str) -> None:
    path = write(tmp_path / "conversion.json", record)
    with pytest.raises(InputError) as caught:
        skeleton_of(tmp_path)
    assert (caught.value.path, caught.value.place) == (path, place)
    assert problem in caught.value.problem


def test_splits_are_train_val_and_then_by_name(tmp_path: Path) -> None:
    for split in ("zoo", "val", "alpha", "train"):
        write(tmp_path / f"{split}_coco.json", {})
    (tmp_path / "train.json").write_text("")
    assert splits_of(tmp_path) == ("train", "val", "alpha", "zoo")
    (tmp_path / SPLIT_JOURNAL).write_text("")
    with pytest.raises(
        RequestError,
        match=r"an interrupted `posetools split` or .* left it incomplete\n  fix: `posetools validate --fix .*`",
    ):
        splits_of(tmp_path)


def test_a_folder_without_splits_is_none(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="but has neither\n  fix: `posetools convert SRC --out"):
        splits_of(tmp_path)
    with pytest.raises(RequestError, match="nowhere: must be a data set folder, but does not exist"):
        splits_of(tmp_path / "nowhere")


def test_only_converts_own_record_is_a_record(tmp_path: Path) -> None:
    assert not is_record(write(tmp_path / "conversion.json", {"shapes": []}))
    (tmp_path / "conversion.json").write_text('{\n"posetools": "1"}')
    assert is_record(tmp_path / "conversion.json")
    assert not is_record(write(tmp_path / "a.json", {}))
    with pytest.raises(InputError, match="cannot be read"):
        is_record(tmp_path / "gone" / "conversion.json")
