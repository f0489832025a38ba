"""The split plan over names, and splitting an existing data set again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posetools.core.originals import original_name
from posetools.datasets.resplit import resplit
from posetools.datasets.split import plan_split
from posetools.errors import InputError, OutputError, RequestError

WORDS = st.text("abcxyz_-", min_size=1, max_size=4)
NAMES = st.builds(
    lambda folder, word, number, tail: f"{folder}/{word}{number}{tail}.jpg",
    st.sampled_from(["", "one", "two/three"]),
    WORDS,
    st.integers(0, 30),
    st.sampled_from(["", "_left"]),
)
SHARES = st.floats(0.001, 0.999)
WAYS = st.sampled_from([None, "image", "parent", "/(.)[^/]*$", "[0-9]"])


@given(names=st.lists(NAMES, min_size=2, max_size=40, unique=True), val=SHARES, seed=st.integers(), by=WAYS)
def test_plan_keeps_groups_together_and_the_ratio_within_one_group(
    names: list[str], val: float, seed: int, by: str | None
) -> None:
    try:
        plan = plan_split(names, val=val, seed=seed, by=by)
    except RequestError as exc:
        assert "needs at least 2 groups" in str(exc) or "does not match" in str(exc)
        return
    chosen = {names[index] for index in plan.val}
    assert 0 < len(chosen) < len(names)
    sizes = Counter(_group_of(name, plan.by) for name in names)
    assert plan.groups == len(sizes)
    assert abs(len(chosen) - val * len(names)) <= max(sizes.values())
    groups_chosen = {_group_of(name, plan.by) for name in chosen}
    assert all(name in chosen for name in names if _group_of(name, plan.by) in groups_chosen)
    # The order of the input does not matter, and the result is deterministic.
    backwards = plan_split(names[::-1], val=val, seed=seed, by=by)
    assert {names[::-1][index] for index in backwards.val} == chosen
    assert plan_split(names, val=val, seed=seed, by=by) == plan


def _group_of(name: str, by: str) -> str:
    """Return the group of a name, computed independently of the module."""
    path = PurePosixPath(name)
    if by == "image":
        return name
    if by == "parent":
        return str(path.parent)
    if by == "[0-9]":
        return next(letter for letter in name if letter.isdigit())
    if by.startswith("/(.)"):
        return path.name[0]
    stem = path.stem
    end = max(i for i, letter in enumerate(stem) if letter.isdigit()) + 1
    return f"{path.parent}/{stem[:end].rstrip('0123456789')}|{stem[end:]}"


@given(n=st.integers(2, 300), val=SHARES, seed=st.integers())
def test_by_image_the_ratio_is_honored_within_one_image(n: int, val: float, seed: int) -> None:
    plan = plan_split([f"IMG_{i:04}.jpg" for i in range(n)], val=val, seed=seed)
    assert plan.by == "image"
    assert abs(len(plan.val) - val * n) <= 1


def test_seeds_differ_and_the_global_generator_is_left_alone() -> None:
    names = [f"{i}.jpg" for i in range(40)]
    assert len({plan_split(names, val=0.25, seed=seed).val for seed in range(10)}) > 5
    assert names == [f"{i}.jpg" for i in range(40)]


def _frames(prefix: str, numbers: range, suffix: str = ".jpg") -> list[str]:
    return [f"{prefix}{number:05}{suffix}" for number in numbers]


@pytest.mark.parametrize(
    ("names", "by", "groups"),
    [
        pytest.param(_frames("a_", range(5)) + _frames("b_", range(7)), "clip", 2, id="two clips"),
        pytest.param(_frames("a/", range(5)) + _frames("b/", range(7)), "clip", 2, id="clips in folders"),
        pytest.param(_frames("a_", range(0, 50, 10)) + _frames("b_", range(7)), "clip", 2, id="every tenth frame"),
        pytest.param(_frames("a_", range(0, 65, 13)) + _frames("b_", range(5)), "image", 10, id="too sparse"),
        pytest.param(_frames("IMG_", range(300)), "image", 300, id="one camera's numbers"),
        pytest.param([*_frames("a_", range(8)), "x.jpg", "y.jpg"], "clip", 3, id="80 % in clips"),
        pytest.param([*_frames("a_", range(7)), "x.jpg", "y.jpg"], "image", 9, id="less than 80 %"),
        pytest.param(_frames("a_", range(2)) + _frames("b_", range(2)), "image", 4, id="clips of two"),
        pytest.param(
            [f"c{clip}_{number}_left.png" for clip in "ab" for number in range(3)],
            "clip",
            2,
            id="text after the number",
        ),
        pytest.param([f"{i * 7919:032}.jpg" for i in range(9)], "image", 9, id="long identifiers"),
        pytest.param(["sunset.jpg", "beach.jpg", "dog.jpg"], "image", 3, id="no numbers"),
    ],
)
def test_clips_are_told_by_dense_numbers(names: list[str], by: str, groups: int) -> None:
    plan = plan_split(names, val=0.3)
    assert (plan.by, plan.groups) == (by, groups)


def test_reason_says_what_was_done_and_how_to_do_otherwise() -> None:
    plan = plan_split(_frames("a_", range(5)) + _frames("b_", range(45)), val=0.1)
    assert plan.val == frozenset(range(5))
    assert plan.reason == (
        "by clip, because the names look like frames of clips (--split-by image ignores it); "
        "1 of 2 groups, 5 of 50 images are for validation"
    )
    assert plan_split(["a", "b"]).reason == "by image"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        pytest.param({"val": -0.1}, ["--val must be greater than 0 and less than 1, or 0 for none"], id="val -0.1"),
        pytest.param({"val": 1}, ["--val must be greater than 0 and less than 1, or 0 for none, got 1"], id="val 1"),
        pytest.param({"val": float("nan")}, ["got nan"], id="val nan"),
        pytest.param(
            {"by": "parent"},
            ["needs at least 2 groups, but all 3 images are of one folder", "--split-by image"],
            id="one folder",
        ),
        pytest.param({"by": "jpg"}, ["but all 3 images are of one group by 'jpg'"], id="one group"),
        pytest.param(
            {"by": "a|(b)"},
            ["--split-by must match every file name", "'a|(b)' does not match 2 of 3: a.jpg, c.jpg"],
            id="no match, and a group that took no part",
        ),
        pytest.param({"by": "("}, ["--split-by must be image, parent, or a regular expression", "got '('"], id="("),
    ],
)
def test_refusals(arguments: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        plan_split(["c.jpg", "a.jpg", "b.jpg"], **arguments)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("names", [[], ["a.jpg"]])
def test_one_image_cannot_be_split(names: list[str]) -> None:
    with pytest.raises(RequestError, match=f"needs at least 2 images.*got {len(names)}"):
        plan_split(names)


def test_groups_by_a_part_of_the_name() -> None:
    names = ["x/a1.jpg", "x/b1.jpg", "y/a2.jpg", "y/b2.jpg", "y/b3.jpg"]
    plan = plan_split(names, val=0.4, by="/(.)")
    assert (plan.by, plan.groups, plan.val) == ("/(.)", 2, frozenset({0, 2}))
    assert plan.reason == (
        "by the part of the name that '/(.)' matches, as requested; 1 of 2 groups, 2 of 5 images are for validation"
    )
    assert plan_split(names, val=0.4, by="[0-9]").groups == 3
    # A group may match the empty string.
    assert plan_split(["a.jpg", "b1.jpg", "c1.jpg"], val=0.4, by="([0-9]*)[.]").groups == 2


def test_by_image_and_by_folder_when_asked() -> None:
    clips = _frames("a/", range(5)) + _frames("b/", range(10))
    plan = plan_split(clips, val=0.3, by="image")
    assert (plan.by, plan.groups, plan.reason) == ("image", 15, "by image, as requested")
    plan = plan_split(clips, val=0.3, by="parent")
    assert (plan.groups, plan.val) == (2, frozenset(range(5)))


@pytest.mark.parametrize(("last", "by"), [(149, "clip"), (150, "image")])
def test_the_frames_of_a_clip_are_ten_numbers_apart_at_most(last: int, by: str) -> None:
    frames = [f"a_{number}.jpg" for number in (100, 110, 120, 130, last)]
    assert plan_split([*frames, *_frames("b_", range(5))], val=0.3).by == by


@pytest.mark.parametrize(("digits", "by"), [(18, "clip"), (19, "image")])
def test_long_runs_of_digits_are_no_numbers(digits: int, by: str) -> None:
    names = [f"{clip}_{number:0{digits}}.jpg" for clip in "ab" for number in range(4)]
    assert plan_split(names, val=0.3).by == by


def test_a_name_may_hold_a_line_feed() -> None:
    assert plan_split(_frames("a\nb_", range(4)) + _frames("c_", range(4)), val=0.3).by == "clip"


@pytest.mark.parametrize(
    ("sizes", "val", "chosen"),
    [
        # Half of three: one image is as near as two, and one is enough.
        ({"a": 1, "b": 1, "c": 1}, 0.5, 1),
        # Nothing brings the fraction nearer: the smallest group is for validation anyway.
        ({"a": 9, "b": 2, "c": 9}, 0.01, 2),
        # Everything does: the smallest group stays for training.
        ({"a": 9, "b": 2, "c": 9}, 0.99, 18),
    ],
)
def test_how_many_are_chosen(sizes: dict[str, int], val: float, chosen: int) -> None:
    names = [f"{group}/{i}.jpg" for group, size in sizes.items() for i in range(size)]
    for seed in range(4):
        assert len(plan_split(names, val=val, seed=seed, by="parent").val) == chosen


@pytest.mark.parametrize(("unmatched", "listed"), [(5, "0, 1, 2, 3, 4"), (6, "0, 1, 2, 3, 4, ...")])
def test_names_that_do_not_match_are_listed(unmatched: int, listed: str) -> None:
    with pytest.raises(RequestError) as caught:
        plan_split(["x", *map(str, range(unmatched))], by="x")
    assert str(caught.value) == (
        f"--split-by must match every file name, but 'x' does not match {unmatched} of {unmatched + 1}: {listed}\n"
        "  the expression is searched in the name below images/, folders included"
    )


ADVICE = "  fix: split by image with --split-by image, or group by a part of the file name with --split-by REGEX"


@pytest.mark.parametrize(("by", "what"), [(None, "name"), ("image", "name"), ("parent", "folder"), ("", "group by ''")])
def test_one_group_cannot_be_split(by: str | None, what: str) -> None:
    with pytest.raises(RequestError) as caught:
        plan_split(["a.jpg", "a.jpg"], by=by)
    assert str(caught.value) == f"a split needs at least 2 groups, but all 2 images are of one {what}\n{ADVICE}"


def test_a_share_that_is_none_is_told_with_what_it_is() -> None:
    with pytest.raises(RequestError) as caught:
        plan_split(["a.jpg", "b.jpg"], val=2)
    assert str(caught.value) == (
        "--val must be greater than 0 and less than 1, or 0 for none, got 2\n"
        "  fix: pass the fraction of images for validation, such as 0.1"
    )


def _copy(name: str, number: int) -> str:
    stem, _, ending = name.rpartition(".")
    return f"{stem}_{ending}.rf.{hashlib.md5(f'{name}{number}'.encode(), usedforsecurity=False).hexdigest()}.{ending}"


def test_roboflow_names_hide_no_clips() -> None:
    """NAME_FRAME_EXTENSION.rf.HASH.EXTENSION: the last run of digits is the hash's."""
    names = [_copy(f"out{clip}_frame_{frame:04}.png", 0) for clip in range(4) for frame in range(12)]
    plan = plan_split(names, val=0.25)
    assert (plan.by, plan.groups) == ("clip", 4)
    assert len({names[index].partition("_")[0] for index in plan.val}) == 1


