"""The first step of reading CVAT's XML: parse the bytes, and take the document apart into the entries of its images.

The file is parsed by defusedxml, which refuses a document type with entities before anything is expanded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import ParseError, fromstring  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from posetools.core.findings import Finding
from posetools.errors import must_be
from posetools.formats.coco.sources import UNKNOWN_SIZE
from posetools.formats.cvat.model import CvatImage, shapes_in
from posetools.formats.cvat.tracks import WAY_ON, frames_of
from posetools.formats.cvat.values import lenient_image

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Characters of a picture's name in a place.
_LONGEST_SHOWN = 200
_EXPORT = "export the task from CVAT as 'CVAT for images 1.1'"
_Pixels = Annotated[int, Field(gt=0)]


class _ImageElement(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Annotated[str, Field(min_length=1)]
    width: _Pixels | None = None
    height: _Pixels | None = None
    subset: str = ""
    task_id: str = ""


def parse_document(data: bytes, file: str) -> tuple[list[CvatImage], list[Finding]]:
    """Return the pictures of a CVAT file, and what of it cannot be read.

    Args:
        data: the file's content.
        file: its name, for the findings.
    """
    try:
        root = fromstring(data, forbid_dtd=True)
    except ParseError as exc:
        line, column = exc.position
        place = f"line {line}, column {column + 1}"
        return [], [Finding("E310", file, place, f"is not valid XML: {str(exc).partition(':')[0]}", _EXPORT)]
    except (DefusedXmlException, LookupError, ValueError) as exc:
        problem = f"must be XML in a known encoding without a document type, got {type(exc).__name__}"
        return [], [Finding("E310", file, "", problem, _EXPORT)]
    if root.tag != "annotations":
        rule = "a CVAT file: an element annotations with image elements"
        return [], [Finding("E310", file, "", must_be("the file", rule, root.tag), _EXPORT)]
    repairs = Counter[str]()
    tracks, entries = len(root.findall("track")), root.findall("image")
    if tracks and entries:
        message = must_be("the file", "of 'CVAT for images 1.1', without tracks", f"{tracks} tracks")
        return [], [Finding("E310", file, "track[0]", message, WAY_ON)]
    images, findings = frames_of(root, file, repairs) if tracks else _images(entries, file, repairs)
    findings += [Finding("W324", file, "", f"{what} ({number})") for what, number in sorted(repairs.items())]
    return images, findings


def _images(entries: Sequence[Element], file: str, repairs: Counter[str]) -> tuple[list[CvatImage], list[Finding]]:
    images: list[CvatImage] = []
    findings: list[Finding] = []
    for index, element in enumerate(entries):
        found = _image(index, element, file, repairs)
        if isinstance(found, Finding):
            findings.append(found)
        else:
            images.append(found)
    return images, findings


def _image(index: int, element: Element, file: str, repairs: Counter[str]) -> CvatImage | Finding:
    name = element.get("name", "")
    shown = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}..."
    place = f"image[{index}]" + (f" ({shown})" if name else "")
    try:
        image = _ImageElement.model_validate(lenient_image(element.attrib, repairs))
    except ValidationError as exc:
        field = str(exc.errors(include_url=False)[0]["loc"][0])
        rule = "the picture's name" if field == "name" else "a positive integer (pixels)"
        message = f"{must_be(field, rule, element.get(field))} ({len(element)} shapes left out)"
        return Finding("E311", file, place, message, _EXPORT)
    size = (image.width, image.height) if image.width and image.height else UNKNOWN_SIZE
    return CvatImage(place, image.name, size, image.subset, shapes_in(element, repairs), image.task_id)
