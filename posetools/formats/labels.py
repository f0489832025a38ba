"""What the labels of a source mean: the category, a keypoint, left out on purpose, or unknown."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from posetools.errors import RequestError, must_be
from posetools.findings import Finding
from posetools.formats.base import ReadOptions
from posetools.skeleton import Skeleton


def check_options(skeleton: Skeleton, options: ReadOptions) -> None:
    """Refuse options that can mean nothing: names that the skeleton does not have, folders that are not there.

    Raises:
        RequestError: the first such option.
    """
    known = (skeleton.category.name, *skeleton.names)
    for label, name in options.names.items():
        if name not in known:
            rule = f"label=NAME with a name of skeleton {skeleton.name}"
            raise RequestError(f"{must_be('--map', rule, f'{label}={name}')}\n  {_suggest(name, known)}")
    for root in options.image_roots:
        if not root.is_dir():
            raise RequestError(must_be("--image-root", "an existing folder", str(root)))
    if options.box_margin < 0:
        raise RequestError(must_be("--box-margin", "0 or more", options.box_margin))


def unknown_label(label: str, known: Collection[str], *, file: str, place: str, field: str, rule: str) -> Finding:
    """Return the finding for a label that means nothing, with both remedies and the nearest known name."""
    near = difflib.get_close_matches(label, known, n=1)
    if near:
        hint = f"did you mean {near[0]!r}? --map '{label}={near[0]}' takes it so; --ignore '{label}' leaves it out"
    else:
        hint = f"--map '{label}=NAME' takes it as a name of the skeleton; --ignore '{label}' leaves it out"
    return Finding("E301", file, place, must_be(field, rule, label), hint)


def _suggest(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
