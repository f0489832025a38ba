"""The scenes: a command in its own folder, its start, and what it must leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from posetools.checks.validate import validate
from posetools.datasets.convert import ConvertRequest, convert
from posetools.datasets.folds import write_folds
from posetools.datasets.merge import MergeRequest, merge
from posetools.datasets.resplit import resplit
from posetools.formats.coco import format as coco
from tests.build import make_dataset

IMAGES = [f"{name}.jpg" for name in "abcdefghij"]


@dataclass(frozen=True, slots=True)
class Scene:
    """One command.

    Attributes:
        prepare: creates the command's input in an empty folder.
        run: the command, in that folder.
        target: its output, relative to the folder.
    """

    prepare: Callable[[Path], None]
    run: Callable[[Path], object]
    target: str


def contents(target: Path) -> dict[str, bytes]:
    """Return what a reader sees: all files that are not hidden, nor in a hidden folder; nothing without a target."""
    if target.is_file():
        return {"": target.read_bytes()}
    found = sorted(path.relative_to(target) for path in target.rglob("*") if path.is_file())
    seen = [path for path in found if not any(part.startswith(".") for part in path.parts)]
    return {path.as_posix(): (target / path).read_bytes() for path in seen}


def leftovers(folder: Path) -> list[str]:
    """Return the hidden files and folders."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob(".*"))


def _source(folder: Path) -> None:
    from posetools.formats.labelme import format as labelme

    dataset = make_dataset(folder / "pictures", images=IMAGES)
    (folder / "src").mkdir()
    labelme.write({"all": dataset}, folder / "src", "copy")


def _convert(folder: Path, seed: int = 0) -> object:
    return convert(ConvertRequest(sources=(folder / "src",), out=folder / "out", val=0.3, seed=seed, overwrite=True))


def _source_and_old(folder: Path) -> None:
    _source(folder)
    _convert(folder, seed=5)


def _data(folder: Path, name: str = "out", seed: int = 0) -> None:
    images = [f"{name}-{image}" for image in IMAGES]
    # Images of another size are other images.
    whole = make_dataset(folder / f"pictures-{name}", images=images, size=(160 + 16 * seed, 120), seed=seed)
    (folder / name).mkdir()
    coco.write(
        {"train": whole.select_images(range(7)), "val": whole.select_images(range(7, 10))}, folder / name, "copy"
    )
    (folder / name / "conversion.json").write_text('{\n"posetools": "1"\n}\n')


def _data_with_folds(folder: Path) -> None:
    _data(folder)
    write_folds(folder / "out", 2, seed=5)


def _broken_data(folder: Path) -> None:
    _data(folder)
    (folder / "out" / "conversion.json").unlink()
    for split in ("train", "val"):
        path = folder / "out" / f"{split}_coco.json"
        document = json.loads(path.read_text())
        for annotation in document["annotations"]:
            annotation["area"] = 0
        path.write_text(json.dumps(document))


def _two_sets_and_old(folder: Path) -> None:
    _data(folder, "one", seed=1)
    _data(folder, "two", seed=2)
    _data(folder, "out", seed=3)
    for name in ("one", "two"):
        (folder / name / "conversion.json").unlink()


def _merge(folder: Path) -> object:
    sources = (folder / "one", folder / "two")
    return merge(MergeRequest(sources=sources, out=folder / "out", overwrite=True))


def _checkpoint(folder: Path) -> None:
    import torch

    (folder / "run").mkdir()
    weights = {f"layer{i}.weight": torch.full((64, 64), float(i)) for i in range(8)}
    torch.save({"state_dict": weights, "meta": {"epoch": 3}, "optimizer": {}}, folder / "run" / "epoch_3.pth")
    (folder / "out").mkdir()


def _publish(folder: Path) -> object:
    from posetools.exporting.publish import publish

    return publish(folder / "run" / "epoch_3.pth", folder / "out" / "cars.pth", overwrite=True)


SCENES = {
    "convert": Scene(_source, _convert, "out"),
    "convert --overwrite": Scene(_source_and_old, _convert, "out"),
    "split": Scene(_data, lambda folder: resplit(folder / "out", val=0.4, seed=7), "out"),
    "split --test": Scene(_data, lambda folder: resplit(folder / "out", val=0.3, test=0.2, seed=7), "out"),
    "split --folds": Scene(_data_with_folds, lambda folder: write_folds(folder / "out", 3), "out"),
    "validate --fix": Scene(_broken_data, lambda folder: validate(folder / "out", fix=True, images=False), "out"),
    "merge --overwrite": Scene(_two_sets_and_old, _merge, "out"),
    "publish": Scene(_checkpoint, _publish, "out"),
}
