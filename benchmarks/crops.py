"""Speed of loading large photos for pose training with `--cache crops`, against loading the photos.

    python benchmarks/crops.py [--work FOLDER] [--images 24] [--cars 3] [--json FILE]

3840x2160 photos are composed of rendered cars on a noise-like ground and saved as JPEG. A pose config is emitted for
them, and its training pipeline, including augmentation, runs over all objects in this process, several times in turn:
on the photos, on crops from disk and on crops from memory. The inputs of the network are compared: with the same random
numbers they must be the same bytes.

It prints objects per second (the median of the rounds), the ratio to the photos, the time to build the crops next to
the time to decode each image once, and the size of the crops. All three read files from the operating system's cache,
so the comparison is of decoding, not of disks.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.folder import IMAGES, ann_file
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.formats.coco.format import write_split
from posetools.imaging.frames import read_image
from posetools.mm.configs import inner_dataset, load_config
from posetools.mm.stack import prepare
from posetools.recipes.emit import emit_pair
from posetools.recipes.options import PoseOptions, RecipeOptions
from posetools.synth import PLAIN, render_set
from posetools.training.crops.cache import CropsCache, use_crops_in
from posetools.training.crops.store import show_bytes

WIDTH, HEIGHT = 3840, 2160
# The size of each rendered car image, a cell in a photo's grid.
TILE = (960, 720)


@dataclass(frozen=True)
class Result:
    """One way of loading.

    Attributes:
        name: its name.
        rate: objects per second.
        build: seconds to build the crops.
    """

    name: str
    rate: float
    build: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="keep the photos here for reuse")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--cars", type=int, default=3, help="per photo, at most 16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = make_photos((args.work or Path(scratch)).absolute(), args.images, args.cars)
        results = measure(data, Path(scratch), args.rounds)
    if args.json:
        args.json.write_text(json.dumps([asdict(one) for one in results], indent=1) + "\n", encoding="utf-8")


def measure(data: Path, scratch: Path, rounds: int) -> list[Result]:
    """Load everything several times in each way, and print the results."""
    prepare("this benchmark")
    pair = emit_pair(data, load_skeleton("car8"), RecipeOptions(pose=PoseOptions(size="t")), scratch / "configs")
    ways = {"photos": build(pair.pose), "crops": build(pair.pose), "crops-ram": build(pair.pose)}
    images = {ways["photos"].get_data_info(i)["img_path"] for i in range(len(ways["photos"]))}
    started = time.perf_counter()
    for image in sorted(images):
        read_image(Path(image))
    print(f"decoding {len(images)} images once, one after the other: {time.perf_counter() - started:.1f} s")
    took = {"photos": 0.0}
    for kind in ("crops", "crops-ram"):
        started = time.perf_counter()
        use_crops_in(
            {"train": (ways[kind], [ways[kind].pipeline.transforms])}, CropsCache(kind, scratch / "cache"), print
        )
        took[kind] = time.perf_counter() - started
        print(f"{kind}: built in {took[kind]:.1f} s")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        inputs = {}
        for name, dataset in ways.items():
            elapsed, inputs[name] = load(dataset, number)
            seconds[name].append(elapsed)
        assert np.array_equal(inputs["photos"], inputs["crops"]), "other inputs from crops on disk"
        assert np.array_equal(inputs["photos"], inputs["crops-ram"]), "other inputs from crops in memory"
    results = [Result(name, len(ways[name]) / median(seconds[name]), took[name]) for name in ways]
    print(f"\n{'':12}{'objects/s':>10}{'ratio':>7}{'built in':>10}")
    for one in results:
        print(f"{one.name:12}{one.rate:10.1f}{one.rate / results[0].rate:7.1f}{one.build:10.1f}")
    size = sum(path.stat().st_size for path in (scratch / "cache").rglob("*.crops"))
    photos = sum(Path(image).stat().st_size for image in images)
    print(
        f"{len(ways['photos'])} objects: {show_bytes(size)} of crops, {show_bytes(photos)} of photos; the same inputs"
    )
    return results


def build(config: Path) -> Any:
    """Return the training data set of a config."""
    import mmdet.datasets  # noqa: F401  (its CutOut and its HSV jitter are in the pipeline)
    from mmengine.registry import DefaultScope
    from mmpose.registry import DATASETS

    with DefaultScope.overwrite_default_scope("mmpose"):
        return DATASETS.build(inner_dataset(load_config(config)["train_dataloader"]))


def load(dataset: Any, seed: int) -> tuple[float, Any]:
    """Return the time of one pass over all objects, and the inputs of the network."""
    inputs = []
    started = time.perf_counter()
    for number in range(len(dataset)):
        np.random.seed(1000 * seed + number)
        inputs.append(dataset[number]["inputs"].numpy())
    return time.perf_counter() - started, np.stack(inputs)


def make_photos(work: Path, images: int, cars: int) -> Path:
    """Compose rendered cars into large photos."""
    data = work / f"photos_{images}_{cars}"
    if data.is_dir():
        return data
    rendered = render_set(work / "rendered", images=16, size=TILE, seed=4, variety=PLAIN, workers=2, overwrite=True)
    builder = DatasetBuilder(load_skeleton("car8"))
    rows = [rows[0] for rows in rendered.rows_of_images() if len(rows) == 1]
    rng = np.random.default_rng(0)
    for number in range(images + 2):
        add_photo(builder, rendered, rng.choice(rows, cars).tolist(), data / IMAGES, number, rng)
    dataset = builder.build()
    write_split(dataset.select_images(range(images)), ann_file(data, "train"))
    write_split(dataset.select_images((images, images + 1)), ann_file(data, "val"))
    return data


def add_photo(
    builder: DatasetBuilder,
    rendered: Dataset,
    rows: Sequence[int],
    folder: Path,
    number: int,
    rng: np.random.Generator,
) -> None:
    import cv2

    name = f"photo_{number:03d}.jpg"
    folder.mkdir(parents=True, exist_ok=True)
    # Ground with as much detail as a real photo, to decode.
    coarse = rng.integers(60, 190, (HEIGHT // 6, WIDTH // 6, 3), dtype=np.uint8)
    photo = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    builder.add_image(Image(name, WIDTH, HEIGHT, path=folder / name))
    columns = WIDTH // TILE[0]
    places = rng.choice(columns * (HEIGHT // TILE[1]), len(rows), replace=False)
    for row, place in zip(rows, places, strict=True):
        car = rendered[row]
        offset = np.array([place % columns * TILE[0], place // columns * TILE[1]], dtype=np.float64)
        x, y = offset.astype(int)
        assert car.image.path is not None
        photo[y : y + TILE[1], x : x + TILE[0]] = read_image(car.image.path)
        points = car.keypoints.copy()
        points[points[:, 2] > 0, :2] += offset
        builder.add_instance(
            name, box=car.box + np.tile(offset, 2), keypoints=points, origin=Origin(f"{name}: car {place}")
        )
    cv2.imwrite(str(folder / name), photo, [cv2.IMWRITE_JPEG_QUALITY, 92])


if __name__ == "__main__":
    main()
