"""``posetools export``: a trained pair as a bundle that runs without OpenMMLab.

The ONNX files are compared with the PyTorch models on images before anything is written; if they differ, nothing is.
For float16 and int8, which differ by design, the loss is measured on labeled images.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from posetools.core.dataset import Dataset
from posetools.core.geometry import Floats
from posetools.core.skeleton import Skeleton
from posetools.errors import InputError, RequestError
from posetools.evaluation.metrics import box_scores
from posetools.evaluation.scoring import collect, pose_scores
from posetools.exporting.material import ExportMaterial, Shot, gather
from posetools.exporting.onnx import check_heads, det_network, export_det, export_pose, input_size_of, pose_network
from posetools.exporting.parity import Parity, compare
from posetools.files.locks import only_one
from posetools.imaging.header import Pixels
from posetools.mm.configs import data_root_of
from posetools.mm.inference import Detector, PoseEstimator
from posetools.mm.stack import require_train
from posetools.pairs.find import ModelFiles, Pair, check_split, recorded_metrics
from posetools.pairs.open import PipelineOptions, open_models
from posetools.pairs.pipeline import PosePipeline
from posetools.progress import Progress, silent
from posetools.runtime.bundle import write_bundle
from posetools.runtime.manifest import SAMPLES, Manifest, Precision, Sample, Thresholds
from posetools.runtime.networks import OnnxDetector, OnnxEstimator, crops_of
from posetools.runtime.results import BBOX_THR, KPT_THR, NMS_THR, label_of
from posetools.runtime.session import Singles

DET_FILE, POSE_FILE = "det.onnx", "pose.onnx"

# Number of images for the comparison, for int8 calibration, and to choose samples from.
_COMPARED = 8
_CALIBRATED = 64
_CANDIDATES = 16
# The longest side of a sample, in pixels.
_SAMPLE_SIDE = 1280
# A box with a score this near to the threshold may differ between processors.
_UNSURE = 0.01
_METRIC_DECIMALS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportRequest:
    """What to export.

    Attributes:
        pair: the two models.
        out: the bundle to write.
        data: a labeled data set to measure the bundle on, or None.
        split: of the data set.
        images: files, folders or patterns to compare on and take samples from; default: the data set's.
        samples: number of images in the bundle with their expected output.
        bbox_thr: the bundle's default for prediction.
        nms_thr: the bundle's default for prediction.
        kpt_thr: the bundle's default for prediction.
        precision: of the networks.
        flip_test: average the pose network's output with the mirrored crop's, at twice the time.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``: for the PyTorch models.
        overwrite: replace ``out``.
    """

    pair: Pair
    out: Path
    data: Path | None = None
    split: str = "val"
    images: tuple[str, ...] = ()
    samples: int = 4
    bbox_thr: float = BBOX_THR
    nms_thr: float = NMS_THR
    kpt_thr: float = KPT_THR
    precision: Precision = "float32"
    flip_test: bool = False
    device: str = "cpu"
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class PrecisionCosts:
    """Size, time and metrics of one precision's networks.

    Attributes:
        precision: of the networks.
        sizes: bytes of the two files.
        milliseconds: median per image, on this machine.
        metrics: on the labeled split, by the evaluation's names; empty without a split.
    """

    precision: Precision
    sizes: tuple[int, int]
    milliseconds: float
    metrics: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The result of an export.

    Attributes:
        out: the bundle.
        manifest: its manifest.
        material: the source of the images for the comparison.
        parity: how much float32 ONNX differs from PyTorch.
        measured: float32, and the smaller precision if requested.
        doubts: a warning for each model whose AP was 0 in its run, or was never measured.
    """

    out: Path
    manifest: Manifest
    material: str
    parity: Parity
    measured: tuple[PrecisionCosts, ...]
    doubts: tuple[str, ...] = ()


