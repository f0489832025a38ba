"""Keypoints identified only by their order: ``--kpt-order`` names them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from posetools.core.categories import Categories
from posetools.errors import RequestError, must_be
from posetools.formats.options import ReadOptions


class NameProblem(NamedTuple):
    """A problem with names in their order: a sentence, and a hint."""

    problem: str
    hint: str


# The column of each keypoint, None for one that is left out on purpose.
Order = tuple[int | None, ...]


def in_skeleton(order: Sequence[str], categories: Categories, options: ReadOptions) -> Order | NameProblem:
    """Return the columns of these keypoints, after the user's --map and --ignore."""
    keypoints: list[int | None] = []
    for label in order:
        name = options.names.get(label, label)
        if label in options.ignore:
            keypoints.append(None)
        elif name not in categories.index:
            problem = must_be("the keypoints' names", f"names of skeleton {categories.name}", label)
            quoted = shlex.quote(f"{label}=NAME")
            names = ", ".join(categories.names)
            hint = f"--map {quoted} maps it to one of {names}; --ignore {shlex.quote(label)} skips it"
            return NameProblem(problem, hint)
        elif categories.index[name] in keypoints:
            return NameProblem(
                must_be("the keypoints' names", "each keypoint once", list(order)), f"{name!r} is there twice"
            )
        else:
            keypoints.append(categories.index[name])
    return tuple(keypoints)


def stated_order(categories: Categories, options: ReadOptions) -> Order | None:
    """Return the keypoints of ``--kpt-order``; None if it is not given.

    Raises:
        RequestError: its names are not those of the skeletons.
    """
    if options.kpt_order is None:
        return None
    found = in_skeleton(options.kpt_order, categories, options)
    if isinstance(found, NameProblem):
        raise RequestError(f"--kpt-order: {found.problem}", hint=found.hint)
    return found


def advice(categories: Categories, count: int | None) -> str:
    """Return the hint that gives the option for ``count`` points per object; None if their number is unknown."""
    if count == categories.num_keypoints:
        return (
            f"--kpt-order {shlex.quote(','.join(categories.names))} names them, if this is their order in each object"
        )
    number = "" if count is None else f"{count} "
    return f"--kpt-order A,B,... names the {number}points of each object in their order"
