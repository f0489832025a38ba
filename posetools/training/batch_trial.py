"""``--batch-size auto``: the largest batch that fits on the GPU, found by doubling.

Each trial is a dry run of the real config: its data, its model, its optimizer, two iterations. The first batch whose
peak passes the limit, or that runs out of memory, ends the search. The limit leaves a margin (costs.GPU_SHARE), because
pictures with more objects than those of the trial need more memory.

The search is tested with real runs on the CPU and a limit put beneath them; it has not been run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from posetools.core.stages import Stage
from posetools.errors import RequestError, RunError
from posetools.recipes.machine import GIB
from posetools.recipes.recipe import GPU_SHARE, Measured

SMALLEST: dict[Stage, int] = {"det": 2, "pose": 8}
# More than this no recipe of these models uses on one GPU.
LARGEST: dict[Stage, int] = {"det": 128, "pose": 1024}
# The second iteration is the first with the optimizer's own numbers in memory.
_ITERATIONS = 2

# Bytes at the peak of a training with this batch; None: out of memory.
Peak = Callable[[int], int | None]


@dataclass(frozen=True, slots=True)
class Found:
    """What a search ended with.

    Attributes:
        batch: the largest that fits, or None when not even the smallest does.
        peaks: what was tried, in bytes at the peak; None: out of memory.
    """

    batch: int | None
    peaks: dict[int, int | None]


def largest_batch(peak: Peak, limit: float, *, smallest: int, largest: int) -> Found:
    """Return the largest batch that fits: ``smallest`` doubled as often as its peak stays within ``limit``.

    Args:
        peak: runs a trial.
        limit: bytes.
        smallest: what is tried first.
        largest: no more than this is tried; it is tried itself when doubling would step over it.
    """
    found, peaks, batch = None, dict[int, int | None](), min(smallest, largest)
    while True:
        peaks[batch] = needed = peak(batch)
        if needed is None or needed > limit:
            return Found(found, peaks)
        found = batch
        if batch == largest:
            return Found(found, peaks)
        batch = min(2 * batch, largest)


def on_gpu(stage: Stage, config: Path, samples: int) -> Measured:
    """Return the largest batch for the first GPU, with how it was found.

    Args:
        stage: which of the two models.
        config: its config; the batch in it does not matter.
        samples: how many the training split has: no larger batch is of use.

    Raises:
        RequestError: not even the smallest batch fits.
        RunError: a trial fails for another reason than memory.
    """
    import torch

    from posetools.mm.device import AUTO, resolve_device

    device = resolve_device(AUTO)
    total = int(torch.cuda.get_device_properties(device).total_memory)
    largest = min(LARGEST[stage], samples)
    found = largest_batch(
        lambda batch: gpu_peak(stage, config, batch), GPU_SHARE * total, smallest=SMALLEST[stage], largest=largest
    )
    if found.batch is None:
        raise RequestError(
            f"--batch-size auto ({stage}): a batch of {min(found.peaks)} does not fit on this GPU with "
            f"{total / GIB:.0f} GiB\n  a smaller --input-size or model needs less"
        )
    return Measured(batch=found.batch, batch_note=note(found, total))


def note(found: Found, total: int) -> str:
    """Return the sentence that says what a search has shown."""
    tried = ", ".join(
        f"{batch}: {'out of memory' if needed is None else f'{needed / GIB:.1f} GiB'}"
        for batch, needed in sorted(found.peaks.items())
    )
    return f"measured ({tried}); {100 * GPU_SHARE:.0f} % of {total / GIB:.0f} GiB may be filled"


def gpu_peak(stage: Stage, config: Path, batch: int) -> int | None:
    """Return the bytes that a training with this batch takes on the GPU at most, or None when there are too few.

    Raises:
        RunError: it fails for another reason.
    """
    import torch

    torch.cuda.empty_cache()
    try:
        return trial(stage, config, batch).gpu_memory
    except RunError as exc:
        if _is_out_of_memory(exc):
            return None
        raise
    finally:
        torch.cuda.empty_cache()


def trial(stage: Stage, config: Path, batch: int) -> Trial:
    """Run a few iterations with this batch and return what they needed.

    Args:
        stage: which of the two models.
        config: its config.
        batch: of training.

    Raises:
        RunError: the run fails.
    """
    from posetools.training.dry_run import dry_run
    from posetools.training.dry_run_hook import Limits
    from posetools.training.train import NO_WEIGHTS, TrainRequest

    with TemporaryDirectory() as folder:
        request = TrainRequest(
            stage=stage,
            config=config,
            work_dir=Path(folder) / "run",
            weights=NO_WEIGHTS,
            cfg_options=(f"train_dataloader.batch_size={batch}",),
        )
        measured = dry_run(request, limits=Limits(fewest=_ITERATIONS, most=_ITERATIONS, batches=1)).measured
    return Trial(measured.gpu_memory, measured.memory)


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial needed at its peak, in bytes.

    Attributes:
        gpu_memory: of the GPU; None on the CPU.
        memory: of the machine.
    """

    gpu_memory: int | None
    memory: int


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether torch's own error for a full GPU is among the causes; its name moved between releases."""
    while error is not None:
        if type(error).__name__ == "OutOfMemoryError":
            return True
        error = error.__cause__
    return False
