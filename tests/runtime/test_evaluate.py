"""Evaluation of a bundle: against labels that it detects, and against labels that it misses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from posetools import PosePipeline
from posetools.core.dataset import DatasetBuilder, Image
from posetools.core.folder import IMAGES, ann_file
from posetools.core.place import Origin
from posetools.core.skeleton import dump_skeleton
from posetools.errors import RequestError
from posetools.evaluation.report import as_document
from posetools.evaluation.run import EvalRequest, evaluate
from posetools.formats.coco.format import write_split
from tests.cli.run import run
from tests.runtime.tiny import SKELETON, image, png, write

# As drawn by tests/runtime/tiny.py.
SIZE, NUMBER = (192, 128), 4


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write(tmp_path / "dots.zip", seeds=())


@pytest.fixture
def data(tmp_path: Path, bundle: Path) -> Path:
    """Return a data set whose labels are the bundle's detections, plus one object that it misses in the last image."""
    data, pipeline = tmp_path / "dots", PosePipeline.from_bundle(bundle)
    (data / IMAGES).mkdir(parents=True)
    builder = DatasetBuilder(SKELETON)
    for seed in range(NUMBER):
        name = f"{seed}.png"
        (data / IMAGES / name).write_bytes(png(image(seed)))
        builder.add_image(Image(name, *SIZE))
        found = pipeline(image(seed))
        assert len(found)
        for box, points in zip(found.boxes, found.keypoints, strict=True):
            keypoints = np.column_stack([points, np.full(len(points), 2)])
            builder.add_instance(name, box=box, keypoints=keypoints, origin=Origin(name))
    lost = np.column_stack([np.array([[2.0, 2.0], [6.0, 6.0], [12.0, 3.0]]), np.full(3, 1)])
    builder.add_instance(name, box=np.array([1.0, 1.0, 15.0, 9.0]), keypoints=lost, origin=Origin(name))
    write_split(builder.build(), ann_file(data, "val"))
    (data / "skeleton.yaml").write_text(dump_skeleton(SKELETON), encoding="utf-8")
    return data


def test_a_bundle_finds_what_it_finds(bundle: Path, data: Path) -> None:
    told: list[tuple[int, int]] = []
    request = EvalRequest(bundle=bundle, data=data, bbox_thr=0.7)
    report = evaluate(request, lambda _, done, total: told.append((done, total)))
    assert told[-1] == (NUMBER, NUMBER)
    assert (report.subject.name, report.subject.data, report.subject.split) == (str(bundle), str(data), "val")
    assert (report.subject.detector, report.subject.estimator) == (f"{bundle}: det.onnx", f"{bundle}: pose.onnx")
    # All points in labeled boxes are where the bundle predicts them, except those of the missed object.
    labeled, detected = report.labeled.scores, report.detected.scores
    assert labeled.points["visible"].overall.pck[0] == detected.points["visible"].overall.pck[0] == 1.0
    assert detected.points["hidden"].overall.pck[0] == 0.0
    assert detected.points["hidden"].overall.missing == 3
    assert (labeled.without_box, detected.without_box) == (0, 1)


def test_the_command_writes_what_it_prints(bundle: Path, data: Path, tmp_path: Path) -> None:
    file, page = tmp_path / "scores.json", tmp_path / "scores.html"
    done = run("eval", "--bundle", bundle, "--data", data, "--json", file, "--report", page)
    assert done.status == 0, done.err
    report = evaluate(EvalRequest(bundle=bundle, data=data))
    assert json.loads(file.read_text()) == json.loads(json.dumps(as_document([report])))
    assert f"wrote {page}" in done.out
    assert all(name in done.out for name in SKELETON.names)
    assert str(bundle) in page.read_text(encoding="utf-8")


def test_the_same_file_twice_and_a_missing_data_set_are_refused(bundle: Path, data: Path) -> None:
    with pytest.raises(RequestError, match=r"dots.zip: a bundle requires --data\n  fix: add --data DIR"):
        evaluate(EvalRequest(bundle=bundle))
    done = run("eval", "--bundle", bundle, "--bundle", bundle, "--data", data)
    assert done.status == 2
    assert "the same --run or --bundle is given twice" in done.err
    done = run("eval", "--bundle", bundle, "--data", data, "--split", "test")
    assert (done.status, "has no split 'test'; it has val" in done.err) == (2, True)


def test_another_skeleton_must_fit_the_bundle(bundle: Path, data: Path) -> None:
    done = run("eval", "--bundle", bundle, "--data", data, "--skeleton", "car8")
    assert done.status == 2
    own = run("eval", "--bundle", bundle, "--data", data, "--skeleton", data / "skeleton.yaml")
    assert own.status == 0, own.err
