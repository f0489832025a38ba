"""The first step of reading CVAT's XML: parse the bytes, and split the document into the entries of its images.

defusedxml parses the file: it refuses a document type with entities before anything is expanded.

CVAT for video 1.1 has tracks. A track has a shape in every frame that shows it; CVAT lists every frame of a track,
also those between its key frames, and ends it with a shape that is outside. It names no images: the frames of a video
are ``frame_000012.PNG``, those of other tasks have names that are not in the file. Files of other programs may list
only key frames; they are refused, because the position in between is unknown.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, NamedTuple
from xml.parsers.expat import ErrorString

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import ParseError, fromstring  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from posetools.core.findings import Finding
from posetools.errors import Place, first_names, must_be
from posetools.formats.coco.sources import UNKNOWN_SIZE
from posetools.formats.cvat.model import (
    CvatImage,
    CvatShape,
    PointSet,
    lenient_image,
    lenient_shape,
    shape_of,
    shapes_in,
)

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Characters of an image's name in a place.
_LONGEST_SHOWN = 200
_EXPORT_IMAGES = "export the task from CVAT as 'CVAT for images 1.1'"
_SizeInPixels = Annotated[int, Field(gt=0)]


class _ImageElement(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Annotated[str, Field(min_length=1)]
    width: _SizeInPixels | None = None
    height: _SizeInPixels | None = None
    subset: str = ""
    task_id: str = ""


def parse_document(data: bytes, file: str) -> tuple[list[CvatImage], list[Finding]]:
    """Return the images of a CVAT file, and findings on what cannot be read.

    Args:
        data: the file's content.
        file: its name, for the findings.
    """
    root = parse_root(data, file)
    return ([], [root]) if isinstance(root, Finding) else images_in(root, file)


def parse_root(data: bytes, file: str) -> Element | Finding:
    """Return the root of a CVAT file, or the finding that says why it cannot be read."""
    try:
        root: Element = fromstring(data, forbid_dtd=True)
    except ParseError as exc:
        line, column = exc.position
        place = f"line {line}, column {column + 1}"
        return Finding("E310", file, place, f"is not valid XML: {ErrorString(exc.code)}", _EXPORT_IMAGES)
    except (DefusedXmlException, LookupError, ValueError) as exc:
        problem = f"must be XML in a known encoding without a document type, got {type(exc).__name__}"
        return Finding("E310", file, "", problem, _EXPORT_IMAGES)
    if root.tag != "annotations":
        rule = "a CVAT file: an annotations element with image elements"
        return Finding("E310", file, "", must_be("the file", rule, root.tag), _EXPORT_IMAGES)
    return root


def images_in(root: Element, file: str) -> tuple[list[CvatImage], list[Finding]]:
    """Return the images of a CVAT document, and findings on what cannot be read."""
    repairs = Counter[str]()
    tracks, entries = len(root.findall("track")), root.findall("image")
    if tracks and entries:
        message = must_be("the file", "of 'CVAT for images 1.1', without tracks", f"{tracks} tracks")
        return [], [Finding("E310", file, "track[0]", message, WAY_ON)]
    images, findings = frames_of(root, file, repairs) if tracks else _images(entries, file, repairs)
    findings += [Finding("W324", file, "", f"{what} ({number})") for what, number in sorted(repairs.items())]
    return images, findings


def _images(entries: Sequence[Element], file: str, repairs: Counter[str]) -> tuple[list[CvatImage], list[Finding]]:
    found = [_image(index, element, file, repairs) for index, element in enumerate(entries)]
    images = [one for one in found if isinstance(one, CvatImage)]
    return images, [one for one in found if isinstance(one, Finding)]


def _image(index: int, element: Element, file: str, repairs: Counter[str]) -> CvatImage | Finding:
    name = element.get("name", "")
    shown = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}..."
    place = f"image[{index}]" + (f" ({shown})" if name else "")
    try:
        image = _ImageElement.model_validate(lenient_image(element.attrib, repairs))
    except ValidationError as exc:
        field = str(exc.errors(include_url=False)[0]["loc"][0])
        rule = "the image's name" if field == "name" else "a positive integer (pixels)"
        message = f"{must_be(field, rule, element.get(field))} ({len(element)} shapes left out)"
        return Finding("E311", file, place, message, _EXPORT_IMAGES)
    size = (image.width, image.height) if image.width and image.height else UNKNOWN_SIZE
    return CvatImage(place, image.name, size, image.subset, shapes_in(element, repairs), image.task_id)


WAY_ON = "export the task from CVAT as 'CVAT for images 1.1': it writes tracks as shapes of each frame"
# Names that a message lists.
_SHOWN_FRAMES = 3
_FRAME = re.compile(r"\d{1,9}", re.ASCII)
_PIXELS_TEXT = re.compile(r"[1-9]\d{0,8}", re.ASCII)


class _ImageKey(NamedTuple):
    """An image: the id and subset of its task, empty in the file of one task, and the number of the frame."""

    task: str
    subset: str
    frame: int


class _Track(NamedTuple):
    place: str
    task: str
    # Each listed frame, and whether the object is in it.
    frames: Sequence[tuple[int, bool]]


def frames_of(root: Element, file: str, repairs: Counter[str]) -> tuple[list[CvatImage], list[Finding]]:
    """Return the frames with an object of some track, each as an image, and findings.

    Args:
        root: the document.
        file: its name, for the findings.
        repairs: counts unusual values that were read.
    """
    shapes: dict[_ImageKey, list[CvatShape]] = defaultdict(list)
    tracks: list[_Track] = []
    findings: list[Finding] = []
    for index, track in enumerate(root.findall("track")):
        frames = []
        for number, outside, shape in _shapes_of(track, f"track[{index}]", repairs):
            if not _FRAME.fullmatch(number):
                message = must_be("frame", "a frame number", number)
                findings.append(Finding("E311", file, Place.field(shape.place, "frame"), message, WAY_ON))
                continue
            if outside not in ("0", "1"):
                message = must_be("outside", "0 or 1", outside)
                findings.append(Finding("E311", file, Place.field(shape.place, "outside"), message, WAY_ON))
                continue
            frames.append((int(number), outside == "0"))
            if outside == "0":
                shapes[_ImageKey(track.get("task_id", ""), track.get("subset", ""), int(number))].append(shape)
        tracks.append(_Track(f"track[{index}]", track.get("task_id", ""), sorted(frames)))
    if findings:
        # It is unknown which frame lacks the shape; that frame would have an object too few.
        return [], findings
    gap = _gap(tracks)
    if gap is not None:
        return [], [Finding("E310", file, *gap, f"import the file into CVAT, and {WAY_ON}")]
    if not shapes:
        message = must_be("the file", "one with a shape that is not outside in some track", f"{len(tracks)} tracks")
        return [], [Finding("E310", file, "track[0]", message, WAY_ON)]
    size = _size(root)
    images = [
        CvatImage(f"frame {key.frame}", f"frame_{key.frame:06d}.PNG", size, key.subset, found, key.task, is_frame=True)
        for key, found in sorted(shapes.items())
    ]
    return images, []


def told_missing(frames: Sequence[CvatImage], file: str, *, of: int) -> Finding:
    """Return the finding on frames without images, of ``of`` frames in the file."""
    listed = first_names([frame.name for frame in frames], _SHOWN_FRAMES)
    message = f"each of its {of} frames must have an image in images/, got none for {len(frames)}: {listed}"
    shapes = sum(len(frame.shapes) for frame in frames)
    hint = f"{WAY_ON} and names the images; --image-root DIR searches another folder for the frames"
    code, place = ("E310", "track[0]") if len(frames) == of else ("E121", "")
    return Finding(code, file, place, f"{message} ({shapes} shapes left out)", hint)


def _shapes_of(track: Element, at: str, repairs: Counter[str]) -> Iterator[tuple[str, str, CvatShape]]:
    """Yield the shapes of a track: the frame and "outside" (0 where missing), as written, and the shape."""
    said: dict[str, str] = {key: value for key, value in track.attrib.items() if key in ("label", "group_id")}
    numbers: Counter[str] = Counter()
    for element in track:
        if element.tag == "attribute":
            continue
        place = f"{at}.{element.tag}[{numbers[element.tag]}]"
        numbers[element.tag] += 1
        shape = shape_of(element, place, repairs, said)
        outside = lenient_shape(element.attrib)[0].get("outside", "0")
        parts = [part.value for part in shape.parts]
        # A skeleton is outside when all its points are.
        if parts and all(isinstance(part, PointSet) and part.outside for part in parts):
            outside = "1"
        yield element.get("frame", ""), outside, shape


def _gap(tracks: Sequence[_Track]) -> tuple[str, str] | None:
    """Return the place of a track that leaves out frames, and the message."""
    of_task: dict[str, set[int]] = defaultdict(set)
    for track in tracks:
        of_task[track.task].update(frame for frame, _ in track.frames)
    for track in tracks:
        every = sorted(of_task[track.task])
        step = min((b - a for a, b in pairwise(every)), default=1)
        ended = [*track.frames, (every[-1], False)] if track.frames else []
        for (first, is_there), (second, _) in pairwise(ended):
            if is_there and second - first > step:
                rule = "a track with every frame up to one that is outside"
                return track.place, must_be(track.place, rule, f"frame {first}, then {second}")
    return None


def _size(root: Element) -> tuple[int, int]:
    """Return the (width, height) of the frames, where the file gives it."""
    found = [
        (one.findtext("width", "").strip(), one.findtext("height", "").strip()) for one in root.iter("original_size")
    ]
    if len(set(found)) != 1 or not all(map(_PIXELS_TEXT.fullmatch, found[0])):
        return UNKNOWN_SIZE
    return int(found[0][0]), int(found[0][1])
