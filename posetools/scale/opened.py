"""Bundles that processes open once each: their bytes are sent there, and the models stay open for all shards."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, TypeVar

from posetools.errors import PosetoolsWarning
from posetools.files.disk import read_bytes
from posetools.pairs.open import PipelineOptions
from posetools.scale.shards import ModelEngine, received

Models = TypeVar("Models")

# Threads of a worker share the models.
_LOCK = Lock()


@dataclass(frozen=True, slots=True)
class SentBundle:
    """A bundle for other processes.

    Attributes:
        name: of its file, for messages.
        digest: the SHA-256 of its content, hexadecimal.
        options: how to open it.
    """

    name: str
    digest: str
    options: PipelineOptions

    @classmethod
    def of(cls, path: Path, options: PipelineOptions, engine: ModelEngine) -> tuple[SentBundle, dict[str, bytes]]:
        """Return the bundle, and what ``Engine.run`` has to send.

        Args:
            path: the bundle's file on this machine.
            options: how to open it; without ``threads`` it gets those of the engine.
            engine: what will run the shards.

        Raises:
            InputError: it cannot be read.
        """
        content = read_bytes(path)
        skeleton = options.skeleton
        if skeleton is not None and Path(skeleton).is_file():
            skeleton = Path(skeleton).absolute()
        options = replace(options, threads=options.threads or engine.threads, skeleton=skeleton)
        bundle = cls(path.name, hashlib.sha256(content).hexdigest(), options)
        return bundle, {bundle.digest: content}

    def opened(self, opening: Callable[[Path, PipelineOptions], Models]) -> Models:
        """Return the models; a process opens them the first time.

        Args:
            opening: opens a bundle: a function, or a class method.

        Raises:
            PosetoolsError: ``opening`` raises it.
        """
        with _LOCK:
            models: Models = _opened(self, opening)
        return models


@lru_cache(maxsize=2)
def _opened(bundle: SentBundle, opening: Callable[[Path, PipelineOptions], Any]) -> Any:
    with TemporaryDirectory(prefix="posetools-") as folder, warnings.catch_warnings():
        # The command that opened it first has shown them.
        warnings.simplefilter("ignore", PosetoolsWarning)
        path = Path(folder) / bundle.name
        path.write_bytes(received(bundle.digest))
        return opening(path, bundle.options)
