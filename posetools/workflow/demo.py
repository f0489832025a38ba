"""The demo: the whole workflow on rendered cars, with the functions of the commands, in a few minutes, offline.

It renders cars with labelme files, converts and validates them, emits configs, trains both stages from random weights,
evaluates them, and draws their predictions. It first measures how many iterations fit, so that it takes about the same
time on any machine. It shows every step; it does not make good models.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from posetools.checks.validate import validate
from posetools.core.dataset import Dataset
from posetools.core.folder import IMAGES, ann_file, skeleton_of
from posetools.core.stages import MODEL_NAMES, STAGES, Stage
from posetools.datasets.convert import ConvertRequest, convert
from posetools.errors import RequestError, RunError, counted, must_be
from posetools.evaluation.report import Report
from posetools.evaluation.run import EvalRequest, evaluate
from posetools.files.disk import write_text
from posetools.formats.coco.format import read_split
from posetools.imaging.header import save_image
from posetools.mm.stack import prepare, require_train
from posetools.pairs.open import open_pair
from posetools.recipes.budget import enough_iterations
from posetools.recipes.emit import EmittedPair, emit_pair
from posetools.recipes.facts import read_facts
from posetools.recipes.options import build_options
from posetools.synth import PLAIN, render_set
from posetools.training.dry_run import Limits, dry_run
from posetools.training.hooks import StepListener
from posetools.training.request import TrainRequest
from posetools.training.train import TrainResult, train
from posetools.workflow import demo_folder
from posetools.workflow.demo_sheet import prediction_sheet

_Result = TypeVar("_Result")

_VAL_BATCH_SIZE = 16
# The fewest for an average.
_FEWEST_ITERATIONS = 2


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """Training settings of one stage.

    Attributes:
        size: of the model.
        input_size: of the network, in pixels: SIDE or WIDTHxHEIGHT.
        batch_size: of training.
        lr: the learning rate at this batch size.
        share: fraction of the training time.
    """

    size: str
    input_size: int | str
    batch_size: int
    lr: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of the demo.

    Attributes:
        images: number of rendered images.
        image_size: their (width, height).
        val: the fraction for validation.
        det: the detector.
        pose: the pose estimator.
        workers: processes for rendering.
        loaders: loader processes for training.
        timed_iterations: iterations of each stage to time first; 0: none, and train one epoch.
        shown: number of images drawn.
        columns: images in a row of the sheet.
        min_score: boxes with a lower score are not drawn.
    """

    images: int = 400
    image_size: tuple[int, int] = (320, 240)
    val: float = 0.12
    det: StageSettings = StageSettings(
        size="tiny",
        input_size="160x128",
        batch_size=8,
        lr=1e-3,
        share=0.4,
    )
    pose: StageSettings = StageSettings(
        size="t",
        input_size=128,
        batch_size=32,
        lr=7e-4,
        share=0.6,
    )
    workers: int = 2
    loaders: int = 0
    timed_iterations: int = 14
    shown: int = 12
    columns: int = 3
    min_score: float = 0.35


# Every step in two iterations: for tests.
QUICK = Settings(
    images=10,
    image_size=(96, 72),
    val=0.2,
    det=replace(Settings.det, input_size=64, batch_size=4),
    pose=replace(Settings.pose, input_size=64, batch_size=8),
    workers=1,
    timed_iterations=0,
    shown=2,
    columns=2,
    min_score=0.0,
)


