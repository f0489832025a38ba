"""Configs of a run: loaded, looked into, and changed by what the user asked for.

The functions that change a config do so in place: mmengine's Config is the one object here that is made to be changed.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from posetools.core.stages import Stage
from posetools.errors import InputError, RequestError

# The registry scope that a config of each stage names.
SCOPES: Mapping[Stage, str] = {"det": "mmdet", "pose": "mmpose"}


def load_config(path: Path) -> Any:
    """Return the mmengine Config in a file, with its ``_base_`` files resolved.

    Raises:
        InputError: it cannot be read, or is no config of a model.
    """
    from mmengine import Config

    if not path.is_file():
        raise InputError(path, "", "config does not exist")
    try:
        config = Config.fromfile(path)
    except (OSError, SyntaxError, NameError, LookupError, TypeError, AttributeError, ValueError, ImportError) as exc:
        raise InputError(path, "", f"is not a config that mmengine can read: {type(exc).__name__}: {exc}") from exc
    if "model" not in config:
        raise InputError(path, "model", "must be there: this is no config of a model")
    return config


def scope_in(text: str) -> str | None:
    """Return the default scope that the text of a config states in a line of its own, as what a run leaves does."""
    said = re.search(r"^default_scope\s*=\s*['\"](\w+)['\"]", text, flags=re.MULTILINE)
    return said[1] if said else None


def check_stage(config: Any, stage: Stage) -> None:
    """Refuse a config of the other stage.

    Raises:
        RequestError: its default scope is not the stage's.
    """
    scope = config.get("default_scope")
    if scope != SCOPES[stage]:
        others = [name for name, other in SCOPES.items() if other == scope]
        hint = f"\n  --stage {others[0]} is this config's" if others else ""
        raise RequestError(
            f"{config.filename}: default_scope must be {SCOPES[stage]!r} for --stage {stage}, got {scope!r}{hint}"
        )


def config_of_run(work_dir: Path) -> Path:
    """Return the config that mmengine left in a work folder: the one ``.py`` file in it.

    Raises:
        RequestError: there is none, or several.
    """
    found = sorted(work_dir.glob("*.py"))
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} configs ({', '.join(path.name for path in found)})" if found else "no config"
    raise RequestError(
        f"{work_dir}: has {what}\n"
        "  keep the one that it was trained with; `posetools train --config FILE` and `posetools eval --config FILE` "
        "take one from elsewhere"
    )


def inner_dataset(loader: Mapping[str, Any]) -> Any:
    """Return the config of a loader's data set, without wrappers such as RepeatDataset."""
    dataset = loader["dataset"]
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    return dataset


def evaluation_dataset(config: Any) -> Any:
    """Return the config of the data set to evaluate on.

    Raises:
        InputError: the config has none.
    """
    loader = config.get("test_dataloader") or config.get("val_dataloader")
    if not loader:
        raise InputError(config.filename, "test_dataloader", "must be there: it has the pipeline to predict with")
    return inner_dataset(loader)


def data_root_of(config: Any) -> Path:
    """Return the data set's folder that a config names.

    Raises:
        InputError: it names none.
    """
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = config.get(name)
        root: str | None = inner_dataset(loader).get("data_root") if loader else None
        if root:
            return Path(root)
    raise InputError(config.filename, "train_dataloader.dataset.data_root", "must be there")


def ann_file_of(dataset: Mapping[str, Any]) -> Path:
    """Return the annotation file that a data set's config names; OpenMMLab joins it to ``data_root``."""
    return Path(dataset.get("data_root") or "") / str(dataset.get("ann_file", ""))


def parts_of(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give every dict in a value of a config with its place in it, that of its tensors in a model: ``neck.0``."""
    if isinstance(value, dict):
        yield path, value
    parts = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list | tuple) else ())
    for name, part in parts:
        yield from parts_of(part, f"{path}.{name}" if path else str(name))


def pretrained_parts(model: Any) -> Iterator[tuple[str, Any]]:
    """Give the parts of a model's config, with their places, whose ``init_cfg`` starts them from given weights."""
    for path, part in parts_of(model):
        init = part.get("init_cfg")
        if isinstance(init, dict) and init.get("type") == "Pretrained":
            yield path, part


def drop_pretrained(model: Any) -> None:
    """Let every part of a model's config start from random weights."""
    for _, part in tuple(pretrained_parts(model)):
        part["init_cfg"] = None


def apply_options(config: Any, options: Sequence[str]) -> None:
    """Merge ``key=value`` texts into a config, with the types and brackets of mmengine's ``--cfg-options``.

    Raises:
        RequestError: one is not ``key=value``, has unbalanced brackets, or names a place that cannot hold a value.
    """
    check_options(options)
    from mmengine import DictAction

    parser = ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    for option in options:
        try:
            config.merge_from_dict(parser.parse_args(["--cfg-options", option]).cfg_options)
        except (AssertionError, TypeError, KeyError, IndexError, ValueError) as exc:
            raise RequestError(f"--cfg-options {option}: cannot be put into the config: {exc}") from exc


def check_options(options: Sequence[str]) -> None:
    """Refuse texts of ``--cfg-options`` that are not ``key=value``.

    Raises:
        RequestError: one is not.
    """
    for option in options:
        key, equals, _ = option.partition("=")
        if not key or not equals:
            raise RequestError(f"--cfg-options must be key=value, got {option!r}")


def set_epochs(config: Any, epochs: int) -> None:
    """Give a config another number of epochs, and scale every epoch number in it with that.

    The schedule keeps its shape: a cosine over the last half stays one over the last half. Warm-up, which is counted in
    iterations, becomes shorter with fewer epochs and not longer with more, and so do the intervals of evaluation.

    Raises:
        RequestError: the config does not count in epochs.
    """
    before = config.train_cfg.get("max_epochs")
    if not before:
        raise RequestError(f"{config.filename}: train_cfg.max_epochs must be there for --epochs to change it")
    share, shrink = epochs / before, min(epochs / before, 1.0)

    def scaled(number: int, factor: float) -> int:
        return max(1, min(epochs, round(number * factor))) if number else 0

    config.train_cfg["max_epochs"] = epochs
    # More epochs are no reason to evaluate and save more rarely.
    config.train_cfg["val_interval"] = scaled(config.train_cfg.get("val_interval") or 1, shrink)
    dynamic = config.train_cfg.get("dynamic_intervals")
    if dynamic:
        config.train_cfg["dynamic_intervals"] = [(scaled(start, share), interval) for start, interval in dynamic]
    for scheduler in config.get("param_scheduler") or ():
        factor = share if scheduler.get("by_epoch", True) else shrink
        # Begins are rounded down and ends are at least one later: mmengine refuses a schedule without a step.
        if "begin" in scheduler:
            scheduler["begin"] = int(scheduler["begin"] * factor)
        for key in ("end", "T_max"):
            if key in scheduler:
                first = scheduler.get("begin", 0) if key == "end" else 0
                scheduler[key] = max(first + 1, round(scheduler[key] * factor))
    for hook in config.get("custom_hooks") or ():
        if "switch_epoch" in hook:
            hook["switch_epoch"] = scaled(hook["switch_epoch"], share)
    checkpoint = config.default_hooks.get("checkpoint")
    if checkpoint and checkpoint.get("by_epoch", True):
        checkpoint["interval"] = scaled(checkpoint.get("interval") or 1, shrink)
