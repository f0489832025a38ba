"""Bundles of the tiny pair: their content, their output, and what is refused."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.core.skeleton import load_skeleton
from posetools.errors import RequestError, RunError
from posetools.exporting import export as export_module
from posetools.exporting.export import ExportRequest, ExportResult, export
from posetools.exporting.onnx import check_heads, det_network, export_det, export_pose, input_size_of, pose_network
from posetools.exporting.parity import Parity
from posetools.exporting.quantize import decoding_nodes
from posetools.files.disk import read_json, write_text
from posetools.files.locks import only_one
from posetools.mm.checkpoint import load_checkpoint
from posetools.mm.inference import Detector, PoseEstimator
from posetools.mm.stack import HARMLESS_WARNINGS
from posetools.pairs.find import ModelFiles, Pair
from posetools.pairs.open import PipelineOptions
from posetools.pairs.pipeline import PosePipeline
from posetools.runtime.bundle import Bundle
from posetools.runtime.manifest import Manifest
from posetools.runtime.networks import OnnxEstimator
from posetools.runtime.results import Poses
from posetools.runtime.verify import verify
from tests.tiny_runs import Run, Tiny, make_tiny, train_tiny

pytestmark = pytest.mark.train

# Models trained for two epochs have low scores.
THR = 0.002


@pytest.fixture(scope="session")
def pair(det_run: Run, pose_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The tiny pair, with boxes of a certain size and different scores.

    A detector trained for two epochs predicts boxes of two pixels, whose scores differ in the seventh digit: which of
    them NMS keeps is random.
    """
    return biased(det_run, pose_run, tmp_path_factory.mktemp("biased"))


def biased(det_run: Run, pose_run: Run, folder: Path) -> Pair:
    import torch

    weights = load_checkpoint(det_run.checkpoint)
    for level in range(3):
        weights["state_dict"][f"bbox_head.rtm_reg.{level}.bias"] += 1.5
        weights["state_dict"][f"bbox_head.rtm_cls.{level}.weight"] *= 3e4
    checkpoint = folder / "biased.pth"
    torch.save({"state_dict": weights["state_dict"], "meta": weights["meta"]}, checkpoint)
    return Pair(ModelFiles(det_run.config, checkpoint), (ModelFiles(pose_run.config, pose_run.checkpoint),))


