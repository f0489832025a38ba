"""Cost of waiting threads of OpenMP (torch) and onnxruntime, on a quiet and on a busy machine.

    python benchmarks/threads.py [--busy 4] [--rounds 3] [--iterations 2] [--size 256] [--batch 8] [--policies ...]

A waiting thread either spins or sleeps. Spinning is the default of OpenMP and onnxruntime; if other programs keep the
cores busy, it takes time from the thread that it waits for. posetools uses sleeping: OMP_WAIT_POLICY=PASSIVE
(posetools/mm/__init__.py) and session.intra_op.allow_spinning=0 (posetools/runtime/session.py).

Each policy is a process that builds RTMDet-tiny once, and then trains, predicts, or runs the backbone with onnxruntime
on request. They take turns, first on the machine as it is and then next to ``--busy`` processes that only compute. It
prints the median seconds per iteration, and the ratio of the default to each policy (above 1: the policy is faster). It
takes two to three minutes on two cores, nearly all of it for the default on the busy machine; there one iteration is a
turn.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from targets import verdict

DEFAULT = "default"
PASSIVE = "OMP_WAIT_POLICY=PASSIVE"
WORKS = ("train", "predict", "onnx")
# Images per prediction iteration.
PREDICTED = 2
# The highest cost of posetools' policy on a quiet machine, and the least gain on a busy one.
COST, GAIN = 1.1, 1.2
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=2 * (os.cpu_count() or 1), help="processes that only compute")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=2, help="per turn on the quiet machine")
    parser.add_argument("--size", type=int, default=256, help="side of the input")
    parser.add_argument("--batch", type=int, default=8, help="of training")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--policies", nargs="+", default=[DEFAULT, PASSIVE], metavar="NAME=VALUE")
    parser.add_argument("--worker", metavar="POLICY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
        return 0
    workers = {policy: started(policy, options) for policy in options.policies}
    for worker in workers.values():
        told(worker, "wait 0")
    found: dict[tuple[str, str, str], list[float]] = {}
    for state, number in (("quiet", 0), ("busy", options.busy)):
        with busy(number):
            for turn in range(options.rounds):
                for what in options.works:
                    # The machine changes over time, so they take turns.
                    order = options.policies if turn % 2 == 0 else options.policies[::-1]
                    for policy in order:
                        times = 1 if number else options.iterations
                        seconds = told(workers[policy], f"{what} {times}") / times
                        found.setdefault((state, what, policy), []).append(seconds)
    for worker in workers.values():
        worker.communicate()
    return report(found, options)


def report(found: dict[tuple[str, str, str], list[float]], options: argparse.Namespace) -> int:
    print(f"{'':6} {'':8} {'policy':26} {'s/iteration':>11} {'ratio':>6}")
    ratios = {}
    for (state, what, policy), seconds in found.items():
        ratios[state, what, policy] = median(found[state, what, options.policies[0]]) / median(seconds)
        print(f"{state:6} {what:8} {policy:26} {median(seconds):11.3f} {ratios[state, what, policy]:6.2f}")
    if PASSIVE not in options.policies:
        return 0
    holds = []
    for what in options.works:
        cost, gain = 1 / ratios["quiet", what, PASSIVE], ratios["busy", what, PASSIVE]
        holds.append(verdict(f"{what}, quiet", f"at most {COST}x the default", f"{cost:.2f}x", cost <= COST))
        # onnxruntime spins only briefly, and gains little.
        least = 1 / COST if what == "onnx" else GAIN
        holds.append(verdict(f"{what}, busy", f"at least {least:.2g}x as fast", f"{gain:.2f}x", gain >= least))
    return int(not all(holds))


def started(policy: str, options: argparse.Namespace) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    name, equals, value = policy.partition("=")
    if equals:
        environment[name] = value
    same = ("size", "batch")
    words = [word for each in same for word in (f"--{each}", str(getattr(options, each)))]
    command = [sys.executable, "-W", "ignore", __file__, "--worker", policy, *words, "--works", *options.works]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def told(worker: subprocess.Popen[str], what: str) -> float:
    """Send a worker a task, and return its seconds."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    print(what, file=worker.stdin, flush=True)
    line = worker.stdout.readline()
    if not line:
        raise SystemExit(f"a worker ended with status {worker.wait()}")
    return float(line)


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Keep the cores busy, with this many processes."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    time.sleep(0.5)
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def work(options: argparse.Namespace) -> None:
    """Build the model, then run the task of each line of standard input, and print its time."""
    # Not imported from posetools.mm, which would set the policy.
    works = _works(options)
    for work in works.values():
        work()
    for line in sys.stdin:
        what, times = line.split()
        began = time.perf_counter()
        for _ in range(int(times)):
            works[what]()
        print(time.perf_counter() - began, flush=True)


def _works(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    torch.manual_seed(1)
    model, size = _rtmdet(), options.size
    images = torch.rand(options.batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    samples = [_sample(size) for _ in range(options.batch)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def train() -> None:
        model.train()
        loss = sum(sum(part) if isinstance(part, list) else part for part in model.loss(images, samples).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def predict() -> None:
        model.eval()
        with torch.no_grad():
            for row in range(PREDICTED):
                model(images[row : row + 1], mode="tensor")

    works: dict[str, Any] = {"train": train, "predict": predict}
    if "onnx" in options.works:
        works["onnx"] = _onnx(model, images.numpy(), spinning="0" if options.worker != DEFAULT else "1")
    return {name: works[name] for name in options.works}


def _rtmdet() -> Any:
    import torch
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmengine import Config
    from mmengine.utils import get_installed_path

    register_all_modules()
    config = Config.fromfile(f"{get_installed_path('mmdet')}/.mim/configs/rtmdet/rtmdet_tiny_8xb32-300e_coco.py")
    config.model.backbone.init_cfg = None
    config.model.backbone.norm_cfg = {"type": "BN"}
    config.model.neck.norm_cfg = {"type": "BN"}
    config.model.bbox_head.norm_cfg = {"type": "BN"}
    return MODELS.build(config.model).to(memory_format=torch.channels_last)


def _sample(size: int) -> Any:
    import torch
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    box = torch.tensor([[0.2, 0.3, 0.6, 0.7]]) * size
    shape = {"img_shape": (size, size), "pad_shape": (size, size), "batch_input_shape": (size, size)}
    sample = DetDataSample(metainfo=shape)
    sample.gt_instances = InstanceData(bboxes=box, labels=torch.zeros(1, dtype=torch.long))
    return sample


def _onnx(model: Any, images: Any, *, spinning: str) -> Any:
    import io

    import onnxruntime
    import torch

    file = io.BytesIO()
    model.eval()
    torch.onnx.export(model.backbone, (torch.rand(1, *images.shape[1:]),), file, dynamo=False)
    settings = onnxruntime.SessionOptions()
    settings.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    session = onnxruntime.InferenceSession(file.getvalue(), settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run() -> None:
        for image in images[:PREDICTED]:
            session.run(None, {name: image[None]})

    return run


if __name__ == "__main__":
    raise SystemExit(main())
