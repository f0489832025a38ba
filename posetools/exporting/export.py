"""``posetools export``: a trained pair as a bundle that runs without OpenMMLab.

The ONNX files are compared with the PyTorch models on images before anything is written; if they differ, nothing is.
For float16 and int8, which differ by design, the loss is measured on labeled images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset
from posetools.core.geometry import Floats
from posetools.core.stages import models_of
from posetools.errors import InputError, RequestError
from posetools.exporting.exporter import BUNDLE, check_out
from posetools.exporting.material import ExportMaterial, Shot, gather
from posetools.exporting.measured import COMPARED, by_category, milliseconds, stored_scores
from posetools.exporting.onnx import check_heads, det_network, export_det, export_pose, input_size_of, pose_network
from posetools.exporting.parity import AnyParity, Parity, compare
from posetools.exporting.samples import samples_of
from posetools.files.locks import only_one
from posetools.imaging.header import Pixels
from posetools.mm.configs import data_root_of, own_split
from posetools.mm.inference import Detector, PoseEstimator
from posetools.mm.stack import require_train
from posetools.pairs.find import ModelFiles, Pair, check_split, recorded_metrics
from posetools.pairs.open import OpenPair, PipelineOptions, open_models
from posetools.pairs.pipeline import PosePipeline
from posetools.progress import Progress, silent
from posetools.runtime.bundle import write_bundle
from posetools.runtime.manifest import (
    AnyManifest,
    CategoriesManifest,
    Manifest,
    PairManifest,
    Precision,
    Thresholds,
)
from posetools.runtime.networks import OnnxDetector, OnnxEstimator, crops_of
from posetools.runtime.results import BBOX_THR, KPT_THR, NMS_THR, label_of
from posetools.runtime.session import Singles

DET_FILE = "det.onnx"

# Number of images for int8 calibration.
_CALIBRATED = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """How to export, whatever trained the models.

    Attributes:
        out: the bundle to write.
        data: a labeled data set to measure the bundle on, or None.
        split: of the data set.
        images: files, folders or patterns to compare on and take samples from; none: the data set's.
        samples: number of images in the bundle with their expected output.
        bbox_thr: the bundle's default for prediction.
        nms_thr: the bundle's default for prediction.
        kpt_thr: the bundle's default for prediction.
        precision: of the networks.
        flip_test: average the keypoints with those of the mirrored image, at twice the time.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``: for the PyTorch models.
        overwrite: replace ``out``.
    """

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


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportRequest(ExportOptions):
    """A pair of OpenMMLab's models to export.

    Attributes:
        pair: the models.
    """

    pair: Pair


@dataclass(frozen=True, slots=True)
class PrecisionCosts:
    """Size, time and metrics of one precision's networks.

    Attributes:
        precision: of the networks.
        sizes: bytes of the files: the detector, and all pose estimators together; or the only network.
        milliseconds: median per image, on this machine.
        metrics: on the labeled split, by the evaluation's names; empty without a split.
    """

    precision: Precision
    sizes: tuple[int, ...]
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
    manifest: AnyManifest
    material: str
    parity: AnyParity
    measured: tuple[PrecisionCosts, ...]
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PairExport(ExportResult):
    """The result of exporting a detector and its pose estimators."""

    manifest: PairManifest
    parity: Parity


def export(request: ExportRequest, progress: Progress = silent) -> PairExport:
    """Write a bundle.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: the request cannot be exported, or another run writes the same file.
        InputError: a file cannot be read, or config, checkpoint and data do not belong together.
        RunError: the ONNX networks differ from the PyTorch models; nothing was written.
        OutputError: the bundle cannot be written.
    """
    require_train("posetools export")
    check_out(request.out, BUNDLE.suffix, overwrite=request.overwrite)
    options = PipelineOptions(device=request.device, flip_test=request.flip_test)
    options.check()
    if request.data is not None:
        check_split(request.data, request.split)
    pair = open_models(request.pair, options, what="posetools export")
    detector, categories = pair.detector, pair.categories
    for estimator in pair.estimators:
        check_heads(detector, estimator)
    for skeleton in categories.skeletons:
        label_of(detector.classes, skeleton, pair.source)
    split = request.split if request.data else own_split(detector.config, request.split)
    material = gather(request.images, request.data, _known_data(request, detector), split, categories)
    if request.precision == "int8" and (material.truth is None or not len(material.truth)):
        raise RequestError(
            "--int8 requires a labeled data set, for calibration and to measure the loss",
            hint="add --data DIR, or use --half instead",
        )
    with only_one(request.out):
        files = {DET_FILE: export_det(detector, input_size_of(detector))}
        for name, estimator in zip(_pose_files(categories), pair.estimators, strict=True):
            files[name] = export_pose(estimator, input_size_of(estimator))
        networks = [plain := _opened("float32", files, pair)]
        parity = compare(detector, pair.estimators, (plain.detector, plain.estimators), _seen(material, progress))
        parity.check()
        if request.precision != "float32":
            smaller = _reduced(request.precision, plain, material)
            networks.append(_opened(request.precision, smaller, pair))
        truth = material.truth if request.data or request.precision != "float32" else None
        measured = tuple(_measure(each, material, truth, progress) for each in networks)
        manifest, images = _described(request, networks[-1], measured[-1], material)
        write_bundle(request.out, manifest, {**networks[-1].files, **images})
        return PairExport(request.out, manifest, material.source, parity, measured, pair.doubts)


def _known_data(request: ExportRequest, detector: Detector) -> Path | None:
    """Return the config's data set, if its images or labels are needed."""
    if request.images and request.precision == "float32":
        return None
    try:
        return data_root_of(detector.config)
    except InputError:
        return None


