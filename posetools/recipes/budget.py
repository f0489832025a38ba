"""How many iterations are enough, and messages for runs that are too short."""

from __future__ import annotations

from math import ceil

from posetools.core.stages import Stage
from posetools.errors import counted

# Length without a limit: iterations, but at most this many passes over each sample.
ITERATIONS = 12_000
PASSES = 600
# With smaller batches than these, more iterations give as many samples.
FULL_BATCH: dict[Stage, int] = {"det": 4, "pose": 32}
# With fewer, no model here learns to detect anything.
TRAINS_FROM = 50
# The least score of a usable model, for any of these metrics.
BOX_AP50, PCK, OKS_AP50 = "box AP50", "PCK@0.1 on labeled boxes", "OKS AP50 on labeled boxes"
USABLE = 0.5


def full_batches(stage: Stage, batch: int, iterations: int) -> int:
    """Return how many iterations with this batch have the samples of so many with a full one."""
    return ceil(iterations * max(1.0, FULL_BATCH[stage] / batch))


def enough_iterations(stage: Stage, samples: int, batch: int) -> int:
    """Return the recipe's target number of iterations without a time limit."""
    return min(full_batches(stage, batch, ITERATIONS), ceil(PASSES * samples / batch))


def too_few(iterations: int) -> str:
    """Return a warning for a run too short to train anything, or ""."""
    if iterations >= TRAINS_FROM:
        return ""
    return (
        f"{counted(iterations, 'iteration')} cannot train a model: at least {TRAINS_FROM} are needed, thousands are "
        "usual; use more minutes or epochs, a smaller model or a smaller --input-size"
    )


def verdict(measure: str, score: float | None, done: int, enough: int) -> str:
    """Return the result of a time-limited run as one sentence.

    Args:
        measure: the metric: BOX_AP50, PCK or OKS_AP50.
        score: its value; None: undefined.
        done: iterations of the run.
        enough: iterations of its recipe without a time limit.
    """
    ran = f"trained {done} of the recipe's {enough} iterations"
    if score is None:
        return f"{measure} could not be measured; {ran}"
    if score >= USABLE:
        return f"{measure} {score:.3f} is usable ({USABLE} or more); {ran}"
    times = enough / max(done, 1)
    more = f"; all of them take about {times:.{0 if times >= 10 else 1}f} times as long" if times > 1 else ""
    return f"{measure} {score:.3f} is too low to be usable (below {USABLE}); {ran}{more}"
