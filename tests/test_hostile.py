"""Hostile input from the command line: each attack ends in one sentence, and nothing is written or run.

SECURITY.md lists the attacks. Bundles are attacked in tests/runtime/test_bundle.py, checkpoints in
tests/mm/test_checkpoint.py, the pages in tests/pages/test_report.py and tests/pages/test_eval_report.py.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.errors import InputError, OutputError
from posetools.formats import FORMATS
from posetools.formats.deeplabcut.h5 import LARGEST_BYTES, H5Table, read_frame
from posetools.formats.sources.zip_sources import ZipSources
from posetools.imaging.frames import read_image
from posetools.imaging.header import read_header
from posetools.progress import silent
from tests.build import make_dataset, make_image
from tests.cli.run import Done, run
from tests.coco_sample import edit, write_sample

FOLLOWING = ("labelme", "coco", "cvat", "via", "label-studio", "deeplabcut")
WAYS_OUT = ("../secret.jpg", "absolute", "C:\\secret.jpg", "link.jpg")
needs_h5py = pytest.mark.skipif(importlib.util.find_spec("h5py") is None, reason="needs the extra deeplabcut (h5py)")
needs_cv2 = pytest.mark.skipif(importlib.util.find_spec("cv2") is None, reason="needs OpenCV")


class Harm:
    """Creates a file when it is unpickled."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return os.mkdir, (str(self.flag),)


