"""Run a bundle's networks in another program: rtmlib's RTMDet and RTMPose, on the bundle's samples.

    pip install --no-deps rtmlib==0.0.16 tqdm      # its dependencies would replace this environment's OpenCV
    python benchmarks/with_rtmlib.py cars.zip

rtmlib gets only the two ONNX files, and the input sizes, mean and std of bundle.json. Its RTMDet expects NMS in the
network, which a bundle does not have, so its boxes go through NMS here. It prints the differences of its boxes and
keypoints from the bundle's. They agree only up to the rounding of the scaled image size, which rtmlib rounds in another
way; and rtmlib's keypoint score is the mean of the two SimCC maxima, where MMPose uses the smaller one. It works only
for detectors of one class: rtmlib reads more classes as another layout.
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
            # rtmlib does not clip boxes to the image; MMDet clips them to the scaled one.
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
    """Return the scores of rtmlib's boxes, which it does not return."""
    scaled, _ = detector.preprocess(image)
    scores = detector.inference(scaled)[0][0, :, 4]
    return scores[scores > detector.score_thr]


def compare(own: PoseResult, boxes: np.ndarray[Any, Any], estimator: RTMPose, image: Pixels) -> str:
    if len(boxes) != len(own):
        return f"{len(boxes)} boxes by rtmlib, {len(own)} by the bundle"
    if not len(own):
        return "no detections in either"
    keypoints, _ = estimator(image, own.boxes)
    return (
        f"{len(own)} boxes, {np.abs(boxes - own.boxes).max():.4f} px apart at most; "
        f"keypoints {np.abs(keypoints - own.keypoints).max():.4f} px"
    )


if __name__ == "__main__":
    main()
