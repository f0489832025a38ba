"""Which category objects are detected as: a table of labeled by detected categories.

Boxes with a score of at least BBOX_THR, as drawn by default, are matched to labels whatever their category: in each
image, from the highest score down, each takes the free labeled box that it overlaps most, if their IoU is at least 0.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Ints
from posetools.evaluation.coco import Predictions
from posetools.evaluation.diagnosis.match import SAME_IOU, Role, match_objects
from posetools.evaluation.metrics import match_boxes
from posetools.runtime.results import BBOX_THR

BACKGROUND, MISSED = "background", "missed"


@dataclass(frozen=True, eq=False, slots=True)
class Confusion:
    """Counts of labeled objects and detected boxes of C categories.

    Attributes:
        names: of the categories.
        counts: (C + 1, C + 1). A row is a labeled category, the last one BACKGROUND: boxes without an object. A column
            is a detected category, the last one MISSED: objects without a box.
    """

    names: tuple[str, ...]
    counts: Ints

    @property
    def rows(self) -> tuple[str, ...]:
        """The C + 1 names of the rows."""
        return (*self.names, BACKGROUND)

    @property
    def columns(self) -> tuple[str, ...]:
        """The C + 1 names of the columns."""
        return (*self.names, MISSED)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form; each row of ``counts`` is a labeled category."""
        return {
            "score": BBOX_THR,
            "iou": SAME_IOU,
            "labeled": list(self.rows),
            "detected": list(self.columns),
            "counts": self.counts.tolist(),
        }


def confusion_of(truth: Dataset, detected: Mapping[int, Predictions]) -> Confusion:
    """Return the table of an evaluation.

    Args:
        truth: the labels of all categories. Crowds do not count, nor boxes that the diagnosis ignores in one.
        detected: the boxes of each category, by its id.
    """
    places = {category: at for at, category in enumerate(truth.categories)}
    every = Predictions.joined([detected[category] for category in places])
    sure = every.scores >= BBOX_THR
    boxes = every[np.flatnonzero(sure)]
    columns = np.repeat(list(places.values()), [len(detected[category]) for category in places])[sure]
    matched = match_boxes(truth, boxes, SAME_IOU)

    nothing = len(places)
    counts = np.zeros((nothing + 1, nothing + 1), dtype=np.int64)
    objects = np.flatnonzero(~truth.iscrowd)
    rows = [places[category] for category in truth.category_ids[objects].tolist()]
    # The row -1, no match, is the last one.
    np.add.at(counts, (rows, np.append(columns, nothing)[matched[objects]]), 1)
    ignored = match_objects(truth, boxes, by_points=False, boxes_are_labels=False).roles == Role.IGNORED
    false = np.setdiff1d(np.flatnonzero(~ignored), matched)
    np.add.at(counts, (nothing, columns[false]), 1)
    return Confusion(tuple(truth.categories.ids), counts)
