"""Runs one function over many short lists: in this process, in other processes, or on other machines.

A shard is the work of one process at a time. Results keep the order of the shards. Only as many shards run as keep the
processes busy, so that results do not pile up before they are written.
"""

from __future__ import annotations

import atexit
import gc
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from threading import Thread
from types import MappingProxyType
from typing import ClassVar, Protocol, TypeVar

from posetools.errors import RunError
from posetools.progress import Progress

Item = TypeVar("Item")
Shard = TypeVar("Shard")
Result = TypeVar("Result")

# Files in a shard: some tens of milliseconds of work.
SHARD = 256
# Images in a shard of work with a model at most, and shards to make at least if there are enough images.
_MODEL_SHARD, _SHARDS_WANTED = 256, 64
# Shards in progress per process: one running, the others queued.
_SHARDS_AHEAD = 3
NOTHING: Mapping[str, bytes] = MappingProxyType({})
# What commands sent to this process, by command and name.
_RECEIVED: dict[str, Mapping[str, bytes]] = {}


class Engine(Protocol):
    """Runs shards.

    Attributes:
        elsewhere: whether work runs where relative paths have another meaning.
    """

    elsewhere: ClassVar[bool]

    def run(self, work: Callable[[Shard], Result], shards: Iterable[Shard]) -> Iterator[Result]:
        """Yield ``work`` of every shard, in order.

        Args:
            work: a function; it and its results can be pickled.
            shards: what it is called with; all of them are asked for before the first result comes.

        Raises:
            RunError: what runs them was ended from outside.
        """


class ModelEngine(Engine, Protocol):
    """Runs shards of work that needs a model in each process."""

    @property
    def threads(self) -> int | None:
        """How many threads the work of a shard should use; None for all cores."""

    def run(
        self,
        work: Callable[[Shard], Result],
        shards: Iterable[Shard],
        *,
        sent: Mapping[str, bytes] = NOTHING,
        in_order: bool = True,
    ) -> Iterator[Result]:
        """Yield ``work`` of every shard.

        Args:
            work: as for an Engine.
            shards: as for an Engine.
            sent: what is sent to each process once; ``received`` returns it there.
            in_order: whether results come in the order of the shards, or each as soon as it is there.

        Raises:
            RunError: what runs them was ended from outside.
        """


@dataclass(frozen=True, slots=True)
class OwnProcess:
    """Runs shards in this process, one by one."""

    elsewhere: ClassVar[bool] = False
    threads: ClassVar[int | None] = None

    def run(
        self,
        work: Callable[[Shard], Result],
        shards: Iterable[Shard],
        *,
        sent: Mapping[str, bytes] = NOTHING,
        in_order: bool = True,  # noqa: ARG002 (one by one, both are the same)
    ) -> Iterator[Result]:
        """Yield ``work`` of every shard, in order."""
        with _holding(sent):
            yield from map(work, list(shards))


@dataclass(frozen=True, slots=True)
class Processes:
    """Runs shards in several processes on this machine.

    Attributes:
        workers: how many.
    """

    elsewhere: ClassVar[bool] = False
    workers: int

    @property
    def threads(self) -> int:
        """The cores of this machine, shared out."""
        return max(1, (os.cpu_count() or 1) // self.workers)

    def run(
        self,
        work: Callable[[Shard], Result],
        shards: Iterable[Shard],
        *,
        sent: Mapping[str, bytes] = NOTHING,
        in_order: bool = True,
    ) -> Iterator[Result]:
        """Yield ``work`` of every shard; a single shard runs in this process."""
        first = list(islice(it := iter(shards), self.workers))
        if len(first) < 2:
            yield from OwnProcess().run(work, first, sent=sent)
            return
        # Spawned processes share no locks with threads of this one on any platform.
        context = get_context("spawn")
        pool = ProcessPoolExecutor(self.workers, context, initializer=_begin, initargs=(dict(sent),))
        under_way: deque[Future[Result]] = deque()
        try:
            # Processes start while the other shards are created.
            under_way.extend(pool.submit(work, shard) for shard in first)
            rest = iter(list(it))
            under_way.extend(pool.submit(work, shard) for shard in islice(rest, _SHARDS_AHEAD * self.workers))
            while under_way:
                yield _taken(under_way, in_order=in_order).result()
                under_way.extend(pool.submit(work, shard) for shard in islice(rest, 1))
        except BrokenProcessPool as exc:
            raise RunError(
                "a worker process was killed, possibly because memory ran out",
                hint="use --workers 1 to run in one process",
            ) from exc
        finally:
            # With all results, do not wait for the processes to end.
            pool.shutdown(wait=bool(under_way), cancel_futures=True)


def _taken(under_way: deque[Future[Result]], *, in_order: bool) -> Future[Result]:
    """Remove and return the first shard, or the first that is done."""
    done = under_way if in_order else wait(under_way, return_when=FIRST_COMPLETED).done
    future = next(each for each in under_way if each in done)
    under_way.remove(future)
    return future


def engine_for(workers: int) -> ModelEngine:
    """Return the engine for that many processes; 1 is this process."""
    return OwnProcess() if workers <= 1 else Processes(workers)


def shard_size(items: int, batch: int) -> int:
    """Return the length of the shards of work with a model, in whole batches.

    Shards are short enough that a lost one costs little and that all processes have some, and long enough that
    distributing them costs nothing.

    Args:
        items: all of them.
        batch: how many share a batch.
    """
    wanted = min(_MODEL_SHARD, -(-items // _SHARDS_WANTED))
    return max(1, -(-wanted // batch)) * batch


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
    """Yield ``work`` of every shard, in order, and report progress.

    Args:
        work: a function; it and its results can be pickled.
        shards: its arguments; processes start while shards are created.
        engine: what runs it.
        progress: receives progress.
        what: the task, for ``progress`` and messages.

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


def receive(command: str, sent: Mapping[str, bytes]) -> None:
    """Keep what a command sends to this process."""
    _RECEIVED[command] = sent


def drop(command: str) -> None:
    """Forget what a command sent."""
    _RECEIVED.pop(command, None)


def received(name: str) -> bytes:
    """Return what a command sent to this process under that name, during ``Engine.run``."""
    return next(sent[name] for sent in list(_RECEIVED.values()) if name in sent)


@contextmanager
def _holding(sent: Mapping[str, bytes]) -> Iterator[None]:
    receive("", sent)
    try:
        yield
    finally:
        drop("")


def _begin(sent: Mapping[str, bytes]) -> None:
    receive("", sent)
    if parent := parent_process():
        Thread(target=_end_with, args=(parent,), daemon=True).start()
    # Freeing memory piece by piece at exit takes as long as a thousand files.
    atexit.register(os._exit, 0)


def _end_with(parent: BaseProcess) -> None:
    """End this process when its parent ends: its results are no longer needed."""
    parent.join()
    os._exit(1)


@contextmanager
def no_collection() -> Iterator[None]:
    """Pause the garbage collector, which would scan many new objects without finding garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
