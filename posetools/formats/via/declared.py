"""What VIA files declare: the options of the attribute that holds the label, and the labels of the regions.

The options give the order of the labels; which of them are categories, the regions say (joining/seen_shapes.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from posetools.core.findings import Finding
from posetools.errors import InputError
from posetools.files.disk import read_bytes
from posetools.formats.declared import DeclaredCategory, SeenObjects
from posetools.formats.joining.seen_shapes import add_shapes
from posetools.formats.options import ReadOptions
from posetools.formats.via.model import ViaEntry, load_json
from posetools.formats.via.regions import Roles

_ATTRIBUTES = "_via_attributes"


def declared_by(
    files: Sequence[Path], entries: Sequence[ViaEntry], roles: Roles, options: ReadOptions
) -> tuple[DeclaredCategory, ...]:
    """Return the categories that VIA files declare, in the order of first appearance over sorted images.

    Args:
        files: the files.
        entries: their images.
        roles: which attributes hold what.
        options: the user's options.

    Raises:
        RequestError: a label is in doubt (``SeenObjects.declared``).
    """
    listed = dict.fromkeys(label for file in files for label in _options(file, roles.names["label"]))
    seen = SeenObjects(options, str(files[0]), listed=tuple(listed))
    for entry in sorted(entries, key=lambda one: one.image):
        add_shapes(seen, [region.shape for region in entry.regions])
    return seen.declared()


def _options(file: Path, names: Sequence[str]) -> Iterator[str]:
    """Yield the options of the attributes with these names in a project; an export has none."""
    if file.suffix.lower() != ".json":
        return
    try:
        raw = load_json(read_bytes(file), str(file))
    except InputError:
        return
    if isinstance(raw, Finding) or not isinstance(raw, dict):
        return
    wanted = {name.casefold() for name in names}
    for name, attribute in _attributes(raw):
        options = attribute.get("options")
        if name.casefold() in wanted and isinstance(options, dict):
            # VIA 2 has the labels as keys, VIA 3 as values.
            labels = options if _ATTRIBUTES in raw else options.values()
            yield from (str(label).strip() for label in labels if str(label).strip())


def _attributes(raw: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name of each region attribute, and what the project says of it."""
    of_via2 = raw.get(_ATTRIBUTES)
    regions = of_via2.get("region") if isinstance(of_via2, dict) else None
    of_via3 = raw.get("attribute")
    if isinstance(regions, dict):
        yield from ((str(name), one) for name, one in regions.items() if isinstance(one, dict))
    elif isinstance(of_via3, dict):
        yield from ((str(one.get("aname")), one) for one in of_via3.values() if isinstance(one, dict))
