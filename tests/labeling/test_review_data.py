"""The input of a review: unreadable images, predictions by name or by id, and image features."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posetools.core.dataset import Image
from posetools.core.skeleton import load_skeleton
from posetools.errors import RequestError
from posetools.labeling.review.data import Candidate, Candidates, features, predicted, read_candidates, with_predictions
from posetools.prediction.read import ImagePredictions
from posetools.progress import silent
from tests.build import make_image
from tests.finding import make_pipeline

CAR8 = load_skeleton("car8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a.jpg", "sub/b.jpg")):
        make_image(tmp_path / "p" / name, seed=seed)
    (tmp_path / "p" / "broken.jpg").write_bytes(b"no image")
    return tmp_path / "p"


def test_an_image_that_cannot_be_read_is_left_out_with_a_note(folder: Path) -> None:
    found = read_candidates(folder, "car8", silent)
    assert [one.image.file_name for one in found.images] == ["a.jpg", "sub/b.jpg"]
    (note,) = found.notes
    assert note.startswith(f"{folder / 'broken.jpg'}: image cannot be read")
    assert note.endswith("; it is left out")


def test_a_folder_without_images_and_none_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="must be a folder with images, or a data set, got 'no image in it'"):
        read_candidates(tmp_path, None, silent)
    with pytest.raises(RequestError, match=r"nowhere must be a folder with images.* got 'nothing there'"):
        read_candidates(tmp_path / "nowhere", None, silent)


def test_what_a_pipeline_cannot_read_is_left_out_with_a_note(folder: Path) -> None:
    good = read_candidates(folder, "car8", silent).images
    gone = Candidate(Image("gone.jpg", 9, 9, path=folder / "gone.jpg"), None)
    nowhere = Candidate(Image("nowhere.jpg", 9, 9), None)
    told: list[tuple[str, int, int]] = []
    candidates = Candidates((good[0], gone, nowhere, good[1]), CAR8, notes=("before",))
    got = predicted(candidates, make_pipeline(), lambda *step: told.append(step))
    assert [one.image.file_name for one in got.images] == ["a.jpg", "sub/b.jpg"]
    assert all(one.found is not None and len(one.found.boxes) for one in got.images)
    assert got.notes[0] == "before"
    assert got.notes[1].startswith(f"{folder / 'gone.jpg'}: ") and got.notes[1].endswith("; it is left out")
    assert got.notes[2] == "nowhere.jpg: has no file; it is left out"
    assert [(done, total) for _, done, total in told] == sorted((done, total) for _, done, total in told)


def test_predictions_of_other_images_are_refused_and_of_some_are_counted(folder: Path) -> None:
    candidates = read_candidates(folder, "car8", silent)
    file = folder.parent / "predictions.json"

    def write(*names: str) -> None:
        one = {
            "box": [0.0, 0.0, 9.0, 9.0],
            "score": 0.5,
            "keypoints": {name: [1.0, 1.0] for name in CAR8.names},
            "keypoint_scores": dict.fromkeys(CAR8.names, 0.5),
        }
        images = [{"file_name": name, "width": 320, "height": 240, "instances": [one]} for name in names]
        document = {"keypoint_names": list(CAR8.names), "pictures": images}
        file.write_text(json.dumps(document))

    write("x.jpg")
    with pytest.raises(RequestError, match=r"images must be those of the data, such as 'a.jpg', got 'x.jpg'"):
        with_predictions(candidates, file)
    write("sub/b.jpg")
    got = with_predictions(candidates, file)
    assert [one.image.file_name for one in got.images] == ["sub/b.jpg"]
    assert got.notes[-1] == f"{file}: has no predictions for 1 images, which are left out"


def test_images_are_told_apart_by_gray_values_and_by_where_objects_are(folder: Path) -> None:
    first, second = read_candidates(folder, "car8", silent).images
    box = np.array([[80.0, 60.0, 240.0, 180.0]])
    none = np.zeros((0, 4))
    points = np.zeros((1, 8, 2))
    found = ImagePredictions("a.jpg", box, np.ones(1), points, np.ones((1, 8)))
    nothing = ImagePredictions("a.jpg", none, np.ones(0), points[:0], np.ones((0, 8)))
    broken = Candidate(Image("broken.jpg", 9, 9, path=folder / "broken.jpg"), None)
    rows = features(
        [
            first,
            second,
            replace(first, found=found),
            replace(first, found=nothing),
            broken,
            Candidate(broken.image, None),
        ],
        silent,
    )
    looks, layout = rows[:, :-4], rows[:, -4:]
    assert not np.allclose(looks[0], looks[1])
    assert looks[0].tolist() == looks[2].tolist()
    # Unreadable images are gray.
    assert set(looks[4].tolist()) == {looks[4][0]}
    assert layout[[0, 1, 3, 4]].tolist() == [[0.0] * 4] * 4
    np.testing.assert_allclose(layout[2], [1 / 8, 0.5, 0.5, 0.5])
    assert features([], silent).shape == (0, rows.shape[1])
