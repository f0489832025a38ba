"""What a table declares: the labels in its columns of categories and points, or keypoints as columns.

In a table with one row per object, the keypoints are ``points.names`` of the mapping; without them, every name for
which the table has all columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from posetools.formats.custom.mapping import ObjectColumns, TableMapping
from posetools.formats.custom.objects import CustomRow
from posetools.formats.declared import DeclaredCategory, SeenObject, SeenObjects
from posetools.formats.options import ReadOptions


def declared_by(
    tables: Iterable[Sequence[CustomRow]], mapping: TableMapping, options: ReadOptions, where: str
) -> tuple[DeclaredCategory, ...]:
    """Return the categories that tables declare.

    Args:
        tables: the rows of each table.
        mapping: what their columns are.
        options: the user's options, with the mapping's names added.
        where: the first table, for messages.

    Raises:
        RequestError: a label is in doubt (``SeenObjects.declared``).
    """
    seen = SeenObjects(options, where)
    for rows in tables:
        if mapping.points is not None:
            names = mapping.points.names or _columns(mapping.points, {column for row in rows for column in row.cells})
            seen.listed = seen.keypoints = tuple(dict.fromkeys((*seen.keypoints, *names)))
        seen.add([one for one in _objects(rows, mapping, seen.keypoints) if one.label or one.keypoints])
    return seen.declared()


def _columns(patterns: ObjectColumns, columns: set[str]) -> list[str]:
    """Return the names for which a table has a column of each pattern, sorted."""
    given = [pattern for pattern in (patterns.x, patterns.y, patterns.visibility) if pattern]
    found = []
    for pattern in given:
        before, _, after = pattern.format(name="\0").partition("\0")
        fits = re.compile(f"{re.escape(before)}(.+){re.escape(after)}")
        found.append({match[1] for column in columns if (match := fits.fullmatch(column))})
    return sorted(set.intersection(*found))


def _objects(rows: Sequence[CustomRow], mapping: TableMapping, names: Sequence[str]) -> list[SeenObject]:
    """Return the objects of a table, each with its labeled keypoints."""
    objects: dict[tuple[str, str], SeenObject] = {}
    for number, row in enumerate(rows):
        of_image = row.text(mapping.columns.picture)
        own = row.text(mapping.columns.object) if mapping.point else str(number)
        one = objects.setdefault((of_image, own), SeenObject(row.text(mapping.columns.category), []))
        if mapping.point:
            one.keypoints.extend(filter(None, [row.text(mapping.point.name)]))
        elif mapping.points:
            one.keypoints.extend(name for name in names if row.text(mapping.points.x.format(name=name)))
    return list(objects.values())
