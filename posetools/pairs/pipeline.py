"""The pipeline of a detector and its pose estimators: from an image to its objects and their keypoints.

    from posetools import PosePipeline
    pipeline = PosePipeline.from_run("work_dirs")
    result = pipeline("street.jpg")
    result.boxes, result.keypoints, result.keypoint_scores

The models are OpenMMLab's (``from_run``, ``from_configs``; the ``train`` extra) or a bundle's (``from_bundle``; the
``runtime`` extra, without torch); the results are the same plain arrays. The steps are those of MMPose's top-down demo:
boxes of one class above a score, NMS, keypoints in each. An image without objects gives a result without objects.
Several categories take the same steps one by one, each with the pose estimator of its skeleton.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from posetools.core.categories import Categories
from posetools.core.geometry import Ints
from posetools.core.skeleton import Skeleton
from posetools.errors import RequestError, counted, must_be
from posetools.imaging.frames import read_image
from posetools.imaging.header import Pixels
from posetools.pairs.find import Named
from posetools.pairs.open import DEFAULT_PIPELINE, OpenPair, PipelineOptions, open_pair
from posetools.runtime.results import (
    BBOX_THR,
    KPT_THR,
    NMS_THR,
    AnyDetector,
    AnyEstimator,
    Detections,
    PoseResult,
    Poses,
    box_nms,
    label_of,
)

# Images per batch; their crops share batches of the pose network.
_IMAGES_AT_ONCE = 8


class PosePipeline:
    """A detector and its pose estimators, called with images.

    Attributes:
        detector: predicts the boxes.
        estimators: predict the keypoints in them: one for each of ``categories.posed``, in its order.
        categories: what is detected, each category with its skeleton.
        labels: category id -> the detector's class, an index into ``detector.classes``.
        bbox_thr: boxes must have a higher score.
        nms_thr: a box is dropped if it overlaps one of its class with a higher score by more than this IoU.
        kpt_thr: keypoints with a lower score are not drawn.
        heatmaps: whether results have heatmaps.
        doubts: a warning for each model whose AP was 0, or was never measured.
    """

    def __init__(
        self,
        detector: AnyDetector,
        estimators: AnyEstimator | Sequence[AnyEstimator],
        categories: Skeleton | Categories,
        *,
        label: int = 0,
        bbox_thr: float = BBOX_THR,
        nms_thr: float = NMS_THR,
        kpt_thr: float = KPT_THR,
        heatmaps: bool = False,
    ) -> None:
        """Join the models.

        Args:
            detector: predicts the boxes.
            estimators: one for each of ``categories.posed``, in its order; or the only one.
            categories: what to detect; or the skeleton of the only category.
            label: the class of the only category, an index into ``detector.classes``; several go by name.
            bbox_thr: boxes must have a higher score.
            nms_thr: NMS within a class.
            kpt_thr: of drawings.
            heatmaps: whether results have heatmaps.

        Raises:
            RequestError: ``label`` is not a class of the detector, it lacks the class of a category, or a pose
                estimator predicts another number of keypoints than its skeleton has.
        """
        self.doubts: tuple[str, ...] = ()
        self.detector, self.categories = detector, Categories.of(categories)
        self.estimators = tuple(estimators) if isinstance(estimators, Sequence) else (estimators,)
        self.labels = self._labels(label)
        self._check_estimators()
        self.bbox_thr, self.nms_thr, self.kpt_thr, self.heatmaps = bbox_thr, nms_thr, kpt_thr, heatmaps

    def _labels(self, label: int) -> dict[int, int]:
        classes, several = self.detector.classes, len(self.categories) > 1
        if several:
            return {number: label_of(classes, one, "the detector") for number, one in self.categories.items()}
        if not 0 <= label < max(len(classes), 1):
            raise RequestError(f"--det-cat-id must be 0 to {len(classes) - 1}, the detector's classes, got {label}")
        return dict.fromkeys(self.categories, label)

    def _check_estimators(self) -> None:
        posed = [group.skeletons[0] for group in self.categories.posed.values()]
        if len(self.estimators) != len(posed):
            raise RequestError(
                f"the pair has {counted(len(self.estimators), 'pose estimator')}, but {self.categories.name} needs "
                f"{len(posed)}",
                hint="use the --skeleton that it was trained with",
            )
        for estimator, skeleton in zip(self.estimators, posed, strict=True):
            if estimator.num_keypoints != skeleton.num_keypoints:
                raise RequestError(
                    f"the pose estimator predicts {estimator.num_keypoints} keypoints, but skeleton {skeleton.name} "
                    f"has {skeleton.num_keypoints}",
                    hint="use the --skeleton that it was trained with",
                )

    @property
    def estimator(self) -> AnyEstimator:
        """The only pose estimator.

        Raises:
            ValueError: there are several.
        """
        (only,) = self.estimators
        return only

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the only category.

        Raises:
            ValueError: there are several.
        """
        return self.categories.only

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
    def from_configs(
        cls, det: Named, pose: Named | Sequence[Named], options: PipelineOptions = DEFAULT_PIPELINE
    ) -> PosePipeline:
        """Return any MMDet detector with any top-down MMPose model.

        Args:
            det: the detector: a config file or the name of a config in mmdet, and a checkpoint file or URL.
            pose: the pose estimator: the same, of mmpose; or one for each skeleton, in their order.
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
        pair, label = _chosen(pair, options.det_cat_id)
        models, thresholds = (pair.detector, pair.estimators, pair.categories), pair.thresholds.model_dump()
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
        groups = [list(group) for group in self.categories.posed.values()]
        rows = [[np.flatnonzero(np.isin(ids, group)) for _, ids in found] for group in groups]
        posed = [
            estimator.estimate(
                images, [one.boxes[at] for (one, _), at in zip(found, own, strict=True)], heatmaps=self.heatmaps
            )
            for estimator, own in zip(self.estimators, rows, strict=True)
        ]
        return [
            self._result(image, one, ids, [(at[i], poses[i]) for at, poses in zip(rows, posed, strict=True)])
            for i, (image, (one, ids)) in enumerate(zip(images, found, strict=True))
        ]

    def _kept(self, found: Detections) -> tuple[Detections, Ints]:
        """Return the boxes of all categories, by descending score, and the category id of each."""
        kept, ids = [], []
        for category, label in self.labels.items():
            sure = np.flatnonzero((found.labels == label) & (found.scores > self.bbox_thr))
            kept.append(sure[box_nms(found.boxes[sure], found.scores[sure], self.nms_thr)])
            ids.append(np.full(len(kept[-1]), category))
        rows = np.concatenate(kept)
        order = np.argsort(-found.scores[rows], kind="stable")
        return found[rows[order]], np.concatenate(ids)[order]

    def _result(
        self, image: Pixels, found: Detections, category_ids: Ints, posed: Sequence[tuple[Ints, Poses]]
    ) -> PoseResult:
        """Join the poses of each pose estimator; each has the rows of its objects."""
        shape = len(found), self.categories.num_keypoints
        keypoints, scores, crops = np.full((*shape, 2), np.nan), np.zeros(shape), np.full((len(found), 4), np.nan)
        sizes = [poses.heatmaps.shape[2:] for _, poses in posed if poses.heatmaps is not None]
        heatmaps = np.zeros((*shape, *np.max(sizes, axis=0)), np.float32) if sizes else None
        for (rows, poses), group in zip(posed, self.categories.posed.values(), strict=True):
            at = np.ix_(rows, self.categories.columns[next(iter(group))])
            keypoints[at], scores[at], crops[rows] = poses.keypoints, poses.scores, poses.crops
            if heatmaps is not None and poses.heatmaps is not None:
                heatmaps[at] = _enlarged(poses.heatmaps, heatmaps.shape[2:])
        return PoseResult(
            boxes=found.boxes,
            scores=found.scores,
            keypoints=keypoints,
            keypoint_scores=scores,
            heatmaps=heatmaps,
            crops=crops,
            categories=self.categories,
            category_ids=category_ids,
            image=image,
            _raw=posed[0][1].raw if len(posed) == 1 else None,
        )


def _chosen(
    pair: OpenPair[AnyDetector, AnyEstimator], asked: int | str | None
) -> tuple[OpenPair[AnyDetector, AnyEstimator], int]:
    """Return the pair with the category that the user chose, and the detector's class for it."""
    classes, categories = pair.detector.classes, pair.categories
    if asked is None:
        hint = "choose one with `posetools predict --det-cat-id N`, counted from 0"
        one_class = len(classes) <= 1 or len(categories) > 1
        return pair, 0 if one_class else label_of(classes, pair.skeleton, pair.source, hint=hint)
    if isinstance(asked, str):
        if asked not in classes:
            raise RequestError(must_be("--det-cat-id", "a class of the detector, " + ", ".join(classes), asked))
        asked = classes.index(asked)
    if len(categories) == 1:
        return pair, asked
    name = classes[asked] if 0 <= asked < len(classes) else str(asked)
    if name not in categories.ids:
        rule = f"a class of the detector with a skeleton, {categories.told}"
        raise RequestError(must_be("--det-cat-id", rule, asked))
    chosen = Categories((categories[categories.ids[name]],))
    groups = zip(pair.estimators, categories.posed.values(), strict=True)
    own = tuple(estimator for estimator, group in groups if name in group.ids)
    return replace(pair, estimators=own, categories=chosen), asked


def _enlarged(heatmaps: npt.NDArray[np.float32], size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return (N, K, h, w) heatmaps of a larger (height, width), by repeating cells."""
    (down, right), (height, width) = size, heatmaps.shape[2:]
    rows, columns = np.arange(down) * height // down, np.arange(right) * width // right
    return heatmaps[:, :, rows][..., columns]


def _checked(image: Pixels) -> Pixels:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise RequestError(
            f"an image must be an array (H, W, 3) of uint8 (blue, green, red), got {image.shape} of {image.dtype}"
        )
    return image
