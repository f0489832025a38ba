"""Invalid bundles, including hostile ones: each gives one error, and nothing is written anywhere."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posetools.errors import InputError, OutputError
from posetools.runtime import bundle
from posetools.runtime.bundle import Bundle, write_bundle
from posetools.runtime.manifest import Sample
from tests.runtime import tiny

SAMPLE = Sample(file="samples/a.png", boxes=(), scores=(), keypoints=(), keypoint_scores=())


def _write(path: Path) -> Path:
    manifest, files = tiny.parts((SAMPLE,))
    write_bundle(path, manifest, {**files, "samples/a.png": tiny.png(tiny.image())})
    return path


def _rezip(path: Path, change: Callable[[dict[Any, bytes]], object]) -> None:
    """Write the zip again, its members changed; keys may be ZipInfo."""
    with zipfile.ZipFile(path) as old:
        members: dict[Any, bytes] = {name: old.read(name) for name in old.namelist()}
    change(members)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        warnings.simplefilter("ignore")  # about duplicate names
        for name, content in members.items():
            new.writestr(name, content)


def _with_manifest(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def mutate(path: Path) -> None:
        def edit(members: dict[Any, bytes]) -> None:
            document = json.loads(members["bundle.json"])
            change(document)
            members["bundle.json"] = json.dumps(document).encode()

        _rezip(path, edit)

    return mutate


def _set(*place: Any, value: Any) -> Callable[[Path], None]:
    def change(document: dict[str, Any]) -> None:
        inner: Any = document
        for part in place[:-1]:
            inner = inner[part]
        inner[place[-1]] = value

    return _with_manifest(change)


def _member(name: Any, content: bytes) -> Callable[[Path], None]:
    return lambda path: _rezip(path, lambda members: members.update({name: content}))


def _without(name: str) -> Callable[[Path], None]:
    return lambda path: _rezip(path, lambda members: members.pop(name))


def _kind(name: str, mode: int) -> Callable[[Path], None]:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return _member(info, b"/etc/passwd")


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def _directory_field(name: str, offset: int, form: str, value: int) -> Callable[[Path], object]:
    """Write a number into a member's entry in the central directory."""

    def change(content: bytes) -> bytes:
        place = content.rindex(name.encode()) - 46 + offset
        return content[:place] + struct.pack(form, value) + content[place + struct.calcsize(form) :]

    return _bytes(change)


def _compressed(kind: int) -> Callable[[Path], None]:
    info = zipfile.ZipInfo("det.onnx")
    info.compress_type = kind
    return lambda path: _rezip(path, lambda m: m.update({info: m.pop("det.onnx")}))


def _bomb(path: Path) -> None:
    """Store a network of 4 MiB of zeros that takes 4 KiB."""
    content = bytes(4 << 20)
    _rezip(path, lambda members: members.update({"det.onnx": content}))


def _image_bomb(path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))

    header = struct.pack(">2L5B", 60_000, 60_000, 8, 2, 0, 0, 0)
    image = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    _member("samples/a.png", image + chunk(b"IEND", b""))(path)


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"\x89PNG") + 1000] ^= 0xFF
    path.write_bytes(content)


ZIP64 = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
NAME = "name must be letters, digits, dots, dashes, underscores, and at most one slash, got"

