"""Predict in shards, in several processes or on a Dask cluster: what is done is kept, and the next call does the rest.

A folder of shards has ``manifest.json``, which says what was predicted with what, and a file for each shard::

    000000.jsonl    a line for each image: an entry of the readable document (read.py), but with all digits
    000000.parquet  or a row for each image; keypoints and their scores are maps by name

A shard is a whole number of batches, so the images of a batch are those of one process. This process writes each shard
when it is done; workers only read images. ``StoredPredictions`` gives the results in the order of the images.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from pydantic import ValidationError

from posetools.core.categories import Categories
from posetools.errors import InputError, RequestError, counted, from_validation, must_be, show_value
from posetools.files.disk import read_bytes, read_json, write_files, write_json
from posetools.files.locks import only_one_in
from posetools.files.urls import absolute, is_url
from posetools.imaging.frames import Frame, Source
from posetools.pairs.open import PipelineOptions
from posetools.pairs.pipeline import PosePipeline
from posetools.prediction.predict import PREDICTED_TOGETHER, PredictReport, PredictRequest, Sinks, each_predicted
from posetools.prediction.read import ImageEntry, predictions_of
from posetools.prediction.table import from_parquet, load_pyarrow, to_parquet
from posetools.prediction.write import document_head, finite, image_entry, problem_entry
from posetools.progress import Progress
from posetools.runtime.results import PoseResult
from posetools.scale.opened import SentBundle
from posetools.scale.shards import ModelEngine, cut, shard_size

Form: TypeAlias = Literal["jsonl", "parquet"]
FORMS: tuple[Form, ...] = get_args(Form)

SHARDS_MANIFEST = "manifest.json"
SHARDS = "shards"


class ShardImage(NamedTuple):
    """An image to predict: its position among all images, its name in outputs, and its file."""

    position: int
    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class _Predicting:
    """Predicts on the images of a shard; returns the position of its first image, and the shard's file."""

    bundle: SentBundle
    form: Form
    root: Path | None

    def __call__(self, shard: Sequence[ShardImage]) -> tuple[int, bytes]:
        pipeline = self.bundle.opened(PosePipeline.from_bundle)
        entries = [
            problem_entry(image.name, result)
            if isinstance(result, str)
            else image_entry(result, image.name, exact=True)
            for image, result in each_predicted(pipeline, ((one, one.path) for one in shard), root=self.root)
        ]
        return shard[0].position, _encoded(entries, self.form)

    def named(self, image: ShardImage) -> str:
        """Return the name of an image in messages."""
        return str(image.path)


