"""What an evaluation says: the boxes, the poses in labeled boxes (the pose estimator alone), those in detected boxes.

Each part knows the labels and the predictions, and takes a measure when it is first asked for it. A single model's
report has one model's parts, and of those shows the scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from posetools.core.dataset import Dataset
from posetools.core.geometry import Floats
from posetools.core.stages import Stage
from posetools.errors import RequestError
from posetools.evaluation.calibration import Calibration, box_calibration, keypoint_calibration, object_calibration
from posetools.evaluation.coco import Evaluation, Predictions, evaluate_coco
from posetools.evaluation.diagnosis.boxes import BoxDiagnosis, diagnose_boxes
from posetools.evaluation.diagnosis.diagnosis import Diagnosis, diagnose
from posetools.evaluation.metrics import BoxScores
from posetools.evaluation.remarks import Remark
from posetools.evaluation.scoring import BoxPoses, PoseScores, has_points, pose_scores
from posetools.evaluation.thresholds import Sweep, VisibilityScores, confidence_sweep, visibility_scores
from posetools.evaluation.undertrained import CAUSES

# What the parts are called in tables and remarks; that of poses is followed by the kind of boxes.
BOXES, POSES = "boxes", "poses"
LABELED, DETECTED = "labeled boxes", "detected boxes"


@dataclass(frozen=True, slots=True)
class Subject:
    """What was evaluated, by name.

    Attributes:
        name: the folder of the runs, the bundle, or the checkpoint of a single model.
        detector: the detector's file; empty without one.
        estimator: the pose estimator's, likewise.
        data: the data set's folder.
        split: of it.
        bbox_thr: detected boxes with a lower score got no keypoints.
        stage: which model it is, where it is a single one.
        config: that model's config.
    """

    name: str
    detector: str
    estimator: str
    data: str
    split: str
    bbox_thr: float
    stage: Stage | None = None
    config: str = ""


@dataclass(frozen=True, eq=False)
class DetPart:
    """How well the objects are found.

    Attributes:
        truth: the labels.
        predicted: all boxes.
    """

    truth: Dataset
    predicted: Predictions

    @cached_property
    def evaluation(self) -> Evaluation:
        """The curves that the scores are made of."""
        return evaluate_coco(self.truth, self.predicted, "bbox")

    @cached_property
    def scores(self) -> BoxScores:
        """COCO's box metrics."""
        return BoxScores.of(self.evaluation)

    @cached_property
    def sweep(self) -> Sweep:
        """What each threshold of the score would give."""
        return confidence_sweep(self.truth, self.predicted)

    @cached_property
    def calibration(self) -> Calibration:
        """Whether a score says how often a box is right."""
        return box_calibration(self.truth, self.predicted)

    @cached_property
    def diagnosis(self) -> BoxDiagnosis:
        """Why AP is lost."""
        return diagnose_boxes(self.truth, self.predicted)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "bbox": self.scores.as_dict(),
            "curves": self.evaluation.as_dict(),
            "sweep": self.sweep.as_dict(),
            "calibration": self.calibration.as_dict(),
            "diagnosis": self.diagnosis.as_dict(),
        }


@dataclass(frozen=True, eq=False)
class PosePart:
    """How good the keypoints are on one kind of boxes.

    Attributes:
        truth: the labels.
        poses: all poses, and which belongs to which labeled object.
        boxes_are_labels: whether they were estimated in the labeled boxes.
    """

    truth: Dataset
    poses: BoxPoses
    boxes_are_labels: bool

    @cached_property
    def predicted(self) -> Predictions:
        """The poses that AP is measured on."""
        return self.poses.thinned

    @cached_property
    def evaluation(self) -> Evaluation:
        """The curves of OKS."""
        return evaluate_coco(self.truth, self.predicted, "keypoints", sigmas=self.truth.skeleton.sigmas)

    @cached_property
    def scores(self) -> PoseScores:
        """OKS, PCK and NME."""
        return pose_scores(self.truth, self.poses)

    @cached_property
    def visibility(self) -> VisibilityScores:
        """Whether a keypoint's score tells visible points from hidden and from unlabeled ones."""
        labels, _, scores = self._counted
        return visibility_scores(labels, scores, self.truth.skeleton.names)

    @cached_property
    def object_calibration(self) -> Calibration:
        """Whether an object's score says how often it is right."""
        return object_calibration(self.truth, self.predicted)

    @cached_property
    def keypoint_calibration(self) -> Calibration:
        """Whether a keypoint's score does."""
        return keypoint_calibration(*self._counted, self.truth.boxes[has_points(self.truth)])

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """Why AP is lost."""
        return diagnose(self.truth, self.predicted, boxes_are_labels=self.boxes_are_labels)

    @property
    def _counted(self) -> tuple[Floats, Floats, Floats]:
        """Labels, points and their scores of the objects that poses are measured on."""
        counted = has_points(self.truth)
        return self.truth.keypoints[counted], self.poses.points[counted], self.poses.point_scores[counted]

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


