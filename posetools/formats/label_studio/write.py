"""Label Studio's tasks for Datasets, and the labeling interface for them; see format.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, Image, Split, Visibility
from posetools.core.folder import IMAGES
from posetools.files.disk import dump_json
from posetools.formats.target import slices_of_splits

TASKS = "tasks.json"
INTERFACE = "labeling_interface.xml"
LOCAL_FILES = "/data/local-files/?d="
OCCLUDED = "occluded"

# Percent of the image's width; only for drawing.
_POINT_SIZE = 0.5


def tasks_text(splits: Mapping[str, Split]) -> str:
    """Return the JSON of all splits: one task per image, numbered from 1."""
    tasks: list[dict[str, Any]] = []
    for split, dataset in slices_of_splits(splits):
        for image, rows in zip(dataset.images, dataset.rows_of_images(), strict=True):
            number = len(tasks) + 1
            result = [entry for row in rows for entry in _object(dataset, row, image, f"{number}-{row - rows.start}")]
            tasks.append(
                {
                    "id": number,
                    "data": {"image": f"{LOCAL_FILES}{quote(f'{IMAGES}/{image.file_name}')}", "split": split},
                    "annotations": [{"id": number, "was_cancelled": False, "ground_truth": False, "result": result}],
                    "predictions": [],
                }
            )
    # One line per task, so that files can be compared.
    return dump_json({"tasks": tasks}).removeprefix('{\n"tasks": ').removesuffix("\n}\n") + "\n"


def interface_text(categories: Categories) -> str:
    """Return the labeling interface to paste into a project's settings before the tasks are imported."""
    named = [{point.name: point for point in skeleton.keypoints} for skeleton in categories.skeletons]
    points = [next(own[name] for own in named if name in own) for name in categories.names]
    lines = [
        "<View>",
        '  <Image name="image" value="$image" zoom="true"/>',
        '  <RectangleLabels name="box" toName="image">',
        *(f"    <Label value={quoteattr(name)}/>" for name in categories.ids),
        "  </RectangleLabels>",
        '  <KeyPointLabels name="keypoint" toName="image">',
        *(
            f'    <Label value={quoteattr(point.name)} background="#{"".join(f"{c:02x}" for c in point.color)}" '
            f'model_index="{index}"/>'
            for index, point in enumerate(points)
        ),
        "  </KeyPointLabels>",
        '  <Choices name="visibility" toName="image" perRegion="true" choice="multiple" whenTagName="keypoint">',
        f'    <Choice value="{OCCLUDED}"/>',
        "  </Choices>",
        "</View>",
    ]
    return "\n".join([*lines, ""])


def _object(dataset: Dataset, row: int, image: Image, name: str) -> list[dict[str, Any]]:
    width, height = image.size
    one = dataset[row]
    skeleton = dataset.categories[one.category_id]
    x1, y1, x2, y2 = one.box.tolist()
    place = {"x": x1 / width * 100, "y": y1 / height * 100}
    sides = {"width": (x2 - x1) / width * 100, "height": (y2 - y1) / height * 100}
    entries = [
        _entry(name, "box", "rectanglelabels", {**place, **sides, "rotation": 0}, [skeleton.category.name], image)
    ]
    for point, (x, y, visibility) in zip(skeleton.names, one.keypoints.tolist(), strict=True):
        if visibility == Visibility.NOT_LABELED:
            continue
        value = {"x": x / width * 100, "y": y / height * 100, "width": _POINT_SIZE}
        number = f"{name}-{point}"
        entries.append(_entry(number, "keypoint", "keypointlabels", value, [point], image) | {"parentID": name})
        if visibility == Visibility.HIDDEN:
            entries.append(_entry(number, "visibility", "choices", value, [OCCLUDED], image))
    return entries


def _entry(number: str, tag: str, kind: str, value: Mapping[str, Any], said: list[str], image: Image) -> dict[str, Any]:
    return {
        "id": number,
        "from_name": tag,
        "to_name": "image",
        "type": kind,
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
        "value": {**value, kind: said},
    }
