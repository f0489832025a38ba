"""Whether the ONNX files give what the PyTorch models give, on real images, each by its own preprocessing.

Compared are the networks' own outputs, on the very input that OpenMMLab's pipeline makes of an image, and the boxes
and keypoints that come out at the end of both, each from the image itself. Two things hang on which of two numbers
is larger, which a difference in the last bits may turn round. Where that is so, the case is left out and counted:

- NMS: a box that only one side has may have fallen to another of nearly its score, or by an IoU at the threshold.
- the maximum of SimCC: two bins, which may lie far apart, can be equal but for the difference of the two outputs.
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

# The most that boxes and keypoints (pixels) and scores may differ.
MOST_PIXELS = 0.5
SCORES = 1e-3

# Of the objects that are found in an image without labels, so many are looked at.
_CROPS = 8
# Two overlaps this near to the threshold of NMS may be decided either way.
_OVERLAP = 1e-2
# Rounding of single precision in outputs, relative to the largest.
_ROUNDING = 1e-5


# Gives what each side has before NMS.
DetectionsBeforeNms: TypeAlias = Callable[[], tuple[Detections, Detections]]


@dataclass(slots=True)
class ParityRow:
    """The largest difference of one kind.

    Attributes:
        what: its name.
        unit: ``px`` or nothing.
        limit: the most that it may be.
        largest: what it is.
        where: the image and the object that have it.
        compared: how many numbers, boxes or keypoints were compared.
        left_out: how many were not, since both answers are right.
    """

    what: str
    unit: str
    limit: float
    largest: float = 0.0
    where: str = ""
    compared: int = 0
    left_out: int = 0

    def add(self, differences: Floats, place: Callable[[int], str] | str) -> None:
        """Take differences along one axis; ``place`` names the one with an index, or all of them."""
        self.compared += len(differences)
        # A number that is none is the largest difference there is.
        sizes = np.where(np.isnan(differences), np.inf, np.abs(differences))
        if len(sizes) and (sizes.max() > self.largest or not self.where):
            self.largest = float(sizes.max())
            self.where = place if isinstance(place, str) else place(int(sizes.argmax()))


@dataclass(slots=True)
class Parity:
    """The differences between PyTorch and ONNX.

    Attributes:
        images: how many were looked at.
        turned: in how many of them boxes were not: MMDet turns an input that is not square for images of the other
            orientation, where a bundle scales them into the one input that it has.
    """

    images: int = 0
    turned: int = 0
    dets: ParityRow = field(default_factory=lambda: ParityRow("boxes before NMS", "px", MOST_PIXELS))
    det_scores: ParityRow = field(default_factory=lambda: ParityRow("their scores", "", SCORES))
    boxes: ParityRow = field(default_factory=lambda: ParityRow("boxes", "px", MOST_PIXELS))
    box_scores: ParityRow = field(default_factory=lambda: ParityRow("scores of boxes", "", SCORES))
    simcc: ParityRow = field(default_factory=lambda: ParityRow("SimCC", "", SCORES))
    keypoints: ParityRow = field(default_factory=lambda: ParityRow("keypoints", "px", MOST_PIXELS))
    keypoint_scores: ParityRow = field(default_factory=lambda: ParityRow("scores of keypoints", "", SCORES))

    @property
    def rows(self) -> tuple[ParityRow, ...]:
        """All of them, in the order in which they come about."""
        every = (getattr(self, field.name) for field in fields(self))
        return tuple(value for value in every if isinstance(value, ParityRow))

    def check(self) -> None:
        """Refuse differences beyond the limits.

        Raises:
            RunError: one is; the message has the one that is furthest beyond.
        """
        worst = max(self.rows, key=lambda row: row.largest / row.limit)
        if worst.largest > worst.limit:
            others = [row.what for row in self.rows if row.largest > row.limit and row is not worst]
            also = f"\n  too large as well: {', '.join(others)}" if others else ""
            raise RunError(
                f"the exported networks do not give what the PyTorch models give: {worst.what} differ by up to "
                f"{worst.largest:.4g}{worst.unit and ' ' + worst.unit}, {worst.limit:g} are allowed; "
                f"at {worst.where}{also}\n  nothing was written"
            )


def compare(
    detector: Detector,
    estimator: PoseEstimator,
    exported: tuple[OnnxDetector, OnnxEstimator],
    images: Iterable[tuple[str, Pixels, Floats]],
) -> Parity:
    """Return how much the two sides differ.

    Args:
        detector: PyTorch's.
        estimator: likewise.
        exported: what was made of the two.
        images: the name of each, its pixels, and the (N, 4) boxes of its objects; none are as good as not known.
    """
    import torch

    parity = Parity()
    onnx_detector, onnx_estimator = exported
    network = onnx_detector.network
    det, pose = det_module(detector, network.input_size), pose_module(estimator)
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
            with _fed(estimator) as inputs:
                poses = estimator.estimate([image], [boxes])[0]
            raw = [part.cpu().numpy() for part in pose(inputs[0])]
            tied = _compare_simcc(parity, name, raw, onnx_estimator, inputs[0])
            _compare_keypoints(parity, name, poses, onnx_estimator.estimate([image], [boxes])[0], tied)
    return parity


@contextmanager
def _fed(model: Detector | PoseEstimator) -> Iterator[list[Any]]:
    """Collect what the model's own pipeline feeds to its network, channels blue, green, red."""
    import torch

    fed: list[Any] = []

    def remember(_: Any, inputs: tuple[Any, ...]) -> None:
        # With a flip test the mirrored crops follow, of which the exported graph makes its own.
        if not fed:
            fed.append(torch.flip(inputs[0], (1,)) if is_rgb(model.model) else inputs[0])

    hook = model.model.backbone.register_forward_pre_hook(remember)
    try:
        yield fed
    finally:
        hook.remove()


