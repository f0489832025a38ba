"""From a folder of labeled images to a verified bundle in one call: the work behind ``posetools fit``.

Each step is the function of an ordinary command, and is shown as it would be typed. A finished step is recorded in
fit.json and skipped by the next call; a stopped training resumes.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from posetools.checks.validate import validate
from posetools.core.folder import IMAGES, ann_file, categories_of, is_data_set
from posetools.core.stages import MODEL_NAMES, STAGES, stage_of
from posetools.datasets.convert import convert
from posetools.errors import PosetoolsError, RequestError, RunError, StoppedError, counted, must_be, quoted
from posetools.evaluation.report import as_document
from posetools.evaluation.run import EvalRequest, evaluate
from posetools.exporting.export import ExportRequest, export
from posetools.files.disk import write_json
from posetools.files.locks import only_one_in
from posetools.formats.coco.format import read_split
from posetools.formats.sources.zip_sources import in_zip
from posetools.imaging.header import save_image
from posetools.mm.device import this_machine
from posetools.mm.run_folder import model_folders
from posetools.mm.run_log import find_runs, read_run
from posetools.mm.stack import prepare, require_train
from posetools.pages.evaluation.page import write_report as write_evaluation
from posetools.pages.fit.page import FitPage, write_fit_page
from posetools.pages.validation.page import write_report as write_validation
from posetools.pairs.find import pair_of_run
from posetools.pairs.pipeline import PosePipeline
from posetools.recipes.budget import enough_iterations
from posetools.recipes.emit import EmittedPair
from posetools.recipes.options import PRETRAINED, DetSize, PoseSize, RecipeOptions, build_options
from posetools.recipes.sizes import sizes_for
from posetools.runtime.bundle import Bundle
from posetools.runtime.verify import verify
from posetools.training.curves import draw_curves
from posetools.training.dry_run import Limits, dry_run
from posetools.training.estimate import summary
from posetools.training.pair import model_requests, train_both
from posetools.training.recipe import emit_fitting
from posetools.training.request import TrainRequest
from posetools.workflow.figures import FitFigures
from posetools.workflow.fit_folder import FitFolder, TypedOptions, fingerprint
from posetools.workflow.fit_request import FitListener, FitRequest, FitResult
from posetools.workflow.prediction_sheet import prediction_sheet

# The steps in order; the first and the last are the demo's.
STEPS = (
    *("render", "convert", "validate", "config", "estimate", "train"),
    *("eval", "plot", "export", "verify", "draw", "predict"),
)
# The options of `convert` that settle what labels mean in most sources.
CONVERT_OPTIONS = (
    *("--from", "--skeleton", "--map", "--ignore", "--one-object-per-image", "--box-from"),
    *("--val", "--split-by"),
)
# The dry run before training measures for this fraction of its time, and no longer than usual.
_ESTIMATE_SHARE = 0.01


def fit(request: FitRequest, listener: FitListener) -> FitResult:
    """Convert, validate, train, evaluate, export and verify, or continue where an earlier call stopped.

    Args:
        request: what to fit.
        listener: receives progress.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: an option is invalid, ``out`` has other files, or a fit with other options or another source.
        InputError: a file cannot be read.
        RunError: labels have errors that a person has to decide on, or a step failed.
        StoppedError: the user stopped it; the message says how to continue.
        OutputError: something cannot be written.
    """
    require_train("posetools fit")
    source = request.source
    if not source.exists() and not in_zip(source):
        raise RequestError(f"{source}: must be a folder or file with labels, but does not exist")
    with open_fit(request, listener) as run:
        run.fit()
        return run.finish({})


@contextmanager
def open_fit(request: FitRequest, listener: FitListener) -> Iterator[FitRun]:
    """Yield a fit in its folder, which is locked; see ``fit`` for the errors."""
    if request.minutes <= 0:
        raise RequestError(must_be("--minutes", "greater than 0", request.minutes))
    require_train("posetools fit")
    folder = FitFolder(request.out)
    folder.check(request.typed, overwrite=request.overwrite)
    with only_one_in(request.out):
        folder.start()
        run = FitRun(request, folder, listener)
        try:
            yield run
        except KeyboardInterrupt as exc:
            way = f"{request.command} continues from there"
            raise StoppedError(f"stopped during {run.step}; finished steps are kept", way=way) from exc


class FitRun:
    """One call of a fit: a method for each step.

    Attributes:
        step: the current step.
    """

    def __init__(self, request: FitRequest, folder: FitFolder, listener: FitListener) -> None:
        self.step = "the start"
        self._request, self._folder, self._listener = request, folder, listener
        self._is_data_set = is_data_set(request.source)
        self._data = request.source if self._is_data_set else folder / "data"
        stated = request.conversion.skeleton
        # A converted data set has its own.
        self._skeleton = str(stated) if stated is not None and self._is_data_set else None

    def fit(self) -> None:
        """Do all steps, from the labels to the verified bundle and the sheet."""
        self._prepare_data()
        with self._continues():
            pair = self._config()
            self.once("estimate", [], lambda: self._estimate(pair))
            self.once("train", [self._folder / model for model in pair.configs], lambda: self._train(pair))
            self.once("eval", [self._folder / name for name in ("evaluation.html", "evaluation.json")], self._evaluate)
            self.once("plot", [self._folder / "curves.png"], self._plot)
            self.once("export", [self._folder.bundle], self._export)
            self.once("verify", [], self._verify)
            self.once("draw", [self._folder / "predictions.png"], self._draw)

    def once(self, step: str, made: Sequence[Path], work: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Do a step unless it is done and its files exist; return its results.

        Args:
            step: one of STEPS.
            made: its files and folders.
            work: does it, and returns what later steps and the report need, as JSON values.
        """
        self.step = step
        done = self._folder.done.get(step)
        if done is not None and all(path.exists() for path in made):
            self._listener.say(f"{step}: done before")
            return done
        self._folder.forget_from(step, STEPS)
        started = time.monotonic()
        results = work()
        self._folder.add(step, {**results, "seconds": round(time.monotonic() - started, 1)})
        return self._folder.done[step]

    def finish(self, more: Mapping[Path, str]) -> FitResult:
        """Write the report page, and return the result.

        Args:
            more: further output file or folder -> what it is.
        """
        folder, done = self._folder, self._folder.done
        figures = FitFigures.from_dict(done["eval"]["figures"])
        page = folder / "report.html"
        files = {
            folder / "evaluation.html": "evaluation: metrics, curves, the worst cases",
            folder / "validation.html": f"validation of the data set: {done['validate']['verdict']}",
            folder / "predictions.png": "labels and predictions side by side",
            folder.bundle: "the bundle: the pair without PyTorch and OpenMMLab",
            folder / "curves.png": "learning curves",
            folder / "configs": "the configs",
            **{folder / model: _run_text(model) for model in done["config"]["trained"]},
            self._data: "the data set",
            **more,
        }
        seconds = {step: float(results["seconds"]) for step, results in done.items()}
        summary_page = FitPage(
            name=folder.out.resolve().name,
            usable=figures.usable,
            sentences=figures.sentences,
            metrics=figures.metrics,
            measured_on=f"{counted(figures.images, 'validation image')} with {counted(figures.objects, 'object')}",
            files=files,
            images={
                folder / "predictions.png": "Labels and predictions",
                folder / "curves.png": "Learning curves",
            },
            seconds=seconds,
        )
        write_fit_page(page, summary_page)
        return FitResult(figures=figures, seconds=seconds, bundle=folder.bundle, files={page: "the report", **files})

    def say_step(self, title: str, *words: object) -> None:
        """Show the next step and its command."""
        self._listener.step(title, shlex.join(["posetools", *map(str, words)]) if words else "")

    def _prepare_data(self) -> None:
        if not self._is_data_set:
            self._check_unchanged("convert")
            self.once("convert", [self._data], self._convert)
        else:
            options = [name for name in self._typed(*CONVERT_OPTIONS) if name != "--skeleton"]
            if options:
                raise RequestError(
                    f"{self._data}: is a data set, so there are no labels to convert with {', '.join(options)}",
                    hint="leave these options out",
                )
            self._check_unchanged("validate")
            self._listener.say(f"convert: {self._data} is a data set already")
        self.once("validate", [self._folder / "validation.html"], self._validate)

    def _check_unchanged(self, step: str) -> None:
        """Refuse to continue with a source that has changed since a step that read it."""
        before = self._folder.done.get(step, {}).get("source")
        if before is not None and before != (now := fingerprint(self._request.source)):
            raise RequestError(
                f"{self._request.source}: has changed since {self._folder.out} was started: "
                f"{counted(before['files'], 'file')} then, {counted(now['files'], 'file')} now",
                hint="use --overwrite to start again with the new labels, or another --out",
            )

    def _convert(self) -> Mapping[str, Any]:
        request = self._request
        options = self._typed(*CONVERT_OPTIONS, "--seed")
        self.say_step("convert the labels", "convert", request.source, "--out", self._data, *words_of(options))
        asked = replace(request.conversion, sources=(request.source,), out=self._data, overwrite=True)
        source = fingerprint(request.source)
        try:
            with self._listener.progress() as progress:
                result = convert(asked, progress)
        except PosetoolsError as exc:
            exc.add_note(self._other_options())
            raise
        self._listener.converted(result, asked)
        if not result.written:
            raise RunError(
                f"{request.source}: the labels need a decision: see the findings above",
                self._other_options(),
                hint="correct the labels, or add the option that a finding names",
                way=f"then continue with {request.command}",
            )
        return {"source": source}

    def _typed(self, *names: str) -> TypedOptions:
        return {name: values for name, values in self._request.typed.items() if name in names}

    def _other_options(self) -> str:
        source, data = quoted(self._request.source), quoted(Path("data") / self._request.out.resolve().name)
        return (
            f"fit takes {', '.join(CONVERT_OPTIONS)}; with another option, first run `posetools convert {source} "
            f"--out {data} OPTION`, then `posetools fit {data}`"
        )

    def _validate(self) -> Mapping[str, Any]:
        page, skeleton = self._folder / "validation.html", self._skeleton
        self.say_step("validate the data set", "validate", self._data, "--report", page, *self._skeleton_words())
        source = fingerprint(self._request.source)
        with self._listener.progress() as progress:
            report = validate(self._data, skeleton=skeleton, progress=progress)
            write_validation(report, page, progress=progress)
        self._listener.validated(report)
        if not report.ok():
            fixable = any(finding.fixable for finding in report.findings)
            raise RunError(
                f"{self._data}: has {counted(report.errors, 'error')}: see the findings above and {page}",
                hint=f"run `posetools validate {quoted(self._data)} --fix`" if fixable else "correct the labels",
                way=f"then continue with {self._request.command}",
            )
        return {"source": source, "verdict": report.verdict.sentence}

    def _config(self) -> EmittedPair:
        folder, known = self._folder / "configs", self._folder.done.get("config", {})
        done = self.once("config", [folder / known[model] for model in known.get("trained", ())], self._emit)
        return EmittedPair({model: folder / done[model] for model in done["trained"]})

    def _emit(self) -> Mapping[str, Any]:
        request, folder = self._request, self._folder / "configs"
        det, pose, reason = sizes_for(this_machine())
        det, pose = request.det or det, request.pose or pose
        options: TypedOptions = {"--det": [det], "--pose": [pose], "--minutes": [f"{request.minutes:g}"]}
        words = (*words_of({**options, **self._typed("--pretrained", "--seed")}), *self._skeleton_words())
        self.say_step("write the configs", "config", self._data, "--out", folder, *words)
        if request.det is None or request.pose is None:
            self._listener.say(f"sizes: {reason}")
        categories = categories_of(self._data, self._skeleton)
        with self._listener.training() as told:
            pair = emit_fitting(self._data, categories, self._recipe(det, pose), folder, overwrite=True, listener=told)
        self._listener.emitted(pair)
        trained = {
            model: [recipe.iterations, enough_iterations(recipe.stage, recipe.samples, recipe.batch_size)]
            for model, recipe in pair.recipe.models.items()
        }
        return {**{model: path.name for model, path in pair.configs.items()}, "trained": trained}

    def _recipe(self, det: DetSize, pose: PoseSize) -> RecipeOptions:
        request = self._request
        load_from, *backbones = PRETRAINED[request.pretrained]
        own: dict[str, dict[str, object]] = {
            stage: {"size": size, "load_from": load_from, "backbone": backbone}
            for stage, size, backbone in zip(STAGES, (det, pose), backbones, strict=True)
        }
        return build_options(None, {"": {"minutes": request.minutes, "seed": request.seed}, **own})

    def _estimate(self, pair: EmittedPair) -> Mapping[str, Any]:
        """Try the training, and ask whether to begin."""
        configs = tuple(pair.configs.values())
        words = (*(word for path in configs for word in ("--config", path)), "--work-dir", self._request.out)
        self.say_step("estimate the training", "train", "--stage", "all", *words, "--dry-run")
        prepare("posetools fit")
        requests = model_requests(replace(self._training(), pair=configs))
        limits = Limits(seconds=min(Limits().seconds, _ESTIMATE_SHARE * 60 * self._request.minutes))
        with self._listener.training() as told:
            found = summary({model: dry_run(own, told, limits=limits) for model, own in requests.items()})
        if not self._listener.agrees(found):
            raise StoppedError("not trained")
        return {"estimated": round(found.seconds)}

    def _training(self) -> TrainRequest:
        out = self._request.out
        resume = any(any(folder.glob("*.py")) for folder in model_folders(out))
        return TrainRequest(stage="det", work_dir=out, resume=resume, skeleton=self._skeleton)

    def _train(self, pair: EmittedPair) -> Mapping[str, Any]:
        results = train_both(replace(self._training(), pair=tuple(pair.configs.values())), self._listener)
        # A slower or faster machine changes the number; a finished run that is only found has none.
        planned = self._folder.done["config"]["trained"]
        done = {model: [one.iterations or planned[model][0], planned[model][1]] for model, one in results.items()}
        return {"trained": done}

    def _evaluate(self) -> Mapping[str, Any]:
        out, page, document = self._request.out, self._folder / "evaluation.html", self._folder / "evaluation.json"
        self.say_step("evaluate the pair", "eval", "--run", out, "--report", page, "--json", document)
        with self._listener.progress() as progress:
            report = evaluate(EvalRequest(run=out), progress)
            write_evaluation([report], page, progress)
        write_json(document, as_document([report]))
        self._listener.evaluated(report)
        return {"figures": FitFigures.of(report, self._folder.done["train"]["trained"]).as_dict()}

    def _plot(self) -> Mapping[str, Any]:
        out, path = self._request.out, self._folder / "curves.png"
        self.say_step("plot the learning curves", "plot", out, "--out", path)
        draw_curves([read_run(folder) for folder in find_runs(out)], path)
        return {}

    def _export(self) -> Mapping[str, Any]:
        out, bundle = self._request.out, self._folder.bundle
        self.say_step("export the pair as a bundle", "export", "--run", out, "--out", bundle, "--overwrite")
        with self._listener.progress() as progress:
            result = export(ExportRequest(pair=pair_of_run(out), out=bundle, overwrite=True), progress)
        self._listener.exported(result)
        return {}

    def _verify(self) -> Mapping[str, Any]:
        bundle = self._folder.bundle
        self.say_step("verify the bundle", "verify", bundle)
        archive = Bundle.open(bundle)
        report = verify(archive.manifest, archive.sample_images(), PosePipeline.from_bundle(bundle))
        self._listener.verified(report, bundle)
        if not report.ok:
            raise RunError(f"{bundle}: gives other results than at its export")
        return {}

    def _draw(self) -> Mapping[str, Any]:
        self.say_step("draw labels and predictions of validation images")
        categories = categories_of(self._data, self._skeleton)
        val = read_split(ann_file(self._data, "val"), self._data / IMAGES, categories).dataset
        sheet = prediction_sheet(val, PosePipeline.from_bundle(self._folder.bundle))
        save_image(sheet, self._folder / "predictions.png")
        return {}

    def _skeleton_words(self) -> tuple[str, ...]:
        return () if self._skeleton is None else ("--skeleton", self._skeleton)

    @contextmanager
    def _continues(self) -> Iterator[None]:
        """Make errors of a step name the command that continues the fit."""
        command = self._request.command
        try:
            yield
        except StoppedError as exc:
            raise StoppedError(exc.sentence, *exc.details, way=f"{command} continues from there") from exc
        except RunError as exc:
            way = f"continue with {command}"
            raise RunError(exc.sentence, *exc.details, hint=exc.advice, way=way) from exc


def _run_text(model: str) -> str:
    return f"the run of the {MODEL_NAMES[stage_of(model)]}: checkpoints, the config as run, the log"


def words_of(options: TypedOptions) -> list[str]:
    """Return options as typed words; an option without values is a switch."""
    return [word for name, values in options.items() for words in _pairs(name, values) for word in words]


def _pairs(name: str, values: Sequence[str]) -> list[tuple[str, ...]]:
    return [(name, value) for value in values] or [(name,)]
