"""The parts of a config's text that RTMDet and RTMPose have in common.

Each function returns lines of Python. What is a formula in the config stays one there, so that a person who edits
``max_epochs`` or ``batch_size`` in the file changes everything that follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from posetools.recipes.budget import enough_iterations
from posetools.recipes.options import NONE, STOCK
from posetools.recipes.recipe import StageRecipe
from posetools.recipes.stock import BASE_LR, BATCH, EMA_GAMMA, WARMUP_ITERS

ConfigLines = list[str]


# Comments beside a value end here; longer ones stand above it.
_COMMENT_WIDTH = 110
_NEARLY = 0.9


def title(name: str) -> str:
    """Return the comment that opens a part."""
    return f"# {name} ".ljust(100, "-")


def header(what: str, base: str, tools: str) -> ConfigLines:
    """Return the opening comment and ``_base_``."""
    return [
        f"# {what}. Emitted by `posetools config`.",
        f"# The stock tools/train.py and tools/test.py of {tools} run it as it is; posetools is not imported.",
        "# Stated is only what differs from the stock recipe, with the reason:",
        f"_base_ = {base!r}",
        "",
    ]


def assigned(stage: StageRecipe, name: str, field: str, note: str = "") -> ConfigLines:
    """Return the line that gives a chosen value a name, with the reason beside it, or above where it is long.

    Args:
        stage: the stage.
        name: in the config.
        field: of the recipe.
        note: what the comment says before the reason.
    """
    because = stage.because[field]
    value = because.formula or repr(because.value)
    if because.formula:
        result = f"{because.value:.2g}" if isinstance(because.value, float) else because.value
        note = f"{result}{'; ' if note else ''}{note}"
    comment = f"{note}: {because.reason}" if note else because.reason
    line = f"{name} = {value}  # {comment}"
    if len(line) <= _COMMENT_WIDTH:
        return [line]
    return [*commented(because.reason), f"{name} = {value}" + (f"  # {note}" if note else "")]


def commented(text: str) -> ConfigLines:
    """Return a sentence as lines of comment."""
    return [f"# {line}" for line in wrap(f"{text[:1].upper()}{text[1:]}.", _COMMENT_WIDTH)]


def item(text: str) -> ConfigLines:
    """Return one entry of a list as lines of comment."""
    return [f"# {line}" for line in wrap(text, _COMMENT_WIDTH, initial_indent="- ", subsequent_indent="  ")]


def schedule_numbers(stage: StageRecipe, workers: int) -> ConfigLines:
    """Return the numbers that everything else in the config follows from; ``workers``: processes per loader."""
    repeat, samples = stage.repeat, f"{stage.samples} {stage.sample}"
    repeated = " * repeat" if repeat > 1 else ""
    ema = [] if stage.ema_momentum is None else assigned(stage, "ema_momentum", "ema_momentum")
    return [
        title("schedule"),
        *assigned(stage, "max_epochs", "epochs", "the rest of the schedule follows from it"),
        *(assigned(stage, "repeat", "repeat", "times through the data in an epoch") if repeated else []),
        *assigned(stage, "stage2_num_epochs", "stage2_epochs"),
        *assigned(stage, "val_interval", "val_interval"),
        *assigned(stage, "batch_size", "batch_size", "on one device"),
        *assigned(stage, "val_batch_size", "val_batch_size"),
        f"num_workers = {workers}  # processes per loader; more where cores are free",
        "persistent_workers = num_workers > 0  # torch refuses to keep workers where there are none",
        *rate(stage),
        f"# Stock warms up for {WARMUP_ITERS} iterations whatever the data; on a small set that is most of the run.",
        f"iterations = max_epochs * -(-{stage.samples}{repeated} // batch_size)"
        f"  # {stage.iterations}: {samples} an epoch{f', {repeat} times' if repeated else ''}",
        *_enough(stage),
        *assigned(stage, "warmup_iters", "warmup_iters"),
        *ema,
        "",
    ]


def _enough(stage: StageRecipe) -> ConfigLines:
    """Return the line by which ``posetools train`` judges a run whose length was chosen by time."""
    enough = enough_iterations(stage.samples, stage.batch_size)
    # Whole epochs seldom make exactly as many.
    if "epochs" in stage.stated or stage.iterations > _NEARLY * enough:
        return []
    return [f"enough_iterations = {enough}  # what the recipe aims at where time does not limit it"]


def rate(stage: StageRecipe) -> ConfigLines:
    """Return the learning rate."""
    if "lr" in stage.stated:
        return [f"base_lr = {stage.lr!r}  # as stated; stock is {BASE_LR}, for batches of {BATCH[stage.stage]}"]
    return [
        "# Adam's rate goes with the square root of the batch (Malladi et al., On the SDEs and Scaling Rules for",
        "# Adaptive Gradient Algorithms, 2022).",
        *assigned(stage, "base_lr", "lr"),
    ]


def schedule(stage: StageRecipe, *, dynamic: bool, metric: str, keep: int | None, seed: int | None) -> ConfigLines:
    """Return loop, optimizer, learning rate, checkpoints, seed and starting weights.

    Args:
        stage: the stage.
        dynamic: whether the stock recipe evaluates after every epoch of stage 2.
        metric: what ``save_best`` looks at.
        keep: how many checkpoints are kept; None: as stock.
        seed: of training; None: as stock.
    """
    loop = "train_cfg = dict(max_epochs=max_epochs, val_interval=val_interval"
    milestones = "[(max_epochs - stage2_num_epochs, 1)]" if stage.switches else "None"
    lines = [
        *([f"{loop},", f"                 dynamic_intervals={milestones})"] if dynamic else [f"{loop})"]),
        "optim_wrapper = dict(optimizer=dict(lr=base_lr))",
        "# `--auto-scale-lr` (several GPUs) scales from this batch.",
        "auto_scale_lr = dict(base_batch_size=batch_size)",
        "param_scheduler = [",
        "    dict(type='LinearLR', start_factor=1.0e-5, by_epoch=False, begin=0, end=warmup_iters),",
        "    dict(  # the first half at base_lr, then down to a twentieth of it",
        "        type='CosineAnnealingLR', eta_min=base_lr * 0.05, by_epoch=True, convert_to_iter_based=True,",
        "        begin=max_epochs // 2, end=max_epochs, T_max=max_epochs - max_epochs // 2)",
        "]",
        "default_hooks = dict(checkpoint=dict(",
        *([f"    max_keep_ckpts={keep},  # a run killed while it saves still has the one before"] if keep else []),
        f"    interval=val_interval, save_best={metric!r}, rule='greater'))  # what is saved was evaluated",
    ]
    if seed is not None:
        lines.append(f"randomness = dict(seed={seed})  # so that a run can be repeated")
    if stage.load_from is not None:
        lines += commented(f"The whole model starts from it, as far as it fits: {stage.because['load_from'].reason}")
        lines.append(f"load_from = {weights_path(stage.load_from)!r}")
    return [*lines, ""]


def loaders(stage: StageRecipe, train: Sequence[str], val: Sequence[str], *, note: Sequence[str] = ()) -> ConfigLines:
    """Return the data loaders.

    Args:
        stage: the stage.
        train: further arguments of the data set to train on.
        val: those of the one to evaluate on.
        note: comments on evaluation.
    """
    return [
        title("loaders and evaluation"),
        *_loader("train", train, repeated=stage.repeat > 1),
        *note,
        *_loader("val", val),
        "test_dataloader = val_dataloader",
        "",
    ]


def _loader(split: str, dataset: Sequence[str], *, repeated: bool = False) -> ConfigLines:
    batch = "batch_size" if split == "train" else "val_batch_size"
    arguments = [
        "data_root=data_root,",
        "metainfo=metainfo,",
        f"ann_file='{split}_coco.json',",
        "data_prefix=dict(img='images/'),",
        *dataset,
    ]
    if repeated:
        inner = ["dataset=dict(", *indent(["type='CocoDataset',", *arguments], 4), ")"]
        arguments = ["_delete_=True,", "type='RepeatDataset',", "times=repeat,", *inner]
    return [
        f"{split}_dataloader = dict(",
        f"    batch_size={batch},",
        "    num_workers=num_workers,",
        "    persistent_workers=persistent_workers,",
        "    dataset=dict(",
        *indent(arguments, 8),
        "    ))",
    ]


def hooks(stage: StageRecipe, *, scope: str, pipeline: str) -> ConfigLines:
    """Return ``custom_hooks``, which a config can only replace as a whole.

    Args:
        stage: the stage.
        scope: prefix of the switch hook (``mmdet.`` from mmpose).
        pipeline: the expression of the pipeline that is switched to.
    """
    lines: ConfigLines = []
    if stage.ema_momentum is not None:
        lines += [
            f"    # Stock has gamma {EMA_GAMMA}: a short run ends before the average is one.",
            "    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=ema_momentum,",
            f"         gamma=min({EMA_GAMMA}, max(1, iterations // 10)), update_buffers=True, priority=49),",
        ]
    if stage.switches:
        lines += [
            f"    dict(type='{scope}PipelineSwitchHook', switch_epoch=max_epochs - stage2_num_epochs,",
            f"         switch_pipeline={pipeline}),",
        ]
        why = "# A list is replaced as a whole; new is only the epoch of the switch (a literal in some stock recipes)."
    else:
        why = "# One pipeline serves all epochs: no PipelineSwitchHook."
    return [why, "custom_hooks = [", *lines, "]", ""]


def init_cfg(stage: StageRecipe, *, stock: str | None = None) -> ConfigLines:
    """Return the arguments of the backbone that say what it starts from and whether it learns; none where as stock.

    Args:
        stage: the stage.
        stock: a checkpoint that stands for ``stock`` where the base config has another model's.
    """
    backbone, frozen = stage.backbone, []
    if stage.freeze == "backbone":
        why = stage.because["freeze"].reason
        frozen = [f"frozen_stages=4, norm_eval=True,  # {why}: neither weights nor BN statistics change"]
    if backbone == NONE:
        return [f"init_cfg=None,  # {stage.because['backbone'].reason}: no other download", *frozen]
    checkpoint = stock if backbone == STOCK else weights_path(backbone)
    if checkpoint is None:
        return frozen
    return ["init_cfg=dict(", "    type='Pretrained', prefix='backbone.',", f"    checkpoint={checkpoint!r}),", *frozen]


def weights_path(text: str) -> str:
    """Return a URL as it is, and a path with forward slashes."""
    return text if "://" in text else Path(text).as_posix()


def indent(lines: Sequence[str], by: int) -> ConfigLines:
    """Return the lines moved to the right."""
    return [f"{' ' * by}{line}" if line else line for line in lines]
