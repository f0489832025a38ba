"""Which keypoints are left and right of one another, by names as people write them."""

from __future__ import annotations

import pytest
import yaml

from posetools.core.skeleton import parse_skeleton
from posetools.core.skeleton_defaults import DEFAULT_SIGMA
from posetools.core.skeleton_draft import draft_skeleton, skeleton_name
from posetools.core.skeleton_pairs import is_left, name_pairs, swaps
from posetools.errors import RequestError

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
    ("forelegL1", "forelegR1"),
    ("EarLeft", "EarRight"),
    ("ear-l", "ear-r"),
    ("hip (left)", "hip (right)"),
    ("Lt_elbow", "Rt_elbow"),
    ("left front leg: paw", "right front leg: paw"),
    ("left_eye_left_corner", "right_eye_right_corner"),
    ("FLPaw", "FRPaw"),
    ("lf_hoof", "rf_hoof"),
    # Two ways of writing in one pair.
    ("left_ankle", "AnkleR"),
    ("leftwing", "right_wing"),
    ("left_front_fin", "front_right_fin"),
]
# Names that another pair has too.
SAME = (("lHip", "rHip"), ("LHIP", "RHIP"), ("lhip", "rhip"), ("FLPaw", "FRPaw"))
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
        ["left_eye_left", "left_eye_right"],
        ["upper", "lower"],
        [],
    ],
)
def test_no_pair(names: list[str]) -> None:
    assert swaps(names) == {}


def test_all_of_them_at_once_and_each_with_its_own() -> None:
    names = [name for pair in PAIRS for name in pair if pair not in SAME]
    assert {frozenset(pair) for pair in swaps(names).items()} == {frozenset(pair) for pair in PAIRS if pair not in SAME}


def test_four_corners() -> None:
    corners = swaps(["FL", "FR", "RL", "RR"])
    assert corners == {"FL": "FR", "FR": "FL", "RL": "RR", "RR": "RL"}
    corners = swaps(["LF", "RF", "LR", "RR"])
    assert corners == {"LF": "RF", "RF": "LF", "LR": "RR", "RR": "LR"}


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["fl_wheel", "fr_wheel", "rl_wheel", "rr_wheel"], {("fl_wheel", "fr_wheel"), ("rl_wheel", "rr_wheel")}),
        (["F_L", "F_R", "R_L", "R_R"], {("F_L", "F_R"), ("R_L", "R_R")}),
        (["F_left", "F_right", "R_left", "R_right"], {("F_left", "F_right"), ("R_left", "R_right")}),
        (["ul", "ur", "ll", "lr"], {("ul", "ur"), ("ll", "lr")}),
    ],
)
def test_r_is_the_rear_too(names: list[str], pairs: set[tuple[str, str]]) -> None:
    assert set(name_pairs(names).pairs) == pairs


def test_who_has_no_partner() -> None:
    found = name_pairs([*PLAIN, "left-ear", "LEye", "REye", "left-scar"])
    assert found.alone == ("left-ear", "left-scar")
    assert found.unsure == () and not found.complete
    assert is_left("head", "tail") is None


@pytest.mark.parametrize(
    ("names", "pair"),
    [
        (["left_shoulder", "right_sholder"], ("left_shoulder", "right_sholder")),
        (["lef_ear", "right_ear"], ("right_ear", "lef_ear")),
        (["left-front-paw", "right-fore-paw"], ("left-front-paw", "right-fore-paw")),
    ],
)
def test_what_may_be_a_pair(names: list[str], pair: tuple[str, str]) -> None:
    found = name_pairs([*PLAIN, "LEye", "REye", *names])
    assert found.unsure == (pair,)
    assert found.pairs == (("LEye", "REye"),)
    with pytest.raises(RequestError) as caught:
        draft_skeleton("dog", [*PLAIN, *names], "dog")
    one, other = pair
    assert f"{one!r} and {other!r} may be a left/right pair" in caught.value.sentence
    # The lines, as a skeleton file takes them.
    lines = [line for line in caught.value.hints if line.startswith("- ")]
    assert yaml.safe_load("\n".join(lines)) == [{"name": one, "swap": other}, {"name": other, "swap": one}]
    points = yaml.safe_dump([name for name in PLAIN if name not in pair])
    text = f"name: dog\nkeypoints:\n{points}" + "".join(f"{line}\n" for line in lines)
    assert parse_skeleton("dog.yaml", text).pairs == (pair,)


