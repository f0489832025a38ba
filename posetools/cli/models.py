"""The options that choose a pair of models, shared by the commands that use one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from posetools.errors import RequestError, printable_lines

if TYPE_CHECKING:
    from posetools.pairs.open import PipelineOptions
    from posetools.pairs.pipeline import PosePipeline
    from posetools.scale.shards import ModelEngine

_models = partial(typer.Option, rich_help_panel="Models (choose one pair)")
_thresholds = partial(typer.Option, rich_help_panel="Thresholds", show_default="0.3, or the bundle's")

# A config and a checkpoint, as typed.
ModelName: TypeAlias = tuple[str, str]

Det = Annotated[
    ModelName | None,
    _models(metavar="CONFIG CHECKPOINT", help="Detector: file or name of an MMDet config, file or URL of its weights."),
]
Pose = Annotated[
    ModelName | None,
    _models(
        metavar="CONFIG CHECKPOINT",
        help="Pose estimator: file or name of an MMPose top-down config, file or URL of its weights.",
    ),
]
Run = Annotated[Path | None, _models(metavar="DIR", help="Folder with the runs of a pair that posetools trained.")]
Bundle = Annotated[Path | None, _models(metavar="ZIP", help="Bundle of `posetools export`. Does not need OpenMMLab.")]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="Device: auto, cpu, cuda or cuda:N.")]
BboxThr = Annotated[float | None, _thresholds(min=0, max=1, help="Minimum score of a box.")]
KptThr = Annotated[
    float | None,
    _thresholds(min=0, help="Minimum score of a drawn keypoint (labelme: below it the keypoint is occluded)."),
]
NmsThr: TypeAlias = Annotated[
    float | None, _thresholds(min=0, max=1, help="NMS: drop boxes with a larger IoU with a better one.")
]
_several = partial(typer.Option, rich_help_panel="Several processes")
Workers = Annotated[int, _several("--workers", min=1, help="Processes that run the bundle in parallel.")]
ClusterAddress = Annotated[
    str | None,
    _several(
        "--cluster",
        metavar="ADDRESS",
        help="Run the bundle on a Dask cluster instead of --workers. ADDRESS is its scheduler, such as "
        "tcp://HOST:8786. Needs the extra `cluster`.",
    ),
]
Threads = Annotated[
    int | None,
    _several(
        "--threads",
        min=1,
        help="Threads of each network of the bundle on the CPU.",
        show_default="all cores; with --workers its share of them, with --cluster 1",
    ),
]


def engine_of_bundle(
    bundle: Path | Sequence[Path] | None, workers: int, cluster: str | None, threads: int | None
) -> ModelEngine | None:
    """Return what runs a bundle in several processes, or None for this one.

    Raises:
        RequestError: options for it are given without a bundle, or exclude one another.
    """
    from posetools.scale.cluster import engine_of

    given = [
        name for name, value in (("--workers", workers > 1), ("--cluster", cluster), ("--threads", threads)) if value
    ]
    if given and not bundle:
        raise RequestError(f"{given[0]} requires --bundle ZIP", hint="`posetools export --run DIR` writes a bundle")
    engine = engine_of(cluster, workers)
    return engine if cluster or workers > 1 else None


def check_models(
    det: ModelName | None, pose: ModelName | None, run: Path | None, bundle: Path | None = None, *, bundles: bool = True
) -> None:
    """Refuse anything but one pair of models.

    Args:
        det: ``--det``.
        pose: ``--pose``.
        run: ``--run``.
        bundle: ``--bundle``.
        bundles: whether the command takes a bundle.

    Raises:
        RequestError: no pair, several pairs, or half a pair is given.
    """
    given = [name for name, value in (("--run", run), ("--bundle", bundle), ("--det and --pose", det or pose)) if value]
    if len(given) == 1 and bool(det) == bool(pose):
        return
    if not given:
        problem = "name the models to use"
    elif len(given) > 1:
        problem = f"name one pair of models, got {', '.join(given)}"
    else:
        problem = f"--det and --pose must be given together, got only {'--det' if det else '--pose'}"
    ways = "--run DIR, --bundle ZIP" if bundles else "--run DIR"
    raise RequestError(problem, hint=f"{ways}, or --det CONFIG CHECKPOINT --pose CONFIG CHECKPOINT")


def load_pipeline(
    det: ModelName | None, pose: ModelName | None, run: Path | None, bundle: Path | None, options: PipelineOptions
) -> PosePipeline:
    """Return the pair that the options name, after ``check_models``; warn about models that detect nothing.

    Raises:
        PosetoolsError: see the constructors of PosePipeline.
    """
    from posetools.pairs.pipeline import PosePipeline

    if bundle:
        pipeline = PosePipeline.from_bundle(bundle, options)
    elif run:
        pipeline = PosePipeline.from_run(run, options)
    elif det and pose:
        pipeline = PosePipeline.from_configs(det, pose, options)
    else:
        raise RequestError("--det and --pose must be given together")
    for doubt in pipeline.doubts:
        print(printable_lines(f"warning: {doubt}"), file=sys.stderr)
    return pipeline
