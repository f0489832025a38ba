"""YOLO-pose layouts found in practice: where data.yaml leads, by the command and its output."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from tests.build import make_image
from tests.cli.run import Done, run

SIZE = (64, 48)
# A mug in the middle: box 32 x 24, handle at (25.6, 19.2), rim at (38.4, 28.8).
LABEL = "0 0.5 0.5 0.5 0.5 0.4 0.4 2 0.6 0.6 1\n"
POINTS = [25.6, 19.2, 2.0, 38.4, 28.8, 1.0]
KEYS = "kpt_shape: [2, 3]\nflip_idx: [0, 1]\nnames: [mug]\nkpt_names: {0: [handle, rim]}\n"


def put(image: Path, label: Path) -> None:
    make_image(image, SIZE, seed=len(str(image)) + sum(map(ord, image.name)))
    label.parent.mkdir(parents=True, exist_ok=True)
    label.write_text(LABEL)


def by_kind(root: Path) -> Path:
    """Write images/SPLIT and labels/SPLIT, as Ultralytics does."""
    for split in ("train", "val"):
        for name in "ab":
            put(root / f"images/{split}/{split}_{name}.jpg", root / f"labels/{split}/{split}_{name}.txt")
    return root


def by_split(root: Path, *, prefix: str = "") -> Path:
    """Write SPLIT/images and SPLIT/labels, as Roboflow does."""
    for split in ("train", "valid"):
        for name in "ab":
            file = f"{prefix}{split}_{name}"
            put(root / f"{split}/images/{file}.jpg", root / f"{split}/labels/{file}.txt")
    return root


def declare(root: Path, text: str, name: str = "data.yaml") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(KEYS + text)
    return root


def convert(source: Path, tmp_path: Path, *more: str, out: str = "out") -> Done:
    mug = tmp_path / "mug.yaml"
    if not mug.exists():
        assert run("skeleton", "new", mug, "--names", "handle,rim", "--category", "mug").status == 0
    return run("convert", source, "--out", tmp_path / out, "--skeleton", mug, *more)


def written(out: Path) -> Mapping[str, set[str]]:
    """Return split -> its images, each with its mug."""
    found = {}
    for path in sorted(out.glob("*_coco.json")):
        coco = COCO(path)
        images = coco.dataset["images"]
        for image in images:
            (annotation,) = coco.loadAnns(coco.getAnnIds(image["id"]))
            np.testing.assert_allclose(annotation["keypoints"], POINTS)
        found[path.name.removesuffix("_coco.json")] = {Path(image["file_name"]).name for image in images}
    return found


BY_KIND = {"train": {"train_a.jpg", "train_b.jpg"}, "val": {"val_a.jpg", "val_b.jpg"}}
BY_SPLIT = {"train": {"train_a.jpg", "train_b.jpg"}, "val": {"valid_a.jpg", "valid_b.jpg"}}


@pytest.mark.parametrize(
    "text",
    [
        "path: /content/dataset\ntrain: images/train\nval: images/val\n",
        "path: C:\\Users\\me\\mugs\ntrain: images\\train\nval: images\\val\n",
        "path: ../datasets/mugs-pose\ntrain: images/train\nval: images/val\n",
        "train: /content/dataset/images/train\nval: /content/dataset/images/val\n",
        "train: [./images/train/]\nval: images/val\ntest:\n",
    ],
)
def test_paths_of_another_machine(tmp_path: Path, text: str) -> None:
    done = convert(declare(by_kind(tmp_path / "mugs"), text, "mugs-pose.yaml"), tmp_path)
    assert done.status == 0, done.out
    assert written(tmp_path / "out") == BY_KIND


@pytest.mark.parametrize("start", ["/content/mugs/", "D:\\mugs\\", "./", ""])
def test_lists_of_another_machine(tmp_path: Path, start: str) -> None:
    source = declare(by_kind(tmp_path / "mugs"), "path: /content/mugs\ntrain: train.txt\nval: val.txt\n")
    for split, names in BY_KIND.items():
        lines = [f"{start}images/{split}/{name}" for name in sorted(names)]
        (source / f"{split}.txt").write_text(
            "\n".join(line.replace("/", "\\") if "\\" in start else line for line in lines)
        )
    done = convert(source, tmp_path)
    assert done.status == 0, done.out
    assert written(tmp_path / "out") == BY_KIND
    assert ("W336 declaration-overruled (2)" in done.out) == (start not in ("./", ""))


def test_a_line_of_another_machine_never_takes_another_image(tmp_path: Path) -> None:
    source = declare(by_kind(tmp_path / "mugs"), "train: train.txt\nval: images/val\n")
    (source / "train.txt").write_text("/content/images/train/train_a.jpg\n/content/images/train/val_a.jpg\n")
    done = convert(source, tmp_path)
    assert done.status == 1 and "line 2" in done.out and "line 1" not in done.out
    assert not (tmp_path / "out").exists()


def test_a_folder_of_its_own_comes_before_one_outside(tmp_path: Path) -> None:
    """Roboflow writes ../train/images, and a folder of downloads may hold another train/images."""
    by_split(tmp_path, prefix="other_")
    source = declare(by_split(tmp_path / "mugs-1"), "train: ../train/images\nval: ../valid/images\n")
    done = convert(source, tmp_path)
    assert done.status == 0, done.out
    assert written(tmp_path / "out") == BY_SPLIT
    assert f"{tmp_path}/train/images exists too" in done.words


def test_the_folder_that_a_refusal_names_can_be_given(tmp_path: Path) -> None:
    by_kind(tmp_path / "my mugs/data")
    source = declare(tmp_path / "my mugs/cfg", "path: ../data\ntrain: images/train\nval: images/val\n", "mugs.yaml")
    nothing = convert(tmp_path / "my mugs", tmp_path)
    assert nothing.status == 2 and "cfg/mugs.yaml: YOLO-pose YAML; give this file as SRC" in nothing.err
    done = convert(source / "mugs.yaml", tmp_path, "--keep-going")
    assert done.status == 1 and "E308 picture-outside (1)" in done.out and "train and val must be inside" in done.words
    (hint,) = (line.partition("fix: ")[2] for line in done.out.splitlines() if "fix: --image-root" in line)
    option = shlex.split(hint)[:2]
    assert option == ["--image-root", f"{tmp_path}/my mugs/data"]
    assert convert(source / "mugs.yaml", tmp_path, *option).status == 0
    assert written(tmp_path / "out") == BY_KIND


def test_labels_beside_the_images(tmp_path: Path) -> None:
    source = tmp_path / "mugs"
    for split, names in BY_KIND.items():
        for name in names:
            put(source / f"images/{split}/{name}", (source / f"images/{split}/{name}").with_suffix(".txt"))
    done = convert(declare(source, "train: images/train\nval: images/val\n"), tmp_path)
    assert done.status == 0 and "read 4 label files next to the images" in done.words
    assert "W322" not in done.out, "they are no images without objects"
    assert written(tmp_path / "out") == BY_KIND


def test_labels_in_their_folder_come_before_those_beside(tmp_path: Path) -> None:
    source = by_kind(tmp_path / "mugs")
    (source / "images/train/train_a.txt").write_text("0 0.1 0.1 0.1 0.1 0.1 0.1 2 0.1 0.1 2\n")
    done = convert(declare(source, "train: images/train\nval: images/val\n"), tmp_path)
    assert done.status == 0 and written(tmp_path / "out") == BY_KIND


def test_declared_folders_that_are_not_there(tmp_path: Path) -> None:
    """The folders have the other layout: the message says that they can be read without the declaration."""
    source = declare(by_kind(tmp_path / "mugs"), "train: train/images\nval: val/images\n")
    done = convert(source, tmp_path)
    assert done.status == 2 and "without train and val in the file, images/ is read by its folders" in done.words
    declare(source, "")
    assert convert(source, tmp_path).status == 0
    assert written(tmp_path / "out") == BY_KIND


def test_val_the_same_as_train_is_split_as_the_hint_says(tmp_path: Path) -> None:
    source = tmp_path / "mugs"
    for at in range(8):
        Image.fromarray(np.full((48, 64, 3), at, np.uint8)).save(put_label(source / f"mix/{'abcdefgh'[at]}.png"))
    declare(source, "train: mix\nval: mix\n")
    refused = convert(source, tmp_path)
    assert refused.status == 1 and "--val 0.1 splits again" in refused.words
    assert convert(source, tmp_path, "--val", "0.1").status == 0
    found = written(tmp_path / "out")
    assert (len(found["train"]), len(found["val"])) == (7, 1) and not found["train"] & found["val"]
    assert json.loads((tmp_path / "out/conversion.json").read_text())["split"]["val"] == 0.1


def put_label(image: Path) -> Path:
    image.parent.mkdir(parents=True, exist_ok=True)
    image.with_suffix(".txt").write_text(LABEL)
    return image
