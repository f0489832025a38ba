"""What is changed in OpenMMLab while posetools uses it: every patch is here. Checked with mmengine 0.10.7, mmcv 2.1.0.

For a whole process: checkpoints are loaded without running what is in them. The ops that mmcv lacks are in
``posetools/mm/ops.py``.

For one run (``patched_run``): its device, how it saves, how it lays out its config, and what W&B is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any


def load_checkpoints_by(local: Callable[..., Any], url: Callable[..., Any]) -> None:
    """Let mmengine's Runner and every ``init_model`` load checkpoints by these functions."""
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
    """Make mmengine's Runner use this device: by itself it takes the first GPU whenever there is one."""
    from mmengine.device import utils

    if device.startswith("cuda"):
        import torch

        torch.cuda.set_device(device)
    with _lent(utils, "DEVICE", device.partition(":")[0]):
        yield


@contextmanager
def patched_run(config: Any, device: str, save: Callable[..., None]) -> Iterator[None]:
    """Let a Runner that is built and run within do what posetools needs, and write checkpoints by ``save``."""
    from mmengine.config import config as of_config
    from mmengine.runner import runner as of_runner
    from mmengine.visualization import WandbVisBackend

    def send_config_only(self: Any, config: Any, **_: Any) -> None:
        # The stock method lets W&B upload the Python files of the current folder, and no setting switches that off.
        self.experiment.config.update(config.to_dict(), allow_val_change=True)

    layout, known = of_config.FormatCode, dict[str, Any]()

    def layout_once(text: str, **style: Any) -> Any:
        # yapf takes a second for the text of the config, with every checkpoint anew.
        if text not in known:
            known[text] = layout(text, **style)
        return known[text]

    _forget_visualizer(config)
    with ExitStack() as stack:
        stack.enter_context(runner_device(device))
        stack.enter_context(_lent(of_runner, "save_checkpoint", save))
        stack.enter_context(_lent(of_config, "FormatCode", layout_once))
        stack.enter_context(_lent(WandbVisBackend, "add_config", send_config_only))
        yield


def _forget_visualizer(config: Any) -> None:
    """Let mmengine build a new visualizer: one of the same name would write into the folder of an earlier start."""
    from mmengine.visualization import Visualizer

    kinds = [Visualizer]
    while kinds:
        kind = kinds.pop()
        kind._instance_dict.pop((config.get("visualizer") or {}).get("name"), None)
        kinds += kind.__subclasses__()
