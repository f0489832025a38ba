"""Images through whole networks: they detect what is in the images, in any batches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from posetools.errors import InputError, RequestError
from posetools.imaging.header import Pixels
from posetools.runtime.bundle import Bundle
from posetools.runtime.networks import OnnxDetector, OnnxEstimator
from posetools.runtime.results import Detections, Poses
from tests.runtime import tiny

ROOT = Path(__file__).resolve().parents[2]


def _detector(batch_size: int = 4, score_thr: float | None = None, **changes: Any) -> OnnxDetector:
    content = tiny.det_model()
    return OnnxDetector(content, tiny.det_network(content, **changes), batch_size=batch_size, score_thr=score_thr)


def _estimator(batch_size: int = 32, **changes: Any) -> OnnxEstimator:
    content = tiny.pose_model()
    return OnnxEstimator(content, tiny.pose_network(content, **changes), batch_size=batch_size)


def _same(one: Detections, other: Detections) -> bool:
    return all((getattr(one, name) == getattr(other, name)).all() for name in ("boxes", "scores", "labels"))


def _patch(size: tuple[int, int], box: tuple[int, int, int, int], channel: int = 0, value: int = 255) -> Pixels:
    made = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    x1, y1, x2, y2 = box
    made[y1:y2, x1:x2, channel] = value
    return made


# In an image of this size a cell of the detector is that many pixels wide.
@pytest.mark.parametrize(
    ("size", "cell"), [((96, 64), 8), ((192, 128), 16), ((60, 64), 8), ((96, 20), 8), ((384, 512), 64)]
)
def test_a_cell_is_found_where_it_is(size: tuple[int, int], cell: int) -> None:
    box = (cell, cell, 2 * cell, 2 * cell)
    [found] = _detector()([_patch(size, box)])
    assert found.boxes.tolist() == [list(box)]
    assert found.scores.tolist() == [1.0]
    assert found.labels.tolist() == [0]


def test_boxes_are_the_surest_first_and_no_more_than_asked_for() -> None:
    image = _patch((96, 64), (0, 0, 8, 8), value=200) + _patch((96, 64), (40, 8, 48, 16), channel=1, value=250)
    image += _patch((96, 64), (88, 56, 96, 64), value=170)
    [found] = _detector()([image])
    assert found.labels.tolist() == [1, 0, 0]
    assert found.scores == pytest.approx([250 / 255, 200 / 255, 170 / 255])
    assert found.boxes.tolist() == [[40, 8, 48, 16], [0, 0, 8, 8], [88, 56, 96, 64]]
    assert _same(_detector(max_per_img=2)([image])[0], found[:2])


def test_a_score_at_the_threshold_is_no_box() -> None:
    image = _patch((96, 64), (0, 0, 8, 8), value=153)
    assert len(_detector(score_thr=0.0)([image])[0]) == 0  # 153 / 255 is 0.6, the network's own threshold
    assert len(_detector()([_patch((96, 64), (0, 0, 8, 8), value=154)])[0]) == 1


def test_a_higher_threshold_leaves_the_surer_boxes_as_they_are() -> None:
    images = [tiny.image(seed) for seed in range(4)]
    for found, surer in zip(_detector()(images), _detector(score_thr=0.85)(images), strict=True):
        assert _same(surer, found[found.scores >= 0.85])
    assert len(_detector(score_thr=0.1)(images)[0]) == len(_detector()(images)[0])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_images_of_all_sizes_share_batches(batch_size: int) -> None:
    sizes = [(192, 128), (128, 192), (97, 55), (400, 128), (128, 128)]
    images = [tiny.image(seed, (192, 128))[:h, :w] for seed, (w, h) in enumerate(sizes)]
    together = _detector(batch_size)(images)
    for image, found in zip(images, together, strict=True):
        assert _same(found, _detector()([image])[0])
    assert sum(map(len, together)) > 8


def test_nothing_in_nothing_out() -> None:
    assert _detector()([]) == []
    [found] = _detector()([np.zeros((50, 70, 3), dtype=np.uint8)])
    assert (found.boxes.shape, found.scores.shape, found.labels.shape) == ((0, 4), (0,), (0,))
    assert [array.dtype.name for array in (found.boxes, found.scores, found.labels)] == ["float64", "float64", "int64"]
    assert _estimator().estimate([], []) == []
    [poses] = _estimator().estimate([tiny.image()], [np.empty((0, 4))], heatmaps=True)
    assert (poses.keypoints.shape, poses.scores.shape, poses.crops.shape) == ((0, 3, 2), (0, 3), (0, 4))
    assert poses.heatmaps is not None
    assert poses.heatmaps.shape == (0, 3, 16, 12)


def test_an_image_of_one_line_goes_through() -> None:
    line = np.full((1, 3000, 3), 255, dtype=np.uint8)
    assert len(_detector()([line, line.transpose(1, 0, 2)])) == 2


def _dots(places: list[tuple[int, int]], size: tuple[int, int] = (192, 128)) -> Pixels:
    made = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    for channel, (x, y) in enumerate(places):
        made[y - 2 : y + 3, x - 2 : x + 3, channel] = 255
    return made


@pytest.mark.parametrize("box", [(20, 20, 80, 100), (20, 40, 120, 90), (-10, -10, 150, 120), (30.3, 31.7, 77.1, 99.9)])
def test_dots_are_found_where_they_are(box: tuple[float, ...]) -> None:
    places = [(40, 50), (62, 70), (55, 84)]
    [poses] = _estimator().estimate([_dots(places)], [np.array([box])])
    # A dot is five pixels wide, and the first of the equally bright pixels counts.
    pixel = poses.crops[0, 2] / 48
    assert poses.scores[0] == pytest.approx([1.0] * 3, abs=0.02)
    assert np.abs(poses.keypoints[0] - places).max() <= 3 + 2 * pixel
    assert poses.crops[0, :2] == pytest.approx([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    assert poses.crops[0, 2] / poses.crops[0, 3] == pytest.approx(48 / 64)
    assert (poses.crops[0, 2:] >= 1.25 * np.array([box[2] - box[0], box[3] - box[1]]) - 1e-4).all()


def test_a_keypoint_without_any_signal_has_score_0() -> None:
    [poses] = _estimator().estimate([_dots([(40, 50)])], [np.array([[20.0, 20.0, 80.0, 100.0]])])
    assert poses.scores[0] == pytest.approx([1.0, 0.0, 0.0], abs=0.02)


def test_an_image_may_be_as_long_as_opencv_counts() -> None:
    box = np.array([[32000.0, 0.0, 32700.0, 16.0]])
    assert len(_estimator().estimate([np.zeros((16, 32766, 3), dtype=np.uint8)], [box])[0]) == 1
    with pytest.raises(RequestError, match=r"must be at most 32766 pixels wide and high, got \(32767, 16\)"):
        _estimator().estimate([np.zeros((16, 32767, 3), dtype=np.uint8)], [box])


def _equal(one: Poses, other: Poses) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("keypoints", "scores", "crops", "heatmaps")]
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_crops_of_several_images_share_batches(batch_size: int) -> None:
    rng = np.random.default_rng(0)
    images = [tiny.image(seed) for seed in range(5)]
    boxes = []
    for number in (3, 0, 1, 4, 0):
        corner = rng.uniform(0, 80, (number, 2))
        boxes.append(np.concatenate([corner, corner + rng.uniform(20, 60, (number, 2))], axis=1))
    together = _estimator(batch_size).estimate(images, boxes, heatmaps=True)
    assert [len(poses) for poses in together] == [3, 0, 1, 4, 0]
    for image, of_image, poses in zip(images, boxes, together, strict=True):
        for row, box in enumerate(of_image):
            [alone] = _estimator().estimate([image], [box[None]], heatmaps=True)
            assert alone.heatmaps is not None
            assert poses.heatmaps is not None
            part = Poses(poses.keypoints[[row]], poses.scores[[row]], poses.crops[[row]], poses.heatmaps[[row]])
            assert _equal(part, alone)
    assert _estimator().estimate(images, boxes)[0].heatmaps is None


def test_a_heatmap_peaks_at_its_keypoint() -> None:
    places = [(40, 50), (62, 70), (55, 84)]
    [poses] = _estimator().estimate([_dots(places)], [np.array([[20.0, 20.0, 80.0, 100.0]])], heatmaps=True)
    assert poses.heatmaps is not None
    assert poses.heatmaps.shape == (1, 3, 16, 12)  # an input of 64 x 48 pixels, four to a cell
    for point, heatmap in zip(poses.keypoints[0], poses.heatmaps[0], strict=True):
        row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
        corner = poses.crops[0, :2] - poses.crops[0, 2:] / 2
        bin_size = poses.crops[0, 2:] / (12, 16)
        assert np.abs(corner + (column, row) * bin_size - point).max() <= bin_size.max()


def _changed(content: bytes, **shapes: Any) -> bytes:
    """Return a network with other names, types or shapes of its inputs and outputs."""
    made = onnx.load_from_string(content)
    for value in (*made.graph.input, *made.graph.output):
        if value.name in shapes:
            value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, shapes[value.name]))
    return bytes(made.SerializeToString())


def _nodes(*nodes: Any, shape: tuple[Any, ...] | None = None, channels: int = 3, **constants: Any) -> bytes:
    """Return a network of these nodes; its output has the input's shape unless given."""
    shape = shape or ("batch", channels, 64, 96)
    return tiny.model(list(nodes), constants, {"input": ["batch", channels, 64, 96]}, {"dets": list(shape)})


