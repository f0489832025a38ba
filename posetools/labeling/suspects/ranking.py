"""Rank the labels that are probably wrong, of all kinds in one list: its score is the probability of the error.

Kinds of errors (docs/review.md):

- *moved*: a point is far from its prediction;
- *left/right*, *front/rear*, *linked*: the names of all points of an object are exchanged, or those of two;
- *missing*: a point is not labeled that other objects like this one have;
- *box*: the box fits neither the detected one nor its own points;
- *object missing*: an object is detected, not labeled.

A kind that a skeleton cannot have does not occur. Whether a point is occluded is not judged: a pose estimator does not
predict it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import box_iou
from posetools.evaluation.scoring import PairPredictions
from posetools.labeling.suspects.boxes import box_doubts, missing_objects
from posetools.labeling.suspects.points import Doubt, SuspectKind, point_doubts
from posetools.labeling.suspects.rigid_fit import RigidFit
from posetools.labeling.suspects.seen import Seen
from posetools.progress import Progress, silent

SUSPECT_KINDS: tuple[SuspectKind, ...] = get_args(SuspectKind)
# More probable than not.
PROBABLE = 0.5


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label that is probably wrong.

    Attributes:
        file_name: its image.
        category: the object's category.
        number: which of the labeled objects of its category in the image it is, from 0; -1 for one without a label.
        kind: what is probably wrong.
        keypoints: the names of the points concerned; none if it is the box or the whole object.
        score: the probability, 0 to 1.
        box: x1, y1, x2, y2 in pixels: the labeled box, or the detected one of an object without a label.
        reason: what speaks for it.
    """

    file_name: str
    category: str
    number: int
    kind: SuspectKind
    keypoints: tuple[str, ...]
    score: float
    box: tuple[float, float, float, float]
    reason: str

    @property
    def told(self) -> str:
        """``car 2: left/right 0.97: left and right are exchanged``, with numbers from 1."""
        whose = self.category if self.number < 0 else f"{self.category} {self.number + 1}"
        return f"{whose}: {self.kind} {self.score:.2f}: {self.reason}"

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form; ``object`` is its number from 1, None without a label."""
        return {
            "file_name": self.file_name,
            "category": self.category,
            "object": None if self.number < 0 else self.number + 1,
            "kind": self.kind,
            "keypoints": list(self.keypoints),
            "score": round(self.score, 4),
            "box": [round(number, 1) for number in self.box],
            "reason": self.reason,
        }


def rank_suspects(parts: Iterable[tuple[Dataset, PairPredictions]], progress: Progress = silent) -> tuple[Suspect, ...]:
    """Return the labels that are probably wrong, the most probable first.

    The predictions should be of models that were not trained on these labels: others repeat their errors.

    Args:
        parts: for each category its labels in all images, and a pair's predictions for them.
        progress: receives progress.
    """
    found = [suspect for truth, predicted in parts for suspect in _of_category(truth, predicted, progress)]
    return tuple(sorted(found, key=lambda one: (-one.score, one.file_name, one.category, one.number, one.kind)))


def counts_of(suspects: Sequence[Suspect]) -> Mapping[SuspectKind, tuple[int, int]]:
    """Return for each kind that occurs how many are more probable than not, and how many are listed."""
    listed = Counter(one.kind for one in suspects)
    probable = Counter(one.kind for one in suspects if one.score >= PROBABLE)
    return {kind: (probable[kind], listed[kind]) for kind in SUSPECT_KINDS if listed[kind]}


def _of_category(truth: Dataset, predicted: PairPredictions, progress: Progress) -> Iterator[Suspect]:
    seen, skeleton = Seen.of(truth, predicted), truth.skeleton
    doubts = [*box_doubts(seen)]
    if skeleton.num_keypoints:
        doubts += point_doubts(seen, RigidFit.of(truth, progress))
    firsts = [rows.start for rows in truth.rows_of_images()]
    for doubt in doubts:
        image = int(truth.image_index[doubt.row])
        box = truth.boxes[doubt.row]
        yield _suspect(seen, doubt, image, doubt.row - firsts[image], box.tolist())
    for doubt in missing_objects(seen):
        yield _suspect(
            seen, doubt, int(seen.detected.image_index[doubt.row]), -1, seen.detected.boxes[doubt.row].tolist()
        )


def _suspect(seen: Seen, doubt: Doubt, image: int, number: int, box: Sequence[float]) -> Suspect:
    skeleton = seen.truth.skeleton
    x1, y1, x2, y2 = box
    return Suspect(
        file_name=seen.truth.images[image].file_name,
        category=skeleton.category.name,
        number=number,
        kind=doubt.kind,
        keypoints=tuple(skeleton.names[point] for point in doubt.points),
        score=doubt.chance,
        box=(x1, y1, x2, y2),
        reason=_reason(seen, doubt),
    )


def _reason(seen: Seen, doubt: Doubt) -> str:
    skeleton, row = seen.truth.skeleton, doubt.row
    names = [skeleton.names[point] for point in doubt.points]
    if doubt.kind == "object missing":
        x1, y1, x2, y2 = seen.detected.boxes[row].round().astype(int).tolist()
        return f"detected at ({x1}, {y1}) to ({x2}, {y2}) with score {seen.box_scores[row]:.2f}, not labeled"
    if doubt.kind == "box":
        iou = float(box_iou(seen.truth.boxes[row], seen.detected.boxes[seen.found[row]]))
        return f"IoU of the labeled and the detected box is {iou:.2f}"
    if doubt.kind in ("moved", "missing"):
        (point,) = doubt.points
        x, y = seen.best[row, point].tolist()
        score = seen.score[row, point]
        where = f"predicted at ({x:.0f}, {y:.0f}) with score {score:.2f}"
        if doubt.kind == "missing":
            return f"{names[0]} is not labeled, {where}"
        away = float(np.hypot(*(seen.truth.keypoints[row, point, :2] - (x, y))))
        return f"{names[0]} is {away:.0f} px off, {where}"
    return f"{doubt.told} are exchanged"
