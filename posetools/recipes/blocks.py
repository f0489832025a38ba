"""The parts of a config that RTMDet and RTMPose share.

Each function returns lines of Python. Formulas stay formulas in the config, so that editing ``max_epochs`` or
``batch_size`` in the file changes everything that depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from posetools.core.folder import fold_mark, fold_split
from posetools.core.stages import Stage
from posetools.recipes.budget import enough_iterations
from posetools.recipes.options import DETECTOR, NONE, STARTER, STOCK
from posetools.recipes.recipe import StageRecipe
from posetools.recipes.starter import STARTERS
from posetools.recipes.stock import BASE_LR, BATCH, EMA_GAMMA, WARMUP_ITERS

ConfigLines = list[str]


# Comments after a value end here; longer ones go above it.
_COMMENT_WIDTH = 110
_NEARLY = 0.9
# Categories in a comment of a config.
LISTED_CATEGORIES = 5


def title(name: str) -> str:
    """Return the heading comment of a part."""
    return f"# {name} ".ljust(100, "-")


def header(what: str, base: str, tools: str, stage: StageRecipe) -> ConfigLines:
    """Return the opening comment and ``_base_``."""
    needed = "needed only for its starter weights" if stage.load_from == STARTER else "not needed"
    return [
        f"# {what}. Emitted by `posetools config`.",
        f"# It runs with the stock tools/train.py and tools/test.py of {tools}; posetools is {needed}.",
        "# It lists only what differs from the stock recipe, with the reason:",
        f"_base_ = {base!r}",
        "",
    ]


def assigned(stage: StageRecipe, name: str, field: str, note: str = "") -> ConfigLines:
    """Return the line that assigns a chosen value, with the reason after it, or above if it is long.

    Args:
        stage: the stage.
        name: the variable in the config.
        field: the recipe's field.
        note: text before the reason.
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
    """Return a sentence as comment lines."""
    return [f"# {line}" for line in wrap(f"{text[:1].upper()}{text[1:]}.", _COMMENT_WIDTH)]


def item(text: str) -> ConfigLines:
    """Return one list item as comment lines."""
    return [f"# {line}" for line in wrap(text, _COMMENT_WIDTH, initial_indent="- ", subsequent_indent="  ")]


def schedule_numbers(stage: StageRecipe, workers: int) -> ConfigLines:
    """Return the numbers that the rest of the config depends on; ``workers``: processes per loader."""
    repeat, samples = stage.repeat, f"{stage.samples} {stage.sample}"
    repeated = " * repeat" if repeat > 1 else ""
    ema = [] if stage.ema_momentum is None else assigned(stage, "ema_momentum", "ema_momentum")
    return [
        title("schedule"),
        *assigned(stage, "max_epochs", "epochs", "the rest of the schedule depends on it"),
        *(assigned(stage, "repeat", "repeat", "passes over the data per epoch") if repeated else []),
        *assigned(stage, "stage2_num_epochs", "stage2_epochs"),
        *_early(stage),
        *assigned(stage, "val_interval", "val_interval"),
        *assigned(stage, "batch_size", "batch_size", "on one device"),
        *assigned(stage, "val_batch_size", "val_batch_size"),
        f"num_workers = {workers}  # processes per loader; use more if cores are free",
        "persistent_workers = num_workers > 0  # torch requires workers for this",
        *rate(stage),
        f"# Stock always warms up for {WARMUP_ITERS} iterations; on a small data set that is most of the run.",
        f"iterations = max_epochs * -(-{stage.samples}{repeated} // batch_size)"
        f"  # {stage.iterations}: {samples} per epoch{f', {repeat} times' if repeated else ''}",
        *_enough(stage),
        *_minutes(stage),
        *assigned(stage, "warmup_iters", "warmup_iters"),
        *ema,
        "",
    ]


def _early(stage: StageRecipe) -> ConfigLines:
    """Return the smaller input size before stage 2, and the line for ``posetools train`` to estimate the time left."""
    if stage.early_size is None:
        return []
    return [
        *assigned(stage, "early_size", "early_size", "width, height before stage 2"),
        f"early_cost = {stage.early_cost:.2g}  # time of an iteration at this size, relative to input_size",
    ]


