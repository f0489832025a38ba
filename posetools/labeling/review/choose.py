"""Choose the images to label or check next: the work behind ``posetools review``.

The terms of scores.py give each image a priority; images are then chosen one by one, so that each differs from those
before. The same request on the same data gives the same list. The output folder is written as a whole or not at all:
review.json and review.csv (the list with its reasons), sheet.jpg, ``pictures/`` with links for labelme
(posetools/labeling/review/links.py), and skeleton.yaml if the skeleton is not the default.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from PIL import Image as Pillow

from posetools import __version__
from posetools.core.categories import Categories
from posetools.core.dataset import Visibility
from posetools.datasets.own_skeleton import keep_skeleton
from posetools.datasets.shown import LabeledImage, Mark
from posetools.errors import RequestError, must_be
from posetools.files.disk import check_free, is_inside, staged_folder, write_json, write_text
from posetools.formats.labelme.write import LabelmeObject, labelme_document, labelme_text
from posetools.imaging.drawing import DEFAULT_STYLE
from posetools.imaging.header import save_image
from posetools.labeling.review import scores
from posetools.labeling.review.data import Candidate, Candidates, features, predicted, read_candidates, with_predictions
from posetools.labeling.review.links import LINKED, REVIEW_RECORD, LinkKind, flag_suspects, link_files
from posetools.labeling.sheet import HIDDEN
from posetools.labeling.suspects.ranking import Suspect
from posetools.labeling.view import View, draw_sheet
from posetools.pairs.pipeline import PosePipeline
from posetools.prediction.write import check_labelme_names
from posetools.progress import Progress, silent
from posetools.runtime.results import KPT_THR

# Functions that return the term of each of N images, or None if it does not apply.
TERMS: Mapping[str, Callable[[Candidates], Sequence[scores.Term | None]]] = {
    "confidence": scores.by_confidence,
    "boxes": scores.by_boxes,
    "geometry": scores.by_geometry,
    "labels": scores.by_labels,
}
VARIETY = "variety"
BY = (*TERMS, VARIETY)
TABLE, REVIEW_SHEET = "review.csv", "sheet.jpg"
# Most images on the sheet; more would be too small to see.
_ON_SHEET = 100

Only: TypeAlias = Literal["all", "labeled", "unlabeled"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReviewRequest:
    """The options of a review.

    Attributes:
        data: a folder of images, labeled or not, or a data set.
        out: the folder to write.
        number: how many images at most.
        by: the terms to use, of ``BY``.
        variety: the weight of the variety.
        only: choose among all images, or those with or without a person's labels.
        predictions: a file of ``posetools predict``; None: those of the pipeline, if there is one.
        skeleton: a built-in name or a file; None: the data's own.
        links: how images get into the folder; None: as links if labels are next to the images, else as copies, because
            convert does not follow links out of its source.
        overwrite: replace a folder that is not empty.
    """

    data: Path
    out: Path
    number: int = 50
    by: tuple[str, ...] = BY
    variety: float = 0.5
    only: Only = "all"
    predictions: Path | None = None
    skeleton: str | Path | None = None
    links: LinkKind | None = None
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class ChosenImage:
    """One image of the list.

    Attributes:
        candidate: the image.
        score: priority + weight of the variety x variety: the basis of the choice.
        terms: name -> the term; None if it does not apply to the image.
        variety: how different it is from those chosen before, 0 to 1.
        suspects: its labels that are probably wrong, the most probable first.
    """

    candidate: Candidate
    score: float
    terms: Mapping[str, scores.Term | None]
    variety: float
    suspects: tuple[Suspect, ...] = ()

    @property
    def reasons(self) -> list[str]:
        """The reasons of all terms above 0, the largest first; with suspects, those of all suspects."""
        if self.suspects:
            return [suspect.told for suspect in self.suspects]
        said = [(name, term) for name, term in self.terms.items() if term is not None and term.value > 0]
        said.sort(key=lambda one: -one[1].value)
        return [f"{name} {term.value:.2f}: {term.reason}" for name, term in said]

    @property
    def why(self) -> str:
        """The main reason, or that it differs from the others."""
        return next(iter(self.reasons), f"variety {self.variety:.2f}: differs from the images before it")


@dataclass(frozen=True, slots=True)
class ReviewResult:
    """The chosen images.

    Attributes:
        chosen: the images, the most urgent first.
        among: number of images to choose from.
        by: the terms that were used.
        notes: further remarks, a sentence each.
        suspects: all labels that are probably wrong, also of other images, the most probable first.
    """

    chosen: tuple[ChosenImage, ...]
    among: int
    by: tuple[str, ...]
    notes: tuple[str, ...]
    suspects: tuple[Suspect, ...] = ()


def check_review(request: ReviewRequest) -> None:
    """Refuse an impossible request before models are loaded.

    Raises:
        RequestError: there is no such data or term, or the output cannot be written there.
    """
    if not request.data.exists():
        raise RequestError(must_be(str(request.data), "a folder with images, or a data set", "nothing there"))
    for name in request.by:
        if name not in BY:
            raise RequestError(must_be("--by", f"names of {', '.join(BY)}, with commas between them", name))
    if not request.by:
        raise RequestError(must_be("--by", f"at least one of {', '.join(BY)}", ""))
    for option, value, least in (("--next", request.number, 1), ("--variety", request.variety, 0)):
        if value < least:
            raise RequestError(f"{option} must be {least} or more")
    if request.data.is_dir() and is_inside(request.out, request.data):
        rule = f"outside of {request.data}, where its links would count as images"
        raise RequestError(must_be("--out", rule, str(request.out)))
    hint = "pass --overwrite to replace it, or choose another --out"
    check_free(request.out, overwrite=request.overwrite, hint=hint)


def review(request: ReviewRequest, pipeline: PosePipeline | None = None, progress: Progress = silent) -> ReviewResult:
    """Choose the images, and write the folder.

    Args:
        request: the options; must have passed ``check_review``.
        pipeline: predicts on the images; None: use the predictions file, if any.
        progress: receives progress.

    Raises:
        RequestError: there is nothing to choose from, or predictions and labels are of different keypoints.
        InputError: a file cannot be read.
        OutputError: the folder cannot be written.
    """
    default = None if pipeline is None else pipeline.categories
    candidates = read_candidates(request.data, request.skeleton, progress, default=default)
    candidates = _wanted(candidates, request)
    if request.predictions is not None:
        candidates = with_predictions(candidates, request.predictions)
    elif pipeline is not None:
        candidates = predicted(candidates, pipeline, progress)
    if not candidates.images:
        raise RequestError(f"{request.data}: there is no image to choose from", *candidates.notes)
    result = rank(candidates, request, progress)
    write_review(result, candidates, request, progress)
    return result


def _wanted(candidates: Candidates, request: ReviewRequest) -> Candidates:
    if request.only == "all":
        return candidates
    labeled = request.only == "labeled"
    images = tuple(one for one in candidates.images if (one.labels is not None) == labeled)
    if not images:
        there = f"{len(candidates.images)} images, none of them {request.only}"
        raise RequestError(f"{request.data}: has {there}", hint="pass another --only")
    return replace(candidates, images=images)


def rank(candidates: Candidates, request: ReviewRequest, progress: Progress = silent) -> ReviewResult:
    """Return the images to check, the most urgent first; nothing is written.

    Args:
        candidates: at least one image.
        request: the options.
        progress: receives progress.
    """
    images = candidates.images
    judged = {name: judge(candidates) for name, judge in TERMS.items() if name in request.by}
    terms = [{name: of_all[i] for name, of_all in judged.items()} for i in range(len(images))]
    empty = [name for name in judged if all(one[name] is None for one in terms)]
    priority = scores.priorities(terms)
    weight = request.variety if VARIETY in request.by else 0.0
    looks = features(images, progress) if weight else np.zeros((len(images), 1))
    rows, apart = scores.choose(priority, looks, request.number, weight)
    chosen = [
        ChosenImage(images[row], float(priority[row] + weight * distance), terms[row], distance)
        for row, distance in zip(rows, apart, strict=True)
    ]
    notes = list(candidates.notes)
    notes += [f"{name}: not used: {_WITHOUT[name]}" for name in empty]
    by = tuple(name for name in request.by if name not in empty)
    return ReviewResult(tuple(chosen), len(images), by, tuple(notes))


_WITHOUT = {
    "confidence": "there are no predictions (--run, --bundle or --predictions)",
    "boxes": "there are no predictions (--run, --bundle or --predictions)",
    "geometry": "no object has five points, or the skeleton has no template",
    "labels": "no image has both labels and predictions",
}


def write_review(
    result: ReviewResult, candidates: Candidates, request: ReviewRequest, progress: Progress = silent
) -> None:
    """Write the folder of chosen images, as a whole or not at all.

    Args:
        result: the images.
        candidates: what they were chosen from.
        request: the options.
        progress: receives progress.

    Raises:
        OutputError: the folder cannot be written.
    """
    named = [(one.candidate.image.file_name, one.candidate.path) for one in result.chosen]
    check_labelme_names([name for name, _ in named])
    with staged_folder(request.out, overwrite=request.overwrite) as staged:
        how = request.links or ("symlink" if candidates.beside else "copy")
        links = link_files(named, staged, request.out, how, labels=candidates.beside)
        if not candidates.beside:
            _write_labels(result, candidates.categories, staged)
        for one in result.chosen:
            file = (staged / LINKED / one.candidate.image.file_name).with_suffix(".json")
            flag_suspects(file, [suspect.told for suspect in one.suspects], beside=candidates.beside)
        entries = [_entry(rank, one) for rank, one in enumerate(result.chosen, start=1)]
        document: dict[str, Any] = {"posetools": __version__, "data": request.data.as_posix(), "by": list(result.by)}
        document |= {"among": result.among, "notes": list(result.notes), "pictures": entries}
        if result.suspects:
            document["suspects"] = [suspect.as_dict() for suspect in result.suspects]
        write_json(staged / REVIEW_RECORD, {**document, "links": [link.model_dump() for link in links]})
        write_text(staged / TABLE, _table(entries, result.by))
        keep_skeleton(staged, candidates.categories)
        save_image(_sheet(result, candidates.categories, request, progress), staged / REVIEW_SHEET)


def _write_labels(result: ReviewResult, categories: Categories, staged: Path) -> None:
    """Write the labels of a data set as labelme files next to the links."""
    for one in result.chosen:
        image, labels = one.candidate.image, one.candidate.labels
        if labels is not None:
            only = [next(iter(categories))] * len(labels.boxes)
            ids = only if labels.category_ids is None else labels.category_ids.tolist()
            drawn = [
                LabelmeObject(categories[number], box.tolist(), points[categories.columns[number]].tolist())
                for number, box, points in zip(ids, labels.boxes, labels.keypoints, strict=True)
            ]
            document = labelme_document(image.file_name, image.size, drawn)
            write_text((staged / LINKED / image.file_name).with_suffix(".json"), labelme_text(document))


def _entry(rank: int, one: ChosenImage) -> dict[str, Any]:
    candidate = one.candidate
    entry: dict[str, Any] = {"rank": rank, "file_name": candidate.image.file_name, "score": round(one.score, 4)}
    entry |= {name: None if term is None else round(term.value, 4) for name, term in one.terms.items()}
    entry[VARIETY] = round(one.variety, 4)
    entry["labelled"] = None if candidate.labels is None else len(candidate.labels.boxes)
    entry["found"] = None if candidate.found is None else len(candidate.found)
    return {**entry, "reasons": one.reasons}


def _table(entries: Sequence[Mapping[str, Any]], by: Sequence[str]) -> str:
    text = io.StringIO()
    columns = ["rank", "file_name", "score", *by, "labelled", "found", "reasons"]
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**entry, "reasons": "; ".join(entry["reasons"])} for entry in entries)
    return text.getvalue()


def _sheet(result: ReviewResult, categories: Categories, request: ReviewRequest, progress: Progress) -> Pillow.Image:
    """Return the contact sheet; if nothing is labeled, predictions are drawn into the images themselves."""
    paired = any(one.candidate.labels is not None and one.candidate.found is not None for one in result.chosen)
    views, rings = [], set[str]()
    for one in result.chosen:
        image, labels, found = one.candidate.image, one.candidate.labels, one.candidate.found
        if labels is None and found is not None and not paired:
            seen = np.where(found.keypoint_scores < KPT_THR, Visibility.HIDDEN, Visibility.VISIBLE)[..., None]
            points = np.concatenate([found.keypoints, seen], axis=2)
            labels = LabeledImage(image, found.boxes, points, (), category_ids=found.category_ids)
            rings.add(f"score below {KPT_THR:g}")
        elif labels is not None:
            rings.add(HIDDEN)
        if labels is None:
            labels = LabeledImage(image, np.zeros((0, 4)), np.zeros((0, categories.num_keypoints, 3)), ())
        mark = Mark(tuple((_rows_of(suspect, labels, categories), suspect.told) for suspect in one.suspects))
        mark = mark if one.suspects else Mark(((frozenset(), one.why),))
        views.append(View(replace(labels, image=image), mark=mark, predicted=found if paired else None))
    title = f"{request.data}: {len(result.chosen)} of {result.among} images, by {', '.join(result.by)}"
    return draw_sheet(
        views[:_ON_SHEET],
        categories,
        DEFAULT_STYLE,
        code="why:",
        title=title,
        problems=[],
        progress=progress,
        ring=" or ".join(sorted(rings)) or HIDDEN,
    )


def _rows_of(suspect: Suspect, labels: LabeledImage, categories: Categories) -> frozenset[int]:
    """Return the row of a suspect's object in its image; none for an object without a label."""
    number = categories.ids[suspect.category]
    own = np.arange(len(labels.boxes)) if labels.category_ids is None else np.flatnonzero(labels.category_ids == number)
    return frozenset(own[suspect.number : suspect.number + 1].tolist() if suspect.number >= 0 else ())
