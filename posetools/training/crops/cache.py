"""Training poses from cached crops: ``posetools train --cache crops``.

Decoding a 3840 x 2160 photo takes longer than the rest of its pipeline. The part of it that the network can see is
known before training (``window``) and kept decoded on disk or in memory (``store``); two transforms then replace
LoadImage and TopdownAffine (``transforms``). The network's input stays the same, bit for bit, as long as the image
files do not change during the run.

Only the data sets of a built run, and the hook that switches the pipeline, are changed. The config is not: the one in
the work folder still runs with the stock tools.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from posetools.errors import RequestError, must_be
from posetools.imaging.header import read_header
from posetools.mm.stack import RunHook, failures
from posetools.progress import Progress
from posetools.training.crops.store import (
    CropPixels,
    CropStore,
    DiskCrops,
    Layout,
    MemoryCrops,
    check_room,
    files_of,
    fill_folder,
    is_there,
    show_bytes,
)
from posetools.training.crops.transforms import LoadCrop, WarpCrop
from posetools.training.crops.window import Reach, crop_rects, reach_of

Cache: TypeAlias = Literal["crops", "crops-ram"]
CACHES: tuple[Cache, ...] = ("crops", "crops-ram")
# In the work folder, unless --cache-dir is given.
CROPS_FOLDER = "crops"

# Seconds between two progress lines.
_PROGRESS_PAUSE = 5.0

Say: TypeAlias = Callable[[str], None]
# By image path, as in the data set.
Layouts: TypeAlias = Mapping[str, Layout]


@dataclass(frozen=True, slots=True)
class CropsCache:
    """Where crops are cached.

    Attributes:
        kind: on disk or in memory.
        folder: for those on disk.
    """

    kind: Cache
    folder: Path


def crops_cache(cache: str | None, folder: Path | None, *, stage: str, work_dir: Path) -> CropsCache | None:
    """Return the requested cache, or None.

    Raises:
        RequestError: the stage cannot use it, or ``folder`` is given without a cache on disk.
    """
    if cache is None:
        if folder is not None:
            raise RequestError("--cache-dir requires --cache crops", hint="add --cache crops")
        return None
    if cache not in CACHES:
        raise RequestError(must_be("--cache", " or ".join(CACHES), cache))
    if stage != "pose":
        raise RequestError("--cache requires --stage pose: the detector reads whole images")
    if cache == "crops-ram" and folder is not None:
        raise RequestError("--cache-dir requires --cache crops: crops-ram keeps crops in memory")
    return CropsCache(cache, folder or work_dir / CROPS_FOLDER)


class CropsHook(RunHook):
    """Lets a pose run train and evaluate from crops."""

    def __init__(self, cache: CropsCache, say: Say) -> None:
        self._cache, self._say = cache, say

    def before_run(self, runner: Any) -> None:
        """Make the loaders of a built run, not started yet, read crops.

        Raises:
            RequestError: a pipeline or a data set is not supported, or there is too little room.
            InputError: an image cannot be read.
            OutputError: the crops cannot be written.
        """
        from mmcv.transforms import Compose

        _check_workers(runner, self._cache)
        switches = [hook for hook in runner.hooks if hasattr(hook, "switch_pipeline")]
        for switch in switches:
            switch.switch_pipeline = list(Compose(switch.switch_pipeline))
        later = [switch.switch_pipeline for switch in switches]
        train, val = runner.train_dataloader.dataset, runner.val_dataloader.dataset
        own, of_val = (_innermost(dataset).pipeline.transforms for dataset in (train, val))
        use_crops_in({"train": (train, [own, *later]), "val": (val, [of_val])}, self._cache, self._say)


def use_crops_in(
    datasets: Mapping[str, tuple[Any, Sequence[list[Callable[..., Any]]]]], cache: CropsCache, say: Say
) -> None:
    """Change all pipelines of the data sets, in place, to read crops.

    Raises:
        RequestError: a pipeline or a data set is not supported, or there is too little room.
        InputError: an image cannot be read.
        OutputError: the crops cannot be written.
    """
    layouts = {split: _layouts(split, _innermost(data), ways) for split, (data, ways) in datasets.items()}
    for (_, pipelines), store in zip(datasets.values(), _stores(layouts, cache, say), strict=True):
        for transforms in pipelines:
            transforms[:] = with_crops(transforms, store)


def with_crops(transforms: Sequence[Callable[..., Any]], store: CropStore) -> list[Callable[..., Any]]:
    """Return the same pipeline, reading from a crop store."""
    from mmpose.datasets.transforms import LoadImage, TopdownAffine

    stand_ins: dict[type, Callable[[Any], Callable[..., Any]]] = {
        LoadImage: lambda one: LoadCrop(one, store),
        TopdownAffine: WarpCrop,
    }
    return [stand_ins[type(one)](one) if type(one) in stand_ins else one for one in transforms]


def _check_workers(runner: Any, cache: CropsCache) -> None:
    import multiprocessing

    loaders = (runner.train_dataloader, runner.val_dataloader)
    workers = max(loader.num_workers for loader in loaders)
    if cache.kind == "crops-ram" and workers and multiprocessing.get_start_method() != "fork":
        raise RequestError(
            "--cache crops-ram needs loader processes that share memory, which this system does not support",
            hint="use --cache crops, or set num_workers of the loaders to 0",
        )


def _innermost(dataset: Any) -> Any:
    """Return the data set inside wrappers that repeat or cut it."""
    from mmpose.datasets.datasets.base import BaseCocoStyleDataset

    while not isinstance(dataset, BaseCocoStyleDataset) and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    if not isinstance(dataset, BaseCocoStyleDataset) or dataset.data_mode != "topdown":
        raise RequestError(
            f"--cache crops must have one top-down COCO data set, got {type(dataset).__name__}",
            hint="train without --cache",
        )
    return dataset


def _layouts(split: str, dataset: Any, pipelines: Sequence[list[Callable[..., Any]]]) -> Layouts:
    reaches = [reach_of(transforms, f"the {split} pipeline") for transforms in pipelines]
    entries = (dataset.get_data_info(number) for number in range(len(dataset)))
    return layouts_of(((entry["img_path"], entry["bbox"]) for entry in entries), reaches)


def layouts_of(entries: Iterator[tuple[str, Any]], reaches: Sequence[Reach]) -> dict[str, Layout]:
    """Return which parts of each image to keep.

    Args:
        entries: the image path and the box (1, 4) of every object, as the pipeline gets them.
        reaches: of all pipelines.

    Raises:
        InputError: an image cannot be read.
    """
    boxes: dict[str, dict[bytes, Any]] = {}
    for image, box in entries:
        boxes.setdefault(image, {})[box.tobytes()] = box
    layouts = {}
    for image, by_bytes in boxes.items():
        size = read_header(Path(image)).size
        rects = crop_rects(np.concatenate(list(by_bytes.values())).astype(np.float64), reaches, size)
        layouts[image] = Layout(size, tuple(by_bytes), rects)
    return layouts


def _stores(of_splits: Mapping[str, Layouts], cache: CropsCache, say: Say) -> Sequence[CropStore]:
    from mmpose.datasets.transforms import LoadImage

    def read(image: str) -> CropPixels:
        with failures(f"{image}: cannot be decoded"):
            pixels: CropPixels = LoadImage().transform({"img_path": image})["img"]
        return pixels

    counts = {split: sum(layout.objects for layout in layouts.values()) for split, layouts in of_splits.items()}
    objects = " + ".join(f"{count} ({split})" for split, count in counts.items())
    if cache.kind == "crops-ram":
        need = sum(layout.nbytes for layouts in of_splits.values() for layout in layouts.values())
        say(f"crops of {objects} objects: {show_bytes(need)} of memory")
        in_memory = [MemoryCrops(layouts) for layouts in of_splits.values()]
        for store in in_memory:
            store.fill(read, _telling(say))
        return in_memory
    return _on_disk(of_splits.values(), cache.folder, objects, read, say)


def _on_disk(
    of_splits: Iterable[Layouts], folder: Path, objects: str, read: Callable[[str], CropPixels], say: Say
) -> list[CropStore]:
    from mmengine.dist import barrier, get_rank, get_world_size

    layouts: dict[Path, tuple[str, Layout]] = {}
    stores: list[CropStore] = []
    for own in of_splits:
        files = files_of(own, folder, _telling(say))
        layouts |= {file: (image, own[image]) for image, file in files.items()}
        stores.append(DiskCrops(own, files))
    total = sum(layout.nbytes for _, layout in layouts.values())
    missing = _missing(layouts)
    need = sum(layouts[file][1].nbytes for file in missing)
    say(f"crops of {objects} objects: {show_bytes(total)} in {folder}, {show_bytes(need)} to write")
    say(f"  {show_bytes(check_room(folder, need))} are free there")
    # Each process writes its share. Files still missing after that are on another node's local disk.
    fill_folder(missing[get_rank() :: get_world_size()], layouts, read, _telling(say))
    barrier()
    fill_folder(_missing(layouts), layouts, read, _telling(say))
    return stores


def _missing(layouts: Mapping[Path, tuple[str, Layout]]) -> list[Path]:
    return [file for file, (_, layout) in layouts.items() if not is_there(file, layout)]


def _telling(say: Say) -> Progress:
    """Return a progress callback that prints a line every few seconds."""
    told = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _PROGRESS_PAUSE:
            told = time.monotonic()
            say(f"{what}: {done} of {total} images")

    return tell
