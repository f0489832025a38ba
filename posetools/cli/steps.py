"""How a command of several steps shows what it does, among them training runs."""

from __future__ import annotations

from contextlib import AbstractContextManager

from posetools.cli.console import console, escape, progress
from posetools.cli.train_display import display
from posetools.progress import Progress
from posetools.training.hooks import TrainListener


class Steps:
    """Numbered steps, each with the command that does the same."""

    def __init__(self) -> None:
        self._out = console()
        self._number = 0

    def step(self, title: str, command: str) -> None:
        """Print what is done next."""
        self._number += 1
        self._out.print(f"\n[bold]{self._number}. {escape(title)}[/]")
        if command:
            self._out.print(f"   [cyan]$ {escape(command)}[/]")

    def say(self, line: str) -> None:
        """Print a sentence."""
        self._out.print(f"   {escape(line)}")

    def progress(self) -> AbstractContextManager[Progress]:
        """Give a progress bar, or plain lines."""
        return progress()

    def training(self) -> AbstractContextManager[TrainListener]:
        """Give what ``posetools train`` shows."""
        return display()
