"""YOLO-pose's data.yaml: its keys, each brought into one form, and the data set that it is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from posetools.core.findings import Finding
from posetools.errors import from_validation, show_value
from posetools.files.disk import portable_path, read_text
from posetools.files.yaml_text import parse_yaml
from posetools.formats.plain_numbers import whole

# The key under which names of keypoints stand that are not told apart by class.
_EVERY_CLASS = -1


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _by_number(value: object) -> object:
    return dict(enumerate(value)) if isinstance(value, list) else value


def _by_class(value: object) -> object:
    if isinstance(value, list) and not any(isinstance(entry, list) for entry in value):
        return {_EVERY_CLASS: value}
    return _by_number(value)


def _whole_numbers(value: object) -> object:
    if isinstance(value, str):
        value = value.strip(" []()").split(",")
    return [whole(entry) for entry in value] if isinstance(value, list) else value


def _texts(value: object) -> object:
    """Return names of classes that are written as numbers, or as the one name that there is, as texts in a list."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [str(each) if isinstance(each, int | float) else each for each in value]
    if isinstance(value, dict):
        return {whole(key): str(each) if isinstance(each, int | float) else each for key, each in value.items()}
    return value


# What may be written in more than one way with the same meaning.
_PLAIN: Mapping[str, Callable[[object], object]] = {
    "kpt_shape": _whole_numbers,
    "flip_idx": lambda value: _whole_numbers(value) or None,
    "names": _texts,
}

Entries = Annotated[list[StrictStr], BeforeValidator(_as_list)]


class DataYaml(BaseModel):
    """The keys of data.yaml that say something about boxes and keypoints, each brought into one form."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: StrictStr | None = None
    train: Entries | None = None
    val: Annotated[Entries | None, Field(validation_alias=AliasChoices("val", "valid", "validation"))] = None
    test: Entries | None = None
    kpt_shape: tuple[Annotated[int, Field(strict=True, gt=0)], Literal[2, 3]] | None = None
    flip_idx: list[StrictInt] | None = None
    names: Annotated[dict[int, StrictStr], BeforeValidator(_by_number)] | None = None
    kpt_names: Annotated[dict[int, list[StrictStr]], BeforeValidator(_by_class)] | None = None

    def entries(self) -> dict[str, list[str]]:
        """Return for each declared split its folders and text files."""
        given = {"train": self.train, "val": self.val, "test": self.test}
        return {split: texts for split, texts in given.items() if texts and any(texts)}

    def keypoint_names(self) -> dict[int, list[str]] | None:
        """Return class index -> names in the order of the columns, or None."""
        if self.kpt_names is not None and _EVERY_CLASS in self.kpt_names:
            return dict.fromkeys(self.names or {0: ""}, self.kpt_names[_EVERY_CLASS])
        return self.kpt_names


@dataclass(frozen=True, slots=True)
class Source:
    """One YOLO-pose data set.

    Attributes:
        root: its folder.
        file: its data.yaml, or None.
        declared: what that declares (nothing, when there is none).
        findings: values in it that were read as what they mean.
    """

    root: Path
    file: Path | None
    declared: DataYaml
    findings: tuple[Finding, ...] = ()

    @property
    def where(self) -> Path:
        """What messages about the declaration name."""
        return self.file or self.root

    @property
    def home(self) -> Path:
        """The folder that data.yaml's ``path`` names."""
        text = self.declared.path or "."
        return self.root / (portable_path(text) or text)


def read_yaml(path: Path) -> tuple[DataYaml, tuple[Finding, ...]]:
    """Return what a YAML file declares, and what was read as what it means.

    Raises:
        InputError: it is not YAML, or breaks a rule.
    """
    document = parse_yaml(path, read_text(path))
    read: list[str] = []
    if isinstance(document, dict):
        for key in document.keys() & _PLAIN.keys():
            value, document[key] = document[key], _PLAIN[key](document[key])
            if repr(value) != repr(document[key]):
                read.append(f"{key} {show_value(value)} as {show_value(document[key])}")
    try:
        declared = DataYaml.model_validate(document)
    except ValidationError as exc:
        raise from_validation(path, exc) from exc
    return declared, (Finding("W324", str(path), "", f"read {', '.join(sorted(read))}"),) if read else ()
