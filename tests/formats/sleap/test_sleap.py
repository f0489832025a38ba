"""SLEAP's .slp files, written and read by sleap-io: round trips, and every way to break one."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.core.dataset import Dataset
from posetools.core.skeleton import load_skeleton
from posetools.errors import InputError, MissingExtraError, RequestError
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult
from posetools.formats.sleap import format as sleap
from tests.build import make_dataset, make_image
from tests.formats.deeplabcut.test_deeplabcut import visible
from tests.formats.deeplabcut.test_hdf5 import strange_floats

CAR8 = load_skeleton("car8")
ONE, TWO = CAR8.names[:2]
HAS_SLEAP = importlib.util.find_spec("sleap_io") is not None
needs_sleap = pytest.mark.skipif(not HAS_SLEAP, reason="needs the extra sleap (sleap-io)")


def read(source: Path, **options: Any) -> ReadResult:
    given = {"assume_visible": True, "box_from": "keypoints", "box_margin": 0.0, **options}
    return sleap.FORMAT.read([source], CAR8, ReadOptions(**given))


def save(
    folder: Path, change: Callable[[Any, Any], None] | None = None, *, nodes: tuple[str, ...] = (ONE, TWO)
) -> Path:
    import sleap_io as sio

    for name in ("a.png", "b.png"):
        make_image(folder / name)
    skeleton = sio.Skeleton(nodes=list(nodes), name="car")
    with contextlib.chdir(folder):
        video = sio.Video.from_filename(["a.png", "b.png"])
    points = np.array([[10.5, 20], [60, 80]])
    frame = sio.LabeledFrame(video=video, frame_idx=0, instances=[sio.Instance.from_numpy(points, skeleton=skeleton)])
    labels = sio.Labels(labeled_frames=[frame], videos=[video], skeletons=[skeleton])
    if change:
        change(labels, sio)
    with contextlib.chdir(folder):
        sio.save_slp(labels, "labels.slp", verbose=False)
    return folder / "labels.slp"


@pytest.mark.skipif(HAS_SLEAP, reason="the extra sleap is installed")
def test_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.slp").touch()
    with pytest.raises(MissingExtraError, match="reading SLEAP files needs the 'sleap' extra"):
        read(tmp_path)
    with pytest.raises(MissingExtraError, match="writing SLEAP files needs the 'sleap' extra"):
        sleap.write({"train": make_dataset(tmp_path / "in")}, tmp_path / "out", "copy")


def test_signs_and_options(tmp_path: Path) -> None:
    assert not sleap.detect(tmp_path)
    path = tmp_path / "labels.slp"
    path.touch()
    assert sleap.detect(tmp_path) and sleap.detect(path)
    with pytest.raises(RequestError, match=r"SLEAP has no occluded points\n  fix: --assume-visible"):
        read(path, assume_visible=False)
    with pytest.raises(RequestError, match=r"a folder with SLEAP's \.slp files, got 'none in it'"):
        read(make_image(tmp_path / "other/a.jpg").parent)


@needs_sleap
def test_read_gives_back_the_points_that_write_wrote(tmp_path: Path) -> None:
    names = ["a.jpg", "sub/a.jpg", "sub/deep er/ü.jpg"]
    dataset = make_dataset(tmp_path / "in", images=names, per_image=2, seed=3)
    (tmp_path / "made").mkdir()
    sleap.write({"train": dataset}, tmp_path / "made", "copy")
    # As in convert: the folder is moved into place when everything is written.
    (tmp_path / "made").rename(tmp_path / "out")
    result = read(tmp_path / "out")
    assert result.findings == () and result.files == 1
    assert result.dataset == visible(dataset)


@needs_sleap
def test_an_instance(tmp_path: Path) -> None:
    result = read(save(tmp_path))
    assert result.findings == () and result.dataset.boxes.tolist() == [[10.5, 20, 60, 80]]
    assert result.dataset.keypoints[0, :2].tolist() == [[10.5, 20, 2], [60, 80, 2]]
    assert str(result.dataset.origins[0]).endswith("labels.slp: labeled_frames[0]")
    assert [finding.code for finding in read(tmp_path).findings] == ["W322"], "b.png has no frame"
    boxless = read(save(tmp_path), box_from="annotation")
    assert [finding.code for finding in boxless.findings] == ["E306"] and len(boxless.dataset) == 0


@needs_sleap
def test_nodes_by_name(tmp_path: Path) -> None:
    path = save(tmp_path, nodes=("nose", TWO))
    assert sorted(finding.code for finding in read(path).findings) == ["E301", "W333"]
    assert read(path, names={"nose": ONE}).findings == ()
    ignored = read(path, ignore=frozenset({"nose"}))
    assert ignored.ignored == {"nose": 1} and [finding.code for finding in ignored.findings] == ["W333"]


def _unseen(labels: Any, _: Any) -> None:
    labels.labeled_frames[0].instances[0].points["visible"][0] = False


def _predict(labels: Any, sio: Any) -> None:
    frame = labels.labeled_frames[0]
    points = np.array([[1.0, 2], [3, 4]])
    frame.instances.append(sio.PredictedInstance.from_numpy(points, skeleton=labels.skeletons[0]))


def _beyond(labels: Any, _: Any) -> None:
    labels.labeled_frames[0].frame_idx = 5


def _far(labels: Any, _: Any) -> None:
    labels.labeled_frames[0].instances[0].points["xy"][0] = (np.inf, 1e300)


def _elsewhere(labels: Any, _: Any) -> None:
    labels.videos[0].backend.filename = ["c.png", "d.png"]
    labels.videos[0].backend_metadata["shape"] = [2, 240, 320, 3]


@needs_sleap
@pytest.mark.parametrize(
    ("change", "codes", "said"),
    [
        (_unseen, ["W323", "W333"], "1 points not visible in SLEAP were read as not labeled"),
        (_far, ["E311", "W333"], f"{ONE} (x, y) must be two numbers of at most 1000000 px, got [inf, 1e+300]"),
        (_predict, ["W323"], "1 predicted instances are no labels: left out"),
        (_beyond, ["E121"], "a sequence of image files that has the frame, got 5 (1 instances left out)"),
        (_elsewhere, ["E121"], "an existing image, got 'c.png' (1 instances left out)"),
    ],
)
def test_ways_to_break_one(tmp_path: Path, change: Callable[[Any, Any], None], codes: list[str], said: str) -> None:
    result = read(save(tmp_path, change))
    assert sorted(finding.code for finding in result.findings) == codes
    assert any(said in finding.message for finding in result.findings), result.findings


@needs_sleap
def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "labels.slp").write_text("nothing")
    result = read(tmp_path)
    assert [finding.code for finding in result.findings] == ["E310"]


@needs_sleap
def test_an_edge_of_no_type(tmp_path: Path) -> None:
    import h5py

    path = save(tmp_path)
    with h5py.File(path, "r+") as file:
        metadata = json.loads(file["metadata"].attrs["json"])
        metadata["skeletons"][0]["links"] = [{"source": 0, "target": 1, "type": {}}]
        file["metadata"].attrs["json"] = json.dumps(metadata).encode()
    (finding,) = (one for one in read(tmp_path).findings if one.code == "E310")
    assert finding.file == str(path) and "is not a file that sleap-io can read: " in finding.message


@needs_sleap
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: replace(d, iscrowd=np.array([True, False, False, False])), "SLEAP has no crowds"),
        (lambda d: replace(d, keypoints=d.keypoints * 0), "one with a labeled keypoint, as SLEAP holds only keypoints"),
    ],
)
def test_what_it_cannot_hold_is_refused(tmp_path: Path, change: Callable[[Dataset], Dataset], said: str) -> None:
    with pytest.raises(InputError, match=said):
        sleap.write({"train": change(make_dataset(tmp_path / "in"))}, tmp_path / "out", "copy")
    assert not (tmp_path / "out").exists()


@needs_sleap
def test_numbers_that_h5py_would_write_beyond_their_array(tmp_path: Path) -> None:
    path = save(tmp_path)
    refused = []
    for content in list(strange_floats(path.read_bytes())):
        path.write_bytes(content)
        refused += [one for one in read(path).findings if "numbers that fit in no array" in one.message]
    assert {(one.code, one.file, one.place) for one in refused} == {
        ("E310", str(path), name) for name in ("points", "pred_points")
    }


@needs_sleap
def test_an_array_that_is_larger_than_any_memory(tmp_path: Path) -> None:
    import h5py

    path = save(tmp_path)
    with h5py.File(path, "r+") as file:
        del file["tracks_json"]
        file.create_dataset("tracks_json", shape=(1 << 54,), maxshape=(None,), dtype=h5py.string_dtype())
    (finding,) = (one for one in read(tmp_path).findings if one.code == "E310")
    assert (finding.file, finding.place) == (str(path), "tracks_json")
    assert "the most that the file can hold" in finding.message


@needs_sleap
def test_a_damaged_file_and_a_pipe(tmp_path: Path) -> None:
    content = save(tmp_path).read_bytes()
    path = tmp_path / "labels.slp"
    for place in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:place] + b"\xff" * 8 + content[place + 8 :])
        read(path)
    path.unlink()
    os.mkfifo(path)
    (finding,) = (one for one in read(tmp_path).findings if one.code == "E310")
    assert (finding.file, finding.message) == (str(path), "must be a regular file")
