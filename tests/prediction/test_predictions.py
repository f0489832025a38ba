"""Prediction files: pycocotools and our own readers open what is written."""

from __future__ import annotations

import contextlib
import io
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import posetools
from posetools.core.categories import Categories
from posetools.core.folder import ann_file
from posetools.core.geometry import xywh_from_xyxy
from posetools.core.skeleton import load_skeleton
from posetools.errors import InputError, OutputError, RequestError
from posetools.evaluation.metrics import object_scores
from posetools.formats.coco.write import write as write_coco
from posetools.prediction.read import image_ids_of, read_predictions
from posetools.prediction.write import CocoWriter, DocumentWriter
from posetools.runtime.results import PoseResult
from tests.build import make_dataset

CAR8 = load_skeleton("car8")
SIZE = (320, 240)
Json = dict[str, Any]


def make_result(n: int = 2, *, seed: int = 0, path: Path | None = None, size: tuple[int, int] = SIZE) -> PoseResult:
    """Return a result with n random objects, all different."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 100, (n, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 140, (n, 2))], axis=1)
    return PoseResult(
        boxes=boxes,
        scores=np.sort(rng.uniform(0.3, 1, n))[::-1].copy(),
        keypoints=corners[:, None] + rng.uniform(-10, 150, (n, 8, 2)),
        keypoint_scores=rng.uniform(0, 1, (n, 8)),
        heatmaps=None,
        crops=np.zeros((n, 4)),
        categories=Categories.of(CAR8),
        category_ids=np.ones(n, dtype=np.int64),
        image=np.full((size[1], size[0], 3), (200, 100, 0), dtype=np.uint8),
        path=path,
    )


def write_document(path: Path) -> dict[str, PoseResult]:
    results = {"a.jpg": make_result(2), "sub/ü.jpg": make_result(0), "c.png": make_result(3, seed=5)}
    with DocumentWriter(path, CAR8, {"bbox_thr": 0.3, "kpt_thr": 0.2}) as writer:
        for name, result in results.items():
            writer.add(result, name)
        writer.skip("broken.jpg", "broken.jpg: image cannot be read")
        for frame in range(2):
            writer.add(make_result(1, seed=frame), "clip.mp4", frame=frame)
    assert writer.images == 6
    return results


def test_the_readable_document(tmp_path: Path) -> None:
    result = write_document(tmp_path / "new/p.json")["a.jpg"]
    text = (tmp_path / "new/p.json").read_text(encoding="utf-8")
    content = json.loads(text)
    assert list(content) == ["posetools", "skeleton", "category", "keypoint_names", "thresholds", "pictures"]
    assert (content["posetools"], content["skeleton"]) == (posetools.__version__, "car8")
    assert (content["category"], content["keypoint_names"]) == ("car", list(CAR8.names))
    assert content["thresholds"] == {"bbox_thr": 0.3, "kpt_thr": 0.2}
    first = content["pictures"][0]
    assert (first["file_name"], first["width"], first["height"]) == ("a.jpg", 320, 240)
    instance = first["instances"][1]
    assert instance["box"] == result.boxes[1].round(2).tolist() and instance["score"] == round(result.scores[1], 4)
    assert list(instance["keypoints"]) == list(instance["keypoint_scores"]) == list(CAR8.names)
    at = CAR8.index["left-front-tire"]
    assert instance["keypoints"]["left-front-tire"] == result.keypoints[1, at].round(2).tolist()
    assert len(text.splitlines()) == 15 and "sub/ü.jpg" in text
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["p.json"]


def test_the_document_is_read_back(tmp_path: Path) -> None:
    results = write_document(tmp_path / "p.json")
    found = read_predictions(tmp_path / "p.json", CAR8)
    assert list(found) == [*results, "broken.jpg", "clip.mp4#0", "clip.mp4#1"]
    for name, result in results.items():
        read = found[name]
        assert (read.file_name, read.size, read.frame, len(read)) == (name, SIZE, None, len(result))
        assert read.boxes.shape == (len(result), 4) and read.keypoints.shape == (len(result), 8, 2)
        np.testing.assert_allclose(read.boxes, result.boxes, rtol=0, atol=0.0051)
        np.testing.assert_allclose(read.keypoints, result.keypoints, rtol=0, atol=0.0051)
        np.testing.assert_allclose(read.scores, result.scores, rtol=0, atol=0.000051)
        np.testing.assert_allclose(read.keypoint_scores, result.keypoint_scores, rtol=0, atol=0.000051)
    assert found["broken.jpg"].problem == "broken.jpg: image cannot be read" and found["broken.jpg"].size is None
    assert (found["clip.mp4#1"].file_name, found["clip.mp4#1"].frame) == ("clip.mp4", 1)


def test_the_same_predictions_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        write_document(tmp_path / name)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


@pytest.mark.parametrize("kind", ["document", "coco"])
def test_nothing_predicted(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "p.json"
    with DocumentWriter(path, CAR8, {}) if kind == "document" else CocoWriter(path, CAR8):
        pass
    assert read_predictions(path, CAR8, {}) == {}


@pytest.mark.parametrize("kind", ["document", "coco"])
def test_a_run_that_fails_leaves_what_was_there(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "p.json"
    path.write_text("old")
    bad = replace(make_result(1), keypoints=np.full((1, 8, 2), np.nan))
    match = r"p\.json: the prediction for a\.jpg is not finite"
    with pytest.raises(OutputError, match=match):  # noqa: SIM117
        with DocumentWriter(path, CAR8, {}) if kind == "document" else CocoWriter(path, CAR8) as writer:
            writer.add(make_result(1), "good.jpg")
            writer.add(bad, "a.jpg")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match=r"file/p\.json: cannot be written"),
        DocumentWriter(tmp_path / "file/p.json", CAR8, {}),
    ):
        pass
    (tmp_path / "p.json").mkdir()
    with pytest.raises(OutputError, match=r"p\.json: cannot be written"), CocoWriter(tmp_path / "p.json", CAR8):
        pass
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "p.json"]


def test_a_long_video_needs_no_memory(tmp_path: Path) -> None:
    result = make_result(4)
    with DocumentWriter(tmp_path / "p.json", CAR8, {}) as writer, CocoWriter(tmp_path / "c.json", CAR8) as other:
        tracemalloc.start()
        for frame in range(300):
            writer.add(result, "clip.mp4", frame=frame)
            other.add(result, "clip.mp4")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 200_000 < (tmp_path / "p.json").stat().st_size


def evaluate(truth: COCO, results: str, kind: str) -> float:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(results), kind)
        evaluation.params.kpt_oks_sigmas = np.array(CAR8.sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def test_pycocotools_opens_and_scores_the_results(tmp_path: Path) -> None:
    images = [f"{number}.jpg" for number in range(5)]
    dataset = make_dataset(tmp_path / "in", images=images, seed=3)
    write_coco({"val": dataset}, tmp_path / "set", "hardlink")
    labeled = ann_file(tmp_path / "set", "val")
    ids = image_ids_of(labeled)
    assert ids == {name: number for number, name in enumerate(images, start=1)}
    with CocoWriter(tmp_path / "r.json", CAR8, ids) as writer:
        for image, rows in zip(dataset.images, dataset.rows_of_images(), strict=True):
            part = slice(rows.start, rows.stop)
            points = dataset.keypoints[part, :, :2]
            n = len(rows)
            perfect = replace(
                make_result(n),
                boxes=dataset.boxes[part],
                scores=np.linspace(0.9, 0.5, n),
                keypoints=points,
                keypoint_scores=np.full((n, 8), 0.8),
            )
            writer.add(perfect, image.file_name)
    assert writer.problems == []
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(labeled))
    assert evaluate(truth, str(tmp_path / "r.json"), "bbox") == pytest.approx(1.0)
    assert evaluate(truth, str(tmp_path / "r.json"), "keypoints") == pytest.approx(1.0)


def test_coco_results(tmp_path: Path) -> None:
    results = [make_result(2), make_result(1, seed=1)]
    with CocoWriter(tmp_path / "r.json", CAR8) as writer:
        writer.add(results[0], "a.jpg")
        writer.skip()
        writer.add(results[1], "c.jpg")
    entries = json.loads((tmp_path / "r.json").read_text())
    assert [entry["image_id"] for entry in entries] == [1, 1, 3]
    assert entries[1]["bbox"] == xywh_from_xyxy(results[0].boxes)[1].round(3).tolist()
    expected = object_scores(results[0].scores, results[0].keypoint_scores)
    assert [entry["score"] for entry in entries[:2]] == expected.round(6).tolist()
    assert np.reshape(entries[0]["keypoints"], (8, 3))[:, 2].tolist() == results[0].keypoint_scores[0].round(3).tolist()
    found = read_predictions(tmp_path / "r.json", CAR8, {"a.jpg": 1, "b.jpg": 2, "c.jpg": 3})
    assert list(found) == ["a.jpg", "c.jpg"]
    np.testing.assert_allclose(found["a.jpg"].boxes, results[0].boxes, rtol=0, atol=0.0011)
    np.testing.assert_allclose(found["a.jpg"].keypoints, results[0].keypoints, rtol=0, atol=0.00051)
    np.testing.assert_allclose(found["c.jpg"].keypoint_scores, results[1].keypoint_scores, rtol=0, atol=0.00051)


def test_images_without_an_image_id_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    with CocoWriter(path, CAR8, {"a.jpg": 7}) as writer:
        writer.add(make_result(1), "a.jpg")
        for name in "bcde":
            writer.add(make_result(2), f"{name}.jpg")
    assert (writer.left_out, writer.unknown) == (8, ["b.jpg", "c.jpg", "d.jpg", "e.jpg"])
    assert writer.problems == [
        f"{path}: 4 of 5 images are not in the COCO file with the image ids, so this file lacks their 8 objects: "
        "b.jpg, c.jpg, d.jpg, ..."
    ]
    assert [entry["image_id"] for entry in json.loads(path.read_text())] == [7]


def results_of(*changes: Json) -> list[Json]:
    valid = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "keypoints": [0.5] * 24, "score": 0.5}
    return [valid, *({**valid, **change} for change in changes)]


def test_results_without_boxes_get_the_box_that_pycocotools_gives_them(tmp_path: Path) -> None:
    entries = results_of()
    del entries[0]["bbox"]
    entries[0]["keypoints"] = [number for point in range(8) for number in (10 + point, 50 - point, 0.9)]
    (tmp_path / "r.json").write_text(json.dumps(entries))
    found = read_predictions(tmp_path / "r.json", CAR8, {"a.jpg": 1})
    assert found["a.jpg"].boxes.tolist() == [[10, 43, 17, 50]]


LIST = "pictures"


def document(**changes: Any) -> Json:
    instance = {
        "box": [1, 2, 30, 40],
        "score": 0.5,
        "keypoints": {name: [1, 2] for name in CAR8.names},
        "keypoint_scores": dict.fromkeys(CAR8.names, 0.5),
    }
    instance |= changes.pop("instance", {})
    image = {"file_name": "a.jpg", "width": 320, "height": 240, "instances": [instance]} | changes.pop("image", {})
    return {"keypoint_names": list(CAR8.names), "pictures": [image]} | changes


def one_less() -> Json:
    return {name: [1, 2] for name in CAR8.names[1:]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (document(keypoint_names=["nose"]), "keypoint_names must be those of skeleton car8"),
        (
            document(instance={"keypoints": one_less()}),
            f"{LIST}[0].instances[0]: keypoints must be one entry for each",
        ),
        (
            document(instance={"keypoint_scores": {"x": 1}}),
            "keypoint_scores must be one entry for each of the 8 keypoi",
        ),
        (document(instance={"score": float("nan")}), f"{LIST}[0].instances[0].score: input should be a finite number"),
        (document(instance={"score": "0.5"}), f"{LIST}[0].instances[0].score: input should be a valid number"),
        (document(instance={"box": [1, 2, 3]}), f"{LIST}[0].instances[0].box: list should have at least 4 items"),
        (document(instance={"box": [9, 2, 3, 4]}), "instances[0]: box must be x1, y1, x2, y2 with x1 <= x2 and y1 <="),
        (
            document(instance={"box": [1, 2, 1e308, 4]}),
            "box[2]: input should be less than or equal to 1000000, got 1e+308",
        ),
        (
            document(instance={"keypoints": {"x": [-1e7, 2]}}),
            "keypoints.x[0]: input should be greater than or equal to",
        ),
        (document(image={"instances": None}), f"{LIST}[0].instances: input should be a valid list, got None"),
        (document(image={"file_name": ""}), f"{LIST}[0].file_name: string should have at least 1 character"),
        (document(**{LIST: [{"file_name": "a"}]}), f"{LIST}[0].instances: field required"),
        (
            document(**{LIST: document()[LIST] * 2}),
            f"{LIST}[1]: file_name (and frame) must be unique, got 'a.jpg'",
        ),
        ({"images": []}, 'the file must be an object with "pictures" from `posetools predict`'),
        ("text", 'the file must be an object with "pictures" from `posetools predict`'),
        (results_of({"image_id": 5}), "[1]: image_id must be an image id of the COCO file, got 5"),
        (results_of({"category_id": 2}), "[1]: category_id must be 1, that of skeleton car8, got 2"),
        (results_of({"keypoints": [1.0] * 51}), "[1]: keypoints must be 24 numbers, x, y and score of each keypoint"),
        (results_of({"keypoints": [float("inf")] * 24}), "[1].keypoints[0]: input should be a finite number"),
        (
            results_of({"keypoints": [1e308] * 24}),
            "[1].keypoints[0]: input should be less than or equal to 1000000, got",
        ),
        (
            results_of({"bbox": [1e308, 2, 3, 4]}),
            "[1].bbox[0]: input should be less than or equal to 1000000, got 1e+308",
        ),
        (results_of({"bbox": [1, 2, -3, 4]}), "[1]: bbox must be x, y, width, height of at least 0, got [1.0, 2.0, -3"),
        (results_of({"score": None}), "[1].score: input should be a valid number, got None"),
    ],
)
def test_files_that_break_a_rule(tmp_path: Path, content: object, problem: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        read_predictions(path, CAR8, {"a.jpg": 1})
    assert str(caught.value).startswith(f"{path}: ") and problem in str(caught.value)


def test_the_valid_ones_are_valid(tmp_path: Path) -> None:
    for content in (document(), results_of()):
        (tmp_path / "p.json").write_text(json.dumps(content))
        assert list(read_predictions(tmp_path / "p.json", CAR8, {"a.jpg": 1})) == ["a.jpg"]


def test_coco_results_need_image_ids(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(results_of()))
    with pytest.raises(RequestError, match="the COCO file with these ids is needed too"):
        read_predictions(tmp_path / "r.json", CAR8)


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        ([{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "a"}], "images[1]: file_name must be unique, got 'a'"),
        ([{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], "images[1]: id must be unique, got 1"),
        ([{"id": "1", "file_name": "a"}], "images[0].id: input should be a valid integer, got '1'"),
        (None, "images: input should be a valid list"),
    ],
)
def test_a_coco_file_without_clear_ids(tmp_path: Path, images: object, problem: str) -> None:
    (tmp_path / "val_coco.json").write_text(json.dumps({"images": images}))
    with pytest.raises(InputError) as caught:
        image_ids_of(tmp_path / "val_coco.json")
    assert problem in str(caught.value)
