"""The car model and the random scenes."""

from __future__ import annotations

import numpy as np
import pytest

from posetools.core.skeleton import load_skeleton
from posetools.synth.car import Mesh, ball, box, car_mesh, cylinder
from posetools.synth.rendering import LEAST_SEEN, render_random
from posetools.synth.sample import STYLES, sample_scene
from posetools.synth.scene import PlacedCar
from tests.synth.scenes import make_car, make_scene, render_scene

CAR8 = load_skeleton("car8")
SEEDS = range(40)


def test_cars_have_the_measures_of_real_ones() -> None:
    cars = [make_car(seed) for seed in range(200)]
    assert {car.style for car in cars} == set(STYLES)
    for car in cars:
        assert 3.6 <= car.length <= 5.2
        assert 1.6 <= car.width <= 2.0
        assert 1.35 <= car.height <= 1.9
        low, high = car_mesh(car).vertices.min(axis=0), car_mesh(car).vertices.max(axis=0)
        # Decorations are up to 8 mm in front of their face; the mirrors reach beyond the width.
        np.testing.assert_allclose([low[0], high[0]], [-car.length / 2, car.length / 2], atol=0.01)
        np.testing.assert_allclose([low[2], high[2]], [0.0, car.height], atol=0.01)
        assert high[1] == pytest.approx(-low[1])
        assert car.width / 2 <= high[1] < car.width / 2 + 0.2


@pytest.mark.parametrize(
    "solid",
    [
        box((0, 0, 0), (1, 2, 3), (1, 1, 1)),
        cylinder((0, 0, 0), (1, 0.5), 2, (1, 1, 1)),
        ball((0, 0, 2), 1, (1, 1, 1), squash=0.8, rng=np.random.default_rng(0)),
    ],
    ids=["box", "cylinder", "ball"],
)
def test_solids_are_closed_and_face_outwards(solid: Mesh) -> None:
    sides = np.concatenate([solid.triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    # Every edge occurs once in each direction: no hole, and a consistent orientation.
    assert {tuple(side) for side in sides.tolist()} == {tuple(side[::-1]) for side in sides.tolist()}
    assert len({tuple(side) for side in sides.tolist()}) == len(sides)
    middle = solid.vertices.mean(axis=0)
    a, b, c = (solid.vertices[solid.triangles[:, i]] for i in range(3))
    assert ((np.cross(b - a, c - a) * ((a + b + c) / 3 - middle)).sum(axis=1) > 0).all()


def test_front_and_rear_can_be_told() -> None:
    gray = [car for car in (make_car(seed) for seed in range(60)) if max(car.paint) < 1.2 * min(car.paint)]
    for car in gray[:5]:
        red = []
        for x in (12.0, -12.0):
            scene = make_scene(PlacedCar(car, 0.0, 0.0, 0.0), position=(x, 0.0, 1.2))
            pixels = np.asarray(render_scene(scene, CAR8).image).astype(np.int64)
            red.append(int(((pixels[..., 0] > 90) & (pixels[..., 0] > 2 * pixels[..., 1])).sum()))
        front, rear = red
        assert front == 0
        assert rear > 60


def test_cars_do_not_touch() -> None:
    several = 0
    for seed in SEEDS:
        cars = sample_scene(np.random.default_rng(seed), (320, 240)).cars
        several += len(cars) > 1
        for i, car in enumerate(cars):
            corners = car.footprint(0.0)
            edge = np.linspace(corners, np.roll(corners, -1, axis=0), 30).reshape(-1, 2)
            for other in cars[:i] + cars[i + 1 :]:
                cos, sin = np.cos(other.heading), np.sin(other.heading)
                own = (edge - np.array([other.x, other.y])) @ np.array([[cos, -sin], [sin, cos]])
                assert (np.abs(own) > np.array([other.car.length, other.car.width]) / 2).any(axis=1).all()
    assert several > 10


def test_every_car_is_worth_its_label() -> None:
    counts = []
    for seed in SEEDS:
        rendered = render_random(np.random.default_rng([3, seed]), (160, 120), CAR8)
        assert rendered.image.size == (160, 120)
        counts.append(len(rendered.labels))
        for label in rendered.labels:
            width, height = label.box[2:] - label.box[:2]
            assert max(width, height) >= 12
            assert (label.box >= 0).all()
            assert (label.box <= [160, 120, 160, 120]).all()
    assert set(counts) == {1, 2, 3, 4}
    assert 0 < LEAST_SEEN < 1
