"""The skeleton: which keypoints an object has, and everything that follows from their names.

A skeleton is a YAML file: ``schemas/car8.yaml`` is the default, ``schemas/coco17.yaml`` the second built-in, any other
is a file of the user's own, for which a name and the keypoints' names are enough. docs/skeletons.md explains every
field. A plug-in of the group ``posetools.skeletons`` is a Skeleton, or the path of such a file; its name is then used
as those of the built-in ones.

Keypoints go by name. Indices, flip pairs, YOLO's ``flip_idx``, COCO's 1-based edges and MMPose's metainfo are derived
here and nowhere else.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)

from posetools.core.skeleton_colors import keypoint_colors, link_colors
from posetools.core.skeleton_defaults import completed, describe_defaults
from posetools.errors import InputError, RequestError, from_validation, must_be, show_value
from posetools.files.disk import read_text
from posetools.files.yaml_text import flow_text, parse_yaml
from posetools.plugins.registry import Loaded, Plugin

DEFAULT = "car8"
# Longer lists of names are not put into commands.
_TYPED_MOST = 1000
_TYPED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

_NAME = r"^\S(.*\S)?$"
Name = Annotated[str, StringConstraints(min_length=1, pattern=_NAME)]
Channel = Annotated[int, Field(ge=0, le=255)]
Color = tuple[Channel, Channel, Channel]
Positive = Annotated[float, Field(gt=0)]
Vector = tuple[float, float, float]


def _color_field(alone: Color) -> Any:
    """Return a field with the color of a part outside a skeleton, which is not the schema's default."""
    described = "red, green, blue; default: a different color for each part"
    return Field(default_factory=lambda: alone, description=described)


class _SkeletonPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Category(_SkeletonPart):
    """The one object category that a skeleton describes."""

    name: Name
    id: Annotated[int, Field(ge=1, description="COCO category id, 1-based")] = 1


class Keypoint(_SkeletonPart):
    """One keypoint: its name, the keypoint it becomes in a mirrored image, and its color (RGB).

    A skeleton chooses the color where none is given.
    """

    name: Name
    swap: Name | None = None
    color: Color = _color_field((255, 128, 0))


class Link(_SkeletonPart):
    """A line drawn between two keypoints, and its color (RGB), which a skeleton chooses where none is given."""

    points: tuple[Name, Name]
    color: Color = _color_field((51, 153, 255))


class Face(_SkeletonPart):
    """A side of a rigid object: its name, and where it faces, as a vector of any length."""

    name: Name
    normal: Vector

    @model_validator(mode="after")
    def _check(self) -> Face:
        if not any(self.normal):
            raise ValueError(f"{self.name}: normal must be a vector with a direction, got {list(self.normal)}")
        return self


class PlacedPoint(_SkeletonPart):
    """Where one keypoint is on the mean object.

    Attributes:
        name: the keypoint.
        at: x (forwards), y (to the object's left), z (upwards from the ground), in meters.
        faces: the sides that it is on; it is visible if one of them is. Empty: visible from everywhere.
        opposite: its counterpart at the other end of the object.
        neighbour: the nearby keypoint that it is likely to be confused with.
    """

    name: Name
    at: Vector
    faces: tuple[Name, ...] = ()
    opposite: Name | None = None
    neighbour: Name | None = None


class Mode(_SkeletonPart):
    """One way in which objects differ: keypoints that move together along a direction.

    Attributes:
        name: for readers of the file.
        sd: the standard deviation among real objects, in meters.
        along: the direction, a vector of length 1 in most cases.
        points: the keypoints that move along it.
        against: those that move the other way.
    """

    name: Name
    sd: Positive
    along: Vector
    points: tuple[Name, ...]
    against: tuple[Name, ...] = ()


