"""Public data sets from their raw folder to a valid data set by one command, without a skeleton file.

Small stand-ins of the layouts, with the real names of files, keys, categories and keypoints.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO

from posetools.core.folder import categories_of
from posetools.core.skeleton import Skeleton, load_skeleton, read_skeleton
from tests.build import make_image
from tests.cli.run import Done, run

Category = Mapping[str, Any]
SIZE = (320, 240)
COCO17 = load_skeleton("coco17")


def write_coco(
    file: Path,
    images: Mapping[str, Path],
    categories: Sequence[Category],
    *,
    points: int,
    first: int = 1,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write a COCO file with an object of the last category on each image.

    Args:
        file: the file.
        images: file name as written -> where the image is.
        categories: as written.
        points: the number of keypoints.
        first: the first id.
        more: further keys of the file.
    """
    annotations = []
    for number, path in enumerate(images.values(), start=first):
        make_image(path, SIZE, seed=number)
        keypoints, box = object_of(points, number)
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": categories[-1]["id"],
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
                "num_keypoints": points,
                "keypoints": [value for point in keypoints for value in (*point, 2)],
                "segmentation": [],
            }
        )
    listed = [
        {"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1], "license": 1}
        for number, name in enumerate(images, start=first)
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": listed, "annotations": annotations, "categories": categories}
    file.write_text(json.dumps({**content, **(more or {})}), encoding="utf-8")


def object_of(points: int, seed: int) -> tuple[list[list[float]], list[float]]:
    """Return the keypoints of an object, in pixels, and its box."""
    rng = np.random.default_rng(seed)
    keypoints = (rng.uniform(0.2, 0.8, (points, 2)) * SIZE).round(1)
    corner, end = keypoints.min(axis=0) - 5, keypoints.max(axis=0) + 5
    return keypoints.tolist(), [*corner.round(1).tolist(), *(end - corner).round(1).tolist()]


def write_yolo(folder: Path, names: Sequence[str], points: int) -> None:
    """Write images and labels of a split, in folders ``images`` and ``labels``."""
    for name in names:
        number = sum(name.encode())
        make_image(folder / "images" / f"{name}.jpg", SIZE, seed=number)
        keypoints, (x, y, width, height) = object_of(points, number)
        numbers = [(x + width / 2) / SIZE[0], (y + height / 2) / SIZE[1], width / SIZE[0], height / SIZE[1]]
        numbers += [value for px, py in keypoints for value in (px / SIZE[0], py / SIZE[1], 2)]
        label = folder / "labels" / f"{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(" ".join(["0", *(f"{value:.6f}" for value in numbers)]) + "\n", encoding="utf-8")


def names_of(start: int, number: int) -> list[str]:
    return [f"{at:012d}.jpg" for at in range(start, start + number)]


def coco_person(root: Path) -> None:
    category = {
        "supercategory": "person",
        "id": 1,
        "name": "person",
        "keypoints": list(COCO17.names),
        "skeleton": COCO17.coco_edges,
    }
    for split, start in (("train2017", 1), ("val2017", 101)):
        images = {name: root / split / name for name in names_of(start, 4)}
        more = {"info": {"description": "COCO 2017 Dataset"}, "licenses": [{"id": 1, "name": "x", "url": "y"}]}
        file = root / "annotations" / f"person_keypoints_{split}.json"
        write_coco(file, images, [category], points=17, first=start, more=more)
        instances = json.loads(file.read_text(encoding="utf-8"))
        instances["categories"] = [{"supercategory": "person", "id": 1, "name": "person"}]
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(instances), encoding="utf-8")


AP10K = (
    "left_eye", "right_eye", "nose", "neck", "root_of_tail", "left_shoulder", "left_elbow", "left_front_paw",
    "right_shoulder", "right_elbow", "right_front_paw", "left_hip", "left_knee", "left_back_paw", "right_hip",
    "right_knee", "right_back_paw",
)  # fmt: skip
AP10K_LINKS = [
    [1, 2], [1, 3], [2, 3], [3, 4], [4, 5], [4, 6], [6, 7], [7, 8], [4, 9], [9, 10], [10, 11], [5, 12], [12, 13],
    [13, 14], [5, 15], [15, 16], [16, 17],
]  # fmt: skip


def ap10k(root: Path) -> None:
    category = {
        "id": 8,
        "name": "dog",
        "supercategory": "Canidae",
        "keypoints": list(AP10K),
        "skeleton": AP10K_LINKS,
    }
    for split, start in (("train", 1), ("val", 101), ("test", 201)):
        images = {name: root / "data" / name for name in names_of(start, 3)}
        file = root / "annotations" / f"ap10k-{split}-split1.json"
        write_coco(file, images, [category], points=17, first=start, more={"info": {"description": "AP-10k"}})


def test_species_share_the_skeleton_that_their_entries_repeat(tmp_path: Path) -> None:
    """Three of AP-10K's 54 species: their ids stay, and one pose estimator learns from all of them."""
    ap10k(tmp_path / "ap")
    species = {8: "dog", 5: "cat", 21: "zebra"}
    for file in (tmp_path / "ap/annotations").glob("*.json"):
        document = json.loads(file.read_text(encoding="utf-8"))
        entry = document["categories"][0]
        document["categories"] = [{**entry, "id": number, "name": name} for number, name in species.items()]
        for one, number in zip(document["annotations"], species, strict=True):
            one["category_id"] = number
        file.write_text(json.dumps(document), encoding="utf-8")
    done = run("convert", tmp_path / "ap", "--out", tmp_path / "out")
    assert done.status == 0, done.words
    assert "skeleton dog: categories 'dog', 'cat', 'zebra', 17 keypoints" in done.words
    (group,) = categories_of(tmp_path / "out").posed.values()
    assert {number: one.category.name for number, one in group.items()} == species
    coco = COCO(str(tmp_path / "out/train_coco.json"))
    assert {one["id"]: (one["name"], one["keypoints"]) for one in coco.loadCats(coco.getCatIds())} == {
        number: (name, list(AP10K)) for number, name in species.items()
    }
    assert all(len(coco.getAnnIds(catIds=[number])) == 1 for number in species)
    assert run("validate", tmp_path / "out").status == 0


def cofw(root: Path) -> None:
    category = {"supercategory": "person", "id": 1, "name": "face", "keypoints": [], "skeleton": []}
    for split, start in (("train", 1), ("test", 101)):
        images = {f"{at:06d}.jpg": root / "images" / f"{at:06d}.jpg" for at in range(start, start + 4)}
        write_coco(root / "annotations" / f"cofw_{split}.json", images, [category], points=29, first=start)


CARFUSION = (
    "Right_Front_wheel", "Left_Front_wheel", "Right_Back_wheel", "Left_Back_wheel", "Right_Front_HeadLight",
    "Left_Front_HeadLight", "Right_Back_HeadLight", "Left_Back_HeadLight", "Exhaust", "Right_Front_Top",
    "Left_Front_Top", "Right_Back_Top", "Left_Back_Top", "Center",
)  # fmt: skip
CARFUSION_LINKS = [
    [0, 2], [1, 3], [0, 1], [2, 3], [9, 11], [10, 12], [9, 10], [11, 12], [4, 0], [4, 9], [4, 5], [5, 1], [5, 10],
    [6, 2], [6, 11], [7, 3], [7, 12], [6, 7],
]  # fmt: skip


def carfusion(root: Path, names: Sequence[str] = CARFUSION) -> None:
    category = {
        "name": "car",
        "id": 1,
        "skeleton": CARFUSION_LINKS,
        "supercategory": "car",
        "keypoints": list(names),
    }
    for split, start in (("train", 1), ("test", 101)):
        files = [("car_craig1", f"{at % 3}_{at:04d}.jpg") for at in range(start, start + 4)]
        images = {f"{clip}\\images_jpg\\{name}": root / split / clip / "images_jpg" / name for clip, name in files}
        write_coco(root / "annotations" / f"car_keypoints_{split}.json", images, [category], points=14, first=start)


def carfusion_by_number(root: Path) -> None:
    carfusion(root, [str(number) for number in range(14)])


HAND = (
    "wrist",
    *(
        f"{finger}{joint}"
        for finger in ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
        for joint in range(1, 5)
    ),
)
HAND_LINKS = [
    [a, b] for start in range(2, 22, 4) for a, b in ((1, start), *((at, at + 1) for at in range(start, start + 3)))
]


def onehand10k(root: Path) -> None:
    category = {"supercategory": "hand", "id": 1, "name": "hand", "keypoints": list(HAND), "skeleton": HAND_LINKS}
    for split, start in (("train", 1), ("test", 101)):
        names = [f"{split.title()}/source/{at}.jpg" for at in range(start, start + 4)]
        images = {name: root / name for name in names}
        file = root / "annotations" / f"onehand10k_{split}.json"
        write_coco(file, images, [category], points=21, first=start, more={"licenses": ""})


PUPPY = ("nose", "left_ear", "right_ear", "tail")


def roboflow_coco(root: Path) -> None:
    empty = {"id": 0, "name": "puppies", "supercategory": "none"}
    puppy = {
        "id": 1,
        "name": "puppy",
        "supercategory": "puppies",
        "keypoints": list(PUPPY),
        "skeleton": [[1, 2], [1, 3], [1, 4]],
    }
    for split, start in (("train", 0), ("valid", 100), ("test", 200)):
        files = [f"IMG_{at}_jpg.rf.0a1b2c3d4e5f.jpg" for at in range(start, start + 3)]
        more = {"info": {"year": "2024", "version": "1"}, "licenses": [{"id": 1, "url": "x", "name": "CC BY 4.0"}]}
        images = {name: root / split / name for name in files}
        write_coco(root / split / "_annotations.coco.json", images, [empty, puppy], points=4, first=start, more=more)
    (root / "README.dataset.txt").write_text("puppies\n")


def roboflow_yolo(root: Path) -> None:
    declared = {
        "train": "../train/images",
        "val": "../valid/images",
        "test": "../test/images",
        "kpt_shape": [4, 3],
        "flip_idx": [0, 2, 1, 3],
        "nc": 1,
        "names": ["puppy"],
        "roboflow": {"workspace": "w", "project": "p", "version": 1, "license": "CC BY 4.0", "url": "u"},
    }
    root.mkdir(parents=True)
    (root / "data.yaml").write_text(yaml.safe_dump(declared, sort_keys=False), encoding="utf-8")
    for split in ("train", "valid", "test"):
        write_yolo(root / split, [f"{split}_{at}_jpg.rf.0a1b" for at in range(3)], 4)


DOG_POSE = (
    "front_left_paw", "front_left_knee", "front_left_elbow", "rear_left_paw", "rear_left_knee", "rear_left_elbow",
    "front_right_paw", "front_right_knee", "front_right_elbow", "rear_right_paw", "rear_right_knee",
    "rear_right_elbow", "tail_start", "tail_end", "left_ear_base", "right_ear_base", "nose", "chin", "left_ear_tip",
    "right_ear_tip", "left_eye", "right_eye", "withers", "throat",
)  # fmt: skip


def dog_pose(root: Path) -> None:
    root.mkdir(parents=True)
    named = "\n".join(f"    - {name}" for name in DOG_POSE)
    text = f"""\
# Dogs dataset
path: ../datasets/dog-pose # dataset root dir
train: images/train # train images (relative to 'path') 6773 images
val: images/val # val images (relative to 'path') 1703 images

# Keypoints
kpt_shape: [24, 3] # number of keypoints, number of dims (2 for x,y or 3 for x,y,visible)

# Classes
names:
  0: dog

# Keypoint names per class
kpt_names:
  0:
{named}
"""
    (root / "dog-pose.yaml").write_text(text, encoding="utf-8")
    for split in ("train", "val"):
        write_yolo(root / "parts", [f"{split}_{at}" for at in range(3)], 24)
        for kind in ("images", "labels"):
            (root / kind).mkdir(exist_ok=True)
            (root / "parts" / kind).rename(root / kind / split)
    (root / "parts").rmdir()


# Layout -> category, names, left/right pairs, whether the source has links.
LAYOUTS: dict[Callable[[Path], None], tuple[str, Sequence[str], Sequence[tuple[str, str]], int]] = {
    coco_person: ("person", COCO17.names, COCO17.pairs, 19),
    ap10k: (
        "dog",
        AP10K,
        [(name, name.replace("left", "right")) for name in AP10K if name.startswith("left")],
        17,
    ),
    cofw: ("face", [f"kpt_{at}" for at in range(29)], [], 0),
    carfusion: (
        "car",
        CARFUSION,
        [
            ("Right_Front_wheel", "Left_Front_wheel"),
            ("Right_Back_wheel", "Left_Back_wheel"),
            ("Right_Front_HeadLight", "Left_Front_HeadLight"),
            ("Right_Back_HeadLight", "Left_Back_HeadLight"),
            ("Right_Front_Top", "Left_Front_Top"),
            ("Right_Back_Top", "Left_Back_Top"),
        ],
        18,
    ),
    carfusion_by_number: ("car", [str(at) for at in range(14)], [], 18),
    onehand10k: ("hand", HAND, [], 20),
    roboflow_coco: ("puppy", PUPPY, [("left_ear", "right_ear")], 3),
    roboflow_yolo: ("puppy", ["kpt_0", "kpt_1", "kpt_2", "kpt_3"], [("kpt_1", "kpt_2")], 0),
    dog_pose: (
        "dog",
        DOG_POSE,
        [
            ("front_left_paw", "front_right_paw"),
            ("front_left_knee", "front_right_knee"),
            ("front_left_elbow", "front_right_elbow"),
            ("rear_left_paw", "rear_right_paw"),
            ("rear_left_knee", "rear_right_knee"),
            ("rear_left_elbow", "rear_right_elbow"),
            ("left_ear_base", "right_ear_base"),
            ("left_ear_tip", "right_ear_tip"),
            ("left_eye", "right_eye"),
        ],
        0,
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_a_public_set_becomes_a_valid_one_by_one_command(layout: Callable[[Path], None], tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    layout(source)
    category, names, pairs, links = LAYOUTS[layout]
    done = run("convert", source, "--out", out)
    assert done.status == 0, done.words
    skeleton = read_skeleton(out / "skeleton.yaml")
    assert (skeleton.category.name, skeleton.category.id) == (category, 1)
    assert skeleton.names == tuple(names)
    assert sorted(skeleton.pairs) == sorted(pairs)
    assert len(skeleton.links) == links
    assert_written(out, skeleton)
    assert_told(done, skeleton)
    checked = run("validate", out)
    assert checked.status == 0, checked.words


def assert_written(out: Path, skeleton: Skeleton) -> None:
    """Assert that pycocotools reads every object with its keypoints."""
    for file in out.glob("*_coco.json"):
        coco = COCO(str(file))
        (category,) = coco.loadCats(coco.getCatIds())
        assert category["keypoints"] == list(skeleton.names)
        assert category["skeleton"] == skeleton.coco_edges
        assert len(coco.anns) == len(coco.imgs) > 0
        assert {one["num_keypoints"] for one in coco.anns.values()} == {skeleton.num_keypoints}


def assert_told(done: Done, skeleton: Skeleton) -> None:
    """Assert that the summary shows the skeleton, its pairs, and what the source does not declare."""
    assert f"category {skeleton.category.name!r}, {skeleton.num_keypoints} keypoints" in done.words
    assert "left/right pairs: " + (" - ".join(skeleton.pairs[0]) if skeleton.pairs else "none") in done.words
    is_own = skeleton != COCO17
    assert ("note: sigmas are 0.05, a default" in done.words) == is_own
    assert ("note: no links are declared" in done.words) == (not skeleton.links)
    assert ("--kpt-order A,B,... names them" in done.words) == skeleton.names[0].startswith(("kpt_", "0"))
