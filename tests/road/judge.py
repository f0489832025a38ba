"""The results of the road, measured from the output files with pycocotools and plain arithmetic."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from posetools.core.geometry import Floats

# What any working pair reaches on its 40 training images.
AP50_LEAST, PCK_GAIN_LEAST, FOUND_LEAST = 0.5, 0.15, 0.5
PCK = 0.1
# Allowed differences of the bundle from the run, in pixels and score: torch and onnxruntime sum in different orders. If
# two bins of SimCC are equally high, the last bits decide: a few keypoints may be elsewhere.
PIXELS_MOST, SCORE_MOST, SAME_LEAST = 1.0, 0.01, 0.95
# A box with a score this near to the threshold of 0.3 may be in only one of them.
THRESHOLD = 0.3


@dataclass(frozen=True)
class Check:
    """One thing that must hold.

    Attributes:
        what: in words.
        value: the result.
        rule: what it must be, in words.
        ok: whether it is.
    """

    what: str
    value: float
    rule: str
    ok: bool


def judge(folder: Path, name: str) -> list[Check]:
    """Return the checks of one walk.

    Args:
        folder: where the commands ran.
        name: of the data set and the run.
    """
    truth = _quiet(COCO, str(folder / "data" / name / "train_coco.json"))
    scores = json.loads((folder / "eval_train.json").read_text())
    ap50 = _box_ap50(truth, json.loads((folder / "out" / "results_coco.json").read_text()))
    pck, mean_pose = scores["labelled_boxes"]["points"]["labelled"]["overall"][f"PCK@{PCK}"], _mean_pose_pck(truth)
    run, bundle = (
        json.loads((folder / out / "predictions.json").read_text())["pictures"] for out in ("out", "out_bundle")
    )
    pixels, score, same = _differences(run, bundle)
    found, error, without_image = _where_labels_are(truth, bundle)
    return [
        Check("box AP50 on the training images", ap50, f"at least {AP50_LEAST}", ap50 >= AP50_LEAST),
        Check(
            f"PCK@{PCK} on labeled boxes, less the mean pose's ({mean_pose:.3f})",
            pck - mean_pose,
            f"at least {PCK_GAIN_LEAST}",
            pck - mean_pose >= PCK_GAIN_LEAST,
        ),
        Check("pixels between boxes of bundle and run", pixels, f"at most {PIXELS_MOST}", pixels <= PIXELS_MOST),
        Check("scores between bundle and run", score, f"at most {SCORE_MOST}", score <= SCORE_MOST),
        Check("keypoints that are the same in both", same, f"at least {SAME_LEAST}", same >= SAME_LEAST),
        Check("labeled objects that the bundle finds", found, f"at least {FOUND_LEAST}", found >= FOUND_LEAST),
        Check(
            "median error of their keypoints, in box sides",
            error,
            f"below the mean pose's, {without_image:.3f}",
            error < without_image,
        ),
    ]


def _quiet(call: Any, *arguments: Any) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return call(*arguments)


def _box_ap50(truth: Any, results: list[dict[str, Any]]) -> float:
    """Return pycocotools' AP50 of the boxes that `predict` wrote, for the images of the training split."""
    known = set(truth.getImgIds())
    of_split = [result for result in results if result["image_id"] in known]
    if not of_split:
        return 0.0
    evaluation = _quiet(COCOeval, truth, _quiet(truth.loadRes, of_split), "bbox")
    for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
        _quiet(step)
    return float(evaluation.stats[1])


def _objects(truth: Any) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield image name, box (x, y, w, h) and keypoints (K, 3) of every labeled object."""
    for annotation in truth.loadAnns(truth.getAnnIds()):
        image = truth.loadImgs(annotation["image_id"])[0]["file_name"]
        points = np.array(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
        yield image, np.array(annotation["bbox"], dtype=np.float64), points


def _mean_pose(truth: Any) -> Floats:
    """Return the distance of the mean position in the box from each label: the best answer without an image.

    (N, K) in box sides, NaN for unlabeled points.
    """
    boxes, points = (np.array(part) for part in list(zip(*_objects(truth), strict=True))[1:])
    labeled = points[:, :, 2] > 0
    inside = (points[:, :, :2] - boxes[:, None, :2]) / boxes[:, None, 2:]
    mean = np.where(labeled[..., None], inside, 0.0).sum(axis=0) / labeled.sum(axis=0)[:, None]
    answered = boxes[:, None, :2] + mean * boxes[:, None, 2:]
    distance = np.linalg.norm(answered - points[:, :, :2], axis=2) / boxes[:, 2:].max(axis=1)[:, None]
    errors: Floats = np.where(labeled, distance, np.nan)
    return errors


def _mean_pose_pck(truth: Any) -> float:
    """Return the PCK of the mean pose: the mean over keypoints."""
    distance = _mean_pose(truth)
    return float(np.mean([(of_point[~np.isnan(of_point)] < PCK).mean() for of_point in distance.T]))


def _differences(run: list[dict[str, Any]], bundle: list[dict[str, Any]]) -> tuple[float, float, float]:
    """Return the largest differences of boxes in pixels and of scores, and the fraction of keypoints within a pixel."""
    pixels, score, near = 0.0, 0.0, []
    for one, other in zip(run, bundle, strict=True):
        sure = [
            [found for found in image["instances"] if found["score"] > THRESHOLD + SCORE_MOST] for image in (one, other)
        ]
        if one["file_name"] != other["file_name"] or len(sure[0]) != len(sure[1]):
            return float("inf"), float("inf"), 0.0
        for first, second in zip(*sure, strict=True):
            pixels = max(pixels, float(np.abs(np.subtract(first["box"], second["box"])).max()))
            score = max(score, abs(first["score"] - second["score"]))
            apart = np.subtract(list(first["keypoints"].values()), list(second["keypoints"].values()))
            near += (np.abs(apart).max(axis=1) <= PIXELS_MOST).tolist()
    return pixels, score, float(np.mean(near)) if near else 0.0


def _where_labels_are(truth: Any, predicted: list[dict[str, Any]]) -> tuple[float, float, float]:
    """Return the fraction of labeled objects detected (IoU 0.5), the median distance of their keypoints, and that of
    the mean pose, in box sides.
    """
    by_name = {Path(image["file_name"]).name: image["instances"] for image in predicted}
    found, errors = [], []
    for image, (x, y, w, h), points in _objects(truth):
        box = np.array([x, y, x + w, y + h])
        instances = by_name[Path(image).name]
        overlaps = [_iou(box, np.array(one["box"])) for one in instances]
        best = int(np.argmax(overlaps)) if overlaps else -1
        found.append(best >= 0 and overlaps[best] >= 0.5)
        if found[-1]:
            places = np.array(list(instances[best]["keypoints"].values()))
            distance = np.linalg.norm(places - points[:, :2], axis=1) / max(w, h)
            errors += distance[points[:, 2] > 0].tolist()
    without_image = float(np.nanmedian(_mean_pose(truth)))
    return float(np.mean(found)), float(np.median(errors)) if errors else float("inf"), without_image


def _iou(one: Floats, other: Floats) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    inter = float(np.prod(np.clip(high - low, 0.0, None)))
    areas = [float(np.prod(each[2:] - each[:2])) for each in (one, other)]
    return inter / (sum(areas) - inter)
