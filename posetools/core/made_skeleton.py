"""A skeleton made from what data declare: a built-in one where the names are its names, else a new one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from posetools.core.skeleton import BUILT_IN, Category, Skeleton, is_name, load_skeleton
from posetools.core.skeleton_draft import Draft, draft_skeleton, skeleton_name

# The category of objects in data that name no category.
UNNAMED = "object"


def made_skeleton(
    category: str,
    keypoints: Sequence[str],
    *,
    category_id: int | None = None,
    links: Iterable[tuple[int, int]] | None = None,
    flip_idx: Sequence[int] | None = None,
    sigmas: Sequence[float] | None = None,
    in_order: bool = False,
    leave_unsure: bool = False,
) -> Draft:
    """Return the skeleton of a category, and notes on what the data do not declare.

    A built-in skeleton has measured sigmas, colors and a template, so it is taken whenever the names are its names.

    Args:
        category: its name; empty if the data name none.
        keypoints: the K names.
        category_id: its id in the data, if it has one.
        links: the lines between keypoints, as 0-based index pairs; None if the data cannot say.
        flip_idx: the K indices of the keypoints in a mirrored image; None if the data do not say.
        sigmas: the K constants of OKS; None if the data do not say.
        in_order: whether the data are used as they are: their order of keypoints stays.
        leave_unsure: whether names that may be a left/right pair are left without a partner, so that training does
            not mirror.

    Raises:
        RequestError: a name, a link, ``flip_idx`` or a sigma breaks a rule of skeletons.
    """
    number = category_id or 1
    known = built_in_with(keypoints)
    own_name = category not in ("", known.category.name if known else "")
    if known is None or (in_order and known.names != tuple(keypoints)) or (own_name and not is_name(category)):
        # A draft also refuses an impossible name.
        name = category or UNNAMED
        return draft_skeleton(
            skeleton_name(name),
            keypoints,
            name,
            category_id=number,
            links=links or (),
            flip_idx=flip_idx,
            sigmas=sigmas,
            leave_unsure=leave_unsure,
        )
    if own_name:
        other = Category(name=category, id=number)
        known = known.model_copy(update={"name": skeleton_name(category), "category": other})
    return Draft(known, ())


def built_in_with(names: Iterable[str]) -> Skeleton | None:
    """Return the built-in skeleton that has exactly these names, in any order."""
    wanted = set(names)
    return next((one for one in map(load_skeleton, BUILT_IN) if set(one.names) == wanted), None)
