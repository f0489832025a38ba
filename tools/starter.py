"""Trains the starter weights in posetools/weights/, and writes what they reach into its README.md.

``make starter`` renders cars, then runs the commands that it prints. It takes hours. Stop it with Ctrl-C and call it
again: it resumes. ``python -m tools.starter --help`` lists the options; ``--also NAME=SOURCE`` evaluates on more
labeled images, such as photos.
"""

from __future__ import annotations

import argparse
import io
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from posetools.core.stages import STAGES, Stage
from posetools.errors import InputError
from posetools.exporting.publish import publish
from posetools.files.disk import read_json, read_text, write_files, write_text
from posetools.mm.averages import VERSION_KEY
from posetools.mm.checkpoint import load_checkpoint
from posetools.mm.configs import load_config
from posetools.pairs.find import pair_of_run
from posetools.recipes.starter import STARTERS
from posetools.synth import FULL_VARIETY, PLAIN, Variety, render_set

BEGIN, END = "<!-- results: written by `make starter` -->", "<!-- end of results -->"
IMAGE_SIZE = (320, 240)
# Images of each test set, and its seed relative to that of the training images.
TEST_IMAGES, TEST_SEED = 120, 1000
HEADING = """\
| images | number | box AP | box AP50 | pose AP, labeled boxes | PCK@0.1, visible | pose AP, detected boxes |
|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True, kw_only=True)
class Starting:
    """The options.

    Attributes:
        work: the folder for everything but the result.
        weights: the folder for the two files; its README.md gets the figures.
        images: number of rendered images.
        epochs: of each training.
        seed: of the images and of training.
        also: more sets to evaluate on: name -> files that `posetools convert` reads.
    """

    work: Path
    weights: Path
    images: int
    epochs: dict[Stage, int]
    seed: int
    also: dict[str, str]

    @property
    def run(self) -> Path:
        """The work folder of the training."""
        return self.work / "run"

    def file(self, stage: Stage) -> Path:
        """The file with the weights of a stage."""
        return self.weights / STARTERS[stage].file


def main() -> None:
    """Render, train, save and evaluate."""
    starting = _options()
    train(starting)
    pair = pair_of_run(starting.run)
    for stage, model in zip(STAGES, (pair.det, pair.pose), strict=True):
        save(Path(model.checkpoint), model.config, starting.file(stage))
    rows = [_row(name, evaluate(starting, data)) for name, data in test_sets(starting)]
    readme = starting.weights / "README.md"
    before, _, rest = read_text(readme).partition(BEGIN)
    write_text(readme, f"{before}{BEGIN}\n{HEADING}{''.join(rows)}{END}{rest.partition(END)[2]}")
    print(f"wrote {starting.weights}")


def _options() -> Starting:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("starter"))
    parser.add_argument("--weights", type=Path, default=STARTERS["det"].path.parent)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--det-epochs", type=int, default=14)
    parser.add_argument("--pose-epochs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--also", action="append", default=[], metavar="NAME=SOURCE")
    said = parser.parse_args()
    epochs: dict[Stage, int] = {"det": said.det_epochs, "pose": said.pose_epochs}
    also = dict(text.split("=", 1) for text in said.also)
    return Starting(work=said.work, weights=said.weights, images=said.images, epochs=epochs, seed=said.seed, also=also)


def train(starting: Starting) -> None:
    """Render the images, convert them, write the configs and train; skip what is done, and resume the training."""
    work, configs = starting.work, starting.work / "configs"
    _data_set(_rendered(work / "labelme", starting.images, starting.seed, FULL_VARIETY), work / "cars", "0.05")
    sizes = [
        word
        for stage, starter in STARTERS.items()
        for word in (
            f"--{stage}={starter.size}",
            f"--{stage}-input-size={'x'.join(map(str, starter.input_size))}",
            f"--{stage}-epochs={starting.epochs[stage]}",
        )
    ]
    seed = f"--seed={starting.seed}"
    if not configs.is_dir():
        _run("config", work / "cars", *sizes, "--pretrained=none", seed, "--out", configs)
    # Without a training in it, there is nothing to resume.
    resume = ["--resume"] if any(starting.run.glob("*/last_checkpoint")) else [work / "cars", "--configs", configs]
    _run("train", "--stage=all", "--work-dir", starting.run, *resume)


def save(checkpoint: Path, config: Path, out: Path) -> None:
    """Write a checkpoint's weights in half precision.

    Matrices and kernels are halved; the few numbers of norms and biases stay as they are.

    Raises:
        InputError: a weight is too large for half precision, or the checkpoint cannot be published.
    """
    import torch

    with TemporaryDirectory() as folder:
        content = load_checkpoint(publish(checkpoint, Path(folder) / "starter.pth").path)
    # RTMDet's head has the same kernels under several names: each is written once.
    halves: dict[int, Any] = {}
    state = {
        name: halves.setdefault(tensor.data_ptr(), tensor.half())
        if tensor.is_floating_point() and tensor.dim() > 1
        else tensor
        for name, tensor in content["state_dict"].items()
    }
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise InputError(checkpoint, f"state_dict.{name}", "weights must be below 65,504 for half precision")
    meta, said = content["meta"], load_config(config)
    kept = {VERSION_KEY: meta[VERSION_KEY], "skeleton": meta["skeleton"], "epochs": meta["epoch"]}
    kept |= {"iterations": meta["iter"], "seed": said.randomness.seed, "input_size": tuple(said.input_size)}
    buffer = io.BytesIO()
    torch.save({"state_dict": state, "meta": kept}, buffer)
    write_files({out: buffer.getvalue()})


def test_sets(starting: Starting) -> Iterator[tuple[str, Path]]:
    """Yield the name and the data set of all images to evaluate on; none was used for training."""
    for number, (name, variety) in enumerate((("plain", PLAIN), ("varied", FULL_VARIETY)), start=TEST_SEED):
        folder = starting.work / "tests" / name
        _rendered(folder / "labelme", min(TEST_IMAGES, starting.images), starting.seed + number, variety)
        yield f"rendered, {name}", _data_set(folder / "labelme", folder / "cars", "0")
    for name, source in starting.also.items():
        yield name, _data_set(source, starting.work / "tests" / name / "cars", "0")


def evaluate(starting: Starting, data: Path) -> dict[str, Any]:
    """Return the metrics of both files as JSON documents, by stage."""
    pair = pair_of_run(starting.run)
    det, pose = (starting.file(stage) for stage in STAGES)
    boxes = ("--boxes", det, "--boxes-config", pair.det.config)
    found = {}
    for stage, path, config, more in (("det", det, pair.det.config, ()), ("pose", pose, pair.pose.config, boxes)):
        out = data.parent / f"{stage}.json"
        where = ("--data", data, "--split=train", "--json", out)
        _run("eval", path, f"--stage={stage}", "--config", config, *more, *where)
        found[stage] = read_json(out)
    return found


def _row(name: str, found: dict[str, Any]) -> str:
    det, pose = found["det"], found["pose"]
    labeled, detected = pose["labelled_boxes"], pose["detected_boxes"]
    values = (
        det["bbox"]["AP"],
        det["bbox"]["AP50"],
        labeled["OKS"]["AP"],
        labeled["points"]["visible"]["overall"]["PCK@0.1"],
        detected["OKS"]["AP"],
    )
    shown = ["-" if value is None else f"{value:.3f}" for value in values]
    return f"| {name} | {det['images']} | {' | '.join(shown)} |\n"


def _rendered(out: Path, images: int, seed: int, variety: Variety) -> Path:
    if not out.is_dir():
        print(f"rendering {images} images into {out}, seed {seed}", flush=True)
        render_set(out, images=images, size=IMAGE_SIZE, seed=seed, variety=variety, workers=2)
    return out


def _data_set(source: Path | str, out: Path, val: str) -> Path:
    if not out.is_dir():
        _run("convert", source, "--out", out, "--val", val)
    return out


def _run(*words: object) -> None:
    command = ["posetools", *map(str, words)]
    print(f"$ {shlex.join(command)}", flush=True)
    subprocess.run([sys.executable, "-m", *command], check=True)


if __name__ == "__main__":
    main()
