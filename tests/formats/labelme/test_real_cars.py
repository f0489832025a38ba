"""Three real street photos with labelme files: read without an error. They are not part of the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import posetools.formats.labelme.format as labelme
from posetools.core.findings import has_errors
from posetools.core.skeleton import load_skeleton
from posetools.formats.options import ReadOptions

FOLDER = Path(__file__).resolve().parents[3].parent / "shared" / "real_cars"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the photos are not there ({FOLDER.name})")


def test_ten_cars_with_hidden_points() -> None:
    result = labelme.FORMAT.read([FOLDER], load_skeleton("car8"), ReadOptions())
    assert not has_errors(result.findings), result.findings
    dataset = result.dataset
    assert [image.file_name for image in dataset.images] == [
        "kitti_000008.png",
        "nuscenes_cam_back.jpg",
        "nuscenes_cam_front.jpg",
    ]
    assert len(dataset) == 10 and result.files == 3
    visibility = dataset.visibility
    # A car occludes part of itself: every whole one shows some points and hides others.
    whole = visibility[(visibility > 0).all(axis=1)]
    assert len(whole) >= 5
    assert ((whole == 1).any(axis=1) & (whole == 2).any(axis=1)).all()
    # The files have no points outside the image, so all labeled points are in it.
    for instance in dataset:
        labeled = instance.keypoints[instance.keypoints[:, 2] > 0, :2]
        assert len(labeled) >= 2
        assert ((labeled >= 0) & (labeled <= np.array(instance.image.size))).all()
