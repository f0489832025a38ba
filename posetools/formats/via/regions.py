"""VIA regions as the Shape that formats/joining/ reads: a rectangle, a point, an outline, or something else.

VIA has no fixed attributes: ROLES, or the user, decides which of them hold the label, the object and the visibility. A
region without a label is a ViaRegion with an empty label; one that breaks a rule is a BadShape, and the others of its
image are still read. Unambiguous values of another type are read and counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from posetools.core.geometry import MAX_COORDINATE
from posetools.errors import RequestError, must_be
from posetools.formats.joining.shapes import ellipse_corners
from posetools.formats.joining.visibility_words import SCALE, SEEN, says_of_visibility
from posetools.formats.labelme.model import AnyShape, BadShape, Shape, coordinate, flag
from posetools.formats.plain_numbers import whole

# Role -> its attributes. The first with a value decides; those of the visibility must all agree.
ROLES: Mapping[str, tuple[str, ...]] = {
    "label": ("label", "name", "class"),
    "object": ("object", "group", "instance", "group_id"),
    "visibility": ("visibility", "visible", "occluded", "hidden"),
}
# The numbers that each shape must have.
_SHAPE_NUMBERS = {
    "rect": ("x", "y", "width", "height"),
    "point": ("cx", "cy"),
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
}
_POINT_LISTS = ("all_points_x", "all_points_y")

ViaPoints = list[tuple[float, float]]


class ViaRegion(Shape):
    """A region as a shape. Its object can be a string, and ``attributes`` holds its visibility."""

    # VIA's attributes are strings; formats/joining/ accepts both as a group.
    group_id: int | str | None = None  # type: ignore[assignment]
    # The attribute of the label. ``said`` is for a region without a label: attribute -> its text.
    named: str = ""
    said: Mapping[str, str] = {}
    # Attribute without a role -> its text.
    others: Mapping[str, str] = {}


class Roles(NamedTuple):
    """Which attributes hold what.

    Attributes:
        names: role -> names of attributes, in the order they are tried.
        hidden: words in lower case that mean "labeled but not visible".
        asked: the roles whose attribute the user named.
    """

    names: Mapping[str, tuple[str, ...]]
    hidden: frozenset[str]
    asked: frozenset[str] = frozenset()

    @classmethod
    def of(cls, given: Mapping[str, str], hidden: frozenset[str]) -> Roles:
        """Return the roles; an attribute that the user gives to one is removed from the others.

        Args:
            given: role -> an attribute, or several separated by commas.
            hidden: words in lower case that mean "labeled but not visible".

        Raises:
            RequestError: a role is unknown.
        """
        unknown = [role for role in given if role not in ROLES]
        if unknown:
            raise RequestError(must_be("--attribute", f"ROLE=NAME with a role of {', '.join(ROLES)}", unknown[0]))
        asked = {role: tuple(name.strip() for name in text.split(",")) for role, text in given.items()}
        taken = {name for own in asked.values() for name in own}
        names = {
            role: asked.get(role) or tuple(name for name in own if name not in taken) for role, own in ROLES.items()
        }
        return cls(names, hidden, frozenset(given))


@dataclass(frozen=True, slots=True)
class RegionReader:
    """Reads the regions of one file.

    Attributes:
        roles: which attributes hold what.
        parts: the file's keys of a region's shape and its attributes.
        repairs: values of other types that were read, and how many.
    """

    roles: Roles
    parts: tuple[str, str] = ("shape_attributes", "region_attributes")
    repairs: Counter[str] = field(default_factory=Counter)

    def read(self, shape: Any, attributes: Any) -> AnyShape:
        """Return a region's two parts as a shape."""
        of_shape, of_region = self.parts
        said = self._content(attributes)
        if said is None:
            return bad(of_region, "an object", attributes)
        named, value = self._first("label", said)
        label = self._label(value)
        kind = shape.get("name") if isinstance(shape, dict) else None
        if not isinstance(kind, str):
            return bad(of_shape, "an object with the key name", shape, label)
        if label is None:
            return bad(f"{of_region}.{named}", "one label", value, is_point=kind == "point")
        points = self._points(kind, shape)
        if isinstance(points, _ShapeProblem):
            return bad(f"{of_shape}{points.place}", points.rule, points.value, label, is_point=kind == "point")
        grouped, group = self._first("object", said)
        seen = self._visibility(said) if kind in ("point", "circle") else {}
        used = {named, grouped, *seen}
        return ViaRegion.model_construct(
            label=label,
            points=points,
            group_id=self._group(group),
            shape_type="rectangle" if kind == "rect" else kind,
            flags={self._flag_name(name): True for name, one in said.items() if name not in used and says(one)},
            attributes={self._key(name): word for name, word in seen.items()},
            named=named,
            others={name: text for name, one in said.items() if name not in used and (text := self._text(one))},
            said={} if label else {name: text for name, one in said.items() if (text := self._text(one))},
        )

    def _content(self, attributes: Any) -> Mapping[str, Any] | None:
        if isinstance(attributes, dict):
            return attributes
        if attributes is None or attributes in ("", []):
            self.repairs[f"{self.parts[1]} that are missing, null or empty were read as no attributes"] += 1
            return {}
        return None

    def _first(self, role: str, said: Mapping[str, Any]) -> tuple[str, Any]:
        """Return the first attribute of a role with a value, in any letter case; an empty name if none has."""
        for name in self.roles.names[role]:
            alike = [other for other in said if other != name and other.casefold() == name.casefold()]
            for key in (name, *alike):
                if says(said.get(key)):
                    return key, said[key]
        return "", None

    def _label(self, value: Any) -> str | None:
        """Return the label, empty when missing; None when it is invalid."""
        word = self._word(value)
        if isinstance(word, int | float) and not isinstance(word, bool):
            self.repairs["a label as a number was read as a string"] += 1
            return str(whole(word))
        if not isinstance(word, str):
            return "" if word is None else None
        if word != word.strip():
            self.repairs["spaces around a label were removed"] += 1
        return word.strip()

    def _text(self, value: Any) -> str:
        """Return an attribute that may be a label as a string; empty if it has no value or several."""
        if not says(value):
            return ""
        word = _chosen(value) if isinstance(value, dict) else value
        word = word[0] if isinstance(word, list) and len(word) == 1 else word
        return str(word) if isinstance(word, str | int | float) else ""

    def _word(self, value: Any) -> Any:
        """Return the one choice of a checkbox or list, and any other value as is."""
        if isinstance(value, dict):
            if any(not isinstance(on, bool) for on in value.values()):
                self.repairs["choices as 0, 1 or strings were read as true and false"] += 1
            words = _chosen(value)
            return words[0] if len(words) == 1 else words
        if isinstance(value, list) and len(value) == 1:
            self.repairs["a list of one value was read as that value"] += 1
            return value[0]
        return value

    def _group(self, value: Any) -> int | str | None:
        if value is None:
            return None
        word = self._word(value)
        number = whole(word)
        if isinstance(word, float) or (isinstance(word, str) and "." in word and number is not word):
            self.repairs["an object's number as a float was read as an integer"] += 1
        text = str(number).strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text

    def _visibility(self, said: Mapping[str, Any]) -> dict[str, Any]:
        names = {name.casefold() for name in self.roles.names["visibility"]}
        if "visibility" not in self.roles.asked:
            names |= self.roles.hidden
        return {name: self._seen(one) for name, one in said.items() if name.casefold() in names and says(one)}

    def _seen(self, value: Any) -> Any:
        word = self._word(value)
        number = whole(word)
        if isinstance(word, bool | float) or (isinstance(word, str) and "." in word and number is not word):
            self.repairs["a visibility as a float, true or false was read as VIA's text"] += 1
        return number

    def _key(self, name: str) -> str:
        """Return the name by which visibility_words knows an attribute of the visibility."""
        return name if name.casefold() in SEEN | SCALE | self.roles.hidden else "visibility"

    def _flag_name(self, name: str) -> str:
        """Return a name for an attribute that is not carried over, which is not read as visibility."""
        return f"{self.parts[1]}.{name}" if says_of_visibility(name, self.roles.hidden) else name

    def _points(self, kind: str, shape: Mapping[str, Any]) -> ViaPoints | _ShapeProblem:
        """Return the points of a shape as labelme has them: two corners, one point, a circle's center and edge."""
        numbers: dict[str, float] = {}
        for name in _SHAPE_NUMBERS.get(kind, ()):
            value = self._number(shape.get(name))
            if value is None:
                return _ShapeProblem(f".{name}", "a finite number", shape.get(name))
            numbers[name] = value
        if kind == "rect":
            points = self._rectangle(**numbers)
        elif kind == "point":
            points = [(numbers["cx"], numbers["cy"])]
        elif kind == "circle":
            points = [(numbers["cx"], numbers["cy"]), (numbers["cx"] + numbers["r"], numbers["cy"])]
        elif kind == "ellipse":
            points = ellipse_corners(**numbers, degrees=math.degrees(self._number(shape.get("theta")) or 0.0))
        else:
            points = self._outline(kind, shape)
        if not isinstance(points, _ShapeProblem) and any(abs(n) > MAX_COORDINATE for point in points for n in point):
            return _ShapeProblem("", f"a shape within {MAX_COORDINATE} px", dict(shape))
        return points

    def _rectangle(self, x: float, y: float, width: float, height: float) -> ViaPoints | _ShapeProblem:
        for name, side in (("width", width), ("height", height)):
            if side == 0:
                return _ShapeProblem(f".{name}", "a number greater than 0", 0)
        if width < 0 or height < 0:
            self.repairs["a rectangle with a negative width or height was read as drawn the other way"] += 1
        return [
            (min(x, x + width) + 0.0, min(y, y + height) + 0.0),
            (max(x, x + width) + 0.0, max(y, y + height) + 0.0),
        ]

    def _outline(self, kind: str, shape: Mapping[str, Any]) -> ViaPoints | _ShapeProblem:
        if kind not in ("polygon", "polyline") and not any(name in shape for name in _POINT_LISTS):
            return []
        columns = []
        for name in _POINT_LISTS:
            raw = shape.get(name)
            values = [self._number(value) for value in raw] if isinstance(raw, list) else [None]
            if None in values:
                return _ShapeProblem(f".{name}", "a list of finite numbers", raw)
            columns.append([value for value in values if value is not None])
        xs, ys = columns
        if len(xs) != len(ys):
            return _ShapeProblem(f".{_POINT_LISTS[1]}", f"{len(xs)} numbers, one for each x", len(ys))
        return list(zip(xs, ys, strict=True))

    def _number(self, raw: Any) -> float | None:
        value = coordinate(raw)
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= MAX_COORDINATE:
            return None
        if isinstance(raw, str):
            self.repairs["coordinates as strings were read as numbers"] += 1
        # A negative zero becomes zero.
        return float(value) + 0.0


class _ShapeProblem(NamedTuple):
    """What is wrong with a shape: the place in it, the rule and the value."""

    place: str
    rule: str
    value: object


def bad(field_name: str, rule: str, value: object, label: str | None = None, *, is_point: bool = False) -> BadShape:
    """Return a region that cannot be read; see BadShape."""
    return BadShape(label or None, None, is_point, field_name, must_be(field_name or "a region", rule, value))


def _chosen(choices: Mapping[str, Any]) -> list[str]:
    return [str(key) for key, on in choices.items() if flag(on)]


def says(value: object) -> bool:
    """Return whether an attribute has a value: VIA writes empty strings and choices for unset ones."""
    if isinstance(value, dict):
        return bool(_chosen(value))
    if isinstance(value, float) and math.isnan(value):
        return False
    return value is not None and value != [] and not (isinstance(value, str) and not value.strip())
