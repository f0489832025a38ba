"""Hints of the YOLO-pose reader, followed."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.following.case import BOTH, NAMES, Case, fish
from tests.following.sources import SKELETON, yolo, yolo_line

# nose and tail swapped, as the columns of some sources are.
OTHER_ORDER = ("tail", "nose", "left-fin", "right-fin")
ORDER = ",".join(OTHER_ORDER)


def _listed_elsewhere() -> list[str]:
    """List the images in a text file outside the source."""
    arguments = yolo(train="../lists/train.txt")
    Path("lists").mkdir()
    Path("lists/train.txt").write_text("./images/a.png\n./images/b.png\n")
    return arguments


def _moved_images(where: str) -> list[str]:
    arguments = yolo(train=f"{where}/images")
    Path("elsewhere").mkdir()
    shutil.move("src/images", "elsewhere/images")
    shutil.move("src/labels", "elsewhere/labels")
    return arguments


def _linked_images() -> list[str]:
    arguments = yolo()
    Path("elsewhere").mkdir()
    shutil.move("src/images/a.png", "elsewhere/a.png")
    Path("src/images/a.png").symlink_to(Path("elsewhere/a.png").absolute())
    return arguments


def _two_yaml() -> list[str]:
    arguments = yolo()
    shutil.move("src/data.yaml", "src/fish.yaml")
    Path("src/old.yaml").write_text("train: images\nkpt_shape: [7, 3]\n")
    return [*arguments, "--from", "yolo-pose"]


def _twice() -> list[str]:
    """List all images for training and for validation."""
    return yolo(val="images")


def _unknown_class() -> list[str]:
    """Give one line another class, without a name."""
    arguments = yolo()
    with Path("src/labels/a.txt").open("a") as file:
        file.write(yolo_line(first="7"))
    return arguments


CASES = [
    Case("two YAML files", _two_yaml, ("such as src/fish.yaml",), again=("src/fish.yaml", *SKELETON)),
    Case("no kpt_shape", lambda: yolo(kpt_shape=None), ("--kpt-shape K,3",), {"K": "4"}),
    Case(
        "no visibility",
        lambda: yolo(yolo_line(dims=2), kpt_shape=[4, 2]),
        ("--assume-visible",),
    ),
    Case(
        "fewer columns than the skeleton has keypoints",
        lambda: yolo(yolo_line(("tail", "nose")), kpt_shape=[2, 3]),
        ("--kpt-order A,B,...",),
        {"A,B,...": "tail,nose"},
        want={name: [fish(left_fin=None, right_fin=None)] for name in BOTH},
    ),
    Case(
        "fewer names than columns",
        lambda: yolo(yolo_line(OTHER_ORDER), kpt_names={"0": ["tail", "nose"]}),
        ("--kpt-order A,B,...",),
        {"A,B,...": ORDER},
    ),
    Case(
        "names of another class alone",
        lambda: yolo(yolo_line(OTHER_ORDER), kpt_names={"1": list(NAMES)}),
        ("--kpt-order A,B,...",),
        {"A,B,...": ORDER},
    ),
    Case(
        "another kpt_shape than declared",
        lambda: yolo(yolo_line(dims=3), "--kpt-shape", "4,3", kpt_shape=[4, 2]),
        ("--kpt-shape",),
        again=("src", *SKELETON, "--kpt-shape", "4,3"),
    ),
    Case(
        "lines of another number of columns",
        lambda: yolo(None, "--assume-visible", kpt_shape=[4, 2]),
        ("--kpt-shape 4,3",),
    ),
    Case(
        "a name that the skeleton lacks",
        lambda: yolo(kpt_names={"0": ["nose", "tail", "left-fin", "fin"]}),
        ("--map fin=NAME",),
        {"NAME": "right-fin"},
    ),
    Case(
        "a name that the skeleton lacks, left out",
        lambda: yolo(kpt_names={"0": ["nose", "tail", "left-fin", "fin"]}),
        ("--ignore fin",),
        want={name: [fish(right_fin=None)] for name in BOTH},
    ),
    Case(
        "names in an order with one that the skeleton lacks",
        lambda: yolo(None, "--kpt-order", "nose,tail,left-fin,fin"),
        ("--map fin=NAME",),
        {"NAME": "right-fin"},
    ),
    Case("another flip_idx", lambda: yolo(flip_idx=[1, 0, 2, 3]), ("--kpt-order *",)),
    Case("another class", lambda: yolo(names=["shark"]), ("--map shark=fish",)),
    Case("a class without a name, left out", _unknown_class, ("--ignore 7",)),
    Case(
        "a class without a name", _unknown_class, ("--map 7=fish",), want={"a.png": [fish(), fish()], "b.png": [fish()]}
    ),
    Case("a list out of the source", _listed_elsewhere, ("--image-root *",)),
    Case("a folder that is not there", lambda: _moved_images("."), ("--image-root DIR",), {"DIR": "elsewhere"}),
    Case("images that are links", _linked_images, ("--image-root DIR",), {"DIR": "elsewhere"}),
    Case("images in train and val", _twice, ("--val 0.1",)),
]
