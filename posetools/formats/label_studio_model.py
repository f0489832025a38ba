"""Label Studio's JSON: parse the bytes, take every task and region apart, check each value with pydantic.

The full export (JSON) is a list of tasks with ``annotations``, each with a list ``result``. JSON-MIN is a list of tasks
whose regions stand beside the data, without ids. A region's entries in ``result`` share an ``id``: its shape with the
label, and what was said of it (choices, a text). A region that breaks a rule loses itself only.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from posetools.errors import must_be
from posetools.files import unmarked
from posetools.findings import Finding

_EXPORT = "export the project from Label Studio as JSON (or JSON-MIN)"
_LIMIT = 1e6
# Entries of a result that say something about a region or about the picture, and are no shapes.
_SAYINGS = frozenset(
    {"choices", "textarea", "labels", "number", "rating", "taxonomy", "datetime", "pairwise", "ranker"}
)
# Those of them that say the label or the visibility.
_UNDERSTOOD = frozenset({"choices", "textarea", "labels"})
_RULE = f"a finite number of at most {_LIMIT:.0f} percent"

Json: TypeAlias = Mapping[str, Any]
Percent = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-_LIMIT, le=_LIMIT)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Rectangle(_Value):
    """A rectangle in percent of the picture; ``rotation`` turns it clockwise about its upper left corner."""

    x: Percent
    y: Percent
    width: Percent
    height: Percent
    rotation: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None


class Point(_Value):
    """A point in percent of the picture."""

    x: Percent
    y: Percent


class Outline(_Value):
    """A polygon in percent of the picture."""

    points: Annotated[list[tuple[Percent, Percent]], Field(min_length=1)]


class Other(_Value):
    """A shape of which only the label is of interest."""


Shape: TypeAlias = Rectangle | Point | Outline | Other

_MODELS: dict[str, type[Shape]] = {"rectangle": Rectangle, "keypoint": Point, "polygon": Outline}


@dataclass(frozen=True, slots=True)
class Bad:
    """What is wrong with a region: the field and the sentence about it."""

    field: str
    problem: str


@dataclass(frozen=True, slots=True)
class Region:
    """One region of an annotation.

    Attributes:
        place: ``annotations[0].result[3]``.
        kind: ``rectangle``, ``keypoint``, ``polygon``, ...
        label: its label, or None when it has not exactly one.
        id: its id, or None.
        parent: the id of its parent, or None.
        value: its shape, or what is wrong with it.
        choices: what was chosen for it.
        text: what was written about it.
    """

    place: str
    kind: str
    label: str | None
    id: str | None
    parent: str | None
    value: Shape | Bad
    choices: Sequence[str] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One picture.

    Attributes:
        place: ``tasks[3] (id 7)``.
        key: where the picture is named (``data.image``).
        picture: its address as written.
        split: what ``data`` says of its split, or empty.
        size: (original_width, original_height), or None when no region says.
        regions: of its one annotation; None when it has none.
        problem: why its regions cannot be read: code, sentence, hint; or None.
        cancelled: how many regions cancelled annotations have.
        dropped: what is not carried over -> how often it is there.
    """

    place: str
    key: str
    picture: str
    split: str = ""
    size: tuple[int, int] | None = None
    regions: Sequence[Region] | None = None
    problem: tuple[str, str, str] | None = None
    cancelled: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def is_export(document: object) -> bool:
    """Return whether a JSON document is a list with a task of Label Studio's: one, for others may be damaged."""
    return isinstance(document, list) and any(isinstance(one, dict) and _is_task(one) for one in document)


def _is_task(raw: Json) -> bool:
    annotations = raw.get("annotations", raw.get("completions"))
    results = [one.get("result") for one in annotations if isinstance(one, dict)] if _is_list(annotations) else []
    full = isinstance(raw.get("data"), dict) and not {"annotations", "completions", "predictions"}.isdisjoint(raw)
    return full or any(map(_is_list, results)) or {"annotation_id", "annotator"} <= raw.keys()


def parse_document(data: bytes, file: str) -> tuple[list[Task], list[Finding]]:
    """Return the tasks of an export, and what of it cannot be read.

    Args:
        data: the file's content, UTF-8, or what its byte order mark says.
        file: its name, for the findings.
    """
    try:
        document = from_json(unmarked(data))
    except ValueError as exc:
        found = re.fullmatch(r"(.*) at line (\d+) column (\d+)", str(exc))
        reason, place = (found[1], f"line {found[2]}, column {found[3]}") if found else (str(exc), "")
        return [], [Finding("E310", file, place, f"is not valid JSON in UTF-8: {reason}", _EXPORT)]
    if not isinstance(document, list):
        got = sorted(document) if isinstance(document, dict) else document
        return [], [Finding("E310", file, "", must_be("the file", "a list of Label Studio's tasks", got), _EXPORT)]
    tasks: list[Task] = []
    findings: list[Finding] = []
    for index, raw in enumerate(document):
        task = _task(index, raw)
        if isinstance(task, Task):
            tasks.append(task)
        else:
            findings.append(Finding("E311", file, f"tasks[{index}]", *task))
    return tasks, findings


