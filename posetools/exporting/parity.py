"""Compare the ONNX files with the PyTorch models on real images, each with its own preprocessing.

It compares the raw outputs of the networks, on the same input from OpenMMLab's pipeline, and the final boxes and
keypoints of both, each from the image. Two steps depend on which of two numbers is larger, which a difference in the
last bits may change. Such cases are left out and counted:

- NMS: a box that only one side has may be suppressed by another of nearly its score, or by an IoU at the threshold.
- the maximum of SimCC: two bins, possibly far apart, can be equal within the difference of the two outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cache, partial
from typing import Any, TypeAlias

import numpy as np

from posetools.core.geometry import Bools, Floats, Ints, pairwise_iou
from posetools.core.matching import best_free
from posetools.errors import RunError
from posetools.exporting.onnx import det_module, is_rgb, pose_module
from posetools.imaging.header import Pixels
from posetools.mm.inference import Detector, PoseEstimator
from posetools.runtime.manifest import DetNetwork
from posetools.runtime.networks import OnnxDetector, OnnxEstimator, detections
from posetools.runtime.results import Detections, Poses
from posetools.runtime.session import Singles

# The largest allowed differences of boxes and keypoints (pixels), and of scores.
MOST_PIXELS = 0.5
SCORES = 1e-3

# The most objects to compare per image.
_CROPS = 8
# An IoU this near to the NMS threshold may be decided either way.
_OVERLAP = 1e-2
# Single-precision rounding of outputs, relative to the largest.
_ROUNDING = 1e-5


# Returns the boxes of each side before NMS.
DetectionsBeforeNms: TypeAlias = Callable[[], tuple[Detections, Detections]]


@dataclass(slots=True)
class ParityRow:
    """The largest difference of one kind.

    Attributes:
        what: its name.
        unit: ``px`` or nothing.
        limit: the largest allowed difference.
        largest: the largest difference.
        where: its image and object.
        compared: number of values, boxes or keypoints compared.
        left_out: number left out, since both answers are right.
    """

    what: str
    unit: str
    limit: float
    largest: float = 0.0
    where: str = ""
    compared: int = 0
    left_out: int = 0

    def add(self, differences: Floats, place: Callable[[int], str] | str) -> None:
        """Add differences along one axis; ``place`` names the one with an index, or all of them."""
        self.compared += len(differences)
        # NaN counts as an infinite difference.
        sizes = np.where(np.isnan(differences), np.inf, np.abs(differences))
        if len(sizes) and (sizes.max() > self.largest or not self.where):
            self.largest = float(sizes.max())
            self.where = place if isinstance(place, str) else place(int(sizes.argmax()))


@dataclass(slots=True)
class AnyParity:
    """The differences between PyTorch and ONNX.

    Attributes:
        images: number of images compared.
        turned: number of them whose boxes were not compared: for images of the other orientation MMDet swaps the sides
            of a non-square input, but a bundle has one input size.
    """

    images: int = 0
    turned: int = 0

    @property
    def rows(self) -> tuple[ParityRow, ...]:
        """All rows, in the order of processing."""
        every = (getattr(self, field.name) for field in fields(self))
        return tuple(value for value in every if isinstance(value, ParityRow))

    def check(self) -> None:
        """Refuse differences beyond the limits.

        Raises:
            RunError: a difference is too large; the message has the worst one.
        """
        worst = max(self.rows, key=lambda row: row.largest / row.limit)
        if worst.largest > worst.limit:
            others = [row.what for row in self.rows if row.largest > row.limit and row is not worst]
            raise RunError(
                f"the exported networks differ from the PyTorch models: {worst.what} differ by up to "
                f"{worst.largest:.4g}{worst.unit and ' ' + worst.unit}, {worst.limit:g} are allowed; "
                f"at {worst.where}",
                *([f"also too large: {', '.join(others)}"] if others else []),
                "nothing was written",
            )


@dataclass(slots=True)
class Parity(AnyParity):
    """The differences of a detector and its pose estimators."""

    dets: ParityRow = field(default_factory=lambda: ParityRow("boxes before NMS", "px", MOST_PIXELS))
    det_scores: ParityRow = field(default_factory=lambda: ParityRow("their scores", "", SCORES))
    boxes: ParityRow = field(default_factory=lambda: ParityRow("boxes", "px", MOST_PIXELS))
    box_scores: ParityRow = field(default_factory=lambda: ParityRow("scores of boxes", "", SCORES))
    simcc: ParityRow = field(default_factory=lambda: ParityRow("SimCC", "", SCORES))
    keypoints: ParityRow = field(default_factory=lambda: ParityRow("keypoints", "px", MOST_PIXELS))
    keypoint_scores: ParityRow = field(default_factory=lambda: ParityRow("scores of keypoints", "", SCORES))


def compare(
    detector: Detector,
    estimators: Sequence[PoseEstimator],
    exported: tuple[OnnxDetector, Sequence[OnnxEstimator]],
    images: Iterable[tuple[str, Pixels, Floats]],
) -> Parity:
    """Return how much the two sides differ.

    Args:
        detector: PyTorch's.
        estimators: PyTorch's.
        exported: the exported networks of all, in the same order.
        images: name, pixels and (N, 4) object boxes of each image; no boxes means unknown.
    """
    import torch

    parity = Parity()
    onnx_detector, onnx_estimators = exported
    network = onnx_detector.network
    det, modules = det_module(detector, network.input_size), [pose_module(one) for one in estimators]
    with torch.no_grad(), _single_precision():
        for name, image, labeled in images:
            parity.images += 1
            with _fed(detector) as inputs:
                ours = detector([image])[0]
            if tuple(inputs[0].shape[:1:-1]) == network.input_size:
                _compare_dets(parity, name, det(inputs[0]).cpu().numpy(), onnx_detector, inputs[0])
                theirs = onnx_detector([image])[0]
                candidates = cache(partial(_all_candidates, detector, onnx_detector, image))
                _compare_boxes(parity, name, ours, theirs, network, candidates)
            else:
                parity.turned += 1
            boxes = _crops(labeled, ours, image)
            for estimator, pose, onnx_estimator in zip(estimators, modules, onnx_estimators, strict=True):
                with _fed(estimator) as inputs:
                    poses = estimator.estimate([image], [boxes])[0]
                raw = [part.cpu().numpy() for part in pose(inputs[0])]
                tied = _compare_simcc(parity, name, raw, onnx_estimator, inputs[0])
                _compare_keypoints(parity, name, poses, onnx_estimator.estimate([image], [boxes])[0], tied)
    return parity


@contextmanager
def _fed(model: Detector | PoseEstimator) -> Iterator[list[Any]]:
    """Collect the input of the model's network from its own pipeline, channels blue, green, red."""
    import torch

    fed: list[Any] = []

    def remember(_: Any, inputs: tuple[Any, ...]) -> None:
        # With a flip test the mirrored crops follow; the exported graph mirrors crops itself.
        if not fed:
            fed.append(torch.flip(inputs[0], (1,)) if is_rgb(model.model) else inputs[0])

    hook = model.model.backbone.register_forward_pre_hook(remember)
    try:
        yield fed
    finally:
        hook.remove()


