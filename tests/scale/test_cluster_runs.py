"""convert and validate on a Dask cluster: bytes and findings of this process, whatever becomes of a worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from posetools.checks.validate import validate
from posetools.formats.labelme import format as labelme
from posetools.formats.options import ReadOptions
from posetools.formats.yolo_pose import format as yolo_pose
from posetools.scale.cluster import Cluster
from tests.build import make_dataset
from tests.cli.run import run
from tests.coco_sample import edit, write_sample
from tests.converting import contents, convert_one, labelme_source, write_source

pytest.importorskip("distributed", reason="distributed is not installed: the extra `cluster`")

_NAMES = [f"{number:03}.jpg" for number in range(60)]


@pytest.fixture(autouse=True)
def short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (
        "posetools.formats.labelme.format",
        "posetools.formats.yolo_pose.format",
        "posetools.checks.images",
    ):
        monkeypatch.setattr(f"{module}.SHARD", 2)


def kill_a_worker(address: str) -> int:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        killed: int = min(client.run(os.getpid).values())
    os.kill(killed, signal.SIGKILL)
    return killed


def once(action: Callable[[], object]) -> Callable[[str, int, int], None]:
    """Return a Progress that acts when the first shard is done."""
    done: list[object] = []

    def progress(what: str, at: int, total: int) -> None:
        del total
        if not done and at and what.startswith(("reading", "checking")):
            done.append(action())

    return progress


def test_the_output_is_that_of_this_process(address: str, tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path, _NAMES)
    (source / "003.json").write_text("{")
    (source / "004.jpg").unlink()
    here = convert_one(source, tmp_path / "here", keep_going=True)
    there = convert_one(source, tmp_path / "there", keep_going=True, read=ReadOptions(engine=Cluster(address)))
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert here == there
    assert {"E310", "E121"} <= {finding.code for finding in there.findings}
    assert labelme.FORMAT.in_shards and yolo_pose.FORMAT.in_shards


def test_files_in_a_code_page_are_read_after_all_others(address: str, tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path, _NAMES)
    for number in range(0, 60, 7):
        path = source / f"{number:03}.json"
        path.write_bytes(path.read_bytes().replace(b'"imagePath"', b'"text": "sch\xf6n",\n"imagePath"'))
    here = convert_one(source, tmp_path / "here")
    there = convert_one(source, tmp_path / "there", read=ReadOptions(engine=Cluster(address)))
    assert [one.message[:25] for one in there.findings] == ["9 files are not UTF-8, in"]
    assert there.findings == here.findings
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_relative_paths_are_those_of_this_process(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = labelme_source(tmp_path, _NAMES[:10])
    (tmp_path / "more").mkdir()
    (source / "003.jpg").rename(tmp_path / "more" / "003.jpg")
    monkeypatch.chdir(tmp_path)
    read = ReadOptions(image_roots=(Path("more"),))
    here = convert_one(Path("src"), Path("here"), read=read)
    there = convert_one(Path("src"), Path("there"), read=replace(read, engine=Cluster(address)))
    assert here.written and here == there
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert validate(Path("here"), engine=Cluster(address)) == validate(Path("here"))


def test_yolo_pose_too(address: str, tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "pictures", images=_NAMES[:10])
    source = write_source(tmp_path / "src", "yolo-pose", {"train": dataset})
    convert_one(source, tmp_path / "here")
    convert_one(source, tmp_path / "there", read=ReadOptions(engine=Cluster(address)))
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_a_worker_that_is_killed_midway_changes_nothing(address: str, tmp_path: Path) -> None:
    from posetools.datasets.convert import ConvertRequest, convert

    source, _ = labelme_source(tmp_path, _NAMES)
    convert_one(source, tmp_path / "here")
    killed: list[int] = []
    request = ConvertRequest(sources=(source,), out=tmp_path / "there", read=ReadOptions(engine=Cluster(address)))
    assert convert(request, once(lambda: killed.append(kill_a_worker(address)))).written
    assert len(killed) == 1
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.parametrize("kill", [False, True])
def test_validation_finds_the_same(address: str, tmp_path: Path, kill: bool) -> None:
    cars = tmp_path / "cars"
    write_sample(cars)
    first = (cars / "images/a.jpg").read_bytes()
    for number in range(40):
        (cars / f"images/{number}.jpg").write_bytes(first if number < 20 else b"no image")
    listed = [{"id": 100 + n, "file_name": f"{n}.jpg", "width": 320, "height": 240} for n in range(41)]
    edit(cars / "val_coco.json", lambda document: document["images"].extend(listed))
    here = validate(cars)
    killing = once(lambda: kill_a_worker(address) if kill else None)
    assert validate(cars, engine=Cluster(address), progress=killing) == here
    assert {"E121", "E122", "E126"} <= {finding.code for finding in here.findings}


def test_from_the_command_line(address: str, tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path, _NAMES[:10])
    here = run("convert", source, "--out", tmp_path / "here")
    done = run("convert", source, "--out", tmp_path / "there", "--cluster", address)
    assert (done.status, here.status) == (0, 0)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert run("validate", tmp_path / "there", "--cluster", address).out == run("validate", tmp_path / "there").out


def test_options_that_exclude_one_another(tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path)
    said = "error: --workers must be left out with --cluster, which has its own workers, got 2\n"
    commands: list[list[str | Path]] = [["convert", source, "--out", tmp_path / "out"], ["validate", source]]
    for command in commands:
        done = run(*command, "--workers", "2", "--cluster", "tcp://127.0.0.1:1")
        assert (done.status, done.err) == (2, said)


def test_what_is_not_read_in_shards_is_refused(tmp_path: Path) -> None:
    write_sample(tmp_path / "cars")
    done = run("convert", tmp_path / "cars", "--out", tmp_path / "out", "--cluster", "tcp://127.0.0.1:1")
    said = "error: --cluster must be left out with --from coco: only labelme, yolo-pose are read in shards\n"
    assert (done.status, done.err) == (2, said)
    assert not (tmp_path / "out").exists()
