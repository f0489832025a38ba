"""Sigmas from images labeled twice: the work behind ``posetools sigmas``.

The formula is COCO's (https://cocodataset.org/#keypoints-eval): of images labeled twice, for each keypoint i,

    sigma_i^2 = E[d_i^2 / s^2]

where d_i is the distance between the two labels of one point, in pixels, and s^2 the object's area, in square pixels;
OKS is the mean of exp(-d_i^2 / (2 s^2 k_i^2)) with k_i = 2 sigma_i. Decisions:

- d is the distance in the plane, d^2 = dx^2 + dy^2: both axes are summed, as in OKS.
- It is the deviation of the *difference* of two labels, not divided by sqrt(2): OKS compares a prediction with one
  label, as this compares one label with another. One person's own error is smaller by sqrt(2) if both are equally
  careful.
- A constant difference (one person always labels the tire lower) is included, as in COCO's formula. It is shown as
  the offset, because a common labeling rule would remove it.
- The area of an object is the mean of its two areas, so that A and B are interchangeable.
- A point counts if it is labeled in both, occluded or visible. A point with another name in B (left for right) is a
  mistake, not spread: it is left out and counted.
- The interval is the 95 % percentile interval of a bootstrap over objects (1000 resamples, fixed seed).
- Each skeleton is measured on the objects of its categories; categories that share a skeleton are measured together.
- At least 20 objects with the point in both; COCO had 5,000 images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from posetools.core.categories import Categories, read_categories
from posetools.core.geometry import Floats
from posetools.core.skeleton import Skeleton
from posetools.datasets.matching import DEFAULT_IOU, LabelingMatch, match, relabelled
from posetools.errors import InputError, RequestError
from posetools.files.disk import read_text, write_text
from posetools.progress import Progress, silent

FEWEST_POINTS = 20
RESAMPLES = 1000
# Largest distance to a point of another name that counts as a mistake, as a share of the diagonal; above the spread.
_MISTAKE = 0.08
_SEED = 0
_INTERVAL = (2.5, 97.5)
_SIGMA_DIGITS = 4
# Random numbers drawn at a time; large resamples are drawn in blocks.
_DRAW_BLOCK = 2_000_000


@dataclass(frozen=True, slots=True)
class Sigma:
    """The measured sigma of one keypoint; sigma, interval and offset are None with fewer than 20 objects.

    Attributes:
        objects: number of objects with the point in both.
        sigma: in units of sqrt(area).
        low: the lower end of its 95 % interval.
        high: the upper end.
        offset: the length of the mean difference, in the same units.
        relabelled: number of points left out because they were relabeled.
        current: the sigma in the skeleton.
    """

    objects: int
    sigma: float | None
    low: float | None
    high: float | None
    offset: float | None
    relabelled: int
    current: float


@dataclass(frozen=True, slots=True)
class SigmasResult:
    """The measured sigmas.

    Attributes:
        a: the first labeling.
        b: the second.
        categories: the categories of both.
        images: number of images in both.
        objects: number of matched objects.
        unmatched: number of unmatched objects of A, and of B, in those images.
        skeletons: for each different skeleton, by name: keypoint -> its sigma.
    """

    a: Path
    b: Path
    categories: Categories
    images: int
    objects: int
    unmatched: tuple[int, int]
    skeletons: Mapping[str, Mapping[str, Sigma]]

    @property
    def points(self) -> Mapping[str, Sigma]:
        """Keypoint -> its sigma; ``SKELETON.KEYPOINT`` if there are several skeletons."""
        several = len(self.skeletons) > 1
        return {
            f"{skeleton}.{name}" if several else name: sigma
            for skeleton, own in self.skeletons.items()
            for name, sigma in own.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "a": self.a.as_posix(),
            "b": self.b.as_posix(),
            "skeleton": self.categories.name,
            "formula": "sigma^2 = mean((dx^2 + dy^2) / area)",
            "interval": "95 %, bootstrap over objects",
            "pictures": self.images,
            "objects": self.objects,
            "unmatched": {"a": self.unmatched[0], "b": self.unmatched[1]},
            "keypoints": {name: asdict(each) for name, each in self.points.items()},
        }


def sigmas(
    a: Path,
    b: Path,
    *,
    skeleton: str | Path | None = None,
    iou: float = DEFAULT_IOU,
    progress: Progress = silent,
) -> SigmasResult:
    """Measure how far apart two people label each keypoint.

    Args:
        a: the first labeling: a data set folder, a COCO file, or a source that convert reads.
        b: the second, of the same images.
        skeleton: a built-in name or a file; None for the skeleton of A or B if known, else the default.
        iou: least IoU of the boxes of the same object.
        progress: receives progress.

    Raises:
        RequestError: one does not exist, they have nothing in common, or no keypoint has enough objects.
        InputError: something in one of them cannot be read.
    """
    matched = match(a, b, skeleton=skeleton, iou=iou, progress=progress)
    found = {name: measure(part) for name, part in matched.parts().items()}
    most = max((each.objects for points in found.values() for each in points.values()), default=0)
    if most < FEWEST_POINTS:
        raise RequestError(
            f"sigmas need at least {FEWEST_POINTS} objects with a keypoint in both labelings, got at most {most} "
            f"({len(matched.rows)} objects are matched in {len(matched.images)} images)",
            hint="label more images twice, without seeing the other person's labels",
        )
    return SigmasResult(
        a=a,
        b=b,
        categories=matched.a.categories,
        images=len(matched.images),
        objects=len(matched.rows),
        unmatched=(len(matched.only_a), len(matched.only_b)),
        skeletons=found,
    )


def measure(matched: LabelingMatch) -> dict[str, Sigma]:
    """Return the sigma of every keypoint, from matched objects of one skeleton."""
    in_a, in_b = matched.points
    areas = (matched.a.areas[matched.rows[:, 0]] + matched.b.areas[matched.rows[:, 1]]) / 2
    target = relabelled(matched, 0.0, _MISTAKE)
    mistaken = target >= 0
    objects, names = np.nonzero(mistaken)
    mistaken[objects, target[objects, names]] = True
    skeleton = matched.a.categories.skeletons[0]
    usable = (in_a[:, :, 2] > 0) & (in_b[:, :, 2] > 0) & ~mistaken & (areas > 0)[:, None]
    # Objects with an area of 0 are excluded; the 1 avoids a division warning.
    scaled = (in_b[:, :, :2] - in_a[:, :, :2]) / np.sqrt(np.where(areas > 0, areas, 1.0))[:, None, None]
    return {
        name: _sigma(scaled[usable[:, k], k], int(mistaken[:, k].sum()), skeleton.sigmas[k])
        for k, name in enumerate(skeleton.names)
    }


def _sigma(differences: Floats, left_out: int, current: float) -> Sigma:
    """Return the sigma of (n, 2) differences in units of sqrt(area)."""
    n = len(differences)
    if n < FEWEST_POINTS:
        return Sigma(n, None, None, None, None, left_out, current)
    squares = (differences**2).sum(axis=1)
    low, high = _bootstrap(squares)
    offset = float(np.hypot(*differences.mean(axis=0)))
    return Sigma(n, float(np.sqrt(squares.mean())), low, high, offset, left_out, current)


def _bootstrap(squares: Floats) -> tuple[float, float]:
    """Return the interval of sqrt(mean) of (n,) squares."""
    lot = np.random.default_rng(_SEED)
    n = len(squares)
    at_once = max(1, _DRAW_BLOCK // n)
    means = np.concatenate(
        [
            squares[lot.integers(0, n, (min(at_once, RESAMPLES - start), n))].mean(axis=1)
            for start in range(0, RESAMPLES, at_once)
        ]
    )
    low, high = np.percentile(np.sqrt(means), _INTERVAL)
    return float(low), float(high)


def update_skeleton(path: Path, result: SigmasResult) -> tuple[str, ...]:
    """Write the measured sigmas into a skeleton file; return the keypoints that keep theirs for lack of a measurement.

    Only the values of ``sigmas`` change: the rest of the file, including comments, is unchanged.

    Args:
        path: a file with a measured skeleton, or several; skeletons with other keypoints keep their sigmas.
        result: the measured sigmas.

    Raises:
        RequestError: a sigma is 0, which no skeleton may have.
        InputError: the file is not a skeleton, or has none with the measured keypoints.
        OutputError: it cannot be written; it is unchanged.
    """
    text = read_text(path)
    entries = _entries(read_categories(path), yaml.safe_load(text))
    several = len(entries) > 1 or len(result.skeletons) > 1
    changes: dict[int, list[float]] = {}
    kept: list[str] = []
    for place, skeleton in enumerate(entries):
        points = _measured(skeleton, result)
        if points is None:
            kept += [f"{skeleton.name}.{name}" for name in skeleton.names]
            continue
        zero = [name for name, each in points.items() if each.sigma == 0]
        if zero:
            raise RequestError(
                f"sigmas must be greater than 0, but the two labelings are identical in {', '.join(zero)}",
                hint="check that B is not a copy of A: each person must label without seeing the other's labels",
            )
        measured = [points[name].sigma for name in skeleton.names]
        both = zip(skeleton.sigmas, measured, strict=True)
        changes[place] = [old if value is None else float(f"{value:.{_SIGMA_DIGITS}g}") for old, value in both]
        about = f"{skeleton.name}." if several else ""
        kept += [f"{about}{name}" for name, value in zip(skeleton.names, measured, strict=True) if value is None]
    if not changes:
        found = {name for skeleton in entries for name in skeleton.names}
        different = ", ".join(sorted(found ^ {name for each in result.skeletons.values() for name in each}))
        raise InputError(path, "keypoints", f"must be the measured ones, but these differ: {different}")
    write_text(path, _with_sigmas(path, text, changes))
    return tuple(kept)


def _entries(categories: Categories, document: dict[str, Any]) -> list[Skeleton]:
    """Return the skeleton of each entry of a skeleton file, which may be of several categories."""
    names = []
    for entry in document.get("skeletons", [document]):
        category = entry.get("categories", [entry.get("category", entry["name"])])[0]
        names.append(category if isinstance(category, str) else category["name"])
    return [categories[categories.ids[name]] for name in names]


def _measured(skeleton: Skeleton, result: SigmasResult) -> Mapping[str, Sigma] | None:
    """Return the measurements of the skeleton with these keypoints: that of the same category, or the only one."""
    fitting = {name: each for name, each in result.skeletons.items() if set(each) == set(skeleton.names)}
    own = [each for name, each in fitting.items() if skeleton.category.name in result.categories.posed[name].ids]
    return own[0] if own else next(iter(fitting.values())) if len(fitting) == 1 else None


def _with_sigmas(path: Path, text: str, changes: Mapping[int, Sequence[float]]) -> str:
    """Return the text with other sigmas; ``changes`` has the places of the skeletons among the file's entries."""
    changed = text
    # From the end, so that the places before stay.
    for place in sorted(changes, reverse=True):
        for key, value in _nodes(text)[place].value:
            if key.value == "sigmas" and isinstance(value, yaml.SequenceNode):
                # A block list ends with its last number: what follows may be comments on the next field.
                end = value.end_mark if value.flow_style else value.value[-1].end_mark
                listed = ", ".join(map(repr, changes[place]))
                changed = f"{changed[: key.end_mark.index]}: [{listed}]{changed[end.index :]}"
    if _is_with_sigmas(changed, text, changes):
        return changed
    problem = "must be a plain list of numbers to be replaced, but is not"
    raise InputError(path, "sigmas", problem, hint="copy the numbers from --json into the file by hand")


def _nodes(text: str) -> list[yaml.MappingNode]:
    """Return the YAML nodes of the skeletons of a file."""
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    listed = [value for key, value in root.value if key.value == "skeletons"]
    return list(listed[0].value) if listed else [root]


def _is_with_sigmas(changed: str, text: str, changes: Mapping[int, Sequence[float]]) -> bool:
    """Return whether the changed text differs from the old one in the sigmas only (anchors can prevent it)."""
    try:
        before, after = yaml.safe_load(text), yaml.safe_load(changed)
    except yaml.YAMLError:
        return False
    entries = before.get("skeletons", [before])
    for place, values in changes.items():
        entries[place]["sigmas"] = list(values)
    return bool(after == before)
