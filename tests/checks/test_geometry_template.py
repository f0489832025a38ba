"""A skeleton's template as arrays, against the skeleton itself."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from posetools.checks.rigid.template import Body, _seen_together, rigid
from posetools.core.skeleton import Skeleton, load_skeleton
from tests.checks.rigid_cars import CAR8, car8


def _other(**template: Any) -> Body:
    document = CAR8.model_dump()
    document["template"] |= template
    other = rigid(Skeleton.model_validate(document))
    assert other is not None
    return other


def test_points_and_faces_are_in_the_skeletons_order() -> None:
    template = car8()
    assert CAR8.template is not None
    backwards = _other(points=[point.model_dump() for point in reversed(CAR8.template.points)])
    for each in (template, backwards):
        for k, name in enumerate(CAR8.names):
            (point,) = (point for point in CAR8.template.points if point.name == name)
            assert each.points[k].tolist() == list(point.at)
            on = [face.name for face, there in zip(CAR8.template.faces, each.on_face[k], strict=True) if there]
            assert sorted(on) == sorted(point.faces)
        assert each.everywhere.tolist() == [False] * 8
    assert rigid(load_skeleton("coco17")) is None


def test_a_point_on_no_face_is_seen_from_everywhere() -> None:
    assert CAR8.template is not None
    points = [point.model_dump() for point in CAR8.template.points]
    points[3]["faces"] = []
    template = _other(points=points)
    assert template.everywhere.tolist() == [name == points[3]["name"] for name in CAR8.names]
    bare = _other(faces=[], points=[point | {"faces": []} for point in points])
    assert bare.everywhere.tolist() == [True] * 8
    assert (bare.normals.shape, bare.on_face.shape) == ((0, 3), (8, 0))


def test_normals_have_length_1() -> None:
    assert CAR8.template is not None
    long = [face.model_dump() | {"normal": [3 * x for x in face.normal]} for face in CAR8.template.faces]
    tilted = [*long[:3], long[3] | {"normal": [0, -3, 4]}]
    assert _other(faces=tilted).normals.tolist() == [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -0.6, 0.8]]


def test_modes_are_steps_of_one_standard_deviation() -> None:
    width = {"name": "width", "sd": 0.5, "along": [0, 2, 1], "points": [CAR8.names[1]], "against": [CAR8.names[5]]}
    both = {"name": "both", "sd": 1, "along": [1, 0, 0], "points": [CAR8.names[0]], "against": [CAR8.names[0]]}
    modes = _other(modes=[width, both]).modes
    assert modes.shape == (2, 8, 3)
    expected = np.zeros((2, 8, 3))
    expected[0, 1], expected[0, 5] = [0, 1, 0.5], [0, -1, -0.5]
    assert modes.tolist() == expected.tolist()
    assert _other(modes=[]).modes.shape == (0, 8, 3)


def test_every_exchange_all_first_then_pair_by_pair() -> None:
    template = car8()
    everyone = list(range(8))
    sides, ends, neighbors = [4, 5, 6, 7, 0, 1, 2, 3], [1, 0, 3, 2, 5, 4, 7, 6], [2, 3, 0, 1, 6, 7, 4, 5]
    whole = [("sides", sides), ("ends", ends), ("neighbours", neighbors)]
    got = [(exchange.kind, exchange.order.tolist(), exchange.pair) for exchange in template.exchanges]
    assert got[:3] == [(kind, order, None) for kind, order in whole]
    expected = []
    for kind, order in whole:
        for k in everyone:
            if k < order[k]:
                alone = [order[k] if i == k else k if i == order[k] else i for i in everyone]
                expected.append((kind, alone, (k, order[k])))
    assert got[3:] == expected


def test_what_has_no_opposite_and_no_neighbor_is_not_exchanged() -> None:
    assert CAR8.template is not None
    bare = [point.model_dump() | {"opposite": None, "neighbour": None} for point in CAR8.template.points]
    assert {exchange.kind for exchange in _other(points=bare).exchanges} == {"sides"}
    front, rear = CAR8.names[:2]
    # One pair alone is all of them.
    bare[[point["name"] for point in bare].index(front)]["opposite"] = rear
    bare[[point["name"] for point in bare].index(rear)]["opposite"] = front
    ends = [exchange for exchange in _other(points=bare).exchanges if exchange.kind == "ends"]
    assert [(exchange.order.tolist(), exchange.pair) for exchange in ends] == [([1, 0, 2, 3, 4, 5, 6, 7], None)]
    left, right = CAR8.names[2:4]
    bare[[point["name"] for point in bare].index(left)]["opposite"] = right
    bare[[point["name"] for point in bare].index(right)]["opposite"] = left
    pairs = [exchange.pair for exchange in _other(points=bare).exchanges if exchange.kind == "ends"]
    assert pairs == [None, (0, 1), (2, 3)]


def test_what_cannot_be_seen_together() -> None:
    template = car8()
    """Against all sets of faces without two opposite ones."""
    opposite = [(0, 1), (2, 3)]
    sets = [
        set(faces)
        for n in range(5)
        for faces in itertools.combinations(range(4), n)
        if not any(set(pair) <= set(faces) for pair in opposite)
    ]
    visible = np.array(list(itertools.product([False, True], repeat=8)))
    got = template.impossible(visible)
    for row, seen in zip(visible, got, strict=True):
        on = [set(np.flatnonzero(template.on_face[k]).tolist()) for k in np.flatnonzero(row)]
        assert bool(seen) is not any(all(faces & together for faces in on) for together in sets)
    assert 0 < got.sum() < len(got)


def test_what_lies_on_no_face_is_never_in_the_way() -> None:
    template = car8()
    roof = replace(template, on_face=template.on_face.copy(), everywhere=np.arange(8) == 7)
    roof.on_face[7] = False
    both = np.zeros((1, 8), dtype=np.bool_)
    both[0, [2, 7]] = True
    assert template.impossible(both).tolist() == [True]
    assert roof.impossible(both).tolist() == [False]


@pytest.mark.parametrize(
    ("normals", "count"),
    [
        ([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], 4),
        ([[1, 0, 0], [0, 1, 0]], 1),
        ([[1, 0, 0], [-1, 0, 0]], 2),
        ([[1, 0, 0], [-0.999, 0.0447, 0]], 1),
        ([], 1),
    ],
)
def test_one_of_each_two_opposite_faces(normals: list[list[float]], count: int) -> None:
    sets = list(_seen_together(np.array(normals, dtype=np.float64).reshape(-1, 3)))
    assert len(sets) == count
    assert all(len(seen) == len(normals) for seen in sets)
    if count == 4:
        assert [np.flatnonzero(seen).tolist() for seen in sets] == [[1, 3], [1, 2], [0, 3], [0, 2]]
