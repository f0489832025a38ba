"""The result of reading a source: its shards joined, with the images named and sorted.

The objects stay in the Datasets that the reader yielded, and selections are gathered slice by slice, so that they are
not in memory twice.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np

from posetools.core.categories import Categories
from posetools.core.dataset import OBJECT_COLUMNS, SLICE, Dataset, Image
from posetools.core.findings import Finding, sort_findings
from posetools.core.geometry import Ints
from posetools.core.place import Origins
from posetools.core.skeleton import Skeleton
from posetools.errors import must_be
from posetools.files.names import unique_names
from posetools.formats.joined import CauseFinding
from posetools.formats.shards import ImageSource, ShardReading, shard_of


@dataclass(frozen=True)
class ReadResult:
    """The result of reading.

    Nothing is lost: every object of the source is in ``images``, or in ``findings``, or counted in ``ignored``.

    Attributes:
        categories: the categories, each with its skeleton.
        images: the readable images, sorted by file name; each with the split that the source declares, or None.
        counts: (M,) how many objects each image has.
        findings: errors and warnings, sorted.
        files: how many annotation files were read.
        ignored: label -> how many shapes were left out on purpose.
        broken: the names of the images in which an object could not be read.
    """

    categories: Categories
    images: Sequence[Image]
    counts: Ints
    findings: tuple[Finding, ...]
    files: int
    ignored: Mapping[str, int]
    broken: frozenset[str]
    _shards: Sequence[Dataset]
    # The index of the first object of each image in ``images``, counted through all shards.
    _firsts: Ints

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the only category."""
        return self.categories.only

    @cached_property
    def dataset(self) -> Dataset:
        """Everything as one Dataset."""
        return self.take(self.images, np.arange(len(self.images)))

    @cached_property
    def _ends(self) -> Ints:
        """The index of the last object of each shard plus one, counted through all shards."""
        ends: Ints = np.cumsum([len(shard) for shard in self._shards])
        return ends

    def select(self, rows: Sequence[int]) -> SelectedImages:
        """Return some of the images, by ascending indices."""
        return SelectedImages(self, tuple(self.images[row] for row in rows), np.array(rows, dtype=np.int64))

    def take(self, images: Sequence[Image], rows: Ints) -> Dataset:
        """Return a Dataset of some of the images.

        Args:
            images: the images of the new Dataset.
            rows: their indices in ``self.images``.
        """
        counts = self.counts[rows]
        image_index = np.repeat(np.arange(len(rows)), counts)
        before = np.repeat(counts.cumsum() - counts, counts)
        objects = np.repeat(self._firsts[rows], counts) + np.arange(len(image_index)) - before
        # Gather shard by shard, then restore the order of the images.
        ends = self._ends
        at_shard = np.searchsorted(ends, objects, side="right")
        order = np.argsort(at_shard, kind="stable")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        objects, at_shard = objects[order], at_shard[order]
        taken = [
            (self._shards[at], objects[at_shard == at] - (ends[at] - len(self._shards[at])))
            for at in np.unique(at_shard).tolist() or [0]
        ]
        own = {name: np.concatenate([getattr(one, name)[at] for one, at in taken])[back] for name in OBJECT_COLUMNS}
        own["image_index"] = image_index
        joined = Origins.joined([one.origins.take(at.tolist()) for one, at in taken])
        return Dataset(self.categories, tuple(images), **own, origins=joined.take(back.tolist()))


@dataclass(frozen=True, slots=True)
class SelectedImages:
    """Some of the images of a ReadResult, with their objects.

    Attributes:
        result: the result that they are taken from.
        images: the images, sorted by file name.
        rows: their indices in ``result.images``.
    """

    result: ReadResult
    images: tuple[Image, ...]
    rows: Ints

    @property
    def categories(self) -> Categories:
        """The categories, each with its skeleton."""
        return self.result.categories

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the only category."""
        return self.categories.only

    def slices(self) -> Iterator[Dataset]:
        """Yield them as Datasets of a few hundred images each."""
        for first in range(0, len(self.images), SLICE):
            part = slice(first, first + SLICE)
            yield self.result.take(self.images[part], self.rows[part])


def join(shards: Iterable[ShardReading], categories: Categories) -> ReadResult:
    """Return all shards of a source as one result.

    An image in two annotation files is left out, with a finding each: it is not known which one is right.
    """
    # The empty shard lets a source without shards give a result too.
    readings = [shard_of([], categories, files=0), *shards]
    findings = [finding for reading in readings for finding in reading.findings]
    completed = [reading.completed for reading in readings if reading.completed is not None]
    findings += [reduce(operator.add, completed).finding] if completed else []
    sources = [source for reading in readings for source in reading.sources]
    images = [image for reading in readings for image in reading.dataset.images]
    kept, doubles = _without_doubles(images, sources)
    names = unique_names([(sources[at].origin, images[at].file_name) for at in kept])
    order = sorted(range(len(kept)), key=names.__getitem__)
    rows = np.array(kept, dtype=np.int64)[order]
    counts = np.concatenate([np.zeros(0, dtype=np.int64), *(reading.dataset.counts for reading in readings)])
    broken = {identity for reading in readings for identity in reading.broken}
    return ReadResult(
        categories=categories,
        images=[_named(images[kept[at]], names[at]) for at in order],
        counts=counts[rows],
        findings=sort_findings([*findings, *doubles]),
        files=sum(reading.files for reading in readings),
        ignored=dict(sorted(sum((Counter(reading.ignored) for reading in readings), Counter[str]()).items())),
        broken=frozenset(names[at] for at in order if sources[kept[at]].identity in broken) if broken else frozenset(),
        _shards=[reading.dataset for reading in readings],
        _firsts=(counts.cumsum() - counts)[rows],
    )


def _named(image: Image, name: str) -> Image:
    return image if image.file_name == name else replace(image, file_name=name)


def _without_doubles(
    images: Sequence[Image], sources: Sequence[ImageSource]
) -> tuple[Sequence[int], Iterator[Finding]]:
    """Return the images that only one annotation file names, and the findings on all others."""
    if len({source.identity for source in sources}) == len(sources):
        return range(len(sources)), iter(())
    by_identity: dict[str, list[int]] = {}
    for at, source in enumerate(sources):
        by_identity.setdefault(source.identity, []).append(at)
    doubles = [group for group in by_identity.values() if len(group) > 1]
    kept = [group[0] for group in by_identity.values() if len(group) == 1]
    return kept, (_double(images[at], sources, at, group) for group in doubles for at in group)


def _double(image: Image, sources: Sequence[ImageSource], at: int, group: Sequence[int]) -> Finding:
    this = sources[at]
    others = " and ".join(sources[other].file for other in group if other != at)
    message = must_be("the file", f"the only annotation of {image.path or this.identity}", others)
    message += f" too; none of them is read ({this.shapes} shapes here)"
    hint, cause = "move all but one of them out of the source", "an image must have one annotation file"
    return CauseFinding("E313", this.file, "", message, hint, cause=cause)
