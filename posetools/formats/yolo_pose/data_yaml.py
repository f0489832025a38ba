"""YOLO-pose's data.yaml: its keys in one normal form, and the images that it declares for each split.

Paths are relative to ``path``, and if that leads nowhere to data.yaml's own folder; ``../train/images``, as some
exporters write it, is searched for below that folder first. Lines of a text file are relative to its folder, else to
``path``. A path from another machine is matched by its longest ending that exists in the data set's folder. A
split whose folder is missing is left out with a warning, except ``train``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from posetools.core.findings import Finding
from posetools.errors import InputError, from_validation, must_be, quoted, show_value
from posetools.files.disk import is_inside, portable_path, read_text
from posetools.files.urls import as_path
from posetools.files.walking import walk_files
from posetools.files.yaml_text import parse_yaml
from posetools.formats.plain_numbers import whole
from posetools.formats.sources.locate import ImageFinder, Match, PathFrom, is_sane
from posetools.imaging.header import is_image

# The key for keypoint names that are the same for all classes.
_EVERY_CLASS = -1


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
    """Return class names as a list of texts, whether written as numbers or as a single name."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [str(each) if isinstance(each, int | float) else each for each in value]
    if isinstance(value, dict):
        return {whole(key): str(each) if isinstance(each, int | float) else each for key, each in value.items()}
    return value


# Keys that may be written in several ways with the same meaning.
_PLAIN_FORMS: Mapping[str, Callable[[object], object]] = {
    "kpt_shape": _whole_numbers,
    "flip_idx": lambda value: _whole_numbers(value) or None,
    "names": _texts,
}

