"""The text of an RTMPose config."""

from __future__ import annotations

from posetools.core.folder import fold_split
from posetools.core.skeleton import Skeleton
from posetools.errors import first_names
from posetools.recipes import blocks
from posetools.recipes.annotations import Annotations
from posetools.recipes.blocks import LISTED_CATEGORIES, ConfigLines, indent, title
from posetools.recipes.options import DETECTOR, PoseOptions
from posetools.recipes.recipe import Recipe, StageRecipe
from posetools.recipes.stock import POSE, POSE_INPUT, SEED, STOCK_BINS, X_CHANNELS, X_CHECKPOINT, X_DEEPEN, X_WIDEN


def pose_config(
    data_root: str,
    recipe: Recipe,
    model: str,
    options: PoseOptions,
    skeleton: Skeleton,
    annotations: Annotations | None = None,
    fold: int | None = None,
) -> str:
    """Return the RTMPose config for one skeleton; a sample is an object with a labeled keypoint.

    Args:
        data_root: the data set's folder.
        recipe: of the pair.
        model: the name of the pose estimator.
        options: the user's options.
        skeleton: its skeleton.
        annotations: its own annotation files, if the data set has several categories.
        fold: the fold to train on, or None.
    """
    stage, seed = recipe.models[model], recipe.seed if recipe.seed != SEED else None
    what = f"RTMPose-{options.size} for the {skeleton.num_keypoints} keypoints of {skeleton.name}"
    # RepeatDataset replaces the whole data set of the base config.
    mode = ["data_mode='topdown',"] if stage.repeat > 1 else []
    boxes = "# Evaluated on the labeled boxes: no bbox_file."
    folder, val = ("annotations", "val") if annotations else ("data_root", fold_split(fold, "val"))
    lines = [
        *blocks.header(f"{what} in {data_root!r}", POSE[options.size].base, "mmpose", stage),
        title("data"),
        *blocks.data_lines(data_root, fold),
        *(_derived(annotations) if annotations else []),
        *_metainfo(skeleton),
        "",
        *blocks.schedule_numbers(stage, recipe.workers),
        *blocks.schedule(stage, dynamic=False, metric="coco/AP", keep=2, seed=seed),
        *_codec(stage),
        *_model(stage, options, skeleton),
        *_pipelines(stage, skeleton),
        *blocks.loaders(
            stage,
            [*mode, f"pipeline={stage.first_pipeline},"],
            ["pipeline=val_pipeline,"],
            note=[boxes],
            derived=annotations is not None,
            fold=fold,
        ),
        *blocks.hooks(stage, scope="mmdet.", pipeline="train_pipeline_stage2"),
        "# OKS divides by the area in the file, so it must be the area of the box (`posetools validate`, E104).",
        f"val_evaluator = dict(ann_file=f'{{{folder}}}/{val}_coco.json', use_area=True)",
        "test_evaluator = val_evaluator",
    ]
    return "\n".join(lines) + "\n"


def _derived(annotations: Annotations) -> ConfigLines:
    categories = first_names(list(map(repr, annotations.categories.ids)), LISTED_CATEGORIES)
    return [
        f"# Only objects of {categories}: their annotations are copied from the files in data_root into this folder,",
        "# because MMPose reads one skeleton per file. `posetools train` updates the copy.",
        f"skeleton = {annotations.skeleton!r}",
        f"annotations = {annotations.folder.as_posix()!r}",
    ]


def _metainfo(skeleton: Skeleton) -> ConfigLines:
    meta = skeleton.metainfo()
    points = [
        f"{i}: dict(id={i}, name={p['name']!r}, swap={p['swap']!r}, type='', color={p['color']}),"
        for i, p in meta["keypoint_info"].items()
    ]
    links = [f"{i}: dict(id={i}, link={k['link']}, color={k['color']})," for i, k in meta["skeleton_info"].items()]
    return [
        f"# The skeleton {skeleton.name}; `swap` is the keypoint's name in a mirrored image.",
        "metainfo = dict(",
        f"    dataset_name={meta['dataset_name']!r},",
        "    keypoint_info={",
        *indent(points, 8),
        "    },",
        "    skeleton_info={",
        *indent(links, 8),
        "    },",
        f"    joint_weights={meta['joint_weights']},",
        f"    sigmas={meta['sigmas']})",
    ]


def _codec(stage: StageRecipe) -> ConfigLines:
    size, bins, sigma = stage.input_size, stage.because["simcc_split_ratio"], stage.because["sigma"]
    return [
        title("input and target"),
        *(["# Stock is 192 x 256, for upright people."] if size != POSE_INPUT else []),
        *blocks.assigned(stage, "input_size", "input_size", "width, height; multiples of 32"),
        "codec = dict(",
        "    type='SimCCLabel',",
        "    input_size=input_size,",
        f"    sigma={sigma.value},  # {sigma.reason}",
        f"    simcc_split_ratio={bins.value}," + (f"  # {bins.reason}" if bins.value != STOCK_BINS else ""),
        "    normalize=False,",
        "    use_dark=False)",
        "",
    ]


