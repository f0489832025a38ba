"""A trained detector and a trained pose estimator, built from config and checkpoint, called with pictures.

Both run the test pipeline that their config states, on pictures that are in memory, many in one forward pass. mmdet
and mmpose keep registries of their own and look names up in the scope that is in force; here each call puts its own
scope in force, so that both live in one process in any order. Checkpoints are loaded without running code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from posetools.errors import InputError
from posetools.geometry import Floats, Ints
from posetools.mm.checkpoint import load_checkpoint
from posetools.mm.configs import drop_pretrained, evaluation_dataset, load_config
from posetools.mm.runtime import prepare

# A picture: (H, W, 3), blue, green, red, as OpenCV reads it.
Picture: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Detections:
    """The N boxes found in one picture, the surest first.

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

    def select(self, *, label: int, min_score: float) -> Detections:
        """Return the boxes of one class that have at least that score."""
        rows = (self.labels == label) & (self.scores >= min_score)
        return Detections(self.boxes[rows], self.scores[rows], self.labels[rows])


@dataclass(frozen=True, slots=True)
class Poses:
    """The keypoints of N objects of one picture.

    Attributes:
        keypoints: (N, K, 2) x, y in pixels of the picture.
        scores: (N, K).
        areas: (N,) of the padded crops, in square pixels of the picture: what MMPose's NMS takes for the area.
    """

    keypoints: Floats
    scores: Floats
    areas: Floats

    def __len__(self) -> int:
        return len(self.scores)


class _Model:
    """A model in evaluation mode and its test pipeline."""

    def __init__(self, config: Path, checkpoint: Path, device: str, scope: str) -> None:
        prepare(f"predicting with {config.name}")
        from mmengine.dataset import Compose
        from mmengine.model import revert_sync_batchnorm
        from mmengine.registry import MODELS

        self.config = load_config(config)
        self._scope = self.config.get("default_scope") or scope
        drop_pretrained(self.config.model)
        content = load_checkpoint(checkpoint)
        with self._in_scope():
            model = revert_sync_batchnorm(MODELS.build(self.config.model))
            _load_weights(model, content.get("state_dict", content), checkpoint, config)
            self._pipeline = Compose(self._test_pipeline())
        # An EMAHook puts the averaged weights into state_dict when it saves, so these are the ones to predict with.
        self.model = model.to(device).eval()
        self.meta: Mapping[str, Any] = self._metainfo(content.get("meta", {}))

    def _metainfo(self, meta: Mapping[str, Any]) -> Mapping[str, Any]:
        return {key.lower(): value for key, value in meta.get("dataset_meta", {}).items()}

    def _test_pipeline(self) -> list[Any]:
        dataset = evaluation_dataset(self.config)
        return [dict(step) for step in dataset["pipeline"]]

    @contextmanager
    def _in_scope(self) -> Iterator[None]:
        from mmengine.registry import DefaultScope

        with DefaultScope.overwrite_default_scope(self._scope):
            yield

    def _predict(self, inputs: Sequence[Mapping[str, Any]], batch_size: int) -> list[Any]:
        """Return the data samples that the model gives for what the pipeline is to be fed with."""
        import torch
        from mmengine.dataset import pseudo_collate

        samples: list[Any] = []
        with self._in_scope(), torch.inference_mode():
            for start in range(0, len(inputs), batch_size):
                batch = [self._pipeline(dict(entry)) for entry in inputs[start : start + batch_size]]
                samples += self.model.test_step(pseudo_collate(batch))
        return samples


class Detector(_Model):
    """An MMDet detector.

    Attributes:
        classes: the names that labels are indices into.
    """

    def __init__(self, config: Path, checkpoint: Path, device: str = "cpu", *, batch_size: int = 8) -> None:
        """Build it.

        Args:
            config: the config that it was trained with.
            checkpoint: its weights.
            device: ``cpu`` or ``cuda:N``.
            batch_size: how many pictures go through the network at once.

        Raises:
            InputError: config or checkpoint cannot be read, or do not belong together.
        """
        super().__init__(config, checkpoint, device, "mmdet")
        self._batch_size = batch_size
        self.classes: tuple[str, ...] = tuple(self.meta.get("classes") or self._classes_of_config())

    def _classes_of_config(self) -> Sequence[str]:
        metainfo = evaluation_dataset(self.config).get("metainfo") or {}
        classes = metainfo.get("classes", ())
        return (classes,) if isinstance(classes, str) else classes

    def _test_pipeline(self) -> list[Any]:
        # What mmdet's own inference_detector does for pictures in memory.
        first, *rest = super()._test_pipeline()
        return [{**first, "type": "mmdet.LoadImageFromNDArray"}, *rest]

    def __call__(self, pictures: Sequence[Picture]) -> list[Detections]:
        """Return the boxes found in each picture."""
        samples = self._predict([{"img": picture, "img_id": 0} for picture in pictures], self._batch_size)
        return [_detections(sample.pred_instances) for sample in samples]


