"""Determine the skeleton of a folder or file if the user does not name one.

Only the named folder and its parent are searched, in this order: a ``skeleton.yaml`` (written by the user, by
``posetools prelabel`` or ``review``, or with a data set), the data set that it is or is in, and what the source
declares (``posetools.datasets.declared``). If nothing is labeled yet, the default is used, and the output says so.
Labels that declare no keypoints are never read as the default's: the error asks for ``--skeleton``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from posetools.core.folder import CONVERSION, SKELETON_FILE, is_data_set, is_record, skeleton_of
from posetools.core.skeleton import (
    BUILT_IN,
    DEFAULT,
    Skeleton,
    dump_skeleton,
    load_skeleton,
    new_command,
    new_file,
    read_skeleton,
)
from posetools.datasets.declared import declared_categories, declared_skeletons, only_skeleton
from posetools.errors import RequestError, counted, first_names, show_value
from posetools.files.disk import write_text
from posetools.files.urls import is_url
from posetools.formats import FORMATS
from posetools.formats.declared import DeclaredCategory
from posetools.formats.entry import Format
from posetools.formats.labelme.declared import declared as declared_by_labelme
from posetools.formats.options import ReadOptions

# Labels and left/right pairs that a message lists.
_LISTED_LABELS, _LISTED_PAIRS = 10, 12


@dataclass(frozen=True, slots=True)
class OwnSkeleton:
    """A skeleton, and why it was chosen.

    Attributes:
        skeleton: the skeleton.
        option: the equivalent value of ``--skeleton``: a built-in name or a path, a folder for a data set's; None for
            a skeleton made of what the source declares.
        source: where it comes from, in words.
        notes: what the source does not declare, a sentence each.
        warnings: what is probably not wanted, a sentence each.
    """

    skeleton: Skeleton
    option: str | None
    source: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def summary(self) -> list[str]:
        """The skeleton's name, category and left/right pairs, notes and warnings, a line each."""
        skeleton = self.skeleton
        points = counted(skeleton.num_keypoints, "keypoint")
        pairs = [f"{left} - {right}" for left, right in skeleton.pairs]
        return [
            f"skeleton {skeleton.name}: category {skeleton.category.name!r}, {points}, {self.source}",
            f"left/right pairs: {first_names(pairs, _LISTED_PAIRS) or 'none'}",
            *(f"note: {each}" for each in self.notes),
            *(f"warning: {each}" for each in self.warnings),
        ]


def own_skeleton(
    paths: Sequence[Path],
    explicit: str | Path | None = None,
    *,
    source: Format | None = None,
    options: ReadOptions | None = None,
) -> OwnSkeleton:
    """Return the skeleton of some sources.

    Args:
        paths: files or folders.
        explicit: the user's choice: a built-in name or a file.
        source: their format; None: auto-detected.
        options: how labels are read.

    Raises:
        RequestError: the source declares categories, but none or several with keypoints, or labels that may be
            mistakes.
        InputError: a skeleton file cannot be read or breaks a rule.
    """
    if explicit is not None:
        return OwnSkeleton(load_skeleton(explicit), str(explicit), "set by you")
    local = [path for path in paths if not is_url(path)]
    for path in local:
        if (recorded := _recorded(path if path.is_dir() else path.parent)) is not None:
            return recorded
    categories = declared_categories(paths, source, options or ReadOptions())
    labels = {name for each in categories for name in (each.name, *each.keypoints) if name}
    for path in local:
        around = path.resolve().parent if path.name in ("", "..") else path.parent
        recorded = _around(around) if path.is_dir() else None
        if recorded is not None and fits(labels, recorded.skeleton):
            return recorded
    if not labels:
        return OwnSkeleton(load_skeleton(DEFAULT), DEFAULT, "the default, as there are no labels yet")
    if any(each.keypoints for each in categories):
        made = only_skeleton(declared_skeletons(categories))
        option = next((name for name in BUILT_IN if load_skeleton(name) == made.skeleton), None)
        return OwnSkeleton(made.skeleton, option, f"from {made.where}", made.notes, made.warnings)
    for name in BUILT_IN:
        # Each keypoint may be an object of its own.
        if fits(labels, load_skeleton(name)):
            return OwnSkeleton(load_skeleton(name), name, f"auto-detected from the labels in {paths[0]}")
    raise _ask(paths[0], categories)


def skeleton_to_label(folder: Path, explicit: str | Path | None = None) -> OwnSkeleton:
    """Return the skeleton of a folder with labelme files that a person is about to label or to correct.

    Labels that may be mistakes count as names.

    Raises:
        RequestError, InputError: as ``own_skeleton``.
    """
    tolerant = replace(FORMATS["labelme"], declared=partial(declared_by_labelme, with_doubts=True))
    return own_skeleton([folder], explicit, source=tolerant)


def keep_skeleton(folder: Path, skeleton: Skeleton) -> Path | None:
    """Write a skeleton into a folder of images for the next commands, unless it is the default.

    Args:
        folder: the folder with the images and their labelme files, or its parent.
        skeleton: of the models whose predictions these files contain.

    Returns:
        The written file; None if none was needed.

    Raises:
        RequestError: the folder already has another skeleton.
        InputError: the existing file is not a skeleton.
        OutputError: the file cannot be written.
    """
    file = folder / SKELETON_FILE
    if file.exists():
        if set(read_skeleton(file).names) != set(skeleton.names):
            raise RequestError(
                f"{file}: keypoints must be those of the models, {show_value(', '.join(skeleton.names))}",
                hint="choose models of this skeleton, or move the file away",
            )
        return None
    if skeleton.names == load_skeleton(DEFAULT).names:
        return None
    write_text(file, dump_skeleton(skeleton))
    return file


def fits(labels: Collection[str], skeleton: Skeleton) -> bool:
    """Return whether at least half of the labels are names of a skeleton; the rest may be typos or other objects."""
    known = {skeleton.category.name, *skeleton.names}
    return 2 * len(known & set(labels)) >= len(set(labels))


def _recorded(folder: Path) -> OwnSkeleton | None:
    """Return the skeleton that a folder has: that of the data set that posetools wrote, or its skeleton.yaml."""
    record = folder / CONVERSION
    if record.is_file() and is_record(record):
        return OwnSkeleton(skeleton_of(folder), str(folder), f"from the data set {folder}")
    file = folder / SKELETON_FILE
    return OwnSkeleton(read_skeleton(file), str(file), f"from {file}") if file.is_file() else None


def _around(folder: Path) -> OwnSkeleton | None:
    """Return the skeleton of the folder around a source, which may be a data set of another program."""
    recorded = _recorded(folder)
    if recorded is None and is_data_set(folder):
        return OwnSkeleton(skeleton_of(folder), str(folder), f"from the data set {folder}")
    return recorded


def _ask(path: Path, categories: Sequence[DeclaredCategory]) -> RequestError:
    listed = first_names([each.name for each in categories], _LISTED_LABELS)
    category = categories[0].name
    return RequestError(
        f"{path}: labels must have keypoints to make a skeleton of, or be names of a built-in one "
        f"({', '.join(BUILT_IN)}), got only {show_value(listed)}",
        hint=(new_command((), category), f"then add: --skeleton {new_file(category)}"),
    )
