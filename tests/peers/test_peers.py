"""posetools' output, opened by other tools' own readers.

They are not dependencies: a test is skipped if its tool is not installed. ``make test-peers`` has an environment with
all of them. labelme's window is opened if POSETOOLS_LABELME names the program, on the display in DISPLAY
(``xvfb-run`` provides one).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset
from posetools.core.geometry import xyxy_from_yolo
from posetools.core.skeleton import Skeleton, load_skeleton
from posetools.formats import FORMATS
from posetools.formats.coco import format as coco
from posetools.formats.deeplabcut import format as deeplabcut
from posetools.formats.labelme import format as labelme
from posetools.formats.options import ReadOptions
from posetools.runtime.results import PoseResult
from tests.build import make_dataset

# Third-party code warns about changes in its own dependencies.
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
CAR8 = load_skeleton("car8")
# supervision keeps float32, Datumaro two decimals.
FLOAT32 = 1e-4
TWO_DECIMALS = 0.006


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_dataset(tmp_path / "in", images=["a.jpg", "b.jpg"], per_image=2, seed=5)


def written(folder: Path, name: str, dataset: Dataset) -> Path:
    write = FORMATS[name].write
    assert write
    folder.mkdir()
    write({"train": dataset}, folder, "copy")
    return folder


def of_image(dataset: Dataset, name: str) -> slice:
    """Return the rows of an image, by its name without suffix."""
    index = [Path(image.file_name).stem for image in dataset.images].index(name)
    rows = dataset.rows_of_images()[index]
    return slice(rows.start, rows.stop)


def as_datumaro_wants(source: Path, folder: Path) -> Path:
    """Copy our COCO folder into COCO's own layout, which Datumaro expects."""
    (folder / "annotations").mkdir(parents=True)
    shutil.copyfile(source / "train_coco.json", folder / "annotations/person_keypoints_train.json")
    shutil.copytree(source / "images", folder / "images/train")
    return folder


def test_datumaro_reads_our_coco(tmp_path: Path, dataset: Dataset) -> None:
    dm = pytest.importorskip("datumaro")
    folder = as_datumaro_wants(written(tmp_path / "coco", "coco", dataset), tmp_path / "dm")
    read = dm.Dataset.import_from(str(folder), "coco_person_keypoints")
    assert len(read) == 2
    for item in read:
        rows = of_image(dataset, item.id)
        points = sorted((one for one in item.annotations if hasattr(one, "visibility")), key=lambda one: one.id)
        boxes = sorted((one for one in item.annotations if type(one).__name__ == "Bbox"), key=lambda one: one.id)
        got = np.array([np.reshape(one.points, (8, 2)) for one in points])
        np.testing.assert_allclose(got, dataset.keypoints[rows, :, :2], atol=TWO_DECIMALS)
        assert [[int(v.value) for v in one.visibility] for one in points] == dataset.visibility[rows].tolist()
        np.testing.assert_allclose([one.points for one in boxes], dataset.boxes[rows], atol=TWO_DECIMALS)
        assert item.media.size == (240, 320)


def test_what_datumaro_writes_is_read(tmp_path: Path, dataset: Dataset) -> None:
    dm = pytest.importorskip("datumaro")
    folder = as_datumaro_wants(written(tmp_path / "coco", "coco", dataset), tmp_path / "dm")
    read = dm.Dataset.import_from(str(folder), "coco_person_keypoints")
    read.export(str(tmp_path / "out"), "coco_person_keypoints", save_media=True)
    result = coco.FORMAT.read([tmp_path / "out"], CAR8, ReadOptions())
    assert [finding for finding in result.findings if finding.code.startswith("E")] == []
    assert [Path(image.file_name).name for image in result.dataset.images] == ["a.jpg", "b.jpg"]
    order = np.lexsort((result.dataset.boxes[:, 0], result.dataset.image_index))
    mine = np.lexsort((dataset.boxes[:, 0], dataset.image_index))
    np.testing.assert_allclose(result.dataset.keypoints[order], dataset.keypoints[mine], atol=1e-2)
    np.testing.assert_allclose(result.dataset.boxes[order], dataset.boxes[mine], atol=1e-2)


def test_supervision_reads_our_boxes(tmp_path: Path, dataset: Dataset) -> None:
    sv = pytest.importorskip("supervision")
    folder = written(tmp_path / "coco", "coco", dataset)
    read = sv.DetectionDataset.from_coco(str(folder / "images"), str(folder / "train_coco.json"))
    assert read.classes == ["car"] and len(read) == 2
    for path, _, detections in read:
        np.testing.assert_allclose(detections.xyxy, dataset.boxes[of_image(dataset, Path(path).stem)], atol=FLOAT32)


