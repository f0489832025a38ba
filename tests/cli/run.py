"""Runs a command in this process."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from posetools.cli import main


@dataclass(frozen=True)
class Done:
    """Exit status, stdout and stderr of a command."""

    status: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """All output with white space collapsed, for texts that a table may wrap."""
        return " ".join((self.out + self.err).split())


def run(*arguments: str | Path) -> Done:
    """Run ``posetools`` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    status: object = 0
    with (
        mock.patch.object(sys, "argv", ["posetools", *(str(argument) for argument in arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as exc:
            status = exc.code
    return Done(status=status if isinstance(status, int) else 0, out=out.getvalue(), err=err.getvalue())
