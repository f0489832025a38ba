"""The frame of an image is the one that mmcv decodes, for any file and any tags."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.imaging.header import open_decoded, read_header, upright_bytes
from tests.imaging.decoder import Pixels, decoded

ORIENTATIONS = range(1, 9)
WIDTH, HEIGHT = 64, 32
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
WHOLE = (10_000, 10_000)


def marked() -> Pillow.Image:
    """Return an image whose four quarters differ in every channel, so that all rotations of it differ."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for number, (y, x) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        pixels[y * 16 : (y + 1) * 16, x * 32 : (x + 1) * 32] = (number * 70, 250 - number * 60, 20 + number * 55)
    return Pillow.fromarray(pixels)


def encoded(kind: str, image: Pillow.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image or marked()).save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int) -> Pillow.Exif:
    tags = Pillow.Exif()
    tags[0x0112] = orientation
    return tags


def tags(orientation: int, *, order: str = "<", kind: int = 3) -> bytes:
    """Return EXIF tags of one entry; ``kind`` is 1 (byte), 3 (short) or 4 (long)."""
    value = {1: bytes([orientation, 0, 0, 0]), 3: struct.pack(order + "HH", orientation, 0)}.get(kind)
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HIH", 42, 8, 1)
    return head + struct.pack(order + "HHI", 274, kind, 1) + (value or struct.pack(order + "I", orientation)) + bytes(4)