class Template(_SkeletonPart):
    """The keypoints of a rigid object in space: its mean, its sides, and how objects differ."""

    faces: tuple[Face, ...] = ()
    points: Annotated[tuple[PlacedPoint, ...], Field(min_length=1)]
    modes: tuple[Mode, ...] = ()

    def problem(self, names: tuple[str, ...]) -> str | None:
        """Return what is wrong with it as a template for these keypoints, or None."""
        own = [point.name for point in self.points]
        if sorted(own) != sorted(names):
            return f"points must be the {len(names)} keypoints, each once, got {', '.join(own)}"
        faces = [face.name for face in self.faces]
        if len(set(faces)) != len(faces):
            return f"names of faces must be unique, got {', '.join(faces)}"
        by_name = {point.name: point for point in self.points}
        for point in self.points:
            if unknown := set(point.faces) - set(faces):
                return f"{point.name}: faces must be names of faces, got {min(unknown)!r}"
            for field in ("opposite", "neighbour"):
                other = getattr(point, field)
                if other is not None and (other == point.name or other not in by_name):
                    return f"{point.name}: {field} must be another keypoint, got {other!r}"
                if other is not None and getattr(by_name[other], field) != point.name:
                    return f"{point.name}: {field} must go both ways, but {other!r} has another one"
        for mode in self.modes:
            for name in (*mode.points, *mode.against):
                if name not in by_name:
                    return f"mode {mode.name!r}: points must be names of keypoints, got {name!r}"
        return None


