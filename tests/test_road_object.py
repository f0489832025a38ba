"""The rendered animals: reproducible by seed, labels at the parts, and a skeleton that the commands accept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from posetools.core.skeleton import read_skeleton
from tests.road_object import NAMES, SKELETON_YAML, SWAPS, sample_keypoints, write_object_set


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_object_set(tmp_path / name, 3, 7)
    write_object_set(tmp_path / "other", 3, 8)
    files = {name: [path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in ("one", "two")}
    assert files["one"] == files["two"]
    assert len(files["one"]) == 6
    assert files["one"] != [path.read_bytes() for path in sorted((tmp_path / "other").iterdir())]


def test_the_skeleton_has_the_names_and_swaps(tmp_path: Path) -> None:
    path = tmp_path / "critter.yaml"
    path.write_text(SKELETON_YAML, encoding="utf-8")
    skeleton = read_skeleton(path)
    assert skeleton.names == NAMES
    assert tuple(skeleton.flip_indices) == SWAPS


def test_visible_paws_are_labeled_where_their_color_is(tmp_path: Path) -> None:
    """Front left is blue, front right red, hind left green, hind right orange, each by a clear margin."""
    write_object_set(tmp_path, 20, 3)
    right = total = 0
    for path in sorted(tmp_path.glob("*.json")):
        pixels = np.asarray(Image.open(path.with_suffix(".png"))).astype(float)
        for shape in json.loads(path.read_text())["shapes"]:
            if "paw" in shape["label"] and not shape["flags"]:
                x, y = (int(value) for value in shape["points"][0])
                red, green, blue = pixels[max(y - 1, 0) : y + 1, max(x - 1, 0) : x + 1].mean(axis=(0, 1))
                seen = {
                    "left-front-paw": blue > max(red, green) + 30,
                    "right-front-paw": red > 2 * max(green, blue),
                    "left-hind-paw": green > max(red, blue) + 20,
                    "right-hind-paw": red > green > 1.5 * blue,
                }
                right, total = right + bool(seen[shape["label"]]), total + 1
    assert total > 60
    assert right / total > 0.9


def test_points_on_the_far_side_are_hidden_or_not_labeled() -> None:
    marked, _ = sample_keypoints(40, 5)
    absent, _ = sample_keypoints(40, 5, hidden=False)
    assert 0.1 < (marked[:, :, 2] == 1).mean() < 0.4
    assert np.array_equal(marked[:, :, 2] == 2, absent[:, :, 2] == 2)
    assert not (absent[:, :, 2] == 1).any()
