"""Stratified splits: both sides are alike in more than their number of images."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from posetools.core.geometry import Floats
from posetools.datasets.resplit import resplit
from posetools.datasets.split import plan_split
from posetools.datasets.stratify import Strata, balance
from posetools.errors import InputError, RequestError
from tests.cli.run import run
from tests.two_categories import data_set

LABELS = ("few", "some", "many")


def _strata(counts: Floats) -> Strata:
    return Strata("size", LABELS, counts)


def _unevenness(counts: Floats, chosen: frozenset[int], val: float) -> float:
    """Return the cost, computed independently of the module."""
    shares = [column[sorted(chosen)].sum() / column.sum() for column in counts.T if column.sum()]
    strata = sum((share - val) ** 2 for share in shares) / len(shares) if shares else 0.0
    return float(strata + (len(chosen) / len(counts) - val) ** 2)


@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=12),
    val=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)
def test_groups_stay_whole_and_it_is_never_less_even(sizes: list[int], val: float, seed: int) -> None:
    names = [f"g{group:02}/{i}.jpg" for group, size in enumerate(sizes) for i in range(size)]
    counts = np.random.default_rng(seed).integers(0, 5, (len(names), 3)) * [1.0, 1.0, seed % 2]
    plan = plan_split(names, val=val, seed=seed, by="parent", strata=_strata(counts))
    assert 0 < len(plan.val) < len(names)
    assert abs(len(plan.val) - val * len(names)) <= max(sizes)
    held = Counter(names[index].partition("/")[0] for index in plan.val)
    assert all(number == sizes[int(group[1:])] for group, number in held.items())
    plain = plan_split(names, val=val, seed=seed, by="parent")
    assert _unevenness(counts, plan.val, val) <= _unevenness(counts, plain.val, val) + 1e-9
    # The order of the images does not matter.
    backwards = plan_split(names[::-1], val=val, seed=seed, by="parent", strata=_strata(counts[::-1]))
    assert {names[::-1][index] for index in backwards.val} == {names[index] for index in plan.val}


def _cost(counts: dict[str, Floats], chosen: set[str], val: float) -> float:
    """Return the cost as defined in the module's docstring: the mean over the strata, and that of the images."""
    every, mine = (np.sum([counts[key] for key in keys], axis=0) for keys in (counts, chosen))
    strata = [(mine[i] / every[i] - val) ** 2 for i in range(1, len(every)) if every[i]]
    return float((mine[0] / every[0] - val) ** 2 + (sum(strata) / len(strata) if strata else 0.0))


def _steps(keys: set[str], chosen: set[str]) -> Iterator[set[str]]:
    """Yield all choices after one exchange, one group less, or one group more."""
    for key in chosen:
        yield chosen - {key}
        yield from (chosen - {key} | {other} for other in keys - chosen)
    yield from (chosen | {other} for other in keys - chosen)


GROUPS = st.lists(st.tuples(st.integers(1, 5), *[st.integers(0, 3)] * 3), min_size=2, max_size=6)


