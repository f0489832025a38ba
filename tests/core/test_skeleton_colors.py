"""Colors that a skeleton chooses: distinct, the same hue for left and right of a pair, also for the color-blind."""

from __future__ import annotations

import colorsys
from itertools import combinations

import numpy as np
import pytest

from posetools.core.geometry import Floats
from posetools.core.skeleton import Skeleton, load_skeleton, read_skeleton
from posetools.core.skeleton_draft import draft_skeleton

DOG = ("nose", "left-eye", "right-eye", "neck", "left-paw", "right-paw", "tail")
LINKS = (
    ("nose", "left-eye"),
    ("nose", "right-eye"),
    ("left-eye", "right-eye"),
    ("nose", "neck"),
    ("neck", "left-paw"),
    ("neck", "right-paw"),
    ("neck", "tail"),
    ("left-eye", "right-paw"),
    ("right-eye", "left-paw"),
)
# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency" (2009),
# severity 1.0: protanopia, deuteranopia, tritanopia; on linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(color: tuple[int, int, int], deficiency: str = "none") -> Floats:
    """Return CIELAB of an sRGB color as somebody with a deficiency sees it."""
    share = np.array(color) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = (np.array(DEFICIENCIES[deficiency]) @ linear).clip(0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ seen / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.fixture(scope="module")
def dog(tmp_path_factory: pytest.TempPathFactory) -> Skeleton:
    """Read a skeleton file as a user writes it: no color anywhere."""
    path = tmp_path_factory.mktemp("dog") / "dog.yaml"
    opposite = {"left": "right", "right": "left"}

    def entry(name: str) -> str:
        side, _, rest = name.partition("-")
        return f"  - {{name: {name}, swap: {opposite[side]}-{rest}}}" if rest else f"  - {{name: {name}}}"

    lines = ["name: dog", "category: {name: dog}", "keypoints:", *map(entry, DOG), "links:"]
    lines += [f"  - {{points: [{a}, {b}]}}" for a, b in LINKS]
    path.write_text("\n".join([*lines, f"sigmas: {[0.05] * 7}", f"joint_weights: {[1.0] * 7}"]) + "\n")
    return read_skeleton(path)


def colors(skeleton: Skeleton) -> dict[tuple[str, ...], tuple[int, int, int]]:
    of_links: dict[tuple[str, ...], tuple[int, int, int]] = {each.points: each.color for each in skeleton.links}
    return of_links | {(each.name,): each.color for each in skeleton.keypoints}


def hue(color: tuple[int, int, int]) -> float:
    return 360 * colorsys.rgb_to_hsv(*(each / 255 for each in color))[0]


def test_all_links_and_all_keypoints_have_distinct_colors(dog: Skeleton) -> None:
    for chosen in ([each.color for each in dog.links], [each.color for each in dog.keypoints]):
        apart = [float(np.linalg.norm(lab(a) - lab(b))) for a, b in combinations(chosen, 2)]
        assert min(apart) > 20


PAIRS = [
    (("left-eye",), ("right-eye",)),
    (("left-paw",), ("right-paw",)),
    (("nose", "left-eye"), ("nose", "right-eye")),
    (("neck", "left-paw"), ("neck", "right-paw")),
    (("right-eye", "left-paw"), ("left-eye", "right-paw")),
]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_left_and_right_have_one_hue_and_differ_in_lightness(
    dog: Skeleton, pair: tuple[tuple[str, ...], tuple[str, ...]], deficiency: str
) -> None:
    left, right = (colors(dog)[each] for each in pair)
    assert abs((hue(left) - hue(right) + 180) % 360 - 180) < 25
    lightness = [lab(each, deficiency)[0] for each in (left, right)]
    assert abs(lightness[0] - lightness[1]) > 20
    if not {"left-eye", "left-paw"} & set(pair[1]):
        assert lightness[0] < lightness[1]


def test_colors_of_the_file_are_kept_and_the_built_in_ones_do_not_change() -> None:
    car, person = load_skeleton("car8"), load_skeleton("coco17")
    assert (car.keypoints[0].color, car.links[0].color) == ((0, 0, 255), (100, 150, 200))
    assert all("color" in each.model_fields_set for each in (*car.keypoints, *car.links, *person.keypoints))
    mixed = car.model_dump()
    del mixed["links"][1]["color"]
    skeleton = Skeleton.model_validate(mixed)
    assert [each.color for each in skeleton.links[2:]] == [each.color for each in car.links[2:]]
    assert skeleton.links[1].color != car.links[1].color


def test_a_draft_has_them_and_every_time_the_same(dog: Skeleton) -> None:
    draft = draft_skeleton("dog", DOG, "dog").skeleton
    assert [each.color for each in draft.keypoints] == [each.color for each in dog.keypoints]


@pytest.mark.parametrize(("first", "other"), [("R ear", "L ear"), ("near-ear", "far-ear"), ("ear.r", "ear.l")])
def test_the_side_is_told_by_words_and_else_by_the_order(first: str, other: str) -> None:
    points = [{"name": first, "swap": other}, {"name": other, "swap": first}]
    document = {"name": "x", "category": {"name": "x"}, "keypoints": points, "sigmas": [1, 1], "joint_weights": [1, 1]}
    a, b = (lab(each.color)[0] for each in Skeleton.model_validate(document).keypoints)
    assert (a > b) == (first != "near-ear")


@pytest.mark.parametrize("count", [1, 2, 30])
def test_any_number_of_keypoints_has_colors(count: int) -> None:
    draft = draft_skeleton("x", [f"p{number}" for number in range(count)], "x").skeleton
    assert len({each.color for each in draft.keypoints}) == count
