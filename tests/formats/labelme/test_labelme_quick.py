"""The quick reader of labelme files accepts, refuses and reads the same as the pydantic models."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import posetools.formats.labelme.format as labelme
import posetools.formats.labelme.read as labelme_read
from posetools.core.findings import Finding
from posetools.core.skeleton import load_skeleton
from posetools.formats.labelme.model import Document, QuickShape, Shape, parse_document, quick_document, slow_document
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult

CAR8 = load_skeleton()
# The number of files; POSETOOLS_CASES sets it.
CASES = int(os.environ.get("POSETOOLS_CASES", "3000"))
_BOM = b"\xef\xbb\xbf"

_JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 1.0, -0.0, 0.5, 2**63, -(2**63) - 1, 10**30, 1e6, 1_000_001, -1e6, 1e300),
    *("", "car", "left-front-tire", "occluded", "1", "a\nb", "\u00e9\U0001f697", "x" * 300),
    *([], {}, [1], [[1, 2]], [[1, 2], [3, 4]], [[1, 2, 3]], {"occluded": True}, {"occluded": 1}, {"other": True}),
)
_KEYS = ("label", "points", "group_id", "shape_type", "flags", "description", "difficult", "mask", "score", "unknown")


def _document(rng: random.Random) -> dict[str, Any]:
    shapes: list[dict[str, Any]] = []
    for group in range(rng.choice((0, 1, 1, 2, 3))):
        x, y = rng.uniform(-5, 500), rng.uniform(-5, 300)
        w, h = rng.uniform(20, 200), rng.uniform(20, 100)
        corners = [[x, y], [x + w, y + h]]
        rng.shuffle(corners)
        shapes.append({"label": "car", "points": corners, "group_id": group, "shape_type": "rectangle", "flags": {}})
        for name in rng.sample(CAR8.names, rng.randint(0, 8)):
            point = [x + w * rng.random(), y + h * rng.random()]
            flags: dict[str, bool] = rng.choice(({}, {}, {"occluded": True}, {"occluded": False}, {"Hidden": True}))
            shape = {"label": name, "points": [point], "group_id": group, "shape_type": "point", "flags": flags}
            shapes.append(shape | rng.choice(({}, {}, {"description": rng.choice(("", "occluded", "a word"))})))
    if rng.random() < 0.3:
        rng.shuffle(shapes)
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": "a.jpg",
        "imageData": None,
        "imageHeight": 480,
        "imageWidth": 640,
    }


def _change_shape(document: dict[str, Any], rng: random.Random) -> None:
    if document["shapes"]:
        rng.choice(document["shapes"])[rng.choice(_KEYS)] = copy.deepcopy(rng.choice(_JUNK))


def _drop_key(document: dict[str, Any], rng: random.Random) -> None:
    target = rng.choice([document, *document["shapes"]])
    target.pop(rng.choice(list(target)))
    document.setdefault("shapes", [])


def _change_top(document: dict[str, Any], rng: random.Random) -> None:
    document[rng.choice((*document, "text", "description", "unknown"))] = copy.deepcopy(rng.choice(_JUNK))


def _change_point(document: dict[str, Any], rng: random.Random) -> None:
    if document["shapes"]:
        shape = rng.choice(document["shapes"])
        shape["points"] = [[copy.deepcopy(rng.choice(_JUNK)), 5.0]]


def _double_shape(document: dict[str, Any], rng: random.Random) -> None:
    if document["shapes"]:
        document["shapes"].append({**rng.choice(document["shapes"]), "group_id": rng.choice((0, 1, 7, None))})


def _group_differently(document: dict[str, Any], rng: random.Random) -> None:
    for shape in document["shapes"]:
        if rng.random() < 0.2:
            shape["group_id"] = rng.choice((0, 1, 2, None))


def _other_image(document: dict[str, Any], rng: random.Random) -> None:
    document["imagePath"] = rng.choice(
        ("", ".", "..", "../a.jpg", "b\\a.jpg", "c:a.jpg", "/a.jpg", "a\0.jpg", "\u00e9.jpg", "a" * 300, "sub/a.jpg")
    )


_CHANGES: tuple[Callable[[dict[str, Any], random.Random], None], ...] = (
    *(_change_shape, _change_shape, _change_point, _drop_key, _change_top),
    *(_double_shape, _group_differently, _other_image),
)


def _damage(text: bytes, rng: random.Random) -> bytes:
    """Return the text changed as no JSON writer would."""
    at = rng.randrange(len(text))
    return rng.choice(
        (
            _BOM + text,
            text[:at],
            text[:at] + b"\xff" + text[at:],
            text.replace(b'"car"', b'"\\ud800"', 1),
            text.replace(b'"car"', b'"ca\\u0072"'),
            text.replace(b'"group_id": 0', b'"group_id": 0.0', 1),
            text.replace(b'"group_id": 0', b'"group_id": 1, "group_id": 0', 1),
            text.replace(b'"shapes"', b'"shapes": 5, "shapes"', 1),
            text.replace(b'"imageData": null', b'"imageData": "\xff"', 1),
            text.replace(b'"imageData": null', b'"imageData": ' + b"[" * 300 + b"]" * 300, 1),
            text.replace(b'"imageData": null', b'"unknown": NaN, "imageData": null', 1),
            text.replace(b'"flags": {}', b'"flags": {"a": 1e999}', 1),
            text.replace(b"480", b"480.0", 1),
            text.replace(b"640", b"1e2", 1),
            text + b" ",
            text + b"x",
        )
    )


def _content(seed: int) -> bytes:
    rng = random.Random(seed)
    document = _document(rng)
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        rng.choice(_CHANGES)(document, rng)
        shapes = document["shapes"]
        if not isinstance(shapes, list) or not all(isinstance(shape, dict) and shape for shape in shapes):
            break
    text = json.dumps(document, indent=rng.choice((None, 2))).encode()
    return _damage(text, rng) if rng.random() < 0.2 else text


def _fields(shape: Any) -> dict[str, Any]:
    names = Shape.model_fields if isinstance(shape, Shape | QuickShape) else ("label", "group_id", "field", "problem")
    return {name: getattr(shape, name) for name in names}


def test_both_ways_accept_and_refuse_the_same() -> None:
    quick = 0
    for seed in range(CASES):
        data = _content(seed)
        one = parse_document(data, "a.json")
        other = slow_document(data.removeprefix(_BOM), "a.json")
        quick += quick_document(data) is not None
        if isinstance(one, Finding) or isinstance(other, Finding):
            assert one == other, data
            continue
        assert (one.image, one.size) == (other.image, other.size), data
        assert list(map(_fields, one.shapes)) == list(map(_fields, other.shapes)), data
    # Both readers are used often.
    assert CASES / 4 < quick < CASES * 3 / 4


@pytest.mark.parametrize("trust", [True, False])
def test_both_ways_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trust: bool) -> None:
    for seed in range(CASES):
        data = _content(seed)
        # Each file names its own image: two files of one image are left out.
        (tmp_path / f"{seed}.json").write_bytes(data.replace(b'"a.jpg"', b'"%d.jpg"' % seed))
    options = ReadOptions(trust_sizes=True, need_images=not trust)
    if not trust:
        for seed in range(0, CASES, 2):
            (tmp_path / f"{seed}.jpg").touch()
    quick = labelme.FORMAT.read([tmp_path], CAR8, options)
    monkeypatch.setattr(labelme_read, "quick_document", lambda _: None)
    slow = labelme.FORMAT.read([tmp_path], CAR8, options)
    assert _told(quick) == _told(slow)
    assert quick.dataset == slow.dataset
    assert len(quick.dataset.images) > CASES / 8


def _told(read: ReadResult) -> tuple[object, ...]:
    return read.findings, read.ignored, read.files, read.dataset.origins, [i.path for i in read.dataset.images]


@pytest.mark.parametrize(
    ("names", "ignored"),
    [({"auto": "car", "p": "left-front-tire"}, set()), ({}, {"right-rear-tire"}), ({}, {"car"})],
)
def test_names_and_ignored_labels_mean_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: dict[str, str], ignored: set[str]
) -> None:
    for seed in range(200):
        document = _document(random.Random(seed))
        for shape in document["shapes"]:
            if names and seed % 2:
                shape["label"] = {"car": "auto", "left-front-tire": "p"}.get(shape["label"], shape["label"])
        (tmp_path / f"{seed}.json").write_text(json.dumps({**document, "imagePath": f"{seed}.jpg"}))
    options = ReadOptions(names=names, ignore=frozenset(ignored), trust_sizes=True, need_images=False)
    quick = labelme.FORMAT.read([tmp_path], CAR8, options)
    monkeypatch.setattr(labelme_read, "quick_document", lambda _: None)
    slow = labelme.FORMAT.read([tmp_path], CAR8, options)
    assert _told(quick) == _told(slow)
    assert quick.dataset == slow.dataset
    assert isinstance(parse_document((tmp_path / "0.json").read_bytes(), "a"), Document)


@pytest.mark.parametrize(
    "more",
    [
        {"one_object": True},
        {"box_from": "keypoints"},
        {"one_object": True, "box_from": "keypoints"},
        {"categories": ("car",)},
        {"categories": ("auto",)},
        {"names": {"left-*": "left-front-tire"}},
        {"ignore": frozenset({"*-tire"})},
        {"hidden": frozenset({"a word"})},
        {"label_pattern": r"(?P<name>.+?)(?:-(?P<instance>\d+))?"},
    ],
    ids=str,
)
def test_options_mean_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]) -> None:
    for seed in range(300):
        (tmp_path / f"{seed}.json").write_bytes(_content(seed).replace(b'"a.jpg"', b'"%d.jpg"' % seed))
    options = ReadOptions(**{"trust_sizes": True, "need_images": False, **more})
    quick = labelme.FORMAT.read([tmp_path], CAR8, options)
    monkeypatch.setattr(labelme_read, "quick_document", lambda _: None)
    slow = labelme.FORMAT.read([tmp_path], CAR8, options)
    assert _told(quick) == _told(slow)
    assert quick.dataset == slow.dataset
