"""The car: its dimensions, triangle mesh and eight keypoints; and solids shared with other modules.

World and car coordinates are in meters, right-handed, z up; the ground is z = 0. Triangles are counter-clockwise seen
from outside. Colors are linear RGB from 0 to 1.

The car's own coordinates: the origin is on the ground below its center, x forward, y to its left. The model is
symmetric, so a mirrored image shows a car with left and right swapped.

The eight points are points of the surface:

- a bumper point is the bumper's lower outer corner, in the middle of its rounding as seen from above;
- a tire point is the center of the outer face of the wheel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from posetools.core.geometry import Floats, Ints

LinearRGB = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Mesh:
    """V vertices and T triangles.

    Attributes:
        vertices: (V, 3) in meters.
        triangles: (T, 3) indices of vertices, counter-clockwise from outside.
        colors: (T, 3) linear RGB.
        gloss: (T,) share of the surroundings that the face reflects when seen head-on, 0 (matt) to 1.
    """

    vertices: Floats
    triangles: Ints
    colors: Floats
    gloss: Floats

    def placed(self, x: float, y: float, heading: float) -> Mesh:
        """Return the mesh, placed by ``place``."""
        return replace(self, vertices=place(self.vertices, x, y, heading))


def place(points: Floats, x: float, y: float, heading: float) -> Floats:
    """Return (N, 3) points rotated about the vertical by ``heading`` (radians, from +x to +y), then moved by (x, y)."""
    cos, sin = np.cos(heading), np.sin(heading)
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    placed: Floats = points @ turn + np.array([x, y, 0.0])
    return placed


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """Return all meshes as one, in order."""
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        triangles=np.concatenate([mesh.triangles + at for mesh, at in zip(meshes, offsets[:-1], strict=True)]),
        colors=np.concatenate([mesh.colors for mesh in meshes]),
        gloss=np.concatenate([mesh.gloss for mesh in meshes]),
    )


def polygon(points: Floats, color: LinearRGB, *, facing: LinearRGB, gloss: float = 0.0) -> Mesh:
    """Return a convex polygon of (M, 3) points, visible from the side that ``facing`` points to."""
    count = len(points)
    first = np.zeros(count - 2, dtype=np.int64)
    fan = np.stack([first, np.arange(1, count - 1), np.arange(2, count)], axis=1)
    if _cross(points[1] - points[0], points[2] - points[0]) @ np.array(facing) < 0:
        fan = fan[:, ::-1]
    return _mesh(points, fan, color, gloss)


def loft(rings: Floats, colors: Sequence[LinearRGB], *, ends: tuple[LinearRGB, LinearRGB], gloss: float = 0.0) -> Mesh:
    """Return the closed solid through (R, M, 3) rings, each a convex polygon of M points.

    Args:
        rings: the cross-sections from one end to the other.
        colors: M colors: of the strip between points m and m + 1 of every ring.
        ends: the colors of the faces of the first and the last ring.
        gloss: of all faces.
    """
    count, points = rings.shape[:2]
    near = np.arange(points)
    far = (near + 1) % points
    row = np.arange(count - 1)[:, None] * points
    a, b, c, d = row + near, row + far, row + points + far, row + points + near
    sides = np.stack([np.stack([a, b, c], axis=-1), np.stack([a, c, d], axis=-1)], axis=2).reshape(-1, 3)
    side_colors = np.repeat(np.tile(np.array(colors), (count - 1, 1)), 2, axis=0)
    zero = np.zeros(points - 2, dtype=np.int64)
    fan = np.stack([zero, np.arange(1, points - 1), np.arange(2, points)], axis=1)
    triangles = np.concatenate([sides, fan[:, ::-1], fan + (count - 1) * points])
    vertices = rings.reshape(-1, 3)
    one, two, three = (vertices[triangles[:, i]] for i in range(3))
    # Six times the volume: negative if the triangles face inward.
    if (one * _cross(two, three)).sum() < 0:
        triangles = triangles[:, ::-1]
    caps = np.repeat(np.array(ends), points - 2, axis=0)
    return Mesh(vertices, triangles, np.concatenate([side_colors, caps]), np.full(len(triangles), gloss))


def box(low: LinearRGB, high: LinearRGB, color: LinearRGB, *, top: LinearRGB | None = None, gloss: float = 0.0) -> Mesh:
    """Return the axis-aligned box between two opposite corners."""
    (x1, y1, z1), (x2, y2, z2) = low, high
    ring = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
    rings = np.stack([np.column_stack([ring, np.full(4, z)]) for z in (z1, z2)])
    return loft(rings, [color] * 4, ends=(color, top or color), gloss=gloss)


def cylinder(center: LinearRGB, radii: tuple[float, float], height: float, color: LinearRGB, *, sides: int = 8) -> Mesh:
    """Return an upright cylinder, or a cone frustum, on the center of its base; ``radii`` of base and top."""
    angle = np.arange(sides) * (2 * np.pi / sides)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    rings = np.stack(
        [
            np.column_stack([circle * radius + center[:2], np.full(sides, center[2] + z)])
            for radius, z in ((radii[0], 0.0), (radii[1], height))
        ]
    )
    return loft(rings, [color] * sides, ends=(color, color))


def ball(center: LinearRGB, radius: float, color: LinearRGB, *, squash: float, rng: np.random.Generator) -> Mesh:
    """Return a rough ball (a treetop): rings of jittered points, with slightly varying face colors."""
    angle = np.arange(8) * (2 * np.pi / 8)
    rings = []
    for level in np.linspace(-0.95, 0.95, 5):
        reach = radius * np.sqrt(1 - level**2) * rng.uniform(0.85, 1.1, 8)
        height = np.full(8, center[2] + level * radius * squash)
        rings.append(np.column_stack([center[0] + reach * np.cos(angle), center[1] + reach * np.sin(angle), height]))
    mesh = loft(np.stack(rings), [color] * 8, ends=(color, color))
    return replace(mesh, colors=mesh.colors * rng.uniform(0.7, 1.3, (len(mesh.colors), 1)))


def patch(corners: Floats, u: tuple[float, float], v: tuple[float, float], *, lift: float) -> Floats:
    """Return the (4, 3) corners of a part of a four-sided face, lifted off it along its normal.

    Args:
        corners: (4, 3): the face's points at (u, v) = (0, 0), (1, 0), (1, 1), (0, 1).
        u: start and end, in fractions of the face.
        v: start and end, in fractions of the face.
        lift: in meters, toward the side from which the corners are counter-clockwise.
    """
    normal = _cross(corners[2] - corners[0], corners[3] - corners[1])
    weights = np.array([[(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t] for t in v for s in u])[[0, 1, 3, 2]]
    lifted: Floats = weights @ corners + lift * normal / np.sqrt(normal @ normal)
    return lifted


def panel(corners: Floats, color: LinearRGB, *, gloss: float = 0.0) -> Mesh:
    """Return the four-sided face of (4, 3) corners, visible from the side where they are counter-clockwise."""
    return _mesh(corners, np.array([[0, 1, 2], [0, 2, 3]]), color, gloss)


def normals(mesh: Mesh) -> Floats:
    """Return the (T, 3) outward unit normals of the faces."""
    a, b, c = (mesh.vertices[mesh.triangles[:, i]] for i in range(3))
    across = _cross(b - a, c - a)
    unit: Floats = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    return unit


def _mesh(vertices: Floats, triangles: Ints, color: LinearRGB, gloss: float) -> Mesh:
    return Mesh(vertices, triangles, np.tile(np.array(color), (len(triangles), 1)), np.full(len(triangles), gloss))


def _cross(a: Floats, b: Floats) -> Floats:
    """Return the cross products of (..., 3) vectors; numpy's own is many times slower for a single pair."""
    x1, y1, z1 = a[..., 0], a[..., 1], a[..., 2]
    x2, y2, z2 = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2], axis=-1)


