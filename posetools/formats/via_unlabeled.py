"""Regions of VIA without a label: one finding for a file, with what to type so that they are read.

Images with such a region are not read further: what is missing would be found wrong once more in each of them.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from posetools.findings import Finding
from posetools.formats.base import ReadOptions
from posetools.formats.labelme_labels import Labels
from posetools.formats.labelme_model import AnyShape
from posetools.formats.via_model import Entry
from posetools.formats.via_regions import Region

# Attributes, and values of one, that a hint names.
_NAMED = 3
_KINDS = {"rectangle": "rect"}


def unsettled(entry: Entry, labels: Labels, options: ReadOptions) -> list[int]:
    """Return the regions without a label that no option says what to make of."""
    return [index for index, shape in enumerate(entry.regions) if _is_unsettled(shape, labels, options)]


def _is_unsettled(shape: AnyShape, labels: Labels, options: ReadOptions) -> bool:
    if not isinstance(shape, Region) or shape.label or labels.is_ignored(""):
        return False
    name = labels.read("").name
    if shape.shape_type == "point":
        return name not in labels.index and not options.kpt_order
    return name != labels.category


def finding_of(file: str, entries: Iterable[Entry], roles: Sequence[str], labels: Labels, options: ReadOptions) -> (
    Finding | None
):  # fmt: skip
    """Return the finding on all regions of a file without a label; None when there is none.

    Args:
        file: the file.
        entries: its images.
        roles: the attributes that may hold a label.
        labels: how labels are read.
        options: the user's options.
    """
    regions: list[Region] = []
    images, others, first = 0, 0, ""
    for entry in entries:
        bare = unsettled(entry, labels, options)
        if bare:
            first = first or entry.places[bare[0]]
            images += 1
            others += len(entry.regions) - len(bare)
            regions += [shape for index in bare if isinstance(shape := entry.regions[index], Region)]
    if not regions:
        return None
    kinds = Counter(_KINDS.get(one.shape_type, one.shape_type) for one in regions)
    listed = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    where = f"{images} images, which are not read" if images > 1 else "1 image, which is not read"
    message = f"regions must have a label in {_listed(roles, 'or')}, got none for {len(regions)} ({listed}) in {where}"
    if others:
        message += f"; {others} other regions are left out with them"
    return Finding("E311", file, first, message, _hint(regions, labels))


def _hint(regions: Sequence[Region], labels: Labels) -> str:
    leave = "--ignore '' leaves such regions out"
    values: dict[str, Counter[str]] = defaultdict(Counter)
    for region in regions:
        for name, text in region.said.items():
            values[name][text] += 1
    if values:
        known = {labels.category, *labels.index}
        ranked = sorted(values, key=lambda name: (-_fitting(values[name], labels, known), -values[name].total(), name))
        best = ranked[0]
        typed = f"--attribute {shlex.quote(f'label={best}')} takes the attribute {best!r}"
        if _fitting(values[best], labels, known):
            return f"{typed}, which holds names of the skeleton ({_shown(values[best])}), as the label; {leave}"
        also = f"; the others are {_listed(ranked[1:_NAMED], 'and')}" if ranked[1:] else ""
        return f"{typed} ({_shown(values[best])}) as the label, and --map 'OLD=NEW' its values as names{also}; {leave}"
    typed = []
    if any(region.shape_type != "point" for region in regions):
        # Quoted in any case: zsh takes a bare = for a command.
        typed.append(f"--map '={labels.category}' takes those that are no points as {labels.category!r}")
    if any(region.shape_type == "point" for region in regions):
        order = shlex.quote(",".join(labels.index))
        typed.append(f"--kpt-order {order} takes the points of each object in this order, as the keypoints")
    return f"{'; '.join(typed)}; {leave}"


def _fitting(values: Counter[str], labels: Labels, known: set[str]) -> int:
    return sum(number for text, number in values.items() if labels.read(text).name in known or labels.is_ignored(text))


def _shown(values: Counter[str]) -> str:
    shown = ", ".join(f"{text[:40]!r} ({number})" for text, number in values.most_common(_NAMED))
    return shown + (", ..." if len(values) > _NAMED else "")


def _listed(names: Sequence[str], last: str) -> str:
    return ", ".join(names) if len(names) < 2 else f"{', '.join(names[:-1])} {last} {names[-1]}"
