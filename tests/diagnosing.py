"""Cars placed by the renderer, predictions of them, and errors of each kind planted in the predictions.

A point is moved to the place of another keypoint only if that is clearly the nearest one: in a car seen from the
front, the left front tire and the left rear one may be at the same place, and no diagnosis can tell which one was
meant.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.geometry import Bools, Floats, Ints, clip_boxes, pairwise_iou
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.evaluation.coco import Predictions
from posetools.synth.sample import FULL_VARIETY, sample_scene

CAR8 = load_skeleton("car8")
SIZE = (1280, 960)
# At car8's sigmas of 0.05, ks is 0.85 at 0.057 sqrt(area), and 0.5 at 0.118 sqrt(area).
NOISE = 0.04
OTHER = {"left": "right", "right": "left", "front": "rear", "rear": "front", "bumper": "tire", "tire": "bumper"}
# Which words of car8's names an inversion swaps.
EXCHANGED = {"left_right": (0,), "front_rear": (1,), "diagonal": (0, 1), "neighbour": (2,)}


@cache
def cars(images: int = 60, seed: int = 0) -> Dataset:
    """Return cars placed by the renderer, without pixels: all points in the image are labeled."""
    rng = np.random.default_rng(seed)
    builder = DatasetBuilder(CAR8)
    limit = np.array(SIZE, dtype=np.float64)
    for number in range(images):
        name = f"{number:04}.jpg"
        builder.add_image(Image(name, *SIZE))
        scene = sample_scene(rng, SIZE, replace(FULL_VARIETY, cars=(0.2, 0.3, 0.3, 0.2), things=False))
        for place, car in enumerate(scene.cars):
            pixels, _ = scene.camera.project(car.keypoints(CAR8))
            outline, _ = scene.camera.project(car.outline())
            inside = ((pixels >= 0) & (pixels <= limit)).all(axis=1)
            box = clip_boxes(np.concatenate([outline.min(axis=0), outline.max(axis=0)])[None], SIZE)[0]
            points = np.column_stack([pixels, np.where(inside, rng.integers(1, 3, 8), 0)])
            builder.add_instance(name, box=box, keypoints=points, origin=Origin(f"{name}: car {place}"))
    return builder.build()


def disc(rng: np.random.Generator, least: float, most: float, shape: tuple[int, ...]) -> Floats:
    """Return (*shape, 2) offsets of a length between two limits, in any direction."""
    angle, length = rng.uniform(0, 2 * np.pi, shape), rng.uniform(least, most, shape)
    return np.stack([np.cos(angle) * length, np.sin(angle) * length], axis=-1)


@dataclass
class Planted:
    """Predictions of ``truth``, one per object and in its order, in which errors are planted.

    Attributes:
        truth: the labels.
        rng: the random generator.
        clear: whether points are moved only to places that clearly belong to one keypoint.
        kinds: (N, K) the kind of each labeled point, empty if not labeled.
        roles: the kinds of the extra predictions.
    """

    truth: Dataset
    rng: np.random.Generator
    clear: bool = True
    boxes: Floats = field(init=False)
    points: Floats = field(init=False)
    scores: Floats = field(init=False)
    kept: Bools = field(init=False)
    kinds: np.ndarray[tuple[int, ...], np.dtype[np.object_]] = field(init=False)
    more: list[tuple[int, Floats, float, Floats]] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        n, k = self.truth.keypoints.shape[:2]
        labeled = self.truth.keypoints[:, :, 2] > 0
        self.scales = np.sqrt(self.truth.areas)
        sides = self.truth.boxes[:, 2:] - self.truth.boxes[:, :2]
        wobble = self.rng.uniform(-0.02, 0.02, (n, 4)) * np.concatenate([sides, sides], axis=1)
        self.boxes = self.truth.boxes + wobble
        offsets = disc(self.rng, 0, NOISE, (n, k)) * self.scales[:, None, None]
        self.points = self.truth.keypoints[:, :, :2] + offsets
        anywhere = self.rng.uniform(self.truth.boxes[:, None, :2], self.truth.boxes[:, None, 2:], (n, k, 2))
        self.points[~labeled] = anywhere[~labeled]
        self.scores = self.rng.uniform(0.5, 1.0, n)
        self.kept = np.ones(n, dtype=np.bool_)
        self.kinds = np.where(labeled, "good", "").astype(object)

    def predictions(self) -> Predictions:
        """Return the predictions in random order."""
        index = [*self.truth.image_index[self.kept].tolist(), *(one[0] for one in self.more)]
        boxes = np.concatenate([self.boxes[self.kept], *(one[1][None] for one in self.more)])
        scores = np.array([*self.scores[self.kept].tolist(), *(one[2] for one in self.more)])
        points = np.concatenate([self.points[self.kept], *(one[3][None] for one in self.more)])
        order = self.rng.permutation(len(scores))
        return Predictions(np.array(index, dtype=np.int64)[order], boxes[order], scores[order], points[order])

    def plant(self, kind: str, share: float) -> int:
        """Plant errors of one kind in a fraction of what is still correct; return how many points or predictions."""
        if kind in ("no_box", "box_shifted"):
            return sum(self._object(kind, row) for row in self._rows() if self.rng.random() < share)
        if kind in ("duplicate", "background"):
            return sum(self._more(kind, row) for row in self._rows() if self.rng.random() < share)
        good = np.argwhere((self.kinds == "good") & (self.rng.random(self.kinds.shape) < share))
        return sum(self._point(kind, int(row), int(name)) for row, name in good)

    def _rows(self) -> list[int]:
        """Return the objects with at least one labeled point whose labeled points are all still correct."""
        clean = np.isin(self.kinds, ["", "good"]).all(axis=1) & (self.kinds == "good").any(axis=1)
        return [int(row) for row in np.flatnonzero(clean & self.kept)]

    def _same_image(self, row: int) -> Ints:
        rows: Ints = np.flatnonzero(self.truth.image_index == self.truth.image_index[row])
        return rows

    def _object(self, kind: str, row: int) -> int:
        labeled = self.kinds[row] != ""
        if kind == "no_box":
            self.kept[row] = False
        else:
            x1, _, x2, _ = self.truth.boxes[row]
            # A box moved by this fraction of its width has an IoU of (1 - f) / (1 + f): 0.33 to 0.18.
            shift = (x2 - x1) * self.rng.uniform(0.5, 0.7) * self.rng.choice([-1.0, 1.0])
            moved = self.truth.boxes[row] + np.array([shift, 0.0, shift, 0.0])
            rows = self._same_image(row)
            overlap = pairwise_iou(moved[None], self.truth.boxes[rows])[0]
            if rows[overlap.argmax()] != row or abs(shift) < 0.2 * self.scales[row]:
                return 0
            self.boxes[row] = moved
            self.points[row, :, 0] += shift
        self.kinds[row, labeled] = kind
        return int(labeled.sum())

    def _more(self, kind: str, row: int) -> int:
        image = int(self.truth.image_index[row])
        score = float(self.rng.uniform(0.5, 1.0))
        if kind == "duplicate":
            # The second one has a lower score than the first: else it would be the first.
            score = 0.9 * float(self.scores[row])
            box, points = self.boxes[row] + 1.0, self.points[row] + 1.0
        else:
            corner = self.rng.uniform(0, np.array(SIZE) - 60)
            box = np.concatenate([corner, corner + self.rng.uniform(20, 60, 2)])
            points = self.rng.uniform(box[:2], box[2:], (8, 2))
            if pairwise_iou(box[None], self.truth.boxes[self._same_image(row)]).max() >= 0.08:
                return 0
        self.more.append((image, box, score, points))
        self.roles.append(kind)
        return 1

    def _point(self, kind: str, row: int, name: int) -> int:
        own, scale = self.truth.keypoints[row, name, :2], self.scales[row]
        if kind == "jitter":
            target = own + disc(self.rng, 0.07, 0.105, ()) * scale
            if self.clear and self._apart(row, target, but=(row, name)).min() < 0.11:
                return 0
            self.points[row, name] = target
        elif kind == "missing":
            target = own + disc(self.rng, 0.3, 2.0, ()) * scale
            if self.clear and self._apart(row, target).min() < 0.15:
                return 0
            self.points[row, name] = target
        else:
            other = self._other(kind, row, name)
            if other is None or (self.clear and not self._clear(row, name, *other)):
                return 0
            place = self.truth.keypoints[other[0], other[1], :2]
            self.points[row, name] = place + disc(self.rng, 0, NOISE, ()) * self.scales[other[0]]
        self.kinds[row, name] = kind
        return 1

    def _other(self, kind: str, row: int, name: int) -> tuple[int, int] | None:
        """Return the (object, keypoint) whose place the point moves to, or None if there is none."""
        if kind == "swap":
            rows = [other for other in self._same_image(row).tolist() if other != row]
            if not rows:
                return None
            # The same keypoint of another car, or any keypoint of it.
            target = int(self.rng.choice(rows)), name if self.rng.random() < 0.5 else int(self.rng.integers(8))
        else:
            words = CAR8.names[name].split("-")
            for word in EXCHANGED[kind]:
                words[word] = OTHER[words[word]]
            target = row, CAR8.index["-".join(words)]
        return target if self.truth.keypoints[*target, 2] > 0 else None

    def _clear(self, row: int, name: int, other: int, place: int) -> bool:
        """Return whether the place is far from the point's own, and nearer to its target than to all others."""
        at = self.truth.keypoints[other, place, :2]
        if np.linalg.norm(at - self.truth.keypoints[row, name, :2]) / self.scales[row] < 0.2:
            return False
        apart = self._apart(row, at, noise=NOISE * self.scales[other], but=(other, place))
        return bool(apart.min() > 1.5 * NOISE)

    def _apart(self, row: int, at: Floats, *, noise: float = 0.0, but: tuple[int, int] | None = None) -> Floats:
        """Return the (n, K) distances of a place from the labeled points but one, in units of their sqrt(area)."""
        rows = self._same_image(row)
        labels = self.truth.keypoints[rows]
        away = np.linalg.norm(labels[:, :, :2] - at, axis=2) - noise
        apart = np.where(labels[:, :, 2] > 0, away / self.scales[rows][:, None], np.inf)
        if but is not None:
            apart[rows.tolist().index(but[0]), but[1]] = np.inf
        return apart


