"""Values of the stock recipes of mmdet 3.3.0 and mmpose 1.3.2 that an emitted config repeats or scales.

Emitting needs neither package; a test with both compares these constants with the installed configs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt

from posetools.core.stages import Stage
from posetools.recipes.options import DetSize, PoseSize

# The learning rate of both, and the batch size that each was tuned for (GPUs x images).
BASE_LR = 0.004
BATCH: dict[Stage, int] = {"det": 256, "pose": 1024}
WARMUP_ITERS = 1000
EMA_MOMENTUM = 0.0002
EMA_GAMMA = 2000
SEED = 21
DET_INPUT = (640, 640)
POSE_INPUT = (192, 256)

_POSE_WEIGHTS = "https://download.openmmlab.com/mmpose/v1/projects/rtmposev1"


@dataclass(frozen=True, slots=True)
class DetStock:
    """One size of RTMDet.

    Attributes:
        base: the config for ``_base_``.
        coco: the URL of the recipe's checkpoint.
        scales: the range of the random resize, relative to its scale.
        memory: GB that training takes on a GPU, with 32 images of 640 x 640.
        flops: multiply-adds, in 10^9, for an image of 640 x 640; nano: the number that takes as long in the others.
        pretrained: whether the backbone starts from ImageNet weights.
        mosaic: more arguments of CachedMosaic.
        mixup: arguments of CachedMixUp that differ between sizes; None: no CachedMixUp.
        ema: whether it keeps and evaluates an average of the weights.
        knows: what its checkpoint was trained on.
        input_size: (width, height) in pixels.
        model: arguments of the model's parts that differ from ``base``, by the part's name.
    """

    base: str
    coco: str
    scales: tuple[float, float]
    memory: float
    flops: float
    pretrained: bool = False
    mosaic: str = ""
    mixup: str | None = "max_cached_images=20"
    ema: bool = True
    knows: str = "COCO's 80 classes"
    input_size: tuple[int, int] = DET_INPUT
    model: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PoseStock:
    """One size of RTMPose.

    Attributes:
        base: the config for ``_base_``.
        flops: multiply-adds, in 10^9, for an input of 192 x 256.
        coco: the recipe's COCO checkpoint; x has none.
        ema: whether it keeps and evaluates an average of the weights.
        pretrained: whether the backbone starts from pretrained weights.
    """

    base: str
    flops: float
    coco: str | None = None
    ema: bool = True
    pretrained: bool = True


# RTMPose-x has no recipe for COCO's keypoints: its changes to RTMPose-l.
X_DEEPEN, X_WIDEN, X_CHANNELS = 1.33, 1.25, 1280
X_CHECKPOINT = f"{_POSE_WEIGHTS}/cspnext-x_udp-body7_210e-384x288-d28b58e6_20230529.pth"


def _det(size: DetSize) -> str:
    return f"mmdet::rtmdet/rtmdet_{size}_8xb32-300e_coco.py"


def _det_coco(size: DetSize, date: str) -> str:
    name = f"rtmdet_{size}_8xb32-300e_coco"
    return f"https://download.openmmlab.com/mmdetection/v3.0/rtmdet/{name}/{name}_{date}.pth"


def _pose(size: PoseSize) -> str:
    return f"mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-{size}_8xb256-420e_coco-256x192.py"


def _pose_coco(size: str, date: str) -> str:
    return f"{_POSE_WEIGHTS}/rtmpose-{size}_simcc-coco_pt-aic-coco_420e-256x192-{date}.pth"


# RTMDet-nano is the detector of RTMPose's pipelines. Its config and its checkpoint, of the people in COCO and
# Objects365, are in MMPose (projects/rtmpose); like that config this inherits l.
_NANO_COCO = (
    "https://download.openmmlab.com/mmpose/v1/projects/rtmpose/rtmdet_nano_8xb32-100e_coco-obj365-person-05d8511e.pth"
)
_NANO_MODEL = {
    "backbone": "deepen_factor=0.33, widen_factor=0.25, use_depthwise=True,",
    "neck": "in_channels=[64, 128, 256], out_channels=64, num_csp_blocks=1, use_depthwise=True,",
    "bbox_head": "in_channels=64, feat_channels=64, share_conv=False, exp_on_reg=False, use_depthwise=True,",
}
# The smallest models cache fewer images.
_MOSAIC = "max_cached_images=20, random_pop=False"
_MIXUP = "max_cached_images=10, random_pop=False, prob=0.5"
_SMALL, _LARGE = (0.5, 2.0), (0.1, 2.0)
# Checkpoints and memory are from the installed packages' model zoos (metafile.yml); flops from their READMEs. Both of
# nano are measured against tiny: 0.90 times the activations, and 0.45 times the seconds per iteration on a CPU (0.50,
# 1.1): depthwise convolutions are slow for their 1.24 * 10^9 multiply-adds.
DET: dict[DetSize, DetStock] = {
    "nano": DetStock(
        _det("l"),
        _NANO_COCO,
        (0.5, 1.5),
        10.6,
        3.7,
        mosaic=_MOSAIC,
        mixup=None,
        knows="people, and their backbone and neck serve other objects too",
        input_size=(320, 320),
        model=_NANO_MODEL,
    ),
    "tiny": DetStock(
        _det("tiny"),
        _det_coco("tiny", "20220902_112414-78e30dcc"),
        _SMALL,
        11.7,
        8.1,
        pretrained=True,
        mosaic=_MOSAIC,
        mixup=_MIXUP,
    ),
    "s": DetStock(_det("s"), _det_coco("s", "20220905_161602-387a891e"), _SMALL, 15.9, 14.8, pretrained=True),
    "m": DetStock(_det("m"), _det_coco("m", "20220719_112220-229f527c"), _LARGE, 27.8, 39.3),
    "l": DetStock(_det("l"), _det_coco("l", "20220719_112030-5a0be7c4"), _LARGE, 43.2, 80.2),
    "x": DetStock(_det("x"), _det_coco("x", "20220715_230555-cc79b9ae"), _LARGE, 61.1, 141.7),
}
POSE: dict[PoseSize, PoseStock] = {
    "t": PoseStock(_pose("t"), 0.36, _pose_coco("tiny", "e613ba3f_20230127"), ema=False),
    "s": PoseStock(_pose("s"), 0.68, _pose_coco("s", "8edcf0d7_20230127")),
    "m": PoseStock(_pose("m"), 1.93, _pose_coco("m", "d8dd5ca4_20230127")),
    "l": PoseStock(_pose("l"), 4.16, _pose_coco("l", "1352a4d2_20230127")),
    "x": PoseStock(_pose("l"), 7.7),
}
# RTMDet's size with the same backbone; RTMPose has none with that of nano.
LIKE: dict[PoseSize, DetSize] = {"t": "tiny", "s": "s", "m": "m", "l": "l", "x": "x"}

# The stock values, for the table of `posetools config --explain`.
_BOTH = {
    "load_from": "none",
    "freeze": "none",
    "share": "no limit",
    "augmentation": "strong",
    "repeat": "1",
    "val_interval": "10",
    "lr": str(BASE_LR),
    "warmup_iters": str(WARMUP_ITERS),
    "ema_momentum": str(EMA_MOMENTUM),
    "iterations": "depends on data",
}
STOCK_TEXT: dict[str, dict[str, str]] = {
    "det": {
        **_BOTH,
        "backbone": "ImageNet",
        "batch_size": "8 x 32",
        "val_batch_size": "5",
        "epochs": "300",
        "stage2_epochs": "20",
        "early_size": "off",
    },
    "pose": {
        **_BOTH,
        "input_size": "192x256",
        "backbone": "UDP",
        "batch_size": "8 x 256",
        "val_batch_size": "64",
        "epochs": "420",
        "stage2_epochs": "30",
        "rotation": "80, 60",
        "flip": "on",
        "simcc_split_ratio": "2",
        "sigma": "4.9, 5.66",
    },
    "": {"workers": "10", "seed": str(SEED)},
}


# Bins of SimCC per pixel of the input.
STOCK_BINS = 2.0


def codec_sigma(input_size: tuple[int, int]) -> tuple[float, float]:
    """Return the SimCC target's width for an input: sqrt(side / 8) bins, the rule behind all stock recipes.

    They have (4.9, 5.66) at 192 x 256 and (6.0, 6.93) at 288 x 384.
    """
    x, y = (round(sqrt(side / 8), 2) for side in input_size)
    return x, y
