"""Finding images by what an annotation says, and comparing sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from posetools.core.findings import Finding
from posetools.formats.joined import joined
from posetools.formats.sources.locate import (
    ImageFinder,
    Location,
    Match,
    PathFrom,
    check_size,
    name_below,
    open_image,
)
from posetools.imaging.header import read_header
from tests.build import make_image


def find(finder: ImageFinder, text: str, beside: Path) -> Match | Finding:
    return finder.find([PathFrom(text, beside.parent)], file=beside, place="imagePath")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_image(tmp_path / "root/images/a.jpg", (16, 8))
    make_image(tmp_path / "outside.jpg", (16, 8))
    (tmp_path / "root/json").mkdir()
    return tmp_path / "root"


@pytest.mark.parametrize("text", ["../images/a.jpg", "..\\images\\a.jpg", "..\\..\\root/images/./a.jpg"])
def test_found_as_written(root: Path, text: str) -> None:
    found = find(ImageFinder(root), text, root / "json/a.json")
    assert isinstance(found, Match) and found.path.samefile(root / "images/a.jpg") and not found.notes


@pytest.mark.parametrize(
    ("text", "code", "parts"),
    [
        ("a.jpg", "E121", ["imagePath must be an existing image, got 'a.jpg'", "not found at", "--image-root"]),
        ("../images/b.jpg", "E121", ["an existing image"]),
        ("../images", "E121", ["an existing image"]),
        ("x" * 300, "E121", ["an existing image"]),
        ("x/" * 3000 + "a.jpg", "E121", ["an existing image"]),
        ("a\0b", "E121", ["an existing image"]),
        ("../../outside.jpg", "E308", ["imagePath must be a path inside", "--image-root DIR also searches DIR"]),
        ("../link.jpg", "E308", ["a path inside"]),
        ("/images/a.jpg", "E308", ["got '/images/a.jpg'"]),
        ("D:\\images\\a.jpg", "E308", ["a path inside"]),
        ("\\\\server\\share\\a.jpg", "E308", ["a path inside"]),
    ],
)
def test_not_found(root: Path, text: str, code: str, parts: list[str]) -> None:
    (root / "link.jpg").symlink_to(root.parent / "outside.jpg")
    beside = root / "json/a.json"
    found = find(ImageFinder(root), text, beside)
    assert isinstance(found, Finding)
    assert (found.code, found.file, found.place) == (code, str(beside), "imagePath")
    for part in parts:
        assert part in f"{found.message}\n{found.hint}"


def test_links_in_a_circle_are_no_image(root: Path) -> None:
    (root / "one.jpg").symlink_to(root / "two.jpg")
    (root / "two.jpg").symlink_to(root / "one.jpg")
    found = find(ImageFinder(root), "../one.jpg", root / "json/a.json")
    assert isinstance(found, Finding) and found.code == "E121"


@pytest.mark.parametrize("text", ["a.jpg", "/home/someone/images/a.jpg", "D:\\images\\a.jpg", "../../a.jpg"])
def test_found_by_the_end_of_its_path_where_the_user_allows(root: Path, text: str) -> None:
    found = find(ImageFinder(root / "json", [root]), text, root / "json/a.json")
    assert isinstance(found, Match) and found.path == root / "images/a.jpg" and not found.notes


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("day1/cam1/0.jpg", "error"),
        ("cam2/0.jpg", "error"),
        ("/data/rec/cam2/0.jpg", "error"),
        ("C:\\rec\\cam2\\0.jpg", "error"),
        ("https://host/files/cam2/0.jpg?token=1", "error"),
        # Another machine's folders above the one that agrees are no folders of the data.
        ("/data/day1/cam1/0.jpg", "warning"),
        ("day0/cam1/0.jpg", ""),
        ("/mnt/day0/cam1/0.jpg", ""),
        ("file:///mnt/day0/cam1/0.jpg", ""),
        ("\\\\server\\share\\day0\\cam1\\0.jpg", ""),
        ("cam1/0.jpg", ""),
        ("0.jpg", ""),
    ],
)
def test_a_folder_that_is_named_counts(root: Path, text: str, way: str) -> None:
    image = make_image(root.parent / "more/day0/cam1/0.jpg", (16, 8))
    found = find(ImageFinder(root / "json", [root.parent / "more"]), text, root / "json/a.json")
    if way == "error":
        assert isinstance(found, Finding) and found.code == "E121"
        assert f"found only {image}" in found.message and f"--image-root {image.parent} takes" in found.hint
        # As the hint says: the folder that is named is another one all the same.
        found = find(ImageFinder(root / "json", [image.parent]), text, root / "json/a.json")
        way = "warning"
    assert isinstance(found, Match) and found.path == image
    assert [note.code for note in found.notes] == (["W332"] if way else [])


def test_the_longest_common_end_of_the_path_decides(root: Path) -> None:
    more = root.parent / "more"
    images = [make_image(more / name, (16, 8)) for name in ("cam0/0.jpg", "cam1/0.jpg", "b/cam1/0.jpg", "0.jpg")]
    finder = ImageFinder(root, [more])
    for text, image in {
        "cam0/0.jpg": 0,
        "/x/y/cam0/0.jpg": 0,
        "cam1/0.jpg": 1,
        "b/cam1/0.jpg": 2,
        "C:\\x\\b\\cam1\\0.jpg": 2,
        "cam0//0.jpg": 0,
        "./cam0/./0.jpg": 0,
        "0.jpg": 3,
    }.items():
        found = find(finder, text, root / "json/a.json")
        assert isinstance(found, Match) and found.path == images[image], text
        assert not found.notes
    # The folder of the annotation file tells them apart as well.
    (root / "json/cam0").mkdir()
    found = find(finder, "0.jpg", root / "json/cam0/0.json")
    assert isinstance(found, Match) and found.path == images[0]
    # Of two that agree equally none is taken.
    found = find(finder, "/x/cam1/0.jpg", root / "json/a.json")
    assert isinstance(found, Finding) and found.code == "E121"
    assert f"{images[2]} and {images[1]}" in found.message
    for path in images[1:3]:
        assert f"--image-root {path.parent}" in found.hint
        narrower = find(ImageFinder(root, [path.parent]), "/x/cam1/0.jpg", root / "json/a.json")
        assert isinstance(narrower, Match) and narrower.path == path and not narrower.notes


def test_a_label_in_a_folder_and_its_image_in_another_are_said(root: Path) -> None:
    image = make_image(root.parent / "more/cam1/0.jpg", (16, 8))
    (root / "cam0").mkdir()
    found = find(ImageFinder(root, [root.parent / "more"]), "0.jpg", root / "cam0/0.json")
    assert isinstance(found, Match) and found.path == image and [note.code for note in found.notes] == ["W332"]


def test_a_name_in_two_allowed_folders_is_not_guessed(root: Path) -> None:
    make_image(root / "other/a.jpg", (16, 8))
    # The same folder twice is one place.
    finder = ImageFinder(root / "json", [root / "other", root / "other", root / "images"])
    found = find(finder, "a.jpg", root / "json/a.json")
    assert isinstance(found, Finding) and found.code == "E121"
    assert f"{root / 'other/a.jpg'} and {root / 'images/a.jpg'}" in found.message
    assert f"only the right folder: --image-root {root / 'other'} or" in found.hint


@pytest.mark.parametrize("inside", [True, False], ids=["in the source", "in an image root"])
@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("a.jpg", "a.JPG"),
        ("a.jpg", "a.png"),
        ("A.jpeg", "a.jpg"),
        ("IMGS/a.jpg", "imgs/a.jpg"),
        ("imgs//a.jpg", "Imgs/A.png"),
        ("my%20dog.jpg", "my dog.jpg"),
        ("my dog.jpg", "my%20dog.jpg"),
        ("H\u00fcndin.jpg", "Hu\u0308ndin.jpg"),
        ("Hu\u0308ndin.jpg", "H\u00fcndin.jpg"),
        ("frame.001", "frame.001.png"),
    ],
)
def test_another_spelling_or_ending_is_found_when_one_fits(root: Path, text: str, there: str, inside: bool) -> None:
    home = root if inside else root.parent / "more"
    image = make_image(home / there, (16, 8))
    make_image(home / "imgs/b.jpg", (16, 8))
    finder = ImageFinder(root, [] if inside else [home])
    found = find(finder, text, root / "a.json")
    assert isinstance(found, Match) and found.path.samefile(image)
    assert [note.code for note in found.notes] == ["W324"] and image.name in found.notes[0].message
    # Two that fit are an error that names both; the exact name is none of their business.
    second = make_image(image.with_suffix(".bmp"), (16, 8))
    third = make_image(image.with_suffix(".webp"), (16, 8))
    image.unlink()
    found = find(ImageFinder(root, [] if inside else [home]), text, root / "a.json")
    assert isinstance(found, Finding) and found.code == "E121"
    assert second.name in found.message and third.name in found.message and "rename" in found.hint


def test_an_absolute_path_of_this_machine_is_as_good_as_another(root: Path) -> None:
    image = root / "images/a.jpg"
    found = find(ImageFinder(root), str(image), root / "json/a.json")
    assert isinstance(found, Match) and found.path == image and not found.notes
    found = find(ImageFinder(root), str(root.parent / "outside.jpg"), root / "json/a.json")
    assert isinstance(found, Finding) and found.code == "E308"


@pytest.mark.parametrize("text", ["/home/someone/images/a.jpg", "D:\\dogs\\a.jpg", "https://host/dogs/a.jpg"])
def test_the_image_beside_the_file_is_named_for_a_path_of_another_machine(root: Path, text: str) -> None:
    beside = root / "images/a.json"
    found = find(ImageFinder(root), text, beside)
    assert isinstance(found, Finding) and found.code in ("E308", "E121")
    if found.code == "E308":
        assert f"--image-root {root / 'images'} takes {root / 'images/a.jpg'}" in found.hint
    # As the hint says.
    found = find(ImageFinder(root, [root / "images"]), text, beside)
    assert isinstance(found, Match) and found.path == root / "images/a.jpg"


def test_an_exact_name_elsewhere_comes_before_another_spelling(root: Path) -> None:
    make_image(root / "b.PNG", (16, 8))
    image = make_image(root.parent / "more/b.png", (16, 8))
    found = find(ImageFinder(root, [root.parent / "more"]), "b.png", root / "a.json")
    assert isinstance(found, Match) and found.path == image and not found.notes
    make_image(root / "b.jpg", (16, 8))
    found = find(ImageFinder(root), "b.png", root / "a.json")
    assert isinstance(found, Match) and found.path == root / "b.PNG", "letter case is nearer than another ending"


@pytest.mark.parametrize("text", ["../OUT.jpg", "%2e%2e/out.jpg", "..%2Fout.jpg", "json/../../OUT.jpg", "LINK.jpg"])
def test_no_spelling_leads_out_of_the_source(root: Path, text: str) -> None:
    make_image(root.parent / "out.jpg", (16, 8))
    (root / "link.jpg").symlink_to(root.parent / "out.jpg")
    found = find(ImageFinder(root), text, root / "a.json")
    assert isinstance(found, Finding) and found.code in ("E121", "E308")


def test_those_found_as_others_are_one_finding_for_each_kind(root: Path) -> None:
    finder = ImageFinder(root)
    for name in ("b.PNG", "c.PNG", "D.jpg"):
        make_image(root / name, (16, 8))
    matches = [find(finder, text, root / f"{text}.json") for text in ("b.png", "c.png", "d.jpg")]
    notes = [note for match in matches if isinstance(match, Match) for note in match.notes]
    other = Finding("W322", "x.jpg", "", "the image must be named")
    told = joined([*notes[:1], other, *notes[1:]])
    assert [(finding.code, finding.file) for finding in told[1:]] == [("W324", str(root))] * 2
    assert told[0] == other
    assert told[1].message == "2 images are found with another extension: b.PNG for b.png, c.PNG for c.png"
    assert told[2].message == "1 image is found under another spelling: D.jpg for d.jpg"


def test_names_follow_folders_but_not_the_file(root: Path) -> None:
    (root / "linked").symlink_to(root / "images")
    (root / "alias.jpg").symlink_to(root / "images/a.jpg")
    assert name_below(root / "linked/a.jpg", [root]) == "images/a.jpg"
    assert name_below(root / "json/../alias.jpg", [root]) == "alias.jpg"
    assert name_below(root / "images/a.jpg", [root / "json", root / "images"]) == "a.jpg"
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
    path = make_image(tmp_path / "a.jpg", (16, 8), orientation=orientation)
    finding = check_size(Location(path, read_header(path)), *size, file=Path("a.json"), place="imageWidth")
    assert (finding.code if finding else None) == code
    if finding:
        assert (finding.file, finding.place) == ("a.json", "imageWidth")
        assert part in finding.message and finding.hint


def test_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    path = make_image(tmp_path / "a.jpg", (16, 8))
    assert open_image(path) == Location(path, read_header(path))
    path.write_bytes(b"\xff\xd8\xff")
    found = open_image(path)
    assert isinstance(found, Finding)
    assert (found.code, found.file) == ("E122", str(path)) and "cannot be read" in found.message
