"""Looking at labels: pictures with their objects drawn in, as one contact sheet or as a folder of pictures.

What is shown is spread evenly over what there is, or drawn by lot with a seed: nobody chooses by looks, and the same
request gives the same pictures. They are opened one after the other. Small objects in large pictures have few pixels in
a tile of a sheet; with ``objects`` each tile is one object, cut out with a margin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from posetools.core.findings import RULES, count_by_code
from posetools.core.folder import IMAGES
from posetools.datasets.shown import Labels, Mark, mark_pictures, read_labels
from posetools.errors import InputError, RequestError, must_be
from posetools.files.disk import staged_folder
from posetools.files.names import unique_names
from posetools.imaging.drawing import DEFAULT_STYLE, Style
from posetools.imaging.header import save_picture
from posetools.labeling.view_draw import View, draw_sheet, draw_view
from posetools.prediction.image_ids import image_ids_of, join_ids
from posetools.prediction.read import PicturePredictions, read_predictions
from posetools.progress import Progress, silent

DEFAULT_NUMBER = 25
SHEET, FOLDER = Path("view.png"), Path("view")
_QUALITY, _COMPRESSION = 92, 4
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_LISTED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewRequest:
    """What to show, and how.

    Attributes:
        data: a data set folder, or a labelled source that convert reads.
        out: the sheet's file, or the folder of pictures; None: view.png or view/ in the current folder.
        split: the one split to show; None for all.
        finding: a code: only pictures with such a finding, with the objects that it names marked.
        predictions: a file of predictions, which are drawn beside the labels.
        skeleton: a built-in name or a file; None: the data's own.
        number: how many pictures, or objects, at most.
        seed: chooses by lot; None: spread evenly.
        objects: show each object by itself.
        each: write each picture by itself, in full resolution.
        columns: pictures in a row of the sheet; None: so that they are largest when a screen shows the whole sheet.
        tile: (width, height) of a picture in the sheet in pixels; a height of None is that which fits.
        style: what is drawn.
    """

    data: Path
    out: Path | None = None
    split: str | None = None
    finding: str | None = None
    predictions: Path | None = None
    skeleton: str | Path | None = None
    number: int = DEFAULT_NUMBER
    seed: int | None = None
    objects: bool = False
    each: bool = False
    columns: int | None = None
    tile: tuple[int, int | None] | None = None
    style: Style = DEFAULT_STYLE


@dataclass(frozen=True, slots=True)
class ViewResult:
    """What was shown.

    Attributes:
        out: what was written; None when there was nothing to show.
        shown: how many pictures, or objects.
        among: how many there are that could have been chosen.
        notes: what else is to be said, a sentence each.
    """

    out: Path | None
    shown: int
    among: int
    notes: tuple[str, ...] = ()


def view(request: ViewRequest, progress: Progress = silent) -> ViewResult:
    """Write the sheet, or the folder of pictures.

    Raises:
        RequestError: there is no such data, split, code or prediction, or ``out`` cannot be what is written.
        InputError: a file cannot be read.
        OutputError: the output cannot be written.
    """
    out = _target(request)
    labels = read_labels(request.data, split=request.split, skeleton=request.skeleton, progress=progress)
    _spare_sources(out, labels)
    views, notes = _candidates(labels, request)
    if labels.unreadable:
        command = "validate" if (request.data / IMAGES).is_dir() else "convert"
        notes.append(f"errors in reading: {labels.unreadable}; what they name is not drawn; see `posetools {command}`")
    if not views:
        return ViewResult(None, 0, 0, tuple(notes))
    chosen = _choose(views, request)
    problems: list[str] = []
    if request.each:
        _write_each(chosen, labels, out, request, problems, progress)
    else:
        sheet = draw_sheet(
            chosen,
            labels.skeleton,
            request.style,
            columns=request.columns,
            tile=request.tile,
            code=request.finding,
            title=_title(request, len(chosen), len(views)),
            problems=problems,
            progress=progress,
        )
        save_picture(sheet, out, quality=_QUALITY, compress_level=_COMPRESSION)
    notes += problems[:_LISTED]
    notes += [f"... and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
    return ViewResult(out, len(chosen) - (len(problems) if request.each else 0), len(views), tuple(notes))


def _target(request: ViewRequest) -> Path:
    """Return where to write; refuse what cannot be, before anything is read."""
    for name, value in (("--n", request.number), ("--columns", request.columns)):
        if value is not None and value < 1:
            raise RequestError(must_be(name, "at least 1", value))
    out = request.out or (FOLDER if request.each else SHEET)
    if request.each:
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            hint = "choose another --out, or remove this one yourself"
            raise RequestError(f"{out}: must be a new or an empty folder with --each, but is not\n  {hint}")
    elif out.is_dir():
        raise RequestError(f"{out}: must be the file of the sheet, but is a folder\n  --each writes single pictures")
    elif out.suffix.lower() not in _SUFFIXES:
        raise RequestError(f"--out must be a file that ends with {', '.join(sorted(_SUFFIXES))}, got {out}")
    return out


def _spare_sources(out: Path, labels: Labels) -> None:
    if not out.is_file():
        return
    for each in labels.pictures:
        path = each.image.path
        if path and path.name == out.name and path.is_file() and path.samefile(out):
            raise RequestError(f"{out}: is a labelled picture itself\n  choose another --out")


def _candidates(labels: Labels, request: ViewRequest) -> tuple[list[View], list[str]]:
    """Return everything that could be shown, and what is to be said about it."""
    views = [View(each) for each in labels.pictures]
    notes: list[str] = []
    if request.finding is not None:
        marks, notes = _marks(labels, request.finding)
        views = [replace(views[index], mark=mark) for index, mark in marks.items()]
    if request.predictions is not None and views:
        predictions = _predictions(request.predictions, labels)
        named = [(each, predictions.get(each.labels.image.file_name)) for each in views]
        views = [replace(each, predicted=predicted) for each, predicted in named if predicted is not None]
        if not views:
            notes.append(f"{request.predictions}: has nothing on the pictures that would be shown")
    if request.objects:
        views = [
            replace(each, row=row)
            for each in views
            for row in range(len(each.labels.boxes))
            if not each.mark.rows or row in each.mark.rows
        ]
    if not views and not notes:
        notes.append(f"{request.data}: there is {'no object' if request.objects else 'no picture'} to show")
    return views, notes


def _marks(labels: Labels, code: str) -> tuple[dict[int, Mark], list[str]]:
    """Return the pictures with findings of a code, by index, and a sentence where there is none."""
    findings = labels.findings()
    counts = count_by_code(findings)
    occurring = ", ".join(f"{each} {RULES[each].title} ({number})" for each, number in counts.items()) or "none"
    if code not in RULES:
        raise RequestError(
            f"{must_be('--finding', 'a code of docs/findings.md', code)}\n  what occurs here: {occurring}"
        )
    marks, elsewhere = mark_pictures([each for each in findings if each.code == code], labels.pictures)
    notes = [f"{code} {RULES[code].title}, of no one picture: {each.where}: {each.message}" for each in elsewhere]
    if code not in counts:
        notes = [f"no picture has {code} {RULES[code].title}; what occurs here: {occurring}"]
    return marks, notes[:_LISTED]


def _predictions(path: Path, labels: Labels) -> Mapping[str, PicturePredictions]:
    """Return what a file predicts, by the pictures' names.

    Raises:
        RequestError: it has none of the pictures, or it goes by ids which are not those of one picture each.
        InputError: it cannot be read.
    """
    try:
        predictions = read_predictions(path, labels.skeleton)
    except RequestError:
        # COCO's results, which go by image id.
        if not labels.ann_files:
            raise
        predictions = read_predictions(path, labels.skeleton, _image_ids(labels))
    names = {each.image.file_name for each in labels.pictures}
    if not names & predictions.keys():
        got = next(iter(predictions), None)
        raise RequestError(f"{path}: {must_be('pictures', f'those of the data, such as {min(names)!r}', got)}")
    return predictions


def _image_ids(labels: Labels) -> dict[str, int]:
    """Return the ids that COCO's results may name: of all splits or, where they clash, of those that are shown."""
    of_files = {file: image_ids_of(Path(file)) for file in labels.ann_files}
    shown = {each.ann_file for each in labels.pictures}
    for files in (labels.ann_files, [file for file in labels.ann_files if file in shown]):
        ids = join_ids([of_files[file] for file in files])
        if ids is not None:
            return ids
    raise RequestError(f"{', '.join(labels.ann_files)}: image ids must differ between the splits\n  --split names one")


