"""Check whether labeled keypoints fit a rigid object, and which labeling mistake explains it if they do not.

Every object with five or more labeled points is fitted as labeled (``fit``). If the fit is poor, the object is fitted
again under each usual mistake: left and right swapped, front and rear swapped, all of them or one pair; a point and
its neighbor swapped; one point misplaced (left out of the fit). A mistake is reported if it explains the labels better
than no mistake does, by more than the mistake's rarity and a margin, and if no other kind explains them about as well.
An object that nothing explains is not reported: the template may not fit it.

A left-right swap and a front-rear swap differ only by half a turn of the object, and geometry cannot distinguish the
two ends of a car. Both are W215; they are distinguished only for a single pair, where the other points determine ends
and sides.

Labeling precision differs between data sets. It is estimated from the data (the median misfit), so that a coarsely
labeled data set is not reported as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from posetools.checks.rigid.fit import FITS_AT_ONCE, Fits, Views, fit
from posetools.checks.rigid.template import Body, Exchange, rigid
from posetools.checks.structure import SoundObjects
from posetools.core.findings import Finding
from posetools.core.geometry import Bools, Floats, Ints
from posetools.core.skeleton import Skeleton
from posetools.progress import Progress, silent

# Fewer points fit almost any object.
LEAST_POINTS = 5
# In boxes with a shorter diagonal, in pixels, one or two pixels of labeling error are too much.
LEAST_DIAGONAL = 20.0
# Labeling precision, in pixels and as a share of the box's diagonal; larger if the data suggests it.
SIGMA = 2.0
SIGMA_SHARE = 0.01
# Least distance of a misplaced point, as a share of the box's diagonal.
LEAST_SHIFT = 0.1

# Misfits are twice negative logarithms: one object in 40 has its names swapped, one in 500 two of them, and one in 60
# a point anywhere in its box. A mistake must win by the margin over no mistake and over the others.
_ALL_EXCHANGED = 2 * np.log(40)
_PAIR_EXCHANGED = 2 * np.log(500)
_MISPLACED = 2 * np.log(60)
_MISTAKE_MARGIN = 3.0
# If a mistake leaves less misfit than the first, less likely ones are not tried; if it leaves more than the second, it
# is no explanation.
_GOOD_FIT = 12.0
_POOR = 30.0
# The median misfit of cars labeled as precisely as assumed; fewest and most objects for the noise estimate.
_USUAL_MISFIT = 6.0
_JUDGED_OBJECTS = (10, 200)
_VIEW_CHUNK = 8192
_CODES = {"sides": "W215", "ends": "W216", "neighbours": "W219"}
TEMPLATE_CODES = frozenset({*_CODES.values(), "W217", "W218"})


@dataclass(frozen=True, eq=False, slots=True)
class Explanation:
    """A mistake that explains the labels of one object better than no mistake.

    Attributes:
        index: which of the objects.
        exchange: the swapped names; None if a point is misplaced.
        point: the misplaced point, or -1.
        place: (2,) where it should be, in pixels.
        shift: its distance from there, in pixels.
        labeled: RMS distance of the labeled points from a rigid object's, in pixels.
        explained: the same with the mistake undone.
        turned_away: visible points on sides turned away: as labeled, and with the mistake undone.
    """

    index: int
    exchange: Exchange | None
    point: int
    place: Floats
    shift: float
    labeled: float
    explained: float
    turned_away: tuple[int, int]


@dataclass(frozen=True, eq=False, slots=True)
class Geometry:
    """The result of fitting R objects.

    Attributes:
        misfit: (R,) how poorly each fits as labeled, NaN if it was not fitted; 10 is usual, 50 is poor.
        explanations: the mistakes found.
        impossible: (R,) whether visible points cannot be seen together.
        noise: how much more coarsely than assumed the points are labeled, 1 or more.
        hidden_used: whether the data set marks occluded points, so that visibility is informative.
    """

    misfit: Floats
    explanations: tuple[Explanation, ...]
    impossible: Bools
    noise: float
    hidden_used: bool


def check_geometry(objects: SoundObjects, skeleton: Skeleton, progress: Progress = silent) -> Iterator[Finding]:
    """Yield objects whose keypoints do not fit the skeleton's template; nothing if it has none."""
    template = rigid(skeleton)
    if template is None or not len(objects):
        return
    sizes = objects.table.images.sizes[objects.images].astype(np.float64)
    found = study(template, objects.keypoints, objects.boxes, sizes, progress)
    for one in found.explanations:
        yield _finding(objects, skeleton, one)
    mistaken = {one.index for one in found.explanations}
    for index in np.flatnonzero(found.impossible):
        if int(index) not in mistaken:
            names = [skeleton.names[k] for k in np.flatnonzero(objects.keypoints[index, :, 2] == 2)]
            message = f"visible points must be on sides that can be seen together, got {', '.join(names)}"
            hint = "set points on the far side to visibility 1 (occluded), or check for swapped names"
            yield objects.finding("W218", int(index), message, hint, names)


