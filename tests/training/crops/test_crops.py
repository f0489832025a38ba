"""Training poses from cached crops: the network gets the same input, and the run is the same."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.core.dataset import DatasetBuilder, Image
from posetools.core.folder import IMAGES, ann_file
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.errors import InputError, PosetoolsError, RequestError
from posetools.formats.coco.format import write_split
from posetools.mm.configs import load_config
from posetools.mm.stack import prepare
from posetools.recipes.emit import emit_pair
from posetools.recipes.options import PoseOptions, RecipeOptions
from posetools.training.crops.cache import CropsCache, _innermost, use_crops_in
from posetools.training.crops.store import Layout, show_bytes
from posetools.training.request import TrainRequest
from posetools.training.train import train
from tests.build import make_dataset, make_image
from tests.tiny_runs import Recorder, Tiny

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Six images with small cars, one of them stored sideways, and a pair with both stages of augmentation."""
    root = tmp_path_factory.mktemp("photos")
    data = root / "cars"
    dataset = make_dataset(images=[f"{number}.jpg" for number in range(6)], size=(96, 80), seed=2)
    builder = DatasetBuilder(dataset.skeleton)
    for number, image in enumerate(dataset.images):
        sideways = number == 1
        path = data / IMAGES / image.file_name
        make_image(path, (800, 960) if sideways else (960, 800), seed=number, orientation=6 if sideways else 1)
        builder.add_image(Image(image.file_name, 960, 800, path=path))
    for row in range(len(dataset)):
        car = dataset[row]
        # Twice as large, somewhere else.
        offset = car.box[:2] * 7 + 0.37
        points = car.keypoints.copy()
        points[:, :2] = points[:, :2] * 2 + offset
        points[points[:, 2] == 0] = 0
        box = car.box * 2 + np.tile(offset, 2)
        builder.add_instance(car.image.file_name, box=box, keypoints=points, origin=Origin(f"object {row}"))
    whole = builder.build()
    write_split(whole.select_images(range(4)), ann_file(data, "train"))
    write_split(whole.select_images((4, 5)), ann_file(data, "val"))
    small = {"input_size": (64, 64), "epochs": 2, "stage2_epochs": 1, "batch_size": 2, "backbone": "none"}
    options = RecipeOptions(pose=PoseOptions.model_validate({"size": "t", **small}), workers=1)
    pair = emit_pair(data, load_skeleton("car8"), options, root / "configs")
    return Tiny(data, pair.det, pair.pose)


def _dataset(photos: Tiny, split: str, pipeline: str | None = None) -> Any:
    from mmengine.registry import DefaultScope
    from mmpose.registry import DATASETS

    config = load_config(photos.pose)
    settings = config[f"{split}_dataloader"]["dataset"].copy()
    settings["data_root"] = str(photos.data)
    if pipeline:
        settings["pipeline"] = config[pipeline]
    prepare("this test")
    with DefaultScope.overwrite_default_scope("mmpose"):
        import mmdet.datasets  # noqa: F401  (its CutOut and its HSV jitter are in the pipeline)

        return DATASETS.build(settings)


def _with_crops(photos: Tiny, split: str, pipeline: str | None, cache: CropsCache, said: list[str]) -> Any:
    dataset = _dataset(photos, split, pipeline)
    use_crops_in({split: (dataset, [dataset.pipeline.transforms])}, cache, said.append)
    return dataset


def _assert_same(expected: Any, found: Any) -> None:
    import torch

    assert found.keys() == expected.keys() == {"inputs", "data_samples"}
    assert torch.equal(found["inputs"], expected["inputs"])
    a, b = expected["data_samples"], found["data_samples"]
    assert set(a.metainfo) == set(b.metainfo)
    for name, value in a.metainfo.items():
        assert np.array_equal(value, b.metainfo[name]) if isinstance(value, np.ndarray) else value == b.metainfo[name]
    for part in ("gt_instances", "gt_instance_labels"):
        for name, value in getattr(a, part).items():
            assert np.array_equal(np.asarray(value), np.asarray(getattr(b, part)[name])), name


