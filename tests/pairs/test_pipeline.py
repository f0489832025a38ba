"""PosePipeline returns the same as the stock demo's functions, as plain arrays, from any folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from posetools import PipelineOptions, PosePipeline
from posetools.core.skeleton import load_skeleton, read_skeleton
from posetools.errors import InputError, RequestError
from posetools.exporting.publish import publish
from posetools.imaging.header import Pixels
from posetools.mm.inference import Detector, PoseEstimator
from posetools.runtime.results import PoseResult
from tests.build import make_image
from tests.tiny_runs import Run

pytestmark = pytest.mark.train

# Models of two epochs have low scores.
LOW = PipelineOptions(device="cpu", bbox_thr=0.001)


def image(seed: int = 5) -> Pixels:
    return np.random.default_rng(seed).integers(0, 255, (80, 96, 3), dtype=np.uint8)


def files(run: Run) -> tuple[Path, Path]:
    return run.config, run.checkpoint


@pytest.fixture(scope="module")
def pipeline(det_run: Run, pose_run: Run) -> PosePipeline:
    return PosePipeline.from_configs(files(det_run), files(pose_run), LOW)


def demo(det_run: Run, pose_run: Run, pixels: Pixels) -> Any:
    """Process one image as MMPose's topdown_demo_with_mmdet.py does."""
    from mmdet.apis import inference_detector, init_detector
    from mmpose.apis import inference_topdown, init_model
    from mmpose.evaluation.functional import nms
    from mmpose.utils import adapt_mmdet_pipeline

    detector = init_detector(*map(str, files(det_run)), device="cpu")
    detector.cfg = adapt_mmdet_pipeline(detector.cfg)
    found = inference_detector(detector, pixels).pred_instances.cpu().numpy()
    boxes = np.concatenate((found.bboxes, found.scores[:, None]), axis=1)
    boxes = boxes[np.logical_and(found.labels == 0, found.scores > 0.001)]
    boxes = boxes[nms(boxes, 0.3)]
    estimator = init_model(*map(str, files(pose_run)), device="cpu")
    return boxes, inference_topdown(estimator, pixels, boxes[:, :4])


def test_it_finds_what_the_stock_demo_finds(det_run: Run, pose_run: Run) -> None:
    # Hundreds of boxes with equal scores: only identical numbers leave NMS in the same order.
    detector = Detector(*files(det_run))
    estimator = PoseEstimator(*files(pose_run), fast=True)
    result = PosePipeline(detector, estimator, load_skeleton("car8"), bbox_thr=0.001)(image())
    boxes, samples = demo(det_run, pose_run, image())
    assert len(result) == len(boxes) > 1
    np.testing.assert_allclose(result.boxes, boxes[:, :4], atol=0.01)
    np.testing.assert_allclose(result.scores, boxes[:, 4], atol=1e-5)
    np.testing.assert_allclose(
        result.keypoints, np.concatenate([sample.pred_instances.keypoints for sample in samples]), atol=0.01
    )
    scores = np.concatenate([sample.pred_instances.keypoint_scores for sample in samples])
    np.testing.assert_allclose(result.keypoint_scores, scores, atol=1e-4)


def test_many_images_of_many_sizes_give_what_one_by_one_gives(pipeline: PosePipeline, tmp_path: Path) -> None:
    file = make_image(tmp_path / "ünï code.png", (70, 50))
    given: list[str | Path | Pixels] = [image(1), file, image(2)[:50], *[image(3)] * 7]
    together = pipeline(given)
    assert [result.path for result in together[:3]] == [None, file, None]
    assert [result.size for result in together[:3]] == [(96, 80), (70, 50), (96, 50)]
    for one, result in zip(given, together, strict=True):
        alone = pipeline(one)
        np.testing.assert_allclose(alone.boxes, result.boxes, atol=0.01)
        np.testing.assert_allclose(alone.keypoints, result.keypoints, atol=0.01)
    assert pipeline([]) == []


def test_nothing_found_is_no_object_and_an_undrawn_image(det_run: Run, pose_run: Run, tmp_path: Path) -> None:
    sure = PipelineOptions(device="cpu", bbox_thr=1.0, heatmaps=True)
    pipeline = PosePipeline.from_configs(files(det_run), files(pose_run), sure)
    result = pipeline(image())
    assert len(result) == 0
    assert (result.boxes.shape, result.keypoints.shape, result.keypoint_scores.shape) == ((0, 4), (0, 8, 2), (0, 8))
    result.draw(tmp_path / "out.png", heatmaps=True)
    with Image.open(tmp_path / "out.png") as drawn:
        np.testing.assert_array_equal(np.asarray(drawn)[..., ::-1], image())
    assert len(result.raw.get("pred_instances", [])) == 0


