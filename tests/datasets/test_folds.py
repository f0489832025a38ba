"""``split --folds``: every image is in one fold's val, groups stay whole, and folds are replaced as a whole."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from posetools.core.folder import ann_file, fold_split, folds_of
from posetools.core.groups import recorded_grouping
from posetools.datasets.folds import plan_folds, write_folds
from posetools.datasets.stratify import Strata
from posetools.errors import RequestError
from tests.cli.run import run
from tests.converting import contents
from tests.datasets.test_split_objects import mugs
from tests.imaging.mugs import skeleton

NAMES = [f"{clip}_{frame:03}.jpg" for clip in ("oak", "elm", "yew", "fir", "ash") for frame in range(4)]
EMPTY = {"oak_000.jpg", "elm_001.jpg"}


def mug_clips(folder: Path) -> Path:
    """Write and return a data set of five clips, split by image."""
    mugs(folder, NAMES, EMPTY)
    given: list[str | Path] = ["--out", folder / "out", "--skeleton", skeleton(folder)]
    assert run("convert", folder / "src", *given, "--val", "0.2", "--split-by", "image").status == 0
    return folder / "out"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return mug_clips(tmp_path)


def names_in(data: Path, split: str) -> list[str]:
    """Return the images of a split, as read by pycocotools; all of them exist."""
    names = [image["file_name"] for image in COCO(ann_file(data, split)).dataset["images"]]
    assert all((data / "images" / name).is_file() for name in names)
    return names


@pytest.mark.parametrize("case", range(300))
def test_folds_share_out_whole_groups_as_evenly_as_these_allow(case: int) -> None:
    lot = random.Random(case)
    folders = lot.choice([0, 5, 9])
    number = lot.randint(5, 60) if not folders else folders * lot.randint(1, 7)
    names = [f"{at % folders if folders else ''}/{at * 7919:x}.jpg" for at in range(number)]
    if folders:
        names += [f"0/more{at}.jpg" for at in range(lot.randint(0, 9))]
    objects = [lot.choice([0, 0, 1, 3]) for _ in names]
    objects[: min(5, number)] = [1] * min(5, number)
    folds, seed, by = lot.randint(2, 5), lot.randint(0, 5), "parent" if folders else "image"
    strata = Strata("size", ("small",), np.array(objects, dtype=np.float64)[:, None]) if lot.random() < 0.3 else None
    plan = plan_folds(names, folds, seed=seed, by=by, strata=strata, objects=objects)
    backwards = strata and Strata("size", ("small",), strata.counts[::-1])
    again = plan_folds(names[::-1], folds, seed=seed, by=by, strata=backwards, objects=objects[::-1])
    assert [{names[at] for at in fold} for fold in plan.folds] == [{names[::-1][at] for at in f} for f in again.folds]
    assert Counter(at for fold in plan.folds for at in fold) == Counter(range(len(names)))
    group = [str(Path(name).parent) if folders else name for name in names]
    assert sum(len({group[at] for at in fold}) for fold in plan.folds) == len(set(group)) == plan.groups
    assert all(any(objects[at] for at in fold) for fold in plan.folds)
    sizes, largest = [len(fold) for fold in plan.folds], max(Counter(group).values())
    assert max(sizes) - min(sizes) <= largest * (1 if strata is None else 3)


def test_strata_are_in_every_fold() -> None:
    names = [f"{at * 7919:x}.jpg" for at in range(100)]
    rare = np.array([[float(at % 10 == 0)] for at in range(100)])
    spread, blind = (
        [sum(float(rare[at, 0]) for at in fold) for fold in plan_folds(names, 5, seed=1, strata=strata).folds]
        for strata in (Strata("size", ("small",), rare), None)
    )
    assert spread == [2.0] * 5 != blind


def test_every_image_is_in_one_val_and_nothing_else_changes(data: Path) -> None:
    before = contents(data)
    done = run("split", data, "--folds", "3", "--seed", "1")
    assert done.status == 0, done.words
    assert "folds: by clip, because the names look like frames of clips" in done.out
    assert {name: content for name, content in contents(data).items() if not name.startswith("folds")} == before
    assert folds_of(data) == (1, 2, 3) and recorded_grouping(data / "folds") == "clip"
    vals = [names_in(data, fold_split(fold, "val")) for fold in (1, 2, 3)]
    assert sorted(name for val in vals for name in val) == sorted(NAMES)
    assert sorted(len(val) for val in vals) == [4, 8, 8]
    every = {name: points for split in ("train", "val") for name, points in labels(data, split).items()}
    for fold, val in enumerate(vals, start=1):
        train = names_in(data, fold_split(fold, "train"))
        assert sorted(train + val) == sorted(NAMES)
        assert {name[:3] for name in train}.isdisjoint(name[:3] for name in val)
        assert {**labels(data, fold_split(fold, "train")), **labels(data, fold_split(fold, "val"))} == every
    assert run("validate", data).status == 0


def labels(data: Path, split: str) -> dict[str, list[list[float]]]:
    """Return image -> the keypoints of its objects, by pycocotools."""
    file = COCO(ann_file(data, split))
    return {
        image["file_name"]: [one["keypoints"] for one in file.imgToAnns[number]] for number, image in file.imgs.items()
    }


def test_folds_are_replaced_as_a_whole_and_alike_for_the_same_seed(data: Path) -> None:
    first = folds_with(data, "--folds", "4")
    assert folds_with(data, "--folds", "2", "--split-by", "image", "--seed", "5") != first
    assert folds_of(data) == (1, 2)
    assert folds_with(data, "--folds", "4") == first
    names_by_image = {tuple(names_in(data, fold_split(1, "val"))) for _ in range(2)}
    for seed in range(4):
        folds_with(data, "--folds", "4", "--split-by", "image", "--seed", str(seed))
        names_by_image.add(tuple(names_in(data, fold_split(1, "val"))))
    assert len(names_by_image) > 3
    assert [path.name for path in data.iterdir() if path.name.startswith(".")] == []


def folds_with(data: Path, *options: str) -> dict[str, bytes]:
    done = run("split", data, *options)
    assert done.status == 0, done.words
    return contents(data / "folds")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--folds", "1"], "--folds must be 2 or more, got 1"),
        (["--folds", "6"], "--folds must be at most the number of groups (5, by clip), got 6"),
        (["--folds", "19", "--split-by", "image"], "must be at most the number of groups with objects (18, by image)"),
        (["--folds", "3", "--test", "0.1"], "--test cannot be combined with --folds, which leaves train, val and test"),
        (["--folds", "3", "--split-by", "("], "--split-by must be image, parent, or a regular expression"),
    ],
)
def test_impossible_folds_are_one_clear_error_and_change_nothing(data: Path, options: list[str], said: str) -> None:
    folds_with(data, "--folds", "2")
    before = contents(data)
    done = run("split", data, *options)
    assert done.status == 2 and said in done.err
    assert contents(data) == before


def test_a_folder_of_the_user_is_not_replaced(data: Path) -> None:
    (data / "folds").mkdir()
    (data / "folds" / "notes.txt").write_text("mine")
    with pytest.raises(RequestError, match=r"folds: must be new, or what `posetools split --folds` wrote"):
        write_folds(data, 2)
    assert contents(data / "folds") == {"notes.txt": b"mine"}


def test_a_split_that_takes_images_for_testing_removes_the_folds(data: Path) -> None:
    folds_with(data, "--folds", "2", "--split-by", "(.)", "--seed", "4")
    assert run("split", data, "--val", "0.4").status == 0
    assert folds_of(data) == (1, 2) and "E118" not in run("validate", data).out
    done = run("split", data, "--val", "0.2", "--test", "0.2")
    assert done.status == 0 and not (data / "folds").exists()
    command = f"posetools split {data} --folds 2 --seed 4 --split-by '(.)'"
    assert f"folds: removed, because train and val have other images now; `{command}` renews them" in done.words
    assert run("split", data, "--folds", "2", "--seed", "4", "--split-by", "(.)").status == 0
    tested = set(names_in(data, "test"))
    assert tested and all(tested.isdisjoint(names_in(data, fold_split(1, split))) for split in ("train", "val"))
    # The same test images again: the folds still fit.
    assert run("split", data, "--val", "0.2", "--test", "0.2").status == 0 and folds_of(data) == (1, 2)


def test_new_data_sets_say_that_they_have_no_folds(data: Path, tmp_path: Path) -> None:
    folds_with(data, "--folds", "5", "--seed", "3")
    some = tmp_path / "some"
    said = f"folds of {data}: not kept; `posetools split {some} --folds 5 --seed 3` writes new ones"
    assert said in run("subset", data, "--out", some, "--names", "*_00[12].jpg").words
    assert folds_of(some) == () and run("split", some, "--folds", "5", "--seed", "3").status == 0
    given: list[str | Path] = ["--out", some, "--skeleton", tmp_path / "mug.yaml"]
    done = run("convert", tmp_path / "src", *given, "--overwrite")
    assert f"folds of {some}: not kept; `posetools split {some} --folds 5 --seed 3` writes new ones" in done.words
    assert folds_of(some) == ()


def test_the_folds_of_files_with_the_same_ids_have_new_ones(data: Path) -> None:
    document = json.loads((data / "val_coco.json").read_text())
    for image in document["images"]:
        image["id"] -= 16
    for one in document["annotations"]:
        one["image_id"] -= 16
    (data / "val_coco.json").write_text(json.dumps(document))
    done = run("split", data, "--folds", "2")
    assert "images got new ids: train and val used the same ones" in done.words
    files = [COCO(ann_file(data, fold_split(1, split))) for split in ("train", "val")]
    assert len({number for file in files for number in file.imgs}) == len(NAMES)
    assert run("validate", data).status == 0
