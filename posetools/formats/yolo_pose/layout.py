"""The declaration of a YOLO-pose data set, and the locations of its images and label files.

``data.yaml`` declares the splits (``train``, ``val``, ``test``; see data_yaml.py), ``kpt_shape`` (how many points,
2 or 3 numbers each), ``flip_idx``, the classes' ``names`` and, in newer files, ``kpt_names``.

Without splits in data.yaml, or without data.yaml, the folders define them: ``images/`` with ``labels/``, each with
``train/``, ``val/``, ``test/`` in it, or ``train/images`` with ``train/labels`` and so on; ``valid`` means val.

The label file of an image has the same path with the last ``images`` folder replaced by ``labels``, and ends in .txt.
If it does not exist, the .txt file next to the image is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from posetools.core.findings import Finding
from posetools.core.folder import split_folder
from posetools.errors import InputError, RequestError, must_be, quoted
from posetools.files.disk import is_inside
from posetools.files.walking import walk_files
from posetools.files.yaml_text import yaml_keys
from posetools.formats.joined import RepeatedFinding
from posetools.formats.yolo_pose.data_yaml import IMAGES, DataYaml, YoloSet, declared_images, read_yaml
from posetools.imaging.header import is_image

YOLO_SPLITS = ("train", "val", "test")
DATA_YAML = ("data.yaml", "data.yml")
LABELS_FOLDER = "labels"

_YAML_ENDINGS = (".yaml", ".yml")
# LabelImg's list of classes is among the labels, but is no label file.
_NO_LABELS = frozenset({"classes.txt"})


@dataclass(frozen=True, slots=True)
class YoloImage:
    """An image of a data set.

    Attributes:
        image: the file.
        label: its label file, which may not exist.
        base: the folder that its name is relative to.
        split: the declared split, or None.
    """

    image: Path
    label: Path
    base: Path
    split: str | None


def open_source(source: Path) -> YoloSet:
    """Return the data set in a folder, or of a YAML file.

    Raises:
        RequestError: there is no such folder or file.
        InputError: the YAML file cannot be read or breaks a rule.
    """
    if source.is_file():
        return YoloSet(source.parent, source, *read_yaml(source))
    if not source.is_dir():
        raise RequestError(must_be(str(source), "an existing folder or data.yaml", "nothing there"))
    files = _yaml_files(source)
    if len(files) > 1:
        named = ", ".join(path.name for path in files)
        problem = must_be(str(source), "a folder with one YAML file that declares kpt_shape", named)
        raise RequestError(problem, hint=f"give one of them as SRC, such as {quoted(files[0])}")
    if files:
        return YoloSet(source, files[0], *read_yaml(files[0]))
    return YoloSet(source, None, DataYaml())


def _yaml_files(folder: Path) -> list[Path]:
    """Return data.yaml; else the files in the folder that declare kpt_shape, under any name."""
    named = [folder / name for name in DATA_YAML if (folder / name).is_file()]
    if named:
        return named[:1]
    wanted = (name for name in _names_in(folder) if name.lower().endswith(_YAML_ENDINGS) and not name.startswith("."))
    return [path for name in wanted if (path := folder / name).is_file() and "kpt_shape" in yaml_keys(path)]


def _names_in(folder: Path) -> list[str]:
    # Only names are read: there may be hundreds of thousands of images.
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 (half the time)
    except OSError as exc:
        raise InputError(folder, "", f"folder cannot be read: {exc.strerror or exc}") from exc


def is_yolo_pose(path: Path) -> bool:
    """Return whether the path is or contains a YAML file with kpt_shape, or has image and label folders."""
    if path.is_file():
        return path.suffix.lower() in _YAML_ENDINGS and "kpt_shape" in yaml_keys(path)
    if not path.is_dir():
        return False
    if any("kpt_shape" in yaml_keys(file) for file in _yaml_files(path)):
        return True
    homes = [path, *(folder for folder, _ in _split_folders(path))]
    return any((home / IMAGES).is_dir() and _has_labels(home / LABELS_FOLDER) for home in homes)


def label_path(image: Path, roots: Iterable[Path]) -> Path:
    """Return the path of an image's label file: the last ``images`` folder below its root replaced by ``labels``."""
    for root in roots:
        below = _below(image, root)
        if below is not None:
            parts = list(below.parts)
            places = [i for i, part in enumerate(parts[:-1]) if part == IMAGES]
            if places:
                parts[places[-1]] = LABELS_FOLDER
            return root.joinpath(*parts).with_suffix(".txt")
    return image.with_suffix(".txt")


def list_images(
    source: YoloSet, image_roots: Sequence[Path], *, new_split: bool
) -> tuple[list[YoloImage], list[Finding]]:
    """Return the images of a data set in order, each once, and findings on the list.

    Args:
        source: the data set.
        image_roots: further folders with images.
        new_split: whether train and val are split again, so that duplicates between them do not matter.

    Raises:
        InputError: a declared folder or text file does not exist.
        RequestError: there is no image.
    """
    findings: list[Finding] = []
    if source.declared.entries():
        roots = (source.root, *image_roots)
        images = declared_images(source, image_roots, findings)
        found = [YoloImage(image, label_path(image, roots), base, split) for image, base, split in images]
    else:
        found = list(_by_folders(source.root))
    if not found and not findings:
        raise RequestError(
            f"{source.root}: must hold images in {IMAGES}/ or in the folders that data.yaml lists, got none"
        )
    listed = _with_labels_beside(source, _once(source, found, findings, new_split=new_split), findings)
    findings += _unused_labels(source, listed)
    return _own_labels(listed, findings), findings


