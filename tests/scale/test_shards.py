from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from posetools.progress import silent
from posetools.scale.shards import OwnProcess, Processes, cut, run_shards

WAITS = """
import sys
from posetools.scale.shards import Processes
from tests.scale.test_shards import wait

if __name__ == "__main__":
    list(Processes(2).run(wait, [sys.argv[1]] * 4))
"""


def wait(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


def double(shard: Sequence[int]) -> list[int]:
    return [2 * number for number in shard]


@pytest.mark.parametrize("engine", [OwnProcess(), Processes(2)])
def test_the_whole_is_known_before_the_first_is_done(engine: OwnProcess | Processes) -> None:
    told: list[tuple[str, int, int]] = []
    listed = []

    def numbers() -> Iterator[int]:
        for number in range(11):
            listed.append(number)
            yield number

    shards = cut(numbers(), 4)
    found = run_shards(double, shards, engine, lambda *step: told.append(step), "doubling")
    assert next(found) == [0, 2, 4, 6]
    assert listed == list(range(11))
    assert [number for shard in found for number in shard] == [2 * number for number in range(4, 11)]
    assert told == [("doubling", 4, 11), ("doubling", 8, 11), ("doubling", 11, 11)]


def test_nothing_is_cut_into_nothing() -> None:
    assert list(cut([], 3)) == []
    assert list(run_shards(double, cut(list[int](), 3), Processes(2), silent, "")) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this platform knows no SIGKILL")
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    script = tmp_path / "waits.py"
    script.write_text(WAITS)
    started = tmp_path / "started"
    started.mkdir()
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, script, started], env=environment, stdout=subprocess.PIPE) as parent:
        _until(lambda: len(list(started.iterdir())) == 2)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        _until(lambda: not any(_is_there(int(path.name)) for path in started.iterdir()))


def _until(done: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # A child that no one has waited for is a zombie.
    status = Path(f"/proc/{process}/stat")
    return not (status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")
