"""A hook and a metric for the tests of several processes; configs name them, importing registers them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, METRICS


def _ids(batch: Any) -> list[int]:
    # MMPose's samples are objects, MMDet's are images.
    return [int(sample.metainfo.get("id", sample.metainfo["img_id"])) for sample in batch["data_samples"]]


def _digest(model: Any) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


@HOOKS.register_module()
class ProbeHook(Hook):  # type: ignore[misc]  # mmengine ships no types.
    """Records the samples of this process, and its final weights."""

    def __init__(self, folder: str) -> None:
        self._path = Path(folder) / f"{get_rank()}.json"
        self._train: list[list[int]] = []
        self._val: list[list[int]] = []

    def before_train_epoch(self, runner: Any) -> None:  # noqa: ARG002
        self._train.append([])

    def before_val_epoch(self, runner: Any) -> None:  # noqa: ARG002
        self._val.append([])

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:  # noqa: ARG002
        self._train[-1] += _ids(data_batch)

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:  # noqa: ARG002
        self._val[-1] += _ids(data_batch)

    def after_train(self, runner: Any) -> None:
        averaged = [hook.ema_model.module for hook in runner.hooks if hasattr(hook, "ema_model")]
        model = runner.model.module if hasattr(runner.model, "module") else runner.model
        trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
        document = {
            "train": self._train,
            "val": self._val,
            "weights": [_digest(part) for part in (model, *averaged)],
            "trained": trained,
        }
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text(json.dumps(document))


@METRICS.register_module()
class ProbeMetric(BaseMetric):  # type: ignore[misc]
    """A number that changes with any prediction; AP is 0 for untrained networks."""

    default_prefix = "probe"

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:  # noqa: ARG002
        for sample in data_samples:
            found = sample["pred_instances"]
            values = found["keypoints"] if "keypoints" in found else found["bboxes"]
            scores = found["keypoint_scores"] if "keypoints" in found else found["scores"]
            self.results.append((float(abs(values).mean()), float(scores.mean())))

    def compute_metrics(self, results: list[tuple[float, float]]) -> dict[str, float]:
        number = len(results)
        return {
            "place": sum(place for place, _ in results) / number,
            "score": sum(score for _, score in results) / number,
            "number": number,
        }
