"""Fit a rigid object, seen by a pinhole camera, to labeled keypoints: thousands of objects at once.

The result for each object is its most probable shape and camera (a MAP estimate): the smallest sum of squares of

- the distances between labeled and projected keypoints, in units of the labeling precision;
- the shape's deviations from the mean, in standard deviations of the template's modes;
- unusual values of the camera's roll, focal length, and height above the ground the object stands on.

The last one detects mirrored objects: in an image, a mirrored object looks like an object seen from below.

The parameters of one object are ``a, e, r, u, v, log s, log f, b_1 ... b_M``. The camera looks along the heading ``a``
in the object's own frame, downwards by ``e``, and is turned about its axis by ``r``. The object's origin appears at
(u, v) from the image's center; there a meter is ``s`` pixels, so its depth is ``f / s``. With (x, y, z) a point in
the camera's axes, relative to the object's origin, and ``q = s / f``, the point appears at
``(s x + u) / (1 + q z)``, ``(s y + v) / (1 + q z)``. The minimum is found by Levenberg-Marquardt steps with exact
derivatives, starting from a linear fit of the ground plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from posetools.checks.rigid.template import Body
from posetools.core.geometry import Bools, Floats, Ints

# Standard deviation of the camera's roll.
ROLL = np.radians(6.0)
# A focal length of 1.1 times the image's longer side, give or take a factor of 1.6: phones, cars, dashboards, zooms.
FOCAL = 1.1
FOCAL_SD = 0.5
# Usual least height of a camera above the object's ground, in meters. Its deviation is HEIGHT_SD, plus SLOPE times the
# distance because the ground is not flat.
HEIGHT = 0.7
HEIGHT_SD = 0.3
SLOPE = 0.03
# Probability of a visible point on a side turned away, and of an occluded point on a side that faces the camera
# (something is in front of it); the transition between the two is soft, in the cosine of the angle.
VISIBLE_BEHIND = 0.02
HIDDEN_BEFORE = 0.15
FACING_EDGE = 0.05

# Parameters before those of the shape: a, e, r, u, v, log s, log f.
_CAMERA = 7
_FIT_STEPS = 12
_ENOUGH = 0.05
_MOST_TURN = 0.5
_NEAREST_DEPTH = 0.05
# So many objects at once fit into the CPU cache.
FITS_AT_ONCE = 512


@dataclass(frozen=True, eq=False, slots=True)
class Views:
    """N objects as labeled.

    Attributes:
        points: (N, 2, K) pixels from the image's center: x, y.
        visibility: (N, K) 0, 1 or 2; points of 0 are ignored.
        sigma: (N,) labeling precision, in pixels.
        longest: (N,) the image's longer side, in pixels.
    """

    points: Floats
    visibility: Floats
    sigma: Floats
    longest: Floats

    def __len__(self) -> int:
        return len(self.points)

    @property
    def weights(self) -> Floats:
        """(N, K): 1 / sigma of labeled points, 0 of the others."""
        weights: Floats = (self.visibility > 0) / self.sigma[:, None]
        return weights

    @classmethod
    def join(cls, parts: Sequence[Views]) -> Views:
        """Return the objects of all parts."""
        return cls(*(np.concatenate([getattr(part, field) for part in parts]) for field in cls.__slots__))

    def take(self, rows: Ints | Bools | slice) -> Views:
        """Return some of the objects."""
        return Views(self.points[rows], self.visibility[rows], self.sigma[rows], self.longest[rows])

    def renamed(self, order: Ints) -> Views:
        """Return the objects with point ``order[k]`` as point k."""
        return Views(self.points[:, :, order], self.visibility[:, order], self.sigma, self.longest)

    def without(self, k: int) -> Views:
        """Return the objects with point k unlabeled."""
        visibility = self.visibility.copy()
        visibility[:, k] = 0
        return Views(self.points, visibility, self.sigma, self.longest)


@dataclass(frozen=True, eq=False, slots=True)
class Fits:
    """The most probable object and camera of each of N views.

    Attributes:
        misfit: (N,) twice the negative log likelihood, up to a constant: of points, shape, camera and visibility.
        rms: (N,) root mean square of the labeled points' distances from the object's, in pixels.
        turned_away: (N,) how many visible points are on sides turned away.
        projected: (N, 2, K) where the points should be, in pixels from the image's center.
    """

    misfit: Floats
    rms: Floats
    turned_away: Ints
    projected: Floats


def fit(rigid: Body, views: Views, *, visibility: bool = True) -> Fits:
    """Return the fit of every view.

    Args:
        rigid: the template to fit.
        views: the labels; a fit needs at least four labeled points per object to mean anything.
        visibility: whether visibilities count.
    """
    if len(views) > FITS_AT_ONCE:
        parts = [slice(start, start + FITS_AT_ONCE) for start in range(0, len(views), FITS_AT_ONCE)]
        fits = [fit(rigid, views.take(part), visibility=visibility) for part in parts]
        return Fits(*(np.concatenate([getattr(one, field) for one in fits]) for field in Fits.__slots__))
    parameters, misfit = _minimize(rigid, views)
    seen = _SeenObjects(rigid, parameters)
    distances = ((seen.pixels - views.points) ** 2).sum(axis=1) * (views.visibility > 0)
    rms = np.sqrt(distances.sum(axis=1) / np.maximum((views.visibility > 0).sum(axis=1), 1))
    facing = seen.facing(rigid)
    if visibility:
        # The visibility of a point on no face carries no information.
        misfit = misfit + _surprise(facing, np.where(rigid.everywhere, 0.0, views.visibility))
    turned_away = ((facing < -FACING_EDGE) & (views.visibility == 2)).sum(axis=1)
    return Fits(misfit, rms, turned_away, seen.pixels)


def _surprise(facing: Floats, visibility: Floats) -> Floats:
    """Return (N,) twice the negative log likelihood of the visibilities, 0 for the likeliest."""
    toward = 1.0 / (1.0 + np.exp(-facing / FACING_EDGE))
    visible = VISIBLE_BEHIND + (1 - HIDDEN_BEFORE - VISIBLE_BEHIND) * toward
    of_visible = np.log(visible / (1 - HIDDEN_BEFORE))
    of_hidden = np.log((1 - visible) / (1 - VISIBLE_BEHIND))
    surprise: Floats = -2 * np.where(visibility == 2, of_visible, np.where(visibility == 1, of_hidden, 0.0)).sum(axis=1)
    return surprise


class _SeenObjects:
    """N objects as their cameras see them, with the terms that derivatives need."""

    def __init__(self, rigid: Body, parameters: Floats) -> None:
        a, e, r, u, v, log_s, log_f = parameters[:, :_CAMERA].T
        self.cos_e, self.sin_e, self.cos_r, self.sin_r = np.cos(e), np.sin(e), np.cos(r), np.sin(r)
        self.shape = rigid.points + np.tensordot(parameters[:, _CAMERA:], rigid.modes, 1)
        self.axes = self._axes(np.cos(a), np.sin(a))
        self.s, self.f, self.u, self.v = np.exp(log_s), np.exp(log_f), u, v
        self.q = self.s / self.f
        # (3, N, K): right, down and forward of the points.
        self.at = np.moveaxis(self.shape @ self.axes.transpose(0, 2, 1), 2, 0)
        # Points too near the camera are clamped in front of it; such a fit is bad either way.
        self.depth = np.maximum(1 + self.q[:, None] * self.at[2], _NEAREST_DEPTH)
        scaled = self.s[:, None, None] * self.at[:2].transpose(1, 0, 2)
        self.pixels: Floats = (scaled + parameters[:, 3:5, None]) / self.depth[:, None]

    def _axes(self, cos_a: Floats, sin_a: Floats) -> Floats:
        """Return (N, 3, 3): the camera's right, down and forward as rows, in the object's frame."""
        zero = np.zeros_like(cos_a)
        right = np.stack([sin_a, -cos_a, zero], axis=1)
        down = np.stack([-self.sin_e * cos_a, -self.sin_e * sin_a, -self.cos_e], axis=1)
        forward = np.stack([cos_a * self.cos_e, sin_a * self.cos_e, -self.sin_e], axis=1)
        cos, sin = self.cos_r[:, None], self.sin_r[:, None]
        return np.stack([cos * right + sin * down, cos * down - sin * right, forward], axis=1)

    def derivatives(self, rigid: Body) -> Floats:
        """Return (N, P, 2, K): how the pixels change with each parameter."""
        x, y, z = self.at
        cos_e, sin_e, cos_r, sin_r = (part[:, None] for part in (self.cos_e, self.sin_e, self.cos_r, self.sin_r))
        level_x, level_y = cos_r * x - sin_r * y, sin_r * x + cos_r * y
        # How the points move in the camera's axes: with a, then e, then r.
        ahead, drop = cos_e * z - sin_e * level_y, sin_e * level_x
        moves = np.empty((len(x), 3 + len(rigid.modes), 3, x.shape[1]))
        moves[:, 0] = np.stack([cos_r * ahead + sin_r * drop, cos_r * drop - sin_r * ahead, -cos_e * level_x], axis=1)
        moves[:, 1] = np.stack([-sin_r * z, -cos_r * z, level_y], axis=1)
        moves[:, 2] = np.stack([y, -x, np.zeros_like(x)], axis=1)
        modes = self.axes @ rigid.modes.reshape(-1, 3).T
        moves[:, 3:] = modes.reshape(len(x), 3, len(rigid.modes), x.shape[1]).transpose(0, 2, 1, 3)
        s, q, depth, pixels = self.s[:, None, None, None], self.q[:, None, None], self.depth[:, None], self.pixels
        moved = (s * moves[:, :, :2] - pixels[:, None] * (q * moves[:, :, 2])[:, :, None]) / depth[:, None]
        out = np.empty((len(x), _CAMERA + len(rigid.modes), 2, x.shape[1]))
        out[:, :3], out[:, _CAMERA:] = moved[:, :3], moved[:, 3:]
        out[:, 3:5] = np.eye(2)[None, :, :, None] / depth[:, None]
        nearer = pixels * (self.q[:, None] * z)[:, None] / depth
        out[:, 5] = s[:, 0] * self.at[:2].transpose(1, 0, 2) / depth - nearer
        out[:, 6] = nearer
        return out

    def height(self) -> tuple[Floats, Floats]:
        """Return how much too low the camera is, (N,) in standard deviations, and its derivatives (N, 7)."""
        aside = (self.sin_r * self.u + self.cos_r * self.v) / self.f
        height, sd = self.cos_e * aside + self.sin_e, np.sqrt((HEIGHT_SD * self.q) ** 2 + SLOPE**2)
        low = np.maximum((HEIGHT * self.q - height) / sd, 0.0)
        turn = self.cos_e * (self.cos_r * self.u - self.sin_r * self.v) / self.f
        change = np.zeros((len(low), _CAMERA))
        change[:, 1] = self.sin_e * aside - self.cos_e
        change[:, 2] = -turn
        change[:, 3], change[:, 4] = -self.cos_e * self.sin_r / self.f, -self.cos_e * self.cos_r / self.f
        change[:, 5] = HEIGHT * self.q
        change[:, 6] = self.cos_e * aside - HEIGHT * self.q
        return low, change * ((low > 0) / sd)[:, None]

    def facing(self, rigid: Body) -> Floats:
        """Return (N, K): the cosine between the direction to the camera and the normal that faces it most."""
        origin = np.stack([self.u / self.f, self.v / self.f, np.ones_like(self.u)], axis=1) / self.q[:, None]
        camera = -(origin[:, None] @ self.axes)
        way = camera - self.shape
        way /= np.linalg.norm(way, axis=2, keepdims=True)
        cosines = np.where(rigid.on_face, way @ rigid.normals.T, -1.0)
        facing: Floats = np.where(rigid.everywhere, 1.0, cosines.max(axis=2, initial=-1.0))
        return facing


def _system(rigid: Body, views: Views, parameters: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the sum of squares (N,), half its gradient (N, P), and its Gauss-Newton matrix (N, P, P)."""
    seen = _SeenObjects(rigid, parameters)
    weights = views.weights[:, None]
    rest = ((seen.pixels - views.points) * weights).reshape(len(views), 2 * weights.shape[2])
    slope = (seen.derivatives(rigid) * weights[:, None]).reshape(*parameters.shape, rest.shape[1])
    gradient = (slope @ rest[:, :, None])[:, :, 0]
    matrix = slope @ slope.transpose(0, 2, 1)
    prior = parameters.copy()
    prior[:, 6] -= np.log(FOCAL * views.longest)
    precision = np.ones(parameters.shape[1])
    precision[:_CAMERA] = 0.0
    precision[2], precision[6] = ROLL**-2, FOCAL_SD**-2
    low, change = seen.height()
    gradient += precision * prior
    gradient[:, :_CAMERA] += change * low[:, None]
    diagonal = np.arange(parameters.shape[1])
    matrix[:, diagonal, diagonal] += precision
    matrix[:, :_CAMERA, :_CAMERA] += change[:, :, None] * change[:, None, :]
    return (rest**2).sum(axis=1) + (precision * prior**2).sum(axis=1) + low**2, gradient, matrix


