"""A skeleton to start from, made of what data declare."""

from __future__ import annotations

from pathlib import Path

from posetools.core.folder import SKELETON_FILE, is_data_set, skeleton_of
from posetools.core.made_skeleton import built_in_with
from posetools.core.skeleton import read_skeleton
from posetools.core.skeleton_draft import Draft, draft_skeleton
from posetools.datasets.declared import declared_categories
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
    if (path / SKELETON_FILE).is_file():
        return Draft(read_skeleton(path / SKELETON_FILE).model_copy(update={"name": name}), ())
    if path.is_dir() and is_data_set(path):
        return Draft(skeleton_of(path).model_copy(update={"name": name}), ())
    way = "--keypoints A,B,... names the keypoints"
    source = told_format([path], "a skeleton file, or annotations of one supported format", way)
    posed = {each.name: each for each in declared_categories([path], source, ReadOptions()) if each.keypoints}
    chosen = posed.get(category) if category is not None else next(iter(posed.values())) if len(posed) == 1 else None
    if chosen is None:
        rule = "one category with keypoints" if category is None else f"a category {category!r} with keypoints"
        found = first_names(list(map(repr, posed)), _LISTED) or "none"
        hint = f"--category {next(iter(posed))} takes one" if posed else way
        raise RequestError(f"{path}: must declare {rule}, got {found}", hint=hint)
    if (known := built_in_with(chosen.keypoints)) is not None:
        called = known.category.model_copy(update={"name": chosen.name or known.category.name})
        return Draft(known.model_copy(update={"name": name, "category": called}), ())
    return draft_skeleton(
        name,
        chosen.keypoints,
        chosen.name or name,
        category_id=chosen.id or 1,
        links=chosen.links or (),
        flip_idx=chosen.flip_idx,
        sigmas=chosen.sigmas,
        leave_unsure=True,
    )
