"""A trained detector and a trained pose estimator, built from config and checkpoint, called with images.

Both run the test pipeline of their config on images in memory, in batches. mmdet and mmpose have separate registries
and look names up in the active scope. Each call here activates its own scope, so that both models work in one process
in any order. Checkpoints are loaded without running code.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from posetools.core.geometry import Floats
from posetools.errors import InputError, PosetoolsWarning, RequestError
from posetools.imaging.header import Pixels
from posetools.mm.averages import is_stale, raw_weights, stale_text
from posetools.mm.checkpoint import load_checkpoint, load_from_url
from posetools.mm.configs import drop_pretrained, evaluation_dataset, load_config
from posetools.mm.stack import prepare
from posetools.mm.weights import plan_weights, tensors_of
from posetools.runtime.results import Detections, Poses, heatmap_size, shrink_heatmaps

# Crops in one batch when heatmaps are requested: those of SimCC take about 13 MB each.
_HEATMAP_BATCH = 8


class _Model:
    """A model in evaluation mode and its test pipeline."""

    def __init__(
        self, config: Path, checkpoint: Path | str, device: str, scope: str, *, amp: bool, fast: bool, raw: bool = False
    ) -> None:
        prepare(f"predicting with {config.name}")
        from mmengine.dataset import Compose
        from mmengine.model import revert_sync_batchnorm
        from mmengine.registry import MODELS

        self.config_file, self.checkpoint, self.device = config, checkpoint, device
        self.config = load_config(config)
        self._scope = self.config.get("default_scope") or scope
        drop_pretrained(self.config.model)
        self._adapt(self.config.model)
        is_url = isinstance(checkpoint, str) and checkpoint.startswith(("http://", "https://"))
        content = load_from_url(str(checkpoint)) if is_url else load_checkpoint(checkpoint)
        if is_stale(content) and not raw:
            warnings.warn(stale_text(checkpoint), PosetoolsWarning, stacklevel=3)
        if amp and not device.startswith("cuda"):
            raise RequestError(f"--amp needs a GPU, got device {device}", hint="leave --amp out")
        self._amp = amp
        with self._in_scope():
            model = revert_sync_batchnorm(MODELS.build(self.config.model))
            _load_weights(model, _weights_of(content, checkpoint, raw=raw), checkpoint, config)
            self._pipeline = Compose(self._test_pipeline())
        self.averaged = raw_weights(content) is not None
        # EMAHook saves the averaged weights as state_dict, so the model predicts with these.
        self.model = model.to(device).eval()
        if fast:
            _quicken(self.model)
        self.checkpoint_meta: Mapping[str, Any] = content.get("meta", {})
        self.meta: Mapping[str, Any] = self._metainfo(self.checkpoint_meta)

    def _adapt(self, model: Any) -> None:
        """Change the config of the model before it is built."""

    def _metainfo(self, meta: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the metainfo of classes or keypoints: from the checkpoint if it has one, else from the config."""
        known = meta.get("dataset_meta")
        if known:
            return {key.lower(): value for key, value in known.items()}
        if "CLASSES" in meta:
            # OpenMMLab checkpoints from before 2023.
            return {"classes": meta["CLASSES"]}
        return self._metainfo_of_config()

    def _metainfo_of_config(self) -> Mapping[str, Any]:
        from mmengine.registry import DATASETS

        dataset = evaluation_dataset(self.config)
        with DATASETS.switch_scope_and_registry(self._scope) as registry:
            kind = registry.get(dataset["type"]) if isinstance(dataset["type"], str) else dataset["type"]
        return dataset.get("metainfo") or getattr(kind, "METAINFO", {})

    def _test_pipeline(self) -> list[Any]:
        return [dict(step) for step in evaluation_dataset(self.config)["pipeline"]]

    def _in_scope(self) -> Any:
        from mmengine.registry import DefaultScope

        return DefaultScope.overwrite_default_scope(self._scope)

    def _predict(self, inputs: Sequence[Mapping[str, Any]], batch_size: int) -> list[Any]:
        """Return the data samples of the model for these inputs of the pipeline."""
        import torch
        from mmengine.dataset import pseudo_collate

        samples: list[Any] = []
        half = torch.autocast("cuda", enabled=self._amp)
        with self._in_scope(), torch.inference_mode(), half:
            for start in range(0, len(inputs), batch_size):
                batch = [self._pipeline(dict(entry)) for entry in inputs[start : start + batch_size]]
                samples += self.model.test_step(pseudo_collate(batch))
        return samples


