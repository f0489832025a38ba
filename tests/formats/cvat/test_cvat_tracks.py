"""CVAT for video 1.1, as CVAT exports the task of a video: tracks of a dog, read if the frames exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.build import make_image
from tests.formats.cvat.test_cvat import box, document, point, save, skeleton, tag
from tests.formats.cvat.test_cvat_field import SIZE, convert

META = "<meta><task><original_size><width>320</width><height>240</height></original_size></task></meta>"


def frame_box(frame: int, *, outside: int = 0) -> str:
    """Return the box of a frame, which moves by 10 px in each; its label is the track's."""
    text = box(10 + 10 * frame, 20, 110 + 10 * frame, 90, frame=frame, outside=outside, keyframe=int(frame == 0))
    return text.replace('label="car-box" ', "")


def frame_skeleton(frame: int, *, outside: int = 0) -> str:
    parts = (
        point("nose", 30 + 10 * frame, 80, outside=outside, keyframe=1),
        point("left-ear", 40, 80, occluded=1, outside=outside, keyframe=1),
        point("right-ear", 50, 50, outside=1, keyframe=1),
    )
    return skeleton(*parts, frame=frame, keyframe=1).replace('label="car" ', "")


def tracks(last: int = 2) -> list[str]:
    """Return a box and a skeleton of one group in frames 0 and 1, which end in frame 2, and a box in frame 1 alone."""
    there = range(last)
    return [
        tag("track", "".join(map(frame_box, there)) + frame_box(last, outside=1), id=0, label="dog-box", group_id=4),
        tag(
            "track",
            "".join(map(frame_skeleton, there)) + frame_skeleton(last, outside=1),
            id=1,
            label="dog",
            group_id=4,
        ),
        tag("track", box(200, 200, 210, 220, frame=1, outside=0) + frame_box(2, outside=1), id=2, label="dog"),
    ]


def source(folder: Path, *shapes: str, frames: tuple[int, ...] = (0, 1, 2), meta: str = META) -> Path:
    for number in frames:
        make_image(folder / f"src/images/frame_{number:06d}.PNG", SIZE)
    return save(folder / "src", document(meta, *shapes))


def test_tracks_are_the_shapes_of_each_frame(tmp_path: Path) -> None:
    source(tmp_path, *tracks())
    done, objects = convert(tmp_path)
    assert done.status == 0, done.words
    assert [(one["file"], one["bbox"], one["keypoints"]) for one in objects] == [
        ("frame_000000.PNG", [10, 20, 100, 70], [30, 80, 2, 40, 80, 1, 0, 0, 0]),
        ("frame_000001.PNG", [20, 20, 100, 70], [40, 80, 2, 40, 80, 1, 0, 0, 0]),
        ("frame_000001.PNG", [200, 200, 10, 20], [0] * 9),
    ]
    # The last frame, which shows no object, counts as not labeled.
    assert "frame_000002.PNG: the image must be named by a CVAT file, got none" in done.words


def test_a_finding_names_the_place_in_the_file(tmp_path: Path) -> None:
    source(tmp_path, *[track.replace('xtl="20"', 'xtl="left"') for track in tracks()])
    done, _ = convert(tmp_path)
    assert (
        done.status == 1
        and "frame 1: track[0].box[1].xtl" in done.words
        and "xtl must be a finite number" in done.words
    )


def test_frames_without_images_are_one_finding(tmp_path: Path) -> None:
    source(tmp_path, *tracks(), frames=(0,))
    done, _ = convert(tmp_path)
    assert done.status == 1 and "E121 picture-missing (1)" in done.words
    assert "each of its 2 frames must have an image in images/, got none for 1: frame_000001.PNG" in done.words
    assert "(3 shapes left out)" in done.words
    # As the hint says: the frames are in another folder.
    make_image(tmp_path / "video/frame_000001.PNG", SIZE)
    done, objects = convert(tmp_path, more=("--val", "0", "--image-root", str(tmp_path / "video")))
    assert done.status == 0 and len(objects) == 3, done.words


