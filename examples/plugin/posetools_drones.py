"""Drones for posetools: a format (drones.csv), a check of its keypoints, and a command."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from posetools.plugins import (
    CheckedData,
    CheckPlugin,
    Finding,
    FormatPlugin,
    InputError,
    ReadImage,
    ReadObject,
    ReadProblem,
    Rule,
    read_text,
)

# The version of posetools' protocols that this module is written for.
PLUGIN_API = 1

KEYPOINTS = ("nose", "tail", "left", "right")
CORNERS = ("x1", "y1", "x2", "y2")
COLUMNS = ("image", *CORNERS, *(f"{name}_{part}" for name in KEYPOINTS for part in "xyv"))


# The format. `detect` runs for every source of every user: it opens one file, and only if the name fits.
def detect(path: Path) -> bool:
    """Return whether a path is a drones.csv, or a folder with one."""
    file = path / "drones.csv" if path.is_dir() else path
    if file.name != "drones.csv" or not file.is_file():
        return False
    try:
        return read_text(file).startswith(",".join(COLUMNS))
    except InputError:
        return False


def read(source: Path) -> Iterator[ReadImage | ReadProblem]:
    """Yield the images of a drones.csv."""
    file = source / "drones.csv" if source.is_dir() else source
    try:
        table = csv.DictReader(io.StringIO(read_text(file), newline=""), strict=True)
        rows = list(table)
    except (InputError, csv.Error) as exc:
        yield ReadProblem(file=file, message=f"the file must be CSV in UTF-8, got {exc}", code="E310")
        return
    if tuple(table.fieldnames or ()) != COLUMNS:
        yield ReadProblem(file=file, place="line 1", message=f"the columns must be {', '.join(COLUMNS)}", code="E310")
        return
    objects: dict[str, list[ReadObject]] = {}
    problems: dict[str, list[ReadProblem]] = {}
    for number, row in enumerate(rows, start=2):
        name, place = row.get("image") or "", f"line {number}"
        objects.setdefault(name, [])
        if not any(row.get(column) for column in COLUMNS[1:]):
            continue
        try:
            objects[name].append(drone(row, place))
        except (TypeError, ValueError) as exc:
            message = f"the line must have {len(COLUMNS)} cells, numbers but for the image, got {exc}"
            problems.setdefault(name, []).append(ReadProblem(file=file, place=place, message=message, code="E309"))
    for name, drones in objects.items():
        yield ReadImage(image=name, file=file, objects=drones, problems=problems.get(name, ()))


def drone(row: dict[str, str], place: str) -> ReadObject:
    """Return the drone of a row; TypeError or ValueError for a cell that is missing or no number."""
    points = {
        name: (float(row[f"{name}_x"]), float(row[f"{name}_y"]), int(row[f"{name}_v"]))
        for name in KEYPOINTS
        if any(row[f"{name}_{part}"] for part in "xyv")
    }
    x1, y1, x2, y2 = (float(row[column]) for column in CORNERS)
    return ReadObject(category="drone", box=(x1, y1, x2, y2), keypoints=points, place=place)


def sample(folder: Path) -> None:
    """Write a small valid source, for `make fuzz`."""
    from PIL import Image

    rows = ["a.png,10,20,90,60,85,40,2,15,40,2,50,25,2,50,55,1", "b.png,5,5,45,45,25,8,2,25,40,2,8,25,2,,,", "c.png"]
    (folder / "drones.csv").write_text("\n".join([",".join(COLUMNS), *rows, ""]), encoding="utf-8")
    for name, color in (("a", "navy"), ("b", "teal"), ("c", "olive")):
        Image.new("RGB", (96, 64), color).save(folder / f"{name}.png")


FORMAT = FormatPlugin(
    title="drones.csv",
    signs="a file drones.csv whose first line names its columns",
    detect=detect,
    read=read,
    declares=lambda _: {"drone": KEYPOINTS},
    sample=sample,
)


# The check. Its codes are those of its rules, after its name.
def check(data: CheckedData) -> Iterator[Finding]:
    """Yield drones whose left and right rotors are nearly in the same place."""
    for categories, splits in data.parts():
        names = list(categories.names)
        if not {"left", "right"} <= set(names):
            continue
        left, right = names.index("left"), names.index("right")
        for objects in splits.values():
            # (R, K, 3): x, y, visibility of the K keypoints of R objects; visibility 0 is not labeled.
            points = objects.keypoints
            apart = np.linalg.norm(points[:, left, :2] - points[:, right, :2], axis=1)
            labeled = (points[:, [left, right], 2] > 0).all(axis=1)
            for row in np.flatnonzero(labeled & (apart < 0.1 * (objects.boxes[:, 2] - objects.boxes[:, 0]))):
                message = f"left and right must be a tenth of the box apart, got {apart[row]:.1f} px"
                yield objects.finding("drones/W1", int(row), message, "check both rotors", ["left", "right"])


CHECK = CheckPlugin(
    check=check,
    rules={"W1": Rule("rotors-together", "Both rotors are labeled at one place: the model learns neither.")},
)


# The command: a function as typer takes it. The first line of its docstring is its line in `posetools --help`.
def drone_sizes(data: Annotated[Path, typer.Argument(metavar="DATA", help="Data set folder.")]) -> None:
    """Print how large the drones of a data set are.

    Sizes are the longer sides of the boxes, in pixels.
    """
    # Import what takes time here, so that the help is fast.
    import posetools

    boxes = posetools.read(data).boxes
    sizes = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    print(f"{len(sizes)} drones of {sizes.min():.0f} to {sizes.max():.0f} px, median {np.median(sizes):.0f} px")
