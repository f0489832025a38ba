"""Determine the categories of a folder or file, each with its skeleton, if the user does not name them.

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

from posetools.core.categories import Categories, dump_categories, load_categories, read_categories
from posetools.core.folder import CONVERSION, SKELETON_FILE, categories_of, is_data_set, is_record
from posetools.core.skeleton import (
    BUILT_IN,
    DEFAULT,
    Category,
    Skeleton,
    load_skeleton,
    new_command,
    new_file,
)
from posetools.datasets.declared import declared_categories, declared_skeletons
from posetools.errors import RequestError, counted, first_names, must_be, show_value
from posetools.files.disk import write_text
from posetools.files.urls import is_url
from posetools.formats import FORMATS
from posetools.formats.declared import DeclaredCategory, is_asked
from posetools.formats.entry import Format
from posetools.formats.labelme.declared import declared as declared_by_labelme
from posetools.formats.options import ReadOptions

# Labels and left/right pairs that a message lists.
_LISTED_LABELS, _LISTED_PAIRS = 10, 12


@dataclass(frozen=True, slots=True)
class OwnSkeleton:
    """The categories of a source with their skeletons, and why they were chosen.

    Attributes:
        categories: the categories, each with its skeleton.
        option: the equivalent value of ``--skeleton``: a built-in name or a path, a folder for a data set's; None for
            skeletons made of what the source declares.
        source: where they come from, in words.
        notes: what the source does not declare, a sentence each.
        warnings: what is probably not wanted, a sentence each.
    """

    categories: Categories
    option: str | None
    source: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the only category.

        Raises:
            RequestError: there are several, and what needs it takes one only.
        """
        if len(self.categories) > 1:
            problem = must_be("categories", "one, which this command needs", list(self.categories.ids))
            raise RequestError(problem, hint="`posetools convert SRC --categories NAME --out NEW` takes one")
        return self.categories.only

    @property
    def summary(self) -> list[str]:
        """Each skeleton's name, categories and left/right pairs, notes and warnings, a line each."""
        lines = []
        for group in self.categories.groups:
            skeleton = group.skeletons[0]
            named = f"categor{'y' if len(group) == 1 else 'ies'} {', '.join(map(repr, group.ids))}"
            if not skeleton.keypoints:
                lines.append(f"boxes only: {named}, {self.source}")
                continue
            pairs = [f"{left} - {right}" for left, right in skeleton.pairs]
            lines += [
                f"skeleton {skeleton.name}: {named}, {counted(skeleton.num_keypoints, 'keypoint')}, {self.source}",
                f"left/right pairs: {first_names(pairs, _LISTED_PAIRS) or 'none'}",
            ]
        return [*lines, *(f"note: {each}" for each in self.notes), *(f"warning: {each}" for each in self.warnings)]


def own_skeleton(
    paths: Sequence[Path],
    explicit: str | Path | None = None,
    *,
    source: Format | None = None,
    options: ReadOptions | None = None,
) -> OwnSkeleton:
    """Return the categories of some sources, each with its skeleton.

    Args:
        paths: files or folders.
        explicit: the user's choice: a built-in name or a file.
        source: their format; None: auto-detected.
        options: how labels are read.

    Raises:
        RequestError: the source declares categories, but none with keypoints, or labels that may be mistakes.
        InputError: a skeleton file cannot be read or breaks a rule.
    """
    options = options or ReadOptions()
    if explicit is not None:
        return _asked(OwnSkeleton(load_categories(explicit), str(explicit), "set by you"), options)
    local = [path for path in paths if not is_url(path)]
    for path in local:
        if (recorded := _recorded(path if path.is_dir() else path.parent)) is not None:
            return _asked(recorded, options)
    categories = declared_categories(paths, source, options)
    labels = {name for each in categories for name in (each.name, *each.keypoints) if name}
    for path in local:
        around = path.resolve().parent if path.name in ("", "..") else path.parent
        recorded = _around(around) if path.is_dir() else None
        if recorded is not None and fits(labels, recorded.categories):
            return _asked(recorded, options)
    if not labels:
        return OwnSkeleton(load_categories(DEFAULT), DEFAULT, "the default, as there are no labels yet")
    if any(each.keypoints for each in categories):
        return _made(paths, categories, options)
    for name in BUILT_IN:
        # Each keypoint may be an object of its own.
        if fits(labels, load_categories(name)):
            return OwnSkeleton(load_categories(name), name, f"auto-detected from the labels in {paths[0]}")
    raise _ask(paths[0], categories)


