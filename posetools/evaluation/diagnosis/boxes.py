"""Why the AP of boxes is lost: missing, shifted, inexact, duplicate and background boxes, and their cost in AP.

After TIDE (Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020), for one class.
Every labeled object (no crowds) is one of

- *good*: its box has an IoU of 0.85 or more;
- *inexact*: 0.5 or more. TIDE uses AP50, where this costs nothing; of AP 0.50:0.95 it often costs most;
- *box_shifted*: 0.1 or more, TIDE's localization error;
- *no_box*: no box matches it, TIDE's missed ground truth;

and a predicted box that matches none of them is a *duplicate* if it overlaps an object by 0.1 or more (the object has
its box already), otherwise *background*, or ignored in a crowd.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import box_iou
from posetools.errors import counted
from posetools.evaluation.coco import Predictions
from posetools.evaluation.diagnosis.gains import Errors, LostAp, gains
from posetools.evaluation.diagnosis.match import SAME_IOU, Role, match_objects
from posetools.evaluation.metrics import box_scores

GOOD_IOU = 0.85
BOX_KINDS = ("good", "no_box", "box_shifted", "inexact")
BOX_ERROR_KINDS = (*BOX_KINDS[1:], "duplicate", "background", "scores")


@dataclass(frozen=True, slots=True)
class BoxCase:
    """One labeled object and its predicted box.

    Attributes:
        image: the index of its image in the Dataset's ``images``.
        row: its row in the Dataset.
        predicted: the row of the matched prediction, or -1.
        iou: of the two boxes; 0 without a prediction.
        kind: one of BOX_KINDS.
    """

    image: int
    row: int
    predicted: int
    iou: float
    kind: str


@dataclass(frozen=True, slots=True)
class BoxDiagnosis(LostAp):
    """Why COCO's AP of boxes is lost, by BOX_ERROR_KINDS.

    Attributes:
        objects: number of labeled objects (no crowds); each has exactly one of BOX_KINDS.
        predictions: number of predicted boxes.
        cases: one per object, in the Dataset's order.
    """

    objects: int
    predictions: int
    cases: tuple[BoxCase, ...]

    def amount(self, kind: str) -> str:
        """Return ``1 object`` or ``2 predictions``."""
        return counted(self.counts[kind], "object" if kind in BOX_KINDS else "prediction")

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the cases."""
        return {
            "AP": self.ap,
            "objects": self.objects,
            "predictions": self.predictions,
            "counts": dict(self.counts),
            "gains": {kind: asdict(gain) for kind, gain in self.gains.items()},
            "rest": self.rest,
        }


def diagnose_boxes(truth: Dataset, predicted: Predictions) -> BoxDiagnosis:
    """Return why the box AP of predictions is lost.

    Args:
        truth: the labels; crowds are ignored, as in COCO.
        predicted: the predictions; only boxes and scores count.
    """
    matches = match_objects(truth, predicted, by_points=False, boxes_are_labels=False)
    code = {kind: i for i, kind in enumerate(BOX_KINDS)}
    rules = [matches.predicted < 0, matches.iou >= GOOD_IOU, matches.iou >= SAME_IOU]
    kinds = np.select(rules, [code["no_box"], code["good"], code["inexact"]], code["box_shifted"])
    own = {kind: (kinds == number) & ~truth.iscrowd for kind, number in code.items()}
    errors = Errors(
        truth=truth,
        predicted=predicted,
        matches=matches,
        absent=own["no_box"],
        boxes={kind: own[kind] for kind in ("box_shifted", "inexact")},
        points={},
        quality=lambda predictions, rows: box_iou(predictions.boxes, truth.boxes[rows]),
    )
    ap, gained = gains(errors, BOX_ERROR_KINDS, lambda predictions: box_scores(truth, predictions).ap)
    extra = {role.name.lower(): int((matches.roles == role).sum()) for role in (Role.DUPLICATE, Role.BACKGROUND)}
    return BoxDiagnosis(
        ap=ap,
        objects=int((~truth.iscrowd).sum()),
        predictions=len(predicted),
        counts={kind: int(of.sum()) for kind, of in own.items()} | extra,
        gains=gained,
        cases=tuple(
            BoxCase(
                image=int(truth.image_index[row]),
                row=row,
                predicted=int(matches.predicted[row]),
                iou=float(matches.iou[row]),
                kind=BOX_KINDS[int(kinds[row])],
            )
            for row in np.flatnonzero(~truth.iscrowd).tolist()
        ),
    )