@contextmanager
def _single_precision() -> Iterator[None]:
    """Disable TF32 (ten-bit factors) on a GPU during the comparison."""
    import torch

    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def _crops(labeled: Floats, found: Detections, image: Pixels) -> Floats:
    """Return (N, 4) boxes for pose estimation: the labeled ones, else the best detections, else the whole image."""
    boxes = labeled if len(labeled) else found.boxes
    sides = boxes[:, 2:] - boxes[:, :2]
    boxes = boxes[(sides > 1).all(axis=1)][:_CROPS]
    whole = np.array([[0.0, 0.0, image.shape[1], image.shape[0]]])
    return boxes if len(boxes) else whole


def _compare_dets(parity: Parity, name: str, ours: Singles, exported: OnnxDetector, inputs: Any) -> None:
    theirs = exported.run(inputs.cpu().numpy())
    width, height = exported.network.input_size
    limits = np.array([width, height, width, height])
    # Both sides clip boxes to the image.
    boxes = [np.clip(rows[0, :, :4].astype(np.float64), 0, limits) for rows in (ours, theirs)]
    parity.dets.add(np.abs(boxes[0] - boxes[1]).max(axis=1), lambda i: f"{name}, anchor point {i}")
    scores = np.abs(ours[0, :, 4:].astype(np.float64) - theirs[0, :, 4:]).max(axis=1)
    parity.det_scores.add(scores, lambda i: f"{name}, anchor point {i}")