def _choose(views: Sequence[View], request: ViewRequest) -> list[View]:
    count = min(request.number, len(views))
    if request.seed is None:
        rows = np.linspace(0, len(views) - 1, count).round().astype(int)
    else:
        rows = np.sort(np.random.default_rng(request.seed).choice(len(views), count, replace=False))
    return [views[row] for row in rows.tolist()]


def _title(request: ViewRequest, shown: int, among: int) -> str:
    what = f"{request.finding} {RULES[request.finding].title}: " if request.finding else ""
    return f"{request.data}: {what}{shown} of {among} {'objects' if request.objects else 'pictures'}"


def _write_each(
    views: Sequence[View], labels: Labels, out: Path, request: ViewRequest, problems: list[str], progress: Progress
) -> None:
    wanted = [(Path(each.labels.ann_file).stem.removesuffix("_coco"), _name(each)) for each in views]
    with staged_folder(out) as folder:
        for done, (each, name) in enumerate(zip(views, unique_names(wanted), strict=True), start=1):
            try:
                picture = draw_view(each, labels.skeleton, request.style, code=request.finding or "")
            except InputError as exc:
                problems.append(str(exc))
            else:
                save_picture(picture, folder / name, quality=_QUALITY, compress_level=_COMPRESSION)
            progress("drawing", done, len(views))


def _name(view: View) -> str:
    """Return the name of a picture that is written by itself: its own, where its ending is one that is written."""
    path = PurePosixPath(view.labels.image.file_name)
    if view.row is not None:
        path = path.with_name(f"{path.stem}_object{view.row + 1}{path.suffix}")
    return str(path) if path.suffix.lower() in _SUFFIXES else f"{path}.png"