def _minimize(rigid: Body, views: Views) -> tuple[Floats, Floats]:
    """Return the best parameters (N, P) and their sums of squares (N,)."""
    parameters = _start(rigid, views)
    best, gradient, matrix = _system(rigid, views, parameters)
    damping, left = np.full(len(views), 1e-2), np.arange(len(views))
    diagonal = np.arange(parameters.shape[1])
    for _ in range(_FIT_STEPS):
        if not len(left):
            break
        damped = matrix.copy()
        damped[:, diagonal, diagonal] *= 1 + damping[left, None]
        # The matrix is singular if all points coincide.
        damped[:, diagonal, diagonal] += 1e-9
        step = np.linalg.solve(damped, gradient[:, :, None])[:, :, 0]
        for some in (slice(0, 3), slice(5, 7)):
            step[:, some] = np.clip(step[:, some], -_MOST_TURN, _MOST_TURN)
        tried = parameters[left] - step
        value, new_gradient, new_matrix = _system(rigid, views.take(left), tried)
        better = value < best[left]
        finished = better & (best[left] - value < _ENOUGH)
        parameters[left[better]], best[left[better]] = tried[better], value[better]
        gradient[better], matrix[better] = new_gradient[better], new_matrix[better]
        damping[left] *= np.where(better, 0.15, 8.0)
        left, gradient, matrix = left[~finished], gradient[~finished], matrix[~finished]
    return parameters, best