def test_heatmaps_peak_at_the_keypoints(det_run: Run, pose_run: Run) -> None:
    options = PipelineOptions(device="cpu", bbox_thr=0.001, heatmaps=True)
    result = PosePipeline.from_configs(files(det_run), files(pose_run), options)(image())
    assert result.heatmaps is not None and result.heatmaps.shape[:2] == (len(result), 8)
    h, w = result.heatmaps.shape[2:]
    assert 16 <= max(h, w) <= 96
    peaks = result.heatmaps.reshape(len(result), 8, -1).argmax(axis=2)
    cells = np.stack([peaks % w, peaks // w], axis=2) + 0.5
    centers, sizes = result.crops[:, None, :2], result.crops[:, None, 2:]
    places = centers - sizes / 2 + cells * sizes / [w, h]
    # A cell covers a few bins, and the keypoint is in the middle of one.
    assert (np.abs(places - result.keypoints) <= sizes / [w, h]).all()


def test_the_raw_sample_goes_into_mmposes_own_visualizer(pipeline: PosePipeline) -> None:
    from mmpose.structures import PoseDataSample
    from mmpose.visualization import PoseLocalVisualizer

    result = pipeline(image())
    assert isinstance(result.raw, PoseDataSample)
    np.testing.assert_allclose(result.raw.pred_instances.keypoints, result.keypoints, atol=1e-3)
    visualizer = PoseLocalVisualizer()
    visualizer.set_dataset_meta(dict(pipeline.estimator.meta))  # type: ignore[attr-defined]
    before = np.ascontiguousarray(image()[..., ::-1])
    visualizer.add_datasample("x", before.copy(), result.raw, draw_gt=False, kpt_thr=0.0)
    assert (visualizer.get_image() != before).any()


def test_a_run_folder_is_enough(det_run: Run, pose_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work_dirs").mkdir()
    (tmp_path / "work_dirs" / "a-det").symlink_to(det_run.work_dir)
    (tmp_path / "work_dirs" / "pose").symlink_to(pose_run.work_dir)
    (tmp_path / "work_dirs" / "notes").mkdir()
    monkeypatch.chdir(tmp_path)
    pipeline = PosePipeline.from_run("work_dirs", LOW)
    assert pipeline.skeleton.name == "car8"
    # The best checkpoints count, not the last.
    assert det_run.result.best is not None and pose_run.result.best is not None
    det, pose = (det_run.config, det_run.result.best), (pose_run.config, pose_run.result.best)
    best = PosePipeline.from_configs(det, pose, LOW)
    np.testing.assert_array_equal(pipeline(image()).keypoints.shape, best(image()).keypoints.shape)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "runs: must have one folder with a det run, got none"),
        (["det"], "runs: must have one folder with a pose run, got none"),
        (["det", "det", "pose"], "runs: must have one folder with a det run, got .*0, .*1"),
    ],
)
def test_a_folder_without_a_pair_is_refused(
    det_run: Run, pose_run: Run, tmp_path: Path, runs: list[str], message: str
) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for i, stage in enumerate(runs):
        (folder / str(i)).symlink_to((det_run if stage == "det" else pose_run).work_dir)
    with pytest.raises(RequestError, match=message):
        PosePipeline.from_run(folder)
    with pytest.raises(RequestError, match="nowhere: must be a folder with the runs"):
        PosePipeline.from_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"an image must be .* got \(4, 4\) of uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"got \(4, 4, 4\)"),
        (np.zeros((4, 4, 3), np.float64), "of float64"),
        (np.zeros((0, 4, 3), np.uint8), r"got \(0, 4, 3\)"),
    ],
)
def test_what_is_no_image_is_refused(pipeline: PosePipeline, array: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        pipeline(array)


def test_a_missing_file_is_named(pipeline: PosePipeline, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.jpg"):
        pipeline(tmp_path / "nowhere.jpg")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PipelineOptions(device="cpu", det_cat_id=1), "--det-cat-id must be 0 to 0, the detector's classes, got 1"),
        (PipelineOptions(device="cpu", skeleton="coco17"), "predicts 8 keypoints, but skeleton coco17 has 17"),
        (PipelineOptions(device="cpu", amp=True), "--amp needs a GPU"),
        (PipelineOptions(device="tpu"), "--device must be"),
    ],
)
def test_options_that_cannot_be_had_are_refused(
    det_run: Run, pose_run: Run, options: PipelineOptions, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        PosePipeline.from_configs(files(det_run), files(pose_run), options)


def test_the_two_models_may_not_be_exchanged(det_run: Run, pose_run: Run) -> None:
    with pytest.raises(InputError, match="default_scope: must be 'mmdet' for --det, got 'mmpose'"):
        PosePipeline.from_configs(files(pose_run), files(det_run))


def test_published_files_bring_their_skeleton(det_run: Run, pose_run: Run, tmp_path: Path) -> None:
    paths = []
    for name, run in (("det", det_run), ("pose", pose_run)):
        paths.append(publish(run.checkpoint, tmp_path / f"{name}.pth").path)
    pipeline = PosePipeline.from_configs((det_run.config, paths[0]), (pose_run.config, paths[1]), LOW)
    assert pipeline.skeleton == read_skeleton(pose_run.work_dir / "skeleton.yaml")
    same = PosePipeline.from_configs(files(det_run), files(pose_run), LOW)
    np.testing.assert_array_equal(pipeline(image()).keypoints, same(image()).keypoints)


def test_results_are_drawn(pipeline: PosePipeline, tmp_path: Path) -> None:
    result: PoseResult = pipeline(image())
    drawn = result.draw(tmp_path / "new" / "out.jpg", kpt_thr=0.0)
    with Image.open(tmp_path / "new" / "out.jpg") as written:
        assert written.size == drawn.size == (96, 80)
    assert (np.asarray(drawn)[..., ::-1] != image()).any()
