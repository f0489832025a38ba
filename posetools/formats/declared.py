"""What a source says of its own skeletons: names, links, pairs, before any object is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from posetools.core.categories import Categories
from posetools.core.skeleton import BUILT_IN, DEFAULT, Skeleton, load_skeleton
from posetools.core.skeleton_pairs import swaps
from posetools.errors import RequestError, counted, must_be
from posetools.formats.joining.label_hints import as_typed
from posetools.formats.labels import near_name
from posetools.formats.options import ReadOptions

# The category of objects that only have keypoints, in a source that names none: the skeleton names it.
UNNAMED_CATEGORY = ""
# A label on less than this fraction of the objects is in doubt.
_RARE = 0.05


@dataclass(frozen=True, slots=True)
class DeclaredCategory:
    """A category as a source declares it. ``posetools.core.skeleton_draft`` makes a skeleton of it.

    Attributes:
        name: the category's name.
        keypoints: the K names in the source's order; none for a category that has boxes only.
        where: the file that says so, and the place in it, for messages.
        id: its id in the source; None when the source has no ids.
        links: the lines between keypoints, as 0-based index pairs; None when the source cannot say.
        flip_idx: the K indices of the keypoints in a mirrored image; None when the source does not say.
        sigmas: the K constants of OKS; None when the source does not say.
        named: whether the source names its keypoints; if not, they are kpt_0, kpt_1, ...
    """

    name: str
    keypoints: tuple[str, ...]
    where: str
    id: int | None = None
    links: tuple[tuple[int, int], ...] | None = None
    flip_idx: tuple[int, ...] | None = None
    sigmas: tuple[float, ...] | None = None
    named: bool = True


def made_names(number: int) -> tuple[str, ...]:
    """Return the names of the keypoints of a source that names none: kpt_0, kpt_1, ..."""
    return tuple(f"kpt_{i}" for i in range(number))


def made_order(number: int, skeleton: Skeleton | Categories, options: ReadOptions) -> tuple[str, ...]:
    """Return ``made_names`` if the skeleton was made with them; none otherwise."""
    names = made_names(number)
    known = all(options.names.get(name, name) in skeleton.index or name in options.ignore for name in names)
    return names if known else ()


def with_options(category: DeclaredCategory, options: ReadOptions) -> DeclaredCategory | None:
    """Return a category after ``--map`` and ``--ignore``; None if these or ``--categories`` leave it out.

    Links, pairs and sigmas follow their keypoints; keypoints that get the same name become one.
    """
    name = meaning(category.name, options)
    if name is None or not is_asked(category.name, options):
        return None
    names = [keypoint_meaning(point, {name}, options) for point in category.keypoints]
    kept = tuple(dict.fromkeys(one for one in names if one is not None))
    new = {old: kept.index(one) for old, one in enumerate(names) if one is not None}
    first = {at: old for old, at in reversed(new.items())}
    links, flip, sigmas = category.links, category.flip_idx, category.sigmas
    if links is not None:
        ends = ((new[a], new[b]) for a, b in links if a in new and b in new)
        links = tuple(dict.fromkeys((a, b) for a, b in ends if a != b))
    return replace(
        category,
        name=name,
        keypoints=kept,
        links=links,
        flip_idx=None if flip is None else tuple(new.get(flip[first[at]], at) for at in range(len(kept))),
        sigmas=None if sigmas is None else tuple(sigmas[first[at]] for at in range(len(kept))),
    )


class SeenObject(NamedTuple):
    """One object and the labels of its keypoints; its label is empty if it has none, None if it is left out."""

    label: str | None
    keypoints: list[str]


class UnsurePoint(NamedTuple):
    """A keypoint that may belong to several objects of an image: its label, and their indices, the likeliest first."""

    label: str
    objects: Sequence[int]


@dataclass(slots=True)
class SeenObjects:
    """The objects of a source whose labels are typed freely: what they declare, or which labels are in doubt.

    Attributes:
        options: the user's options; ``--map``, ``--ignore`` and ``--categories`` apply.
        where: the source, for messages.
        listed: the labels that the source lists itself, in their order; they are never in doubt.
        keypoints: those of them that are keypoints; the only category has them even where no object has.
    """

    options: ReadOptions
    where: str
    listed: tuple[str, ...] = ()
    keypoints: tuple[str, ...] = ()
    # Category -> the keypoints that objects have together -> how many such objects.
    _objects: dict[str, Counter[frozenset[str]]] = field(default_factory=dict)
    _order: dict[str, dict[str, None]] = field(default_factory=dict)
    # Images with keypoints that may belong to several categories.
    _unsure: list[tuple[Sequence[SeenObject], Sequence[UnsurePoint]]] = field(default_factory=list)

    def add(self, objects: Sequence[SeenObject], unsure: Sequence[UnsurePoint] = ()) -> None:
        """Add the objects of an image.

        Args:
            objects: the objects, with the keypoints that can only be theirs.
            unsure: keypoints that may belong to objects of several categories.
        """
        categories = [self._category(one.label or "") for one in objects]
        known = {name for name in categories if name}
        named = [
            SeenObject(category, self._names(one.keypoints, known))
            for category, one in zip(categories, objects, strict=True)
        ]
        left = [UnsurePoint(name, one.objects) for one in unsure for name in self._names([one.label], known)]
        for category, names in named:
            if category is not None:
                self._order.setdefault(category, {}).update(dict.fromkeys(names))
        if left:
            self._unsure.append((named, left))
        else:
            self._count(named)

    def _category(self, label: str) -> str | None:
        return meaning(label, self.options) if is_asked(label, self.options) else None

    def _names(self, labels: Iterable[str], categories: Collection[str]) -> list[str]:
        names = (keypoint_meaning(label, categories, self.options) for label in labels)
        return [name for name in names if name is not None]

    def _count(self, objects: Iterable[SeenObject]) -> None:
        for category, names in objects:
            if category is not None:
                self._objects.setdefault(category, Counter())[frozenset(names)] += 1
                self._order.setdefault(category, {}).update(dict.fromkeys(names))

    def declared(self) -> tuple[DeclaredCategory, ...]:
        """Return the categories in the order of first appearance, each with the keypoints of its objects.

        Raises:
            RequestError: a label is on under 5 % of the objects or is spelled like another one, or a keypoint may
                belong to several categories in every image.
        """
        found, doubt = self.with_doubt()
        if not self.keypoints and (built_in := of_built_in(found)):
            return built_in
        if doubt:
            raise doubt
        return found

    def with_doubt(self) -> tuple[tuple[DeclaredCategory, ...], RequestError | None]:
        """Return what ``declared`` returns, and the error that it raises, if any; call one of them, once."""
        unowned = self._settle()
        self._name_unlabeled()
        if not self._order and self.keypoints:
            points = self._names(self.keypoints, ())
            self._order = {name: {} for name in self._names(self.listed, ()) if name not in points}
        listed = self._names(self.listed, self._order)
        totals = {category: sum(objects.values()) for category, objects in self._objects.items()}
        counts = {category: _counts(self._objects.get(category, {})) for category in self._order}
        sure = {*listed, *(new for old, new in self.options.names.items() if old == new)}
        doubts = [*_doubts(totals, {}, sure)]
        found: list[DeclaredCategory] = []
        for category in sorted(self._order, key=lambda name: _place(name, listed)):
            strays = self._strays(category, counts)
            own = {name: number for name, number in counts[category].items() if name not in strays}
            doubts += _doubts(own, self._objects.get(category, {}), sure, category)
            names = [name for name in self._order[category] if name not in strays]
            if len(self._order) == 1:
                names += [name for name in self._names(self.keypoints, self._order) if name not in names]
            ordered = tuple(sorted(names, key=lambda name: _place(name, listed)))
            found.append(DeclaredCategory(category, ordered, self.where))
        if sum(bool(one.keypoints) for one in found) > 1:
            # A source that lists its keypoints has no others.
            known = {one.name: skeleton.names for one in found if (skeleton := _skeleton_of(one))}
            built_in = {name: own for name, own in known.items() if not self.keypoints or {*own} <= {*listed}}
            found = [replace(one, keypoints=built_in.get(one.name, one.keypoints)) for one in found]
            doubts = [one for one in doubts if one.category not in built_in]
        return tuple(found), unowned or (_in_doubt(self.where, doubts) if doubts else None)

    def _settle(self) -> RequestError | None:
        """Give keypoints that may belong to several categories to the one whose other objects have such keypoints.

        Return the error about one that has no owner.
        """
        error: RequestError | None = None
        known: dict[str | None, set[str]] = {category: set(order) for category, order in self._order.items()}
        known[None] = set()
        possible: dict[str, set[str | None]] = {}
        for objects, unsure in self._unsure:
            for name, places in unsure:
                around = {objects[at].label for at in places} - {None}
                possible[name] = possible.get(name, around) & around
        for name, categories in possible.items():
            if not any(name in names for names in known.values()):
                if len(categories) != 1:
                    error = error or _of_several(self.where, name, [category for category in known if category])
                    continue
                known[categories.pop()].add(name)
        for objects, unsure in self._unsure:
            for name, places in unsure:
                owner = next((objects[at] for at in places if name in known[objects[at].label]), None)
                if owner is not None:
                    owner.keypoints.append(name)
            self._count(objects)
        return error

    def _name_unlabeled(self) -> None:
        """Give objects that have only keypoints the one category there is."""
        if "" not in self._objects:
            return
        objects, order = self._objects.pop(""), self._order.pop("")
        if len(self._objects) > 1:
            return
        category = next(iter(self._objects), UNNAMED_CATEGORY)
        self._objects.setdefault(category, Counter()).update(objects)
        self._order.setdefault(category, {}).update(order)

    def _strays(self, category: str, counts: Mapping[str, Mapping[str, int]]) -> set[str]:
        """Return keypoints that are rare in this category because they belong to another one."""
        others = [other for name, other in counts.items() if name != category]
        rare = _rare(counts[category])
        return {name for name in rare if any(name in other and name not in _rare(other) for other in others)}


class _Doubt(NamedTuple):
    """A label in doubt, how many objects have it, the label that it may mean, and its number; of a category or none."""

    label: str
    number: int
    other: str
    others: int
    category: str
    is_close: bool

    def __str__(self) -> str:
        role = f"keypoint {self.label!r} of {self.category!r}" if self.category else f"category {self.label!r}"
        rule = f"spelled unlike {self.other!r}" if self.is_close else f"on at least {_RARE:.0%} of the objects"
        got = f"{counted(self.number, 'object')} with {self.label!r} and {self.others} with {self.other!r}"
        return f"{role} must be {rule}, got {got}"


def meaning(label: str, options: ReadOptions) -> str | None:
    """Return the name of a label (``--map``); None if it is left out (``--ignore``)."""
    name = options.names.get(label, label)
    return None if label in options.ignore or name in options.ignore else name


def keypoint_meaning(label: str, categories: Collection[str], options: ReadOptions) -> str | None:
    """Return ``meaning`` of a keypoint's label, which a wildcard that names a category leaves as it is."""
    name = meaning(label, options)
    return label if name in categories and label not in options.names else name


