"""Train the network: AdamW, a warm-up and a cosine, a checkpoint after each epoch, the best one by evaluation.

The weights depend on the recipe and the data alone: every epoch starts with a random state of its own, so a resumed run
continues to the same weights as an uninterrupted one. With a time limit the clock chooses the number of epochs.
"""

from __future__ import annotations

import json
import math
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset
from posetools.errors import OutputError, RunError, StoppedError, counted
from posetools.evaluation.scoring import read_truth
from posetools.exporting.measured import by_category, stored_scores
from posetools.files.disk import write_text
from posetools.files.locks import only_one_in
from posetools.mm.evaluations import EVALUATIONS, Evaluations
from posetools.runtime.one_stage import OneStageModel
from posetools.trainers.torchvision.checkpoint import BEST_FILE, LAST_FILE, RECIPE, Checkpoint
from posetools.trainers.torchvision.data import Samples, tensors
from posetools.trainers.torchvision.model import build, freeze, losses, network_of, torch_run
from posetools.trainers.torchvision.recipe import TrainingRecipe, recipe_text
from posetools.trainers.torchvision.schedule import Clock, is_due, learning_rate
from posetools.training.hooks import TrainListener, TrainStatus
from posetools.training.train import TrainResult

# The metrics that are logged, means over the categories.
LOGGED = (
    "detected_boxes/OKS/AP",
    "bbox/AP",
    "bbox/AP50",
    "labelled_boxes/OKS/AP",
    "labelled_boxes/PCK@0.1",
)
# Selects the best checkpoint: the mean of two metrics that also tell early checkpoints apart, whose OKS AP is 0.
SELECTING = "score"
_SELECTED_BY = ("bbox/AP", "labelled_boxes/PCK@0.1")
_WEIGHT_DECAY = 0.01
_LARGEST_GRADIENT = 10.0
# Iterations between two lines of the log, and seconds between two reports.
_LOGGED_ITERATIONS = 10
_REPORT_PAUSE = 0.5


def train_run(
    recipe: TrainingRecipe,
    categories: Categories,
    run: Path,
    device: str,
    told: TrainListener,
    *,
    resume: bool = False,
    epochs: int | None = None,
) -> TrainResult:
    """Train a run in a folder, or continue it.

    Args:
        recipe: the recipe; a checkpoint to continue from has its own.
        categories: those of the data set.
        run: the folder.
        device: ``cpu`` or ``cuda:N``.
        told: receives progress.
        resume: continue from the last checkpoint, if there is one.
        epochs: the total instead of the recipe's; it wins over a time limit.

    Raises:
        InputError: an image or the checkpoint cannot be read.
        OutputError: a file cannot be written.
        RunError: the loss is not finite.
        StoppedError: the user stopped it.
    """
    found = Checkpoint.load(run / LAST_FILE, device) if resume and (run / LAST_FILE).is_file() else None
    if resume:
        told.say(f"resuming: epoch {found.epoch} of {found.epochs} is done" if found else "starting at the first epoch")
    if found is not None and found.recipe.seed != recipe.seed:
        told.say(f"ignoring seed {recipe.seed}: a resumed run keeps its seed {found.recipe.seed}")
    recipe = found.recipe if found else recipe
    if epochs is not None:
        recipe = recipe.model_copy(update={"epochs": epochs, "minutes": None})
        found = replace(found, epochs=epochs) if found else None
    with only_one_in(run):
        write_text(run / RECIPE, recipe_text(recipe, {}))
        training = _Training(recipe, categories, run, device, told, found)
        with _stopping(training):
            return training.run()


@contextmanager
def _stopping(training: _Training) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as exc:
        kept = f"{training.work_dir / LAST_FILE} is kept" if training.epoch else "there is no checkpoint yet"
        way = f"{resume_command(training.work_dir)} {'continues from there' if training.epoch else 'restarts it'}"
        raise StoppedError(f"stopped in epoch {training.epoch + 1} of {training.epochs}; {kept}", way=way) from exc


