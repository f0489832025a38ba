"""The Dataset: sorted, frozen, and nothing lost when images are chosen or sets joined."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posetools.core.dataset import Dataset, DatasetBuilder, Image, concatenate
from posetools.core.place import Origin, Origins
from posetools.core.skeleton import load_skeleton
from tests.build import make_dataset, without_split

NAMES = ["b.jpg", "a/z.jpg", "a.jpg", "B.jpg"]


def _objects(dataset: Dataset) -> list[tuple[str, list[float], list[float], float, bool, str]]:
    return [
        (i.image.file_name, i.box.tolist(), i.keypoints.ravel().tolist(), i.area, i.iscrowd, str(i.origin))
        for i in dataset
    ]


def test_images_are_sorted_and_objects_follow_in_their_order() -> None:
    dataset = make_dataset(images=NAMES, per_image=3)
    assert [image.file_name for image in dataset.images] == sorted(NAMES)
    assert dataset.image_index.tolist() == sorted(dataset.image_index.tolist())
    for number, rows in enumerate(dataset.rows_of_images()):
        name = dataset.images[number].file_name
        assert [str(dataset.origins[row]) for row in rows] == [f"{name}: object {i}" for i in range(3)]
        assert all(dataset[row].image.file_name == name for row in rows)


def test_builder_fills_areas_and_empties_points_that_are_not_labeled() -> None:
    skeleton = load_skeleton()
    builder = DatasetBuilder(skeleton)
    builder.add_image(Image("a", 10, 10))
    keypoints = np.tile([3.0, 4.0, 0.0], (8, 1))
    keypoints[0] = [1, 2, 1]
    box = np.array([1.0, 2.0, 5.0, 8.0])
    builder.add_instance("a", box=box, keypoints=keypoints, origin=Origin("p"))
    builder.add_instance("a", box=box, keypoints=keypoints, origin=Origin("q"), area=7.0, iscrowd=True)
    box[:] = 0
    dataset = builder.build()
    assert dataset.areas.tolist() == [24.0, 7.0]
    assert dataset.iscrowd.tolist() == [False, True]
    assert dataset.keypoints[0, 0].tolist() == [1, 2, 1]
    assert not dataset.keypoints[:, 1:].any()
    assert keypoints[1].tolist() == [3, 4, 0]
    assert dataset.num_labeled.tolist() == [1, 1]
    assert dataset.visibility.tolist() == [[1, 0, 0, 0, 0, 0, 0, 0]] * 2
    assert dataset.boxes[0].tolist() == [1, 2, 5, 8]


def test_arrays_are_read_only() -> None:
    dataset = make_dataset()
    for name in ("boxes", "keypoints", "areas", "iscrowd", "image_index"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(dataset, name)[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        dataset[0].box[0] = 1
    with pytest.raises(AttributeError):
        dataset.boxes = np.zeros((0, 4))  # type: ignore[misc]


def test_select_and_concatenate_are_inverse() -> None:
    whole = make_dataset(images=NAMES, per_image=3)
    odd, even = whole.select_images([3, 1]), whole.select_images([0, 2])
    assert len(odd) + len(even) == len(whole)
    assert concatenate([odd, even]) == whole
    assert concatenate([even, odd]) == whole
    assert sorted(_objects(odd) + _objects(even)) == sorted(_objects(whole))
    empty = whole.select_images([])
    assert (len(empty), empty.images, empty.keypoints.shape) == (0, (), (0, 8, 3))


def test_concatenate_refuses_clashes() -> None:
    with pytest.raises(ValueError, match="unique"):
        concatenate([make_dataset(), make_dataset()])
    with pytest.raises(ValueError, match="the same categories"):
        concatenate([make_dataset(), make_dataset(images=["x"], skeleton=load_skeleton("coco17"))])
    with pytest.raises(ValueError, match="at least one"):
        concatenate([])


def test_with_images_renames_and_sorts_again() -> None:
    dataset = make_dataset(images=["a", "b", "c"])
    renamed = dataset.with_images([replace(image, file_name=f"{9 - i}") for i, image in enumerate(dataset.images)])
    assert [image.file_name for image in renamed.images] == ["7", "8", "9"]
    old = {"a": "9", "b": "8", "c": "7"}
    assert sorted(_objects(renamed)) == sorted((old[name], *rest) for name, *rest in _objects(dataset))
    with pytest.raises(ValueError, match="images must be 3, got 2"):
        dataset.with_images(dataset.images[:2])


def test_equality_looks_at_everything_but_where_things_came_from() -> None:
    dataset = make_dataset()
    moved = replace(
        dataset,
        images=tuple(replace(image, path=Path("elsewhere")) for image in dataset.images),
        origins=Origins.of([Origin("?")] * len(dataset)),
    )
    assert moved == dataset
    assert make_dataset(seed=1) != dataset
    assert replace(dataset, images=without_split(dataset.images)) == dataset
    assert replace(dataset, images=tuple(replace(image, split="val") for image in dataset.images)) != dataset
    assert replace(dataset, areas=dataset.areas + 1) != dataset
    assert replace(dataset, iscrowd=~dataset.iscrowd) != dataset
    assert dataset != "a text"


@pytest.mark.parametrize("name", ["boxes", "keypoints", "areas", "iscrowd", "category_ids", "image_index"])
def test_shapes_are_held(name: str) -> None:
    dataset = make_dataset()
    array = getattr(dataset, name)
    wrong = array[:, :3] if name == "boxes" else array[:-1]
    with pytest.raises(ValueError, match=f"{name} must have the shape"):
        Dataset(**{**{key: getattr(dataset, key) for key in dataset.__dataclass_fields__}, name: wrong})


def test_an_image_is_added_once() -> None:
    builder = DatasetBuilder(load_skeleton())
    builder.add_image(Image("a", 1, 1))
    assert "a" in builder
    assert "b" not in builder
    with pytest.raises(ValueError, match="unique, got 'a' again"):
        builder.add_image(Image("a", 2, 2))