def app1(body: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def jpeg(*segments: bytes) -> bytes:
    plain = encoded("JPEG", quality=95)
    return plain[:2] + b"".join(segments) + plain[2:]


def png(*chunks: bytes, before: bytes = b"IDAT") -> bytes:
    plain = encoded("PNG")
    at = plain.index(before) - 4
    return plain[:at] + b"".join(chunks) + plain[at:]


def _turned(kind: str, mode: str, **options: Any) -> Callable[[int], bytes]:
    def make(orientation: int) -> bytes:
        how = {"TIFF": {"tiffinfo": {274: orientation}}, "BMP": {}}.get(kind, {"exif": exif(orientation)})
        return encoded(kind, marked().convert(mode), **how, **options)

    return make


def _mpo(orientation: int) -> bytes:
    return encoded("MPO", exif=exif(orientation), save_all=True, append_images=[marked()], quality=95)


def _bmp_with_tags(orientation: int) -> bytes:
    return encoded("BMP") + tags(orientation)


KINDS: dict[str, Callable[[int], bytes]] = {
    "a.jpg": _turned("JPEG", "RGB", quality=95),
    "grey.jpg": _turned("JPEG", "L"),
    "cmyk.jpg": _turned("JPEG", "CMYK", quality=95),
    "mpo.jpg": _mpo,
    "a.png": _turned("PNG", "RGB"),
    "palette.png": _turned("PNG", "P"),
    "a.webp": _turned("WEBP", "RGB"),
    "lossless.webp": _turned("WEBP", "RGB", lossless=True),
    "a.bmp": _bmp_with_tags,
    "a.tif": _turned("TIFF", "RGB"),
    "lzw.tiff": _turned("TIFF", "RGB", compression="tiff_lzw"),
    "jpeg.tif": _turned("TIFF", "RGB", compression="jpeg"),
    "grey.tif": _turned("TIFF", "L"),
    "palette.tif": _turned("TIFF", "P"),
    "alpha.tif": _turned("TIFF", "RGBA"),
}
_X = b"http://ns.adobe.com/xap/1.0/\0" + XMP
_E = b"Exif\0\0"
ODD: dict[str, bytes] = {
    "XMP only": jpeg(app1(_X)),
    "XMP, then EXIF": jpeg(app1(_X), app1(_E + tags(6))),
    "EXIF 8, then XMP 6": jpeg(app1(_E + tags(8)), app1(_X)),
    "EXIF 6, then EXIF 8": jpeg(app1(_E + tags(6)), app1(_E + tags(8))),
    "big-endian": jpeg(app1(_E + tags(6, order=">"))),
    "a long": jpeg(app1(_E + tags(6, kind=4))),
    "a big-endian long": jpeg(app1(_E + tags(6, kind=4, order=">"))),
    "a byte": jpeg(app1(_E + tags(6, kind=1))),
    "orientation 0": jpeg(app1(_E + tags(0))),
    "orientation 9": jpeg(app1(_E + tags(9))),
    "tags that break off": jpeg(app1(_E + tags(6)[:12])),
    "PNG, eXIf behind the pixels": png(chunk(b"eXIf", tags(6)), before=b"IEND"),
    "PNG, eXIf with a prefix": png(chunk(b"eXIf", _E + tags(6))),
    "PNG, two eXIf": png(chunk(b"eXIf", tags(6)), chunk(b"eXIf", tags(8))),
    "PNG, XMP": png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
    "PNG, a profile as text": png(
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n%8d\n" % len(_E + tags(6)) + (_E + tags(6)).hex().encode())
    ),
    "TIFF, XMP only": encoded("TIFF", tiffinfo={700: XMP}),
    "TIFF, XMP and a tag": encoded("TIFF", tiffinfo={700: XMP, 274: 8}),
    "TIFF, orientation 0": encoded("TIFF", tiffinfo={274: 0}),
    "two pages": encoded("TIFF", save_all=True, append_images=[marked().rotate(90, expand=True)]),
    "animated WebP": encoded("WEBP", save_all=True, append_images=[marked().rotate(180)]),
    "animated PNG": encoded("PNG", save_all=True, append_images=[marked().rotate(180)]),
    "big TIFF": encoded("TIFF", big_tiff=True),
}


def check_frame(path: Path, content: bytes) -> Pixels:
    """Check size and pixels of a file against the image decoded in training; return that image."""
    path.write_bytes(content)
    expected = decoded(content)
    assert expected is not None
    assert read_header(path).size == (expected.shape[1], expected.shape[0])
    image, scale = open_decoded(path, "RGB", WHOLE)
    assert scale == 1
    # Other builds of a decoder differ by a few levels, another orientation by dozens.
    assert np.abs(np.asarray(image).astype(int) - expected).mean() < 12
    return expected


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", KINDS)
def test_the_frame_is_that_of_training(tmp_path: Path, name: str, orientation: int) -> None:
    expected = check_frame(tmp_path / name, KINDS[name](orientation))
    assert expected[0, 0].tolist() != expected[-1, -1].tolist()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("mode", ["1", "I;16"])
def test_the_size_of_a_deep_or_flat_tiff_is_that_of_training(tmp_path: Path, mode: str, orientation: int) -> None:
    image = marked().convert("L").convert(mode)
    (tmp_path / "a.tif").write_bytes(content := encoded("TIFF", image, tiffinfo={274: orientation}))
    expected = decoded(content)
    assert expected is not None and read_header(tmp_path / "a.tif").size == (expected.shape[1], expected.shape[0])


@pytest.mark.parametrize("which", ODD)
def test_tags_count_as_they_do_in_training(tmp_path: Path, which: str) -> None:
    check_frame(tmp_path / "a.jpg", ODD[which])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", ["a.jpg", "mpo.jpg", "a.png", "a.webp", "a.tif", "a.bmp"])
def test_a_rewritten_image_is_the_same_for_everybody(tmp_path: Path, name: str, orientation: int) -> None:
    path = tmp_path / name
    before = check_frame(path, KINDS[name](orientation))
    path.write_bytes(upright_bytes(path))
    assert (read_header(path).orientation, read_header(path).ignored) == (1, 1)
    with Pillow.open(path) as image:
        assert image.getexif().get(0x0112, 1) == 1
        stored = np.asarray(image.convert("RGB"))
    after = decoded(path.read_bytes())
    assert after is not None and stored.shape == after.shape == before.shape
    assert np.abs(stored.astype(int) - before).mean() < (3 if name.endswith(".jpg") else 1e-9)


@pytest.mark.parametrize(
    ("content", "ignored"),
    [(KINDS["a.webp"](6), 6), (KINDS["a.webp"](1), 1), (ODD["XMP only"], 6), (KINDS["a.jpg"](6), 1)],
)
def test_an_orientation_that_training_ignores_is_known(tmp_path: Path, content: bytes, ignored: int) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    assert read_header(tmp_path / "a.jpg").ignored == ignored
