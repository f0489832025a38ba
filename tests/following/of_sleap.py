"""Hints of the SLEAP reader, followed; the files are written by sleap-io."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np

from tests.following.case import AROUND_BOTH, NAMES, POINTS, SIZE, Case, Objects
from tests.following.sources import SKELETON, images, skeleton


def sleap(*options: str, video: str = "", others: bool = False) -> list[str]:
    """Write SLEAP's labels of both images, or of the frames of a video.

    Args:
        options: convert's options.
        video: the file with the labeled frames; empty for the images.
        others: whether each image also shows a snail with another skeleton.
    """
    import sleap_io as sio

    images("src")
    one = sio.Skeleton(nodes=list(NAMES), name="fish")
    snail = sio.Skeleton(nodes=["shell", "horn"], name="snail")
    with contextlib.chdir("src"):
        shown = sio.Video.from_filename(_frames(video) if video else ["a.png", "b.png"])
        frames = []
        for number in range(2):
            instances = [sio.Instance.from_numpy(np.array([POINTS[name] for name in NAMES]), skeleton=one)]
            if others:
                instances.append(sio.Instance.from_numpy(np.array([[80.0, 60], [90, 70]]), skeleton=snail))
            frames.append(sio.LabeledFrame(video=shown, frame_idx=number, instances=instances))
        skeletons = [one, snail] if others else [one]
        labels = sio.Labels(labeled_frames=frames, videos=[shown], skeletons=skeletons)
        sio.save_slp(labels, "labels.slp", verbose=False)
    return ["src", *skeleton(), *options]


def _frames(video: str) -> str:
    import sleap_io as sio

    Path(video).parent.mkdir(parents=True, exist_ok=True)
    sio.save_video(np.full((2, SIZE[1], SIZE[0], 3), 90, dtype=np.uint8), video)
    return video


def _two_videos() -> list[str]:
    arguments = sleap(*SEEN, video="../first/swim.mp4")
    shutil.copytree("first", "second")
    shutil.move("first", "third")
    return [*arguments, "--image-root", "second", "--image-root", "third"]


SEEN = ("--assume-visible", "--box-from", "keypoints")
ELSEWHERE = "../elsewhere/swim.mp4"
FRAMES: Objects = {f"swim_00000{number}.png": AROUND_BOTH["a.png"] for number in range(2)}

CASES = [
    Case("no visibility", lambda: sleap(*SEEN[1:]), ("--assume-visible",), want=AROUND_BOTH),
    Case("no box", lambda: sleap(*SEEN[:1]), ("--box-from keypoints",), want=AROUND_BOTH),
    Case("another skeleton", lambda: sleap(*SEEN, others=True), ("--ignore snail",), want=AROUND_BOTH),
    Case("one of the skeletons", lambda: sleap(*SEEN, others=True), ("--categories fish",), want=AROUND_BOTH),
    Case(
        "a video elsewhere",
        lambda: sleap(*SEEN, video=ELSEWHERE),
        ("--image-root DIR",),
        {"DIR": "elsewhere"},
        want=FRAMES,
    ),
    Case(
        "two videos of one name",
        _two_videos,
        ("--image-root",),
        again=("src", *SKELETON, *SEEN, "--image-root", "second"),
        want=FRAMES,
    ),
    Case(
        "frames that are to stay",
        lambda: sleap(*SEEN, "--images", "none", video="swim.mp4"),
        ("leave --images out",),
        again=("src", *SKELETON, *SEEN),
        want=FRAMES,
    ),
]
