"""Evaluation of a bundle on a split: the part of ``posetools eval --bundle`` that needs onnxruntime, and no torch."""

from __future__ import annotations

from pathlib import Path

from posetools.core.skeleton import load_skeleton
from posetools.errors import RequestError
from posetools.evaluation.run import DEFAULT_SPLIT, RunReport, SplitRequest, Subject, measure
from posetools.evaluation.scoring import read_truth
from posetools.progress import Progress, silent
from posetools.runtime.bundle import Bundle


def evaluate_bundle(bundle: Path, request: SplitRequest = DEFAULT_SPLIT, progress: Progress = silent) -> RunReport:
    """Return all that can be measured of a bundle's pair; each model runs once over the pictures.

    Args:
        bundle: the zip.
        request: what it is measured on; it must name the data.
        progress: told how many pictures are done.

    Raises:
        MissingExtraError: the ``runtime`` extra is not installed.
        RequestError: no data set was named, or the bundle cannot be evaluated on it.
        InputError: the file is no bundle, or a file of the data set cannot be read.
    """
    if request.data is None:
        raise RequestError(f"{bundle}: a bundle does not know its data set\n  --data DIR says where it is")
    opened = Bundle.open(bundle)
    models = opened.models(request.device)
    skeleton = opened.manifest.skeleton if request.skeleton is None else load_skeleton(request.skeleton)
    truth = read_truth(request.data, request.split, skeleton)
    subject = Subject(
        name=str(bundle),
        detector=f"{bundle}: {opened.manifest.det.file}",
        estimator=f"{bundle}: {opened.manifest.pose.file}",
        data=str(request.data),
        split=request.split,
        bbox_thr=request.bbox_thr,
    )
    return measure(subject, *models, truth, progress=progress)
