"""Planted errors in labels are found, named and ranked, for objects of any skeleton."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.geometry import Floats
from posetools.core.place import Origin
from posetools.core.skeleton import Skeleton
from posetools.evaluation.scoring import collect
from posetools.labeling.suspects.exchanges import renamings_of
from posetools.labeling.suspects.ranking import PROBABLE, Suspect, counts_of, rank_suspects
from tests.diagnosing import CAR8, cars
from tests.oracle import Oracle

# A pair of pliers: sides, and two links that share no point.
PLIERS = Skeleton.model_validate(
    {
        "name": "pliers",
        "keypoints": ["left-handle", "right-handle", "left-tip", "right-tip", "joint"],
        "links": [{"points": ["left-handle", "right-tip"]}, {"points": ["right-handle", "left-tip"]}],
    }
)
PLIERS_SHAPE = np.array([[0.1, 1.0], [0.9, 0.9], [0.3, 0.0], [0.75, 0.1], [0.5, 0.45]])
# A leaf: neither sides nor links.
LEAF = Skeleton.model_validate({"name": "leaf", "keypoints": ["stem", "middle", "apex", "notch"]})
LEAF_SHAPE = np.array([[0.5, 1.0], [0.4, 0.5], [0.6, 0.0], [0.0, 0.3]])

# Image, number of the object in it, keypoints.
Place = tuple[str, int, tuple[str, ...]]


class Planted(NamedTuple):
    """Labels with errors, and the places of each kind."""

    labels: Dataset
    errors: dict[str, set[Place]]


def with_files(dataset: Dataset, folder: Path) -> Dataset:
    """Write a unique image file for each image: the models of these tests know them by their pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    images = [replace(image, path=folder / f"{number}.png") for number, image in enumerate(dataset.images)]
    for number, image in enumerate(images):
        assert image.path is not None
        Pillow.new("RGB", image.size, (number // 256, number % 256, 0)).save(image.path)
    return dataset.with_images(images)


def objects_of(folder: Path, skeleton: Skeleton, shape: Floats, images: int = 120) -> Dataset:
    """Return images with two objects each: a (K, 2) shape, turned, scaled and squeezed."""
    rng, builder = np.random.default_rng(0), DatasetBuilder(skeleton)
    for number in range(images):
        name = f"{number:04d}.png"
        builder.add_image(Image(name, 256, 192))
        for place in range(2):
            turn, middle = rng.uniform(-0.6, 0.6), np.array([64 + 128 * place, 96]) + rng.uniform(-10, 10, 2)
            turned = (shape - 0.5) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
            points = middle + turned * rng.uniform(45, 80) * np.exp(rng.normal(0, 0.15, 2))
            box = np.concatenate([points.min(axis=0) - 6, points.max(axis=0) + 6])
            keypoints = np.column_stack([points, np.full(len(points), 2.0)])
            builder.add_instance(name, box=box, keypoints=keypoints, origin=Origin(name, f"object {place}"))
    return with_files(builder.build(), folder)


def relabeled(truth: Dataset, boxes: Floats, keypoints: Floats, gone: Sequence[int]) -> Dataset:
    kept = np.setdiff1d(np.arange(len(truth)), gone)
    sides = boxes[kept, 2:] - boxes[kept, :2]
    return replace(
        truth,
        boxes=boxes[kept],
        keypoints=keypoints[kept],
        areas=sides.prod(axis=1),
        iscrowd=truth.iscrowd[kept],
        category_ids=truth.category_ids[kept],
        image_index=truth.image_index[kept],
        origins=truth.origins.take(kept.tolist()),
    )


def plant(truth: Dataset, each: int = 4) -> Planted:
    """Plant some errors of each kind, at most one in an image; each image has two objects."""
    rng, names = np.random.default_rng(1), truth.skeleton.names
    boxes, points, gone = truth.boxes.copy(), truth.keypoints.copy(), list[int]()
    orders = {one.kind: one for one in renamings_of(truth.skeleton) if one.every}
    kinds = [kind for kind in (*orders, "moved", "missing", "box", "object missing") for _ in range(each)]
    errors: dict[str, set[Place]] = {}
    for kind, image in zip(kinds, rng.permutation(len(truth.images)).tolist(), strict=False):
        row, point = 2 * image, int(rng.integers(len(names)))
        sides, where = truth.boxes[row, 2:] - truth.boxes[row, :2], tuple[str, ...]()
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
            boxes[row] += np.tile([0.2 * sides[0], 0.0], 2)
        else:
            gone.append(row)
        number = -1 if kind == "object missing" else 0
        errors.setdefault(kind, set()).add((truth.images[image].file_name, number, where))
    return Planted(relabeled(truth, boxes, points, gone), errors)


def suspects_of(labels: Dataset, models: Oracle) -> tuple[Suspect, ...]:
    return rank_suspects([(labels, collect(labels, detector=models, estimator=models, label=1))])


@pytest.mark.parametrize(
    ("skeleton", "shape", "kinds"),
    [
        (PLIERS, PLIERS_SHAPE, {"left/right", "linked", "moved", "missing", "box", "object missing"}),
        (LEAF, LEAF_SHAPE, {"moved", "missing", "box", "object missing"}),
    ],
    ids=["pliers", "leaf"],
)
def test_planted_errors_of_each_kind_come_first(
    tmp_path: Path, skeleton: Skeleton, shape: Floats, kinds: set[str]
) -> None:
    truth = objects_of(tmp_path, skeleton, shape)
    labels, errors = plant(truth)
    assert set(errors) == kinds
    found = suspects_of(labels, Oracle(truth, blur=0.02, ghosts=1))
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for kind, where in errors.items():
        own = [(one.file_name, one.number, one.keypoints) for one in found if one.kind == kind]
        assert set(own[: len(where)]) == where, f"{kind}: none comes after a right label"
    total = sum(map(len, errors.values()))
    first = {(one.kind, one.file_name, one.number, one.keypoints) for one in found[:total]}
    right = first & {(kind, *place) for kind, places in errors.items() for place in places}
    assert len(right) >= 0.9 * total, "the kinds are in one ranking"
    probable = {(one.kind, one.file_name, one.number, one.keypoints) for one in found if one.score >= PROBABLE}
    assert probable <= first and len(probable) >= 0.4 * total
    assert sum(number for number, _ in counts_of(found).values()) == len(probable)
    assert counts_of(found).keys() == kinds


def test_geometry_tells_a_wrong_label_from_a_wrong_prediction(tmp_path: Path) -> None:
    """Label and prediction of a car contradict each other; a rigid car says which of them is mirrored."""
    made = cars(120)
    # All points in the image are visible: nothing but their places says where a car's left is.
    points = made.keypoints.copy()
    points[..., 2] *= 2
    points[..., 2] = points[..., 2].clip(0, 2)
    truth = with_files(replace(made, keypoints=points), tmp_path)
    whole = np.flatnonzero(truth.num_labeled == len(CAR8.names))[:40].tolist()
    mirrored, by_model = whole[::4], whole[2::4]
    wrong = points.copy()
    wrong[mirrored] = wrong[mirrored][:, list(CAR8.flip_indices)]
    labels = relabeled(truth, truth.boxes, wrong, ())
    firsts = [rows.start for rows in labels.rows_of_images()]

    def score(rows: Sequence[int], found: Sequence[Suspect]) -> list[float]:
        places = {(one.file_name, one.number): one.score for one in reversed(found) if one.kind == "left/right"}
        images = labels.image_index[list(rows)].tolist()
        return [
            places.get((labels.images[image].file_name, row - firsts[image]), 0.0)
            for row, image in zip(rows, images, strict=True)
        ]

    found = suspects_of(labels, Oracle(truth, blur=0.005, flipped=frozenset(by_model)))
    assert np.median(score(mirrored, found)) > 0.8 > 0.1 > np.median(score(by_model, found))
    plain = Categories((CAR8.model_copy(update={"template": None}),))
    models = Oracle(replace(truth, categories=plain), blur=0.005, flipped=frozenset(by_model))
    blind = suspects_of(replace(labels, categories=plain), models)
    assert abs(np.median(score(mirrored, blind)) - np.median(score(by_model, blind))) < 0.2
