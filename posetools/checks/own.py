"""The checks that posetools registers itself; validate.py has those of image files, and those across splits."""

from __future__ import annotations

from collections.abc import Iterator

from posetools.checks.data import CheckedData
from posetools.checks.plausibility import check_boxes, check_categories, check_points, check_split, check_whole
from posetools.checks.plugin import CheckPlugin
from posetools.checks.rigid.geometry import check_geometry
from posetools.checks.structure import check_structure
from posetools.core.findings import Finding


def _structure(data: CheckedData) -> Iterator[Finding]:
    for table in data.tables.values():
        yield from check_structure(table, data.categories)
        yield from check_categories(table, data.categories)


def _plausibility(data: CheckedData) -> Iterator[Finding]:
    for split, objects in data.objects.items():
        yield from check_boxes(objects, data.categories)
        for part, group in objects.parts(data.categories):
            yield from check_points(part, group.skeletons[0])
        if objects.table.num_annotations:
            yield from check_split(objects, data.categories, train=split == "train")
    yield from check_whole(data.path, data.objects, data.categories)


def _geometry(data: CheckedData) -> Iterator[Finding]:
    for objects in data.objects.values():
        for skeleton in data.categories.skeletons:
            yield from check_geometry(objects.of_category(skeleton, data.categories), skeleton, data.progress)


STRUCTURE = CheckPlugin(check=_structure)
PLAUSIBILITY = CheckPlugin(check=_plausibility)
GEOMETRY = CheckPlugin(check=_geometry)
