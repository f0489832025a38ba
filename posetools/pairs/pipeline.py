"""The pipeline of a detector and a pose estimator: from an image to its objects and their keypoints.

    from posetools import PosePipeline
    pipeline = PosePipeline.from_run("work_dirs")
    result = pipeline("street.jpg")
    result.boxes, result.keypoints, result.keypoint_scores

The two models are OpenMMLab's (``from_run``, ``from_configs``; the ``train`` extra) or a bundle's (``from_bundle``; the
``runtime`` extra, without torch); the results are the same plain arrays. The steps are those of MMPose's top-down demo:
boxes of one class above a score, NMS, keypoints in each. An image without objects gives a result without objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np

from posetools.core.skeleton import Skeleton
from posetools.errors import RequestError
from posetools.imaging.frames import read_image
from posetools.imaging.header import Pixels
from posetools.pairs.open import DEFAULT_PIPELINE, Named, OpenPair, PipelineOptions, open_pair
from posetools.runtime.results import (
    BBOX_THR,
    KPT_THR,
    NMS_THR,
    AnyDetector,
    AnyEstimator,
    Detections,
    PoseResult,
    box_nms,
    label_of,
)

# Images per batch; their crops share batches of the pose network.
_IMAGES_AT_ONCE = 8


class PosePipeline:
    """A detector and a pose estimator, called with images.

    Attributes:
        detector: predicts the boxes.
        estimator: predicts the keypoints in them.
        skeleton: the K keypoints.
        label: the class to use, an index into ``detector.classes``.
        bbox_thr: boxes must have a higher score.
        nms_thr: a box is dropped if it overlaps one with a higher score by more than this IoU.
        kpt_thr: keypoints with a lower score are not drawn.
        heatmaps: whether results have heatmaps.
        doubts: a warning for each model whose AP was 0, or was never measured.
    """

    def __init__(
        self,
        detector: AnyDetector,
        estimator: AnyEstimator,
        skeleton: Skeleton,
        *,
        label: int = 0,
        bbox_thr: float = BBOX_THR,
        nms_thr: float = NMS_THR,
        kpt_thr: float = KPT_THR,
        heatmaps: bool = False,
    ) -> None:
        """Join two models.

        Raises:
            RequestError: ``label`` is not a class of the detector, or the skeleton has other keypoints.
        """
        if not 0 <= label < max(len(detector.classes), 1):
            raise RequestError(
                f"--det-cat-id must be 0 to {len(detector.classes) - 1}, the detector's classes, got {label}"
            )
        if estimator.num_keypoints != skeleton.num_keypoints:
            raise RequestError(
                f"the pose estimator predicts {estimator.num_keypoints} keypoints, but skeleton {skeleton.name} has "
                f"{skeleton.num_keypoints}",
                hint="use the --skeleton that it was trained with",
            )
        self.doubts: tuple[str, ...] = ()
        self.detector, self.estimator, self.skeleton, self.label = detector, estimator, skeleton, label
        self.bbox_thr, self.nms_thr, self.kpt_thr, self.heatmaps = bbox_thr, nms_thr, kpt_thr, heatmaps

    @classmethod
    def from_run(cls, run: str | Path, options: PipelineOptions = DEFAULT_PIPELINE) -> PosePipeline:
        """Return the pair that ``posetools train`` wrote to the folders below ``run``.

        Raises:
            MissingExtraError: the ``train`` extra is not installed.
            RequestError: ``run`` does not have one detector and one pose estimator, or an option is not available.
            InputError: a file cannot be read.
        """
        return cls._of(open_pair(options, run=run, fast=True, what="PosePipeline.from_run"), options)

    @classmethod
    def from_configs(cls, det: Named, pose: Named, options: PipelineOptions = DEFAULT_PIPELINE) -> PosePipeline:
        """Return any MMDet detector with any top-down MMPose model.

        Args:
            det: the detector: a config file or the name of a config in mmdet, and a checkpoint file or URL.
            pose: the pose estimator: the same, of mmpose.
            options: the user's options.

        Raises:
            MissingExtraError: the ``train`` extra is not installed.
            RequestError: a name or URL does not exist, or an option is not available.
            InputError: a file cannot be read, or config and checkpoint do not belong together.
        """
        return cls._of(open_pair(options, det=det, pose=pose, fast=True, what="PosePipeline.from_configs"), options)

    @classmethod
    def from_bundle(cls, bundle: str | Path, options: PipelineOptions = DEFAULT_PIPELINE) -> PosePipeline:
        """Return the pair in a bundle of ``posetools export``; torch and OpenMMLab are not needed.

        Raises:
            MissingExtraError: the ``runtime`` extra is not installed.
            RequestError: an option is not available for a bundle.
            InputError: the file is not a bundle, or is damaged.
        """
        return cls._of(open_pair(options, bundle=bundle, fast=True), options)

    @classmethod
    def _of(cls, pair: OpenPair[AnyDetector, AnyEstimator], options: PipelineOptions) -> PosePipeline:
        classes, label = pair.detector.classes, options.det_cat_id
        if label is None:
            hint = "choose one with `posetools predict --det-cat-id N`, counted from 0"
            label = label_of(classes, pair.skeleton, pair.source, hint=hint) if len(classes) > 1 else 0
        models, thresholds = (pair.detector, pair.estimator, pair.skeleton), pair.thresholds.model_dump()
        pipeline = cls(*models, label=label, heatmaps=options.heatmaps, **thresholds)
        pipeline.doubts = pair.doubts
        return pipeline

    # A str is a sequence of str to the type checker, so the two overlap.
    @overload
    def __call__(self, images: str | Path | Pixels) -> PoseResult: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, images: Sequence[str | Path | Pixels]) -> list[PoseResult]: ...

    def __call__(self, images: str | Path | Pixels | Sequence[str | Path | Pixels]) -> PoseResult | list[PoseResult]:
        """Return the objects in an image, or in each of several.

        Args:
            images: a file, or an array (H, W, 3) of uint8, blue, green, red; or a sequence of them.

        Raises:
            InputError: a file cannot be read.
            RequestError: an array is not an image.
        """
        if isinstance(images, str | Path | np.ndarray):
            return self._predict([images])[0]
        rest = iter(images)
        return [
            result for batch in iter(lambda: list(islice(rest, _IMAGES_AT_ONCE)), []) for result in self._predict(batch)
        ]

    def _predict(self, given: Sequence[str | Path | Pixels]) -> list[PoseResult]:
        paths = [Path(one) if isinstance(one, str | Path) else None for one in given]
        images = [_checked(one) if isinstance(one, np.ndarray) else read_image(Path(one)) for one in given]
        return [replace(result, path=path) for result, path in zip(self.predict(images), paths, strict=True)]

    def predict(self, images: Sequence[Pixels]) -> list[PoseResult]:
        """Return the objects in each of a few images in memory; all of them share batches."""
        found = [self._kept(detections) for detections in self.detector(images)]
        poses = self.estimator.estimate(images, [one.boxes for one in found], heatmaps=self.heatmaps)
        return [
            PoseResult(
                boxes=one.boxes,
                scores=one.scores,
                keypoints=pose.keypoints,
                keypoint_scores=pose.scores,
                heatmaps=pose.heatmaps,
                crops=pose.crops,
                skeleton=self.skeleton,
                image=image,
                _raw=pose.raw,
            )
            for image, one, pose in zip(images, found, poses, strict=True)
        ]

    def _kept(self, found: Detections) -> Detections:
        rows = (found.labels == self.label) & (found.scores > self.bbox_thr)
        sure = found[rows]
        return sure[box_nms(sure.boxes, sure.scores, self.nms_thr)]


def _checked(image: Pixels) -> Pixels:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise RequestError(
            f"an image must be an array (H, W, 3) of uint8 (blue, green, red), got {image.shape} of {image.dtype}"
        )
    return image
