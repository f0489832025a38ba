"""CVAT's export 'COCO Keypoints 1.0', made by hand from its documented layout, is read by the COCO reader as is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import posetools.formats.coco.format as coco
from posetools.core.skeleton import load_skeleton
from posetools.formats.options import ReadOptions
from tests.build import make_image

CAR8 = load_skeleton("car8")
Json = dict[str, Any]

# outside, occluded and visible, as CVAT writes them; an outside point keeps its position.
KEYPOINTS = [50.0, 60.0, 2, 120.0, 60.0, 1, 55.0, 90.0, 2, 80.0, 80.0, 0, *([0.0, 0.0, 0] * 4)]


def export(**annotation: Any) -> Json:
    """Return one file of the export: one skeleton, whose bbox CVAT makes from its points, and one unused label."""
    car: Json = {
        "id": 1,
        "name": "car",
        "supercategory": "",
        "keypoints": list(CAR8.names),
        "skeleton": CAR8.coco_edges,
    }
    return {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
        "categories": [car, {"id": 2, "name": "car-box", "supercategory": "", "keypoints": [], "skeleton": []}],
        "images": [
            {
                "id": 1,
                "width": 320,
                "height": 240,
                "file_name": "sub/a.jpg",
                "license": 0,
                "flickr_url": "",
                "coco_url": "",
                "date_captured": 0,
            }
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "segmentation": [],
                "area": 2100.0,
                "bbox": [50.0, 60.0, 70.0, 30.0],
                "iscrowd": 0,
                "attributes": {"occluded": False, "track_id": 3, "keyframe": True},
                "keypoints": KEYPOINTS,
                "num_keypoints": 3,
            }
            | annotation
        ],
    }


def save(folder: Path, content: Json, subset: str) -> None:
    path = folder / f"annotations/person_keypoints_{subset}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("images", ["images/default", "images", "default"])
def test_a_task(tmp_path: Path, images: str) -> None:
    image = make_image(tmp_path / images / "sub/a.jpg")
    save(tmp_path, export(), "default")
    assert coco.detect(tmp_path)
    result = coco.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert [finding.code for finding in result.findings] == ["W323", "W203"], "CVAT keeps coordinates of points outside"
    assert "annotations.attributes (1)" in result.findings[0].message
    assert [(i.file_name, i.path, i.split) for i in result.dataset.images] == [("sub/a.jpg", image, None)]
    assert result.dataset.boxes.tolist() == [[50, 60, 120, 90]]
    assert result.dataset.visibility.tolist() == [[2, 1, 2, 0, 0, 0, 0, 0]]
    assert result.dataset[0].keypoints[3].tolist() == [0, 0, 0], "outside"


def test_a_project_with_subsets(tmp_path: Path) -> None:
    for number, subset in enumerate(("Train", "Validation")):
        make_image(tmp_path / f"images/{subset}/sub/a.jpg", seed=number)
        save(tmp_path, export(), subset)
    result = coco.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert {finding.code for finding in result.findings} == {"W203", "W323"}
    assert [(i.file_name, i.split) for i in result.dataset.images] == [
        ("images/Train/sub/a.jpg", "train"),
        ("images/Validation/sub/a.jpg", "val"),
    ]


def test_a_box_of_the_group_and_masks_are_exported_in_its_place(tmp_path: Path) -> None:
    """A box or polygon grouped with the skeleton gives the bbox; the polygon is not carried over."""
    make_image(tmp_path / "images/default/sub/a.jpg")
    outline = [[40.0, 40.0, 140.0, 40.0, 140.0, 100.0]]
    save(tmp_path, export(bbox=[40.0, 40.0, 100.0, 60.0], area=3000.0, segmentation=outline), "default")
    result = coco.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert result.dataset.boxes.tolist() == [[40, 40, 140, 100]] and result.dataset.areas.tolist() == [3000]
    assert "annotations.segmentation (1)" in result.findings[0].message


def test_a_skeleton_with_one_point_has_a_box_without_size(tmp_path: Path) -> None:
    make_image(tmp_path / "images/default/sub/a.jpg")
    one = [50.0, 60.0, 2, *([0.0, 0.0, 0] * 7)]
    save(tmp_path, export(keypoints=one, num_keypoints=1, bbox=[50.0, 60.0, 0.0, 0.0], area=0.0), "default")
    result = coco.FORMAT.read([tmp_path], CAR8, ReadOptions())
    assert "E108" in {finding.code for finding in result.findings} and len(result.dataset) == 0
