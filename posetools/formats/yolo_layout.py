"""What a YOLO-pose data set declares, and where its pictures and label files lie.

``data.yaml`` declares the splits (``train``, ``val``, ``test``: a folder of pictures, a list of folders, or a text file
with a picture per line), ``kpt_shape`` (how many points, 2 or 3 numbers each), ``flip_idx``, the classes' ``names``
and, in newer files, ``kpt_names``. Paths are seen from ``path``, and where that leads nowhere from data.yaml's own
folder; ``../train/images``, as some exporters write it, is also found below that folder. Lines of a text file are seen
from the file's folder, else from ``path``.

Without splits in data.yaml, or without data.yaml, the folders say it: ``images/`` with ``labels/``, either of them with
``train/``, ``val/``, ``test/`` in it, or ``train/images`` with ``train/labels`` and so on; ``valid`` counts as val. A
declared path of another machine is found by the longest part at its end that is a path in the data set's folder. A
split whose folder is missing is left out with a warning, unless it is ``train``.

The label file of a picture has the same path with the last ``images`` folder replaced by ``labels``, and ends in .txt.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from posetools.dataset_folder import SPLIT_WORDS, split_folder
from posetools.errors import InputError, RequestError, from_validation, must_be, quoted, show_value
from posetools.files import is_inside, portable_path, read_text
from posetools.findings import Finding
from posetools.formats.collect import walk_files
from posetools.formats.locate import PictureFinder, Seen, is_sane
from posetools.pictures import is_picture
from posetools.yaml_text import parse_yaml, yaml_keys

SPLITS = ("train", "val", "test")
DATA_YAML = ("data.yaml", "data.yml")
IMAGES, LABELS = "images", "labels"

_YAML_ENDINGS = (".yaml", ".yml")
# LabelImg's list of classes lies among the labels and is none.
_NO_LABELS = frozenset({"classes.txt"})


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


def _whole(value: object) -> object:
    """Return a number that is written as 8.0 or "8" as 8, and anything else as it is."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < _DIGITS:
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _whole_numbers(value: object) -> object:
    if isinstance(value, str):
        value = value.strip(" []()").split(",")
    return [_whole(entry) for entry in value] if isinstance(value, list) else value


