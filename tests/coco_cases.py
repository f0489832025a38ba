"""Random labels and predictions that are hard for an evaluator, and the results of COCO's own two evaluators."""

from __future__ import annotations

import contextlib
import io
from typing import Any, Literal

import numpy as np

from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.geometry import Floats, Ints, box_area, xywh_from_xyxy
from posetools.core.place import Origin
from posetools.core.skeleton import Skeleton
from posetools.evaluation.coco import EvaluationKind, Predictions

# COCOeval's ``stats`` in the order of BoxScores' and OksScores' fields.
STATS: dict[EvaluationKind, tuple[int, ...]] = {"bbox": (0, 1, 2, 3, 4, 5, 8, 9, 10, 11), "keypoints": tuple(range(10))}


def random_truth(skeleton: Skeleton, rng: np.random.Generator, *, images: int, most: int) -> Dataset:
    """Return labels of all sizes: some are crowds, some have no points, some have their own area."""
    builder = DatasetBuilder(skeleton)
    last = np.zeros(4), np.zeros((0, 2)), np.zeros(0)
    for number in range(images):
        name = f"{number:04}.jpg"
        builder.add_image(Image(name, 640, 480))
        for place in range(int(rng.integers(0, most + 1))):
            side = np.exp(rng.uniform(np.log(8), np.log(300), 2)).round(int(rng.integers(0, 4)))
            corner = rng.uniform(0, 300, 2).round(1)
            if rng.random() < 0.3:
                # Exactly on an edge of COCO's size classes.
                side = np.array([32.0, 32.0]) * rng.choice([1, 3])
            points = corner + rng.uniform(0, 1, (skeleton.num_keypoints, 2)) * side
            visibility = rng.integers(0, 3, skeleton.num_keypoints) * float(rng.random() > 0.15)
            box = np.concatenate([corner, corner + side])
            if place and rng.random() < 0.2:
                # A copy of the previous object, so that two are equally near; often with another area.
                box, points, visibility = last
            last = box, points, visibility
            area = float(side.prod() * rng.uniform(0.3, 1.0)) if rng.random() < 0.5 else None
            builder.add_instance(
                name,
                box=box,
                keypoints=np.concatenate([points, visibility[:, None]], axis=1),
                origin=Origin(""),
                area=area,
                iscrowd=bool(rng.random() < 0.15),
            )
    return builder.build()


def random_predictions(truth: Dataset, rng: np.random.Generator, *, copies: float, strays: int) -> Predictions:
    """Return predictions near the labels (several or none of each), and some in random places.

    Args:
        truth: the labels.
        rng: the random generator.
        copies: how many predictions an object has on average.
        strays: how many predictions per image are in random places.
    """
    rows = np.repeat(np.arange(len(truth)), rng.poisson(copies, len(truth)))
    noise = rng.choice([0.0, 0.02, 0.1, 0.3], len(rows))
    scale = np.sqrt(box_area(truth.boxes[rows]))[:, None] * noise[:, None]
    boxes = truth.boxes[rows] + rng.normal(0, 1, (len(rows), 4)) * scale
    points = truth.keypoints[rows, :, :2] + rng.normal(0, 1, (len(rows), truth.skeleton.num_keypoints, 2)) * (
        scale[:, :, None] * 0.7
    )
    many = strays * len(truth.images)
    corner = rng.uniform(0, 400, (many, 2))
    sides = rng.uniform(5, 200, (many, 2))
    boxes = np.concatenate([boxes, np.concatenate([corner, corner + sides], axis=1)])
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    stray_points = corner[:, None] + rng.uniform(0, 1, (many, truth.skeleton.num_keypoints, 2)) * sides[:, None]
    index: Ints = np.concatenate([truth.image_index[rows], np.repeat(np.arange(len(truth.images)), strays)])
    # One decimal creates ties, within an image and between images.
    scores = rng.uniform(0, 1, len(index)).round(int(rng.choice([1, 1, 6])))
    shuffled = rng.permutation(len(index))
    return Predictions(
        index[shuffled],
        np.concatenate([low, high], axis=1)[shuffled],
        scores[shuffled],
        np.concatenate([points, stray_points])[shuffled],
    )


def peer_stats(
    peer: Literal["pycocotools", "xtcocotools"],
    truth: Dataset,
    predicted: Predictions,
    kind: EvaluationKind,
    sigmas: Floats,
    *,
    use_area: bool = True,
) -> list[float | None]:
    """Return the result of COCOeval from pycocotools or xtcocotools, in the order of our fields; None for its -1."""
    evaluation = peer_evaluation(peer, truth, predicted, kind, sigmas, use_area=use_area)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = [float(evaluation.stats[i]) for i in STATS[kind]]
    return [None if value < 0 else value for value in values]


def peer_evaluation(
    peer: str, truth: Dataset, predicted: Predictions, kind: EvaluationKind, sigmas: Floats, *, use_area: bool = True
) -> Any:
    """Return a third-party COCOeval of labels and predictions, ready to evaluate."""
    if peer == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        evaluation = COCOeval(*(_coco(COCO, truth, one) for one in (None, predicted)), kind)
        evaluation.params.kpt_oks_sigmas = sigmas
        return evaluation
    from xtcocotools.coco import COCO as XtCOCO
    from xtcocotools.cocoeval import COCOeval as XtEval

    return XtEval(*(_coco(XtCOCO, truth, one) for one in (None, predicted)), kind, sigmas, use_area)


def _coco(make: Any, truth: Dataset, predicted: Predictions | None) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = make()
        coco.dataset = {
            "images": [{"id": i + 1} for i in range(len(truth.images))],
            "categories": [{"id": 1, "name": "car"}],
            "annotations": _labels(truth) if predicted is None else _results(predicted),
        }
        coco.anno_file = [""]
        coco.createIndex()
    return coco


def _labels(truth: Dataset) -> list[dict[str, Any]]:
    return _rows(
        image_id=truth.image_index + 1,
        bbox=xywh_from_xyxy(truth.boxes),
        area=truth.areas,
        iscrowd=truth.iscrowd.astype(int),
        keypoints=truth.keypoints.reshape(len(truth), -1) if len(truth) else truth.keypoints,
        num_keypoints=truth.num_labeled,
    )


def _results(predicted: Predictions) -> list[dict[str, Any]]:
    flags = np.ones((*predicted.keypoints.shape[:2], 1))
    points = np.concatenate([predicted.keypoints, flags], axis=2)
    return _rows(
        image_id=predicted.image_index + 1,
        bbox=xywh_from_xyxy(predicted.boxes),
        area=box_area(predicted.boxes),
        score=predicted.scores,
        keypoints=points.reshape(len(predicted), -1) if len(predicted) else points,
    )


def _rows(**columns: Any) -> list[dict[str, Any]]:
    lists = {name: column.tolist() for name, column in columns.items()}
    return [
        {"id": number, "category_id": 1, **dict(zip(lists, row, strict=True))}
        for number, row in enumerate(zip(*lists.values(), strict=True), start=1)
    ]
