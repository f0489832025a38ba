"""Killing a command: in a child process, after some time or at one of its file system calls."""

from __future__ import annotations

import builtins
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import posetools.files.disk
from posetools.core.folder import SPLIT_JOURNAL
from tests.faults.scenes import Scene, contents, leftovers

_CALLS = ("open", "mkdir", "rename", "replace", "unlink", "rmdir", "link", "symlink", "fsync", "write")
_LONGEST = 60.0


@dataclass
class Outcome:
    """The result of a campaign.

    Attributes:
        old: how often the target was as before.
        new: how often it was as after an undisturbed run.
        finished: how often files of both were there with a journal that tells posetools' readers so.
        failures: anything else.
    """

    old: int = 0
    new: int = 0
    finished: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """How often the command was killed."""
        return self.old + self.new + self.finished + len(self.failures)


@dataclass
class Stage:
    """A scene that is set up once: its start, and its expected end."""

    scene: Scene
    home: Path
    start: Path = field(init=False)
    before: dict[str, bytes] = field(init=False)
    after: dict[str, bytes] = field(init=False)
    seconds: float = field(init=False)

    def __post_init__(self) -> None:
        self.start, play = self.home / "start", self.home / "play"
        self.start.mkdir(parents=True)
        self.scene.prepare(self.start)
        self.before = contents(self.start / self.scene.target)
        self._reset(play)
        started = time.perf_counter()
        self.scene.run(play)
        self.seconds = time.perf_counter() - started
        self.after = contents(play / self.scene.target)
        if self.after == self.before:
            raise ValueError("a scene must change its target")

    def kill(self, outcome: Outcome, moment: str, *, seconds: float | None = None, call: int | None = None) -> bool:
        """Run the command, kill it, check what is left, run it again; return whether it was killed before its end."""
        play = self.home / "play"
        self._reset(play)
        killed = _run_and_kill(lambda: self.scene.run(play), seconds, call)
        target = play / self.scene.target
        found = contents(target)
        if found == self.before:
            outcome.old += 1
        elif found == self.after:
            outcome.new += 1
        elif (target / SPLIT_JOURNAL).is_file():
            outcome.finished += 1
        else:
            outcome.failures.append(f"{moment}: the target is neither old nor new: {_different(found, self)}")
            return killed
        self._run_again(play, outcome, moment)
        return killed

    def _run_again(self, play: Path, outcome: Outcome, moment: str) -> None:
        status = _in_child(lambda: self.scene.run(play))
        again = contents(play / self.scene.target)
        if status != 0:
            outcome.failures.append(f"{moment}: the second run failed")
        elif not self._is_new(again):
            outcome.failures.append(f"{moment}: after the second run: {_different(again, self)}")
        elif left := leftovers(play):
            outcome.failures.append(f"{moment}: the second run left {', '.join(left)}")

    def _is_new(self, found: dict[str, bytes]) -> bool:
        # A second split starts from the first one's result: the same images on each side, in another order.
        return found == self.after or {name: sorted(data) for name, data in found.items()} == {
            name: sorted(data) for name, data in self.after.items()
        }

    def _reset(self, play: Path) -> None:
        shutil.rmtree(play, ignore_errors=True)
        shutil.copytree(self.start, play)


def _different(found: dict[str, bytes], stage: Stage) -> str:
    names = sorted({*found, *stage.before, *stage.after})
    said = {
        name: "old" if found.get(name) == stage.before.get(name) else "new"
        for name in names
        if found.get(name) in (stage.before.get(name), stage.after.get(name))
    }
    return ", ".join(f"{name} {said.get(name, 'neither')}" for name in names)


def _run_and_kill(run: Callable[[], object], seconds: float | None, call: int | None) -> bool:
    """Return whether the child was killed before its own end."""
    child = os.fork()
    if child == 0:
        if call is not None:
            _die_at(call)
        _end_with(run)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(_wait(child))


def _in_child(run: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        _end_with(run)
    return _wait(child)


def _wait(child: int) -> int:
    end = time.monotonic() + _LONGEST
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 1
        time.sleep(0.001)


def _end_with(run: Callable[[], object]) -> None:
    """End the child at once, without the parent's cleanup."""
    status = 1
    try:
        run()
        status = 0
    finally:
        os._exit(status)


def _die_at(number: int) -> None:
    """Make this process kill itself before its file system call number ``number``."""
    count = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **more)

        return call

    for name in _CALLS:
        setattr(os, name, counted(getattr(os, name)))
    builtins.open = counted(builtins.open)
    # Functions that posetools imported from other modules by name.
    vars(posetools.files.disk)["exchange"] = counted(vars(posetools.files.disk)["exchange"])