@contextmanager
def _single_precision() -> Iterator[None]:
    """Keep a GPU from rounding factors to TF32, which is ten bits, while the two sides are compared."""
    import torch

    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def _crops(labeled: Floats, found: Detections, image: Pixels) -> Floats:
    """Return (N, 4) boxes to estimate keypoints in: the labeled ones, else the surest found, else all of it."""
    boxes = labeled if len(labeled) else found.boxes
    sides = boxes[:, 2:] - boxes[:, :2]
    boxes = boxes[(sides > 1).all(axis=1)][:_CROPS]
    whole = np.array([[0.0, 0.0, image.shape[1], image.shape[0]]])
    return boxes if len(boxes) else whole


def _compare_dets(parity: Parity, name: str, ours: Singles, exported: OnnxDetector, inputs: Any) -> None:
    theirs = exported.run(inputs.cpu().numpy())
    width, height = exported.network.input_size
    limits = np.array([width, height, width, height])
    # Both sides cut boxes to the image, so what lies beyond it is the same.
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
    """What one side found: its boxes, the rows of those that the other has not, and what was there before NMS."""

    found: Detections
    lone: Ints
    candidates: Detections


def _alike(a: Detections, b: Detections) -> Bools:
    """Return (N, M) whether two boxes are the same within the limits."""
    pixels = np.abs(a.boxes[:, None] - b.boxes[None]).max(axis=2)
    scores = np.abs(a.scores[:, None] - b.scores[None])
    alike: Bools = (a.labels[:, None] == b.labels[None]) & (pixels <= MOST_PIXELS) & (scores <= SCORES)
    return alike


def _tied(sides: tuple[_ParitySide, _ParitySide], network: DetNetwork) -> tuple[Bools, Bools]:
    """Return which lone boxes of each side rounding explains: those that it makes, and those that fall to these."""
    tied = _explained(sides[0], sides[1], network), _explained(sides[1], sides[0], network)
    while True:
        more = _beside(sides[0], sides[1], tied[1], network), _beside(sides[1], sides[0], tied[0], network)
        grown = tied[0] | more[0], tied[1] | more[1]
        if all((a == b).all() for a, b in zip(grown, tied, strict=True)):
            return tied
        tied = grown


def _explained(side: _ParitySide, other: _ParitySide, network: DetNetwork) -> Bools:
    """Return which lone boxes the other side may have lost, or this one gained, by rounding alone."""
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
    """Return which lone boxes overlap one that only the other side has, and that it has by such a chance."""
    mine, theirs = side.found[side.lone], other.found[other.lone[tied]]
    near = pairwise_iou(mine.boxes, theirs.boxes) > network.iou_threshold - _OVERLAP
    beside: Bools = _there(side, other) & near.any(axis=1)
    return beside


def _there(side: _ParitySide, other: _ParitySide) -> Bools:
    """Return which lone boxes the other side had before NMS: one that it never had is no matter of rounding."""
    there: Bools = _alike(side.found[side.lone], other.candidates).any(axis=1)
    return there


def _all_candidates(detector: Detector, exported: OnnxDetector, image: Pixels) -> tuple[Detections, Detections]:
    """Return what each side has before NMS, in pixels of the image."""
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
    """Compare the outputs, and return (N, K) whether a keypoint's maximum is another one by their difference."""
    theirs = exported.run(inputs.cpu().numpy())
    # MMPose has no place for keypoints whose score is not above 0.
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