def is_asked(label: str, options: ReadOptions) -> bool:
    """Return whether objects with this label are read (``--categories``)."""
    asked = options.categories
    return asked is None or not label or label in asked or options.names.get(label, label) in asked


def _counts(objects: Mapping[frozenset[str], int]) -> Counter[str]:
    found = Counter[str]()
    for names, number in objects.items():
        found.update(dict.fromkeys(names, number))
    return found


def _rare(counts: Mapping[str, int]) -> list[str]:
    """Return the labels on under 5 % as many objects as the most frequent one: most need not be labeled at all."""
    most = max(counts.values(), default=0)
    return [label for label, number in counts.items() if number < _RARE * most]


def _doubts(
    counts: Mapping[str, int], objects: Mapping[frozenset[str], int], sure: Collection[str], category: str = ""
) -> Iterator[_Doubt]:
    """Yield the doubts about labels of one kind, rarest first.

    A misspelled label takes the place of the right one: labels that objects have together are two keypoints.
    """
    partners = swaps(tuple(counts))
    # Of two labels on as many objects, the one without a partner is the more likely mistake.
    ordered = sorted(counts, key=lambda label: (counts[label], label in partners, label))
    rare = _rare(counts)
    for at, label in enumerate(ordered):
        if label in sure:
            continue
        close = [
            other
            for other in ordered[at + 1 :]
            if near_name(label, [other])
            and partners.get(label) != other
            and 2 * sum(number for names, number in objects.items() if {label, other} <= names) < counts[label]
        ]
        near = near_name(label, close)
        if near or label in rare:
            other = near or near_name(label, ordered[at + 1 :]) or ordered[-1]
            yield _Doubt(label, counts[label], other, counts[other], category, near is not None)


