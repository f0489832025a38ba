"""What makes a run faster than the stock script's with the same config, and leaves its results what they are.

Each of these was measured (benchmarks/train.py), is done to a run that has been built and not to its config, and gives
the same losses within float noise, for it is the same arithmetic in another order:

- **channels_last** on the CPU: oneDNN's convolutions want the channels of a pixel next to each other; with torch's own
  order every convolution begins and ends with a rearrangement. Weights, optimizer state and input are put into this
  order once. Checkpoints hold the same numbers and can be read by anything.
- **fused AdamW** on the CPU: one pass over weights, gradients and both moments instead of a dozen passes.

`Module.to(memory_format=...)` gives every 4-D weight new storage. Whatever keeps a reference to the old storage then
updates tensors that nobody reads: mmengine's averaged model does, since it lists `state_dict()` when it is built. So
the weights are put into order before any other hook acts, and the average is a copy of weights that are in order. They
are initialized before that: random numbers are filled in by the order in memory, and the same seed must give the same
weights as in stock.

Tried and no faster: bfloat16 autocast on the CPU. Not tried for want of measurements: channels_last on GPUs.
"""

from __future__ import annotations

from typing import Any

from posetools.mm.environment import release
from posetools.mm.stack import RunHook

# The first torch whose fused Adam and AdamW run on the CPU.
_FUSED_ON_CPU = (2, 4)
_IMAGE_DIMS = 4


def make_fast(runner: Any) -> None:
    """Make a run on the CPU faster; leave one on a GPU as it is.

    Args:
        runner: mmengine's, built, and before its ``train()``: hooks copy the model at the very start of that.
    """
    from mmengine.model import is_model_wrapper

    if next(runner.model.parameters()).device.type == "cpu":
        # A wrapper for several processes has laid out its buckets of gradients already.
        runner.register_hook(_SpeedHook(ordered=not is_model_wrapper(runner.model)))


class _SpeedHook(RunHook):
    priority = "HIGHEST"

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered

    def before_run(self, runner: Any) -> None:
        if self._ordered:
            import torch

            # Where mmengine would initialize them next; it does so once.
            runner.model.init_weights()
            runner.model.to(memory_format=torch.channels_last)
            runner.model.data_preprocessor.register_forward_hook(_arrange)

    # The optimizer's state is loaded by now.
    def before_train(self, runner: Any) -> None:
        _fuse(runner.optim_wrapper.optimizer)
        _order_state(runner.optim_wrapper.optimizer)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        # How a step is computed is no part of a run's state: torch before 2.4 could not resume with it on the CPU.
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
    """Bring the optimizer's state into the order of the weights: a fused step goes through both by their memory.

    A checkpoint holds the order of the run that saved it, which on a GPU or in several processes is torch's own.
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
