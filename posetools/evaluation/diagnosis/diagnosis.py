"""Why AP is lost: every labeled point in one class, and the AP gain from fixing each kind of error.

After Ronchi and Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation" (ICCV 2017), with two more
kinds for AP on detected boxes (no box, box shifted), and front/rear in addition to left/right. docs/diagnosis.md has
the definitions. Boxes alone are diagnosed in boxes.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Bools, Ints
from posetools.errors import counted
from posetools.evaluation.coco import Predictions
from posetools.evaluation.diagnosis.gains import Errors, LostAp, gains
from posetools.evaluation.diagnosis.match import (
    NOT_LABELED,
    POINT_KINDS,
    SAME_IOU,
    Matches,
    Role,
    match_objects,
    oks_with,
    sort_points,
)
from posetools.evaluation.metrics import oks_scores

# The errors, in the order in which they are fixed one after another: points, extra predictions, and last the order of
# scores, which all of these change.
ERROR_KINDS = (*POINT_KINDS[1:], "duplicate", "background", "scores")


@dataclass(frozen=True, slots=True)
class PoseCase:
    """One labeled object and its prediction.

    Attributes:
        image: the index of its image in the Dataset's ``images``.
        row: its row in the Dataset.
        predicted: the row of the matched prediction, or -1.
        iou: of the two boxes; 0 without a prediction.
        oks: 0 without a prediction.
        kinds: one of POINT_KINDS per keypoint, in the skeleton's order; None if not labeled.
    """

    image: int
    row: int
    predicted: int
    iou: float
    oks: float
    kinds: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis(LostAp):
    """Why COCO's OKS AP of poses is lost, by ERROR_KINDS.

    Attributes:
        objects: number of labeled objects (no crowds, none without labeled points).
        points: number of their labeled points; each has exactly one of POINT_KINDS.
        predictions: number of predicted objects.
        object_counts: kind of point -> number of objects with at least one.
        by_keypoint: name -> kind of point -> number.
        cases: one per object, in the Dataset's order.
    """

    objects: int
    points: int
    predictions: int
    object_counts: Mapping[str, int]
    by_keypoint: Mapping[str, Mapping[str, int]]
    cases: tuple[PoseCase, ...]

    def worst(self, number: int) -> tuple[PoseCase, ...]:
        """Return the cases with the lowest OKS, the worst first; ties: more wrong points first."""
        wrong = [sum(kind not in (None, "good") for kind in case.kinds) for case in self.cases]
        order = sorted(range(len(self.cases)), key=lambda i: (self.cases[i].oks, -wrong[i]))
        return tuple(self.cases[i] for i in order[:number])

    def amount(self, kind: str) -> str:
        """Return the number of points and objects, or of predictions, in words."""
        if kind not in self.object_counts:
            return counted(self.counts[kind], "prediction")
        share = self.counts[kind] / max(self.points, 1)
        return f"{counted(self.counts[kind], 'point')} ({share:.1%}) of {counted(self.object_counts[kind], 'object')}"

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the cases."""
        return {
            "AP": self.ap,
            "objects": self.objects,
            "points": self.points,
            "predictions": self.predictions,
            "counts": dict(self.counts),
            "object_counts": dict(self.object_counts),
            "by_keypoint": {name: dict(counts) for name, counts in self.by_keypoint.items()},
            "gains": {kind: asdict(gain) for kind, gain in self.gains.items()},
            "rest": self.rest,
        }


def diagnose(truth: Dataset, predicted: Predictions, *, boxes_are_labels: bool) -> Diagnosis:
    """Return why the OKS AP of predicted poses is lost.

    Args:
        truth: the labels; crowds and objects without labeled points are ignored, as in COCO.
        predicted: the predictions, with boxes, scores and the K keypoints of the truth's skeleton.
        boxes_are_labels: whether the poses were estimated in the labeled boxes. Then no box is shifted, and ``no_box``
            means that the prediction was dropped as a duplicate of another object's.

    Raises:
        ValueError: the predictions do not have the skeleton's number of keypoints.
    """
    expected = (len(predicted), truth.skeleton.num_keypoints, 2)
    if predicted.keypoints.shape != expected:
        raise ValueError(f"keypoints must have the shape {expected}, got {predicted.keypoints.shape}")
    matches = match_objects(truth, predicted, by_points=True, boxes_are_labels=boxes_are_labels)
    kinds = sort_points(truth, predicted.keypoints, matches, boxes_are_labels=boxes_are_labels)
    counted = (kinds != NOT_LABELED).any(axis=1)
    found = matches.predicted >= 0
    shifted: Bools = counted & found & (matches.iou < SAME_IOU) & (not boxes_are_labels)
    errors = Errors(
        truth=truth,
        predicted=predicted,
        matches=matches,
        absent=counted & ~found,
        boxes={"box_shifted": shifted},
        points={kind: kinds == code for code, kind in enumerate(POINT_KINDS) if kind not in ("good", "no_box")},
        quality=lambda predictions, rows: oks_with(truth, rows, predictions.keypoints),
    )
    sigmas = truth.skeleton.sigmas
    ap, gained = gains(errors, ERROR_KINDS, lambda predictions: oks_scores(truth, predictions, sigmas).ap)
    own = {kind: kinds == code for code, kind in enumerate(POINT_KINDS)}
    extra = {role.name.lower(): int((matches.roles == role).sum()) for role in (Role.DUPLICATE, Role.BACKGROUND)}
    return Diagnosis(
        ap=ap,
        objects=int(counted.sum()),
        points=int((kinds != NOT_LABELED).sum()),
        predictions=len(predicted),
        counts={kind: int(of.sum()) for kind, of in own.items()} | extra,
        object_counts={kind: int(of.any(axis=1).sum()) for kind, of in own.items()},
        by_keypoint={
            name: {kind: int(of[:, k].sum()) for kind, of in own.items()} for k, name in enumerate(truth.skeleton.names)
        },
        gains=gained,
        cases=_cases(truth, predicted, matches, kinds),
    )


def _cases(truth: Dataset, predicted: Predictions, matches: Matches, kinds: Ints) -> tuple[PoseCase, ...]:
    rows = np.flatnonzero((kinds != NOT_LABELED).any(axis=1))
    own = matches.predicted[rows]
    oks = np.zeros(len(rows))
    oks[own >= 0] = oks_with(truth, rows[own >= 0], predicted.keypoints[own[own >= 0]])
    return tuple(
        PoseCase(
            image=int(truth.image_index[row]),
            row=int(row),
            predicted=int(own[i]),
            iou=float(matches.iou[row]),
            oks=float(oks[i]),
            kinds=tuple(None if code == NOT_LABELED else POINT_KINDS[code] for code in kinds[row].tolist()),
        )
        for i, row in enumerate(rows.tolist())
    )
