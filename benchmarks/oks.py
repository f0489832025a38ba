"""Speed of OKS evaluation, against xtcocotools and pycocotools on the same labels and predictions.

    python benchmarks/oks.py [--images 5000] [--predictions 4] [--repeats 3] [--json FILE]

Each image has as many objects as predictions, of all sizes, some of them crowds or without labeled points; the
predictions are the labels with noise from none to a third of the object, and scores with ties. It times ``evaluate``,
``accumulate`` and ``summarize`` of COCOeval against the call that gives the same ten metrics, on one core, the best of
the repeats, without building the inputs (dictionaries there, arrays here). The metrics must agree to 1e-6, or the
program exits with status 1.
"""

from __future__ import annotations

import os

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import argparse  # noqa: E402
import contextlib  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from posetools.core.dataset import Dataset, DatasetBuilder, Image  # noqa: E402
from posetools.core.geometry import Floats  # noqa: E402
from posetools.core.place import Origin  # noqa: E402
from posetools.core.skeleton import load_skeleton  # noqa: E402
from posetools.evaluation.coco import EvaluationKind, Predictions  # noqa: E402
from posetools.evaluation.metrics import box_scores, oks_scores  # noqa: E402
from tests.coco_cases import STATS, peer_evaluation  # noqa: E402

PEERS = (("xtcocotools", "keypoints"), ("pycocotools", "keypoints"), ("pycocotools", "bbox"))


def make(images: int, each: int, seed: int) -> tuple[Dataset, Predictions]:
    """Return labels and one prediction for each of them."""
    rng = np.random.default_rng(seed)
    skeleton = load_skeleton("car8")
    builder = DatasetBuilder(skeleton)
    for number in range(images):
        name = f"{number:06}.jpg"
        builder.add_image(Image(name, 1280, 720))
        for _ in range(each):
            side = np.exp(rng.uniform(np.log(15), np.log(400), 2))
            corner = rng.uniform(0, 300, 2)
            points = corner + rng.uniform(0, 1, (8, 2)) * side
            visibility = rng.integers(0, 3, (8, 1)) * (rng.random() > 0.02)
            box, crowd = np.concatenate([corner, corner + side]), bool(rng.random() < 0.02)
            builder.add_instance(
                name, box=box, keypoints=np.concatenate([points, visibility], axis=1), origin=Origin(""), iscrowd=crowd
            )
    truth = builder.build()
    scale = np.sqrt(truth.areas) * rng.choice([0.0, 0.02, 0.05, 0.1, 0.3], len(truth))
    boxes = truth.boxes + rng.normal(0, 0.5, (len(truth), 4)) * scale[:, None]
    points = truth.keypoints[:, :, :2] + rng.normal(0, 1, (len(truth), 8, 2)) * scale[:, None, None]
    ordered = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    return truth, Predictions(truth.image_index, ordered, rng.uniform(0, 1, len(truth)).round(3), points)


def seconds(work: Callable[[], list[float]]) -> tuple[float, list[float]]:
    start = time.perf_counter()
    numbers = work()
    return time.perf_counter() - start, numbers


def ours(truth: Dataset, predicted: Predictions, kind: EvaluationKind, sigmas: Floats) -> list[float]:
    scores = box_scores(truth, predicted) if kind == "bbox" else oks_scores(truth, predicted, sigmas.tolist())
    return [-1.0 if value is None else value for value in scores.as_dict().values()]


def theirs(
    peer: str, truth: Dataset, predicted: Predictions, kind: EvaluationKind, sigmas: Floats
) -> Callable[[], list[float]]:
    evaluation = peer_evaluation(peer, truth, predicted, kind, sigmas)

    def work() -> list[float]:
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return [float(evaluation.stats[i]) for i in STATS[kind]]

    return work


def compare(truth: Dataset, predicted: Predictions, peer: str, kind: EvaluationKind, repeats: int) -> dict[str, object]:
    sigmas = np.array(truth.skeleton.sigmas)
    work = theirs(peer, truth, predicted, kind, sigmas)
    own, other = [], []
    for _ in range(repeats):
        own.append(seconds(lambda: ours(truth, predicted, kind, sigmas)))
        other.append(seconds(work))
    difference = float(np.abs(np.array(own[0][1]) - np.array(other[0][1])).max())
    best, peer_best = min(own)[0], min(other)[0]
    print(
        f"{kind:9} posetools {best:6.3f} s   {peer} {peer_best:7.3f} s   ratio {peer_best / best:6.1f}   "
        f"largest difference {difference:.1e}",
        flush=True,
    )
    return {
        "kind": kind,
        "peer": peer,
        "posetools_s": best,
        "peer_s": peer_best,
        "ratio": peer_best / best,
        "difference": difference,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--predictions", type=int, default=4, help="per image")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    truth, predicted = make(options.images, options.predictions, options.seed)
    print(f"{len(truth.images)} images, {len(truth)} objects, {len(predicted)} predictions")
    results = [compare(truth, predicted, peer, kind, options.repeats) for peer, kind in PEERS]  # type: ignore[arg-type]
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return int(any(float(str(one["difference"])) > 1e-6 for one in results))


if __name__ == "__main__":
    raise SystemExit(main())
