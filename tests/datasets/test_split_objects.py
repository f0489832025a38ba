"""Both sides of a split get objects, and a clip that is split image by image is named."""

from __future__ import annotations

import json
import random
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.datasets.split import plan_split
from posetools.datasets.stratify import Strata
from tests.build import make_image
from tests.cli.run import Done, run
from tests.imaging.mugs import label, skeleton


def sides(objects: list[int], val: frozenset[int]) -> tuple[int, int]:
    """Return how many objects are in train and in val."""
    in_val = sum(objects[index] for index in val)
    return sum(objects) - in_val, in_val


@pytest.mark.parametrize("case", range(300))
def test_both_sides_get_objects_and_sound_plans_stay_as_they_were(case: int) -> None:
    lot = random.Random(case)
    clips = lot.choice([0, 3, 6])
    number = lot.randint(2, 40) if not clips else clips * lot.randint(3, 7)
    names = [f"{'abcdef'[at % clips]}_{at // clips:03}.jpg" if clips else f"{at * 7919:x}.jpg" for at in range(number)]
    objects = [lot.choice([0, 0, 0, 0, 1, 3]) for _ in names]
    arguments: dict[str, Any] = {"val": lot.choice([0.01, 0.1, 0.5, 0.9]), "seed": lot.randint(0, 5)}
    strata = Strata("size", ("small",), np.array(objects, dtype=np.float64)[:, None]) if lot.random() < 0.3 else None
    plan = plan_split(names, **arguments, strata=strata, objects=objects)
    again = plan_split(
        names[::-1],
        **arguments,
        strata=strata and Strata("size", ("small",), strata.counts[::-1]),
        objects=objects[::-1],
    )
    assert {names[at] for at in plan.val} == {names[::-1][at] for at in again.val}
    assert 0 < len(plan.val) < len(names)
    if plan.by == "image":
        assert abs(len(plan.val) - arguments["val"] * len(names)) <= 1
    if sum(number > 0 for number in objects) > 1:
        assert min(sides(objects, plan.val)) > 0
    blind = plan_split(names, **arguments, strata=strata)
    if min(sides(objects, blind.val)) > 0 and blind.by == plan.by:
        assert plan.val == blind.val


def test_groups_that_were_asked_for_stay_whole() -> None:
    names = [f"{folder}/{at}.jpg" for folder in "abc" for at in range(4)]
    objects = [0] * 4 + [1] * 8
    for seed in range(20):
        plan = plan_split(names, val=0.3, seed=seed, by="parent", objects=objects)
        assert len(plan.val) == 4 and min(sides(objects, plan.val)) > 0


def test_objects_in_one_clip_are_split_by_image_and_the_clip_is_named() -> None:
    names = [f"{clip}_{at:03}.jpg" for clip in "ab" for at in range(10)] + [f"b_{at:03}.jpg" for at in range(10, 30)]
    objects = [0] * 10 + [1] * 30
    plan = plan_split(names, objects=objects)
    assert (plan.by, plan.reason) == ("image", "by image, because all objects are in one clip")
    assert plan.warnings[0].startswith("b_000.jpg to b_029.jpg (30 images) are numbered like frames of one clip")


def test_ways_without_a_torn_clip_have_no_warning() -> None:
    frames = [f"drive_{at:04}.jpg" for at in range(40)]
    assert plan_split(frames, by="image").warnings == ()
    assert plan_split(frames, by=r"(.*)\d\D*$").warnings == ()
    assert plan_split([f"{at * 7919:x}.jpg" for at in range(40)]).warnings == ()
    assert plan_split([f"{clip}_{at}.jpg" for clip in "ab" for at in range(9)]).warnings == ()


@pytest.mark.parametrize(
    ("names", "fix"),
    [
        ([f"drive_{at:04}.jpg" for at in range(40)], r"--split-by '(.*)\d\D*$'"),
        ([f"drive_{at:04}_left.jpg" for at in range(1500)], r"--split-by '(.*)\d\d\D*$'"),
        ([f"drive_{at:05}.jpg" for at in range(20_000)], r"--split-by '(.*)\d\d\d\D*$'"),
        ([f"f{at}.jpg" for at in range(30)], r"--split-by '(.*)\d\D*$'"),
        ([f"f{at}.jpg" for at in range(5)], "validate on images of another clip"),
    ],
)
def test_what_is_advised_for_a_single_clip_can_be_done(names: list[str], fix: str) -> None:
    plan = plan_split(names)
    (warning,) = plan.warnings
    assert plan.by == "image" and f"{names[0]} to {names[-1]} ({len(names)} images)" in warning and fix in warning
    if fix.startswith("--"):
        assert plan_split(names, by=shlex.split(fix)[1]).groups >= 2