# Distance of a decoration from its face, in meters.
_LIFT = 0.006
# Distance of the body's sides from the overall width, which is that of the wheels.
_INSET = 0.012
_SEGMENTS = 16

_Span = tuple[float, float]

_DARK: LinearRGB = (0.012, 0.012, 0.013)
_RUBBER: LinearRGB = (0.022, 0.022, 0.024)
_GLASS: LinearRGB = (0.018, 0.022, 0.026)
_PLASTIC: LinearRGB = (0.035, 0.035, 0.037)


@dataclass(frozen=True, kw_only=True)
class Car:
    """A car's dimensions, in meters, and its colors, in linear RGB.

    Attributes:
        style: name of the body style, for information only.
        length: over the bumpers.
        width: over the wheels and the body, without mirrors.
        height: of the roof.
        clearance: of the body's underside.
        bumper: height of the bumpers' lower edge.
        belt: height of the windows' lower edge.
        nose: height of the hood's front edge.
        tail: height of the trunk's rear edge.
        bonnet: length from the front to the foot of the windshield.
        deck: length from the rear to the foot of the rear window.
        rake: distance of the roof's front edge behind the foot of the windshield.
        slope: distance of the roof's rear edge before the foot of the rear window.
        tuck: distance of the roof's sides from those of the belt line.
        corner: radius of the bumpers' corners as seen from above.
        wheel: radius of the wheels.
        overhang: from the front to the front axle, and from the rear axle to the rear.
        windows: side windows on each side.
        paint: the body.
        cladding: the lower part of the body.
        rim: the wheels' rims.
        rear_plate: the rear license plate.
        lamp: the headlights.
    """

    style: str
    length: float
    width: float
    height: float
    clearance: float
    bumper: float
    belt: float
    nose: float
    tail: float
    bonnet: float
    deck: float
    rake: float
    slope: float
    tuck: float
    corner: float
    wheel: float
    overhang: tuple[float, float]
    windows: int
    paint: LinearRGB
    cladding: LinearRGB
    rim: LinearRGB
    rear_plate: LinearRGB
    lamp: LinearRGB

    @property
    def side(self) -> float:
        """The distance of the body's widest line from the center."""
        return self.width / 2 - _INSET


