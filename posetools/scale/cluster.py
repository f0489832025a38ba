"""Shards on other machines: a running Dask cluster, given by the address of its scheduler.

Dask transfers work, repeats the work of lost workers, and gives up on work that repeatedly kills workers (its setting
``distributed.scheduler.allowed-failures``). This module limits how much runs at once, keeps the order, and turns errors
into one sentence.
"""

from __future__ import annotations

import logging
import pickle
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from posetools import __version__
from posetools.errors import MissingExtraError, RequestError, RunError, must_be
from posetools.scale.shards import NOTHING, ModelEngine, Result, Shard, drop, engine_for, receive

if TYPE_CHECKING:
    from distributed import Client, Future, Worker, WorkerPlugin

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

    @property
    def threads(self) -> int:
        """One: a worker runs as many shards at once as it has threads."""
        return 1

    def run(
        self,
        work: Callable[[Shard], Result],
        shards: Iterable[Shard],
        *,
        sent: Mapping[str, bytes] = NOTHING,
        in_order: bool = True,
    ) -> Iterator[Result]:
        """Yield ``work`` of every shard.

        Raises:
            MissingExtraError: Dask is not installed here.
            RequestError: there is no such scheduler, it has no worker, or a worker has not this posetools.
            RunError: a shard ended all workers that took it, or the scheduler was lost.
        """
        with _connected(self.address, self.patience) as client:
            threads = _check_workers(client, self.address, self.patience)
            # Sent with every shard, so that no worker depends on another, which may be lost.
            held = pickle.dumps(work)
            named = getattr(work, "named", str)
            with _sending(client, sent):
                under_way = _UnderWay(client, held, list(shards), in_order=in_order)
                try:
                    under_way.start((1 + _SHARDS_AHEAD) * threads)
                    while under_way.futures:
                        shard, future = under_way.take()
                        yield self._result(shard, future, named)
                        # Lets the scheduler forget it. __del__ would swallow Ctrl-C.
                        future.release()
                        under_way.start(1)
                finally:
                    client.cancel([future for _, future in under_way.futures.values()], reason="stopped")

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


class _UnderWay:
    """The shards that the cluster has, and those that it gets next.

    Attributes:
        futures: by their keys, in the order of the shards.
    """

    def __init__(self, client: Client, work: bytes, shards: Sequence[Any], *, in_order: bool) -> None:
        from distributed import as_completed

        self.futures: dict[Any, tuple[Any, Future]] = {}
        self._client, self._work, self._rest = client, work, iter(shards)
        self._done = None if in_order else as_completed(loop=client.loop)

    def start(self, most: int) -> None:
        for shard in islice(self._rest, most):
            future = self._client.submit(_call, self._work, shard, pure=False)
            self.futures[future.key] = shard, future
            if self._done is not None:
                self._done.add(future)

    def take(self) -> tuple[Any, Future]:
        """Remove and return the first shard, or the first that is done."""
        return self.futures.pop(next(iter(self.futures)) if self._done is None else next(self._done).key)


def _plugin(sent: Mapping[str, bytes], command: str) -> WorkerPlugin:
    """Return what keeps the bytes of a command in each worker."""
    from distributed import WorkerPlugin

    class Holding(WorkerPlugin):  # type: ignore[misc]
        def setup(self, worker: Worker) -> None:  # noqa: ARG002 (as Dask calls it)
            receive(command, sent)

        def teardown(self, worker: Worker) -> None:  # noqa: ARG002 (as Dask calls it)
            drop(command)

    return Holding()


@contextmanager
def _sending(client: Client, sent: Mapping[str, bytes]) -> Iterator[None]:
    """Send something to each worker, also to those that start later."""
    if not sent:
        yield
        return
    name = f"posetools-{secrets.token_hex()}"
    client.register_plugin(_plugin(sent, name), name)
    try:
        yield
    finally:
        # A lost scheduler has its own message.
        if client.status == "running":
            with suppress(OSError):
                client.unregister_worker_plugin(name)


def engine_of(address: str | None, workers: int) -> ModelEngine:
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
