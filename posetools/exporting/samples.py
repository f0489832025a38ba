"""The samples of a bundle: a few images with the output of its own networks, which ``posetools verify`` compares."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from posetools.core.geometry import Floats
from posetools.exporting.material import ExportMaterial
from posetools.imaging.header import Pixels
from posetools.pairs.pipeline import PosePipeline
from posetools.runtime.manifest import SAMPLES, CategoriesSample, Sample
from posetools.runtime.results import PoseResult

# Number of images to choose samples from.
_CANDIDATES = 16
# The longest side of a sample, in pixels.
_SAMPLE_SIDE = 1280
# A box with a score this near to the threshold may differ between processors.
_UNSURE = 0.01
_DECIMALS = 5


def samples_of(
    pipeline: PosePipeline, material: ExportMaterial, wanted: int, *, named: bool
) -> tuple[tuple[Sample, ...], dict[str, bytes]]:
    """Return samples and their PNG files, preferably with objects whose scores are not near the threshold.

    Args:
        pipeline: the bundle's models.
        material: the images.
        wanted: number of samples.
        named: whether samples have the category of each object.
    """
    import cv2

    candidates = []
    for order, shot in enumerate(material.spread(max(_CANDIDATES, wanted)) if wanted else ()):
        image = _small(shot.read())
        result = pipeline.predict([image])[0]
        scores = pipeline.detector([image])[0].scores
        unsure = bool((np.abs(scores - pipeline.bbox_thr) < _UNSURE).any())
        candidates.append(((len(result) == 0, unsure, order), image, result))
    chosen = sorted(sorted(candidates, key=lambda one: one[0])[:wanted], key=lambda one: one[0][-1])
    samples, files = [], {}
    for number, (_, image, result) in enumerate(chosen, start=1):
        name = f"{SAMPLES}/{number}.png"
        files[name] = cv2.imencode(".png", image)[1].tobytes()
        samples.append(_sample(name, result, named=named))
    return tuple(samples), files


def _sample(name: str, result: PoseResult, *, named: bool) -> Sample:
    """Return a result as the expected output for a file, with each object's own keypoints."""
    columns = [result.categories.columns[number] for number in result.category_ids.tolist()]
    own: dict[str, Iterable[Floats]] = {
        "boxes": result.boxes,
        "scores": result.scores,
        "keypoints": [points[at] for points, at in zip(result.keypoints, columns, strict=True)],
        "keypoint_scores": [scores[at] for scores, at in zip(result.keypoint_scores, columns, strict=True)],
    }
    rounded = {key: [np.round(each, _DECIMALS).tolist() for each in values] for key, values in own.items()}
    if not named:
        return Sample.model_validate({"file": name, **rounded})
    return CategoriesSample.model_validate({"file": name, **rounded, "categories": result.category_names})


def _small(image: Pixels) -> Pixels:
    import cv2

    height, width = image.shape[:2]
    scale = _SAMPLE_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    smaller: Pixels = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return smaller
