"""VIA regions without a label: one finding per file, with the options that read them.

Images with such a region are not read further: each of them would repeat the same error.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Sequence

from posetools.core.findings import Finding
from posetools.errors import Place
from posetools.formats.joining.shape_labels import Labels
from posetools.formats.labelme.model import AnyShape, BadShape
from posetools.formats.options import ReadOptions
from posetools.formats.via.model import ViaEntry
from posetools.formats.via.regions import Roles, ViaRegion

# Places, and values of an attribute, that a finding names.
_NAMED_PLACES = 3


def unsettled(entry: ViaEntry, labels: Labels, options: ReadOptions) -> list[tuple[str, ViaRegion]]:
    """Return the regions without a label that no option covers, after their places."""
    regions = ((place, shape) for place, shape in entry.regions if isinstance(shape, ViaRegion))
    return [(place, region) for place, region in regions if _is_unsettled(region, labels, options)]


def _is_unsettled(region: ViaRegion, labels: Labels, options: ReadOptions) -> bool:
    if region.label or labels.is_ignored(""):
        return False
    name = labels.read("").name
    if _is_point(region):
        return name not in labels.index and not options.kpt_order
    if _is_line(region) and options.kpt_order:
        return False
    return name not in labels.categories


def finding_of(
    file: str, entries: Sequence[ViaEntry], roles: Roles, labels: Labels, options: ReadOptions
) -> Finding | None:
    """Return the finding on all regions of a file without a label; None when all have one.

    Args:
        file: the file.
        entries: its images.
        roles: which attributes hold what.
        labels: how labels are read.
        options: the user's options.
    """
    bare = {index: found for index, entry in enumerate(entries) if (found := unsettled(entry, labels, options))}
    if not bare:
        return None
    regions = [region for found in bare.values() for _, region in found]
    others = sum(len(entries[index].regions) for index in bare) - len(regions)
    kinds = Counter("rect" if one.shape_type == "rectangle" else one.shape_type for one in regions)
    listed = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    where = f"{len(bare)} images, which are not read" if len(bare) > 1 else "1 image, which is not read"
    wanted = _listed(roles.names["label"], "or")
    message = f"regions must have a label in {wanted}, got none for {len(regions)} ({listed}) in {where}"
    if others:
        message += f" ({others} other regions left out with it)"
    places = [place for (place, _), *_ in bare.values()]
    place = Place.several(*places[:_NAMED_PLACES], *(["..."] if len(places) > _NAMED_PLACES else []))
    labeled = [shape for entry in entries for _, shape in entry.regions if shape.label]
    return Finding("E311", file, place, message, _hint(regions, labeled, roles, labels))


def _hint(regions: Sequence[ViaRegion], labeled: Sequence[AnyShape], roles: Roles, labels: Labels) -> str:
    leave = "--ignore '' leaves these regions out"
    by_attribute = _of_attributes(regions, labeled, roles, labels)
    if by_attribute:
        return f"{by_attribute}; {leave}"
    others = {_is_point(one) for one in labeled}
    kinds = {_is_point(one) for one in regions}
    typed = ["label them in VIA like the others"] if kinds & others else []
    if any(not _is_point(one) and not _is_line(one) for one in regions):
        # Always quoted: zsh reads a bare = as a command.
        name = labels.unnamed or "NAME"
        typed.append(f"--map '={name}' maps those that are not points to {name!r}")
    if True in kinds - others or any(map(_is_line, regions)):
        order = shlex.quote(",".join(labels.index))
        typed.append(f"--kpt-order {order} reads the points of each object as keypoints in this order")
    return f"{'; '.join(typed)}; {leave}"


def _of_attributes(regions: Sequence[ViaRegion], labeled: Sequence[AnyShape], roles: Roles, labels: Labels) -> str:
    """Return which attributes to use as the label: those with names of the skeleton, or one without another role."""
    known = {*labels.categories, *labels.index}
    chosen = _covering(regions, lambda _, text: labels.read(text).name in known)
    fits = bool(chosen)
    if not fits:
        taken = {name for role in ("object", "visibility") for name in roles.names[role]}
        chosen = _covering(regions, lambda name, _: name.casefold() not in taken)[:1]
    if not chosen:
        return ""
    values = Counter(one.said[name] for one in regions for name in chosen if name in one.said)
    shown = ", ".join(repr(text[:40]) for text, _ in values.most_common(_NAMED_PLACES))
    shown += ", ..." if len(values) > _NAMED_PLACES else ""
    # Regions that have a label keep it.
    known_by = Counter(one.named for one in labeled if isinstance(one, ViaRegion))
    names = ",".join([*(name for name, _ in known_by.most_common()), *chosen])
    typed = f"--attribute {shlex.quote(f'label={names}')} uses {_listed(chosen, 'and')} ({shown}) as the label"
    return typed if fits else f"{typed}; --map 'OLD=NEW' renames its values to names of the skeleton"


def _covering(regions: Sequence[ViaRegion], fits: Callable[[str, str], bool]) -> list[str]:
    """Return attributes that fit, each the most frequent in the regions that have none of those before it."""
    chosen: list[str] = []
    while regions:
        counts = Counter(
            name for one in regions for name, text in one.said.items() if "," not in name and fits(name, text)
        )
        if not counts:
            break
        best = min(counts, key=lambda name: (-counts[name], name))
        chosen.append(best)
        regions = [one for one in regions if best not in one.said or not fits(best, one.said[best])]
    return chosen


def _is_point(shape: AnyShape) -> bool:
    return shape.is_point if isinstance(shape, BadShape) else shape.shape_type == "point"


def _is_line(shape: AnyShape) -> bool:
    return not isinstance(shape, BadShape) and shape.shape_type == "polyline"


def _listed(names: Sequence[str], last: str) -> str:
    return ", ".join(names) if len(names) < 2 else f"{', '.join(names[:-1])} {last} {names[-1]}"