class Skeleton(_SkeletonPart):
    """The keypoints of one category and what belongs to them.

    A file needs ``name`` and ``keypoints`` only. Keypoints may be plain names, whose left/right pairs follow from the
    names (``posetools.core.skeleton_pairs``), and the category may be a name, by default the skeleton's own.

    Attributes:
        name: the skeleton's name, used in file names.
        category: the object category.
        keypoints: the K keypoints in the order of every array and file; none: the category has boxes only.
        links: the lines between them.
        sigmas: per-keypoint constants of OKS, in units of sqrt(area) (COCO's ``k = 2 * sigma``); ``DEFAULT_SIGMA`` by
            default.
        joint_weights: per-keypoint weights of the training loss; 1 by default.
        flip: whether training mirrors images; None: if any keypoint has a swap.
        rotation: the largest rotation of images in training, in degrees; None: chosen from the data.
        template: where the keypoints are in space, for a rigid object that was measured.
    """

    model_config = ConfigDict(json_schema_extra=describe_defaults)

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    category: Category
    keypoints: tuple[Keypoint, ...]
    links: tuple[Link, ...] = ()
    sigmas: tuple[Positive, ...]
    joint_weights: tuple[Positive, ...]
    flip: StrictBool | None = None
    rotation: Annotated[int, Field(ge=0, le=180)] | None = None
    template: Template | None = None

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, document: Any) -> Any:
        return completed(document) if isinstance(document, dict) else document

    @model_validator(mode="after")
    def _check(self) -> Skeleton:
        self._check_names()
        self._check_swaps()
        self._check_links()
        for field in ("sigmas", "joint_weights"):
            got = len(getattr(self, field))
            if got != self.num_keypoints:
                raise ValueError(
                    f"{field} must be a list of {self.num_keypoints} numbers, one per keypoint, got {got} numbers"
                )
        if self.template is not None and (problem := self.template.problem(self.names)):
            raise ValueError(f"template: {problem}")
        self._color()
        return self

    def _color(self) -> None:
        """Choose a color for keypoints and links without one."""
        chosen = {
            "keypoints": keypoint_colors(self.names, self.flip_indices),
            "links": link_colors(self.names, self.flip_indices, self.edges),
        }
        for field, colors in chosen.items():
            parts = zip(getattr(self, field), colors, strict=True)
            colored = tuple(
                each if "color" in each.model_fields_set else each.model_copy(update={"color": color})
                for each, color in parts
            )
            # The model is frozen; only this validator sets colors.
            object.__setattr__(self, field, colored)

    def _check_names(self) -> None:
        for name, times in Counter(self.names).items():
            if times > 1:
                places = " and ".join(f"keypoints[{i}]" for i, other in enumerate(self.names) if other == name)
                raise ValueError(f"{places}: name must be unique, got {name!r} {times} times")

    def _check_swaps(self) -> None:
        by_name = {point.name: point for point in self.keypoints}
        for i, point in enumerate(self.keypoints):
            if point.swap is None:
                continue
            where = f"keypoints[{i}] ({point.name}): swap"
            if point.swap not in by_name:
                raise ValueError(f"{where} must be the name of a keypoint, got {point.swap!r}")
            if point.swap == point.name:
                raise ValueError(f"{where} must be another keypoint, got its own name; leave swap out instead")
            back = by_name[point.swap].swap
            if back != point.name:
                raise ValueError(
                    f"{where} must go both ways: {point.name!r} swaps with {point.swap!r}, "
                    f"but {point.swap!r} swaps with {back!r}"
                )

    def _check_links(self) -> None:
        seen: dict[frozenset[str], int] = {}
        for i, link in enumerate(self.links):
            for name in link.points:
                if name not in self.index:
                    raise ValueError(f"links[{i}]: points must be names of keypoints, got {name!r}")
            pair = frozenset(link.points)
            if len(pair) == 1:
                raise ValueError(f"links[{i}]: points must be two different keypoints, got {link.points[0]!r} twice")
            if pair in seen:
                raise ValueError(f"links[{i}]: points must be a new pair, got the same as links[{seen[pair]}]")
            seen[pair] = i

    @model_serializer(mode="wrap")
    def _without_empty_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Earlier versions refuse unknown keys, so a key is written only if it is set.
        document: dict[str, Any] = handler(self)
        return {key: value for key, value in document.items() if value is not None or key not in ("flip", "rotation")}

    @property
    def num_keypoints(self) -> int:
        """K, the number of keypoints."""
        return len(self.keypoints)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The K names, in order."""
        return tuple(point.name for point in self.keypoints)

    @cached_property
    def index(self) -> dict[str, int]:
        """Name to 0-based index."""
        return {name: i for i, name in enumerate(self.names)}

    @cached_property
    def flip_indices(self) -> tuple[int, ...]:
        """The K indices of the keypoints in a mirrored image (YOLO's ``flip_idx``): a permutation."""
        return tuple(self.index[point.swap or point.name] for point in self.keypoints)

    @property
    def has_swaps(self) -> bool:
        """Whether any keypoint changes its name in a mirrored image."""
        return any(point.swap is not None for point in self.keypoints)

    @property
    def mirrors(self) -> bool:
        """Whether training mirrors images."""
        return self.has_swaps if self.flip is None else self.flip

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The left/right pairs, by name."""
        return tuple((self.names[a], self.names[b]) for a, b in enumerate(self.flip_indices) if a < b)

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """The links as 0-based index pairs."""
        return tuple((self.index[a], self.index[b]) for a, b in (link.points for link in self.links))

    @property
    def coco_edges(self) -> list[list[int]]:
        """The links as COCO writes them: 1-based index pairs."""
        return [[a + 1, b + 1] for a, b in self.edges]

    def metainfo(self) -> dict[str, Any]:
        """Return what MMPose's ``parse_pose_metainfo`` reads."""
        return {
            "dataset_name": self.name,
            "keypoint_info": {
                i: {"name": p.name, "id": i, "color": list(p.color), "type": "", "swap": p.swap or ""}
                for i, p in enumerate(self.keypoints)
            },
            "skeleton_info": {
                i: {"link": tuple(link.points), "id": i, "color": list(link.color)} for i, link in enumerate(self.links)
            },
            "joint_weights": list(self.joint_weights),
            "sigmas": list(self.sigmas),
        }


def load_skeleton(name_or_path: str | Path = DEFAULT) -> Skeleton:
    """Return the built-in skeleton of that name, or the one in the YAML file at that path.

    Raises:
        RequestError: it is neither a built-in name nor an existing file.
        InputError: the file is not a valid skeleton.
        PluginError: another package's skeleton of that name cannot be used.
    """
    if str(name_or_path) in BUILT_IN:
        return BUILT_IN[str(name_or_path)]
    path = Path(name_or_path)
    if not path.is_file():
        raise RequestError(
            f"skeleton must be one of {', '.join(BUILT_IN)} or the path of a YAML file, got {str(name_or_path)!r}",
            hint=f"`{new_command(())}` writes one",
        )
    return read_skeleton(path)


def is_name(text: str) -> bool:
    """Return whether a category or a keypoint may have this name."""
    return re.fullmatch(_NAME, text) is not None


def new_file(category: str) -> str:
    """Return the file name for a skeleton of that object, to type in a shell."""
    return f"{category}.yaml" if _TYPED.fullmatch(category) else "FILE"


def new_command(names: Iterable[str], category: str = "", file: str = "") -> str:
    """Return the command that writes a skeleton file with these keypoints, to type in a shell.

    Args:
        names: the keypoints, from an untrusted file.
        category: the object; empty if unknown.
        file: the file; empty for ``new_file``.
    """
    known = tuple(names)
    text = ",".join(known)
    if not text.isprintable() or len(text) > _TYPED_MOST or any("," in name or name != name.strip() for name in known):
        text = ""
    option = f" --category {category}" if _TYPED.fullmatch(category) else ""
    typed = shlex.quote(text) if text else "A,B,..."
    return f"posetools skeleton new {file or new_file(category)}{option} --keypoints {typed}"


def read_skeleton(path: Path) -> Skeleton:
    """Return the skeleton in the YAML file at ``path``.

    Raises:
        InputError: the file cannot be read, is no YAML, or breaks a rule.
    """
    return parse_skeleton(path, read_text(path))


def parse_skeleton(path: Path | str, text: str, *, own: bool = False) -> Skeleton:
    """Return the skeleton in a YAML text.

    Args:
        path: the file, for messages.
        text: as ``dump_skeleton`` writes it.
        own: whether it is one of posetools' own files.

    Raises:
        InputError: it is no YAML, or breaks a rule.
    """
    document = parse_yaml(path, text, own=own)
    try:
        skeleton = Skeleton.model_validate(document)
    except ValidationError as exc:
        raise from_validation(path, exc) from exc
    check_posed(path, [skeleton])
    return skeleton


def check_posed(path: Path | str, skeletons: Iterable[Skeleton]) -> None:
    """Refuse the skeletons of a file if none has keypoints.

    Raises:
        InputError: none has.
    """
    if not any(skeleton.keypoints for skeleton in skeletons):
        rule = "at least one name: only a category beside one with keypoints may have boxes only"
        raise InputError(path, "keypoints", must_be("keypoints", rule, []))


def dump_skeleton(skeleton: Skeleton) -> str:
    """Return the YAML text of a skeleton; ``read_skeleton`` gives it back unchanged."""
    document = skeleton.model_dump(mode="json", exclude_none=True)
    lines = [f"name: {skeleton.name}"]
    lines.append(f"category: {flow_text(document['category'])}")
    points = document["keypoints"]
    lines += ["keypoints:", *(f"  - {flow_text(point)}" for point in points)] if points else ["keypoints: []"]
    if skeleton.links:
        lines += ["links:", *(f"  - {flow_text(link)}" for link in document["links"])]
    lines += [f"sigmas: {flow_text(document['sigmas'])}", f"joint_weights: {flow_text(document['joint_weights'])}"]
    if skeleton.flip is not None:
        lines.append(f"flip: {str(skeleton.flip).lower()}")
    if skeleton.rotation is not None:
        lines.append(f"rotation: {skeleton.rotation}")
    if skeleton.template is not None:
        lines.append("template:")
        for part, entries in document["template"].items():
            lines += [f"  {part}:", *(f"    - {flow_text(entry)}" for entry in entries)] if entries else []
    return "\n".join(lines) + "\n"


def built_in_path(name: str) -> Path:
    """Return the file of a built-in skeleton: in the installed package, else in the checkout's schemas/ folder."""
    packaged = Path(str(resources.files("posetools"))) / "schemas" / f"{name}.yaml"
    return packaged if packaged.is_file() else Path(__file__).resolve().parents[2] / "schemas" / f"{name}.yaml"


def _of_plugin(plugin: Plugin, found: object) -> Skeleton:
    if isinstance(found, Path):
        return parse_skeleton(found, read_text(found), own=plugin.own)
    if not isinstance(found, Skeleton):
        raise plugin.error(f"must be a Skeleton or the path of a YAML file, got {show_value(found)}")
    return found


CAR8 = built_in_path("car8")
COCO17 = built_in_path("coco17")
# By name, with those of other packages.
BUILT_IN: Loaded[Skeleton] = Loaded("skeletons", _of_plugin)