Entries = Annotated[list[StrictStr], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class DataYaml(BaseModel):
    """The keys of data.yaml about boxes and keypoints, each in one normal form."""

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
        """Return the folders and text files of each declared split."""
        given = {"train": self.train, "val": self.val, "test": self.test}
        return {split: texts for split, texts in given.items() if texts and any(texts)}

    def keypoint_names(self) -> dict[int, list[str]] | None:
        """Return class index -> names in column order, or None."""
        if self.kpt_names is not None and _EVERY_CLASS in self.kpt_names:
            return dict.fromkeys(self.names or {0: ""}, self.kpt_names[_EVERY_CLASS])
        return self.kpt_names


@dataclass(frozen=True, slots=True)
class YoloSet:
    """One YOLO-pose data set.

    Attributes:
        root: its folder.
        file: its data.yaml, or None.
        declared: its content (empty if there is none).
        findings: converted values.
    """

    root: Path
    file: Path | None
    declared: DataYaml
    findings: tuple[Finding, ...] = ()

    @property
    def where(self) -> Path:
        """The path that messages on the declaration name."""
        return self.file or self.root

    @property
    def home(self) -> Path:
        """The folder in data.yaml's ``path``."""
        text = self.declared.path or "."
        return self.root / (portable_path(text) or text)


def read_yaml(path: Path) -> tuple[DataYaml, tuple[Finding, ...]]:
    """Return the declaration in a YAML file, and the converted values.

    Raises:
        InputError: it is not YAML, or breaks a rule.
    """
    document = parse_yaml(path, read_text(path))
    read: list[str] = []
    if isinstance(document, dict):
        for key in document.keys() & _PLAIN_FORMS.keys():
            value, document[key] = document[key], _PLAIN_FORMS[key](document[key])
            if repr(value) != repr(document[key]):
                read.append(f"{key} {show_value(value)} as {show_value(document[key])}")
    try:
        declared = DataYaml.model_validate(document)
    except ValidationError as exc:
        raise from_validation(path, exc) from exc
    return declared, (Finding("W324", str(path), "", f"read {', '.join(sorted(read))}"),) if read else ()


IMAGES = "images"


def declared_images(
    source: YoloSet, image_roots: Sequence[Path], findings: list[Finding]
) -> Iterator[tuple[Path, Path, str]]:
    """Yield the declared images, the folders that their names are relative to, and their splits.

    Args:
        source: the data set.
        image_roots: further folders with images.
        findings: receives errors in the declaration.

    Raises:
        InputError: a declared folder or text file does not exist.
    """
    declared = _DeclaredSplits(source, image_roots, findings)
    for split, texts in source.declared.entries().items():
        for number, text in enumerate(texts):
            place = f"{split}[{number}]" if len(texts) > 1 else split
            entry = declared.find(text, split, place)
            if entry is not None:
                yield from ((image, base, split) for image, base in declared.images(entry, place))
    findings += declared.refused()


@dataclass
class _DeclaredSplits:
    """Searches for the paths in data.yaml on this machine."""

    source: YoloSet
    image_roots: Sequence[Path]
    findings: list[Finding]
    # Folders that must not be read, with the place that names each.
    _outside: dict[Path, str] = field(default_factory=dict)

    @property
    def roots(self) -> tuple[Path, ...]:
        return (self.source.root, *self.image_roots)

    @cached_property
    def finder(self) -> ImageFinder:
        return ImageFinder(self.source.root, self.image_roots)

    @cached_property
    def finder_of_others(self) -> ImageFinder:
        """Finds an absolute path from another machine by its end."""
        return ImageFinder(self.source.root, self.roots)

    def find(self, text: str, split: str, place: str) -> Path | None:
        """Return the named folder or text file; None, with a finding, if it is missing."""
        tried = list(dict.fromkeys(self._candidates(text)))
        there = [candidate for candidate in tried if candidate.exists()]
        if there:
            inside = [candidate for candidate in there if self._is_allowed(candidate)]
            found = (inside or there)[0]
            if found != there[0]:
                message = f"{must_be(place, 'a path in the data set', text)}, and {there[0]} exists too"
                self._note(place, message, f"correct the path: {found} is read")
            return found
        elsewhere = _by_its_end(self.source.root, text)
        if elsewhere is not None:
            self._note(
                place, must_be(place, "a path that exists here", text), f"correct the path: {elsewhere} is read instead"
            )
            return elsewhere
        problem = must_be(place, "an existing folder or text file", text)
        hint = f"correct the path: looked for at {', '.join(map(str, tried))}"
        if split == "train":
            hint += "; or --image-root DIR looks for it in DIR too"
            if (self.source.root / IMAGES).is_dir():
                hint += f"; without train and val in the file, {IMAGES}/ is read by its folders"
            raise InputError(self.source.where, place, problem, hint=hint)
        self._note(place, f"{problem}: left out", hint)
        return None

    def images(self, entry: Path, place: str) -> list[tuple[Path, Path]]:
        """Return the images in a folder or listed in a text file, and the folders that their names are relative to."""
        if entry.is_dir() and self._is_allowed(entry):
            return [(path, entry) for path in walk_files(entry) if is_image(path)]
        if entry.is_dir():
            # Do not even list it: it may be the whole disk.
            self._outside[entry] = place
            return []
        if not self._is_allowed(entry):
            hint = f"--image-root {quoted(entry.parent)} allows it"
            rule = f"a file inside {self.source.root}"
            raise InputError(self.source.where, place, must_be(place, rule, str(entry)), hint=hint)
        return list(self._listed_in(entry))

    def refused(self) -> list[Finding]:
        """Return one finding for all folders that must not be read."""
        if not self._outside:
            return []
        places = list(self._outside.values())
        root = as_path(os.path.commonpath([_above(folder) for folder in self._outside]))
        got = " and ".join(map(str, self._outside))
        message = f"{' and '.join(places)} must be inside {self.source.root}, got {got}: left out with all images in it"
        hint = f"--image-root {quoted(root)} allows a further folder"
        return [Finding("E308", str(self.source.where), places[0], message, hint)]

    def _candidates(self, text: str) -> Iterator[Path]:
        relative = portable_path(text)
        for base in (self.source.home, self.source.root, *self.image_roots):
            yield as_path(os.path.normpath(base / (relative or Path(text))))
            if relative is not None and relative.parts[:1] == ("..",):
                yield as_path(os.path.normpath(base / Path(*relative.parts[1:])))

    def _is_allowed(self, path: Path) -> bool:
        return any(is_inside(path, root) for root in self.roots)

    def _listed_in(self, file: Path) -> Iterator[tuple[Path, Path]]:
        moved: list[str] = []
        for number, line in enumerate(read_text(file).splitlines(), start=1):
            text = line.strip()
            if not text:
                continue
            match = self._line(text, file, f"line {number}", moved)
            if isinstance(match, Finding):
                self.findings.append(match)
                continue
            self.findings += match.notes
            image = as_path(os.path.normpath(match.path))
            parts = [i for i, parent in enumerate(image.parents) if parent.name == IMAGES]
            yield image, image.parents[parts[0]] if parts else self.source.root
        if moved:
            message = f"{len(moved)} lines must be paths that exist here, the first is {moved[0]}"
            self.findings.append(
                Finding("W336", str(file), "", message, "correct the paths: they were found by their ends")
            )

    def _line(self, text: str, file: Path, place: str, moved: list[str]) -> Match | Finding:
        places = [PathFrom(text, folder) for folder in (file.parent, self.source.home, file.parent)]
        match = self.finder.find(places, file=file, place=place)
        if isinstance(match, Finding) and portable_path(text) is None:
            other = self.finder_of_others.find(places, file=file, place=place)
            if isinstance(other, Match):
                moved.append(text)
                return other
        return match

    def _note(self, place: str, message: str, hint: str) -> None:
        self.findings.append(Finding("W336", str(self.source.where), place, message, hint))


def _above(folder: Path) -> Path:
    """Return the folder that holds both the images and the labels of a declared folder."""
    above = [parent.parent for parent in (folder, *folder.parents) if parent.name == IMAGES]
    return above[0] if above else folder


def _by_its_end(root: Path, text: str) -> Path | None:
    """Return the local path for an absolute path from another machine: its longest ending in the folder.

    ``images`` alone is not enough: every split may end with it.
    """
    if portable_path(text) is not None:
        return None
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    below = [root.joinpath(*parts[start:]) for start in range(1, len(parts)) if parts[start:] != [IMAGES]]
    return next((path for path in below if is_sane(path) and path.exists() and is_inside(path, root)), None)
