"""What CVAT files declare: the label tree in ``meta``, and the labels of the shapes that it does not list.

A skeleton label is a category, and its sublabels are its keypoints; the lines of its drawing are the links. The box of
a skeleton is of its category, whatever its label. Other boxes, and points outside skeletons, are read as in labelme:
see formats/joining/seen_shapes.py. A category without objects is left out, unless there are no objects at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import ParseError, fromstring  # type: ignore[import-untyped]

from posetools.core.findings import Finding
from posetools.errors import InputError
from posetools.files.disk import read_bytes
from posetools.formats.cvat.document import images_in, parse_root
from posetools.formats.cvat.model import BadElement
from posetools.formats.cvat.shapes import extent_of
from posetools.formats.declared import DeclaredCategory, SeenObjects, with_options
from posetools.formats.joining.seen_shapes import add_shapes
from posetools.formats.joining.shapes import made_shape
from posetools.formats.options import ReadOptions

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_BOX_SUFFIX = "-box"


@dataclass
class LabelTree:
    """The labels of CVAT files, and which of them their shapes have.

    Attributes:
        where: the first file, for messages.
        skeletons: skeleton label -> its sublabels, in their order.
        drawings: skeleton label -> its drawing as SVG.
        flat: the labels that are not in a skeleton -> their type.
        used: the labels of skeletons that are drawn.
        boxes: the labels of boxes that are joined with a skeleton.
    """

    where: str
    skeletons: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    drawings: dict[str, str] = field(default_factory=dict)
    flat: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    boxes: set[str] = field(default_factory=set)

    def add(self, root: Element) -> None:
        """Add the labels of a file."""
        for label in root.iterfind("meta//label"):
            name, kind = label.findtext("name", ""), label.findtext("type", "")
            if owner := label.findtext("parent", ""):
                self.skeletons[owner].setdefault(name)
            elif kind == "skeleton":
                self.skeletons[name].update({})
                self.drawings.setdefault(name, label.findtext("svg", ""))
            elif name and kind != "tag":
                self.flat.setdefault(name, kind)
        for parent in (*root.iterfind("image"), *root.iterfind("track")):
            self._add_drawn(parent)

    def _add_drawn(self, parent: Element) -> None:
        """Add the labels of an image's, or a track's, skeletons and of the boxes in their groups."""
        groups = set()
        for one in parent.iterfind("skeleton"):
            label = one.get("label", "") or parent.get("label", "")
            self.used.add(label)
            self.skeletons[label].update(dict.fromkeys(part.get("label", "") for part in one.iterfind("points")))
            groups.add(one.get("group_id"))
        joined = groups - {None, "", "0"}
        self.boxes |= {one.get("label", "") for one in parent.iterfind("box") if one.get("group_id") in joined}

    def is_of_skeleton(self, label: str) -> bool:
        """Return whether a box's label is that of a skeleton's box."""
        return label in self.boxes or label.removesuffix(_BOX_SUFFIX) in self.skeletons

    def categories(self) -> Iterator[DeclaredCategory]:
        """Yield the category of each skeleton label."""
        for name, parts in self.skeletons.items():
            points = tuple(parts)
            drawing = self.drawings.get(name)
            yield DeclaredCategory(name, points, self.where, links=_links(drawing, points) if drawing else None)


def declared_in(files: Sequence[Path], options: ReadOptions) -> list[DeclaredCategory]:
    """Return the categories that CVAT files declare; unreadable files are left to the reader.

    Raises:
        RequestError: a label is in doubt (``SeenObjects.declared``).
    """
    where = str(files[0])
    tree, seen = LabelTree(where), SeenObjects(options, where)
    for file in files:
        try:
            root = parse_root(read_bytes(file), str(file))
        except InputError:
            continue
        if not isinstance(root, Finding):
            tree.add(root)
            _add_others(root, tree, seen)
    seen.listed = tuple(tree.flat)
    seen.keypoints = tuple(name for name, kind in tree.flat.items() if kind == "points")
    others = seen.declared()
    skeletons = list(tree.categories())
    if tree.used or others:
        skeletons = [one for one in skeletons if one.name in tree.used]
    found = (with_options(one, options) for one in skeletons)
    return [*(one for one in found if one is not None), *others]


def _add_others(root: Element, tree: LabelTree, seen: SeenObjects) -> None:
    """Add the shapes that belong to no skeleton."""
    drawn = (one for parent in (*root.iterfind("image"), *root.iterfind("track")) for one in (parent, *parent))
    labels = {one.get("label", "") for one in drawn if one.tag not in ("skeleton", "tag", "image", "track")}
    if all(map(tree.is_of_skeleton, labels)) and root.find("track") is None:
        return
    for image in images_in(root, seen.where)[0]:
        shapes = []
        for shape in image.shapes:
            value = shape.value
            if isinstance(value, BadElement) or shape.kind in ("skeleton", "tag") or tree.is_of_skeleton(value.label):
                continue
            kind = "rectangle" if shape.kind == "box" else shape.kind
            shapes.append(made_shape(value.label, kind, extent_of(value), value.group_id or None))
        add_shapes(seen, shapes)


def _links(svg: str, points: Sequence[str]) -> tuple[tuple[int, int], ...] | None:
    """Return the lines of a skeleton's drawing, as pairs of indices of its points; None if it cannot be read."""
    try:
        drawing = fromstring(f"<svg>{svg}</svg>", forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError):
        return None
    circles = sorted(drawing.iter("circle"), key=lambda one: _numeric(one.get("data-node-id", "")))
    # CVAT writes a label's id instead of its name; it numbers the sublabels in their order.
    ids = sorted((one.get("data-label-id", "") for one in circles), key=_numeric)
    named = dict(zip(ids, points, strict=False)) if len(set(ids)) == len(ids) == len(points) else {}
    places = {}
    for number, one in enumerate(circles):
        name = one.get("data-label-name") or named.get(one.get("data-label-id", ""))
        if name in points or (name is None and number < len(points)):
            places[one.get("data-node-id")] = number if name is None else points.index(name)
    lines = ((line.get("data-node-from"), line.get("data-node-to")) for line in drawing.iter("line"))
    return tuple((places[a], places[b]) for a, b in lines if a in places and b in places)


def _numeric(text: str) -> tuple[int, str]:
    """Return a key that sorts whole numbers by their value."""
    return len(text), text
