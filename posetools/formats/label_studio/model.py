"""Label Studio's JSON: parse the bytes, split it into tasks and regions, check each value with pydantic.

The full export (JSON) is a list of tasks with ``annotations``, each with a list ``result``. JSON-MIN is a list of tasks
whose regions are next to the data, without ids. A region's entries in ``result`` share an ``id``: its shape with the
label, and its choices and texts. A region that breaks a rule does not lose the others. Unambiguous values of another
type are read and counted (values.py).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from posetools.core.findings import Finding
from posetools.core.geometry import MAX_COORDINATE
from posetools.errors import from_json_error, must_be
from posetools.files.disk import unmarked
from posetools.formats.joined import repaired
from posetools.formats.joining.visibility_words import SCALE, SEEN
from posetools.formats.label_studio.values import (
    agree,
    is_minimal,
    is_task,
    lenient_annotation,
    lenient_entry,
    lenient_sizes,
    tasks_of,
)
from posetools.formats.plain_numbers import whole

_CANCELED = "canceled annotations"
_BESIDE_TRUTH = "annotations other than the ground truth"
_EXPORT_JSON = "export the project from Label Studio as JSON (or JSON-MIN)"
_VIDEO = re.compile(r"\.(mp4|avi|mov|mkv|webm|m4v)([?#].*)?$", re.IGNORECASE)
# Entries of a result that describe a region or the image and are not shapes.
_SAYINGS = frozenset(
    {"choices", "textarea", "labels", "number", "rating", "taxonomy", "datetime", "pairwise", "ranker"}
)
# Those that can hold the label or the visibility.
_UNDERSTOOD = frozenset({"choices", "textarea", "labels"})
_STUDIO_RULES = {
    "points": "a list of (x, y) pairs in percent",
    "rotation": "a finite number of degrees",
    "rle": "the bytes of a brush region, each 0 to 255",
}
_PERCENT_RULE = f"a finite number of at most {MAX_COORDINATE} percent"

Json: TypeAlias = Mapping[str, Any]
Percent = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-MAX_COORDINATE, le=MAX_COORDINATE)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Rectangle(_Value):
    """A rectangle in percent of the image; ``rotation`` turns it clockwise about its upper left corner."""

    x: Percent
    y: Percent
    width: Percent
    height: Percent
    rotation: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None


class PercentPoint(_Value):
    """A point in percent of the image."""

    x: Percent
    y: Percent


class Outline(_Value):
    """A polygon in percent of the image."""

    points: Annotated[list[tuple[Percent, Percent]], Field(min_length=1)]


class Ellipse(_Value):
    """An ellipse in percent of the image; ``rotation`` turns it clockwise about its center, which is x, y."""

    x: Percent
    y: Percent
    radiusX: Percent
    radiusY: Percent
    rotation: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None


class Brush(_Value):
    """The painted pixels, packed as described in shapes.py."""

    rle: list[Annotated[int, Field(strict=True, ge=0, le=255)]] | None = None


class OtherShape(_Value):
    """A shape of which only the label is used."""


PercentShape: TypeAlias = Rectangle | PercentPoint | Outline | Ellipse | Brush | OtherShape

_REGION_MODELS: dict[str, type[PercentShape]] = {
    "rectangle": Rectangle,
    "keypoint": PercentPoint,
    "polygon": Outline,
    "ellipse": Ellipse,
    "brush": Brush,
}


@dataclass(frozen=True, slots=True)
class BadRegion:
    """What is wrong with a region: the field and the message."""

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
        choices: its choices, each after the name of the control.
        text: its texts.
        labels: all its labels when it has several; ``value`` is then the error.
        drawn: its shape in that case.
    """

    place: str
    kind: str
    label: str | None
    id: str | None
    parent: str | None
    value: PercentShape | BadRegion
    choices: Sequence[tuple[str, str]] = ()
    text: str = ""
    labels: Sequence[str] = ()
    drawn: PercentShape | BadRegion | None = None


@dataclass(frozen=True, slots=True)
class StudioTask:
    """One image.

    Attributes:
        place: ``tasks[3] (id 7)``.
        key: where the image is named (``data.image``).
        image: its address as written.
        split: the split in ``data``, or empty.
        size: (original_width, original_height), or None when no region has it.
        regions: of its one annotation; None when it has none.
        problem: why its regions cannot be read: code, message, hint; or None.
        ignored: which annotations are left out on purpose -> how many regions they have.
        dropped: what is not carried over -> how often it occurs.
    """

    place: str
    key: str
    image: str
    split: str = ""
    size: tuple[int, int] | None = None
    regions: Sequence[Region] | None = None
    problem: tuple[str, str, str] | None = None
    ignored: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


