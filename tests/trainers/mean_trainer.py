"""A trainer of another package: it predicts the mean object of the training split in the middle of each image."""

# ruff: noqa: ARG002
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posetools.core.categories import read_categories
from posetools.core.folder import IMAGES, ann_file
from posetools.errors import RequestError
from posetools.formats.coco.format import read_split
from posetools.pairs.open import OpenPair, PipelineOptions
from posetools.runtime.manifest import Thresholds
from posetools.runtime.results import BBOX_THR, KPT_THR, NMS_THR, Detections, Poses
from posetools.trainers.trainer import RecipeFiles, RecipeRequest, RunExport
from posetools.training.pair import TrainAllResult
from posetools.training.request import TrainRequest
from posetools.training.train import TrainResult

PLUGIN_API = 1


class MeanModel:
    """The mean box, relative to the image, and the mean keypoints, relative to the box."""

    def __init__(self, box: Any, keypoints: Any, classes: tuple[str, ...]) -> None:
        self.box, self.keypoints, self.classes = np.array(box), np.array(keypoints), classes
        self.num_keypoints = len(self.keypoints)

    def __call__(self, images: Sequence[Any]) -> list[Detections]:
        sides = [np.array([*image.shape[1::-1]] * 2) for image in images]
        return [Detections(self.box[None] * side, np.array([0.9]), np.array([0])) for side in sides]

    def estimate(self, images: Sequence[Any], boxes: Sequence[Any], *, heatmaps: bool = False) -> list[Poses]:
        return [self._poses(np.asarray(each)) for each in boxes]

    def _poses(self, boxes: Any) -> Poses:
        sizes = boxes[:, 2:] - boxes[:, :2]
        points = boxes[:, None, :2] + self.keypoints[None] * sizes[:, None]
        crops = np.concatenate([boxes[:, :2] + sizes / 2, sizes], axis=1)
        return Poses(points, np.full(points.shape[:2], 0.9), crops)


class MeanTrainer:
    title = "the mean object"
    stages: tuple[str, ...] = ()
    recipe_options = frozenset({"seed"})
    train_options = frozenset({"seed"})

    def recipe(self, request: RecipeRequest, listener: Any) -> tuple[RecipeFiles, ...]:
        path = request.out / "mean.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"data": str(request.data)}), encoding="utf-8")
        return (RecipeFiles((path,), notes=("one pass over the labels",)),)

    def check(self, request: TrainRequest) -> None:
        if not (request.configs / "mean.json").is_file():
            raise RequestError(f"{request.configs}: has no mean.json", hint="posetools config --trainer mean")

    def train(self, request: TrainRequest, listener: Any) -> TrainAllResult:
        run = Path(request.work_dir or "")
        data = read_split(ann_file(request.folder, "train"), request.folder / IMAGES, request.categories).dataset
        size = np.array([data.images[i].size * 2 for i in data.image_index])
        sides = (data.boxes[:, 2:] - data.boxes[:, :2])[:, None]
        inside = (data.keypoints[:, :, :2] - data.boxes[:, None, :2]) / sides
        seen = (data.keypoints[:, :, 2:] > 0) * np.ones(2)
        model = {
            "box": (data.boxes / size).mean(axis=0).tolist(),
            "keypoints": np.average(inside, axis=0, weights=seen + 1e-9).tolist(),
        }
        path = run / "mean.json"
        path.write_text(json.dumps(model), encoding="utf-8")
        return TrainAllResult(work_dir=run, models={"mean": TrainResult(run, path, path, trained=1)}, evaluation=None)

    def open(self, run: Path, options: PipelineOptions, *, what: str, fast: bool = False) -> OpenPair[Any, Any]:
        categories, stored = read_categories(run / "skeleton.yaml"), json.loads((run / "mean.json").read_text("utf-8"))
        model = MeanModel(stored["box"], stored["keypoints"], tuple(categories.ids))
        thresholds = options.thresholds(Thresholds(bbox_thr=BBOX_THR, nms_thr=NMS_THR, kpt_thr=KPT_THR))
        names = (str(run / "mean.json"),) * 2
        return OpenPair(model, (model,), categories, thresholds, run / "mean.json", names, ())

    def export(self, request: RunExport, progress: Any) -> Any:
        raise ZeroDivisionError("no bundle today")


TRAINER = MeanTrainer()