def _task(index: int, raw: Any) -> Task | tuple[str, str]:
    if not isinstance(raw, dict):
        return must_be("a task", "an object", raw), _EXPORT
    number = raw.get("id")
    place = f"tasks[{index}]" + (f" (id {number})" if isinstance(number, int) else "")
    is_full = isinstance(raw.get("data"), dict)
    data: Json = raw["data"] if is_full else {k: v for k, v in raw.items() if isinstance(v, str)}
    name = _picture_field(data)
    if name is None:
        rule = "an object that names one picture (key image, or the only value that is a picture's address)"
        return must_be("data", rule, sorted(data)), "rename the key of the picture to image"
    split = next((data[key] for key in ("split", "subset") if isinstance(data.get(key), str)), "")
    task = Task(place, f"data.{name}" if is_full else name, data[name], split)
    return _full(task, raw) if is_full else _minimal(task, raw)


def _picture_field(data: Json) -> str | None:
    if isinstance(data.get("image"), str):
        return "image"
    pictures = [key for key, value in data.items() if isinstance(value, str) and _is_address(value)]
    return pictures[0] if len(pictures) == 1 else None


def _is_address(text: str) -> bool:
    return re.search(r"\.(jpe?g|png|bmp|webp|tiff?)([?#].*)?$", text, re.IGNORECASE) is not None


def _full(task: Task, raw: Json) -> Task:
    annotations = raw.get("annotations", raw.get("completions"))
    dropped = Counter({"predictions": len(raw["predictions"])} if _is_list(raw.get("predictions")) else {})
    if annotations is not None and not _is_list(annotations):
        problem = ("E311", must_be("annotations", "a list", annotations), _EXPORT)
        return _with(task, None, dropped, problem=problem)
    kept: list[tuple[int, list[Any]]] = []
    cancelled = 0
    for index, one in enumerate(annotations or []):
        if not isinstance(one, dict) or not _is_list(one.get("result")):
            rule = "an object with the list result"
            problem = ("E311", must_be(f"annotations[{index}]", rule, one), _EXPORT)
            return _with(task, None, dropped, problem=problem)
        if one.get("was_cancelled") or one.get("skipped"):
            cancelled += len(_by_region(one["result"])[0])
        else:
            kept.append((index, one["result"]))
    if len(kept) > 1:
        numbers = ", ".join(f"annotations[{index}] of {len(_by_region(result)[0])} regions" for index, result in kept)
        message = f"{must_be('the task', 'annotated once', numbers)}; none of them is read"
        problem = ("E313", message, "delete all but one in Label Studio, or cancel (skip) the others")
        return _with(task, None, dropped, problem=problem, cancelled=cancelled)
    if not kept:
        return _with(task, None, dropped, cancelled=cancelled)
    index, result = kept[0]
    return _with(task, (result, f"annotations[{index}].result"), dropped, cancelled=cancelled)


def _minimal(task: Task, raw: Json) -> Task:
    """Return a task of JSON-MIN: each list of regions becomes a result, with types and without ids."""
    dropped = Counter[str]()
    regions: list[Region] = []
    sizes: list[Any] = []
    for key, values in raw.items():
        for index, value in enumerate(values if _is_list(values) else ()):
            if not isinstance(value, dict):
                dropped[f"{key!r}"] += 1
                continue
            kinds = [name for name in value if name.endswith("labels")]
            if not kinds:
                dropped[f"{key!r}"] += 1
                continue
            entry = {"type": kinds[0], "value": value}
            regions.append(_region(f"{key}[{index}]", entry, []))
            sizes.append(value)
        if isinstance(values, dict):
            dropped[f"{key!r}"] += 1
    return _sized(task, regions, sizes, dropped, 0)


def _with(
    task: Task,
    result: tuple[list[Any], str] | None,
    dropped: Counter[str],
    *,
    problem: tuple[str, str, str] | None = None,
    cancelled: int = 0,
) -> Task:
    if result is None:
        return Task(
            task.place, task.key, task.picture, task.split, problem=problem, cancelled=cancelled, dropped=dropped
        )
    entries, place = result
    shapes, said = _by_region(entries)
    related = _related(shapes, said.pop(None, []), dropped)
    ids = {_text_in(entry, "id") for _, entry in shapes}
    for number, sayings in said.items():
        for entry in sayings if number not in ids else ():
            dropped[f"{entry.get('type', 'entry')} {entry.get('from_name', '')!r} of the picture"] += 1
    regions = []
    for index, entry in shapes:
        number = _text_in(entry, "id")
        of = [] if number is None else said.get(number, [])
        dropped.update(f"{one['type']} of regions" for one in of if one["type"] not in _UNDERSTOOD)
        regions.append(_owned(_region(f"{place}[{index}]", entry, of), related.get(number or "", ())))
    return _sized(task, regions, [entry for _, entry in shapes], dropped, cancelled)


