"""Write predictions as labelme files next to the images, to be corrected: the work behind ``posetools prelabel``.

Decisions:

- A file saved by a person is never overwritten, unless requested. A file written by a model has a mark
  (posetools/formats/labelme/write.py) and is replaced. Files without the mark count as a person's.
- The plan is made before models are loaded (``plan_prelabels``), and each file is checked again before it is written:
  labelme may be open on the folder in the meantime.
- An image with a labelme file elsewhere in the folder has its labels there, and gets no second file.
- Keys of an existing file that are not labelme's own are kept, and so are the image's flags, except ``checked``: the
  new labels are unchecked.
- Each file is written atomically; finished files stay if the run is stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from posetools.core.findings import Finding
from posetools.datasets.own_skeleton import keep_skeleton
from posetools.errors import InputError, OutputError, RequestError, must_be, printable, quoted
from posetools.files.disk import digest_of, portable_path, read_bytes, remove_folder, unmarked, write_text
from posetools.files.locks import only_one_in
from posetools.files.urls import is_url
from posetools.files.walking import walk_files
from posetools.formats.labelme.model import parse_document
from posetools.formats.labelme.write import OWN_KEYS, is_untouched
from posetools.imaging.frames import images_in
from posetools.pairs.pipeline import PosePipeline
from posetools.prediction.predict import each_predicted
from posetools.prediction.sharded import ShardRequest, predict_in_shards
from posetools.prediction.write import check_labelme_names, predicted_labelme
from posetools.progress import Progress, silent
from posetools.runtime.results import PoseResult

# Predictions of a call with several processes; hidden folders are not searched for images.
_SHARDS = ".posetools.shards"
# Image flag: a person has checked it. `posetools annotate` offers it.
CHECKED = "checked"

TaskKind: TypeAlias = Literal["new", "renewed", "replaced"]


@dataclass(frozen=True, slots=True)
class PrelabelTask:
    """One image that gets a labelme file.

    Attributes:
        image: the image.
        file: the labelme file, with links resolved.
        kind: whether there is no file yet, a model's, or a person's.
        digest: of the file's content at planning; empty if there was none.
        kept: what the new file keeps from the old one: keys that are not labelme's own, and ``flags``.
    """

    image: Path
    file: Path
    kind: TaskKind
    digest: str = ""
    kept: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PrelabelPlan:
    """The plan for a folder.

    Attributes:
        folder: the folder with the images and their labelme files.
        tasks: the images that get a file, sorted by name.
        kept: number of images with a person's labels, which are kept.
        problems: one sentence for each image whose file cannot be overwritten.
    """

    folder: Path
    tasks: tuple[PrelabelTask, ...]
    kept: int
    problems: tuple[str, ...]


@dataclass(slots=True)
class PrelabelReport:
    """The result of prelabeling.

    Attributes:
        new: number of new files.
        renewed: number of replaced files of a model.
        replaced: number of replaced files of a person.
        kept: number of images with a person's labels, which were kept.
        objects: number of objects in the written files.
        problems: one sentence for each image that should have a new file but has none, and for objects left out.
        skeleton: the skeleton file for ``posetools annotate`` and ``convert``, if it was written.
    """

    new: int = 0
    renewed: int = 0
    replaced: int = 0
    kept: int = 0
    objects: int = 0
    problems: list[str] = field(default_factory=list)
    skeleton: Path | None = None

    @property
    def written(self) -> int:
        """The number of written files."""
        return self.new + self.renewed + self.replaced


def plan_prelabels(folder: Path, *, replace: bool = False) -> PrelabelPlan:
    """Return which images in and below a folder get a labelme file; nothing is written.

    Args:
        folder: the folder with the images and their labelme files.
        replace: also overwrite files saved by a person.

    Raises:
        RequestError: there is no such folder, no image in it, or two images would have one labelme file.
    """
    if is_url(folder):
        raise RequestError(
            f"{folder}: must be a local folder: labelme files are written next to the images",
            hint=f"`posetools predict {quoted(folder)} --format labelme --output-root DIR` copies the images first",
        )
    images = images_in(folder)
    check_labelme_names([path.relative_to(folder).as_posix() for path in images])
    elsewhere = _labeled_elsewhere(walk_files(folder))
    tasks: list[PrelabelTask] = []
    problems: list[str] = []
    kept = 0
    for image in images:
        planned = None if os.path.realpath(image) in elsewhere else _plan_one(image, replace=replace)
        if isinstance(planned, str):
            problems.append(planned)
        elif planned is None:
            kept += 1
        else:
            tasks.append(planned)
    return PrelabelPlan(folder, tuple(tasks), kept, tuple(problems))


def _labeled_elsewhere(files: Sequence[Path]) -> frozenset[str]:
    """Return the images (with links resolved) whose labelme file is not next to them."""
    found = set()
    for file in files:
        if file.suffix.lower() != ".json":
            continue
        try:
            document = parse_document(read_bytes(file), str(file))
        except InputError:
            continue
        relative = None if isinstance(document, Finding) else portable_path(document.image_path)
        if relative is not None:
            image = file.parent / relative
            if image.with_suffix(file.suffix) != file:
                found.add(os.path.realpath(image))
    return frozenset(found)


def _plan_one(image: Path, *, replace: bool) -> PrelabelTask | str | None:
    """Return the task of an image, or why it is impossible, or None if a person's labels are kept."""
    file = image.with_suffix(".json")
    real = Path(os.path.realpath(file))
    if not real.exists():
        return PrelabelTask(image, real, "new")
    try:
        data = read_bytes(file)
        document = parse_document(data, str(file))
    except InputError as exc:
        return f"{exc.sentence}; it is kept"
    if isinstance(document, Finding):
        return f"{document.where}: {document.message}; it is kept"
    relative = portable_path(document.image_path)
    if relative is None or os.path.realpath(file.parent / relative) != os.path.realpath(image):
        rule = f"{image.name!r}, the image next to it, to be overwritten"
        return f"{file}: {must_be('imagePath', rule, document.image_path)}; it is kept"
    untouched = is_untouched(data)
    if not untouched and not replace:
        return None
    return PrelabelTask(image, real, "renewed" if untouched else "replaced", digest_of(data), _others(data))


