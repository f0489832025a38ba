"""A hook for the tests of averages: computes mmengine's average a second time, as stock mmengine would."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS, MODELS


def _values(model: Any) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@HOOKS.register_module()
class AverageProbe(Hook):  # type: ignore[misc]  # mmengine ships no types.
    """Updates a separate average, in torch's memory format, with each iteration's weights, and saves the result.

    The file has ``average`` (of the probe), ``weights``, and ``before``, the weights before training.
    """

    # After the optimizer's step and any other change of the weights in an iteration.
    priority = "LOWEST"

    def __init__(self, file: str) -> None:
        self._file = Path(file).with_suffix(f".{get_rank()}.pt")

    def before_train(self, runner: Any) -> None:
        (hook,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
        self._model = hook.src_model
        plain = copy.deepcopy(self._model).to(memory_format=torch.contiguous_format)
        self._average = MODELS.build(hook.ema_cfg, default_args={"model": plain})
        # A resumed run already has an average.
        self._average.load_state_dict(hook.ema_model.state_dict())
        self._before = _values(self._model)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:  # noqa: ARG002
        self._average.update_parameters(self._model)

    def after_train(self, runner: Any) -> None:  # noqa: ARG002
        content = {"average": self._average.module, "weights": self._model}
        torch.save({**{name: _values(model) for name, model in content.items()}, "before": self._before}, self._file)