def mugs(tmp_path: Path, names: list[str], empty: set[str]) -> Path:
    folder = tmp_path / "src"
    for number, name in enumerate(names):
        make_image(folder / name, (64, 48), seed=number)
        label(folder / name, (64, 48), objects=0 if name in empty else 1)
    return folder


def convert(tmp_path: Path, folder: Path, *more: str) -> Done:
    return run("convert", folder, "--out", tmp_path / "out", "--skeleton", skeleton(tmp_path), *more)


def in_sides(out: Path) -> dict[str, int]:
    return {
        split: len(json.loads((out / f"{split}_coco.json").read_text())["annotations"]) for split in ("train", "val")
    }


NAMES = [f"{name}.jpg" for name in ("anvil", "birch", "cedar", "delta", "ember", "flint", "grove", "haven")]


@pytest.mark.parametrize("empty", NAMES)
def test_eight_files_with_one_negative_are_split_by_default(tmp_path: Path, empty: str) -> None:
    done = convert(tmp_path, mugs(tmp_path, NAMES, {empty}))
    assert done.status == 0, done.words
    assert in_sides(tmp_path / "out") == {"train": 6, "val": 1} and "E116" not in run("validate", tmp_path / "out").out
    for more in ((), ("--seed", "3"), ("--val", "0.01"), ("--val", "0.99"), ("--stratify", "visibility")):
        assert run("split", tmp_path / "out", *more).status == 0
        assert min(in_sides(tmp_path / "out").values()) >= 1


def test_two_images_with_objects_among_many_without_are_one_on_each_side(tmp_path: Path) -> None:
    names = [f"{word}{word[::-1]}.jpg" for word in ("ab", "cd", "ef", "gh", "ij", "kl", "mn", "op", "qr", "st")]
    assert convert(tmp_path, mugs(tmp_path, names, set(names[2:]))).status == 0
    assert in_sides(tmp_path / "out") == {"train": 1, "val": 1}


def test_one_image_with_objects_is_an_error_that_says_what_is_missing(tmp_path: Path) -> None:
    done = convert(tmp_path, mugs(tmp_path, NAMES, set(NAMES[1:])))
    assert done.status == 1 and "E116" in done.out and "label a second image with objects" in done.words
    assert not (tmp_path / "out").exists()


def test_other_formats_are_split_alike(tmp_path: Path) -> None:
    folder = mugs(tmp_path, NAMES, {NAMES[3]})
    assert convert(tmp_path, folder).status == 0
    for target in ("cvat", "label-studio", "via"):
        made = run(
            "convert", tmp_path / "out", "--out", tmp_path / target, "--to", target, "--skeleton", tmp_path / "mug.yaml"
        )
        assert made.status == 0, made.words
        again = tmp_path / f"{target}-coco"
        done = run("convert", tmp_path / target, "--out", again, "--skeleton", tmp_path / "mug.yaml", "--val", "0.1")
        assert done.status == 0, done.words
        assert in_sides(again) == {"train": 6, "val": 1}


def test_a_single_clip_is_named_by_convert_and_split(tmp_path: Path) -> None:
    names = [f"desk_{number:03}.jpg" for number in range(20)]
    done = convert(tmp_path, mugs(tmp_path, names, set()))
    said = "warning: desk_000.jpg to desk_019.jpg (20 images) are numbered like frames of one clip"
    assert done.status == 0 and said in done.words
    assert said in run("split", tmp_path / "out").words
    fixed = run("split", tmp_path / "out", "--split-by", r"(.*)\d\D*$")
    assert fixed.status == 0 and "warning" not in fixed.words
    sides_of = {name[:7]: split for split in ("train", "val") for name in file_names(tmp_path / "out", split)}
    assert len(sides_of) == 2 and set(sides_of.values()) == {"train", "val"}


def file_names(out: Path, split: str) -> list[str]:
    return [image["file_name"] for image in json.loads((out / f"{split}_coco.json").read_text())["images"]]