def car_keypoints(car: Car) -> dict[str, Floats]:
    """Return each keypoint's name and its (3,) place in the car's coordinates, in meters."""
    # The middle of a quarter circle is this share of its radius inside the corner of the square around it.
    inside = (1 - np.sqrt(0.5)) * car.corner
    bumper = (car.length / 2 - inside, car.side - inside, car.bumper)
    front_axle, rear_axle = car.length / 2 - car.overhang[0], car.overhang[1] - car.length / 2
    points = {}
    for name, sign in (("left", 1.0), ("right", -1.0)):
        points[f"{name}-front-bumper"] = np.array([bumper[0], sign * bumper[1], bumper[2]])
        points[f"{name}-rear-bumper"] = np.array([-bumper[0], sign * bumper[1], bumper[2]])
        points[f"{name}-front-tire"] = np.array([front_axle, sign * car.width / 2, car.wheel])
        points[f"{name}-rear-tire"] = np.array([rear_axle, sign * car.width / 2, car.wheel])
    return points


def car_mesh(car: Car) -> Mesh:
    """Return the whole car in its own coordinates."""
    rings = _body_rings(car)
    body_colors = [car.cladding, car.paint, car.paint, car.paint, car.paint, car.paint, car.cladding, _DARK]
    body = loft(rings, body_colors, ends=(car.paint, car.paint), gloss=0.12)
    parts = [body, *_front(car, rings), *_rear(car, rings), *_cabin(car), *_mirrors(car)]
    front_axle, rear_axle = car.length / 2 - car.overhang[0], car.overhang[1] - car.length / 2
    for axle in (front_axle, rear_axle):
        for side in (1.0, -1.0):
            parts += _wheel(car, axle, side)
    return merge(parts)


def shadow_mesh(car: Car) -> Mesh:
    """Return a coarse mesh of the car for its shadow on the ground."""
    x, y = car.length / 2, car.side
    lower = box((-x, -y, car.clearance), (x, y, car.belt), car.paint)
    feet = box((-x + 0.4, -y, 0.0), (x - 0.4, y, car.clearance), car.paint)
    return merge([lower, feet, loft(_cabin_rings(car), [car.paint] * 4, ends=(car.paint, car.paint))])