def test_without_any_frame_the_export_to_choose_is_said(tmp_path: Path) -> None:
    source(tmp_path, *tracks(), frames=())
    make_image(tmp_path / "src/images/first.jpg", SIZE)
    done, _ = convert(tmp_path)
    assert done.status == 1 and "E310 unreadable-file (1)" in done.words
    assert "export the task from CVAT as 'CVAT for images 1.1': it writes tracks as shapes of each frame" in done.words


@pytest.mark.parametrize(("old", "new", "told"), [
    # The box is in frames 0 and 2, and was in 1 when the video was labeled.
    (frame_box(1), "", "track[0] must be a track with every frame up to one that is outside, got 'frame 0, then 2'"),
    # It never ends, although the video continues.
    (frame_box(1) + frame_box(2, outside=1), "", "got 'frame 0, then 2'"),
])  # fmt: skip
def test_key_frames_alone_are_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    made = tracks()
    assert old in made[0]
    source(tmp_path, made[0].replace(old, new), *made[1:])
    done, _ = convert(tmp_path)
    assert done.status == 1 and "E310 unreadable-file (1)" in done.words and told in done.words
    assert "import the file into CVAT, and export the task" in done.words


def test_a_task_that_labels_every_tenth_frame(tmp_path: Path) -> None:
    made = [frame_box(frame) for frame in (0, 10)] + [frame_box(20, outside=1)]
    source(tmp_path, tag("track", "".join(made), label="dog"), frames=(0, 10))
    done, objects = convert(tmp_path)
    assert [(one["file"], one["bbox"][0]) for one in objects] == [("frame_000000.PNG", 10), ("frame_000010.PNG", 110)]
    assert "findings" not in done.words


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    source(tmp_path, *tracks(), meta=META.replace("320", "640"))
    done, _ = convert(tmp_path)
    assert done.status == 1 and "E123" in done.words and "got (640, 240)" in done.words


@pytest.mark.parametrize("frame", ["", "-1", "x", "9" * 5000, "1.5"])
def test_a_frame_that_is_no_number_is_told(tmp_path: Path, frame: str) -> None:
    source(tmp_path, *[track.replace(' frame="1"', f' frame="{frame}"', 1) for track in tracks()[:1]], tracks()[2])
    done, _ = convert(tmp_path)
    assert done.status == 1 and "frame must be a frame number" in done.words


def test_a_box_that_may_be_outside_is_told(tmp_path: Path) -> None:
    source(tmp_path, *[track.replace('outside="1"', 'outside="maybe"') for track in tracks()[:1]])
    done, _ = convert(tmp_path)
    assert done.status == 1 and "track[0].box[2]: outside must be 0 or 1, got 'maybe'" in done.words


def test_tasks_of_a_project_have_frames_of_their_own(tmp_path: Path) -> None:
    """The second task is shorter: its track continues to its own last frame."""
    made = [
        tag("track", "".join(map(frame_box, range(4))), label="dog", task_id=1, subset="train"),
        tag("track", "".join(map(frame_box, range(2))), label="dog", task_id=2, subset="val"),
    ]
    for subset, count in (("train", 4), ("val", 2)):
        for number in range(count):
            make_image(tmp_path / f"src/images/{subset}/frame_{number:06d}.PNG", SIZE, seed=10 * count + number)
    save(tmp_path / "src", document(*made))
    done, objects = convert(tmp_path, more=())
    assert done.status == 0 and "findings" not in done.words, done.words
    assert sorted((Path(one["file"]).name[11], one["bbox"][0]) for one in objects) == [
        ("0", 10), ("0", 10), ("1", 20), ("1", 20), ("2", 30), ("3", 40),
    ]  # fmt: skip
    assert len({one["file"] for one in objects}) == 6
