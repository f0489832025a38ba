"""Who is told what a command of several steps does, among them training runs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from posetools.progress import Progress
from posetools.training.hooks import TrainListener


class StepListener(Protocol):
    """Who is told."""

    def step(self, title: str, command: str) -> None:
        """Take what is done next, and the command that would do it (or none)."""

    def say(self, line: str) -> None:
        """Take a sentence."""

    def progress(self) -> AbstractContextManager[Progress]:
        """Give a function to tell how far one step is."""

    def training(self) -> AbstractContextManager[TrainListener]:
        """Give a listener for one training run."""
