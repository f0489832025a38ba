"""The rotation of objects, measured on 3-D objects seen by synthetic cameras."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from posetools.core.categories import Categories
from posetools.core.geometry import Floats
from posetools.core.skeleton import Skeleton, load_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.errors import InputError
from posetools.recipes.choose import choose
from posetools.recipes.facts import read_facts
from posetools.recipes.options import RecipeOptions
from posetools.recipes.orientation import Orientation, orientation
from posetools.recipes.recipe import Choice
from tests.diagnosing import cars
from tests.recipes.sample import write_coco
from tools.sample_data import REFERENCE

# Forwards, to the left, upwards. Neither is rotated in an image when seen from the side or from the front.
DOG = np.array(
    [[0.9, 0, 0.8], [0.75, 0.08, 0.95], [0.75, -0.08, 0.95], [0.6, 0, 0.7], [-0.5, 0, 0.7], [-0.9, 0, 0.85]]
    + [[x, y, 0.0] for x in (0.45, -0.45) for y in (0.12, -0.12)]
)
CAR = np.array([[p.at[0], p.at[1], p.at[2]] for p in load_skeleton("car8").template.points])  # type: ignore[union-attr]
BEETLE = np.array([[1, 0, 0], [0.6, 0, 0], [-0.6, 0, 0], [-1, 0, 0], [0.4, 0.7, 0], [0.4, -0.7, 0], [-0.3, 0.8, 0]])
BICYCLE = np.array([[0.55, 0, 0.35], [-0.5, 0, 0.35], [0.45, 0.25, 1], [0.45, -0.25, 1], [-0.2, 0, 0.95], [0, 0, 0.3]])
DOG_SKELETON = draft_skeleton("dog", [f"p{number}" for number in range(len(DOG))], "dog").skeleton


def seen(
    shape: Floats, number: int, elevation: tuple[float, float], *, roll: float = 0.0, missing: float = 0.25
) -> Floats:
    """Return (N, K, 3) keypoints of objects with any heading, seen by a camera tilted down by some degrees."""
    rng = np.random.default_rng(7)
    objects = shape + 0.05 * rng.normal(size=(number, *shape.shape))
    heading = rng.uniform(0, 2 * np.pi, (number, 1))
    down = np.radians(rng.uniform(*elevation, (number, 1)))
    x = objects[..., 0] * np.cos(heading) - objects[..., 1] * np.sin(heading)
    y = objects[..., 0] * np.sin(heading) + objects[..., 1] * np.cos(heading)
    depth = y * np.cos(down) - objects[..., 2] * np.sin(down)
    up = y * np.sin(down) + objects[..., 2] * np.cos(down)
    flat = (x - 1j * up) / (1 + 0.15 * depth) * np.exp(1j * rng.uniform(-roll, roll, (number, 1)))
    labeled = rng.random(flat.shape) >= missing
    keypoints: Floats = np.dstack([200 * flat.real + 300, 200 * flat.imag + 300, 2.0 * labeled]) * labeled[..., None]
    return keypoints


def spread(keypoints: Floats) -> float:
    found = orientation(keypoints, np.arange(len(keypoints))).spread
    assert found is not None
    return found


@pytest.mark.parametrize("number", [60, 400])
@pytest.mark.parametrize(("shape", "elevation"), [(CAR, (3, 20)), (CAR, (20, 45)), (DOG, (0, 30)), (BICYCLE, (0, 20))])
def test_what_stands_upright_is_hardly_turned_from_whatever_side_it_is_seen(
    number: int, shape: Floats, elevation: tuple[float, float]
) -> None:
    assert spread(seen(shape, number, elevation)) < 13


@pytest.mark.parametrize("number", [60, 400])
@pytest.mark.parametrize(
    ("shape", "elevation", "roll"),
    [
        (CAR, (70, 90), 0),
        (DOG, (75, 90), 0),
        (BEETLE, (85, 90), 0),
        (BICYCLE, (0, 20), np.pi),
        (BEETLE[:3], (85, 90), 0),
    ],
)
def test_what_lies_at_all_angles_is_turned_by_any(
    number: int, shape: Floats, elevation: tuple[float, float], roll: float
) -> None:
    assert 36 < spread(seen(shape, number, elevation, roll=roll, missing=0.25 if len(shape) > 3 else 0)) < 52


def test_cars_as_the_renderer_places_them_stand_upright() -> None:
    dataset = cars(60)
    found = orientation(dataset.keypoints, dataset.image_index)
    assert found.objects > 100
    assert found.spread is not None
    assert found.spread < 8


def test_a_tilt_in_between_is_measured() -> None:
    """Between two tilts of up to 45 degrees either way, the median is 45 x (2 - sqrt(2)) = 26 degrees."""
    keypoints = seen(DOG, 400, (0, 0.1), roll=np.pi / 4, missing=0)
    assert spread(keypoints) == pytest.approx(26, abs=4)


def test_few_objects_shapes_without_likeness_and_one_image_say_nothing() -> None:
    assert orientation(seen(DOG, 20, (0, 30)), np.arange(20)).spread is None
    rng = np.random.default_rng(0)
    noise = np.dstack([rng.uniform(0, 100, (200, 8, 2)), np.full((200, 8), 2.0)])
    assert orientation(noise, np.arange(200)).spread is None
    assert orientation(seen(BEETLE, 200, (85, 90)), np.zeros(200, dtype=np.int64)) == Orientation(0, None)
    assert orientation(seen(DOG[:1], 200, (0, 30)), np.arange(200)).spread is None


def data_set(folder: Path, keypoints: Floats, skeleton: Skeleton) -> Path:
    write_coco(folder, skeleton=skeleton, train=len(keypoints), val=2)
    path = folder / "train_coco.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    for entry, points in zip(document["annotations"][::2], keypoints.tolist(), strict=True):
        entry.update(
            keypoints=[number for point in points for number in point],
            num_keypoints=sum(point[2] > 0 for point in points),
        )
    for entry in document["annotations"][1::2]:
        entry.update(num_keypoints=0)
    path.write_text(json.dumps(document), encoding="utf-8")
    return folder


def rotation(folder: Path, skeleton: Skeleton = DOG_SKELETON, **pose: object) -> Choice:
    options = RecipeOptions.model_validate({"pose": pose})
    recipe = choose(options, read_facts(folder, Categories.of(skeleton)), REFERENCE, Categories.of(skeleton))
    row = next(row for row in recipe.choices if row.field == "rotation")
    assert recipe.pose.because["rotation"].value == int(row.chosen)
    return row


@pytest.mark.parametrize(
    ("elevation", "roll", "strong", "light", "reason"),
    [
        ((0, 30), 0.0, "30", "15", "rotated by 5 degrees relative to each other (median of 63): they are upright"),
        ((75, 90), 0.0, "180", "180", " relative to each other (median of 80): all angles"),
        # Up to 0.6 either way is 34 degrees, and the median between two such tilts 34 x (2 - sqrt(2)) = 20.
        (
            (0, 0.1),
            0.6,
            "40",
            "40",
            "rotated by 20 degrees relative to each other (median of 75): twice that",
        ),
    ],
)
def test_images_are_turned_as_far_as_the_objects_are(
    tmp_path: Path, elevation: tuple[float, float], roll: float, strong: str, light: str, reason: str
) -> None:
    data_set(tmp_path, seen(DOG, 80, elevation, roll=roll, missing=0.1), DOG_SKELETON)
    for augmentation, degrees in (("strong", strong), ("light", light)):
        row = rotation(tmp_path, augmentation=augmentation)
        assert (row.stock, row.chosen, row.stated) == ("80, 60", degrees, False)
        assert reason in row.reason


def test_an_option_wins_over_the_skeleton_file_which_wins_over_the_data(tmp_path: Path) -> None:
    data_set(tmp_path, seen(DOG, 80, (75, 90)), DOG_SKELETON)
    stating = DOG_SKELETON.model_copy(update={"rotation": 60})
    assert rotation(tmp_path).chosen == "180"
    for augmentation in ("strong", "light"):
        row = rotation(tmp_path, stating, augmentation=augmentation)
        assert (row.chosen, row.reason, row.stated) == ("60", "degrees: set in the skeleton dog", False)
    row = rotation(tmp_path, stating, rotation=0)
    assert (row.chosen, row.reason, row.stated) == ("0", "set by you", True)


def test_too_few_objects_get_the_usual_angles(tmp_path: Path) -> None:
    row = rotation(data_set(tmp_path, seen(DOG, 12, (75, 90)), DOG_SKELETON))
    assert row.chosen == "15"
    assert row.reason == "degrees: 12 objects of similar shape are too few to measure their rotation"


@pytest.mark.parametrize("points", [[1.0, 2.0, 2.0], ["x"] * 30, [[1.0, 2.0, 2.0]] * 10 + [3]])
def test_keypoints_that_are_no_lists_of_numbers_are_refused(tmp_path: Path, points: list[object]) -> None:
    path = data_set(tmp_path, seen(DOG, 40, (0, 30)), DOG_SKELETON) / "train_coco.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["annotations"][6]["keypoints"] = points
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match=r"train_coco\.json: annotations: keypoints must be lists") as caught:
        read_facts(tmp_path, Categories.of(DOG_SKELETON))
    assert "posetools validate" in str(caught.value)


@pytest.mark.train
def test_mmpose_turns_to_either_side_by_up_to_that_angle() -> None:
    from mmpose.datasets.transforms import RandomBBoxTransform

    np.random.seed(0)
    boxes = {"bbox_center": np.zeros((4000, 2)), "bbox_scale": np.ones((4000, 2))}
    angles = RandomBBoxTransform(rotate_factor=180).transform(boxes)["bbox_rotation"]
    turned = np.abs(angles[angles != 0])
    # A normal distribution with deviation 180, truncated there: nearly as many above 90 degrees as below.
    assert 170 < turned.max() <= 180
    assert np.mean(turned > 90) == pytest.approx(0.438, abs=0.03)