def _start(rigid: Body, views: Views) -> Floats:
    """Return start parameters: an affine fit of the mean object's ground plan, assuming a level camera.

    For a level camera the image's x runs along one direction of the ground, which gives the heading; y along the other
    direction gives the camera's height, possibly below the ground.
    """
    plan = np.column_stack([rigid.points[:, :2], np.ones(len(rigid.points))])
    share = (views.visibility > 0).astype(np.float64)
    normal = np.einsum("nk,ki,kj->nij", share, plan, plan) + np.diag([1e-3, 1e-3, 1e-9])
    found = np.linalg.solve(normal, np.einsum("nk,ki,nck->nic", share, plan, views.points))
    across, along = found[:, :2, 0], found[:, :2, 1]
    scale = np.maximum(np.hypot(across[:, 0], across[:, 1]), 1e-3)
    heading = np.arctan2(across[:, 0], -across[:, 1])
    sine = -(along[:, 0] * np.cos(heading) + along[:, 1] * np.sin(heading)) / scale
    # Clip: a camera cannot be below the ground, and one that looks straight down has no heading.
    looks_down = np.arcsin(np.clip(sine, 0.06, 0.97))
    focal, (u, v) = FOCAL * views.longest, found[:, 2].T
    start = np.zeros((len(views), _CAMERA + len(rigid.modes)))
    start[:, 0] = heading + np.arctan2(u, focal)
    start[:, 1] = looks_down - np.arctan2(v, focal)
    start[:, 3], start[:, 4] = u, v + scale * np.cos(looks_down) * rigid.points[:, 2].mean()
    start[:, 5], start[:, 6] = np.log(scale), np.log(focal)
    return start
