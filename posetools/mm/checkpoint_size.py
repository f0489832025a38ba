"""How large a checkpoint may be: not larger in memory than in its file.

``torch.save`` stores tensors as they are. A zip archive may also hold them compressed, its directory may name the same
bytes many times, a tensor may repeat one number without end, and a pickle may refer to its own parts again and again:
a small file that fills the memory.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import BinaryIO

from posetools.errors import InputError, must_be
from posetools.files.nesting import NestingError, check_nesting

# By which torch, too, tells its archives from what it wrote before them.
_ARCHIVE = b"PK\x03\x04"
_DEEPEST = 200
_MOST_REPEATED = 1_000_000
_HINT = "`torch.save` writes no such file: do not trust it"


def check_archive(path: Path, file: BinaryIO) -> None:
    """Refuse an archive whose members are larger than itself, by its directory, before torch reads any of them.

    Args:
        path: the checkpoint, for the message.
        file: the same, open at its beginning, where it is left.

    Raises:
        InputError: it is too large when it is unpacked, or its directory is damaged.
    """
    is_archive = file.read(len(_ARCHIVE)) == _ARCHIVE
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if not is_archive:
        return
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as exc:
        raise InputError(path, "", "is not a checkpoint, or is damaged: its archive cannot be read") from exc
    file.seek(0)
    if unpacked > size:
        problem = must_be("its content", f"of at most the file's own {size} bytes", f"{unpacked} bytes when unpacked")
        raise InputError(path, "", problem, hint=_HINT)


def check_content(path: Path, content: object) -> None:
    """Refuse the content of a checkpoint that would be larger than its file once it is used.

    Raises:
        InputError: it is nested too deeply, repeats itself, or has a tensor that is larger than its numbers.
    """
    import torch

    def children(value: object) -> list[object]:
        if isinstance(value, torch.Tensor) and value.layout is torch.strided:
            held = value.untyped_storage().nbytes()
            if (wanted := value.numel() * value.element_size()) > max(held, _MOST_REPEATED):
                problem = must_be("a tensor", f"of at most the {held} bytes that are stored for it", f"{wanted} bytes")
                raise InputError(path, "", problem, hint=_HINT)
        if isinstance(value, dict):
            return [*value, *value.values()]
        return list(value) if isinstance(value, list | tuple | set | frozenset) else []

    try:
        check_nesting(content, children, deepest=_DEEPEST, most_repeated=_MOST_REPEATED)
    except NestingError as exc:
        raise InputError(path, "", f"its content {exc}", hint=_HINT) from exc
