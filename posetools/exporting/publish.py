"""Publish a checkpoint as a small file to share, which any torch loads without running code.

The parts of an mmengine checkpoint, and what happens to them:

=================== ============================================================ =========================
``state_dict``      the weights for prediction                                   kept
``meta``            config text, data set's meta, epoch, ...                     kept, as plain values
``optimizer``, ...  needed to resume, two to three times the weights             dropped
``message_hub``     the log, in mmengine's classes                               dropped
``ema_state_dict``  with an EMAHook: the weights *trained on*, not the averages  dropped
=================== ============================================================ =========================

Which weights are the averages: during training the model has the trained weights and the EMAHook a second model with
the averages. ``EMAHook.before_save_checkpoint`` stores the latter as ``ema_state_dict``, with ``module.`` before each
name, and then swaps the two, entry by entry, so that ``state_dict`` of every file has the evaluated averages; resuming
swaps back. The swap happens in memory before writing, so no run, stopped or killed, leaves a file with averages in
``ema_state_dict``. A file with only ``ema_state_dict`` comes from another program, and does not say which of the two it
has: it is refused.

The file name ends in the first eight digits of the content's SHA-256, as with OpenMMLab's files; ``torch.hub`` checks
downloads by them. The same checkpoint gives the same bytes with the same torch: the zip is written to memory, because
torch stores the name of an opened file in it, and equal strings are one object, because pickle distinguishes them.
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posetools import __version__
from posetools.core.categories import dump_categories, read_categories
from posetools.core.skeleton import dump_skeleton
from posetools.core.stages import Stage
from posetools.errors import InputError, RequestError, join_place, must_be
from posetools.files.disk import read_json, sweep, write_files
from posetools.files.locks import only_one
from posetools.mm.averages import VERSION_KEY, is_stale, stale_text
from posetools.mm.checkpoint import load_checkpoint
from posetools.mm.configs import SCOPES, config_of_run, scope_in
from posetools.mm.metainfo import skeleton_of_metainfo
from posetools.mm.run_folder import SKELETON
from posetools.mm.run_log import METRICS
from posetools.mm.stack import prepare, require_train
from posetools.pairs.doubts import doubt_of_checkpoint
from posetools.pairs.find import check_file, recorded_metrics

SUFFIX = ".pth"
DIGITS = 8

_KEPT = ("meta", "state_dict")


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishResult:
    """The result of publishing.

    Attributes:
        path: the file.
        sha256: of its content, hexadecimal.
        size_before: of the checkpoint, in bytes.
        size: of the file, in bytes.
        dropped: dropped parts: name in the checkpoint -> bytes of its tensors.
        averaged: whether the weights are averages of an EMAHook.
        stage: which of the two models it is; None if the config text does not say.
        config: the config in the checkpoint's folder, None if there is none, or several.
        meta: the metadata in the file.
        notes: one sentence for each missing part.
    """

    path: Path
    sha256: str
    size_before: int
    size: int
    dropped: Mapping[str, int]
    averaged: bool
    stage: Stage | None
    config: Path | None
    meta: Mapping[str, Any]
    notes: tuple[str, ...]


def publish(
    checkpoint: Path, out: Path, *, metrics: Path | None = None, overwrite: bool = False, trust: bool = False
) -> PublishResult:
    """Write a checkpoint's weights and metadata as a file to share.

    Its ``meta`` has all of the checkpoint's meta as plain values, ``posetools_version``, and if known ``skeleton`` (the
    YAML text) and ``metrics``.

    Args:
        checkpoint: a file of mmengine.
        out: the new file, ``.pth``; a dash and eight digits go before the suffix. Folders are created.
        metrics: a JSON file to include; None: the checkpoint's entry in metrics.json next to it.
        overwrite: whether to replace an existing file.
        trust: run code in the checkpoint, which must be the user's own; meta values without a plain form are dropped.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        InputError: a file cannot be read, is not a model checkpoint, or has NaN or infinite weights.
        RequestError: ``out`` has another suffix, or exists already.
        OutputError: the file cannot be written; an existing file is unchanged.
    """
    if out.suffix != SUFFIX or out.is_dir():
        raise RequestError(f"--out FILE must be a file name ending in {SUFFIX}, got {out}")
    require_train("posetools publish")
    checkpoint = checkpoint.expanduser()
    check_file(checkpoint, "checkpoint")
    if metrics is not None:
        check_file(metrics, "file of metrics")
    prepare("posetools publish")
    content = load_checkpoint(checkpoint, trusted=trust)
    notes: list[str] = []
    if trust:
        content = {**content, "meta": _plain_part(content.get("meta"), checkpoint, notes)}
    if is_stale(content):
        notes.append(stale_text(checkpoint))
    meta = _meta(content, checkpoint, metrics, notes)
    doubt = doubt_of_checkpoint(checkpoint)
    notes += [f"warning: {doubt}"] if doubt else []
    data = _saved({"meta": meta, "state_dict": _weights(content, checkpoint)})
    sha256 = hashlib.sha256(data).hexdigest()
    path = out.with_name(f"{out.stem}-{sha256[:DIGITS]}{SUFFIX}")
    with only_one(path):
        sweep(path)
        if path.exists() and not overwrite:
            raise RequestError(
                f"{path}: exists already, with the same content", hint="use --overwrite to write it again"
            )
        write_files({path: data})
    return PublishResult(
        path=path,
        sha256=sha256,
        size_before=checkpoint.stat().st_size,
        size=len(data),
        dropped={str(name): _tensor_bytes(value) for name, value in content.items() if name not in _KEPT},
        averaged="ema_state_dict" in content,
        stage=next((stage for stage, scope in SCOPES.items() if scope == scope_in(str(meta.get("cfg", "")))), None),
        config=_config_beside(checkpoint),
        meta=meta,
        notes=tuple(notes),
    )


def _weights(content: Mapping[str, Any], path: Path) -> OrderedDict[str, Any]:
    """Return the weights for prediction, each in a storage of its own size."""
    import torch

    given = content.get("state_dict")
    if not isinstance(given, Mapping) or not given:
        raise _no_weights(content, path)
    weights: OrderedDict[str, Any] = OrderedDict()
    for name, value in given.items():
        place = f"state_dict.{name}"
        if not isinstance(value, torch.Tensor):
            raise InputError(path, place, must_be("value", "a tensor", type(value).__name__))
        wrong = int((~torch.isfinite(value)).sum()) if value.is_floating_point() else 0
        if wrong:
            problem = f"weights must be finite numbers, got {wrong} of {value.numel()} NaN or infinite"
            hint = "publish an earlier checkpoint: training diverged; `posetools plot` shows where"
            raise InputError(path, place, problem, hint=hint)
        tensor = value.detach()
        # A view is saved with the whole tensor it belongs to.
        whole = tensor.untyped_storage().nbytes() == tensor.nelement() * tensor.element_size()
        weights[name] = tensor if whole else tensor.clone()
    # It has versions, by which modules rename the weights of older files.
    versions = getattr(given, "_metadata", None)
    if versions is not None:
        weights._metadata = _PlainCopy(path).value(versions, ("state_dict", "_metadata"))  # type: ignore[attr-defined]
    return weights


def _no_weights(content: Mapping[str, Any], path: Path) -> InputError:
    why = "ema_state_dict alone may or may not be the averages: mmengine saves both, and swaps them"
    details = [why] if "ema_state_dict" in content else []
    hint = "use epoch_N.pth or best_*.pth in a work folder of `posetools train`"
    keys = ", ".join(sorted(map(str, content))[:5]) or "nothing"
    return InputError(path, "state_dict", f"must have the weights of a model, got {keys}", *details, hint=hint)


def _meta(content: Mapping[str, Any], path: Path, metrics: Path | None, notes: list[str]) -> dict[str, Any]:
    given = content.get("meta") or {}
    if not isinstance(given, Mapping):
        raise InputError(path, "meta", must_be("value", "a dict", type(given).__name__))
    meta: dict[str, Any] = {str(name): value for name, value in given.items()}
    meta[VERSION_KEY] = __version__
    skeleton = _skeleton(path, meta)
    if skeleton is not None:
        meta["skeleton"] = skeleton
    else:
        notes.append(f"no skeleton: there is no {SKELETON} next to the checkpoint, and its meta has no keypoints")
    numbers = _metrics(path, metrics, notes)
    if numbers is not None:
        meta["metrics"] = numbers
    elif "metrics" not in meta:
        notes.append("no metrics: add some with --metrics FILE, such as the output of `posetools eval --json FILE`")
    if "cfg" not in meta:
        notes.append("no config: the checkpoint does not have its text")
    plain: dict[str, Any] = _PlainCopy(path).value(meta, ("meta",))
    return plain


def _plain_part(meta: Any, path: Path, notes: list[str]) -> Any:
    """Return meta without entries that have no plain form."""
    if not isinstance(meta, Mapping):
        return meta
    kept, plain = {}, _PlainCopy(path)
    for name, value in meta.items():
        try:
            kept[name] = plain.value(value, ("meta", str(name)))
        except InputError:
            notes.append(f"meta.{name} is dropped: a {type(value).__name__} has no plain form")
    return kept


def _metrics(path: Path, given: Path | None, notes: list[str]) -> Any:
    """Return the metrics of this checkpoint, not of another of its run."""
    if given is not None:
        document = read_json(given)
        if not isinstance(document, dict):
            raise InputError(given, "", must_be("metrics", "a JSON object", type(document).__name__))
        return document
    numbers = recorded_metrics(path)
    beside = path.parent / METRICS
    if numbers is None and beside.is_file():
        notes.append(f"{beside} has no metrics of {path.name}, only of the last and the best checkpoint")
    return numbers


def _skeleton(path: Path, meta: Mapping[str, Any]) -> str | None:
    """Return the YAML text of the categories: the run's, the published file's, or that of the data set's meta."""
    beside = path.parent / SKELETON
    if beside.is_file():
        return dump_categories(read_categories(beside))
    if isinstance(meta.get("skeleton"), str):
        return str(meta["skeleton"])
    try:
        return dump_skeleton(skeleton_of_metainfo(meta.get("dataset_meta") or {}))
    except (KeyError, IndexError, TypeError, ValueError):
        # Meta of a detector, or of another data set class: it is kept unchanged, with a note.
        return None


