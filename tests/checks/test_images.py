"""The images that COCO files name: every rule on a file that breaks it, with the full message."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posetools.checks import images
from posetools.checks.images import ListedImage, check_images, check_names
from posetools.core.findings import Finding
from posetools.formats.coco.table import CocoTable, table_from
from posetools.progress import silent
from tests.build import make_image

SIZE = (64, 48)
LEFT_OUT = (
    "`posetools subset DATA --out NEW --without-finding E126` removes it from one: evaluation would use training data"
)
AGAIN = "remove it from one split, or run `posetools split` again: evaluation would use training data"
ONE_OF_TWO = "keep one of the two, with the objects of both"


def table(split: str, names: list[str], first: int, size: tuple[int, int] = SIZE) -> CocoTable:
    images = [{"id": first + i, "file_name": name, "width": size[0], "height": size[1]} for i, name in enumerate(names)]
    document: dict[str, Any] = {"images": images, "annotations": [], "categories": []}
    return table_from(document, Path(f"{split}_coco.json"))


def found(folder: Path, train: list[str], val: list[str] | None = None, **options: Any) -> list[Finding]:
    """Return the findings on the images of train (ids from 1) and of val (ids from 51)."""
    tables = {"train": table("train", train, 1, **options), "val": table("val", val or [], 51, **options)}
    listed, problems = check_names(tables)
    assert problems == ()
    return list(check_images(listed, folder, silent))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a.jpg", "b.jpg", "sub/c.png", "d.png")):
        make_image(tmp_path / "images" / name, SIZE, seed=seed)
    return tmp_path / "images"


def test_sound_images_have_no_findings_and_are_looked_at_once(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    listed, _ = check_names({"train": table("train", ["a.jpg", "sub/c.png"], 1), "val": table("val", ["b.jpg"], 51)})
    assert list(check_images(listed, folder, lambda *step: told.append(step))) == []
    assert told == [("checking images", 3, 3)]
    assert list(check_images((), folder, silent)) == []


def test_only_what_is_as_long_and_begins_alike_is_compared(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    _copy(folder, "a.jpg", "e.jpg", "f.jpg")
    listed, _ = check_names({"train": table("train", ["a.jpg", "b.jpg", "e.jpg", "f.jpg", "d.png"], 1)})
    assert len(list(check_images(listed, folder, lambda *step: told.append(step)))) == 2
    # Their ends, then all of them.
    compared = ("comparing images", 3, 3)
    assert told == [("checking images", 5, 5), compared, compared, ("comparing twins", 2, 2)]


def test_images_are_looked_at_in_shards(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "SHARD", 2)
    told: list[tuple[str, int, int]] = []
    _copy(folder, "a.jpg", "e.jpg", "f.jpg", "g.jpg")
    listed, _ = check_names({"train": table("train", ["a.jpg", "b.jpg", "e.jpg", "f.jpg", "g.jpg"], 1)})
    assert len(list(check_images(listed, folder, lambda *step: told.append(step)))) == 3
    compared = [("comparing images", 2, 4), ("comparing images", 4, 4)]
    twins = [("comparing twins", 2, 3), ("comparing twins", 3, 3)]
    assert told == [*(("checking images", done, 5) for done in (2, 4, 5)), *compared, *compared, *twins]


def test_an_image_that_vanishes_before_it_is_compared_is_missing(folder: Path) -> None:
    _copy(folder, "a.jpg", "e.jpg", "f.jpg")
    listed, _ = check_names({"train": table("train", ["a.jpg", "e.jpg", "f.jpg"], 1)})

    def remove(what: str, done: int, total: int) -> None:
        if (what, done) == ("checking images", total):
            (folder / "e.jpg").unlink()

    missing, twin = check_images(listed, folder, remove)
    assert missing == Finding(
        "E121",
        "train_coco.json",
        "images[1] (id 2, e.jpg)",
        f"file_name must be an existing image in {folder}, got 'e.jpg'",
        "put the image there, or remove it from images and annotations",
    )
    assert (twin.code, twin.place) == ("W206", "images[2] (id 3, f.jpg)")


def test_names_that_leave_the_folder_and_names_that_are_there_twice() -> None:
    tables = {
        "train": table("train", ["a.jpg", "../b.jpg", "sub\\c.jpg", "a.jpg"], 1),
        "val": table("val", ["sub/c.jpg", "d.jpg", "/e.jpg"], 51),
    }
    listed, findings = check_names(tables)
    assert [(each.split, each.row, each.name) for each in listed] == [
        ("train", 0, "a.jpg"),
        ("train", 2, "sub/c.jpg"),
        ("val", 1, "d.jpg"),
    ]
    assert listed[0].table is tables["train"]
    assert (listed[1].place, listed[2].where) == (
        "images[2] (id 3, sub\\c.jpg)",
        "val_coco.json: images[1] (id 52, d.jpg)",
    )
    leaves = "file_name must be a path that stays in images/, got"
    seen_from = "write the path relative to images/"
    assert findings == (
        Finding("E125", "train_coco.json", "images[1] (id 2, ../b.jpg)", f"{leaves} '../b.jpg'", seen_from),
        Finding(
            "W206",
            "train_coco.json",
            "images[3] (id 4, a.jpg)",
            "file must be in one entry only (images[0] (id 1, a.jpg) has it), got 'a.jpg'",
            ONE_OF_TWO,
        ),
        Finding(
            "E126",
            "val_coco.json",
            "images[0] (id 51, sub/c.jpg)",
            "file must be in one split only (train_coco.json: images[2] (id 3, sub\\c.jpg) has it), got 'sub/c.jpg'",
            AGAIN,
        ),
        Finding("E125", "val_coco.json", "images[2] (id 53, /e.jpg)", f"{leaves} '/e.jpg'", seen_from),
    )


def test_an_image_that_is_missing_or_no_file(folder: Path) -> None:
    (folder / "dir.jpg").mkdir()
    hint = "put the image there, or remove it from images and annotations"
    assert found(folder, ["a.jpg", "x.jpg", "dir.jpg"]) == [
        Finding(
            "E121",
            "train_coco.json",
            f"images[{row}] (id {row + 1}, {name})",
            f"file_name must be an existing image in {folder}, got '{name}'",
            hint,
        )
        for row, name in ((1, "x.jpg"), (2, "dir.jpg"))
    ]


def test_an_image_that_cannot_be_read(folder: Path) -> None:
    (folder / "b.jpg").write_bytes(b"no image")
    (finding,) = found(folder, ["a.jpg", "b.jpg"])
    assert (finding.code, finding.file, finding.place) == ("E122", "train_coco.json", "images[1] (id 2, b.jpg)")
    assert finding.message.startswith("file_name must be an image that can be read, got 'b.jpg' (image cannot be")
    assert finding.message.endswith(")")
    assert finding.hint == "replace the file, or remove it from images and annotations"


def test_an_image_of_another_size(folder: Path) -> None:
    make_image(folder / "b.jpg", (64, 40))
    assert found(folder, ["a.jpg", "b.jpg"]) == [
        Finding(
            "E123",
            "train_coco.json",
            "images[1] (id 2, b.jpg)",
            "image (width, height) must be (64, 40), the size of b.jpg, got (64, 48)",
            "the annotation belongs to another image or a resized copy",
        )
    ]


@pytest.mark.parametrize(("stored", "code"), [((64, 48), "E124"), ((48, 64), "")])
def test_sizes_are_those_of_upright_images(folder: Path, stored: tuple[int, int], code: str) -> None:
    make_image(folder / "b.jpg", stored, orientation=6)
    assert [(each.code, each.place) for each in found(folder, ["a.jpg", "b.jpg"])] == (
        [(code, "images[1] (id 2, b.jpg)")] if code else []
    )


def _copy(folder: Path, source: str, *names: str) -> None:
    for name in names:
        shutil.copy(folder / source, folder / name)


def test_the_same_content_under_two_names(folder: Path) -> None:
    _copy(folder, "a.jpg", "e.jpg", "f.jpg", "g.jpg")
    first = "images[0] (id 1, a.jpg)"
    assert found(folder, ["a.jpg", "b.jpg", "e.jpg"], ["f.jpg", "d.png", "g.jpg"]) == [
        Finding(
            "W206",
            "train_coco.json",
            "images[2] (id 3, e.jpg)",
            f"content must be in one entry only ({first} has it), got 'e.jpg'",
            ONE_OF_TWO,
        ),
        *(
            Finding(
                "E126",
                "val_coco.json",
                f"images[{row}] (id {51 + row}, {name})",
                f"content must be in one split only (train_coco.json: {first} has it), got '{name}'",
                LEFT_OUT,
            )
            for row, name in ((0, "f.jpg"), (2, "g.jpg"))
        ),
    ]


def test_twins_of_two_kinds_are_told_apart(folder: Path) -> None:
    _copy(folder, "a.jpg", "e.jpg")
    _copy(folder, "b.jpg", "f.jpg")
    told = [
        (each.code, each.place[:9], each.message.split("(")[1][:9])
        for each in found(folder, ["a.jpg", "b.jpg", "e.jpg", "f.jpg"])
    ]
    assert sorted(told) == [("W206", "images[2]", "images[0]"), ("W206", "images[3]", "images[1]")]


def _same_length(folder: Path) -> None:
    content = bytearray((folder / "a.jpg").read_bytes())
    content[-3] ^= 0xFF
    (folder / "e.jpg").write_bytes(content)


def _longer(folder: Path) -> None:
    (folder / "e.jpg").write_bytes((folder / "a.jpg").read_bytes() + b"more")


@pytest.mark.parametrize("change", [_same_length, _longer])
def test_nearly_the_same_content_is_another_one(folder: Path, change: Callable[[Path], None]) -> None:
    change(folder)
    assert found(folder, ["a.jpg", "e.jpg"]) == []


def test_images_of_another_size_are_compared_and_broken_ones_are_not(folder: Path) -> None:
    _copy(folder, "a.jpg", "e.jpg")
    codes = [(each.code, each.place.partition(" ")[0]) for each in found(folder, ["a.jpg", "e.jpg"], size=(64, 47))]
    assert codes == [("E123", "images[0]"), ("E123", "images[1]"), ("W206", "images[1]")]
    for name in ("a.jpg", "e.jpg"):
        (folder / name).write_bytes(b"no image")
    assert [each.code for each in found(folder, ["a.jpg", "e.jpg"])] == ["E122", "E122"]


def test_large_images_that_differ_at_their_end_only(folder: Path) -> None:
    content = (folder / "a.jpg").read_bytes() + bytes(70_000)
    for name, end in (("e.jpg", b"x"), ("f.jpg", b"y"), ("g.jpg", b"x")):
        (folder / name).write_bytes(content + end)
    (finding,) = found(folder, ["e.jpg", "f.jpg", "g.jpg"])
    assert (finding.code, finding.place) == ("W206", "images[2] (id 3, g.jpg)")
    assert "(images[0] (id 1, e.jpg) has it)" in finding.message


def test_a_listed_image_makes_findings_of_its_own() -> None:
    listed = ListedImage("val", table("val", ["a.jpg", "b.jpg"], 7), 1, "b.jpg")
    assert listed.finding("E121", "the message", "the hint") == Finding(
        "E121", "val_coco.json", "images[1] (id 8, b.jpg)", "the message", "the hint"
    )
