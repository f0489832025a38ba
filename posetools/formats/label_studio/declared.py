"""What Label Studio's files declare: the labeling configuration, and the labels of the regions.

The configuration is ``label_config`` in the export, or an XML file next to it. Its ``RectangleLabels`` (and those of
other outlines) are categories, its ``KeyPointLabels`` keypoints, in their order. Labels that it does not list are read
as in labelme: see formats/joining/seen_shapes.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import ParseError, fromstring  # type: ignore[import-untyped]

from posetools.errors import InputError
from posetools.files.disk import read_bytes, read_json
from posetools.formats.declared import DeclaredCategory, SeenObjects
from posetools.formats.joining.seen_shapes import add_shapes
from posetools.formats.joining.shape_labels import Labels
from posetools.formats.label_studio.model import parse_document
from posetools.formats.label_studio.shapes import shapes_of
from posetools.formats.label_studio.write import INTERFACE
from posetools.formats.options import ReadOptions
from posetools.formats.sources.many import parsed

CONFIG_FILES = ("label_config.xml", "config.xml", INTERFACE)
_CONFIG_KEY = "label_config"
_OF_KEYPOINTS = "KeyPointLabels"
# The size of an image whose regions do not say it: their percentages are compared with each other only.
_PERCENT = (100, 100)


class ConfiguredLabels(NamedTuple):
    """The labels of a labeling configuration, in their order, and those of them that are keypoints."""

    all: tuple[str, ...]
    keypoints: tuple[str, ...]


def declared_in(files: Sequence[Path], options: ReadOptions) -> tuple[DeclaredCategory, ...]:
    """Return the categories that Label Studio's files declare; unreadable files are left to the reader.

    Raises:
        RequestError: a label is in doubt (``SeenObjects.declared``).
    """
    configured = [_labels_in(text) for file in files for text in _configurations(file)]
    listed = dict.fromkeys(chain.from_iterable(one.all for one in configured))
    points = dict.fromkeys(chain.from_iterable(one.keypoints for one in configured))
    seen = SeenObjects(options, str(files[0]), listed=tuple(listed), keypoints=tuple(points))
    index = {label: number for number, label in enumerate(points)}
    labels = Labels({}, index, names={}, ignored=frozenset(), pattern=None, hidden=frozenset())
    for file in files:
        for task in parsed(file, parse_document)[0]:
            shapes = shapes_of(task.regions or (), task.size or _PERCENT, labels, Counter())
            add_shapes(seen, [one.shape for one in shapes])
    return seen.declared()


def _configurations(file: Path) -> Iterator[str | bytes]:
    """Yield the labeling configurations in an export, or next to it."""
    try:
        document = read_json(file)
    except InputError:
        return
    for one in (document, document.get("project") if isinstance(document, dict) else None):
        if isinstance(one, dict) and isinstance(one.get(_CONFIG_KEY), str):
            yield one[_CONFIG_KEY]
    for path in (file.parent / name for name in CONFIG_FILES):
        if path.is_file():
            yield read_bytes(path)


def _labels_in(text: str | bytes) -> ConfiguredLabels:
    """Return the labels in a labeling configuration; none if it is another XML document."""
    try:
        root = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, LookupError, ValueError):
        return ConfiguredLabels((), ())
    controls = [one for one in root.iter() if one.tag.endswith("Labels")] if root.tag == "View" else []
    by_control = [(one.tag, label.get("alias") or label.get("value", "")) for one in controls for label in one]
    named = [(tag, label) for tag, label in by_control if label]
    return ConfiguredLabels(
        tuple(label for _, label in named), tuple(label for tag, label in named if tag == _OF_KEYPOINTS)
    )
