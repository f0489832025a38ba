"""posetools: labelled pictures in, a trained and evaluated RTMDet + RTMPose pair out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posetools.pairs.open import PipelineOptions
    from posetools.pairs.pipeline import PosePipeline
    from posetools.runtime.results import PoseResult

__version__ = "0.2.0"
__all__ = ["PipelineOptions", "PosePipeline", "PoseResult", "__version__"]

_PLACES = {
    "PipelineOptions": "posetools.pairs.open",
    "PosePipeline": "posetools.pairs.pipeline",
    "PoseResult": "posetools.runtime.results",
}


def __getattr__(name: str) -> Any:
    """Load what is exported when it is first asked for: starting the command line must cost nothing."""
    from importlib import import_module

    if name not in _PLACES:
        raise AttributeError(f"module 'posetools' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
