"""How far predictions are usually from labels, and how often they fail: learned from the data set itself.

Nearly all labels are right, so what is usual in a data set shows what the models can do. ``median_of`` says how far a
prediction is from its label, ``rate_of`` how often something happens, both for predictions with the same features
(their scores, for example). A few wrong labels hardly change either.
"""

from __future__ import annotations

import numpy as np

from posetools.core.geometry import Bools, Floats

# One object in so many has an error of each kind.
WRONG_SHARE = 0.01
# Not all contradictions are wrong labels.
_LEAST_FAULT = 0.1
_RIDGE = 10.0
_NEWTON_STEPS, _MEDIAN_STEPS = 12, 8
_LEAST_RESIDUAL = 0.1
# Student's t: the degrees of freedom to choose from.
_FREEDOMS = (2.0, 3.0, 5.0, 10.0, 30.0)
_MOST_ODDS = 35.0


def rate_of(features: Floats, happened: Bools, known: Bools) -> Floats:
    """Return the (N,) probability that something happens, by a logistic regression on features.

    Args:
        features: (N, F) of N predictions.
        happened: (N,) whether it did.
        known: (N,) for which of them this is known.
    """
    inputs = np.column_stack([np.ones(len(features)), _scaled(features, known)])
    if not known.any():
        return np.zeros(len(inputs))
    some, target = inputs[known], happened[known].astype(np.float64)
    weights, penalty = np.zeros(inputs.shape[1]), _penalty(inputs)
    share = (target.sum() + 0.5) / (len(target) + 1)
    weights[0] = np.log(share / (1 - share))
    loss = _loss(some, target, weights, penalty)
    for _ in range(_NEWTON_STEPS):
        chance = _sigmoid(some @ weights)
        matrix = (some * np.maximum(chance * (1 - chance), 1e-5)[:, None]).T @ some + np.diag(penalty)
        step = np.linalg.solve(matrix, some.T @ (target - chance) - penalty * weights)
        # Where the features separate the two cases, a whole step leads too far.
        for share in (1.0, 0.5, 0.25, 0.1, 0.03):
            tried = weights + share * step
            now = _loss(some, target, tried, penalty)
            if now < loss:
                weights, loss = tried, now
                break
        else:
            break
    return _sigmoid(inputs @ weights)


def median_of(features: Floats, distances: Floats) -> Floats:
    """Return the (N,) usual distances, by a regression of the median of their logarithms on features.

    Args:
        features: (N, F) of N predictions.
        distances: (N,) 0 or more; NaN where unknown.
    """
    known = np.isfinite(distances)
    inputs = np.column_stack([np.ones(len(features)), _scaled(features, known)])
    if not known.any():
        return np.ones(len(inputs))
    target = np.log(np.maximum(distances[known], 1e-4))
    weights = median_weights(inputs[known], target, _LEAST_RESIDUAL, _RIDGE)
    usual: Floats = np.exp(np.clip(inputs @ weights, target.min(), target.max()))
    return usual


def median_weights(inputs: Floats, target: Floats, least: float, ridge: float) -> Floats:
    """Return (F,) the weights of a regression of the median: a few wrong targets hardly change it.

    Args:
        inputs: (N, F); the first is 1.
        target: (N,).
        least: residuals below this count as this.
        ridge: the larger, the smaller the weights.
    """
    weights, penalty = np.zeros(inputs.shape[1]), np.diag(_penalty(inputs, ridge))
    weights[0] = np.median(target)
    for _ in range(_MEDIAN_STEPS):
        share = 1 / np.maximum(np.abs(target - inputs @ weights), least)
        weights = np.linalg.solve((inputs * share[:, None]).T @ inputs + penalty, inputs.T @ (share * target))
    return weights


def density_of(distances: Floats, usual: Floats, dimensions: int, tail: float) -> Floats:
    """Return the density of Student's t at some distances from its center; 0 where a distance is NaN.

    Args:
        distances: of any shape.
        usual: their medians; broadcast.
        dimensions: 1, with the distance to either side, or 2.
        tail: the degrees of freedom.
    """
    # In two dimensions P(r > x) is (1 + x^2 / tail) ^ (-tail / 2); in one the median is close to 0.7.
    middle = np.sqrt(tail * (2 ** (2 / tail) - 1)) if dimensions == 2 else 0.7
    scale = usual / middle
    gone = (1 + (distances / scale) ** 2 / tail) ** (-(tail + dimensions) / 2)
    norm = 1 / (2 * np.pi) if dimensions == 2 else 0.37
    density: Floats = np.nan_to_num(norm * gone / scale**dimensions)
    return density


def best_tail(distances: Floats, usual: Floats, dimensions: int) -> float:
    """Return the degrees of freedom that explain some distances best; a few of them may be anywhere."""
    known = np.isfinite(distances)

    def likelihood(tail: float) -> float:
        density = density_of(distances[known], usual[known], dimensions, tail)
        return float(np.log(0.97 * density + 0.03).sum())

    return max(_FREEDOMS, key=likelihood)


def shared_out(rate: Floats, known: Bools, wrong: float = WRONG_SHARE) -> tuple[float, Floats]:
    """Return how often a label is wrong, and (N,) how often it is the model that fails, of a rate of both.

    A person's mistakes do not depend on the model's scores, so they are a part of every rate.

    Args:
        rate: (N,) how often labels and predictions of such scores contradict each other.
        known: (N,) which of them count.
        wrong: how often a label is wrong, at least; at most twice as often.
    """
    usual = float(np.median(rate[known])) if known.any() else 0.0
    of_labels = min(max(wrong, usual), 2 * wrong)
    return of_labels, np.maximum(rate - of_labels, _LEAST_FAULT * rate)


def log_odds(scores: Floats) -> Floats:
    """Return the log odds of scores, which need not be below 1."""
    inside = np.clip(scores, 1e-3, 1 - 1e-3)
    odds: Floats = np.log(inside / (1 - inside))
    return odds


def _scaled(features: Floats, known: Bools) -> Floats:
    some = features[known] if known.any() else features
    spread = some.std(axis=0)
    scaled: Floats = np.clip((features - some.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0), -6.0, 6.0)
    return scaled


def _penalty(inputs: Floats, ridge: float = _RIDGE) -> Floats:
    penalty = np.full(inputs.shape[1], ridge)
    penalty[0] = 1e-3
    return penalty


def _loss(inputs: Floats, target: Floats, weights: Floats, penalty: Floats) -> float:
    odds = inputs @ weights
    return float((np.logaddexp(0, odds) - target * odds).sum() + (penalty * weights**2).sum() / 2)


def _sigmoid(values: Floats) -> Floats:
    sigmoid: Floats = 1 / (1 + np.exp(-np.clip(values, -_MOST_ODDS, _MOST_ODDS)))
    return sigmoid