def test_supervision_draws_counts_and_filters_our_results() -> None:
    """A car and a cone, which have 8 and 2 keypoints, as arrays of supervision; its annotators draw them."""
    sv = pytest.importorskip("supervision")
    cone = Skeleton.model_validate(
        {
            "name": "cone",
            "category": {"name": "cone", "id": 7},
            "keypoints": ["tip", "foot"],
        }
    )
    categories = Categories((CAR8, cone))
    columns = {number: categories.columns[number] for number in categories}
    keypoints, scores = np.full((2, categories.num_keypoints, 2), np.nan), np.zeros((2, categories.num_keypoints))
    rng = np.random.default_rng(0)
    for row, number in enumerate(categories):
        keypoints[row, columns[number]] = rng.uniform(10, 90, (len(columns[number]), 2))
        scores[row, columns[number]] = 0.9
    scores[0, columns[1][3]] = 0.1
    result = PoseResult(
        boxes=np.array([[5.0, 5, 95, 95], [40, 40, 60, 90]]),
        scores=np.array([0.9, 0.6]),
        keypoints=keypoints,
        keypoint_scores=scores,
        heatmaps=None,
        crops=np.zeros((2, 4)),
        categories=categories,
        category_ids=np.array([1, 7]),
        image=np.zeros((100, 100, 3), np.uint8),
    )
    detections, points = result.to_supervision()
    assert detections.class_id.tolist() == [0, 1] and detections["class_name"].tolist() == ["car", "cone"]
    np.testing.assert_allclose(detections.area, [8100, 1000])
    assert detections[detections.confidence > 0.7]["class_name"].tolist() == ["car"]
    assert points.visible.sum(axis=1).tolist() == [7, 2]
    np.testing.assert_allclose(points.xy[1, columns[7]], keypoints[1, columns[7]], atol=FLOAT32)
    drawn = sv.VertexAnnotator(radius=2).annotate(result.image.copy(), points)
    x, y = np.rint(keypoints[1, columns[7][0]]).astype(int)
    assert drawn[y, x].any() and sv.BoxAnnotator().annotate(result.image.copy(), detections).any()
    empty = PoseResult(
        **{name: getattr(result, name)[:0] for name in ("boxes", "scores", "keypoints", "keypoint_scores", "crops")},
        heatmaps=None,
        categories=categories,
        category_ids=np.empty(0, np.int64),
        image=result.image,
    ).to_supervision()
    assert len(empty.detections) == 0 == len(empty.keypoints.xy)


def test_ultralytics_loads_our_yolo_pose(tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("YOLO_OFFLINE", "1")
    loader = pytest.importorskip("ultralytics.data.dataset")
    utilities = pytest.importorskip("ultralytics.data.utils")
    folder = tmp_path / "yolo"
    folder.mkdir()
    write = FORMATS["yolo-pose"].write
    assert write
    write({"train": dataset, "val": dataset}, folder, "copy")
    data: dict[str, Any] = utilities.check_det_dataset(str(folder / "data.yaml"), autodownload=False)
    assert data["kpt_shape"] == [8, 3] and data["flip_idx"] == list(CAR8.flip_indices)
    read = loader.YOLODataset(img_path=data["train"], data=data, task="pose", augment=False, imgsz=320)
    assert len(read) == 2
    for label in read.labels:
        rows = of_image(dataset, Path(label["im_file"]).stem)
        points = label["keypoints"] * np.array([320, 240, 1])
        np.testing.assert_allclose(points, dataset.keypoints[rows], atol=1e-3)
        np.testing.assert_allclose(
            xyxy_from_yolo(label["bboxes"].astype(float), (320, 240)), dataset.boxes[rows], atol=1e-3
        )


def test_sleap_io_reads_our_deeplabcut(tmp_path: Path, dataset: Dataset) -> None:
    sio = pytest.importorskip("sleap_io")
    folder = tmp_path / "dlc"
    deeplabcut.write({"train": dataset}, folder, "copy")
    labels = sio.load_dlc(str(folder / "labeled-data/frames/CollectedData_posetools.csv"))
    names = [node.name for node in labels.skeletons[0].nodes]
    # sleap-io sorts the names.
    order = [CAR8.index[name] for name in names]
    assert names == sorted(CAR8.names)
    for frame in labels.labeled_frames:
        rows = of_image(dataset, Path(frame.video.filename[frame.frame_idx]).stem)
        labeled = dataset.keypoints[rows, :, 2:] > 0
        expected = np.where(labeled, dataset.keypoints[rows, :, :2], np.nan)[:, order]
        np.testing.assert_allclose(np.array([one.numpy() for one in frame.instances]), expected)
    assert len(labels.labeled_frames) == 2


@pytest.mark.skipif("POSETOOLS_LABELME" not in os.environ, reason="POSETOOLS_LABELME must name a labelme program")
def test_a_labelme_window_opens_our_files(tmp_path: Path, dataset: Dataset) -> None:
    folder = tmp_path / "labelme"
    labelme.write({"all": dataset}, folder, "copy")
    program = os.environ["POSETOOLS_LABELME"]
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    command = [program, str(folder / "a.json"), "--logger-level", "debug"]
    log = tmp_path / "log"
    with log.open("w") as stream:
        window = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)
        try:
            # The window stays open until it is closed; it shows a message if it cannot read the file.
            with pytest.raises(subprocess.TimeoutExpired):
                window.wait(timeout=12)
        finally:
            window.terminate()
            window.wait(timeout=20)
    said = log.read_text(errors="replace")
    assert re.search(r"Loaded file: .*a\.json", said), said
