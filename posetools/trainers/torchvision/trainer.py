"""torchvision's Keypoint R-CNN as a trainer: one model for the boxes and keypoints of all categories."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path

from posetools.core.categories import load_categories
from posetools.errors import MissingExtraError, RequestError, must_be
from posetools.exporting.export import ExportResult
from posetools.exporting.exporter import BUNDLE, check_out
from posetools.exporting.one_stage import OneStageExport, export_one_stage
from posetools.mm.device import check_device, resolve_device
from posetools.pairs.doubts import doubt_of_checkpoint
from posetools.pairs.open import OpenPair, PipelineOptions
from posetools.progress import Progress
from posetools.runtime.manifest import Thresholds
from posetools.runtime.one_stage import OneStageEstimator, OneStageModel
from posetools.runtime.results import BBOX_THR, KPT_THR, NMS_THR
from posetools.trainers.torchvision.checkpoint import RECIPE, Checkpoint, checkpoint_in, recorded_metrics
from posetools.trainers.torchvision.model import export_onnx, network_of, torch_run
from posetools.trainers.torchvision.recipe import (
    RECIPE_OPTIONS,
    TrainingRecipe,
    choose,
    facts_of,
    read_recipe,
    recipe_file,
    write_recipe,
)
from posetools.trainers.torchvision.train import train_run
from posetools.trainers.trainer import RecipeFiles, RecipeRequest, RunExport
from posetools.training.hooks import StepListener
from posetools.training.pair import TrainAllResult
from posetools.training.request import TrainRequest

EXTRA = "torchvision"
MODEL = "model"
_FOR_TRAINING = {"torch": "torch", "torchvision": "torchvision", "cv2": "opencv-python"}
_FOR_EXPORT = {"onnx": "onnx", "onnxruntime": "onnxruntime"}
_THRESHOLDS = Thresholds(bbox_thr=BBOX_THR, nms_thr=NMS_THR, kpt_thr=KPT_THR)


class Torchvision:
    """The trainer; every module of torch is imported inside functions."""

    title = "torchvision's Keypoint R-CNN"
    stages: tuple[str, ...] = ()
    recipe_options = RECIPE_OPTIONS
    train_options = frozenset({"epochs", "seed"})

    def recipe(self, request: RecipeRequest, listener: StepListener) -> tuple[RecipeFiles, ...]:  # noqa: ARG002
        """Write the recipe, one TOML file."""
        path = recipe_file(request.data, request.out)
        recipe, choices = choose(request.data, request.categories, request.options)
        write_recipe(path, recipe, choices, overwrite=request.overwrite)
        limit = f"at most {recipe.minutes:g} minutes" if recipe.minutes else f"{recipe.epochs} epochs"
        return (
            RecipeFiles(
                (path,), choices, (f"one model, trained for {limit}",), facts_of(request.data, request.categories)
            ),
        )

    def check(self, request: TrainRequest) -> None:
        """Check packages, options and the recipe."""
        _require("posetools train", _FOR_TRAINING)
        check_device(request.device)
        for name, least in (("epochs", 1), ("seed", 0)):
            value = getattr(request, name)
            if value is not None and value < least:
                raise RequestError(must_be(f"--{name}", f"at least {least}", value))
        recipe = _recipe(request)
        if recipe is not None and recipe.data.resolve() != request.folder.resolve():
            raise RequestError(
                f"{_found(request)}: is for the data set {recipe.data}, not for {request.folder}",
                hint="write its own with `posetools config --trainer torchvision`",
            )
        resolve_device(request.device)

    def train(self, request: TrainRequest, listener: StepListener) -> TrainAllResult:
        """Train the model."""
        run, recipe = Path(request.work_dir or ""), _recipe(request)
        path = recipe_file(request.folder, request.configs)
        if recipe is None:
            recipe, choices = choose(request.folder, request.categories, {})
            write_recipe(path, recipe, choices, overwrite=False)
            listener.say(f"no recipe for {request.folder} in {request.configs}: wrote {path}")
        if request.seed is not None:
            recipe = recipe.model_copy(update={"seed": request.seed})
        train = partial(train_run, resume=request.resume, epochs=request.epochs)
        listener.step("train the model", "")
        with listener.training() as told:
            result = train(recipe, request.categories, run, resolve_device(request.device), told)
        return TrainAllResult(work_dir=run, models={MODEL: result}, evaluation=None)

    def open(
        self, run: Path, options: PipelineOptions, *, what: str, fast: bool = False
    ) -> OpenPair[OneStageModel, OneStageEstimator]:
        """Open the best checkpoint of a run."""
        _require(what, _FOR_TRAINING)
        options.check()
        for name in ("flip_test", "amp"):
            if getattr(options, name):
                raise RequestError(f"--{name.replace('_', '-')}: {self.title} does not have this option")
        path, device = checkpoint_in(run), resolve_device(options.device)
        found = Checkpoint.load(path, device)
        categories, thresholds = found.categories, options.thresholds(_THRESHOLDS)
        network = network_of(found.recipe, categories)
        score_thr = thresholds.bbox_thr if fast else None
        model = OneStageModel(torch_run(found.network(path, device)), network, score_thr=score_thr)
        estimators = model.estimators(categories)
        if options.skeleton is not None:
            categories = load_categories(options.skeleton)
        names = [str(path), *(f"{path}, {name}" if len(estimators) > 1 else str(path) for name in categories.posed)]
        doubt = doubt_of_checkpoint(path)
        doubts = (doubt,) if doubt else ()
        return OpenPair(model, estimators, categories, thresholds, path, tuple(names), doubts)

    def export(self, request: RunExport, progress: Progress) -> ExportResult:
        """Write a bundle with one ONNX file."""
        _require("posetools export", _FOR_TRAINING | _FOR_EXPORT)
        if request.precision != "float32":
            option = "--half" if request.precision == "float16" else "--int8"
            raise RequestError(f"{option}: {self.title} is exported in float32 only", hint=f"leave {option} out")
        check_out(request.out, BUNDLE.suffix, overwrite=request.overwrite)
        options = PipelineOptions(device=request.device, flip_test=request.flip_test)
        pair = self.open(request.run, options, what="posetools export")
        found = Checkpoint.load(pair.source, "cpu")
        thresholds = Thresholds(bbox_thr=request.bbox_thr, nms_thr=request.nms_thr, kpt_thr=request.kpt_thr)
        asked = OneStageExport(
            trained=pair.detector,
            categories=pair.categories,
            onnx=export_onnx(found.network(pair.source, "cpu"), pair.detector.network),
            packages=("torch", "torchvision", "onnx", "onnxruntime"),
            out=request.out,
            data=request.data,
            known_data=found.recipe.data,
            split=request.split,
            images=request.images,
            samples=request.samples,
            thresholds=thresholds,
            metrics=recorded_metrics(pair.source, found.epoch),
            doubts=pair.doubts,
            overwrite=request.overwrite,
        )
        return export_one_stage(asked, progress)


TRAINER = Torchvision()


def _require(what: str, packages: dict[str, str]) -> None:
    for module, package in packages.items():
        if find_spec(module) is None:
            raise MissingExtraError(what, EXTRA, package)


def _found(request: TrainRequest) -> Path:
    """Return the file of a request's recipe: of a resumed run the one in its folder."""
    run = Path(request.work_dir or "") / RECIPE
    return run if request.resume and run.is_file() else recipe_file(request.folder, request.configs)


def _recipe(request: TrainRequest) -> TrainingRecipe | None:
    path = _found(request)
    return read_recipe(path) if path.is_file() else None
