"""The advice in error messages fits the run at hand."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from posetools.training.mishaps import after_divergence, fewer_workers, less_memory, more_room


@pytest.mark.parametrize(
    ("number", "kept", "lines"),
    [
        (errno.ENOSPC, 1, ["free some space"]),
        (errno.ENOSPC, 2, ["free some space"]),
        (errno.ENOSPC, 5, ["free some space; --resume with --keep 2 removes 3 of the 5 checkpoints"]),
        (errno.EDQUOT, 1, ["free some space in your quota"]),
        (
            errno.EFBIG,
            5,
            ["raise the file size limit, which was reached (`ulimit -f`, or the limit of the file system)"],
        ),
    ],
)
def test_fewer_checkpoints_are_kept_only_where_there_are_more(number: int, kept: int, lines: list[str]) -> None:
    assert more_room(number, kept) == lines


@pytest.mark.parametrize(
    ("workers", "shared", "options"),
    [
        ({"train_dataloader": 4, "val_dataloader": 0}, False, ["train_dataloader.num_workers=2"]),
        (
            {"train_dataloader": 4, "val_dataloader": 1},
            False,
            [
                "train_dataloader.num_workers=2",
                "val_dataloader.num_workers=0",
                "val_dataloader.persistent_workers=False",
            ],
        ),
        (
            {"train_dataloader": 1},
            False,
            ["train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False"],
        ),
        (
            {"train_dataloader": 8},
            True,
            ["train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False"],
        ),
    ],
)
def test_fewer_workers_are_fewer(workers: dict[str, int], shared: bool, options: list[str]) -> None:
    assert fewer_workers(workers, shared=shared) == [f"use fewer workers: --cfg-options {' '.join(options)}"]


def test_without_workers_none_can_be_fewer() -> None:
    assert fewer_workers({"train_dataloader": 0}, shared=False) == []


@pytest.mark.parametrize(
    ("batch", "amp", "line"),
    [
        (8, False, "start a new run with --cfg-options train_dataloader.batch_size=4 or --amp"),
        (8, True, "start a new run with --cfg-options train_dataloader.batch_size=4"),
        (1, False, "start a new run with --amp"),
        (1, True, "use a smaller model or image size"),
    ],
)
def test_a_smaller_batch_is_smaller(batch: int, amp: bool, line: str) -> None:
    assert less_memory(batch, amp=amp) == [line]


def test_a_lower_rate_is_advised_after_a_step_only() -> None:
    data, kept = Path("my data"), Path("run/epoch_1.pth")
    told = {"again": "posetools train ...", "lr": 0.004, "data": data}
    validate = "check the labels: posetools validate 'my data'"
    assert after_divergence(kept=kept, stepped=True, amp=True, **told) == [  # type: ignore[arg-type]
        "try a lower learning rate (it was 0.004):",
        "posetools train ... --cfg-options optim_wrapper.optimizer.lr=0.0004",
        "omit --amp: float16 overflows on large values",
        validate,
    ]
    assert after_divergence(kept=None, stepped=True, amp=False, **told) == [  # type: ignore[arg-type]
        "try a lower learning rate (it was 0.004):",
        "the same command with --cfg-options optim_wrapper.optimizer.lr=0.0004",
        validate,
    ]
    assert after_divergence(kept=None, stepped=False, amp=False, **told) == [  # type: ignore[arg-type]
        "check the labels and the initial weights: this was the first iteration",
        validate,
    ]
