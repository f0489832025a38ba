"""A tiny COCO data set, written without the package's own writer."""

from __future__ import annotations

import json
from pathlib import Path

from posetools.core.skeleton import Skeleton, load_skeleton
from tests.build import make_dataset


def write_coco(
    folder: Path,
    *,
    skeleton: Skeleton | None = None,
    train: int = 4,
    val: int = 2,
    empty: int = 0,
    size: tuple[int, int] = (96, 64),
    images: bool = False,
) -> Path:
    """Write train_coco.json and val_coco.json; the first ``empty`` images of train have no object."""
    skeleton = skeleton or load_skeleton("car8")
    for split, count in (("train", train), ("val", val)):
        names = [f"{split}{number}.png" for number in range(count)]
        dataset = make_dataset(
            folder / "images" if images else None, skeleton=skeleton, images=names, size=size, seed=len(split)
        )
        bare = set(range(empty)) if split == "train" else set()
        annotations = []
        for row, instance in enumerate(dataset):
            if int(dataset.image_index[row]) in bare:
                continue
            x1, y1, x2, y2 = instance.box.tolist()
            annotations.append(
                {
                    "id": row + 1,
                    "image_id": int(dataset.image_index[row]) + 1,
                    "category_id": skeleton.category.id,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                    "keypoints": instance.keypoints.ravel().tolist(),
                    "num_keypoints": int(dataset.num_labeled[row]),
                    "segmentation": [],
                }
            )
        document = {
            "images": [
                {"id": i + 1, "file_name": image.file_name, "width": image.width, "height": image.height}
                for i, image in enumerate(dataset.images)
            ],
            "annotations": annotations,
            "categories": [
                {
                    "id": skeleton.category.id,
                    "name": skeleton.category.name,
                    "keypoints": list(skeleton.names),
                    "skeleton": skeleton.coco_edges,
                }
            ],
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{split}_coco.json").write_text(json.dumps(document), encoding="utf-8")
    return folder
