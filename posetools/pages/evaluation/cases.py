"""The worst cases of an evaluation, cropped from their images: the label, and next to it each pair's prediction.

A case is a labeled object, or a confident prediction on background. Cases use detected boxes, which is what a user of
the pair gets. Each case has a main kind of error, and the kinds alternate, the worst case of each first: otherwise
fifty missed cars would hide all other causes. Wrong points are ringed, with a line to their label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from posetools.core.dataset import Dataset, Visibility
from posetools.core.geometry import Floats
from posetools.evaluation.diagnosis.diagnosis import PoseCase
from posetools.evaluation.diagnosis.gains import ERROR_NAMES
from posetools.evaluation.report import Report
from posetools.evaluation.tables import short_names
from posetools.evaluation.verdict import sure_on_nothing
from posetools.pages.cutouts import WRONG, Cutout, cut_out, open_upright, region_of
from posetools.pages.sealed import data_uri
from posetools.progress import Progress, silent
from posetools.runtime.results import KPT_THR

NUMBER = 50
BACKGROUND = "background"
NOTHING_SHOWN, NOT_BY_THIS = "nothing detected", "not predicted by this pair"
_GOOD_KINDS = (None, "good")


class CasePanel(NamedTuple):
    """One image of a case: ``label``, ``prediction`` or the pair's name; its URI, empty if unreadable; a text."""

    name: str
    uri: str
    text: str


@dataclass(frozen=True, slots=True)
class ShownCase:
    """One case of the page.

    Attributes:
        image: the name of its image.
        place: where its label is; empty for a prediction on nothing.
        kinds: every kind of error in it, the main one first.
        oks: the lowest of all pairs; None for a prediction on nothing.
        panels: the label, then each pair's prediction.
        row: its row in the labels; -1 for a prediction on nothing.
        category: of the prediction or the label, if there are several.
    """

    image: str
    place: str
    kinds: tuple[str, ...]
    oks: float | None
    panels: tuple[CasePanel, ...]
    row: int = -1
    category: str = ""

    @property
    def thumbnail(self) -> CasePanel:
        """The image that best shows the error: a prediction if there is one, else the label."""
        predicted = [panel for panel in self.panels[1:] if panel.text not in (NOTHING_SHOWN, NOT_BY_THIS)]
        return predicted[0] if predicted else self.panels[0]


@dataclass(frozen=True, eq=False, slots=True)
class _CaseSpot:
    """A case before it is drawn: object ``row``, or the prediction ``predicted`` of report ``of``."""

    image: int
    row: int
    kinds: tuple[str, ...]
    badness: float
    of: int = -1
    predicted: int = -1


def worst_cases(
    reports: Sequence[Report], number: int = NUMBER, progress: Progress = silent, *, category: str = ""
) -> tuple[ShownCase, ...]:
    """Return the worst cases of one evaluation, or of several on the same labels, alternating kinds of error.

    Args:
        reports: of the same labels.
        number: how many at most.
        progress: receives progress.
        category: of all labels, if the page has several.
    """
    spots = _chosen([*_objects(reports), *_on_nothing(reports)], number)
    shown = []
    for done, spot in enumerate(spots, start=1):
        shown.append(_shown(reports, spot, category))
        progress("drawing cases", done, len(spots))
    return tuple(shown)


def case_id(number: int) -> str:
    """Return the id in the page of the case with this number, from 1."""
    return f"case-{number}"


def kinds_of(case: PoseCase) -> tuple[str, ...]:
    """Return the kinds of error of an object's points, the most frequent first; empty if all are good."""
    counts = Counter(kind for kind in case.kinds if kind not in _GOOD_KINDS)
    return tuple(str(kind) for kind, _ in counts.most_common())


def _objects(reports: Sequence[Report]) -> Iterator[_CaseSpot]:
    for several in zip(*(report.detected.diagnosis.cases for report in reports), strict=True):
        worst = min(several, key=lambda case: case.oks)
        kinds = dict.fromkeys([*kinds_of(worst), *(kind for case in several for kind in kinds_of(case))])
        if kinds:
            yield _CaseSpot(worst.image, worst.row, tuple(kinds), 1.0 - worst.oks)


def _on_nothing(reports: Sequence[Report]) -> Iterator[_CaseSpot]:
    for number, report in enumerate(reports):
        for row, score in sure_on_nothing(report):
            image = int(report.detected.predicted.image_index[row])
            yield _CaseSpot(image, -1, (BACKGROUND,), score, number, row)


def _chosen(spots: Sequence[_CaseSpot], number: int) -> list[_CaseSpot]:
    """Return the worst cases, alternating the main kinds of error."""
    queues: dict[str, list[_CaseSpot]] = {}
    for spot in sorted(spots, key=lambda each: -each.badness):
        queues.setdefault(spot.kinds[0], []).append(spot)
    turns = (spot for turn in zip_longest(*queues.values()) for spot in turn if spot is not None)
    return [spot for spot, _ in zip(turns, range(number), strict=False)]