def export(request: ExportRequest, progress: Progress = silent) -> ExportResult:
    """Write a bundle.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: the request cannot be exported, or another run writes the same file.
        InputError: a file cannot be read, or config, checkpoint and data do not belong together.
        RunError: the ONNX networks differ from the PyTorch models; nothing was written.
        OutputError: the bundle cannot be written.
    """
    require_train("posetools export")
    _check_out(request)
    options = PipelineOptions(device=request.device, flip_test=request.flip_test)
    options.check()
    if request.data is not None:
        check_split(request.data, request.split)
    pair = open_models(request.pair, options, what="posetools export")
    detector, estimator, skeleton = pair.detector, pair.estimator, pair.skeleton
    check_heads(detector, estimator)
    label = label_of(detector.classes, skeleton, pair.source)
    material = gather(request.images, request.data, _known_data(request, detector), request.split, skeleton)
    if request.precision == "int8" and (material.truth is None or not len(material.truth)):
        raise RequestError(
            "--int8 requires a labeled data set, for calibration and to measure the loss",
            hint="add --data DIR, or use --half instead",
        )
    with only_one(request.out):
        files = {
            DET_FILE: export_det(detector, input_size_of(detector)),
            POSE_FILE: export_pose(estimator, input_size_of(estimator)),
        }
        networks = [plain := _opened("float32", files, detector, estimator)]
        parity = compare(detector, estimator, (plain.detector, plain.estimator), _seen(material, progress))
        parity.check()
        if request.precision != "float32":
            smaller = _reduced(request.precision, plain, material)
            networks.append(_opened(request.precision, smaller, detector, estimator))
        truth = material.truth if request.data or request.precision != "float32" else None
        measured = tuple(_measure(each, label, material, truth, progress) for each in networks)
        manifest, images = _described(request, networks[-1], measured[-1], skeleton, label, material)
        write_bundle(request.out, manifest, {**networks[-1].files, **images})
        return ExportResult(request.out, manifest, material.source, parity, measured, pair.doubts)


def _check_out(request: ExportRequest) -> None:
    if request.out.suffix != ".zip":
        raise RequestError(f"--out must be a file name ending in .zip, got {request.out}")
    if request.out.is_dir() or (request.out.exists() and not request.overwrite):
        hint = "choose another name" if request.out.is_dir() else "use --overwrite to replace it"
        raise RequestError(f"--out {request.out}: exists already", hint=hint)


def _known_data(request: ExportRequest, detector: Detector) -> Path | None:
    """Return the config's data set, if its images or labels are needed."""
    if request.images and request.precision == "float32":
        return None
    try:
        return data_root_of(detector.config)
    except InputError:
        return None


@dataclass(frozen=True, slots=True)
class _Networks:
    """The two networks of one precision, and their files."""

    precision: Precision
    files: Mapping[str, bytes]
    detector: OnnxDetector
    estimator: OnnxEstimator


def _opened(
    precision: Precision, files: Mapping[str, bytes], detector: Detector, estimator: PoseEstimator
) -> _Networks:
    det, pose = files[DET_FILE], files[POSE_FILE]
    return _Networks(
        precision,
        files,
        OnnxDetector(det, det_network(detector, det, DET_FILE)),
        OnnxEstimator(pose, pose_network(estimator, pose, POSE_FILE)),
    )


def _seen(material: ExportMaterial, progress: Progress) -> Iterator[tuple[str, Pixels, Floats]]:
    shots = material.spread(_COMPARED)
    for number, shot in enumerate(shots, start=1):
        yield shot.name, shot.read(), shot.boxes
        progress("comparing with PyTorch", number, len(shots))


def _reduced(precision: Precision, networks: _Networks, material: ExportMaterial) -> dict[str, bytes]:
    from posetools.exporting.quantize import to_half, to_int8

    if precision == "float16":
        return {name: to_half(content) for name, content in networks.files.items()}
    shots = material.spread(_CALIBRATED)
    images = (networks.detector.preprocess([shot.read()])[0] for shot in shots)
    return {
        DET_FILE: to_int8(networks.files[DET_FILE], images),
        POSE_FILE: to_int8(networks.files[POSE_FILE], _crops(shots, networks.detector, networks.estimator)),
    }


def _crops(shots: tuple[Shot, ...], detector: OnnxDetector, estimator: OnnxEstimator) -> Iterator[Singles]:
    for shot in shots:
        image = shot.read()
        boxes = shot.boxes if len(shot.boxes) else detector([image])[0].boxes[:1]
        if len(boxes):
            yield estimator.preprocess([image], [0] * len(boxes), crops_of(boxes, estimator.network))


def _measure(
    networks: _Networks, label: int, material: ExportMaterial, truth: Dataset | None, progress: Progress
) -> PrecisionCosts:
    precision, sizes = networks.precision, (len(networks.files[DET_FILE]), len(networks.files[POSE_FILE]))
    milliseconds = _milliseconds(networks, label, material)
    if truth is None:
        return PrecisionCosts(precision, sizes, milliseconds)
    scores = _scores(networks, label, truth, lambda what, *rest: progress(f"{what} {precision}", *rest))
    return PrecisionCosts(precision, sizes, milliseconds, scores)


