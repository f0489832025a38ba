"""``posetools plot``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.run import run
from tests.mm.test_runlog import training_line, write_log


def test_a_folder_of_runs_becomes_a_figure_and_a_table(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    runs = tmp_path / "work_dirs"
    write_log(runs / "det", epochs=3)
    write_log(runs / "det", first=3, epochs=5, start="20250102_000000")
    (runs / "det" / "best_coco_bbox_mAP_epoch_4.pth").touch()
    log = write_log(runs / "pose", stage="pose", epochs=4, per_epoch=40)
    log.write_text(log.read_text()[:-10])
    done = run("plot", runs, "--out", tmp_path / "curves.png", "--smooth", "3")
    assert (done.status, done.err) == (0, "")
    rows = {tuple(line.split()) for line in done.out.splitlines()}
    loss = training_line("det", 5, 120, 0.02)["loss"]
    assert ("det", "5", "0.25", "loss", f"{loss:.3f}") in {row[:5] for row in rows}
    assert ("coco/bbox_mAP", "0.785", "0.785", "5") in rows
    assert ("coco/AP", "0.760", "0.760", "3") in rows
    # Only the figure has the variants.
    assert "bbox_mAP_50" not in done.out
    best = runs / "det" / "best_coco_bbox_mAP_epoch_4.pth"
    for line in (
        f"det: best checkpoint {best}",
        "det: resumed after epoch 2",
        "det: 3 log lines are left out, because a later start trained those iterations again",
        "pose: the last line of a log is incomplete and is left out",
        f"wrote {tmp_path / 'curves.png'}",
        f"wrote {tmp_path / 'curves.svg'}",
    ):
        assert line in done.out.splitlines()
    with Image.open(tmp_path / "curves.png") as image:
        assert image.format == "PNG"


def test_chosen_metrics_may_have_blanks(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_log(tmp_path / "pose", stage="pose")
    out = tmp_path / "curves"
    assert run("plot", tmp_path / "pose", "--metrics", "loss, coco/AP .5", "--out", out).status == 0
    wrong = run("plot", tmp_path / "pose", "--metrics", "loss,coco/AP.5", "--out", out)
    assert wrong.status == 2
    assert wrong.err.startswith("error: --metrics must be logged tags, got 'coco/AP.5'\n  ")


def test_a_folder_that_is_no_work_folder_is_refused(tmp_path: Path) -> None:
    done = run("plot", tmp_path, "--out", tmp_path / "curves.png")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"error: {tmp_path}: must be the work folder of a training run, or contain some: ")
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_message_names_the_install_command(tmp_path: Path) -> None:
    write_log(tmp_path / "run")
    program = (
        "import sys\n"
        "sys.modules['matplotlib'] = None\n"
        "from posetools.cli import main\n"
        f"sys.argv = ['posetools', 'plot', {str(tmp_path / 'run')!r}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: posetools plot needs the 'plot' extra (matplotlib is not installed)")
    assert "pip install '.[plot]'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
