"""One round of the labeling loop with trained models: prelabel, a person's correction, diff, review, convert."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from posetools.core.folder import IMAGES
from tests.cli.run import run
from tests.tiny_runs import Run, Tiny

pytestmark = pytest.mark.train


def test_one_round(tiny: Tiny, det_run: Run, pose_run: Run, tmp_path: Path) -> None:
    folder, before = tmp_path / "cars", tmp_path / "before"
    shutil.copytree(tiny.data / IMAGES, folder)
    pair: list[str | Path] = [
        "--det",
        det_run.config,
        det_run.checkpoint,
        "--pose",
        pose_run.config,
        pose_run.checkpoint,
    ]
    # Models of two epochs have low scores.
    models: list[str | Path] = [*pair, "--device", "cpu", "--bbox-thr", "0.001"]
    done = run("prelabel", folder, *models, "--kpt-thr", "0.01")
    assert done.status == 0, done.err
    assert "wrote 6 labelme files" in done.out and "6 new" in done.out
    shutil.copytree(folder, before)
    file = folder / "0.json"
    document = json.loads(file.read_text())
    assert document["shapes"][0]["description"].startswith("score 0.") and document["imageData"] is None
    point = next(shape for shape in document["shapes"] if shape["shape_type"] == "point")
    point["points"][0][0] += 20
    # As labelme saves it.
    file.write_text(json.dumps(document, indent=2, ensure_ascii=False))
    again = run("prelabel", folder, *models, "--kpt-thr", "0.01")
    assert again.status == 0 and "5 updated" in again.out and "kept 1 saved by a person" in again.out
    assert json.loads(file.read_text()) == document
    compared = run("diff", before, folder, "--json", tmp_path / "changes.json")
    assert compared.status == 0, compared.err
    assert point["label"] in (tmp_path / "changes.json").read_text()
    chosen = run("review", folder, *models, "--next", "3", "--out", tmp_path / "next")
    assert chosen.status == 0, chosen.err
    images = json.loads((tmp_path / "next/review.json").read_text())["pictures"]
    assert len(images) == 3 and all(entry["found"] is not None for entry in images)
    # Only the image that a person saved can differ from the prediction.
    assert [entry["file_name"] for entry in images if entry["labels"] is not None] in ([], ["0.png"])
    converted = run("convert", folder, "--out", tmp_path / "data", "--val", "0.5")
    assert converted.status == 0, converted.err
