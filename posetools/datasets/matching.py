"""Match two labelings of the same images: shared by ``diff`` and ``sigmas``.

A labeling is a data set folder, a COCO file, or anything that ``convert`` auto-detects. Images of data sets and COCO
files are not opened for their labels.

- Images are matched by file name; the rest by content, if the files exist and the content is unique on each side.
- Objects of a matched image are matched by the IoU of their boxes: from the highest down, each pair of objects that
  are both free, if it reaches the threshold. A crowd is matched with a crowd only. Objects of one category are matched
  first, then the rest with objects of other categories: those changed their category.
- Categories are matched by name, and need the same keypoints in both labelings.
- Keypoints are matched by name. A point of A is *relabeled* if the nearest point of B has another name and is within a
  small share of the box's diagonal (at least the threshold), and if both names' own points, where labeled on both
  sides, are further apart than that and three times as far. This covers swapped and renamed points, but not the spread
  of points that are close together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posetools.core.categories import Categories, load_categories
from posetools.core.dataset import Dataset, concatenate
from posetools.core.folder import CONVERSION, categories_of, is_data_set
from posetools.core.geometry import Bools, Floats, Ints, pairwise_iou
from posetools.core.matching import first_come
from posetools.datasets.derived import check_source, options_of_convert, read_set, refuse_errors
from posetools.datasets.joined import joined_categories
from posetools.datasets.own_skeleton import own_skeleton
from posetools.errors import RequestError, must_be, quoted
from posetools.formats import told_format
from posetools.formats.coco import format as coco
from posetools.formats.coco.sources import image_folders
from posetools.formats.options import ReadOptions
from posetools.imaging.header import content_hash
from posetools.progress import Progress, silent

DEFAULT_IOU = 0.5
NEAR_SHARE = 0.03
_CLEARLY = 3.0
_OBJECT_BLOCK = 4096


@dataclass(frozen=True, eq=False, slots=True)
class LabelingMatch:
    """The matches of two labelings, A and B, of the same categories.

    Attributes:
        a: the first.
        b: the second.
        images: (P, 2) indices into ``a.images`` and ``b.images``.
        rows: (M, 2) rows of matched objects in A and B.
        only_a: unmatched rows of A in matched images.
        only_b: unmatched rows of B in matched images.
    """

    a: Dataset
    b: Dataset
    images: Ints
    rows: Ints
    only_a: Ints
    only_b: Ints

    @property
    def points(self) -> tuple[Floats, Floats]:
        """The (M, K, 3) keypoints of the matched objects in A, and in B.

        They are 0 in objects whose category changed to one with other keypoints: there is nothing to compare.
        """
        in_a, in_b = self.a.keypoints[self.rows[:, 0]], self.b.keypoints[self.rows[:, 1]]
        names = {number: set(skeleton.names) for number, skeleton in self.a.categories.items()}
        categories = np.stack(self.category_ids, axis=1).tolist()
        other = np.array([one != two and names[one] != names[two] for one, two in categories], dtype=np.bool_)
        in_a[other] = in_b[other] = 0.0
        return in_a, in_b

    @property
    def category_ids(self) -> tuple[Ints, Ints]:
        """The (M,) categories of the matched objects in A, and in B."""
        return self.a.category_ids[self.rows[:, 0]], self.b.category_ids[self.rows[:, 1]]

    def parts(self) -> Mapping[str, LabelingMatch]:
        """Return for each different skeleton with keypoints, by name, the matches of objects that have it in both."""
        return {name: self._of(group) for name, group in self.a.categories.posed.items()}

    def _of(self, group: Categories) -> LabelingMatch:
        if group == self.a.categories:
            return self
        sides, rows, alone = (self.a, self.b), self.rows, (self.only_a, self.only_b)
        ours = [np.isin(each.category_ids, list(group)) for each in sides]
        # The rows of the group's Datasets.
        new = [each.cumsum() - 1 for each in ours]
        kept = rows[ours[0][rows[:, 0]] & ours[1][rows[:, 1]]]
        own = np.stack([each[kept[:, side]] for side, each in enumerate(new)], axis=1)
        only_a, only_b = (each[left[mine[left]]] for each, left, mine in zip(new, alone, ours, strict=True))
        a, b = (each.of_categories(group) for each in sides)
        return LabelingMatch(a, b, self.images, own, only_a, only_b)

    @property
    def diagonals(self) -> Floats:
        """(M,) diagonals of the boxes, in pixels: the mean of those in A and B, at least 1."""
        sides = [box[:, 2:] - box[:, :2] for box in (self.a.boxes[self.rows[:, 0]], self.b.boxes[self.rows[:, 1]])]
        diagonals: Floats = np.maximum((np.hypot(*sides[0].T) + np.hypot(*sides[1].T)) / 2, 1.0)
        return diagonals


def match(
    a: Path,
    b: Path,
    *,
    skeleton: str | Path | None = None,
    iou: float = DEFAULT_IOU,
    progress: Progress = silent,
) -> LabelingMatch:
    """Read two labelings with the same categories, and match their images and objects.

    Args:
        a: a data set folder, a COCO file, or a source that convert reads.
        b: the same for B.
        skeleton: a built-in name or a file; None for the categories of A and B if known, else those of their labels.
        iou: least IoU of the boxes of the same object, above 0.
        progress: receives progress.

    Raises:
        RequestError: one does not exist, its format is unknown, their keypoints differ, ``iou`` is out of range, or no
            image is in both.
        InputError: something in one of them cannot be read.
    """
    for path in (a, b):
        check_source(path)
    known = load_categories(skeleton) if skeleton is not None else _common_categories(a, b)
    option = "" if skeleton is None else f" --skeleton {quoted(skeleton)}"
    one, other = (_read(path, known, progress, option) for path in (a, b))
    return match_datasets(one, other, iou=iou, progress=progress)


def _common_categories(a: Path, b: Path) -> Categories:
    own = {path: categories for path in (a, b) if (categories := _own_categories(path)) is not None}
    if not own:
        with options_of_convert(a):
            return own_skeleton([a, b]).categories
    if len(own) == 2:
        of_a, of_b = ({name: own[path][number].names for name, number in own[path].ids.items()} for path in (a, b))
        # Without a common category, the names of all keypoints say whether both show the same objects.
        both = {name: (of_a[name], of_b[name]) for name in of_a if name in of_b} or {"": (own[a].names, own[b].names)}
        for name, (one, other) in both.items():
            if different := sorted(set(one) ^ set(other)):
                what = f"keypoints of {name!r}" if name and len(of_a) > 1 else "keypoints"
                raise RequestError(
                    f"{b}: {what} must be those of {a}, but these are in one only: {', '.join(different)}",
                    hint="convert both to one skeleton with `posetools convert`",
                )
    categories, _ = joined_categories(skeleton for each in own.values() for skeleton in each.skeletons)
    return categories


def _own_categories(path: Path) -> Categories | None:
    folder = path if path.is_dir() else path.parent
    return categories_of(folder) if (folder / CONVERSION).is_file() or is_data_set(folder) else None


def _read(path: Path, categories: Categories, progress: Progress, option: str) -> Dataset:
    if is_data_set(path):
        read = read_set(path, categories)
        advice = (
            f"`posetools validate {quoted(path)}{option}` lists all errors; `posetools convert` has options for them"
        )
        refuse_errors(read.findings, path, advice)
        return concatenate(list(read.splits.values()))
    told = told_format([path], "a data set folder, or in a format that can be auto-detected")
    with options_of_convert(path, option) as advice:
        if told is coco.FORMAT and path.is_file():
            folders = image_folders(path)
            result = coco.read_split(path, next((each for each in folders if each.is_dir()), folders[0]), categories)
        else:
            result = told.read([path], categories, ReadOptions(progress=progress))
    refuse_errors(result.findings, path, advice)
    return result.dataset


def match_datasets(a: Dataset, b: Dataset, *, iou: float = DEFAULT_IOU, progress: Progress = silent) -> LabelingMatch:
    """Match the images and the objects of two Datasets of the same categories, as ``match`` does."""
    if not 0 < iou <= 1:
        raise RequestError(must_be("--match-iou", "greater than 0 and at most 1", iou))
    images = match_images(a, b)
    if not len(images):
        raise RequestError(
            f"the two labelings must have images in common, got none among {len(a.images)} and {len(b.images)}",
            "images match by name, folders included, or by the content of their files",
        )
    rows, only_a, only_b = [], [], []
    of_a, of_b = a.rows_of_images(), b.rows_of_images()
    for done, (i, j) in enumerate(images.tolist(), start=1):
        in_a, in_b = list(of_a[i]), list(of_b[j])
        # A crowd only matches a crowd.
        allowed = a.iscrowd[in_a, None] == b.iscrowd[None, in_b]
        same = a.category_ids[in_a, None] == b.category_ids[None, in_b]
        pairs = match_boxes(a.boxes[in_a], b.boxes[in_b], iou, allowed & same)
        for x, y in pairs:
            allowed[x, :] = allowed[:, y] = False
        pairs = sorted(pairs + match_boxes(a.boxes[in_a], b.boxes[in_b], iou, allowed & ~same))
        rows += [(in_a[x], in_b[y]) for x, y in pairs]
        only_a += sorted(set(in_a) - {in_a[x] for x, _ in pairs})
        only_b += sorted(set(in_b) - {in_b[y] for _, y in pairs})
        progress("matching objects", done, len(images))
    matched = np.array(rows, dtype=np.int64).reshape(-1, 2)
    return LabelingMatch(a, b, images, matched, np.array(only_a, dtype=np.int64), np.array(only_b, dtype=np.int64))


def match_images(a: Dataset, b: Dataset) -> Ints:
    """Return the (P, 2) indices of the images in both, matched by name, or else by content."""
    in_b = {image.file_name: index for index, image in enumerate(b.images)}
    pairs = [(i, in_b[image.file_name]) for i, image in enumerate(a.images) if image.file_name in in_b]
    hashes_a = _unique_contents(a, set(range(len(a.images))) - {i for i, _ in pairs})
    if hashes_a:
        hashes_b = _unique_contents(b, set(range(len(b.images))) - {j for _, j in pairs})
        pairs += [(i, hashes_b[digest]) for digest, i in hashes_a.items() if digest in hashes_b]
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def _unique_contents(dataset: Dataset, indices: set[int]) -> dict[str, int]:
    paths = {index: dataset.images[index].path for index in sorted(indices)}
    found = [(content_hash(path), index) for index, path in paths.items() if path is not None and path.is_file()]
    times = Counter(digest for digest, _ in found)
    return {digest: index for digest, index in found if times[digest] == 1}


def match_boxes(a: Floats, b: Floats, threshold: float, allowed: Bools) -> list[tuple[int, int]]:
    """Return the pairs (row of A, row of B) of (n, 4) and (m, 4) boxes, greedily from the highest IoU down.

    Args:
        a: x1, y1, x2, y2 in pixels.
        b: the same for B.
        threshold: the least IoU.
        allowed: (n, m) which pairs may be matched.
    """
    iou = np.where(allowed, pairwise_iou(a, b), 0.0)
    rows, columns = np.nonzero(iou >= threshold)
    order = np.argsort(-iou[rows, columns], kind="stable")
    return sorted((row, column) for row, column in first_come(np.stack([rows, columns], axis=1)[order]).tolist())


def relabelled(matched: LabelingMatch, threshold: float, near: float = NEAR_SHARE) -> Ints:
    """Return (M, K): for each keypoint of A the keypoint of B that it was relabeled to, or -1.

    Args:
        matched: the two labelings.
        threshold: pixels that an unmoved point may differ by.
        near: the same as a share of the box's diagonal; the larger of the two counts.
    """
    in_a, in_b = matched.points
    reach = np.maximum(threshold, near * matched.diagonals)[:, None]
    target = np.full(in_a.shape[:2], -1, dtype=np.int64)
    # In blocks: the distances of all pairs of points are M x K x K numbers.
    for start in range(0, len(in_a), _OBJECT_BLOCK):
        block = slice(start, start + _OBJECT_BLOCK)
        target[block] = _relabeled(in_a[block], in_b[block], reach[block])
    return target


def _relabeled(in_a: Floats, in_b: Floats, reach: Floats) -> Ints:
    k = in_a.shape[1]
    labeled_a, labeled_b = in_a[:, :, 2] > 0, in_b[:, :, 2] > 0
    moved = in_a[:, :, :2] - in_b[:, :, :2]
    own = np.where(labeled_a & labeled_b, np.hypot(moved[..., 0], moved[..., 1]), np.inf)
    gone = own > reach
    offsets = in_a[:, :, None, :2] - in_b[:, None, :, :2]
    # (M, K of A, K of B): pairs of different names that both moved.
    possible = (labeled_a & gone)[:, :, None] & (labeled_b & gone)[:, None, :] & ~np.eye(k, dtype=np.bool_)
    distance = np.where(possible, np.hypot(offsets[..., 0], offsets[..., 1]), np.inf)
    clear = _CLEARLY * distance <= np.minimum(own[:, :, None], own[:, None, :])
    distance = np.where(clear, distance, np.inf)
    nearest, back = distance.argmin(axis=2), distance.argmin(axis=1)
    # A point of B matches only one point of A: they must be mutual nearest neighbors.
    mutual = np.take_along_axis(back, nearest, axis=1) == np.arange(k)
    target: Ints = np.where((distance.min(axis=2) <= reach) & mutual, nearest, -1)
    return target
