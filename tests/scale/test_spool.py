from __future__ import annotations

import os
import random
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from posetools.errors import OutputError
from posetools.scale import spool
from posetools.scale.shards import Here, Processes
from posetools.scale.spool import Share, Spool, lay_down

SHARED = pytest.mark.skipif(not spool.CAN_SHARE, reason="this platform has no pwrite")
PIECES = [bytes([65 + number]) * (number % 7 * 10 + 1) for number in range(26)]


def taken(held: Spool, starts: Sequence[int], numbers: Sequence[int]) -> bytes:
    return held.take(np.array([starts[i] for i in numbers]), np.array([len(PIECES[i]) for i in numbers]))


@pytest.mark.parametrize("kept", ["in memory", "in a file"])
def test_pieces_come_back_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    monkeypatch.setattr(spool, "_IN_MEMORY", 50)
    held = Spool(tmp_path if kept == "in a file" else None)
    starts = [held.add(piece) for piece in PIECES]
    rng = random.Random(0)
    for number in (1, 2, 5, 25, 26):
        for _ in range(20):
            numbers = rng.sample(range(26), number)
            assert taken(held, starts, numbers) == b"".join(PIECES[i] for i in numbers)
    assert taken(held, starts, []) == b""
    # Parts of what was added in one go.
    assert held.take(np.array([starts[1] + 2, starts[0]]), np.array([20, 1])) == b"B" * 9 + b"C" * 11 + b"A"
    # It has no name.
    assert list(tmp_path.iterdir()) == []
    held.close()


def test_of_no_bytes_none_come_back() -> None:
    held = Spool(None)
    assert held.take(np.array([0, 0]), np.array([0, 0])) == b""
    held.close()


def laid_down(shard: Sequence[int]) -> list[tuple[int, int | None]]:
    return [(number, lay_down(PIECES[number])) for number in shard]


@SHARED
def test_several_processes_lay_down_into_one_file(tmp_path: Path) -> None:
    held = Spool(tmp_path)
    shards = [[number] for number in range(26)]
    found = dict(pair for pairs in Processes(2).run(laid_down, shards, held) for pair in pairs)
    starts = [found[number] for number in range(26)]
    assert None not in starts
    # What comes after goes behind it.
    later = held.add(b"more")
    assert later == sum(map(len, PIECES))
    assert taken(held, [start or 0 for start in starts], list(range(26))) == b"".join(PIECES)
    assert held.take(np.array([later]), np.array([4])) == b"more"
    assert list(tmp_path.iterdir()) == []
    held.close()


def test_where_no_file_can_be_reached_nothing_is_laid_down(tmp_path: Path) -> None:
    assert list(Here().run(laid_down, [[3]], Spool(tmp_path))) == [[(3, None)]]
    # Without a folder all is to stay in memory.
    assert list(Processes(2).run(laid_down, [[3], [4]], Spool(None))) == [[(3, None)], [(4, None)]]


@SHARED
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this platform has no device that is always full")
def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    share = Share(tmp_path, full, get_context("spawn").Value("q", 0))
    with pytest.raises(OutputError, match="objects cannot be laid down here: No space left on device"):
        share.add(b"x")
    os.close(full)
