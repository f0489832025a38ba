"""Triangle meshes: what the rendered scenes are made of, and the few solids that cars and their surroundings need.

World and car coordinates are in metres, right-handed, z upwards; the ground is z = 0. Triangles run counter-clockwise
seen from outside. Colours are linear RGB from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from posetools.core.geometry import Floats, Ints

RGB = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Mesh:
    """V vertices and T triangles.

    Attributes:
        vertices: (V, 3) in metres.
        triangles: (T, 3) indices of vertices, counter-clockwise from outside.
        colors: (T, 3) linear RGB.
        gloss: (T,) share of the surroundings that the face mirrors when looked at head-on, 0 (matt) to 1.
    """

    vertices: Floats
    triangles: Ints
    colors: Floats
    gloss: Floats

    def placed(self, x: float, y: float, heading: float) -> Mesh:
        """Return the mesh turned about the vertical by ``heading`` (radians, from +x to +y), then moved by (x, y)."""
        cos, sin = np.cos(heading), np.sin(heading)
        turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
        return replace(self, vertices=self.vertices @ turn + np.array([x, y, 0.0]))


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """Return one mesh of all, in their order."""
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        triangles=np.concatenate([mesh.triangles + at for mesh, at in zip(meshes, offsets[:-1], strict=True)]),
        colors=np.concatenate([mesh.colors for mesh in meshes]),
        gloss=np.concatenate([mesh.gloss for mesh in meshes]),
    )


def polygon(points: Floats, color: RGB, *, facing: RGB, gloss: float = 0.0) -> Mesh:
    """Return a convex polygon of (M, 3) points that is seen from the side that ``facing`` points to."""
    count = len(points)
    first = np.zeros(count - 2, dtype=np.int64)
    fan = np.stack([first, np.arange(1, count - 1), np.arange(2, count)], axis=1)
    if _cross(points[1] - points[0], points[2] - points[0]) @ np.array(facing) < 0:
        fan = fan[:, ::-1]
    return _mesh(points, fan, color, gloss)


def loft(rings: Floats, colors: Sequence[RGB], *, ends: tuple[RGB, RGB], gloss: float = 0.0) -> Mesh:
    """Return the closed solid through (R, M, 3) rings, each a convex polygon of M points.

    Args:
        rings: the cross-sections from one end to the other.
        colors: M colours: of the strip between points m and m + 1 of every ring.
        ends: the colours of the first and of the last ring's own face.
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
    if _volume(vertices, triangles) < 0:
        triangles = triangles[:, ::-1]
    caps = np.repeat(np.array(ends), points - 2, axis=0)
    return Mesh(vertices, triangles, np.concatenate([side_colors, caps]), np.full(len(triangles), gloss))


def box(low: RGB, high: RGB, color: RGB, *, top: RGB | None = None, gloss: float = 0.0) -> Mesh:
    """Return the axis-aligned box between two opposite corners."""
    (x1, y1, z1), (x2, y2, z2) = low, high
    ring = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
    rings = np.stack([np.column_stack([ring, np.full(4, z)]) for z in (z1, z2)])
    return loft(rings, [color] * 4, ends=(color, top or color), gloss=gloss)


def cylinder(centre: RGB, radii: tuple[float, float], height: float, color: RGB, *, sides: int = 8) -> Mesh:
    """Return an upright cylinder, or a cone frustum, from its foot's centre; ``radii`` of foot and top."""
    angle = np.arange(sides) * (2 * np.pi / sides)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    rings = np.stack(
        [
            np.column_stack([circle * radius + centre[:2], np.full(sides, centre[2] + z)])
            for radius, z in ((radii[0], 0.0), (radii[1], height))
        ]
    )
    return loft(rings, [color] * sides, ends=(color, color))


def ball(centre: RGB, radius: float, color: RGB, *, squash: float, rng: np.random.Generator) -> Mesh:
    """Return a rough ball (a crown of leaves): rings of jittered points, each face's colour a little its own."""
    angle = np.arange(8) * (2 * np.pi / 8)
    rings = []
    for level in np.linspace(-0.95, 0.95, 5):
        reach = radius * np.sqrt(1 - level**2) * rng.uniform(0.85, 1.1, 8)
        height = np.full(8, centre[2] + level * radius * squash)
        rings.append(np.column_stack([centre[0] + reach * np.cos(angle), centre[1] + reach * np.sin(angle), height]))
    mesh = loft(np.stack(rings), [color] * 8, ends=(color, color))
    return replace(mesh, colors=mesh.colors * rng.uniform(0.7, 1.3, (len(mesh.colors), 1)))


def patch(corners: Floats, u: tuple[float, float], v: tuple[float, float], *, lift: float) -> Floats:
    """Return the (4, 3) corners of a part of a four-sided face, lifted off it along its normal.

    Args:
        corners: (4, 3): the face's points at (u, v) = (0, 0), (1, 0), (1, 1), (0, 1).
        u: from and to, in fractions of the face.
        v: likewise.
        lift: in metres, towards the side from which the corners run counter-clockwise.
    """
    normal = _cross(corners[2] - corners[0], corners[3] - corners[1])
    weights = np.array([[(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t] for t in v for s in u])[[0, 1, 3, 2]]
    lifted: Floats = weights @ corners + lift * normal / np.sqrt(normal @ normal)
    return lifted


def panel(corners: Floats, color: RGB, *, gloss: float = 0.0) -> Mesh:
    """Return the four-sided face of (4, 3) corners, seen from the side from which they run counter-clockwise."""
    return _mesh(corners, np.array([[0, 1, 2], [0, 2, 3]]), color, gloss)


def normals(mesh: Mesh) -> Floats:
    """Return the (T, 3) unit normals of the faces, outwards."""
    a, b, c = (mesh.vertices[mesh.triangles[:, i]] for i in range(3))
    across = _cross(b - a, c - a)
    unit: Floats = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    return unit


def _mesh(vertices: Floats, triangles: Ints, color: RGB, gloss: float) -> Mesh:
    return Mesh(vertices, triangles, np.tile(np.array(color), (len(triangles), 1)), np.full(len(triangles), gloss))


def _volume(vertices: Floats, triangles: Ints) -> float:
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    return float((a * _cross(b, c)).sum() / 6)


def _cross(a: Floats, b: Floats) -> Floats:
    """Return the cross products of (..., 3) vectors; numpy's own takes many times as long for a single pair."""
    x1, y1, z1 = a[..., 0], a[..., 1], a[..., 2]
    x2, y2, z2 = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2], axis=-1)