@pytest.mark.parametrize("kind", ["crops", "crops-ram"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_without_augmentation_the_network_gets_the_same_bytes(
    photos: Tiny, tmp_path: Path, kind: Any, split: str
) -> None:
    stock = _dataset(photos, split, "val_pipeline")
    cached = _with_crops(photos, split, "val_pipeline", CropsCache(kind, tmp_path), [])
    assert len(stock) == len(cached) > 3
    for number in range(len(stock)):
        expected, found = stock[number], cached[number]
        assert expected["inputs"].any()
        _assert_same(expected, found)


@pytest.mark.parametrize("pipeline", ["train_pipeline", "train_pipeline_stage2"])
def test_with_augmentation_and_the_same_random_numbers_too(photos: Tiny, tmp_path: Path, pipeline: str) -> None:
    stock = _dataset(photos, "train", pipeline)
    cached = _with_crops(photos, "train", pipeline, CropsCache("crops", tmp_path), [])
    flipped = set()
    for number in range(len(stock)):
        for seed in range(6):
            results = []
            for dataset in (stock, cached):
                np.random.seed(100 * number + seed)
                results.append(dataset[number])
            _assert_same(*results)
            flipped.add(results[0]["data_samples"].metainfo["flip"])
    assert flipped == {False, True}


def test_crops_are_fewer_bytes_than_images_and_are_not_written_twice(photos: Tiny, tmp_path: Path) -> None:
    said: list[str] = []
    cache = CropsCache("crops", tmp_path / "cache")
    _with_crops(photos, "val", "val_pipeline", cache, said)
    files = sorted((tmp_path / "cache").rglob("*.crops"))
    total = sum(file.stat().st_size for file in files)
    assert 0 < total < 2 * 960 * 800 * 3
    assert len(files) == 2
    assert said[0] == f"crops of 4 (val) objects: {show_bytes(total)} in {cache.folder}, {show_bytes(total)} to write"
    assert re.fullmatch(r"  [\d.]+ [kMGT]B are free there", said[1])
    times = [file.stat().st_mtime_ns for file in files]
    _with_crops(photos, "val", "val_pipeline", cache, said)
    assert "0 bytes to write" in said[2]
    assert [file.stat().st_mtime_ns for file in sorted((tmp_path / "cache").rglob("*.crops"))] == times


def test_an_object_without_crop_and_a_deleted_file_are_read_from_the_image(photos: Tiny, tmp_path: Path) -> None:
    stock = _dataset(photos, "val")
    cached = _with_crops(photos, "val", None, CropsCache("crops", tmp_path), [])
    for file in tmp_path.rglob("*.crops"):
        file.unlink()
    for number in range(len(stock)):
        _assert_same(stock[number], cached[number])


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda path: path.unlink(), InputError, "image does not exist"),
        (lambda path: path.write_bytes(path.read_bytes()[:2000]), InputError, "it ends before the image does"),
    ],
)
def test_an_image_that_cannot_be_read_is_named(
    tmp_path: Path, photos: Tiny, change: Callable[[Path], None], kind: type[PosetoolsError], message: str
) -> None:
    broken = Tiny(tmp_path / "cars", photos.det, photos.pose)
    shutil.copytree(photos.data, broken.data)
    dataset = _dataset(broken, "val")
    image = Path(dataset.get_data_info(0)["img_path"])
    change(image)
    with pytest.raises(kind, match=f"{image.name}: .*{message}"):
        _with_crops(broken, "val", None, CropsCache("crops", tmp_path / "cache"), [])


def test_a_data_set_of_another_kind_is_refused(photos: Tiny) -> None:
    from mmengine.dataset import RepeatDataset

    dataset = _dataset(photos, "val")
    assert _innermost(RepeatDataset(dataset, 3)) is dataset
    with pytest.raises(RequestError, match="must have one top-down COCO data set, got Layout"):
        _innermost(Layout((1, 1), (), np.zeros((0, 4), np.int64)))


@pytest.fixture(scope="module")
def runs(photos: Tiny, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Recorder]]:
    """Two epochs, the second with the pipeline of stage 2, with loader processes: without and with crops."""
    root = tmp_path_factory.mktemp("runs")
    found = {}
    for name, cache in (("stock", None), ("disk", "crops")):
        told = Recorder()
        request = TrainRequest(
            stage="pose",
            config=photos.pose,
            work_dir=root / name,
            device="cpu",
            seed=5,
            cache=cache,
        )
        train(request, told)
        found[name] = (root / name, told)
    return found


def _losses(work_dir: Path) -> list[Any]:

    (path,) = work_dir.glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if "time" not in key and key != "memory"} for line in lines]


def test_loader_processes_share_crops_in_memory(photos: Tiny, tmp_path: Path) -> None:
    from torch.utils.data import DataLoader

    stock = _dataset(photos, "val")
    cached = _with_crops(photos, "val", None, CropsCache("crops-ram", tmp_path), [])
    loader = DataLoader(cached, batch_size=None, num_workers=2, multiprocessing_context="fork")
    for expected, found in zip(iter(stock), loader, strict=True):
        _assert_same(expected, found)
    assert not any(tmp_path.iterdir())


def test_a_run_from_crops_is_the_run_from_images(runs: dict[str, tuple[Path, Recorder]]) -> None:
    (stock, _), (cached, told) = runs["stock"], runs["disk"]
    losses = _losses(stock)
    assert len(losses) > 2
    assert _losses(cached) == losses
    assert "crops of" in told.text
    # The config that was dumped is one that the stock tools run.
    (config,) = cached.glob("*.py")
    text = config.read_text(encoding="utf-8")
    assert "type='LoadImage'" in text
    assert "Crop" not in text
    assert list((cached / "crops").rglob("*.crops"))
    assert not (stock / "crops").exists()