def _texts(value: object) -> object:
    """Return names of classes that are written as numbers, or as the one name that there is, as texts in a list."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [str(each) if isinstance(each, int | float) else each for each in value]
    if isinstance(value, dict):
        return {_whole(key): str(each) if isinstance(each, int | float) else each for key, each in value.items()}
    return value


# What may be written in more than one way with the same meaning.
_PLAIN: Mapping[str, Callable[[object], object]] = {
    "kpt_shape": _whole_numbers,
    "flip_idx": lambda value: _whole_numbers(value) or None,
    "names": _texts,
}
_DIGITS = 10

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


@dataclass(frozen=True, slots=True)
class Listed:
    """A picture of a data set.

    Attributes:
        picture: the file.
        label: where its label file is, if it has one.
        base: the folder that its name is seen from.
        split: the split that it is declared for, or None.
    """

    picture: Path
    label: Path
    base: Path
    split: str | None


def open_source(source: Path) -> Source:
    """Return the data set in a folder, or of a YAML file.

    Raises:
        RequestError: there is no such folder or file.
        InputError: the YAML file cannot be read or breaks a rule.
    """
    if source.is_file():
        return Source(source.parent, source, *_read_yaml(source))
    if not source.is_dir():
        raise RequestError(must_be(str(source), "an existing folder or data.yaml", "nothing there"))
    files = _yaml_files(source)
    if len(files) > 1:
        named = ", ".join(path.name for path in files)
        problem = must_be(str(source), "a folder with one YAML file that declares kpt_shape", named)
        raise RequestError(f"{problem}\n  give the one that is meant as SRC: {quoted(files[0])}, or another")
    if files:
        return Source(source, files[0], *_read_yaml(files[0]))
    return Source(source, None, DataYaml())


def _yaml_files(folder: Path) -> list[Path]:
    """Return data.yaml; else the files in the folder that declare kpt_shape, whatever they are called."""
    named = [folder / name for name in DATA_YAML if (folder / name).is_file()]
    if named:
        return named[:1]
    return [path for path in _other_yaml(folder) if "kpt_shape" in yaml_keys(path)]


def _other_yaml(folder: Path) -> list[Path]:
    # Names alone are looked at first: there may be hundreds of thousands of images beside it.
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 (half the time)
    except OSError as exc:
        raise InputError(folder, "", f"folder cannot be read: {exc.strerror or exc}") from exc
    wanted = (name for name in names if name.lower().endswith(_YAML_ENDINGS) and not name.startswith("."))
    return [folder / name for name in wanted if (folder / name).is_file()]


def is_yolo_pose(path: Path) -> bool:
    """Return whether the path is or holds a YAML file with kpt_shape, or a folder of images and one of labels."""
    if path.is_file():
        return path.suffix.lower() in _YAML_ENDINGS and "kpt_shape" in yaml_keys(path)
    if not path.is_dir():
        return False
    if any("kpt_shape" in yaml_keys(file) for file in _yaml_files(path)):
        return True
    homes = [path, *(path / folder for folder in SPLIT_WORDS)]
    return any((home / IMAGES).is_dir() and _has_labels(home / LABELS) for home in homes)


def label_path(picture: Path, roots: Iterable[Path]) -> Path:
    """Return where the label file of a picture is: the last ``images`` folder below its root replaced by ``labels``."""
    for root in roots:
        below = _below(picture, root)
        if below is not None:
            parts = list(below.parts)
            places = [i for i, part in enumerate(parts[:-1]) if part == IMAGES]
            if places:
                parts[places[-1]] = LABELS
            return root.joinpath(*parts).with_suffix(".txt")
    return picture.with_suffix(".txt")


def list_pictures(
    source: Source, image_roots: Sequence[Path], *, new_split: bool
) -> tuple[list[Listed], list[Finding]]:
    """Return the pictures of a data set in order, each once, and what is wrong with the list.

    Args:
        source: the data set.
        image_roots: further folders in which images may lie.
        new_split: whether train and val are split again, so that it does not matter what is listed in both.

    Raises:
        InputError: a declared folder or text file does not exist.
        RequestError: there is no picture.
    """
    entries = source.declared.entries()
    findings: list[Finding] = []
    found = list(_declared(source, entries, image_roots, findings) if entries else _by_folders(source.root))
    if not found and not findings:
        raise RequestError(
            f"{source.root}: must hold pictures in {IMAGES}/ or in the folders that data.yaml lists, got none"
        )
    listed = _once(source, found, findings, new_split=new_split)
    findings += _unused_labels(source, listed)
    return _own_labels(listed, findings), findings


def _below(path: Path, root: Path) -> Path | None:
    """Return a path as seen from a folder: as written, else with links followed; None when it is not in it."""
    for real in (os.path.abspath, os.path.realpath):
        seen = Path(real(path))
        if seen.is_relative_to(real(root)):
            return seen.relative_to(real(root))
    return None


def _has_labels(folder: Path) -> bool:
    return folder.is_dir() and any(path.suffix == ".txt" for path in walk_files(folder))


def _read_yaml(path: Path) -> tuple[DataYaml, tuple[Finding, ...]]:
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


def _declared(
    source: Source, entries: Mapping[str, Sequence[str]], image_roots: Sequence[Path], findings: list[Finding]
) -> Iterator[Listed]:
    roots = (source.root, *image_roots)
    finder = PictureFinder(source.root, image_roots)
    for split, texts in entries.items():
        for number, text in enumerate(texts):
            place = f"{split}[{number}]" if len(texts) > 1 else split
            entry = _find_entry(source, text, place, image_roots, findings)
            if entry is None:
                continue
            if entry.is_dir():
                pictures = [(path, entry) for path in walk_files(entry) if is_picture(path)]
            elif not any(is_inside(entry, root) for root in roots):
                rule = f"a file inside {source.root}"
                hint = "--image-root DIR allows a further folder"
                raise InputError(source.where, place, must_be(place, rule, str(entry)), hint=hint)
            else:
                pictures = list(_listed_in(entry, source, finder, findings))
            for picture, base in pictures:
                yield Listed(picture, label_path(picture, roots), base, split)


def _find_entry(
    source: Source, text: str, place: str, image_roots: Sequence[Path], findings: list[Finding]
) -> Path | None:
    """Return the folder or text file that data.yaml names; None, and a finding, where it is missing.

    Raises:
        InputError: it is missing, and nothing can be trained without it.
    """
    tried = list(dict.fromkeys(_candidates(source, text, image_roots)))
    for candidate in tried:
        if candidate.exists():
            return candidate
    elsewhere = _by_its_end(source.root, text)
    if elsewhere is not None:
        message = must_be(place, "a path that exists here", text)
        findings.append(Finding("W336", str(source.where), place, message, f"{elsewhere} is read instead"))
        return elsewhere
    problem = must_be(place, "an existing folder or text file", text)
    hint = f"looked for at {', '.join(map(str, tried))}"
    if place.startswith("train"):
        raise InputError(source.where, place, problem, hint=f"{hint}; --image-root DIR looks for it in DIR too")
    findings.append(Finding("W336", str(source.where), place, f"{problem}: left out", hint))
    return None


def _candidates(source: Source, text: str, image_roots: Sequence[Path]) -> Iterator[Path]:
    relative = portable_path(text)
    for base in (source.home, source.root, *image_roots):
        yield Path(os.path.normpath(base / (relative or Path(text))))
        if relative is not None and relative.parts[:1] == ("..",):
            yield Path(os.path.normpath(base / Path(*relative.parts[1:])))


def _by_its_end(root: Path, text: str) -> Path | None:
    """Return what an absolute path of another machine means here: the longest part at its end that is in the folder.

    ``images`` alone says nothing: every split may end so.
    """
    if portable_path(text) is not None:
        return None
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    below = [root.joinpath(*parts[start:]) for start in range(1, len(parts)) if parts[start:] != [IMAGES]]
    return next((path for path in below if is_sane(path) and path.exists() and is_inside(path, root)), None)


def _listed_in(
    file: Path, source: Source, finder: PictureFinder, findings: list[Finding]
) -> Iterator[tuple[Path, Path]]:
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        text = line.strip()
        if not text:
            continue
        places = [Seen(text, folder) for folder in (file.parent, source.home, file.parent)]
        match = finder.find(places, file=file, place=f"line {number}")
        if isinstance(match, Finding):
            findings.append(match)
            continue
        findings += match.notes
        picture = Path(os.path.normpath(match.path))
        parts = [i for i, parent in enumerate(picture.parents) if parent.name == IMAGES]
        yield picture, picture.parents[parts[0]] if parts else source.root


def _by_folders(root: Path) -> Iterator[Listed]:
    for path in walk_files(root / IMAGES):
        if is_picture(path):
            first = path.relative_to(root / IMAGES).parts[0]
            split = split_folder(first)
            yield Listed(path, label_path(path, [root]), root / IMAGES / first if split else root / IMAGES, split)
    for folder, split in SPLIT_WORDS.items():
        for path in walk_files(root / folder / IMAGES):
            if is_picture(path):
                yield Listed(path, label_path(path, [root]), root / folder / IMAGES, split)


def _once(source: Source, found: Iterable[Listed], findings: list[Finding], *, new_split: bool) -> list[Listed]:
    """Return each picture once; what a second split lists again is an error, for it is trained on and evaluated.

    Where train and val are split again it is none: an image that test lists is test's, and others are split.
    """
    first: dict[str, Listed] = {}
    again: dict[tuple[str, str], list[Path]] = {}
    for listed in found:
        real = os.path.realpath(listed.picture)
        kept = first.setdefault(real, listed)
        if kept.split != listed.split:
            again.setdefault((str(kept.split), str(listed.split)), []).append(listed.picture)
            if new_split and listed.split == "test":
                first[real] = listed
    for (split, other), pictures in again.items():
        rule = f"images that {split} does not list"
        got = f"{len(pictures)} of them again, the first {pictures[0]}"
        message = f"{other} must list {rule}, got {got}"
        code, hint = "E126", "--val 0.1 splits anew: each image once, those of test in test only"
        if new_split:
            code, hint = "W336", "each is read once" + (", for test" if other == "test" else "")
        findings.append(Finding(code, str(source.where), other, message, hint))
    return list(first.values())


def _own_labels(listed: Sequence[Listed], findings: list[Finding]) -> list[Listed]:
    """Return the pictures whose label file is theirs alone."""
    by_label: dict[Path, list[Path]] = {}
    for one in listed:
        by_label.setdefault(one.label, []).append(one.picture)
    for label, pictures in by_label.items():
        if len(pictures) > 1:
            got = " and ".join(path.name for path in pictures)
            message = f"the label file must be of one picture, got {got}: none of them is read"
            findings.append(Finding("E313", str(label), "", message, "rename all but one of the pictures"))
    return [one for one in listed if len(by_label[one.label]) == 1]


def _unused_labels(source: Source, listed: Sequence[Listed]) -> list[Finding]:
    """Return findings for label files that belong to no picture, or to pictures that no split lists."""
    used = {one.label for one in listed}
    files = walk_files(source.root)
    others = {label_path(path, [source.root]) for path in files if is_picture(path)}
    findings: list[Finding] = []
    left_out: list[Path] = []
    for path in files:
        folders = path.relative_to(source.root).parts[:-1]
        if path.suffix != ".txt" or LABELS not in folders or path.name in _NO_LABELS or path in used:
            continue
        if path in others:
            left_out.append(path)
            continue
        message = must_be("the label file", f"that of an image in {IMAGES}/", "no image of that name: left out")
        findings.append(Finding("W337", str(path), "", message))
    if left_out:
        message = f"{len(left_out)} label files are of pictures that no split lists, the first {left_out[0]}: left out"
        findings.append(Finding("W323", str(source.where), "", message, "list their folder as a split to read them"))
    return findings


def outside(path: Path, roots: Sequence[Path], what: str = "the picture") -> Finding | None:
    """Return a finding when a file lies, with every link followed, in none of the folders that may be read."""
    if any(is_inside(path, root) for root in roots):
        return None
    message = must_be(what, f"inside {roots[0]}", str(path))
    return Finding("E308", str(path), "", message, "--image-root DIR allows a further folder")
