"""Do other programs run a bundle's networks? rtmlib's RTMDet and RTMPose, on the bundle's own samples.

    pip install --no-deps rtmlib==0.0.16 tqdm      # its dependencies would replace this environment's OpenCV
    python benchmarks/with_rtmlib.py cars.zip

rtmlib is given the two ONNX files, the input sizes, mean and std of bundle.json, and nothing else. Its RTMDet expects
NMS in the network, which a bundle leaves outside, so the boxes that it returns go through NMS here. What is printed is
how far its boxes and keypoints are from the bundle's own. They are the same only up to rounding of the image's scaled
size, for which rtmlib has a rule of its own, and it gives keypoints the mean of the two SimCC maxima for a score, where
MMPose takes the smaller one. Detectors of one class only: rtmlib takes more classes for another layout.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rtmlib import RTMDet, RTMPose

from posetools import PipelineOptions, PosePipeline, PoseResult
from posetools.core.geometry import clip_boxes
from posetools.imaging.header import Pixels
from posetools.runtime.bundle import Bundle
from posetools.runtime.results import box_nms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    bundle = parser.parse_args().bundle
    pipeline = PosePipeline.from_bundle(bundle, PipelineOptions(device="cpu"))
    network = Bundle.open(bundle).manifest.det
    with tempfile.TemporaryDirectory() as folder:
        detector, estimator = in_rtmlib(bundle, Path(folder), pipeline.bbox_thr)
        for sample, image in Bundle.open(bundle).sample_images():
            # rtmlib leaves boxes beyond the image's edges; MMDet cuts them at the edges of the scaled one.
            boxes = clip_boxes(detector(image), image.shape[1::-1])
            scores = scores_of(detector, image)
            # The detector's own NMS, then the pipeline's.
            for threshold in (network.iou_threshold, pipeline.nms_thr):
                kept = box_nms(boxes, scores, threshold)
                boxes, scores = boxes[kept], scores[kept]
            print(f"{sample.file}: {compare(pipeline(image), boxes, estimator, image)}")


def in_rtmlib(bundle: Path, folder: Path, bbox_thr: float) -> tuple[RTMDet, RTMPose]:
    archive = Bundle.open(bundle)
    det, pose = archive.manifest.networks
    for network in (det, pose):
        (folder / network.file).write_bytes(archive.network(network))
    size = det.input_size[::-1]
    return (
        RTMDet(str(folder / det.file), size, mean=det.mean, std=det.std, score_thr=bbox_thr),
        RTMPose(str(folder / pose.file), pose.input_size, mean=pose.mean, std=pose.std),
    )


def scores_of(detector: RTMDet, image: Pixels) -> np.ndarray[Any, Any]:
    """Return the scores of the boxes that rtmlib returns: it keeps them to itself."""
    scaled, _ = detector.preprocess(image)
    scores = detector.inference(scaled)[0][0, :, 4]
    return scores[scores > detector.score_thr]


def compare(own: PoseResult, boxes: np.ndarray[Any, Any], estimator: RTMPose, image: Pixels) -> str:
    if len(boxes) != len(own):
        return f"{len(boxes)} boxes by rtmlib, {len(own)} by the bundle"
    if not len(own):
        return "nothing found by either"
    keypoints, _ = estimator(image, own.boxes)
    return (
        f"{len(own)} boxes, {np.abs(boxes - own.boxes).max():.4f} px apart at most; "
        f"keypoints {np.abs(keypoints - own.keypoints).max():.4f} px"
    )


if __name__ == "__main__":
    main()
