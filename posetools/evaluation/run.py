"""The whole evaluation of a pair, whatever runs it: what it reaches on a split, and why it does not reach more.

Both models run once over the pictures (``scoring.collect``); all numbers come from what they said then. There are three
parts: the detector's boxes, the poses in the labelled boxes (the pose estimator alone), and the poses in the detected
boxes (what a user of the pair gets). Measures that say nothing without an explanation have one in ``remarks``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from posetools.core.dataset import Dataset
from posetools.errors import RequestError
from posetools.evaluation.calibration import Calibration, box_calibration, keypoint_calibration, object_calibration
from posetools.evaluation.coco import Evaluation, evaluate
from posetools.evaluation.diagnosis.boxes import BoxDiagnosis, diagnose_boxes
from posetools.evaluation.diagnosis.diagnosis import Diagnosis, diagnose
from posetools.evaluation.metrics import BoxScores, Predictions, box_scores_of
from posetools.evaluation.remarks import Remark, explain
from posetools.evaluation.scoring import BBOX_THR, Collected, Estimated, PoseScores, collect, has_points, pose_scores
from posetools.evaluation.thresholds import Sweep, confidence_sweep
from posetools.evaluation.undertrained import CAUSES, nowhere
from posetools.evaluation.visibility import VisibilityScores, visibility_scores
from posetools.imaging.header import Picture
from posetools.progress import Progress, silent
from posetools.runtime.results import Detections, Detects, Estimates, label_of

# What the parts are called in tables and remarks; that of poses is followed by the kind of boxes.
BOXES, POSES = "boxes", "poses"
_MEASURING, _STEPS = "measuring", 4


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitRequest:
    """What a pair is measured on.

    Attributes:
        data: the data set's folder; None: the one that the pair was trained on, if that is known.
        split: of the data set.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        skeleton: a built-in name or a file; None: the one that the pose estimator was trained with.
        bbox_thr: detected boxes with a lower score get no keypoints.
        flip_test: measure what an average with the mirrored crop would add as well.
    """

    data: Path | None = None
    split: str = "val"
    device: str = "auto"
    skeleton: str | None = None
    bbox_thr: float = BBOX_THR
    flip_test: bool = False


DEFAULT_SPLIT = SplitRequest()


@dataclass(frozen=True, slots=True)
class Subject:
    """What was evaluated, by name.

    Attributes:
        name: the folder of the runs, or the bundle.
        detector: the detector's file.
        estimator: the pose estimator's.
        data: the data set's folder.
        split: of it.
        bbox_thr: detected boxes with a lower score got no keypoints.
    """

    name: str
    detector: str
    estimator: str
    data: str
    split: str
    bbox_thr: float


@dataclass(frozen=True, eq=False, slots=True)
class DetPart:
    """How well the objects are found.

    Attributes:
        scores: COCO's box metrics.
        evaluation: the curves that they are made of.
        sweep: what each threshold of the score would give.
        calibration: whether a score says how often a box is right.
        diagnosis: why AP is lost.
        predicted: all boxes.
    """

    scores: BoxScores
    evaluation: Evaluation
    sweep: Sweep
    calibration: Calibration
    diagnosis: BoxDiagnosis
    predicted: Predictions

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "bbox": self.scores.as_dict(),
            "curves": self.evaluation.as_dict(),
            "sweep": self.sweep.as_dict(),
            "calibration": self.calibration.as_dict(),
            "diagnosis": self.diagnosis.as_dict(),
        }


@dataclass(frozen=True, eq=False, slots=True)
class PosePart:
    """How good the keypoints are on one kind of boxes.

    Attributes:
        scores: OKS, PCK and NME.
        evaluation: the curves of OKS.
        visibility: whether a keypoint's score tells visible points from hidden and from unlabelled ones.
        object_calibration: whether an object's score says how often it is right.
        keypoint_calibration: whether a keypoint's score does.
        diagnosis: why AP is lost.
        predicted: the poses that AP is measured on.
        poses: all poses, and which belongs to which labelled object.
    """

    scores: PoseScores
    evaluation: Evaluation
    visibility: VisibilityScores
    object_calibration: Calibration
    keypoint_calibration: Calibration
    diagnosis: Diagnosis
    predicted: Predictions
    poses: Estimated

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            **self.scores.as_dict(),
            "curves": self.evaluation.as_dict(),
            "visibility": self.visibility.as_dict(),
            "calibration": {
                "objects": self.object_calibration.as_dict(),
                "points": self.keypoint_calibration.as_dict(),
            },
            "diagnosis": self.diagnosis.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class FlipScores:
    """How good the keypoints are when each is the average with what the mirrored crop gives.

    Attributes:
        labelled: on labelled boxes.
        detected: on detected boxes; None without a detector.
    """

    labelled: PoseScores
    detected: PoseScores | None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        detected = self.detected.as_dict() if self.detected else None
        return {"labelled_boxes": self.labelled.as_dict(), "detected_boxes": detected}


@dataclass(frozen=True, eq=False, slots=True)
class RunReport:
    """All that was measured of a pair.

    Attributes:
        subject: what was evaluated.
        det: the detector.
        labelled: the pose estimator on labelled boxes.
        detected: both together.
        remarks: what makes an AP 0 or too good to be true, by part: BOXES, or POSES and the kind of boxes.
        truth: the labels.
        flip_test: what a flip test would give, where it was measured.
    """

    subject: Subject
    det: DetPart
    labelled: PosePart
    detected: PosePart
    remarks: Mapping[str, tuple[Remark, ...]]
    truth: Dataset
    flip_test: FlipScores | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            **asdict(self.subject),
            "images": len(self.truth.images),
            "objects": len(self.truth),
            "remarks": [{"of": part, **one.as_dict()} for part, of_part in self.remarks.items() for one in of_part],
            "det": self.det.as_dict(),
            "labelled_boxes": self.labelled.as_dict(),
            "detected_boxes": self.detected.as_dict(),
            "flip_test": self.flip_test.as_dict() if self.flip_test else None,
        }

    @property
    def sides(self) -> Mapping[str, PosePart]:
        """Both kinds of boxes, by the words for them."""
        return {"labelled boxes": self.labelled, "detected boxes": self.detected}

    @property
    def sentences(self) -> tuple[str, ...]:
        """The remarks as they are shown; those that are true of all parts stand once."""
        return tuple(
            one.text if one.code == "seen" else f"{part}: {one.text}"
            for part, of_part in self.remarks.items()
            for one in of_part
            if part == BOXES or one.code != "seen"
        )

    def says_nothing(self, part: str) -> bool:
        """Return whether a part's AP says nothing about the model, for a reason that stands in its remarks."""
        return any(one.hides for one in self.remarks[part])


