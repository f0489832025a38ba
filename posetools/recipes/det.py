"""The text of an RTMDet config."""

from __future__ import annotations

from posetools.core.categories import Categories
from posetools.core.folder import fold_split
from posetools.core.skeleton_colors import keypoint_colors
from posetools.errors import first_names
from posetools.recipes import blocks
from posetools.recipes.blocks import LISTED_CATEGORIES, ConfigLines, indent, title
from posetools.recipes.facts import DataFacts
from posetools.recipes.options import NONE, STOCK, STRIDE, DetSize
from posetools.recipes.recipe import Recipe, StageRecipe
from posetools.recipes.stock import DET, DET_INPUT, DetStock

# Scale range for runs too short for the stock range.
_LIGHT_SCALES = (0.8, 1.25)
# Color (RGB) of boxes drawn by MMDet, for a single category.
_COLOR = (0, 127, 255)


def det_config(
    data_root: str, recipe: Recipe, size: DetSize, categories: Categories, facts: DataFacts, fold: int | None = None
) -> str:
    """Return the RTMDet config for the categories; a sample is an image, with or without objects."""
    stage, stock, negatives = recipe.det, DET[size], facts.train.negatives
    # Pipelines are repeated only if something in them differs: they are half of the file.
    restated = stage.input_size != DET_INPUT or negatives > 0 or stage.light or stage.repeat > 1 or bool(stock.model)
    named = first_names(list(map(repr, categories.ids)), LISTED_CATEGORIES)
    lines = [
        *blocks.header(f"RTMDet-{size} that detects {named} in {data_root!r}", stock.base, "mmdet", stage),
        *_data(stage, blocks.data_lines(data_root, fold), categories, size=restated),
        *blocks.schedule_numbers(stage, recipe.workers),
        *blocks.schedule(stage, dynamic=True, metric="coco/bbox_mAP", keep=None, seed=recipe.seed),
        *_model(stage, stock, len(categories)),
        *([title("pipelines"), *_pipelines(stage, stock, negatives > 0)] if restated else []),
        *_loaders(stage, negatives, restated=restated, fold=fold),
        *blocks.hooks(stage, scope="", pipeline=_name("train_pipeline_stage2", restated=restated)),
        f"val_evaluator = dict(ann_file=f'{{data_root}}/{fold_split(fold, 'val')}_coco.json')",
        "test_evaluator = val_evaluator",
    ]
    return "\n".join(lines) + "\n"


def _name(pipeline: str, *, restated: bool) -> str:
    return pipeline if restated else f"_base_.{pipeline}"


def _data(stage: StageRecipe, data: ConfigLines, categories: Categories, *, size: bool) -> ConfigLines:
    names = tuple(categories.ids)
    classes = f"({names[0]!r}, )" if len(names) == 1 else repr(names)
    palette = [_COLOR] if len(names) == 1 else list(keypoint_colors(names, range(len(names))))
    return [
        title("data"),
        *data,
        "# A tuple, with the comma: in a plain string every letter would be a class.",
        f"metainfo = dict(classes={classes}, palette={palette})",
        *(blocks.assigned(stage, "input_size", "input_size", "width, height; multiples of 32") if size else []),
        "",
    ]


def _model(stage: StageRecipe, stock: DetStock, classes: int) -> ConfigLines:
    init, note = blocks.init_cfg(stage), []
    if stage.backbone == NONE and not stock.pretrained:
        init = init[1:]
    if stage.backbone in (STOCK, NONE) and stage.load_from is None and not stock.pretrained:
        note = ["# The stock recipe has no ImageNet weights for this size: the backbone starts from random weights."]
    if stock.model:
        note.append("# mmdet has no config of this size: the numbers are those of MMPose's.")
    own = {part: [text] for part, text in stock.model.items()}
    return [
        title("model"),
        "# SyncBN cannot run on the CPU in several processes; in a single process mmengine changes it to BN.",
        "norm_cfg = dict(type='BN')",
        *note,
        "model = dict(",
        *_part("backbone", [*own.get("backbone", []), *init], "norm_cfg=norm_cfg),"),
        *_part("neck", own.get("neck", []), "norm_cfg=norm_cfg),"),
        *_part("bbox_head", own.get("bbox_head", []), f"norm_cfg=norm_cfg, num_classes={classes}))"),
        "",
    ]


def _part(name: str, more: ConfigLines, last: str) -> ConfigLines:
    return [f"    {name}=dict(", *indent([*more, last], 8)] if more else [f"    {name}=dict({last}"]


