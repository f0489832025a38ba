"""The options that say which pair of models a command uses; the same words in every command that uses one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from posetools.errors import RequestError, printable_lines

if TYPE_CHECKING:
    from posetools.pairs.open import PipelineOptions
    from posetools.pairs.pipeline import PosePipeline

# What the user typed: a config and a checkpoint.
ModelName: TypeAlias = tuple[str, str]

Det = Annotated[
    ModelName | None,
    typer.Option(
        metavar="CONFIG CHECKPOINT", help="A detector: file or name of an MMDet config; file or URL of its weights."
    ),
]
Pose = Annotated[
    ModelName | None,
    typer.Option(metavar="CONFIG CHECKPOINT", help="A pose estimator: likewise, an MMPose top-down model."),
]
Run = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Or: the folder with the runs of a pair that posetools trained.")
]
Bundle = Annotated[
    Path | None, typer.Option(metavar="ZIP", help="Or: a bundle of `posetools export`; needs no OpenMMLab.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
BboxThr = Annotated[
    float | None, typer.Option(min=0, max=1, help="Boxes need a higher score.", show_default="0.3, or the bundle's")
]
KptThr = Annotated[
    float | None,
    typer.Option(
        min=0, help="Keypoints with a lower score are not drawn (labelme: hidden).", show_default="0.3, or the bundle's"
    ),
]
NmsThr: TypeAlias = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="Boxes that overlap a surer one by more (IoU) go.", show_default="0.3, or the bundle's"
    ),
]


def check_models(
    det: ModelName | None, pose: ModelName | None, run: Path | None, bundle: Path | None = None, *, bundles: bool = True
) -> None:
    """Refuse anything but one pair of models; ``bundles``: whether a bundle would do.

    Raises:
        RequestError: none, several, or half a pair was named.
    """
    given = [name for name, value in (("--run", run), ("--bundle", bundle), ("--det and --pose", det or pose)) if value]
    if len(given) == 1 and bool(det) == bool(pose):
        return
    if not given:
        problem = "which models to use must be said"
    elif len(given) > 1:
        problem = f"one pair of models is needed, got {', '.join(given)}"
    else:
        problem = f"--det and --pose go together, got only {'--det' if det else '--pose'}"
    ways = "--run DIR, --bundle ZIP" if bundles else "--run DIR"
    raise RequestError(f"{problem}\n  {ways}, or --det CONFIG CHECKPOINT --pose CONFIG CHECKPOINT")


def load_pipeline(
    det: ModelName | None, pose: ModelName | None, run: Path | None, bundle: Path | None, options: PipelineOptions
) -> PosePipeline:
    """Return the pair that the options name, which ``check_models`` has passed; warn of models that find nothing.

    Raises:
        PosetoolsError: as the constructors of PosePipeline.
    """
    from posetools.pairs.pipeline import PosePipeline

    if bundle:
        pipeline = PosePipeline.from_bundle(bundle, options)
    elif run:
        pipeline = PosePipeline.from_run(run, options)
    elif det and pose:
        pipeline = PosePipeline.from_configs(det, pose, options)
    else:
        raise RequestError("--det and --pose go together")
    for doubt in pipeline.doubts:
        print(printable_lines(f"warning: {doubt}"), file=sys.stderr)
    return pipeline