@pytest.fixture(scope="session")
def made(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return export(ExportRequest(pair=pair, out=tmp_path_factory.mktemp("made") / "cars.zip", bbox_thr=THR))


@pytest.fixture(scope="session", params=["tiny", "nano"])
def sized(
    request: pytest.FixtureRequest, made: ExportResult, pose_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> ExportResult:
    """The bundle of a pair with a detector of each of the two smallest sizes."""
    if request.param == "tiny":
        return made
    folder = tmp_path_factory.mktemp("nano")
    pair = biased(train_tiny(make_tiny(folder, "nano"), "det", folder / "det"), pose_run, folder)
    return export(ExportRequest(pair=pair, out=folder / "nano.zip", bbox_thr=THR))


@pytest.fixture(scope="session")
def detector(pair: Pair) -> Detector:
    return Detector(pair.det.config, pair.det.checkpoint)


@pytest.fixture(scope="session")
def estimator(pair: Pair) -> PoseEstimator:
    return PoseEstimator(pair.pose.config, pair.pose.checkpoint, flip_test=False)


def member(bundle: Path, name: str) -> bytes:
    with zipfile.ZipFile(bundle) as archive:
        return archive.read(name)


@pytest.mark.parametrize("name", ["det.onnx", "pose.onnx"])
def test_networks_are_sound_and_take_any_number_of_images(made: ExportResult, name: str) -> None:
    import onnx
    from onnxruntime import InferenceSession

    content = member(made.out, name)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    outputs = {one.name: one.shape[1:] for one in session.get_outputs()}
    expected = {"dets": [84, 5]} if name == "det.onnx" else {"simcc_x": [8, 128], "simcc_y": [8, 128]}
    assert outputs == expected
    assert [one.name for one in session.get_inputs()] == ["input"]
    batch = np.random.default_rng(1).normal(size=(5, 3, 64, 64)).astype(np.float32)
    whole = session.run(None, {"input": batch})
    for size in (1, 2):
        for part, all_of_it in zip(session.run(None, {"input": batch[:size]}), whole, strict=True):
            np.testing.assert_allclose(part, all_of_it[:size], atol=1e-4)


def test_exporting_warns_of_nothing(detector: Detector, estimator: PoseEstimator) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for message, _ in HARMLESS_WARNINGS:
            warnings.filterwarnings("ignore", message=re.escape(message))
        export_det(detector, input_size_of(detector))
        export_pose(estimator, input_size_of(estimator))
    assert [str(warning.message) for warning in caught] == []


def test_the_manifest_says_what_the_configs_say(made: ExportResult, pose_run: Run) -> None:
    manifest = Bundle.open(made.out).manifest
    assert manifest == made.manifest and isinstance(manifest, Manifest)
    det, pose = manifest.det, manifest.pose
    assert (det.input_size, det.classes, det.pad_value) == ((64, 64), ("car",), (114.0, 114.0, 114.0))
    assert (det.score_thr, det.iou_threshold, det.max_per_img) == (0.001, 0.65, 300)
    assert (pose.input_size, pose.num_keypoints, pose.split_ratio, pose.padding) == ((64, 64), 8, 2.0, 1.25)
    # The pose config has red first, a bundle blue.
    for network in (det, pose):
        assert (network.mean, network.std) == ((103.53, 116.28, 123.675), (57.375, 57.12, 58.395))
    assert manifest.skeleton == load_skeleton("car8")
    assert manifest.thresholds.bbox_thr == THR
    assert manifest.precision == "float32"
    recorded = read_json(pose_run.work_dir / "metrics.json")["last"]["metrics"]
    assert manifest.metrics.items() >= recorded.items()
    assert not any(name.startswith("bbox/") for name in manifest.metrics), "measured without --data"


def test_all_differences_are_those_of_rounding(sized: ExportResult) -> None:
    assert sized.parity.images == 2
    for row in sized.parity.rows:
        assert row.compared > 0, row.what
        assert row.largest < 1e-3, row


def test_samples_hold_what_the_bundle_finds(sized: ExportResult) -> None:
    bundle = Bundle.open(sized.out)
    assert len(sized.manifest.samples) == 2
    assert all(sample.boxes for sample in sized.manifest.samples)
    report = verify(sized.manifest, bundle.sample_images(), PosePipeline.from_bundle(sized.out))
    assert report.ok
    assert [one.found for one in report.samples] == [len(sample.boxes) for sample in sized.manifest.samples]


def test_the_bundle_predicts_what_the_models_predict(made: ExportResult, pair: Pair, tiny: Tiny) -> None:
    models = [(str(model.config), str(model.checkpoint)) for model in (pair.det, pair.pose)]
    stock = PosePipeline.from_configs(models[0], models[1], PipelineOptions(device="cpu", bbox_thr=THR))
    bundle = PosePipeline.from_bundle(made.out)
    for image in sorted((tiny.data / "images").iterdir()):
        ours, theirs = bundle(image), stock(image)
        assert len(ours) == len(theirs) > 0
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=0.5)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-3)
        np.testing.assert_allclose(ours.keypoint_scores, theirs.keypoint_scores, atol=1e-3)


def test_a_bundle_runs_where_torch_and_openmmlab_are_not(made: ExportResult) -> None:
    program = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'mmcv', 'mmengine', 'mmdet', 'mmpose', 'onnx', 'xtcocotools'):\n"
        "    sys.modules[name] = None\n"
        "from posetools.pairs.pipeline import PosePipeline\n"
        "from posetools.runtime.bundle import Bundle\n"
        "from posetools.runtime.verify import verify\n"
        "path = sys.argv[1]\n"
        "archive = Bundle.open(path)\n"
        "print(verify(archive.manifest, archive.sample_images(), PosePipeline.from_bundle(path)).ok)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, made.out], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr


def test_the_flip_test_is_that_of_mmpose(pair: Pair, made: ExportResult, tmp_path: Path) -> None:
    flipped = export(ExportRequest(pair=pair, out=tmp_path / "flip.zip", flip_test=True, samples=0))
    stock = PoseEstimator(pair.pose.config, pair.pose.checkpoint, flip_test=True)
    image = np.random.default_rng(4).integers(0, 255, (80, 96, 3), dtype=np.uint8)
    boxes = np.array([[10.0, 5, 70, 60], [0, 0, 96, 80], [40, 30, 90, 77]])
    found = [estimator_in(path).estimate([image], [boxes])[0] for path in (flipped.out, made.out)]
    np.testing.assert_allclose(found[0].scores, stock.estimate([image], [boxes])[0].scores, atol=1e-5)
    assert np.abs(found[0].scores - found[1].scores).max() > 1e-3
    assert flipped.manifest.samples == ()


