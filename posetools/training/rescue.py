"""``posetools rescue``: replace a stale average (``averages``) in a run's checkpoints by the trained weights.

In every checkpoint the trained weights become both average and weights, so that it evaluates, predicts, exports and
resumes as if the average had been set to the weights when it was saved. The originals are kept in ``before_rescue/`` of
the same folder, with the best checkpoint and the metrics, which were chosen and measured with the stale average. If the
command is killed, running it again completes the rescue.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posetools import __version__
from posetools.errors import OutputError, RequestError
from posetools.files.locks import only_one_in
from posetools.mm.averages import VERSION_KEY, is_stale, raw_weights
from posetools.mm.checkpoint import load_checkpoint
from posetools.mm.evaluations import EVALUATIONS, Evaluations
from posetools.mm.run_log import METRICS
from posetools.mm.stack import prepare
from posetools.training.saving import BEST, write_whole

KEPT = "before_rescue"
_CHOSEN_BY_METRIC = ("best_score", "best_ckpt")


@dataclass(frozen=True, slots=True)
class Rescue:
    """The result for one work folder.

    Attributes:
        work_dir: the folder.
        rescued: the checkpoints that now have the trained weights.
        set_aside: files chosen or measured with the stale average, now in ``before_rescue/``.
    """

    work_dir: Path
    rescued: tuple[Path, ...]
    set_aside: tuple[Path, ...]


def rescue(run: Path) -> tuple[Rescue, ...]:
    """Replace stale averages by the trained weights.

    Args:
        run: the folder with the runs of both stages, or the work folder of one.

    Returns:
        One entry for each work folder that had a stale average.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: ``run`` has no checkpoints, or a run is writing into it.
        InputError: a checkpoint cannot be read.
        OutputError: a file cannot be written; the checkpoint is unchanged.
    """
    inner = sorted(path for path in run.glob("*") if path.is_dir() and path.name != KEPT)
    folders = [folder for folder in (run, *inner) if any(folder.glob("*.pth"))]
    if not folders:
        raise RequestError(f"{run}: must be a run's work folder, or a folder of work folders, got no checkpoint in it")
    prepare("posetools rescue")
    return tuple(found for folder in folders if (found := _rescue_folder(folder)) is not None)


def _rescue_folder(work_dir: Path) -> Rescue | None:
    with only_one_in(work_dir):
        stale = [path for path in sorted(work_dir.glob("*.pth")) if is_stale(load_checkpoint(path))]
        if not stale:
            return None
        best = [path for path in stale if path.name.startswith(BEST)]
        numbered = [path for path in stale if path not in best]
        measured = [work_dir / name for name in (METRICS, EVALUATIONS)]
        try:
            (work_dir / KEPT).mkdir(exist_ok=True)
            for path in numbered:
                _replace(path)
            aside = [*_moved_aside(measured)]
            # These weights are not evaluated yet: predict and export say so, and a resumed run evaluates first.
            Evaluations(work_dir / EVALUATIONS, writes=True).write()
            # The best one is last: as long as it is stale and in place, a second call completes the first.
            aside += _moved_aside(best)
        except OSError as exc:
            raise OutputError(f"{exc.filename or work_dir}: cannot be written: {exc.strerror or exc}") from exc
        return Rescue(work_dir, tuple(numbered), tuple(aside))


def _moved_aside(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        kept = path.parent / KEPT / path.name
        # A file that an interrupted call has moved is the original; do not overwrite it.
        if path.is_file() and not kept.is_file():
            yield path.replace(kept)


def _replace(path: Path) -> None:
    import torch

    kept = path.parent / KEPT / path.name
    if not kept.is_file():
        write_whole(kept, memoryview(path.read_bytes()))
    with io.BytesIO() as buffer:
        torch.save(_rescued(load_checkpoint(path)), buffer)
        write_whole(path, buffer.getbuffer())


def _rescued(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    raw = raw_weights(checkpoint) or {}
    average = checkpoint["ema_state_dict"]
    average = {name: raw.get(name.removeprefix("module."), value) for name, value in average.items()}
    hub = dict(checkpoint.get("message_hub") or {})
    hub["runtime_info"] = {
        name: value for name, value in (hub.get("runtime_info") or {}).items() if name not in _CHOSEN_BY_METRIC
    }
    weights = type(checkpoint["state_dict"])(checkpoint["state_dict"])
    weights.update(raw)
    return {
        **checkpoint,
        "state_dict": weights,
        "ema_state_dict": average,
        "message_hub": hub,
        "meta": {**checkpoint["meta"], VERSION_KEY: __version__},
    }