def is_export(document: object) -> bool:
    """Return whether a JSON document has at least one Label Studio task; others may be damaged."""
    return any(map(is_task, tasks_of(document) or ()))


def parse_document(data: bytes, file: str) -> tuple[list[StudioTask], list[Finding]]:
    """Return the tasks of an export, and findings on what cannot be read.

    Args:
        data: the file's content, UTF-8 or in the encoding of its byte order mark.
        file: its name, for the findings.
    """
    try:
        document = from_json(unmarked(data))
    except ValueError as exc:
        return [], [Finding("E310", file, *from_json_error(exc), _EXPORT_JSON)]
    found_tasks = tasks_of(document)
    if found_tasks is None:
        got = sorted(document) if isinstance(document, dict) else document
        return [], [Finding("E310", file, "", must_be("the file", "a list of Label Studio tasks", got), _EXPORT_JSON)]
    tasks: list[StudioTask] = []
    findings: list[Finding] = []
    repairs = Counter[str]()
    read: dict[int, tuple[Json, StudioTask]] = {}
    for index, raw in enumerate(found_tasks):
        number = raw.get("id") if isinstance(raw, dict) else None
        first = read.get(number) if isinstance(number, int) else None
        if first is not None and first[0] == raw:
            first[1].ignored["regions of copies of a task"] += len(first[1].regions or ())
            repairs["a task that the file repeats, with equal annotations, was read once"] += 1
            continue
        task = _task(index, raw, repairs)
        if isinstance(task, StudioTask):
            tasks.append(task)
            if isinstance(number, int):
                read.setdefault(number, (raw, task))
        else:
            findings.append(Finding("E311", file, f"tasks[{index}]", *task))
    findings += repaired(file, repairs)
    return tasks, findings


def _task(index: int, raw: Any, repairs: Counter[str]) -> StudioTask | tuple[str, str]:
    if not isinstance(raw, dict):
        return must_be("a task", "an object", raw), _EXPORT_JSON
    number = raw.get("id")
    place = f"tasks[{index}]" + (f" (id {number})" if isinstance(number, int) else "")
    has_data = isinstance(raw.get("data"), dict)
    data: Json = raw["data"] if has_data else {k: v for k, v in raw.items() if isinstance(v, str)}
    name = _image_field(data)
    if name is None:
        rule = "an object that names one image (in the key image, or as the only image address)"
        return must_be("data", rule, sorted(data)), _way_to_image(data)
    if _VIDEO.search(data[name]):
        return must_be(f"data.{name}", "the address of an image", data[name]), _way_to_image(data)
    split = next((data[key] for key in ("split", "subset") if isinstance(data.get(key), str)), "")
    task = StudioTask(place, f"data.{name}" if has_data else name, data[name], split)
    # Some programs write the image next to the annotations.
    is_full = has_data or (not is_minimal(raw) and not {"annotations", "completions"}.isdisjoint(raw))
    return _full(task, raw, repairs) if is_full else _minimal(task, raw, repairs)


def _image_field(data: Json) -> str | None:
    if isinstance(data.get("image"), str):
        return "image"
    images = [key for key, value in data.items() if isinstance(value, str) and _is_address(value)]
    return images[0] if len(images) == 1 else None


def _way_to_image(data: Json) -> str:
    """Return what to do about data that names no image, or several."""
    texts = [value for value in data.values() if isinstance(value, str)]
    if any(_VIDEO.search(text) for text in texts):
        return "label the frames as images: video tasks cannot be read"
    if any(map(_is_address, texts)):
        return "rename the key of the labeled image to image"
    return "rename the key of the image to image"


def _is_address(text: str) -> bool:
    return re.search(r"\.(jpe?g|png|bmp|webp|tiff?)([?#].*)?$", text, re.IGNORECASE) is not None


