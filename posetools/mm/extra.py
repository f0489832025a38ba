"""Whether the packages of the ``train`` extra are there, found out without importing any of them."""

from __future__ import annotations

from importlib.util import find_spec

from posetools.errors import MissingExtraError

EXTRA = "train"

# The package to install for each module that the stack imports at run time.
PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "mmengine": "mmengine",
    "mmcv": "mmcv",
    "mmdet": "mmdet",
    "mmpose": "mmpose",
    "xtcocotools": "xtcocotools",
    "cv2": "opencv-python",
    "scipy": "scipy",
    "pkg_resources": "setuptools",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
}


def missing_packages() -> tuple[str, ...]:
    """Return the packages of the ``train`` extra that are not installed, in the order of PACKAGES."""
    return tuple(package for module, package in PACKAGES.items() if find_spec(module) is None)


def require_train(what: str) -> None:
    """Refuse to go on without the ``train`` extra.

    Args:
        what: the command or function that needs it, as the message shall name it.

    Raises:
        MissingExtraError: a package of the extra is not installed; the message names it and the install command.
    """
    missing = missing_packages()
    if missing:
        raise MissingExtraError(what, EXTRA, missing[0])
