"""Joins all unknown labels of a run into one finding (E301): a table, and the options that resolve all of them.

If the source has none of the skeleton's names, the data set shows another object: the finding then gives the command
that writes a skeleton with the labels as names.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from posetools.core.categories import Categories
from posetools.core.findings import Finding, has_errors
from posetools.core.record import SplitCounts
from posetools.core.skeleton import BUILT_IN, load_skeleton, new_command, new_file
from posetools.core.skeleton_draft import draft_skeleton
from posetools.errors import Place, RequestError, show_value
from posetools.formats.joined import Cause, common_place, depend
from posetools.formats.joining.label_hints import as_typed, typed_pattern
from posetools.formats.wildcards import fits

_OR = "; for the same object, --map 'LABEL=NAME' maps a label to a name, --ignore 'LABEL' leaves it out"
# Separators that need no escape in a pattern.
_SEPARATORS = frozenset("-_:/@# ")
# How many labels the table and a command list.
_SHOWN_LABELS = 20
# This many labels that differ only in their last number are left out with one wildcard.
_FAMILY = 3


@dataclass(frozen=True, slots=True)
class UnknownLabel(Cause):
    """An unknown label; ``one_table`` joins those of a run.

    Attributes:
        label: the label.
        near: the known name that it may be a misspelling of; empty if none.
        pattern: the --label-pattern that reads it; empty if there is none, or more than one.
        ways: how to read it, if that takes more than one option.
        of: the shape that it labels, in labelme's words: a rectangle for an object.
        points: the names of the keypoints that come with an object's label.
        number: how many shapes have it.
    """

    label: str = ""
    near: str = ""
    pattern: str = ""
    ways: str = ""
    of: str = ""
    points: tuple[str, ...] = ()
    number: int = 1


@dataclass(slots=True)
class _Row:
    """One label of the table."""

    label: str
    first: UnknownLabel
    near: str
    number: int = 0
    dependents: int = 0
    files: set[str] = field(default_factory=set)
    of: Counter[str] = field(default_factory=Counter)
    points: dict[str, None] = field(default_factory=dict)

    def add(self, found: UnknownLabel) -> None:
        self.number += found.number
        self.dependents += found.dependents
        self.files.add(found.file)
        self.of[found.of] += found.number
        self.points.update(dict.fromkeys(found.points))

    @property
    def text(self) -> str:
        """The row as text."""
        files = f" in {len(self.files)} files" if len(self.files) > 1 else ""
        text = f"{show_value(self.label)}: {self.number}{files}, first {self.first.file}: {_first(self.first.place)}"
        if self.dependents:
            text += depend(self.dependents)
        if self.near:
            text += f"; may be {self.near!r}"
        elif self.first.pattern:
            text += f"; {typed_pattern(self.first.pattern)} reads it"
        elif self.first.ways:
            text += f"; {self.first.ways}"
        return text

    @property
    def is_told(self) -> bool:
        """Whether the row says how to read the label."""
        return bool(self.near or self.first.pattern or self.first.ways)


def _first(place: str) -> str:
    """Return the first of several places; for an entry with an id, only that."""
    if not isinstance(place, Place):
        return place
    return Place.entry(place.kind, place.position, *place.about[:1]) if place.kind else (*place.parts, place)[0]


def one_table(
    findings: Iterable[Finding], categories: Categories, mapped: Collection[str], read: SplitCounts
) -> list[Finding]:
    """Return a run's findings with those on unknown labels joined into one.

    Args:
        findings: all of the run.
        categories: the categories that were read.
        mapped: the labels that the user maps.
        read: what was read.
    """
    unknown: list[UnknownLabel] = []
    others: list[Finding] = []
    for finding in findings:
        if isinstance(finding, UnknownLabel):
            unknown.append(finding)
        else:
            others.append(finding)
    if not unknown:
        return others
    rows: dict[str, _Row] = {}
    for found in unknown:
        if found.label not in rows:
            rows[found.label] = _Row(found.label, found, found.near or _same_object(found, categories))
        rows[found.label].add(found)
    for row in rows.values():
        # CVAT's boxes may have their skeleton's name.
        skeletons = rows.get(row.label.removesuffix("-box"))
        row.near = row.near or (skeletons.near if skeletons and skeletons.points else "")
    _let_one_pattern_read(rows.values())
    labeled = sum(hidden + visible for _, hidden, visible in read.keypoints.values())
    known = next(iter(categories.ids)) if read.instances else ""
    if not labeled and not has_errors(others) and (hint := _another_object(rows, known)):
        what = "keypoints" if known else "labels"
        problem = f"{what} must be those of skeleton {categories.name}, got none of them but"
        return [*others, _finding(unknown, rows, f"{problem} {_counted(rows)}", hint)]
    if len(unknown) == 1:
        (found,) = unknown
        return [*others, Finding("E301", found.file, found.place, found.message + depend(found.dependents), found.hint)]
    rule = f"the category {categories.told} or keypoints of skeleton {categories.name}"
    message = f"labels must be {rule}, got {_counted(rows)}"
    hint = " ".join(_hint(list(rows.values()), categories, mapped, objects=read.instances))
    return [*others, _finding(unknown, rows, message, hint)]


def _let_one_pattern_read(rows: Iterable[_Row]) -> None:
    """Use the pattern of one label for all labels that say more than a name, if it fits all of them.

    ``dog_1`` shows what the number in ``nose_1`` means.
    """
    more = [row for row in rows if not row.near and (row.first.pattern or row.first.ways)]
    for pattern in dict.fromkeys(row.first.pattern for row in more if row.first.pattern):
        if all(re.fullmatch(pattern, row.label) for row in more):
            for row in more:
                row.first = replace(row.first, pattern=pattern, ways="")
            return


def _same_object(found: UnknownLabel, categories: Categories) -> str:
    """Return the category whose keypoints an object with another label has; empty if there is none."""
    points = set(found.points)
    for skeleton in categories.values():
        known = points & set(skeleton.names)
        if known and 2 * len(known) >= len(points):
            return skeleton.category.name
    return ""


def _finding(unknown: Sequence[UnknownLabel], rows: Mapping[str, _Row], message: str, hint: str) -> Finding:
    ordered = sorted(rows.values(), key=lambda row: (-row.number, row.label))
    details = [row.text for row in ordered[:_SHOWN_LABELS]]
    if len(ordered) > _SHOWN_LABELS:
        rest = ordered[_SHOWN_LABELS:]
        details.append(f"and {len(rest)} more labels, {sum(row.number for row in rest)} times")
    return Finding("E301", common_place([found.file for found in unknown]), "", message, hint, details=tuple(details))


def _counted(rows: Mapping[str, _Row]) -> str:
    number = sum(row.number for row in rows.values())
    files = len(set().union(*(row.files for row in rows.values())))
    labels = "1 other label" if len(rows) == 1 else f"{len(rows)} other labels"
    return f"{labels}, {number} time{'s' * (number > 1)} in {files} file{'s' * (files > 1)}"


def _another_object(rows: Mapping[str, _Row], known: str) -> str:
    """Return how to read a data set of another object; empty if it may show the skeleton's object after all.

    ``known`` is the category, if boxes of it were read.
    """
    told = list(rows.values())
    named = ((*row.points, *([row.label] if row.of["point"] > row.of["rectangle"] else [])) for row in told)
    points = list(dict.fromkeys(itertools.chain.from_iterable(named)))
    if not points or sum(row.is_told for row in told) * 2 >= len(told):
        return ""
    if any(row.dependents for row in told):
        # Some points have the skeleton's names.
        return ""
    labels = {*rows, *points}
    for built_in in map(load_skeleton, BUILT_IN):
        # A category that names its keypoints names all of them.
        complete = any(row.points for row in told)
        fits = complete and set(points) <= set(built_in.names) and 2 * len(points) >= len(built_in.names)
        known_names = labels & {built_in.category.name, *built_in.names}
        if fits or (not complete and 2 * len(known_names) >= len(labels)):
            return f"--skeleton {built_in.name} has most of these names{_OR}"
    # The label with keypoints is the object.
    boxes = {
        row.label: (bool(row.points), row.of["rectangle"])
        for row in told
        if row.of["rectangle"] >= max(row.of["point"], 1)
    }
    category = known or max(boxes, key=boxes.__getitem__, default="object")
    points = [name for name in points if name not in boxes]
    file = free = new_file(category)
    number = 2
    while Path(free).exists():
        free, number = f"{Path(file).stem}-{number}.yaml", number + 1
    command = new_command(points if _is_skeleton(points, category) else (), category, free)
    return f"`{command}` creates its skeleton; then add --skeleton {free}{_OR}"


def _is_skeleton(points: Sequence[str], category: str) -> bool:
    try:
        draft_skeleton("new", points, category)
    except RequestError:
        return False
    return True


def _hint(rows: Sequence[_Row], categories: Categories, mapped: Collection[str], *, objects: int) -> Iterator[str]:
    """Yield the parts of the hint: mapped names, patterns, and labels to leave out."""
    near = [row for row in rows if row.near]
    maps = [f"--map {as_typed(f'{row.label}={row.near}')}" for row in near[:_SHOWN_LABELS]]
    patterns = list(dict.fromkeys(row.first.pattern for row in rows if row.first.pattern))
    if maps:
        yield f"{' '.join(maps)} maps {_them(near)} to the likely name{'s' * (len(near) > 1)};"
    if joined := _one_pattern(patterns):
        yield f"{typed_pattern(joined)} reads the rest of the label;"
    elif patterns:
        yield "combine the patterns of the table into one --label-pattern;"
    if any(row.first.ways and not row.near and not row.first.pattern for row in rows):
        yield "the table says how to read the others;"
    rest = [row.label for row in rows if not row.is_told]
    if rest:
        kept = {*mapped, *(row.label for row in rows if row.label not in rest)}
        ignored = _ignored(rest, kept)
        more = " and so on" if len(ignored) > _SHOWN_LABELS else ""
        typed = " ".join(f"--ignore {as_typed(label)}" for label in ignored[:_SHOWN_LABELS])
        yield f"{typed}{more} leaves {_them(rest)} out;"
        if objects and not near and not patterns and len(ignored) > 1:
            yield f"--categories {as_typed(','.join(categories.ids))} leaves out all labels the skeleton does not name;"
    label = rows[0].label if len(rows) == 1 else "LABEL"
    map_one = f"--map {as_typed(f'{label}=NAME')} maps one to a skeleton name"
    leave_one = "" if rest else f", --ignore {as_typed(label)} leaves one out"
    yield f"{map_one}{leave_one}; --skeleton FILE for another object"


def _one_pattern(patterns: Sequence[str]) -> str:
    """Return one pattern equivalent to these if they differ in at most one character, else an empty text."""
    if len({len(one) for one in patterns}) != 1:
        return ""
    columns = [set(column) for column in zip(*patterns, strict=True)]
    different = [at for at, column in enumerate(columns) if len(column) > 1]
    if not different:
        return patterns[0]
    separators = columns[different[0]]
    if len(different) > 1 or not separators <= _SEPARATORS:
        return ""
    listed = "".join(sorted(separators - {"-"})) + "-" * ("-" in separators)
    return f"{patterns[0][: different[0]]}[{listed}]{patterns[0][different[0] + 1 :]}"


def _them(of: Sequence[object]) -> str:
    return "it" if len(of) == 1 else "them"


def _ignored(labels: Sequence[str], kept: Collection[str]) -> list[str]:
    """Return the --ignore values for some labels: wildcards cover labels that differ only in their last number."""
    families: dict[str, list[str]] = {}
    for label in labels:
        stem = label.rstrip("0123456789")
        numbered = stem != label and any(map(str.isalpha, stem)) and "*" not in stem and "?" not in stem
        families.setdefault(f"{stem}*" if numbered else label, []).append(label)
    found: list[str] = []
    for pattern, same in families.items():
        wild = len(same) >= _FAMILY and not any("*" in label or fits(label, pattern) for label in kept)
        found += [pattern] if wild else same
    return found