def _milliseconds(networks: _Networks, label: int, material: ExportMaterial) -> float:
    """Return the median time per image, from pixels to keypoints, for boxes above the default threshold."""
    times = []
    first = material.shots[0].read()
    images = [first, *(shot.read() for shot in material.spread(_COMPARED))]
    for image in images:
        start = time.perf_counter()
        found = networks.detector([image])[0].select(label=label, min_score=BBOX_THR)
        networks.estimator.estimate([image], [found.boxes])
        times.append(time.perf_counter() - start)
    # The first run of a network allocates its memory.
    return 1000 * statistics.median(times[1:])


def _scores(networks: _Networks, label: int, truth: Dataset, progress: Progress) -> dict[str, float | None]:
    """Return the metrics of ``posetools eval`` that a bundle stores, by their paths in its JSON."""
    said = collect(truth, detector=networks.detector, estimator=networks.estimator, label=label, progress=progress)
    boxes = box_scores(truth, said.boxes).as_dict()
    numbers: dict[str, float | None] = {f"bbox/{name}": value for name, value in _all_sizes(boxes).items()}
    for side, poses in (("labelled_boxes", said.on_labels), ("detected_boxes", said.on_boxes)):
        scores = pose_scores(truth, poses)
        numbers |= {f"{side}/OKS/{name}": value for name, value in _all_sizes(scores.oks.as_dict()).items()}
        overall = scores.points["labelled"].overall.as_dict()
        numbers |= {f"{side}/{name}": overall[name] for name in overall if name.startswith(("PCK", "NME"))}
    return numbers


def _all_sizes(numbers: Mapping[str, float | None]) -> dict[str, float | None]:
    """Drop the metrics of small, medium and large objects."""
    return {name: value for name, value in numbers.items() if not name.endswith(("s", "m", "l"))}


def _described(
    request: ExportRequest,
    networks: _Networks,
    measured: PrecisionCosts,
    skeleton: Skeleton,
    label: int,
    material: ExportMaterial,
) -> tuple[Manifest, dict[str, bytes]]:
    thresholds = Thresholds(bbox_thr=request.bbox_thr, nms_thr=request.nms_thr, kpt_thr=request.kpt_thr)
    pipeline = PosePipeline(networks.detector, networks.estimator, skeleton, label=label, **thresholds.model_dump())
    samples, images = _samples(pipeline, material, request.samples)
    metrics = {**_of_training(request.pair.det), **_of_training(request.pair.pose), **measured.metrics}
    manifest = Manifest(
        made_by=_made_by(),
        precision=request.precision,
        skeleton=skeleton,
        det=networks.detector.network,
        pose=networks.estimator.network,
        thresholds=thresholds,
        metrics=metrics,
        samples=samples,
    )
    return manifest, images


def _samples(
    pipeline: PosePipeline, material: ExportMaterial, wanted: int
) -> tuple[tuple[Sample, ...], dict[str, bytes]]:
    """Return samples and their PNG files, preferably with objects whose scores are not near the threshold."""
    import cv2

    candidates = []
    for order, shot in enumerate(material.spread(max(_CANDIDATES, wanted)) if wanted else ()):
        image = _small(shot.read())
        result = pipeline.predict([image])[0]
        scores = pipeline.detector([image])[0].scores
        unsure = bool((np.abs(scores - pipeline.bbox_thr) < _UNSURE).any())
        candidates.append(((len(result) == 0, unsure, order), image, result))
    chosen = sorted(sorted(candidates, key=lambda one: one[0])[:wanted], key=lambda one: one[0][-1])
    samples, files = [], {}
    for number, (_, image, result) in enumerate(chosen, start=1):
        name = f"{SAMPLES}/{number}.png"
        files[name] = cv2.imencode(".png", image)[1].tobytes()
        keys = ("boxes", "scores", "keypoints", "keypoint_scores")
        rounded = {key: np.round(getattr(result, key), _METRIC_DECIMALS).tolist() for key in keys}
        samples.append(Sample.model_validate({"file": name, **rounded}))
    return tuple(samples), files


def _small(image: Pixels) -> Pixels:
    import cv2

    height, width = image.shape[:2]
    scale = _SAMPLE_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    smaller: Pixels = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return smaller


def _of_training(model: ModelFiles) -> dict[str, float | None]:
    """Return the metrics that ``posetools train`` recorded for this checkpoint."""
    return (recorded_metrics(model.checkpoint) if isinstance(model.checkpoint, Path) else None) or {}


def _made_by() -> str:
    from importlib.metadata import version

    from posetools import __version__

    packages = ("torch", "mmdet", "mmpose", "onnx", "onnxruntime")
    return ", ".join([f"posetools {__version__}", *(f"{name} {version(name)}" for name in packages)])
