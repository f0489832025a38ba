"""What .slp files declare: each skeleton's nodes, edges and symmetries.

A skeleton is a category of its name. SLEAP's own name for a skeleton without one, ``Skeleton-0``, names no category.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from posetools.formats.declared import UNNAMED_CATEGORY, DeclaredCategory

_NO_NAME = re.compile(r"Skeleton-\d+")


def declared_by(labels: Any, where: str) -> Iterator[DeclaredCategory]:
    """Yield the skeletons of the instances of a file; all skeletons if it has no instances.

    Args:
        labels: the file, as sleap-io reads it.
        where: the file, for messages.
    """
    used = {id(one.skeleton) for frame in labels.labeled_frames for one in frame.instances}
    shown = [one for one in labels.skeletons if id(one) in used] or list(labels.skeletons)
    for skeleton in shown:
        names = tuple(str(node.name) for node in skeleton.nodes)
        name = str(skeleton.name or "")
        if len(shown) == 1 and _NO_NAME.fullmatch(name):
            name = UNNAMED_CATEGORY
        pairs = [tuple(str(node.name) for node in one.nodes) for one in skeleton.symmetries]
        edges = [(str(edge.source.name), str(edge.destination.name)) for edge in skeleton.edges]
        links = tuple((names.index(a), names.index(b)) for a, b in edges)
        yield DeclaredCategory(name, names, where, links=links, flip_idx=_flip_idx(names, pairs))


def _flip_idx(names: tuple[str, ...], pairs: Iterable[tuple[str, ...]]) -> tuple[int, ...] | None:
    """Return the keypoints of a mirrored image; None if the skeleton has no symmetries."""
    partners = {one: other for pair in pairs if len(pair) == 2 for one, other in (pair, pair[::-1])}
    return tuple(names.index(partners.get(name, name)) for name in names) if partners else None
