"""Load checkpoints without running code in them.

A checkpoint is a pickle, and unpickling can call any function. torch has a loader for tensors and plain values
(``weights_only=True``), but an mmengine checkpoint also holds its log: HistoryBuffer objects of numpy arrays, which
pickle four methods of their own class through ``builtins.getattr``. This module allows only these: HistoryBuffer,
numpy's arrays and numbers, and a replacement for ``getattr`` that returns HistoryBuffer's statistics only.

From torch 2.6 on, torch's own loader takes this list and refuses every other call. Older versions take no list;
there the same list feeds an unpickler that looks up no other name. mmengine's Runner and every ``init_model`` also
load through ``load_checkpoint``, so that resuming is as safe as evaluating.

A checkpoint may not be larger in memory than its file. ``torch.save`` stores tensors uncompressed. A hostile zip
archive can hold them compressed, its directory can name the same bytes many times, a tensor can repeat one number
endlessly, and a pickle can refer to its own parts repeatedly: a small file that fills the memory.
"""

from __future__ import annotations

import os
import pickle
import re
import struct
import types
import zipfile
from collections import Counter
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from posetools.errors import InputError, OutputError, RequestError, first_line, must_be, show_value
from posetools.files.nesting import NestingError, check_nesting
from posetools.mm.downloads import downloaded
from posetools.mm.environment import release
from posetools.mm.patches import load_checkpoints_by

# What unpickling a damaged file can raise; the pickle module promises no single exception.
_BROKEN_PICKLE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, LookupError, AttributeError)
_BROKEN_BYTES = (AssertionError, ImportError, MemoryError, struct.error)

# torch also uses this to tell its archives from its older file format.
_ARCHIVE = b"PK\x03\x04"
_DEEPEST_PICKLE = 200
_MOST_REPEATED = 1_000_000
_TRUST_HINT = "do not trust it: `torch.save` does not write such a file"
_HISTORY_STATISTICS = frozenset({"min", "max", "current", "mean"})


def load_checkpoint(
    path: Path | str, device: Any = "cpu", *, trusted: bool = False, plain: bool = False
) -> dict[str, Any]:
    """Return the content of a checkpoint; a file that would run code is refused.

    Args:
        path: the file.
        device: where the tensors go: anything torch takes as ``map_location``.
        trusted: allow the file to run code: the user says that it is their own.
        plain: allow tensors and plain values only, which needs no OpenMMLab.

    Raises:
        InputError: the file cannot be read, is not a checkpoint, holds more than tensors, plain values and mmengine's
            log, or would be larger in memory than on disk.
    """
    path = Path(path).expanduser()
    try:
        with path.open("rb") as file:
            _check_archive(path, file)
            content = _load_plain(file, device) if plain else _load(file, device, trusted=trusted)
    except OSError as exc:
        raise InputError(path, "", f"cannot be read: {exc.strerror or exc}") from exc
    except (*_BROKEN_PICKLE, *_BROKEN_BYTES) as exc:
        if trusted:
            said = first_line(exc)
            raise InputError(path, "", f"cannot be loaded, trusted or not: {said}") from exc
        raise _refusal(path, exc) from exc
    if not isinstance(content, dict):
        raise InputError(path, "", f"must be a checkpoint (a dict), got {type(content).__name__}")
    _check_content(path, content)
    return content


@cache
def allow_mmengine_checkpoints() -> None:
    """Allow what mmengine's own checkpoints hold, and make mmengine use ``load_checkpoint``. Safe to repeat."""
    if _torch_takes_a_list():
        import torch

        torch.serialization.add_safe_globals([(value, name) for name, value in _allowed().items()])
    load_checkpoints_by(load_from_local, load_from_url)


def load_from_local(filename: str, map_location: Any) -> dict[str, Any]:
    """Load for mmengine, which logs the part of a loader's name after ``load_from_``."""
    return load_checkpoint(filename, map_location)


def load_from_url(
    url: str, model_dir: str | None = None, map_location: Any = "cpu", progress: bool = True
) -> dict[str, Any]:
    """Load for mmengine from a URL: download to torch's cache, once, then ``load_checkpoint``.

    Raises:
        RequestError: the URL cannot be reached.
        OutputError: the download cannot be stored.
        InputError: as for ``load_checkpoint``.
    """
    import torch

    target = downloaded(url, model_dir)
    if not target.is_file():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise OutputError(f"{target.parent}: cannot be written: {exc.strerror or exc}") from exc
        try:
            torch.hub.download_url_to_file(url, str(target), progress=progress)
        except OSError as exc:
            raise RequestError(
                f"{url}: cannot be downloaded: {getattr(exc, 'reason', None) or exc}",
                hint="download it on a machine with access and pass the file instead, or train without it",
            ) from exc
    return load_checkpoint(target, map_location)


def _torch_takes_a_list() -> bool:
    import torch

    return release(torch.__version__) >= (2, 6)


def _load_plain(file: BinaryIO, device: Any) -> Any:
    import torch

    return torch.load(file, map_location=device, weights_only=True)


