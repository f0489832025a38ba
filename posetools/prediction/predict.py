"""Predict on all of a user's sources: what ``posetools predict`` does with a pipeline.

Three steps run in parallel: a thread decodes the next images, the models process a batch, and a thread draws and writes
the finished ones. An image that cannot be read is a problem in the report; the run continues.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path, PurePosixPath

import numpy as np

from posetools.errors import InputError, RequestError
from posetools.files.disk import check_free
from posetools.files.locks import only_one_in
from posetools.files.urls import fetched, is_url
from posetools.imaging.drawing import DEFAULT_STYLE, Style
from posetools.imaging.frames import Frame, Item, Source, ahead, has_screen, read_image
from posetools.imaging.header import Pixels, save_image
from posetools.imaging.video import VideoWriter, new_video, opencv
from posetools.pairs.pipeline import PosePipeline
from posetools.prediction.read import ImageIds, ids_of_data_set, image_ids_of
from posetools.prediction.write import CocoWriter, DocumentWriter, LabelmeWriter, check_labelme_names
from posetools.progress import Progress, silent
from posetools.runtime.results import PoseResult

DOCUMENT = "predictions.json"
COCO_RESULTS = "results_coco.json"
RESULTS_OF_SPLIT = "results_{}_coco.json"

# Images per batch. More gain nothing on a CPU, and add latency.
PREDICTED_TOGETHER = 4
# Batches waiting to be drawn: 4K images take 25 MB each.
_WAITING = 2
# Default for a camera or video without a frame rate.
_FPS = 25.0
_ESCAPE_KEY, _Q = 27, ord("q")
_WINDOW = "posetools predict (Esc or q ends)"


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictRequest:
    """The output options of a prediction.

    Attributes:
        output_root: the folder for all output; None: write nothing.
        save_predictions: write predictions.json and results_coco.json.
        labelme: write copies of the images with labelme files, instead of drawn images.
        ann_file: a COCO file with the image ids for results_coco.json; None: those of the images' data set, or 1, 2,
            ... in order.
        show: show each drawn image in a window.
        style: the drawing style.
    """

    output_root: Path | None = None
    save_predictions: bool = False
    labelme: bool = False
    ann_file: Path | None = None
    show: bool = False
    style: Style = DEFAULT_STYLE


@dataclass(slots=True)
class PredictReport:
    """The result of a prediction.

    Attributes:
        images: number of images and frames.
        objects: number of detected objects.
        seconds: from the first image's decoding to the last one's writing.
        problems: one sentence for each image that could not be read, and for objects that the format cannot store.
        notes: one sentence for each result that the user may not expect.
        written: the files and folders written.
        seen: the name of each image and its object scores; only if nothing is written.
    """

    images: int = 0
    objects: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    seen: list[tuple[str, tuple[float, ...]]] = field(default_factory=list)


def check_request(request: PredictRequest, sources: Sequence[Source]) -> None:
    """Check the request before models are loaded.

    Raises:
        RequestError: options contradict each other, output would replace an input, or there is no screen.
    """
    if request.output_root is None:
        for name, asked in (("--save-predictions", request.save_predictions), ("--format labelme", request.labelme)):
            if asked:
                raise RequestError(f"{name} requires --output-root DIR")
    elif request.output_root.exists() and not request.output_root.is_dir():
        raise RequestError(f"--output-root {request.output_root}: must be a folder, but is a file")
    if request.ann_file is not None and not request.save_predictions:
        raise RequestError("--ann-file requires --save-predictions: it has the image ids for results_coco.json")
    if request.labelme:
        _check_labelme(request, sources)
    if request.show and not has_screen():
        raise RequestError(
            "--show requires a screen, and this session has none",
            hint="use --output-root DIR to write the images instead",
        )
    if request.output_root is not None:
        names = (one.names if one.kind == "images" else (_video_name(one),) for one in sources)
        targets = {os.path.realpath(request.output_root / name) for name in chain.from_iterable(names)}
        for path in (path for source in sources for path in source.paths):
            if os.path.realpath(path) in targets:
                raise RequestError(
                    f"--output-root {request.output_root}: would replace the input {path}; choose another"
                )


def _check_labelme(request: PredictRequest, sources: Sequence[Source]) -> None:
    if request.save_predictions:
        raise RequestError(
            "--format labelme cannot be combined with --save-predictions: their files would be in one folder"
        )
    for source in sources:
        if source.kind != "images":
            raise RequestError(f"--format labelme requires images, but {source.name} is a {source.kind}")
        check_labelme_names(source.names)
    if request.output_root is not None:
        hint = "choose another --output-root, or empty this folder"
        check_free(request.output_root, hint=hint)


def _video_name(source: Source) -> str:
    return source.name if PurePosixPath(source.name).suffix.lower() in (".mp4", ".avi") else f"{source.name}.mp4"


def predict(
    request: PredictRequest, sources: Sequence[Source], pipeline: PosePipeline, progress: Progress = silent
) -> PredictReport:
    """Predict on all images of all sources, and write the requested output.

    Args:
        request: the output options, checked by ``check_request``.
        sources: the images.
        pipeline: the models.
        progress: receives the number of images done in a source.

    Raises:
        RequestError: another run writes into the same folder.
        OutputError: something cannot be written.
        InputError: ``ann_file`` cannot be read.
    """
    report = PredictReport()
    started = time.perf_counter()
    with ExitStack() as stack:
        sinks = Sinks(request, sources, pipeline, report, stack)
        for source in sources:
            if _PredictRun(source, request, pipeline, sinks, progress).go():
                break
    report.seconds = time.perf_counter() - started
    report.problems += sinks.problems()
    return report


class Sinks:
    """The output files of all sources, and the report.

    Raises:
        RequestError: another run writes into the same folder.
        InputError: the file with the image ids cannot be read.
    """

    def __init__(
        self,
        request: PredictRequest,
        sources: Sequence[Source],
        pipeline: PosePipeline,
        report: PredictReport,
        stack: ExitStack,
    ) -> None:
        self.report = report
        self._document: DocumentWriter | None = None
        self._by_name: list[CocoWriter | LabelmeWriter] = []
        self._keeps_seen = request.output_root is None
        root = request.output_root
        if root is not None and not request.labelme:
            stack.enter_context(only_one_in(root))
        if root is not None and request.save_predictions:
            known = ImageIds(image_ids_of(request.ann_file)) if request.ann_file else ids_of_data_set(sources)
            report.notes += [known.note] if known.note else []
            thresholds = {name: getattr(pipeline, name) for name in ("bbox_thr", "nms_thr", "kpt_thr")}
            self._document = stack.enter_context(DocumentWriter(root / DOCUMENT, pipeline.categories, thresholds))
            report.written.append(root / DOCUMENT)
            files = {
                COCO_RESULTS: known.ids,
                **{RESULTS_OF_SPLIT.format(split): ids for split, ids in known.splits.items()},
            }
            for name, ids in files.items():
                self._by_name.append(stack.enter_context(CocoWriter(root / name, pipeline.categories, ids)))
                report.written.append(root / name)
        if root is not None and request.labelme:
            self._by_name.append(stack.enter_context(LabelmeWriter(root, kpt_thr=pipeline.kpt_thr)))
            report.written.append(root)

    def add(self, source: Source, frame: Frame, result: PoseResult) -> None:
        """Add one result, in order."""
        self.report.images += 1
        self.report.objects += len(result)
        if self._keeps_seen:
            self.report.seen.append((frame.name, tuple(result.scores.tolist())))
        if self._document is not None:
            name, number = _place(source, frame)
            self._document.add(result, name, frame=number)
        for writer in self._by_name:
            writer.add(result, frame.name)

    def skip(self, source: Source, frame: Frame) -> None:
        """Add an image that could not be read."""
        self.report.problems.append(frame.problem)
        if self._document is not None:
            name, number = _place(source, frame)
            self._document.skip(name, frame.problem, frame=number)
        for writer in self._by_name:
            writer.skip()

    def problems(self) -> list[str]:
        """Return the objects that could not be stored, after writing; files of splits have only their own."""
        return self._by_name[0].problems if self._by_name else []


def _place(source: Source, frame: Frame) -> tuple[str, int | None]:
    return (frame.name, None) if source.kind == "images" else (source.name, frame.index)


class _PredictRun:
    """One source, from its frames to its output."""

    def __init__(
        self, source: Source, request: PredictRequest, pipeline: PosePipeline, sinks: Sinks, progress: Progress
    ) -> None:
        self._source, self._request, self._pipeline = source, request, pipeline
        self._sinks, self._progress = sinks, progress
        self._root = None if request.labelme else request.output_root
        self._video: VideoWriter | None = None
        self._done = 0

    def go(self) -> bool:
        """Process the source; return whether the user stopped."""
        live = self._source.kind == "camera"
        with ExitStack() as files, ThreadPoolExecutor(1, thread_name_prefix="draw") as drawer:
            frames = files.enter_context(closing(self._source.frames()))
            batches = files.enter_context(closing(ahead(_batches(frames, 1 if live else PREDICTED_TOGETHER), 1)))
            waiting: deque[Future[list[Pixels]]] = deque()
            try:
                for batch in batches:
                    results = self._pipeline.predict([frame.image for frame in batch if frame.image is not None])
                    waiting.append(drawer.submit(self._finish, batch, results, files))
                    if len(waiting) > _WAITING and self._shown(waiting.popleft().result()):
                        return True
                while waiting:
                    if self._shown(waiting.popleft().result()):
                        return True
            except KeyboardInterrupt:
                # Ctrl-C is the normal end for a camera.
                if not live:
                    raise
                return True
        return False

    def _finish(self, batch: Sequence[Frame], results: Sequence[PoseResult], files: ExitStack) -> list[Pixels]:
        """Draw and write a batch, in the drawing thread; return the images to show."""
        shown: list[Pixels] = []
        left = iter(results)
        for frame in batch:
            self._done += 1
            if frame.image is None:
                self._sinks.skip(self._source, frame)
                continue
            result = replace(next(left), path=frame.path)
            self._sinks.add(self._source, frame, result)
            if self._root is not None or self._request.show:
                shown += self._draw(frame, result, files)
        return shown

    def _draw(self, frame: Frame, result: PoseResult, files: ExitStack) -> list[Pixels]:
        style, kpt_thr = self._request.style, self._pipeline.kpt_thr
        drawn = result.draw(style=style, kpt_thr=kpt_thr, heatmaps=self._pipeline.heatmaps)
        if self._root is not None and self._source.kind == "images":
            target = self._root / frame.name
            save_image(drawn, target)
            self._sinks.report.written.append(target)
        if self._source.kind == "images" and not self._request.show:
            return []
        pixels = np.ascontiguousarray(np.asarray(drawn)[..., ::-1])
        if self._root is not None and self._source.kind != "images":
            if self._video is None:
                path = self._root / _video_name(self._source)
                self._video = files.enter_context(new_video(path, self._source.fps or _FPS, result.size))
                self._sinks.report.written.append(path)
            self._video.write(pixels)
        return [pixels] if self._request.show else []

    def _shown(self, images: Sequence[Pixels]) -> bool:
        """Report progress, show images, and return whether the user stopped."""
        self._progress(self._source.name, self._done, self._source.total or 0)
        return any(self._show(image) for image in images)

    def _show(self, image: Pixels) -> bool:
        cv2 = opencv()
        cv2.namedWindow(_WINDOW, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        cv2.imshow(_WINDOW, image)
        # Images wait for a key, videos do not.
        key = cv2.waitKey(0 if self._source.kind == "images" else 1) & 0xFF
        return key in (_ESCAPE_KEY, _Q)


def each_predicted(
    pipeline: PosePipeline, images: Iterable[tuple[Item, Path]], *, root: Path | None = None
) -> Generator[tuple[Item, PoseResult | str], None, None]:
    """Yield the prediction for each image, or why it cannot be read; a thread reads the next ones meanwhile.

    Args:
        pipeline: the models.
        images: an item for each image, and its file.
        root: the folder that relative paths start from; None: the working directory.
    """
    read = (_read(batch, root) for batch in _batches(iter(images), PREDICTED_TOGETHER))
    with closing(ahead(read, 1)) as batches:
        for batch in batches:
            results = iter(pipeline.predict([image for _, image in batch if not isinstance(image, str)]))
            for item, image in batch:
                yield item, image if isinstance(image, str) else next(results)


def _read(batch: Sequence[tuple[Item, Path]], root: Path | None) -> list[tuple[Item, Pixels | str]]:
    with fetched(str(path) for _, path in batch):
        return [(item, _pixels(path, root)) for item, path in batch]


def _pixels(path: Path, root: Path | None) -> Pixels | str:
    try:
        return read_image(path if root is None or is_url(path) else root / path)
    except InputError as exc:
        # Names the file as the user did.
        return InputError(path, exc.place, exc.problem, *exc.details, hint=exc.hints).in_one_line


def _batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while batch := list(islice(items, size)):
        yield batch