def shifted_by(truth: Dataset, shares: Floats) -> Predictions:
    """Return predictions whose (N, K) points are moved right by fractions of sqrt(area); scores decrease by object."""
    points = truth.keypoints[:, :, :2].copy()
    points[:, :, 0] += shares * np.sqrt(truth.areas)[:, None]
    return Predictions(truth.image_index, truth.boxes.copy(), np.linspace(1.0, 0.5, len(truth)), points)


def one_car(*, others: int = 0, size: float = 400.0) -> Dataset:
    """Return cars side by side in one image, seen from the side, 0.4 of their length high, all points visible."""
    at = {point.name: point.at for point in CAR8.template.points} if CAR8.template else {}
    flat = np.array([[at[name][0], at[name][2] - 2.0 * (at[name][1] < 0)] for name in CAR8.names])
    unit = (flat - flat.min(axis=0)) / np.ptp(flat, axis=0)
    builder = DatasetBuilder(CAR8)
    builder.add_image(Image("a.jpg", 4000, 1000))
    for number in range(1 + others):
        box = np.array([100.0 + 1.2 * size * number, 100, 100 + size * (1 + 1.2 * number), 100 + 0.4 * size])
        points = box[:2] + unit * (box[2:] - box[:2])
        builder.add_instance(
            "a.jpg", box=box, keypoints=np.column_stack([points, np.full(8, 2)]), origin=Origin(str(number))
        )
    return builder.build()


def only_image(boxes: Floats, points: Floats) -> Predictions:
    """Return the predictions for the only image, by descending score."""
    return Predictions(np.zeros(len(boxes), dtype=np.int64), boxes.copy(), np.linspace(1, 0.5, len(boxes)), points)
