"""Messages for runs that are too short."""

from __future__ import annotations

import pytest

from posetools.recipes.budget import BOX_AP50, PCK, enough_iterations, too_few, verdict


@pytest.mark.parametrize(("samples", "batch", "enough"), [(36, 8, 2700), (36, 36, 600), (352, 8, 12_000), (1, 1, 600)])
def test_enough_is_what_a_recipe_aims_at_without_a_limit_of_time(samples: int, batch: int, enough: int) -> None:
    assert enough_iterations("det", samples, batch) == enough


def test_fewer_than_fifty_iterations_cannot_train() -> None:
    assert too_few(50) == ""
    assert too_few(1).startswith("1 iteration cannot train a model: at least 50 are needed")
    assert too_few(49).startswith("49 iterations cannot train")


@pytest.mark.parametrize(
    ("measure", "score", "said"),
    [
        (BOX_AP50, 0.107, "box AP50 0.107 is too low to be usable (below 0.5); trained 240 of the recipe's 12000"),
        (BOX_AP50, 0.5, "box AP50 0.500 is usable (0.5 or more); trained 240 of the recipe's 12000 iterations"),
        (PCK, 0.233, "PCK@0.1 on labeled boxes 0.233 is too low to be usable (below 0.5)"),
        (PCK, None, "PCK@0.1 on labeled boxes could not be measured; trained 240 of the recipe's 12000 iterations"),
    ],
)
def test_what_was_reached_is_judged(measure: str, score: float | None, said: str) -> None:
    text = verdict(measure, score, 240, 12_000)
    assert text.startswith(said)
    assert ("about 50 times as long" in text) is (score is not None and score < 0.5)
    assert "times as long" not in verdict(measure, score, 12_000, 12_000)
