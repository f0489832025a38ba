"""Work in shards: the same function over many short lists, here, in other processes, or on other machines.

A shard is what one process takes at a time. Results come back in the order of the shards, whatever runs them, and only
so many are under way as keeps the processes busy: what has been read does not pile up in front of what is written.
"""

from __future__ import annotations

import atexit
import gc
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import ClassVar, Protocol, TypeVar

from posetools.errors import RunError
from posetools.progress import Progress

Item = TypeVar("Item")
Shard = TypeVar("Shard")
Result = TypeVar("Result")

# Files in a shard: some tens of milliseconds of work.
SHARD = 256
# Shards under way for each process: one in work, others in the queue.
_SHARDS_AHEAD = 3


class Engine(Protocol):
    """What runs shards.

    Attributes:
        elsewhere: whether work is done where a relative path means something else than here.
    """

    elsewhere: ClassVar[bool]

    def run(self, work: Callable[[Shard], Result], shards: Iterable[Shard]) -> Iterator[Result]:
        """Yield ``work`` of every shard, in their order.

        Args:
            work: a function that can be pickled, and so must be its results.
            shards: what it is called with; all of them are asked for before the first result comes.

        Raises:
            RunError: what runs them was ended from outside.
        """


@dataclass(frozen=True, slots=True)
class OwnProcess:
    """Runs shards in this process, one after the other."""

    elsewhere: ClassVar[bool] = False

    def run(self, work: Callable[[Shard], Result], shards: Iterable[Shard]) -> Iterator[Result]:
        """Yield ``work`` of every shard, in their order."""
        return map(work, list(shards))


@dataclass(frozen=True, slots=True)
class Processes:
    """Runs shards in processes of this machine.

    Attributes:
        workers: how many.
    """

    elsewhere: ClassVar[bool] = False
    workers: int

    def run(self, work: Callable[[Shard], Result], shards: Iterable[Shard]) -> Iterator[Result]:
        """Yield ``work`` of every shard, in their order; a single shard is worked on in this process."""
        first = list(islice(it := iter(shards), self.workers))
        if len(first) < 2:
            yield from map(work, first)
            return
        # Spawned processes share no locks with the threads of this one, on any platform.
        context = get_context("spawn")
        pool = ProcessPoolExecutor(self.workers, context, initializer=_begin)
        under_way: deque[Future[Result]] = deque()
        try:
            # As many processes start as shards are waiting; meanwhile the other shards are made.
            under_way.extend(pool.submit(work, shard) for shard in first)
            rest = iter(list(it))
            under_way.extend(pool.submit(work, shard) for shard in islice(rest, _SHARDS_AHEAD * self.workers))
            while under_way:
                yield under_way.popleft().result()
                under_way.extend(pool.submit(work, shard) for shard in islice(rest, 1))
        except BrokenProcessPool as exc:
            raise RunError(
                "a worker process was ended from outside, perhaps for want of memory\n"
                "  --workers 1 works in one process"
            ) from exc
        finally:
            # Who has all results need not wait until the processes have ended.
            pool.shutdown(wait=bool(under_way), cancel_futures=True)


def engine_for(workers: int) -> Engine:
    """Return what runs shards in so many processes; 1 is this one."""
    return OwnProcess() if workers <= 1 else Processes(workers)


def cut(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in shards of at most ``size``."""
    it = iter(items)
    while shard := list(islice(it, size)):
        yield shard


def run_shards(
    work: Callable[[Sequence[Item]], Result],
    shards: Iterable[Sequence[Item]],
    engine: Engine,
    progress: Progress,
    what: str,
) -> Iterator[Result]:
    """Yield ``work`` of every shard, in their order, and tell how many items are done.

    Args:
        work: a function that can be pickled, and so must be its results.
        shards: what it is called with; processes start while they are made.
        engine: what runs it.
        progress: told how far it is.
        what: what is being done, for ``progress`` and messages.

    Raises:
        RunError: what runs the shards was ended from outside.
    """
    lengths, done, total = list[int](), 0, 0

    def counted() -> Iterator[Sequence[Item]]:
        for shard in shards:
            lengths.append(len(shard))
            yield shard

    for number, result in enumerate(engine.run(work, counted())):
        done += lengths[number]
        total = total or sum(lengths)
        progress(what, done, total)
        yield result


def _begin() -> None:
    if parent := parent_process():
        Thread(target=_end_with, args=(parent,), daemon=True).start()
    # To take a process apart piece by piece at its end takes as long as a thousand files.
    atexit.register(os._exit, 0)


def _end_with(parent: BaseProcess) -> None:
    """End this process when the one that started it has ended, however: nobody would take its results."""
    parent.join()
    os._exit(1)


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector from looking, again and again, at many new objects of which none is garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
