"""What an evaluation says first, in one sentence: which half of a pair is the weak one, or which pair is better.

What counts are labeled points on detected boxes, which is what a user of the pair gets: those that are wrong because
their object has no box or a shifted one are the detector's, all other wrong ones the pose estimator's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from posetools.core.verdict import Level, Verdict
from posetools.evaluation.diagnosis.match import POINT_KINDS, Role, match_objects
from posetools.evaluation.diagnosis.mend import ERROR_NAMES
from posetools.evaluation.report import Report
from posetools.evaluation.tables import number, short_names
from posetools.runtime.results import BBOX_THR

_OF_BOXES = ("no_box", "box_shifted")
# A pair is good when at most this share of the points is wrong, and has boxes on nothing for this share of the objects.
_GOOD_SHARE = 0.1
# Below this AP nothing is usable; nearer APs than this are equal.
_UNUSABLE_AP, _EQUAL = 0.01, 0.005


@dataclass(frozen=True, slots=True)
class PairCounts:
    """What the verdict on one pair is made of, on detected boxes.

    Attributes:
        ap: of the poses; None where no keypoint is labeled.
        points: kind of point -> how many labeled points are of it.
        objects: how many labeled objects there are.
        without_box: how many of them have no box with an IoU of 0.5 at least.
        on_nothing: how many sure boxes are on nothing.
        misleading: whether AP says nothing about the model, for a reason that a remark tells.
    """

    ap: float | None
    points: Mapping[str, int]
    objects: int
    without_box: int
    on_nothing: int = 0
    misleading: bool = False


def evaluation_verdict(reports: Sequence[Report]) -> Verdict:
    """Return the verdict on one pair, or on several that were measured on the same labels."""
    verdicts = [pair_verdict(counts_of(report)) for report in reports]
    if len(reports) == 1:
        return verdicts[0]
    aps = [report.detected.scores.oks.ap or 0.0 for report in reports]
    order = sorted(range(len(reports)), key=lambda i: -aps[i])
    first, second, names = order[0], order[1], short_names(reports)
    against = f"pose AP on detected boxes {number(aps[first])} against {number(aps[second])} of {names[second]}"
    if aps[first] - aps[second] < _EQUAL:
        return Verdict("warning", f"no pair is better: {names[first]} has {against}")
    return Verdict(
        verdicts[first].level, f"the better pair is {names[first]}: {against}; there {verdicts[first].sentence}"
    )


def pair_verdict(counts: PairCounts) -> Verdict:
    """Return which half of a pair is the weak one, and by how much."""
    total = sum(counts.points.values())
    if counts.ap is None or not total or not counts.objects:
        return Verdict("error", "nothing can be said about this pair: no keypoint is labeled in this split")
    lost = sum(counts.points.get(kind, 0) for kind in _OF_BOXES) / total
    wrong = 1 - lost - counts.points.get("good", 0) / total
    extra = counts.on_nothing / counts.objects
    level: Level = "error" if counts.ap < _UNUSABLE_AP else "warning"
    if extra > max(_GOOD_SHARE, lost, wrong):
        sentence = f"boxes are the weak half: {counts.on_nothing:,} are on nothing, for {counts.objects:,} objects"
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
        sentence = f"poses are the weak half: {share}, most by {ERROR_NAMES[most]}"
    if counts.misleading:
        return Verdict("error", f"AP says nothing about the model here, for a reason given below; {sentence}")
    return Verdict(level, sentence)


def counts_of(report: Report) -> PairCounts:
    """Return what the verdict on a pair is made of."""
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
    """Return the rows of detected poses on nothing whose boxes are sure, and the boxes' scores."""
    predicted, poses = report.detected.predicted, report.detected.poses
    roles = match_objects(report.truth, predicted, by_points=True, boxes_are_labels=False).roles
    # An object's score has its keypoints' in it; how sure the detector was says its box's.
    sure = poses.box_scores[poses.kept]
    rows = np.flatnonzero((roles == Role.BACKGROUND) & (sure >= BBOX_THR)).tolist()
    return [(row, float(sure[row])) for row in rows]
