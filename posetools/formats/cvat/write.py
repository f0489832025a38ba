"""The XML of 'CVAT for images 1.1' for Datasets; the format is described in posetools/formats/cvat/format.py."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape, quoteattr

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, Image, Split, Visibility
from posetools.core.skeleton import Skeleton
from posetools.formats.target import slices_of_splits

ANNOTATIONS_XML = "annotations.xml"

# CVAT draws a skeleton's template in a square of 100 by 100.
_MIDDLE, _RADIUS = 50.0, 40.0
# A split of this name is not a subset: it is the only one.
_ALL = "all"


def box_label(skeleton: Skeleton) -> str:
    """Return the label of the boxes: in CVAT, a box cannot have the label of a skeleton."""
    return f"{skeleton.category.name}-box"


def image_name(split: str, file_name: str) -> str:
    """Return the path of a split's image below ``images/``."""
    return file_name if split == _ALL else f"{split}/{file_name}"


def document_text(splits: Mapping[str, Split]) -> str:
    """Return the XML of all splits, whose categories are the same."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>"]
    lines += _meta(splits, next(iter(splits.values())).categories)
    first_image, first_group = 0, 1
    for split, dataset in slices_of_splits(splits):
        for number, (image, rows) in enumerate(zip(dataset.images, dataset.rows_of_images(), strict=True)):
            lines += _image(dataset, image, rows, split, first_image + number, first_group)
        first_image += len(dataset.images)
        first_group += len(dataset)
    return "\n".join([*lines, "</annotations>", ""])


def _meta(splits: Mapping[str, Split], categories: Categories) -> Iterator[str]:
    size = sum(len(part.images) for part in splits.values())
    # CVAT keeps subsets in projects only.
    kind = "task" if set(splits) == {_ALL} else "project"
    yield "  <meta>"
    yield f"    <{kind}>"
    yield f"      <name>{escape(categories.name)}</name>"
    if kind == "task":
        yield f"      <size>{size}</size>"
        yield "      <mode>annotation</mode>"
    yield "      <labels>"
    for skeleton in categories.skeletons:
        yield from _label(box_label(skeleton), "rectangle", skeleton.links[0].color if skeleton.links else (255, 0, 0))
        if skeleton.keypoints:
            yield from _label(skeleton.category.name, "skeleton", (0, 128, 255), svg=_svg(skeleton))
        for point in skeleton.keypoints:
            yield from _label(point.name, "points", point.color, parent=skeleton.category.name)
    yield "      </labels>"
    if kind == "project":
        yield "      <subsets>{}</subsets>".format(escape("\n".join(splits)))
    yield f"    </{kind}>"
    yield "  </meta>"


def _label(name: str, kind: str, color: tuple[int, int, int], *, svg: str = "", parent: str = "") -> Iterator[str]:
    yield "        <label>"
    yield f"          <name>{escape(name)}</name>"
    yield "          <color>#{:02x}{:02x}{:02x}</color>".format(*color)
    yield f"          <type>{kind}</type>"
    yield "          <attributes></attributes>"
    if svg:
        yield f"          <svg>{escape(svg)}</svg>"
    if parent:
        yield f"          <parent>{escape(parent)}</parent>"
    yield "        </label>"


def _svg(skeleton: Skeleton) -> str:
    """Return the skeleton's template: the keypoints on a circle, clockwise from its top, and the links between them."""
    count = skeleton.num_keypoints
    angles = [2 * math.pi * i / count for i in range(count)]
    places = [
        (round(_MIDDLE + _RADIUS * math.sin(angle), 3), round(_MIDDLE - _RADIUS * math.cos(angle), 3))
        for angle in angles
    ]
    parts = [
        f'<line x1="{places[a][0]}" y1="{places[a][1]}" x2="{places[b][0]}" y2="{places[b][1]}" stroke="black" '
        f'data-type="edge" data-node-from="{a + 1}" stroke-width="0.5" data-node-to="{b + 1}"></line>'
        for a, b in skeleton.edges
    ]
    parts += [
        f'<circle r="1.5" stroke="black" fill="#b3b3b3" cx="{x}" cy="{y}" stroke-width="0.1" '
        f'data-type="element node" data-element-id="{number}" data-node-id="{number}" '
        f"data-label-name={quoteattr(name)}></circle>"
        for number, ((x, y), name) in enumerate(zip(places, skeleton.names, strict=True), start=1)
    ]
    return "".join(parts)


def _image(dataset: Dataset, image: Image, rows: range, split: str, number: int, first_group: int) -> Iterator[str]:
    subset = "" if split == _ALL else f" subset={quoteattr(split)}"
    yield (
        f'  <image id="{number}" name={quoteattr(image.file_name)}{subset} '
        f'width="{image.width}" height="{image.height}">'
    )
    for row in rows:
        yield from _object(dataset, row, first_group + row)
    yield "  </image>"


def _object(dataset: Dataset, row: int, group: int) -> Iterator[str]:
    one = dataset[row]
    skeleton = dataset.categories[one.category_id]
    x1, y1, x2, y2 = one.box.tolist()
    yield (
        f'    <box label={quoteattr(box_label(skeleton))} source="manual" occluded="0" xtl="{x1!r}" ytl="{y1!r}" '
        f'xbr="{x2!r}" ybr="{y2!r}" z_order="0" group_id="{group}">'
    )
    yield "    </box>"
    if not dataset.num_labeled[row]:
        return
    yield (f'    <skeleton label={quoteattr(skeleton.category.name)} source="manual" z_order="0" group_id="{group}">')
    middle = ((x1 + x2) / 2, (y1 + y2) / 2)
    for name, (x, y, visibility) in zip(skeleton.names, one.keypoints.tolist(), strict=True):
        absent = visibility == Visibility.NOT_LABELED
        # CVAT stores a position for points that are outside and shows them there when they are switched on.
        x, y = middle if absent else (x, y)
        yield (
            f'      <points label={quoteattr(name)} source="manual" outside="{int(absent)}" '
            f'occluded="{int(visibility == Visibility.HIDDEN)}" points="{x!r},{y!r}">'
        )
        yield "      </points>"
    yield "    </skeleton>"
