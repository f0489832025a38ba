"""What is wrong with files, splits and devices that a user names, and can be known without torch."""

from __future__ import annotations

from pathlib import Path

from posetools.core.folder import splits_of
from posetools.core.skeleton import load_skeleton
from posetools.errors import InputError, RequestError
from posetools.mm.device import check_device


def check_file(path: Path, what: str, *, hint: str = "") -> None:
    """Refuse a file that is not there.

    Raises:
        InputError: it is not there.
    """
    if not path.is_file():
        raise InputError(path, "", f"{what} does not exist", hint=hint)


def check_split(
    data: Path | None, split: str, *, device: str, skeleton: str | None = None, models: tuple[Path | None, ...] = ()
) -> None:
    """Refuse a split, a device, a skeleton or files of models that are not there.

    Args:
        data: the data set's folder, where the user named one.
        split: of it.
        device: as the user said.
        skeleton: a built-in name or a file, where the user named one.
        models: checkpoints and configs that the user named.

    Raises:
        RequestError: a split or a device is not there.
        InputError: a file is not there, or the skeleton breaks a rule.
    """
    check_device(device)
    for path in models:
        if path is not None:
            check_file(path, "config" if path.suffix == ".py" else "checkpoint")
    if skeleton is not None:
        load_skeleton(skeleton)
    if data is not None and split not in (splits := splits_of(data)):
        raise RequestError(f"{data}: has no split {split!r}; it has {', '.join(splits)}")