@settings(max_examples=300, deadline=None)
@given(
    originals=st.lists(st.from_regex(r"([ab]/)?[A-Za-z]{1,4}[0-9]{0,3}[.](jpg|png|jpeg)", fullmatch=True), min_size=3,
                       unique=True),
    copies=st.integers(1, 4),
    by=st.sampled_from([None, "image", "(.)", r"rf\.(.)"]),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_copies_of_one_original_are_on_one_side(originals: list[str], copies: int, by: str | None, seed: int) -> None:
    names = [_copy(name, number) for name in originals for number in range(copies)]
    try:
        plan = plan_split(names, val=0.3, seed=seed, by=by)
    except RequestError:
        return  # All in one group.
    for first in range(0, len(names), copies):
        assert len({index in plan.val for index in range(first, first + copies)}) == 1
    assert 0 < len(plan.val) < len(names)


def test_a_name_that_only_looks_like_a_copy_is_itself() -> None:
    for name in ("a.rf.jpg", "x_jpg.rf.12.jpg", "b_jpg.rf.96a3be3cf272e017046d1b2674a52bd3", "c.jpg"):
        assert original_name(name) == name
    assert original_name("f/IMG_1_JPG.rf.96a3be3cf272e017046d1b2674a52bd3.jpg") == "f/IMG_1.JPG"


# Splitting an existing data set again.

CATEGORIES = [{"id": 1, "name": "car", "keypoints": ["a", "b"], "skeleton": [[1, 2]], "mine": "kept"}]


def _coco(names: list[str], *, first: int = 1, per_image: int = 2, **more: Any) -> dict[str, Any]:
    images = [{"id": first + i, "file_name": name, "width": 9, "height": 9, "x": [i]} for i, name in enumerate(names)]
    annotations = [
        {
            "id": first * 100 + i,
            "image_id": images[i // per_image]["id"],
            "category_id": 1,
            "keypoints": [1.25, 2, 2, 0, 0, i % 2],
            "track": f"{names[i // per_image]}-{i}",
        }
        for i in range(per_image * len(names))
    ]
    return {"info": {"by": "hand"}, "images": images, "annotations": annotations, "categories": CATEGORIES, **more}


def _write(folder: Path, **splits: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for split, document in splits.items():
        (folder / f"{split}_coco.json").write_text(json.dumps(document))
    return folder


def _read(folder: Path, split: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / f"{split}_coco.json").read_text())
    return document


def _content(folder: Path) -> Counter[str]:
    """Return every object with the name of its image, ids left out."""
    found: Counter[str] = Counter()
    for split in ("train", "val"):
        document = _read(folder, split)
        names = {image["id"]: image for image in document["images"]}
        for entry in document["annotations"]:
            rest = {key: value for key, value in entry.items() if key not in ("id", "image_id")}
            found[json.dumps([names[entry["image_id"]]["file_name"], rest], sort_keys=True)] += 1
        found.update(json.dumps([image["file_name"], image["x"]]) for image in document["images"])
    return found


def test_resplit_keeps_everything_but_the_side(tmp_path: Path) -> None:
    train = _coco([f"{i}.jpg" for i in (9, 3, 5, 1)], extra={"own": 1})
    folder = _write(tmp_path / "d", train=train, val=_coco(["7.jpg", "2.jpg"], first=50), test=_coco(["8.jpg"]))
    before, test_before = _content(folder), (folder / "test_coco.json").read_bytes()
    result = resplit(folder, val=0.5, seed=3)
    assert _content(folder) == before
    assert (folder / "test_coco.json").read_bytes() == test_before
    assert (result.renumbered, result.untouched, result.plan.by) == ((), ("test",), "image")
    new_train, new_val = _read(folder, "train"), _read(folder, "val")
    assert (len(new_train["images"]), len(new_val["images"])) == (3, 3)
    assert new_train["extra"] == {"own": 1}
    assert new_train["categories"] == new_val["categories"] == CATEGORIES
    kept = {image["file_name"]: image["id"] for image in new_train["images"] + new_val["images"]}
    assert kept == {"9.jpg": 1, "3.jpg": 2, "5.jpg": 3, "1.jpg": 4, "7.jpg": 50, "2.jpg": 51}
    order = ["9.jpg", "3.jpg", "5.jpg", "1.jpg", "7.jpg", "2.jpg"]
    for document in (new_train, new_val):
        names = [image["file_name"] for image in document["images"]]
        assert names == sorted(names, key=order.index)
    assert result.counts["train"].instances == 6
    assert result.counts["train"].keypoints["a"] == (0, 0, 6)
    assert result.counts["train"].keypoints["b"] == (3, 3, 0)


def test_resplit_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = _write(tmp_path / "d", train=_coco(["a", "b", "c"]), val=_coco(["d"], first=9))
    resplit(folder, val=0.4)
    once = [(folder / f"{split}_coco.json").read_bytes() for split in ("train", "val")]
    resplit(folder, val=0.4)
    assert [(folder / f"{split}_coco.json").read_bytes() for split in ("train", "val")] == once


def test_resplit_gives_clashing_ids_anew_and_says_so(tmp_path: Path) -> None:
    folder = _write(tmp_path / "d", train=_coco(["a", "b"]), val=_coco(["c", "d"]))
    before = _content(folder)
    assert resplit(folder, val=0.5).renumbered == ("images", "annotations")
    assert _content(folder) == before
    entries = [entry for split in ("train", "val") for entry in _read(folder, split)["annotations"]]
    assert sorted(entry["id"] for entry in entries) == list(range(1, 9))


def test_resplit_makes_the_missing_side(tmp_path: Path) -> None:
    folder = _write(tmp_path / "d", train=_coco(["a", "b", "c"], per_image=1))
    result = resplit(folder)
    assert {split: counts.images for split, counts in result.counts.items()} == {"train": 2, "val": 1}
    assert _read(folder, "val")["info"] == {"by": "hand"}


def test_resplit_updates_conversion_json(tmp_path: Path) -> None:
    folder = _write(tmp_path / "d", train=_coco(["x/1", "x/2", "y/3"]), val=_coco(["y/4"], first=9))
    record = {"posetools": "1", "splits": {"test": {"pictures": 3}}, "split": {"by": "image"}, "skeleton": {"n": 1}}
    (folder / "conversion.json").write_text(json.dumps(record))
    resplit(folder, val=0.5, seed=4, by="parent")
    updated = json.loads((folder / "conversion.json").read_text())
    assert updated["skeleton"] == {"n": 1}
    assert updated["split"] == {
        "by": "parent",
        "val": 0.5,
        "seed": 4,
        "groups": 2,
        "reason": "by parent folder, as requested; 1 of 2 groups, 2 of 4 images are for validation",
    }
    assert updated["splits"]["test"] == {"pictures": 3}
    assert updated["splits"]["val"]["keypoints"]["a"] == {"visible": 4, "hidden": 0, "not_labelled": 0}


@pytest.mark.parametrize("failing", ["train_coco.json", "val_coco.json", "conversion.json"])
def test_resplit_that_fails_midway_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    folder = _write(tmp_path / "d", train=_coco(["a", "b", "c"]), val=_coco(["d"], first=9))
    (folder / "conversion.json").write_text("{}")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    real = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if target.name == failing and self.suffix == ".tmp":
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match=rf"{failing}: cannot be written: No space left on device"):
        resplit(folder, val=0.5, seed=1)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def _without_categories(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "categories": []}


def _with_image(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    first, *rest = document["images"]
    return {**document, "images": [{**first, **changes}, *rest]}


def _with_annotation(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    first, *rest = document["annotations"]
    return {**document, "annotations": [{**first, **changes}, *rest]}


VAL = _coco(["d", "e"], first=9)


@pytest.mark.parametrize(
    ("broken", "parts"),
    [
        ([], ["val_coco.json: a COCO file must be an object, got []"]),
        ({**VAL, "images": {}}, ["val_coco.json: images must be a list of objects, got {}"]),
        (_with_image(VAL, file_name=None), ["images[0]: file_name must be a text, got None"]),
        (_with_image(VAL, id=None), ["images[0]: id must be a whole number, got None"]),
        (_with_image(VAL, id=10), ["images[1]: id must be unique in this file, got 10"]),
        (
            _with_annotation(VAL, image_id=77),
            ["annotations[0] (id 900): image_id must be the id of an image in this file, got 77"],
        ),
        (
            _with_annotation(VAL, keypoints=[1, 2, 2]),
            ["annotations[0] (id 900): keypoints must be 6 numbers, as the category says, got 3"],
        ),
        (_with_annotation(VAL, keypoints=["x"] * 6), ["keypoints must be a list of numbers, got ['x'"]),
        (_with_annotation(VAL, score=float("nan")), ["numbers must be finite, got NaN or infinity"]),
        (
            _without_categories(VAL),
            ["val_coco.json: categories must be those of train_coco.json, got []"],
        ),
    ],
)
def test_resplit_refuses_what_it_cannot_keep(tmp_path: Path, broken: Any, parts: list[str]) -> None:
    folder = _write(tmp_path / "d", train=_coco(["a", "b", "c"]), val=broken)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError) as caught:
        resplit(folder)
    for part in (*parts, "`posetools validate`"):
        assert part in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_resplit_needs_train_or_val(tmp_path: Path) -> None:
    folder = _write(tmp_path / "d", test=VAL)
    with pytest.raises(RequestError, match=r"must have a train_coco\.json or a val_coco\.json, got test"):
        resplit(folder)
    shutil.rmtree(folder)
    with pytest.raises(RequestError, match="does not exist"):
        resplit(folder)