def _pipelines(stage: StageRecipe, stock: DetStock, negatives: bool) -> ConfigLines:
    allow = ", allow_negative_crop=True" if negatives else ""
    mosaic = f"img_scale=input_size, pad_val=114.0{', ' + stock.mosaic if stock.mosaic else ''}"
    load = ["dict(type='LoadImageFromFile'),", "dict(type='LoadAnnotations', with_bbox=True),"]
    scale = f"ratio_range={stock.scales}, keep_ratio=True"
    weak_scale = f"ratio_range={_LIGHT_SCALES}, keep_ratio=True" if stage.light else scale

    def weak(size: str) -> ConfigLines:
        resize = f"dict(type='RandomResize', scale={size}, {weak_scale}),"
        return [*load, resize, *_crop_and_color(size, allow), "dict(type='PackDetInputs')"]

    mixup = [
        "dict(",
        "    type='CachedMixUp', img_scale=input_size, ratio_range=(1.0, 1.0), pad_val=(114, 114, 114),",
        f"    {stock.mixup}),",
    ]
    strong = [
        *load,
        f"dict(type='CachedMosaic', {mosaic}),",
        f"dict(type='RandomResize', scale=(2 * input_size[0], 2 * input_size[1]), {scale}),",
        *_crop_and_color("input_size", allow),
        *(mixup if stock.mixup else []),
        "dict(type='PackDetInputs')",
    ]
    test = [
        "dict(type='LoadImageFromFile'),",
        "dict(type='Resize', scale=input_size, keep_ratio=True),",
        "dict(type='Pad', size=input_size, pad_val=dict(img=(114, 114, 114))),",
        "dict(type='LoadAnnotations', with_bbox=True),",
        "dict(",
        "    type='PackDetInputs',",
        "    meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))",
    ]
    why = "# The stock pipelines at this input size" + (
        ", and with crops without objects: RandomCrop would skip\n# every image without objects." if negatives else "."
    )
    lines = [why]
    if stage.light:
        lines += blocks.commented(f"Light augmentation from the first epoch: {stage.because['augmentation'].reason}")
    if stage.stage2_epochs < stage.epochs:
        lines += _list("train_pipeline", weak("early_size") if stage.early_size else strong)
    if stage.stage2_epochs:
        lines += _list("train_pipeline_stage2", weak("input_size"))
    return [*lines, *_list("test_pipeline", test), *_tta(stage.input_size), ""]


def _crop_and_color(size: str, allow: str) -> ConfigLines:
    return [
        f"dict(type='RandomCrop', crop_size={size}{allow}),",
        "dict(type='YOLOXHSVRandomAug'),",
        "dict(type='RandomFlip', prob=0.5),",
        f"dict(type='Pad', size={size}, pad_val=dict(img=(114, 114, 114))),",
    ]


def _tta(input_size: tuple[int, int]) -> ConfigLines:
    half = tuple(side // 2 for side in input_size)
    # The padded image must be a multiple of the networks' stride too.
    more = tuple(-(-3 * side // (2 * STRIDE)) * STRIDE for side in input_size)
    return [
        f"tta_scales = [{input_size}, {half}, {more}]  # `test.py --tta`: 1, 0.5 and 1.5 times the input size",
        "tta_pipeline = [",
        "    dict(type='LoadImageFromFile'),",
        "    dict(",
        "        type='TestTimeAug',",
        "        transforms=[",
        "            [dict(type='Resize', scale=s, keep_ratio=True) for s in tta_scales],",
        "            [dict(type='RandomFlip', prob=1.), dict(type='RandomFlip', prob=0.)],",
        "            [dict(type='Pad', size=tta_scales[-1], pad_val=dict(img=(114, 114, 114)))],",
        "            [dict(type='LoadAnnotations', with_bbox=True)],",
        "            [dict(",
        "                type='PackDetInputs',",
        "                meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',",
        "                           'flip_direction'))]",
        "        ])",
        "]",
    ]


def _list(name: str, entries: ConfigLines) -> ConfigLines:
    return [f"{name} = [", *indent(entries, 4), "]"]


def _loaders(stage: StageRecipe, negatives: int, *, restated: bool, fold: int | None) -> ConfigLines:
    train = []
    if negatives:
        train.append(f"# Keeps {negatives} images without objects, to train against false positives.")
    if stage.repeat > 1:
        # RepeatDataset replaces the whole data set of the base config.
        train.append(f"filter_cfg=dict(filter_empty_gt={not negatives}, min_size=32),")
    elif negatives:
        train.append("filter_cfg=dict(filter_empty_gt=False),")
    if restated or stage.first_pipeline != "train_pipeline":
        train.append(f"pipeline={_name(stage.first_pipeline, restated=restated)},")
    return blocks.loaders(stage, train, ["pipeline=test_pipeline,"] if restated else [], fold=fold)