def _model(stage: StageRecipe, options: PoseOptions, skeleton: Skeleton) -> ConfigLines:
    x = options.size == "x"
    sizes = [f"deepen_factor={X_DEEPEN}, widen_factor={X_WIDEN},"] if x else []
    init = blocks.init_cfg(stage, stock=X_CHECKPOINT if x else None)
    head = [
        *([f"in_channels={X_CHANNELS},"] if x else []),
        f"out_channels={skeleton.num_keypoints},",
        "input_size=input_size,",
        "in_featuremap_size=(input_size[0] // 32, input_size[1] // 32),",
        "simcc_split_ratio=codec['simcc_split_ratio'],",
        "decoder=codec))",
    ]
    flip = (
        "evaluates as `posetools eval` and `posetools predict` do: without the average over the mirrored crop, which "
        "takes twice the time in stock"
        if skeleton.mirrors
        else f"training does not mirror images, because {stage.because['flip'].reason}"
    )
    return [
        title("model"),
        *(["# The stock recipes have no RTMPose-x for COCO's keypoints; this derives it from RTMPose-l."] if x else []),
        *_handed_over(stage),
        "model = dict(",
        *indent([*blocks.commented(flip), "test_cfg=dict(flip_test=False),"], 4),
        "    backbone=dict(",
        *indent([*sizes, *init], 8),
        "        # SyncBN cannot run on the CPU in several processes; in a single process mmengine changes it to BN.",
        "        norm_cfg=dict(type='BN')),",
        "    head=dict(",
        *indent(head, 8),
        "",
    ]


def _handed_over(stage: StageRecipe) -> ConfigLines:
    """Return the line for ``posetools train --stage all`` to pass the detector's backbone on."""
    if stage.backbone != DETECTOR:
        return []
    return [*blocks.commented(stage.because["backbone"].reason), "detector_backbone = True  # of `train --stage all`"]


def _pipelines(stage: StageRecipe, skeleton: Skeleton) -> ConfigLines:
    weighted = len(set(skeleton.joint_weights)) > 1
    target = f"dict(type='GenerateTarget', encoder=codec{', use_dataset_keypoint_weights=True' if weighted else ''}),"
    rotation = stage.because["rotation"]
    strong = _train(skeleton, target, f"scale_factor=[0.6, 1.4], rotate_factor={rotation.value}", "n_holes=1")
    shift = "shift_factor=0.1, shift_prob=0.5" if stage.light else "shift_factor=0."
    still = f"{shift}, scale_factor=[0.75, 1.25], rotate_factor={rotation.value}"
    weak = _train(skeleton, target, still, "" if stage.light else "n_holes=(0, 1)")
    val = [
        "dict(type='LoadImage'),",
        "dict(type='GetBBoxCenterScale'),",
        "dict(type='TopdownAffine', input_size=input_size),",
        "dict(type='PackPoseInputs')",
    ]
    lines = [
        title("pipelines"),
        "# Changes to stock:",
        "# - No RandomHalfBody: it cuts people at the waist and needs upper and lower keypoints, at least 9.",
        *blocks.item(f"Rotation up to {rotation.value} degrees (stock: 80, then 60): {rotation.reason}."),
        "# - No Albumentations: it installs a second OpenCV, and its arguments differ between versions.",
        "#   mmdet's CutOut replaces its CoarseDropout; its blur, on a tenth of the images, is dropped.",
    ]
    if stage.light:
        lines[-1] = "#   Its CoarseDropout and its blur are dropped."
        lines += blocks.commented(f"Light augmentation from the first epoch: {stage.because['augmentation'].reason}")
        lines += blocks.commented("boxes are shifted and scaled, as the detector's boxes are not exact either")
    if not skeleton.mirrors:
        lines += blocks.item(f"No RandomFlip: {stage.because['flip'].reason}.")
    if weighted:
        lines.append("# - use_dataset_keypoint_weights: without it the skeleton's joint_weights have no effect.")
    if stage.stage2_epochs < stage.epochs:
        lines += ["train_pipeline = [", *indent(strong, 4), "]"]
    if stage.stage2_epochs:
        lines += ["train_pipeline_stage2 = [", *indent(weak, 4), "]"]
    return [*lines, "val_pipeline = [", *indent(val, 4), "]", ""]


def _train(skeleton: Skeleton, target: str, transform: str, holes: str) -> ConfigLines:
    cut = f"dict(type='mmdet.CutOut', {holes}, cutout_ratio=[(0.2, 0.2), (0.3, 0.3), (0.4, 0.4)]),"
    return [
        "dict(type='LoadImage'),",
        "dict(type='GetBBoxCenterScale'),",
        *(["dict(type='RandomFlip', direction='horizontal'),"] if skeleton.mirrors else []),
        f"dict(type='RandomBBoxTransform', {transform}),",
        "dict(type='TopdownAffine', input_size=input_size),",
        "dict(type='mmdet.YOLOXHSVRandomAug'),",
        *([cut] if holes else []),
        target,
        "dict(type='PackPoseInputs')",
    ]
