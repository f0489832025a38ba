"""Names of published skeletons give their known left/right pairs, or it is said that they do not.

published_skeletons.json has names and pairs of 67 public data sets: those of all data set configs of MMPose, and those
of other projects, each with its source.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posetools.core.skeleton_draft import draft_skeleton
from posetools.core.skeleton_pairs import name_pairs, side_of
from posetools.errors import RequestError

PUBLISHED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "published_skeletons.json").read_text(encoding="utf-8")
)
# Its front doors are "front_door" on the left and "front_car_door" on the right.
REFUSED = {"apollocar66"}
# Body and hands have sides, the face's points have numbers.
PARTLY = {"coco_wholebody", "coco_wholebody_openpose", "h3wb", "halpe", "ubody2d", "ubody3d"}


def _true_pairs(published: dict[str, Any]) -> set[frozenset[str]]:
    names = published["keypoints"]
    return {frozenset((names[a], names[b])) for a, b in published["pairs"]}


def _has_sides(names: list[str]) -> bool:
    return any(map(side_of, names)) or bool(name_pairs(names).swaps)


def test_there_are_enough() -> None:
    assert len({published["name"] for published in PUBLISHED}) == len(PUBLISHED) >= 60
    assert sum(_has_sides(published["keypoints"]) for published in PUBLISHED) == 49


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda published: published["name"])
def test_no_wrong_pair(published: dict[str, Any]) -> None:
    names, true = published["keypoints"], _true_pairs(published)
    assert set(map(frozenset, name_pairs(names).pairs)) <= true
    if published["name"] in REFUSED:
        with pytest.raises(RequestError, match="may be a left/right pair"):
            draft_skeleton("x", names, "x")
        return
    draft = draft_skeleton("x", names, "x")
    found = set(map(frozenset, draft.skeleton.pairs))
    assert draft.skeleton.mirrors == (bool(true) and found == true)
    if not draft.skeleton.mirrors:
        assert draft.notes[0].startswith("training will not mirror images: ")
        assert ("no left/right pairs are known" in draft.notes[0]) == (not _has_sides(names))
    assert (0 < len(found) < len(true)) == (published["name"] in PARTLY)


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda published: published["name"])
def test_their_own_flip_idx_is_taken(published: dict[str, Any]) -> None:
    flips = list(range(len(published["keypoints"])))
    for a, b in published["pairs"]:
        flips[a], flips[b] = b, a
    if published["pairs"]:
        draft = draft_skeleton("x", published["keypoints"], "x", flip_idx=flips)
        assert list(draft.skeleton.flip_indices) == flips and draft.skeleton.mirrors