def _full(task: StudioTask, raw: Json, repairs: Counter[str]) -> StudioTask:
    annotations = raw.get("annotations", raw.get("completions"))
    dropped = Counter(
        {key: len(raw[key]) for key in ("drafts", "predictions") if isinstance(raw.get(key), list) and raw[key]}
    )
    ignored = Counter[str]()
    task = replace(task, ignored=ignored, dropped=dropped)
    if isinstance(annotations, dict) and isinstance(annotations.get("result"), list):
        annotations = [annotations]
        repairs["an annotation outside a list was read as the only one"] += 1
    if annotations is not None and not isinstance(annotations, list):
        return replace(task, problem=("E311", must_be("annotations", "a list", annotations), _EXPORT_JSON))
    kept: list[tuple[int, Json]] = []
    for index, one in enumerate(annotations or []):
        if not isinstance(one, dict) or not isinstance(one.get("result"), list):
            rule = "an object with the list result"
            return replace(task, problem=("E311", must_be(f"annotations[{index}]", rule, one), _EXPORT_JSON))
        annotation: Json = lenient_annotation(one, repairs)
        if annotation.get("was_cancelled") or annotation.get("skipped"):
            ignored[_CANCELED] += _regions_in(annotation)
        else:
            kept.append((index, annotation))
    read = _only(kept, ignored, dropped, repairs)
    if read is None and kept:
        numbers = ", ".join(f"annotations[{index}] of {_regions_in(one)} regions" for index, one in kept)
        message = f"{must_be('the task', 'annotated once', numbers)}; none is read"
        hint = "mark the right one as ground truth in Label Studio, delete all but one, or cancel (skip) the others"
        return replace(task, problem=("E313", message, hint))
    if read is None:
        return task
    index, annotation = read
    return _with(task, annotation["result"], f"annotations[{index}].result", repairs)


def _only(
    kept: Sequence[tuple[int, Json]], ignored: Counter[str], dropped: Counter[str], repairs: Counter[str]
) -> tuple[int, Json] | None:
    """Return the annotation that is read: the only one, the only ground truth, or one of several that are equal."""
    truths = [one for one in kept if one[1].get("ground_truth") is True]
    if len(kept) > 1 and len(truths) == 1:
        ignored[_BESIDE_TRUTH] += sum(_regions_in(one) for index, one in kept if index != truths[0][0])
        dropped[_BESIDE_TRUTH] += len(kept) - 1
        return truths[0]
    if len(kept) > 1 and agree([one["result"] for _, one in kept]):
        ignored["annotations equal to the one that is read"] += sum(_regions_in(one) for _, one in kept[1:])
        repairs["a task with equal annotations was read once"] += 1
        return kept[0]
    return kept[0] if len(kept) == 1 else None


def _regions_in(annotation: Json) -> int:
    return len(_by_region(annotation["result"])[0])


def _minimal(task: StudioTask, raw: Json, repairs: Counter[str]) -> StudioTask:
    """Return a task of JSON-MIN: each list of regions becomes a result, with types and without ids."""
    dropped = Counter[str]()
    regions: list[Region] = []
    sizes: list[Any] = []
    for key, values in raw.items():
        for index, value in enumerate(values if isinstance(values, list) else ()):
            if not isinstance(value, dict):
                dropped[f"{key!r}"] += 1
                continue
            kinds = [name for name in value if name.endswith("labels")]
            if not kinds:
                dropped[f"{key!r}"] += 1
                continue
            entry = lenient_entry({"type": kinds[0], "value": value}, repairs)
            regions.append(_region(f"{key}[{index}]", entry, []))
            lenient_sizes(entry["value"], repairs)
            sizes.append(entry["value"])
        if isinstance(values, dict):
            dropped[f"{key!r}"] += 1
    return _sized(replace(task, dropped=dropped), regions, sizes)


def _with(task: StudioTask, result: Sequence[Any], place: str, repairs: Counter[str]) -> StudioTask:
    dropped = task.dropped
    shapes, said = _by_region([lenient_entry(entry, repairs) for entry in result])
    related = _related(shapes, said.pop(None, []), dropped)
    ids = {_text_in(entry, "id") for _, entry in shapes}
    for number, sayings in said.items():
        for entry in sayings if number not in ids else ():
            dropped[f"{entry.get('type', 'entry')} {entry.get('from_name', '')!r} of the image"] += 1
    regions = []
    for index, entry in shapes:
        number = _text_in(entry, "id")
        of = [] if number is None else said.get(number, [])
        dropped.update(
            f"{one['type']} of regions" for one in of if one["type"] not in _UNDERSTOOD and not _numbered(one)
        )
        regions.append(_owned(_region(f"{place}[{index}]", entry, of), related.get(number or "", ())))
    return _sized(task, regions, [entry for _, entry in shapes])


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
    """Return a keypoint's region with the parent from its relations, or the error when they disagree."""
    owners = dict.fromkeys([*([region.parent] if region.parent else []), *related])
    if len(owners) > 1:
        problem = must_be("parentID and relations of a keypoint", "one rectangle", list(owners))
        return replace(region, parent=None, value=BadRegion("parentID", problem))
    return replace(region, parent=next(iter(owners), None))


