"""A pair of configs for this machine: measures what is requested, then chooses the recipe.

Only ``batch_size = "auto"`` and ``minutes`` need measurements. Both need the ``train`` extra; without them nothing here
imports torch, unless there is a GPU to query.

``--batch-size auto`` is the largest batch that fits on the GPU, found by doubling. Each trial is a dry run of the real
config: its data, model and optimizer, two iterations. The search ends at the first batch whose peak exceeds the limit
or that runs out of memory. The limit leaves a margin (costs.GPU_SHARE), because images with more objects than those of
the trial need more memory. The search is tested with real runs on the CPU and a lower limit; it has not been run on a
GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from posetools.core.categories import Categories
from posetools.core.folder import fold_folder
from posetools.core.stages import Stage, stage_of
from posetools.errors import RequestError, RunError
from posetools.mm.configs import load_config
from posetools.mm.device import AUTO as ANY_DEVICE
from posetools.mm.device import resolve_device, this_machine
from posetools.mm.downloads import first_unreachable
from posetools.mm.stack import prepare
from posetools.mm.weights import weights_sources
from posetools.recipes.emit import ChosenPair, check_absent, emit_pair, pair_paths
from posetools.recipes.machine import GIB, Machine, busy_text
from posetools.recipes.options import AUTO, RecipeOptions
from posetools.recipes.recipe import GPU_SHARE, Measurement
from posetools.recipes.starter import may_start, with_starter
from posetools.training.dry_run import Limits, dry_run
from posetools.training.estimate import Timing
from posetools.training.hooks import SilentListener, TrainListener
from posetools.training.mishaps import causes
from posetools.training.request import NO_WEIGHTS, TrainRequest

_SMALLEST: dict[Stage, int] = {"det": 2, "pose": 8}
# The largest batches in recipes of these models on one GPU.
_LARGEST: dict[Stage, int] = {"det": 128, "pose": 1024}
# The optimizer's state is in memory from the second iteration on.
_TRIAL = Limits(fewest=2, most=2, batches=1)
_NO_GPU = "auto needs a GPU, and none is available"


def emit_fitting(
    data_root: Path,
    categories: Categories,
    options: RecipeOptions,
    out: Path,
    *,
    overwrite: bool = False,
    listener: TrainListener | None = None,
) -> ChosenPair:
    """Write the pair for this machine, after the requested measurements.

    Args:
        data_root: the data set's folder.
        categories: the data set's, each with its skeleton.
        options: the user's options.
        out: the folder to write to.
        overwrite: replace files that differ from what would be written.
        listener: receives progress.

    Raises:
        MissingExtraError: a measurement is requested and the ``train`` extra is not installed.
        RequestError: the data set cannot be trained on, or a file exists already.
        InputError: a COCO file cannot be read or has another skeleton.
        RunError: a trial fails.
        OutputError: a file cannot be written.
    """
    return emit_folds(data_root, categories, options, out, (None,), overwrite=overwrite, listener=listener)[0]


def emit_folds(
    data_root: Path,
    categories: Categories,
    options: RecipeOptions,
    out: Path,
    folds: Sequence[int | None],
    *,
    overwrite: bool = False,
    listener: TrainListener | None = None,
) -> tuple[ChosenPair, ...]:
    """Write the pair of each fold, as ``emit_fitting`` does that of the data set.

    The measurements are those of the first fold. The pairs share ``options.minutes`` equally.

    Args:
        data_root: the data set's folder.
        categories: the data set's, each with its skeleton.
        options: the user's options.
        out: the folder of all pairs.
        folds: the numbers of the folds; None: the data set's own splits.
        overwrite: replace files that differ from what would be written.
        listener: receives progress.

    Raises:
        PosetoolsError: as ``emit_fitting``.
    """
    if options.minutes is not None:
        options = options.model_copy(update={"minutes": options.minutes / len(folds)})
    measurement = _Measurement(data_root, categories, options, this_machine(), folds[0], listener or SilentListener())
    paths = pair_paths(options, categories, out)
    said = {model: options.of(stage_of(model)) for model in paths}
    timed = [model for model in paths if options.minutes is not None and said[model].epochs is None]
    searched = [model for model in paths if said[model].batch_size == AUTO]
    if not overwrite and (timed or searched):
        pairs = (pair_paths(options, categories, fold_folder(out, fold)) for fold in folds)
        check_absent(path for pair in pairs for path in pair.values())
    for model in searched:
        measurement.search_batch(model)
    if options.minutes is not None:
        measurement.choose_weights()
        measurement.time(timed)
    return tuple(measurement.emit(out, fold, overwrite=overwrite) for fold in folds)


class _Measurement:
    def __init__(
        self,
        data_root: Path,
        categories: Categories,
        options: RecipeOptions,
        machine: Machine,
        fold: int | None,
        told: TrainListener,
    ) -> None:
        self._data_root, self._categories, self._options = data_root, categories, options
        self._machine, self._fold, self._told = machine, fold, told
        self._found: dict[str, Measurement] = {}

    def emit(self, out: Path, fold: int | None, *, overwrite: bool = False) -> ChosenPair:
        """Write the pair of a fold for the measurements so far."""
        return emit_pair(
            self._data_root,
            self._categories,
            self._options,
            out,
            overwrite=overwrite,
            machine=self._machine,
            measured=self._found,
            fold=fold,
        )

    def search_batch(self, model: str) -> None:
        if self._machine.gpu is None:
            self._found[model] = Measurement(batch_note=_NO_GPU)
            return
        prepare("posetools config --batch-size auto")
        with TemporaryDirectory() as folder:
            pair = self.emit(Path(folder), self._fold)
            self._found[model] = on_gpu(stage_of(model), pair.configs[model], pair.recipe.models[model].samples)

    def choose_weights(self) -> None:
        """Use the starter weights if the user set none and the stock weights cannot be downloaded."""
        if not may_start(self._options):
            return
        prepare("posetools config --minutes")
        with TemporaryDirectory() as folder:
            pair = self.emit(Path(folder), self._fold)
            sources = [one.source for path in pair.configs.values() for one in weights_sources(load_config(path))]
        missing = first_unreachable(sources)
        if missing:
            self._options = with_starter(self._options)
            self._told.say(
                f"{missing}: cannot be downloaded, so both models start from the starter weights in posetools; "
                "to choose others, use --pretrained"
            )

    def time(self, models: Sequence[str]) -> None:
        """Time iterations, evaluations and the start of models without given epochs."""
        busy = busy_text()
        if busy:
            self._told.say(busy)
        with TemporaryDirectory() as folder:
            where = Path(folder)
            pair = self.emit(where, self._fold)
            prepare("posetools config --minutes")
            for model in models:
                self._told.say(f"timing {model}: a few iterations, an evaluation, a checkpoint")
                config, stage = pair.configs[model], stage_of(model)
                estimate = dry_run(TrainRequest(stage=stage, config=config, work_dir=where / model, weights=NO_WEIGHTS))
                seen = estimate.measured
                evaluation = seen.seconds_per_evaluation + seen.seconds_per_save
                self._found[model] = replace(
                    self._found.get(model, Measurement()),
                    seconds=seen.seconds_per_iteration,
                    early=seen.early.seconds_per_iteration if seen.early else None,
                    seconds_batch=estimate.batch_size,
                    start_up=seen.start_up,
                    epoch_start=seen.epoch_start,
                    evaluation=evaluation,
                )
                self._told.say(
                    f"{model}: {seen.seconds_per_iteration:.2g} s per iteration, "
                    + (f"{seen.early.seconds_per_iteration:.2g} s at half the input size, " if seen.early else "")
                    + f"{evaluation:.2g} s per evaluation with checkpoint"
                )


def largest_batch(
    peak: Callable[[int], int | None], limit: float, *, smallest: int, largest: int
) -> tuple[int | None, dict[int, int | None]]:
    """Return the largest batch that fits: ``smallest`` doubled while its peak stays within ``limit``.

    Args:
        peak: returns the peak memory of training with this batch, in bytes; None: out of memory.
        limit: bytes.
        smallest: tried first.
        largest: tried last, also when doubling would step over it.

    Returns:
        The batch, None if not even the smallest fits; and the peak in bytes of each batch tried.
    """
    found, peaks, batch = None, dict[int, int | None](), min(smallest, largest)
    while found != largest:
        peaks[batch] = needed = peak(batch)
        if needed is None or needed > limit:
            break
        found, batch = batch, min(2 * batch, largest)
    return found, peaks


def on_gpu(stage: Stage, config: Path, samples: int) -> Measurement:
    """Return the largest batch for the first GPU, and how it was found.

    Raises:
        RequestError: not even the smallest batch fits.
        RunError: a trial fails, but not for lack of memory.
    """
    import torch

    total = int(torch.cuda.get_device_properties(resolve_device(ANY_DEVICE)).total_memory)
    batch, peaks = largest_batch(
        lambda batch: gpu_peak(stage, config, batch),
        GPU_SHARE * total,
        smallest=_SMALLEST[stage],
        largest=min(_LARGEST[stage], samples),
    )
    if batch is None:
        raise RequestError(
            f"--batch-size auto ({stage}): a batch of {min(peaks)} does not fit on this GPU with {total / GIB:.0f} GiB",
            hint="use a smaller --input-size or model",
        )
    return Measurement(batch=batch, batch_note=note(peaks, total))


def note(peaks: Mapping[int, int | None], total: int) -> str:
    """Return a note with the peak memory of each batch tried."""
    tried = ", ".join(
        f"{batch}: {'out of memory' if needed is None else f'{needed / GIB:.1f} GiB'}"
        for batch, needed in sorted(peaks.items())
    )
    return f"measured ({tried}); limit {100 * GPU_SHARE:.0f} % of {total / GIB:.0f} GiB"


def gpu_peak(stage: Stage, config: Path, batch: int) -> int | None:
    """Return the peak GPU memory of training with this batch, in bytes, or None when out of memory.

    Raises:
        RunError: training fails for another reason.
    """
    import torch

    torch.cuda.empty_cache()
    try:
        return trial(stage, config, batch).gpu_memory
    except RunError as exc:
        if _is_out_of_memory(exc):
            return None
        raise
    finally:
        torch.cuda.empty_cache()


def trial(stage: Stage, config: Path, batch: int) -> Timing:
    """Return the timing of a few iterations with this batch size.

    Raises:
        RunError: the run fails.
    """
    with TemporaryDirectory() as folder:
        request = TrainRequest(
            stage=stage,
            config=config,
            work_dir=Path(folder) / "run",
            weights=NO_WEIGHTS,
            cfg_options=(f"train_dataloader.batch_size={batch}",),
        )
        return dry_run(request, limits=_TRIAL).measured


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether torch's out-of-memory error is among the causes; its module differs between releases."""
    return any(type(cause).__name__ == "OutOfMemoryError" for cause in causes(error))
