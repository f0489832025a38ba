"""Downloads of weights: where they are kept, and whether a server would send them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

# Seconds for all downloads together to begin.
PATIENCE = 20.0


def downloaded(url: str, folder: str | None = None) -> Path:
    """Return the file for a download, by default in torch's cache."""
    import torch

    where = Path(folder) if folder else Path(torch.hub.get_dir()) / "checkpoints"
    return where / PurePosixPath(urlsplit(url).path).name


def first_unreachable(urls: Iterable[str], seconds: float = PATIENCE) -> str | None:
    """Return the first URL that is not in torch's cache and that no server offers, or None.

    Args:
        urls: http and https URLs.
        seconds: time for all of them together.
    """
    until = time.monotonic() + seconds
    wanted = (url for url in dict.fromkeys(urls) if not downloaded(url).is_file())
    return next((url for url in wanted if not reachable(url, until - time.monotonic())), None)


def reachable(url: str, seconds: float = PATIENCE) -> bool:
    """Return whether a server answers a HEAD request for a file with success, within ``seconds``."""
    if seconds <= 0:
        return False
    answers: list[int] = []

    def ask() -> None:
        with suppress(OSError, HTTPException), urlopen(Request(url, method="HEAD"), timeout=seconds) as answer:
            answers.append(answer.status)

    # A socket's timeout limits neither name lookup nor a server that sends its answer byte by byte.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers)
