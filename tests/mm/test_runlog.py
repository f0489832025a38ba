"""Logs of complete, resumed and killed runs are read into curves.

``write_log`` writes what mmengine writes; tests/exporting/test_publish.py reads the logs of real runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from posetools.errors import InputError, RequestError
from posetools.mm.run_log import BestName, find_runs, logs_of, parse_best, read_run


def training_line(stage: Literal["det", "pose"], epoch: int, iteration: int, rate: float) -> dict[str, Any]:
    fall = math.exp(-rate * iteration)
    wave = 0.1 * math.sin(iteration * 0.7)
    if stage == "det":
        parts = {"loss_cls": 1.2 * fall + 0.2 + 0.4 * wave, "loss_bbox": 0.9 * fall + 0.3 + 0.2 * wave}
        losses = {"loss": sum(parts.values()), **parts}
    else:
        losses = {"loss": 0.08 * fall + 0.002 * wave, "loss_kpt": 0.08 * fall + 0.002 * wave, "acc_pose": 1 - fall}
    lr = 1e-3 * (0.5 + 0.5 * math.cos(min(3.1, iteration * rate)))
    step = {"epoch": epoch, "iter": iteration, "step": iteration}
    return {"base_lr": lr, "lr": lr, "data_time": 0.02, **losses, "time": 0.25, **step}


def evaluation_line(stage: Literal["det", "pose"], epoch: int, share: float) -> dict[str, Any]:
    level = 0.8 * (1 - math.exp(-4 * share))
    if stage == "det":
        names = {"_50": 1.1, "_75": 0.8, "_s": 0.0, "_m": 0.6, "_l": 1.05}
        found = {"coco/bbox_mAP": level, **{f"coco/bbox_mAP{name}": level * by for name, by in names.items()}}
        found["coco/bbox_mAP_s"] = -1.0
    else:
        names = {" .5": 1.15, " .75": 0.9, " (M)": 0.7, " (L)": 1.05}
        found = {f"coco/{kind}": level for kind in ("AP", "AR")}
        found |= {f"coco/{kind}{name}": level * by for kind in ("AP", "AR") for name, by in names.items()}
    return {**found, "data_time": 0.005, "time": 0.04, "step": epoch}


def write_log(
    work_dir: Path,
    *,
    stage: Literal["det", "pose"] = "det",
    first: int = 1,
    epochs: int = 4,
    per_epoch: int = 25,
    interval: int = 10,
    val_interval: int = 1,
    rate: float = 0.02,
    start: str = "20250101_120000",
) -> Path:
    """Write the log of one start of a run, and return it."""
    log = work_dir / start / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    lines = []
    for epoch in range(first, epochs + 1):
        done = (epoch - 1) * per_epoch
        inner = range(interval, per_epoch + 1, interval) if per_epoch > interval else [per_epoch]
        lines += [training_line(stage, epoch, done + i, rate) for i in inner]
        if epoch % val_interval == 0 or epoch == epochs:
            lines.append(evaluation_line(stage, epoch, epoch / epochs))
    log.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return log


def test_a_log_becomes_curves_over_iterations(tmp_path: Path) -> None:
    write_log(tmp_path / "det")
    run = read_run(tmp_path / "det")
    assert (run.epoch_iterations, run.epochs, run.iterations) == (25, 4, 100)
    # Two lines per epoch, at its 10th and 20th iteration; no line has the last five iterations.
    np.testing.assert_array_equal(run.training["loss"].iterations, [10, 20, 35, 45, 60, 70, 85, 95])
    np.testing.assert_array_equal(run.metrics["coco/bbox_mAP"].iterations, [25, 50, 75, 100])
    assert set(run.training) == {"base_lr", "lr", "data_time", "loss", "loss_cls", "loss_bbox", "time"}
    assert not {"time", "data_time", "step"} & set(run.metrics)
    assert run.training["loss"].values[0] == training_line("det", 1, 10, 0.02)["loss"]
    assert run.metrics["coco/bbox_mAP"].last == evaluation_line("det", 4, 1.0)["coco/bbox_mAP"]
    assert run.seconds_per_iteration == 0.25
    assert (run.resumed, run.best, run.broken, run.replaced) == ((), None, 0, 0)


def test_values_that_are_not_measured_or_not_finite_are_gaps(tmp_path: Path) -> None:
    log = write_log(tmp_path)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lines[0]["loss"], lines[1]["loss"] = float("nan"), float("inf")
    lines[0]["note"] = "text is not a number"
    log.write_text("\n".join(json.dumps(line) for line in lines))
    run = read_run(tmp_path)
    assert np.isnan(run.training["loss"].values).tolist() == [True, True, *[False] * 6]
    assert (run.training["loss"].gaps, run.training["loss_cls"].gaps) == (2, 0)
    assert run.metrics["coco/bbox_mAP_s"].gaps == 4
    assert run.metrics["coco/bbox_mAP_s"].last is None
    assert "note" not in run.training


def test_starts_of_a_resumed_run_are_joined_and_later_lines_replace_earlier_ones(tmp_path: Path) -> None:
    write_log(tmp_path, epochs=3, start="20250101_120000")
    # Resumed from the end of epoch 2: epoch 3 is trained again.
    write_log(tmp_path, first=3, epochs=5, rate=0.5, start="20250102_090000")
    (tmp_path / "configs").mkdir()
    run = read_run(tmp_path)
    np.testing.assert_array_equal(run.training["loss"].iterations, [10, 20, 35, 45, 60, 70, 85, 95, 110, 120])
    assert run.training["loss"].values[4] == training_line("det", 3, 60, 0.5)["loss"]
    np.testing.assert_array_equal(run.metrics["coco/bbox_mAP"].iterations, [25, 50, 75, 100, 125])
    assert run.metrics["coco/bbox_mAP"].values[2] == evaluation_line("det", 3, 3 / 5)["coco/bbox_mAP"]
    assert list(run.resumed) == [50]
    # Two lines of training and one evaluation of epoch 3.
    assert run.replaced == 3
    assert run.epochs == 5


def test_a_run_restarted_in_the_same_folder_is_not_resumed(tmp_path: Path) -> None:
    write_log(tmp_path, epochs=3, start="20250101_120000")
    write_log(tmp_path, epochs=2, start="20250102_090000")
    run = read_run(tmp_path)
    assert (run.epochs, run.resumed, run.replaced) == (2, (), 9)


def test_starts_without_training_are_skipped(tmp_path: Path) -> None:
    write_log(tmp_path, epochs=2)
    # A separate evaluation logs at step 0, a test writes one object without a step.
    alone = tmp_path / "20250103_000000" / "vis_data" / "scalars.json"
    alone.parent.mkdir(parents=True)
    alone.write_text('{"coco/bbox_mAP": 0.1, "data_time": 0.1, "time": 0.1, "step": 0}\n')
    test = tmp_path / "20250104_000000" / "20250104_000000.json"
    test.parent.mkdir()
    test.write_text('{"coco/bbox_mAP": 0.9}')
    (tmp_path / "20250105_000000").mkdir()
    assert len(logs_of(tmp_path)) == 3
    run = read_run(tmp_path)
    assert (run.epochs, run.resumed, run.replaced) == (2, (), 0)
    assert len(run.metrics["coco/bbox_mAP"]) == 2


@pytest.mark.parametrize(
    ("place", "there"), [("vis_data/{}.json", True), ("{}.json", True), ("vis_data/other.json", False)]
)
def test_the_log_is_found_under_its_other_names(tmp_path: Path, place: str, there: bool) -> None:
    log = write_log(tmp_path)
    start = log.parent.parent
    log.rename(start / place.format(start.name))
    assert bool(logs_of(tmp_path)) == there


def test_half_a_last_line_is_skipped_and_counted(tmp_path: Path) -> None:
    log = write_log(tmp_path)
    log.write_text(log.read_text()[:-30])
    run = read_run(tmp_path)
    assert (run.broken, run.epochs, len(run.metrics["coco/bbox_mAP"])) == (1, 3, 3)


BROKEN: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "half a line within": (lambda lines: [lines[0], lines[1][:20], *lines[2:]], "line 2: is not valid JSON: "),
    "a list": (lambda lines: ["[1, 2]", *lines], "line 1: must be a JSON object, got list"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_damaged_log_is_named_with_its_line(tmp_path: Path, kind: str) -> None:
    break_it, message = BROKEN[kind]
    log = write_log(tmp_path)
    log.write_text("\n".join(break_it(log.read_text().splitlines())))
    with pytest.raises(InputError) as caught:
        read_run(tmp_path)
    assert str(caught.value).startswith(f"{log}: {message}")


def test_a_run_in_its_first_epoch_has_finished_none(tmp_path: Path) -> None:
    log = write_log(tmp_path)
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:2]))
    run = read_run(tmp_path)
    assert (run.epochs, run.iterations) == (0, 20)


def test_short_epochs_are_logged_at_their_end(tmp_path: Path) -> None:
    write_log(tmp_path, per_epoch=7, epochs=9, val_interval=3)
    run = read_run(tmp_path)
    assert (run.epoch_iterations, run.epochs) == (7, 9)
    np.testing.assert_array_equal(run.metrics["coco/bbox_mAP"].iterations, [21, 42, 63])
    log = write_log(tmp_path / "unevaluated", per_epoch=7, epochs=3, val_interval=3)
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:2]))
    assert read_run(tmp_path / "unevaluated").epochs == 2


def test_a_run_that_counts_in_iterations(tmp_path: Path) -> None:
    log = write_log(tmp_path, epochs=1, per_epoch=30)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        line.pop("epoch", None)
    lines[-1]["step"] = 30
    log.write_text("\n".join(json.dumps(line) for line in lines))
    (tmp_path / "best_coco_bbox_mAP_iter_30.pth").touch()
    run = read_run(tmp_path)
    assert (run.epoch_iterations, run.epochs, run.iterations) == (None, None, 30)
    np.testing.assert_array_equal(run.metrics["coco/bbox_mAP"].iterations, [30])
    assert run.best
    assert (run.best.iteration, run.best.score) == (30, lines[-1]["coco/bbox_mAP"])


def test_the_best_checkpoint_has_its_epoch_and_score(tmp_path: Path) -> None:
    write_log(tmp_path, stage="pose")
    (tmp_path / "best_coco_AP_epoch_2.pth").touch()
    best = read_run(tmp_path).best
    assert best
    assert (best.checkpoint, best.tag, best.iteration) == ("best_coco_AP_epoch_2.pth", "coco/AP", 50)
    assert best.score == evaluation_line("pose", 2, 0.5)["coco/AP"]

    # metrics.json has more decimals, and is the only source after the checkpoints were moved away.
    recorded = {"best": {"checkpoint": "best_coco_AP_epoch_3.pth", "score": 0.625}}
    (tmp_path / "metrics.json").write_text(json.dumps(recorded))
    assert read_run(tmp_path).best == best
    (tmp_path / "best_coco_AP_epoch_2.pth").unlink()
    best = read_run(tmp_path).best
    assert best
    assert (best.iteration, best.score) == (75, 0.625)
    (tmp_path / "metrics.json").write_text('{"best": null}')
    assert read_run(tmp_path).best is None


def test_names_of_best_checkpoints() -> None:
    assert parse_best("best_coco_bbox_mAP_epoch_40.pth") == BestName("coco_bbox_mAP", "epoch", 40)
    assert parse_best("best_NME_iter_500.pth") == BestName("NME", "iter", 500)
    assert parse_best("epoch_40.pth") is None
    assert BestName("coco_AP", "epoch", 1).tag(["coco/AR", "coco/AP"]) == "coco/AP"
    assert BestName("PCK", "epoch", 1).tag(["coco/AP"]) is None


def test_a_folder_of_runs_gives_its_runs(tmp_path: Path) -> None:
    for name in ("pose", "det"):
        write_log(tmp_path / name)
    (tmp_path / "notes").mkdir()
    assert find_runs(tmp_path) == (tmp_path / "det", tmp_path / "pose")
    assert find_runs(tmp_path / "det") == (tmp_path / "det",)


def test_a_folder_without_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"must be the work folder of a training run, or contain some: neither it"):
        find_runs(tmp_path)
    with pytest.raises(RequestError, match=r"gone: must be the work folder .*: it is not a folder"):
        find_runs(tmp_path / "gone")
    with pytest.raises(RequestError, match=r"it has no <time>/vis_data/scalars.json"):
        read_run(tmp_path)
    write_log(tmp_path).write_text("")
    with pytest.raises(RequestError, match=r"scalars.json: has no training iteration yet\n  fix: try again later"):
        read_run(tmp_path)
