"""The scene: cars and things on a ground plane, the light, the ground, and the camera that looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from posetools.core.geometry import Floats, Ints
from posetools.core.skeleton import Skeleton
from posetools.synth.camera import Camera
from posetools.synth.car import Car, car_keypoints, car_mesh, shadow_mesh
from posetools.synth.mesh import RGB, Mesh, merge


@dataclass(frozen=True)
class PlacedCar:
    """A car, where it stands (x, y in metres) and where its front points to (radians, from +x to +y)."""

    car: Car
    x: float
    y: float
    heading: float

    @cached_property
    def mesh(self) -> Mesh:
        """The car's mesh in world coordinates."""
        return car_mesh(self.car).placed(self.x, self.y, self.heading)

    @property
    def shadow(self) -> Mesh:
        """The coarse mesh that throws its shadow, in world coordinates."""
        return shadow_mesh(self.car).placed(self.x, self.y, self.heading)

    def keypoints(self, skeleton: Skeleton) -> Floats:
        """Return the (K, 3) keypoints in world coordinates, in the skeleton's order."""
        points = car_keypoints(self.car)
        own = np.stack([points[name] for name in skeleton.names])
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
        placed: Floats = own @ turn + np.array([self.x, self.y, 0.0])
        return placed

    def outline(self) -> Floats:
        """Return 12 points in world coordinates within which the car lies but for its mirrors: to judge it quickly."""
        ground = np.column_stack([self.footprint(0.0), np.zeros(4)])
        belt = ground + np.array([0.0, 0.0, self.car.belt])
        # The roof is shorter and narrower than the car.
        roof = ground.mean(axis=0) + 0.6 * (ground - ground.mean(axis=0)) + np.array([0.0, 0.0, self.car.height])
        points: Floats = np.concatenate([ground, belt, roof])
        return points

    def footprint(self, margin: float) -> Floats:
        """Return the (4, 2) corners of the car on the ground, wider by ``margin`` metres all round."""
        x, y = self.car.length / 2 + margin, self.car.width / 2 + margin
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        corners = np.array([[x, y], [-x, y], [-x, -y], [x, -y]])
        placed: Floats = corners @ np.array([[cos, sin], [-sin, cos]]) + np.array([self.x, self.y])
        return placed


@dataclass(frozen=True, kw_only=True)
class Light:
    """The light and the air.

    Attributes:
        sun: unit vector towards the sun.
        sun_color: linear RGB of direct light; black when the sky is covered.
        sky: linear RGB of the sky at the horizon and above.
        ambient: linear RGB of the light from all round.
        fog: share of light lost per metre.
    """

    sun: RGB
    sun_color: RGB
    sky: tuple[RGB, RGB]
    ambient: RGB
    fog: float


@dataclass(frozen=True, kw_only=True)
class Ground:
    """How the ground is painted.

    Attributes:
        base: linear RGB beside the road.
        road: linear RGB of the road.
        line: linear RGB of the markings.
        heading: direction of the road, in radians.
        centre: a point (x, y) on the road's middle line.
        half_width: of the road, in metres; 0 for no road.
        lanes: how many lanes; markings between them are dashed.
        bays: distance between the lines of parking bays on the road, in metres; 0 for none.
        tiles: side of paving stones beside the road, in metres; 0 for none.
        contrast: of the texture, 0 to 1.
        offset: where in the noise the texture begins, in metres.
    """

    base: RGB
    road: RGB
    line: RGB
    heading: float
    centre: tuple[float, float]
    half_width: float
    lanes: int
    bays: float
    tiles: float
    contrast: float
    offset: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Finish:
    """What the camera does to the picture.

    Attributes:
        exposure: factor on the light.
        tint: factors on red, green, blue.
        contrast: about middle grey.
        blur: Gaussian sigma in pixels.
        noise: standard deviation in grey levels (of 255).
        vignette: how much darker the corners are, 0 to 1.
        seed: of the noise.
    """

    exposure: float
    tint: RGB
    contrast: float
    blur: float
    noise: float
    vignette: float
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Everything in one picture.

    Attributes:
        camera: who looks.
        cars: the cars; all of them are labelled.
        things: what else stands there (meshes in world coordinates); it throws shadows and hides cars.
        light: the light and the air.
        ground: how the ground is painted.
        finish: what the camera does to the picture.
    """

    camera: Camera
    cars: tuple[PlacedCar, ...]
    things: tuple[Mesh, ...]
    light: Light
    ground: Ground
    finish: Finish

    @cached_property
    def mesh(self) -> Mesh:
        """All triangles: the cars' in their order, then the things'."""
        return merge([*(car.mesh for car in self.cars), *self.things])

    @cached_property
    def group(self) -> Ints:
        """(T,) which car each triangle of ``mesh`` belongs to, -1 for things."""
        counts = [len(car.mesh.triangles) for car in self.cars]
        things = sum(len(thing.triangles) for thing in self.things)
        return np.repeat(np.array([*range(len(counts)), -1]), [*counts, things])

    def with_cars(self, cars: Sequence[PlacedCar]) -> Scene:
        """Return the scene with other cars."""
        return replace(self, cars=tuple(cars))