@dataclass(frozen=True, eq=False, slots=True)
class Report:
    """All that was measured of a pair, or of a single model.

    Attributes:
        subject: what was evaluated.
        truth: the labels.
        det: the detector; of no boxes without one.
        labeled: the pose estimator on labeled boxes; of no poses without one.
        detected: both together, likewise.
        remarks: what the scores alone do not say, by part: BOXES, or POSES and the kind of boxes.
        flipped: the parts of poses with a flip test, where that was measured.
    """

    subject: Subject
    truth: Dataset
    det: DetPart
    labeled: PosePart
    detected: PosePart
    remarks: Mapping[str, tuple[Remark, ...]]
    flipped: tuple[PosePart, PosePart] | None = None

    @property
    def sides(self) -> Mapping[str, PosePart]:
        """The poses by the words for their boxes; without a detector those on labeled boxes."""
        return self._sides(self.labeled, self.detected)

    @property
    def flipped_sides(self) -> Mapping[str, PosePart]:
        """Those with a flip test, likewise; empty where it was not measured."""
        return self._sides(*self.flipped) if self.flipped else {}

    def _sides(self, labeled: PosePart, detected: PosePart) -> Mapping[str, PosePart]:
        return {LABELED: labeled, DETECTED: detected} if self.subject.detector else {LABELED: labeled}

    @property
    def sentences(self) -> tuple[str, ...]:
        """The remarks as they are shown: of a pair with their part; those that are true of all parts stand once."""
        return tuple(
            one.text if one.code == "seen" or self.subject.stage else f"{part}: {one.text}"
            for part, of_part in self.remarks.items()
            for one in of_part
            if part == BOXES or one.code != "seen"
        )

    def says_nothing(self, part: str) -> bool:
        """Return whether a part's AP says nothing about the model, for a reason that stands in its remarks."""
        return any(one.hides for one in self.remarks[part])

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: of a pair everything, of a single model its scores."""
        subject, counts = self.subject, {"images": len(self.truth.images), "objects": len(self.truth)}
        flips = {_key(boxes): part.scores.as_dict() for boxes, part in self.flipped_sides.items()}
        flip_test = {_key(LABELED): None, _key(DETECTED): None} | flips if flips else None
        if subject.stage is None:
            return {
                **{name: value for name, value in asdict(subject).items() if name not in ("stage", "config")},
                **counts,
                "remarks": [{"of": part, **asdict(one)} for part, of_part in self.remarks.items() for one in of_part],
                "det": self.det.as_dict(),
                **{_key(boxes): part.as_dict() for boxes, part in self.sides.items()},
                "flip_test": flip_test,
            }
        document = {
            "stage": subject.stage,
            "checkpoint": subject.name,
            **{name: getattr(subject, name) for name in ("config", "data", "split")},
            **counts,
            "remarks": [asdict(one) for of_part in self.remarks.values() for one in of_part],
        }
        if subject.stage == "det":
            return {**document, "bbox": self.det.scores.as_dict()}
        sides = {_key(boxes): part.scores.as_dict() for boxes, part in self.sides.items()}
        return {
            **document,
            "detector": subject.detector or None,
            _key(LABELED): None,
            _key(DETECTED): None,
            **sides,
            "flip_test": flip_test,
        }


def _key(boxes: str) -> str:
    return boxes.replace(" ", "_")


def with_remarks(report: Report, more: Mapping[str, Iterable[Remark]]) -> Report:
    """Return a report with further remarks on some of its parts; what they explain is not called unexplained."""
    added = {part: tuple(of_part) for part, of_part in more.items()}
    remarks = {
        part: (*report.remarks.get(part, ()), *added.get(part, ())) for part in dict.fromkeys((*report.remarks, *added))
    }
    # Poses on detected boxes are low because either model is.
    explained = {part for part, of_part in added.items() if any(one.code in CAUSES for one in of_part)}
    explained |= {part for part in remarks if explained and part.endswith(DETECTED)}
    for part in explained:
        remarks[part] = tuple(one for one in remarks[part] if one.code != "zero")
    return replace(report, remarks=remarks)


def check_same_split(reports: Sequence[Report]) -> None:
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


def as_document(reports: Sequence[Report]) -> dict[str, Any]:
    """Return the JSON form: that of the one, or a list of several below ``runs``."""
    return reports[0].as_dict() if len(reports) == 1 else {"runs": [report.as_dict() for report in reports]}
