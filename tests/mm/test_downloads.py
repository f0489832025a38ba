"""Whether a server offers a file, asked of local servers that answer, refuse, hang and dawdle."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from posetools.mm.downloads import first_unreachable, reachable

# Seconds that a test waits for a server that never finishes.
SHORT = 0.5


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """Serve tmp_path, which has weights.pth."""
    (tmp_path / "weights.pth").write_bytes(b"1234")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def _server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one connection by a function."""

    def serve() -> None:
        with suppress(OSError), listening.accept()[0] as connection:
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/weights.pth"


def _hang(connection: socket.socket) -> None:
    connection.recv(1000)
    time.sleep(4 * SHORT)


def _dawdle(connection: socket.socket) -> None:
    # One byte now and then: no single wait is longer than a socket's timeout.
    for byte in b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\n":
        connection.sendall(bytes([byte]))
        time.sleep(SHORT / 4)


def _babble(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"hello\r\n")


def test_a_file_on_a_server_is_reachable(site: str) -> None:
    assert reachable(f"{site}/weights.pth")
    assert not reachable(f"{site}/other.pth")


def test_a_server_that_refuses_or_speaks_no_http_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert not reachable(f"http://127.0.0.1:{port}/weights.pth")
    with _server(_babble) as url:
        assert not reachable(url)
    assert not reachable("http://nowhere.invalid/weights.pth")


@pytest.mark.parametrize("answer", [_hang, _dawdle])
def test_a_server_without_an_answer_costs_the_given_time(answer: Callable[[socket.socket], None]) -> None:
    started = time.monotonic()
    with _server(answer) as url:
        assert not reachable(url, SHORT)
    assert SHORT * 0.9 < time.monotonic() - started < 4 * SHORT


@pytest.mark.train
def test_a_file_in_torchs_cache_is_not_asked_for(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    urls = [f"{site}/weights.pth", f"{site}/other.pth"]
    assert first_unreachable(urls) == urls[1]
    assert first_unreachable(urls, seconds=0) == urls[0]
    cache = tmp_path / "torch/hub/checkpoints"
    cache.mkdir(parents=True)
    (cache / "other.pth").write_bytes(b"1234")
    assert first_unreachable(urls) is None
