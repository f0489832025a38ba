"""The report of an evaluation: boxes, poses in labeled boxes (the pose estimator alone), poses in detected boxes.

Each part has the labels and the predictions, and computes a metric on first use. A single model's report has the parts
of that model, and shows only their scores.
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
from posetools.evaluation.bootstrap import ResampledEvaluation, Resamples, mean_of_categories
from posetools.evaluation.calibration import Calibration, box_calibration, keypoint_calibration, object_calibration
from posetools.evaluation.coco import Evaluation, Predictions, evaluate_coco
from posetools.evaluation.diagnosis.boxes import BoxDiagnosis, diagnose_boxes
from posetools.evaluation.diagnosis.diagnosis import Diagnosis, diagnose
from posetools.evaluation.intervals import LEVEL, as_limits, intervals
from posetools.evaluation.metrics import BoxScores, OksScores
from posetools.evaluation.remarks import Remark
from posetools.evaluation.scoring import BoxPoses, PoseScores, has_points, point_errors, pose_scores
from posetools.evaluation.thresholds import Sweep, VisibilityScores, confidence_sweep, visibility_scores
from posetools.evaluation.undertrained import CAUSES

# Names of the parts in tables and remarks; the kind of boxes follows POSES.
BOXES, POSES = "boxes", "poses"
LABELED, DETECTED = "labeled boxes", "detected boxes"
_KEYS = {LABELED: "labelled_boxes", DETECTED: "detected_boxes"}


@dataclass(frozen=True, slots=True)
class Subject:
    """Names of what was evaluated.

    Attributes:
        name: the folder of the runs, the bundle, or the checkpoint of a single model.
        detector: the detector's file; empty without one.
        estimator: the pose estimator's file; empty without one.
        data: the data set's folder.
        split: the split of the data set.
        bbox_thr: detected boxes with a lower score got no keypoints.
        stage: the stage of a single model.
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

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        if self.stage is None:
            return {name: value for name, value in asdict(self).items() if name not in ("stage", "config")}
        names = ("config", "data", "split")
        return {"stage": self.stage, "checkpoint": self.name, **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True, eq=False)
