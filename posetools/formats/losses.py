"""What a format cannot hold, and what a data set loses in it: for convert's output and docs/formats.md.

Crowds (``iscrowd``) are not here: writers refuse them, and anything else whose loss changes what a model learns. A
reader reports source content that a Dataset cannot hold, such as segmentations, scores and attributes (W323).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from posetools.core.dataset import Dataset, Split, Visibility
from posetools.core.skeleton import Skeleton
from posetools.formats.entry import DatasetPart, Format
from posetools.formats.target import slices

# As in a heading of docs/formats.md.
TITLES: Mapping[DatasetPart, str] = {
    "splits": "splits",
    "boxes": "boxes",
    "occluded": "occluded or visible",
    "areas": "area of its own",
    "names": "file names",
    "links": "links",
    "pairs": "left/right pairs",
    "sigmas": "sigmas",
}
# Relative difference up to which an area counts as width x height of the box.
_SAME_AREA = 1e-6


@dataclass(frozen=True, slots=True)
class Loss:
    """What is lost.

    Attributes:
        counts: content -> how many.
        text: the same as a sentence.
    """

    counts: Mapping[DatasetPart, int]
    text: str


def losses(target: Format, splits: Mapping[str, Split]) -> tuple[Loss, ...]:
    """Return what some Datasets of the same categories lose in a format.

    Args:
        target: the format.
        splits: split -> its images and objects; images name the split that the source declares.
    """
    if not target.lacks or not splits:
        return ()
    counts = {part: number for part, number in _counts(splits).items() if number and part in target.lacks}
    told = [Loss({part: n}, f"{target.title} {_sentence(part, n, splits)}") for part, n in counts.items()]
    categories = next(iter(splits.values())).categories
    of_skeleton = _of_skeletons([group.skeletons[0] for group in categories.groups])
    rest = {part: number for part, number in of_skeleton.items() if number and part in target.lacks}
    if rest:
        listed = ", ".join(f"{number} {TITLES[part]}" for part, number in rest.items())
        told.append(Loss(rest, f"{target.title} cannot hold the skeleton's {listed}: they are in conversion.json"))
    return tuple(told)


def _counts(splits: Mapping[str, Split]) -> dict[DatasetPart, int]:
    counts: dict[DatasetPart, int] = {
        "splits": sum(image.split is not None for split in splits.values() for image in split.images),
        "boxes": 0,
        "occluded": 0,
        "areas": 0,
        "names": sum(len(split.images) for split in splits.values()),
    }
    for one in slices(splits.values()):
        counts["boxes"] += len(one)
        counts["occluded"] += int((one.keypoints[:, :, 2] == Visibility.HIDDEN).sum())
        counts["areas"] += _own_areas(one)
    return counts


def _own_areas(dataset: Dataset) -> int:
    sides = dataset.boxes[:, 2:] - dataset.boxes[:, :2]
    return int((~np.isclose(dataset.areas, sides.prod(axis=1), rtol=_SAME_AREA)).sum())


def _sentence(part: DatasetPart, number: int, splits: Mapping[str, Split]) -> str:
    many = "" if number == 1 else "s"
    if part == "splits":
        declared = Counter(image.split for one in splits.values() for image in one.images if image.split)
        listed = ", ".join(f"{split} {times}" for split, times in declared.items())
        return f"has no splits: lost for {number} image{many} ({listed})"
    return {
        "boxes": f"has no boxes: {number} lost; `posetools convert --box-from keypoints` makes new ones",
        "occluded": f"has no occluded keypoints: {number} become{'' if many else 's'} visible",
        "areas": f"has no area: {number} other than width x height lost",
        "names": f"has its own file names: {number} image{many} renamed to FOLDER/NAME below labeled-data/",
    }[part]


def _of_skeletons(skeletons: Sequence[Skeleton]) -> dict[DatasetPart, int]:
    return {
        "links": sum(len(skeleton.links) for skeleton in skeletons),
        "pairs": sum(point.swap is not None for skeleton in skeletons for point in skeleton.keypoints) // 2,
        "sigmas": sum(skeleton.num_keypoints for skeleton in skeletons),
    }
