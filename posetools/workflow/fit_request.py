"""The options of a fit, and what receives its progress and results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from posetools.checks.validate import ValidationReport
from posetools.datasets.convert import ConvertRequest, ConvertResult
from posetools.evaluation.report import Report
from posetools.exporting.export import ExportResult
from posetools.recipes.emit import ChosenPair
from posetools.recipes.options import DetSize, PoseSize, Pretrained
from posetools.runtime.verify import VerifyReport
from posetools.training.estimate import DryRun
from posetools.training.hooks import StepListener
from posetools.workflow.figures import FitFigures
from posetools.workflow.fit_folder import TypedOptions


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """What to fit, and how.

    Attributes:
        source: labeled images in a format that ``convert`` reads, or a data set folder.
        out: the folder for all output.
        minutes: time limit for training both models.
        det: size of RTMDet; None: by the machine.
        pose: size of RTMPose; None: by the machine.
        pretrained: the weights that training starts from; None: the default of ``config``.
        seed: of the training; None: the default of ``config``.
        conversion: how to read the source; its sources and its ``out`` are ignored.
        typed: the options as typed, which a later call must repeat.
        command: the command that continues this fit.
        overwrite: delete the results of an earlier fit in ``out``, and start again.
    """

    source: Path
    out: Path
    minutes: float = 60.0
    det: DetSize | None = None
    pose: PoseSize | None = None
    pretrained: Pretrained | None = None
    seed: int | None = None
    conversion: ConvertRequest = field(default_factory=lambda: ConvertRequest(sources=(), out=Path()))
    typed: TypedOptions = field(default_factory=dict)
    command: str = "the same call"
    overwrite: bool = False


class FitListener(StepListener, Protocol):
    """Receives the progress and the result of each step, and decides whether to train."""

    def converted(self, result: ConvertResult, request: ConvertRequest) -> None:
        """Show a conversion, or the findings that prevent it."""

    def validated(self, report: ValidationReport) -> None:
        """Show the findings of the data set."""

    def emitted(self, pair: ChosenPair) -> None:
        """Show the configs."""

    def agrees(self, estimate: DryRun) -> bool:
        """Show the estimate, and return whether to train."""

    def evaluated(self, report: Report) -> None:
        """Show the metrics."""

    def exported(self, result: ExportResult) -> None:
        """Show the bundle."""

    def verified(self, report: VerifyReport, bundle: Path) -> None:
        """Show the comparison of a bundle with its export."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The result of a fit.

    Attributes:
        figures: the main metrics.
        seconds: step -> its duration in the call that finished it.
        bundle: the verified bundle.
        files: output file or folder -> what it is, the report first.
    """

    figures: FitFigures
    seconds: Mapping[str, float]
    bundle: Path
    files: Mapping[Path, str]