class Detector(_Model):
    """An MMDet detector.

    Attributes:
        classes: the names that labels are indices into.
    """

    def __init__(
        self,
        config: Path,
        checkpoint: Path | str,
        device: str = "cpu",
        *,
        batch_size: int = 8,
        amp: bool = False,
        fast: bool = False,
        score_thr: float = 0.0,
        raw: bool = False,
    ) -> None:
        """Build the detector.

        Args:
            config: the config that it was trained with.
            checkpoint: its weights: a file, or a URL to download.
            device: ``cpu`` or ``cuda:N``.
            batch_size: number of images in one batch.
            amp: mixed precision, on a GPU.
            fast: fold batch norms into convolutions: the same up to float noise, in about half the time on a CPU.
            score_thr: ignore lower scores: raises the config's threshold before NMS to this.
            raw: use the raw weights, not their average.

        Raises:
            InputError: config or checkpoint cannot be read, or do not match.
            RequestError: the URL cannot be reached, or ``amp`` is requested without a GPU.
        """
        self._score_thr = score_thr
        super().__init__(config, checkpoint, device, "mmdet", amp=amp, fast=fast, raw=raw)
        self._batch_size = batch_size
        classes = self.meta.get("classes") or ()
        self.classes: tuple[str, ...] = (classes,) if isinstance(classes, str) else tuple(classes)

    def _adapt(self, model: Any) -> None:
        # In two-stage detectors the last stage has the threshold. NMS never drops a box because of a lower-scored one.
        settings = model.get("test_cfg") or {}
        for part in (settings, settings.get("rcnn") or {}):
            if "score_thr" in part:
                part["score_thr"] = max(part["score_thr"], self._score_thr)

    def _test_pipeline(self) -> list[Any]:
        # mmdet's own inference_detector does the same for images in memory.
        first, *rest = super()._test_pipeline()
        return [{**first, "type": "mmdet.LoadImageFromNDArray"}, *rest]

    def __call__(self, images: Sequence[Pixels]) -> list[Detections]:
        """Return the boxes detected in each image."""
        samples = self._predict([{"img": image, "img_id": 0} for image in images], self._batch_size)
        return [
            Detections(
                boxes=found.bboxes.cpu().numpy().astype(np.float64),
                scores=found.scores.cpu().numpy().astype(np.float64),
                labels=found.labels.cpu().numpy().astype(np.int64),
            )
            for found in (sample.pred_instances for sample in samples)
        ]


