"""What labels that are typed freely declare: categories and keypoints, in the order of first appearance, and doubts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from posetools.core.skeleton import load_skeleton
from posetools.errors import RequestError
from posetools.formats.declared import DeclaredCategory, SeenObject, SeenObjects, with_options
from posetools.formats.joining.seen_shapes import add_shapes
from posetools.formats.joining.shapes import made_shape, point_shape
from posetools.formats.labelme.model import Shape
from posetools.formats.options import ReadOptions

Found = list[tuple[str, tuple[str, ...]]]


def rect(label: str, x1: float, y1: float, x2: float, y2: float, group: int | str | None = None) -> Shape:
    return made_shape(label, "rectangle", [(x1, y1), (x2, y2)], group)


def of_images(*images: Sequence[Shape], **options: Any) -> Found:
    seen = SeenObjects(ReadOptions(**options), "photos")
    for shapes in images:
        add_shapes(seen, shapes)
    return [(one.name, one.keypoints) for one in seen.declared()]


def of_objects(*objects: tuple[int, str, str], **options: Any) -> Found:
    """Return what objects declare: how many, their label, and the labels of their keypoints."""
    seen = SeenObjects(ReadOptions(**options), "photos")
    for number, label, points in objects:
        for _ in range(number):
            seen.add([SeenObject(label, points.split())])
    return [(one.name, one.keypoints) for one in seen.declared()]


def refused(*objects: tuple[int, str, str]) -> str:
    with pytest.raises(RequestError) as caught:
        of_objects(*objects)
    return str(caught.value)


def test_rectangles_are_categories_and_points_keypoints() -> None:
    dog = [rect("dog", 0, 0, 50, 50), point_shape("tail", 5, 5, None), point_shape("nose", 9, 9, None)]
    cat = [rect("cat", 60, 60, 90, 90, 4), point_shape("nose", 70, 70, 4), point_shape("eye", 99, 99, 4)]
    bowl = [rect("bowl", 100, 0, 110, 10)]
    assert of_images(dog, [*cat, *bowl]) == [("dog", ("tail", "nose")), ("cat", ("nose", "eye")), ("bowl", ())]
    assert of_images(dog, cat, names={"cat": "dog"}, ignore={"eye"}) == [("dog", ("tail", "nose"))]
    assert of_images(dog, cat, categories=("cat",)) == [("cat", ("nose", "eye"))]


def test_overlapping_boxes_of_two_categories() -> None:
    """A point in both boxes is of the category that has such points elsewhere, or the only one around all of them."""
    both = [rect("rider", 0, 0, 60, 60), rect("bicycle", 20, 20, 99, 99)]
    hands = [point_shape("hand", 30, 30, None), point_shape("saddle", 40, 40, None), point_shape("head", 9, 9, None)]
    apart = [rect("bicycle", 20, 20, 99, 99), point_shape("saddle", 40, 40, None)]
    alone = [rect("rider", 0, 0, 60, 60), point_shape("hand", 30, 30, None)]
    assert of_images([*both, *hands], apart, alone) == [("rider", ("head", "hand")), ("bicycle", ("saddle",))]
    with pytest.raises(RequestError, match=r"keypoint 'hand' must be in boxes of one category, or joined with its box"):
        of_images([*both, *hands], apart)


def test_points_without_a_box() -> None:
    points = [point_shape("nose", 5, 5, 1), point_shape("tail", 5, 5, 1)]
    assert of_images(points) == [("", ("nose", "tail"))], "the skeleton names the category"
    assert of_images(points, [rect("dog", 0, 0, 9, 9)]) == [("dog", ("nose", "tail"))]
    assert of_images([*points, rect("dog", 0, 0, 2, 2)], one_object=True) == [("dog", ("nose", "tail"))]


def test_a_label_pattern() -> None:
    shapes = [rect("dog-1", 0, 0, 9, 9), point_shape("dog-1-nose", 5, 5, None), point_shape("dog-1-ear", 50, 5, None)]
    pattern = r"dog-(?P<instance>\d+)(?:-(?P<name>.+))?"
    assert of_images(shapes, label_pattern=pattern) == [("dog", ("nose", "ear"))]


def test_a_rare_label_and_one_spelled_like_another() -> None:
    assert refused((39, "dog", "nose shoulder"), (1, "dog", "nose banana")) == (
        "photos: keypoint 'banana' of 'dog' must be on at least 5% of the objects, got 1 object with 'banana' and 40 "
        "with 'nose'\n"
        "  fix: --map 'banana=NAME' maps it to another name; --map 'banana=banana' keeps it; --ignore 'banana' leaves "
        "it out"
    )
    said = refused((30, "dog", "nose shoulder"), (5, "dog", "nose shouldr"), (9, "truck", ""), (8, "trucks", ""))
    assert "category 'trucks' must be spelled unlike 'truck', got 8 objects with 'trucks' and 9 with 'truck'" in said
    assert "and keypoint 'shouldr' of 'dog' must be spelled unlike 'shoulder', got 5 objects" in said
    assert "--map 'trucks=truck' --map 'shouldr=shoulder', if both mean the same" in said


def test_names_that_are_no_mistakes() -> None:
    """Names that objects have together, names of a pair, and keypoints of which few are visible."""
    whole = (40, "horse", "nearfrontfetlock nearhindfetlock lhip rhip")
    assert of_objects(whole) == [("horse", tuple(whole[2].split()))]
    sides = (20, "cow", "lshoulder"), (20, "cow", "rshoulder")
    assert of_objects(*sides) == [("cow", ("lshoulder", "rshoulder"))]
    assert of_objects((100, "dog", ""), (3, "dog", "nose")) == [("dog", ("nose",))]
    many = [(3, f"kind {letter * 9}", "") for letter in "abcdefghijklmnopqrstuvwxyz"]
    assert len(of_objects(*many)) == 26


def test_a_car_seen_from_one_side() -> None:
    """Where most labels are those of a built-in skeleton, it is meant, and the reader names the others."""
    car8 = load_skeleton("car8")
    assert of_objects((1, "car", f"{car8.names[0]} {car8.names[1]}")) == [("car", car8.names)]


def test_links_and_pairs_follow_the_names() -> None:
    links, pairs = ((0, 1), (0, 2), (2, 3)), (0, 2, 1, 3)
    dog = DeclaredCategory("dog", ("nose", "L", "R", "tail"), "f", links=links, flip_idx=pairs, sigmas=(1, 2, 3, 4))
    assert with_options(dog, ReadOptions(names={"L": "left", "dog": "cat"}, ignore=frozenset({"nose"}))) == (
        DeclaredCategory("cat", ("left", "R", "tail"), "f", links=((1, 2),), flip_idx=(1, 0, 2), sigmas=(2, 3, 4))
    )
    assert with_options(dog, ReadOptions(ignore=frozenset({"R"}))) == (
        DeclaredCategory("dog", ("nose", "L", "tail"), "f", links=((0, 1),), flip_idx=(0, 1, 2), sigmas=(1, 2, 4))
    )
    assert with_options(dog, ReadOptions(categories=("cat",))) is None