def _enough(stage: StageRecipe) -> ConfigLines:
    """Return the line for ``posetools train`` to judge a run whose length was limited by time."""
    enough = enough_iterations(stage.stage, stage.samples, stage.batch_size)
    # Whole epochs rarely give exactly this number.
    if "epochs" in stage.stated or stage.iterations > _NEARLY * enough:
        return []
    return [f"enough_iterations = {enough}  # the recipe's target without a time limit"]


def _minutes(stage: StageRecipe) -> ConfigLines:
    """Return the line for ``posetools train`` to end a run on time."""
    if stage.minutes is None or "epochs" in stage.stated:
        return []
    return [f"minutes = {stage.minutes:.3g}  # `posetools train` changes max_epochs if the machine's speed changes"]


def rate(stage: StageRecipe) -> ConfigLines:
    """Return the learning rate."""
    if "lr" in stage.stated:
        return [f"base_lr = {stage.lr!r}  # set by you; stock is {BASE_LR}, for batches of {BATCH[stage.stage]}"]
    return [
        "# Adam's rate scales with the square root of the batch (Malladi et al., On the SDEs and Scaling Rules for",
        "# Adaptive Gradient Algorithms, 2022).",
        *assigned(stage, "base_lr", "lr"),
    ]


def schedule(stage: StageRecipe, *, dynamic: bool, metric: str, keep: int | None, seed: int | None) -> ConfigLines:
    """Return loop, optimizer, learning rate, checkpoints, seed and initial weights.

    Args:
        stage: the stage.
        dynamic: whether the stock recipe evaluates after every epoch of stage 2.
        metric: the metric of ``save_best``.
        keep: how many checkpoints to keep; None: as stock.
        seed: of training; None: as stock.
    """
    loop = "train_cfg = dict(max_epochs=max_epochs, val_interval=val_interval"
    milestones = "[(max_epochs - stage2_num_epochs, 1)]" if stage.switches and not stage.early_size else "None"
    lines = [
        *([f"{loop},", f"                 dynamic_intervals={milestones})"] if dynamic else [f"{loop})"]),
        "optim_wrapper = dict(optimizer=dict(lr=base_lr))",
        "# `--auto-scale-lr` (several GPUs) scales from this batch size.",
        "auto_scale_lr = dict(base_batch_size=batch_size)",
        "param_scheduler = [",
        "    dict(type='LinearLR', start_factor=1.0e-5, by_epoch=False, begin=0, end=warmup_iters),",
        "    dict(  # constant in the first half, then down to a twentieth",
        "        type='CosineAnnealingLR', eta_min=base_lr * 0.05, by_epoch=True, convert_to_iter_based=True,",
        "        begin=max_epochs // 2, end=max_epochs, T_max=max_epochs - max_epochs // 2)",
        "]",
        "default_hooks = dict(checkpoint=dict(",
        *([f"    max_keep_ckpts={keep},  # a run killed while saving still has the previous one"] if keep else []),
        f"    interval=val_interval, save_best={metric!r}, rule='greater'))  # every saved checkpoint is evaluated",
    ]
    if seed is not None:
        lines.append(f"randomness = dict(seed={seed})  # makes runs reproducible")
    if stage.load_from is not None:
        lines += commented(f"Initial weights of the whole model, if shapes match: {stage.because['load_from'].reason}")
        lines += _load_from(stage.stage, stage.load_from)
    return [*lines, ""]


def _load_from(stage: Stage, source: str) -> ConfigLines:
    if source == STARTER:
        # A path would hold on this machine only.
        return ["from importlib.resources import files", f"load_from = {STARTERS[stage].expression}"]
    return [f"load_from = {weights_path(source)!r}"]


def data_lines(data_root: str, fold: int | None) -> ConfigLines:
    """Return the lines that name the data set's folder, and the fold if the config is a fold's."""
    lines = [f"data_root = {data_root!r}  # relative to the folder in which you start training"]
    if fold is None:
        return lines
    mark = fold_mark(Path(data_root), fold)
    return [
        *lines,
        f"fold = {fold}  # of a cross-validation: its own train and val splits",
        f"held_out = {mark!r}  # hash of the names of its val images, which the model must not train on",
    ]


