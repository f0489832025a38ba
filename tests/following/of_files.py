"""Hints about files: where images are, which format it is, and what is read and written."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.run import run
from tests.following.case import BOTH, BOX, NAMES, Case
from tests.following.sources import SKELETON, coco, fish_shapes, images, labelme, shape, skeleton, write_labelme


def _moved(arguments: list[str], folder: str = "elsewhere", *names: str) -> list[str]:
    """Move the images out of the source."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in names or ("a.png", "b.png"):
        shutil.move(str(Path("src") / name), Path(folder) / name)
    return arguments


def _linked(arguments: list[str], name: str = "a.png") -> list[str]:
    """Move a file out of the source, and leave a link to it."""
    Path("elsewhere").mkdir()
    shutil.move(str(Path("src") / name), Path("elsewhere") / name)
    (Path("src") / name).symlink_to(Path("elsewhere").absolute() / name)
    return arguments


def _named(path: str) -> list[str]:
    """Write labelme files that give their images with a path."""
    arguments = labelme()
    for name in "ab":
        write_labelme(Path(f"src/{name}.json"), fish_shapes(), imagePath=f"{path}{name}.png")
    return arguments


def _twice() -> list[str]:
    """Put the images into two folders, and other images with the same names into a third."""
    arguments = _moved(_named("../frames/"), "first/frames")
    shutil.copytree("first/frames", "second/frames")
    return [*arguments, "--image-root", "first", "--image-root", "second"]


def _of_another_folder() -> list[str]:
    """Put the images into a folder with another name, next to the named one with other images."""
    arguments = _moved(_named("../frames/"), "photos/other")
    images("photos/frames", "c.png")
    return [*arguments, "--image-root", "photos"]


def _two_formats() -> list[str]:
    arguments = labelme()
    (Path("src") / "data.yaml").write_text("kpt_shape: [4, 3]\n")
    return arguments


def _some_broken() -> list[str]:
    arguments = labelme()
    images("src", "a.png", "b.png", "c.png")
    write_labelme(Path("src/c.json"), [*fish_shapes(), shape("rock", (5, 5))])
    return arguments


def _leading_out(document: Any) -> None:
    for image in document["images"]:
        image["file_name"] = f"../elsewhere/{image['file_name']}"


def _with_a_bad_point() -> list[str]:
    arguments = _frames("a", "b", "c")()
    shapes = fish_shapes()
    shapes[1]["points"] = [["left", "up"]]
    write_labelme(Path("src/a.json"), shapes)
    return arguments


def _one_with_objects() -> list[str]:
    arguments = labelme()
    write_labelme(Path("src/b.json"), [])
    return arguments


def _by_folder() -> list[str]:
    for folder, shapes in (("x", fish_shapes()), ("y", [])):
        images(f"src/{folder}")
        for name in "ab":
            write_labelme(Path(f"src/{folder}/{name}.json"), shapes)
    return ["src", *skeleton(), "--split-by", "parent"]


def _converted(*options: str) -> list[str]:
    arguments = [*labelme(), *options]
    assert run("convert", *arguments, "--out", "out").status == 0
    return arguments


def _zipped(arguments: list[str]) -> list[str]:
    """Put the source into a zip file."""
    with zipfile.ZipFile("src.zip", "w") as archive:
        for path in sorted(Path("src").rglob("*")):
            archive.write(path, path.relative_to("src").as_posix())
    shutil.rmtree("src")
    return ["src.zip", *arguments[1:]]


def _zipped_in_gbk() -> list[str]:
    """Zip an image and its labels with Chinese names, in the code page of a Chinese system."""
    arguments = _frames("XX", "b")()
    write_labelme(Path("src/XX.json"), fish_shapes(), imagePath=f"{FISH_IN_CHINESE}.png")
    arguments = _zipped(arguments)
    content = Path("src.zip").read_bytes().replace(b"XX.", FISH_IN_CHINESE.encode("gbk") + b".")
    Path("src.zip").write_bytes(content)
    return arguments


def _full() -> list[str]:
    Path("out").mkdir()
    (Path("out") / "thesis.txt").write_text("mine")
    return labelme()


