"""How well scores separate visible points from others: by hand, by keypoint, and where it is undefined."""

from __future__ import annotations

import json

import numpy as np
import pytest

from posetools.core.geometry import Floats
from posetools.evaluation.thresholds import visibility_scores

NAMES = ["a", "b", "c"]


def labels_of(visibility: list[list[int]]) -> Floats:
    labels = np.zeros((len(visibility), len(visibility[0]), 3))
    labels[:, :, 2] = visibility
    return labels


def test_hidden_and_unlabeled_points_are_two_questions() -> None:
    labels = labels_of([[2, 1, 0], [2, 1, 2]])
    scores = np.array([[0.9, 0.8, 0.1], [0.7, 0.2, 0.6]])
    found = visibility_scores(labels, scores, NAMES)
    hidden, unlabeled = found.overall["hidden"], found.overall["unlabelled"]
    assert (hidden.visible, hidden.others, unlabeled.visible, unlabeled.others) == (3, 2, 3, 1)
    # 0.9 right, 0.8 wrong, 0.7 right, 0.6 right, 0.2 wrong.
    assert hidden.average_precision == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert hidden.best is not None
    assert (hidden.best.threshold, hidden.best.precision, hidden.best.recall) == (0.6, 0.75, 1.0)
    assert hidden.chance == 3 / 5
    assert unlabeled.average_precision == 1.0
    assert hidden.at(0.75) is not None
    assert hidden.at(0.75).hits == 1  # type: ignore[union-attr]
    assert found.notes() == ()


def test_each_keypoint_is_measured_by_itself() -> None:
    labels = labels_of([[2, 2, 1], [1, 2, 0]])
    found = visibility_scores(labels, np.array([[0.9, 0.9, 0.9], [0.1, 0.2, 0.3]]), NAMES)
    a, b, c = found.by_keypoint["hidden"].values()
    assert (a.average_precision, a.chance) == (1.0, 0.5)
    # b has no occluded point, c no visible one: undefined.
    assert [b.average_precision, b.best, b.at(), b.chance, c.average_precision] == [None] * 5
    assert (b.visible, b.others, c.visible, c.others) == (2, 0, 0, 1)


@pytest.mark.parametrize(
    ("visibility", "notes"),
    [
        ([[2, 2, 2]], ["hidden: n/a (no point is labeled hidden)", "unlabeled: n/a (every point is labeled)"]),
        ([[2, 2, 0]], ["hidden: n/a (no point is labeled hidden)"]),
        ([[1, 1, 0]], ["hidden: n/a (no point is labeled visible)", "unlabeled: n/a (no point is labeled visible)"]),
    ],
)
def test_where_only_one_kind_is_labeled_it_says_so_and_gives_no_number(
    visibility: list[list[int]], notes: list[str]
) -> None:
    found = visibility_scores(labels_of(visibility), np.full((1, 3), 0.5), NAMES)
    assert list(found.notes()) == [f"visible against {note}" for note in notes]
    document = found.as_dict()
    assert document["against"]["hidden"]["overall"]["average_precision"] is None
    assert document["notes"] == list(found.notes())
    json.dumps(document, allow_nan=False)


def test_objects_that_were_not_found_are_counted_apart() -> None:
    labels = labels_of([[2, 1, 2], [2, 1, 2]])
    scores = np.array([[0.9, 0.1, 0.8], [np.nan, np.nan, np.nan]])
    found = visibility_scores(labels, scores, NAMES)
    assert found.without_score == 3
    assert (found.overall["hidden"].visible, found.overall["hidden"].others) == (2, 1)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["without_score"] == 3


def test_a_score_that_knows_nothing_is_at_chance() -> None:
    rng = np.random.default_rng(0)
    labels = labels_of(rng.integers(1, 3, (2000, 3)).tolist())
    hidden = visibility_scores(labels, rng.uniform(0, 1, (2000, 3)), NAMES).overall["hidden"]
    assert hidden.average_precision == pytest.approx(hidden.chance, abs=0.02)