@dataclass(frozen=True, kw_only=True)
class DemoRequest:
    """The options of a demo.

    Attributes:
        out: the folder for all output.
        minutes: training time of both stages together.
        seed: of the images, the split and training.
        settings: all other settings.
        overwrite: replace an earlier demo even if its folder has other files.
    """

    out: Path
    minutes: float = 6.0
    seed: int = 0
    settings: Settings = field(default_factory=Settings)
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The length of one stage's training.

    Attributes:
        epochs: number of epochs.
        samples: number of samples per epoch, if there is not enough time for all; else None.
        enough: iterations of a recipe without a time limit; 0: not computed.
    """

    epochs: int
    samples: int | None = None
    enough: int = 0

    @property
    def cfg_options(self) -> tuple[str, ...]:
        """Options that limit an epoch to ``samples``."""
        return () if self.samples is None else (f"train_dataloader.dataset.indices={self.samples}",)


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """The result of a demo.

    Attributes:
        det: the detector's evaluation on new cars.
        pose: the pose estimator's evaluation, on labeled and on detected boxes.
        seconds: step -> its duration.
        plans: stage -> its planned length.
        iterations: stage -> trained iterations.
        files: output file or folder -> what it is.
    """

    det: Report
    pose: Report
    seconds: Mapping[str, float]
    plans: Mapping[Stage, TrainingPlan]
    iterations: Mapping[Stage, int]
    files: Mapping[Path, str]


def demo(request: DemoRequest, listener: StepListener) -> DemoResult:
    """Run the whole workflow.

    Args:
        request: the options.
        listener: receives progress.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: ``out`` has files that are not from a demo, or a number is out of range.
        OutputError: something cannot be written.
        RunError: training failed.
    """
    if request.minutes <= 0:
        raise RequestError(must_be("--minutes", "greater than 0", request.minutes))
    require_train("posetools demo")
    demo_folder.claim_folder(request.out, overwrite=request.overwrite)
    prepare("posetools demo")
    run = _DemoRun(request, listener)
    run.timed("render", run.render)
    val = run.timed("convert", run.convert)
    run.timed("validate", run.validate)
    pair = run.timed("config", run.config)
    det = run.timed("train det", lambda: run.train("det", pair.det))
    pose = run.timed("train pose", lambda: run.train("pose", pair.pose))
    reports = run.timed("eval", lambda: (run.evaluate("det", det), run.evaluate("pose", pose, _checkpoint(det))))
    run.timed("draw", lambda: run.draw(val))
    return run.finish(*reports)


class _DemoRun:
    """One demo: one method per step, which reports the step and its command."""

    def __init__(self, request: DemoRequest, listener: StepListener) -> None:
        self._request, self._settings, self._listener = request, request.settings, listener
        self._labelme, self._data, self._recipe = (
            request.out / name for name in (demo_folder.LABELME_FOLDER, demo_folder.DATA_FOLDER, demo_folder.RECIPE)
        )
        self._configs, self._work_dirs = request.out / demo_folder.CONFIGS, request.out / demo_folder.DEMO_WORK_DIRS
        self._seconds: dict[str, float] = {}
        self._plans: dict[Stage, TrainingPlan] = {stage: TrainingPlan(1) for stage in STAGES}
        self._iterations: dict[Stage, int] = {}

    def timed(self, name: str, work: Callable[[], _Result]) -> _Result:
        """Return the result of ``work``, and record its duration."""
        started = time.monotonic()
        result = work()
        self._seconds[name] = round(time.monotonic() - started, 1)
        return result

    def render(self) -> None:
        number, (width, height) = self._settings.images, self._settings.image_size
        self._step(f"rendering {number} images of cars, {width}x{height}, with labelme files")
        with self._listener.progress() as progress:
            render_set(
                self._labelme,
                images=number,
                size=(width, height),
                seed=self._request.seed,
                variety=PLAIN,
                workers=self._settings.workers,
                progress=progress,
            )

    def convert(self) -> Dataset:
        """Convert the images; return the val split."""
        val, seed = self._settings.val, self._request.seed
        words = ("convert", self._labelme, "--out", self._data, "--val", val, "--seed", seed)
        self._step("converting labelme to COCO keypoints, split into train and val", *words)
        request = ConvertRequest(sources=(self._labelme,), out=self._data, val=val, seed=seed)
        with self._listener.progress() as progress:
            result = convert(request, progress)
        if not result.written:
            raise RunError(f"{self._labelme}: cannot be converted: {result.findings[0].message}")
        for split, counts in result.counts.items():
            self._listener.say(f"{split}: {counts.images} images, {counts.instances} cars")
        return read_split(ann_file(self._data, "val"), self._data / IMAGES, skeleton_of(self._data)).dataset

    def validate(self) -> None:
        self._step("validating the data set", "validate", self._data)
        with self._listener.progress() as progress:
            report = validate(self._data, skeleton=skeleton_of(self._data), progress=progress)
        if not report.ok():
            raise RunError(f"{report.findings[0].where}: {report.findings[0].message}")
        self._listener.say(f"no errors, {counted(len(report.findings), 'warning')}")

    def config(self) -> EmittedPair:
        """Emit the configs, with the number of epochs that fit."""
        if self._settings.timed_iterations:
            self._step(f"timing {self._settings.timed_iterations} iterations of each stage, to see how many fit")
            with TemporaryDirectory(dir=self._request.out, prefix=demo_folder.TIMING) as folder:
                pair = self._emit(Path(folder) / demo_folder.RECIPE, Path(folder))
                self._plans = {stage: self._plan(stage, pair, Path(folder)) for stage in STAGES}
        words = ("config", self._data, "--recipe", self._recipe, "--out", self._configs)
        self._step(f"emitting a config for each stage, with the options in {self._recipe}", *words)
        return self._emit(self._recipe, self._configs)

    def train(self, stage: Stage, config: Path) -> TrainResult:
        plan, work_dir = self._plans[stage], self._work_dirs / stage
        options = plan.cfg_options
        words = ("train", "--stage", stage, "--config", config, "--work-dir", work_dir)
        more = ("--cfg-options", *options) if options else ()
        self._step(
            f"training the {MODEL_NAMES[stage]} from random weights, {counted(plan.epochs, 'epoch')}", *words, *more
        )
        request = TrainRequest(stage=stage, config=config, work_dir=work_dir, cfg_options=options)
        with self._listener.training() as listener:
            result = train(request, listener)
        self._iterations[stage] = result.iterations
        return result

    def evaluate(self, stage: Stage, trained: TrainResult, boxes: Path | None = None) -> Report:
        """Evaluate one model; the pose estimator on labeled and on detected boxes."""
        checkpoint = _checkpoint(trained)
        more = ("--boxes", boxes) if boxes else ()
        title = f"evaluating the {MODEL_NAMES[stage]}{', on labeled and on detected boxes' if boxes else ''}"
        self._step(title, "eval", "--stage", stage, checkpoint, *more)
        with self._listener.progress() as progress:
            return evaluate(EvalRequest(checkpoint=checkpoint, stage=stage, boxes=boxes), progress)

    def draw(self, val: Dataset) -> None:
        """Draw labels and predictions of some images on one sheet."""
        self._step("drawing labels and predictions of images not used for training")
        settings = self._settings
        sheet = prediction_sheet(
            val,
            self._data / IMAGES,
            open_pair(run=self._work_dirs),
            shown=settings.shown,
            columns=settings.columns,
            min_score=settings.min_score,
        )
        save_image(sheet, self._request.out / demo_folder.DEMO_SHEET)

    def finish(self, det: Report, pose: Report) -> DemoResult:
        """Write results.json and return the result."""
        out = self._request.out
        files = {
            out / demo_folder.DEMO_SHEET: "labels and predictions side by side",
            self._labelme: "the rendered images with their labelme files",
            self._data: "the data set: images, train_coco.json, val_coco.json, conversion.json",
            self._configs: f"the two configs, from {self._recipe}",
            self._work_dirs: "per stage: checkpoints, the config as run, the log",
            out / demo_folder.DEMO_RESULTS: "all results as JSON",
        }
        result = DemoResult(
            det=det, pose=pose, seconds=self._seconds, plans=self._plans, iterations=self._iterations, files=files
        )
        record = {"minutes": self._request.minutes, "seed": self._request.seed, "settings": asdict(self._settings)}
        trained = {"seconds": result.seconds, "epochs": {stage: plan.epochs for stage, plan in result.plans.items()}}
        reports = {"iterations": result.iterations, "det": det.as_dict(), "pose": pose.as_dict()}
        demo_folder.write_record(out, {"finished": True, **record, **trained, **reports})
        return result

    def _plan(self, stage: Stage, pair: EmittedPair, folder: Path) -> TrainingPlan:
        """Time a few iterations, and return how long a stage can train in its share of the time."""
        settings = self._stage(stage)
        iterations = self._settings.timed_iterations
        seconds = seconds_per_iteration(stage, pair.of(stage), folder / stage, iterations=iterations)
        facts = read_facts(self._data, skeleton_of(self._data)).train
        samples = facts.images if stage == "det" else facts.posed
        plan = plan_training(60 * self._request.minutes * settings.share / seconds, samples, settings.batch_size)
        part = "" if plan.samples is None else f" of {plan.samples} of the {samples} samples"
        self._listener.say(f"{stage}: {seconds:.2f} s per iteration: time for {counted(plan.epochs, 'epoch')}{part}")
        return plan

    def _emit(self, recipe: Path, out: Path) -> EmittedPair:
        shared = {"seed": self._request.seed, "workers": self._settings.loaders}
        stages: dict[str, dict[str, object]] = {}
        for stage in STAGES:
            settings, epochs = self._stage(stage), self._plans[stage].epochs
            stages[stage] = {
                "size": settings.size,
                "input_size": settings.input_size,
                "epochs": epochs,
                "stage2_epochs": epochs,
                "val_interval": epochs,
                "batch_size": settings.batch_size,
                "val_batch_size": _VAL_BATCH_SIZE,
                "lr": settings.lr,
                "backbone": "none",
            }
        write_text(recipe, _recipe_text(shared, stages))
        return emit_pair(self._data, skeleton_of(self._data), build_options(recipe, {}), out)

    def _stage(self, stage: Stage) -> StageSettings:
        return self._settings.det if stage == "det" else self._settings.pose

    def _step(self, title: str, *words: object) -> None:
        self._listener.step(title, shlex.join(["posetools", *map(str, words)]) if words else "")


def plan_training(iterations: float, samples: int, batch_size: int) -> TrainingPlan:
    """Return the number of whole epochs nearest to the available time, or a part of one.

    Args:
        iterations: number of iterations that fit.
        samples: per epoch.
        batch_size: samples per iteration.
    """
    epochs, enough = round(iterations / -(-samples // batch_size)), enough_iterations(samples, batch_size)
    if epochs:
        return TrainingPlan(epochs, enough=enough)
    part = max(_FEWEST_ITERATIONS, int(iterations)) * batch_size
    return TrainingPlan(1, part if part < samples else None, enough)


def seconds_per_iteration(stage: Stage, config: Path, work_dir: Path, *, iterations: int) -> float:
    """Return the seconds per iteration, from a dry run with the real config and data.

    Args:
        stage: which of the two models.
        config: its config.
        work_dir: the work folder of the real run; nothing is written there.
        iterations: number of iterations to run.
    """
    request = TrainRequest(stage=stage, config=config, work_dir=work_dir)
    estimate = dry_run(request, limits=Limits(fewest=iterations, most=iterations, batches=1))
    return estimate.measured.seconds_per_iteration


def _checkpoint(result: TrainResult) -> Path:
    return result.best or result.last


def _recipe_text(shared: Mapping[str, object], stages: Mapping[str, Mapping[str, object]]) -> str:
    """Return the TOML text of shared options, and of one table per stage. Values are strings and numbers."""
    lines = ["# The options of the demo, for `posetools config --recipe`. As training is short, it uses the weaker"]
    lines += ["# augmentation of stage 2 from the start, and evaluates only after the last epoch."]
    for table, options in {"": shared, **stages}.items():
        lines += ["", f"[{table}]"] if table else []
        # JSON strings and numbers are valid TOML.
        lines += [f"{key} = {json.dumps(value)}" for key, value in options.items()]
    return "\n".join(lines) + "\n"
