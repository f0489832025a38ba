"""Predictions as labelme files beside the images, for a person to correct: what ``posetools prelabel`` does.

Decisions:

- A file that a person saved is never written over, unless that is asked for. A file as a model wrote it carries a mark
  (posetools/formats/labelme/write.py) and is renewed. Files without mark are a person's, whatever they hold.
- Which files those are is known before models are loaded (``plan_prelabels``), and looked at once more before each is
  written: labelme may be open on the folder meanwhile.
- An image that a labelme file elsewhere in the folder names has its labels there, and gets no second file.
- Keys of an existing file that are not labelme's own survive, and so do the image's flags, but for ``checked``:
  nobody has checked what is new.
- Each file is written atomically; what is done stays when the run is stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from posetools.core.findings import Finding
from posetools.datasets.own_skeleton import keep_skeleton
from posetools.errors import InputError, OutputError, must_be, printable
from posetools.files.disk import digest_of, portable_path, read_bytes, unmarked, write_text
from posetools.files.locks import only_one_in
from posetools.files.walking import walk_files
from posetools.formats.labelme.model import parse_document
from posetools.formats.labelme.write import OWN_KEYS, is_untouched
from posetools.imaging.frames import images_in
from posetools.pairs.pipeline import PosePipeline
from posetools.prediction.predict import each_predicted
from posetools.prediction.write import check_labelme_names, predicted_labelme
from posetools.progress import Progress, silent
from posetools.runtime.results import PoseResult

# The flag of an image that says that a person has looked at it; `posetools annotate` offers it.
CHECKED = "checked"

TaskKind: TypeAlias = Literal["new", "renewed", "replaced"]


@dataclass(frozen=True, slots=True)
class PrelabelTask:
    """One image that gets a labelme file.

    Attributes:
        image: the image.
        file: the labelme file, with links followed.
        kind: whether there is none yet, a model's, or a person's.
        digest: of the file's content when it was planned; empty when there was none.
        kept: what the new file takes over from the old one: the keys that are not labelme's own, and ``flags``.
    """

    image: Path
    file: Path
    kind: TaskKind
    digest: str = ""
    kept: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PrelabelPlan:
    """What is to be done in a folder.

    Attributes:
        folder: where the images and their labelme files lie.
        tasks: the images that get a file, in the order of their names.
        kept: images whose labels are a person's, and stay as they are.
        problems: one sentence for each image whose file cannot be written over.
    """

    folder: Path
    tasks: tuple[PrelabelTask, ...]
    kept: int
    problems: tuple[str, ...]


@dataclass(slots=True)
class PrelabelReport:
    """What was done.

    Attributes:
        new: files that were not there.
        renewed: files of a model that nobody had saved since.
        replaced: files of a person.
        kept: images whose labels are a person's, and stayed as they were.
        objects: how many objects are in the files that were written.
        problems: one sentence for each image without a new file that should have one, and for objects left out.
        skeleton: the file that tells ``posetools annotate`` and ``convert`` the keypoints, where it was written.
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
        """How many files were written."""
        return self.new + self.renewed + self.replaced


def plan_prelabels(folder: Path, *, replace: bool = False) -> PrelabelPlan:
    """Return which images in and below a folder get a labelme file; nothing is written.

    Args:
        folder: where the images and their labelme files lie.
        replace: also write over files that a person saved.

    Raises:
        RequestError: there is no such folder, no image in it, or two images would have one labelme file.
    """
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
    """Return the images (with links followed) that a labelme file names which does not lie beside them."""
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
    """Return the task of an image, why there can be none, or None where a person's labels stay."""
    file = image.with_suffix(".json")
    real = Path(os.path.realpath(file))
    if not real.exists():
        return PrelabelTask(image, real, "new")
    try:
        data = read_bytes(file)
        document = parse_document(data, str(file))
    except InputError as exc:
        return f"{exc}; it stays as it is"
    if isinstance(document, Finding):
        return f"{document.where}: {document.message}; it stays as it is"
    relative = portable_path(document.image_path)
    if relative is None or os.path.realpath(file.parent / relative) != os.path.realpath(image):
        rule = f"{image.name!r}, the image beside it, to be written over"
        return f"{file}: {must_be('imagePath', rule, document.image_path)}; it stays as it is"
    untouched = is_untouched(data)
    if not untouched and not replace:
        return None
    return PrelabelTask(image, real, "renewed" if untouched else "replaced", digest_of(data), _others(data))


def _others(data: bytes) -> dict[str, Any]:
    raw = json.loads(unmarked(data))
    flags = raw.get("flags") if isinstance(raw.get("flags"), dict) else {}
    left = {name: on for name, on in flags.items() if name != CHECKED}
    return {"flags": left, **{key: value for key, value in raw.items() if key not in OWN_KEYS}}


def prelabel(plan: PrelabelPlan, pipeline: PosePipeline, progress: Progress = silent) -> PrelabelReport:
    """Predict on the planned images, and write their labelme files.

    Args:
        plan: of ``plan_prelabels``.
        pipeline: the models; a point with a lower score than its ``kpt_thr`` gets the flag ``occluded``.
        progress: told how many images are done.

    Raises:
        RequestError: another run writes into the same folder, or it has another skeleton.
        OutputError: a file cannot be written, or what was predicted is not finite.
    """
    report = PrelabelReport(kept=plan.kept, problems=list(plan.problems))
    found = each_predicted(pipeline, ((task, task.image) for task in plan.tasks))
    with only_one_in(plan.folder), closing(found):
        report.skeleton = keep_skeleton(plan.folder, pipeline.skeleton)
        for done, (task, result) in enumerate(found, start=1):
            if isinstance(result, str):
                report.problems.append(result)
            else:
                _write(task, result, pipeline, report)
            progress("prelabelling", done, len(plan.tasks))
    return report


def _write(task: PrelabelTask, result: PoseResult, pipeline: PosePipeline, report: PrelabelReport) -> None:
    if _changed(task):
        report.kept += 1
        report.problems.append(f"{task.file}: was saved by somebody while predictions were made; it stays as it is")
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
        raise OutputError(f"{printable(str(task.file))}: cannot be written over: {exc.strerror or exc}") from exc
