"""Shards on a Dask cluster: a scheduler and two workers, each a process of its own on this machine."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from posetools import __version__
from posetools.errors import InputError, RequestError, RunError
from posetools.progress import silent
from posetools.scale.cluster import Cluster
from posetools.scale.shards import cut, run_shards
from tests.clustering import ROOT, scheduler, scheduler_process, workers

pytest.importorskip("distributed", reason="distributed is not installed: the extra `cluster`")


def double(shard: Sequence[int]) -> list[int]:
    return [2 * number for number in shard]


def slow_first(shard: Sequence[int]) -> list[int]:
    time.sleep(0.3 if shard[0] == 0 else 0)
    return double(shard)


def process_of(shard: Sequence[int]) -> int:
    time.sleep(0.05)
    return os.getpid() + 0 * len(shard)


def killed_once(mark: Path, shard: Sequence[int]) -> list[int]:
    """Double, but end the worker's process the first time that the shard with 10 is there."""
    with (mark / f"{shard[0]}.txt").open("a") as file:
        file.write("x")
    if 10 in shard and not (mark / "killed").exists():
        (mark / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return double(shard)


def killed_always(shard: Sequence[int]) -> list[int]:
    if 10 in shard:
        os.kill(os.getpid(), signal.SIGKILL)
    return double(shard)


def refusing(shard: Sequence[int]) -> list[int]:
    raise InputError("a.json", f"shapes[{shard[0]}]", "must be a number, got 'x'", hint="write one")


def marked(mark: Path, shard: Sequence[int]) -> int:
    (mark / str(shard[0])).touch()
    time.sleep(0.02)
    return shard[0]


def test_results_come_in_the_order_of_the_shards(address: str) -> None:
    shards = list(cut(range(100), 7))
    assert list(Cluster(address).run(slow_first, shards)) == [double(shard) for shard in shards]
    assert list(Cluster(address).run(double, [])) == []


def test_all_workers_take_part_and_none_is_this_process(address: str) -> None:
    seen = set(Cluster(address).run(process_of, cut(range(40), 1)))
    assert len(seen) == 2
    assert os.getpid() not in seen


def test_progress_is_told_as_with_other_engines(address: str) -> None:
    told: list[tuple[str, int, int]] = []
    shards = cut(range(10), 4)
    done = run_shards(double, shards, Cluster(address), lambda *each: told.append(each), "counting")
    assert [number for part in done for number in part] == double(range(10))
    assert told == [("counting", 4, 10), ("counting", 8, 10), ("counting", 10, 10)]


def test_few_are_under_way_and_the_rest_is_not_begun_when_nobody_asks(address: str, tmp_path: Path) -> None:
    results = run_shards(functools.partial(marked, tmp_path), cut(range(500), 1), Cluster(address), silent, "")
    assert next(results) == 0
    time.sleep(1)
    started = len(list(tmp_path.iterdir()))
    # Two workers of two threads, and as many as four each.
    assert 1 <= started <= 17
    results.close()  # type: ignore[attr-defined]
    assert list(Cluster(address).run(double, [[1]])) == [[2]]


def test_a_killed_worker_costs_the_repetition_of_what_it_had(address: str, tmp_path: Path) -> None:
    shards = list(cut(range(60), 1))
    work = functools.partial(killed_once, tmp_path)
    assert list(Cluster(address).run(work, shards)) == [double(shard) for shard in shards]
    assert (tmp_path / "killed").exists()
    times = {shard[0]: len((tmp_path / f"{shard[0]}.txt").read_text()) for shard in shards}
    assert times[10] == 2
    # Results that the lost worker still had, and what its other thread was at, are made again; nothing else is.
    assert sum(times.values()) <= len(shards) + 17


def test_a_shard_that_ends_all_its_workers_is_named(address: str) -> None:
    with pytest.raises(RunError, match=r"(?s)4 workers died one after another while processing 10 and 1 more"):
        list(Cluster(address).run(killed_always, cut(range(10, 12), 2)))


def test_an_error_of_the_work_is_what_it_is_here(address: str) -> None:
    with pytest.raises(
        InputError, match=r"^a.json: shapes\[3\]: must be a number, got 'x'\n  fix: write one$"
    ) as caught:
        list(Cluster(address).run(refusing, [[3]]))
    assert (caught.value.path, caught.value.hint) == (Path("a.json"), "write one")


@pytest.mark.parametrize("wrong", ["tcp://127.0.0.1:1", "nowhere", "http://[", ""])
def test_a_scheduler_that_does_not_answer_is_one_sentence(wrong: str) -> None:
    with pytest.raises(RequestError) as caught:
        list(Cluster(wrong, patience=1).run(double, [[1]]))
    rule = "the address of a Dask scheduler that answers within 1 s (tcp://HOST:8786)"
    assert str(caught.value) == f"--cluster must be {rule}, got {wrong!r}"


def test_a_cluster_without_workers_is_one_sentence(tmp_path: Path) -> None:
    with scheduler(tmp_path) as empty, pytest.raises(RequestError) as caught:
        list(Cluster(empty, patience=0.5).run(double, [[1]]))
    assert str(caught.value) == (
        f"{empty}: the cluster must have workers, got none within 0.5 s\n  fix: start one: `dask worker {empty}`"
    )


@pytest.mark.parametrize("has", ["another", "none"])
def test_workers_without_this_posetools_are_refused(tmp_path: Path, has: str) -> None:
    package = tmp_path / "path" / "posetools"
    package.mkdir(parents=True)
    text = "__version__ = '0.0.1'\n" if has == "another" else "raise ImportError('none')\n"
    (package / "__init__.py").write_text(text)
    with (
        scheduler(tmp_path) as found,
        workers(found, tmp_path, 1, {"PYTHONPATH": str(tmp_path / "path")}),
        pytest.raises(RequestError) as caught,
    ):
        list(Cluster(found).run(double, [[1]]))
    said = "0.0.1" if has == "another" else "none"
    assert f"a worker must have posetools {__version__} like this process, got {said}\n" in str(caught.value)


def test_a_lost_scheduler_is_one_sentence(tmp_path: Path) -> None:
    code = (
        "import sys; from posetools.scale.cluster import Cluster; from posetools.errors import RunError\n"
        "from tests.scale.test_cluster import process_of\n"
        "try:\n"
        "    for _ in Cluster(sys.argv[1]).run(process_of, [[n] for n in range(2000)]): print('one', flush=True)\n"
        "except RunError as exc: print(exc)\n"
    )
    with scheduler_process(tmp_path) as (found, of_scheduler), workers(found, tmp_path, 1):
        process = subprocess.Popen(
            [sys.executable, "-c", code, found], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout and process.stdout.readline() == "one\n"
        of_scheduler.kill()
        out, err = process.communicate(timeout=60)
    assert (
        out.replace("one\n", "")
        == f"{found}: the connection to the scheduler was lost\n  fix: check that it is running\n"
    )
    assert "Traceback" not in err


def test_ctrl_c_cancels_what_is_under_way(address: str, tmp_path: Path) -> None:
    code = (
        "import sys, functools, pathlib; from posetools.scale.cluster import Cluster\n"
        "from tests.scale.test_cluster import marked\n"
        "work = functools.partial(marked, pathlib.Path(sys.argv[2]))\n"
        "try:\n"
        "    for _ in Cluster(sys.argv[1]).run(work, [[n] for n in range(10000)]): print('one', flush=True)\n"
        "except KeyboardInterrupt: print('stopped')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, address, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "one\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out.splitlines()[-1] == "stopped"
    started = len(list(tmp_path.iterdir()))
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) <= started + 4 < 10000
