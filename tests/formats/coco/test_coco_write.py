"""The COCO writer's output, byte for byte against Python's json, for any slicing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.core import dataset as core_dataset
from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.place import Origin
from posetools.core.skeleton import Skeleton, load_skeleton
from posetools.errors import InputError
from posetools.files.disk import Transfer
from posetools.files.urls import UrlPath, fetch
from posetools.formats.coco import write as coco_write
from posetools.formats.coco.write import category_entry, write, write_split
from tests.build import make_dataset
from tests.coco_sample import other_skeleton

CAR8 = load_skeleton("car8")
# Number of objects in each image; the third has none.
COUNTS = (2, 1, 0, 3)


def dataset(skeleton: Skeleton = CAR8) -> Dataset:
    """Return four images with odd names, and objects with whole and fractional numbers."""
    builder, rng = DatasetBuilder(skeleton), np.random.default_rng(5)
    for number, (name, count) in enumerate(zip(("a.jpg", 'b "b".png', "sub/ü\n.jpg", "z.jpg"), COUNTS, strict=True)):
        builder.add_image(Image(name, 300 + number, 200))
        for place in range(count):
            low = np.array([10.0 * place, 5.25])
            box = np.concatenate([low, low + np.array([40.0, 30.5 + number])])
            points = np.column_stack([rng.uniform(0, 100, (8, 2)).round(place), rng.integers(0, 3, 8)])
            area = 77.0 if place == 1 else 123.456 if place == 2 else None
            builder.add_instance(name, box=box, keypoints=points, origin=Origin(""), area=area, iscrowd=place == 1)
    return builder.build()


def flat(points: list[list[float]]) -> list[float]:
    """Return x, y and visibility of each point: fractions of pixels, a whole number, and zeros if unlabeled."""
    return [value for x, y, seen in points for value in ((x, y, int(seen)) if seen else (0, 0, 0))]


def text_by_hand(data: Dataset, first_image: int, first_annotation: int) -> str:
    """Return the file as a person would write it."""
    annotations: list[dict[str, Any]] = []
    for row in range(len(data)):
        x1, y1, x2, y2 = data.boxes[row].tolist()
        annotations.append(
            {
                "id": first_annotation + row,
                "image_id": first_image + int(data.image_index[row]),
                "category_id": data.skeleton.category.id,
                "bbox": [round(value, 9) for value in (x1, y1, x2 - x1, y2 - y1)],
                "area": float(data.areas[row]),
                "iscrowd": int(data.iscrowd[row]),
                "num_keypoints": int((data.keypoints[row, :, 2] > 0).sum()),
                "keypoints": flat(data.keypoints[row].tolist()),
                "segmentation": [],
            }
        )
    images = [
        {"id": first_image + i, "file_name": image.file_name, "width": image.width, "height": image.height}
        for i, image in enumerate(data.images)
    ]
    category = {
        "id": data.skeleton.category.id,
        "name": data.skeleton.category.name,
        "supercategory": data.skeleton.category.name,
        "keypoints": list(data.skeleton.names),
        "skeleton": [list(edge) for edge in data.skeleton.coco_edges],
    }

    def one(value: object) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def listed(entries: list[dict[str, Any]]) -> str:
        return "[\n" + ",\n".join(map(one, entries)) + "\n]" if entries else "[]"

    parts = {
        "info": one({"description": f"{data.skeleton.name} keypoints", "version": "1.0"}),
        "licenses": "[]",
        "images": listed(images),
        "annotations": listed(annotations),
        "categories": listed([category]),
    }
    return "{\n" + ",\n".join(f'"{key}": {text}' for key, text in parts.items()) + "\n}\n"


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 2000])
@pytest.mark.parametrize("skeleton", [CAR8, other_skeleton(name="mine", category={"id": 7, "name": "bus"})])
def test_a_file_is_written_as_one_would_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, skeleton: Skeleton
) -> None:
    for module in (core_dataset, coco_write):
        monkeypatch.setattr(module, "SLICE", batch)
    data = dataset(skeleton)
    write_split(data, tmp_path / "x.json")
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == text_by_hand(data, 1, 1)


def test_nothing_is_a_file_too(tmp_path: Path) -> None:
    builder = DatasetBuilder(CAR8)
    write_split(builder.build(), tmp_path / "none.json")
    assert (tmp_path / "none.json").read_text() == text_by_hand(builder.build(), 1, 1)
    builder.add_image(Image("a.jpg", 3, 4))
    write_split(builder.build(), tmp_path / "empty.json")
    assert (tmp_path / "empty.json").read_text() == text_by_hand(builder.build(), 1, 1)


def test_the_category_is_the_skeletons() -> None:
    assert category_entry(other_skeleton(category={"id": 3, "name": "van"})) == {
        "id": 3,
        "name": "van",
        "supercategory": "van",
        "keypoints": list(CAR8.names),
        "skeleton": CAR8.coco_edges,
    }


@dataclass(frozen=True)
class InSlices:
    """A data set in several Datasets, as from worker processes."""

    data: Dataset

    @property
    def categories(self) -> Categories:
        return self.data.categories

    @property
    def skeleton(self) -> Skeleton:
        return self.data.skeleton

    @property
    def images(self) -> tuple[Image, ...]:
        return self.data.images

    def slices(self) -> Iterator[Dataset]:
        for indices in ([0], [1, 2], [3]):
            yield self.data.select_images(indices)


def test_slices_give_the_same_file(tmp_path: Path) -> None:
    write_split(InSlices(dataset()), tmp_path / "x.json")
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == text_by_hand(dataset(), 1, 1)


def test_ids_run_on_through_slices(tmp_path: Path) -> None:
    before = make_dataset(images=["0.jpg", "1.jpg"], per_image=3)
    write({"train": before, "val": InSlices(dataset())}, tmp_path, "none")
    assert (tmp_path / "val_coco.json").read_text(encoding="utf-8") == text_by_hand(dataset(), 3, 7)


def _of(names: list[str], root: Path) -> Dataset:
    return make_dataset(root, images=names, per_image=2)


def test_ids_run_on_train_and_val_first_and_then_by_name(tmp_path: Path) -> None:
    names = {"zoo": ["z.jpg"], "val": ["v.jpg"], "more": ["m.jpg"], "train": ["t.jpg", "u.jpg"]}
    write({split: _of(of, tmp_path / "p") for split, of in names.items()}, tmp_path / "d", "copy")
    images, annotations = [], []
    for split in ("train", "val", "more", "zoo"):
        document = json.loads((tmp_path / "d" / f"{split}_coco.json").read_text())
        images += [(entry["file_name"], entry["id"]) for entry in document["images"]]
        annotations += [(entry["image_id"], entry["id"]) for entry in document["annotations"]]
    assert images == [("t.jpg", 1), ("u.jpg", 2), ("v.jpg", 3), ("m.jpg", 4), ("z.jpg", 5)]
    assert annotations == [(1 + i // 2, 1 + i) for i in range(10)]


@pytest.mark.parametrize("how", ["copy", "symlink", "none"])
def test_images_come_along_as_asked(tmp_path: Path, how: Transfer) -> None:
    write({"train": _of(["sub/a.jpg"], tmp_path / "p")}, tmp_path / "d", how)
    image = tmp_path / "d" / "images" / "sub" / "a.jpg"
    assert image.is_file() is (how != "none")
    assert image.is_symlink() is (how == "symlink")
    assert how == "none" or image.read_bytes() == (tmp_path / "p" / "sub" / "a.jpg").read_bytes()
    assert (tmp_path / "d" / "train_coco.json").is_file()


def test_images_at_urls_are_fetched_some_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: the extra `cluster`")
    there, builder = fsspec.filesystem("memory"), DatasetBuilder(CAR8)
    names = ["a.jpg", "b.jpg", "c.jpg", "sub/d.jpg", "sub/e.jpg", "f.jpg"]
    for name in names[:5]:
        there.pipe_file(f"/coco_write/{name}", name.encode())
        builder.add_image(Image(name, 3, 4, path=UrlPath(f"memory://coco_write/{name}")))
    (tmp_path / "f.jpg").write_bytes(b"f.jpg")
    builder.add_image(Image("f.jpg", 3, 4, path=tmp_path / "f.jpg"))
    together: list[int] = []

    def watch(remote: Mapping[Path, Path]) -> None:
        together.append(len(remote))
        fetch(remote)

    monkeypatch.setattr(coco_write, "fetch", watch)
    monkeypatch.setattr(coco_write, "_FETCHED_TOGETHER", 2)
    write({"train": builder.build()}, tmp_path / "d", "copy")
    assert {name: (tmp_path / "d" / "images" / name).read_bytes() for name in names} == {n: n.encode() for n in names}
    assert together == [2, 2, 1]


def test_without_images_none_is_needed(tmp_path: Path) -> None:
    write({"train": dataset()}, tmp_path / "d", "none")
    assert (tmp_path / "d" / "train_coco.json").read_text(encoding="utf-8") == text_by_hand(dataset(), 1, 1)


@pytest.mark.parametrize("how", ["copy", "none"])
@pytest.mark.parametrize("name", ["../x.jpg", "/x.jpg", "C:\\x.jpg", "a/../x.jpg"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, how: Transfer, name: str) -> None:
    builder = DatasetBuilder(CAR8)
    builder.add_image(Image(name, 3, 4, path=tmp_path / "x.jpg"))
    if how == "none":
        # The first image's name, in order, is in order.
        builder.add_image(Image(" .jpg", 3, 4))
    with pytest.raises(InputError) as caught:
        write({"train": builder.build()}, tmp_path / "d", how)
    assert str(caught.value) == f"{name}: file_name must be a path that stays in images/, got {name!r}"
    assert caught.value.place == ""
    assert not (tmp_path / "d").exists()


def test_an_image_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write({"train": dataset()}, tmp_path / "d", "copy")
    assert str(caught.value) == (
        "a.jpg: path must be an image file for images/, got None\n"
        "  fix: read the data set with its images before writing it"
    )
    assert caught.value.place == ""


def test_an_image_in_two_splits_is_refused(tmp_path: Path) -> None:
    both = {"val": _of(["b.jpg", "a.jpg"], tmp_path / "p"), "train": _of(["a.jpg"], tmp_path / "p")}
    with pytest.raises(InputError) as caught:
        write(both, tmp_path / "d", "copy")
    assert str(caught.value) == "a.jpg: file_name must be in one split only (train has it), got 'val'"
    assert caught.value.place == ""