def _only_images() -> list[str]:
    arguments = _moved(labelme(), "photos")
    return ["photos", *arguments[1:]]


def _frames(*names: str) -> Callable[[], list[str]]:
    """Return a function that writes a fish into each of these images."""

    def make() -> list[str]:
        images("src", *(f"{name}.png" for name in names))
        for name in names:
            write_labelme(Path(f"src/{name}.json"), fish_shapes())
        return ["src", *skeleton()]

    return make


def _boxes_alone() -> list[str]:
    labelme(fish_shapes()[:1])
    Path("fish.yaml").unlink()
    return ["src"]


def _two_namings() -> list[str]:
    """Write COCO files for train and val that name a keypoint differently."""
    arguments = _declared()
    file = Path("src/val.json")
    file.write_text(file.read_text().replace('"nose"', '"snout"'))
    return arguments[:1]


def _unnamed() -> list[str]:
    return coco(lambda document: document["categories"][0].update(keypoints=[]))[:1]


def _linked_data_set() -> list[str]:
    """Write a COCO file with images/ next to it, in which an image is a link."""
    arguments = _moved(coco(), "src/images")
    Path("elsewhere").mkdir()
    shutil.move("src/images/a.png", "elsewhere/a.png")
    Path("src/images/a.png").symlink_to(Path("elsewhere/a.png").absolute())
    return arguments


def _other_name() -> list[str]:
    arguments = coco()
    shutil.move("src/a.png", Path("elsewhere-1.png"))
    Path("elsewhere").mkdir()
    shutil.move("elsewhere-1.png", "elsewhere/0001.png")
    Path("src/a.png").symlink_to(Path("elsewhere/0001.png").absolute())
    return arguments


def _declared(first: str = "train", second: str = "val") -> list[str]:
    """Write COCO files for two splits."""
    arguments = coco()
    document = json.loads(Path("src/labels.json").read_text())
    Path("src/labels.json").unlink()
    for name, number in ((first, 1), (second, 2)):
        part = {
            **document,
            "images": [one for one in document["images"] if one["id"] == number],
            "annotations": [one for one in document["annotations"] if one["image_id"] == number],
        }
        Path(f"src/{name}.json").write_text(json.dumps(part))
    return arguments


FISH_IN_CHINESE = "\u9c7c"
CLIPS = [f"{clip}_{number:03}" for clip in ("left", "right") for number in range(1, 7)]
CLIP = [f"swim_{number:03}" for number in range(1, 31)]
IN_X = {f"x/{name}": objects for name, objects in BOTH.items()}

