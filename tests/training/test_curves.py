"""Figures of learning curves: their content, and that PNG and SVG open and are reproducible."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from posetools.errors import OutputError, RequestError
from posetools.mm.run_log import RunLog, read_run
from posetools.training.curves import COLORS, draw_curves, family_of, files_of, plan_panels, run_names, smoothed
from tests.mm.test_runlog import write_log

pytest.importorskip("matplotlib")


@pytest.fixture
def det(tmp_path: Path) -> RunLog:
    write_log(tmp_path / "det", stage="det")
    return read_run(tmp_path / "det")


@pytest.fixture
def pose(tmp_path: Path) -> RunLog:
    write_log(tmp_path / "pose", stage="pose", epochs=6, per_epoch=40)
    (tmp_path / "pose" / "best_coco_AP_epoch_5.pth").touch()
    return read_run(tmp_path / "pose")


def colors_in(path: Path) -> set[str]:
    with Image.open(path) as image:
        colors = image.convert("RGB").getcolors(maxcolors=1 << 24)
    assert colors
    return {f"#{r:02X}{g:02X}{b:02X}" for _, (r, g, b) in colors}  # type: ignore[misc]  # Pillow: int or tuple.


def texts_in(path: Path) -> set[str]:
    """Return the text in an SVG: matplotlib draws letters as paths, with the text in a comment before them."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    root = ET.parse(path, parser).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return {(node.text or "").strip() for node in root.iter() if not isinstance(node.tag, str)}


def test_one_run_has_a_panel_for_each_thing_that_is_measured(det: RunLog, pose: RunLog) -> None:
    panels = {panel.title: panel.tags for panel in plan_panels([det])}
    assert panels == {
        "loss": ("loss", "loss_cls", "loss_bbox"),
        # There was no small object to measure on.
        "coco/bbox_mAP": tuple(f"coco/bbox_mAP{variant}" for variant in ("", "_50", "_75", "_m", "_l")),
        "learning rate": ("lr",),
    }
    titles = {panel.title: panel.tags for panel in plan_panels([pose])}
    assert list(titles) == ["loss", "coco/AP", "coco/AR", "acc_pose (training)", "learning rate"]
    # The loss has one part, which is the loss.
    assert titles["loss"] == ("loss",)


def test_runs_of_both_stages_share_what_both_have(det: RunLog, pose: RunLog) -> None:
    panels = {panel.title: (panel.tags, panel.runs) for panel in plan_panels([det, pose])}
    assert panels == {
        "loss (loss_cls, loss_bbox)": (("loss", "loss_cls", "loss_bbox"), (0,)),
        "loss (loss_kpt)": (("loss",), (1,)),
        "coco/bbox_mAP": (("coco/bbox_mAP",), (0,)),
        "coco/AP": (("coco/AP",), (1,)),
        "coco/AR": (("coco/AR",), (1,)),
        "acc_pose (training)": (("acc_pose",), (1,)),
        "learning rate": (("lr",), (0, 1)),
    }


def test_what_was_asked_for_is_drawn_and_nothing_else(det: RunLog, pose: RunLog) -> None:
    panels = plan_panels([det, pose], ["time", "coco/AP .5", "coco/AP"])
    assert [(panel.title, panel.tags, panel.runs) for panel in panels] == [
        ("coco/AP", ("coco/AP", "coco/AP .5"), (1,)),
        ("time (training)", ("time",), (0, 1)),
    ]
    with pytest.raises(RequestError, match=r"--metrics must be logged tags, got 'coco/AP'\n  .*loss_cls, .*mAP_50"):
        plan_panels([det], ["coco/AP"])


def test_variants_belong_to_their_metric() -> None:
    tags = ("coco/AP .75", "coco/AP (L)", "coco/bbox_mAP_50", "coco/bbox_mAP_s", "PCK@0.05", "NME", "AUC_loss")
    assert [family_of(tag) for tag in tags] == [
        *("coco/AP", "coco/AP", "coco/bbox_mAP", "coco/bbox_mAP", "PCK", "NME", "AUC_loss")
    ]


def test_both_files_open_and_say_what_they_show(pose: RunLog, tmp_path: Path) -> None:
    png, svg = draw_curves([pose], tmp_path / "new" / "curves.svg")
    assert (png, svg) == (tmp_path / "new" / "curves.png", tmp_path / "new" / "curves.svg")
    assert sorted(path.name for path in png.parent.iterdir()) == ["curves.png", "curves.svg"]
    assert pose.best
    best = f"best: {pose.best.score:.3f} at epoch 5"
    expected = {"pose", "loss", "coco/AP", "coco/AP .5", "epoch (40 iterations each)", "learning rate", best}
    assert expected <= texts_in(svg)
    # One color for each line of a panel, the main one first.
    assert set(COLORS[:5]) <= colors_in(png)
    with Image.open(png) as image:
        assert image.size == (1872, 840)


def test_runs_are_told_apart_by_color_and_named(det: RunLog, pose: RunLog, tmp_path: Path) -> None:
    png, svg = draw_curves([det, pose], tmp_path / "both")
    assert {"det", "pose", "epoch", "epoch (25 iterations each)", "epoch (40 iterations each)"} <= texts_in(svg)
    found = colors_in(png)
    assert set(COLORS[:2]) <= found
    assert not set(COLORS[2:6]) & found


