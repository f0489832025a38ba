"""The results of a pair of models: boxes, keypoints and scores as plain arrays, for any backend.

``AnyDetector`` and ``AnyEstimator`` are the protocols of the two models; OpenMMLab's models (posetools.mm) and the ONNX
files of a bundle (posetools.runtime) implement them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from posetools.core.categories import Categories
from posetools.core.dataset import Visibility
from posetools.core.geometry import Floats, Ints
from posetools.core.skeleton import Skeleton
from posetools.errors import MissingExtraError, RequestError, show_value
from posetools.imaging.header import Pixels, save_image

if TYPE_CHECKING:
    from PIL import Image as Pillow

    from posetools.imaging.drawing import Style


# The least scores to show, and the IoU above which two boxes are one object: the defaults of MMPose's top-down demo.
BBOX_THR = 0.3
NMS_THR = 0.3
KPT_THR = 0.3
# Input pixels per side of a heatmap cell.
_HEATMAP_STRIDE = 4


@dataclass(frozen=True, slots=True)
class Detections:
    """The N boxes in one image, by descending score.

    Attributes:
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        scores: (N,) 0 to 1.
        labels: (N,) index into the detector's ``classes``.
    """

    boxes: Floats
    scores: Floats
    labels: Ints

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: Any) -> Detections:
        return Detections(self.boxes[rows], self.scores[rows], self.labels[rows])

    def select(self, *, label: int, min_score: float) -> Detections:
        """Return the boxes of one class that have at least that score."""
        return self[(self.labels == label) & (self.scores >= min_score)]


@dataclass(frozen=True, slots=True)
class Poses:
    """The keypoints of N objects of one image.

    Attributes:
        keypoints: (N, K, 2) x, y in pixels of the image.
        scores: (N, K).
        crops: (N, 4) center x, center y, width, height of the padded crops that the network saw, in pixels.
        heatmaps: (N, K, h, w) over the crops, 0 to about 1, if requested; else None.
        raw: returns the backend's own object of the image (MMPose's PoseDataSample), if any.
    """

    keypoints: Floats
    scores: Floats
    crops: Floats
    heatmaps: npt.NDArray[np.float32] | None = None
    raw: Callable[[], Any] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def areas(self) -> Floats:
        """(N,) areas of the crops in square pixels, which MMPose's OKS NMS uses as object areas."""
        areas: Floats = self.crops[:, 2:].prod(axis=1)
        return areas


class AnyDetector(Protocol):
    """A detector."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names that labels are indices into."""

    def __call__(self, images: Sequence[Pixels]) -> list[Detections]:
        """Return the boxes in each image."""


class AnyEstimator(Protocol):
    """A top-down pose estimator."""

    @property
    def num_keypoints(self) -> int:
        """K."""

    def estimate(self, images: Sequence[Pixels], boxes: Sequence[Floats], *, heatmaps: bool = False) -> list[Poses]:
        """Return the keypoints of the (N, 4) boxes of each image; crops of several images share a batch."""


