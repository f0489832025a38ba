"""Speed-ups over the stock script with the same config and the same results.

Each was measured (benchmarks/train.py), changes the built run and not its config, and gives the same losses within
float noise, since it is the same arithmetic in another order:

- **channels_last** on the CPU: oneDNN's convolutions need the channels of a pixel next to each other; in torch's
  default order every convolution starts and ends with a reorder. Weights, optimizer state and input are converted
  once. Checkpoints hold the same numbers.
- **fused AdamW** on the CPU: one pass over weights, gradients and both moments instead of a dozen passes.

`Module.to(memory_format=...)` gives every 4-D weight new storage. A reference to the old storage then updates unused
tensors: mmengine's averaged model has one, since it lists `state_dict()` when it is built. So the weights are converted
before any other hook runs, and the average is a copy of converted weights. They are initialized before that: random
numbers are filled in memory order, and the same seed must give the same weights as in stock.

Tried, but no faster: bfloat16 autocast on the CPU. Not measured: channels_last on GPUs.
"""

from __future__ import annotations

from typing import Any

from posetools.mm.environment import release
from posetools.mm.stack import RunHook

# The first torch whose fused Adam and AdamW run on the CPU.
_FUSED_ON_CPU = (2, 4)
_IMAGE_DIMS = 4


def make_fast(runner: Any) -> None:
    """Make a run on the CPU faster; do nothing on a GPU.

    Args:
        runner: mmengine's, built, before its ``train()``, at whose start hooks copy the model.
    """
    from mmengine.model import is_model_wrapper

    if next(runner.model.parameters()).device.type == "cpu":
        # A distributed wrapper has already laid out its gradient buckets.
        runner.register_hook(_SpeedHook(ordered=not is_model_wrapper(runner.model)))


class _SpeedHook(RunHook):
    priority = "HIGHEST"

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered

    def before_run(self, runner: Any) -> None:
        if self._ordered:
            import torch

            # mmengine would initialize them next; it does so only once.
            runner.model.init_weights()
            runner.model.to(memory_format=torch.channels_last)
            runner.model.data_preprocessor.register_forward_hook(_arrange)

    # The optimizer's state is loaded by now.
    def before_train(self, runner: Any) -> None:
        _fuse(runner.optim_wrapper.optimizer)
        _order_state(runner.optim_wrapper.optimizer)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        # Not part of a run's state: torch before 2.4 could not resume with it on the CPU.
        for group in (checkpoint.get("optimizer") or {}).get("param_groups", ()):
            group["fused"] = None


def _fuse(optimizer: Any) -> None:
    import torch

    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW) or release(torch.__version__) < _FUSED_ON_CPU:
        return
    for group in optimizer.param_groups:
        if not group.get("foreach") and not group.get("differentiable"):
            group["fused"] = True


def _order_state(optimizer: Any) -> None:
    """Convert the optimizer's state to the memory order of the weights, as a fused step requires.

    A checkpoint has the order of the run that saved it; on a GPU or in several processes it is torch's default.
    """
    import torch

    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == weight.shape and value.stride() != weight.stride():
                state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def _arrange(module: Any, arguments: Any, output: Any) -> Any:  # noqa: ARG001  (the signature of a forward hook)
    import torch

    inputs = output.get("inputs") if isinstance(output, dict) else None
    if isinstance(inputs, torch.Tensor) and inputs.dim() == _IMAGE_DIMS:
        output["inputs"] = inputs.contiguous(memory_format=torch.channels_last)
    return output