@settings(deadline=None)
@given(
    groups=GROUPS,
    strata=st.integers(0, 3),
    val=st.sampled_from([0.1, 0.25, 0.5, 0.6]),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_no_exchange_that_is_allowed_makes_it_more_even(
    groups: list[tuple[int, ...]], strata: int, val: float, seed: int, data: st.DataObject
) -> None:
    held = np.arange(4) <= strata
    counts = {f"g{i}": np.array(numbers, dtype=np.float64) * held for i, numbers in enumerate(groups)}
    largest, target = max(n for n, *_ in groups), val * sum(n for n, *_ in groups)

    def allowed(choice: set[str]) -> bool:
        return 0 < len(choice) < len(counts) and abs(sum(counts[key][0] for key in choice) - target) <= largest

    choices = [set(keys) for n in range(1, len(counts)) for keys in itertools.combinations(counts, n)]
    chosen = data.draw(st.sampled_from([choice for choice in choices if allowed(choice)]))
    before = set(chosen)
    found = balance(chosen, counts, val, seed)
    assert chosen == before
    assert allowed(found)
    cost = _cost(counts, found, val)
    assert cost <= _cost(counts, chosen, val) + 1e-12
    better = [choice for choice in _steps(set(counts), found) if allowed(choice)]
    assert min((_cost(counts, choice, val) for choice in better), default=1.0) >= cost - 2e-10


def test_nothing_is_exchanged_that_brings_nothing() -> None:
    counts = {key: np.array([2.0, 1.0, 0.0]) for key in "abcdef"}
    for seed in range(5):
        assert balance({"b", "e"}, counts, 0.3, seed) == {"b", "e"}


def _images(val: float, strata: int, plain: int) -> dict[str, Floats]:
    """Return images by themselves: for each stratum one with the share ``val`` and one with the rest; plain ones."""
    rows = np.concatenate([np.eye(strata) * val, np.eye(strata) * (1 - val), np.zeros((plain, strata))])
    names = [*(f"share{i}" for i in range(strata)), *(f"rest{i}" for i in range(strata))]
    names += [f"plain{i}" for i in range(plain)]
    return {name: np.array([1.0, *row]) for name, row in zip(names, rows, strict=True)}


@pytest.mark.parametrize("seed", range(5))
def test_evaluation_may_have_as_many_images_too_many_as_the_largest_group_has_and_no_more(seed: int) -> None:
    # 2 of 20 images are the target, and a third contains what the two lack.
    counts = _images(0.1, strata=3, plain=14)
    assert balance({"share0", "share1"}, counts, 0.1, seed) == {"share0", "share1", "share2"}
    # 10 of 100 images are the target: the twelfth is one too many, whatever its contents.
    counts = _images(0.1, strata=12, plain=76)
    eleven = {f"share{i}" for i in range(11)}
    assert balance(eleven, counts, 0.1, seed) == eleven


@pytest.mark.parametrize("seed", range(5))
def test_evaluation_may_have_as_many_images_too_few_as_the_largest_group_has(seed: int) -> None:
    # 2 of 20 images are the target, but all except one contain a whole stratum.
    counts = {f"whole{i}": np.array([1.0, *row]) for i, row in enumerate(np.eye(19))}
    counts["plain"] = np.array([1.0, *np.zeros(19)])
    assert balance({"plain", "whole4"}, counts, 0.1, seed) == {"plain"}


@pytest.mark.parametrize("seed", range(5))
def test_images_count_as_much_as_a_single_stratum(seed: int) -> None:
    # An eleventh image is 1 % too many; without it 1.5 % of the stratum are missing, with it 0.65 %.
    counts = {f"{i:02}": np.array([1.0, 17.0]) for i in range(99)} | {"most": np.array([1.0, 317.0])}
    found = balance({f"{i:02}" for i in range(10)}, counts, 0.1, seed)
    assert (len(found), "most" in found) == (11, False)


@pytest.mark.parametrize("seed", range(5))
def test_one_group_is_left_for_training_and_no_more_than_need_be(seed: int) -> None:
    few = {"a": np.array([1.0, 1.0]), "b": np.array([1.0, 9.0])}
    assert balance({"a"}, few, 0.9, seed) == {"b"}
    # Only with both a and b validation has 60 % of both strata.
    three = {"a": np.array([1.0, 6.0, 0.0]), "b": np.array([1.0, 0.0, 6.0]), "c": np.array([1.0, 4.0, 4.0])}
    assert balance({"a"}, three, 0.6, seed) == {"a", "b"}


def test_rare_things_are_shared_out() -> None:
    """40 clips of 5 images; 10 of them contain all large objects: a random val misses its share."""
    names = [f"clip{clip:02}/{i}.jpg" for clip in range(40) for i in range(5)]
    counts = np.array([[3.0, 1.0, 2.0 * (int(name[4:6]) % 4 == 0)] for name in names])
    shares: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(10):
        for stratified in (False, True):
            strata = _strata(counts) if stratified else None
            plan = plan_split(names, val=0.2, seed=seed, by="parent", strata=strata)
            assert len(plan.val) == 40
            shares[stratified].append(counts[sorted(plan.val), 2].sum() / counts[:, 2].sum())
    assert shares[True] == pytest.approx([0.2] * 10)
    assert max(abs(share - 0.2) for share in shares[False]) >= 0.1
    reason = plan_split(names, val=0.2, by="parent", strata=_strata(counts)).reason
    assert reason.startswith("by parent folder, as requested, stratified by size; 8 of 40 groups, 40 of 200 images")


def test_seeds_still_differ() -> None:
    names = [f"{i}.jpg" for i in range(40)]
    counts = np.random.default_rng(0).integers(0, 3, (40, 3)).astype(np.float64)
    plans = {plan_split(names, val=0.25, seed=seed, strata=_strata(counts)).val for seed in range(10)}
    assert len(plans) > 5


def test_many_images() -> None:
    names = [f"{i}.jpg" for i in range(30_000)]
    counts = np.random.default_rng(0).poisson([2.0, 0.5, 0.02], (len(names), 3)).astype(np.float64)
    plan = plan_split(names, val=0.1, strata=_strata(counts))
    assert _unevenness(counts, plan.val, 0.1) < 1e-6


# An existing data set.


def _write(folder: Path, areas: list[list[float]], **entry: Any) -> Path:
    """Write a data set with an image per list of areas: one object each, with two points, visible and hidden."""
    images = [{"id": i, "file_name": f"{i:02}.jpg"} for i in range(len(areas))]
    objects = [(i, area) for i, of_image in enumerate(areas) for area in of_image]
    annotations = [
        {"id": row, "image_id": image, "category_id": 1, "area": area, "keypoints": [1, 1, 2, 1, 1, row % 2]} | entry
        for row, (image, area) in enumerate(objects)
    ]
    categories = [{"id": 1, "name": "car", "keypoints": ["a", "b"]}]
    folder.mkdir()
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "train_coco.json").write_text(json.dumps(document))
    return folder