def _body_rings(car: Car) -> Floats:
    """Return the (R, 8, 3) cross-sections of the lower body, from the front to the rear.

    Points 0 to 3 run up the left side (lower edge, crease, shoulder, top), 4 to 7 down the right one.
    """
    r = car.corner
    end, bend = car.length / 2, (1 - np.sqrt(0.5)) * r
    # x, half-width at the widest, lower edge, top
    stations = [
        (end, car.side - r, car.bumper, car.nose - 0.07),
        (end - bend, car.side - bend, car.bumper, car.nose - 0.02),
        (end - r, car.side, car.bumper, car.nose),
        (end - r - 0.15, car.side, car.clearance, car.nose + 0.02),
        (end - car.bonnet, car.side, car.clearance, car.belt),
        (car.deck - end, car.side, car.clearance, car.belt),
        (r - end + 0.02, car.side, car.clearance, car.tail + 0.02),
        (r - end, car.side, car.bumper, car.tail),
        (bend - end, car.side - bend, car.bumper, car.tail - 0.02),
        (-end, car.side - r, car.bumper, car.tail - 0.07),
    ]
    rings = []
    for x, half, low, top in stations:
        crease, shoulder = low + 0.42 * (top - low), low + 0.85 * (top - low)
        left = [(half, low), (half, crease), (half - 0.015, shoulder), (half - 0.09, top)]
        outline = left + [(-y, z) for y, z in reversed(left)]
        rings.append([(x, y, z) for y, z in outline])
    return np.array(rings)


def _cabin_rings(car: Car) -> Floats:
    """Return the (3, 4, 3) horizontal sections of the cabin: base, edge of the roof, roof."""
    end = car.length / 2
    front, rear = end - car.bonnet, car.deck - end
    foot = car.belt - 0.04
    y = car.side - 0.07

    def ring(x1: float, x2: float, half: float, z: float) -> list[tuple[float, float, float]]:
        return [(x1, half, z), (x2, half, z), (x2, -half, z), (x1, -half, z)]

    edge = car.height - 0.07
    roof_front, roof_rear = front - car.rake, rear + car.slope
    return np.array(
        [
            ring(front, rear, y, foot),
            ring(roof_front, roof_rear, y - car.tuck, edge),
            ring(roof_front - 0.2, roof_rear + 0.15, y - car.tuck - 0.12, car.height),
        ]
    )


# A face's corners are counter-clockwise from outside, starting at the lower left one.
def _cabin(car: Car) -> list[Mesh]:
    foot, edge, _ = rings = _cabin_rings(car)
    faces = {
        "front": np.array([foot[3], foot[0], edge[0], edge[3]]),
        "rear": np.array([foot[1], foot[2], edge[2], edge[1]]),
        "left": np.array([foot[0], foot[1], edge[1], edge[0]]),
        "right": np.array([foot[2], foot[3], edge[3], edge[2]]),
    }
    panes: list[tuple[str, _Span, _Span]] = [("front", (0.04, 0.96), (0.08, 0.95)), ("rear", (0.08, 0.92), (0.2, 0.9))]
    bounds = np.linspace(0.07, 0.95, car.windows + 1)
    for low, high in zip(bounds[:-1] + 0.012, bounds[1:] - 0.012, strict=True):
        # The left face runs from front to rear, the right one from rear to front.
        panes += [("left", (low, high), (0.14, 0.88)), ("right", (1 - high, 1 - low), (0.14, 0.88))]
    glass = [_on(faces[face], u, v, _GLASS, gloss=0.45) for face, u, v in panes]
    return [loft(rings, [car.paint] * 4, ends=(car.paint, car.paint), gloss=0.12), *glass]


def _front(car: Car, rings: Floats) -> list[Mesh]:
    end, middle, side = rings[:3]
    upper = np.array([end[6], end[1], end[2], end[5]])
    lower = np.array([end[7], end[0], end[1], end[6]])
    lamps = [_on(upper, span, (0.25, 0.95), car.lamp, gloss=0.2) for span in ((0.0, 0.2), (0.8, 1.0))]
    for near, far, reach in ((end, middle, 1.0), (middle, side, 0.6)):
        left = np.array([near[1], far[1], far[2], near[2]])
        right = np.array([far[6], near[6], near[5], far[5]])
        lamps.append(_on(left, (0.0, reach), (0.25, 0.95), car.lamp, gloss=0.2))
        lamps.append(_on(right, (1.0 - reach, 1.0), (0.25, 0.95), car.lamp, gloss=0.2))
    return [
        *lamps,
        _on(upper, (0.26, 0.74), (0.1, 0.9), _DARK),
        _on(lower, (0.14, 0.86), (0.15, 0.6), _PLASTIC),
        _on(lower, (0.36, 0.64), (0.65, 0.98), (0.8, 0.8, 0.8)),
    ]