def test_where_a_run_was_resumed_is_marked(tmp_path: Path) -> None:
    write_log(tmp_path / "run", epochs=2)
    before = texts_in(draw_curves([read_run(tmp_path / "run")], tmp_path / "before")[1])
    write_log(tmp_path / "run", first=3, epochs=4, start="20250102_000000")
    after = texts_in(draw_curves([read_run(tmp_path / "run")], tmp_path / "after")[1])
    assert "resumed" not in before
    assert "resumed" in after


def test_runs_that_count_in_iterations_have_such_an_axis(det: RunLog, tmp_path: Path) -> None:
    log = write_log(tmp_path / "iterations", epochs=1)
    log.write_text(log.read_text().replace('"epoch": 1, ', ""))
    runs = [det, read_run(tmp_path / "iterations")]
    texts = texts_in(draw_curves(runs, tmp_path / "curves")[1])
    assert "iteration" in texts
    assert not any(text.startswith("epoch") for text in texts)


def test_the_same_runs_give_the_same_bytes(det: RunLog, pose: RunLog, tmp_path: Path) -> None:
    first = [path.read_bytes() for path in draw_curves([det, pose], tmp_path / "a", smooth=3)]
    program = (
        "import sys; from pathlib import Path\n"
        "from posetools.training.curves import draw_curves; from posetools.mm.run_log import read_run\n"
        "draw_curves([read_run(Path(p)) for p in sys.argv[2:]], Path(sys.argv[1]), smooth=3)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    arguments = [str(path) for path in (tmp_path / "b", det.work_dir, pose.work_dir)]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True)
    assert [(tmp_path / f"b.{kind}").read_bytes() for kind in ("png", "svg")] == first


def test_names_that_matplotlib_would_read_are_drawn_as_they_are(tmp_path: Path) -> None:
    names = ["_hidden", "$x_1$", "車", "r" * 30 + "-end-of-a-name-that-is-too-long"]
    for name in names:
        write_log(tmp_path / name, epochs=1)
    svg = draw_curves([read_run(tmp_path / name) for name in names], tmp_path / "curves")[1]
    texts = texts_in(svg)
    assert {"_hidden", "$x_1$", "車"} <= texts
    assert "r" * 23 + "…" + "-a-name-that-is-too-long"[-23:] in texts


def test_gaps_and_runs_without_an_evaluation_are_drawn(tmp_path: Path) -> None:
    log = write_log(tmp_path / "run", epochs=1, per_epoch=60)
    lines = [line for line in log.read_text().splitlines() if "coco" not in line]
    log.write_text("\n".join(lines).replace('"loss": ', '"loss": NaN, "unused": '))
    run = read_run(tmp_path / "run")
    assert run.training["loss"].gaps == len(run.training["loss"]) == 6
    assert [panel.title for panel in plan_panels([run])] == ["loss", "unused (training)", "learning rate"]
    assert "loss_cls" in texts_in(draw_curves([run], tmp_path / "curves", smooth=2)[1])


def test_smoothing_is_a_centered_mean_that_skips_gaps() -> None:
    values = np.array([1.0, 2, 3, np.nan, 5, 6])
    np.testing.assert_allclose(smoothed(values, 3), [1.5, 2, 2.5, np.nan, 5.5, 5.5])
    np.testing.assert_allclose(smoothed(values, 2), [1, 1.5, 2.5, np.nan, 5, 5.5])
    np.testing.assert_array_equal(smoothed(values, 1), values)
    np.testing.assert_allclose(smoothed(values[:3], 99), [2, 2, 2])


def test_names_are_as_short_as_tells_runs_apart() -> None:
    assert run_names([Path("/a/det"), Path("/b/pose")]) == ("det", "pose")
    assert run_names([Path("/a/det"), Path("/b/det"), Path("/b/pose")]) == ("a/det", "b/det", "b/pose")
    assert run_names([Path("/det"), Path("/x/det")]) == ("//det", "x/det")


@pytest.mark.parametrize("name", ["curves", "curves.png", "curves.svg"])
def test_any_of_the_names_stands_for_both_files(name: str) -> None:
    assert files_of(Path("d") / name) == (Path("d/curves.png"), Path("d/curves.svg"))


def test_names_and_numbers_that_cannot_be_are_refused(det: RunLog, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"--out must be a file name ending in .png or .svg .*, got 'curves.pdf'"):
        draw_curves([det], Path("curves.pdf"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(RequestError, match=r"--out must be a file, got '.*folder', a folder"):
        draw_curves([det], tmp_path / "folder")
    with pytest.raises(
        RequestError, match=r"runs must be at most 7 .*, got 8\n  fix: name the work folders to compare"
    ):
        draw_curves([det] * 8, tmp_path / "many")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/curves.png: cannot be written: "):
        draw_curves([det], tmp_path / "file" / "curves")
    assert {path.name for path in tmp_path.iterdir()} == {"det", "folder", "file"}
