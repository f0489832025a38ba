"""Load, inspect and change the configs of a run.

Functions that change a config do so in place: mmengine's Config is the one mutable object here.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from posetools.core.folder import SPLITS, check_both, fold_mark, fold_split, folds_of
from posetools.core.stages import Stage
from posetools.errors import InputError, RequestError, quoted

# The registry scope that a config of each stage names.
SCOPES: Mapping[Stage, str] = {"det": "mmdet", "pose": "mmpose"}


def load_config(path: Path) -> Any:
    """Return the mmengine Config in a file, with its ``_base_`` files resolved.

    Raises:
        InputError: it cannot be read, or is not a model config.
    """
    from mmengine import Config

    if not path.is_file():
        raise InputError(path, "", "config does not exist")
    try:
        config = Config.fromfile(path)
    except (OSError, SyntaxError, NameError, LookupError, TypeError, AttributeError, ValueError, ImportError) as exc:
        raise InputError(path, "", f"is not a config that mmengine can read: {type(exc).__name__}: {exc}") from exc
    if "model" not in config:
        raise InputError(path, "model", "must be there: this is not a model config")
    return config


def scope_in(text: str) -> str | None:
    """Return the default scope in the text of a config that states it in a line of its own, as saved configs do."""
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
        raise RequestError(
            f"{config.filename}: default_scope must be {SCOPES[stage]!r} for --stage {stage}, got {scope!r}",
            hint=f"pass --stage {others[0]}, or another config" if others else "",
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
        f"{work_dir}: has {what}",
        hint=(
            "keep only the config of the run in it, or pass one with `posetools train --config FILE` or "
            "`posetools eval --config FILE`"
        ),
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
        raise InputError(config.filename, "test_dataloader", "must be there: prediction uses its pipeline")
    return inner_dataset(loader)


def data_root_of(config: Any) -> Path:
    """Return the data set's folder that a config names.

    Raises:
        InputError: it names none.
    """
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = config.get(name)
        root: str | None = inner_dataset(loader).get("data_root") if loader else None
        # The annotations of one skeleton of several are not in the data set's folder.
        root = root or (config.get("annotations") and config.get("data_root"))
        if root:
            return Path(root)
    raise InputError(config.filename, "train_dataloader.dataset.data_root", "must be there")


def own_split(config: Any, split: str) -> str:
    """Return the split that a name means for a config's model: of a fold's config, train and val are the fold's."""
    return fold_split(config.get("fold"), split) if split in SPLITS else split


def has_fold(config: Any, data: Path) -> bool:
    """Return whether a data set has the fold of a config, with the same val images as when the config was written.

    Raises:
        InputError: the fold's file cannot be read.
    """
    fold = config.get("fold")
    return fold in folds_of(data) and fold_mark(data, fold) == config.get("held_out")


def check_fold(config: Any, data: Path) -> None:
    """Refuse the config of a fold whose val images have changed: its model may have been trained on them.

    Raises:
        RequestError: they have changed, or the data set has no such fold.
        InputError: the fold's file cannot be read.
    """
    fold = config.get("fold")
    if fold is None:
        return
    check_both(data, fold)
    if not has_fold(config, data):
        again = f"posetools train --stage all {quoted(data)} --folds --work-dir NEW"
        raise RequestError(
            f"{config.filename}: fold {fold} of {data} has other val images than when this config was written",
            hint=f"`posetools config {quoted(data)} --folds --overwrite` and `{again}` train the folds again",
        )


def ann_file_of(dataset: Mapping[str, Any]) -> Path:
    """Return the annotation file that a data set's config names; OpenMMLab joins it to ``data_root``."""
    return Path(dataset.get("data_root") or "") / str(dataset.get("ann_file", ""))


