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
- At least 20 objects with the point in both; COCO had 5,000 images.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from posetools.core.geometry import Floats
from posetools.core.skeleton import Skeleton, read_skeleton
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
        skeleton: the skeleton of both.
        images: number of images in both.
        objects: number of matched objects.
        unmatched: number of unmatched objects of A, and of B, in those images.
        points: keypoint -> its sigma.
    """

    a: Path
    b: Path
    skeleton: Skeleton
    images: int
    objects: int
    unmatched: tuple[int, int]
    points: dict[str, Sigma]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "a": self.a.as_posix(),
            "b": self.b.as_posix(),
            "skeleton": self.skeleton.name,
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
    points = measure(matched)
    most = max((each.objects for each in points.values()), default=0)
    if most < FEWEST_POINTS:
        raise RequestError(
            f"sigmas need at least {FEWEST_POINTS} objects with a keypoint in both labelings, got at most {most} "
            f"({len(matched.rows)} objects are matched in {len(matched.images)} images)",
            hint="label more images twice, without seeing the other person's labels",
        )
    return SigmasResult(
        a=a,
        b=b,
        skeleton=matched.a.skeleton,
        images=len(matched.images),
        objects=len(matched.rows),
        unmatched=(len(matched.only_a), len(matched.only_b)),
        points=points,
    )


def measure(matched: LabelingMatch) -> dict[str, Sigma]:
    """Return the sigma of every keypoint, from matched objects."""
    in_a, in_b = matched.points
    areas = (matched.a.areas[matched.rows[:, 0]] + matched.b.areas[matched.rows[:, 1]]) / 2
    target = relabelled(matched, 0.0, _MISTAKE)
    mistaken = target >= 0
    objects, names = np.nonzero(mistaken)
    mistaken[objects, target[objects, names]] = True
    skeleton = matched.a.skeleton
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

    Only the value of ``sigmas`` changes: the rest of the file, including comments, is unchanged.

    Args:
        path: a skeleton file with the measured keypoints.
        result: the measured sigmas.

    Raises:
        RequestError: a sigma is 0, which no skeleton may have.
        InputError: the file is not a skeleton, or has other keypoints.
        OutputError: it cannot be written; it is unchanged.
    """
    before = read_skeleton(path)
    if set(before.names) != set(result.points):
        different = ", ".join(sorted(set(before.names) ^ set(result.points)))
        raise InputError(path, "keypoints", f"must be the measured ones, but these differ: {different}")
    zero = [name for name, each in result.points.items() if each.sigma == 0]
    if zero:
        raise RequestError(
            f"sigmas must be greater than 0, but the two labelings are identical in {', '.join(zero)}",
            hint="check that B is not a copy of A: each person must label without seeing the other's labels",
        )
    measured = [result.points[name].sigma for name in before.names]
    both = zip(before.sigmas, measured, strict=True)
    new = [old if value is None else float(f"{value:.{_SIGMA_DIGITS}g}") for old, value in both]
    write_text(path, _with_sigmas(path, read_text(path), new))
    return tuple(name for name, value in zip(before.names, measured, strict=True) if value is None)


def _with_sigmas(path: Path, text: str, values: list[float]) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    for key, value in pairs:
        if key.value == "sigmas" and isinstance(value, yaml.SequenceNode):
            # A block list ends with its last number: what follows may be comments on the next field.
            end = value.end_mark if value.flow_style else value.value[-1].end_mark
            listed = ", ".join(map(repr, values))
            changed = f"{text[: key.end_mark.index]}: [{listed}]{text[end.index :]}"
            if _is_with_sigmas(changed, text, values):
                return changed
    problem = "must be a plain list of numbers to be replaced, but is not"
    raise InputError(path, "sigmas", problem, hint="copy the numbers from --json into the file by hand")


def _is_with_sigmas(changed: str, text: str, values: list[float]) -> bool:
    """Return whether the changed text differs from the old one in the sigmas only (anchors can prevent it)."""
    try:
        return bool(yaml.safe_load(changed) == {**yaml.safe_load(text), "sigmas": values})
    except yaml.YAMLError:
        return False
