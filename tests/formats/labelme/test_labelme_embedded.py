"""Images that exist only inside labelme files: written with the data set, byte for byte, or one clear finding."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from posetools.core.skeleton import dump_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.datasets.convert import ConvertRequest, ConvertResult, convert
from posetools.errors import RequestError
from posetools.formats.options import ReadOptions
from tests.build import make_image
from tests.cli.run import run
from tests.converting import written

SIZE = (320, 240)


def encoded(kind: str = "JPEG", color: str = "teal", size: tuple[int, int] = SIZE) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, kind)
    return file.getvalue()


def save(folder: Path, name: str, image: str, content: bytes | str | None, **more: Any) -> Path:
    """Write a file with one kite and its image embedded."""
    data = base64.b64encode(content).decode() if isinstance(content, bytes) else content
    shapes = [
        {"label": "kite", "points": [[10, 20], [110, 90]], "group_id": 0, "shape_type": "rectangle", "flags": {}},
        {"label": "tip", "points": [[30, 40]], "group_id": 0, "shape_type": "point", "flags": {}},
    ]
    sizes = {"imageWidth": SIZE[0], "imageHeight": SIZE[1]}
    document: dict[str, Any] = {
        "version": "4.2.10",
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": data,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document | sizes | more))
    return path


def kite(tmp_path: Path) -> Path:
    path = tmp_path / "kite.yaml"
    path.write_text(dump_skeleton(draft_skeleton("kite", ("tip", "tail"), "kite").skeleton))
    return path


def converted(tmp_path: Path, **more: Any) -> ConvertResult:
    out, val = tmp_path / "out", None if more.get("target_format") else 0.0
    return convert(ConvertRequest(sources=(tmp_path / "src",), out=out, skeleton=kite(tmp_path), val=val, **more))


def images(tmp_path: Path) -> dict[str, bytes]:
    folder = tmp_path / "out/images"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_they_are_written_out_byte_for_byte(tmp_path: Path) -> None:
    src = tmp_path / "src"
    jpeg, png, third = encoded(), encoded("PNG", "red"), encoded("JPEG", "blue")
    save(src, "a", "a.JPEG", jpeg)
    # labelme stores all but JPEG as PNG; paths of other systems and outside the source name no file here.
    save(src / "sub", "b", "..\\photos\\b.bmp", png)
    save(src, "c", "C:\\Users\\me\\c.jpg", "data:image/jpeg;base64," + base64.b64encode(third).decode())
    result = converted(tmp_path)
    (found,) = result.findings
    assert (found.code, found.file) == ("W324", str(src))
    assert found.message.startswith("3 images are taken from imageData") and "a.JPEG, c.jpg, b.png" in found.message
    assert images(tmp_path) == {"a.JPEG": jpeg, "sub/b.png": png, "c.jpg": third}
    dataset = written(tmp_path / "out")["train"]
    assert [(image.file_name, image.size) for image in dataset.images] == [
        ("a.JPEG", SIZE),
        ("c.jpg", SIZE),
        ("sub/b.png", SIZE),
    ]
    assert dataset.keypoints.tolist() == [[[30, 40, 2], [0, 0, 0]]] * 3


def test_a_file_that_is_there_is_used(tmp_path: Path) -> None:
    save(tmp_path / "src", "a", "a.jpg", encoded(color="red"))
    make_image(tmp_path / "src/a.jpg", SIZE)
    result = converted(tmp_path)
    assert not result.findings
    assert images(tmp_path) == {"a.jpg": (tmp_path / "src/a.jpg").read_bytes()}


def test_an_image_root_comes_first_as_the_hint_says(tmp_path: Path) -> None:
    save(tmp_path / "src", "a", "a.jpg", encoded(color="red"))
    assert "--image-root DIR" in converted(tmp_path).findings[0].hint
    make_image(tmp_path / "photos/a.jpg", SIZE)
    result = converted(tmp_path, read=ReadOptions(image_roots=(tmp_path / "photos",)), overwrite=True)
    assert not result.findings
    assert images(tmp_path) == {"a.jpg": (tmp_path / "photos/a.jpg").read_bytes()}


def test_two_images_of_one_name_both_survive_and_two_files_of_one_do_not(tmp_path: Path) -> None:
    src = tmp_path / "src"
    save(src, "a", "image.jpg", encoded(color="red"))
    save(src, "b", "image.jpg", encoded(color="blue"))
    result = converted(tmp_path)
    assert [finding.code for finding in result.findings] == ["W324"]
    assert sorted(images(tmp_path).values()) == sorted([encoded(color="red"), encoded(color="blue")])
    save(src, "b", "image.jpg", encoded(color="red"))
    result = converted(tmp_path, overwrite=True)
    assert [finding.code for finding in result.findings if finding.code != "W324"] == ["E313"]


def test_without_a_copy_it_is_one_finding_that_says_what_to_type(tmp_path: Path) -> None:
    src = tmp_path / "src"
    for name in "abc":
        save(src, name, f"{name}.jpg", encoded())
    args = ("convert", src, "--out", tmp_path / "out", "--skeleton", kite(tmp_path), "--val", "0")
    done = run(*args, "--images", "none")
    assert done.status == 1 and "E121 picture-missing (1)" in done.out
    assert "3 images are only in imageData, which is not copied: a.jpg (2 shapes left out), b" in done.out
    assert "--images copy to write these images into the output" in done.out
    with pytest.raises(RequestError, match="--images must be copy"):
        converted(tmp_path, images="symlink")
    assert run(*args, "--images", "copy").status == 0
    assert len(images(tmp_path)) == 3


def test_labelme_is_written_from_them_too(tmp_path: Path) -> None:
    save(tmp_path / "src", "a", "a.jpg", encoded())
    converted(tmp_path, target_format="labelme")
    assert (tmp_path / "out/a.jpg").read_bytes() == encoded()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "imagePath must be an existing image, got 'a.jpg' (2 shapes left out)"),
        ("not base64!", "imageData holds no image either"),
        ("\u2603", "imageData holds no image either: is not base64"),
        (b"no image at all", "imageData holds no image either: image cannot be read"),
        (encoded()[:300], "imageData holds no image either: image cannot be read"),
        (encoded("GIF"), "imageData holds no image either: image cannot be read: OpenCV"),
        # A header that declares 30,000 by 30,000 pixels in a few bytes.
        (b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0\x30\x75\0\0\x30\x75\0\0\x01\0\x18\0" + bytes(24), "exceeds limit"),
    ],
)
def test_what_holds_no_image_is_the_error_of_the_missing_file(
    tmp_path: Path, content: bytes | str, problem: str
) -> None:
    save(tmp_path / "src", "a", "a.jpg", content)
    result = converted(tmp_path)
    (found,) = [finding for finding in result.findings if finding.code != "E116"]
    assert found.code == "E121" and problem in found.message and "--image-root" in found.hint
    assert not result.written


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "src", "a", "a.jpg", encoded(size=(160, 120)))
    (found,) = converted(tmp_path).findings
    assert found.code == "E123" and "(160, 120), the size of a.jpg" in found.message


@pytest.mark.parametrize("name", ["..", "", "a\0b.jpg", "../../../etc/x.jpg", "a:b?.jpg", "x" * 300 + ".jpg"])
def test_no_name_leads_out_of_the_output(tmp_path: Path, name: str) -> None:
    save(tmp_path / "src", "a", name, encoded())
    result = converted(tmp_path)
    assert not [finding for finding in result.findings if finding.code != "W324"]
    (written_as,) = images(tmp_path)
    assert written_as.endswith(".jpg") and "/" not in written_as
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kite.yaml", "out", "src"]


def test_workers_write_them_out_too(tmp_path: Path) -> None:
    for number in range(300):
        save(tmp_path / "src", f"{number:03}", f"{number:03}.jpg", encoded(size=(8, 8)), imageWidth=8, imageHeight=8)
    result = converted(tmp_path, read=ReadOptions(workers=2))
    assert "300 images are taken from imageData" in result.findings[0].message
    assert len(images(tmp_path)) == 300
