"""Checkpoints of plain values: what ``posetools train`` saves loads by torch's own default, ``weights_only=True``.

mmengine saves three things that torch >= 2.6 refuses: the log as HistoryBuffer objects, numpy arrays in the data set's
meta, and numpy numbers such as the best score. Here they become tensors, lists and numbers when a run saves, and what
they were when it resumes. So the stock tools/test.py and MMPose's demo open the file without switching the protection
off.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

from posetools.mm.stack import RunHook

_VALUES, _COUNTS, _LONGEST = "values", "counts", "max_length"


class PlainHook(RunHook):
    """Saves plain values, and restores what mmengine keeps of them when a run resumes."""

    priority = "LOWEST"

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Make them plain."""
        checkpoint["meta"] = plain(checkpoint["meta"])
        hub = checkpoint["message_hub"]
        log = {name: _saved(buffer) for name, buffer in hub["log_scalars"].items()}
        checkpoint["message_hub"] = {
            "log_scalars": log,
            "runtime_info": plain(hub["runtime_info"]),
            "resumed_keys": dict(hub["resumed_keys"]),
        }

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Restore them."""
        if not runner._resume:
            return
        # mmengine passes over a log that is no HistoryBuffer, and the mean of the loss would start from nothing.
        log = (checkpoint.get("message_hub") or {}).get("log_scalars") or {}
        log.update({name: _restored(value) for name, value in log.items() if isinstance(value, Mapping)})
        meta, own = checkpoint.get("meta") or {}, getattr(runner.train_dataloader.dataset, "metainfo", None)
        # mmengine warns unless both pickle to the same bytes.
        if own is not None and pickle.dumps(meta.get("dataset_meta")) == pickle.dumps(plain(own)):
            meta["dataset_meta"] = own


def plain(value: Any) -> Any:
    """Return a value with numpy's arrays and numbers as lists and numbers; what has no plain form stays as it is."""
    import numpy as np

    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {plain(key): plain(of_key) for key, of_key in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return value


def _saved(buffer: Any) -> Any:
    import torch

    values, counts = buffer.data
    numbers = {_VALUES: torch.from_numpy(values.copy()), _COUNTS: torch.from_numpy(counts.copy())}
    return {**numbers, _LONGEST: buffer.max_length}


def _restored(value: Mapping[str, Any]) -> Any:
    from mmengine.logging import HistoryBuffer

    return HistoryBuffer(value[_VALUES].cpu().numpy(), value[_COUNTS].cpu().numpy(), value[_LONGEST])