def _related(
    shapes: Sequence[tuple[int, Any]], relations: Sequence[Json], dropped: Counter[str]
) -> dict[str, tuple[str, ...]]:
    """Return the id of a keypoint -> the ids of the regions, perhaps deleted ones, that relations join it to."""
    kinds = {_text_in(entry, "id"): _text_in(entry, "type") or "" for _, entry in shapes}
    found: dict[str, tuple[str, ...]] = {}
    for relation in relations:
        ends = [_text_in(relation, key) for key in ("from_id", "to_id")]
        points = [end for end in ends if end and kinds.get(end, "").startswith("keypoint")]
        others = [end for end in ends if end and end not in points]
        if len(points) == len(others) == 1:
            found[points[0]] = tuple(dict.fromkeys((*found.get(points[0], ()), *others)))
        else:
            dropped["relation of regions that are not a keypoint and its box"] += 1
    return found


def _owned(region: Region, related: Sequence[str]) -> Region:
    """Return a keypoint's region with the parent that its relations say, or what is wrong when they disagree."""
    owners = dict.fromkeys([*([region.parent] if region.parent else []), *related])
    if len(owners) > 1:
        problem = must_be("parentID and relations of a keypoint", "one rectangle", list(owners))
        return replace(region, parent=None, value=Bad("parentID", problem))
    return replace(region, parent=next(iter(owners), None))


def _by_region(entries: Sequence[Any]) -> tuple[list[tuple[int, Any]], dict[str | None, list[Json]]]:
    """Return the entries that are shapes, with their index, and what is said by region's id."""
    shapes: list[tuple[int, Any]] = []
    said: dict[str | None, list[Json]] = defaultdict(list)
    for index, entry in enumerate(entries):
        kind = _text_in(entry, "type")
        if kind == "relation":
            said[None].append(entry)
        elif kind in _SAYINGS:
            number = _text_in(entry, "id")
            said[number].append(entry)
        else:
            shapes.append((index, entry))
    return shapes, said


def _sized(
    task: Task, regions: Sequence[Region], entries: Sequence[Any], dropped: Counter[str], cancelled: int
) -> Task:
    problem = None
    known = [entry for entry in entries if isinstance(entry, dict)]
    sizes = dict.fromkeys(_show(entry, "original_width", "original_height") for entry in known)
    sizes.pop(("None", "None"), None)
    turned = [entry["image_rotation"] for entry in known if entry.get("image_rotation") not in (None, 0)]
    whole = [_pixels(side) for side in next(iter(sizes), ())]
    if len(sizes) > 1 or None in whole:
        rule = "two positive integers (pixels), the same for all regions of a picture"
        shown = " and ".join(" x ".join(size) for size in sizes)
        problem = ("E311", must_be("original_width and original_height", rule, shown), _EXPORT)
    elif turned:
        rule = "0, for else it is not known in which frame the regions are"
        hint = "turn the picture back in Label Studio; turn the file itself before it is labelled"
        problem = ("E311", must_be("image_rotation", rule, turned[0]), hint)
    size = (whole[0], whole[1]) if whole and whole[0] and whole[1] else None
    return Task(task.place, task.key, task.picture, task.split, size, tuple(regions), problem, cancelled, dropped)


def _show(entry: Json, *keys: str) -> tuple[str, ...]:
    return tuple(str(entry.get(key)) for key in keys)


def _pixels(text: str) -> int | None:
    return int(float(text)) if re.fullmatch(r"0*[1-9]\d{0,8}(\.0+)?", text) else None


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _region(place: str, entry: Any, said: Sequence[Json]) -> Region:
    name, value = _text_in(entry, "type"), entry.get("value") if isinstance(entry, dict) else None
    if name is None or not isinstance(value, dict):
        problem = must_be("a region", "an object with type and value", entry)
        return Region(place, "", None, None, None, Bad("", problem))
    kind = name.removesuffix("labels")
    # <RectangleLabels> writes the label into the shape, <Rectangle> with <Labels> beside it.
    beside = [one for one in said if one["type"] == "labels"]
    labels = list(_texts([{"value": value}], name) if kind != name else _texts(beside, "labels"))
    return Region(
        place=place,
        kind=kind,
        label=labels[0] if len(labels) == 1 else None,
        id=_text_in(entry, "id"),
        parent=_text_in(entry, "parentID") or None,
        value=_check(kind, value) if len(labels) == 1 else Bad(name, must_be(name, "one label", labels)),
        choices=tuple(_texts(said, "choices")),
        text=" ".join([*_texts([{"value": entry.get("meta")}], "text"), *_texts(said, "text")]),
    )


def _text_in(entry: Any, key: str) -> str | None:
    value = entry.get(key) if isinstance(entry, dict) else None
    return value if isinstance(value, str) else None


def _texts(said: Sequence[Json], key: str) -> Iterator[str]:
    for one in said:
        value = one.get("value")
        texts = value.get(key) if isinstance(value, dict) else None
        for text in texts if isinstance(texts, list) else [texts]:
            if isinstance(text, str):
                yield text


def _check(kind: str, value: Json) -> Shape | Bad:
    try:
        return _MODELS.get(kind, Other).model_validate(value)
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
    name = str(error["loc"][0])
    rule = {"points": "a list of pairs of percent", "rotation": "a finite number of degrees"}.get(name, _RULE)
    return Bad(f"value.{name}", must_be(name, rule, value.get(name)))