def test_networks_that_differ_are_not_written(
    pair: Pair, pose_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = PoseEstimator(pose_run.config, pose_run.work_dir / "epoch_1.pth", flip_test=False)
    monkeypatch.setattr(export_module, "export_pose", lambda _, size: export_pose(other, size))
    request = ExportRequest(pair=pair, out=tmp_path / "cars.zip")
    with pytest.raises(RunError, match=r"differ from the PyTorch models: \w.* differ by up to .* are allowed"):
        export(request)
    with only_one(request.out), pytest.raises(RequestError, match=r"cars\.zip: another run of posetools .* is writing"):
        export(request)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "row"), [("det.onnx", "dets"), ("pose.onnx", "simcc")])
def test_one_changed_weight_is_found(
    made: ExportResult, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, row: str
) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(member(made.out, name))
    last = [tensor for tensor in model.graph.initializer if len(tensor.dims) >= 1 and np.prod(tensor.dims) > 1][-1]
    planted = numpy_helper.to_array(last).copy()
    planted.flat[0] += 3.0
    last.CopyFrom(numpy_helper.from_array(planted, last.name))
    stage = name.removesuffix(".onnx")
    monkeypatch.setattr(export_module, f"export_{stage}", lambda *_: model.SerializeToString())
    what = getattr(made.parity, row).what
    with pytest.raises(
        RunError, match=f"(?s)({what}|scores|boxes|keypoints) differ by up to .*; at [45].png, .*nothing was"
    ):
        export(ExportRequest(pair=pair, out=tmp_path / "cars.zip"))
    assert list(tmp_path.iterdir()) == []


def test_half_is_half_the_size_and_its_loss_is_measured(pair: Pair, tiny: Tiny, tmp_path: Path) -> None:
    request = ExportRequest(pair=pair, out=tmp_path / "half.zip", precision="float16", data=tiny.data, bbox_thr=THR)
    half = export(request)
    full, small = half.measured
    assert (full.precision, small.precision, half.manifest.precision) == ("float32", "float16", "float16")
    for before, after in zip(full.sizes, small.sizes, strict=True):
        assert 0.45 < after / before < 0.55
    for name in ("bbox/AP", "labelled_boxes/OKS/AP", "labelled_boxes/PCK@0.1", "detected_boxes/OKS/AP"):
        assert {name} <= full.metrics.keys() & small.metrics.keys() & half.manifest.metrics.keys()
    assert half.manifest.metrics.items() >= small.metrics.items()
    bundle = Bundle.open(half.out)
    assert verify(bundle.manifest, bundle.sample_images(), PosePipeline.from_bundle(half.out)).ok
    assert _largest_score_difference(half, pair) < 0.05


def test_int8_is_a_third_of_the_size_at_most(pair: Pair, tmp_path: Path) -> None:
    import onnx

    small = export(ExportRequest(pair=pair, out=tmp_path / "int8.zip", precision="int8", bbox_thr=THR))
    assert small.measured[1].sizes[0] < 0.34 * small.measured[0].sizes[0]
    assert small.measured[1].sizes[1] < 0.5 * small.measured[0].sizes[1]
    assert small.manifest.metrics.keys() >= {"bbox/AP", "labelled_boxes/PCK@0.1"}
    for name in ("det.onnx", "pose.onnx"):
        model = onnx.load_from_string(member(small.out, name))
        decoding = set(decoding_nodes(model))
        quantized = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
        assert quantized
        assert not any(node.name in decoding for node in quantized)
        assert {opset.domain for opset in model.opset_import} <= {"", "com.microsoft"}
    bundle = Bundle.open(small.out)
    assert verify(bundle.manifest, bundle.sample_images(), PosePipeline.from_bundle(small.out)).ok
    assert 0 < _largest_score_difference(small, pair) < 0.2


def _largest_score_difference(made: ExportResult, pair: Pair) -> float:
    """Return the difference of keypoint scores from PyTorch's, relative to the largest score."""
    image = np.random.default_rng(4).integers(0, 255, (80, 96, 3), dtype=np.uint8)
    boxes = [np.array([[10.0, 5, 70, 60], [0, 0, 96, 80]])]
    stock = PoseEstimator(pair.pose.config, pair.pose.checkpoint, flip_test=False)
    ours, theirs = (one.estimate([image], boxes)[0] for one in (estimator_in(made.out), stock))
    assert isinstance(ours, Poses)
    return float(np.abs(ours.scores - theirs.scores).max() / theirs.scores.max())


