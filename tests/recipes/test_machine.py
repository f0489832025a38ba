from __future__ import annotations

import os
from pathlib import Path

import pytest

from posetools.recipes import machine
from posetools.recipes.machine import GIB, Gpu, Machine, count_cores, has_gpu


def test_the_smallest_gpu_decides() -> None:
    small, large = Gpu("small", 8 * GIB), Gpu("large", 80 * GIB)
    assert Machine(4, (large, small)).gpu == small
    assert Machine(4).gpu is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Machine(1), "1 core, no GPU"),
        (Machine(16, (Gpu("A", 24 * GIB),)), "16 cores, A with 24 GiB"),
        (Machine(16, (Gpu("A", 24 * GIB), Gpu("A", 24 * GIB))), "16 cores, 2 x A with 24 GiB"),
        (Machine(2, (Gpu("B"),)), "2 cores, B"),
    ],
)
def test_a_machine_in_words(given: Machine, text: str) -> None:
    assert str(given) == text


def test_a_containers_share_of_the_cores_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quota = tmp_path / "cpu.max"
    for text, cores in (("150000 100000\n", 2), ("max 100000\n", None), ("", None), ("1 2 3", None)):
        quota.write_text(text, encoding="ascii")
        assert machine._quota(quota) == cores
    assert machine._quota(tmp_path / "none") is None
    assert 1 <= count_cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(machine, "_quota", lambda: 1)
    assert count_cores() == 1


def test_a_hidden_gpu_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_DRIVERS", (tmp_path / "nvidiactl",))
    monkeypatch.setattr(machine, "which", lambda _: None)
    assert not has_gpu({})
    (tmp_path / "nvidiactl").touch()
    assert has_gpu({})
    assert has_gpu({"CUDA_VISIBLE_DEVICES": "0,1"})
    assert not has_gpu({"CUDA_VISIBLE_DEVICES": ""})
    assert not has_gpu({"CUDA_VISIBLE_DEVICES": "-1"})
