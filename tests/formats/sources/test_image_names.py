"""Images with another extension, and in folders of other names: the same in every format, from the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from posetools.core.skeleton import load_skeleton
from posetools.formats import FORMATS
from posetools.formats.sources.image_names import agreement, folded, folded_stem, named_in
from tests.build import make_dataset
from tests.cli.run import Done, run
from tests.converting import write_source

EVERY = ("labelme", "coco", "cvat", "label-studio", "via", "deeplabcut", "custom")
LENIENT = ("--assume-visible", "--box-from", "keypoints")
NAMES = ("cam0/0000.jpg", "cam0/0001.jpg", "cam1/0000.jpg", "cam1/0001.jpg")
MAPPING = """
file = "csv"
[columns]
picture = "image"
object = "object"
[point]
name = "part"
x = "x"
y = "y"
"""


@pytest.fixture(autouse=True)
def _dogs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        run("skeleton", "new", "dog.yaml", "--names", "nose,left-ear,right-ear,tail", "--category", "dog").status == 0
    )


def source(name: str) -> Path:
    """Write labels of four frames, two of them of each camera; return their folder, which holds the images as well."""
    dataset = make_dataset(Path("photos"), skeleton=load_skeleton("dog.yaml"), images=NAMES, per_image=1)
    if name != "custom":
        return write_source(Path("src"), name, {"train" if FORMATS[name].keeps_splits else "all": dataset})
    shutil.copytree("photos", "src")
    lines = ["image,object,part,x,y"]
    for one in dataset:
        rows = zip(dataset.skeleton.names, one.keypoints.tolist(), strict=True)
        lines += [f"{one.image.file_name},0,{part},{x},{y}" for part, (x, y, _) in rows]
    Path("src/dogs.csv").write_text("\n".join(lines) + "\n")
    Path("mapping.toml").write_text(MAPPING)
    return Path("src")


def convert(name: str, out: str, *more: str) -> Done:
    says = LENIENT if name in ("deeplabcut", "custom") else ()
    mapping = ("--mapping", "mapping.toml") if name == "custom" else ()
    return run(
        *("convert", "src", "--out", out, "--from", name, "--skeleton", "dog.yaml", "--split-by", "image"),
        *says, *mapping, *more,
    )  # fmt: skip


def found(out: str) -> list[Mapping[str, str]]:
    listed: list[Mapping[str, str]] = json.loads(Path(out, "conversion.json").read_text())["findings"]
    return [each for each in listed if each["code"] != "W322"]


def written(out: str) -> Mapping[str, tuple[bytes, list[list[float]]]]:
    """Return the content of each image, by its path, and its keypoints."""
    images: dict[str, tuple[bytes, list[list[float]]]] = {}
    for file in Path(out).glob("*_coco.json"):
        document = json.loads(file.read_text())
        for image in document["images"]:
            points = [one["keypoints"] for one in document["annotations"] if one["image_id"] == image["id"]]
            images[image["file_name"]] = Path(out, "images", image["file_name"]).read_bytes(), points
    return images


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("ending", [".JPG", ".jpeg"])
def test_images_under_another_ending_are_one_warning(name: str, ending: str) -> None:
    folder = source(name)
    assert convert(name, "plain").status == 0
    for path in list(folder.rglob("*.jpg")):
        path.rename(path.with_suffix(ending))
    done = convert(name, "out")
    assert done.status == 0, done.out + done.err
    (finding,) = found("out")
    assert (finding["code"], finding["file"]) == ("W324", "src")
    example = f"0000{ending} for 0000.jpg"
    assert finding["message"].startswith(f"4 images are found with another extension: {example}, 0001"), finding
    again = {Path(key).with_suffix(".jpg").as_posix(): value for key, value in written("out").items()}
    assert again == written("plain")
    # Where two fit, none is taken and both are named.
    shutil.copytree(folder, "photos-of-both")
    for path in list(folder.rglob(f"*{ending}")):
        shutil.copy(path, path.with_suffix(".bmp" if ending == ".JPG" else ".JPEG"))
    done = convert(name, "twice")
    if ending == ".JPG":
        assert done.status == 0, "the name itself is nearer than another ending"
    else:
        assert done.status == 1 and "E121" in done.words, done.words
        assert "0000.JPEG" in done.words and "0000.jpeg" in done.words and "rename the right image" in done.words


def without_images(folder: Path) -> None:
    for path in list(folder.rglob("*.jpg")):
        path.unlink()


@pytest.mark.parametrize("name", EVERY)
def test_frames_of_one_name_are_told_apart_by_their_folders(name: str) -> None:
    folder = source(name)
    assert convert(name, "plain").status == 0
    without_images(folder)
    done = convert(name, "out", "--image-root", "photos")
    assert done.status == 0, done.out + done.err
    assert found("out") == []
    assert sorted(written("out").values()) == sorted(written("plain").values())


@pytest.mark.parametrize("name", EVERY)
def test_images_of_another_folder_are_never_taken_silently(name: str) -> None:
    folder = source(name)
    without_images(folder)
    shutil.rmtree("photos/cam1")
    done = convert(name, "out", "--image-root", "photos", "--keep-going")
    if name == "labelme":
        # A name without a folder, in a file that is in one, is no more than a hint.
        assert done.status == 1 and "E313" in done.words and "W332" in done.words, done.words
        return
    assert done.status == 1 and "E121" in done.words, done.words
    assert {Path(key).name for key in written("out")} == {"0000.jpg", "0001.jpg"}, "of cam0 alone"
    (error,) = (each for each in found("out") if each["code"] == "E121")
    assert "--image-root photos/cam0 takes" in error["hint"] and "(2)" in error["message"]
    assert all(f"found only photos/cam0/000{number}.jpg" in error["message"] for number in (0, 1))
    # As the hint says; then both cameras' labels are of the same images, of which none is taken.
    done = convert(name, "more", "--image-root", "photos/cam0")
    assert done.status == 1 and "E313" in done.words, done.words


def test_names_are_taken_apart() -> None:
    assert named_in("a/b/c.jpg") == (("a", "b"), "c.jpg", False)
    assert named_in("..\\..\\b\\c.jpg") == (("b",), "c.jpg", False)
    assert named_in("../../c.jpg") == ((), "c.jpg", False)
    assert named_in("C:\\a\\c.jpg") == (("a",), "c.jpg", True)
    assert named_in("\\\\host\\share\\a\\c.jpg") == (("a",), "c.jpg", True)
    assert named_in("/a/c.jpg") == (("a",), "c.jpg", True)
    assert named_in("https://host:80/a/c.jpg?x=1#y") == (("a",), "c.jpg", True)
    assert named_in("https://[/a/c.jpg").name == "c.jpg"
    assert named_in("") == ((), "", False)


def test_keys_of_names() -> None:
    assert folded("H\u00dcNDIN%20 1.JPG") == folded("hu\u0308ndin  1.jpg")
    assert folded("%ff.jpg") != folded("%fe.jpg")
    assert folded_stem("a.b.JPG") == folded_stem("A.b.png") == folded("a.b") != folded_stem("a.c")
    assert folded_stem(".jpg") == folded(".jpg")
    assert agreement(("x", "Cam0", "a"), ("cam0", "a")) == (2, 1)
    assert agreement((), ("a",)) == (0, 0)
