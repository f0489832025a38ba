"""predict, prelabel and eval of a bundle in several processes and on a Dask cluster: the bytes of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from posetools import PosePipeline
from posetools.core.dataset import DatasetBuilder, Image
from posetools.core.folder import IMAGES, ann_file
from posetools.core.place import Origin
from posetools.core.skeleton import Category, dump_skeleton
from posetools.formats.coco.format import write_split
from posetools.runtime.bundle import write_bundle
from tests.cli.run import run
from tests.clustering import ROOT
from tests.converting import contents
from tests.runtime.tiny import SKELETON, image, parts, png
from tests.scale.test_cluster_runs import kill_a_worker

pytest.importorskip("distributed", reason="distributed is not installed: the extra `cluster`")

IMAGES_OF_KILLS = 240
FISH = SKELETON.model_copy(update={"name": "fish3", "category": Category(name="fish")})
# One process that draws nothing.
ALONE = ("--format", "jsonl", "--save-predictions", "--threads", "1")
WRITTEN = ("predictions.json", "results_coco.json")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a bundle that detects fish."""
    path = tmp_path_factory.mktemp("bundle") / "fish.zip"
    manifest, files = parts(classes=("fish", "van"))
    write_bundle(path, manifest.model_copy(update={"skeleton": FISH}), files)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 42 images of fish, and one that cannot be read."""
    return write_photos(tmp_path_factory.mktemp("photos") / "photos", 43, broken=7)


@pytest.fixture(scope="module")
def here(bundle: Path, photos: Path) -> Path:
    """Return what one process with one thread writes."""
    out = photos.parent / "here"
    done = run("predict", photos, "--bundle", bundle, "--output-root", out, "--save-predictions", "--threads", "1")
    assert done.status == 1 and "007.png: image cannot be read" in done.out
    return out


def write_photos(folder: Path, number: int, broken: int = -1) -> Path:
    (folder / "sub").mkdir(parents=True)
    for seed in range(number):
        name = f"sub/{seed:03}.png" if seed % 3 == 1 and seed != broken else f"{seed:03}.png"
        (folder / name).write_bytes(b"no image" if seed == broken else png(image(seed)))
    return folder


def several(way: str, address: str) -> tuple[str, ...]:
    return ("--workers", "2", "--threads", "1") if way == "workers" else ("--cluster", address)


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "posetools", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )


def until(done: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not done():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def assert_same(out: Path, expected: Path) -> None:
    for name in WRITTEN:
        assert (out / name).read_bytes() == (expected / name).read_bytes()


@pytest.mark.parametrize("way", ["workers", "cluster"])
def test_predictions_are_those_of_one_process(
    way: str, address: str, bundle: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Problems name a relative path as it was typed, also from a worker in another folder.
    monkeypatch.chdir(photos.parent)
    out = tmp_path / "out"
    alone = run("predict", "photos", "--bundle", bundle, "--output-root", tmp_path / "alone", "--save-predictions")
    done = run(
        "predict", "photos", "--bundle", bundle, "--output-root", out, "--save-predictions", *several(way, address)
    )
    assert (done.status, alone.status) == (1, 1), done.err
    assert_same(out, tmp_path / "alone")
    assert "problem: photos/007.png: image cannot be read" in done.out
    lines = [
        json.loads(line) for path in sorted((out / "shards").glob("*.jsonl")) for line in path.read_text().splitlines()
    ]
    assert [line["file_name"] for line in lines] == [
        image["file_name"] for image in json.loads((out / "predictions.json").read_text())["pictures"]
    ]
    # All digits: a user who reads the lines loses nothing.
    first = PosePipeline.from_bundle(bundle)(photos / lines[0]["file_name"])
    assert [one["box"] for one in lines[0]["instances"]] == first.boxes.tolist() != []
    points = [list(one["keypoints"].values()) for one in lines[0]["instances"]]
    assert points == first.keypoints.tolist()
    assert not list(out.glob("*.png"))


def test_a_second_call_does_nothing_again_and_another_one_is_not_mixed_in(
    bundle: Path, photos: Path, here: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    call = ("predict", photos, "--bundle", bundle, "--output-root", out, "--format", "jsonl", "--threads", "1")
    assert run(*call).status == 1
    before = {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    again = run(*call, "--save-predictions")
    assert "11 of 11 shards were there already" in again.words
    assert {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()} == before
    assert_same(out, here)
    other = write_photos(tmp_path / "photos", 3)
    manifest, files = parts(classes=("fish", "van"), score_thr=0.61)
    write_bundle(tmp_path / "other.zip", manifest.model_copy(update={"skeleton": FISH}), files)
    changed: tuple[tuple[list[str | Path], str], ...] = (
        ([*call, "--bbox-thr", "0.9"], "thresholds must be"),
        ([*call[:-1], "2"], "threads must be 2"),
        ([*call[:1], other, *call[2:]], "images must be 3"),
        ([*call[:3], tmp_path / "other.zip", *call[4:]], "bundle_sha256 must be"),
        ([*call, "--format", "parquet"], "format must be"),
    )
    for arguments, said in changed:
        if "parquet" in arguments:
            pytest.importorskip("pyarrow")
        refused = run(*arguments)
        assert refused.status == 2 and f"manifest.json: {said}" in refused.err
        assert "fix: choose another folder for the output, or remove" in refused.err
    assert {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()} == before


def test_a_missing_shard_is_predicted_and_a_changed_one_refused(
    bundle: Path, photos: Path, here: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = ("predict", photos, "--bundle", bundle, "--output-root", out, "--threads", "1", "--save-predictions")
    call = (*first, "--format", "jsonl")
    run(*call)
    (out / "shards" / "000003.jsonl").unlink()
    assert "10 of 11 shards were there already" in run(*call).words
    assert_same(out, here)
    for text in ("", "{", '{"file_name": "000.png", "width": 1, "height": 1, "instances": []}\n' * 4):
        (out / "shards" / "000003.jsonl").write_text(text)
        done = run(*call)
        assert done.status == 2 and "000003.jsonl: must be as it was written, but was changed" in done.err


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("many") / "many", IMAGES_OF_KILLS, broken=100)


@pytest.fixture(scope="module")
def many_here(bundle: Path, many: Path) -> Path:
    """Return what one process writes for them."""
    out = many.parent / "here"
    assert run("predict", many, "--bundle", bundle, "--output-root", out, *ALONE).status == 1
    return out


def written(out: Path) -> list[Path]:
    return sorted((out / "shards").glob("*.jsonl"))


def test_a_worker_that_is_killed_midway_changes_nothing(
    address: str, bundle: Path, many: Path, many_here: Path, tmp_path: Path
) -> None:
    call = ("predict", many, "--bundle", bundle, "--save-predictions", "--output-root")
    process = start(*call, tmp_path / "out", "--cluster", address)
    until(lambda: len(written(tmp_path / "out")) > 3, process)
    kill_a_worker(address)
    there = len(written(tmp_path / "out"))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert there < len(written(tmp_path / "out")) == 60, "it was killed midway"
    assert_same(tmp_path / "out", many_here)
    assert "Traceback" not in err and "problem: " in out


@pytest.mark.parametrize("way", ["workers", "cluster"])
def test_a_killed_command_is_continued(
    way: str, address: str, bundle: Path, many: Path, many_here: Path, tmp_path: Path
) -> None:
    call = ("predict", many, "--bundle", bundle, "--save-predictions", "--output-root")
    out = tmp_path / "out"
    process = start(*call, out, *several(way, address))
    until(lambda: len(written(out)) > 3, process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    there = {path: path.stat().st_mtime_ns for path in written(out)}
    assert 3 < len(there) < 60
    done = run(*call, out, *several(way, address))
    assert done.status == 1, done.err
    assert f"{len(there)} of 60 shards were there already" in done.words
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert_same(out, many_here)


def test_parquet_has_the_same_numbers(bundle: Path, photos: Path, here: Path, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "out"
    call = ("predict", photos, "--bundle", bundle, "--output-root", out, "--save-predictions", "--format", "parquet")
    done = run(*call, "--workers", "2")
    assert done.status == 1, done.err
    assert_same(out, here)
    rows = [row for path in sorted((out / "shards").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert [row["problem"] is None for row in rows] == [row["file_name"] != "007.png" for row in rows]
    found = PosePipeline.from_bundle(bundle)(photos / rows[0]["file_name"])
    assert [one["box"] for one in rows[0]["instances"]] == found.boxes.tolist()
    scores = [dict(one["keypoint_scores"]) for one in rows[0]["instances"]]
    assert scores == [dict(zip(FISH.names, row, strict=True)) for row in found.keypoint_scores.tolist()]


@pytest.mark.parametrize("way", ["workers", "cluster"])
def test_labelme_files_are_those_of_one_process(way: str, address: str, bundle: Path, tmp_path: Path) -> None:
    folders = [write_photos(tmp_path / name / "fish", 22, broken=5) for name in ("alone", "several")]
    alone = run("prelabel", folders[0], "--bundle", bundle, "--threads", "1")
    done = run("prelabel", folders[1], "--bundle", bundle, *several(way, address))
    assert (alone.status, done.status) == (1, 1), done.err
    assert "wrote 21 labelme files" in done.words
    assert contents(folders[1]) == contents(folders[0])
    shapes = json.loads((folders[1] / "000.json").read_text())["shapes"]
    assert {shape["label"] for shape in shapes} == {"fish", *FISH.names}
    # A file that a person saved stays, and the others are written again.
    (folders[1] / "000.json").write_text(json.dumps(json.loads((folders[1] / "000.json").read_text())))
    again = run("prelabel", folders[1], "--bundle", bundle, *several(way, address))
    assert "20 updated); kept 1 saved by a person" in again.words


@pytest.fixture
def data(bundle: Path, tmp_path: Path) -> Iterator[Path]:
    """Give a data set of fish that the bundle detects, off by some pixels, and one that it misses."""
    folder, builder, pipeline = tmp_path / "fish", DatasetBuilder(FISH), PosePipeline.from_bundle(bundle)
    (folder / IMAGES).mkdir(parents=True)
    for seed in range(30):
        name = f"{seed:02}.png"
        (folder / IMAGES / name).write_bytes(png(image(seed)))
        builder.add_image(Image(name, 192, 128))
        found = pipeline(image(seed))
        for box, points in zip(found.boxes, found.keypoints, strict=True):
            keypoints = np.column_stack([points + seed % 5, np.full(3, 1 + seed % 2)])
            builder.add_instance(name, box=box, keypoints=keypoints, origin=Origin(name))
    lost = np.column_stack([np.array([[2.0, 2.0], [6.0, 6.0], [12.0, 3.0]]), np.full(3, 1)])
    builder.add_instance(name, box=np.array([1.0, 1.0, 15.0, 9.0]), keypoints=lost, origin=Origin(name))
    dataset = builder.build()
    write_split(dataset, ann_file(folder, "val"))
    write_split(dataset.select_images(range(9)), ann_file(folder, "train"))
    (folder / "skeleton.yaml").write_text(dump_skeleton(FISH), encoding="utf-8")
    yield folder


@pytest.mark.parametrize("way", ["workers", "cluster"])
def test_an_evaluation_measures_the_same(
    way: str, address: str, bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    call = ("eval", "--bundle", bundle, "--data", "fish", "--json")
    alone = run(*call, tmp_path / "alone.json", "--threads", "1")
    done = run(*call, tmp_path / "several.json", *several(way, address))
    assert (alone.status, done.status) == (0, 0), done.err
    assert (tmp_path / "several.json").read_bytes() == (tmp_path / "alone.json").read_bytes()
    assert done.out == alone.out


@pytest.mark.parametrize("way", ["workers", "cluster"])
def test_near_duplicates_are_the_same(way: str, address: str, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("imagehash", reason="the leaks extra is not installed")
    # The same pixels in another file: W221 across splits.
    document: dict[str, Any] = json.loads(ann_file(data, "val").read_text())
    first = document["images"][0]
    copy = COCO(str(ann_file(data, "val"))).imgs[first["id"]] | {"id": 999, "file_name": "again.png"}
    (data / IMAGES / "again.png").write_bytes((data / IMAGES / first["file_name"]).read_bytes() + b" ")
    ann_file(data, "val").write_text(json.dumps({**document, "images": [*document["images"], copy]}))
    call = ("validate", data, "--near-duplicates", "--json")
    alone = run(*call, tmp_path / "alone.json")
    options = several(way, address)[:2]
    done = run(*call, tmp_path / "several.json", *options)
    assert (tmp_path / "several.json").read_bytes() == (tmp_path / "alone.json").read_bytes()
    assert (done.status, done.out) == (alone.status, alone.out)
    counts = json.loads((tmp_path / "several.json").read_text())["counts"]
    assert counts["W221"]
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: the extra `cluster`")
    system = fsspec.filesystem("memory")
    system.put(str(data), "/bucket/fish", recursive=True)
    run("validate", "memory://bucket/fish", "--near-duplicates", "--json", tmp_path / "there.json")
    assert json.loads((tmp_path / "there.json").read_text())["counts"] == counts
    system.rm("/bucket", recursive=True)


def test_images_at_a_url(bundle: Path, photos: Path, here: Path, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: the extra `cluster`")
    system = fsspec.filesystem("memory")
    for path in photos.rglob("*.png"):
        system.pipe_file(f"memory://bucket/photos/{path.relative_to(photos).as_posix()}", path.read_bytes())
    system.pipe_file("memory://bucket/photos/.hidden.png", b"")
    call = ("predict", "--bundle", bundle, "--save-predictions", "--output-root")
    drawn = run(*call, tmp_path / "drawn", "memory://bucket/photos")
    shards = run(*call, tmp_path / "shards", "memory://bucket/photos/**/*.png", "--format", "jsonl")
    assert (drawn.status, shards.status) == (1, 1), (drawn.err, shards.err)
    assert_same(tmp_path / "shards", tmp_path / "drawn")
    assert "problem: memory://bucket/photos/007.png: image cannot be read" in shards.out
    there, local = (json.loads((out / "predictions.json").read_text()) for out in (tmp_path / "drawn", here))
    for document in (there, local):
        document["pictures"] = [one | {"problem": ""} for one in document["pictures"]]
    assert there == local
    copied = run(
        "predict",
        "--bundle",
        bundle,
        "memory://bucket/photos/0*.png",
        "--format",
        "labelme",
        *call[-1:],
        tmp_path / "l",
    )
    assert (tmp_path / "l" / "000.json").is_file() and (tmp_path / "l" / "000.png").is_file(), copied.err
    refused = run("prelabel", "memory://bucket/photos", "--bundle", bundle)
    assert refused.status == 2 and "must be a local folder: labelme files are written next to the images" in refused.err
    system.rm("memory://bucket", recursive=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "2"], "--format jsonl requires --output-root DIR"),
        (["--workers", "2", "--cluster", "tcp://127.0.0.1:1"], "--workers must be left out with --cluster"),
        (
            ["--cluster", "tcp://127.0.0.1:1", "--format", "drawn"],
            "--format must be jsonl or parquet with --workers or --cluster",
        ),
        (["--workers", "2", "--format", "labelme"], "--format must be jsonl or parquet with --workers or --cluster"),
        (["--workers", "2", "--show", "--output-root", "out"], "--show cannot be combined with --format jsonl"),
        (["--workers", "2", "--radius", "3", "--output-root", "out"], "--radius cannot be combined with"),
        (
            ["--cluster", "tcp://127.0.0.1:1", "--output-root", "out"],
            "--cluster must be the address of a Dask scheduler",
        ),
    ],
)
def test_what_is_not_possible_is_refused(
    bundle: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("predict", photos, "--bundle", bundle, *options)
    assert done.status == 2 and said in done.err
    assert not list(tmp_path.rglob("*.json*")) or "manifest.json" in str(list(tmp_path.rglob("*.json")))


def test_several_processes_need_a_bundle_and_images(bundle: Path, photos: Path, tmp_path: Path) -> None:
    for command in (("predict", photos), ("prelabel", photos), ("eval",)):
        done = run(*command, "--run", tmp_path, "--workers", "2")
        assert done.status == 2 and "--workers requires --bundle ZIP" in done.err
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"")
    done = run("predict", "0", "--bundle", bundle, "--workers", "2", "--output-root", tmp_path / "out")
    assert done.status == 2
