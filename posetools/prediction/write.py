"""Write predictions: as the readable document, as COCO results, or as labelme files for a human to correct.

read.py describes the first two. Both are streamed to a temporary file and moved into place at the end, so a long video
needs no memory.

A labelme file is next to a copy of its image. It has all points of an object; those with a low score have the flag
``occluded``, which labelme shows and the reader reads as labeled but not visible. The description of each shape is its
score.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Self

import numpy as np
from PIL import Image as Pillow

from posetools import __version__
from posetools.core.categories import Categories
from posetools.core.geometry import xywh_from_xyxy
from posetools.core.skeleton import Skeleton
from posetools.errors import OutputError, RequestError, first_names, must_be, printable
from posetools.evaluation.metrics import object_scores
from posetools.files.disk import staged_folder, stream, transfer
from posetools.formats.labelme.write import labelme_document, marked_text, predicted_objects
from posetools.formats.target import put_text
from posetools.imaging.header import save_image
from posetools.runtime.results import PoseResult

# Names that a message lists; it counts the others.
_LISTED_FRAMES = 3


class _JsonStream(ExitStack):
    """A JSON file written entry by entry; it appears only when complete."""

    _file: BinaryIO

    def __init__(self, path: Path, opening: str, closing: str) -> None:
        super().__init__()
        self.path = path
        self.images = 0
        self._opening, self._closing = opening, closing
        self._empty = True

    def __enter__(self) -> Self:
        self._file = self.enter_context(stream(self.path))
        self._write(self._opening)
        self.push(self._close)
        return self

    def _close(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._write(self._closing)

    def _put(self, entry: Mapping[str, Any], file_name: str) -> None:
        with finite(self.path, file_name):
            text = json.dumps(entry, ensure_ascii=False, allow_nan=False)
        self._write(text if self._empty else f",\n{text}")
        self._empty = False

    def _write(self, text: str) -> None:
        try:
            self._file.write(text.encode())
        except OSError as exc:
            raise OutputError(f"{printable(str(self.path))}: cannot be written: {exc.strerror or exc}") from exc


@contextmanager
def finite(path: Path, file_name: str) -> Iterator[None]:
    """Say which prediction is not finite.

    Raises:
        OutputError: it is not.
    """
    try:
        yield
    except ValueError as exc:
        problem = f"the prediction for {printable(file_name)} is not finite: {exc}"
        raise OutputError(f"{printable(str(path))}: {problem}") from exc


class DocumentWriter(_JsonStream):
    """Writes the readable document; a context manager.

    Args:
        path: the file.
        categories: what was to be detected; or the skeleton of the only category.
        thresholds: the thresholds used, by name (``bbox_thr``).

    Raises:
        OutputError: it cannot be written; the target is unchanged.
    """

    def __init__(self, path: Path, categories: Skeleton | Categories, thresholds: Mapping[str, float]) -> None:
        head = document_head(Categories.of(categories), thresholds)
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items())
        super().__init__(path, f'{{\n{lines},\n"pictures": [\n', "\n]\n}\n")

    def add(self, result: PoseResult, file_name: str, *, frame: int | None = None) -> None:
        """Write the objects of one image, or of one frame (from 0) of the video ``file_name``."""
        self.images += 1
        self._put(image_entry(result, file_name, frame=frame), file_name)

    def skip(self, file_name: str, problem: str, *, frame: int | None = None) -> None:
        """Write that an image could not be read."""
        self.images += 1
        self._put(problem_entry(file_name, problem, frame=frame), file_name)


def document_head(categories: Categories, thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Return what the readable document says of all images."""
    described = [
        {"skeleton": one.name, "category": one.category.name, "keypoint_names": list(one.names)}
        for one in categories.skeletons
    ]
    return {
        "posetools": __version__,
        **(described[0] if len(described) == 1 else {"categories": described}),
        "thresholds": dict(thresholds),
    }


def image_entry(result: PoseResult, file_name: str, *, frame: int | None = None, exact: bool = False) -> dict[str, Any]:
    """Return the entry of one image in the readable document.

    Args:
        result: its objects.
        file_name: its name, or that of the video.
        frame: the number of the frame of a video, from 0.
        exact: with all digits, instead of pixels to 2 decimals and scores to 4.
    """
    categories = result.categories
    of_video = {} if frame is None else {"frame": frame}
    width, height = result.size
    columns = (result.boxes, 2), (result.scores, 4), (result.keypoints, 2), (result.keypoint_scores, 4)
    rows = zip(
        result.category_ids.tolist(),
        *(_rounded(values, None if exact else decimals) for values, decimals in columns),
        strict=True,
    )
    instances = [
        {
            **({"category": categories[category].category.name} if len(categories) > 1 else {}),
            "box": box,
            "score": score,
            "keypoints": _named(categories, category, points),
            "keypoint_scores": _named(categories, category, point_scores),
        }
        for category, box, score, points, point_scores in rows
    ]
    return {"file_name": file_name, **of_video, "width": width, "height": height, "instances": instances}


def problem_entry(file_name: str, problem: str, *, frame: int | None = None) -> dict[str, Any]:
    """Return the entry of an image that could not be read."""
    of_video = {} if frame is None else {"frame": frame}
    return {"file_name": file_name, **of_video, "problem": problem, "instances": []}


def _named(categories: Categories, category: int, values: Sequence[Any]) -> dict[str, Any]:
    """Return the values of an object's own keypoints, by name."""
    own = (values[column] for column in categories.columns[category])
    return dict(zip(categories[category].names, own, strict=True))


