"""Finding pictures by what an annotation says, and comparing sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from posetools.findings import Finding
from posetools.formats.locate import Located, PictureFinder, check_size, name_below, open_picture
from posetools.pictures import read_header
from tests.build import make_picture


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_picture(tmp_path / "root/pictures/a.jpg", (16, 8))
    make_picture(tmp_path / "outside.jpg", (16, 8))
    (tmp_path / "root/json").mkdir()
    return tmp_path / "root"


@pytest.mark.parametrize("text", ["../pictures/a.jpg", "..\\pictures\\a.jpg", "..\\..\\root/pictures/./a.jpg"])
def test_found_as_written(root: Path, text: str) -> None:
    found = PictureFinder(root).find(text, beside=root / "json/a.json", place="imagePath")
    assert isinstance(found, Path) and found.samefile(root / "pictures/a.jpg")


@pytest.mark.parametrize(
    ("text", "code", "parts"),
    [
        ("a.jpg", "E121", ["imagePath must be an existing picture, got 'a.jpg'", "looked for at", "--image-root"]),
        ("../pictures/A.JPG", "E121", ["an existing picture"]),
        ("../pictures", "E121", ["an existing picture"]),
        ("x" * 300, "E121", ["an existing picture"]),
        ("x/" * 3000 + "a.jpg", "E121", ["an existing picture"]),
        ("a\0b", "E121", ["an existing picture"]),
        ("../../outside.jpg", "E308", ["imagePath must be a path inside", "--image-root DIR allows a further folder"]),
        ("../link.jpg", "E308", ["a path inside"]),
        ("/pictures/a.jpg", "E308", ["got '/pictures/a.jpg'"]),
        ("D:\\pictures\\a.jpg", "E308", ["a path inside"]),
        ("\\\\server\\share\\a.jpg", "E308", ["a path inside"]),
    ],
)
def test_not_found(root: Path, text: str, code: str, parts: list[str]) -> None:
    (root / "link.jpg").symlink_to(root.parent / "outside.jpg")
    beside = root / "json/a.json"
    found = PictureFinder(root).find(text, beside=beside, place="imagePath")
    assert isinstance(found, Finding)
    assert (found.code, found.file, found.place) == (code, str(beside), "imagePath")
    for part in parts:
        assert part in f"{found.message}\n{found.hint}"


def test_links_in_a_circle_are_no_picture(root: Path) -> None:
    (root / "one.jpg").symlink_to(root / "two.jpg")
    (root / "two.jpg").symlink_to(root / "one.jpg")
    found = PictureFinder(root).find("../one.jpg", beside=root / "json/a.json", place="imagePath")
    assert isinstance(found, Finding) and found.code == "E121"


@pytest.mark.parametrize("text", ["a.jpg", "/home/someone/a.jpg", "D:\\pictures\\a.jpg", "../../a.jpg"])
def test_found_by_name_where_the_user_allows(root: Path, text: str) -> None:
    finder = PictureFinder(root / "json", [root])
    assert finder.find(text, beside=root / "json/a.json", place="imagePath") == root / "pictures/a.jpg"


def test_a_name_in_two_allowed_folders_is_not_guessed(root: Path) -> None:
    make_picture(root / "other/a.jpg", (16, 8))
    # The same folder twice is one place.
    finder = PictureFinder(root / "json", [root / "other", root / "other", root / "pictures"])
    found = finder.find("a.jpg", beside=root / "json/a.json", place="imagePath")
    assert isinstance(found, Finding) and found.code == "E308"
    assert f"{root / 'other/a.jpg'} and {root / 'pictures/a.jpg'}" in found.message
    assert "found once by its file name" in found.message and "narrower --image-root" in found.hint


def test_names_follow_folders_but_not_the_file(root: Path) -> None:
    (root / "linked").symlink_to(root / "pictures")
    (root / "alias.jpg").symlink_to(root / "pictures/a.jpg")
    assert name_below(root / "linked/a.jpg", [root]) == "pictures/a.jpg"
    assert name_below(root / "json/../alias.jpg", [root]) == "alias.jpg"
    assert name_below(root / "pictures/a.jpg", [root / "json", root / "pictures"]) == "a.jpg"
    assert name_below(root.parent / "outside.jpg", [root]) == "outside.jpg"


@pytest.mark.parametrize(
    ("size", "orientation", "code", "part"),
    [
        ((16, 8), 1, None, ""),
        ((8, 16), 6, None, ""),
        ((16, 8), 6, "E124", "must be (8, 16), the size of a.jpg, got (16, 8): that is the frame before EXIF rotation "
         "(orientation 6)"),
        ((32, 16), 6, "E123", "must be (8, 16), the size of a.jpg, got (32, 16)"),
        ((8, 16), 1, "E123", "must be (16, 8), the size of a.jpg, got (8, 16)"),
        ((16, 8), 3, None, ""),
    ],
)  # fmt: skip
def test_sizes_are_those_of_the_upright_frame(
    tmp_path: Path, size: tuple[int, int], orientation: int, code: str | None, part: str
) -> None:
    path = make_picture(tmp_path / "a.jpg", (16, 8), orientation=orientation)
    finding = check_size(Located(path, read_header(path)), *size, file=Path("a.json"), place="imageWidth")
    assert (finding.code if finding else None) == code
    if finding:
        assert (finding.file, finding.place) == ("a.json", "imageWidth")
        assert part in finding.message and finding.hint


def test_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    path = make_picture(tmp_path / "a.jpg", (16, 8))
    assert open_picture(path) == Located(path, read_header(path))
    path.write_bytes(b"\xff\xd8\xff")
    found = open_picture(path)
    assert isinstance(found, Finding)
    assert (found.code, found.file) == ("E122", str(path)) and "cannot be read" in found.message
