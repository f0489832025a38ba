"""Hints about declared splits, followed."""

from __future__ import annotations

import json
from pathlib import Path

from tests.following.case import BOTH, Case
from tests.following.sources import SKELETON, coco, coco_document, images

# Two photos, with an augmented copy of each in train and in val.
COPIES = [f"{photo}_png.rf.{number:032x}.png" for photo in ("reef", "pond") for number in (1, 2)]


def _copies() -> list[str]:
    coco()
    Path("src/labels.json").unlink()
    images("src", *COPIES)
    for split, names in (("train", COPIES[::2]), ("val", COPIES[1::2])):
        document = coco_document()
        for image, name in zip(document["images"], names, strict=True):
            image["file_name"] = name
        Path(f"src/{split}.json").write_text(json.dumps(document))
    for name in "ab":
        Path(f"src/{name}.png").unlink()
    return ["src", *SKELETON]


CASES = [Case("copies of one photo", _copies, ("--val 0.1",), want=dict.fromkeys(COPIES, BOTH["a.png"]))]
