"""``--test``: a third side of the split, and a declared test set that never gets into training."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from posetools.datasets.split import plan_split
from posetools.datasets.stratify import Strata
from posetools.errors import RequestError
from tests.cli.run import Done, run
from tests.converting import contents
from tests.datasets.test_declared_splits import images_of, labelme_folders
from tests.datasets.test_split_objects import mugs
from tests.imaging.mugs import skeleton

WORDS = ("anvil", "birch", "cedar", "delta", "ember", "flint", "grove", "haven", "igloo", "joker")
NAMES = [f"{word}{letter}.jpg" for word in WORDS for letter in "xy"]


@pytest.mark.parametrize("case", range(300))
def test_three_sides_of_whole_groups_with_objects_and_the_requested_size(case: int) -> None:
    lot = random.Random(case)
    folders = lot.choice([0, 4, 9])
    number = lot.randint(3, 40) if not folders else folders * lot.randint(1, 7)
    names = [f"{at % folders if folders else ''}/{at * 7919:x}.jpg" for at in range(number)]
    objects = [lot.choice([0, 0, 0, 1, 3]) for _ in names]
    val, test = lot.choice([(0.1, 0.1), (0.01, 0.3), (0.5, 0.4), (0.2, 0.7), (0.0, 0.2)])
    by = "parent" if folders else "image"
    options: dict[str, Any] = {"val": val, "test": test, "seed": lot.randint(0, 5), "by": by}
    strata = Strata("size", ("small",), np.array(objects, dtype=np.float64)[:, None]) if lot.random() < 0.3 else None
    plan = plan_split(names, **options, strata=strata, objects=objects)
    backwards = strata and Strata("size", ("small",), strata.counts[::-1])
    again = plan_split(names[::-1], **options, strata=backwards, objects=objects[::-1])
    for chosen, same in ((plan.val, again.val), (plan.test, again.test)):
        assert {names[at] for at in chosen} == {names[::-1][at] for at in same}
    assert not plan.val & plan.test
    sides = [plan.test, plan.val, frozenset(range(number)) - plan.val - plan.test]
    sides = [side for side, share in zip(sides, (test, val, 1), strict=True) if share]
    assert all(sides)
    group = [Path(name).parent if folders else name for name in names]
    assert sum(len({group[at] for at in side}) for side in sides) == len(set(group)) == plan.groups
    if len({group[at] for at in range(number) if objects[at]}) >= len(sides):
        assert all(any(objects[at] for at in side) for side in sides)
    largest = max(group.count(each) for each in group)
    if number >= 20 * largest:
        assert abs(len(plan.test) - test * number) <= largest and abs(len(plan.val) - val * number) <= largest


def test_another_validation_fraction_leaves_the_test_images() -> None:
    assert len({plan_split(NAMES, val=val, test=0.2, seed=3).test for val in (0.0, 0.1, 0.5)}) == 1
    assert len({plan_split(NAMES, val=0.1, test=0.2, seed=seed).test for seed in range(8)}) > 4


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        (["a", "b"], {}, "a split needs at least 3 images, one for training, one for validation and one for testing"),
        (["x/a", "x/b", "y/c"], {"by": "parent"}, "needs at least 3 groups, but all 3 images are 2 groups"),
        (
            NAMES,
            {"val": 0.5, "test": 0.5},
            "--test must be less than 0.5, because val has 0.5 of the images and train needs some, got 0.5",
        ),
        (NAMES, {"test": -0.1}, "--test must be greater than 0 and less than 1, or 0 for none, got -0.1"),
    ],
)
def test_what_cannot_be_split_in_three(names: list[str], options: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        plan_split(names, **{"val": 0.1, "test": 0.1, **options})


def convert(folder: Path, out: str, *more: str) -> Done:
    return run("convert", folder / "src", "--out", folder / out, "--skeleton", folder / "mug.yaml", *more)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    mugs(tmp_path, NAMES, {NAMES[0], NAMES[5]})
    skeleton(tmp_path)
    return tmp_path


def test_convert_and_split_write_a_test_split_that_later_splits_leave(source: Path) -> None:
    done = convert(source, "out", "--val", "0.1", "--test", "0.2")
    assert done.status == 0 and "│ images │ 14 │ 2 │ 4 │" in done.words, done.words
    out = source / "out"
    sides = images_of(out)
    assert sum(map(len, sides.values())) == len(set.union(*sides.values())) == len(NAMES)
    assert all(COCO(out / f"{split}_coco.json").anns for split in sides)
    record = json.loads((out / "conversion.json").read_text())
    assert list(record["splits"]) == ["train", "val", "test"] and record["splits"]["test"]["pictures"] == 4
    assert (record["split"]["val"], record["split"]["test"]) == (0.1, 0.2)
    assert convert(source, "same", "--val", "0.1", "--test", "0.2").status == 0
    assert contents(source / "same") == contents(out)
    test = (out / "test_coco.json").read_bytes()
    for more in (("--val", "0.3"), ("--val", "0"), ("--seed", "3", "--test", "0")):
        done = run("split", out, *more)
        assert done.status == 0 and "test: not changed" in done.out
        assert (out / "test_coco.json").read_bytes() == test
    # Its images are split again when a test split is requested again, because --test made it.
    done = run("split", out, "--test", "0.2", "--val", "0.1")
    assert done.status == 0 and "not changed" not in done.out
    assert images_of(out) == sides
    assert run("validate", out).status == 0


def test_without_a_test_fraction_nothing_changes(source: Path) -> None:
    assert convert(source, "plain").status == convert(source, "zero", "--test", "0").status == 0
    assert contents(source / "plain") == contents(source / "zero")
    for name, more in (("plain", ()), ("zero", ("--test", "0"))):
        assert run("split", source / name, "--val", "0.4", *more).status == 0
    assert contents(source / "plain") == contents(source / "zero")
    assert "test" not in json.loads((source / "plain" / "conversion.json").read_text())["split"]


def test_a_declared_test_set_never_gets_into_training(tmp_path: Path) -> None:
    source, out, mug = labelme_folders(tmp_path / "src"), tmp_path / "out", skeleton(tmp_path)
    done = run("convert", source, "--out", out, "--skeleton", mug, "--test", "0.2")
    assert done.status == 2 and not out.exists()
    assert done.err.endswith(
        "error: --test must be left out where the source declares a test split, which must not get into training, "
        "got 0.2\n  fix: leave out --test: the test split is kept\n"
    )
    assert run("convert", source, "--out", out, "--skeleton", mug, "--val", "0.2").status == 0
    before = contents(out)
    done = run("split", out, "--test", "0.2")
    assert done.status == 2 and contents(out) == before
    assert done.err == (
        f"error: {out / 'test_coco.json'}: --test cannot be used: the data set was made with this test split, which "
        "must not get into training\n  fix: leave out --test to keep the test split\n"
    )


def test_a_test_split_is_balanced_and_counted(source: Path) -> None:
    assert convert(source, "out").status == 0
    done = run("split", source / "out", "--val", "0.2", "--test", "0.2", "--stratify", "visibility")
    assert done.status == 0
    assert "│ │ train │ val │ test │ val fraction │ test fraction │" in done.words.replace("┃", "│")
    assert "│ images │ 12 │ 4 │ 4 │ 20.0 % │ 20.0 % │" in done.words
    # Of two images without objects, each side with a whole share of them would have 0.4.
    for split in ("val", "test"):
        assert len(COCO(source / "out" / f"{split}_coco.json").anns) in (3, 4)


def test_every_command_takes_the_test_split(source: Path) -> None:
    assert convert(source, "out", "--test", "0.2").status == 0
    out = source / "out"
    for target in ("yolo-pose", "coco"):
        done = run("convert", out, "--out", source / target, "--to", target)
        assert done.status == 0 and "as declared by the source" in done.words
    assert images_of(source / "coco") == images_of(out)
    assert len(list((source / "yolo-pose" / "labels" / "test").iterdir())) == 4
    assert run("subset", out, "--out", source / "some", "--split", "test").status == 0
    assert images_of(source / "some") == {"test": images_of(out)["test"]}
    assert run("diff", out, source / "coco").status == 0
    done = run("view", out, "--split", "test", "--out", source / "test.png")
    assert done.status == 0 and "4 of 4 images" in done.words
