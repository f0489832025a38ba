"""The default trainer: OpenMMLab's RTMDet and RTMPose, a detector and a pose estimator for each skeleton."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from posetools.core.folder import need_folds
from posetools.core.stages import STAGES
from posetools.exporting.export import ExportRequest, ExportResult, export
from posetools.mm.inference import Detector, PoseEstimator
from posetools.mm.stack import require_train
from posetools.pairs.find import pair_of_run
from posetools.pairs.open import OpenPair, PipelineOptions, open_models
from posetools.progress import Progress
from posetools.recipes.emit import ChosenPair
from posetools.recipes.options import PRETRAINED, build_options
from posetools.trainers.trainer import RecipeFiles, RecipeRequest, RunExport
from posetools.training.hooks import StepListener, TrainListener
from posetools.training.pair import TrainAllResult, check_both, train_all
from posetools.training.recipe import emit_folds
from posetools.training.request import TrainRequest

# Options of the whole recipe; of both models alike; of both, unless `--det-` or `--pose-` states it for one.
_WHOLE = ("minutes", "workers", "seed")
_FOR_BOTH = ("stage2_epochs", "val_interval", "augmentation", "freeze")
_SHARED = ("input_size", "epochs", "lr", "batch_size")
_EACH = (*_SHARED, "load_from")
_OF_STAGES = (*STAGES, *(f"{stage}_{name}" for stage in STAGES for name in _EACH), "rotation")


class OpenMMLab:
    """The pair of OpenMMLab's models as a trainer."""

    title = "OpenMMLab's RTMDet and RTMPose"
    stages: tuple[str, ...] = STAGES
    recipe_options = frozenset(
        ("recipe", *_WHOLE, *_FOR_BOTH, *_SHARED, "pretrained", "backbone", *_OF_STAGES, "folds")
    )
    train_options = frozenset(each.name for each in fields(TrainRequest))

    def recipe(self, request: RecipeRequest, listener: StepListener) -> tuple[RecipeFiles, ...]:
        """Write a config of each model; with ``folds`` for each fold."""
        file = request.options.get("recipe")
        options = build_options(Path(str(file)) if file is not None else None, _tables(request.options))
        numbers = need_folds(request.data) if request.folds else (None,)
        shown: AbstractContextManager[TrainListener | None]
        shown = nullcontext() if options.minutes is None else listener.training()
        what = (request.data, request.categories, options, request.out, numbers)
        with shown as told:
            pairs = emit_folds(*what, overwrite=request.overwrite, listener=told)
        *files, last = map(files_of, pairs)
        if files and options.minutes is not None:
            each = f"{options.minutes:g} minutes for {len(pairs)} pairs: {options.minutes / len(pairs):.3g} for each"
            last = replace(last, notes=(*last.notes, each))
        return (*files, last)

    def check(self, request: TrainRequest) -> None:
        """Check all models' requests as far as possible without torch."""
        require_train("posetools train")
        check_both(request)

    def train(self, request: TrainRequest, listener: StepListener) -> TrainAllResult:
        """Train all models one after the other, and evaluate them together."""
        return train_all(request, listener)

    def open(
        self, run: Path, options: PipelineOptions, *, what: str, fast: bool = False
    ) -> OpenPair[Detector, PoseEstimator]:
        """Open the newest best models of a run."""
        require_train(what)
        options.check()
        return open_models(pair_of_run(run), options, what=what, fast=fast)

    def export(self, request: RunExport, progress: Progress) -> ExportResult:
        """Write a bundle with an ONNX file of each model."""
        require_train("posetools export")
        given = {each.name: getattr(request, each.name) for each in fields(request) if each.name != "run"}
        return export(ExportRequest(pair=pair_of_run(request.run), **given), progress)


TRAINER = OpenMMLab()


def files_of(pair: ChosenPair) -> RecipeFiles:
    """Return the files of a pair's recipe."""
    return RecipeFiles(tuple(pair.configs.values()), tuple(pair.recipe.choices), pair.notes, str(pair.facts.shapes))


def _tables(stated: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Return the options by table of the TOML file; None: not stated."""
    pretrained: Any = stated.get("pretrained")
    load_from, *backbones = PRETRAINED[pretrained]
    tables: dict[str, dict[str, object]] = {"": {name: stated.get(name) for name in _WHOLE}}
    for stage, backbone in zip(STAGES, backbones, strict=True):
        table = {name: stated.get(name) for name in _FOR_BOTH}
        for name in _SHARED:
            table[name] = _own(stated.get(f"{stage}_{name}"), stated.get(name))
        batch = table["batch_size"]
        table["batch_size"] = int(batch) if isinstance(batch, str) and batch.isdigit() else batch
        table["size"] = stated.get(stage)
        table["backbone"] = _own(stated.get("backbone"), backbone)
        table["load_from"] = _own(stated.get(f"{stage}_load_from"), load_from)
        tables[stage] = table
    tables["pose"]["rotation"] = stated.get("rotation")
    return tables


def _own(own: object, shared: object) -> object:
    """Return the value of one stage if given, else the value of both."""
    return shared if own is None else own
