"""What a source's labels mean: the category, a keypoint, left out on purpose, or unknown."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import replace

from posetools.core.categories import Categories
from posetools.core.skeleton import Skeleton
from posetools.errors import RequestError, must_be
from posetools.formats.joining.label_hints import Advice, as_typed
from posetools.formats.options import ReadOptions
from posetools.formats.unknown_labels import UnknownLabel
from posetools.formats.wildcards import LabelNames, LabelSet

# Minimum similarity of each word of two names for one to count as a misspelling of the other.
_LIKE = 0.74
# Label parts that repeat the shape's type.
_SHAPE_WORDS = frozenset(
    {"box", "bbox", "bounding", "boundingbox", "rect", "rectangle", "keypoints", "points", "skeleton"}
)


def settled(categories: Categories, options: ReadOptions) -> ReadOptions:
    """Return the options with ``categories`` resolved to names and labels to leave out.

    Refuses options that can have no effect: names that no skeleton has, folders that do not exist.

    Raises:
        RequestError: the first such option.
    """
    known = (*categories.ids, *categories.names)
    for label, name in options.names.items():
        if name not in known:
            rule = f"label=NAME with a name of skeleton {categories.name}"
            raise RequestError(must_be("--map", rule, f"{label}={name}"), suggestion(name, known))
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
    asked = options.categories
    for label in asked:
        if label in categories.index:
            raise RequestError(must_be("--categories", "a label of objects, not of keypoints", label))
    others = [label for label in asked if options.names.get(label, label) not in categories.ids]
    if others and (len(categories) > 1 or len(asked) > 1):
        raise RequestError(must_be("--categories", f"labels of the objects that are {categories.told}", others[0]))
    # CVAT's boxes may have their skeleton's name; a shape without a label may belong to any object.
    taken = frozenset({*categories.names, *options.names, *asked, *(f"{label}-box" for label in asked), ""})
    names |= dict.fromkeys(others, next(iter(categories.ids)))
    return replace(options, names=names, ignore=LabelSet(options.ignore, taken, own - {*categories.ids} | {*asked}))


def only_skeleton(categories: Categories, files: str) -> Skeleton:
    """Return the skeleton of the only category, for files that hold no other.

    Args:
        categories: the categories.
        files: the files' title, for the message.

    Raises:
        RequestError: there are several.
    """
    if len(categories) > 1:
        one, other, *_ = categories.ids
        ways = [f"--categories {as_typed(one)} takes the objects of one"]
        if len(categories.groups) == 1:
            ways.append(f"--map {as_typed(f'{other}={one}')} makes one category of two")
        raise RequestError(must_be("categories", f"one in {files}", list(categories.ids)), hint=ways)
    return categories.only


def category_of(name: object, categories: Categories, options: ReadOptions) -> int | None:
    """Return the id of the category that a source's class name is, or is mapped to; None for any other name."""
    return categories.ids.get(options.names.get(name, name)) if isinstance(name, str) else None


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
    """Return the finding for an unknown label, with both fixes and the nearest known name.

    Args:
        label: the label.
        known: names that it may be a misspelling of.
        file: the file.
        place: its place in the file.
        field: what must be a known name.
        rule: which names are allowed.
        advice: how to read the label, if it says more than a name.
    """
    near = (not advice and (near_name(label, known) or near_name(_bare(label, known), known))) or ""
    ignore = f"--ignore {as_typed(label)} leaves it out"
    if advice:
        hint = advice.text
    elif near:
        hint = f"--map {as_typed(f'{label}={near}')} maps it, if you mean {near!r}; {ignore}"
    else:
        hint = f"--map {as_typed(f'{label}=NAME')} maps it to a skeleton name; {ignore}"
        hint += "; --skeleton FILE for another object"
    found = UnknownLabel("E301", file, place, must_be(field, rule, label), hint, label=label, near=near)
    return replace(found, pattern=advice.pattern, ways="" if advice.pattern else advice.text) if advice else found


def _bare(label: str, known: Collection[str]) -> str:
    """Return a label without its shape word and without the object's name, the first known one, in front."""
    words = [word for word in _words(label) if word not in _SHAPE_WORDS]
    first = _words(next(iter(known), ""))
    return "-".join(words[len(first) :] if first and words[: len(first)] == first != words else words)


def suggestion(name: str, known: Collection[str]) -> str:
    """Return the hint for an unknown name: the known name that it misspells, or all of them."""
    near = near_name(name, known)
    return f"did you mean {near!r}?" if near else f"it has {', '.join(known)}"


def near_name(label: str, known: Collection[str]) -> str | None:
    """Return the known name that a label misspells, or None: each word must be similar to the name's.

    Overall similarity is not enough: a dog's ``left_ear`` is similar to ``left-rear-tire``, but means something else.
    """
    words = _words(label)
    best = max(((_likeness(words, _words(name)), name) for name in known), default=(0.0, ""))
    return best[1] if best[0] >= _LIKE else None


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])|\d+|[^\w\s.-]+", name)]


def _likeness(one: list[str], other: list[str]) -> float:
    """Return the similarity of the least similar words, 0 to 1; names that differ only in their breaks are equal."""
    if "".join(one) == "".join(other):
        return 1.0
    if len(one) != len(other):
        return 0.0
    pairs = [difflib.SequenceMatcher(None, *pair).ratio() for pair in zip(one, other, strict=True)]
    swapped = [difflib.SequenceMatcher(None, *pair).ratio() for pair in zip(sorted(one), sorted(other), strict=True)]
    return max(min(pairs), min(swapped))
