"""COCO keypoints.

A COCO file is one JSON object with the lists ``images``, ``annotations`` and ``categories``; posetools/formats/
model.py has its models, schemas/coco_keypoints.schema.json the JSON Schema made from them.

Reading
- A source is a folder with ``*_coco.json`` (``train_coco.json`` and ``val_coco.json`` and ``images/``, as posetools
  writes them), or else with ``annotations/*.json``, or else with ``*.json``, or else with ``train/*.json``,
  ``valid/*.json`` and ``test/*.json``, as Roboflow exports; or one or several COCO files.
- ``file_name`` is seen from ``images/`` beside the file, then from the file's folder; of a file in ``annotations/``
  also from ``images/`` and the folder above it, and from those of the split's name in both (``train2017/``).
  Backslashes count as slashes. A name that leaves the source folder is a finding (E125), unless --image-root has the
  image.
- An image's split is the one word train, val or test in the file's name (``train_coco``, ``instances_train2017``),
  else its folder's (``valid``).
- Of a COCO release, ``instances_X.json`` is left out where ``person_keypoints_X.json`` is beside it (W323): it has the
  same objects.
- A value of another type that has one meaning (``iscrowd: false``, ids as text, a width that the image's header gives)
  is taken for it, one warning (W324) for each kind. --kpt-order names the keypoints of a category that has no names for
  them, or another number. --assume-visible takes keypoints that are x, y alone, or have a score or a depth for a
  visibility (most of a category's points), as visible, and (0, 0) and negative numbers as not labeled.
- Keypoints that are objects of a category each (E127) are joined by --keypoints-from categories, where each is in
  exactly one box of the object's category.
- --drop-crowds leaves groups (``iscrowd`` 1) out, and counts them.
- Objects of the skeleton's category are read; --map gives other names to it, --ignore leaves a category out and counts
  its objects; any other object is a finding (E301).
- Keypoints go by the names in the category, onto the skeleton's (--map, --ignore). Points that the file does not have
  are not labeled. An object without keypoints has none labeled.
- ``area`` is kept. Where it is missing or at most 1 it becomes the box's; wrong num_keypoints and a missing iscrowd
  are put right; each is a warning (W324). Ids, also those of categories, are given anew when written.
- Segmentations and unknown keys are not carried over, which is said once per file with counts (W323).
- What breaks the models is a finding with its place, and the rest of the file is read. The finding of an image or a
  category has its objects, which are not listed again. Two images of one id are both left out under --keep-going. A
  image that is listed twice, in one file or in two, is left out with a finding for each entry (E313).

Writing
- ``images/`` and ``{split}_coco.json``. The ids of images, sorted by name, and of objects start at 1 and run on from
  split to split. ``bbox`` is [x, y, width, height] to 1e-9 px, from which reading gets the very same corners;
  ``keypoints`` are 3K numbers; ``segmentation`` is empty; ``area``, ``iscrowd`` and ``num_keypoints`` are always there.
- One category: the skeleton's, with its id, its keypoints, and its links as 1-based pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from posetools.core.findings import Finding
from posetools.core.skeleton import Skeleton
from posetools.formats.coco.read import read_file, shards_of
from posetools.formats.coco.sources import ImageLookup, TrustedImages, detect, files_of, root_of, without_twins
from posetools.formats.coco.write import write, write_split
from posetools.formats.entry import Format
from posetools.formats.labels import settled
from posetools.formats.options import ReadOptions
from posetools.formats.result import ReadResult, join
from posetools.formats.shards import ShardReading, shard_of

__all__ = ["FORMAT", "detect", "read_split", "shards", "write", "write_split"]


def shards(sources: Sequence[Path], skeleton: Skeleton, options: ReadOptions) -> Iterator[ShardReading]:
    """Yield what the COCO files in these folders (or these files) hold.

    Raises:
        RequestError: a source is not there or has no COCO file, or an option can mean nothing.
    """
    options = settled(skeleton, options)
    roots: dict[Path, tuple[Path, Path]] = {}
    beside: list[Finding] = []
    for source in sources:
        files, skipped = without_twins(files_of(source))
        beside += skipped
        for path in files:
            roots.setdefault(path.resolve(), (path, source if source.is_dir() else root_of(path)))
    readings = [read_file(path, skeleton, options, _lookup(path, root, options)) for path, root in roots.values()]
    yield from shards_of(readings, skeleton)
    yield shard_of([], skeleton, beside, files=0)


def _lookup(path: Path, root: Path, options: ReadOptions) -> ImageLookup:
    return ImageLookup(path, root, options.image_roots, trust=options.trust_sizes, needed=options.need_images)


def read_split(path: Path, images_folder: Path, skeleton: Skeleton, options: ReadOptions | None = None) -> ReadResult:
    """Return one COCO file of a data set that posetools made; its images are not opened.

    Args:
        path: the file.
        images_folder: the folder that the file names are seen from; links in it may lead anywhere.
        skeleton: what the keypoints are.
        options: other names, and what to ignore; None for neither.
    """
    lookup = TrustedImages(path, images_folder)
    return join(shards_of([read_file(path, skeleton, options or ReadOptions(), lookup)], skeleton), skeleton)


FORMAT = Format(
    name="coco",
    title="COCO keypoints",
    detect=detect,
    signs="a .json file with the lists images, annotations and categories; in a folder: *_coco.json, "
    "annotations/*.json, *.json, or train/*.json and valid/*.json",
    shards=shards,
    write=write,
    reads_urls=True,
)
