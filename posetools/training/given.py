"""What is wrong with a request and can be known without torch, whose import takes seconds, is said before it.

Everything here is looked at again, and in full, once the config is loaded; these checks read no config and no weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from posetools.core.folder import check_both, skeleton_of
from posetools.errors import RequestError
from posetools.mm.configs import check_options
from posetools.mm.device import check_device
from posetools.mm.run_folder import checkpoint_to_resume
from posetools.pairs.find import check_file
from posetools.recipes.find import find_pair
from posetools.training.trackers import check_trackers

if TYPE_CHECKING:
    from posetools.training.train import TrainRequest

WORK_DIRS = Path("work_dirs")
NO_WEIGHTS = "none"


def check_training(request: TrainRequest) -> None:
    """Refuse a run whose files, folders or values are not there.

    Raises:
        RequestError: an option means nothing, or a folder cannot be trained in.
        InputError: a file is not there.
    """
    check_device(request.device)
    check_options(request.cfg_options)
    check_trackers(request.trackers)
    weights = request.weights
    if weights is not None and weights != NO_WEIGHTS and "://" not in weights:
        check_file(Path(weights), "file of weights", hint=f"--weights {NO_WEIGHTS} starts from random weights")
    path = request.config
    if path is not None:
        check_file(path, "config")
    elif not (request.resume and request.work_dir is not None):
        data = data_of(request)
        skeleton_of(data, request.skeleton)
        pair = find_pair(data, request.configs)
        if pair is None:
            # A pair is emitted for the data, whose files it names.
            check_both(data)
        path = getattr(pair, request.stage, None)
    if request.work_dir is not None or path is not None:
        check_work_dir(request.work_dir or WORK_DIRS / Path(str(path)).stem, resume=request.resume)


def data_of(request: TrainRequest) -> Path:
    """Return the data set's folder.

    Raises:
        RequestError: none was named.
    """
    if request.data is None:
        raise RequestError("--data DIR or --config FILE must say what to train on\n  posetools train --help")
    return request.data


def check_work_dir(work_dir: Path, *, resume: bool) -> None:
    """Refuse a work folder with nothing to resume from, or with checkpoints that a new run would mix with its own.

    Raises:
        RequestError: it is one.
    """
    if resume:
        checkpoint_to_resume(work_dir)
    elif any(work_dir.glob("*.pth")):
        raise RequestError(
            f"{work_dir}: holds checkpoints of an earlier run\n  --resume goes on with it; or choose another --work-dir"
        )
