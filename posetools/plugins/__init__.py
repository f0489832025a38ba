"""Plug-ins: what posetools and other packages register as entry points, loaded on first use.

What the author of a plug-in needs is in this module; docs/plugins.md walks through it. The docstring of each class is
its specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posetools.checks.data import CheckedData
    from posetools.checks.plugin import CheckPlugin
    from posetools.checks.structure import SoundObjects
    from posetools.core.findings import Finding, Rule
    from posetools.core.skeleton import Skeleton
    from posetools.errors import InputError, RequestError
    from posetools.exporting.export import ExportResult
    from posetools.exporting.exporter import ExporterPlugin
    from posetools.files.disk import read_text
    from posetools.formats.plugin import FormatPlugin, ReadImage, ReadObject, ReadProblem
    from posetools.pairs.open import OpenPair, PipelineOptions
    from posetools.runtime.bundle import Bundle
    from posetools.runtime.results import Detections, Poses
    from posetools.trainers.trainer import RecipeFiles, RecipeRequest, RunExport, Trainer
    from posetools.training.pair import TrainAllResult
    from posetools.training.request import TrainRequest
    from posetools.training.train import TrainResult

_PUBLIC = {
    "Bundle": "runtime.bundle",
    "CheckPlugin": "checks.plugin",
    "CheckedData": "checks.data",
    "Detections": "runtime.results",
    "ExportResult": "exporting.export",
    "ExporterPlugin": "exporting.exporter",
    "Finding": "core.findings",
    "FormatPlugin": "formats.plugin",
    "InputError": "errors",
    "ReadImage": "formats.plugin",
    "ReadObject": "formats.plugin",
    "OpenPair": "pairs.open",
    "PipelineOptions": "pairs.open",
    "Poses": "runtime.results",
    "ReadProblem": "formats.plugin",
    "RecipeFiles": "trainers.trainer",
    "RecipeRequest": "trainers.trainer",
    "RequestError": "errors",
    "Rule": "core.findings",
    "RunExport": "trainers.trainer",
    "Skeleton": "core.skeleton",
    "SoundObjects": "checks.structure",
    "TrainAllResult": "training.pair",
    "TrainRequest": "training.request",
    "TrainResult": "training.train",
    "Trainer": "trainers.trainer",
    "read_text": "files.disk",
}
__all__ = [
    "Bundle",
    "CheckPlugin",
    "CheckedData",
    "Detections",
    "ExportResult",
    "ExporterPlugin",
    "Finding",
    "FormatPlugin",
    "InputError",
    "OpenPair",
    "PipelineOptions",
    "Poses",
    "ReadImage",
    "ReadObject",
    "ReadProblem",
    "RecipeFiles",
    "RecipeRequest",
    "RequestError",
    "Rule",
    "RunExport",
    "Skeleton",
    "SoundObjects",
    "TrainAllResult",
    "TrainRequest",
    "TrainResult",
    "Trainer",
    "read_text",
]


def __getattr__(name: str) -> Any:
    """Import exported names on first use: a command imports nothing of other tasks."""
    from importlib import import_module

    if name not in _PUBLIC:
        raise AttributeError(f"module 'posetools.plugins' has no attribute {name!r}")
    return getattr(import_module(f"posetools.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