def _below(path: Path, root: Path) -> Path | None:
    """Return a path relative to a folder: as written, else with symlinks resolved; None if it is not in it."""
    for real in (os.path.abspath, os.path.realpath):
        seen = Path(real(path))
        if seen.is_relative_to(real(root)):
            return seen.relative_to(real(root))
    return None


def _has_labels(folder: Path) -> bool:
    return folder.is_dir() and any(path.suffix == ".txt" for path in walk_files(folder))


def _with_labels_beside(source: YoloSet, listed: Sequence[YoloImage], findings: list[Finding]) -> list[YoloImage]:
    """Return the images with the label files next to them, for images without one in the labels folder."""
    found: list[YoloImage] = []
    beside: list[Path] = []
    for one in listed:
        label = one.image.with_suffix(".txt")
        # os.path on texts is faster than Path.
        if os.path.isfile(one.label) or not os.path.isfile(label):  # noqa: PTH113
            found.append(one)
        else:
            found.append(replace(one, label=label))
            beside.append(label)
    if beside:
        files = "1 label file" if len(beside) == 1 else f"{len(beside)} label files"
        message = f"read {files} next to the images, as there are none in {LABELS_FOLDER}/, the first {beside[0]}"
        findings.append(Finding("W324", str(source.where), "", message))
    return found


def _by_folders(root: Path) -> Iterator[YoloImage]:
    for path in walk_files(root / IMAGES):
        if is_image(path):
            first = path.relative_to(root / IMAGES).parts[0]
            split = split_folder(first)
            yield YoloImage(path, label_path(path, [root]), root / IMAGES / first if split else root / IMAGES, split)
    for folder, split in _split_folders(root):
        for path in walk_files(folder / IMAGES):
            if is_image(path):
                yield YoloImage(path, label_path(path, [root]), folder / IMAGES, split)


def _split_folders(root: Path) -> list[tuple[Path, str]]:
    """Return the subfolders named after a split, train first, with their splits."""
    found = [(root / name, split) for name in _names_in(root) if (split := split_folder(name))]
    return sorted(found, key=lambda each: (YOLO_SPLITS.index(each[1]), each[0]))


def _once(source: YoloSet, found: Iterable[YoloImage], findings: list[Finding], *, new_split: bool) -> list[YoloImage]:
    """Return each image once; an image in a second split is an error, as it would be in training and evaluation.

    If train and val are split again, it is not: an image that test lists goes to test, and the others are split.
    """
    first: dict[str, YoloImage] = {}
    again: dict[tuple[str, str], list[Path]] = {}
    for listed in found:
        real = os.path.realpath(listed.image)
        kept = first.setdefault(real, listed)
        if kept.split != listed.split:
            again.setdefault((str(kept.split), str(listed.split)), []).append(listed.image)
            if new_split and listed.split == "test":
                first[real] = listed
    for (split, other), images in again.items():
        rule = f"images that {split} does not list"
        got = f"{len(images)} of them again, the first {images[0]}"
        message = f"{other} must list {rule}, got {got}"
        code, hint = "E126", "--val 0.1 splits again: each image once, those of test in test only"
        if new_split:
            code, hint = "W336", "list each once: it is read once" + (", for test" if other == "test" else "")
        findings.append(Finding(code, str(source.where), other, message, hint))
    return list(first.values())


def _own_labels(listed: Sequence[YoloImage], findings: list[Finding]) -> list[YoloImage]:
    """Return the images whose label file belongs to them only."""
    by_label: dict[Path, list[Path]] = {}
    for one in listed:
        by_label.setdefault(one.label, []).append(one.image)
    for label, images in by_label.items():
        if len(images) > 1:
            got = " and ".join(path.name for path in images)
            message = f"the label file must belong to one image, got {got}: none of them is read"
            findings.append(Finding("E313", str(label), "", message, "rename all but one of the images"))
    return [one for one in listed if len(by_label[one.label]) == 1]


def _unused_labels(source: YoloSet, listed: Sequence[YoloImage]) -> list[Finding]:
    """Return findings on label files without an image, and on those of images that no split lists."""
    used = {one.label for one in listed}
    files = walk_files(source.root)
    others = {label_path(path, [source.root]) for path in files if is_image(path)}
    findings: list[Finding] = []
    left_out: list[Path] = []
    for path in files:
        folders = path.relative_to(source.root).parts[:-1]
        if path.suffix != ".txt" or LABELS_FOLDER not in folders or path.name in _NO_LABELS or path in used:
            continue
        if path in others:
            left_out.append(path)
            continue
        message = f"the label file must belong to an image in {IMAGES}/, got no image of that name: left out"
        what = f"label files must belong to images in {IMAGES}/: left out"
        findings.append(RepeatedFinding("W337", str(path), "", message, what=what))
    if left_out:
        message = f"{len(left_out)} label files belong to images that no split lists, the first {left_out[0]}: left out"
        findings.append(Finding("W323", str(source.where), "", message, "declare their folder as a split to read them"))
    return findings


def outside(path: Path, roots: Sequence[Path], what: str = "the image") -> Finding | None:
    """Return a finding if a file, with symlinks resolved, is in none of the folders that may be read."""
    if any(is_inside(path, root) for root in roots):
        return None
    message = must_be(what, f"inside {roots[0]}", str(path))
    return Finding("E308", str(path), "", message, "--image-root DIR allows a further folder")
