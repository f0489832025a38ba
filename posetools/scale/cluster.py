"""Shards on other machines: a running Dask cluster, given by the address of its scheduler.

Dask transfers work, repeats the work of lost workers, and gives up on work that repeatedly kills workers (its setting
``distributed.scheduler.allowed-failures``). This module limits how much runs at once, keeps the order, and turns errors
into one sentence.
"""

from __future__ import annotations

import logging
import pickle
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from posetools import __version__
from posetools.errors import MissingExtraError, RequestError, RunError, must_be
from posetools.scale.shards import Engine, Result, Shard, engine_for

if TYPE_CHECKING:
    from distributed import Client, Future

# Shards in progress per thread of the cluster: one running, the others queued.
_SHARDS_AHEAD = 3
# Seconds to wait for an answer of the scheduler and for a worker.
_SCHEDULER_PATIENCE = 10.0
_ADDRESS = re.compile(r"[a-z]+://(?:[^\s/\[\]:]+|\[[0-9A-Fa-f:.]+\]):[0-9]+/?")
# Dask's logs of lost connections and workers; errors report what matters.
_LOGGERS = ("distributed", "distributed.client", "distributed.core", "distributed.comm", "distributed.batched")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Runs shards on the workers of a Dask cluster.

    Attributes:
        address: the scheduler's address: ``tcp://scheduler:8786``.
        patience: seconds to wait for the scheduler and for a worker.
    """

    elsewhere: ClassVar[bool] = True
    address: str
    patience: float = _SCHEDULER_PATIENCE

    def run(self, work: Callable[[Shard], Result], shards: Iterable[Shard]) -> Iterator[Result]:
        """Yield ``work`` of every shard, in order.

        Raises:
            MissingExtraError: Dask is not installed here.
            RequestError: there is no such scheduler, it has no worker, or a worker has not this posetools.
            RunError: a shard ended all workers that took it, or the scheduler was lost.
        """
        with _connected(self.address, self.patience) as client:
            threads = _check_workers(client, self.address, self.patience)
            # Sent with every shard, so that no worker depends on another, which may be lost.
            held = pickle.dumps(work)
            under_way: deque[tuple[Shard, Future]] = deque()
            named = getattr(work, "named", str)
            it = iter(list(shards))
            try:
                for shard in islice(it, (1 + _SHARDS_AHEAD) * threads):
                    under_way.append((shard, client.submit(_call, held, shard, pure=False)))
                while under_way:
                    shard, future = under_way.popleft()
                    yield self._result(shard, future, named)
                    # Lets the scheduler forget it. __del__ would swallow Ctrl-C.
                    future.release()
                    for shard in islice(it, 1):
                        under_way.append((shard, client.submit(_call, held, shard, pure=False)))
            finally:
                client.cancel([future for _, future in under_way], reason="stopped")

    def _result(self, shard: object, future: Future, named: Callable[[Any], str]) -> Any:
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        try:
            return future.result()
        except KilledWorker as exc:
            times, what = exc.allowed_failures + 1, _named(shard, named)
            raise RunError(
                f"{self.address}: {times} workers died one after another while processing {what}",
                hint="check the workers' logs: memory may have run out",
            ) from exc
        except ModuleNotFoundError as exc:
            raise RequestError(
                f"{self.address}: every worker must have posetools and its dependencies, but one failed: {exc}",
                hint=f"install posetools {__version__} on all of them",
            ) from exc
        except (CancelledError, CommClosedError) as exc:
            raise RunError(
                f"{self.address}: the connection to the scheduler was lost", hint="check that it is running"
            ) from exc


def engine_of(address: str | None, workers: int) -> Engine:
    """Return the engine for a cluster's address, or for that many processes if there is none.

    Raises:
        RequestError: both are given.
    """
    if address is None:
        return engine_for(workers)
    if workers != 1:
        raise RequestError(must_be("--workers", "left out with --cluster, which has its own workers", workers))
    return Cluster(address)


def _call(pickled: bytes, shard: Any) -> Any:
    return _unpickled(pickled)(shard)


@lru_cache(maxsize=4)
def _unpickled(work: bytes) -> Callable[[Any], Any]:
    function: Callable[[Any], Any] = pickle.loads(work)
    return function


@contextmanager
def _connected(address: str, patience: float) -> Iterator[Client]:
    try:
        from distributed import Client
    except ImportError as exc:
        raise MissingExtraError("--cluster", "cluster", "distributed") from exc
    rule = f"the address of a Dask scheduler that answers within {patience:g} s (tcp://HOST:8786)"
    # Dask may wait forever for a thread that resolves an invalid address.
    if not _ADDRESS.fullmatch(address):
        raise RequestError(must_be("--cluster", rule, address))
    with _silent_logs():
        try:
            client = Client(address, timeout=patience, set_as_default=False)
        except (OSError, ValueError, AssertionError) as exc:
            # Dask asserts that its event loop starts within 10 s, which fails on a busy machine.
            raise RequestError(must_be("--cluster", rule, address)) from exc
        try:
            yield client
        finally:
            client.close()


@contextmanager
def _silent_logs() -> Iterator[None]:
    with ExitStack() as stack:
        for logger in map(logging.getLogger, _LOGGERS):
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL)
        yield


def _check_workers(client: Client, address: str, patience: float) -> int:
    """Return the number of threads; all workers must have this version of posetools."""

    # A nested function is sent as code, so a worker can answer without posetools.
    def version() -> str | None:
        try:
            from posetools import __version__
        except ImportError:
            return None
        return __version__

    try:
        client.wait_for_workers(1, timeout=patience)
    except TimeoutError as exc:
        raise RequestError(
            f"{address}: the cluster must have workers, got none within {patience:g} s",
            hint=f"start one: `dask worker {address}`",
        ) from exc
    answers = client.run(version, on_error="ignore")
    for worker, found in sorted(answers.items()):
        if found != __version__:
            has = f"{found}" if found else "none"
            raise RequestError(
                f"{worker}: a worker must have posetools {__version__} like this process, got {has}",
                hint="install the same version on every machine of the cluster",
            )
    threads: int = sum(client.nthreads().values())
    return max(1, threads)


def _named(shard: object, named: Callable[[Any], str]) -> str:
    """Return the name of a shard for messages: its first item."""
    if not isinstance(shard, Sequence) or isinstance(shard, str) or not shard:
        return repr(shard)
    return named(shard[0]) + (f" and {len(shard) - 1} more" if len(shard) > 1 else "")