def measure(
    subject: Subject,
    detector: Detects,
    estimator: Estimates,
    truth: Dataset,
    *,
    training: Dataset | None = None,
    mirrored: Estimates | None = None,
    progress: Progress = silent,
) -> RunReport:
    """Run a pair once over the pictures of a split, and return all that can be measured of it.

    Args:
        subject: what it is, and from which score on detected boxes get keypoints.
        detector: finds the boxes.
        estimator: finds the keypoints.
        truth: the labels; its pictures are read from their paths.
        training: what the pair was trained on, if that is known.
        mirrored: the pose estimator with a flip test, to measure what that adds.
        progress: told how many pictures are done.

    Raises:
        RequestError: the pair is for other objects or keypoints than the labels'.
        InputError: a picture cannot be read.
    """
    if estimator.num_keypoints != truth.skeleton.num_keypoints:
        raise RequestError(
            f"{subject.estimator}: predicts {estimator.num_keypoints} keypoints, but skeleton {truth.skeleton.name} "
            f"has {truth.skeleton.num_keypoints}\n  --skeleton and --data must be those it was trained with"
        )
    label = label_of(detector.classes, truth.skeleton, subject.detector)
    said = collect(
        truth, detector=detector, estimator=estimator, label=label, bbox_thr=subject.bbox_thr, progress=progress
    )
    found = {name: said.labels.get(index, 0) for index, name in enumerate(detector.classes)}
    report = _report(subject, truth, said, training, found, progress)
    if mirrored is None:
        return report
    # The detector has said all that it will say.
    flipped = collect(
        truth, detector=_Replayed(said.boxes), estimator=mirrored, bbox_thr=subject.bbox_thr, progress=progress
    )
    scores = FlipScores(pose_scores(truth, flipped.on_labels), pose_scores(truth, flipped.on_boxes))
    return replace(report, flip_test=scores)


