"""The demo's sheet: labels and predictions side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from posetools.core.dataset import Dataset, Visibility
from posetools.imaging.drawing import Style, beside, draw_instances
from posetools.labeling.sheet import contact_sheet, legend_of, readable_text, reduction
from posetools.pairs.open import OpenPair
from posetools.runtime.results import AnyDetector, AnyEstimator

_TITLE = "Labels and predictions of the two models"
_NOTES = "left: labels", "right: predictions and their scores"


def prediction_sheet(
    dataset: Dataset,
    images: Path,
    pair: OpenPair[AnyDetector, AnyEstimator],
    *,
    shown: int,
    columns: int,
    min_score: float,
) -> Pillow.Image:
    """Return a contact sheet of images, each with its labels on the left and the predictions on the right.

    Args:
        dataset: the images and their labels.
        images: their folder.
        pair: predicts boxes, of which only the first class counts, and the keypoints in them.
        shown: number of images, spread evenly over the data set.
        columns: images per row.
        min_score: boxes with a lower score are dropped.
    """
    count = min(shown, len(dataset.images))
    chosen = dataset.select_images(np.linspace(0, len(dataset.images) - 1, count).round().astype(int).tolist())
    width, height = chosen.images[0].size
    whole = columns * 2 * width, -(-count // columns) * height
    style = Style(scale=1.2 * reduction(whole), smallest_text=readable_text(whole, width))
    tiles, captions = [], []
    for image, rows in zip(chosen.images, chosen.rows_of_images(), strict=True):
        with Pillow.open(images / image.file_name) as file:
            rgb = file.convert("RGB")
        bgr = np.ascontiguousarray(np.asarray(rgb)[:, :, ::-1])
        found = pair.detector([bgr])[0].select(label=0, min_score=min_score)
        points = pair.estimator.estimate([bgr], [found.boxes])[0].keypoints
        # The model does not predict visibility.
        points = np.concatenate([points, np.full((*points.shape[:2], 1), float(Visibility.VISIBLE))], axis=2)
        boxes, keypoints = chosen.boxes[list(rows)], chosen.keypoints[list(rows)]
        labels = draw_instances(rgb, boxes, keypoints, chosen.skeleton, style=style)
        texts = [f"{score:.2f}" for score in found.scores]
        predicted = draw_instances(rgb, found.boxes, points, chosen.skeleton, texts=texts, style=style)
        tiles.append(beside(labels, predicted))
        captions.append(f"{image.file_name}: {len(rows)} labeled, {len(found)} detected")
    return contact_sheet(
        tiles,
        columns=columns,
        tile=tiles[0].size,
        captions=captions,
        title=_TITLE,
        legend=legend_of(chosen.skeleton, notes=_NOTES),
    )
