"""conversion.json and its counts: what was read, written and found, and how it was split.

The document has no dates and only paths that the user typed, so the same conversion gives the same bytes. It is in the
data set's folder. Its ``skeleton`` is the complete skeleton, which a COCO file cannot store. A data set in COCO form
also has it as skeleton.yaml, to read and to edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        keypoints: keypoint name -> how many are (not labeled, occluded, visible).
    """

    images: int
    instances: int
    keypoints: Mapping[str, tuple[int, int, int]]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "pictures": self.images,
            "instances": self.instances,
            "keypoints": {
                name: {"visible": visible, "hidden": hidden, "not_labelled": missing}
                for name, (missing, hidden, visible) in self.keypoints.items()
            },
        }


def count(split: Split) -> SplitCounts:
    """Return the counts of a Dataset, or of several."""
    instances, seen = 0, np.zeros((len(Visibility), split.categories.num_keypoints), dtype=np.int64)
    for dataset in split.slices():
        visibility = dataset.keypoints[:, :, 2]
        seen += np.array([(visibility == value).sum(axis=0) for value in Visibility])
        instances += len(dataset)
    keypoints = {name: (a, b, c) for name, a, b, c in zip(split.categories.names, *seen.tolist(), strict=True)}
    return SplitCounts(images=len(split.images), instances=instances, keypoints=keypoints)


def count_annotations(
    names: Mapping[Any, Sequence[str]], images: int, annotations: Mapping[Any, Sequence[Mapping[str, Any]]]
) -> SplitCounts:
    """Return the counts of COCO annotations, whose ``keypoints`` are 3 numbers per name or absent.

    Args:
        names: each category's keypoints; none when the file does not say.
        images: how many images the annotations are of.
        annotations: those of each category, as in the file.
    """
    keypoints: dict[str, tuple[int, int, int]] = {}
    for category, own in names.items():
        if not own:
            continue
        unlabeled = [0.0] * (3 * len(own))
        rows = [annotation.get("keypoints") or unlabeled for annotation in annotations.get(category, ())]
        visibility = np.array(rows, dtype=np.float64).reshape(len(rows), len(own), 3)[:, :, 2]
        per_value = [(visibility == value).sum(axis=0).tolist() for value in Visibility]
        for name, *numbers in zip(own, *per_value, strict=True):
            missing, hidden, visible = map(sum, zip(numbers, keypoints.get(name, (0, 0, 0)), strict=True))
            keypoints[name] = missing, hidden, visible
    return SplitCounts(images=images, instances=sum(map(len, annotations.values())), keypoints=keypoints)


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
