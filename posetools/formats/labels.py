"""What the labels of a source mean: the category, a keypoint, left out on purpose, or unknown."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import replace

from posetools.core.skeleton import Skeleton
from posetools.errors import RequestError, must_be
from posetools.formats.joining.label_hints import Advice, as_typed
from posetools.formats.options import ReadOptions
from posetools.formats.unknown_labels import UnknownLabel
from posetools.formats.wildcards import LabelNames, LabelSet

# How like the words of two names must be, so that one is taken as a slip of the other.
_LIKE = 0.74
# What labels say of the shape besides what is in it.
_SHAPE_WORDS = frozenset(
    {"box", "bbox", "bounding", "boundingbox", "rect", "rectangle", "keypoints", "points", "skeleton"}
)


def settled(skeleton: Skeleton, options: ReadOptions) -> ReadOptions:
    """Return options whose ``categories`` have become names and labels to leave out.

    Refused is what can mean nothing: names that the skeleton does not have, folders that are not there.

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
    if min(options.box_margin, options.box_margin_px) < 0:
        raise RequestError(must_be("--box-margin", "0 or more", min(options.box_margin, options.box_margin_px)))
    own = frozenset(known)
    names = LabelNames(options.names, own)
    options = replace(options, names=names, ignore=LabelSet(options.ignore, own=own))
    if options.categories is None:
        return options
    category, asked = skeleton.category.name, options.categories
    if len(asked) > 1:
        raise RequestError(must_be("--categories", f"one label, of the objects that are {category!r}", asked))
    label = asked[0]
    if label in skeleton.index:
        raise RequestError(must_be("--categories", "a label of objects, not of keypoints", label))
    # CVAT's boxes may be called after their skeleton; what has no label may be an object of any.
    taken = frozenset({*skeleton.names, *options.names, label, f"{label}-box", ""})
    if label != category:
        names[label] = category
    return replace(options, names=names, ignore=LabelSet(options.ignore, taken, own - {category} | {label}))


def is_category(name: object, skeleton: Skeleton, options: ReadOptions) -> bool:
    """Return whether a source's name of a class is the skeleton's category, or what the user calls it."""
    return isinstance(name, str) and options.names.get(name, name) == skeleton.category.name


def unknown_label(
    label: str,
    known: Collection[str],
    *,
    file: str,
    place: str,
    field: str,
    rule: str,
    advice: Advice | None = None,
) -> UnknownLabel:
    """Return the finding for a label that means nothing, with both remedies and the nearest known name.

    Args:
        label: the label.
        known: the names that it may be a slip of.
        file: the file it is in.
        place: its place there.
        field: what must be a known name, and ``rule`` which.
        rule: what it must be.
        advice: how to read it, where the label says more than a name.
    """
    near = (not advice and (near_name(label, known) or near_name(_bare(label, known), known))) or ""
    ignore = f"--ignore {as_typed(label)} leaves it out"
    if advice:
        hint = advice.text
    elif near:
        hint = f"did you mean {near!r}? --map {as_typed(f'{label}={near}')} takes it so; {ignore}"
    else:
        hint = f"--map {as_typed(f'{label}=NAME')} takes it as a name of the skeleton; {ignore}"
        hint += "; --skeleton FILE where the object is another"
    found = UnknownLabel("E301", file, place, must_be(field, rule, label), hint, label=label, near=near)
    return replace(found, pattern=advice.pattern, ways="" if advice.pattern else advice.text) if advice else found


def _bare(label: str, known: Collection[str]) -> str:
    """Return a label without what it says of the shape, and without the first known name, the object's, before it."""
    words = [word for word in _words(label) if word not in _SHAPE_WORDS]
    first = _words(next(iter(known), ""))
    return "-".join(words[len(first) :] if first and words[: len(first)] == first != words else words)


def _suggest(name: str, known: Collection[str]) -> str:
    near = near_name(name, known)
    return f"did you mean {near!r}?" if near else f"it has {', '.join(known)}"


def near_name(label: str, known: Collection[str]) -> str | None:
    """Return the known name that a label is a slip of, or None: each of its words must be like that of the name.

    Likeness of the whole is not enough: ``left_ear`` of a dog is like ``left-rear-tire``, and means something else.
    """
    words = _words(label)
    best = max(((_likeness(words, _words(name)), name) for name in known), default=(0.0, ""))
    return best[1] if best[0] >= _LIKE else None


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])|\d+|[^\w\s.-]+", name)]


def _likeness(one: list[str], other: list[str]) -> float:
    """Return how alike the least alike words are, 0 to 1; names that differ in their breaks only are the same."""
    if "".join(one) == "".join(other):
        return 1.0
    if len(one) != len(other):
        return 0.0
    pairs = [difflib.SequenceMatcher(None, *pair).ratio() for pair in zip(one, other, strict=True)]
    swapped = [difflib.SequenceMatcher(None, *pair).ratio() for pair in zip(sorted(one), sorted(other), strict=True)]
    return max(min(pairs), min(swapped))