# Changes to a valid bundle, and the error after its path.
HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "parent": (_member("../evil", b""), f"member 4: {NAME} '../evil'"),
    "parent inside": (_member("samples/../../evil", b""), f"member 4: {NAME} 'samples/../../evil'"),
    "absolute": (_member("/etc/evil", b""), f"member 4: {NAME} '/etc/evil'"),
    "drive": (_member("C:evil", b""), f"member 4: {NAME} 'C:evil'"),
    "backslash": (_member("a\\evil", b""), rf"member 4: {NAME} 'a\\evil'"),
    "hidden": (_member(".evil", b""), f"member 4: {NAME} '.evil'"),
    "line feed": (_member("evil\n", b""), rf"member 4: {NAME} 'evil\n'"),
    "long": (_member("a" * 201, b""), f"member 4: {NAME} 'aaa"),
    "folder": (_member("samples/b/", b""), f"member 4: {NAME} 'samples/b/'"),
    "twice": (_member(zipfile.ZipInfo("det.onnx"), b"other"), "det.onnx: must be unique, but is there twice"),
    "link": (_kind("link.onnx", stat.S_IFLNK | 0o777), "link.onnx: must be a file, but is a link"),
    "device": (_kind("device", stat.S_IFCHR | 0o777), "device: must be a file, but is a device"),
    "folder by its bits": (_kind("folder", stat.S_IFDIR | 0o777), "folder: must be a file, but is a folder"),
    "encrypted": (_directory_field("det.onnx", 8, "<H", 1), "det.onnx: must not be encrypted, but is"),
    "bzip2": (_compressed(zipfile.ZIP_BZIP2), r"det.onnx: compression must be stored (0) or deflate (8), got 12"),
    "lzma": (_compressed(zipfile.ZIP_LZMA), r"det.onnx: compression must be stored (0) or deflate (8), got 14"),
    "unnamed": (_member("more.onnx", b""), "more.onnx: must not be in the bundle: bundle.json does not list it"),
    "missing": (_without("pose.onnx"), "pose.onnx: must be in the bundle: bundle.json lists it"),
    "no manifest": (_without("bundle.json"), "must have bundle.json, which is missing"),
    "bomb": (_bomb, "det.onnx: size must be at most 100 times its size in the zip"),
    "large sample": (
        _directory_field("samples/a.png", 24, "<L", (64 << 20) + 1),
        "samples/a.png: size must be at most 67108864 bytes, got 67108865",
    ),
    "large network": (
        _directory_field("pose.onnx", 24, "<L", 0xFFFFFFF0),
        "pose.onnx: size must be at most 1073741824 bytes, got 4294967280",
    ),
    "large manifest": (
        _directory_field("bundle.json", 24, "<L", 0x0FFFFFFF),
        "bundle.json: size must be at most 16777216 bytes, got 268435455",
    ),
    "longer than stated": (_directory_field("pose.onnx", 24, "<L", 100), "pose.onnx: cannot be read from the zip"),
    "shorter than stated": (
        _directory_field("pose.onnx", 24, "<L", 3000),
        "pose.onnx: size must be 3000 bytes as the zip says",
    ),
    "truncated": (_bytes(lambda c: c[: len(c) // 2]), "must be a whole zip file without a comment, but"),
    "last byte missing": (_bytes(lambda c: c[:-1]), "must be a whole zip file"),
    "head missing": (_bytes(lambda c: c[1000:]), "zip directory must be"),
    "empty": (_bytes(lambda _: b""), "must be a whole zip file"),
    "text": (_bytes(lambda _: b"model " * 100), "must be a whole zip file"),
    "comment": (_bytes(lambda c: c[:-2] + b"\x05\0hello"), "must be a whole zip file without a comment"),
    "directory in a comment": (_bytes(lambda c: c[:-2] + b"\x16\0" + c[-22:]), "must be a valid zip file"),
    "zip64": (_bytes(lambda c: c[:-22] + ZIP64 + c[-22:]), "must be a plain zip file without a comment, not zip64"),
    "long directory": (
        _bytes(lambda c: c[:-10] + struct.pack("<L", 0x7FFFFFFF) + c[-6:]),
        "zip directory must be of at most 1048576 bytes, got 2147483647",
    ),
    "flipped byte": (_flipped, "samples/a.png: cannot be read from the zip: Bad CRC-32"),
    "not JSON": (_member("bundle.json", b"{"), "bundle.json: invalid JSON"),
    "not UTF-8": (_member("bundle.json", b'{"made_by": "\xff"}'), "bundle.json: invalid JSON"),
    "deep JSON": (_member("bundle.json", b"[" * 100_000), "bundle.json: invalid JSON: recursion limit exceeded"),
    "list": (_member("bundle.json", b"[]"), "bundle.json: must be a mapping, a value for each key, got a list"),
    "newer": (_set("posetools_bundle", value=2), "bundle.json: posetools_bundle: input should be 1, got 2"),
    "unknown field": (_set("det", "run", value="sh"), "bundle.json: det.run: extra inputs are not permitted"),
    "no size": (_set("det", "input_size", value=[0, 64]), "bundle.json: det.input_size[0]: input should be greater"),
    "NaN": (_set("pose", "padding", value=float("nan")), "bundle.json: pose.padding: input should be a finite number"),
    "keypoints": (
        _set("pose", "num_keypoints", value=4),
        "bundle.json: pose.num_keypoints must be 3 as in the skeleton, got 4",
    ),
    "outside": (_set("det", "file", value="../det.onnx"), "bundle.json: det.file: string should match pattern"),
    "one for both": (_set("pose", "file", value="det.onnx"), "file must be unique, got 'det.onnx' twice"),
    "manifest as sample": (
        _set("samples", 0, "file", value="bundle.json"),
        "file must be unique, got 'bundle.json' twice",
    ),
    "lengths": (
        _set("samples", 0, "scores", value=[0.5]),
        "bundle.json: samples[0].scores must be 0 long, as boxes is, got 1",
    ),
    "other weights": (_member("det.onnx", tiny.pose_model()), "det.onnx: sha256 must be "),
    "no PNG": (_member("samples/a.png", b"GIF89a" * 100), "samples/a.png: image must be a PNG file"),
    "half a PNG header": (_member("samples/a.png", b"\x89PNG\r\n\x1a\n"), "samples/a.png: image must be a PNG file"),
    "damaged PNG": (
        _member("samples/a.png", tiny.png(tiny.image())[:33]),
        "samples/a.png: image cannot be read: the PNG file is damaged",
    ),
    "image bomb": (
        _image_bomb,
        "samples/a.png: image must be of at most 67108864 pixels, got (60000, 60000)",
    ),
}


def _read_all(path: Path) -> None:
    opened = Bundle.open(path)
    for network in opened.manifest.networks:
        opened.network(network)
    opened.sample_images()


@pytest.mark.parametrize(("mutate", "expected"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_bundle_that_is_not_in_order_is_refused(
    mutate: Callable[[Path], object], expected: str, tmp_path: Path
) -> None:
    path = _write(tmp_path / "in" / "cars.zip")
    mutate(path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as caught:
        _read_all(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert expected in said.removeprefix(f"{path}: ")
    assert len(said.splitlines()) <= 2
    assert sorted(tmp_path.rglob("*")) == before


def test_no_cut_and_no_changed_byte_ends_otherwise(tmp_path: Path) -> None:
    path = _write(tmp_path / "cars.zip")
    content = path.read_bytes()
    end = len(content)
    places = [*range(120), *range(end - 500, end), *range(0, end, 997)]
    for place in places:
        for changed in (content[:place], content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :]):
            path.write_bytes(changed)
            try:
                _read_all(path)
            except InputError as exc:
                assert str(exc).startswith(str(path))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cars\.zip: does not exist"):
        Bundle.open(tmp_path / "cars.zip")
    with pytest.raises(InputError, match="must be a zip file, but is a folder"):
        Bundle.open(tmp_path)


def test_a_newer_bundle_says_what_to_do(tmp_path: Path) -> None:
    path = _write(tmp_path / "cars.zip")
    _set("posetools_bundle", value=2)(path)
    with pytest.raises(InputError, match="update posetools: a newer version wrote this bundle"):
        Bundle.open(path)


def test_the_same_content_gives_the_same_bytes_and_is_read_back(tmp_path: Path) -> None:
    first, second = _write(tmp_path / "a.zip"), _write(tmp_path / "b.zip")
    assert first.read_bytes() == second.read_bytes()
    opened = Bundle.open(first)
    manifest, files = tiny.parts((SAMPLE,))
    assert opened.manifest == manifest
    assert [opened.network(network) for network in manifest.networks] == [files["det.onnx"], files["pose.onnx"]]
    [(sample, image)] = opened.sample_images()
    assert sample == SAMPLE
    assert (image == tiny.image()).all()
    with zipfile.ZipFile(first) as plain:
        assert plain.testzip() is None
        assert plain.namelist() == ["bundle.json", "det.onnx", "pose.onnx", "samples/a.png"]
        assert {info.date_time for info in plain.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert hashlib.sha256(plain.read("det.onnx")).hexdigest() == manifest.det.sha256


def test_the_bundle_that_was_there_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "cars.zip")
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match=r"cars\.zip: cannot be written: No space left on device"):
        _write(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_bundle_that_could_not_be_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "SAMPLE_BYTES", 1000)
    with pytest.raises(OutputError, match=re.escape("cars.zip: samples/a.png must have at most 1000 bytes, got ")):
        _write(tmp_path / "cars.zip")
    assert not any(tmp_path.iterdir())


def test_files_must_be_those_of_the_manifest(tmp_path: Path) -> None:
    manifest, files = tiny.parts()
    with pytest.raises(ValueError, match="files must be those of the manifest"):
        write_bundle(tmp_path / "cars.zip", manifest, {**files, "more": b""})
    with pytest.raises(ValueError, match=r"det\.onnx: sha256 in the manifest must be that of the file"):
        write_bundle(tmp_path / "cars.zip", manifest, {**files, "det.onnx": b""})
