"""``posetools train --folds``: a pair for each fold of a data set, one after another.

Each is an ordinary run, in ``<work_dir>/fold-<number>``, with the configs in ``<configs>/fold-<number>``, so several
machines can train one fold each. The options of the command are those of every fold: a fold that has not started yet
needs them when the others resume.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from posetools.core import folder
from posetools.errors import RequestError, RunError
from posetools.mm.run_folder import last_in, model_folders
from posetools.mm.stack import require_train
from posetools.training.mishaps import AGAIN
from posetools.training.pair import check_both, has_begun, parent_of
from posetools.training.request import TrainRequest, check_training


def fold_requests(request: TrainRequest, *, both: bool) -> Mapping[int, TrainRequest]:
    """Return the request of each fold, by its number; all are checked as far as possible without torch.

    Args:
        request: what to train: ``fold``, or without one all folds of the data set. Its work folder is that of all
            folds. With ``resume``, folds that have not started do.
        both: whether to train the whole pair, or the model of ``request.stage``.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: the data set has no folds, or not this one; there is nothing to resume; or a fold cannot be
            trained.
        InputError: a file does not exist.
    """
    require_train("posetools train")
    parent, requests = parent_of(request), dict[int, TrainRequest]()
    for fold in folder.need_folds(request.folder) if request.fold is None else (request.fold,):
        folder.check_both(request.folder, fold)
        work_dir = folder.fold_folder(parent, fold)
        if not both:
            work_dir = work_dir / request.model
        started = _has_begun(work_dir) if both else last_in(work_dir) is not None
        requests[fold] = replace(request, fold=fold, work_dir=work_dir, resume=request.resume and started)
    if request.resume and not any(own.resume for own in requests.values()):
        raise RequestError(
            f"{parent}: has no run of {'a fold' if request.fold is None else f'fold {request.fold}'} to resume",
            hint="omit --resume to start from the first epoch",
        )
    for own in requests.values():
        if both:
            check_both(own)
        else:
            check_training(own)
    return requests


@contextmanager
def resumable_folds(requests: Mapping[int, TrainRequest]) -> Iterator[None]:
    """Make errors of a fold's run name the way to continue all folds."""
    try:
        yield
    except RunError as exc:
        started = any(_has_begun(own.work_dir or Path()) for own in requests.values())
        way = "the same command with --resume continues with this fold" if started else AGAIN
        raise type(exc)(exc.sentence, *exc.details, hint=exc.advice, way=way) from exc


def _has_begun(work_dir: Path) -> bool:
    """Return whether a run has started in a folder, or one of a pair below it."""
    return has_begun(work_dir) or any(map(has_begun, model_folders(work_dir)))
