"""A skeleton to start from, made of what data declare."""

from __future__ import annotations

from pathlib import Path

from posetools.core.categories import Categories
from posetools.core.folder import CONVERSION, SKELETON_FILE, categories_of, skeleton_of
from posetools.core.skeleton_draft import Draft
from posetools.datasets.declared import declared_categories, declared_skeleton
from posetools.datasets.derived import options_of_convert
from posetools.errors import RequestError, first_names
from posetools.formats import FORMATS, told_format
from posetools.formats.options import ReadOptions

# Categories that a message lists.
_LISTED = 10


def is_data(path: Path) -> bool:
    """Return whether a path is data rather than a skeleton file."""
    is_yaml = path.suffix.lower() in (".yaml", ".yml")
    return path.is_dir() or (path.is_file() and (not is_yaml or any(each.detect(path) for each in FORMATS.values())))


def drafted(path: Path, name: str, category: str | None = None) -> Draft:
    """Return the skeleton of a data set, or the one that a source of any format declares.

    Names that may be a pair are left without a partner, for the user to decide.

    Args:
        path: a file or a folder.
        name: the skeleton's name.
        category: of the categories with keypoints, the one to take; None: the only one.

    Raises:
        RequestError: no format fits, or there is no such category, or none or several with keypoints.
        InputError: a declaration breaks a rule.
    """
    if any((path / file).is_file() for file in (SKELETON_FILE, CONVERSION)):
        known = categories_of(path)
        own = known[known.ids[category]] if category in known.ids else skeleton_of(path)
        return Draft(own.model_copy(update={"name": name}), ())
    way = "--keypoints A,B,... names the keypoints"
    source = told_format([path], "a skeleton file, or annotations of one supported format", way)
    with options_of_convert(path):
        posed = {each.name: each for each in declared_categories([path], source, ReadOptions()) if each.keypoints}
    chosen = posed.get(category) if category is not None else next(iter(posed.values())) if len(posed) == 1 else None
    if chosen is None:
        rule = "one category with keypoints" if category is None else f"a category {category!r} with keypoints"
        found = first_names(list(map(repr, posed)), _LISTED) or "none"
        hint = f"--category {next(iter(posed))} takes one" if posed else way
        raise RequestError(f"{path}: must declare {rule}, got {found}", hint=hint)
    made = declared_skeleton(chosen, leave_unsure=True)
    only = Categories.numbered([(None, made.skeleton)]).only
    return Draft(only.model_copy(update={"name": name}), (*made.warnings, *made.notes))
