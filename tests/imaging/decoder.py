"""The decoder of training: mmcv if installed, else OpenCV with the call that mmcv makes."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Pixels = npt.NDArray[np.uint8]


def decoded(content: bytes) -> Pixels | None:
    """Return (H, W, 3) red, green, blue as decoded by LoadImageFromFile; None if training would stop."""
    if importlib.util.find_spec("mmcv"):
        import mmcv

        found: Any = mmcv.imfrombytes(content, flag="color", channel_order="bgr", backend="cv2")
    else:
        cv2 = pytest.importorskip("cv2")
        found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return None if found is None else found[:, :, ::-1]
