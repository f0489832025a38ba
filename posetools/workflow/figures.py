"""The main metrics of an evaluated pair, and whether it is usable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from posetools.core.stages import STAGES
from posetools.evaluation.report import Report
from posetools.evaluation.verdict import model_scores
from posetools.recipes.budget import BOX_AP50, PCK, USABLE, verdict

# The code of the remark that keypoints are no better than the mean pose, which can have a high PCK.
_MEAN_POSE = "mean-pose"


@dataclass(frozen=True, kw_only=True, slots=True)
class FitFigures:
    """The main metrics on the validation images; None: undefined.

    Attributes:
        images: number of images.
        objects: number of labeled objects.
        metrics: metric -> value, in the order to show.
        usable: whether both models are.
        sentences: the verdict on each model, then the remarks of the evaluation.
    """

    images: int
    objects: int
    metrics: Mapping[str, float | None]
    usable: bool
    sentences: tuple[str, ...]

    @classmethod
    def of(cls, report: Report, trained: Mapping[str, tuple[int, int]]) -> FitFigures:
        """Return the metrics of a pair.

        Args:
            report: its evaluation.
            trained: name of a model -> iterations of its run, and of its recipe without a time limit.
        """
        scores = model_scores(report)
        sentences = []
        for model, score in scores.items():
            said = verdict(BOX_AP50 if model == "det" else PCK, score, *trained[model])
            sentences.append(said if model in STAGES else f"{model}: {said}")
        codes = {one.code for of_part in report.remarks.values() for one in of_part}
        return cls(
            images=len(report.truth.images),
            objects=len(report.truth),
            metrics=dict(_metrics(report)),
            usable=_MEAN_POSE not in codes and all(score is not None and score >= USABLE for score in scores.values()),
            sentences=(*sentences, *report.sentences),
        )

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> FitFigures:
        """Return the metrics that ``as_dict`` gave."""
        return cls(**{**document, "sentences": tuple(document["sentences"])})

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def _metrics(report: Report) -> Iterator[tuple[str, float | None]]:
    boxes = report.det.scores
    yield "box AP50", boxes.ap50
    yield "box AP", boxes.ap
    for boxes_are, part in report.sides.items():
        yield f"PCK@0.1 of visible points, {boxes_are}", part.scores.points["visible"].overall.as_dict()["PCK@0.1"]
        yield f"pose AP, {boxes_are}", part.scores.oks.ap
