"""The labeled objects of one category, each with what a pair predicts for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Floats, Ints
from posetools.evaluation.coco import Predictions
from posetools.evaluation.diagnosis.match import Matches, match_objects
from posetools.evaluation.scoring import BoxPoses, PairPredictions

# Distances and densities are in units of an object: the square root of its box's area.
_LEAST_UNIT = 1.0


@dataclass(frozen=True, eq=False, slots=True)
class Seen:
    """N labeled objects with K keypoints, and their predictions.

    Attributes:
        truth: the labels.
        unit: (N,) the size of each object in pixels.
        detected: the detected objects, with their poses if there are keypoints.
        box_scores: (M,) the scores of their boxes.
        matches: which of them is which labeled object.
        places: (2, N, K, 2) the predicted points, from the labeled and from the detected box; NaN without.
        scores: (2, N, K) their scores; NaN without.
    """

    truth: Dataset
    unit: Floats
    detected: Predictions
    box_scores: Floats
    matches: Matches
    places: Floats
    scores: Floats

    @classmethod
    def of(cls, truth: Dataset, predicted: PairPredictions) -> Seen:
        """Return the labels of one category with the predictions of a pair."""
        posed = bool(truth.categories.num_keypoints)
        kept = predicted.on_boxes.kept
        detected = predicted.on_boxes.every[kept] if posed else predicted.boxes
        matches = match_objects(truth, detected, by_points=posed, boxes_are_labels=False)
        sides = truth.boxes[:, 2:] - truth.boxes[:, :2]
        again = BoxPoses(detected, detected.scores, kept, matches.predicted)
        k = truth.categories.num_keypoints
        places = np.stack([predicted.on_labels.points, again.points]) if posed else np.zeros((2, len(truth), k, 2))
        scores = np.stack([predicted.on_labels.point_scores, again.point_scores]) if posed else places[..., 0]
        return cls(
            truth=truth,
            unit=np.maximum(np.sqrt(sides.clip(0).prod(axis=1)), _LEAST_UNIT),
            detected=detected,
            box_scores=predicted.on_boxes.box_scores[kept] if posed else predicted.boxes.scores,
            matches=matches,
            places=places,
            scores=scores,
        )

    @property
    def found(self) -> Ints:
        """(N,) the detection of each object, or -1."""
        return self.matches.predicted

    @property
    def best(self) -> Floats:
        """(N, K, 2) the predicted points: from the labeled box, else from the detected one; NaN without."""
        best: Floats = np.where(np.isnan(self.places[0]), self.places[1], self.places[0])
        return best

    @property
    def score(self) -> Floats:
        """(N, K) the scores of ``best``."""
        score: Floats = np.where(np.isnan(self.scores[0]), self.scores[1], self.scores[0])
        return score

    @property
    def shared(self) -> Floats:
        """(N, K, 5) features that say how far a point may be off, but for which point it is; 0 without a prediction."""
        scores = np.log(np.clip(self.score, 1e-3, None))
        apart = np.linalg.norm(self.places[1] - self.places[0], axis=2) / self.unit[:, None]
        of_object = np.broadcast_to(scores.mean(axis=1, keepdims=True), scores.shape)
        size = np.broadcast_to(np.log(self.unit)[:, None], scores.shape)
        alone = np.isnan(apart)
        numbers = [scores, of_object, np.log(np.where(alone, 0.0, apart) + 0.01), alone.astype(np.float64), size]
        shared: Floats = np.nan_to_num(np.stack(numbers, axis=2))
        return shared

    @property
    def sure(self) -> Floats:
        """(N, K, 5 + K) features that say how far a point may be off."""
        n, k = self.score.shape
        return np.concatenate([self.shared, np.broadcast_to(np.eye(k), (n, k, k))], axis=2)
