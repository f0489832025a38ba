"""Joined shards of a source are the same as if all had been read at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, Image
from posetools.core.skeleton import load_skeleton
from posetools.formats import result as result_module
from posetools.formats.reading import FileReading, Row
from posetools.formats.result import ReadResult, join
from posetools.formats.shards import ShardReading, shard_of

CAR8 = Categories.of(load_skeleton("car8"))
NAMES = [f"{letter}/{number}.jpg" for letter in "dbca" for number in range(5)]


def reading_of(name: str, *, origin: str = "source", file: str = "", objects: int | None = None) -> FileReading:
    """Return the reading of an image's file with the given number of objects, each in a different place."""
    at = NAMES.index(name)
    rows = [
        Row((at, number, at + 9.5, number + 8.25), [(at + k, number, k % 3) for k in range(8)], f"shapes[{number}]", 1)
        for number in range(at % 4 if objects is None else objects)
    ]
    path = Path(f"{origin}/{name}")
    file = file or f"{name}.json"
    return FileReading(Path(file), path, str(path), name, origin, (100 + at, 50), rows=rows)


def shards(seed: int) -> list[ShardReading]:
    """Return all images in shards of different sizes, including an empty one."""
    rng = np.random.default_rng(seed)
    edges = sorted(rng.integers(0, len(NAMES) + 1, 4).tolist())
    return [
        shard_of(map(reading_of, some), CAR8, files=len(some))
        for some in (NAMES[a:b] for a, b in zip([0, *edges], [*edges, len(NAMES)], strict=True))
    ]


def expected(names: list[str]) -> list[tuple[str, float, float, str]]:
    """Return image, left, top and origin of each object, by hand."""
    return [
        (name, NAMES.index(name), number, f"{name}.json: shapes[{number}]")
        for name in sorted(names)
        for number in range(NAMES.index(name) % 4)
    ]


def told(dataset: Dataset) -> list[tuple[str, float, float, str]]:
    for one in dataset:
        # The keypoints are the object's own; unlabeled ones are zeros.
        assert one.keypoints[1].tolist() == [one.box[0] + 1, one.box[1], 1] and not one.keypoints[0].any()
    return [(one.image.file_name, one.box[0], one.box[1], str(one.origin)) for one in dataset]


@pytest.mark.parametrize("seed", range(8))
def test_shards_of_any_size_give_one_data_set_sorted_by_name(seed: int) -> None:
    result = join(shards(seed), CAR8)
    assert [image.file_name for image in result.images] == sorted(NAMES)
    assert result.counts.tolist() == [NAMES.index(name) % 4 for name in sorted(NAMES)]
    assert result.files == len(NAMES) and result.findings == ()
    assert told(result.dataset) == expected(NAMES)


@pytest.mark.parametrize("seed", range(4))
def test_a_selection_comes_in_slices(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(result_module, "SLICE", 3)
    result = join(shards(seed), CAR8)
    rows = [1, 2, 5, 6, 7, 11, 13, 19]
    selected = result.select(rows)
    parts = list(selected.slices())
    assert [len(part.images) for part in parts] == [3, 3, 2]
    assert [one for part in parts for one in told(part)] == expected([sorted(NAMES)[row] for row in rows])


def test_nothing_is_a_result_too() -> None:
    result: ReadResult = join([], CAR8)
    assert (len(result.images), len(result.dataset), result.files) == (0, 0, 0)
    assert len(join([shard_of([], CAR8, files=2)], CAR8).dataset) == 0


def test_an_image_of_two_files_is_in_neither() -> None:
    one = shard_of([reading_of("a/1.jpg"), reading_of("a/2.jpg")], CAR8, files=2)
    two = shard_of([reading_of("a/2.jpg", file="again.json"), reading_of("a/3.jpg")], CAR8, files=2)
    result = join([one, two], CAR8)
    assert [image.file_name for image in result.images] == ["a/1.jpg", "a/3.jpg"]
    assert [(finding.code, finding.file) for finding in result.findings] == [
        ("E313", "a/2.jpg.json"),
        ("E313", "again.json"),
    ]
    assert told(result.dataset) == expected(["a/1.jpg", "a/3.jpg"])


def test_images_of_one_name_get_that_of_their_source_before_it() -> None:
    both = [shard_of([reading_of("a/1.jpg", origin=origin)], CAR8, files=1) for origin in ("left", "right")]
    result = join(both, CAR8)
    assert [image.file_name for image in result.images] == ["left/a/1.jpg", "right/a/1.jpg"]
    assert len(result.dataset) == 2 * (NAMES.index("a/1.jpg") % 4)


def test_folders_declare_splits() -> None:
    named = FileReading(Path("x.json"), Path("train/x.jpg"), "x", "train/x.jpg", "source", (9, 9))
    by_source = FileReading(Path("y.json"), Path("y.jpg"), "y", "y.jpg", "val", (9, 9))
    result = join([shard_of([named, by_source], CAR8, files=2)], CAR8)
    assert result.images == [Image("train/x.jpg", 9, 9, split="train"), Image("y.jpg", 9, 9, split="val")]
