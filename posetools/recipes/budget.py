"""How many iterations are enough, and the sentences for a run that time has cut short."""

from __future__ import annotations

from math import ceil

from posetools.errors import counted

# How long a recipe trains where nothing limits it: iterations, but no sample is seen more often than this.
ITERATIONS = 12_000
PASSES = 600
# With fewer, the weights of no model here move far enough to find anything.
TRAINS_FROM = 50
# From where a model is of use, by whichever of these was measured.
BOX_AP50, PCK, OKS_AP50 = "box AP50", "PCK@0.1 on labeled boxes", "OKS AP50 on labeled boxes"
USABLE = 0.5


def enough_iterations(samples: int, batch: int) -> int:
    """Return how many iterations a recipe aims at where time does not limit it."""
    return min(ITERATIONS, ceil(PASSES * samples / batch))


def too_few(iterations: int) -> str:
    """Return the sentence for a run that is too short to train anything, empty for a longer one."""
    if iterations >= TRAINS_FROM:
        return ""
    return (
        f"{counted(iterations, 'iteration')} cannot train a model: {TRAINS_FROM} are the least, thousands are usual; "
        "more minutes or epochs, a smaller model or a smaller --input-size give more"
    )


def verdict(measure: str, score: float | None, done: int, enough: int) -> str:
    """Return what a run reached whose time was limited, as one sentence.

    Args:
        measure: what was measured at the end: BOX_AP50, PCK or OKS_AP50.
        score: its value; None: there was nothing to measure.
        done: iterations that the run has had.
        enough: iterations that its recipe aims at without a limit of time.
    """
    ran = f"{done} of the {enough} iterations that the recipe aims at were trained"
    if score is None:
        return f"{measure} could not be measured; {ran}"
    if score >= USABLE:
        return f"{measure} {score:.3f} is usable ({USABLE} or more); {ran}"
    more = f", all of them take about {enough / max(done, 1):.2g} times as long" if done < enough else ""
    return f"{measure} {score:.3f} is too low to be usable (below {USABLE}); {ran}{more}"
