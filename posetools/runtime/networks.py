"""The two networks of a bundle as a detector and a pose estimator: pictures in, boxes and keypoints out.

They are what ``posetools.runtime.results`` calls Detects and Estimates, as OpenMMLab's models in ``posetools.mm`` are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from posetools.core.geometry import Floats, Ints
from posetools.errors import RequestError, must_be
from posetools.imaging.header import Picture
from posetools.runtime.backend import Session, Shape, Singles
from posetools.runtime.decode import detections, heatmaps_of, keypoints
from posetools.runtime.manifest import DetNetwork, PoseNetwork
from posetools.runtime.preprocess import Crops, crop, crops_of, letterbox, normalise, tables
from posetools.runtime.results import Detections, Poses, heatmap_size

DETS = "dets"
SIMCC_X, SIMCC_Y = "simcc_x", "simcc_y"
# cv2.warpAffine counts in 16 bits.
LONGEST_SIDE = 32766


class OnnxDetector:
    """A detector.

    Attributes:
        classes: the names that labels are indices into.
    """

    def __init__(
        self,
        model: bytes,
        network: DetNetwork,
        device: str = "cpu",
        *,
        source: Path | str = "bundle",
        score_thr: float | None = None,
        batch_size: int = 4,
    ) -> None:
        """Make it ready.

        Args:
            model: the ONNX file.
            network: what the manifest says of it.
            device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            source: the bundle, for messages.
            score_thr: leave out boxes below this score as well. The boxes above it are the same then: in NMS a box only
                loses to surer ones.
            batch_size: how many pictures go through the network at once.

        Raises:
            MissingExtraError: the ``runtime`` extra is not installed.
            RequestError: the device is not there.
            InputError: the file may not be run, cannot be, or is not as the manifest says.
        """
        outputs: dict[str, Shape] = {DETS: (None, 4 + len(network.classes))}
        self._session = Session(model, network, outputs, device=device, source=source)
        self._network, self._tables, self._batch_size = network, tables(network), batch_size
        own = np.float32(network.score_thr)
        # One step below, since callers compare with the threshold in double precision.
        asked = np.nextafter(np.float32(score_thr or 0), np.float32(-1))
        self._min_score: np.float32 = max(own, asked)
        self.classes: tuple[str, ...] = network.classes

    def __call__(self, pictures: Sequence[Picture]) -> list[Detections]:
        """Return the boxes found in each picture."""
        found: list[Detections] = []
        for start in range(0, len(pictures), self._batch_size):
            batch, scales = self.preprocess(pictures[start : start + self._batch_size])
            dets = self.run(batch)
            pairs = zip(dets, scales, strict=True)
            found += [detections(one, scale, self._network, self._min_score) for one, scale in pairs]
        return found

    def preprocess(self, pictures: Sequence[Picture]) -> tuple[Singles, list[tuple[float, float]]]:
        """Return the (B, 3, h, w) batch of some pictures, and by how much each one's width and height were scaled."""
        width, height = self._network.input_size
        batch = np.empty((len(pictures), 3, height, width), dtype=np.float32)
        scales = []
        for picture, target in zip(pictures, batch, strict=True):
            fitted, scale = letterbox(picture, self._network)
            normalise(fitted, self._tables, target)
            scales.append(scale)
        return batch, scales

    def run(self, batch: Singles) -> Singles:
        """Return the network's (B, A, 4 + C) output for a batch."""
        return self._session.run(batch)[0]


