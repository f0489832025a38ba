"""Which objects charts of a validation report link to: those with no other near them, for any distribution."""

from __future__ import annotations

import numpy as np
import pytest

from posetools.checks.structure import SoundObjects
from posetools.core.geometry import Floats, Ints
from posetools.core.skeleton_draft import draft_skeleton
from posetools.pages.validation.charts import (
    figures_of,
    place_outliers,
    shape_outliers,
    size_outliers,
    visible_outliers,
)

DOG = draft_skeleton("dog", ["nose", "left-ear", "right-ear", "tail"], "dog").skeleton


def objects(boxes: Floats, keypoints: Floats) -> SoundObjects:
    rows: Ints = np.arange(len(boxes))
    return SoundObjects(None, rows, rows, boxes, keypoints)  # type: ignore[arg-type]


def crowd(count: int, *, seed: int = 0, sides: tuple[float, ...] = (100.0,)) -> SoundObjects:
    """Return objects of some sizes, seen from the left or from the right."""
    rng = np.random.default_rng(seed)
    size = rng.choice(sides, count)[:, None] * np.exp(rng.normal(0, 0.1, (count, 2)))
    corner = rng.uniform(0, 500, (count, 2))
    share = np.array([[0.1, 0.4], [0.2, 0.1], [0.25, 0.1], [0.9, 0.5]]) + rng.normal(0, 0.01, (count, 4, 2))
    share[: count // 2, :, 0] = 1 - share[: count // 2, :, 0]
    points = corner[:, None] + share * size[:, None]
    return objects(np.concatenate([corner, corner + size], axis=1), np.dstack([points, np.full((count, 4), 2.0)]))


@pytest.mark.parametrize("count", [40, 400, 4000])
def test_crowds_have_no_outliers_however_many_they_are(count: int) -> None:
    two_sizes = {"train": crowd(count, sides=(30.0, 300.0)), "val": crowd(count // 4, seed=1)}
    if count > 40:
        assert size_outliers(two_sizes) == ()
    assert all(found == () for found in place_outliers(two_sizes, DOG.names).values())
    assert visible_outliers(two_sizes) == ()


def test_what_is_alone_is_found_by_split_and_row() -> None:
    train, val = crowd(200), crowd(50, seed=1)
    val.boxes[7, 2:] = val.boxes[7, :2] + 3
    train.boxes[3, 2] = train.boxes[3, 0] + 2000
    val.keypoints[9, :3, 2] = 1
    both = {"train": train, "val": val}
    smallest, *_ = size_outliers(both)
    assert (smallest.split, smallest.row, smallest.text) == ("val", 7, "box of 3 px")
    assert ("train", 3) in [(each.split, each.row) for each in shape_outliers(both)]
    assert [(each.split, each.row, each.text) for each in visible_outliers(both)] == [("val", 9, "1 visible keypoint")]


def test_a_keypoint_between_its_two_usual_places_is_found() -> None:
    only = crowd(200)
    only.keypoints[11, 3, :2] = only.boxes[11, :2] + 0.5 * (only.boxes[11, 2:] - only.boxes[11, :2])
    found = place_outliers({"train": only}, DOG.names)
    assert [(each.row, round(each.x, 3), round(each.y, 3)) for each in found["tail"]] == [(11, 0.5, 0.5)]
    assert not any(found[name] for name in DOG.names[:3])


def test_few_objects_and_nonsense_have_no_outliers() -> None:
    few = crowd(12)
    few.boxes[0, 2:] = few.boxes[0, :2] + 1
    assert size_outliers({"train": few}) == ()
    broken = crowd(100)
    broken.boxes[0, 2:] = broken.boxes[0, :2]
    broken.keypoints[1, 0, :2] = 1e300
    for found in (size_outliers, shape_outliers, visible_outliers):
        assert found({"train": broken}) == ()
    assert place_outliers({"train": broken}, DOG.names)["nose"] == ()
    assert figures_of({"train": objects(np.zeros((0, 4)), np.zeros((0, 4, 3)))}, DOG).histograms[0].outliers == ()


def test_a_histogram_has_each_outlier_in_its_bin() -> None:
    train = crowd(200)
    train.boxes[7, 2:] = train.boxes[7, :2] + 5
    size, shape, _ = figures_of({"train": train}, DOG).histograms
    (bins, outlier), *_ = size.outliers
    assert outlier.row == 7
    low, high = size.ranges[int(bins)].split(" to ")
    assert float(low) <= 5 <= float(high)
    assert size.counts["train"][int(bins)] == 1
    assert (size.x, shape.x) == ("square root of the area, in pixels", "width : height")
