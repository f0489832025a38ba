"""Two labelings matched, and their differences."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.geometry import Floats, pairwise_iou
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.datasets.diff import DiffResult, diff
from posetools.datasets.matching import match_boxes
from posetools.errors import InputError, RequestError
from posetools.formats.coco.format import write_split
from tests.build import make_dataset
from tests.converting import contents, write_source

CAR8 = load_skeleton("car8")
SIZE = (400, 300)
# Eight points of a car from the side, as shares of its box; each pair of them is clearly apart.
LAYOUT = np.array([[0.1, 0.2], [0.9, 0.2], [0.2, 0.9], [0.8, 0.9], [0.1, 0.5], [0.9, 0.5], [0.4, 0.7], [0.6, 0.3]])


def _cars(n: int = 6) -> Dataset:
    """Return n cars, two to an image, all points visible."""
    builder = DatasetBuilder(CAR8)
    for i in range((n + 1) // 2):
        builder.add_image(Image(f"{i}.jpg", *SIZE))
    for row in range(n):
        box = np.array([10.0, 20.0, 110.0, 95.0]) + (200.0 if row % 2 else 0.0) * np.array([1, 0, 1, 0])
        points = box[:2] + LAYOUT * (box[2:] - box[:2])
        keypoints = np.concatenate([points, np.full((8, 1), 2.0)], axis=1)
        builder.add_instance(f"{row // 2}.jpg", box=box, keypoints=keypoints, origin=Origin(f"object {row}"))
    return builder.build()


def _compare(tmp_path: Path, a: Dataset, b: Dataset, **more: Any) -> DiffResult:
    for name, dataset in (("a", a), ("b", b)):
        (tmp_path / name).mkdir(exist_ok=True)
        write_split(dataset, tmp_path / name / "labels.json")
    return diff(tmp_path / "a/labels.json", tmp_path / "b/labels.json", skeleton="car8", **more)


def _changed(dataset: Dataset, change: Callable[[Floats], None]) -> Dataset:
    keypoints = dataset.keypoints.copy()
    change(keypoints)
    return replace(dataset, keypoints=keypoints)


def test_the_same_labels_do_not_differ(tmp_path: Path) -> None:
    result = _compare(tmp_path, _cars(), _cars())
    assert not result.differs
    assert (result.images, result.objects, result.boxes.number) == (3, 6, 0)
    assert result.overall.labeled == (48, 48)
    assert result.overall.corrected_share == 0.0
    assert result.overall.visibility == ((0, 0, 0), (0, 0, 0), (0, 0, 48))
    assert result.overall.moved.mean is None


def test_moves_are_measured_in_pixels_and_by_the_box(tmp_path: Path) -> None:
    def move(points: Floats) -> None:
        points[0, 0, :2] += (3, 4)
        points[1, 0, :2] += (0, 10)
        points[2, 0, :2] += (0, 0.4)

    result = _compare(tmp_path, _cars(), _changed(_cars(), move))
    moved = result.points["left-front-bumper"].moved
    assert (moved.number, moved.mean, moved.median, moved.largest) == (2, 7.5, 7.5, 10.0)
    assert moved.share == pytest.approx(7.5 / 125)
    assert result.points["left-front-bumper"].corrected_share == pytest.approx(2 / 6)
    assert result.overall.moved.number == 2
    assert result.points["left-rear-tire"].moved.number == 0
    assert [(each["keypoint"], each["change"], each["pixels"]) for each in result.changes] == [
        ("left-front-bumper", "moved", 5.0),
        ("left-front-bumper", "moved", 10.0),
    ]
    assert _compare(tmp_path, _cars(), _changed(_cars(), move), threshold=0.3).overall.moved.number == 3
    assert _compare(tmp_path, _cars(), _changed(_cars(), move), threshold=6).overall.moved.number == 1


def test_added_removed_and_visibility(tmp_path: Path) -> None:
    def without(points: Floats) -> None:
        points[0, 2] = 0

    def other(points: Floats) -> None:
        points[1, 3] = 0
        points[2:5, 4, 2] = 1

    result = _compare(tmp_path, _changed(_cars(), without), _changed(_cars(), other))
    added, removed, seen = (result.points[CAR8.names[k]] for k in (2, 3, 4))
    assert (added.added, added.removed, added.labeled) == (1, 0, (5, 6))
    assert (removed.added, removed.removed, removed.labeled) == (0, 1, (6, 5))
    assert added.visibility == ((0, 0, 1), (0, 0, 0), (0, 0, 5))
    assert seen.visibility == ((0, 0, 0), (0, 0, 0), (0, 3, 3))
    assert (seen.visibility_changed, seen.corrected_share) == (3, 0.0)
    assert {"change": "visibility", "from": "visible", "to": "hidden"}.items() <= result.changes[-1].items()
    assert result.differs


def test_exchanged_and_renamed_points_are_relabeled_not_moved(tmp_path: Path) -> None:
    def swap(points: Floats) -> None:
        points[0, 6, 2] = 1
        points[0, [2, 6]] = points[0, [6, 2]]
        # A mirrored car: all four pairs, each a little corrected.
        points[1] = points[1, list(CAR8.flip_indices)]
        points[1, :, :2] += 1.0
        # One point under another name, which it did not have before.
        points[2, 5] = points[2, 0]
        points[2, 0] = 0

    def before(points: Floats) -> None:
        points[2, 5] = 0

    result = _compare(tmp_path, _changed(_cars(), before), _changed(_cars(), swap))
    tire = result.points["left-front-tire"]
    assert dict(tire.relabelled) == {"right-front-tire": 2}
    assert sum(sum(each.relabelled.values()) for each in result.points.values()) == 2 + 8 + 1
    assert (result.overall.added, result.overall.removed, result.overall.moved.number) == (0, 0, 0)
    # The hidden point kept its visibility at its place, and so did its name's new place.
    assert result.overall.visibility == ((0, 0, 0), (0, 0, 0), (0, 0, 6 * 8 - 2 - 8 - 2))
    renamed = [each for each in result.changes if each["a"].endswith("(id 3)")]
    assert [(each["keypoint"], each["change"], each["to"]) for each in renamed] == [
        (CAR8.names[0], "relabelled", CAR8.names[5])
    ]
    # Every labeled point is counted once.
    for name, each in result.points.items():
        given = sum(other.relabelled.get(name, 0) for other in result.points.values())
        assert each.labeled[0] - each.removed - sum(each.relabelled.values()) == each.labeled[1] - each.added - given


def test_objects_and_images_added_and_removed(tmp_path: Path) -> None:
    a, b = _cars(6), _cars(8)
    result = _compare(tmp_path, a.select_images([0, 1]), b.select_images([0, 1, 3]))
    assert (result.images_added, result.images_removed) == (("3.jpg",), ())
    assert result.objects_added == ()
    moved = a.boxes.copy()
    moved[0] += 60
    moved[1] += 3
    result = _compare(tmp_path, a, replace(a, boxes=moved))
    assert [file for file, _ in result.objects_added] == ["0.jpg"]
    assert [place.rpartition(": ")[2] for _, place in result.objects_removed] == ["annotations[0] (id 1)"]
    assert (result.objects, result.boxes.number) == (5, 1)
    assert result.boxes.largest == pytest.approx(np.hypot(3, 3))
    assert _compare(tmp_path, a, replace(a, boxes=moved), iou=0.04).objects == 6


def test_images_of_other_names_are_matched_by_content(tmp_path: Path) -> None:
    whole = make_dataset(tmp_path / "p", images=["1.jpg", "2.jpg", "3.jpg"])
    a = write_source(tmp_path / "a", "coco", {"train": whole.select_images([0, 1]), "val": whole.select_images([2])})
    images = [replace(each, file_name=f"new/{each.file_name}") for each in whole.images]
    shutil.copyfile(tmp_path / "p/1.jpg", tmp_path / "p/2.jpg")
    b = write_source(tmp_path / "b", "labelme", {"all": whole.with_images(images)})
    result = diff(a, b)
    # In B two images have the content of 1.jpg: the match is ambiguous.
    assert (result.images, result.objects) == (1, 2)
    assert result.images_removed == ("1.jpg", "2.jpg")
    assert result.images_added == ("new/1.jpg", "new/2.jpg")
    assert result.changes == ()


def test_a_data_set_against_its_source_and_another_split(tmp_path: Path) -> None:
    whole = make_dataset(tmp_path / "p", images=["1.jpg", "2.jpg", "3.jpg"])
    source = write_source(tmp_path / "labelme", "labelme", {"all": whole})
    sets = [
        write_source(tmp_path / f"set{val}", "coco", {"train": whole.select_images({0, 1, 2} - {val}), "val": part})
        for val in (1, 2)
        for part in [whole.select_images([val])]
    ]
    before = contents(source)
    assert not diff(source, sets[0]).differs
    assert contents(source) == before
    result = diff(*sets)
    assert result.split_changed == (("2.jpg", "val", "train"), ("3.jpg", "train", "val"))
    assert result.differs
    json.dumps(result.as_dict(), allow_nan=False)


def test_crowds_are_matched_with_crowds(tmp_path: Path) -> None:
    a = _cars(2)
    b = replace(a, iscrowd=np.array([True, False]))
    assert _compare(tmp_path, a, b).objects == 1
    assert _compare(tmp_path, b, b).objects == 2


def test_matching_takes_the_best_pairs_first() -> None:
    rng = np.random.default_rng(3)
    best = 0
    for _ in range(200):
        corners = rng.uniform(0, 20, (2, 3, 2))
        a, b = (np.concatenate([each, each + rng.uniform(10, 40, (3, 2))], axis=1) for each in corners)
        iou = pairwise_iou(a, b)
        pairs = match_boxes(a, b, 0.3, np.ones((3, 3), dtype=np.bool_))
        assert all(iou[i, j] >= 0.3 for i, j in pairs)
        assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
        # The rest cannot be matched, and the best pair of all is always taken.
        free = [(i, j) for i in range(3) for j in range(3) if i not in dict(pairs) and j not in dict(pairs).values()]
        assert all(iou[i, j] < 0.3 for i, j in free)
        if iou.max() >= 0.3:
            assert divmod(int(iou.argmax()), 3) in pairs
        top = max(sum(iou[i, j] for i, j in enumerate(order) if iou[i, j] >= 0.3) for order in permutations(range(3)))
        best += sum(iou[i, j] for i, j in pairs) > top - 1e-9
    # An exact assignment is rarely another one, even among boxes that overlap as much as these.
    assert best > 170


def test_nothing_in_common_broken_or_missing(tmp_path: Path) -> None:
    a = _cars(2)
    renamed = replace(a, images=(Image("other.jpg", *SIZE),))
    with pytest.raises(RequestError, match="must have images in common, got none among 1 and 1"):
        _compare(tmp_path, a, renamed)
    with pytest.raises(RequestError, match="--match-iou must be greater than 0 and at most 1, got 0"):
        _compare(tmp_path, a, a, iou=0)
    with pytest.raises(RequestError, match="--threshold must be 0 or more pixels, got nan"):
        _compare(tmp_path, a, a, threshold=float("nan"))
    with pytest.raises(RequestError, match=r"no\.json: must be a data set folder or a labeled source"):
        diff(tmp_path / "a/labels.json", tmp_path / "no.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="auto-detected, but none fits"):
        diff(tmp_path / "a/labels.json", tmp_path / "empty")
    with pytest.raises(InputError) as caught:
        diff(tmp_path / "a/labels.json", tmp_path / "b/labels.json", skeleton="coco17")
    assert f"{tmp_path}/a/labels.json" in str(caught.value)
    assert "posetools convert" in str(caught.value)


def test_two_data_sets_of_other_keypoints_are_refused(tmp_path: Path) -> None:
    a = write_source(tmp_path / "a", "coco", {"train": make_dataset(tmp_path / "p")})
    people = make_dataset(tmp_path / "q", skeleton=load_skeleton("coco17"))
    b = write_source(tmp_path / "b", "coco", {"train": people})
    with pytest.raises(
        RequestError, match=rf"{b}: keypoints must be those of {a}, but these are in one only: left-front-bumper"
    ):
        diff(a, b)