def geometry_note(skeleton: Skeleton) -> tuple[str, ...]:
    """Return why geometry was not checked; nothing if it was."""
    if skeleton.template is None:
        return (f"geometry not checked: skeleton {skeleton.name} has no template (docs/geometry.md)",)
    if skeleton.num_keypoints < LEAST_POINTS:
        return (f"geometry not checked: it needs {LEAST_POINTS} keypoints, skeleton {skeleton.name} has fewer",)
    return ()


def study(template: Body, keypoints: Floats, boxes: Floats, sizes: Floats, progress: Progress = silent) -> Geometry:
    """Fit R objects.

    Args:
        template: what they are.
        keypoints: (R, K, 3) x, y, visibility.
        boxes: (R, 4) x1, y1, x2, y2 in pixels.
        sizes: (R, 2) the width and height of each object's image.
        progress: receives progress.
    """
    visibility = keypoints[:, :, 2]
    diagonal = np.hypot(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    usable = ((visibility > 0).sum(axis=1) >= LEAST_POINTS) & (diagonal >= LEAST_DIAGONAL)
    usable &= np.isfinite(keypoints).all(axis=(1, 2)) & np.isfinite(diagonal)
    rows = np.flatnonzero(usable)
    middle = (sizes / 2)[rows]
    views = views_of(keypoints[rows], boxes[rows], sizes[rows])
    hidden_used = bool((visibility == 1).any())
    noise = _noise(template, views)
    views = replace(views, sigma=views.sigma * noise)
    misfit, explanations = np.full(len(keypoints), np.nan), list[Explanation]()
    for start in range(0, len(rows), _VIEW_CHUNK):
        part = slice(start, start + _VIEW_CHUNK)
        fits, found = _explain(template, views.take(part), diagonal[rows[part]], hidden_used)
        misfit[rows[part]] = fits.misfit
        for one in found:
            place = one.place + middle[start + one.index]
            explanations.append(replace(one, index=int(rows[start + one.index]), place=place))
        progress("fitting a rigid object", min(start + _VIEW_CHUNK, len(rows)), len(rows))
    impossible = template.impossible(visibility == 2) & hidden_used
    return Geometry(misfit, tuple(explanations), impossible, noise, hidden_used)


def views_of(keypoints: Floats, boxes: Floats, sizes: Floats, noise: float = 1.0) -> Views:
    """Return R objects as ``fit`` takes them.

    Args:
        keypoints: (R, K, 3) x, y, visibility.
        boxes: (R, 4) x1, y1, x2, y2 in pixels.
        sizes: (R, 2) the width and height of each object's image.
        noise: how much more coarsely than assumed the points are labeled.
    """
    diagonal = np.hypot(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    return Views(
        points=np.ascontiguousarray((keypoints[:, :, :2] - (sizes / 2)[:, None]).transpose(0, 2, 1)),
        visibility=keypoints[:, :, 2],
        sigma=np.hypot(SIGMA, SIGMA_SHARE * diagonal) * noise,
        longest=np.maximum(sizes.max(axis=1), diagonal),
    )


def _noise(template: Body, views: Views) -> float:
    """Return the factor on sigma at which the median object, as labeled or with all names swapped, fits as usual."""
    least, most = _JUDGED_OBJECTS
    full = np.flatnonzero((views.visibility > 0).sum(axis=1) >= min(LEAST_POINTS + 2, views.visibility.shape[1]))
    if len(full) < least:
        return 1.0
    some = views.take(full[np.linspace(0, len(full) - 1, min(most, len(full))).astype(np.int64)])
    orders = [exchange.order for exchange in template.exchanges if exchange.pair is None]
    factor = 1.0
    for _ in range(4):
        scaled = replace(some, sigma=some.sigma * factor)
        misfits = fit(template, scaled, visibility=False).misfit
        if np.median(misfits) >= _USUAL_MISFIT:
            # If all cars are mirrored, the labels are not coarse.
            renamed = [fit(template, scaled.renamed(order), visibility=False).misfit for order in orders]
            misfits = np.min([misfits, *renamed], axis=0)
        median = float(np.median(misfits))
        if median < _USUAL_MISFIT:
            break
        factor *= float(np.sqrt(median / _USUAL_MISFIT)) * 1.05
    return factor


class _Trial(NamedTuple):
    """One mistake: its column, which suspects it is tried on, those as if it was made, and how rare it is."""

    column: int
    tried: Bools
    views: Views
    cost: float | Floats


class _Trials:
    """The fits of the suspects among some views, under each mistake."""

    def __init__(self, template: Body, views: Views, plain: Fits, visibility: bool) -> None:
        self.template, self.views, self._visibility = template, views, visibility
        # (S,) If the labels fit better than this, no mistake can win.
        self.suspects = np.flatnonzero(plain.misfit > _ALL_EXCHANGED + _MISTAKE_MARGIN)
        self._plain = plain.misfit[self.suspects]
        # (S, H) misfit and rarity of each swap, then of each misplaced point; infinite if not tried.
        self.totals = np.full((len(self.suspects), len(template.exchanges) + views.visibility.shape[1]), np.inf)
        self._best = np.full(len(self.suspects), np.inf)
        self._fits: dict[int, tuple[Ints, Fits]] = {}

    def run(self, diagonal: Floats) -> None:
        """Try all mistakes; if a likelier one explains an object well, less likely ones are not tried."""
        exchanges = list(enumerate(self.template.exchanges))
        every, labeled = np.ones(len(self.suspects), dtype=np.bool_), self.views.visibility[self.suspects] > 0
        self._try(
            self._exchange(column, exchange, _ALL_EXCHANGED, every)
            for column, exchange in exchanges
            if exchange.pair is None
        )
        anywhere = (_MISPLACED + 2 * np.log(0.3 * diagonal**2 / (2 * np.pi * self.views.sigma**2)))[self.suspects]
        able = (self._best > _GOOD_FIT) & (self._plain > anywhere + _MISTAKE_MARGIN)
        self._try(
            self._misplaced(len(exchanges) + k, k, anywhere, able & labeled[:, k]) for k in range(labeled.shape[1])
        )
        able = (self._best > _GOOD_FIT) & (self._plain > _PAIR_EXCHANGED + _MISTAKE_MARGIN)
        self._try(
            self._exchange(column, exchange, _PAIR_EXCHANGED, able & labeled[:, list(exchange.pair)].all(axis=1))
            for column, exchange in exchanges
            if exchange.pair is not None
        )

    def fit_of(self, row: int, column: int) -> tuple[Fits, int]:
        """Return the fits of a mistake, and the index of the suspect ``row`` in them."""
        where, fits = self._fits[column]
        return fits, int(where[row])

    def _exchange(self, column: int, exchange: Exchange, cost: float, tried: Bools) -> _Trial:
        return _Trial(column, tried, self.views.take(self.suspects[tried]).renamed(exchange.order), cost)

    def _misplaced(self, column: int, point: int, cost: Floats, tried: Bools) -> _Trial:
        return _Trial(column, tried, self.views.take(self.suspects[tried]).without(point), cost[tried])

    def _try(self, trials: Iterable[_Trial]) -> None:
        """Fit in as few calls as possible: for a few objects a call costs as much as for hundreds."""
        waiting = list[_Trial]()
        for trial in trials:
            waiting.append(trial)
            if sum(len(one.views) for one in waiting) >= FITS_AT_ONCE:
                self._fit(waiting)
                waiting = []
        if waiting:
            self._fit(waiting)

    def _fit(self, trials: Sequence[_Trial]) -> None:
        fits = fit(self.template, Views.join([trial.views for trial in trials]), visibility=self._visibility)
        start = 0
        for column, tried, views, cost in trials:
            misfit = fits.misfit[start : start + len(views)]
            self._fits[column] = (np.cumsum(tried) - 1 + start, fits)
            self.totals[tried, column] = np.where(misfit < _POOR, misfit + cost, np.inf)
            self._best[tried] = np.minimum(self._best[tried], misfit)
            start += len(views)


def _explain(template: Body, views: Views, diagonal: Floats, visibility: bool) -> tuple[Fits, list[Explanation]]:
    """Return the fits of all views as labeled, and the explanations of some (places from the image's center)."""
    plain = fit(template, views, visibility=visibility)
    trials = _Trials(template, views, plain, visibility)
    trials.run(diagonal)
    found = []
    for at, column in _winners(template, trials.totals, plain.misfit[trials.suspects]):
        row = int(trials.suspects[at])
        one = _explanation(template, views, plain, row, (column, *trials.fit_of(at, column)))
        if one.exchange is not None or one.shift >= LEAST_SHIFT * diagonal[row]:
            found.append(one)
    return plain, found


def _winners(template: Body, totals: Floats, plain: Floats) -> Iterator[tuple[int, int]]:
    """Yield (row, column) of the mistakes that explain a row better than no mistake and all other mistakes."""
    # Swapping all names, one way or the other, is one mistake; the first column represents it.
    family = np.arange(totals.shape[1])
    for column, exchange in enumerate(template.exchanges):
        if exchange.pair is None and exchange.kind in ("sides", "ends"):
            family[column] = 0
    best = totals.argmin(axis=1)
    for row in np.flatnonzero(totals.min(axis=1) + _MISTAKE_MARGIN < plain):
        column = int(best[row])
        others = totals[row, family != family[column]]
        if others.min(initial=np.inf) - totals[row, column] > _MISTAKE_MARGIN:
            yield int(row), int(np.flatnonzero(family == 0)[0]) if family[column] == 0 else column


def _explanation(template: Body, views: Views, plain: Fits, row: int, explained: tuple[int, Fits, int]) -> Explanation:
    column, fits, at = explained
    exchange = template.exchanges[column] if column < len(template.exchanges) else None
    point = -1 if exchange else column - len(template.exchanges)
    place: Floats = fits.projected[at, :, point]
    return Explanation(
        index=row,
        exchange=exchange,
        point=point,
        place=place,
        shift=0.0 if exchange else float(np.hypot(*(place - views.points[row, :, point]))),
        labeled=float(plain.rms[row]),
        explained=float(fits.rms[at]),
        turned_away=(int(plain.turned_away[row]), int(fits.turned_away[at])),
    )


def _finding(objects: SoundObjects, skeleton: Skeleton, one: Explanation) -> Finding:
    if one.exchange is None:
        name, (x, y) = skeleton.names[one.point], objects.keypoints[one.index, one.point, :2]
        others = int((objects.keypoints[one.index, :, 2] > 0).sum()) - 1
        message = (
            f"{name} must be near ({one.place[0]:.1f}, {one.place[1]:.1f}) by the other {others} points, "
            f"got ({x:.1f}, {y:.1f}), {one.shift:.0f} px off"
        )
        hint = "move the point, or check whether it belongs to another object"
        return objects.finding("W217", one.index, message, hint, (name,))
    pair = [skeleton.names[k] for k in one.exchange.pair or ()]
    names = " and ".join(pair) or "the names"
    exchanged = "the two swapped" if pair else _EXCHANGES[one.exchange.kind]
    before, after = one.turned_away
    seen = f" and {before} visible on sides turned away" if before > after else ""
    kept = f" and {after}" if before > after else ""
    message = (
        f"{names} must fit a rigid {skeleton.category.name}, got points {one.labeled:.1f} px (rms) off{seen} "
        f"as labeled, {one.explained:.1f} px{kept} with {exchanged}"
    )
    return objects.finding(
        _CODES[one.exchange.kind], one.index, message, _MISTAKE_HINTS[one.exchange.pair is None], pair
    )


_EXCHANGES = {
    "sides": "left and right swapped, or front and rear",
    "ends": "front and rear swapped",
    "neighbours": "all neighbors swapped",
}
_MISTAKE_HINTS = {
    True: "check the image: swap left and right, or, if the front is labeled as the rear, front and rear; geometry "
    "cannot distinguish the two",
    False: "check the image, and swap the names of the two points",
}
