"""Accuracy and speed of the geometry checks of `posetools validate`, on rendered cars with planted mistakes.

    python benchmarks/geometry.py [--cars 4000] [--seed 20260] [--json FILE]

The labels are from rendered scenes (exact points and visibility; no pixels are drawn), with 2 px of noise on every
point. There is one set without mistakes, and one in which 1 car in 20 has one: left and right exchanged, front and rear
exchanged, or one point moved in any direction by 15 to 40 % of its box's diagonal, equally often. Two more sets with
1 car in 4 of one kind give more stable rates by number of points. Only cars with at least five labeled points count. A
mirrored car counts as detected if the finding says that names are exchanged, a misplaced point if the finding names
that point. It runs on one core (the number of threads is set before numpy is loaded), timed in CPU seconds.
"""

from __future__ import annotations

import os

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import argparse  # noqa: E402
import json  # noqa: E402
import time  # noqa: E402
from dataclasses import dataclass, replace  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from posetools.checks.rigid.geometry import LEAST_POINTS, Geometry, study  # noqa: E402
from posetools.checks.rigid.template import Body, rigid  # noqa: E402
from posetools.core.geometry import Bools, Floats, Ints  # noqa: E402
from posetools.core.skeleton import load_skeleton  # noqa: E402
from posetools.synth.camera import Screen, rasterize, to_screen  # noqa: E402
from posetools.synth.rendering import LEAST_SEEN, label_box, label_keypoints, seen_shares  # noqa: E402  # noqa: E402
from posetools.synth.sample import FULL_VARIETY, PLAIN, Variety, sample_scene  # noqa: E402

NOISE = 2.0
ONE_IN = 20
SHIFT = (0.15, 0.4)
KINDS = ("none", "mirrored", "exchanged", "misplaced")
SETS: dict[str, tuple[Variety, tuple[int, int]]] = {
    "full 640x480": (FULL_VARIETY, (640, 480)),
    "plain 640x480": (PLAIN, (640, 480)),
    "full 1280x720": (FULL_VARIETY, (1280, 720)),
}


@dataclass(frozen=True, eq=False)
class Cars:
    """N labeled cars, and the mistakes planted in them.

    Attributes:
        keypoints: (N, 8, 3) x, y, visibility.
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        size: the images' (width, height).
        kind: (N,) index into KINDS.
        point: (N,) the point that was moved, or -1.
    """

    keypoints: Floats
    boxes: Floats
    size: tuple[int, int]
    kind: Ints
    point: Ints

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def labeled(self) -> Ints:
        """(N,) number of labeled points."""
        counts: Ints = (self.keypoints[:, :, 2] > 0).sum(axis=1)
        return counts

    def study(self, template: Body) -> Geometry:
        """Return the findings of the check."""
        sizes = np.tile(np.array(self.size, dtype=np.float64), (len(self), 1))
        return study(template, self.keypoints, self.boxes, sizes)


def sample_cars(seed: int, count: int, variety: Variety, size: tuple[int, int], noise: float = NOISE) -> Cars:
    """Return at least ``count`` cars with at least five labeled points, as in rendered images."""
    skeleton, keypoints, boxes, number = load_skeleton("car8"), list[Floats](), list[Floats](), 0
    while len(boxes) < count:
        scene = sample_scene(np.random.default_rng([seed, number]), size, variety)
        number += 1
        pixels, depth = scene.camera.project(scene.mesh.vertices)
        screen = to_screen(pixels, depth, scene.mesh.triangles)
        shares = seen_shares(scene, screen, rasterize(screen, scene.group, len(scene.cars), size, 1))
        for i, car in enumerate(scene.cars):
            own = scene.group == i
            box = label_box(Screen(screen.corners[own], screen.planes[own], screen.front[own]), size)
            points = label_keypoints(*scene.camera.project(car.keypoints(skeleton)), screen, size)
            if shares[i] >= LEAST_SEEN and box is not None and (points[:, 2] > 0).sum() >= LEAST_POINTS:
                keypoints.append(points)
                boxes.append(box)
    labels = np.array(keypoints)
    labels[:, :, :2] += np.random.default_rng([seed, 1]).normal(0.0, noise, labels[:, :, :2].shape)
    none = np.zeros(len(boxes), dtype=np.int64)
    return Cars(labels, np.array(boxes), size, none, none - 1)


