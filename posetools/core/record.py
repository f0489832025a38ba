"""conversion.json and its counts: what was read, written and found, and how it was split.

The document has no dates and only paths that the user typed, so the same conversion gives the same bytes. It is in the
data set's folder. Its ``skeleton`` is the complete skeleton, which a COCO file cannot store. A data set in COCO form
also has it as skeleton.yaml, to read and to edit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from posetools import __version__
from posetools.core.categories import Categories, dump_categories
from posetools.core.dataset import Split, Visibility
from posetools.core.findings import Finding, count_by_code
from posetools.core.folder import CONVERSION, SKELETON_FILE
from posetools.files.disk import write_json, write_text


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """What is in one split.

    Attributes:
        images: how many images.
        instances: how many objects.
        categories: category -> how many objects; empty if there is only one category.
        keypoints: keypoint name -> how many are (not labeled, occluded, visible).
    """

    images: int
    instances: int
    keypoints: Mapping[str, tuple[int, int, int]]
    categories: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "pictures": self.images,
            "instances": self.instances,
            **({"categories": dict(self.categories)} if self.categories else {}),
            "keypoints": {
                name: {"visible": visible, "hidden": hidden, "not_labelled": missing}
                for name, (missing, hidden, visible) in self.keypoints.items()
            },
        }


def count(split: Split) -> SplitCounts:
    """Return the counts of a Dataset, or of several; a keypoint counts in objects of the categories that have it."""
    categories, objects = split.categories, Counter[str]()
    seen = np.zeros((len(Visibility), categories.num_keypoints), dtype=np.int64)
    for dataset in split.slices():
        for name, number in categories.ids.items():
            mine, columns = dataset.category_ids == number, categories.columns[number]
            visibility = dataset.keypoints[mine][:, columns, 2]
            seen[:, columns] += np.array([(visibility == value).sum(axis=0) for value in Visibility])
            objects[name] += int(mine.sum())
    keypoints = {name: (a, b, c) for name, a, b, c in zip(categories.names, *seen.tolist(), strict=True)}
    own = {name: objects[name] for name in categories.ids} if len(categories) > 1 else {}
    return SplitCounts(len(split.images), objects.total(), keypoints, own)


def count_annotations(
    images: int, categories: Iterable[tuple[str, Sequence[str], Sequence[Mapping[str, Any]]]]
) -> SplitCounts:
    """Return the counts of COCO annotations, whose ``keypoints`` are 3 numbers per name or absent.

    Args:
        images: how many images the annotations are of.
        categories: the name of each category, its keypoints (none when the file does not say), and its annotations as
            in the file.
    """
    objects, keypoints = Counter[str](), dict[str, tuple[int, int, int]]()
    for category, names, entries in categories:
        if names or entries:
            objects[category] += len(entries)
        if not names:
            continue
        unlabeled = [0.0] * (3 * len(names))
        rows = [entry.get("keypoints") or unlabeled for entry in entries]
        visibility = np.array(rows, dtype=np.float64).reshape(len(rows), len(names), 3)[:, :, 2]
        per_value = [(visibility == value).sum(axis=0).tolist() for value in Visibility]
        for name, *numbers in zip(names, *per_value, strict=True):
            missing, hidden, visible = map(sum, zip(numbers, keypoints.get(name, (0, 0, 0)), strict=True))
            keypoints[name] = missing, hidden, visible
    return SplitCounts(images, objects.total(), keypoints, dict(objects) if len(objects) > 1 else {})


def findings_sections(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return conversion.json's sections of findings: how many of each code, and each with its place."""
    return {"finding_counts": count_by_code(findings), "findings": [finding.as_dict() for finding in findings]}


def write_record(folder: Path, document: Mapping[str, Any], categories: Categories) -> None:
    """Write the conversion.json of a data set, and its skeleton.yaml if its format is COCO.

    Args:
        folder: the data set's folder.
        document: what the command says of the data set.
        categories: the data set's categories, each with its skeleton.

    Raises:
        OutputError: a file cannot be written.
    """
    content = {"posetools": __version__, **document, **categories.as_record()}
    write_json(folder / CONVERSION, content)
    if document["format"] == "coco":
        write_text(folder / SKELETON_FILE, dump_categories(categories))