def _by_region(entries: Sequence[Any]) -> tuple[list[tuple[int, Any]], dict[str | None, list[Json]]]:
    """Return the entries that are shapes, with their index, and the others by region id."""
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


def _sized(task: StudioTask, regions: Sequence[Region], entries: Sequence[Any]) -> StudioTask:
    problem = None
    known = [entry for entry in entries if isinstance(entry, dict)]
    sizes = dict.fromkeys((str(one.get("original_width")), str(one.get("original_height"))) for one in known)
    sizes.pop(("None", "None"), None)
    turned = [entry["image_rotation"] for entry in known if entry.get("image_rotation") not in (None, 0)]
    whole = [_pixels(side) for side in next(iter(sizes), ())]
    if len(sizes) > 1 or None in whole:
        rule = "two positive integers (pixels), the same for all regions of an image"
        shown = " and ".join(" x ".join(size) for size in sizes)
        problem = ("E311", must_be("original_width and original_height", rule, shown), _EXPORT_JSON)
    elif turned:
        rule = "0 (otherwise the frame of the regions is unknown)"
        hint = "rotate the image back in Label Studio; rotate the file itself before labeling"
        problem = ("E311", must_be("image_rotation", rule, turned[0]), hint)
    size = (whole[0], whole[1]) if whole and whole[0] and whole[1] else None
    return replace(task, size=size, regions=tuple(regions), problem=problem)


def _pixels(text: str) -> int | None:
    return int(float(text)) if re.fullmatch(r"0*[1-9]\d{0,8}(\.0+)?", text) else None


def _region(place: str, entry: Any, said: Sequence[Json]) -> Region:
    name, value = _text_in(entry, "type"), entry.get("value") if isinstance(entry, dict) else None
    if name is None or not isinstance(value, dict):
        problem = must_be("a region", "an object with type and value", entry)
        return Region(place, "", None, None, None, BadRegion("", problem))
    kind = name.removesuffix("labels")
    # <RectangleLabels> writes the label into the shape, <Rectangle> with <Labels> next to it.
    beside = [one for one in said if one["type"] == "labels"]
    labels = list(_texts([{"value": value}], name) if kind != name else _texts(beside, "labels"))
    several = len(labels) > 1
    return Region(
        place=place,
        kind=kind,
        label=labels[0] if len(labels) == 1 else None,
        id=_text_in(entry, "id"),
        parent=_text_in(entry, "parentID") or None,
        value=_check(kind, value) if len(labels) == 1 else BadRegion(name, must_be(name, "one label", labels)),
        choices=tuple(
            (_text_in(one, "from_name") or "", text)
            for one in said
            for text in (*_texts([one], "choices"), *_numbered(one))
        ),
        text=" ".join([*_texts([{"value": entry.get("meta")}], "text"), *_texts(said, "text")]),
        labels=tuple(labels) if several else (),
        drawn=_check(kind, value) if several else None,
    )


def _numbered(said: Json) -> list[str]:
    """Return the number of a control that is named like a visibility: 0, 1 or 2."""
    value = said.get("value")
    name = (_text_in(said, "from_name") or "").casefold()
    if said.get("type") != "number" or name not in SEEN | SCALE or not isinstance(value, dict):
        return []
    number = whole(value.get("number"))
    return [str(number)] if type(number) is int and number in (0, 1, 2) else []


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


def _check(kind: str, value: Json) -> PercentShape | BadRegion:
    try:
        return _REGION_MODELS.get(kind, OtherShape).model_validate(value)
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
    name = str(error["loc"][0])
    rule = _STUDIO_RULES.get(name, _PERCENT_RULE)
    return BadRegion(f"value.{name}", must_be(name, rule, value.get(name)))