def loaders(
    stage: StageRecipe,
    train: Sequence[str],
    val: Sequence[str],
    *,
    note: Sequence[str] = (),
    derived: bool = False,
    fold: int | None = None,
) -> ConfigLines:
    """Return the data loaders.

    Args:
        stage: the stage.
        train: more arguments of the training data set.
        val: more arguments of the validation data set.
        note: comments on evaluation.
        derived: whether the annotation files are in ``annotations``, not in ``data_root``.
        fold: the fold to train on, or None.
    """
    return [
        title("loaders and evaluation"),
        *_loader("train", train, repeated=stage.repeat > 1, derived=derived, fold=fold),
        *note,
        *_loader("val", val, derived=derived, fold=fold),
        "test_dataloader = val_dataloader",
        "",
    ]


def _loader(
    split: str, dataset: Sequence[str], *, repeated: bool = False, derived: bool, fold: int | None
) -> ConfigLines:
    batch = "batch_size" if split == "train" else "val_batch_size"
    file = f"ann_file='{fold_split(fold, split)}_coco.json',"
    places = ["data_root=data_root,", file, "data_prefix=dict(img='images/'),"]
    if derived:
        file = f"ann_file=f'{{annotations}}/{split}_coco.json',"
        places = ["data_root='',", file, "data_prefix=dict(img=f'{data_root}/images/'),"]
    arguments = [places[0], "metainfo=metainfo,", *places[1:], *dataset]
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
    """Return ``custom_hooks``, a list that a config can only replace as a whole.

    Args:
        stage: the stage.
        scope: prefix of the switch hook (``mmdet.`` in mmpose).
        pipeline: the expression of the pipeline to switch to.
    """
    lines: ConfigLines = []
    if stage.ema_momentum is not None:
        lines += [
            f"    # Stock has gamma {EMA_GAMMA}: in a short run the average would stay near the initial weights.",
            "    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=ema_momentum,",
            f"         gamma=min({EMA_GAMMA}, max(1, iterations // 10)), update_buffers=True, priority=49),",
        ]
    if stage.switches:
        lines += [
            f"    dict(type='{scope}PipelineSwitchHook', switch_epoch=max_epochs - stage2_num_epochs,",
            f"         switch_pipeline={pipeline}),",
        ]
        why = "# A list is replaced as a whole; only the epoch of the switch differs (a literal in some stock recipes)."
    else:
        why = "# All epochs use one pipeline: no PipelineSwitchHook."
    return [why, "custom_hooks = [", *lines, "]", ""]


def init_cfg(stage: StageRecipe, *, stock: str | None = None) -> ConfigLines:
    """Return the backbone's arguments for initial weights and freezing; none if as stock.

    Args:
        stage: the stage.
        stock: the checkpoint for ``stock`` if the base config has another model's.
    """
    backbone, frozen = stage.backbone, []
    if stage.freeze == "backbone":
        why = stage.because["freeze"].reason
        frozen = [f"frozen_stages=4, norm_eval=True,  # {why}: neither weights nor BN statistics change"]
    if backbone == NONE:
        return [f"init_cfg=None,  # {stage.because['backbone'].reason}: no other download", *frozen]
    if backbone == DETECTOR:
        return ["init_cfg=None,  # the detector's weights, or random ones if trained alone", *frozen]
    checkpoint = stock if backbone == STOCK else weights_path(backbone)
    if checkpoint is None:
        return frozen
    return ["init_cfg=dict(", "    type='Pretrained', prefix='backbone.',", f"    checkpoint={checkpoint!r}),", *frozen]


def weights_path(text: str) -> str:
    """Return a URL unchanged, and a path with forward slashes."""
    return text if "://" in text else Path(text).as_posix()


def indent(lines: Sequence[str], by: int) -> ConfigLines:
    """Return the lines indented."""
    return [f"{' ' * by}{line}" if line else line for line in lines]
