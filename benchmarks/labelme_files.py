"""Labelme files for the benchmarks: three cars with eight points each, as labelme 5 writes them. No images.

The same numbers give the same bytes on any machine. A file has about 7.5 KB, and with embedded images 400 KB more:
the base64 of noise, which is never decoded.
"""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

from posetools.core.skeleton import load_skeleton

CARS = 3
PER_FOLDER = 1000
SIZE = (1920, 1080)
EMBEDDED = 400_000

_SHAPE = """    {
      "label": "%s",
      "points": [
%s
      ],
      "group_id": %d,
      "description": "",
      "shape_type": "%s",
      "flags": {},
      "mask": null
    }"""
_POINT = """        [
          %r,
          %r
        ]"""
_FILE = """{
  "version": "5.4.1",
  "flags": {},
  "shapes": [
%s
  ],
  "imagePath": "%s",
  "imageData": %s,
  "imageHeight": %d,
  "imageWidth": %d
}"""


def make(folder: Path, files: int, *, embedded: bool = False, seed: int = 0) -> int:
    """Write labelme files in subfolders of a thousand, and return their total size in bytes."""
    names = load_skeleton("car8").names
    data = "null"
    if embedded:
        data = '"' + base64.b64encode(random.Random(seed).randbytes(EMBEDDED * 3 // 4)).decode() + '"'
    total = 0
    for number in range(files):
        below = folder / f"{number // PER_FOLDER:04}"
        if number % PER_FOLDER == 0:
            below.mkdir(parents=True)
        text = _text(names, f"{number:06}.jpg", data, random.Random(seed * 1_000_003 + number))
        if number == 0 and text != json.dumps(json.loads(text), indent=2):
            raise SystemExit("the template differs from json.dumps(..., indent=2)")
        total += (below / f"{number:06}.json").write_bytes(text.encode())
    return total


def _text(names: tuple[str, ...], image: str, data: str, rng: random.Random) -> str:
    shapes = []
    for car in range(CARS):
        left, top = rng.uniform(0, SIZE[0] - 500), rng.uniform(0, SIZE[1] - 300)
        width, height = rng.uniform(60, 490), rng.uniform(40, 290)
        corners = ",\n".join(_POINT % (left + x, top + y) for x, y in ((0, 0), (width, height)))
        shapes.append(_SHAPE % ("car", corners, car, "rectangle"))
        for name in names:
            x, y = left + rng.random() * width, top + rng.random() * height
            shapes.append(_SHAPE % (name, _POINT % (x, y), car, "point"))
    return _FILE % (",\n".join(shapes), image, data, SIZE[1], SIZE[0])
