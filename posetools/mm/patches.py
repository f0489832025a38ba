"""All patches of OpenMMLab that posetools applies. Checked with mmengine 0.10.7, mmcv 2.1.0.

For a whole process: checkpoints are loaded without running code in them. The ops that mmcv lacks are in
``posetools/mm/ops.py``.

For one run (``patched_run``): its device, how it saves, how it formats its config, and what is sent to W&B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from posetools.mm.config_text import laid_out


def load_checkpoints_by(local: Callable[..., Any], url: Callable[..., Any]) -> None:
    """Make mmengine's Runner and every ``init_model`` load checkpoints with these functions."""
    from mmengine.runner import CheckpointLoader
    from mmengine.runner import checkpoint as module

    CheckpointLoader.register_scheme("", local, force=True)
    # mmengine downloads with torch.hub, which unpickles anything; its other loaders of URLs all call this name.
    module.load_url = url


@contextmanager
def _lent(owner: Any, name: str, value: Any) -> Iterator[None]:
    stock = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, stock)


@contextmanager
def runner_device(device: str) -> Iterator[None]:
    """Make mmengine's Runner use this device; by default it takes the first GPU if there is one."""
    from mmengine.device import utils

    if device.startswith("cuda"):
        import torch

        torch.cuda.set_device(device)
    with _lent(utils, "DEVICE", device.partition(":")[0]):
        yield


@contextmanager
def patched_run(config: Any, device: str, save: Callable[..., None]) -> Iterator[None]:
    """Patch a Runner that is built and run in this context, and write its checkpoints with ``save``."""
    from mmengine.config import config as of_config
    from mmengine.runner import runner as of_runner
    from mmengine.visualization import WandbVisBackend

    def send_config_only(self: Any, config: Any, **_: Any) -> None:
        # The stock method lets W&B upload the Python files of the current folder, and no setting switches that off.
        self.experiment.config.update(config.to_dict(), allow_val_change=True)

    _forget_visualizer(config)
    with ExitStack() as stack:
        stack.enter_context(runner_device(device))
        stack.enter_context(_lent(of_runner, "save_checkpoint", save))
        stack.enter_context(_lent(of_config, "FormatCode", lambda text, **_: (laid_out(text), True)))
        stack.enter_context(_lent(WandbVisBackend, "add_config", send_config_only))
        yield


def _forget_visualizer(config: Any) -> None:
    """Make mmengine build a new visualizer: one of the same name would write into the folder of an earlier start."""
    from mmengine.visualization import Visualizer

    kinds = [Visualizer]
    while kinds:
        kind = kinds.pop()
        kind._instance_dict.pop((config.get("visualizer") or {}).get("name"), None)
        kinds += kind.__subclasses__()