def parts_of(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every dict in a config value with its path, which is also the path of its tensors: ``neck.0``."""
    if isinstance(value, dict):
        yield path, value
    parts = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list | tuple) else ())
    for name, part in parts:
        yield from parts_of(part, f"{path}.{name}" if path else str(name))


def pretrained_parts(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a model's config, with their paths, whose ``init_cfg`` loads pretrained weights."""
    for path, part in parts_of(model):
        init = part.get("init_cfg")
        if isinstance(init, dict) and init.get("type") == "Pretrained":
            yield path, part


def drop_pretrained(model: Any) -> None:
    """Make every part of a model's config start from random weights."""
    for _, part in tuple(pretrained_parts(model)):
        part["init_cfg"] = None


def apply_options(config: Any, options: Sequence[str]) -> None:
    """Merge ``key=value`` texts into a config, with the types and brackets of mmengine's ``--cfg-options``.

    Raises:
        RequestError: one is not ``key=value``, has unbalanced brackets, or names a key that cannot hold a value.
    """
    check_options(options)
    from mmengine import DictAction

    parser = ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    for option in options:
        try:
            config.merge_from_dict(parser.parse_args(["--cfg-options", option]).cfg_options)
        except (AssertionError, TypeError, KeyError, IndexError, ValueError) as exc:
            raise RequestError(f"--cfg-options {option}: cannot be set in the config: {exc}") from exc


def check_options(options: Sequence[str]) -> None:
    """Refuse texts of ``--cfg-options`` that are not ``key=value``.

    Raises:
        RequestError: one is not.
    """
    for option in options:
        key, equals, _ = option.partition("=")
        if not key or not equals:
            raise RequestError(f"--cfg-options must be key=value, got {option!r}")


def scaled_epoch(number: int, share: float, last: int) -> int:
    """Return the number of an epoch in a run of ``last`` epochs that is ``share`` times as long."""
    return max(1, min(last, round(number * share))) if number else 0


def early_epochs(config: Any) -> tuple[int, float]:
    """Return how many first epochs have the config's ``early_size``, and the time of one relative to a later one."""
    cost = config.get("early_cost")
    switches = [hook["switch_epoch"] for hook in config.get("custom_hooks") or () if "switch_epoch" in hook]
    return (switches[0], float(cost)) if cost and switches else (0, 1.0)


def set_epochs(config: Any, epochs: int) -> None:
    """Set the number of epochs of a config, and scale every epoch number in it.

    The schedule keeps its shape: a cosine over the last half stays over the last half. Warm-up, which is counted in
    iterations, and the evaluation intervals become shorter with fewer epochs, but not longer with more.

    Raises:
        RequestError: the config does not count in epochs.
    """
    before = config.train_cfg.get("max_epochs")
    if not before:
        raise RequestError(f"{config.filename}: train_cfg.max_epochs must be there for --epochs to change it")
    share, shrink = epochs / before, min(epochs / before, 1.0)

    config.train_cfg["max_epochs"] = epochs
    # With more epochs, evaluate and save as often as before.
    config.train_cfg["val_interval"] = scaled_epoch(config.train_cfg.get("val_interval") or 1, shrink, epochs)
    dynamic = config.train_cfg.get("dynamic_intervals")
    if dynamic:
        config.train_cfg["dynamic_intervals"] = [
            (scaled_epoch(start, share, epochs), interval) for start, interval in dynamic
        ]
    for scheduler in config.get("param_scheduler") or ():
        factor = share if scheduler.get("by_epoch", True) else shrink
        ends_low = scheduler.get("T_max") == scheduler.get("end", 0) - scheduler.get("begin", 0)
        # Round begins down and keep ends at least one later: mmengine refuses a schedule without a step.
        if "begin" in scheduler:
            scheduler["begin"] = int(scheduler["begin"] * factor)
        for key in ("end", "T_max"):
            if key in scheduler:
                first = scheduler.get("begin", 0) if key == "end" else 0
                scheduler[key] = max(first + 1, round(scheduler[key] * factor))
        if ends_low:
            # A cosine that reaches its minimum before its end rises again.
            scheduler["T_max"] = scheduler["end"] - scheduler.get("begin", 0)
    for hook in config.get("custom_hooks") or ():
        if "switch_epoch" in hook:
            hook["switch_epoch"] = scaled_epoch(hook["switch_epoch"], share, epochs)
    checkpoint = config.default_hooks.get("checkpoint")
    if checkpoint and checkpoint.get("by_epoch", True):
        checkpoint["interval"] = scaled_epoch(checkpoint.get("interval") or 1, shrink, epochs)