CASES = [
    Case(
        "an image of a COCO file that leads out",
        lambda: _moved(coco(_leading_out)),
        ("--image-root DIR",),
        {"DIR": "elsewhere"},
    ),
    Case(
        "an object that cannot be read",
        _with_a_bad_point,
        (),
        again=("src", *SKELETON, "--keep-going"),
        want={"b.png": BOTH["b.png"], "c.png": BOTH["b.png"]},
        status=1,
    ),
    Case("images elsewhere", lambda: _moved(labelme()), ("--image-root DIR",), {"DIR": "elsewhere"}),
    Case(
        "an image that leads out", lambda: _moved(_named("../elsewhere/")), ("--image-root DIR",), {"DIR": "elsewhere"}
    ),
    Case("an image that leads out, and is beside", lambda: _named("/home/me/"), ("--image-root *",)),
    Case(
        "an image in two folders", _twice, ("--image-root first/frames",), leave_out=("--image-root", "first", "second")
    ),
    Case(
        "an image in a folder of another name",
        _of_another_folder,
        ("--image-root *",),
        leave_out=("--image-root", "photos"),
    ),
    Case("images of a COCO file that are links", lambda: _linked(coco()), ("--image-root *",)),
    Case("images of a data set that are links", _linked_data_set, ("--image-root *",)),
    Case("labels that are links", lambda: _linked(labelme(), "a.json"), ("--image-root *",)),
    Case("two formats", _two_formats, ("--from NAME",), {"NAME": "labelme"}),
    Case("something that cannot be read", _some_broken, ("--keep-going",), status=1),
    Case("one image with objects", _one_with_objects, ("--val 0",), want={**BOTH, "b.png": []}),
    Case(
        "a side without objects",
        _by_folder,
        (),
        again=("src", *SKELETON, "--split-by", "image"),
        want={**IN_X, "y/a.png": [], "y/b.png": []},
    ),
    Case("an output that is there", _converted, ("--overwrite",)),
    Case(
        "another folder that is there",
        lambda: [*_full(), "--overwrite"],
        ("choose another --out",),
        again=("src", *SKELETON),
    ),
    Case(
        "boxes alone",
        _boxes_alone,
        ("posetools skeleton new fish.yaml --category fish --keypoints A,B,...", "--skeleton fish.yaml"),
        {"A,B,...": ",".join(NAMES)},
        want={name: [(BOX, {})] for name in BOTH},
    ),
    Case(
        "two files that name a keypoint differently", _two_namings, ("--map OLD=NEW",), {"OLD": "snout", "NEW": "nose"}
    ),
    Case("keypoints without names", _unnamed, ("--kpt-order A,B,...",), {"A,B,...": ",".join(NAMES)}),
    Case("images alone", _only_images, ("--image-root photos",), again=("src", "--image-root", "photos", *SKELETON)),
    Case("a skeleton as source", lambda: [labelme()[2]], ("--skeleton fish.yaml",), again=("src", *SKELETON)),
    Case("a zip of which images stay", lambda: [*_zipped(labelme()), "--images", "none"], ("--images copy",)),
    Case(
        "a zip on a cluster",
        lambda: [*_zipped(labelme()), "--cluster", "tcp://no:1"],
        ("--cluster",),
        again=("src.zip", *SKELETON),
    ),
    Case(
        "a zip with names of another code page",
        _zipped_in_gbk,
        ("--encoding gbk",),
        want={f"{FISH_IN_CHINESE}.png": BOTH["a.png"], "b.png": BOTH["a.png"]},
    ),
    Case(
        "a format that is not read on a cluster",
        lambda: [*coco(), "--cluster", "tcp://no:1"],
        ("--cluster must be left out",),
        again=("src", *SKELETON),
    ),
    Case(
        "workers and a cluster",
        lambda: [*labelme(), "--cluster", "tcp://no:1", "--workers", "2"],
        ("--cluster",),
        again=("src", *SKELETON, "--workers", "2"),
    ),
    Case(
        "images that are left out",
        lambda: [*labelme(), "--images", "none", "--bake-rotation"],
        ("without --bake-rotation",),
        again=("src", *SKELETON, "--images", "none"),
    ),
    Case(
        "a split that the format does not keep",
        lambda: [*labelme(), "--to", "labelme", "--val", "0.5"],
        ("--val",),
        again=("src", *SKELETON, "--val", "0.5"),
    ),
    Case(
        "a test split for a format without splits",
        lambda: [*labelme(), "--to", "labelme", "--test", "0.5"],
        ("--test",),
        again=("src", *SKELETON, "--val", "0", "--test", "0.5"),
    ),
    Case(
        "a declared test split",
        lambda: [*_declared("train", "test"), "--val", "0", "--test", "0.5"],
        ("leave out --test",),
        again=("src", *SKELETON, "--val", "0"),
    ),
    Case("a declared split", _declared, ("--val",), again=("src", *SKELETON, "--val", "0.5")),
    Case("one image", _frames("a"), ("--val 0",), want={"a.png": BOTH["a.png"]}),
    Case("one group", lambda: [*labelme(), "--split-by", "parent"], ("--split-by image",)),
    Case("clips", _frames(*CLIPS), ("--split-by image",), want={f"{name}.png": BOTH["a.png"] for name in CLIPS}),
    Case("frames of one clip", _frames(*CLIP), ("--split-by *",), want={f"{name}.png": BOTH["a.png"] for name in CLIP}),
    Case(
        "all left out",
        lambda: [*labelme(fish_shapes(labels={"fish": "shark"})), "--categories", "whale"],
        ("the options exclude all objects: change --ignore, --categories or --drop-crowds",),
        again=("src", *SKELETON, "--map", "shark=fish"),
    ),
    Case("a link under another name", _other_name, ("--image-root *",)),
]