def _compare_boxes(
    parity: Parity,
    name: str,
    ours: Detections,
    theirs: Detections,
    network: DetNetwork,
    candidates: DetectionsBeforeNms,
) -> None:
    pixels = np.abs(ours.boxes[:, None] - theirs.boxes[None]).max(axis=2)
    scores = np.abs(ours.scores[:, None] - theirs.scores[None])
    rows, columns = best_free(np.where(_alike(ours, theirs), -pixels, -np.inf)).T
    parity.boxes.add(pixels[rows, columns], lambda i: f"{name}, box {rows[i]}")
    parity.box_scores.add(scores[rows, columns], lambda i: f"{name}, box {rows[i]}")
    lone = np.setdiff1d(np.arange(len(ours)), rows), np.setdiff1d(np.arange(len(theirs)), columns)
    if not len(lone[0]) and not len(lone[1]):
        return
    sides = _ParitySide(ours, lone[0], candidates()[0]), _ParitySide(theirs, lone[1], candidates()[1])
    tied = _tied(sides, network)
    for side, other, ties, backend in zip(sides, sides[::-1], tied, ("PyTorch", "ONNX"), strict=True):
        parity.boxes.left_out += int(ties.sum())
        for i in side.lone[~ties]:
            near = np.abs(other.found.boxes - side.found.boxes[i]).max(axis=1)
            place = f"{name}, box {i} of {backend} (score {side.found.scores[i]:.3f})"
            parity.boxes.add(np.array([near.min() if len(near) else np.inf]), place)
            score = np.abs(other.found.scores[near.argmin()] - side.found.scores[i]) if len(near) else np.inf
            parity.box_scores.add(np.array([score]), place)


@dataclass(frozen=True, slots=True)
class _ParitySide:
    """One side: its boxes, the rows of those missing on the other side, and its boxes before NMS."""

    found: Detections
    lone: Ints
    candidates: Detections


def _alike(a: Detections, b: Detections) -> Bools:
    """Return (N, M) whether two boxes are equal within the limits."""
    pixels = np.abs(a.boxes[:, None] - b.boxes[None]).max(axis=2)
    scores = np.abs(a.scores[:, None] - b.scores[None])
    alike: Bools = (a.labels[:, None] == b.labels[None]) & (pixels <= MOST_PIXELS) & (scores <= SCORES)
    return alike


def _tied(sides: tuple[_ParitySide, _ParitySide], network: DetNetwork) -> tuple[Bools, Bools]:
    """Return which lone boxes of each side are due to rounding, directly or through other such boxes in NMS."""
    tied = _explained(sides[0], sides[1], network), _explained(sides[1], sides[0], network)
    while True:
        more = _beside(sides[0], sides[1], tied[1], network), _beside(sides[1], sides[0], tied[0], network)
        extended = tied[0] | more[0], tied[1] | more[1]
        if all((a == b).all() for a, b in zip(extended, tied, strict=True)):
            return tied
        tied = extended


