"""A data set and predictions of posetools in FiftyOne, by the code of docs/other-tools.md (`make test-fiftyone`)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

fo = pytest.importorskip("fiftyone", reason="fiftyone is not installed: make test-fiftyone")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("default")]

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data" / "coco"


def test_the_code_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = json.loads((DATA / "val_coco.json").read_text("utf-8"))
    # Each label as a prediction of itself, as `predict --save-predictions` writes it.
    kept = ("image_id", "category_id", "bbox", "keypoints")
    results = [{"score": 0.75, **{key: one[key] for key in kept}} for one in truth["annotations"]]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cars").symlink_to(DATA)
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "results_coco.json").write_text(json.dumps(results), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "other-tools.md").read_text("utf-8")
    code = re.findall(r"```python\n(import fiftyone.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code[0], names)
    dataset = names["dataset"]
    images = {image["id"]: image for image in truth["images"]}
    expected: dict[str, list[Any]] = {Path(image["file_name"]).name: [] for image in truth["images"]}
    for one in truth["annotations"]:
        image = images[one["image_id"]]
        points = np.array(one["keypoints"]).reshape(-1, 3)
        inside = points[:, :2] / (image["width"], image["height"])
        inside[points[:, 2] == 0] = np.nan
        expected[Path(image["file_name"]).name].append(inside)
    assert len(dataset) == len(expected)
    for sample in dataset:
        own = expected[Path(sample.filepath).name]
        for found in (sample.keypoints, sample.predicted_keypoints):
            objects = found.keypoints if found else []
            np.testing.assert_allclose([one.points for one in objects], own, atol=1e-6)
        assert [one.label for one in sample.detections.detections] == ["car"] * len(own)
    assert dataset.default_skeleton.labels[0] == "left-front-bumper" and [0, 1] in dataset.default_skeleton.edges