def _shown(reports: Sequence[Report], spot: _CaseSpot, category: str) -> ShownCase:
    truth = reports[0].truth
    image = truth.images[spot.image]
    names = short_names(reports) if len(reports) > 1 else ("prediction",)
    of_reports = ((case for case in report.detected.diagnosis.cases if case.row == spot.row) for report in reports)
    cases = [next(found, None) for found in of_reports]
    of_case = [case.predicted if case else (spot.predicted if at == spot.of else -1) for at, case in enumerate(cases)]
    opened = open_upright(image.path) if image.path is not None else None
    view = cut_out(opened[0], _region(reports, spot, of_case), opened[1]) if opened else None
    nothing = f"no {category} is labeled here" if category else "nothing is labeled here"
    panels = [CasePanel("label", _label(truth, spot, view), "" if spot.row >= 0 else nothing)]
    for at, (report, case, row) in enumerate(zip(reports, cases, of_case, strict=True)):
        text = _text(report, case, row, of_it=spot.of in (-1, at))
        panels.append(CasePanel(names[at], _predicted(report, case, row, view), text))
    oks = min((case.oks for case in cases if case), default=None)
    place = str(truth.origins[spot.row]) if spot.row >= 0 else ""
    return ShownCase(image.file_name, place, spot.kinds, oks, tuple(panels), spot.row, category)


def _text(report: Report, case: PoseCase | None, row: int, *, of_it: bool) -> str:
    if row < 0:
        return NOTHING_SHOWN if of_it else NOT_BY_THIS
    poses = report.detected.poses
    kept = int(poses.kept[row])
    score = f"score {poses.every.scores[kept]:.2f} (box {poses.box_scores[kept]:.2f})"
    if case is None:
        return score
    wrong: dict[str, list[str]] = {}
    for name, kind in zip(report.truth.skeleton.names, case.kinds, strict=True):
        if kind not in _GOOD_KINDS:
            wrong.setdefault(ERROR_NAMES[str(kind)], []).append(name)
    errors = [f"{label}: {', '.join(names)}" for label, names in wrong.items()]
    return "; ".join([f"OKS {case.oks:.2f}, box IoU {case.iou:.2f}, {score}", *errors])


def _region(reports: Sequence[Report], spot: _CaseSpot, rows: Sequence[int]) -> tuple[int, int, int, int]:
    """Return the region to show: the label, all boxes matched to it, and their points if they are near."""
    truth = reports[0].truth
    boxes = [report.detected.predicted.boxes[row] for report, row in zip(reports, rows, strict=True) if row >= 0]
    boxes += [truth.boxes[spot.row]] if spot.row >= 0 else []
    low, high = np.min(boxes, axis=0)[:2], np.max(boxes, axis=0)[2:]
    points = [report.detected.predicted.keypoints[row] for report, row in zip(reports, rows, strict=True) if row >= 0]
    points += [truth.keypoints[spot.row][truth.keypoints[spot.row, :, 2] > 0, :2]] if spot.row >= 0 else []
    every, room = np.concatenate(points), (high - low).max()
    near = every[((every > low - room) & (every < high + room)).all(axis=1)]
    keypoints = np.concatenate([near, np.full((len(near), 1), 2.0)], axis=1)
    return region_of(np.concatenate([low, high])[None], keypoints[None], truth.images[spot.image].size)


def _label(truth: Dataset, spot: _CaseSpot, view: Cutout | None) -> str:
    if view is None:
        return ""
    rows = [spot.row] if spot.row >= 0 else np.flatnonzero(truth.image_index == spot.image).tolist()
    return data_uri(view.draw(truth.boxes[rows], truth.keypoints[rows], truth.skeleton))


def _predicted(report: Report, case: PoseCase | None, row: int, view: Cutout | None) -> str:
    if view is None or row < 0:
        return data_uri(view.image) if view else ""
    truth, predicted = report.truth, report.detected.predicted
    scores = predicted.keypoint_scores
    sure = np.ones(truth.skeleton.num_keypoints) if scores is None else scores[row] >= KPT_THR
    shown = np.where(sure, Visibility.VISIBLE, Visibility.HIDDEN)[:, None]
    both = np.concatenate([predicted.keypoints[row], shown], axis=1)[None]
    drawn = view.draw(predicted.boxes[[row]], both, truth.skeleton)
    if case is not None:
        _, points = view.place(predicted.boxes[[row]], both)
        _, labels = view.place(truth.boxes[[case.row]], truth.keypoints[[case.row]])
        wrong = [k for k, kind in enumerate(case.kinds) if kind not in _GOOD_KINDS]
        _mark(drawn, points[0, wrong, :2], labels[0, wrong, :2])
    return data_uri(drawn)


def _mark(image: Pillow.Image, points: Floats, labels: Floats) -> None:
    """Ring points, with a line from each to its label."""
    pen = ImageDraw.Draw(image)
    for (x, y), (to_x, to_y) in zip(points.tolist(), labels.tolist(), strict=True):
        if np.isfinite([x, y]).all() and max(abs(x), abs(y)) < 1e4:
            pen.line((x, y, to_x, to_y), fill=WRONG, width=2)
            pen.ellipse((x - 8, y - 8, x + 8, y + 8), outline=WRONG, width=2)