def _in_doubt(where: str, doubts: Sequence[_Doubt]) -> RequestError:
    """Return the error that asks what the labels in doubt mean."""
    first, *rest = doubts
    same = " ".join(f"--map {as_typed(f'{one.label}={one.other}')}" for one in doubts if one.is_close)
    label = as_typed(f"{first.label}=NAME")
    keep = as_typed(f"{first.label}={first.label}")
    way = f"{same}, if both mean the same" if same else f"--map {label} maps it to another name"
    hint = f"{way}; --map {keep} keeps it; --ignore {as_typed(first.label)} leaves it out"
    return RequestError(f"{where}: {first}", *(f"and {one}" for one in rest), hint=hint)


def _of_several(where: str, keypoint: str, categories: Sequence[str]) -> RequestError:
    problem = must_be(f"keypoint {keypoint!r}", "in boxes of one category, or joined with its box", categories)
    return RequestError(f"{where}: {problem}", hint="join the points with their boxes, or --categories NAME reads one")


def _place(name: str, listed: Sequence[str]) -> int:
    return listed.index(name) if name in listed else len(listed)


def of_built_in(found: Sequence[DeclaredCategory]) -> tuple[DeclaredCategory, ...]:
    """Return the categories with all keypoints of the built-in skeletons that they have; none if one has another."""
    built_in = [(category, _skeleton_of(category)) for category in found if category.keypoints]
    if not built_in or not all(skeleton for _, skeleton in built_in):
        return ()
    names = {category.name: skeleton.names for category, skeleton in built_in if skeleton}
    return tuple(replace(category, keypoints=names.get(category.name, ())) for category in found)


def _skeleton_of(category: DeclaredCategory) -> Skeleton | None:
    """Return the built-in skeleton of labeled keypoints: most have its names, the others are misspelled.

    Half of its names must be labeled, except of the default: a car is seen from one side.
    """
    for name in BUILT_IN:
        skeleton = load_skeleton(name)
        known = [point for point in category.keypoints if point in skeleton.index]
        others = set(category.keypoints).difference(known)
        is_default = name == DEFAULT and category.name in ("", skeleton.category.name)
        least = max(len(category.keypoints), 1 if is_default else skeleton.num_keypoints)
        if 2 * len(known) >= least and all(near_name(one, skeleton.names) for one in others):
            return skeleton
    return None
