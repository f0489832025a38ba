"""Planted errors in labels are found, named and ranked, for objects of any skeleton."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from posetools.core.dataset import Dataset
from posetools.core.skeleton import Skeleton, load_skeleton
from posetools.evaluation.scoring import collect
from posetools.labeling.suspects.exchanges import renamings_of
from posetools.labeling.suspects.ranking import Suspect, counts_of, rank_suspects
from tests.labeling.oracle import Knowing, make_objects, relabeled


def skeleton_of(name: str, points: Sequence[str], links: Sequence[tuple[str, str]] = ()) -> Skeleton:
    lines = [{"points": list(link)} for link in links]
    return Skeleton.model_validate({"name": name, "keypoints": list(points), "links": lines})


# A pair of pliers: sides, and two links that share no point.
PLIERS = skeleton_of(
    "pliers",
    ["left-handle", "right-handle", "left-tip", "right-tip", "joint"],
    [("left-handle", "right-tip"), ("right-handle", "left-tip")],
)
PLIERS_SHAPE = np.array([[0.1, 1.0], [0.9, 0.9], [0.3, 0.0], [0.75, 0.1], [0.5, 0.45]])
# A leaf: neither sides nor links.
LEAF = skeleton_of("leaf", ["stem", "middle", "apex", "notch"])
LEAF_SHAPE = np.array([[0.5, 1.0], [0.4, 0.5], [0.6, 0.0], [0.0, 0.3]])


class Planted(NamedTuple):
    """A Dataset with errors, and what they are: image, number in the image, keypoints."""

    labels: Dataset
    errors: dict[str, set[tuple[str, int, tuple[str, ...]]]]


def planted(truth: Dataset, seed: int = 1, each: int = 4) -> Planted:
    """Plant some errors of each kind into different images."""
    rng, skeleton = np.random.default_rng(seed), truth.skeleton
    boxes, points, names = truth.boxes.copy(), truth.keypoints.copy(), skeleton.names
    errors: dict[str, set[tuple[str, int, tuple[str, ...]]]] = {}
    rows = iter(rng.permutation(len(truth.images)) * 2)
    orders = {one.kind: one for one in renamings_of(skeleton) if one.every}
    gone = []
    for kind in (*orders, "moved", "missing", "box", "object missing"):
        for _ in range(each):
            row, point = int(next(rows)), int(rng.integers(len(names)))
            sides, where = truth.boxes[row, 2:] - truth.boxes[row, :2], ()
            if kind in orders:
                points[row] = points[row, orders[kind].order]
                where = tuple(names[k] for pair in orders[kind].pairs for k in pair)
            elif kind == "moved":
                way = rng.uniform(0, 2 * np.pi)
                points[row, point, :2] += 0.2 * sides.max() * np.array([np.cos(way), np.sin(way)])
                where = (names[point],)
            elif kind == "missing":
                points[row, point], where = 0.0, (names[point],)
            elif kind == "box":
                boxes[row] += np.tile([0.2, 0.0] * sides, 2)
            else:
                gone.append(row)
            name = truth.images[truth.image_index[row]].file_name
            errors.setdefault(kind, set()).add((name, -1 if kind == "object missing" else row % 2, where))
    # An object missing changes the numbers of the others in its image, which have no errors.
    return Planted(relabeled(truth, boxes=boxes, keypoints=points, gone=gone), errors)


def suspects_of(labels: Dataset, models: Knowing) -> tuple[Suspect, ...]:
    return rank_suspects([(labels, collect(labels, detector=models, estimator=models))])


@pytest.mark.parametrize(
    ("skeleton", "shape", "kinds"),
    [
        (PLIERS, PLIERS_SHAPE, {"left/right", "linked", "moved", "missing", "box", "object missing"}),
        (LEAF, LEAF_SHAPE, {"moved", "missing", "box", "object missing"}),
    ],
    ids=["pliers", "leaf"],
)
def test_planted_errors_of_each_kind_come_first(
    tmp_path: Path, skeleton: Skeleton, shape: np.ndarray, kinds: set[str]
) -> None:
    truth = make_objects(tmp_path, skeleton, shape)
    labels, errors = planted(truth)
    assert set(errors) == kinds
    found = suspects_of(labels, Knowing(truth))
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for kind, where in errors.items():
        own = [(one.file_name, one.number, one.keypoints) for one in found if one.kind == kind]
        assert set(own[: len(where)]) == where, kind
    wanted = sum(map(len, errors.values()))
    first = {(one.kind, one.file_name, one.number, one.keypoints) for one in found[:wanted]}
    right = first & {(kind, *place) for kind, places in errors.items() for place in places}
    assert len(right) >= 0.9 * wanted, "one ranking of all kinds"
    probable = sum(counted for counted, _ in counts_of(found).values())
    assert 0.7 * wanted <= probable <= 1.3 * wanted
    assert counts_of(found).keys() <= kinds | {"moved"}
