"""Output of a command with several steps, some of them training runs."""

from __future__ import annotations

from posetools.cli.console import console, escape, progress
from posetools.cli.train_display import display


class Steps:
    """Numbered steps, each with its command and its progress."""

    progress = staticmethod(progress)
    training = staticmethod(display)

    def __init__(self) -> None:
        self._out = console()
        self._number = 0

    def step(self, title: str, command: str) -> None:
        """Print the next step."""
        self._number += 1
        self._out.print(f"\n[bold]{self._number}. {escape(title)}[/]")
        if command:
            self._out.print(f"   [cyan]$ {escape(command)}[/]")

    def say(self, line: str) -> None:
        """Print a sentence."""
        self._out.print(f"   {escape(line)}")
