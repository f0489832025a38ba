"""A short video of rendered cars: the camera moves along an arc around them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from posetools.core.skeleton import load_skeleton
from posetools.imaging.video import new_video
from posetools.progress import Progress, silent
from posetools.synth.rendering import render_random, render_scene
from posetools.synth.sample import PLAIN, Variety, fits
from posetools.synth.scene import Scene

FRAMES_PER_SECOND = 10.0
# The whole arc in radians.
_ARC = 0.7


def render_clip(
    path: Path,
    *,
    frames: int,
    size: tuple[int, int],
    seed: int,
    variety: Variety = PLAIN,
    progress: Progress = silent,
) -> None:
    """Render a video; the same arguments give the same frames.

    Args:
        path: the file, which ends in .mp4 or .avi.
        frames: their number.
        size: their (width, height) in pixels.
        seed: another seed gives other cars.
        variety: of the scene.
        progress: receives progress.

    Raises:
        OutputError: it cannot be written.
    """
    rng, skeleton = np.random.default_rng([seed, frames, 1]), load_skeleton("car8")
    while True:
        scene = render_random(rng, size, skeleton, variety).scene
        angles = np.linspace(-_ARC / 2, _ARC / 2, frames)
        moved = [_turned(scene, float(angle)) for angle in angles]
        if all(fits(each.camera, car) for each in moved for car in each.cars):
            break
    with new_video(path, FRAMES_PER_SECOND, size) as video:
        for number, each in enumerate(moved, start=1):
            rendered = np.asarray(render_scene(each, skeleton).image)
            video.write(np.ascontiguousarray(rendered[:, :, ::-1]))
            progress("rendering the clip", number, frames)


def _turned(scene: Scene, angle: float) -> Scene:
    """Return the scene with the camera turned about the vertical through its target."""
    camera = scene.camera
    (x, y, z), (tx, ty, _) = camera.position, camera.target
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    position = tx + cos * (x - tx) - sin * (y - ty), ty + sin * (x - tx) + cos * (y - ty), z
    return replace(scene, camera=replace(camera, position=position))
