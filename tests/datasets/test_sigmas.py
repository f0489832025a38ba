"""Sigmas: planted noise is measured, and a skeleton file is changed in one place."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.geometry import Floats
from posetools.core.place import Origin
from posetools.core.skeleton import built_in_path, dump_skeleton, load_skeleton, read_skeleton
from posetools.core.skeleton_draft import commented_yaml
from posetools.datasets.matching import match_datasets
from posetools.datasets.sigmas import SigmasResult, measure, sigmas, update_skeleton
from posetools.errors import InputError, RequestError
from posetools.formats.coco.format import write_split

CAR8 = load_skeleton("car8")
LAYOUT = np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.9], [0.1, 0.5], [0.9, 0.5], [0.5, 0.9], [0.5, 0.1]])
PLANTED = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.015, 0.025, 0.035])


def _cars(n: int, seed: int = 0) -> Dataset:
    """Return n cars of many sizes, one per image, all points visible or occluded."""
    rng = np.random.default_rng(seed)
    builder = DatasetBuilder(CAR8)
    for row in range(n):
        builder.add_image(Image(f"{row:04}.jpg", 2000, 1500))
        sides = rng.uniform(60, 900, 2)
        points = 20 + LAYOUT * sides
        keypoints = np.concatenate([points, rng.integers(1, 3, (8, 1))], axis=1)
        box = np.concatenate([[20, 20], 20 + sides])
        builder.add_instance(f"{row:04}.jpg", box=box, keypoints=keypoints, origin=Origin(f"car {row}"))
    return builder.build()


def _labeled_again(dataset: Dataset, deviation: Floats, seed: int = 1, offset: float = 0.0) -> Dataset:
    """Return the labels with noise: ``deviation`` (K,) is sqrt(E[d^2 / area]) of both axes together."""
    rng = np.random.default_rng(seed)
    keypoints = dataset.keypoints.copy()
    noise = rng.normal(offset, 1, keypoints[:, :, :2].shape) * (deviation / math.sqrt(2))[None, :, None]
    keypoints[:, :, :2] += noise * np.sqrt(dataset.areas)[:, None, None]
    return replace(dataset, keypoints=keypoints)


def _measured(tmp_path: Path, a: Dataset, b: Dataset) -> SigmasResult:
    for name, dataset in (("a", a), ("b", b)):
        write_split(dataset, tmp_path / f"{name}.json")
    return sigmas(tmp_path / "a.json", tmp_path / "b.json", skeleton="car8")


def test_planted_noise_is_recovered_within_the_interval() -> None:
    """Of 8 sigmas in 10 labelings nearly all lie in their 95 % intervals, and the intervals are not wide."""
    cars, hits = _cars(200), 0
    for seed in range(10):
        found = measure(match_datasets(cars, _labeled_again(cars, PLANTED, seed=seed)))
        for planted, each in zip(PLANTED, found.values(), strict=True):
            assert each.objects == 200
            assert each.sigma == pytest.approx(planted, rel=0.2)
            assert each.low is not None
            assert each.high is not None
            assert each.low < (each.sigma or 0) < each.high
            assert each.high - each.low < 0.3 * planted
            hits += each.low <= planted <= each.high
    assert hits >= 70


def test_two_noisy_people_add_up_and_may_change_places() -> None:
    truth = _cars(400)
    a, b = (_labeled_again(truth, PLANTED, seed=seed) for seed in (1, 2))
    found, back = measure(match_datasets(a, b)), measure(match_datasets(b, a))
    for name, planted in zip(CAR8.names, PLANTED, strict=True):
        assert found[name].sigma == pytest.approx(math.sqrt(2) * planted, rel=0.12)
        assert back[name].sigma == pytest.approx(found[name].sigma)


def test_the_formula_by_hand() -> None:
    a = _cars(25)
    keypoints = a.keypoints.copy()
    keypoints[:, 0, :2] += (3.0, 4.0)
    areas = np.full(25, 10_000.0)
    same, moved = replace(a, areas=areas), replace(a, areas=areas, keypoints=keypoints)
    found = measure(match_datasets(same, moved))["left-front-bumper"]
    # d is 5 px and sqrt(area) is 100 px for each, all of it a constant offset.
    for each in (found.sigma, found.offset, found.low, found.high):
        assert each == pytest.approx(0.05)
    assert found.current == 0.05


def test_exchanged_names_are_left_out_and_counted() -> None:
    cars = _cars(60)
    again = _labeled_again(cars, PLANTED)
    keypoints = again.keypoints.copy()
    keypoints[:7, [2, 3]] = keypoints[:7, [3, 2]]
    found = measure(match_datasets(cars, replace(again, keypoints=keypoints)))
    clean = measure(match_datasets(cars, again))
    for name in ("left-front-tire", "left-rear-tire"):
        assert (found[name].relabelled, found[name].objects) == (7, 53)
        assert found[name].sigma == pytest.approx(clean[name].sigma, rel=0.1)
    assert found["left-front-bumper"] == clean["left-front-bumper"]


def test_too_few_objects_are_said(tmp_path: Path) -> None:
    cars = _cars(19)
    with pytest.raises(RequestError) as caught:
        _measured(tmp_path, cars, _labeled_again(cars, PLANTED))
    assert "sigmas need at least 20 objects with a keypoint in both labelings, got at most 19" in str(caught.value)
    more = _cars(20)
    keypoints = more.keypoints.copy()
    keypoints[0, 3] = 0
    result = _measured(tmp_path, replace(more, keypoints=keypoints), _labeled_again(more, PLANTED))
    missing = result.points["left-rear-tire"]
    assert (missing.objects, missing.sigma, missing.low, missing.high) == (19, None, None, None)
    assert result.points["left-front-tire"].sigma is not None
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False))["keypoints"]["left-rear-tire"]["objects"] == 19


def test_the_same_labels_twice_give_zero_which_no_skeleton_takes(tmp_path: Path) -> None:
    result = _measured(tmp_path, _cars(20), _cars(20))
    assert {each.sigma for each in result.points.values()} == {0.0}
    target = tmp_path / "car8.yaml"
    target.write_text(built_in_path("car8").read_text())
    before = target.read_bytes()
    with pytest.raises(RequestError, match="the two labelings are identical in left-front-bumper"):
        update_skeleton(target, result)
    assert target.read_bytes() == before


@pytest.fixture
def result(tmp_path: Path) -> SigmasResult:
    cars = _cars(40)
    return _measured(tmp_path, cars, _labeled_again(cars, PLANTED))


def _rounded(result: SigmasResult) -> list[float]:
    return [float(f"{each.sigma:.4g}") for each in result.points.values()]


def test_update_changes_the_sigmas_line_alone(tmp_path: Path, result: SigmasResult) -> None:
    target = tmp_path / "car8.yaml"
    before = built_in_path("car8").read_text()
    target.write_text(before)
    assert update_skeleton(target, result) == ()
    assert list(read_skeleton(target).sigmas) == _rounded(result)
    changed = target.read_text()
    different = [pair for pair in zip(before.splitlines(), changed.splitlines(), strict=True) if pair[0] != pair[1]]
    assert [old.partition(":")[0] for old, _ in different] == ["sigmas"]
    assert read_skeleton(target).model_copy(update={"sigmas": CAR8.sigmas}) == CAR8


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("sigmas:\n" + "- 0.05\n" * 7 + "- 0.05  # the last\n", id="a line per number"),
        pytest.param("sigmas:\n" + "    - 5.0e-2\n" * 8 + "# of training\n", id="indented, a comment after it"),
        pytest.param("sigmas:   [0.05, 0.05, 0.05, 0.05,\n  0.05, 0.05, 0.05, 0.05]   # flow\n", id="two lines"),
        pytest.param('"sigmas" : [0.05, .05, .05, .05, .05, .05, .05, .05]\n', id="quoted key"),
    ],
)
def test_update_keeps_comments_in_any_style(tmp_path: Path, result: SigmasResult, written: str) -> None:
    text = commented_yaml(CAR8)
    lines = text.splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if line.startswith("sigmas:"))
    target = tmp_path / "mine.yaml"
    target.write_text("".join([*lines[:at], written, *lines[at + 1 :]]))
    update_skeleton(target, result)
    skeleton = read_skeleton(target)
    assert list(skeleton.sigmas) == _rounded(result)
    assert skeleton.model_copy(update={"sigmas": CAR8.sigmas}) == CAR8
    kept = target.read_text()
    for line in [*lines[:at], *lines[at + 1 :]]:
        assert line in kept
    for comment in ("# the last", "# of training", "# flow"):
        assert (comment in kept) == (comment in written)


def test_update_keeps_what_was_not_measured_and_the_files_order(tmp_path: Path) -> None:
    cars = _cars(30)
    keypoints = cars.keypoints.copy()
    keypoints[:, 1] = 0
    found = _measured(tmp_path, replace(cars, keypoints=keypoints), _labeled_again(cars, PLANTED))
    document = CAR8.model_dump(exclude_none=True)
    document["keypoints"] = document["keypoints"][::-1]
    target = tmp_path / "backwards.yaml"
    target.write_text(dump_skeleton(type(CAR8).model_validate(document)))
    assert update_skeleton(target, found) == ("left-rear-bumper",)
    new = dict(zip(CAR8.names[::-1], read_skeleton(target).sigmas, strict=True))
    assert new.pop("left-rear-bumper") == 0.05
    assert new == {name: float(f"{found.points[name].sigma:.4g}") for name in new}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (None, ["cannot be read"]),
        ("name: [", ["is not valid YAML"]),
        (built_in_path("coco17").read_text(), ["keypoints: must be the measured ones, but these differ: left-"]),
        (
            dump_skeleton(CAR8)
            .replace("sigmas: ", "sigmas: &s ")
            .replace("[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]", "*s"),
            ["sigmas: must be a plain list of numbers to be replaced"],
        ),
    ],
)
def test_update_refuses_other_files(tmp_path: Path, result: SigmasResult, text: Any, parts: list[str]) -> None:
    target = tmp_path / "x.yaml"
    if text is not None:
        target.write_text(text)
    with pytest.raises(InputError) as caught:
        update_skeleton(target, result)
    for part in (str(target), *parts):
        assert part in str(caught.value)
    assert not target.exists() or target.read_text() == text
