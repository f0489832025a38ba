"""What the stock recipes of mmdet 3.3.0 and mmpose 1.3.2 say, as far as an emitted config has to repeat or scale it.

Emitting needs neither package; a test with both compares these constants with the installed configs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from posetools.recipes.options import DetSize, PoseSize

# The learning rate of both, and the batch that each was tuned for (GPUs x pictures).
BASE_LR = 0.004
DET_BATCH = 256
POSE_BATCH = 1024
WARMUP_ITERS = 1000
DET_INPUT = (640, 640)
POSE_INPUT = (192, 256)

_POSE_WEIGHTS = "https://download.openmmlab.com/mmpose/v1/projects/rtmposev1"


@dataclass(frozen=True, slots=True)
class DetStock:
    """One size of RTMDet.

    Attributes:
        base: what ``_base_`` names.
        smallest: lower end of the random resize, as a share of its scale.
        mosaic: further arguments of CachedMosaic.
        mixup: arguments of CachedMixUp that differ between sizes.
        pretrained: whether the backbone starts from ImageNet weights.
    """

    base: str
    smallest: float
    mosaic: str = ""
    mixup: str = "max_cached_images=20"
    pretrained: bool = False


@dataclass(frozen=True, slots=True)
class PoseStock:
    """One size of RTMPose.

    Attributes:
        base: what ``_base_`` names.
        ema: whether an average of the weights is kept and evaluated.
    """

    base: str
    ema: bool = True


@dataclass(frozen=True, slots=True)
class PoseX:
    """RTMPose-x, which has no recipe for COCO's keypoints: what it changes in RTMPose-l."""

    deepen_factor: float = 1.33
    widen_factor: float = 1.25
    in_channels: int = 1280
    checkpoint: str = f"{_POSE_WEIGHTS}/cspnext-x_udp-body7_210e-384x288-d28b58e6_20230529.pth"


POSE_X = PoseX()


def _det(size: DetSize) -> str:
    return f"mmdet::rtmdet/rtmdet_{size}_8xb32-300e_coco.py"


def _pose(size: PoseSize) -> str:
    return f"mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-{size}_8xb256-420e_coco-256x192.py"


DET: dict[DetSize, DetStock] = {
    "tiny": DetStock(
        _det("tiny"),
        smallest=0.5,
        mosaic="max_cached_images=20, random_pop=False",
        mixup="max_cached_images=10, random_pop=False, prob=0.5",
        pretrained=True,
    ),
    "s": DetStock(_det("s"), smallest=0.5, pretrained=True),
    "m": DetStock(_det("m"), smallest=0.1),
    "l": DetStock(_det("l"), smallest=0.1),
    "x": DetStock(_det("x"), smallest=0.1),
}
POSE: dict[PoseSize, PoseStock] = {
    "t": PoseStock(_pose("t"), ema=False),
    "s": PoseStock(_pose("s")),
    "m": PoseStock(_pose("m")),
    "l": PoseStock(_pose("l")),
    "x": PoseStock(_pose("l")),
}


def codec_sigma(input_size: tuple[int, int]) -> tuple[float, float]:
    """Return the SimCC target's width for an input: sqrt(side / 8) pixels, the rule behind every stock recipe's pair.

    Those say (4.9, 5.66) at 192 x 256 and (6.0, 6.93) at 288 x 384.
    """
    x, y = (round(sqrt(side / 8), 2) for side in input_size)
    return x, y
