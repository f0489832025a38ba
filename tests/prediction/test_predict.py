"""``posetools predict`` from images and videos to files, with models trained by posetools and models of the zoo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from posetools import PipelineOptions, PosePipeline
from posetools.core.folder import IMAGES, ann_file
from posetools.errors import RequestError
from posetools.imaging.frames import open_sources, read_image
from posetools.imaging.video import new_video, probe
from posetools.pairs.find import named_pair, zoo_config
from tests.build import make_image
from tests.cli.run import run
from tests.tiny_runs import Run, Tiny

pytestmark = pytest.mark.train

DETECTOR = "faster-rcnn_r50_fpn_1x_coco"
PEOPLE = ("td-hm_hrnet-w32_8xb64-210e_coco-256x192", "rtmpose-s_8xb256-420e_coco-256x192")


def models(det_run: Run, pose_run: Run) -> list[str | Path]:
    pair: list[str | Path] = [
        "--det",
        det_run.config,
        det_run.checkpoint,
        "--pose",
        pose_run.config,
        pose_run.checkpoint,
    ]
    # Models of two epochs have low scores, so every threshold is minimal.
    return [*pair, "--device", "cpu", "--bbox-thr", "0.001", "--nms-thr", "0.05", "--kpt-thr", "0"]


def make_video(path: Path, frames: int = 5, fps: float = 7.0) -> Path:
    rng = np.random.default_rng(3)
    with new_video(path, fps, (96, 80)) as video:
        for _ in range(frames):
            video.write(rng.integers(0, 255, (80, 96, 3), dtype=np.uint8))
    return path


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_images_are_drawn_and_predictions_written(tiny: Tiny, det_run: Run, pose_run: Run, tmp_path: Path) -> None:
    out, names = tmp_path / "out", [f"{i}.png" for i in range(6)]
    ids: list[str | Path] = ["--ann-file", ann_file(tiny.data, "val")]
    arguments: list[str | Path] = [
        tiny.data / IMAGES,
        *models(det_run, pose_run),
        "--output-root",
        out,
        "--save-predictions",
        *ids,
    ]
    done = run("predict", *arguments)
    assert done.status == 1, "the four training images are not in the COCO file, which is said"
    assert "4 of 6 images are not in the COCO file" in done.words
    assert sorted(path.name for path in out.iterdir()) == [*names, "predictions.json", "results_coco.json"]
    document = load(out / "predictions.json")
    assert [image["file_name"] for image in document["pictures"]] == names
    assert (document["skeleton"], document["category"]) == ("car8", "car")
    assert document["thresholds"] == {"bbox_thr": 0.001, "nms_thr": 0.05, "kpt_thr": 0.0}
    instance = document["pictures"][0]["instances"][0]
    assert list(instance["keypoints"]) == list(instance["keypoint_scores"]) == document["keypoint_names"]
    before = read_image(tiny.data / IMAGES / "0.png")
    assert (read_image(out / "0.png") != before).any()
    truth = COCO(str(ann_file(tiny.data, "val")))
    found = truth.loadRes(str(out / "results_coco.json"))
    assert set(found.getImgIds()) == set(truth.getImgIds())
    assert {len(one["keypoints"]) for one in found.anns.values()} == {24}


def test_a_video_keeps_its_length_and_rate(det_run: Run, pose_run: Run, tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=11)
    done = run("predict", video, *models(det_run, pose_run), "--output-root", tmp_path / "out", "--save-predictions")
    assert done.status == 0, done.err
    facts = probe(tmp_path / "out" / "clip.mp4")
    assert (facts.total, facts.fps) == (11, 7.0)
    images = load(tmp_path / "out" / "predictions.json")["pictures"]
    assert [(image["file_name"], image["frame"]) for image in images] == [("clip.mp4", i) for i in range(11)]
    # The same as one by one, in order.
    options = PipelineOptions(device="cpu", bbox_thr=0.001, nms_thr=0.05)
    pipeline = PosePipeline.from_configs(
        (det_run.config, det_run.checkpoint), (pose_run.config, pose_run.checkpoint), options
    )
    (source,) = open_sources([str(video)])
    for frame, image in zip(source.frames(), images, strict=True):
        assert frame.image is not None
        scores = [instance["score"] for instance in image["instances"]]
        np.testing.assert_allclose(scores, pipeline(frame.image).scores, atol=1e-4)


def test_an_unreadable_image_is_reported_and_the_rest_goes_on(det_run: Run, pose_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for name in ("a.png", "c.png"):
        make_image(folder / name, (96, 80))
    (folder / "b.png").write_bytes(b"no image")
    out = tmp_path / "out"
    done = run("predict", folder, *models(det_run, pose_run), "--output-root", out, "--save-predictions")
    assert done.status == 1
    assert "b.png: image cannot be read" in done.words
    assert sorted(path.name for path in out.glob("*.png")) == ["a.png", "c.png"]
    assert ["problem" in image for image in load(out / "predictions.json")["pictures"]] == [False, True, False]


def test_labelme_files_are_read_back_as_labels(det_run: Run, pose_run: Run, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        make_image(tmp_path / "in" / "sub" / name, (96, 80))
    out = tmp_path / "out"
    done = run("predict", tmp_path / "in", *models(det_run, pose_run), "--output-root", out, "--format", "labelme")
    assert done.status == 0, done.err
    assert {path.name for path in out.rglob("*") if path.is_file()} == {"a.png", "a.json", "b.png", "b.json"}
    shapes = load(out / "sub" / "a.json")["shapes"]
    assert shapes[0]["label"] == "car" and shapes[0]["description"].startswith("score 0.")
    converted = run("convert", out, "--out", tmp_path / "data", "--val", "0.5")
    assert converted.status == 0, converted.err
    drawn = [load(path)["shapes"] for path in sorted(out.rglob("*.json"))]
    boxes = sum(shape["shape_type"] == "rectangle" for of_image in drawn for shape in of_image)
    labels = [load(ann_file(tmp_path / "data", split))["annotations"] for split in ("train", "val")]
    assert sum(map(len, labels)) == boxes > 0
    again = run("predict", tmp_path / "in", *models(det_run, pose_run), "--output-root", out, "--format", "labelme")
    assert again.status == 2 and "exists and is not empty" in again.err


def test_without_output_root_a_table_is_shown_and_nothing_written(
    det_run: Run, pose_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_image(tmp_path / "a.png", (96, 80))
    monkeypatch.chdir(tmp_path)
    done = run("predict", "a.png", *models(det_run, pose_run))
    assert done.status == 0
    assert "a.png" in done.out and "objects in 1 image" in done.words
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def people(name: str, tmp_path: Path) -> tuple[tuple[str, Path], tuple[str, Path]]:
    """Return a zoo detector and pose estimator with random weights; the detector detects people everywhere."""
    import torch
    from mmengine import Config
    from mmengine.registry import DefaultScope
    from mmpose.registry import MODELS

    paths = []
    for stage, config in (("det", DETECTOR), ("pose", name)):
        torch.manual_seed(0)
        loaded = Config.fromfile(zoo_config("det" if stage == "det" else "pose", config))
        loaded.model.backbone.init_cfg = None
        with DefaultScope.overwrite_default_scope("mmdet" if stage == "det" else "mmpose"):
            weights = MODELS.build(loaded.model).state_dict()
        if stage == "det":
            weights["roi_head.bbox_head.fc_cls.bias"][0] = 9.0
        paths.append(tmp_path / f"{stage}.pth")
        torch.save({"state_dict": weights}, paths[-1])
    return (DETECTOR, paths[0]), (name, paths[1])


@pytest.mark.parametrize("name", PEOPLE)
def test_models_of_the_zoo_find_people_with_17_points_and_heatmaps(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # mmpose's data sets name a file relative to a clone, which is another one in this folder.
    trap = tmp_path / "configs" / "_base_" / "datasets" / "coco.py"
    trap.parent.mkdir(parents=True)
    trap.write_text("dataset_info = dict(dataset_name='trap', keypoint_info={}, skeleton_info={})")
    monkeypatch.chdir(tmp_path)
    det, pose = people(name, tmp_path)
    make_image(tmp_path / "street.jpg", (160, 120))
    arguments: list[str | Path] = [
        "--det",
        *det,
        "--pose",
        *pose,
        "--device",
        "cpu",
        "--draw-heatmap",
        "--nms-thr",
        "0.01",
    ]
    drawn = ["--kpt-thr", "0", "--output-root", "out", "--save-predictions", "--show-kpt-idx"]
    # Faster R-CNN scales images to 1333x800, so one frame is enough.
    video = [make_video(tmp_path / "clip.mp4", frames=1)] if name == PEOPLE[0] else []
    done = run("predict", "street.jpg", *video, *arguments, *drawn)
    assert done.status == 0, done.err
    document = load(tmp_path / "out" / "predictions.json")
    assert (document["skeleton"], document["category"]) == ("coco17", "person")
    instances = [len(image["instances"]) for image in document["pictures"]]
    assert len(instances) == 1 + len(video) and min(instances) > 0
    assert all(len(one["keypoints"]) == 17 for image in document["pictures"] for one in image["instances"])
    with Image.open(tmp_path / "out" / "street.jpg") as image:
        assert image.size == (160, 120)
    assert not video or probe(tmp_path / "out" / "clip.mp4").total == 1


def test_a_name_that_is_not_in_the_zoo_gets_the_nearest_names() -> None:
    done = run("predict", "x.jpg", "--det", "faster-rcnn_r50_fpn_1x_cocoo", "a.pth", "--pose", PEOPLE[0], "b.pth")
    assert done.status == 2
    assert "x.jpg" in done.err, "what is wrong with the input is said before models are looked for"
    with pytest.raises(
        RequestError, match=r"--det faster-rcnn_r50_fpn_1x_cocoo: is neither a file(.|\n)* similar names: .*1x_coco"
    ):
        named_pair(("faster-rcnn_r50_fpn_1x_cocoo", "a.pth"), (PEOPLE[0], "b.pth"), "predict")


def test_weights_behind_a_url_out_of_reach_end_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    make_image(tmp_path / "a.png", (96, 80))
    url = "http://127.0.0.1:9/faster_rcnn.pth"
    pair = ["--det", DETECTOR, url, "--pose", PEOPLE[0], url]
    done = run("predict", tmp_path / "a.png", *pair, "--device", "cpu")
    assert done.status == 2
    assert f"{url}: cannot be downloaded" in done.err and "Traceback" not in done.err
    assert not list(tmp_path.rglob("*.pth"))
