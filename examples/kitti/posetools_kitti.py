"""KITTI object labels for posetools: eight points of each car's 3-D box, projected into the image (README.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from posetools.plugins import FormatPlugin, InputError, ReadImage, ReadObject, ReadProblem, read_text

PLUGIN_API = 1

Floats = NDArray[np.float64]

# Fractions of the box: forward from its center, to the left, up from the bottom; and the sides that a point is on.
POINTS = {
    f"{side}-{end}-{part}": ((x * ahead, y * left, up), {side, end} if part == "bumper" else {side})
    for part, x, y, up in (("bumper", 0.5, 0.47, 0.23), ("tire", 0.32, 0.5, 0.21))
    for side, left in (("left", 1), ("right", -1))
    for end, ahead in (("front", 1), ("rear", -1))
}
SIDES = {"front": (1, 0, 0), "rear": (-1, 0, 0), "left": (0, 1, 0), "right": (0, -1, 0)}


def detect(path: Path) -> bool:
    """Return whether a path is a folder such as KITTI's ``training``."""
    return (path / "calib").is_dir() and any((path / "label_2").glob("*.txt"))


def read(source: Path) -> Iterator[ReadImage | ReadProblem]:
    """Yield the cars of each image."""
    for file in sorted((source / "label_2").glob("*.txt")):
        try:
            lines = read_text(file).splitlines()
            camera, eye = calibration(read_text(source / "calib" / file.name))
        except (InputError, ValueError, np.linalg.LinAlgError) as exc:
            message = f"labels must be text, and calib/{file.name} must have P2 with 12 numbers, got {exc}"
            yield ReadProblem(file=file, message=message, code="E310")
            continue
        images = [source / "image_2" / f"{file.stem}{ending}" for ending in (".png", ".jpg")]
        image = next((each for each in images if each.is_file()), images[0])
        size, cars, problems, others = (np.inf, np.inf), [], [], Counter[str]()
        # posetools reports an image that cannot be opened.
        with suppress(Exception), Image.open(image) as opened:
            size = opened.size
        for number, line in enumerate(lines, start=1):
            kind, *values = line.split() or ["DontCare"]
            if kind != "Car":
                others.update([kind] if kind != "DontCare" else [])
            elif car := car_of(values, camera, eye, size, f"line {number}"):
                cars.append(car)
            else:
                message = f"a line must be a type and 14 numbers, got {line[:80]!r}"
                problems.append(ReadProblem(file=file, place=f"line {number}", message=message, code="E309"))
        if others:
            message = f"objects must be cars to be read, got also {dict(sorted(others.items()))}"
            problems.append(ReadProblem(file=file, message=message, code="W323"))
        yield ReadImage(image=image, file=file, objects=cars, problems=problems)


def calibration(text: str) -> tuple[Floats, Floats]:
    """Return P2, (3, 4), from meters in the camera's frame to pixels; and (3,) where the camera is in that frame."""
    values = next((line.split()[1:] for line in text.splitlines() if line.startswith("P2:")), [])
    camera = np.array(values, dtype=np.float64).reshape(3, 4)
    return camera, np.linalg.solve(camera[:, :3], -camera[:, 3])


@np.errstate(all="ignore")
def car_of(
    values: Sequence[str], camera: Floats, eye: Floats, size: tuple[float, float], place: str
) -> ReadObject | None:
    """Return the car of a line; None if the line does not have its 14 numbers."""
    try:
        _, _, _, x1, y1, x2, y2, height, width, length, *at, turn = np.array(values[:14], float).reshape(14)
    except ValueError:
        return None
    # The box's axes (forward, left, up) in the camera's frame, whose axes are right, down and forward.
    axes = np.array([[np.cos(turn), 0, -np.sin(turn)], [np.sin(turn), 0, np.cos(turn)], [0, -1, 0]])
    seen_from = axes @ (eye - at)
    facing = {side for side, normal in SIDES.items() if seen_from @ normal > np.abs(normal) @ (length, width, 0) / 2}
    points = {}
    for name, (fractions, sides) in POINTS.items():
        u, v, depth = camera @ [*(fractions * np.array([length, width, height]) @ axes + at), 1]
        if depth > 0 and 0 <= u / depth < size[0] and 0 <= v / depth < size[1]:
            points[name] = (u / depth, v / depth, 2 if sides & facing else 1)
    return ReadObject(category="car", box=(x1, y1, x2, y2), keypoints=points, place=place)


FORMAT = FormatPlugin(
    title="KITTI",
    signs="a folder with label_2/*.txt and calib/",
    detect=detect,
    read=read,
    declares=lambda _: {"car": list(POINTS)},
)
