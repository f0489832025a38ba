"""The verdict of an evaluation, in one sentence: which half of a pair is weaker, or which pair is better.

It counts labeled points on detected boxes, as in real use of the pair: wrong points of objects with no box or a shifted
box count against the detector, all other wrong ones against the pose estimator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from posetools.core.stages import models_of
from posetools.core.verdict import Level, Verdict
from posetools.evaluation.categories import CategoriesReport
from posetools.evaluation.comparison import compare, measures_of
from posetools.evaluation.diagnosis.gains import ERROR_NAMES
from posetools.evaluation.diagnosis.match import POINT_KINDS, Role, match_objects
from posetools.evaluation.report import Report
from posetools.evaluation.scoring import pck_of
from posetools.evaluation.tables import short_names
from posetools.runtime.results import BBOX_THR

_OF_BOXES = ("no_box", "box_shifted")
# A pair is good if at most this fraction of points is wrong, and background boxes are at most this fraction of objects.
_GOOD_SHARE = 0.1
# Below this AP nothing is usable.
_UNUSABLE_AP = 0.01


@dataclass(frozen=True, slots=True)
class PairCounts:
    """The counts for the verdict on one pair, on detected boxes.

    Attributes:
        ap: of the poses; None if no keypoint is labeled.
        points: kind of point -> number of labeled points.
        objects: number of labeled objects.
        without_box: number of them without a box with an IoU of at least 0.5.
        on_nothing: number of confident background boxes.
        misleading: whether AP says nothing about the model, as a remark explains.
    """

    ap: float | None
    points: Mapping[str, int]
    objects: int
    without_box: int
    on_nothing: int = 0
    misleading: bool = False


def model_scores(report: Report) -> dict[str, float | None]:
    """Return the score that tells whether each model of a pair is usable, by the model's name.

    The detector's is AP50; a pose estimator's is PCK on labeled boxes, of the worst of its categories.
    """
    posed = report.truth.categories.posed
    det, *poses = models_of(tuple(posed))
    own = (
        report.by_category
        if isinstance(report, CategoriesReport)
        else dict.fromkeys(report.truth.categories.ids, report)
    )
    scores: dict[str, float | None] = {det: report.det.scores.ap50}
    for model, group in zip(poses, posed.values(), strict=True):
        found = [pck_of(own[name].labeled.scores) for name in group.ids]
        scores[model] = min((score for score in found if score is not None), default=None)
    return scores


def evaluation_verdict(reports: Sequence[Report]) -> Verdict:
    """Return the verdict on one pair, or on several measured on the same labels."""
    posed = bool(reports[0].sides)
    verdicts = [pair_verdict(counts_of(report)) if posed else _box_verdict(report) for report in reports]
    if len(reports) == 1:
        return verdicts[0]
    values = [list(measures_of(report).values())[-1][0] or 0.0 for report in reports]
    second, first = sorted(range(len(reports)), key=values.__getitem__)[-2:]
    *_, difference = compare(reports[second], reports[first]).values()
    names = short_names(reports)
    sentence = difference.sentence(names[second], names[first])
    if difference.interval is None or not difference.interval.settled:
        return Verdict("warning", sentence)
    return Verdict(verdicts[first].level, f"{sentence}; {verdicts[first].sentence}")


def verdicts_by_category(reports: Sequence[Report]) -> Mapping[str, Verdict]:
    """Return the verdict on each category, by its name; nothing for reports of one category."""
    several = [report for report in reports if isinstance(report, CategoriesReport)]
    names = several[0].by_category if several else ()
    return {name: evaluation_verdict([report.by_category[name] for report in several]) for name in names}


def _box_verdict(report: Report) -> Verdict:
    """Return the verdict on a category without keypoints."""
    found = report.det.diagnosis
    if not found.objects:
        return Verdict("error", "the boxes cannot be judged: no object is labeled in this split")
    lost = (found.counts["no_box"] + found.counts["box_shifted"]) / found.objects
    level: Level = "good" if lost <= _GOOD_SHARE else "warning"
    return Verdict(level, f"boxes only: {lost:.0%} of objects have no box that fits")


def pair_verdict(counts: PairCounts) -> Verdict:
    """Return which half of a pair is weaker, and by how much."""
    total = sum(counts.points.values())
    if counts.ap is None or not total or not counts.objects:
        return Verdict("error", "this pair cannot be judged: no keypoint is labeled in this split")
    lost = sum(counts.points.get(kind, 0) for kind in _OF_BOXES) / total
    wrong = 1 - lost - counts.points.get("good", 0) / total
    extra = counts.on_nothing / counts.objects
    level: Level = "error" if counts.ap < _UNUSABLE_AP else "warning"
    if extra > max(_GOOD_SHARE, lost, wrong):
        sentence = f"boxes are the weak half: {counts.on_nothing:,} are on background, for {counts.objects:,} objects"
    elif lost + wrong <= _GOOD_SHARE:
        level = "good"
        sentence = f"both halves are good: {1 - lost - wrong:.0%} of the labeled points are near their label"
    elif lost >= wrong:
        none, shifted = (counts.points.get(kind, 0) for kind in _OF_BOXES)
        fitting = " that fits" if shifted > none else ""
        share = f"{counts.without_box / counts.objects:.0%} of objects have none{fitting}"
        sentence = f"boxes are the weak half: {share}"
    else:
        kinds = [kind for kind in POINT_KINDS if kind not in (*_OF_BOXES, "good")]
        most = max(kinds, key=lambda kind: counts.points.get(kind, 0))
        share = f"{wrong / (1 - lost):.0%} of the points in a good box are wrong"
        sentence = f"poses are the weak half: {share}, mostly {ERROR_NAMES[most]}"
    if counts.misleading:
        return Verdict("error", f"AP says nothing about the model here, see below; {sentence}")
    return Verdict(level, sentence)


def counts_of(report: Report) -> PairCounts:
    """Return the counts for the verdict on a pair."""
    diagnosis = report.detected.diagnosis
    return PairCounts(
        ap=report.detected.scores.oks.ap,
        points={kind: diagnosis.counts[kind] for kind in POINT_KINDS},
        objects=diagnosis.objects,
        without_box=report.detected.scores.without_box,
        on_nothing=len(sure_on_nothing(report)),
        misleading=any(report.says_nothing(part) for part in report.remarks),
    )


def sure_on_nothing(report: Report) -> list[tuple[int, float]]:
    """Return the rows of background poses with confident boxes, and the box scores."""
    predicted, poses = report.detected.predicted, report.detected.poses
    roles = match_objects(report.truth, predicted, by_points=True, boxes_are_labels=False).roles
    # The object score includes keypoint scores; the box score is the detector's confidence.
    sure = poses.box_scores[poses.kept]
    rows = np.flatnonzero((roles == Role.BACKGROUND) & (sure >= BBOX_THR)).tolist()
    return [(row, float(sure[row])) for row in rows]
