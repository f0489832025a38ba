"""COCO keypoints.

A COCO file is one JSON object with the lists ``images``, ``annotations`` and ``categories``; posetools/formats/
model.py has its models, schemas/coco_keypoints.schema.json the JSON Schema made from them.

Reading
- A source is one or several COCO files, or a folder. In a folder the first match counts: ``*_coco.json`` (as posetools
  writes, with ``images/``), ``annotations/*.json``, ``*.json``, or ``train/*.json``,
  ``valid/*.json`` and ``test/*.json`` as Roboflow exports.
- ``file_name`` is relative to ``images/`` next to the file, else to the file's folder; for a file in ``annotations/``
  also to ``images/`` and the folder above it, and to the folders named after the split in both (``train2017/``).
  Backslashes count as slashes. A name that leaves the source folder is a finding (E125), unless --image-root has the
  image.
- An image's split is the one word train, val or test in the file's name (``train_coco``, ``instances_train2017``),
  else in its folder's name (``valid``).
- In a COCO release, ``instances_X.json`` is left out if ``person_keypoints_X.json`` is next to it (W323): it has the
  same objects.
- A value of another type with one meaning (``iscrowd: false``, ids as text, a width that the image's header gives)
  is converted, with one warning (W324) for each kind. --kpt-order names the keypoints of a category with no names or
  the wrong number of names. --assume-visible reads keypoints with x, y only, or with a score or a depth as
  visibility (in most of a category's points), as visible, and (0, 0) and negative numbers as not labeled.
- Keypoints that are objects with their own categories (E127) are joined by --keypoints-from categories if each is in
  exactly one box of the object's category.
- --drop-crowds leaves out crowds (``iscrowd`` 1), and counts them.
- Objects of the data set's categories are read; --map maps other names to it, --ignore leaves out a category and counts
  its objects; any other object is a finding (E301).
- Keypoints are matched by name to the skeleton's (--map, --ignore). Points that the file does not have
  are not labeled, and neither are those of an object without keypoints.
- ``area`` is kept. If missing or at most 1, it becomes the box's area; wrong num_keypoints and a missing iscrowd
  are corrected; each is a warning (W324). Images, objects and categories get new ids when written.
- Segmentations and unknown keys are not carried over, which is reported once per file with counts (W323).
- An entry that is invalid is a finding with its place, and the rest of the file is read. The finding of an image or a
  category covers its objects. Two images with one id are both left out under --keep-going. An
  image that is listed twice, in one file or in two, is left out with a finding for each entry (E313).

Writing
- ``images/`` and ``{split}_coco.json``. The ids of images, sorted by name, and of objects start at 1 and continue from
  split to split. ``bbox`` is [x, y, width, height] to 1e-9 px, which reads back as the same corners;
  ``keypoints`` are 3K numbers; ``segmentation`` is empty; ``area``, ``iscrowd``, ``num_keypoints`` are always written.
- The categories, each with its id, its skeleton's keypoints, and its links as 1-based pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from posetools.core.categories import Categories
from posetools.core.findings import Finding
from posetools.core.skeleton import Skeleton
from posetools.formats.coco.declared import declared
from posetools.formats.coco.read import read_file, shards_of
from posetools.formats.coco.sources import ImageLookup, TrustedImages, detect, files_of, root_of, without_twins
from posetools.formats.coco.write import write, write_split
from posetools.formats.entry import Format
from posetools.formats.labels import settled
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult, join
from posetools.formats.shards import ShardReading, shard_of

__all__ = ["FORMAT", "detect", "read_split", "shards", "write", "write_split"]


def shards(sources: Sequence[Path], categories: Categories, options: ReadOptions) -> Iterator[ShardReading]:
    """Yield the content of COCO files, or of folders with COCO files.

    Raises:
        RequestError: a source does not exist or has no COCO file, or an option is invalid.
    """
    options = settled(categories, options)
    roots: dict[Path, tuple[Path, Path]] = {}
    beside: list[Finding] = []
    for source in sources:
        files, skipped = without_twins(files_of(source))
        beside += skipped
        for path in files:
            roots.setdefault(path.resolve(), (path, source if source.is_dir() else root_of(path)))
    readings = [read_file(path, categories, options, _lookup(path, root, options)) for path, root in roots.values()]
    yield from shards_of(readings)
    yield shard_of([], categories, beside, files=0)


def _lookup(path: Path, root: Path, options: ReadOptions) -> ImageLookup:
    return ImageLookup(path, root, options.image_roots, trust=options.trust_sizes, needed=options.need_images)


def read_split(
    path: Path, images_folder: Path, categories: Skeleton | Categories, options: ReadOptions | None = None
) -> ReadResult:
    """Return one COCO file of a posetools data set, without opening its images.

    Args:
        path: the file.
        images_folder: the folder that file names are relative to; symlinks in it may lead anywhere.
        categories: what to read; a skeleton stands for its only category.
        options: other names, and what to ignore; None for neither.
    """
    lookup, wanted = TrustedImages(path, images_folder), Categories.of(categories)
    return join(shards_of([read_file(path, wanted, options or ReadOptions(), lookup)]), wanted)


FORMAT = Format(
    name="coco",
    title="COCO keypoints",
    detect=detect,
    signs="a .json file with the lists images, annotations and categories; in a folder: *_coco.json, "
    "annotations/*.json, *.json, or train/*.json and valid/*.json",
    shards=shards,
    endings=(".json",),
    declared=declared,
    write=write,
    reads_urls=True,
)
