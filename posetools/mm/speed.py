"""What makes a run faster than the stock script's with the same config, and leaves its results what they are.

Each of these was measured (benchmarks/train.py), is done to a run that has been built and not to its config, and gives
the same losses within float noise, for it is the same arithmetic in another order:

- **channels_last** on the CPU: convolutions of oneDNN work on pixels whose channels lie beside each other, and with
  torch's own order every convolution begins and ends with a rearrangement. The weights, their average (EMAHook), the
  state of the optimiser and the input are brought into this order once. Checkpoints hold the same numbers and are read
  by anything.
- **fused AdamW** on the CPU: one pass over weights, gradients and both moments instead of a dozen passes.

Tried and no faster: bfloat16 autocast on the CPU. Not tried for want of measurements: channels_last on GPUs.
"""

from __future__ import annotations

from typing import Any

# The first torch whose fused Adam and AdamW run on the CPU.
_FUSED_ON_CPU = (2, 4)
_PICTURE_DIMS = 4


def speed_hook() -> Any:
    """Return an mmengine Hook that makes training on the CPU faster; on a GPU it does nothing."""
    from mmengine.hooks import Hook

    class SpeedHook(Hook):  # type: ignore[misc]  # mmengine ships no types.
        # Before the first iteration, but after checkpoints are loaded and hooks have made their copies of the model.
        def before_train(self, runner: Any) -> None:
            make_fast(runner)

        def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
            # How a step is computed is no part of a run's state: torch before 2.4 could not go on with it on the CPU.
            for group in (checkpoint.get("optimizer") or {}).get("param_groups", ()):
                group["fused"] = None

    return SpeedHook()


def make_fast(runner: Any) -> None:
    """Bring a run on the CPU that is about to begin into the order that is fastest."""
    from mmengine.model import is_model_wrapper

    if next(runner.model.parameters()).device.type != "cpu":
        return
    _fuse(runner.optim_wrapper.optimizer)
    # A wrapper for several processes has laid out its buckets of gradients already.
    if not is_model_wrapper(runner.model):
        _to_channels_last(runner)


def _fuse(optimizer: Any) -> None:
    import torch

    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW) or version < _FUSED_ON_CPU:
        return
    for group in optimizer.param_groups:
        if not group.get("foreach") and not group.get("differentiable"):
            group["fused"] = True


def _to_channels_last(runner: Any) -> None:
    import torch

    averages = [hook.ema_model for hook in runner.hooks if hasattr(hook, "ema_model")]
    for model in (runner.model, *averages):
        model.to(memory_format=torch.channels_last)
    optimizer = runner.optim_wrapper.optimizer
    for state in optimizer.state.values():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.dim() == _PICTURE_DIMS:
                state[name] = value.contiguous(memory_format=torch.channels_last)
    runner.model.data_preprocessor.register_forward_hook(_arrange)


def _arrange(module: Any, arguments: Any, output: Any) -> Any:  # noqa: ARG001  (the signature of a forward hook)
    import torch

    inputs = output.get("inputs") if isinstance(output, dict) else None
    if isinstance(inputs, torch.Tensor) and inputs.dim() == _PICTURE_DIMS:
        output["inputs"] = inputs.contiguous(memory_format=torch.channels_last)
    return output
