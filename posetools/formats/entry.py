"""A format's entry in FORMATS: how it is recognized, read and written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from posetools.core.categories import Categories
from posetools.core.dataset import Split
from posetools.core.skeleton import Skeleton
from posetools.files.disk import Transfer
from posetools.formats.declared import DeclaredCategory
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult, join
from posetools.formats.shards import ShardReading

# Kinds of content that a format may be unable to hold.
DatasetPart = Literal["splits", "boxes", "occluded", "areas", "names", "links", "pairs", "sigmas"]

# Returns the categories that sources declare, in their order; none when they declare none.
Declarer: TypeAlias = Callable[[Sequence[Path], ReadOptions], Sequence[DeclaredCategory]]
# Reads sources shard by shard.
Reader: TypeAlias = Callable[[Sequence[Path], Categories, ReadOptions], Iterable[ShardReading]]
# Writes the splits by name into an empty folder; raises InputError when the format cannot hold something.
Writer: TypeAlias = Callable[[Mapping[str, Split], Path, Transfer], None]


@dataclass(frozen=True, slots=True)
class Format:
    """One annotation format.

    Attributes:
        name: as on the command line.
        title: as in tables and messages.
        detect: whether a source path is definitely in this format (never by the number of columns).
        signs: what ``detect`` looks for, for the message when no format or several fit.
        shards: reads sources, shard by shard.
        endings: the extensions of annotation files that it reads in a folder; such a file that is a link out of the
            source is refused. None of them: any file but an image.
        declared: reads what sources say of their skeletons; None when the format says nothing of them.
        write: writes splits, or None when posetools only reads the format.
        lacks: what is lost when this format is written (``posetools.formats.losses``).
        detect_widely: like ``detect``, where that checks only the first few files of a folder, but with files from
                the whole folder.
        in_shards: whether other processes and machines may read its shards.
        reads_urls: whether sources may be URLs.
        sample: writes a small valid source into an empty folder, for tests; None if there is no such function.
    """

    name: str
    title: str
    detect: Callable[[Path], bool]
    signs: str
    shards: Reader
    endings: tuple[str, ...] = ()
    declared: Declarer | None = None
    write: Writer | None = None
    lacks: frozenset[DatasetPart] = frozenset()
    detect_widely: Callable[[Path], bool] | None = None
    in_shards: bool = False
    reads_urls: bool = False
    sample: Callable[[Path], None] | None = None

    @property
    def keeps_splits(self) -> bool:
        """Whether the written files say which image is for training and which for validation."""
        return "splits" not in self.lacks

    def read(self, sources: Sequence[Path], categories: Skeleton | Categories, options: ReadOptions) -> ReadResult:
        """Return what sources of this format hold.

        Args:
            sources: files or folders.
            categories: what to read; a skeleton stands for its only category.
            options: how to read it.

        Raises:
            RequestError: a source does not exist or holds no such file, or an option is invalid.
            InputError: a folder cannot be read, or contradicts itself.
        """
        wanted = Categories.of(categories)
        return join(self.shards(sources, wanted, options), wanted)
