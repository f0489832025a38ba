"""The speed-ups change neither losses nor checkpoints nor resuming."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from posetools.core.stages import Stage
from posetools.mm.checkpoint import load_checkpoint
from posetools.mm.configs import drop_pretrained, load_config
from posetools.mm.environment import release
from posetools.mm.patches import runner_device
from posetools.mm.stack import prepare, quiet
from posetools.training.speed import make_fast
from tests.tiny_runs import Run, Tiny

pytestmark = pytest.mark.train


def _losses(tiny: Tiny, stage: Stage, work_dir: Path, *, fast: bool) -> tuple[list[float], Any]:
    """Train two epochs from a fixed seed; return the losses of all iterations, and the runner."""
    from mmengine.hooks import Hook
    from mmengine.runner import Runner

    losses: list[float] = []

    class Keep(Hook):  # type: ignore[misc]  # mmengine ships no types.
        def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:  # noqa: ARG002
            losses.append(float(outputs["loss"]))

    config = load_config(tiny.config(stage))
    config.work_dir = str(work_dir)
    config.randomness = {"seed": 3}
    config.visualizer.pop("name", None)
    drop_pretrained(config.model)
    prepare("this test")
    with quiet(), runner_device("cpu"):
        runner = Runner.from_cfg(config)
        runner.register_hook(Keep())
        if fast:
            make_fast(runner)
        runner.train()
    return losses, runner


@pytest.fixture(scope="module", params=["det", "pose"])
def pair_of_runs(
    request: pytest.FixtureRequest, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[tuple[list[float], Any], tuple[list[float], Any]]]:
    root = tmp_path_factory.mktemp(f"speed_{request.param}")
    stock = _losses(tiny, request.param, root / "stock", fast=False)
    yield stock, _losses(tiny, request.param, root / "fast", fast=True)


def test_the_losses_are_the_same_within_float_noise(pair_of_runs: Any) -> None:
    (stock, _), (fast, _) = pair_of_runs
    assert len(stock) >= 4
    # The same weights; batches of two tiny images increase the noise, and each step adds to it.
    assert fast[0] == pytest.approx(stock[0], rel=1e-3)
    assert fast == pytest.approx(stock, rel=2e-2)


def _tensors(outputs: Any) -> list[Any]:
    return [part for one in outputs for part in _tensors(one)] if isinstance(outputs, list | tuple) else [outputs]


def test_it_is_the_same_arithmetic(pair_of_runs: Any) -> None:
    """In double precision outputs and gradients differ much less, so the difference is rounding."""
    import torch

    _, (_, runner) = pair_of_runs
    batch = runner.model.data_preprocessor(next(iter(runner.train_dataloader)), training=True)
    found = []
    for order in (torch.contiguous_format, torch.channels_last):
        model = copy.deepcopy(runner.model).double().to(memory_format=order).train()
        inputs = batch["inputs"].double().contiguous(memory_format=order)
        outputs = model(inputs, batch["data_samples"], mode="tensor")
        # The mean square of all outputs, as MMDet's losses are single precision only.
        loss = sum((one**2).mean() for one in _tensors(outputs))
        loss.backward()
        found.append((loss.item(), [weight.grad for weight in model.parameters() if weight.grad is not None]))
    (loss, gradients), (other_loss, other_gradients) = found
    assert other_loss == pytest.approx(loss, rel=1e-9)
    assert len(gradients) > 100
    largest = max(float(gradient.abs().max()) for gradient in gradients)
    for one, other in zip(gradients, other_gradients, strict=True):
        assert float((one - other).abs().max()) < 1e-8 * largest


def test_everything_with_four_dimensions_has_its_channels_last(pair_of_runs: Any) -> None:
    import torch

    (_, stock), (_, fast) = pair_of_runs

    def last(runner: Any) -> list[bool]:
        averages = [hook.ema_model for hook in runner.hooks if hasattr(hook, "ema_model")]
        weights = [weight for model in (runner.model, *averages) for weight in model.parameters()]
        state = [value for each in runner.optim_wrapper.optimizer.state.values() for value in each.values()]
        # With one channel, or 1 x 1 pixels, both orders are the same.
        return [
            tensor.is_contiguous(memory_format=torch.channels_last)
            for tensor in (*weights, *state)
            if tensor.dim() == 4 and tensor.shape[1] > 1 and tensor.shape[2] > 1
        ]

    assert len(last(fast)) > 30
    assert all(last(fast))
    assert not any(last(stock))


def test_what_goes_into_the_network_has_its_channels_last(pair_of_runs: Any) -> None:
    import torch

    _, (_, runner) = pair_of_runs
    batch = next(iter(runner.train_dataloader))
    inputs = runner.model.data_preprocessor(batch, training=True)["inputs"]
    assert inputs.dim() == 4
    assert inputs.is_contiguous(memory_format=torch.channels_last)


def test_adamw_is_fused_while_it_runs_and_not_in_the_checkpoint(pair_of_runs: Any) -> None:
    import torch

    (_, stock), (_, fast) = pair_of_runs
    # torch has it for the CPU from 2.4 on.
    fused = release(torch.__version__) >= (2, 4)
    assert {bool(group["fused"]) for group in fast.optim_wrapper.optimizer.param_groups} == {fused}
    groups = []
    for runner in (stock, fast):
        path = Path(runner.work_dir, "epoch_2.pth")
        optimizer = load_checkpoint(path)["optimizer"]
        groups.append(optimizer["param_groups"])
    assert groups[0] == groups[1]


def test_a_stock_checkpoint_goes_on_fast(det_run: Run, tmp_path: Path) -> None:
    import torch
    from mmengine.runner import Runner

    config = load_config(det_run.config)
    config.work_dir = str(tmp_path)
    config.load_from, config.resume = str(det_run.checkpoint), True
    config.train_cfg.max_epochs = 3
    config.visualizer.pop("name", None)
    drop_pretrained(config.model)
    with quiet(), runner_device("cpu"):
        runner = Runner.from_cfg(config)
        make_fast(runner)
        runner.train()
    assert runner.epoch == 3
    for state in runner.optim_wrapper.optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            if state[name].dim() == 4 and min(state[name].shape[1:3]) > 1:
                assert state[name].is_contiguous(memory_format=torch.channels_last)


def test_other_optimizers_are_left_alone() -> None:
    import torch

    class Bare:
        """The attributes of a runner that make_fast uses."""

        def __init__(self) -> None:
            self.model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
            self.model.data_preprocessor = torch.nn.Identity()
            self.model.init_weights = lambda: None
            self.hooks: list[Any] = []
            self.optim_wrapper = self
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

        def register_hook(self, hook: Any) -> None:
            self.hooks.append(hook)

    bare = Bare()
    make_fast(bare)
    bare.hooks[0].before_run(bare)
    bare.hooks[0].before_train(bare)
    assert not bare.optimizer.param_groups[0].get("fused")
    assert bare.model[0].weight.is_contiguous(memory_format=torch.channels_last)