class _PlainCopy:
    """Converts values to plain ones: dict, list, tuple, str, number, bool, None; equal strings become one object."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._texts: dict[str, str] = {}

    def value(self, value: Any, place: tuple[str | int, ...]) -> Any:
        """Return a value as a plain one.

        Raises:
            InputError: its type has no plain form.
        """
        import numpy as np
        import torch

        if isinstance(value, str):
            return self._texts.setdefault(str(value), str(value))
        if isinstance(value, np.ndarray | np.generic | torch.Tensor):
            return self.value(value.tolist(), place)
        if value is None or type(value) in (bool, int, float):
            return value
        if isinstance(value, Mapping):
            return {self.value(key, place): self.value(of_key, (*place, str(key))) for key, of_key in value.items()}
        if isinstance(value, list | tuple):
            entries = [self.value(entry, (*place, i)) for i, entry in enumerate(value)]
            return tuple(entries) if isinstance(value, tuple) else entries
        if isinstance(value, set | frozenset):
            return self.value(sorted(value, key=repr), place)
        raise InputError(
            self._path,
            join_place(place),
            must_be("value", "a plain one (text, number, list, dict)", type(value).__name__),
        )


def _saved(content: Mapping[str, Any]) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    return buffer.getvalue()


def _tensor_bytes(value: Any) -> int:
    """Return the bytes of the tensors in a value; shared storages count once, as in the file."""
    return sum(dict(_storages(value)).values())


def _storages(value: Any) -> Iterator[tuple[int, int]]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value.untyped_storage().data_ptr(), value.untyped_storage().nbytes()
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        yield from _storages(part)


def _config_beside(checkpoint: Path) -> Path | None:
    try:
        return config_of_run(checkpoint.parent)
    except RequestError:
        return None