def resume_command(run: Path) -> str:
    """Return the command that continues a run."""
    return shlex.join(["posetools", "train", "--work-dir", str(run), "--resume"])


@dataclass
class _Training:
    recipe: TrainingRecipe
    categories: Categories
    work_dir: Path
    device: str
    told: TrainListener
    found: Checkpoint | None
    epoch: int = 0
    epochs: int = 0
    done: int = 0
    loss: float | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import torch

        recipe = self.recipe
        self.network = network_of(recipe, self.categories)
        self.samples = Samples(self._split("train"), self.network, recipe)
        self.epochs, self.started = recipe.epochs, time.monotonic()
        self.evaluations = Evaluations(self.work_dir / EVALUATIONS, writes=True, monitor=SELECTING)
        torch.manual_seed(recipe.seed)
        if self.found is None:
            self.model = build(self.categories, pretrained=recipe.pretrained == "stock").to(self.device)
        else:
            self.epoch, self.epochs = self.found.epoch, self.found.epochs
            self.model = self.found.network(self.work_dir / LAST_FILE, self.device)
            self.evaluations.read(self.epoch)
        self.first = self.done = self.epoch * self.samples.batches
        freeze(self.model, recipe.trainable_layers)
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=recipe.lr, weight_decay=_WEIGHT_DECAY)
        if self.found is not None:
            self.optimizer.load_state_dict(self.found.optimizer)
        self.clock = Clock(recipe, self.found.seconds if self.found else 0.0)
        self.log = _Log(self.work_dir)

    @cached_property
    def val(self) -> Dataset:
        return self._split("val")

    @property
    def total(self) -> int:
        return self.epochs * self.samples.batches

    def _split(self, name: str) -> Dataset:
        return read_truth(self.recipe.data, name, self.categories)

    def run(self) -> TrainResult:
        each, first = counted(self.samples.batches, "iteration"), self.epoch
        self.told.say(f"training on {self.device}: at most {counted(self.epochs, 'epoch')} of {each}")
        # A run that was killed during an evaluation still has to do it.
        if self.epoch and self._is_due() and self.evaluations.entries[-1:] and self._last_evaluated() < self.epoch:
            self._evaluate()
        while self.epoch < self.epochs:
            self._train_epoch()
            fitting = self.clock.fitted(self.epoch, self.epochs)
            if fitting != self.epochs:
                self.epochs = fitting
                self.told.say(f"{self.recipe.minutes:g} minutes are enough for {counted(fitting, 'epoch')}")
            self._checkpoint(self.optimizer.state_dict()).save(self.work_dir / LAST_FILE)
            if self._is_due():
                self._evaluate()
        return self._result(self.epoch - first)

    def _is_due(self) -> bool:
        return is_due(self.epoch, self.epochs, self.recipe.evaluations)

    def _last_evaluated(self) -> int:
        return self.evaluations.entries[-1][0]

    def _train_epoch(self) -> None:
        import torch

        started, number = time.monotonic(), self.epoch + 1
        state = np.random.SeedSequence([self.recipe.seed, number]).generate_state(1)
        torch.manual_seed(int(state[0]))
        self.model.train()
        freeze(self.model, self.recipe.trainable_layers)
        told, sums, rows = 0.0, dict[str, float](), 0
        for at, batch in enumerate(self.samples.epoch(number), start=1):
            rate = learning_rate(self.recipe, self.done, self.total)
            for name, value in self._step(tensors(batch, self.device), rate).items():
                sums[name] = sums.get(name, 0.0) + value
            self.done, rows = self.done + 1, rows + 1
            last = at == self.samples.batches
            if last or self.done % _LOGGED_ITERATIONS == 0:
                seconds = (time.monotonic() - started) / at
                means = {name: value / rows for name, value in sums.items()}
                position = {"epoch": number, "iter": self.done, "step": self.done}
                self.log.add({"lr": rate, "time": seconds, **means, **position})
                self.loss, sums, rows = means["loss"], {}, 0
            if last or time.monotonic() - told > _REPORT_PAUSE:
                told = time.monotonic()
                self._tell("train", (at, self.samples.batches), rate, ahead=1)
        self.epoch = number
        self.clock.trained(time.monotonic() - started)

    def _step(self, batch: tuple[Any, Any], rate: float) -> dict[str, float]:
        """Do one step of the optimizer, and return the losses before it."""
        import torch

        found = losses(self.model, *batch)
        total = torch.stack(list(found.values())).sum()
        values = {"loss": float(total.detach()), **{name: float(value.detach()) for name, value in found.items()}}
        if not math.isfinite(values["loss"]):
            hint = f"start a new run with a lower lr in its recipe, which had {self.recipe.lr:g}"
            raise RunError(f"the loss became {values['loss']} in epoch {self.epoch + 1} of {self.epochs}", hint=hint)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _LARGEST_GRADIENT)
        self.optimizer.step()
        return values

    def _evaluate(self) -> None:
        started, model = time.monotonic(), OneStageModel(torch_run(self.model), self.network)
        models = tuple(by_category(self.categories, model, model.estimators(self.categories)))

        def progress(_: str, done: int, total: int) -> None:
            self._tell("val", (done, total))

        found = stored_scores(model, models, self.val, progress)
        self.metrics = {name: _mean_of(found, name) for name in LOGGED}
        self.metrics[SELECTING] = sum(self.metrics[name] or 0.0 for name in _SELECTED_BY) / len(_SELECTED_BY)
        self.evaluations.add(self.epoch, self.metrics)
        known = {name: value for name, value in self.metrics.items() if value is not None}
        self.log.add({**known, "step": self.epoch})
        best = self.evaluations.best
        if best is not None and best.epoch == self.epoch:
            self._checkpoint().save(self.work_dir / BEST_FILE)
        self.clock.evaluated(time.monotonic() - started)
        self._tell("scored", (len(self.val.images),) * 2)

    def _checkpoint(self, optimizer: Mapping[str, Any] | None = None) -> Checkpoint:
        numbers = self.epoch, self.epochs, self.clock.seconds
        return Checkpoint(self.recipe, self.categories, *numbers, self.model.state_dict(), optimizer)

    def _tell(
        self,
        phase: Literal["train", "val", "scored"],
        place: tuple[int, int],
        rate: float | None = None,
        ahead: int = 0,
    ) -> None:
        status = TrainStatus(
            phase=phase,
            epoch=self.epoch + ahead,
            epochs=self.epochs,
            iteration=place[0],
            iterations=place[1],
            done=self.done,
            total=self.total,
            loss=self.loss,
            lr=rate,
            rate=(self.done - self.first) / (time.monotonic() - self.started),
            metrics=self.metrics,
            best=self.evaluations.best,
        )
        self.told.update(status)

    def _result(self, trained: int) -> TrainResult:
        best, last = self.work_dir / BEST_FILE, self.work_dir / LAST_FILE
        entries = self.evaluations.entries
        known = {name: value for name, value in (entries[-1][1] if entries else {}).items() if value is not None}
        return TrainResult(
            work_dir=self.work_dir,
            last=last,
            best=best if best.is_file() else None,
            metrics=known,
            epochs=self.epoch,
            trained=trained,
            iterations=trained * self.samples.batches,
        )


def _mean_of(metrics: Mapping[str, float | None], name: str) -> float | None:
    """Return the mean of a metric over the categories that have it."""
    values = [
        value for key, value in metrics.items() if value is not None and (key == name or key.endswith(f"/{name}"))
    ]
    return sum(values) / len(values) if values else None


class _Log:
    """The log of one start of a run, as `posetools plot` reads it (posetools/mm/run_log.py)."""

    def __init__(self, work_dir: Path) -> None:
        self._path = work_dir / time.strftime("%Y%m%d_%H%M%S") / "vis_data" / "scalars.json"

    def add(self, line: Mapping[str, float]) -> None:
        """Write a line.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(line)) + "\n")
        except OSError as exc:
            raise OutputError(f"{self._path}: cannot be written: {exc.strerror or exc}") from exc
