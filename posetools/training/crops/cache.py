"""Training poses from cached crops: ``posetools train --cache crops``.

Of a photo of 3840 x 2160 pixels, decoding takes longer than everything else that happens to it on its way to the
network. What the network can ever see of it is known before training (crops_window), and is kept decoded on disk or in
memory (crops_store); two transforms then stand for LoadImage and TopdownAffine (crops_transforms). The network gets the
same input, bit for bit, as long as the image files are not changed while the run goes on.

All this is done to the data sets, and to the hook that switches the pipeline, of a run that has been built. The config
is not changed: what is dumped into the work folder is what the stock tools run.
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
# Within the work folder, when no folder is named.
CROPS_FOLDER = "crops"

# Seconds between two lines about how far the building is.
_PROGRESS_PAUSE = 5.0

Say: TypeAlias = Callable[[str], None]
# By the path of the image, as the data set says it.
Layouts: TypeAlias = Mapping[str, Layout]


@dataclass(frozen=True, slots=True)
class CropsCache:
    """What is kept, and where.

    Attributes:
        kind: on disk, or in memory.
        folder: for those on disk.
    """

    kind: Cache
    folder: Path


def crops_cache(cache: str | None, folder: Path | None, *, stage: str, work_dir: Path) -> CropsCache | None:
    """Return the cache that the user asked for, None when none was.

    Raises:
        RequestError: it does not fit the stage, or a folder is named for what needs none.
    """
    if cache is None:
        if folder is not None:
            raise RequestError("--cache-dir names where crops lie\n  --cache crops must be there for it")
        return None
    if cache not in CACHES:
        raise RequestError(must_be("--cache", " or ".join(CACHES), cache))
    if stage != "pose":
        raise RequestError("--cache is for --stage pose: the detector looks at whole images")
    if cache == "crops-ram" and folder is not None:
        raise RequestError("--cache crops-ram keeps crops in memory\n  --cache-dir is for --cache crops")
    return CropsCache(cache, folder or work_dir / CROPS_FOLDER)


class CropsHook(RunHook):
    """Lets a pose run train and evaluate from crops."""

    def __init__(self, cache: CropsCache, say: Say) -> None:
        self._cache, self._say = cache, say

    def before_run(self, runner: Any) -> None:
        """Let the loaders of a run that has been built, but not started, take their images from crops.

        Raises:
            RequestError: a pipeline or a data set is none that this can be done for, or there is too little room.
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
    """Change pipelines, all that the objects of a data set may go through, in place, into ones that take crops.

    Raises:
        RequestError: a pipeline or a data set is none that this can be done for, or there is too little room.
        InputError: an image cannot be read.
        OutputError: the crops cannot be written.
    """
    layouts = {split: _layouts(split, _innermost(data), ways) for split, (data, ways) in datasets.items()}
    for (_, pipelines), store in zip(datasets.values(), _stores(layouts, cache, say), strict=True):
        for transforms in pipelines:
            transforms[:] = with_crops(transforms, store)


def with_crops(transforms: Sequence[Callable[..., Any]], store: CropStore) -> list[Callable[..., Any]]:
    """Return a pipeline that takes crops from a store and is otherwise the same."""
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
            "--cache crops-ram needs loader processes that share memory with this one, which this system cannot start\n"
            "  --cache crops keeps them on disk; or set num_workers of the loaders to 0"
        )


def _innermost(dataset: Any) -> Any:
    """Return the data set within wrappers that only repeat or cut it."""
    from mmpose.datasets.datasets.base import BaseCocoStyleDataset

    while not isinstance(dataset, BaseCocoStyleDataset) and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    if not isinstance(dataset, BaseCocoStyleDataset) or dataset.data_mode != "topdown":
        raise RequestError(
            f"--cache crops must have one top-down data set in COCO's format, got {type(dataset).__name__}\n"
            "  without --cache it trains as it is"
        )
    return dataset


def _layouts(split: str, dataset: Any, pipelines: Sequence[list[Callable[..., Any]]]) -> Layouts:
    reaches = [reach_of(transforms, f"the {split} pipeline") for transforms in pipelines]
    entries = (dataset.get_data_info(number) for number in range(len(dataset)))
    return layouts_of(((entry["img_path"], entry["bbox"]) for entry in entries), reaches)


def layouts_of(entries: Iterator[tuple[str, Any]], reaches: Sequence[Reach]) -> dict[str, Layout]:
    """Return, by image, which parts of it have to be kept.

    Args:
        entries: the path and the box (1, 4) of every object, as the data set gives them to its pipeline.
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
    say(f"crops of {objects} objects: {show_bytes(total)} in {folder}, {show_bytes(need)} of them to be written")
    say(f"  {show_bytes(check_room(folder, need))} are free there")
    # Each process of a run makes its share. What is missing then lies on another node's own disk.
    fill_folder(missing[get_rank() :: get_world_size()], layouts, read, _telling(say))
    barrier()
    fill_folder(_missing(layouts), layouts, read, _telling(say))
    return stores


def _missing(layouts: Mapping[Path, tuple[str, Layout]]) -> list[Path]:
    return [file for file, (_, layout) in layouts.items() if not is_there(file, layout)]


def _telling(say: Say) -> Progress:
    """Return a progress that says where it is every few seconds."""
    told = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _PROGRESS_PAUSE:
            told = time.monotonic()
            say(f"{what}: {done} of {total} images")

    return tell