def _encoded(entries: Sequence[Mapping[str, Any]], form: Form) -> bytes:
    lines = []
    for entry in entries:
        with finite(Path(entry["file_name"]), entry["file_name"]):
            lines.append(json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n")
    # A surrogate, which stands for a non-UTF-8 byte of a file name, is escaped.
    return to_parquet(entries) if form == "parquet" else "".join(lines).encode("utf-8", "backslashreplace")


@dataclass(frozen=True, eq=False, slots=True)
class StoredPredictions:
    """The predictions in a folder of shards.

    Attributes:
        folder: the folder.
        images: all images, in order.
        categories: of the objects.
        form: of the files.
        there: number of shards that an earlier call had done.
    """

    folder: Path
    images: Sequence[ShardImage]
    categories: Categories
    form: Form
    there: int

    @property
    def shards(self) -> list[tuple[Path, Sequence[ShardImage]]]:
        """The files, each with its images."""
        return _files(self.folder, self.images, self.form)

    def __iter__(self) -> Iterator[tuple[ShardImage, PoseResult | str]]:
        """Yield each image with its result, or why it could not be read. Results have the image's size, but no pixels.

        Raises:
            InputError: a file was changed.
        """
        ids = {name if len(self.categories) > 1 else "": number for name, number in self.categories.ids.items()}
        for path, images in self.shards:
            for number, (image, entry) in enumerate(zip(images, _entries(path, self.form, len(images)), strict=True)):
                yield image, entry.problem or self._result(path, f"{number}", image, entry, ids)

    def _result(
        self, path: Path, place: str, image: ShardImage, entry: ImageEntry, ids: Mapping[str, int]
    ) -> PoseResult:
        found = predictions_of(path, place, entry, ids, self.categories)
        if found.size is None or found.category_ids is None or found.file_name != image.name:
            raise _changed(path)
        return PoseResult(
            boxes=found.boxes,
            scores=found.scores,
            keypoints=found.keypoints,
            keypoint_scores=found.keypoint_scores,
            heatmaps=None,
            crops=np.full((len(found), 4), np.nan),
            categories=self.categories,
            category_ids=found.category_ids,
            image=np.broadcast_to(np.uint8(0), (found.size[1], found.size[0], 3)),
            path=image.path,
        )


def _files(folder: Path, images: Sequence[ShardImage], form: Form) -> list[tuple[Path, Sequence[ShardImage]]]:
    shards = cut(images, shard_size(len(images), PREDICTED_TOGETHER))
    return [(folder / f"{number:06d}.{form}", shard) for number, shard in enumerate(shards)]


def _entries(path: Path, form: Form, number: int) -> list[ImageEntry]:
    content = read_bytes(path)
    try:
        rows = from_parquet(content, path) if form == "parquet" else [json.loads(line) for line in content.splitlines()]
        entries = [ImageEntry.model_validate(row) for row in rows]
    except ValidationError as exc:
        raise from_validation(path, exc) from exc
    except ValueError as exc:
        raise _changed(path) from exc
    if len(entries) != number:
        raise _changed(path)
    return entries


def _changed(path: Path) -> InputError:
    return InputError(
        path, "", "must be as it was written, but was changed", hint="remove it, and run the same command"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardRequest:
    """How to predict in shards.

    Attributes:
        bundle: the file of the models.
        options: how to open it.
        engine: what predicts.
        form: of the shards' files.
        restart: remove shards of another call, instead of refusing them.
    """

    bundle: Path
    options: PipelineOptions
    engine: ModelEngine
    form: Form = "jsonl"
    restart: bool = False


def check_sharded(request: PredictRequest, form: Form, sources: Sequence[Source]) -> None:
    """Check the request before models are loaded.

    Raises:
        RequestError: it is not possible in shards.
        MissingExtraError: pyarrow is needed, and not installed.
    """
    what = f"--format {form}"
    if request.output_root is None:
        raise RequestError(f"{what} requires --output-root DIR")
    for source in sources:
        if source.kind != "images":
            hint = "leave out --workers, --cluster and --format for videos and cameras"
            raise RequestError(f"{what} requires images, but {source.name} is a {source.kind}", hint=hint)
    if form == "parquet":
        load_pyarrow()


def predict_sharded(
    request: PredictRequest, shards: ShardRequest, sources: Sequence[Source], pipeline: PosePipeline, progress: Progress
) -> PredictReport:
    """Predict on all images in shards, and write the requested files, which are those of one process.

    Args:
        request: the output options, checked by ``check_request`` and ``check_sharded``.
        shards: how to predict.
        sources: the images.
        pipeline: the same models, opened here.
        progress: receives the number of images done.

    Raises:
        PosetoolsError: as ``predict_in_shards``, and as ``predict``.
    """
    (source,), folder = sources, (request.output_root or Path()) / SHARDS
    report, started = PredictReport(), time.perf_counter()
    images = list(zip(source.names, source.paths, strict=True))
    stored = predict_in_shards(folder, images, shards, pipeline, progress)
    report.written.append(folder)
    if stored.there:
        report.notes.append(f"{stored.there} of {counted(len(stored.shards), 'shard')} were there already")
    with ExitStack() as stack:
        sinks = Sinks(request, sources, pipeline, report, stack)
        for image, result in stored:
            if isinstance(result, str):
                sinks.skip(source, Frame(image.name, None, image.path, image.position, result))
            else:
                sinks.add(source, Frame(image.name, result.image, image.path, image.position), result)
    report.seconds = time.perf_counter() - started
    report.problems += sinks.problems()
    return report


def predict_in_shards(
    folder: Path,
    images: Sequence[tuple[str, Path]],
    request: ShardRequest,
    pipeline: PosePipeline,
    progress: Progress,
) -> StoredPredictions:
    """Predict on all images whose shards are not yet in a folder, and write them there.

    Args:
        folder: the folder of shards.
        images: their names in outputs, and their files.
        request: how to predict.
        pipeline: the same models, opened here.
        progress: receives the number of images done.

    Raises:
        RequestError: the folder has shards of another bundle, other options or other images; or another run is writing
            there.
        InputError, OutputError, RunError: a file cannot be read or written, or workers were killed.
    """
    form, engine = request.form, request.engine
    sent, contents = SentBundle.of(request.bundle, request.options, engine)
    listed = [ShardImage(position, name, path) for position, (name, path) in enumerate(images)]
    work = _Predicting(sent, form, Path.cwd() if engine.elsewhere else None)
    with only_one_in(folder):
        _check(folder, _manifest(listed, sent, pipeline, form), restart=request.restart)
        files = _files(folder, listed, form)
        missing = [shard for path, shard in files if not path.is_file()]
        path_of = {shard[0].position: (path, len(shard)) for path, shard in files}
        done = len(listed) - sum(map(len, missing))
        for first, content in engine.run(work, missing, sent=contents, in_order=False):
            path, number = path_of[first]
            write_files({path: content})
            done += number
            progress("predicting", done, len(listed))
    return StoredPredictions(folder, listed, pipeline.categories, form, len(files) - len(missing))


def _manifest(images: Sequence[ShardImage], bundle: SentBundle, pipeline: PosePipeline, form: Form) -> dict[str, Any]:
    """Return what all shards of a folder have in common."""
    options = bundle.options
    thresholds = {name: getattr(pipeline, name) for name in ("bbox_thr", "nms_thr", "kpt_thr")}
    files = "".join(f"{image.name}\0{absolute(image.path)}\0{_state(image.path)}\n" for image in images)
    return {
        **document_head(pipeline.categories, thresholds),
        "bundle_sha256": bundle.digest,
        "det_cat_id": options.det_cat_id,
        "device": options.device,
        "threads": options.threads,
        "format": form,
        "images": len(images),
        "images_sha256": hashlib.sha256(files.encode("utf-8", "surrogateescape")).hexdigest(),
        "images_per_shard": shard_size(len(images), PREDICTED_TOGETHER),
        "images_per_batch": PREDICTED_TOGETHER,
    }


def _state(path: Path) -> str:
    """Return the size and the time of a local file; a file at a URL would cost a round trip."""
    if is_url(path) or not path.exists():
        return ""
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def _check(folder: Path, manifest: Mapping[str, Any], *, restart: bool) -> None:
    """Write the manifest; refuse that of another call, or remove its shards."""
    path = folder / SHARDS_MANIFEST
    for left in folder.glob(".*.tmp"):
        # The command was killed while it wrote this file.
        left.unlink()
    found = read_json(path) if path.is_file() else None
    expected = json.loads(json.dumps(manifest))
    if found == expected:
        return
    if found is not None and not restart:
        got = found if isinstance(found, dict) else {}
        key = next((key for key in expected if got.get(key) != expected[key]), "the keys")
        raise RequestError(
            f"{path}: {must_be(key, f'{show_value(expected.get(key))} as in this call', got.get(key))}",
            hint=f"choose another folder for the output, or remove {folder} to predict all images again",
        )
    for shard in [each for form in FORMS for each in folder.glob(f"*.{form}")]:
        shard.unlink()
    write_json(path, manifest)