def _pose_files(categories: Categories) -> tuple[str, ...]:
    """Return the names of the pose estimators' files in the bundle: ``pose.onnx``, or one for each skeleton."""
    return tuple(f"{model}.onnx" for model in models_of(tuple(categories.posed))[1:])


@dataclass(frozen=True, slots=True)
class _Networks:
    """The networks of one precision, and their files."""

    precision: Precision
    files: Mapping[str, bytes]
    categories: Categories
    detector: OnnxDetector
    estimators: tuple[OnnxEstimator, ...]


def _opened(precision: Precision, files: Mapping[str, bytes], pair: OpenPair[Detector, PoseEstimator]) -> _Networks:
    det, names = files[DET_FILE], _pose_files(pair.categories)
    return _Networks(
        precision,
        files,
        pair.categories,
        OnnxDetector(det, det_network(pair.detector, det, DET_FILE)),
        tuple(
            OnnxEstimator(files[name], pose_network(estimator, files[name], name))
            for name, estimator in zip(names, pair.estimators, strict=True)
        ),
    )


def _seen(material: ExportMaterial, progress: Progress) -> Iterator[tuple[str, Pixels, Floats]]:
    shots = material.spread(COMPARED)
    for number, shot in enumerate(shots, start=1):
        yield shot.name, shot.read(), shot.boxes
        progress("comparing with PyTorch", number, len(shots))


def _reduced(precision: Precision, networks: _Networks, material: ExportMaterial) -> dict[str, bytes]:
    from posetools.exporting.quantize import to_half, to_int8

    if precision == "float16":
        return {name: to_half(content) for name, content in networks.files.items()}
    shots = material.spread(_CALIBRATED)
    images = (networks.detector.preprocess([shot.read()])[0] for shot in shots)
    smaller = {DET_FILE: to_int8(networks.files[DET_FILE], images)}
    groups = networks.categories.posed.values()
    for name, group, estimator in zip(_pose_files(networks.categories), groups, networks.estimators, strict=True):
        smaller[name] = to_int8(networks.files[name], _crops(shots, group, networks.detector, estimator))
    return smaller


def _crops(
    shots: tuple[Shot, ...], group: Categories, detector: OnnxDetector, estimator: OnnxEstimator
) -> Iterator[Singles]:
    """Yield the crops of the objects of a skeleton in each image; without labels, that of the best detection."""
    labeled = [np.isin(shot.category_ids, list(group)) for shot in shots]
    useful = [(shot, own) for shot, own in zip(shots, labeled, strict=True) if own.any() or not len(own)]
    for shot, own in useful or zip(shots, labeled, strict=True):
        image, boxes = shot.read(), shot.boxes[own]
        if not len(boxes):
            boxes = detector([image])[0].boxes[:1]
        if len(boxes):
            yield estimator.preprocess([image], [0] * len(boxes), crops_of(boxes, estimator.network))


def _measure(
    networks: _Networks, material: ExportMaterial, truth: Dataset | None, progress: Progress
) -> PrecisionCosts:
    det, *poses = map(len, networks.files.values())
    models = tuple(by_category(networks.categories, networks.detector, networks.estimators))
    precision, sizes, time = networks.precision, (det, sum(poses)), milliseconds(networks.detector, models, material)
    if truth is None:
        return PrecisionCosts(precision, sizes, time)
    told = partial(_of_precision, precision, progress)
    return PrecisionCosts(precision, sizes, time, stored_scores(networks.detector, models, truth, told))


def _of_precision(precision: Precision, progress: Progress, what: str, done: int, total: int) -> None:
    progress(f"{what} {precision}", done, total)


def _described(
    request: ExportRequest,
    networks: _Networks,
    measured: PrecisionCosts,
    material: ExportMaterial,
) -> tuple[PairManifest, dict[str, bytes]]:
    thresholds = Thresholds(bbox_thr=request.bbox_thr, nms_thr=request.nms_thr, kpt_thr=request.kpt_thr)
    categories, det, poses = networks.categories, request.pair.det, request.pair.poses
    # With several categories the pipeline finds their classes by name.
    label = networks.detector.classes.index(categories.skeletons[0].category.name)
    models = networks.detector, networks.estimators, categories
    pipeline = PosePipeline(*models, label=label, **thresholds.model_dump())
    samples, images = samples_of(pipeline, material, request.samples, named=len(categories) > 1)
    packages = ("torch", "mmdet", "mmpose", "onnx", "onnxruntime")
    common: dict[str, object] = {"made_by": made_by(*packages), "precision": request.precision}
    common |= {"det": networks.detector.network, "thresholds": thresholds, "samples": samples}
    if len(categories) == 1:
        metrics = {**_of_training(det), **_of_training(poses[0]), **measured.metrics}
        own = {"skeleton": categories.only, "pose": networks.estimators[0].network, "metrics": metrics}
        return Manifest.model_validate({**common, **own}), images
    served = zip(networks.estimators, categories.posed.values(), poses, strict=True)
    entries = [
        {**one.network.model_dump(), "categories": tuple(group.ids), "metrics": _of_training(model)}
        for one, group, model in served
    ]
    metrics = {**_of_training(det), **measured.metrics}
    own = {"skeletons": categories.skeletons, "poses": entries, "metrics": metrics}
    return CategoriesManifest.model_validate({**common, **own}), images


def _of_training(model: ModelFiles) -> dict[str, float | None]:
    """Return the metrics that ``posetools train`` recorded for this checkpoint."""
    return (recorded_metrics(model.checkpoint) if isinstance(model.checkpoint, Path) else None) or {}


def made_by(*packages: str) -> str:
    """Return the versions of posetools and of some packages, for a manifest."""
    from importlib.metadata import version

    from posetools import __version__

    return ", ".join([f"posetools {__version__}", *(f"{name} {version(name)}" for name in packages)])
