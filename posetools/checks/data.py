"""The contents of a data set, as checks see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from posetools.checks.structure import SoundObjects
from posetools.core.categories import Categories
from posetools.core.skeleton import Skeleton
from posetools.formats.coco.table import CocoTable
from posetools.progress import Progress, silent


@dataclass(frozen=True, eq=False, slots=True)
class CheckedData:
    """The contents of a checked data set.

    Attributes:
        path: the data set's folder, or its only COCO file.
        categories: the categories it is checked against, each with its skeleton.
        tables: split -> its COCO file.
        objects: split -> its sound objects, of all categories.
        folder: the folder that image names are relative to.
        progress: receives progress.
    """

    path: Path

    categories: Categories
    tables: Mapping[str, CocoTable]
    objects: Mapping[str, SoundObjects]
    folder: Path
    progress: Progress = field(default=silent, repr=False)

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the only category.

        Raises:
            ValueError: there are several.
        """
        return self.categories.only

    def parts(self) -> Iterator[tuple[Categories, Mapping[str, SoundObjects]]]:
        """Yield the categories of each different skeleton, and their objects by split, with its keypoints only."""
        for group in self.categories.groups:
            own = {split: each.of_categories(group, self.categories) for split, each in self.objects.items()}
            yield group, own