def test_data_measures_and_images_are_compared_on(pair: Pair, tiny: Tiny, tmp_path: Path) -> None:
    request = ExportRequest(
        pair=pair,
        out=tmp_path / "cars.zip",
        data=tiny.data,
        images=(str(tiny.data / "images" / "0.png"), str(tiny.data / "images" / "1.png")),
        samples=1,
    )
    done = export(request)
    assert done.material == "the images given"
    assert done.manifest.metrics.keys() >= {"bbox/AP50", "detected_boxes/NME"}
    assert len(done.manifest.samples) == 1


def estimator_in(bundle: Path) -> OnnxEstimator:
    *_, estimator = list(Bundle.open(bundle).models("cpu"))
    assert isinstance(estimator, OnnxEstimator)
    return estimator


def moved(pair: Pair, folder: Path) -> Pair:
    """Return the pair with configs for a data set that does not exist."""
    configs = []
    for model in (pair.det, *pair.poses):
        target = folder / model.config.name
        write_text(target, model.config.read_text().replace("data_root = '", "data_root = '/gone"))
        configs.append(replace(model, config=target))
    return Pair(configs[0], tuple(configs[1:]))


def test_without_a_data_set_rendered_cars_serve(pair: Pair, tmp_path: Path) -> None:
    done = export(ExportRequest(pair=moved(pair, tmp_path), out=tmp_path / "cars.zip", bbox_thr=THR))
    assert done.material == "rendered cars, as no data set was given"
    assert (done.parity.images, len(done.manifest.samples)) == (4, 4)


def test_a_lying_input_is_compared_on_lying_images(pair: Pair, tmp_path: Path) -> None:
    import cv2

    config = tmp_path / pair.det.config.name
    write_text(config, pair.det.config.read_text().replace("input_size = (64, 64)", "input_size = (96, 64)"))
    rng, names = np.random.default_rng(0), []
    for name, shape in (("lying", (60, 90, 3)), ("upright", (90, 60, 3))):
        names.append(str(tmp_path / f"{name}.png"))
        cv2.imwrite(names[-1], rng.integers(0, 255, shape, dtype=np.uint8))
    wide = replace(pair, det=replace(pair.det, config=config))
    done = export(ExportRequest(pair=wide, out=tmp_path / "cars.zip", images=tuple(names)))
    assert isinstance(done.manifest, Manifest) and done.manifest.det.input_size == (96, 64)
    assert isinstance(done.parity, Parity)
    # 12 x 8, 6 x 4 and 3 x 2 anchor points, in one of two images.
    assert (done.parity.images, done.parity.turned, done.parity.dets.compared) == (2, 1, 126)


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"out": Path("cars.onnx")}, r"--out must be a file name ending in \.zip, got cars\.onnx"),
    ({"data": Path("none")}, "none: must be a data set folder"),
    ({"images": ("none.png",)}, r"none\.png"),
    ({"device": "cuda:99"}, "--device cuda:99"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSALS)
