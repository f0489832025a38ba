"""Greedy matching: against every way to match that takes one pair at a time."""

from __future__ import annotations

import numpy as np
import pytest

from posetools.core.geometry import Floats
from posetools.core.matching import best_free, first_come


def test_partners_are_given_once() -> None:
    near = np.array([[0.1, 0.3], [0.2, np.inf], [np.inf, np.inf]])
    assert best_free(-near).tolist() == [[0, 0]]
    assert best_free(-np.zeros((2, 0))).tolist() == []


def test_what_is_taken_is_taken() -> None:
    pairs = np.array([[0, 1], [0, 2], [1, 1], [2, 0], [1, 2]])
    assert first_come(pairs).tolist() == [[0, 1], [2, 0], [1, 2]]


def one_by_one(fits: list[Floats]) -> list[list[int]]:
    pairs: list[list[int]] = []
    number, columns = fits[0].shape
    waiting, free = list(range(number)), np.ones(columns, dtype=np.bool_)
    for fit in fits:
        for row in list(waiting):
            allowed = np.where(free, fit[row], -np.inf)
            if allowed.max(initial=-np.inf) > -np.inf:
                best = int(allowed.argmax())
                pairs.append([row, best])
                free[best] = False
                waiting.remove(row)
    return pairs


@pytest.mark.parametrize("seed", range(20))
def test_passes_are_those_of_a_plain_loop(seed: int) -> None:
    random = np.random.default_rng(seed)
    fits = [np.where(f := random.integers(0, 4, (6, 5)), f.astype(np.float64), -np.inf) for _ in range(3)]
    assert best_free(*fits).tolist() == one_by_one(fits)