def _asked(own: OwnSkeleton, options: ReadOptions) -> OwnSkeleton:
    """Return those of several known categories that ``--categories`` names, with the names that ``--map`` gives them.

    Raises:
        RequestError: ``--map`` makes one category of two with different keypoints.
    """
    if len(own.categories) == 1:
        return own
    kept: dict[str, Skeleton] = {}
    for old, number in own.categories.ids.items():
        name = options.names.get(old, old)
        if name in own.categories.ids and old not in options.names:
            # A wildcard leaves known names alone.
            name = old
        if not is_asked(old, options):
            continue
        skeleton = own.categories[number]
        other = kept.get(name, skeleton)
        if skeleton.model_copy(update={"name": other.name, "category": other.category}) != other:
            rule = f"for categories with the same keypoints as {name!r}"
            raise RequestError(must_be("--map", rule, f"{old}={name}"))
        if name not in kept or old == name:
            kept[name] = skeleton.model_copy(update={"category": Category(name=name, id=number)})
    if not kept or kept.keys() == own.categories.ids.keys():
        return own
    return replace(own, categories=Categories.numbered((one.category.id, one) for one in kept.values()))


def _made(paths: Sequence[Path], categories: Sequence[DeclaredCategory], options: ReadOptions) -> OwnSkeleton:
    """Return the skeletons of the declared categories with keypoints, and of those that ``--categories`` names."""
    made = declared_skeletons(categories, boxes=options.categories is not None and len(options.categories) > 1)
    ids = {each.name: each.id for each in categories}
    own = Categories.numbered((ids.get(one.skeleton.category.name), one.skeleton) for one in made)
    option = next((name for name in BUILT_IN if load_categories(name) == own), None)
    places = made[0].where if len(made) == 1 else ", ".join(map(str, paths))
    names: dict[str, dict[str, None]] = {}
    for one in made:
        for note in one.notes:
            names.setdefault(note, {})[one.skeleton.name] = None
    posed = {one.skeleton.name for one in made if one.skeleton.keypoints}
    notes = (note if of.keys() == posed else f"{', '.join(of)}: {note}" for note, of in names.items())
    return OwnSkeleton(
        own, option, f"from {places}", tuple(notes), tuple(text for one in made for text in one.warnings)
    )


def skeleton_to_label(folder: Path, explicit: str | Path | None = None) -> OwnSkeleton:
    """Return the skeleton of a folder with labelme files that a person is about to label or to correct.

    Labels that may be mistakes count as names.

    Raises:
        RequestError, InputError: as ``own_skeleton``.
    """
    tolerant = replace(FORMATS["labelme"], declared=partial(declared_by_labelme, with_doubts=True))
    return own_skeleton([folder], explicit, source=tolerant)


def keep_skeleton(folder: Path, what: Skeleton | Categories) -> Path | None:
    """Write a skeleton, or categories, into a folder of images for the next commands, unless it is the default.

    Args:
        folder: the folder with the images and their labelme files, or its parent.
        what: of the models whose predictions these files contain.

    Returns:
        The written file; None if none was needed.

    Raises:
        RequestError: the folder already has another skeleton, or other categories.
        InputError: the existing file is not a skeleton.
        OutputError: the file cannot be written.
    """
    file, categories = folder / SKELETON_FILE, Categories.of(what)
    if file.exists():
        there, hint = read_categories(file), "choose models of this skeleton, or move the file away"
        if len(there) + len(categories) > 2 and there.ids.keys() != categories.ids.keys():
            names = show_value(", ".join(categories.ids))
            raise RequestError(f"{file}: categories must be those of the models, {names}", hint=hint)
        if set(there.names) != set(categories.names):
            names = show_value(", ".join(categories.names))
            raise RequestError(f"{file}: keypoints must be those of the models, {names}", hint=hint)
        return None
    if len(categories) == 1 and categories.names == load_skeleton(DEFAULT).names:
        return None
    write_text(file, dump_categories(categories))
    return file


def fits(labels: Collection[str], categories: Categories) -> bool:
    """Return whether at least half of the labels are names of the skeletons; the rest may be typos or other objects."""
    known = {*categories.ids, *categories.names}
    return 2 * len(known & set(labels)) >= len(set(labels))


def _recorded(folder: Path) -> OwnSkeleton | None:
    """Return the skeleton that a folder has: that of the data set that posetools wrote, or its skeleton.yaml."""
    record = folder / CONVERSION
    if record.is_file() and is_record(record):
        return OwnSkeleton(categories_of(folder), str(folder), f"from the data set {folder}")
    file = folder / SKELETON_FILE
    return OwnSkeleton(read_categories(file), str(file), f"from {file}") if file.is_file() else None


def _around(folder: Path) -> OwnSkeleton | None:
    """Return the skeleton of the folder around a source, which may be a data set of another program."""
    recorded = _recorded(folder)
    if recorded is None and is_data_set(folder):
        return OwnSkeleton(categories_of(folder), str(folder), f"from the data set {folder}")
    return recorded


def _ask(path: Path, categories: Sequence[DeclaredCategory]) -> RequestError:
    listed = first_names([each.name for each in categories], _LISTED_LABELS)
    category = categories[0].name
    return RequestError(
        f"{path}: labels must have keypoints to make a skeleton of, or be names of a built-in one "
        f"({', '.join(BUILT_IN)}), got only {show_value(listed)}",
        hint=(new_command((), category), f"then add: --skeleton {new_file(category)}"),
    )
