"""What a command sends to every worker of a Dask cluster once: a plug-in of the workers, of the ``cluster`` extra."""

from __future__ import annotations

from collections.abc import Mapping

from distributed import Worker, WorkerPlugin

from posetools.scale.shards import drop, receive


class Sending(WorkerPlugin):  # type: ignore[misc]
    """Keeps bytes in the process of a worker, for ``posetools.scale.shards.received``.

    Attributes:
        name: of the command that sends them.
    """

    def __init__(self, name: str, sent: Mapping[str, bytes]) -> None:
        self.name, self._sent = name, dict(sent)

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 (as Dask calls it)
        """Keep the bytes."""
        receive(self.name, self._sent)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002 (as Dask calls it)
        """Forget them."""
        drop(self.name)
