"""Warnings about models whose AP was 0 or was never measured, from the record of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from posetools.files.disk import write_json
from posetools.mm.evaluations import EVALUATIONS
from posetools.mm.run_log import METRICS
from posetools.pairs.doubts import doubt_of_checkpoint, doubts_of_bundle, doubts_of_pair
from posetools.runtime.bundle import write_bundle
from tests.cli.run import run
from tests.runtime.tiny import image, parts, png

BOX, POSE = "coco/bbox_mAP", "coco/AP"


def checkpoint(folder: Path, *aps: float | None, name: str = BOX) -> Path:
    """Return a checkpoint in the work folder of a run with these evaluations."""
    folder.mkdir()
    lines = [{"epoch": number, "metrics": {name: ap}} for number, ap in enumerate(aps, 1)]
    write_json(folder / EVALUATIONS, {"evaluations": lines})
    path = folder / "epoch_9.pth"
    path.touch()
    return path


@pytest.mark.parametrize("name", [BOX, POSE])
def test_an_ap_of_0_at_every_evaluation(tmp_path: Path, name: str) -> None:
    path = checkpoint(tmp_path / "run", 0.0, 0.0004, 0.0, name=name)
    assert doubt_of_checkpoint(path).startswith(f"{path}: {name} was 0.000 at all 3 evaluations of the run: this model")
    once = checkpoint(tmp_path / "once", 0.0, name=name)
    assert f"{name} was 0.000 at its one evaluation" in doubt_of_checkpoint(once)


def test_a_run_that_found_something_is_not_doubted(tmp_path: Path) -> None:
    paths = [checkpoint(tmp_path / "first", 0.0, 0.2), checkpoint(tmp_path / "second", 0.1, 0.0)]
    assert doubts_of_pair(*paths) == ()


def test_a_run_that_was_never_measured(tmp_path: Path) -> None:
    for folder, aps in (("none", ()), ("nothing to measure", (None, None))):
        path = checkpoint(tmp_path / folder, *aps)
        assert doubt_of_checkpoint(path).startswith(f"{path}: AP was never measured in its run")


def test_a_run_of_before_evaluations_were_kept(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "run")
    (tmp_path / "run" / EVALUATIONS).unlink()
    write_json(tmp_path / "run" / METRICS, {"last": {"checkpoint": path.name, "metrics": {POSE: 0.0}}})
    assert "coco/AP was 0.000" in doubt_of_checkpoint(path)


def test_a_checkpoint_from_elsewhere_gets_no_sentence(tmp_path: Path) -> None:
    path = tmp_path / "zoo.pth"
    path.touch()
    assert doubts_of_pair(path, "https://models.example/rtmpose.pth") == ()


def test_a_bundle_is_doubted_by_what_its_manifest_says() -> None:
    bundle = Path("cars.zip")
    measured = {"bbox/AP": 0.4, BOX: 0.0, "labelled_boxes/OKS/AP": 0.3}
    assert doubts_of_bundle(bundle, measured) == ()
    zero, unmeasured = doubts_of_bundle(bundle, {BOX: 0.0})
    assert zero.startswith("cars.zip: its detector had AP 0.000 when it was exported")
    assert unmeasured.startswith("cars.zip: its pose estimator was never measured")


def test_predict_warns_and_goes_on(tmp_path: Path) -> None:
    bundle, file = tmp_path / "cars.zip", tmp_path / "a.png"
    file.write_bytes(png(image(0)))
    manifest, files = parts()
    write_bundle(bundle, manifest.model_copy(update={"metrics": {}}), files)
    done = run("predict", file, "--bundle", bundle, "--output-root", tmp_path / "out")
    assert done.status == 0
    assert f"warning: {bundle}: its detector was never measured when it was exported" in done.err
