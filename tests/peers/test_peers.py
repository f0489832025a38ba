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

from posetools.core.dataset import Dataset
from posetools.core.geometry import xyxy_from_yolo
from posetools.core.skeleton import load_skeleton
from posetools.formats import FORMATS
from posetools.formats.coco import format as coco
from posetools.formats.deeplabcut import format as deeplabcut
from posetools.formats.labelme import format as labelme
from posetools.formats.options import ReadOptions
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
