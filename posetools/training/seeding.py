"""Random numbers that a resumed run draws just as one that was never stopped.

mmengine seeds a process once. What it draws later depends on all that was drawn before: in the run's own process, and
in each worker that loads data, whose state no checkpoint can hold. Here the process is seeded anew with each epoch, and
each sample of the training data with the run's seed, the epoch and its index. So the order of loading, the number of
workers and the moment of a stop make no difference to what augmentation draws. (Workers that are started anew with each
epoch also stop repeating the same draws, as mmengine seeds them all alike.)

One thing has a memory still: the cache of mosaic and mixup, from which MMDet takes its other pictures. It begins empty
in a resumed run, as in a new one.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any

from posetools.mm.stack import RunHook


def seed_of(*parts: int) -> int:
    """Return 32 bits that any change of any part makes unlike the others."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "little")


def seed_process(seed: int) -> None:
    """Seed the generators that augmentation and models draw from, on the CPU."""
    import numpy as np
    import torch

    random.seed(seed)
    # MMDet's and MMPose's transforms draw from numpy's global generator.
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


class SeededSamples:
    """A data set's samples, each drawn with its own seed: what a DataLoader calls as ``dataset.__getitems__``."""

    def __init__(self, dataset: Any, seed: int) -> None:
        import torch

        self._dataset = dataset
        self._seed = seed
        # In shared memory: workers that outlive an epoch see the next one's number.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def start(self, epoch: int) -> None:
        """Set the epoch, before its first sample is asked for."""
        self._epoch[0] = epoch

    def __call__(self, indices: Sequence[int]) -> list[Any]:
        """Return the samples of a batch."""
        epoch = int(self._epoch[0])
        samples = []
        for index in indices:
            seed_process(seed_of(self._seed, epoch, index))
            samples.append(self._dataset[index])
        return samples


class SeedHook(RunHook):
    """Seeds each epoch and each sample of a run that counts in epochs."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self._samples: SeededSamples | None = None

    def before_train(self, runner: Any) -> None:
        """Seed the samples."""
        from mmengine.runner import EpochBasedTrainLoop

        dataset = runner.train_dataloader.dataset
        # A loop over iterations has no epochs that could tell two visits of a picture apart.
        if isinstance(runner.train_loop, EpochBasedTrainLoop) and not hasattr(dataset, "__getitems__"):
            self._samples = SeededSamples(dataset, runner.seed)
            dataset.__getitems__ = self._samples

    def before_train_epoch(self, runner: Any) -> None:
        """Seed the process, and all GPUs."""
        import torch
        from mmengine.dist import get_rank

        if self._samples is not None:
            self._samples.start(runner.epoch)
            seed = seed_of(runner.seed, runner.epoch, -1 - get_rank())
            seed_process(seed)
            torch.manual_seed(seed)
