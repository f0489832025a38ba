"""What every function that touches OpenMMLab does first."""

from __future__ import annotations

import re
import warnings
from functools import cache

from posetools.errors import RequestError
from posetools.mm.extra import require_train

# Warnings of the stack about itself, which no user of posetools can act on: (start of the message, why it is harmless).
HARMLESS_WARNINGS = (
    ("pkg_resources is deprecated as an API", "mmengine 0.10.7 needs it; the train extra holds setuptools below 81"),
    ("`torch.cuda.amp.autocast(args...)` is deprecated", "mmdet calls it by the old name, which still works"),
    ("torch.meshgrid: in an upcoming release", "mmdet calls it without `indexing`, and the default still stands"),
)

# What importing compiled packages that do not fit together ends in.
_BROKEN = (ImportError, OSError, RuntimeError, AttributeError, ValueError)


def prepare(what: str) -> None:
    """Make this process ready for OpenMMLab. Cheap when it is.

    It checks that the ``train`` extra is installed, allows what mmengine's own checkpoints hold and nothing else,
    lets torchvision do NMS where mmcv has no kernel for it, and silences the warnings of HARMLESS_WARNINGS.

    Args:
        what: the command or function that needs the extra, as the message shall name it.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: it is, but what is installed does not work.
    """
    require_train(what)
    try:
        _prepare_once()
    except _BROKEN as exc:
        raise RequestError(
            f"{what} needs the 'train' extra, which is installed but does not work: {type(exc).__name__}: {exc}\n"
            "  posetools doctor names what is wrong, and the command that mends it"
        ) from exc


@cache
def _prepare_once() -> None:
    for message, _ in HARMLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=re.escape(message))
    from posetools.mm.checkpoint import allow_mmengine_checkpoints
    from posetools.mm.nms import install_nms_fallback

    allow_mmengine_checkpoints()
    install_nms_fallback()
