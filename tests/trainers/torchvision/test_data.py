"""Training samples: each keypoint stays on its own pixels, whatever happens to the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.place import Origin
from posetools.core.skeleton import Skeleton
from posetools.runtime.session import Singles
from posetools.trainers.torchvision.data import Samples
from posetools.trainers.torchvision.model import MEAN, STD, network_of
from posetools.trainers.torchvision.recipe import TrainingRecipe

# Red, green, blue: each keypoint is a square of its own color.
COLORS = {
    "left": (255, 0, 0),
    "right": (0, 255, 0),
    "middle": (0, 0, 255),
    "top": (255, 255, 0),
    "foot": (0, 255, 255),
    "unlabeled": (255, 0, 255),
}
PLANE = Skeleton.model_validate(
    {
        "name": "plane",
        "category": {"name": "plane", "id": 3},
        "keypoints": [
            {"name": "left", "swap": "right"},
            {"name": "right", "swap": "left"},
            {"name": "middle"},
            {"name": "unlabeled"},
        ],
        "sigmas": [0.05] * 4,
        "joint_weights": [1.0] * 4,
    }
)
PYLON = Skeleton.model_validate(
    {
        "name": "pylon",
        "category": {"name": "pylon", "id": 7},
        "keypoints": [{"name": "top"}, {"name": "foot"}],
        "sigmas": [0.05] * 2,
        "joint_weights": [1.0] * 2,
        "flip": True,
    }
)
SIGN = Skeleton.model_validate({"name": "sign", "category": {"name": "sign", "id": 9}, "keypoints": []})
THINGS = Categories((PLANE, PYLON, SIGN))
SIZE = (300, 200)


def painted(folder: Path) -> Dataset:
    """A plane, a pylon and a sign in one image, with a crowd and an object without a width; another image is empty."""
    canvas = np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8)
    builder = DatasetBuilder(THINGS)
    builder.add_image(Image("a.png", *SIZE, path=folder / "a.png"))
    builder.add_image(Image("b.png", *SIZE, path=folder / "b.png"))
    places = {"left": (60, 60), "right": (110, 64), "middle": (84, 100), "top": (200, 50), "foot": (190, 150)}
    for name, (x, y) in places.items():
        canvas[y - 6 : y + 6, x - 6 : x + 6] = COLORS[name]
    seen = {1: (40, 40, 130, 120), 2: (170, 30, 230, 170)}
    for skeleton, box in zip((PLANE, PYLON), seen.values(), strict=True):
        points = [(*places[name], 2) if name in places else (0, 0, 0) for name in skeleton.names]
        at, number = np.array(points, dtype=float), skeleton.category.id
        origin = Origin("a", skeleton.name)
        builder.add_instance("a.png", box=np.array(box), keypoints=at, origin=origin, category_id=number)
    empty = np.zeros((0, 3))
    for box, crowd in (((240, 40, 290, 90), False), ((0, 0, 300, 30), True), ((20, 20, 20, 90), False)):
        origin = Origin("a", str(box))
        at = np.array(box)
        builder.add_instance("a.png", box=at, keypoints=empty, origin=origin, category_id=9, iscrowd=crowd)
    Pillow.fromarray(canvas).save(folder / "a.png")
    Pillow.fromarray(canvas[:, :0:-1] * 0).save(folder / "b.png")
    return builder.build()


def samples(folder: Path, *, flip: bool) -> Samples:
    recipe = TrainingRecipe(
        data=folder,
        input_size=(192, 128),
        batch_size=2,
        epochs=1,
        lr=1e-3,
        warmup_iters=0,
        pretrained="none",
        trainable_layers=6,
        flip=flip,
        evaluations=1,
        seed=5,
    )
    return Samples(painted(folder), network_of(recipe, THINGS), recipe)


def color_at(tensor: Singles, x: float, y: float) -> tuple[bool, ...]:
    """Return which of red, green, blue are bright at a location."""
    height, width = tensor.shape[1:]
    pixel = tensor[:, min(int(y), height - 1), min(int(x), width - 1)] * np.array(STD) + np.array(MEAN)
    return tuple((pixel[::-1] > 120).tolist())


def test_keypoints_stay_on_their_pixels_and_change_names_in_a_mirrored_image(tmp_path: Path) -> None:
    made, mirrored, points = samples(tmp_path, flip=True), 0, 0
    for epoch in range(40):
        tensor, targets = made.sample(0, epoch)
        for keypoints, label in zip(targets["keypoints"], targets["labels"], strict=True):
            for (x, y, seen), name in zip(keypoints, THINGS.names, strict=True):
                # At the edge of the input a square is cut.
                if seen and 4 < x < 188 and 4 < y < 124:
                    points += 1
                    found = color_at(tensor, x, y)
                    own = tuple(value > 0 for value in COLORS[name])
                    other = COLORS[{"left": "right", "right": "left"}.get(name, name)]
                    assert found in (own, tuple(value > 0 for value in other))
                    mirrored += found != own
            wanted = {1: {"left", "right", "middle"}, 2: {"top", "foot"}, 3: set()}[int(label)]
            assert {name for name, point in zip(THINGS.names, keypoints, strict=True) if point[2]} <= wanted
    assert points > 100
    # In a mirrored image the left keypoint is where the right one was painted.
    assert mirrored > 20


def test_without_a_flip_no_keypoint_changes_its_name(tmp_path: Path) -> None:
    made = samples(tmp_path, flip=False)
    for epoch in range(20):
        tensor, targets = made.sample(0, epoch)
        for keypoints in targets["keypoints"]:
            for (x, y, seen), name in zip(keypoints, THINGS.names, strict=True):
                if seen and 4 < x < 188 and 4 < y < 124:
                    assert color_at(tensor, x, y) == tuple(value > 0 for value in COLORS[name])


def test_boxes_are_in_the_input_and_crowds_are_left_out(tmp_path: Path) -> None:
    made = samples(tmp_path, flip=True)
    for epoch in range(20):
        _, targets = made.sample(0, epoch)
        assert (targets["boxes"] >= 0).all()
        assert (targets["boxes"] <= [192, 128, 192, 128]).all()
        assert (targets["boxes"][:, 2:] - targets["boxes"][:, :2] >= 2).all()
        # A crowd and an object without a width are no targets: at most one sign.
        assert (targets["labels"] == 3).sum() <= 1
    _, nothing = made.sample(1, 0)
    assert nothing["boxes"].shape == (0, 4)
    assert nothing["keypoints"].shape == (0, len(THINGS.names), 3)


def test_an_epoch_has_each_image_once_and_the_same_samples_again(tmp_path: Path) -> None:
    made = samples(tmp_path, flip=True)
    batches = [list(made.epoch(4)) for _ in range(2)]
    assert [len(batch) for batch in batches[0]] == [2]
    for one, other in zip(batches[0][0], batches[1][0], strict=True):
        assert (one[0] == other[0]).all()
        assert all((one[1][name] == other[1][name]).all() for name in one[1])
    assert sorted(len(targets["boxes"]) > 0 for _, targets in batches[0][0]) == [False, True]