def heatmap_size(input_size: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of the heatmaps of a pose network with that input, in cells.

    It is the size of networks that predict heatmaps; SimCC has several bins per pixel, and each cell gets the largest.
    """
    return max(input_size[0] // _HEATMAP_STRIDE, 1), max(input_size[1] // _HEATMAP_STRIDE, 1)


def shrink_heatmaps(heatmaps: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return heatmaps of at most ``size`` cells, each the maximum of the cells that it replaces.

    Args:
        heatmaps: (..., h, w).
        size: (width, height).
    """
    return block_max(block_max(heatmaps, size[1], -2), size[0], -1)


def block_max(values: npt.NDArray[np.float32], blocks: int, axis: int) -> npt.NDArray[np.float32]:
    """Return the maximum of each of ``blocks`` blocks along an axis, whose lengths differ by at most one."""
    length = values.shape[axis]
    if length <= blocks:
        return values
    largest: npt.NDArray[np.float32] = np.maximum.reduceat(values, np.arange(blocks) * length // blocks, axis=axis)
    return largest


def label_of(classes: Sequence[str], skeleton: Skeleton, source: Path | str, *, hint: str = "") -> int:
    """Return the index of the skeleton's category in a detector's classes.

    Args:
        classes: the detector's.
        skeleton: the skeleton of the objects.
        source: the detector's file, for the message.
        hint: what to do about it.

    Raises:
        RequestError: the detector does not have that category.
    """
    name = skeleton.category.name
    if name not in classes:
        raise RequestError(
            f"{source}: classes must have the skeleton's category {name!r}, got {show_value(list(classes))}", hint=hint
        )
    return classes.index(name)


class SupervisionResult(NamedTuple):
    """The N objects of an image for supervision.

    Attributes:
        detections: ``sv.Detections``, the boxes.
        keypoints: ``sv.KeyPoints``, N objects with K keypoints, in the same order.
    """

    detections: Any
    keypoints: Any


@dataclass(frozen=True, slots=True, eq=False)
class PoseResult:
    """The result of a pipeline for one image: N objects with K columns of keypoints, by descending score.

    With one category the K columns are its keypoints. With several there is a column for each different name of a
    keypoint (``categories.names``): in the columns of other categories an object has NaN as coordinates and 0 as score.
    ``parts`` gives the objects of each skeleton with its own columns.

    Attributes:
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the image.
        scores: (N,) of the boxes, 0 to 1.
        keypoints: (N, K, 2) x, y in pixels of the image, in the order of the skeleton.
        keypoint_scores: (N, K); about 0 to 1.
        heatmaps: (N, K, h, w) over ``crops``, if requested from the pipeline; else None.
        crops: (N, 4) center x, center y, width, height of each object's crop for the pose network, in pixels; NaN for
            categories without keypoints.
        categories: the categories, each with its skeleton: names, colors and links of the keypoints.
        category_ids: (N,) the id of each object's category, a key of ``categories``.
        image: (H, W, 3) the image itself, blue, green, red.
        path: the file that it was read from, if any.
    """

    boxes: Floats
    scores: Floats
    keypoints: Floats
    keypoint_scores: Floats
    heatmaps: npt.NDArray[np.float32] | None
    crops: Floats
    categories: Categories
    category_ids: Ints
    image: Pixels = field(repr=False)
    path: Path | None = None
    _raw: Callable[[], Any] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the image in pixels."""
        return self.image.shape[1], self.image.shape[0]

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the only category.

        Raises:
            ValueError: there are several.
        """
        return self.categories.only

    @property
    def category_names(self) -> tuple[str, ...]:
        """The name of each object's category, N of them."""
        return tuple(self.categories[number].category.name for number in self.category_ids.tolist())

    @property
    def raw(self) -> Any:
        """MMPose's PoseDataSample with all objects of the image, for its visualizers.

        None from a bundle, and with several pose estimators.
        """
        return self._raw() if self._raw else None

    def of_categories(self, categories: Categories) -> PoseResult:
        """Return the objects of some of the categories, which share a skeleton; its K keypoints are the new columns."""
        if categories == self.categories:
            return self
        rows = np.flatnonzero(np.isin(self.category_ids, list(categories)))
        at = np.ix_(rows, self.categories.columns[next(iter(categories))])
        return replace(
            self,
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            keypoints=self.keypoints[at],
            keypoint_scores=self.keypoint_scores[at],
            heatmaps=None if self.heatmaps is None else self.heatmaps[at],
            crops=self.crops[rows],
            categories=categories,
            category_ids=self.category_ids[rows],
            _raw=None,
        )

    def parts(self) -> tuple[PoseResult, ...]:
        """Return for each different skeleton the objects of its categories."""
        return tuple(self.of_categories(group) for group in self.categories.groups)

    def labeled(self, kpt_thr: float = 0.0) -> Floats:
        """Return (N, K, 3) keypoints with visibility: 2, or 0 where the score is below ``kpt_thr``."""
        predicted = (self.keypoint_scores >= kpt_thr) & ~np.isnan(self.keypoints).any(axis=2)
        visible = np.where(predicted, Visibility.VISIBLE, Visibility.NOT_LABELED)
        return np.concatenate([self.keypoints, visible[..., None].astype(np.float64)], axis=2)

    def to_supervision(self, kpt_thr: float = KPT_THR) -> SupervisionResult:
        """Return the objects as the arrays of the package supervision, for its annotators, trackers and zones.

        ``class_id`` is the position of the category in ``categories``, from 0; ``data["class_name"]`` has its name. A
        keypoint that the object's category does not have is at (0, 0) with confidence 0, and not visible.

        Args:
            kpt_thr: keypoints with a lower score are not visible.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        try:
            import supervision as sv
        except ImportError as exc:
            raise MissingExtraError("PoseResult.to_supervision", "supervision", exc.name or "supervision") from exc
        order = list(self.categories)
        labels = np.array([order.index(number) for number in self.category_ids.tolist()], dtype=np.int64)
        data = {"class_name": np.array(self.category_names, dtype=str)}
        scores = self.scores.astype(np.float32)
        keypoints = sv.KeyPoints(
            xy=np.nan_to_num(self.keypoints).astype(np.float32),
            class_id=labels,
            keypoint_confidence=self.keypoint_scores.astype(np.float32),
            detection_confidence=scores,
            visible=self.labeled(kpt_thr)[..., 2] > 0,
            data=dict(data),
        )
        boxes = self.boxes.astype(np.float32)
        return SupervisionResult(sv.Detections(xyxy=boxes, confidence=scores, class_id=labels, data=data), keypoints)

    def draw(
        self,
        path: Path | str | None = None,
        *,
        kpt_thr: float = KPT_THR,
        style: Style | None = None,
        heatmaps: bool = False,
        tags: bool = True,
    ) -> Pillow.Image:
        """Return the image with the objects drawn into it; write it to a file if a path is given.

        Args:
            path: the file to write; its suffix determines the format.
            kpt_thr: keypoints with a lower score are not drawn.
            style: widths and colors; None: adapted to the image.
            heatmaps: paint the heatmaps under the objects, if the result has them.
            tags: write each box's score above it, after its category where there are several.

        Raises:
            OutputError: the file cannot be written.
        """
        from PIL import Image

        from posetools.imaging.drawing import DEFAULT_STYLE, draw_instances, paint_heatmaps

        drawn = Image.fromarray(np.ascontiguousarray(self.image[..., ::-1]))
        posed = ~np.isnan(self.crops[:, 0])
        if heatmaps and self.heatmaps is not None:
            drawn = paint_heatmaps(drawn, self.heatmaps[posed], self.crops[posed])
        style = style or DEFAULT_STYLE
        for part in self.parts():
            names = [f"{name} " if len(self.categories) > 1 else "" for name in part.category_names]
            texts = [f"{name}{score:.2f}" for name, score in zip(names, part.scores, strict=True)]
            drawn = draw_instances(
                drawn,
                part.boxes,
                part.labeled(kpt_thr),
                part.categories.skeletons[0],
                texts=texts if tags and style.boxes else None,
                style=style,
            )
        if path is not None:
            save_image(drawn, Path(path))
        return drawn


def box_nms(boxes: Floats, scores: Floats, nms_thr: float) -> Ints:
    """Return the rows that NMS keeps: boxes that overlap none with a higher score by more than ``nms_thr``.

    It keeps the same boxes in the same order as MMPose's top-down demo (``mmpose.evaluation.functional.nms``, after
    Fast R-CNN's), where a box of x1 to x2 is x2 - x1 + 1 wide.

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        scores: (N,).
        nms_thr: IoU.
    """
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    areas = sides.prod(axis=1)
    left = scores.argsort()[::-1]
    kept: list[int] = []
    while left.size:
        first, left = left[0], left[1:]
        kept.append(int(first))
        corners = np.maximum(boxes[first, :2], boxes[left, :2]), np.minimum(boxes[first, 2:], boxes[left, 2:])
        inter = np.maximum(corners[1] - corners[0] + 1, 0.0).prod(axis=1)
        left = left[inter / (areas[first] + areas[left] - inter) <= nms_thr]
    return np.array(kept, dtype=np.int64)
