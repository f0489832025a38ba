"""posetools: labeled images in, a trained and evaluated pair of RTMDet and RTMPose out.

The whole Python API is in this module; docs/python.md walks through it. What has many options takes a request, whose
fields are the options of the command of that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posetools.checks.validate import validate
    from posetools.core.dataset import Dataset
    from posetools.core.skeleton import Skeleton
    from posetools.datasets.convert import ConvertRequest, convert
    from posetools.datasets.io import ReadError, read, write
    from posetools.datasets.resplit import resplit as split
    from posetools.errors import PosetoolsError
    from posetools.evaluation.run import EvalRequest, evaluate
    from posetools.formats.options import ReadOptions
    from posetools.pairs.open import PipelineOptions, open_pair
    from posetools.pairs.pipeline import PosePipeline
    from posetools.recipes.emit import emit_pair
    from posetools.recipes.options import RecipeOptions
    from posetools.runtime.results import PoseResult
    from posetools.synth import render_set
    from posetools.training.request import TrainRequest
    from posetools.training.train import train

__version__ = "0.2.0"
__all__ = ["convert", "emit_pair", "evaluate", "open_pair", "read", "render_set", "split", "train", "validate", "write"]
__all__ += ["Dataset", "PosePipeline", "PoseResult", "PosetoolsError", "ReadError", "Skeleton", "__version__"]
__all__ += ["ConvertRequest", "EvalRequest", "PipelineOptions", "ReadOptions", "RecipeOptions", "TrainRequest"]

_EXPORTS = {
    "ConvertRequest": "datasets.convert.ConvertRequest",
    "Dataset": "core.dataset.Dataset",
    "EvalRequest": "evaluation.run.EvalRequest",
    "PipelineOptions": "pairs.open.PipelineOptions",
    "PosePipeline": "pairs.pipeline.PosePipeline",
    "PoseResult": "runtime.results.PoseResult",
    "PosetoolsError": "errors.PosetoolsError",
    "ReadError": "datasets.io.ReadError",
    "ReadOptions": "formats.options.ReadOptions",
    "RecipeOptions": "recipes.options.RecipeOptions",
    "Skeleton": "core.skeleton.Skeleton",
    "TrainRequest": "training.request.TrainRequest",
    "convert": "datasets.convert.convert",
    "emit_pair": "recipes.emit.emit_pair",
    "evaluate": "evaluation.run.evaluate",
    "open_pair": "pairs.open.open_pair",
    "read": "datasets.io.read",
    "render_set": "synth.render_set",
    "split": "datasets.resplit.resplit",
    "train": "training.train.train",
    "validate": "checks.validate.validate",
    "write": "datasets.io.write",
}


def __getattr__(name: str) -> Any:
    """Import exported names on first use, so that the command line starts fast."""
    from importlib import import_module

    if name not in _EXPORTS:
        raise AttributeError(f"module 'posetools' has no attribute {name!r}")
    module, _, own_name = _EXPORTS[name].rpartition(".")
    return getattr(import_module(f"posetools.{module}"), own_name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
