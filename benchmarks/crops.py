"""How fast pose training loads large photos with `--cache crops`, against loading the photos.

    python benchmarks/crops.py [--work FOLDER] [--pictures 24] [--cars 3] [--json FILE]

Photos of 3840x2160 are put together from rendered cars on noise-like ground and saved as JPEG. A pose config is emitted
for them, and the training pipeline as it is, augmentation included, is run over all objects in this process, several
times in turn: on the photos, on crops from disk and on crops from memory. The inputs to the network are compared with
one another: with the same random numbers they are the same bytes.

What is printed: objects a second (the median of the rounds), the ratio to the photos, how long it took to build the
crops, in images a second beside the time to decode each image once, and how large they are. Files are read from the
operating system's cache in all three, so it is decoding that is compared, not disks.
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
# Cars are rendered in images of this size, a place in a photo's grid.
TILE = (960, 720)


@dataclass(frozen=True)
class Result:
    """One way of loading.

    Attributes:
        name: of it.
        rate: objects a second.
        build: seconds that building took.
    """

    name: str
    rate: float
    build: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="keep the photos here, and use them again")
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--cars", type=int, default=3, help="in each, 16 at most")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = make_photos((args.work or Path(scratch)).absolute(), args.images, args.cars)
        results = measure(data, Path(scratch), args.rounds)
    if args.json:
        args.json.write_text(json.dumps([asdict(one) for one in results], indent=1) + "\n", encoding="utf-8")


def measure(data: Path, scratch: Path, rounds: int) -> list[Result]:
    """Load everything a number of times in each way, and print what came out."""
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
    """Return how long one pass over all objects takes, and what the network gets."""
    inputs = []
    started = time.perf_counter()
    for number in range(len(dataset)):
        np.random.seed(1000 * seed + number)
        inputs.append(dataset[number]["inputs"].numpy())
    return time.perf_counter() - started, np.stack(inputs)


def make_photos(work: Path, images: int, cars: int) -> Path:
    """Put cars that were rendered one by one together in large photos."""
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
    # Ground with as much detail as a photo has: what there is to decode.
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
