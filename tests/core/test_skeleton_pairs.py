"""Which keypoints are left and right of one another, by names as people write them."""

from __future__ import annotations

import pytest

from posetools.core.skeleton_draft import draft_skeleton
from posetools.core.skeleton_pairs import is_left, swaps, without_partner

PAIRS = [
    ("LHip", "RHip"),
    ("hipLeft", "hipRight"),
    ("lefthip", "righthip"),
    ("l_hip", "r_hip"),
    ("hip_l", "hip_r"),
    ("Left Hip", "Right Hip"),
    ("left.hip", "right.hip"),
    ("L.Hip", "R.Hip"),
    ("hip-L", "hip-R"),
    ("hipL", "hipR"),
    ("lHip", "rHip"),
    ("lhip", "rhip"),
    ("LHIP", "RHIP"),
    ("kneeL2", "kneeR2"),
    ("L1", "R1"),
    ("left_front_paw", "right_front_paw"),
    ("frontLeftPaw", "frontRightPaw"),
    ("frontleftpaw", "frontrightpaw"),
    ("FL_paw", "FR_paw"),
    ("Left ear", "right Ear"),
    ("eyel", "eyer"),
]
# Names of an animal, none of which has anything to do with a side.
PLAIN = ["nose", "leftover", "light", "lip", "rear", "ear", "tail", "rump", "lower-lip", "bright", "heel"]


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_a_pair(left: str, right: str) -> None:
    assert swaps([*PLAIN, left, right]) == {left: right, right: left}
    assert swaps([right, *PLAIN, left]) == {left: right, right: left}
    assert is_left(left, right) is True and is_left(right, left) is False
    draft = draft_skeleton("dog", ["nose", left, right], "dog").skeleton
    assert draft.flip_indices == (0, 2, 1)
    # Left is deep, right is light.
    assert sum(draft.keypoints[1].color) < sum(draft.keypoints[2].color)


@pytest.mark.parametrize(
    "names",
    [
        PLAIN,
        ["lip", "rip"],
        ["light", "right"],
        ["left", "light"],
        ["front", "rear", "lear-wheel"],
        ["left-ear", "ear"],
        ["l", "left"],
        ["upper", "lower"],
        [],
    ],
)
def test_no_pair(names: list[str]) -> None:
    assert swaps(names) == {}


def test_all_of_them_at_once_and_each_with_its_own() -> None:
    names = [
        name for pair in PAIRS for name in pair if pair not in (("lHip", "rHip"), ("LHIP", "RHIP"), ("lhip", "rhip"))
    ]
    assert {frozenset(pair) for pair in swaps(names).items()} == {
        frozenset(pair) for pair in PAIRS if pair not in (("lHip", "rHip"), ("LHIP", "RHIP"), ("lhip", "rhip"))
    }


def test_four_corners() -> None:
    corners = swaps(["FL", "FR", "RL", "RR"])
    assert corners == {"FL": "FR", "FR": "FL", "RL": "RR", "RR": "RL"}
    corners = swaps(["LF", "RF", "LR", "RR"])
    assert corners == {"LF": "RF", "RF": "LF", "LR": "RR", "RR": "LR"}


def test_who_has_no_partner() -> None:
    assert without_partner([*PLAIN, "left-ear", "LEye", "REye", "hipRight"]) == ("left-ear", "hipRight")
    assert is_left("head", "tail") is None
