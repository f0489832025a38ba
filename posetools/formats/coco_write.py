"""Writing COCO keypoint files; the format is described in posetools/formats/coco.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posetools.dataset import Dataset, Image
from posetools.dataset_folder import IMAGES, SPLITS, ann_file
from posetools.errors import InputError, must_be
from posetools.files import Transfer, transfer, write_json
from posetools.formats.coco_model import plain_number
from posetools.formats.coco_sources import safe_name
from posetools.geometry import xywh_from_xyxy
from posetools.skeleton import Skeleton


def write(splits: Mapping[str, Dataset], folder: Path, images: Transfer) -> None:
    """Write ``images/`` and one COCO file per split; ids run on from split to split, train and val first.

    Raises:
        InputError: a picture is in two splits, has a name that leaves the folder, or no known file.
        OutputError: a file cannot be written.
    """
    seen: dict[str, str] = {}
    first_image = first_annotation = 1
    for split in sorted(splits, key=lambda name: (name not in SPLITS, SPLITS.index(name) if name in SPLITS else name)):
        dataset = splits[split]
        for image in dataset.images:
            if image.file_name in seen:
                problem = must_be("file_name", f"in one split only ({seen[image.file_name]} has it)", split)
                raise InputError(image.file_name, "", problem)
            seen[image.file_name] = split
            transfer(_path(image), folder / IMAGES / image.file_name, images)
        write_split(dataset, ann_file(folder, split), first_image=first_image, first_annotation=first_annotation)
        first_image += len(dataset.images)
        first_annotation += len(dataset)


def write_split(dataset: Dataset, path: Path, *, first_image: int = 1, first_annotation: int = 1) -> None:
    """Write one COCO file, without the pictures.

    Args:
        dataset: the pictures and objects.
        path: the file.
        first_image: the id of the first picture, in order of file name.
        first_annotation: the id of the first object.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(
        path,
        {
            "info": {"description": f"{dataset.skeleton.name} keypoints", "version": "1.0"},
            "licenses": [],
            "images": [
                {"id": first_image + i, "file_name": image.file_name, "width": image.width, "height": image.height}
                for i, image in enumerate(dataset.images)
            ],
            "annotations": _annotations(dataset, first_image, first_annotation),
            "categories": [category_entry(dataset.skeleton)],
        },
    )


def category_entry(skeleton: Skeleton) -> dict[str, Any]:
    """Return the skeleton's entry in ``categories``."""
    return {
        "id": skeleton.category.id,
        "name": skeleton.category.name,
        "supercategory": skeleton.category.name,
        "keypoints": list(skeleton.names),
        "skeleton": skeleton.coco_edges,
    }


def _annotations(dataset: Dataset, first_image: int, first_annotation: int) -> list[dict[str, Any]]:
    rows = zip(
        xywh_from_xyxy(dataset.boxes).tolist(),
        dataset.keypoints.reshape(len(dataset), 3 * dataset.skeleton.num_keypoints).tolist(),
        dataset.areas.tolist(),
        dataset.iscrowd.tolist(),
        dataset.num_labelled.tolist(),
        dataset.image_index.tolist(),
        strict=True,
    )
    return [
        {
            "id": first_annotation + row,
            "image_id": first_image + image,
            "category_id": dataset.skeleton.category.id,
            "bbox": [plain_number(value) for value in bbox],
            "area": plain_number(area),
            "iscrowd": int(iscrowd),
            "num_keypoints": labelled,
            "keypoints": [plain_number(value) for value in keypoints],
            "segmentation": [],
        }
        for row, (bbox, keypoints, area, iscrowd, labelled, image) in enumerate(rows)
    ]


def _path(image: Image) -> Path:
    if safe_name(image.file_name) != image.file_name:
        raise InputError(image.file_name, "", must_be("file_name", "a path that stays in images/", image.file_name))
    if image.path is None:
        problem = must_be("path", "a picture file, which goes to images/", None)
        raise InputError(image.file_name, "", problem, hint="read the data set with its pictures, and write it then")
    return image.path