class _Replayed:
    """A detector that gives the boxes of an earlier pass over the same pictures again, in their order."""

    classes: tuple[str, ...] = ()

    def __init__(self, boxes: Predictions) -> None:
        self._boxes = boxes
        self._next = 0

    def __call__(self, pictures: Sequence[Picture]) -> list[Detections]:
        images = range(self._next, self._next + len(pictures))
        self._next = images.stop
        rows = [np.flatnonzero(self._boxes.image_index == image) for image in images]
        return [Detections(self._boxes.boxes[of], self._boxes.scores[of], np.zeros_like(of)) for of in rows]


def _report(
    subject: Subject,
    truth: Dataset,
    said: Collected,
    training: Dataset | None,
    classes: Mapping[str, int],
    progress: Progress,
) -> RunReport:
    det = _det_part(truth, said.boxes)
    progress(_MEASURING, 1, _STEPS)
    labelled = _pose_part(truth, said.on_labels, boxes_are_labels=True)
    progress(_MEASURING, 2, _STEPS)
    detected = _pose_part(truth, said.on_boxes, boxes_are_labels=False)
    progress(_MEASURING, 3, _STEPS)
    remarks = {BOXES: explain(truth, said.boxes, det.evaluation, training=training, classes=classes)}
    for boxes, part in (("labelled boxes", labelled), ("detected boxes", detected)):
        remarks[f"{POSES}, {boxes}"] = explain(truth, part.predicted, part.evaluation, training=training)
    progress(_MEASURING, _STEPS, _STEPS)
    report = RunReport(subject, det, labelled, detected, remarks, truth)
    # Boxes that are off in a known way, or of another category, overlap nothing either.
    unexplained = all(one.code == "zero" for one in remarks[BOXES])
    return with_remarks(report, {BOXES: nowhere(truth, said.boxes)}) if unexplained else report


def with_remarks(report: RunReport, more: Mapping[str, Iterable[Remark]]) -> RunReport:
    """Return a report with further remarks on some of its parts; what they explain is not called unexplained."""
    added = {part: tuple(of_part) for part, of_part in more.items()}
    remarks = {part: (*own, *added.get(part, ())) for part, own in report.remarks.items()}
    # Poses on detected boxes are low because either model is.
    explained = {part for part, of_part in added.items() if any(one.code in CAUSES for one in of_part)}
    explained |= {part for part in remarks if explained and part.endswith("detected boxes")}
    for part in explained:
        remarks[part] = tuple(one for one in remarks[part] if one.code != "zero")
    return replace(report, remarks=remarks)


def check_same_split(reports: Sequence[RunReport]) -> None:
    """Refuse pairs that were not measured on the same labels: their numbers do not compare.

    Raises:
        RequestError: they were not.
    """
    for report in reports[1:]:
        if report.truth != reports[0].truth:
            first, other = reports[0].subject, report.subject
            raise RequestError(
                f"{other.name}: {other.split} of {other.data} has other labels than {first.split} of {first.data}, "
                f"which {first.name} was measured on\n  --data DIR names the one data set to measure all on"
            )


def as_document(reports: Sequence[RunReport]) -> dict[str, Any]:
    """Return the JSON form: that of the one, or a list of several below ``runs``."""
    return reports[0].as_dict() if len(reports) == 1 else {"runs": [report.as_dict() for report in reports]}


def _det_part(truth: Dataset, boxes: Predictions) -> DetPart:
    evaluation = evaluate(truth, boxes, "bbox")
    return DetPart(
        scores=box_scores_of(evaluation),
        evaluation=evaluation,
        sweep=confidence_sweep(truth, boxes),
        calibration=box_calibration(truth, boxes),
        diagnosis=diagnose_boxes(truth, boxes),
        predicted=boxes,
    )


def _pose_part(truth: Dataset, poses: Estimated, *, boxes_are_labels: bool) -> PosePart:
    thinned, names = poses.thinned, truth.skeleton.names
    counted = has_points(truth)
    labels, points, scores = truth.keypoints[counted], poses.points[counted], poses.point_scores[counted]
    return PosePart(
        scores=pose_scores(truth, poses),
        evaluation=evaluate(truth, thinned, "keypoints", sigmas=truth.skeleton.sigmas),
        visibility=visibility_scores(labels, scores, names),
        object_calibration=object_calibration(truth, thinned),
        keypoint_calibration=keypoint_calibration(labels, points, scores, truth.boxes[counted]),
        diagnosis=diagnose(truth, thinned, boxes_are_labels=boxes_are_labels),
        predicted=thinned,
        poses=poses,
    )
