"""Checks before the first iteration, so that a run does not fail hours later.

All problems are reported in one message, each with its fix.
"""

from __future__ import annotations

import contextlib
import copy
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posetools.checks.validate import validate
from posetools.core.categories import Categories
from posetools.core.coco_document import read_document
from posetools.core.findings import Severity
from posetools.core.folder import SPLITS, ann_file, fold_split, split_command
from posetools.core.skeleton import Skeleton
from posetools.core.stages import Stage
from posetools.errors import PosetoolsError, RequestError, hint_lines, must_be, quoted
from posetools.mm.configs import SCOPES, ann_file_of, data_root_of, inner_dataset
from posetools.mm.device import resolve_device
from posetools.mm.stack import building
from posetools.mm.weights import WeightsSource, check_weights, fits_starter, weights_sources
from posetools.recipes.starter import STARTER_SIZES

# Seconds to wait for a server with weights.
TIMEOUT = 10.0
# Findings of validate in the message; `posetools validate` lists all.
_LISTED_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem and its fix."""

    text: str
    fix: str


def check_run(
    config: Any, stage: Stage, categories: Categories, *, device: str, amp: bool, say: Callable[[str], None]
) -> str:
    """Check everything about the run, and return its device.

    Raises:
        RequestError: the list of problems, each with its fix.
    """
    given, unreachable = _load_weights(config, stage, say)
    found = [*_validation(config), *unreachable, *_data(config, stage, categories)]
    chosen, on_device = _device(device, amp=amp)
    found += on_device
    if not found:
        # With the problems above, building the data sets mostly fails, with less clear messages.
        fix = "use weights of the same architecture and size, or --weights none for random weights"
        found = [Problem(problem, fix) for problem in check_weights(config, stage, given, say)]
        found += _counts(config, stage)
    if found:
        number = f"{len(found)} problems" if len(found) > 1 else "one problem"
        raise RequestError(
            f"{config.filename}: training is refused, for {number}:",
            *(
                line
                for i, problem in enumerate(found, start=1)
                for line in (f"{i}. {problem.text}", *(f"   {fix}" for fix in hint_lines(problem.fix)))
            ),
        )
    return chosen


def _device(asked: str, *, amp: bool) -> tuple[str, list[Problem]]:
    try:
        device = resolve_device(asked)
    except RequestError as exc:
        return asked, [Problem(exc.sentence, exc.hint)]
    if amp and device == "cpu":
        return device, [Problem("--amp requires a GPU, but this run is on the CPU", "omit --amp")]
    return device, []


def _validation(config: Any) -> Iterator[Problem]:
    missing = [name for name in ("val_dataloader", "val_evaluator", "val_cfg") if config.get(name) is None]
    if missing:
        yield Problem(
            f"{config.filename}: {' and '.join(missing)} must be set: the best checkpoint is chosen by evaluation",
            "run `posetools config` for a config with all of them; `posetools split` creates a val split",
        )


def _load_weights(
    config: Any, stage: Stage, say: Callable[[str], None]
) -> tuple[dict[WeightsSource, Mapping[str, Any]], list[Problem]]:
    """Return the checkpoints that a config starts from, and the problems with loading others."""
    given, problems = dict[WeightsSource, Mapping[str, Any]](), []
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        for one in weights_sources(config):
            try:
                checkpoint = one.load(say)
            except PosetoolsError as exc:
                problems.append(Problem(f"weights ({one.place}): {exc.sentence}", _other_weights(config, stage)))
                continue
            if checkpoint is not None:
                given[one] = checkpoint
    finally:
        socket.setdefaulttimeout(before)
    return given, problems


def _other_weights(config: Any, stage: Stage) -> str:
    starter = "--weights starter"
    if not fits_starter(config, stage):
        starter = f"`posetools config {quoted(data_root_of(config))} {STARTER_SIZES} --pretrained starter`"
    return (
        f"use {starter} for the starter weights in posetools; or --weights none for random weights; or download the "
        "file on another machine and pass it with --weights FILE"
    )


def _data(config: Any, stage: Stage, categories: Categories) -> Iterator[Problem]:
    datasets = {split: inner_dataset(loader) for split in SPLITS if (loader := config.get(f"{split}_dataloader"))}
    there = {split: dataset for split, dataset in datasets.items() if ann_file_of(dataset).is_file()}
    for split in sorted(datasets.keys() - there.keys()):
        file = ann_file_of(datasets[split])
        fix = (
            "data_root in the config is relative to the current folder; `posetools convert` and `posetools split` "
            "create both files"
        )
        others = (ann_file(file.parent, other) for other in SPLITS)
        if file == ann_file(file.parent, split) and any(other.is_file() for other in others):
            fix = f"`{split_command(file.parent)}` creates both train and val"
        yield Problem(f"{split}: {file} does not exist: training needs a train and a val split", fix)
    for split, dataset in there.items():
        try:
            entries = read_document(ann_file_of(dataset)).entries("categories")
        except PosetoolsError as exc:
            yield Problem(exc.sentence, "write the file again with `posetools convert`")
            continue
        known = [entry for entry in entries if isinstance(entry, dict)]
        if stage == "det":
            yield from _classes(config, split, dataset, known, categories)
        else:
            yield from _keypoints(config, split, dataset, known, categories.skeletons[0])
    root = data_root_of(config)
    # With other annotation file names, the data set has not the layout that validate expects.
    folder, fold = (Path(config.annotations), None) if config.get("annotations") else (root, config.get("fold"))
    files = [ann_file(folder, fold_split(fold, split)) for split in SPLITS]
    if [ann_file_of(dataset) for dataset in there.values()] == files:
        yield from _findings(root, None if config.get("annotations") else categories)


def _classes(
    config: Any, split: str, dataset: Any, known: Sequence[Mapping[str, Any]], categories: Categories
) -> Iterator[Problem]:
    classes = (dataset.get("metainfo") or {}).get("classes")
    if classes is None:
        classes = ()
    place = f"E133 {config.filename}: {split}_dataloader.dataset.metainfo: classes"
    if isinstance(classes, str):
        yield Problem(must_be(place, "a tuple or a list", classes), f"write ({classes!r}, ), with the comma")
        return
    names = [category.get("name") for category in known]
    if not classes or not set(classes) <= set(names):
        rule = f"names of categories in {ann_file_of(dataset)} ({', '.join(map(str, names)) or 'none'})"
        yield Problem(
            must_be(place, rule, tuple(classes)),
            f"with other names MMDet skips every image; this data set's is {categories.told}",
        )
    head = config.model.get("bbox_head") or {}
    if split == SPLITS[0] and classes and head.get("num_classes", len(classes)) != len(classes):
        yield Problem(
            must_be(f"{config.filename}: model.bbox_head.num_classes", f"{len(classes)}", head["num_classes"]),
            "set it to the number of classes in metainfo",
        )


def _keypoints(
    config: Any, split: str, dataset: Any, known: Sequence[Mapping[str, Any]], skeleton: Skeleton
) -> Iterator[Problem]:
    k = skeleton.num_keypoints
    fix = f"run `posetools config {quoted(data_root_of(config))}` for a config for skeleton {skeleton.name}"
    named = [list(entry.get("keypoints", ())) for entry in known if entry.get("name") == skeleton.category.name]
    for names in named or [[]]:
        if names != list(skeleton.names):
            rule = f"the {k} keypoints of skeleton {skeleton.name}, in its order"
            yield Problem(must_be(f"{ann_file_of(dataset)}: categories: keypoints", rule, names), fix)
    metainfo = dataset.get("metainfo") or {}
    place = f"{config.filename}: {split}_dataloader.dataset.metainfo"
    info = metainfo.get("keypoint_info")
    if info is not None and [point["name"] for point in info.values()] != list(skeleton.names):
        got = [point["name"] for point in info.values()]
        yield Problem(must_be(f"{place}: keypoint_info", f"the {k} keypoints of skeleton {skeleton.name}", got), fix)
    sigmas = metainfo.get("sigmas")
    if sigmas is not None and len(sigmas) != k:
        yield Problem(must_be(f"E131 {place}: sigmas", f"{k} numbers", f"{len(sigmas)} numbers"), fix)
    channels = (config.model.get("head") or {}).get("out_channels")
    if channels != k and split == SPLITS[0]:
        rule = f"{k}, the number of keypoints of skeleton {skeleton.name}"
        yield Problem(must_be(f"{config.filename}: model.head.out_channels", rule, channels), fix)


def _findings(root: Path, categories: Categories | None) -> Iterator[Problem]:
    report = validate(root, skeleton=categories.only if categories and len(categories) == 1 else None)
    errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    for finding in errors[:_LISTED_PROBLEMS]:
        fix = finding.hint or f"run `posetools validate {quoted(root)}` for details"
        yield Problem(f"{finding.code} {finding.where}: {finding.message}", fix)
    if len(errors) > _LISTED_PROBLEMS:
        yield Problem(
            f"{root}: {len(errors) - _LISTED_PROBLEMS} more errors",
            f"run `posetools validate {quoted(root)}` to list all of them",
        )


def _counts(config: Any, stage: Stage) -> Iterator[Problem]:
    from mmengine.registry import DATASETS

    for split in SPLITS:
        loader = copy.deepcopy(config[f"{split}_dataloader"])
        # Serializing an empty data set fails with a numpy error.
        inner_dataset(loader)["serialize_data"] = False
        with building(f"{config.filename}: the {split} data set", SCOPES[stage]):
            dataset = DATASETS.build(loader["dataset"])
        if not _has_objects(dataset, stage):
            package = {"det": "MMDet", "pose": "MMPose"}[stage]
            kind = {"det": "boxes", "pose": "objects with labeled keypoints"}[stage]
            path = ann_file_of(inner_dataset(loader))
            yield Problem(
                f"{split}: {path} has no {kind} left after {package}'s filter",
                f"run `posetools validate {quoted(path.parent)}` to see why",
            )


def _has_objects(dataset: Any, stage: Stage) -> bool:
    if stage == "pose":
        # One entry per object; those without labeled keypoints are filtered.
        return len(dataset) > 0
    with contextlib.suppress(AttributeError):
        infos = (dataset.get_data_info(i) for i in range(len(dataset)))
        return any(not entry["ignore_flag"] for info in infos for entry in info["instances"])
    # A wrapper without get_data_info: only its length is known.
    return len(dataset) > 0