class PoseEstimator(_Model):
    """An MMPose top-down pose estimator."""

    def __init__(self, config: Path, checkpoint: Path, device: str = "cpu", *, batch_size: int = 64) -> None:
        """Build it.

        Args:
            config: the config that it was trained with.
            checkpoint: its weights.
            device: ``cpu`` or ``cuda:N``.
            batch_size: how many crops go through the network at once.

        Raises:
            InputError: config or checkpoint cannot be read, or do not belong together.
        """
        super().__init__(config, checkpoint, device, "mmpose")
        self._batch_size = batch_size

    def _metainfo(self, meta: Mapping[str, Any]) -> Mapping[str, Any]:
        from mmpose.datasets.datasets.utils import parse_pose_metainfo

        known: Mapping[str, Any] | None = meta.get("dataset_meta")
        return known or parse_pose_metainfo(dict(evaluation_dataset(self.config).get("metainfo") or {}))

    @property
    def num_keypoints(self) -> int:
        """K."""
        return int(self.config.model.head.out_channels)

    def __call__(self, picture: Picture, boxes: Floats) -> Poses:
        """Return the keypoints of the (N, 4) boxes of one picture."""
        return self.estimate([picture], [boxes])[0]

    def estimate(self, pictures: Sequence[Picture], boxes: Sequence[Floats]) -> list[Poses]:
        """Return the keypoints of the (N, 4) boxes of each picture; crops of several pictures share a batch."""
        one = np.ones(1, dtype=np.float32)
        inputs = [
            {"img": picture, "bbox": box[None].astype(np.float32), "bbox_score": one, **self.meta}
            for picture, of_picture in zip(pictures, boxes, strict=True)
            for box in of_picture
        ]
        samples = iter(self._predict(inputs, self._batch_size))
        return [self._poses([next(samples) for _ in of_picture]) for of_picture in boxes]

    def _poses(self, samples: Sequence[Any]) -> Poses:
        n, k = len(samples), self.num_keypoints
        instances = [sample.pred_instances for sample in samples]
        scales = [sample.metainfo["input_scale"] for sample in samples]
        return Poses(
            keypoints=np.array([found.keypoints[0] for found in instances], dtype=np.float64).reshape(n, k, 2),
            scores=np.array([found.keypoint_scores[0] for found in instances], dtype=np.float64).reshape(n, k),
            areas=np.array(scales, dtype=np.float64).reshape(n, 2).prod(axis=1),
        )


def _load_weights(model: Any, weights: Mapping[str, Any], checkpoint: Path, config: Path) -> None:
    given = {name.removeprefix("module."): value for name, value in weights.items()}
    own = model.state_dict()
    # Counters of batch norm, which older checkpoints lack, have no part in predicting.
    needed = [name for name in own if not name.endswith("num_batches_tracked")]
    hint = f"is it the checkpoint of another config than {config}?"
    missing = [name for name in needed if name not in given]
    if missing:
        problem = f"weights of all {len(needed)} parameters must be there, {len(missing)} are missing"
        raise InputError(checkpoint, missing[0], problem, hint=hint)
    for name in needed:
        if given[name].shape != own[name].shape:
            shapes = f"{tuple(own[name].shape)} as in the config, got {tuple(given[name].shape)}"
            raise InputError(checkpoint, name, f"shape must be {shapes}", hint=hint)
    model.load_state_dict(given, strict=False)


def _detections(found: Any) -> Detections:
    return Detections(
        boxes=found.bboxes.cpu().numpy().astype(np.float64),
        scores=found.scores.cpu().numpy().astype(np.float64),
        labels=found.labels.cpu().numpy().astype(np.int64),
    )
