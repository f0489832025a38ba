"""The rendered clip."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from posetools.imaging.video import frames_at, probe
from posetools.synth.clip import FRAMES_PER_SECOND, render_clip


def test_the_camera_moves_around_the_same_cars(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        render_clip(tmp_path / name, frames=5, size=(96, 72), seed=2)
    assert probe(tmp_path / "a.mp4") == (5, FRAMES_PER_SECOND)
    frames = [image.astype(int) for _, image in frames_at(tmp_path / "a.mp4", range(5))]
    assert all(np.abs(one - other).mean() > 1 for one, other in pairwise(frames))
    same = [image.astype(int) for _, image in frames_at(tmp_path / "b.mp4", range(5))]
    assert all((one == other).all() for one, other in zip(frames, same, strict=True))