class DetPart:
    """How well the objects are detected.

    Attributes:
        truth: the labels.
        predicted: all boxes.
        resamples: of the images, for intervals.
        by_category: the parts of several categories; of all of them, only scores are defined.
    """

    truth: Dataset
    predicted: Predictions
    resamples: Resamples
    by_category: tuple[DetPart, ...] = ()

    @cached_property
    def evaluation(self) -> Evaluation:
        """The precision-recall curves."""
        return evaluate_coco(self.truth, self.predicted, "bbox")

    @cached_property
    def scores(self) -> BoxScores:
        """COCO's box metrics; of several categories, their mean."""
        if self.by_category:
            return BoxScores.mean([part.scores for part in self.by_category])
        return BoxScores.of(self.evaluation)

    @cached_property
    def resampled(self) -> dict[str, Any]:
        """The metrics in resamples of the images, in the form of ``metrics``."""
        if self.by_category:
            return {"bbox": mean_of_categories([part.resampled["bbox"] for part in self.by_category])}
        return {"bbox": BoxScores.resampled(ResampledEvaluation.of(self.evaluation, self.resamples))}

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics in their JSON form."""
        return {"bbox": self.scores.as_dict()}

    @cached_property
    def intervals(self) -> dict[str, Any]:
        """The intervals of the metrics, in the form of ``metrics``."""
        return intervals(self.metrics, self.resampled)

    @cached_property
    def sweep(self) -> Sweep:
        """Precision, recall and F1 at each score threshold."""
        return confidence_sweep(self.truth, self.predicted)

    @cached_property
    def calibration(self) -> Calibration:
        """Calibration of the box scores."""
        return box_calibration(self.truth, self.predicted)

    @cached_property
    def diagnosis(self) -> BoxDiagnosis:
        """Why AP is lost."""
        return diagnose_boxes(self.truth, self.predicted)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        scores = {**self.metrics, "intervals": as_limits(self.intervals)}
        if self.by_category:
            return scores
        return {
            **scores,
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
        poses: all poses, and their labeled objects.
        boxes_are_labels: whether they were estimated in labeled boxes.
        resamples: of the images, for intervals.
        by_category: the parts of several categories; of all of them, only scores are defined.
    """

    truth: Dataset
    poses: BoxPoses
    boxes_are_labels: bool
    resamples: Resamples
    by_category: tuple[PosePart, ...] = ()

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
        """OKS, PCK and NME; of several categories, the mean of OKS metrics, and PCK and NME over all keypoints."""
        mean = OksScores.mean([part.scores.oks for part in self.by_category])
        return pose_scores(self.truth, self.poses, mean if len(self.truth.categories) > 1 else None)

    @cached_property
    def resampled(self) -> dict[str, Any]:
        """The metrics in resamples of the images, in the form of ``metrics``."""
        if self.by_category:
            oks = mean_of_categories([part.resampled["OKS"] for part in self.by_category])
        else:
            oks = OksScores.resampled(ResampledEvaluation.of(self.evaluation, self.resamples))
        truth = self.truth
        images, names = truth.image_index[has_points(truth)], truth.categories.names
        errors = point_errors(truth, self.poses)
        points = {subset: each.resampled(images, self.resamples, names) for subset, each in errors.items()}
        return {"OKS": oks, "points": points}

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics in their JSON form."""
        return self.scores.as_dict()

    @cached_property
    def intervals(self) -> dict[str, Any]:
        """The intervals of the metrics, in the form of ``metrics``."""
        return intervals(self.metrics, self.resampled)

    @cached_property
    def visibility(self) -> VisibilityScores:
        """How well a keypoint's score separates visible points from occluded and from unlabeled ones."""
        labels, _, scores = self._counted
        return visibility_scores(labels, scores, self.truth.skeleton.names)

    @cached_property
    def object_calibration(self) -> Calibration:
        """Calibration of the object scores."""
        return object_calibration(self.truth, self.predicted)

    @cached_property
    def keypoint_calibration(self) -> Calibration:
        """Calibration of the keypoint scores."""
        return keypoint_calibration(*self._counted, self.truth.boxes[has_points(self.truth)])

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """Why AP is lost."""
        return diagnose(self.truth, self.predicted, boxes_are_labels=self.boxes_are_labels)

    @property
    def _counted(self) -> tuple[Floats, Floats, Floats]:
        """Labels, points and point scores of the objects that poses are measured on."""
        counted = has_points(self.truth)
        return self.truth.keypoints[counted], self.poses.points[counted], self.poses.point_scores[counted]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        scores = {**self.metrics, "intervals": as_limits(self.intervals)}
        if self.by_category:
            return scores
        return {
            **scores,
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
    """All measurements of a pair, or of a single model.

    Attributes:
        subject: what was evaluated.
        truth: the labels.
        det: the detector; empty without one.
        labeled: the pose estimator on labeled boxes; empty without one.
        detected: the pose estimator on detected boxes; empty without both models.
        remarks: by part: BOXES, or POSES and the kind of boxes.
        flipped: the parts of poses with a flip test, if measured.
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
        """The poses by kind of boxes; without a detector only on labeled boxes, without keypoints none."""
        return self._sides(self.labeled, self.detected)

    @property
    def flipped_sides(self) -> Mapping[str, PosePart]:
        """The poses with a flip test by kind of boxes; empty if not measured."""
        return self._sides(*self.flipped) if self.flipped else {}

    def _sides(self, labeled: PosePart, detected: PosePart) -> Mapping[str, PosePart]:
        if not self.truth.categories.num_keypoints:
            return {}
        return {LABELED: labeled, DETECTED: detected} if self.subject.detector else {LABELED: labeled}

    @property
    def sentences(self) -> tuple[str, ...]:
        """The remarks as shown: for a pair with their part; remarks on all parts appear once."""
        return tuple(
            one.text if one.code == "seen" or self.subject.stage else f"{part}: {one.text}"
            for part, of_part in self.remarks.items()
            for one in of_part
            if part == BOXES or one.code != "seen"
        )

    def says_nothing(self, part: str) -> bool:
        """Return whether a part's AP says nothing about the model, as its remarks explain."""
        return any(one.hides for one in self.remarks.get(part, ()))

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form: everything for a pair, the scores for a single model."""
        return {**self.subject.as_dict(), **self.metrics()}

    def metrics(self) -> dict[str, Any]:
        """Return the JSON form without the names of the models and the data set."""
        subject, resamples = self.subject, self.det.resamples
        counts: dict[str, Any] = {
            "images": len(self.truth.images),
            "objects": len(self.truth),
            "intervals_from": {"level": LEVEL, "groups": resamples.groups, "of": resamples.kind},
        }
        flips = {_key(boxes): part.scores.as_dict() for boxes, part in self.flipped_sides.items()}
        flip_test = {_key(LABELED): None, _key(DETECTED): None} | flips if flips else None
        if subject.stage is None:
            return {
                **counts,
                "remarks": [{"of": part, **asdict(one)} for part, of_part in self.remarks.items() for one in of_part],
                "det": self.det.as_dict(),
                **{_key(boxes): part.as_dict() for boxes, part in self.sides.items()},
                "flip_test": flip_test,
            }
        document = {**counts, "remarks": [asdict(one) for of_part in self.remarks.values() for one in of_part]}
        if subject.stage == "det":
            return {**document, **self.det.metrics, "intervals": as_limits(self.det.intervals)}
        sides = {
            _key(boxes): {**part.metrics, "intervals": as_limits(part.intervals)} for boxes, part in self.sides.items()
        }
        return {
            **document,
            "detector": subject.detector or None,
            _key(LABELED): None,
            _key(DETECTED): None,
            **sides,
            "flip_test": flip_test,
        }


def _key(boxes: str) -> str:
    return _KEYS[boxes]


def with_remarks(report: Report, more: Mapping[str, Iterable[Remark]]) -> Report:
    """Return a report with more remarks; an explained low AP loses its "unexplained" remark."""
    added = {part: tuple(of_part) for part, of_part in more.items()}
    remarks = {
        part: (*report.remarks.get(part, ()), *added.get(part, ())) for part in dict.fromkeys((*report.remarks, *added))
    }
    # A low AP of either model also explains poses on detected boxes.
    explained = {part for part, of_part in added.items() if any(one.code in CAUSES for one in of_part)}
    explained |= {part for part in remarks if explained and part.endswith(DETECTED)}
    for part in explained:
        remarks[part] = tuple(one for one in remarks[part] if one.code != "zero")
    return replace(report, remarks=remarks)


def check_same_split(reports: Sequence[Report]) -> None:
    """Refuse pairs measured on different labels: their metrics are not comparable.

    Raises:
        RequestError: the labels differ.
    """
    for report in reports[1:]:
        if report.truth != reports[0].truth:
            first, other = reports[0].subject, report.subject
            raise RequestError(
                f"{other.name}: {other.split} of {other.data} has other labels than {first.split} of {first.data}, "
                f"which {first.name} was measured on",
                hint="use --data DIR to measure all on one data set",
            )


def as_document(reports: Sequence[Report]) -> dict[str, Any]:
    """Return the JSON form: of one report, or a list of several in ``runs``."""
    return reports[0].as_dict() if len(reports) == 1 else {"runs": [report.as_dict() for report in reports]}