def _others(data: bytes) -> dict[str, Any]:
    raw = json.loads(unmarked(data))
    flags = raw.get("flags") if isinstance(raw.get("flags"), dict) else {}
    left = {name: on for name, on in flags.items() if name != CHECKED}
    return {"flags": left, **{key: value for key, value in raw.items() if key not in OWN_KEYS}}


def prelabel(
    plan: PrelabelPlan, pipeline: PosePipeline, progress: Progress = silent, *, shards: ShardRequest | None = None
) -> PrelabelReport:
    """Predict on the planned images, and write their labelme files.

    Args:
        plan: of ``plan_prelabels``.
        pipeline: the models; a point with a lower score than its ``kpt_thr`` gets the flag ``occluded``.
        progress: receives progress.
        shards: predict first in shards, which are kept in a hidden folder until all files are written.

    Raises:
        RequestError: another run is writing into the same folder, or it has another skeleton.
        OutputError: a file cannot be written, or a prediction is not finite.
        RunError: workers were killed.
    """
    report = PrelabelReport(kept=plan.kept, problems=list(plan.problems))
    with only_one_in(plan.folder), closing(_predicted(plan, pipeline, progress, shards)) as found:
        report.skeleton = keep_skeleton(plan.folder, pipeline.categories)
        for done, (task, result) in enumerate(found, start=1):
            if isinstance(result, str):
                report.problems.append(result)
            else:
                _write(task, result, pipeline, report)
            progress("prelabeling", done, len(plan.tasks))
    return report


def _predicted(
    plan: PrelabelPlan, pipeline: PosePipeline, progress: Progress, shards: ShardRequest | None
) -> Generator[tuple[PrelabelTask, PoseResult | str], None, None]:
    if shards is None:
        yield from each_predicted(pipeline, ((task, task.image) for task in plan.tasks))
        return
    images = [(task.image.relative_to(plan.folder).as_posix(), task.image) for task in plan.tasks]
    stored = predict_in_shards(plan.folder / _SHARDS, images, replace(shards, restart=True), pipeline, progress)
    yield from ((plan.tasks[image.position], result) for image, result in stored)
    remove_folder(plan.folder / _SHARDS)


def _write(task: PrelabelTask, result: PoseResult, pipeline: PosePipeline, report: PrelabelReport) -> None:
    if _changed(task):
        report.kept += 1
        report.problems.append(f"{task.file}: was saved by someone during prediction; it is kept")
        return
    facts = {"thresholds": {name: getattr(pipeline, name) for name in ("bbox_thr", "nms_thr", "kpt_thr")}}
    text, objects, problems = predicted_labelme(
        result, task.image.as_posix(), task.file, kpt_thr=pipeline.kpt_thr, facts=facts, kept=task.kept
    )
    write_text(task.file, text)
    setattr(report, task.kind, getattr(report, task.kind) + 1)
    report.objects += objects
    report.problems += problems


def _changed(task: PrelabelTask) -> bool:
    try:
        return digest_of(task.file.read_bytes()) != task.digest
    except FileNotFoundError:
        return bool(task.digest)
    except OSError as exc:
        raise OutputError(f"{printable(str(task.file))}: cannot be overwritten: {exc.strerror or exc}") from exc
