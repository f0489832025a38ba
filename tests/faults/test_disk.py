"""A full disk, read-only folders and unreadable files: one sentence, nothing lost, status 2."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from posetools.errors import PosetoolsError
from tests.build import make_dataset
from tests.converting import contents, labelme_source, write_source

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tmpfs and users without write access need Linux here")

# From the Linux headers.
_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2
_FULL = "No space left on device"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Create a file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def _fill(disk: Path, leave: int = 0) -> None:
    with (disk / "filler").open("wb", buffering=0) as file:
        with suppress(OSError):
            while file.write(b"\0" * 4096):
                pass
        file.truncate(max(file.tell() - leave, 0))


def _may_no_more_than_others() -> None:
    """Make root, in a child before it runs a program, respect file modes."""
    library = ctypes.CDLL(None)
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        library.prctl(_PR_CAPBSET_DROP, capability)


def _run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "posetools", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=_may_no_more_than_others)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _is_one_sentence(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == PosetoolsError.exit_status, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def _data(folder: Path, number: int = 8) -> Path:
    whole = make_dataset(folder / "p", images=[f"{i}.jpg" for i in range(number)])
    splits = {"train": whole.select_images(range(number - 2)), "val": whole.select_images([number - 2, number - 1])}
    return write_source(folder / "data", "coco", splits)


def _other(folder: Path) -> Path:
    dataset = make_dataset(folder / "q", images=["z.jpg"], size=(96, 64))
    return write_source(folder / "other", "coco", {"train": dataset})


def test_a_full_disk_while_converting(small_disk: Path, tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path)
    _fill(small_disk, leave=8192)
    done = _run("convert", source, "--out", small_disk / "out")
    _is_one_sentence(done, str(small_disk), _FULL)
    assert _names(small_disk) == ["filler"]


def test_a_full_disk_while_a_data_set_is_replaced(small_disk: Path, tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path)
    assert _run("convert", source, "--out", small_disk / "out").returncode == 0
    before = contents(small_disk / "out")
    _fill(small_disk, leave=4096)
    done = _run("convert", source, "--out", small_disk / "out", "--overwrite", "--seed", "3")
    _is_one_sentence(done, str(small_disk), _FULL)
    assert contents(small_disk / "out") == before
    assert _names(small_disk) == ["filler", "out"]


@pytest.mark.parametrize(
    "words",
    [
        ("split", "{data}", "--val", "0.5"),
        ("validate", "{data}", "--fix"),
        ("validate", "{data}", "--json", "{disk}/found.json"),
    ],
)
def test_a_full_disk_while_files_are_replaced(small_disk: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    data = shutil.copytree(_data(tmp_path), small_disk / "data")
    for split in ("train", "val"):
        path = data / f"{split}_coco.json"
        path.write_text(path.read_text().replace('"iscrowd":0,', ""))
    before = contents(data)
    _fill(small_disk)
    done = _run(*(word.format(data=data, disk=small_disk) for word in words))
    _is_one_sentence(done, str(small_disk), _FULL)
    assert contents(data) == before
    (small_disk / "filler").unlink()
    assert _names(small_disk) == ["data"]


@pytest.mark.parametrize("command", ["merge", "subset"])
def test_a_full_disk_while_a_data_set_is_made_of_others(small_disk: Path, tmp_path: Path, command: str) -> None:
    data = _data(tmp_path)
    (tmp_path / "more").mkdir()
    other = write_source(
        tmp_path / "other", "coco", {"train": make_dataset(tmp_path / "q", images=["z.jpg"], size=(96, 64))}
    )
    _fill(small_disk, leave=4096)
    words = (data, other) if command == "merge" else (data, "--limit", "6")
    done = _run(command, *words, "--out", small_disk / "out")
    _is_one_sentence(done, str(small_disk), _FULL)
    assert _names(small_disk) == ["filler"]


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """Create a data set, and a second one next to it, in read-only folders."""
    data = _data(tmp_path / "home")
    for split in ("train", "val"):
        path = data / f"{split}_coco.json"
        path.write_text(path.read_text().replace('"iscrowd":0,', ""))
    _other(tmp_path / "home")
    folders = [tmp_path / "home", *(path for path in (tmp_path / "home").rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield data
    for folder in folders:
        folder.chmod(0o755)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("split", "{data}", "--val", "0.5"), "{data}"),
        (("validate", "{data}", "--fix"), "{data}"),
        (("convert", "{data}", "--out", "{home}/out"), "{home}/out"),
        (("merge", "{data}", "{home}/other", "--out", "{home}/out"), "{home}/out"),
        (("subset", "{data}", "--limit", "4", "--out", "{home}/out"), "{home}/out"),
        (("validate", "{data}", "--json", "{home}/found.json"), "{home}/found.json"),
        (("validate", "{data}", "--report", "{home}/page.html"), "{home}/page.html"),
    ],
)
def test_a_folder_that_may_not_be_written(read_only: Path, words: tuple[str, ...], named: str) -> None:
    home = read_only.parent
    before = contents(home)
    done = _run(*(word.format(data=read_only, home=home) for word in words))
    _is_one_sentence(done, named.format(data=read_only, home=home), "Permission denied")
    assert contents(home) == before


@pytest.mark.parametrize("name", ["train_coco.json", "images/0.jpg", "images"])
def test_what_may_not_be_read_is_found(tmp_path: Path, name: str) -> None:
    data = _data(tmp_path)
    mode = (data / name).stat().st_mode
    (data / name).chmod(0)
    done = _run("validate", data)
    (data / name).chmod(mode)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr, done.stderr
    assert name.rpartition("/")[2] in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["a.json", "deep", "b.jpg"])
def test_a_source_that_may_not_be_read_loses_nothing(tmp_path: Path, name: str) -> None:
    source, _ = labelme_source(tmp_path)
    (source / "deep").mkdir()
    mode = (source / name).stat().st_mode
    (source / name).chmod(0)
    done = _run("convert", source, "--out", tmp_path / "out")
    (source / name).chmod(mode)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode in (1, 2) and "Traceback" not in said
    assert name in said and "Permission denied" in said
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))
