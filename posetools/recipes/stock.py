"""Values of the stock recipes of mmdet 3.3.0 and mmpose 1.3.2 that an emitted config repeats or scales.

Emitting needs neither package; a test with both compares these constants with the installed configs.
"""

from __future__ import annotations

from dataclasses import dataclass
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
        size: its name.
        date: of the recipe's COCO checkpoint, with its hash.
        smallest: lower end of the random resize, relative to its scale.
        memory: GB that training takes on a GPU, with 32 images of 640 x 640.
        flops: multiply-adds, in 10^9, for an image of 640 x 640.
        pretrained: whether the backbone starts from ImageNet weights.
        mosaic: more arguments of CachedMosaic.
        mixup: arguments of CachedMixUp that differ between sizes.
        ema: whether it keeps and evaluates an average of the weights.
    """

    size: DetSize
    date: str
    smallest: float
    memory: float
    flops: float
    pretrained: bool = False
    mosaic: str = ""
    mixup: str = "max_cached_images=20"
    ema: bool = True

    @property
    def base(self) -> str:
        """The config for ``_base_``."""
        return f"mmdet::rtmdet/rtmdet_{self.size}_8xb32-300e_coco.py"

    @property
    def coco(self) -> str:
        """The URL of the recipe's COCO checkpoint."""
        name = f"rtmdet_{self.size}_8xb32-300e_coco"
        return f"https://download.openmmlab.com/mmdetection/v3.0/rtmdet/{name}/{name}_{self.date}.pth"


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


def _pose(size: PoseSize) -> str:
    return f"mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-{size}_8xb256-420e_coco-256x192.py"


def _pose_coco(size: str, date: str) -> str:
    return f"{_POSE_WEIGHTS}/rtmpose-{size}_simcc-coco_pt-aic-coco_420e-256x192-{date}.pth"


# The smallest model caches fewer images.
_MOSAIC = "max_cached_images=20, random_pop=False"
_MIXUP = "max_cached_images=10, random_pop=False, prob=0.5"
# Checkpoints and memory are from the installed packages' model zoos (metafile.yml); flops from their READMEs.
DET: dict[DetSize, DetStock] = {
    "tiny": DetStock("tiny", "20220902_112414-78e30dcc", 0.5, 11.7, 8.1, pretrained=True, mosaic=_MOSAIC, mixup=_MIXUP),
    "s": DetStock("s", "20220905_161602-387a891e", 0.5, 15.9, 14.8, pretrained=True),
    "m": DetStock("m", "20220719_112220-229f527c", 0.1, 27.8, 39.3),
    "l": DetStock("l", "20220719_112030-5a0be7c4", 0.1, 43.2, 80.2),
    "x": DetStock("x", "20220715_230555-cc79b9ae", 0.1, 61.1, 141.7),
}
POSE: dict[PoseSize, PoseStock] = {
    "t": PoseStock(_pose("t"), 0.36, _pose_coco("tiny", "e613ba3f_20230127"), ema=False),
    "s": PoseStock(_pose("s"), 0.68, _pose_coco("s", "8edcf0d7_20230127")),
    "m": PoseStock(_pose("m"), 1.93, _pose_coco("m", "d8dd5ca4_20230127")),
    "l": PoseStock(_pose("l"), 4.16, _pose_coco("l", "1352a4d2_20230127")),
    "x": PoseStock(_pose("l"), 7.7),
}
# RTMDet's size with the same backbone.
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
        "input_size": "640x640",
        "backbone": "ImageNet",
        "batch_size": "8 x 32",
        "val_batch_size": "5",
        "epochs": "300",
        "stage2_epochs": "20",
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
    },
    "": {"workers": "10", "seed": str(SEED)},
}


def codec_sigma(input_size: tuple[int, int]) -> tuple[float, float]:
    """Return the SimCC target's width for an input: sqrt(side / 8) pixels, the rule behind all stock recipes.

    They have (4.9, 5.66) at 192 x 256 and (6.0, 6.93) at 288 x 384.
    """
    x, y = (round(sqrt(side / 8), 2) for side in input_size)
    return x, y
