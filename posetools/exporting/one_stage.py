"""Export one network for boxes and keypoints as a bundle, from any trainer.

The ONNX file and the trainer's own network run on the same images. Both get the same pixels and decode their outputs
with the same code, so only the networks can differ. Boxes of both sides are paired; a box that only one side has may be
due to rounding: its score is at the threshold, or it overlaps a box of nearly its score, and NMS keeps either. Such
boxes are counted. Keypoints are compared in the same boxes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from posetools.core.categories import Categories
from posetools.core.geometry import Bools, Floats, pairwise_iou
from posetools.core.matching import best_free
from posetools.exporting.export import ExportResult, PrecisionCosts, made_by
from posetools.exporting.exporter import BUNDLE, check_out
from posetools.exporting.material import ExportMaterial, gather
from posetools.exporting.measured import COMPARED, by_category, milliseconds, stored_scores
from posetools.exporting.parity import MOST_PIXELS, SCORES, AnyParity, ParityRow
from posetools.exporting.samples import samples_of
from posetools.files.locks import only_one
from posetools.imaging.header import Pixels
from posetools.pairs.find import check_split
from posetools.pairs.pipeline import PosePipeline
from posetools.progress import Progress, silent
from posetools.runtime.bundle import write_bundle
from posetools.runtime.manifest import OneStageManifest, Thresholds
from posetools.runtime.one_stage import OneStageModel, onnx_run
from posetools.runtime.results import Detections

# Boxes that overlap by this may suppress each other, and scores this near decide which one.
_RIVALS = 0.4
_NEAR_SCORE = 0.01
# The most boxes of an image whose keypoints are compared.
_MOST_BOXES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class OneStageExport:
    """What to export.

    Attributes:
        trained: the trainer's own network.
        categories: what it detects.
        onnx: the ONNX file; posetools/runtime/manifest.py has its inputs and outputs.
        packages: those whose versions the bundle records.
        out: the bundle to write.
        data: a labeled data set to measure the bundle on, or None.
        known_data: the data set of the run, for images; used if it exists.
        split: of the data set.
        images: files, folders or patterns to compare on and take samples from; none: the data set's.
        samples: number of images in the bundle with their expected output.
        thresholds: the bundle's defaults for prediction.
        metrics: that training recorded.
        doubts: warnings about the run.
        overwrite: replace ``out``.
    """

    trained: OneStageModel
    categories: Categories
    onnx: bytes
    packages: Sequence[str]
    out: Path
    data: Path | None = None
    known_data: Path | None = None
    split: str = "val"
    images: tuple[str, ...] = ()
    samples: int = 4
    thresholds: Thresholds
    metrics: dict[str, float | None] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    overwrite: bool = False


@dataclass(slots=True)
class OneStageParity(AnyParity):
    """The differences of one network."""

    boxes: ParityRow = field(default_factory=lambda: ParityRow("boxes", "px", MOST_PIXELS))
    scores: ParityRow = field(default_factory=lambda: ParityRow("scores of boxes", "", SCORES))
    keypoints: ParityRow = field(default_factory=lambda: ParityRow("keypoints", "px", MOST_PIXELS))
    keypoint_scores: ParityRow = field(default_factory=lambda: ParityRow("scores of keypoints", "", SCORES))


def export_one_stage(request: OneStageExport, progress: Progress = silent) -> ExportResult:
    """Write a bundle.

    Raises:
        MissingExtraError: the ``runtime`` extra is not installed.
        RequestError: the request cannot be exported, or another run writes the same file.
        InputError: a file cannot be read, or the ONNX file has other inputs or outputs.
        RunError: the ONNX file differs from the trainer's network; nothing was written.
        OutputError: the bundle cannot be written.
    """
    check_out(request.out, BUNDLE.suffix, overwrite=request.overwrite)
    if request.data is not None:
        check_split(request.data, request.split)
    categories, content = request.categories, request.onnx
    network = request.trained.network.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    material = gather(request.images, request.data, request.known_data, request.split, categories)
    with only_one(request.out):
        model = OneStageModel(onnx_run(content, network), network)
        parity = compare(request.trained, model, material, progress)
        parity.check()
        estimators = model.estimators(categories)
        models = tuple(by_category(categories, model, estimators))
        labeled = material.truth if request.data else None
        metrics = {} if labeled is None else stored_scores(model, models, labeled, progress)
        measured = PrecisionCosts("float32", (len(content),), milliseconds(model, models, material), metrics)
        pipeline = PosePipeline(model, estimators, categories, **request.thresholds.model_dump())
        samples, images = samples_of(pipeline, material, request.samples, named=True)
        manifest = OneStageManifest.model_validate(
            {
                "made_by": made_by(*request.packages),
                "precision": "float32",
                "skeletons": categories.skeletons,
                "network": network,
                "thresholds": request.thresholds,
                "metrics": {**request.metrics, **metrics},
                "samples": samples,
            }
        )
        write_bundle(request.out, manifest, {network.file: content, **images})
    return ExportResult(request.out, manifest, material.source, parity, (measured,), request.doubts)


def compare(
    trained: OneStageModel, exported: OneStageModel, material: ExportMaterial, progress: Progress = silent
) -> OneStageParity:
    """Return how much the two networks differ on some of the images."""
    parity, shots = OneStageParity(), material.spread(COMPARED)
    for number, shot in enumerate(shots, start=1):
        image = shot.read()
        parity.images += 1
        ours, theirs = trained([image])[0], exported([image])[0]
        _compare_boxes(parity, shot.name, ours, theirs)
        boxes = shot.boxes if len(shot.boxes) else ours.boxes
        _compare_keypoints(parity, shot.name, trained, exported, image, boxes[:_MOST_BOXES])
        progress("comparing with PyTorch", number, len(shots))
    return parity


def _compare_boxes(parity: OneStageParity, name: str, ours: Detections, theirs: Detections) -> None:
    pixels = np.abs(ours.boxes[:, None] - theirs.boxes[None]).max(axis=2)
    scores = np.abs(ours.scores[:, None] - theirs.scores[None])
    alike = (ours.labels[:, None] == theirs.labels[None]) & (pixels <= MOST_PIXELS) & (scores <= SCORES)
    rows, columns = best_free(np.where(alike, -pixels, -np.inf)).T
    parity.boxes.add(pixels[rows, columns], lambda i: f"{name}, box {rows[i]}")
    parity.scores.add(scores[rows, columns], lambda i: f"{name}, box {rows[i]}")
    sides = ((ours, theirs, rows, "PyTorch"), (theirs, ours, columns, "ONNX"))
    for side, other, paired, backend in sides:
        lone = np.setdiff1d(np.arange(len(side)), paired)
        tied = _tied(side[lone], other, smallest=min([*ours.scores, *theirs.scores]))
        parity.boxes.left_out += int(tied.sum())
        for row in lone[~tied]:
            parity.boxes.add(np.array([np.inf]), f"{name}, box {row} of {backend} (score {side.scores[row]:.3f})")


def _tied(lone: Detections, other: Detections, *, smallest: float) -> Bools:
    """Return which boxes the other side may have lost by rounding."""
    rivals = (lone.labels[:, None] == other.labels[None]) & (pairwise_iou(lone.boxes, other.boxes) > _RIVALS)
    near = np.abs(lone.scores[:, None] - other.scores[None]) <= _NEAR_SCORE
    tied: Bools = (lone.scores - smallest <= _NEAR_SCORE) | (rivals & near).any(axis=1)
    return tied


def _compare_keypoints(
    parity: OneStageParity, name: str, trained: OneStageModel, exported: OneStageModel, image: Pixels, boxes: Floats
) -> None:
    # Shifted, so that neither side has them from its own detection.
    boxes = boxes + 1e-3
    (inside, ours), (_, theirs) = trained.heatmaps(image, boxes), exported.heatmaps(image, boxes)
    points, scores = trained.points(image, inside, ours)
    others, other_scores = exported.points(image, inside, theirs)
    apart = np.abs(points - others).max(axis=2)
    # Two cells whose logits differ by less than the two heatmaps do: either may be the largest.
    noise = np.abs(ours - theirs).max(axis=(2, 3))
    highest = np.sort(ours.reshape(*ours.shape[:2], -1), axis=2)[..., -2:]
    tied = (apart > MOST_PIXELS) & (noise <= SCORES) & (highest[..., 1] - highest[..., 0] <= 2 * noise)
    parity.keypoints.left_out += int(tied.sum())
    rows, columns = np.nonzero(~tied)
    parity.keypoints.add(apart[rows, columns], lambda i: f"{name}, box {rows[i]}, keypoint {columns[i]}")
    differences = np.abs(scores - other_scores)[~tied]
    parity.keypoint_scores.add(differences, lambda i: f"{name}, box {rows[i]}, keypoint {columns[i]}")
