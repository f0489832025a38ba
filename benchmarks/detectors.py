"""Time that RTMDet's sizes take on a CPU for one image, as exported in a bundle.

    python benchmarks/detectors.py [--sizes nano tiny] [--input 320] [--rounds 150] [--threads 2]

The configs are emitted by posetools and the models have random weights, because weights do not change the time. The
ONNX files take turns, image by image, so that other load on the machine affects all of them. It prints the median
milliseconds of wall time and of CPU time for each size, without preprocessing and NMS, and the ratio of the last size
to each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from posetools.core.folder import IMAGES, ann_file
from posetools.core.skeleton import load_skeleton
from posetools.exporting.onnx import export_det
from posetools.formats.coco.format import write_split
from posetools.mm.inference import Detector
from posetools.recipes.emit import emit_pair
from posetools.recipes.options import RecipeOptions
from posetools.synth import PLAIN, render_set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["nano", "tiny"])
    parser.add_argument("--input", type=int, default=320, help="side of the input")
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--threads", type=int, default=2, help="of onnxruntime")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        data = work / "cars"
        cars = render_set(data / IMAGES, images=8, size=(96, 96), seed=1, variety=PLAIN, workers=1)
        for split, rows in (("train", range(6)), ("val", range(6, 8))):
            write_split(cars.select_images(rows), ann_file(data, split))
        sessions = {size: session(network(work, size, args.input), args.threads) for size in args.sizes}
    found = measure(sessions, args.input, args.rounds)
    last = found[args.sizes[-1]]
    for size, times in found.items():
        shown = (f"{1000 * own:.1f} ms ({theirs / own:.2f})" for own, theirs in zip(times, last, strict=True))
        print(f"RTMDet-{size} {args.input}x{args.input}: wall {next(shown)}, CPU {next(shown)}")


def network(work: Path, size: str, side: int) -> bytes:
    """Return the ONNX file of a detector with random weights."""
    import torch
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmengine import Config

    det = {"size": size, "input_size": side, "backbone": "none"}
    options = RecipeOptions.model_validate({"det": det})
    config = emit_pair(work / "cars", load_skeleton("car8"), options, work / size).det
    register_all_modules()
    weights = work / f"{size}.pth"
    torch.save({"state_dict": MODELS.build(Config.fromfile(config).model).state_dict(), "meta": {}}, weights)
    return export_det(Detector(config, weights), (side, side))


def session(model: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # As in posetools/runtime/session.py.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def measure(sessions: dict[str, Any], side: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Return each session's median seconds of wall and CPU time for one image; the first ten rounds do not count."""
    image = {"input": np.random.default_rng(0).random((1, 3, side, side), dtype=np.float32)}
    times: dict[str, list[tuple[float, float]]] = {size: [] for size in sessions}
    for _ in range(rounds + 10):
        for size, one in sessions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            one.run(None, image)
            times[size].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        size: (median(wall for wall, _ in each[10:]), median(cpu for _, cpu in each[10:]))
        for size, each in times.items()
    }


if __name__ == "__main__":
    main()