class PoseEstimator(_Model):
    """An MMPose top-down pose estimator."""

    def __init__(
        self,
        config: Path,
        checkpoint: Path | str,
        device: str = "cpu",
        *,
        batch_size: int = 64,
        amp: bool = False,
        fast: bool = False,
        flip_test: bool = False,
        raw: bool = False,
    ) -> None:
        """Build the pose estimator with the arguments of Detector; ``batch_size`` counts crops.

        ``flip_test`` averages with the prediction for the mirrored crop, which takes twice the time. It overrides the
        config, because MMPose's own recipes enable it.

        Raises:
            InputError: config or checkpoint cannot be read, or do not match.
            RequestError: the URL cannot be reached, or ``amp`` is requested without a GPU.
        """
        super().__init__(config, checkpoint, device, "mmpose", amp=amp, fast=fast, raw=raw)
        self._batch_size = batch_size
        if not hasattr(self.model.head, "decoder") or self.config.model.type != "TopdownPoseEstimator":
            raise RequestError(
                f"{config}: must be a top-down pose estimator, got a model of type {self.config.model.type}"
            )
        # Whether the config itself evaluates with a flip test.
        self.flips_by_config = bool(self.model.test_cfg.get("flip_test", False))
        self.model.test_cfg["flip_test"] = flip_test

    def _metainfo(self, meta: Mapping[str, Any]) -> Mapping[str, Any]:
        from mmpose.datasets.datasets.utils import parse_pose_metainfo

        known: Mapping[str, Any] | None = meta.get("dataset_meta")
        if known:
            return known
        try:
            return dict(parse_pose_metainfo(dict(self._metainfo_of_config())))
        except (AssertionError, LookupError, TypeError, FileNotFoundError) as exc:
            problem = f"must be a metainfo that MMPose can parse: {type(exc).__name__}: {exc}"
            raise InputError(self.config.filename, "test_dataloader.dataset.metainfo", problem) from exc

    def _metainfo_of_config(self) -> Mapping[str, Any]:
        import mmpose

        known = super()._metainfo_of_config()
        packaged = Path(mmpose.__file__).parent / ".mim" / str(known.get("from_file", ""))
        # mmpose's own data sets name a file relative to a clone; the current folder may hold another file of that name.
        own = "metainfo" not in evaluation_dataset(self.config)
        return {"from_file": str(packaged)} if own and packaged.is_file() else known

    @property
    def num_keypoints(self) -> int:
        """The number of keypoints, K."""
        return int(self.config.model.head.out_channels)

    def estimate(self, images: Sequence[Pixels], boxes: Sequence[Floats], *, heatmaps: bool = False) -> list[Poses]:
        """Return the keypoints of the (N, 4) boxes of each image; crops of several images share a batch.

        Heatmaps of SimCC models are the products of their two normalized distributions, as in MMPose.
        """
        one = np.ones(1, dtype=np.float32)
        inputs = [
            {"img": image, "bbox": box[None].astype(np.float32), "bbox_score": one, **self.meta}
            for image, of_image in zip(images, boxes, strict=True)
            for box in of_image
        ]
        self.model.test_cfg["output_heatmaps"] = heatmaps
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The predicted simcc values are normalized")
            samples = iter(self._predict(inputs, _HEATMAP_BATCH if heatmaps else self._batch_size))
        return [self._poses([next(samples) for _ in of_image], heatmaps) for of_image in boxes]

    def _poses(self, samples: Sequence[Any], heatmaps: bool) -> Poses:
        n, k = len(samples), self.num_keypoints
        instances = [sample.pred_instances for sample in samples]
        crops = [[*sample.metainfo["input_center"], *sample.metainfo["input_scale"]] for sample in samples]
        width, height = self.model.head.decoder.input_size
        size = heatmap_size((int(width), int(height)))
        found_maps = (sample.pred_fields.heatmaps.cpu().numpy() for sample in samples if heatmaps)
        maps = [shrink_heatmaps(each, size) for each in found_maps]
        return Poses(
            keypoints=np.array([found.keypoints[0] for found in instances], dtype=np.float64).reshape(n, k, 2),
            scores=np.array([found.keypoint_scores[0] for found in instances], dtype=np.float64).reshape(n, k),
            crops=np.array(crops, dtype=np.float64).reshape(n, 4),
            heatmaps=np.stack(maps) if maps else np.zeros((0, k, *size[::-1]), np.float32) if heatmaps else None,
            raw=partial(_merged, samples),
        )


def _merged(samples: Sequence[Any]) -> Any:
    from mmpose.structures import PoseDataSample, merge_data_samples

    return merge_data_samples(list(samples)) if samples else PoseDataSample()


def _weights_of(content: Mapping[str, Any], checkpoint: Path | str, *, raw: bool) -> Mapping[str, Any]:
    if not raw:
        weights: Mapping[str, Any] = content.get("state_dict", content)
        return weights
    as_trained = raw_weights(content)
    if as_trained is None:
        raise InputError(checkpoint, "ema_state_dict", "must be there: this checkpoint has only one set of weights")
    return as_trained


def _load_weights(model: Any, weights: Mapping[str, Any], checkpoint: Path | str, config: Path) -> None:
    given, own = tensors_of(weights), model.state_dict()
    plan = plan_weights(str(checkpoint), "", own, given)
    hint = f"pass the config that this checkpoint was trained with instead of {config}"
    if plan.missing:
        total = len(plan.fits) + len(plan.reshaped) + len(plan.missing)
        problem = f"weights of all {total} parameters must be there, {len(plan.missing)} are missing"
        raise InputError(checkpoint, plan.missing[0], problem, hint=hint)
    for name, found, wanted in plan.reshaped:
        raise InputError(checkpoint, name, f"shape must be {wanted}, as in the config, got {found}", hint=hint)
    model.load_state_dict(given, strict=False)


def _quicken(model: Any) -> None:
    """Fold batch norms into the convolutions before them, and use the memory format that is fastest on CPU and GPU."""
    import torch
    from mmcv.cnn import ConvModule
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for module in model.modules():
        if isinstance(module, ConvModule) and module.with_norm and isinstance(module.norm, torch.nn.BatchNorm2d):
            # This makes a new convolution: RTMDet's head shares one among levels that have separate batch norms.
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.with_norm = False
    model.to(memory_format=torch.channels_last)