def _rear(car: Car, rings: Floats) -> list[Mesh]:
    side, middle, end = rings[-3:]
    red: LinearRGB = (0.42, 0.008, 0.01)
    upper = np.array([end[1], end[6], end[5], end[2]])
    lower = np.array([end[0], end[7], end[6], end[1]])
    lamps = [_on(upper, span, (0.1, 0.9), red, gloss=0.1) for span in ((0.0, 0.22), (0.78, 1.0))]
    for near, far, reach in ((end, middle, 1.0), (middle, side, 0.7)):
        left = np.array([far[1], near[1], near[2], far[2]])
        right = np.array([near[6], far[6], far[5], near[5]])
        lamps.append(_on(left, (1.0 - reach, 1.0), (0.1, 0.9), red, gloss=0.1))
        lamps.append(_on(right, (0.0, reach), (0.1, 0.9), red, gloss=0.1))
    return [
        *lamps,
        # Reversing lights, which also separate red lamps from red paint.
        *(_on(upper, span, (0.1, 0.9), (0.7, 0.7, 0.7)) for span in ((0.22, 0.26), (0.74, 0.78))),
        _on(upper, (0.36, 0.64), (0.1, 0.45), car.rear_plate),
        _on(lower, (0.1, 0.9), (0.0, 0.4), _PLASTIC),
    ]


def _mirrors(car: Car) -> list[Mesh]:
    x = car.length / 2 - car.bonnet - 0.32
    y, z = car.side - 0.06, car.belt + 0.03
    left = box((x - 0.06, y, z), (x + 0.06, y + 0.2, z + 0.14), car.paint, gloss=0.1)
    right = box((x - 0.06, -y - 0.2, z), (x + 0.06, -y, z + 0.14), car.paint, gloss=0.1)
    return [left, right]


def _wheel(car: Car, x: float, side: float) -> list[Mesh]:
    """Return tire, rim and arch of the wheel at ``x`` on the left (``side`` 1) or the right (-1)."""
    angle = np.arange(_SEGMENTS) * (2 * np.pi / _SEGMENTS)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])

    def ring(radius: float, y: float) -> Floats:
        return np.column_stack([x + radius * circle[:, 0], np.full(_SEGMENTS, y), car.wheel + radius * circle[:, 1]])

    outer = side * car.width / 2
    rings = np.stack([ring(car.wheel, outer), ring(car.wheel, outer - side * 0.22)])
    tire = loft(rings, [_RUBBER] * _SEGMENTS, ends=(_RUBBER, _DARK))
    rim = polygon(ring(0.64 * car.wheel, outer + side * 0.004), car.rim, facing=(0.0, side, 0.0), gloss=0.15)
    spokes = [polygon(spoke, _DARK, facing=(0.0, side, 0.0)) for spoke in _gaps(car, x, outer + side * 0.008)]
    bow = np.linspace(np.arcsin((car.clearance - car.wheel) / (1.14 * car.wheel)), np.pi / 2, 6)
    bow = np.concatenate([bow, np.pi - bow[-2::-1]])
    arch = np.column_stack(
        [
            x + 1.14 * car.wheel * np.cos(bow),
            np.full(len(bow), side * (car.side + 0.004)),
            car.wheel + 1.14 * car.wheel * np.sin(bow),
        ]
    )
    return [tire, rim, *spokes, polygon(arch, _DARK, facing=(0.0, side, 0.0))]


def _gaps(car: Car, x: float, y: float) -> list[Floats]:
    """Return the gaps between the five spokes of a rim, as (4, 3) polygons."""
    gaps = []
    for middle in np.arange(5) * (2 * np.pi / 5) + 0.3:
        corners = [(0.22, -0.25), (0.54, -0.42), (0.54, 0.42), (0.22, 0.25)]
        gaps.append(
            np.array(
                [
                    (x + r * car.wheel * np.cos(middle + a), y, car.wheel + r * car.wheel * np.sin(middle + a))
                    for r, a in corners
                ]
            )
        )
    return gaps


def _on(face: Floats, u: _Span, v: _Span, color: LinearRGB, *, gloss: float = 0.0) -> Mesh:
    return panel(patch(face, u, v, lift=_LIFT), color, gloss=gloss)