def _explained(side: _ParitySide, other: _ParitySide, network: DetNetwork) -> Bools:
    """Return which lone boxes the other side may have lost, or this one gained, by rounding."""
    mine, theirs = side.found[side.lone], other.found
    at_score = mine.scores - network.score_thr <= SCORES
    last = theirs.scores.min() if len(theirs) >= network.max_per_img else -np.inf
    overlap = pairwise_iou(mine.boxes, theirs.boxes)
    at_threshold = np.abs(overlap - network.iou_threshold) <= _OVERLAP
    as_sure = np.abs(mine.scores[:, None] - theirs.scores[None]) <= SCORES
    rivals = (mine.labels[:, None] == theirs.labels[None]) & (overlap > network.iou_threshold - _OVERLAP)
    by_nms = (rivals & (at_threshold | as_sure)).any(axis=1)
    explained: Bools = at_score | (_there(side, other) & (by_nms | (mine.scores - last <= SCORES)))
    return explained


def _beside(side: _ParitySide, other: _ParitySide, tied: Bools, network: DetNetwork) -> Bools:
    """Return which lone boxes overlap one that only the other side has, due to rounding."""
    mine, theirs = side.found[side.lone], other.found[other.lone[tied]]
    near = pairwise_iou(mine.boxes, theirs.boxes) > network.iou_threshold - _OVERLAP
    beside: Bools = _there(side, other) & near.any(axis=1)
    return beside


def _there(side: _ParitySide, other: _ParitySide) -> Bools:
    """Return which lone boxes the other side had before NMS: a box it never had is not due to rounding."""
    there: Bools = _alike(side.found[side.lone], other.candidates).any(axis=1)
    return there


def _all_candidates(detector: Detector, exported: OnnxDetector, image: Pixels) -> tuple[Detections, Detections]:
    """Return the boxes of each side before NMS, in pixels of the image."""
    settings = detector.model.bbox_head.test_cfg
    nms, most = settings.nms, settings.max_per_img
    every = exported.network.model_copy(update={"iou_threshold": 1.0, "max_per_img": 1 << 30})
    settings.nms, settings.max_per_img = {**nms, "iou_threshold": 1.0}, every.max_per_img
    try:
        ours = detector([image])[0]
    finally:
        settings.nms, settings.max_per_img = nms, most
    batch, scales = exported.preprocess([image])
    dets = exported.run(batch)[0]
    return ours, detections(dets, scales[0], every, np.float32(every.score_thr))


def _compare_simcc(parity: Parity, name: str, ours: Sequence[Singles], exported: OnnxEstimator, inputs: Any) -> Bools:
    """Compare the outputs, and return (N, K) whether their difference can change a keypoint's maximum."""
    theirs = exported.run(inputs.cpu().numpy())
    # MMPose has no location for keypoints with a score of at most 0.
    tied: Bools = np.abs(np.minimum(ours[0].max(axis=2), ours[1].max(axis=2))) <= _ROUNDING
    for one, other, axis in zip(ours, theirs, "xy", strict=True):
        difference = np.abs(one.astype(np.float64) - other).max(axis=2)
        crop, keypoint = np.unravel_index(difference.argmax(), difference.shape)
        parity.simcc.add(difference.ravel(), f"{name}, crop {crop}, keypoint {keypoint}, {axis}")
        first, second = np.sort(one.astype(np.float64), axis=2)[..., -1:-3:-1].transpose(2, 0, 1)
        noise = np.minimum(difference, SCORES) + _ROUNDING * np.maximum(np.abs(first), 1.0)
        tied |= first - second <= 2 * noise
    return tied


def _compare_keypoints(parity: Parity, name: str, ours: Poses, theirs: Poses, tied: Bools) -> None:
    k = ours.scores.shape[1]
    pixels = np.abs(ours.keypoints - theirs.keypoints).max(axis=2)
    rows, columns = np.nonzero(~tied)
    parity.keypoints.add(pixels[rows, columns], lambda i: f"{name}, crop {rows[i]}, keypoint {columns[i]}")
    parity.keypoints.left_out += int((tied & (pixels > MOST_PIXELS)).sum())
    scores = np.abs(ours.scores - theirs.scores)
    parity.keypoint_scores.add(scores.ravel(), lambda i: f"{name}, crop {i // k}, keypoint {i % k}")