def test_what_cannot_be_exported_is_refused(pair: Pair, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    out = tmp_path / "out" / "cars.zip"
    with pytest.raises(RequestError, match=message):
        export(replace(ExportRequest(pair=pair, out=out), **changes))
    assert not out.parent.exists()


def test_int8_needs_labels(pair: Pair, tmp_path: Path) -> None:
    out = tmp_path / "out" / "cars.zip"
    with pytest.raises(RequestError, match=r"--int8 requires a labeled data set, .*\n  fix: add --data DIR"):
        export(ExportRequest(pair=moved(pair, tmp_path), out=out, precision="int8"))
    assert not out.parent.exists()


def test_a_bundle_is_replaced_only_when_asked(pair: Pair, made: ExportResult, tmp_path: Path) -> None:
    out = tmp_path / "cars.zip"
    shutil.copyfile(made.out, out)
    with pytest.raises(RequestError, match=r"cars.zip: exists already\n  fix: use --overwrite to replace it"):
        export(ExportRequest(pair=pair, out=out))
    assert out.read_bytes() == made.out.read_bytes()
    export(ExportRequest(pair=pair, out=out, bbox_thr=THR, overwrite=True))
    assert out.read_bytes() == made.out.read_bytes(), "the same export twice"


def with_step(config: Any, name: str, **values: Any) -> None:
    for step in config.test_dataloader.dataset.pipeline:
        if step["type"].endswith(name):
            step.update(values)


CONFIGS: list[tuple[str, Callable[[Any], None], str]] = [
    ("det", lambda c: with_step(c, "Resize", keep_ratio=False), "Resize.scale, keep_ratio=True., then Pad.size."),
    ("det", lambda c: with_step(c, "Pad", size=(96, 64)), "then Pad.size. of the same size, got"),
    ("det", lambda c: with_step(c, "Resize", type="RandomFlip"), "test pipeline has RandomFlip, which a bundle's"),
    ("pose", lambda c: with_step(c, "TopdownAffine", use_udp=True), "TopdownAffine must be plain, to the head's"),
    ("pose", lambda c: with_step(c, "TopdownAffine", input_size=(96, 64)), r"the head's input_size \(64, 64\), got"),
]


@pytest.mark.parametrize(("stage", "change", "message"), CONFIGS)
def test_configs_that_ask_for_more_are_refused(
    detector: Detector, estimator: PoseEstimator, stage: str, change: Callable[[Any], None], message: str
) -> None:
    model: Any = copy.copy(detector if stage == "det" else estimator)
    model.config = copy.deepcopy(model.config)
    change(model.config)
    with pytest.raises(RequestError, match=message):
        (det_network if stage == "det" else pose_network)(model, b"", "x.onnx")


def test_classes_must_be_known(detector: Detector) -> None:
    nameless = copy.copy(detector)
    nameless.classes = ()
    with pytest.raises(RequestError, match="must be 1 names, one per output of its head, got"):
        det_network(nameless, b"", "x.onnx")


def test_soft_nms_and_dark_are_refused(detector: Detector, estimator: PoseEstimator) -> None:
    settings = detector.model.bbox_head.test_cfg
    before = settings.nms
    settings.nms = {"type": "soft_nms", "iou_threshold": 0.6}
    try:
        with pytest.raises(
            RequestError, match=r"model.test_cfg.nms must be plain NMS by IoU, got \{'type': 'soft_nms'"
        ):
            det_network(detector, b"", "x.onnx")
    finally:
        settings.nms = before
    estimator.model.head.decoder.use_dark = True
    try:
        with pytest.raises(RequestError, match=r"decoder\.use_dark must be off"):
            pose_network(estimator, b"", "x.onnx")
    finally:
        estimator.model.head.decoder.use_dark = False


HEADS = {
    "det": (
        "model = dict(train_cfg=None,\n"
        "    bbox_head=dict(_delete_=True, type='YOLOXHead', num_classes=1, in_channels=96, feat_channels=32))",
        r"supports the heads RTMDetHead and RTMDetSepBNHead, but this config has YOLOXHead",
    ),
    "pose": (
        "model = dict(head=dict(_delete_=True, type='HeatmapHead', in_channels=384, out_channels=8,\n"
        "    deconv_out_channels=None, loss=dict(type='KeypointMSELoss'),\n"
        "    decoder=dict(type='MSRAHeatmap', input_size=(64, 64), heatmap_size=(2, 2), sigma=2)))",
        r"supports the heads RTMCCHead and SimCCHead, but this config has HeatmapHead",
    ),
}


@pytest.mark.parametrize("stage", ["det", "pose"])
def test_other_heads_are_refused_by_name(
    pair: Pair, detector: Detector, estimator: PoseEstimator, tmp_path: Path, stage: str
) -> None:
    import torch
    from mmengine.registry import MODELS, DefaultScope

    from posetools.mm.configs import drop_pretrained, load_config

    text, message = HEADS[stage]
    files = pair.det if stage == "det" else pair.pose
    config = tmp_path / "other.py"
    write_text(config, f"_base_ = {str(files.config)!r}\n{text}\n")
    loaded = load_config(config)
    drop_pretrained(loaded.model)
    with DefaultScope.overwrite_default_scope(loaded.default_scope):
        weights = MODELS.build(loaded.model).state_dict()
    meta = load_checkpoint(files.checkpoint)["meta"]
    torch.save({"state_dict": weights, "meta": {"dataset_meta": meta["dataset_meta"]}}, tmp_path / "other.pth")
    other = (Detector if stage == "det" else PoseEstimator)(config, tmp_path / "other.pth")
    both: tuple[Any, Any] = (other, estimator) if stage == "det" else (detector, other)
    with pytest.raises(RequestError, match=message):
        check_heads(*both)


def test_the_estimator_of_a_bundle_is_named_as_such(made: ExportResult) -> None:
    assert isinstance(estimator_in(made.out), OnnxEstimator)
    assert made.manifest.made_by.startswith("posetools ")
    assert "onnxruntime " in made.manifest.made_by