def contents(folder: Path) -> Mapping[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def convert(source: Path, out: Path, format_name: str, *more: str) -> Done:
    says = ("--assume-visible", "--box-from", "keypoints") if format_name == "deeplabcut" else ()
    return run("convert", source, "--out", out, "--from", format_name, *says, *more)


def leads_out(folder: Path, format_name: str, way: str) -> Path:
    """Write a source for an image, and give its image a name that leads to ``folder / "secret.jpg"``."""
    secret = make_image(folder / "secret.jpg", seed=9)
    name = "one/a.jpg" if format_name == "deeplabcut" else "a.jpg"
    write = FORMATS[format_name].write
    assert write
    source = folder / "src"
    source.mkdir()
    write({"all": make_dataset(folder / "in", images=[name], per_image=1)}, source, "copy")
    wanted = str(secret) if way == "absolute" else way
    for path in list(source.rglob("*")):
        if path.name == "a.jpg":
            (path.parent / "link.jpg").symlink_to(secret)
        elif path.suffix in (".json", ".xml"):
            text = wanted.replace("\\", "\\\\") if path.suffix == ".json" else wanted
            path.write_text(path.read_text().replace("a.jpg", text))
        elif path.suffix == ".csv":
            # Three columns give the image; the path out of labeled-data/one uses them.
            columns = wanted.rsplit("/", 2) if way == "absolute" else ["labeled-data", "one", wanted]
            columns = ["..", "src/..", "secret.jpg"] if way == "../secret.jpg" else columns
            path.write_text(path.read_text().replace("labeled-data,one,a.jpg", ",".join(columns)))
    return source


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("format_name", FOLLOWING)
def test_a_name_that_leads_out_of_the_source_is_refused(tmp_path: Path, format_name: str, way: str) -> None:
    source = leads_out(tmp_path, format_name, way)
    done = convert(source, tmp_path / "out", format_name)
    assert done.status == 1 and not (tmp_path / "out").exists()
    assert any(code in done.words for code in ("E308", "E125", "E121")), done.words
    assert "secret.jpg" in done.words or "link.jpg" in done.words


COMMANDS: Mapping[str, tuple[list[str], int]] = {
    "validate": (["validate", "cars", "--report", "report.html"], 1),
    "fix": (["validate", "cars", "--fix"], 1),
    "merge": (["merge", "cars", "more", "--out", "out"], 2),
    "subset": (["subset", "cars", "--limit", "2", "--out", "out"], 2),
    "view": (["view", "cars", "--each", "--out", "out"], 0),
}


@pytest.mark.parametrize("way", ["../../secret.jpg", "absolute", "C:\\secret.jpg"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_data_set_that_names_an_image_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, way: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cars", "more"):
        write_sample(tmp_path / name)
    secret = make_image(tmp_path / "secret.jpg", seed=9)
    name = str(secret) if way == "absolute" else way
    edit(tmp_path / "cars/train_coco.json", lambda document: document["images"][0].update(file_name=name))
    before = contents(tmp_path / "cars")
    arguments, status = COMMANDS[command]
    done = run(*arguments)
    assert done.status == status, done.words
    assert contents(tmp_path / "cars") == before
    if command == "view":
        assert "reading errors: 1" in done.words
        assert [path.name for path in sorted((tmp_path / "out").rglob("*.*"))] == ["c.jpg", "b.png"]
    else:
        assert not (tmp_path / "out").exists()
        assert "E125" in done.words
    assert [path for path, content in contents(tmp_path).items() if content == secret.read_bytes()] == [secret]


@pytest.mark.parametrize("out", ["src", "src/images", "."])
def test_the_output_onto_the_input_is_refused(tmp_path: Path, out: str) -> None:
    (tmp_path / "src").mkdir()
    write = FORMATS["labelme"].write
    assert write
    write({"all": make_dataset(tmp_path / "in")}, tmp_path / "src", "copy")
    before = contents(tmp_path)
    done = run("convert", tmp_path / "src", "--out", tmp_path / out, "--overwrite")
    assert done.status == 2 and "--out must be outside the source" in done.words
    assert contents(tmp_path) == before


# Images that unpack to gigabytes.


def png_bomb() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0")), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg_bomb(folder: Path) -> bytes:
    content = make_image(folder / "small.jpg").read_bytes()
    start = content.index(b"\xff\xc0") + 5
    return content[:start] + struct.pack(">HH", 30_000, 30_000) + content[start + 4 :]


def bmp_bomb() -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0)


def tiff_bomb() -> bytes:
    entries = {256: 30_000, 257: 30_000, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 30_000, 279: 1}
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + tags + b"\0" * 4


def bomb(folder: Path, suffix: str) -> Path:
    content = {".png": png_bomb, ".bmp": bmp_bomb, ".tif": tiff_bomb}.get(suffix, lambda: jpeg_bomb(folder))()
    path = folder / f"bomb{suffix}"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_an_image_that_unpacks_to_gigabytes_is_refused_by_its_header(tmp_path: Path, suffix: str) -> None:
    path = bomb(tmp_path, suffix)
    with pytest.raises(InputError) as caught:
        read_header(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "900000000 pixels) exceeds limit of 178956970 pixels" in caught.value.problem


@needs_cv2
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_prediction_refuses_it_before_opencv_decodes_it(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InputError, match="900000000 pixels\\) exceeds limit of 178956970 pixels"):
        read_image(bomb(tmp_path, suffix))


def test_converting_one_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    write = FORMATS["labelme"].write
    assert write
    write({"all": make_dataset(tmp_path / "in", images=["a.jpg"])}, tmp_path / "src", "copy")
    (tmp_path / "src/a.jpg").write_bytes(jpeg_bomb(tmp_path))
    done = run("convert", tmp_path / "src", "--out", tmp_path / "out")
    assert done.status == 1 and "E122" in done.words and "exceeds limit" in done.words
    assert not (tmp_path / "out").exists()


def test_validating_one_decodes_nothing(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")
    (tmp_path / "cars/images/a.jpg").write_bytes(jpeg_bomb(tmp_path))
    done = run("validate", tmp_path / "cars", "--report", tmp_path / "report.html")
    assert done.status == 1 and "E122" in done.words and "exceeds limit" in done.words, done.words


# Files that would run code, or expand, when read.


def test_a_skeleton_with_a_yaml_tag_runs_nothing(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    file = tmp_path / "skeleton.yaml"
    file.write_text(f"name: !!python/object/apply:os.mkdir [{flag}]\n")
    done = run("skeleton", "show", file)
    assert done.status == 2 and not flag.exists()
    assert "could not determine a constructor for the tag" in done.words and "skeleton.yaml" in done.words


def test_an_xml_entity_bomb_is_refused(tmp_path: Path) -> None:
    make_image(tmp_path / "src/images/a.jpg")
    rounds = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    (tmp_path / "src/a.xml").write_text(
        f'<!DOCTYPE bomb [<!ENTITY e0 "lol">{rounds}]><annotations><image name="&e9;" width="1"/></annotations>'
    )
    done = run("convert", tmp_path / "src", "--from", "cvat", "--out", tmp_path / "out")
    assert done.status == 1 and not (tmp_path / "out").exists()
    assert "E310" in done.words and "DTDForbidden" in done.words


def h5(path: Path, change: Callable[[Any], object] | None = None) -> Path:
    """Write a table in pandas' fixed layout with one image and one point, and change it."""
    import h5py

    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs.update({"pandas_type": b"frame", "nblocks": 1, "axis1_variety": b"regular"})
        for axis in ("axis0", "block0_items"):
            group.attrs.update({f"{axis}_variety": b"multi", f"{axis}_nlevels": 3})
            for level, (name, texts) in enumerate({"scorer": "m", "bodyparts": "p", "coords": "xy"}.items()):
                group[f"{axis}_level{level}"] = np.array([text.encode() for text in texts])
                group[f"{axis}_level{level}"].attrs["name"] = name.encode()
                group[f"{axis}_label{level}"] = np.array([0, len(texts) - 1], dtype="int8")
        group["axis1"] = np.array([b"labeled-data/one/a.jpg"])
        group["block0_values"] = np.array([[1.5, 2.5]])
        if change:
            change(group)
    return path


def put(group: Any, name: str, value: Any, **more: Any) -> Any:
    del group[name]
    return group.create_dataset(name, data=value, **more)


def pickled_block(group: Any, harm: bytes) -> None:
    import h5py

    kind = h5py.vlen_dtype(np.uint8)
    node = put(group, "block0_values", None, shape=(1,), dtype=kind)
    node[0] = np.frombuffer(harm, dtype=np.uint8)
    node.attrs["PSEUDOATOM"] = b"object"


def pickled_name(group: Any, harm: bytes) -> None:
    group.attrs.update({"pandas_type": b"frame_table", "non_index_axes": np.bytes_(harm)})


def other_file(group: Any, _: bytes) -> None:
    import h5py

    del group["block0_values"]
    group["block0_values"] = h5py.ExternalLink("/etc/other.h5", "/values")


def raw_file(group: Any, _: bytes) -> None:
    put(group, "block0_values", None, shape=(1, 2), dtype="f8", external=[("/etc/hostname", 0, 16)])


def huge(group: Any, _: bytes) -> None:
    put(group, "block0_values", None, shape=(10**6, 10**6), dtype="f8", chunks=(100, 100))


HARMFUL_H5: Mapping[str, tuple[Callable[[Any, bytes], None], str]] = {
    "a pickled block": (pickled_block, "block0_values must be an array of numbers or text, got 'pickled objects"),
    "pickled names": (pickled_name, f"a pickle in the file must be plain text and numbers, got '{os.name}.mkdir'"),
    "a link": (other_file, "block0_values must be in the file itself, got 'a link'"),
    "bytes of another file": (raw_file, "block0_values must be in the file itself, got 'an array whose values"),
    "an array of terabytes": (huge, f"block0_values must be of at most {LARGEST_BYTES} bytes, got 8000000000000"),
}


@needs_h5py
@pytest.mark.parametrize("kind", HARMFUL_H5)
def test_a_deeplabcut_file_that_would_do_harm_is_refused(tmp_path: Path, kind: str) -> None:
    flag = tmp_path / "flag"
    harm = pickle.dumps(Harm(flag), protocol=0)
    change, expected = HARMFUL_H5[kind]
    make_image(tmp_path / "src/labeled-data/one/a.jpg")
    path = h5(tmp_path / "src/labeled-data/one/CollectedData_me.h5", lambda group: change(group, harm))
    said = read_frame(path)
    assert isinstance(said, str) and expected in said
    done = convert(tmp_path / "src", tmp_path / "out", "deeplabcut")
    assert done.status == 1 and "E310" in done.words and "CollectedData_me.h5" in done.words
    assert not flag.exists() and not (tmp_path / "out").exists()
    # The attack is real: pickle itself would run it.
    pickle.loads(harm)
    assert flag.exists()


@needs_h5py
def test_the_same_file_without_harm_is_read(tmp_path: Path) -> None:
    frame = read_frame(h5(tmp_path / "a.h5"))
    assert isinstance(frame, H5Table)
    assert frame.heads == {"scorer": ["m", "m"], "bodyparts": ["p", "p"], "coords": ["x", "y"]}
    assert (frame.images, frame.values) == ([("labeled-data/one/a.jpg",)], [(1.5, 2.5)])


def test_no_terminal_obeys_the_name_of_a_label_or_a_file(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "p", images=["a.jpg", "b.jpg"])
    source = tmp_path / "src\x1b[31m"
    source.mkdir()
    FORMATS["labelme"].write({"all": dataset}, source, "copy")  # type: ignore[misc]
    document = json.loads((source / "a.json").read_text())
    document["shapes"][1]["label"] = "clear\x1b[2J\x07"
    (source / "a.json").write_text(json.dumps(document))
    for words in (
        ("convert", source, "--out", tmp_path / "out", "--skeleton", "car8"),
        ("convert", tmp_path / "no\x1b]0;x\x07", "--out", "o"),
    ):
        done = run(*words)
        assert done.status in (1, 2)
        assert not {"\x1b", "\x07"} & {*done.out, *done.err}
        assert "\\x1b" in done.out + done.err
    ignored = run("convert", source, "--out", tmp_path / "out", "--ignore", "clear\x1b[2J\x07")
    assert ignored.status == 0 and "\x1b" not in ignored.out
    assert "left out on purpose: clear\\x1b[2J\\x07 (1)" in ignored.out


# Label files outside the source.

LABELS_OF = {"yolo-pose": "*.txt", "deeplabcut": "*.csv", "cvat": "*.xml"}


def labels_moved_out(folder: Path, format_name: str, *, whole_folder: bool = False) -> tuple[Path, Path]:
    """Write a source, move its label file into another folder and leave a link; return the source and that folder."""
    write = FORMATS[format_name].write
    assert write
    source, secret = folder / "src", folder / "secret"
    source.mkdir()
    secret.mkdir()
    names = [f"one/{name}.jpg" if format_name == "deeplabcut" else f"{name}.jpg" for name in "abcd"]
    split = "train" if format_name == "yolo-pose" else "all"
    write({split: make_dataset(folder / "in", images=names, per_image=1)}, source, "copy")
    label = min(source.rglob(LABELS_OF.get(format_name, "*.json")))
    if whole_folder:
        label.parent.rename(secret / "labels")
        label.parent.symlink_to(secret / "labels")
    else:
        label.rename(secret / label.name)
        label.symlink_to(secret / label.name)
    return source, secret


@pytest.mark.parametrize("format_name", (*FOLLOWING, "yolo-pose"))
def test_a_label_file_that_is_a_link_out_of_the_source_is_refused(tmp_path: Path, format_name: str) -> None:
    source, secret = labels_moved_out(tmp_path, format_name)
    (label,) = (path for path in source.rglob("*") if path.is_symlink())
    own = label.read_bytes()
    (secret / label.name).write_text("0 BEGIN OPENSSH PRIVATE KEY")
    refused = convert(source, tmp_path / "out", format_name, "--keep-going")
    assert refused.status in (1, 2), refused.words
    assert f"must be {'' if format_name == 'yolo-pose' else 'a file '}inside {source}" in refused.words
    assert label.name in refused.words and "OPENSSH" not in refused.words
    written = contents(tmp_path / "out")
    assert bool(written) is (format_name == "yolo-pose"), (
        "--keep-going writes the images with a label file of their own"
    )
    assert not any(b"OPENSSH" in content for content in written.values())
    assert not any(path.name == "a.jpg" for path in written)
    (secret / label.name).write_bytes(own)
    allowed = convert(source, tmp_path / "out", format_name, "--image-root", str(secret), "--overwrite")
    assert allowed.status == 0, allowed.words


def test_a_folder_of_labels_that_is_a_link_out_is_refused(tmp_path: Path) -> None:
    source, secret = labels_moved_out(tmp_path, "yolo-pose", whole_folder=True)
    refused = convert(source, tmp_path / "out", "yolo-pose")
    assert refused.status == 1 and "E308" in refused.words and "a.txt" in refused.words
    allowed = convert(source, tmp_path / "out", "yolo-pose", "--image-root", str(secret))
    assert allowed.status == 0, allowed.words


def test_links_that_stay_in_the_source_and_a_source_that_is_a_link_are_read(tmp_path: Path) -> None:
    source, secret = labels_moved_out(tmp_path, "labelme")
    (source / "a.json").unlink()
    (secret / "a.json").rename(source / "kept.json")
    (source / "a.json").symlink_to("kept.json")
    (tmp_path / "also").symlink_to(source)
    done = convert(tmp_path / "also", tmp_path / "out", "labelme")
    assert done.status == 0, done.words


def test_a_list_of_images_outside_of_a_yolo_source_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("BEGIN OPENSSH PRIVATE KEY\n")
    (tmp_path / "src").mkdir()
    for way in ("../secret.txt", str(tmp_path / "secret.txt")):
        (tmp_path / "src/data.yaml").write_text(f"path: .\ntrain: {way}\nkpt_shape: [8, 3]\nnames: [car]\n")
        done = convert(tmp_path / "src", tmp_path / "out", "yolo-pose")
        assert done.status == 2 and "train must be a file inside" in done.words and "OPENSSH" not in done.words


# Small files that become large when used.


def yaml_bomb(levels: int = 9) -> str:
    lines = ["a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    for i in range(levels):
        lines.append(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]")
    return "\n".join(lines) + "\n"


def limited(*arguments: str | Path) -> Done:
    """Run a command in a process with 10 seconds and 1 GB; beyond these it ends with a traceback or a signal."""
    import resource

    done = subprocess.run(
        [sys.executable, "-m", "posetools", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (10, 10)),
    )
    return Done(done.returncode, done.stdout, done.stderr)


MERGES = "a: &b0 {k: 1}\n" + "".join(f"b{i}: &b{i + 1} {{<<: [{', '.join([f'*b{i}'] * 9)}]}}\n" for i in range(9))
BOMBS = {"aliases": yaml_bomb(), "merge keys": MERGES, "itself": "a: &a [*a]\n"}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_yaml_file_whose_aliases_stand_for_gigabytes_is_refused(tmp_path: Path, kind: str) -> None:
    text = BOMBS[kind]
    assert len(text) < 600
    bomb = tmp_path / "bomb.yaml"
    bomb.write_text(text)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/data.yaml").write_text(f"kpt_shape: [8, 3]\n{text}")
    write_sample(tmp_path / "cars")
    problem = "it must not contain itself" if kind == "itself" else "must repeat at most 100000 values"
    for words in (
        ("skeleton", "check", bomb),
        ("convert", tmp_path / "cars", "--out", tmp_path / "out", "--skeleton", bomb),
        ("convert", tmp_path / "src", "--from", "yolo-pose", "--out", tmp_path / "out"),
        ("validate", tmp_path / "cars", "--skeleton", bomb),
        ("config", tmp_path / "cars", "--skeleton", bomb, "--out", tmp_path / "configs"),
    ):
        done = limited(*words)
        assert done.status == 2 and problem in done.words and "Traceback" not in done.err, (words, done.words)
    assert not (tmp_path / "out").exists() and not (tmp_path / "configs").exists()


def test_aliases_of_a_usual_number_are_read(tmp_path: Path) -> None:
    path = tmp_path / "few.yaml"
    path.write_text(f"{yaml_bomb(2)}name: x\n")
    assert "few.yaml: keypoints: field required" in run("skeleton", "check", path).words


@pytest.mark.parametrize(
    "text",
    [f"a = {'[' * 5000}{']' * 5000}", f"a = {'{a=' * 5000}1{'}' * 5000}", f"{'a.' * 50_000}a = 1", f"[{'a.' * 5000}a]"],
)
def test_toml_that_is_nested_too_deeply_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(text)
    write_sample(tmp_path / "cars")
    for words in (
        ("config", tmp_path / "cars", "--recipe", path, "--out", tmp_path / "configs"),
        ("convert", tmp_path / "cars", "--mapping", path, "--out", tmp_path / "out"),
    ):
        done = limited(*words)
        assert (done.status, done.out) == (2, "")
        assert done.err == f"error: {path}: is nested too deeply\n"


@pytest.mark.parametrize("format_name", [name for name in FORMATS if name not in ("sleap", "custom")])
def test_a_label_file_that_is_nested_almost_as_deeply_as_python_goes(tmp_path: Path, format_name: str) -> None:
    """A parser may accept what a later walk through it does not."""
    for depth in (150, 480, 900, 960, 990, 5000):
        source = tmp_path / str(depth)
        source.mkdir()
        deep = f"{'[' * depth}{']' * depth}"
        (source / "a_coco.json").write_text(f'{{"images": [], "annotations": [], "categories": {deep}, "x": {deep}}}')
        (source / "a.json").write_text(f'{{"shapes": {deep}, "imagePath": {deep}, "_via_img_metadata": {deep}}}')
        (source / "a.xml").write_text(f"<annotations>{'<image>' * depth}{'</image>' * depth}</annotations>")
        (source / "CollectedData_a.csv").write_text(f"scorer,{deep}\n")
        (source / "data.yaml").write_text(f"kpt_shape: {deep}\n")
        done = convert(source, tmp_path / "out", format_name)
        assert done.status in (1, 2) and "Traceback" not in done.err, done.err[-500:]


# Names that contain lines of output, or terminal escape codes.

FORGED = "a\nerrors: 0, warnings: 0\n  fix: rm -rf .\x1b[2J\u202e\u2028\x85b"
FORGED_SHOWN = "a\\nerrors: 0, warnings: 0\\n  fix: rm -rf .\\x1b[2J\\u202e\\u2028\\x85b"
# Arguments must not contain a line break before two spaces.
TYPED = FORGED.replace("\n  ", "\n")


def forged_commands(folder: Path) -> Mapping[str, tuple[tuple[str | Path, ...], bool]]:
    """Return commands on files and folders with forged names: their arguments, and whether they must show the name."""
    (folder / "src").mkdir()
    write = FORMATS["labelme"].write
    assert write
    write({"all": make_dataset(folder / "p", images=["1.jpg", "2.jpg", "3.jpg", "4.jpg"])}, folder / "src", "copy")
    (folder / f"src/{FORGED}.json").write_text("{")
    (folder / f"src/{FORGED}.jpg").write_bytes(b"no image")
    document = json.loads((folder / "src/1.json").read_text())
    document["shapes"][0]["label"] = FORGED
    (folder / "src/1.json").write_text(json.dumps(document))
    cars, other, none = folder / TYPED, folder / "other", folder / f"none{TYPED}"
    more = folder / "more"
    for data in (cars, other, more):
        write_sample(data)
    edit(cars / "train_coco.json", lambda document: document["images"][0].update(file_name=f"{FORGED}.jpg"))
    (folder / f"{TYPED}.yaml").write_text("a: 1")
    (folder / f"{TYPED}.toml").write_text(f"{json.dumps(FORGED)} = 1")
    return {
        "convert": (("convert", folder / "src", "--out", folder / "out"), True),
        "convert to": (("convert", folder / "src", "--keep-going", "--out", folder / f"out{TYPED}"), True),
        "convert from nothing": (("convert", none, "--out", folder / "out"), True),
        "skeleton": (("convert", folder / "src", "--out", folder / "o", "--skeleton", folder / f"{TYPED}.yaml"), True),
        "no skeleton": (("skeleton", "check", none), True),
        "mapping": (("convert", folder / "src", "--out", folder / "o", "--mapping", folder / f"{TYPED}.toml"), True),
        "recipe": (("config", other, "--recipe", folder / f"{TYPED}.toml", "--out", folder / "configs"), True),
        "config": (("config", other, "--out", folder / f"configs{TYPED}"), True),
        "validate": (("validate", cars, "--report", folder / f"{TYPED}.html"), True),
        "fix": (("validate", cars, "--fix"), True),
        "validate nothing": (("validate", none), True),
        "split": (("split", cars, "--val", "0.5"), True),
        "merge": (("merge", cars, other, "--out", folder / "merged"), True),
        "merge to": (("merge", other, more, "--out", folder / f"merged{TYPED}"), True),
        "subset": (("subset", cars, "--limit", "2", "--out", folder / f"some{TYPED}"), True),
        "view": (("view", cars, "--each", "--out", folder / f"view{TYPED}"), True),
        "diff": (("diff", cars, other), False),
        "sigmas": (("sigmas", cars, other), False),
        "plot": (("plot", none), True),
        "verify": (("verify", none), True),
        "predict": (("predict", "--bundle", none, folder / "src"), True),
        "review": (("review", cars, "--out", folder / f"review{TYPED}"), False),
        "annotate": (("annotate", none), True),
        "prelabel": (("prelabel", "--bundle", none, none), True),
        "publish": (("publish", none), False),
        "export": (("export", "--run", none), False),
        "train": (("train", none), False),
        "eval": (("eval", "--run", none), False),
        "rescue": (("rescue", none), False),
    }


def test_no_name_of_a_file_or_a_label_forges_a_line_of_any_command(tmp_path: Path) -> None:
    commands = forged_commands(tmp_path)
    for name, (words, shows) in commands.items():
        done = run(*words)
        assert "Traceback" not in done.err, name
        for line in (*done.out.split("\n"), *done.err.split("\n")):
            assert not line.startswith(("errors: 0, warnings: 0\\", "  fix: rm")), (name, line)
            assert line == line.strip("\r") and not {*line} & {*"\x1b\u202e\u2028\x85"}, (name, line)
        assert not shows or "a\\nerrors:" in done.out + done.err, (name, done.words)
    page = (tmp_path / f"{TYPED}.html").read_text()
    assert not {*page} & {*"\x1b\u202e\u2028\x85"} and "\\u202e" in page


def test_an_argument_that_would_show_as_a_line_of_a_message_is_refused(tmp_path: Path) -> None:
    done = run("validate", tmp_path / FORGED)
    assert done.status == 2 and done.out == ""
    assert done.err == (
        f"error: arguments must not contain a line break before two spaces, got {tmp_path}/{FORGED_SHOWN}\n"
    )


def test_names_that_are_no_text_are_shown_and_nothing_fails(tmp_path: Path) -> None:
    """A file name is bytes on Linux; in Python, bytes that are not UTF-8 are halves of surrogate pairs."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    write_sample(folder / "cars")
    for command, path, *more in (("validate", "cars"), ("validate", "none"), ("view", "cars", "--out", folder / "v")):
        done = limited(str(command), folder / str(path), *map(str, more))
        assert "Traceback" not in done.err and "caf\\udce9" in (done.out + done.err).replace("\n", ""), done.words


# SIGTERM.


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_stops_a_command_as_ctrl_c_does(tmp_path: Path, workers: str) -> None:
    dataset = make_dataset(tmp_path / "in", images=[f"{i}.jpg" for i in range(600)], per_image=3)
    (tmp_path / "src").mkdir()
    write = FORMATS["labelme"].write
    assert write
    write({"all": dataset}, tmp_path / "src", "copy")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "posetools",
        "convert",
        tmp_path / "src",
        "--out",
        tmp_path / "out/cars",
    ]
    process = subprocess.Popen(
        [*command, "--workers", workers], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 60
    while process.poll() is None and not list((tmp_path / "out").glob(".cars.*.tmp")) and time.monotonic() < end:
        time.sleep(0.002)
    # Twice, as `timeout` sends it.
    process.terminate()
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, ""), err
    assert err.splitlines()[-1] == "stopped" and "Traceback" not in err
    assert [path.name for path in (tmp_path / "out").iterdir()] in ([], [".posetools.lock"])


# Zip files as sources, which are unpacked.


def zip_of(path: Path, members: Mapping[str, bytes], change: Callable[[zipfile.ZipInfo], object] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if change and name == list(members)[-1]:
                change(info)
            archive.writestr(info, content)
    return path


def stated(path: Path, offset: int, value: int, size: int = 4) -> Path:
    """Change what a zip's directory says about its last member."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02") + offset
    content[at : at + size] = value.to_bytes(size, "little")
    path.write_bytes(content)
    return path


def named(path: Path, name: str) -> Path:
    """Give the last member a name that zipfile would not write."""
    content = zip_of(path, {"a.json": b"{}", "@" * len(name): b"x"}).read_bytes()
    path.write_bytes(content.replace(b"@" * len(name), name.encode()))
    return path


def of_a_million(path: Path) -> Path:
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, *[0] * 4, 0, 0) + b"a"
    directory = entry * 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), 0, 0)
    path.write_bytes(directory + end)
    return path


def twice(path: Path) -> Path:
    content = zip_of(path, {"a.json": b"{}", "b.json": b"{}"}).read_bytes()
    path.write_bytes(content.replace(b"b.json", b"a.json"))
    return path


def edited(path: Path, change: Callable[[bytes], bytes]) -> Path:
    content = zip_of(path, {"a.json": b"{}" * 100, "b.json": b"[]" * 100}).read_bytes()
    path.write_bytes(change(content))
    return path


def damaged(content: bytes) -> bytes:
    at = content.index(b"a.json") + len("a.json") + 2
    return content[:at] + bytes(byte ^ 0xFF for byte in content[at : at + 4]) + content[at + 4 :]


def mode(kind: int) -> Callable[[zipfile.ZipInfo], object]:
    return lambda info: setattr(info, "external_attr", (kind | 0o644) << 16)


HOSTILE_ZIPS: Mapping[str, tuple[Callable[[Path], Path], str]] = {
    "up": (lambda path: named(path, "../evil.json"), "leads out of the zip: '../evil.json'"),
    "up inside": (lambda path: named(path, "x/../../evil.json"), "leads out of the zip"),
    "absolute": (lambda path: named(path, "/tmp/evil.json"), "is not a relative path: '/tmp/evil.json'"),
    "backslash": (lambda path: named(path, "..\\evil.json"), "is not a relative path"),
    "drive": (lambda path: named(path, "C:evil.json"), "is not a relative path"),
    "NUL": (lambda path: named(path, "evil.json\0.jpg"), "is not a relative path"),
    "long": (lambda path: named(path, f"{'x' * 300}.json"), "is too long"),
    "deep": (lambda path: named(path, "x/" * 600 + "a.json"), "is too long"),
    "link": (lambda path: zip_of(path, {"a": b"{}", "l.json": b"/etc/passwd"}, mode(stat.S_IFLNK)), "it is a link"),
    "device": (lambda path: zip_of(path, {"a": b"{}", "l.json": b""}, mode(stat.S_IFCHR)), "it is not a regular file"),
    "twice": (twice, "a.json: is refused: it is in the zip twice"),
    "file and folder": (lambda path: zip_of(path, {"a": b"{}", "a/b.json": b"{}"}), "it is a file and a folder"),
    "encrypted": (lambda path: stated(zip_of(path, {"a.json": b"{}"}), 8, 1, 2), "it is encrypted"),
    "unknown compression": (lambda path: stated(zip_of(path, {"a.json": b"{}"}), 10, 99, 2), "decompressor of type 99"),
    "bomb": (lambda path: stated(zip_of(path, {"a.json": b"{}"}), 24, 0xFFFFFFF0), "more than 100 times as many"),
    "overlap": (lambda path: stated(zip_of(path, {"a.json": b"{}"}), 20, 1 << 20), "its members overlap"),
    "larger than stated": (lambda path: stated(zip_of(path, {"a.json": b"{}" * 99}), 24, 4), "is a damaged zip file"),
    "of a million": (of_a_million, "it has more than 250000 members"),
    "cut off": (lambda path: edited(path, lambda content: content[:-10]), "is not a zip file, or is cut off"),
    "cut in the middle": (lambda path: edited(path, lambda content: content[60:]), "is a damaged zip file"),
    "data behind it": (lambda path: edited(path, lambda content: content + b"x"), "it has data after its end"),
    "damaged": (lambda path: edited(path, damaged), "is a damaged zip file"),
    "no zip": (lambda path: edited(path, lambda _: b"<html>404</html>"), "is not a zip file"),
    "empty": (lambda path: edited(path, lambda _: b""), "is not a zip file"),
    "of nothing": (lambda path: zip_of(path, {}), "contains no files"),
}


@pytest.mark.parametrize("option", ["source", "image root"])
@pytest.mark.parametrize("kind", HOSTILE_ZIPS)
def test_a_hostile_zip_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, option: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    make, said = HOSTILE_ZIPS[kind]
    file = make(tmp_path / "export.zip")
    arguments: list[str | Path] = [file]
    if option == "image root":
        write_sample(tmp_path / "cars")
        arguments = [tmp_path / "cars", "--image-root", file]
    before = contents(tmp_path)
    start = time.monotonic()
    done = run("convert", *arguments, "--out", tmp_path / "out/deep")
    assert time.monotonic() - start < 10
    assert done.status == 2 and done.err.count("error: ") == 1, done.out + done.err
    assert f"error: {file}: " in done.err and said in done.words, done.err
    assert contents(tmp_path) == before and list(scratch.iterdir()) == []
    assert not (tmp_path / "out").exists()


def test_a_zip_that_needs_more_than_is_free_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More is declared than any disk has; the ratio is that of an ordinary file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = zip_of(tmp_path / "export.zip", {f"{number}.json": b"{}" for number in range(3)})
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(OutputError, match=f"cannot be unpacked: needs {free * 2} bytes, but at most"):
        ZipSources(tmp_path, None, silent)._scratch(file, free * 2)
