"""SLEAP's packages and videos as sleap-io writes them: labeled frames become images, pixel by pixel."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.core.skeleton import Skeleton, read_skeleton
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult
from posetools.formats.sleap import format as sleap
from posetools.formats.sources.scratch import scratch_folder
from posetools.imaging.video import new_video
from tests.cli.run import Done, run

HAS_ALL = all(importlib.util.find_spec(name) for name in ("sleap_io", "cv2"))
pytestmark = pytest.mark.skipif(not HAS_ALL, reason="needs the extras sleap and runtime (sleap-io, OpenCV)")

SIZE = (96, 64)
NODES = ("head", "left_wing", "right_wing")
POINTS = np.array([[20.5, 10], [50, 40], [60, 20]])
OPTIONS = ("--assume-visible", "--box-from", "keypoints")
# The labeled frames, of twelve.
LABELED = (3, 7)


def make_video(path: Path, *, frames: int = 12, seed: int = 0, size: tuple[int, int] = SIZE) -> Path:
    """Write a color video in which every frame is different."""
    random = np.random.default_rng(seed)
    with new_video(path, 10, size) as writer:
        for _ in range(frames):
            small = random.integers(0, 255, (4, 6, 3), dtype=np.uint8)
            writer.write(np.array(Pillow.fromarray(small).resize(size)))
    return path


def make_labels(video: Any, *, labeled: tuple[int, ...] = LABELED) -> Any:
    import sleap_io as sio

    video = sio.Video.from_filename(str(video) if isinstance(video, Path) else [str(path) for path in video])
    skeleton = sio.Skeleton(nodes=list(NODES), name="fly")
    frames = [
        sio.LabeledFrame(video=video, frame_idx=at, instances=[sio.Instance.from_numpy(POINTS + at, skeleton=skeleton)])
        for at in labeled
    ]
    return sio.Labels(labeled_frames=frames, videos=[video], skeletons=[skeleton])


def save(labels: Any, path: Path, **how: Any) -> Path:
    import sleap_io as sio

    sio.save_slp(labels, str(path), verbose=False, **how)
    return path


def package(folder: Path, **how: Any) -> Path:
    """Write a package, and remove its video."""
    video = make_video(folder / "fly.avi")
    path = save(make_labels(video), folder / "labels.pkg.slp", embed="user", **how)
    video.unlink()
    return path


def skeleton(folder: Path) -> Path:
    path = folder / "fly.yaml"
    if not path.exists():
        assert run("skeleton", "new", path, "--keypoints", ",".join(NODES), "--category", "fly").status == 0
    return path


def fly(folder: Path) -> Skeleton:
    return read_skeleton(skeleton(folder))


def convert(source: Path, folder: Path, *more: str | Path) -> Done:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    return run("convert", source, "--out", out, "--skeleton", skeleton(folder), *OPTIONS, *more)


def images(out: Path) -> dict[str, Any]:
    """Return the pixels of every written image: red, green, blue."""
    return {path.name: np.array(Pillow.open(path).convert("RGB")) for path in sorted((out / "images").rglob("*.*"))}


def by_sleap(path: Path, video: int = 0) -> dict[int, Any]:
    """Return the labeled frames as sleap-io gives them: red, green, blue."""
    import sleap_io as sio

    labels = sio.load_slp(str(path))
    found = {frame.frame_idx: frame.image for frame in labels if frame.video is labels.videos[video]}
    return {at: np.broadcast_to(image, (*image.shape[:2], 3)) for at, image in found.items()}


def read(path: Path, folder: Path, **options: Any) -> tuple[ReadResult, list[str]]:
    """Return the result of reading, and the codes of the findings."""
    with scratch_folder() as scratch:
        given = {"assume_visible": True, "box_from": "keypoints", "scratch": scratch, **options}
        result = sleap.FORMAT.read([path], fly(folder), ReadOptions(**given))
    return result, [finding.code for finding in result.findings]


@pytest.mark.parametrize("plugin", ["opencv", "imageio"])
def test_a_package(tmp_path: Path, plugin: str) -> None:
    path = package(tmp_path, plugin=plugin)
    done = convert(path, tmp_path)
    assert done.status == 0, done.out + done.err
    expected, found = by_sleap(path), images(tmp_path / "out")
    assert sorted(found) == ["fly_000003.png", "fly_000007.png"]
    for at in LABELED:
        np.testing.assert_array_equal(found[f"fly_{at:06d}.png"], expected[at])
    objects: dict[str, list[float]] = {}
    for split in ("train", "val"):
        document = json.loads((tmp_path / f"out/{split}_coco.json").read_text())
        names = {image["id"]: image["file_name"] for image in document["images"]}
        objects |= {names[one["image_id"]]: one["keypoints"] for one in document["annotations"]}
        assert all((image["width"], image["height"]) == SIZE for image in document["images"])
    assert objects["fly_000003.png"] == [23.5, 13, 2, 53, 43, 2, 63, 23, 2]
    assert run("validate", tmp_path / "out", "--skeleton", skeleton(tmp_path)).status == 0


def test_its_bytes_stay_as_they_are(tmp_path: Path) -> None:
    import h5py

    path = package(tmp_path, plugin="imageio")
    assert convert(path, tmp_path).status == 0
    with h5py.File(path) as file:
        rows = [bytes(row.astype("uint8")).rstrip(b"\0") for row in file["video0/video"][()]]
    assert [path.read_bytes() for path in sorted((tmp_path / "out/images").iterdir())] == rows


def _variable_length(path: Path) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        old = file["video0/video"]
        rows, attributes = [row[: np.flatnonzero(row)[-1] + 1] for row in old[()]], dict(old.attrs)
        del file["video0/video"]
        new = file.create_dataset("video0/video", shape=(len(rows),), dtype=h5py.vlen_dtype(np.dtype("int8")))
        for at, row in enumerate(rows):
            new[at] = row
        new.attrs.update(attributes)


def _older(path: Path) -> None:
    import h5py

    _variable_length(path)
    with h5py.File(path, "r+") as file:
        del file["video0/video"].attrs["channel_order"]
        file["metadata"].attrs["format_id"] = 1.2


def _pixels(path: Path) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        frames = [np.array(Pillow.open(_file(row.astype("uint8").tobytes()))) for row in file["video0/video"][()]]
        del file["video0/video"]
        new = file.create_dataset("video0/video", data=np.stack(frames))
        new.attrs.update({"format": "hdf5", "height": SIZE[1], "width": SIZE[0], "channels": 3, "frames": 2})


def _file(content: bytes) -> Any:
    import io

    return io.BytesIO(content)


def _channels_first(path: Path) -> None:
    """Store the raw pixels in a separate file, as (channels, width, height), without their name."""
    import h5py

    _pixels(path)
    with h5py.File(path, "r+") as file:
        pixels = file["video0/video"][()].transpose(0, 3, 2, 1)
        with h5py.File(path.with_name("pixels.h5"), "w") as other:
            other["box"] = pixels
        video = json.loads(file["videos_json"][0])
        video["backend"] = {"filename": "pixels.h5", "dataset": None, "input_format": "channels_first"}
        del file["videos_json"]
        file["videos_json"] = [json.dumps(video).encode()]
        frames = file["frames"][()]
        frames["frame_idx"] = [0, 1]
        del file["frames"]
        file["frames"] = frames


@pytest.mark.parametrize("change", [_variable_length, _older, _pixels])
def test_packages_of_other_versions(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = package(tmp_path, plugin="opencv")
    change(path)
    assert convert(path, tmp_path).status == 0
    expected, found = by_sleap(path), images(tmp_path / "out")
    for at in LABELED:
        np.testing.assert_array_equal(found[f"fly_{at:06d}.png"], expected[at])


def test_pixels_in_a_file_of_their_own(tmp_path: Path) -> None:
    path = package(tmp_path, plugin="opencv")
    expected = by_sleap(path)
    _channels_first(path)
    done = convert(path, tmp_path)
    assert done.status == 0, done.out + done.err
    found = images(tmp_path / "out")
    assert sorted(found) == ["pixels_000000.png", "pixels_000001.png"]
    for place, at in enumerate(LABELED):
        # They were taken from the encoded file, in which red and blue are swapped.
        np.testing.assert_array_equal(found[f"pixels_{place:06d}.png"], expected[at][..., ::-1])


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_package_of_images(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "flies"
    folder.mkdir()
    for at in range(8):
        pixels = np.random.default_rng(at).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        Pillow.fromarray(pixels).save(folder / f"img{at}.{ending}")
    path = save(make_labels(sorted(folder.iterdir())), tmp_path / "labels.pkg.slp", embed="user")
    done = convert(path, tmp_path)
    assert done.status == 0, done.out + done.err
    written = sorted((tmp_path / "out/images").iterdir())
    assert [path.name for path in written] == [f"flies_{at:06d}.{ending}" for at in LABELED]
    assert [path.read_bytes() for path in written] == [(folder / f"img{at}.{ending}").read_bytes() for at in LABELED]


def test_an_image_that_opencv_would_turn(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    for at in range(8):
        pixels = np.random.default_rng(at).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        Pillow.fromarray(pixels).save(tmp_path / f"img{at}.jpg", exif=exif)
    path = save(make_labels(sorted(tmp_path.glob("*.jpg"))), tmp_path / "labels.pkg.slp", embed="user")
    result, codes = read(path, tmp_path)
    assert codes == [] and {image.size for image in result.dataset.images} == {SIZE}, "as SLEAP shows it"
    assert {image.file_name[-4:] for image in result.dataset.images} == {".png"}


def test_frames_of_a_video_are_those_that_opencv_decodes(tmp_path: Path) -> None:
    import cv2

    video = make_video(tmp_path / "in/fly.avi")
    save(make_labels(video), tmp_path / "in/labels.slp", embed=False)
    done = convert(tmp_path / "in", tmp_path)
    assert done.status == 0, done.out + done.err
    found = images(tmp_path / "out")
    capture = cv2.VideoCapture(str(video))
    frames = [capture.read()[1] for _ in range(12)]
    capture.release()
    assert sorted(found) == ["fly_000003.png", "fly_000007.png"]
    for at in LABELED:
        np.testing.assert_array_equal(found[f"fly_{at:06d}.png"], frames[at][..., ::-1])


def test_a_package_that_refers_to_another(tmp_path: Path) -> None:
    import sleap_io as sio

    path = package(tmp_path)
    other = save(sio.load_slp(str(path)), tmp_path / "v2.slp", embed=False, restore_original_videos=False)
    result, codes = read(other, tmp_path)
    assert codes == [] and len(result.dataset) == 2, result.findings
    path.unlink()
    (finding,) = read(other, tmp_path)[0].findings
    assert finding.code == "E121" and "an existing file, got" in finding.message


def test_a_video_that_was_moved_is_found_where_the_user_says(tmp_path: Path) -> None:
    path = save(make_labels(make_video(tmp_path / "old/fly.avi")), tmp_path / "in.slp", embed=False)
    source = tmp_path / "in"
    source.mkdir()
    path = path.rename(source / "labels.slp")
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    shutil.move(tmp_path / "old/fly.avi", tmp_path / "elsewhere/deep/fly.avi")
    done = convert(source, tmp_path)
    assert done.status == 1 and "E121" in done.out and "--image-root DIR finds a video of this name" in done.words
    assert "(2 frames with 2 instances left out)" in done.words and "old/fly.avi" in done.words
    assert convert(source, tmp_path, "--image-root", tmp_path / "elsewhere").status == 0
    # Another video of that name: the path that ends as in the file is used, else the error names both.
    (tmp_path / "elsewhere/other").mkdir()
    make_video(tmp_path / "elsewhere/other/fly.avi", seed=9)
    done = convert(source, tmp_path, "--image-root", tmp_path / "elsewhere")
    assert done.status == 1 and "deep/fly.avi and " in done.words and "give a narrower --image-root" in done.words
    (tmp_path / "elsewhere/other").rename(tmp_path / "elsewhere/old")
    assert convert(source, tmp_path, "--image-root", tmp_path / "elsewhere").status == 0


def test_beside_the_file_by_its_name(tmp_path: Path) -> None:
    path = save(make_labels(make_video(tmp_path / "old/fly.avi")), tmp_path / "labels.slp", embed=False)
    (tmp_path / "old/fly.avi").rename(tmp_path / "fly.avi")
    assert read(path, tmp_path)[1] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frames": 5}, "frame 7 must be a frame of the video, got 'fly.avi' that has none (1 frames with 1 instances"),
        (
            {"size": (64, 96)},
            "the video must be of (width, height) (96, 64), as when labeled, got (64, 96) (2 frames",
        ),
    ],
)
def test_another_video_of_that_name(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    video = make_video(tmp_path / "fly.avi")
    path = save(make_labels(video), tmp_path / "labels.slp", embed=False)
    make_video(video, **change)
    (finding,) = read(path, tmp_path)[0].findings
    assert finding.code == "E121" and finding.place == "videos[0]" and said in finding.message, finding


def test_a_video_that_opencv_cannot_open(tmp_path: Path) -> None:
    video = make_video(tmp_path / "fly.avi")
    path = save(make_labels(video), tmp_path / "labels.slp", embed=False)
    video.write_bytes(b"nothing")
    (finding,) = read(path, tmp_path)[0].findings
    assert finding.code == "E121" and "the video must be one that OpenCV can open, got 'fly.avi'" in finding.message
    assert "Export Labels Package" in finding.hint


def test_a_damaged_frame_is_lost_alone(tmp_path: Path) -> None:
    import h5py

    path = package(tmp_path)
    with h5py.File(path, "r+") as file:
        file["video0/video"][0, 100:] = 0
    result, codes = read(path, tmp_path)
    assert codes == ["E121"] and [image.file_name for image in result.dataset.images] == ["fly_000007.png"]
    assert "frame 3: image cannot be read" in result.findings[0].message


def test_a_link_to_another_file_is_not_followed(tmp_path: Path) -> None:
    import h5py

    path = package(tmp_path)
    path.rename(tmp_path / "other.slp")
    shutil.copyfile(tmp_path / "other.slp", path)
    with h5py.File(path, "r+") as file:
        attributes = dict(file["video0/video"].attrs)
        del file["video0/video"]
        file["video0/video"] = h5py.ExternalLink("other.slp", "/video0/video")
        assert attributes
    result, codes = read(path, tmp_path)
    assert set(codes) <= {"E121", "E310"} and codes and len(result.dataset) == 0


def test_images_that_have_no_file_cannot_be_left_where_they_are(tmp_path: Path) -> None:
    path = package(tmp_path)
    for how in ("none", "symlink"):
        done = convert(path, tmp_path, "--images", how)
        assert done.status == 2 and "--images must be copy for" in done.err and "fix: leave --images out" in done.err
        assert not (tmp_path / "out").exists()


def test_without_a_conversion_it_is_said(tmp_path: Path) -> None:
    (finding,) = read(package(tmp_path), tmp_path, scratch=None)[0].findings
    assert finding.code == "E121" and "posetools convert writes frames as images" in finding.hint


def test_predictions_and_tracks(tmp_path: Path) -> None:
    import sleap_io as sio

    labels = make_labels(make_video(tmp_path / "fly.avi"))
    nodes, video = labels.skeletons[0], labels.videos[0]
    predicted = [sio.PredictedInstance.from_numpy(POINTS + 9, skeleton=nodes) for _ in range(3)]
    labels.labeled_frames[0].instances += predicted[:2]
    labels.tracks.append(sio.Track("one"))
    labels.labeled_frames[1].instances[0].track = labels.tracks[0]
    labels.append(sio.LabeledFrame(video=video, frame_idx=9, instances=predicted[2:]))
    labels.append(sio.LabeledFrame(video=video, frame_idx=10, instances=[]))
    result, codes = read(save(labels, tmp_path / "labels.slp", embed=False), tmp_path)
    assert codes == ["W323", "W323"]
    said = {finding.message for finding in result.findings}
    message = "3 predicted instances are no labels: left out; 1 frames with nothing else were left out"
    assert said == {message, "1 instances have a track, which is left out"}
    # Frame 10 was labeled as one without flies; frame 9 is unlabeled.
    assert [image.file_name[4:-4] for image in result.dataset.images] == ["000003", "000007", "000010"]
    assert len(result.dataset) == 2


def _two_skeletons(folder: Path, nodes: tuple[str, ...]) -> Path:
    import sleap_io as sio

    labels = make_labels(make_video(folder / "fly.avi"))
    other = sio.Skeleton(nodes=list(nodes), name="mouse")
    labels.skeletons.append(other)
    points = POINTS[: len(nodes)]
    labels.labeled_frames[0].instances.append(sio.Instance.from_numpy(points, skeleton=other))
    return save(labels, folder / "labels.slp", embed=False)


def test_of_several_skeletons_the_one_that_fits(tmp_path: Path) -> None:
    path = _two_skeletons(tmp_path, ("snout", "tail"))
    result, codes = read(path, tmp_path)
    assert codes == ["E301"] and "'mouse' with snout, tail (1 instances left out)" in result.findings[0].message
    assert [image.file_name for image in result.dataset.images] == ["fly_000007.png"]
    words = shlex.split(result.findings[0].hint)
    assert words[:2] == ["--ignore", "mouse"] and words[-2:] == ["--categories", "fly"]
    for followed in (words[:2], words[-2:]):
        done = convert(path, tmp_path, *followed)
        assert done.status == 0 and "mouse (1)" in done.words, done.out + done.err
        assert sorted(images(tmp_path / "out")) == ["fly_000003.png", "fly_000007.png"]
    result, codes = read(_two_skeletons(tmp_path, NODES), tmp_path)
    assert codes == [] and len(result.dataset) == 3, "two that both have the keypoints"


def test_a_skeleton_of_one_node(tmp_path: Path) -> None:
    import sleap_io as sio

    labels = make_labels(make_video(tmp_path / "fly.avi"))
    for frame in labels:
        frame.instances = [sio.Instance.from_numpy(POINTS[:1], skeleton=sio.Skeleton(["head"], name="fly"))]
    labels.skeletons = [frame.instances[0].skeleton for frame in labels]
    path = save(labels, tmp_path / "labels.slp", embed=False)
    done = convert(path, tmp_path)
    assert done.status == 0 and "W333" in done.out, done.out + done.err
    assert convert(path, tmp_path, "--box-margin", "8px").status == 0
    document = json.loads((tmp_path / "out/train_coco.json").read_text())
    assert document["annotations"][0]["bbox"] == [12.5, 2, 16, 16]


def test_several_videos_of_one_name_and_versions_of_one_file(tmp_path: Path) -> None:
    import sleap_io as sio

    one, two = make_labels(make_video(tmp_path / "a/fly.avi")), make_labels(make_video(tmp_path / "b/fly.avi", seed=1))
    for frame in two:
        for instance in frame.instances:
            instance.skeleton = one.skeletons[0]
    both = sio.Labels([*one, *two], videos=[*one.videos, *two.videos], skeletons=one.skeletons)
    path = save(both, tmp_path / "labels.v001.slp", embed=False)
    result, codes = read(path, tmp_path)
    names = [f"fly{more}_{at:06d}.png" for more in ("-2", "") for at in LABELED]
    assert codes == [] and [image.file_name for image in result.dataset.images] == names
    shutil.copyfile(path, tmp_path / "labels.v002.slp")
    result, codes = read(tmp_path, tmp_path)
    assert set(codes) == {"E313"} and len(result.dataset) == 0, "two versions label the same frames"


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    (tmp_path / "tmp").mkdir()
    path = package(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    assert convert(path, tmp_path).status == 0
    assert convert(path, tmp_path, "--images", "symlink").status == 2
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("change", [_variable_length, lambda path: path])
def test_a_damaged_package_is_a_finding_or_is_read(tmp_path: Path, change: Callable[[Path], Any]) -> None:
    path = package(tmp_path)
    change(path)
    content, random = path.read_bytes(), np.random.default_rng(0)
    codes = set()
    for place in random.integers(0, len(content), 40).tolist():
        for damage in (b"\xff" * 8, b"\0" * 8, random.bytes(3)):
            path.write_bytes(content[:place] + damage + content[place + len(damage) :])
            result, found = read(path, tmp_path)
            codes |= set(found)
            assert len(result.dataset) in (0, 1, 2)
    assert codes <= {"E121", "E301", "E306", "E310", "E311", "E313", "W323", "W324", "W333"}