def test_resplit_by_size(tmp_path: Path) -> None:
    areas = [[1023.0]] * 10 + [[1024.0, 9215.0]] * 10 + [[9216.0]] * 10 + [[]] * 10
    folder = _write(tmp_path / "d", areas)
    (folder / "conversion.json").write_text('{"posetools": "1"}')
    result = resplit(folder, val=0.2, seed=1, stratify="size")
    assert dict(result.strata) == {
        "small objects": (10, 2),
        "medium objects": (20, 4),
        "large objects": (10, 2),
        "images without objects": (10, 2),
    }
    record = json.loads((folder / "conversion.json").read_text())["split"]
    assert (record["stratify"], record["reason"]) == ("size", "by image, stratified by size")
    once = {path.name: path.read_bytes() for path in folder.iterdir()}
    resplit(folder, val=0.2, seed=1, stratify="size")
    assert resplit(folder, val=0.2, seed=1).strata == {}
    resplit(folder, val=0.2, seed=1, stratify="size")
    again = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert _sides(again) == _sides(once)


def _sides(files: dict[str, bytes]) -> list[set[str]]:
    return [{each["file_name"] for each in json.loads(files[f"{s}_coco.json"])["images"]} for s in ("train", "val")]


def test_resplit_by_visibility(tmp_path: Path) -> None:
    folder = _write(tmp_path / "d", [[2000.0]] * 40)
    document = json.loads((folder / "train_coco.json").read_text())
    for entry in document["annotations"][:10]:
        entry["keypoints"] = []
    (folder / "train_coco.json").write_text(json.dumps(document))
    strata = resplit(folder, val=0.2, stratify="visibility").strata
    assert dict(strata) == {
        "unlabeled points": (35, 7),
        "occluded points": (15, 3),
        "visible points": (30, 6),
    }


def test_what_cannot_be_stratified_is_named(tmp_path: Path) -> None:
    folder = _write(tmp_path / "area", [[1.0], [1.0]], area=None)
    with pytest.raises(InputError, match=r"annotation 0: area must be a number of square pixels .*got None"):
        resplit(folder, val=0.5, stratify="size")
    folder = _write(tmp_path / "seen", [[1.0], [1.0]], keypoints=[1, 1, 2, 1, 1, 3])
    with pytest.raises(InputError, match=r"annotation 0: visibility must be 0, 1 or 2 .*got \[2, 3\]"):
        resplit(folder, val=0.5, stratify="visibility")
    document = json.loads((folder / "train_coco.json").read_text())
    (folder / "train_coco.json").write_text(json.dumps(document | {"categories": []}))
    with pytest.raises(RequestError, match="--stratify visibility requires keypoints in the category"):
        resplit(folder, val=0.5, stratify="visibility")
    assert not (folder / "val_coco.json").exists()


def test_the_command_prints_the_shares(tmp_path: Path) -> None:
    folder = _write(tmp_path / "d", [[1000.0]] * 10 + [[5000.0, 5000.0]] * 10)
    done = run("split", folder, "--val", "0.3", "--stratify", "size")
    assert (done.status, done.err) == (0, "")
    assert "split: by image, stratified by size" in done.out
    assert "│ small objects │ 7 │ 3 │ 30.0 % │" in done.words
    assert "│ medium objects │ 14 │ 6 │ 30.0 % │" in done.words
    assert "│ images │ 14 │ 6 │ 30.0 % │" in done.words
    assert run("split", folder, "--stratify", "colour").status == 2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_rare_category_gets_its_share_of_val_and_everything_is_kept(tmp_path: Path, seed: int) -> None:
    images = {f"{i:02}.jpg": ["car", "cone"] if i % 4 == 0 else ["car"] for i in range(40)}
    folder = data_set(tmp_path / "road", images, {})
    before = COCO(str(folder / "train_coco.json"))
    done = run("split", folder, "--val", "0.2", "--seed", str(seed), "--stratify", "category")
    assert (done.status, done.err) == (0, "")
    assert "│ car objects │ 32 │ 8 │ 20.0 % │ │ cone objects │ 8 │ 2 │ 20.0 % │" in done.words
    after = [COCO(str(folder / f"{split}_coco.json")) for split in ("train", "val")]
    assert [sum(one["category_id"] == 4 for one in each.anns.values()) for each in after] == [8, 2]
    assert {**after[0].anns, **after[1].anns} == before.anns
    assert all(each.cats == before.cats for each in after)
    val = json.loads((folder / "conversion.json").read_text())["splits"]["val"]
    assert val["categories"] == {"car": 8, "cone": 2}
    counted = val["keypoints"]
    # A car has no tip, so no car counts as a cone without one.
    assert counted["tip"] == {"visible": 2, "hidden": 0, "not_labelled": 0}
    assert sum(counted["left-rear-tire"].values()) == 8


def test_an_object_of_no_category_cannot_be_stratified_by_category(tmp_path: Path) -> None:
    folder = _write(tmp_path / "d", [[1.0], [1.0]], category_id=7)
    with pytest.raises(InputError, match=r"annotation 0: category_id must be the id of an entry in categories .*got 7"):
        resplit(folder, val=0.5, stratify="category")