# What a source declares.

EARS = ["nose", "left-ear", "right-ear"]


def test_flip_idx_gives_pairs_that_names_do_not() -> None:
    draft = draft_skeleton("x", ["a", "b", "c"], "x", flip_idx=[1, 0, 2])
    assert draft.skeleton.flip_indices == (1, 0, 2) and draft.skeleton.mirrors
    assert not any("mirror" in note for note in draft.notes)


@pytest.mark.parametrize("flip_idx", [[0, 1, 2, 3, 4], [0, 2, 1, 3, 4]])
def test_flip_idx_that_leaves_pairs_out_is_completed_by_the_names(flip_idx: list[int]) -> None:
    draft = draft_skeleton("x", [*EARS, "LEye", "REye"], "x", flip_idx=flip_idx)
    assert draft.skeleton.flip_indices == (0, 2, 1, 4, 3) and draft.skeleton.mirrors
    (note,) = (note for note in draft.notes if "flip_idx" in note)
    assert "are taken from the names: " in note and "LEye - REye" in note
    assert ("left-ear" in note) == (flip_idx[1] == 1)


@pytest.mark.parametrize(
    ("names", "flip_idx", "part"),
    [
        (EARS, [1, 2, 0], "flip_idx must be the 3 indices of the keypoints in a mirrored image, each pair both ways"),
        (EARS, [0, 1], "got [0, 1]"),
        (EARS, [0, 1, 3], "got [0, 1, 3]"),
        (EARS, [0, 2, -2], "got [0, 2, -2]"),
        (EARS, [1, 0, 2], "flip_idx must pair left with right, got 'left-ear' with 'nose'"),
        (["left-ear", "nose"], [1, 0], "flip_idx must pair left with right, got 'left-ear' with 'nose'"),
        (["left-ear", "left-eye"], [1, 0], "flip_idx must pair left with right, got 'left-ear' with 'left-eye'"),
        ([*EARS, "left-eye", "right-eye"], [0, 4, 3, 2, 1], "correct flip_idx: by the names it is [0, 2, 1, 4, 3]"),
    ],
)
def test_flip_idx_that_cannot_be_right_is_refused(names: list[str], flip_idx: list[int], part: str) -> None:
    with pytest.raises(RequestError) as caught:
        draft_skeleton("x", names, "x", flip_idx=flip_idx)
    assert part in str(caught.value)


def test_what_is_not_declared_is_said() -> None:
    draft = draft_skeleton("x", ["a", "b"], "x")
    assert [note.partition(":")[0] for note in draft.notes] == [
        "training will not mirror images",
        "no links are declared",
        f"sigmas are {DEFAULT_SIGMA}, a default",
    ]
    draft = draft_skeleton("x", EARS, "dog", category_id=7, links=[(0, 1), (0, 2), (1, 0), (1, 1)], sigmas=[1, 2, 3])
    assert list(draft.notes) == ["2 links left out: repeated, or from a keypoint to itself"]
    assert draft.skeleton.edges == ((0, 1), (0, 2))
    assert list(draft.skeleton.sigmas) == [1, 2, 3]
    assert draft.skeleton.category.id == 7
    with pytest.raises(RequestError, match=r"links must be pairs of indices from 0 to 2, got \[0, 3\]"):
        draft_skeleton("x", EARS, "dog", links=[(0, 3)])


def test_a_single_keypoint_needs_no_notes_on_pairs_and_links() -> None:
    draft = draft_skeleton("x", ["tip"], "x", sigmas=[0.1])
    assert not draft.notes
    assert draft.skeleton.flip is None


@pytest.mark.parametrize("category", ["traffic cone", "_x_", "Straßenkegel", "日本"])
def test_a_name_for_the_skeleton_of_any_category(category: str) -> None:
    assert draft_skeleton(skeleton_name(category), ["a"], category).skeleton.category.name == category
