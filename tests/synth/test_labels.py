"""The labels are exact: against hand-computed places, mirrored scenes, rays, and silhouettes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from posetools.core.geometry import Floats
from posetools.core.skeleton import load_skeleton
from posetools.synth.camera import Camera, Screen, rasterize, to_screen
from posetools.synth.car import box, car_keypoints, car_mesh
from posetools.synth.rendering import render_random
from posetools.synth.scene import PlacedCar, Scene
from tests.synth.scenes import SIZE, make_car, make_scene, render_scene

CAR8 = load_skeleton("car8")
LEFT = [i for i, name in enumerate(CAR8.names) if name.startswith("left")]
RIGHT = [i for i, name in enumerate(CAR8.names) if name.startswith("right")]


def _index(*names: str) -> list[int]:
    return [CAR8.index[name] for name in names]


def test_left_side_seen_straight_on() -> None:
    car = make_car()
    scene = make_scene(PlacedCar(car, 0.0, 0.0, 0.0), position=(0.0, 12.0, 0.8), target=(0.0, 0.0, 0.8))
    keypoints = render_scene(scene, CAR8).labels[0].keypoints
    # The camera looks along -y from the car's left: the front (+x) is on the left of the image.
    depth = 12.0 - car.width / 2
    for name, x in (
        ("left-front-tire", car.length / 2 - car.overhang[0]),
        ("left-rear-tire", car.overhang[1] - car.length / 2),
    ):
        expected = [200 - 500 * x / depth, 150 + 500 * (0.8 - car.wheel) / depth]
        np.testing.assert_allclose(keypoints[CAR8.index[name], :2], expected, atol=0.001)
    x, y, z = car_keypoints(car)["left-rear-bumper"]
    expected = [200 - 500 * x / (12 - y), 150 + 500 * (0.8 - z) / (12 - y)]
    np.testing.assert_allclose(keypoints[CAR8.index["left-rear-bumper"], :2], expected, atol=0.001)
    assert (keypoints[LEFT, 2] == 2).all()
    assert (keypoints[RIGHT, 2] == 1).all()


@pytest.mark.parametrize(
    ("position", "visible"),
    [
        ((0.0, -12.0, 0.8), ("right-front-bumper", "right-rear-bumper", "right-front-tire", "right-rear-tire")),
        ((14.0, 0.0, 0.8), ("left-front-bumper", "right-front-bumper")),
        ((-14.0, 0.0, 0.8), ("left-rear-bumper", "right-rear-bumper")),
        (
            (9.0, 9.0, 2.0),
            ("left-front-bumper", "right-front-bumper", "left-rear-bumper", "left-front-tire", "left-rear-tire"),
        ),
    ],
)
def test_visible_points_are_those_of_the_sides_that_are_seen(
    position: tuple[float, float, float], visible: tuple[str, ...]
) -> None:
    scene = make_scene(PlacedCar(make_car(), 0.0, 0.0, 0.0), position=position)
    keypoints = render_scene(scene, CAR8).labels[0].keypoints
    assert set(np.flatnonzero(keypoints[:, 2] == 2)) == set(_index(*visible))
    assert (keypoints[:, 2] > 0).all()


def test_points_outside_the_image_are_not_labeled_and_the_box_ends_at_its_edge() -> None:
    car = make_car()
    scene = make_scene(PlacedCar(car, 2.5, 0.0, 0.0), position=(0.0, 6.0, 0.8), target=(0.0, 0.0, 0.8))
    label = render_scene(scene, CAR8).labels[0]
    assert (label.keypoints[_index("left-front-bumper", "left-front-tire")] == 0).all()
    assert label.keypoints[CAR8.index["left-rear-tire"], 2] == 2
    assert label.box[0] == 0.0
    assert 0 < label.box[2] < SIZE[0]


def test_another_car_and_a_wall_hide_points() -> None:
    near, far = PlacedCar(make_car(1), 0.0, 3.0, 0.0), PlacedCar(make_car(2), 0.0, 0.0, 0.0)
    hidden = render_scene(make_scene(far, near), CAR8).labels
    assert (hidden[0].keypoints[_index("left-front-tire", "left-rear-tire"), 2] == 1).all()
    assert (hidden[1].keypoints[_index("left-front-tire", "left-rear-tire"), 2] == 2).all()
    alone = render_scene(make_scene(far), CAR8).labels[0]
    np.testing.assert_array_equal(alone.box, hidden[0].box)
    np.testing.assert_array_equal(alone.keypoints[:, :2], hidden[0].keypoints[:, :2])
    wall = box((0.3, 2.0, 0.0), (3.5, 2.2, 1.0), (0.5, 0.5, 0.5))
    behind = render_scene(make_scene(far, things=(wall,)), CAR8).labels[0].keypoints
    assert behind[CAR8.index["left-front-tire"], 2] == 1
    assert behind[CAR8.index["left-rear-tire"], 2] == 2


def test_mirrored_scene_swaps_left_and_right() -> None:
    cars = (PlacedCar(make_car(3), 0.0, 0.5, 0.4), PlacedCar(make_car(4), -3.0, -4.0, -1.2))
    scene = make_scene(*cars, position=(3.0, 11.0, 2.5), target=(0.3, 0.1, 0.6), roll=0.05)
    mirrored = replace(
        scene,
        camera=Camera((3.0, -11.0, 2.5), (0.3, -0.1, 0.6), -0.05, scene.camera.focal, SIZE),
        cars=tuple(replace(car, y=-car.y, heading=-car.heading) for car in cars),
    )
    for one, other in zip(render_scene(scene, CAR8).labels, render_scene(mirrored, CAR8).labels, strict=True):
        swapped = other.keypoints[list(CAR8.flip_indices)]
        np.testing.assert_array_equal(swapped[:, 2], one.keypoints[:, 2])
        np.testing.assert_allclose(SIZE[0] - swapped[:, 0], one.keypoints[:, 0], atol=0.0015)
        np.testing.assert_allclose(swapped[:, 1], one.keypoints[:, 1], atol=0.0015)
        x1, y1, x2, y2 = other.box
        np.testing.assert_allclose([SIZE[0] - x2, y1, SIZE[0] - x1, y2], one.box, atol=0.0015)


def _first_hit(scene: Scene, point: Floats) -> float:
    """Return the distance of the first face on the way to a point (1: at the point), by the Moeller-Trumbore test."""
    corners = scene.mesh.vertices[scene.mesh.triangles]
    origin = np.array(scene.camera.position)
    way = point - origin
    side_one, side_two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = np.cross(way, side_two)
    determinant = (side_one * p).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        to = origin - corners[:, 0]
        u = (to * p).sum(axis=1) / determinant
        q = np.cross(to, side_one)
        v = (q @ way) / determinant
        t = (side_two * q).sum(axis=1) / determinant
    hit = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (t > 0)
    return float(t[hit].min(initial=np.inf))


def test_visibility_agrees_with_rays_through_the_scene() -> None:
    hidden = seen = 0
    for seed in range(12):
        rendered = render_random(np.random.default_rng([7, seed]), (160, 120), CAR8)
        for car, label in zip(rendered.scene.cars, rendered.labels, strict=True):
            points = car.keypoints(CAR8)
            _, depth = rendered.scene.camera.project(points)
            for point, reach, (_, _, visibility) in zip(points, depth, label.keypoints, strict=True):
                if visibility == 0:
                    continue
                gap = (1 - _first_hit(rendered.scene, point)) * reach
                if abs(gap - 0.02) > 1e-6:
                    assert (gap > 0.02) == (visibility == 1), f"seed {seed}: {gap:.4f} m before the point"
                    hidden, seen = hidden + (visibility == 1), seen + (visibility == 2)
    assert min(hidden, seen) > 40


def test_box_holds_the_silhouette_exactly() -> None:
    scale = 4
    cut = 0
    for seed in range(20):
        rendered = render_random(np.random.default_rng([8, seed]), (160, 120), CAR8)
        for car, label in zip(rendered.scene.cars, rendered.labels, strict=True):
            pixels, depth = rendered.scene.camera.project(car.mesh.vertices)
            screen: Screen = to_screen(pixels, depth, car.mesh.triangles)
            alone = rasterize(screen, np.zeros(len(car.mesh.triangles), dtype=np.int64), 1, (160, 120), scale)
            rows, columns = np.nonzero(alone.triangle >= 0)
            extent = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / scale
            # A sub-pixel is in the silhouette if its center is; thin tips end between two centers.
            assert (extent[:2] >= label.box[:2] - 0.5 / scale).all()
            assert (extent[2:] <= label.box[2:] + 0.5 / scale).all()
            assert np.abs(extent - label.box).max() <= 3 / scale
            cut += bool((label.box[:2] == 0).any() or label.box[2] == 160 or label.box[3] == 120)
    assert cut > 3


def test_keypoints_lie_on_the_surface() -> None:
    for seed in range(20):
        car = make_car(seed)
        vertices = car_mesh(car).vertices
        for name, point in car_keypoints(car).items():
            nearest = np.linalg.norm(vertices - point, axis=1).min()
            if "bumper" in name:
                assert nearest < 1e-9, name
            else:
                # The middle of a disc: all its vertices are one radius away, in its plane.
                rim = np.linalg.norm(vertices - point, axis=1) < car.wheel + 1e-6
                assert np.abs(vertices[rim, 1] - point[1]).min() < 1e-9
                assert abs(point[1]) == pytest.approx(car.width / 2)
