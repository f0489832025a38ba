"""Mistakes detected by geometry: planted in the labels of rendered cars, and of a hand-made box."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks.geometry import KINDS, Cars, plant, sample_cars, score
from posetools.checks.rigid.fit import Views, _SeenObjects, _start, _system, fit
from posetools.checks.rigid.geometry import Geometry, check_geometry, geometry_note, study
from posetools.checks.rigid.template import Body, rigid
from posetools.checks.structure import SoundObjects, sound_objects
from posetools.core.findings import Finding
from posetools.core.geometry import Floats
from posetools.core.skeleton import Skeleton, dump_skeleton, load_skeleton, read_skeleton
from posetools.errors import InputError
from posetools.formats.coco.table import table_from
from posetools.formats.coco.write import category_entry
from posetools.synth.sample import FULL_VARIETY

CAR8 = load_skeleton("car8")
SIZE = (640, 480)
MIRRORED = np.array(CAR8.flip_indices)


def _template() -> Body:
    template = rigid(CAR8)
    assert template is not None
    return template


TEMPLATE = _template()


@cache
def _cars() -> Cars:
    return sample_cars(77, 300, FULL_VARIETY, SIZE)


def _objects(cars: Cars, skeleton: Skeleton = CAR8) -> SoundObjects:
    corners, sides = cars.boxes[:, :2], cars.boxes[:, 2:] - cars.boxes[:, :2]
    annotations = [
        {
            "id": i + 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": [*corners[i].tolist(), *sides[i].tolist()],
            "area": float(sides[i].prod()),
            "iscrowd": 0,
            "num_keypoints": int((points[:, 2] > 0).sum()),
            "keypoints": points.ravel().tolist(),
        }
        for i, points in enumerate(cars.keypoints)
    ]
    images = [{"id": 1, "file_name": "a.jpg", "width": SIZE[0], "height": SIZE[1]}]
    document = {"images": images, "annotations": annotations, "categories": [category_entry(skeleton)]}
    return sound_objects(table_from(document, Path("x.json")), skeleton)


def _findings(cars: Cars) -> list[Finding]:
    return list(check_geometry(_objects(cars), CAR8))


def _changed(index: int, change: Any) -> Cars:
    """Return the cars with the keypoints of one of them changed."""
    keypoints = _cars().keypoints.copy()
    keypoints[index] = change(keypoints[index])
    return replace(_cars(), keypoints=keypoints)


def _whole() -> int:
    """Return the largest car with all eight points labeled."""
    cars = _cars()
    sides = cars.boxes[:, 2:] - cars.boxes[:, :2]
    return int(np.where(cars.labeled == 8, sides.prod(axis=1), 0).argmax())


def test_clean_cars_raise_no_alarm() -> None:
    assert _findings(_cars()) == []


def test_planted_mistakes_are_found() -> None:
    turned = plant(_cars(), 1, 0.25, KINDS[1:3])
    scores = score(turned, turned.study(TEMPLATE))
    assert scores["exchanged_planted"] > 50
    assert scores["exchanged_recall"] >= 0.95
    assert scores["exchanged_precision"] >= 0.95
    moved = plant(_cars(), 2, 0.25, KINDS[3:])
    scores = score(moved, moved.study(TEMPLATE))
    assert scores["misplaced_planted"] > 50
    assert scores["misplaced_recall"] >= 0.9
    assert scores["misplaced_precision"] >= 0.9
    assert scores["false_alarms"] == 0


def test_a_set_that_is_mirrored_as_a_whole_is_not_taken_for_a_coarse_one() -> None:
    cars = replace(_cars(), keypoints=_cars().keypoints[:, MIRRORED])
    found = cars.study(TEMPLATE)
    assert found.noise == 1
    assert len(found.explanations) > 0.95 * len(cars)


def test_a_coarsely_labeled_set_is_not_reported_as_a_whole() -> None:
    noise = np.random.default_rng(3).normal(0.0, 8.0, (len(_cars()), 8, 2))
    keypoints = _cars().keypoints.copy()
    keypoints[:, :, :2] += noise
    cars = replace(_cars(), keypoints=keypoints)
    found = cars.study(TEMPLATE)
    assert found.noise > 2
    assert len(found.explanations) < 0.01 * len(cars)


def test_a_mirrored_car_is_told_with_both_fits() -> None:
    index = _whole()
    (finding,) = _findings(_changed(index, lambda points: points[MIRRORED]))
    assert (finding.code, finding.place) == ("W215", f"annotations[{index}] (id {index + 1})")
    assert finding.message.startswith("the names must fit a rigid car, got points ")
    assert finding.message.endswith("with left and right swapped, or front and rear")
    assert "geometry cannot distinguish the two" in finding.hint


def test_a_misplaced_point_is_told_with_the_place_where_it_should_be() -> None:
    index = _whole()
    right = _cars().keypoints[index, 2, :2]

    def move(points: Floats) -> Floats:
        moved = points.copy()
        moved[2, 1] -= 0.2 * np.hypot(*(_cars().boxes[index, 2:] - _cars().boxes[index, :2]))
        return moved

    cars = _changed(index, move)
    (finding,) = _findings(cars)
    assert finding.code == "W217"
    wrong = cars.keypoints[index, 2]
    assert finding.message.startswith("left-front-tire must be near (")
    assert f"by the other 7 points, got ({wrong[0]:.1f}, {wrong[1]:.1f}), " in finding.message
    (one,) = cars.study(TEMPLATE).explanations
    assert np.hypot(*(one.place - right)) < 15
    assert one.shift == pytest.approx(np.hypot(*(one.place - wrong[:2])))


@pytest.mark.parametrize(
    ("pair", "code"),
    [
        (("left-front-tire", "right-front-tire"), "W215"),
        (("left-front-tire", "left-rear-tire"), "W216"),
        (("right-front-bumper", "right-rear-bumper"), "W216"),
        (("left-rear-bumper", "left-rear-tire"), "W219"),
    ],
)
def test_two_points_with_each_others_names(pair: tuple[str, str], code: str) -> None:
    order = np.arange(8)
    one, other = (CAR8.index[name] for name in pair)
    order[[one, other]] = other, one
    # Seen from the side, all points apart.
    cars = _cars()
    apart = np.min(
        [np.hypot(*np.moveaxis(cars.keypoints[:, a, :2] - cars.keypoints[:, b, :2], 1, 0)) for a, b in _pairs()], axis=0
    )
    index = int(np.where(cars.labeled == 8, apart, 0).argmax())
    (finding,) = [f for f in _findings(_changed(index, lambda points: points[order])) if f.code != "W218"]
    assert finding.code == code
    assert all(name in finding.message for name in pair)
    assert finding.message.endswith("with the two swapped")


def _pairs() -> list[tuple[int, int]]:
    return [(a, b) for a in range(8) for b in range(a)]


def test_points_that_cannot_be_seen_together() -> None:
    index = _whole()
    seen = np.zeros(8)
    (finding,) = _findings(_changed(index, lambda points: np.column_stack([points[:, :2], seen + 2])))
    assert finding.code == "W218"
    assert finding.message.startswith("visible points must be on sides that can be seen together, got left-front")


def test_where_no_point_is_hidden_visibility_says_nothing() -> None:
    keypoints = _cars().keypoints.copy()
    keypoints[:, :, 2] = np.where(keypoints[:, :, 2] > 0, 2, 0)
    assert _findings(replace(_cars(), keypoints=keypoints)) == []


def test_random_points_are_no_single_mistake() -> None:
    rng = np.random.default_rng(4)
    keypoints = np.concatenate([rng.uniform(100, 400, (200, 8, 2)), np.ones((200, 8, 1))], axis=2)
    boxes = np.tile([100.0, 100.0, 400.0, 400.0], (200, 1))
    found = _study(np.concatenate([_cars().keypoints, keypoints]), np.concatenate([_cars().boxes, boxes]))
    assert sum(one.index >= len(_cars()) for one in found.explanations) < 10
    assert np.nanmedian(found.misfit[len(_cars()) :]) > 10 * np.nanmedian(found.misfit[: len(_cars())])


def _study(keypoints: Floats, boxes: Floats) -> Geometry:
    return study(TEMPLATE, keypoints, boxes, np.tile(np.array(SIZE, dtype=np.float64), (len(boxes), 1)))


@pytest.mark.parametrize("place", [0.0, 300.0, 1e6])
def test_labels_of_no_shape_at_all_are_no_trouble(place: float) -> None:
    keypoints = np.concatenate([np.full((12, 8, 2), place), np.full((12, 8, 1), 2.0)], axis=2)
    keypoints[3, 0, 0] = np.nan
    keypoints[4, :, 0] += np.arange(8)
    found = _study(keypoints, np.tile([10.0, 10.0, 200.0, 100.0], (12, 1)))
    assert found.impossible.sum() == 0
    assert np.isnan(found.misfit[3])
    assert _study(np.zeros((0, 8, 3)), np.zeros((0, 4))).explanations == ()


def test_few_points_and_small_boxes_are_not_judged() -> None:
    keypoints = _cars().keypoints[:, MIRRORED].copy()
    few = keypoints.copy()
    few[:, 4:] = 0
    assert np.isnan(_study(few, _cars().boxes).misfit).all()
    small = np.tile([0.0, 0.0, 12.0, 12.0], (len(keypoints), 1))
    assert np.isnan(_study(keypoints, small).misfit).all()


def test_the_derivatives_are_those_of_the_sum_of_squares() -> None:
    cars = _cars()
    middle = np.array(SIZE) / 2
    views = Views(
        (cars.keypoints[:, :, :2] - middle).transpose(0, 2, 1),
        cars.keypoints[:, :, 2],
        np.full(len(cars), 3.0),
        np.full(len(cars), 640.0),
    )
    at = _start(TEMPLATE, views)
    at += np.random.default_rng(0).normal(0.0, 0.05, at.shape)
    level = _SeenObjects(TEMPLATE, at).height()[0] == 0
    assert level.sum() > 200
    _, gradient, matrix = _system(TEMPLATE, views, at)
    for i in range(at.shape[1]):
        step = np.zeros(at.shape[1])
        step[i] = 1e-5
        values = [_system(TEMPLATE, views, at + sign * step)[0] for sign in (1, -1)]
        measured = (values[0] - values[1]) / (4 * step[i])
        # The precision of the camera's height is treated as constant, so cars seen from too low are left out.
        wrong = np.abs(measured - gradient[:, i]) / (1 + np.abs(gradient[:, i]))
        assert wrong[level].max() < 1e-4
    assert np.allclose(matrix, matrix.transpose(0, 2, 1))


def test_a_skeleton_without_template_is_skipped_and_says_so() -> None:
    plain = CAR8.model_copy(update={"template": None})
    cars = replace(_cars(), keypoints=_cars().keypoints[:, MIRRORED])
    assert list(check_geometry(_objects(cars, plain), plain)) == []
    assert geometry_note(plain) == ("geometry not checked: skeleton car8 has no template (docs/geometry.md)",)
    assert geometry_note(CAR8) == ()
    assert geometry_note(load_skeleton("coco17")) != ()


def _trailer(**changes: Any) -> dict[str, Any]:
    names = [
        f"{side}-{end}-{level}" for side in ("left", "right") for end in ("front", "rear") for level in ("low", "top")
    ]
    other = {"left": "right", "right": "left", "front": "rear", "rear": "front"}

    def turned(name: str, words: tuple[str, str]) -> str:
        return "-".join(other[word] if word in words else word for word in name.split("-"))

    points = [
        {
            "name": name,
            "at": [4.0 if "front" in name else -4.0, 1.2 if "left" in name else -1.2, 1.0 if "low" in name else 3.5],
            "opposite": turned(name, ("front", "rear")),
        }
        for name in names
    ]
    document = {
        "name": "trailer",
        "category": {"name": "trailer"},
        "keypoints": [{"name": name, "swap": turned(name, ("left", "right"))} for name in names],
        "sigmas": [0.05] * 8,
        "joint_weights": [1.0] * 8,
        "template": {
            "points": points,
            "modes": [{"name": "length", "sd": 1.0, "along": [1, 0, 0], "points": names[:2] + names[4:6]}],
        },
    }
    template = {**document["template"], **changes}  # type: ignore[dict-item]
    return {**document, "template": template}


def test_another_skeleton_brings_its_own_template(tmp_path: Path) -> None:
    path = tmp_path / "trailer.yaml"
    path.write_text(yaml.safe_dump(_trailer()), encoding="utf-8")
    skeleton = read_skeleton(path)
    template = rigid(skeleton)
    assert template is not None
    path.write_text(dump_skeleton(skeleton), encoding="utf-8")
    assert read_skeleton(path) == skeleton
    # Seen from its left, from 3 m above the ground and 20 m away: x runs to the left in the image.
    x, y, z = template.points.T
    depth = 20.0 - y
    pixels = np.column_stack([320 - 600 * x / depth, 240 - 600 * (z - 3.0) / depth])
    keypoints = np.column_stack([pixels, np.ones(8)])
    views = Views((pixels - np.array([320.0, 240.0])).T[None], np.ones((1, 8)), np.array([3.0]), np.array([640.0]))
    assert fit(template, views, visibility=False).rms[0] < 1.5
    both = np.stack([keypoints, keypoints[list(skeleton.flip_indices)]])
    boxes = np.tile([200.0, 220.0, 440.0, 300.0], (2, 1))
    found = study(template, both, boxes, np.tile([640.0, 480.0], (2, 1)))
    assert [(one.index, one.exchange.kind) for one in found.explanations if one.exchange] == [(1, "sides")]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"points": _trailer()["template"]["points"][1:]}, "points must be the 8 keypoints, each once"),
        ({"faces": [{"name": "left", "normal": [0, 0, 0]}]}, "must be a vector with a direction"),
        ({"faces": [{"name": "a", "normal": [0, 1, 0]}] * 2}, "names of faces must be unique"),
        ({"modes": [{"name": "m", "sd": 0, "along": [1, 0, 0], "points": []}]}, "sd"),
        (
            {"modes": [{"name": "m", "sd": 1, "along": [1, 0, 0], "points": ["x"]}]},
            "must be names of keypoints, got 'x'",
        ),
    ],
)
def test_a_template_that_breaks_a_rule_is_refused(changes: dict[str, Any], problem: str, tmp_path: Path) -> None:
    path = tmp_path / "trailer.yaml"
    path.write_text(yaml.safe_dump(_trailer(**changes)), encoding="utf-8")
    with pytest.raises(InputError, match=problem):
        read_skeleton(path)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("faces", ["roof"], "faces must be names of faces, got 'roof'"),
        ("opposite", "left-front-low", "opposite must be another keypoint"),
        ("opposite", "right-rear-top", "opposite must go both ways"),
        ("neighbour", "wheel", "neighbour must be another keypoint, got 'wheel'"),
    ],
)
def test_a_point_that_breaks_a_rule_is_refused(field: str, value: object, problem: str, tmp_path: Path) -> None:
    document = _trailer()
    document["template"]["points"][0][field] = value
    path = tmp_path / "trailer.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(InputError, match=problem):
        read_skeleton(path)