def plant(cars: Cars, seed: int, rate: float = 1 / ONE_IN, kinds: tuple[str, ...] = KINDS[1:]) -> Cars:
    """Return the cars, a fraction of them with a mistake of one of the kinds."""
    rng = np.random.default_rng([seed, 2])
    keypoints, kind, point = cars.keypoints.copy(), cars.kind.copy(), cars.point.copy()
    names = load_skeleton("car8").names
    mirrored = np.array(load_skeleton("car8").flip_indices)
    other_end = {"front": "rear", "rear": "front"}
    exchanged = np.array([names.index("-".join(other_end.get(w, w) for w in name.split("-"))) for name in names])
    for i in np.flatnonzero(rng.random(len(cars)) < rate):
        kind[i] = KINDS.index(kinds[int(rng.integers(len(kinds)))])
        if KINDS[kind[i]] == "misplaced":
            point[i] = rng.choice(np.flatnonzero(keypoints[i, :, 2] > 0))
            angle = rng.uniform(0.0, 2 * np.pi)
            shift = rng.uniform(*SHIFT) * np.hypot(*(cars.boxes[i, 2:] - cars.boxes[i, :2]))
            keypoints[i, point[i], :2] += shift * np.array([np.cos(angle), np.sin(angle)])
        else:
            keypoints[i] = keypoints[i][mirrored if KINDS[kind[i]] == "mirrored" else exchanged]
    return replace(cars, keypoints=keypoints, kind=kind, point=point)


def score(cars: Cars, found: Geometry, among: Bools | None = None) -> dict[str, float]:
    """Return counts, recall and precision (1 if there is nothing to detect) of some of the cars."""
    turned, shifted = np.zeros(len(cars), dtype=np.bool_), np.full(len(cars), -1)
    for one in found.explanations:
        if one.exchange is None:
            shifted[one.index] = one.point
        else:
            turned[one.index] = True
    some = np.ones(len(cars), dtype=np.bool_) if among is None else among
    wrong = np.isin(cars.kind, [1, 2]) & some
    moved = (cars.kind == KINDS.index("misplaced")) & some
    clean = (cars.kind == 0) & some
    alarm = turned | (shifted >= 0) | found.impossible

    def share(part: Bools, whole: Bools) -> float:
        return float(part.sum() / whole.sum()) if whole.any() else 1.0

    right = moved & (shifted == cars.point)
    return {
        "cars": int(some.sum()),
        "exchanged_planted": int(wrong.sum()),
        "exchanged_recall": share(turned & wrong, wrong),
        "exchanged_precision": share(turned & wrong, turned & some),
        "misplaced_planted": int(moved.sum()),
        "misplaced_recall": share(right, moved),
        "misplaced_precision": share(right, (shifted >= 0) & some),
        "clean": int(clean.sum()),
        "false_alarms": int((alarm & clean).sum()),
        "false_alarm_rate": float((alarm & clean).sum() / max(clean.sum(), 1)),
    }


def _rows(name: str, cars: Cars, found: Geometry) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [{"set": name, "points": "5 to 8", **score(cars, found)}]
    for count in range(LEAST_POINTS, 9):
        rows.append({"set": name, "points": str(count), **score(cars, found, cars.labeled == count)})
    return rows


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cars", type=int, default=4000, help="per set")
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    template = rigid(load_skeleton("car8"))
    assert template is not None
    rows: list[dict[str, object]] = []
    for number, (name, (variety, size)) in enumerate(SETS.items()):
        clean = sample_cars(args.seed + number, args.cars, variety, size)
        sets = {
            f"{name}, clean": clean,
            f"{name}, 1 in {ONE_IN}": plant(clean, args.seed),
            f"{name}, 1 in 4 mirrored or exchanged": plant(clean, args.seed, 0.25, KINDS[1:3]),
            f"{name}, 1 in 4 misplaced": plant(clean, args.seed, 0.25, KINDS[3:]),
        }
        for title, cars in sets.items():
            begin = time.process_time()
            found = cars.study(template)
            speed = len(cars) / (time.process_time() - begin)
            of_set = _rows(title, cars, found)
            of_set[0]["cars_per_second"] = round(speed)
            rows += of_set
            _print(of_set)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _print(rows: list[dict[str, object]]) -> None:
    print(f"\n{rows[0]['set']}: {rows[0]['cars']} cars, {rows[0]['cars_per_second']} cars per second on one core")
    print("points   cars | names exchanged: recall precision   of | misplaced: recall precision   of | false alarms")
    for row in rows:
        print(
            f"{row['points']:>6} {row['cars']:>6} | "
            f"{row['exchanged_recall']:>23.3f} {row['exchanged_precision']:>9.3f} {row['exchanged_planted']:>4} | "
            f"{row['misplaced_recall']:>17.3f} {row['misplaced_precision']:>9.3f} {row['misplaced_planted']:>4} | "
            f"{row['false_alarms']} of {row['clean']} ({row['false_alarm_rate']:.2%})"
        )


if __name__ == "__main__":
    main()