def _renamed(content: bytes, name: str, new: str) -> bytes:
    made = onnx.load_from_string(content)
    for node in made.graph.node:
        for names in (node.input, node.output):
            names[:] = [new if one == name else one for one in names]
    for value in (*made.graph.input, *made.graph.output):
        value.name = new if value.name == name else value.name
    return bytes(made.SerializeToString())


def _typed() -> bytes:
    made = onnx.load_from_string(_nodes(helper.make_node("Identity", ["input"], ["dets"])))
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    return bytes(made.SerializeToString())


def _scaled_by(constant: Any) -> bytes:
    """Return a network whose output is the largest value of the image times a constant (1, A, columns)."""
    return _nodes(
        helper.make_node("ReduceMax", ["input"], ["largest"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["largest", "column"], ["scalar"]),
        helper.make_node("Mul", ["scalar", "constant"], ["dets"]),
        shape=("batch", "anchors", "columns"),
        column=np.array([-1, 1, 1]),
        constant=np.asarray(constant, dtype=np.float32),
    )


DET = tiny.det_model()
BROKEN = {
    "input's name": (_renamed(DET, "input", "images"), "inputs must be ['input'], got ['images']"),
    "output's name": (_renamed(DET, "dets", "boxes_out"), "outputs must be ['dets'], got ['boxes_out']"),
    "fixed batch": (
        _changed(DET, input=[1, 3, 64, 96]),
        "input input must be of shape (any, 3, 64, 96) as the manifest says, got (1, 3, 64, 96)",
    ),
    "other classes": (
        _scaled_by(np.zeros((1, 2, 5))),
        "output dets must be of shape (any, any, 6) as the manifest says, got ('batch', 2, 5)",
    ),
    "other size": (
        _changed(DET, input=["batch", 3, 96, 64]),
        "input input must be of shape (any, 3, 64, 96) as the manifest says, got ('batch', 3, 96, 64)",
    ),
    "grey": (
        _nodes(helper.make_node("Identity", ["input"], ["dets"]), channels=1),
        "input input must be of shape (any, 3, 64, 96) as the manifest says, got ('batch', 1, 64, 96)",
    ),
    "flat": (
        _nodes(helper.make_node("ReduceMax", ["input"], ["dets"], axes=[1, 2], keepdims=0), shape=("batch", 96)),
        "output dets must be of shape (any, any, 6) as the manifest says, got ('batch', 96)",
    ),
    "double": (_typed(), "input input must be a tensor(float), got 'tensor(double)'"),
    "no network": (b"\x08\x08", "cannot be opened by onnxruntime: "),
    "unknown operator": (
        DET.replace(b"AveragePool", b"AveragePoop"),
        "cannot be opened by onnxruntime: ",
    ),
}


@pytest.mark.parametrize(("content", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_a_network_that_is_not_as_the_manifest_says_is_refused(content: bytes, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        OnnxDetector(content, tiny.det_network(content), source="cars.zip")
    said = str(caught.value)
    assert said.replace('"', "'").startswith(f"cars.zip: det.onnx: {expected}")
    assert len(said.splitlines()) == 1


def _sized_by_the_image(more: float) -> bytes:
    """Return a network whose output is as long on each axis as the largest value of the image, plus some."""
    return _nodes(
        helper.make_node("ReduceMax", ["input"], ["largest"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Add", ["largest", "more"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Tile", ["whole", "thrice"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["dets"]),
        shape=("batch", "anchors", "columns"),
        more=np.array([more], dtype=np.float32),
        thrice=np.array([3]),
    )


RUNNING = {
    "another size than said": (_sized_by_the_image(1), "output dets must be of shape (1, any, 6), got (2, 2, 2)"),
    "NaN": (_scaled_by(np.full((1, 2, 6), np.nan)), "output dets must be numbers, got NaN"),
    "an operator fails": (_sized_by_the_image(-9), "cannot be run: "),
}


@pytest.mark.parametrize(("content", "expected"), RUNNING.values(), ids=RUNNING.keys())
def test_what_goes_wrong_in_a_run_names_the_network(content: bytes, expected: str) -> None:
    detector = OnnxDetector(content, tiny.det_network(content), source="cars.zip")
    with pytest.raises(InputError) as caught:
        detector([np.ones((64, 96, 3), dtype=np.uint8)])
    assert str(caught.value).startswith(f"cars.zip: det.onnx: {expected}")


def test_infinite_boxes_end_at_the_border() -> None:
    row = np.array([[[-np.inf, -np.inf, np.inf, np.inf, 1, 0]]])
    content = _scaled_by(row)
    image = np.full((64, 96, 3), 1, dtype=np.uint8)
    detector = OnnxDetector(content, tiny.det_network(content))
    [found] = detector([image])
    assert found.boxes.tolist() == [[0, 0, 96, 64]]


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0", ""])
def test_devices_have_names(device: str) -> None:
    with pytest.raises(RequestError, match="--device must be auto, cpu, cuda or cuda:N, got"):
        OnnxDetector(DET, tiny.det_network(DET), device)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_needs_the_onnxruntime_that_uses_it(device: str) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime can use a GPU")
    with pytest.raises(RequestError, match=rf"--device {device}: .*only the CPU\n  fix: uninstall onnx"):
        OnnxDetector(DET, tiny.det_network(DET), device)


# A finder before all others that hides these packages.
BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


def _in_a_process(blocked: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    whole = BLOCK.format(blocked=blocked) + code
    return subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, cwd=ROOT, check=False)


def test_a_bundle_runs_without_torch_and_openmmlab(tmp_path: Path) -> None:
    path = tiny.write(tmp_path / "cars.zip")
    blocked = ("torch", "torchvision", "mmengine", "mmcv", "mmdet", "mmpose", "xtcocotools", "onnx", "scipy")
    code = f"from posetools import PosePipeline\nprint(PosePipeline.from_bundle({str(path)!r}).skeleton.names)"
    done = _in_a_process(blocked, code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "('blue', 'green', 'red')\n", "")


@pytest.mark.parametrize(("module", "package"), [("onnxruntime", "onnxruntime"), ("cv2", "opencv-python")])
def test_without_the_extra_it_is_named(module: str, package: str, tmp_path: Path) -> None:
    path = tiny.write(tmp_path / "cars.zip")
    code = f"from posetools.runtime.bundle import Bundle\nBundle.open({str(path)!r}).models()"
    done = _in_a_process((module,), code)
    needs = f"needs the 'runtime' extra ({package} is not installed)"
    assert f"posetools.errors.MissingExtraError: running {path} {needs}" in done.stderr


def test_a_bundle_opens_with_its_networks_and_samples(tmp_path: Path) -> None:
    bundle = Bundle.open(tiny.write(tmp_path / "cars.zip", seeds=(3,)))
    detector, *estimators = bundle.models("cpu", score_thr=0.7)
    (estimator,) = estimators
    [(sample, image)] = bundle.sample_images()
    assert (image == tiny.image(3)).all()
    [found] = detector([image])
    assert found.scores.min() > 0.7
    [poses] = estimator.estimate([image], [found.boxes])
    assert len(poses) == len(found) >= len(sample.boxes) > 0
    assert detector.classes == ("car", "van")
    assert estimator.num_keypoints == bundle.manifest.skeleton.num_keypoints == 3
