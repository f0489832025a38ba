"""The files of a run: ``last.pth`` and ``best.pth``, which hold all that is needed to open or resume it.

A checkpoint is a dict of ``meta`` (plain values: epoch, recipe, skeletons), ``state_dict`` and, in ``last.pth``,
``optimizer``. torch loads it with ``weights_only=True``.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posetools.core.categories import Categories, dump_categories, parse_categories
from posetools.errors import InputError, RequestError, first_line
from posetools.files.disk import write_files
from posetools.mm.checkpoint import load_checkpoint
from posetools.mm.evaluations import EVALUATIONS, Evaluations
from posetools.trainers.torchvision.model import build
from posetools.trainers.torchvision.recipe import TrainingRecipe, parse_recipe

LAST_FILE, BEST_FILE = "last.pth", "best.pth"
# The recipe as run.
RECIPE = "recipe.toml"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint.

    Attributes:
        recipe: of the run.
        categories: what the network detects.
        epoch: epochs it was trained for.
        epochs: the planned total.
        seconds: how long the run took so far.
        weights: of the network.
        optimizer: its state; None in ``best.pth``.
    """

    recipe: TrainingRecipe
    categories: Categories
    epoch: int
    epochs: int
    seconds: float
    weights: Mapping[str, Any]
    optimizer: Mapping[str, Any] | None = None

    def save(self, path: Path) -> None:
        """Write it atomically.

        Raises:
            OutputError: it cannot be written; an older file is as it was.
        """
        import torch

        meta = {name: getattr(self, name) for name in ("epoch", "epochs", "seconds")}
        meta["recipe"] = self.recipe.model_dump(mode="json", exclude_none=True)
        meta["skeleton"] = dump_categories(self.categories)
        content = {"meta": meta, "state_dict": self.weights}
        content |= {} if self.optimizer is None else {"optimizer": self.optimizer}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_files({path: buffer.getvalue()})

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Checkpoint:
        """Read a checkpoint; it runs no code.

        Raises:
            InputError: it cannot be read, or is not of this trainer.
        """
        content = load_checkpoint(path, device, plain=True)
        try:
            meta, weights = content["meta"], content["state_dict"]
            numbers = int(meta["epoch"]), int(meta["epochs"]), float(meta["seconds"])
            recipe, skeleton = parse_recipe(path, meta["recipe"]), str(meta["skeleton"])
        except (KeyError, TypeError, ValueError) as exc:
            raise InputError(path, "", "must be a checkpoint of `posetools train --trainer torchvision`") from exc
        return cls(recipe, parse_categories(path, skeleton), *numbers, weights, content.get("optimizer"))

    def network(self, path: Path, device: str) -> Any:
        """Return the network with these weights.

        Raises:
            InputError: they do not fit; ``path`` is the checkpoint's file, for the message.
        """
        model = build(self.categories)
        try:
            model.load_state_dict(self.weights)
        except RuntimeError as exc:
            raise InputError(path, "state_dict", f"does not fit the network: {first_line(exc)}") from exc
        return model.to(device)


def recorded_metrics(path: Path, epoch: int) -> dict[str, float | None]:
    """Return the metrics that the run of a checkpoint recorded after an epoch; empty if it was not evaluated then."""
    evaluations = Evaluations(path.parent / EVALUATIONS)
    evaluations.read(epoch)
    return next((metrics for at, metrics in evaluations.entries if at == epoch), {})


def checkpoint_in(run: Path) -> Path:
    """Return the best checkpoint of a run, or the last one if it was never evaluated.

    Raises:
        RequestError: there is none.
    """
    found = next((run / name for name in (BEST_FILE, LAST_FILE) if (run / name).is_file()), None)
    if found is None:
        hint = f"train it: posetools train --work-dir {run} --resume"
        raise RequestError(f"{run}: has no checkpoint", hint=hint)
    return found
