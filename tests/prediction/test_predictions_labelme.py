"""Predictions as labelme files: the reader of labeled images opens them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import posetools.formats.labelme.format as labelme
from posetools.errors import OutputError, RequestError
from posetools.formats.options import ReadOptions
from posetools.imaging.frames import read_image
from posetools.prediction.write import LabelmeWriter, check_labelme_names
from posetools.runtime.results import PoseResult
from tests.build import make_image
from tests.prediction.test_predictions import CAR8, SIZE, make_result


def write_all(results: Iterable[tuple[str, PoseResult]], folder: Path, *, kpt_thr: float) -> list[str]:
    results = list(results)
    check_labelme_names([name for name, _ in results])
    with LabelmeWriter(folder, kpt_thr=kpt_thr) as writer:
        for name, result in results:
            writer.add(result, name)
    return writer.problems


def test_labelme_reads_back_what_was_predicted(tmp_path: Path) -> None:
    names = ["a.jpg", "sub/b.png", "clip.mp4.frames/000007.png"]
    sources = [
        make_image(tmp_path / "in/a.jpg", orientation=6, size=(240, 320)),
        make_image(tmp_path / "b.png"),
        None,
    ]
    results = [make_result(count, seed=count, path=path) for count, path in zip((2, 0, 3), sources, strict=True)]
    assert write_all(zip(names, results, strict=True), tmp_path / "out", kpt_thr=0.4) == []
    read = labelme.FORMAT.read([tmp_path / "out"], CAR8, ReadOptions())
    assert {finding.code for finding in read.findings} == {"W325"} and read.files == 3
    assert [image.file_name for image in read.dataset.images] == sorted(names)
    by_name = dict(zip(names, results, strict=True))
    for image, rows in zip(read.dataset.images, read.dataset.rows_of_images(), strict=True):
        result, part = by_name[image.file_name], slice(rows.start, rows.stop)
        assert image.size == SIZE and len(rows) == len(result)
        np.testing.assert_allclose(read.dataset.boxes[part], result.boxes, rtol=0, atol=1e-6)
        np.testing.assert_allclose(read.dataset.keypoints[part, :, :2], result.keypoints, rtol=0, atol=1e-6)
        hidden = read.dataset.visibility[part] == 1
        np.testing.assert_array_equal(hidden, result.keypoint_scores < 0.4)
    assert (tmp_path / "out/a.jpg").read_bytes() == (tmp_path / "in/a.jpg").read_bytes()
    np.testing.assert_array_equal(read_image(tmp_path / "out" / names[2]), results[2].image)


def test_shapes_say_their_scores(tmp_path: Path) -> None:
    result = make_result(1)
    write_all([("a.png", result)], tmp_path / "out", kpt_thr=0.5)
    content = json.loads((tmp_path / "out/a.json").read_text())
    rectangle, *points = content["shapes"]
    assert (rectangle["label"], rectangle["description"]) == ("car", f"score {result.scores[0]:.2f}")
    assert [shape["label"] for shape in points] == list(CAR8.names)
    for shape, score in zip(points, result.keypoint_scores[0], strict=True):
        assert shape["description"] == f"score {score:.2f}" and shape["group_id"] == 0
        assert shape["flags"] == ({"occluded": True} if score < 0.5 else {})


def test_an_object_that_labelme_cannot_hold_is_counted(tmp_path: Path) -> None:
    result = make_result(2)
    result.boxes[1, 2] = result.boxes[1, 0]
    problems = write_all([("a.png", result)], tmp_path, kpt_thr=0.3)
    assert problems == ["a.png: 1 of 2 objects skipped: their boxes have no area"]
    read = labelme.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert {finding.code for finding in read.findings} == {"W325"} and len(read.dataset) == 1


def twice(_: Path) -> list[tuple[str, PoseResult]]:
    return [("a.jpg", make_result(1)), ("a.png", make_result(1))]


def not_finite(_: Path) -> list[tuple[str, PoseResult]]:
    return [("a.jpg", make_result(1)), ("b.jpg", replace(make_result(1), boxes=np.full((1, 4), np.nan)))]


def gone(folder: Path) -> list[tuple[str, PoseResult]]:
    return [("a.jpg", make_result(1)), ("b.jpg", make_result(1, path=folder / "gone.jpg"))]


@pytest.mark.parametrize(
    ("make", "error", "problem"),
    [
        (twice, RequestError, "a.png must be the only image with the labelme file a.json, got 'a.jpg' too"),
        (not_finite, OutputError, "the prediction for b.jpg is not finite"),
        (gone, OutputError, "cannot copy"),
    ],
)
def test_a_labelme_folder_is_written_whole_or_not_at_all(
    tmp_path: Path, make: Callable[[Path], list[tuple[str, PoseResult]]], error: type[Exception], problem: str
) -> None:
    with pytest.raises(error) as caught:
        write_all(make(tmp_path), tmp_path / "out", kpt_thr=0.3)
    assert problem in str(caught.value) and list(tmp_path.iterdir()) == []


def test_labelme_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(RequestError, match="exists and is not empty"):
        write_all([("a.png", make_result(1))], tmp_path, kpt_thr=0.3)


def test_names_are_checked_before_anything_runs() -> None:
    check_labelme_names(["a.jpg", "sub/a.jpg", "b.png"])
    with pytest.raises(RequestError, match=r"sub/a\.png must be the only image with the labelme file sub/a\.json"):
        check_labelme_names(["sub/a.jpg", "sub/a.png"])
