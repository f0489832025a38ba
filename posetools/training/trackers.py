"""Trackers for the curves of a run, through mmengine's backends.

TensorBoard and MLflow write into the work folder; W&B sends to its server, or with WANDB_MODE=offline writes there too.
MLFLOW_TRACKING_URI names a server for MLflow. mmengine lets W&B upload the Python files of the current folder; this is
disabled here (``mm/patches.py``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from posetools.errors import MissingExtraError, RequestError, must_be
from posetools.mm.stack import TRAIN_EXTRA

Tracker: TypeAlias = Literal["tensorboard", "wandb", "mlflow"]
TRACKERS: tuple[Tracker, ...] = get_args(Tracker)

_PROJECT = "posetools"


def check_trackers(trackers: Sequence[str]) -> None:
    """Check that the trackers are known and installed.

    Raises:
        RequestError: one is unknown, or its package is not installed.
        MissingExtraError: TensorBoard, which the ``train`` extra brings, is not installed.
    """
    for tracker in trackers:
        if tracker not in TRACKERS:
            raise RequestError(must_be("--tracker", f"one of {', '.join(TRACKERS)}", tracker))
        if find_spec(tracker) is not None:
            continue
        if tracker == "tensorboard":
            raise MissingExtraError("--tracker tensorboard", TRAIN_EXTRA, tracker)
        raise RequestError(
            f"--tracker {tracker} requires the package {tracker}, which is not installed",
            hint=f"install it with: uv pip install {tracker}",
        )


def add_trackers(config: Any, trackers: Sequence[str], work_dir: Path) -> None:
    """Add the backends of trackers to a config, in place.

    Raises:
        RequestError: as for ``check_trackers``, or MLflow's address contains a password.
        MissingExtraError: as for ``check_trackers``.
    """
    if not trackers:
        return
    check_trackers(trackers)
    visualizer = config.get("visualizer")
    if not visualizer:
        config.visualizer = visualizer = {"type": "Visualizer", "vis_backends": [{"type": "LocalVisBackend"}]}
    backends = list(visualizer.get("vis_backends") or ())
    for tracker in dict.fromkeys(trackers):
        backend = _backend(tracker, work_dir)
        backends = [*(other for other in backends if other.get("type") != backend["type"]), backend]
    visualizer["vis_backends"] = backends


def name_visualizer(config: Any, work_dir: Path) -> None:
    """Name a config's visualizer after the work folder: OpenMMLab's demos need a name."""
    if config.get("visualizer"):
        config.visualizer["name"] = str(work_dir)


def _backend(tracker: str, work_dir: Path) -> dict[str, Any]:
    name = work_dir.resolve().name
    if tracker == "tensorboard":
        return {"type": "TensorboardVisBackend"}
    if tracker == "wandb":
        return {"type": "WandbVisBackend", "init_kwargs": {"project": _PROJECT, "name": name}}
    backend = {"type": "MLflowVisBackend", "exp_name": _PROJECT, "run_name": name}
    address = os.environ.get("MLFLOW_TRACKING_URI")
    if not address:
        # mmengine's backend then writes files into the work folder.
        return backend
    if urlsplit(address).password:
        raise RequestError(
            "MLFLOW_TRACKING_URI must not contain a password, as it is written to the config of the run",
            hint="use MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    return {**backend, "tracking_uri": address}