class CocoWriter(_JsonStream):
    """Writes COCO's results format; a context manager.

    Args:
        path: the file.
        categories: the number of keypoints of each category id; or the skeleton of the only category.
        image_ids: file name -> image id (``image_ids_of``); None: 1, 2, ... in the order of the images, including
            unreadable ones.

    Attributes:
        unknown: images missing in ``image_ids``; their objects are not written.
        left_out: number of these objects.

    Raises:
        OutputError: it cannot be written; the target is unchanged.
    """

    def __init__(
        self, path: Path, categories: Skeleton | Categories, image_ids: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(path, "[\n", "\n]\n")
        self.unknown: list[str] = []
        self.left_out = 0
        self._columns, self._ids = Categories.of(categories).columns, image_ids

    def add(self, result: PoseResult, file_name: str) -> None:
        """Write the objects of one image."""
        self.images += 1
        image_id = self.images if self._ids is None else self._ids.get(file_name)
        if image_id is None:
            self.unknown.append(file_name)
            self.left_out += len(result)
            return
        points = np.concatenate([result.keypoints, result.keypoint_scores[..., None]], axis=2, dtype=np.float64)
        rows = zip(
            result.category_ids.tolist(),
            _rounded(xywh_from_xyxy(result.boxes.astype(np.float64)), 3),
            _rounded(points, 3),
            _rounded(object_scores(result.scores, result.keypoint_scores), 6),
            _rounded(result.scores, 6),
            strict=True,
        )
        for category, bbox, every, score, of_box in rows:
            keypoints = [value for column in self._columns[category] for value in every[column]]
            where = {"image_id": image_id, "category_id": category, "bbox": bbox}
            self._put({**where, "keypoints": keypoints, "score": score if keypoints else of_box}, file_name)

    def skip(self) -> None:
        """Count an image that could not be read: it has its own id."""
        self.images += 1

    @property
    def problems(self) -> list[str]:
        """The objects dropped because their image has no image id, as at most one sentence."""
        if not self.unknown:
            return []
        listed = first_names(self.unknown, _LISTED_FRAMES)
        return [
            f"{self.path}: {len(self.unknown)} of {self.images} images are not in the COCO file with the image ids, "
            f"so this file lacks their {self.left_out} objects: {listed}"
        ]


def _rounded(values: np.ndarray[Any, Any], decimals: int | None) -> list[Any]:
    exact = values.astype(np.float64)
    rounded: list[Any] = (exact if decimals is None else exact.round(decimals)).tolist()
    return rounded


class LabelmeWriter(ExitStack):
    """Writes each image and its labelme file, for a human to correct the predictions; a context manager.

    Args:
        folder: where the images go, by their names; it appears only when complete.
        kpt_thr: a point with a lower score gets the flag ``occluded``.

    Attributes:
        problems: one sentence for each image with an object that labelme cannot store.

    Raises:
        RequestError: the folder is not empty.
        OutputError: it cannot be written.
    """

    _staged: Path

    def __init__(self, folder: Path, *, kpt_thr: float) -> None:
        super().__init__()
        self.problems: list[str] = []
        self._folder, self._kpt_thr = folder, kpt_thr

    def __enter__(self) -> Self:
        self._staged = self.enter_context(staged_folder(self._folder))
        return self

    def add(self, result: PoseResult, file_name: str) -> None:
        """Write one image (a copy of its file, else its pixels) and its file.

        Raises:
            OutputError: one cannot be written, or the prediction is not finite.
        """
        target = self._staged / file_name
        text, _, problems = predicted_labelme(result, file_name, target, kpt_thr=self._kpt_thr)
        self.problems += problems
        if result.path is not None:
            transfer(result.path, target, "copy")
        else:
            save_image(Pillow.fromarray(np.ascontiguousarray(result.image[..., ::-1])), target)
        put_text(target.with_suffix(".json"), text)

    def skip(self) -> None:
        """Skip an image that could not be read."""


def predicted_labelme(
    result: PoseResult,
    file_name: str,
    target: Path,
    *,
    kpt_thr: float,
    facts: Mapping[str, Any] | None = None,
    kept: Mapping[str, Any] | None = None,
) -> tuple[str, int, list[str]]:
    """Return the text of the labelme file for a prediction, its number of objects, and problems.

    Args:
        result: the prediction.
        file_name: the image's; its last part is written, as the file is next to it.
        target: the file to write, for messages.
        kpt_thr: a point with a lower score gets the flag ``occluded``.
        facts: more entries of the mark (formats/labelme/write.py).
        kept: keys that replace the document's, or are added.

    Raises:
        OutputError: the prediction is not finite.
    """
    objects = [
        each
        for row, number in enumerate(result.category_ids.tolist())
        for each in predicted_objects(
            result.boxes[[row]],
            result.scores[[row]],
            result.keypoints[[row]][:, result.categories.columns[number]],
            result.keypoint_scores[[row]][:, result.categories.columns[number]],
            skeleton=result.categories[number],
            kpt_thr=kpt_thr,
        )
    ]
    mark = {"prelabel": __version__, "skeleton": result.categories.name, **(facts or {})}
    with finite(target, file_name):
        document = labelme_document(file_name, result.size, objects)
        text = marked_text({**document, **(kept or {})}, mark)
    flat = len(result) - len(objects)
    problem = f"{file_name}: {flat} of {len(result)} objects skipped: their boxes have no area"
    return text, len(objects), [problem] if flat else []


def check_labelme_names(names: Sequence[str]) -> None:
    """Refuse two images with the same labelme file (``a.jpg`` and ``a.png``), before anything runs.

    Raises:
        RequestError: two images share a file.
    """
    seen: dict[str, str] = {}
    for name in names:
        file = str(PurePosixPath(name).with_suffix(".json"))
        if file in seen:
            rule = f"the only image with the labelme file {file}"
            raise RequestError(f"{must_be(name, rule, seen[file])} too", hint="rename one of the two images")
        seen[file] = name
