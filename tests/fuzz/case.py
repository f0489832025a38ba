"""One case: a valid source, damaged by its number, read, and checked."""

from __future__ import annotations

import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from typing import Literal

from posetools.errors import PluginError, PosetoolsError
from posetools.imaging.header import is_image
from tests.fuzz.mutate_tree import Damaged, damage
from tests.fuzz.objects import CLAIMS, Claim, missing
from tests.fuzz.samples import sample
from tests.fuzz.targets import TARGETS, Read
from tests.fuzz.tree import Tree, Watch, clear, listing, watched, write_tree

SECONDS = 10
# These change their source on purpose.
_CHANGING = ("fix",)
How = Literal["succeeded", "refused", "failed"]


class TooLongError(BaseException):
    """A case ran too long; not an Exception, so that no code handles it as its own."""


@dataclass
class Outcome:
    """The result of a case.

    Attributes:
        how: read (perhaps with findings), refused with a PosetoolsError, or failed.
        problem: what was wrong; empty if nothing was.
        damaged: the source.
        said: the error's text, or the findings.
    """

    how: How
    damaged: Damaged
    problem: str = ""
    said: list[str] = field(default_factory=list)


def decider(seed: int, name: str, number: int) -> Random:
    """Return the random generator of a case: the same number gives the same case."""
    return Random(f"{seed} {name} {number}")


def run_case(name: str, random: Random, folder: Path, *, alarm: bool = True) -> Outcome:
    """Run one case in ``folder``, in which ``src`` and ``out`` are created again."""
    target, whole = TARGETS[name], sample(name)
    damaged = damage(random, whole, mind=target.mind or _mind_of(whole))
    source, out = folder / "src", folder / "out"
    clear(source)
    clear(out)
    write_tree(damaged.tree, source)
    before = listing(source)
    changing = str(folder if name in _CHANGING else out)
    watch = Watch(frozenset(damaged.vanishing), changing)
    outcome = Outcome("succeeded", damaged)
    try:
        # A warning prints Python code to the user's screen, and usually means an invalid number.
        with watched(watch), warnings.catch_warnings(action="error"), _alarm(alarm):
            read = target.work(source, out, random)
    except PluginError as exc:
        # Another package's format did something that its protocol does not allow.
        outcome.problem = f"{exc}\n{traceback.format_exc()}"
    except PosetoolsError as exc:
        outcome.how, outcome.said = "refused", [str(exc)]
        outcome.problem = _of_error(str(exc), folder)
    except TooLongError:
        outcome.problem = f"ran longer than {SECONDS} seconds\n{traceback.format_exc()}"
    except Exception:
        outcome.problem = traceback.format_exc()
    else:
        outcome.said = [f"{one.code} {one.where}: {one.message}" for one in read.findings]
        outcome.problem = _of_findings(read) or _lost(name, damaged, read, source)
    if watch.outside:
        outcome.problem += f"\nchanged outside of --out: {watch.outside[:5]}"
    if not damaged.vanishing and name not in _CHANGING and listing(source) != before:
        outcome.problem += "\nthe source is not what it was"
    if outcome.problem:
        outcome.how = "failed"
    return outcome


def _mind_of(tree: Tree) -> str:
    """Return the name of the first file that is no image."""
    return next((name for name in sorted(tree) if not is_image(Path(name))), min(tree))


def _of_error(text: str, folder: Path) -> str:
    # Names of images are relative to the source. No file is at fault if a conversion has only one image left, or if an
    # extra is missing.
    others = (": file_name must be", "a split needs at least 2 images", "reading ")
    if str(folder) in text or "--" in text or any(other in text for other in others):
        return ""
    return f"the error names neither a file nor an option: {text}"


def _of_findings(read: Read) -> str:
    for one in read.findings:
        if not one.file or not one.message:
            return f"a finding without file or message: {one}"
    return ""


def _lost(name: str, damaged: Damaged, read: Read, source: Path) -> str:
    """Return the lost objects: neither read nor reported. Several findings on one object make this less exact."""
    if name not in CLAIMS or read.objects is None or damaged.vanishing:
        return ""
    claims = list(CLAIMS[name](damaged.tree))
    known = read.objects + read.ignored + (read.points if name == "labelme" else 0)
    lost = missing(claims, read.findings, str(source))
    if len(lost) <= known:
        return ""
    return f"{len(lost)} objects are in no finding, but {known} were read or left out: {_places(lost)}"


def _places(lost: list[Claim]) -> str:
    return ", ".join(f"{claim.file} {claim.places[0]}" for claim in lost[:10])


@contextmanager
def _alarm(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    before: Callable[[int, FrameType | None], object] | int | None = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _ring(_number: int, _frame: FrameType | None) -> None:
    raise TooLongError