class OnnxEstimator:
    """A top-down pose estimator."""

    def __init__(
        self,
        model: bytes,
        network: PoseNetwork,
        device: str = "cpu",
        *,
        source: Path | str = "bundle",
        batch_size: int = 32,
    ) -> None:
        """Make it ready.

        Args:
            model: the ONNX file.
            network: what the manifest says of it.
            device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            source: the bundle, for messages.
            batch_size: how many crops go through the network at once.

        Raises:
            MissingExtraError: the ``runtime`` extra is not installed.
            RequestError: the device is not there.
            InputError: the file may not be run, cannot be, or is not as the manifest says.
        """
        wide, high = network.bins
        outputs: dict[str, Shape] = {
            SIMCC_X: (network.num_keypoints, wide),
            SIMCC_Y: (network.num_keypoints, high),
        }
        self._session = Session(model, network, outputs, device=device, source=source)
        self._network, self._tables, self._batch_size = network, tables(network), batch_size

    @property
    def num_keypoints(self) -> int:
        """K."""
        return self._network.num_keypoints

    def estimate(self, pictures: Sequence[Picture], boxes: Sequence[Floats], *, heatmaps: bool = False) -> list[Poses]:
        """Return the keypoints of the (N, 4) boxes of each picture; crops of several pictures share a batch.

        Raises:
            RequestError: a picture is larger than OpenCV can cut crops from.
        """
        for picture in pictures:
            if max(picture.shape) > LONGEST_SIDE:
                size = (picture.shape[1], picture.shape[0])
                raise RequestError(must_be("a picture", f"at most {LONGEST_SIDE} pixels wide and high", size))
        owners = np.repeat(np.arange(len(pictures)), [len(of_picture) for of_picture in boxes])
        crops = crops_of(np.concatenate([*boxes, np.empty((0, 4))]), self._network)
        parts = [
            self._part(pictures, owners, crops, slice(start, start + self._batch_size), heatmaps=heatmaps)
            for start in range(0, len(owners), self._batch_size)
        ]
        found = _joined([*parts, self._nothing(heatmaps=heatmaps)])
        ends = np.cumsum([0, *(len(of_picture) for of_picture in boxes)])
        return [_rows(found, slice(start, end)) for start, end in pairwise(ends)]

    def preprocess(self, pictures: Sequence[Picture], owners: Sequence[int], crops: Crops) -> Singles:
        """Return the (N, 3, h, w) batch of N crops, each of the picture whose index is in ``owners``."""
        width, height = self._network.input_size
        batch = np.empty((len(owners), 3, height, width), dtype=np.float32)
        for owner, centre, size, target in zip(owners, crops.centres, crops.sizes, batch, strict=True):
            normalise(crop(pictures[owner], centre, size, (width, height)), self._tables, target)
        return batch

    def run(self, batch: Singles) -> tuple[Singles, Singles]:
        """Return the network's two outputs for a batch, (N, K, Wx) and (N, K, Wy)."""
        x, y = self._session.run(batch)
        return x, y

    def _part(self, pictures: Sequence[Picture], owners: Ints, crops: Crops, rows: slice, *, heatmaps: bool) -> Poses:
        these = Crops(crops.centres[rows], crops.sizes[rows])
        x, y = self.run(self.preprocess(pictures, owners[rows].tolist(), these))
        return self._poses(x, y, these, with_heatmaps=heatmaps)

    def _nothing(self, *, heatmaps: bool) -> Poses:
        x, y = (np.empty((0, self.num_keypoints, bins), dtype=np.float32) for bins in self._network.bins)
        nowhere = np.empty((0, 2), dtype=np.float32)
        return self._poses(x, y, Crops(nowhere, nowhere), with_heatmaps=heatmaps)

    def _poses(self, simcc_x: Singles, simcc_y: Singles, crops: Crops, *, with_heatmaps: bool) -> Poses:
        points, scores = keypoints(simcc_x, simcc_y, crops, self._network)
        return Poses(
            keypoints=points,
            scores=scores,
            crops=np.concatenate(crops, axis=1).astype(np.float64),
            heatmaps=heatmaps_of(simcc_x, simcc_y, heatmap_size(self._network.input_size)) if with_heatmaps else None,
        )


def _joined(parts: Sequence[Poses]) -> Poses:
    maps = [part.heatmaps for part in parts if part.heatmaps is not None]
    return Poses(
        keypoints=np.concatenate([part.keypoints for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        crops=np.concatenate([part.crops for part in parts]),
        heatmaps=np.concatenate(maps) if maps else None,
    )


def _rows(poses: Poses, rows: slice) -> Poses:
    maps = None if poses.heatmaps is None else poses.heatmaps[rows]
    return Poses(poses.keypoints[rows], poses.scores[rows], poses.crops[rows], maps)
