"""The parts of a config's text that RTMDet and RTMPose have in common.

Each function returns lines of Python. What is a formula in the config stays one there, so that a person who edits
``max_epochs`` or ``batch_size`` in the file changes everything that follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from posetools.recipes.options import NONE, STOCK, StageOptions
from posetools.recipes.stock import BASE_LR, WARMUP_ITERS

Lines = list[str]


@dataclass(frozen=True, slots=True)
class Stage:
    """What the shared parts of one config are made from.

    Attributes:
        options: what the user said about this stage.
        data_root: the data set's folder, with forward slashes, as the user gave it.
        samples: how many training samples an epoch has.
        sample: what one is called (``pictures``, ``objects``).
        stock_batch: the batch that the stock learning rate is for.
        workers: processes per loader.
    """

    options: StageOptions
    data_root: str
    samples: int
    sample: str
    stock_batch: int
    workers: int

    @property
    def switches(self) -> bool:
        """Whether training changes from strong to weak augmentation on the way."""
        return 0 < self.options.stage2 < self.options.epochs

    @property
    def first_pipeline(self) -> str:
        """The name of the pipeline that training begins with."""
        return "train_pipeline_stage2" if self.options.stage2 == self.options.epochs else "train_pipeline"

    @property
    def iterations_per_epoch(self) -> int:
        """How often the weights change in one epoch, in one process."""
        return -(-self.samples // self.options.batch_size)

    @property
    def iterations(self) -> int:
        """How often the weights change in all, in one process."""
        return self.options.epochs * self.iterations_per_epoch

    @property
    def warmup(self) -> int:
        """Iterations of warm-up."""
        return min(WARMUP_ITERS, max(2, self.iterations // 10))

    @property
    def lr(self) -> float:
        """The learning rate at this batch size."""
        return self.options.lr or BASE_LR * sqrt(self.options.batch_size / self.stock_batch)


def title(name: str) -> str:
    """Return the comment that opens a part."""
    return f"# {name} ".ljust(100, "-")


def header(what: str, base: str, tools: str) -> Lines:
    """Return the opening comment and ``_base_``."""
    return [
        f"# {what}. Emitted by `posetools config`.",
        f"# The stock tools/train.py and tools/test.py of {tools} run it as it is; posetools is not imported.",
        "# Stated is only what differs from the stock recipe, with the reason:",
        f"_base_ = {base!r}",
        "",
    ]


def schedule_numbers(stage: Stage, stage2: str) -> Lines:
    """Return the numbers that everything else in the config follows from."""
    options, samples = stage.options, f"{stage.samples} {stage.sample}"
    if options.lr is not None:
        rate = [
            f"base_lr = {options.lr!r}  # as asked for; the stock rate is {BASE_LR}, for batches of {stage.stock_batch}"
        ]
    else:
        rate = [
            f"# The stock rate is for batches of {stage.stock_batch}. Adam's goes with the square root of the batch",
            "# (Malladi et al., On the SDEs and Scaling Rules for Adaptive Gradient Algorithms, 2022).",
            f"base_lr = {BASE_LR} * (batch_size / {stage.stock_batch})**0.5  # {stage.lr:.2g}",
        ]
    return [
        title("schedule"),
        f"max_epochs = {options.epochs}  # the rest of the schedule follows from it",
        f"stage2_num_epochs = {options.stage2}  # {stage2}",
        f"val_interval = {options.interval}  # epochs",
        f"batch_size = {options.batch_size}  # on one device",
        f"val_batch_size = {options.val_batch_size}",
        f"num_workers = {stage.workers}  # processes per loader; more where cores are free",
        "persistent_workers = num_workers > 0  # torch refuses to keep workers where there are none",
        *rate,
        f"# Stock warms up for {WARMUP_ITERS} iterations whatever the data; on a small set that is most of the run.",
        f"iterations = max_epochs * -(-{stage.samples} // batch_size)  # {stage.iterations}: {samples} an epoch",
        f"warmup_iters = min({WARMUP_ITERS}, max(2, iterations // 10))  # {stage.warmup}",
        "",
    ]


def schedule(stage: Stage, *, dynamic: bool, metric: str, keep: int | None, seed: int | None) -> Lines:
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
    if stage.options.load_from is not None:
        lines.append(f"load_from = {weights_path(stage.options.load_from)!r}  # the whole model starts from it")
    return [*lines, ""]


def loader(split: str, dataset: Sequence[str]) -> Lines:
    """Return one data loader; ``dataset`` holds further arguments of its data set."""
    batch = "batch_size" if split == "train" else "val_batch_size"
    return [
        f"{split}_dataloader = dict(",
        f"    batch_size={batch},",
        "    num_workers=num_workers,",
        "    persistent_workers=persistent_workers,",
        "    dataset=dict(",
        "        data_root=data_root,",
        "        metainfo=metainfo,",
        f"        ann_file='{split}_coco.json',",
        "        data_prefix=dict(img='images/'),",
        *indent(dataset, 8),
        "    ))",
    ]


def hooks(stage: Stage, *, ema: bool, scope: str, pipeline: str) -> Lines:
    """Return ``custom_hooks``, which a config can only replace as a whole.

    Args:
        stage: the stage.
        ema: whether the stock recipe averages the weights.
        scope: prefix of the switch hook (``mmdet.`` from mmpose).
        pipeline: the expression of the pipeline that is switched to.
    """
    lines: Lines = []
    if ema:
        hook = "type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0002, update_buffers=True, priority=49"
        lines.append(f"    dict({hook}),")
    if stage.switches:
        lines += [
            f"    dict(type='{scope}PipelineSwitchHook', switch_epoch=max_epochs - stage2_num_epochs,",
            f"         switch_pipeline={pipeline}),",
        ]
        why = "# A list is replaced as a whole; new is only the epoch of the switch (a literal in some stock recipes)."
    else:
        why = "# One pipeline serves all epochs: no PipelineSwitchHook."
    return [why, "custom_hooks = [", *lines, "]", ""]


def init_cfg(backbone: str, *, stock: str | None = None) -> Lines:
    """Return the ``init_cfg`` argument of the backbone, or nothing where the stock one stays.

    Args:
        backbone: what the user asked for.
        stock: a checkpoint that stands for ``stock`` where the base config has another model's.
    """
    if backbone == NONE:
        return ["init_cfg=None,  # asked for: nothing is downloaded, the weights start at random"]
    checkpoint = stock if backbone == STOCK else weights_path(backbone)
    if checkpoint is None:
        return []
    return ["init_cfg=dict(", "    type='Pretrained', prefix='backbone.',", f"    checkpoint={checkpoint!r}),"]


def weights_path(text: str) -> str:
    """Return a URL as it is, and a path with forward slashes."""
    return text if "://" in text else Path(text).as_posix()


def indent(lines: Sequence[str], by: int) -> Lines:
    """Return the lines moved to the right."""
    return [f"{' ' * by}{line}" if line else line for line in lines]