def _load(file: BinaryIO, device: Any, *, trusted: bool) -> Any:
    import torch

    if trusted:
        return torch.load(file, map_location=device, weights_only=False)
    allow_mmengine_checkpoints()
    if _torch_takes_a_list():
        return torch.load(file, map_location=device, weights_only=True)
    # This module replaces pickle. torch refuses it together with weights_only, which before 2.6 has no list to add to
    # and cannot build a HistoryBuffer.
    return torch.load(file, map_location=device, pickle_module=_restricted_pickle())


@cache
def _allowed() -> dict[str, Any]:
    """Return what a checkpoint may name in addition to torch's own list: the name in the pickle, and its object."""
    import numpy as np
    from mmengine.logging import HistoryBuffer

    allowed: dict[str, Any] = {
        "mmengine.logging.history_buffer.HistoryBuffer": HistoryBuffer,
        "builtins.getattr": _statistics_method,
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
        # The milestones of MultiStepLR; newer versions of torch have it in their own list.
        "collections.Counter": Counter,
        "_codecs.encode": _latin1,
    }
    # numpy's functions to rebuild arrays and numbers have no public name; numpy 2 writes the second one.
    multiarray = import_module("numpy.core.multiarray")
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        for name in ("_reconstruct", "scalar"):
            allowed[f"{module}.{name}"] = getattr(multiarray, name)
    # No pickle names these classes, but torch sets the state of a dtype only when its class is on the list.
    for code in "?bhilqBHILQefd":
        of_code = type(np.dtype(code))
        allowed[f"{of_code.__module__}.{of_code.__qualname__}"] = of_code
    return allowed


def _statistics_method(owner: object, name: str) -> Any:
    """Replace ``getattr``: HistoryBuffer's own statistics methods, and nothing else."""
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer or name not in _HISTORY_STATISTICS:
        raise pickle.UnpicklingError(f"GLOBAL builtins.getattr of {show_value(owner)}, {show_value(name)}")
    return getattr(HistoryBuffer, name)


def _latin1(text: str, encoding: str) -> bytes:
    """Replace ``codecs.encode``, with which pickles of protocol 2 store bytes: the one encoding that they use."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"GLOBAL _codecs.encode to {show_value(encoding)}")
    return text.encode("latin1")


@cache
def _restricted_pickle() -> Any:
    """Return the parts of pickle that torch before 2.6 needs, with an unpickler that looks up allowed names only."""
    from torch._weights_only_unpickler import _get_allowed_globals

    allowed = {**_get_allowed_globals(), **_allowed()}

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            full_name = f"{'builtins' if module == '__builtin__' else module}.{name}"
            if full_name not in allowed:
                raise pickle.UnpicklingError(f"GLOBAL {full_name}")
            return allowed[full_name]

    def load(file: Any, **options: Any) -> Any:
        return Unpickler(file, **options).load()

    return types.SimpleNamespace(__name__="pickle", Unpickler=Unpickler, load=load)


def _refusal(path: Path, error: BaseException) -> InputError:
    """Return the error for a file that did not load: it names something forbidden, or is damaged."""
    text = str(error)
    named = re.search(r"GLOBAL (builtins\.getattr of .*|\S+)", text) or re.search(r"<class '([^']+)'>", text)
    if isinstance(error, pickle.UnpicklingError) and named:
        return InputError(
            path,
            "",
            f"must hold tensors, plain values and mmengine's log only, so that loading it runs no code, got {named[1]}",
            hint="do not trust this file: weights do not need this. If you made it yourself, "
            "`posetools publish --trust` runs the code in it once and writes the weights to a safe file",
        )
    # torch's text explains how to switch the protection off; only the part after the last colon is about the file.
    said = text.rpartition("WeightsUnpickler error: ")[2].strip() or type(error).__name__
    return InputError(path, "", f"is not a checkpoint, or is damaged: {said.splitlines()[0].partition('. ')[0]}")


def _check_archive(path: Path, file: BinaryIO) -> None:
    """Refuse an archive whose directory lists more bytes than the file has, before torch reads any member."""
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
        problem = must_be("its content", f"at most {size} bytes, the file's size", f"{unpacked} bytes when unpacked")
        raise InputError(path, "", problem, hint=_TRUST_HINT)


def _check_content(path: Path, content: object) -> None:
    """Refuse the content of a checkpoint that would be larger in memory than its file."""
    import torch

    def children(value: object) -> list[object]:
        if isinstance(value, torch.Tensor) and value.layout is torch.strided:
            held = value.untyped_storage().nbytes()
            if (wanted := value.numel() * value.element_size()) > max(held, _MOST_REPEATED):
                problem = must_be("a tensor", f"at most {held} bytes, as stored", f"{wanted} bytes")
                raise InputError(path, "", problem, hint=_TRUST_HINT)
        if isinstance(value, dict):
            return [*value, *value.values()]
        return list(value) if isinstance(value, list | tuple | set | frozenset) else []

    try:
        check_nesting(content, children, deepest=_DEEPEST_PICKLE, most_repeated=_MOST_REPEATED)
    except NestingError as exc:
        raise InputError(path, "", f"its content {exc}", hint=_TRUST_HINT) from exc
