"""The groups of images, by their names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posetools.core.groups import clip_and_number, groups_of, recorded_grouping
from posetools.datasets.resplit import resplit
from tests.datasets.test_resplit import write


@pytest.mark.parametrize(
    ("name", "clip", "number"),
    [
        ("a/b/drive_12_0007.left.jpg", "a/b/drive_12_\0.left", 7),
        ("a.1/x7", "a.1/x\0", 7),
        ("v1.5_0007.jpg", "/v1.5_\0", 7),
        ("7.jpg", "/\0", 7),
        ("x7.j", "/x\0", 7),
        # A name that starts or ends with its only dot has no suffix.
        (".0007", "/.\0", 7),
        ("x7.", "/x\0.", 7),
        ("a/car.jpg", "a/car", None),
        ("a/carX.jpg", "a/carX", None),
        ("12_cam.jpg", "/\0_cam", 12),
        ("a1/car.jpg", "a1/car", None),
        ("a/b.c/x7", "a/b.c/x\0", 7),
        ("a/" + "1" * 19 + ".jpg", "a/" + "1" * 19, None),
    ],
)
def test_the_clip_of_a_name_is_the_name_without_suffix_and_last_number(
    name: str, clip: str, number: int | None
) -> None:
    assert clip_and_number(name) == (clip, number)


def test_the_grouping_of_a_split_is_found_again_for_some_of_its_images() -> None:
    names = [f"{clip}/frame_{number:03}.jpg" for clip in "abc" for number in range(6)]
    assert groups_of(names).how == "clip"
    # The frames of one clip alone look like the photos of one camera.
    assert len(set(groups_of(names[:6]).keys)) == 6
    assert len(set(groups_of(names[:6], "clip").keys)) == 1
    copies = [f"forklift_jpg.rf.{number:032}.jpg" for number in range(3)]
    assert len(set(groups_of([*names, *copies], "image").keys)) == len(names) + 1


@pytest.mark.parametrize(
    ("options", "by"), [({"by": "image"}, "image"), ({"by": "(.)[.]"}, "(.)[.]"), ({"val": 0}, None)]
)
def test_a_data_set_records_how_it_was_split(tmp_path: Path, options: dict[str, Any], by: str | None) -> None:
    data = write(tmp_path / "d")
    assert recorded_grouping(data) is None
    (data / "conversion.json").write_text(json.dumps({"format": "coco"}))
    resplit(data, **options)
    assert recorded_grouping(data) == by
