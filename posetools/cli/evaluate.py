"""``posetools eval``: metrics of a trained pair, a bundle or a single checkpoint, as tables, JSON or an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from posetools.cli.console import console, progress
from posetools.cli.models import ClusterAddress, Device, Threads, Workers, engine_of_bundle
from posetools.cli.options import SKELETON_HELP
from posetools.errors import RequestError, printable

if TYPE_CHECKING:
    from posetools.evaluation.report import Report
    from posetools.evaluation.run import EvalRequest

_single = partial(typer.Option, rich_help_panel="Single model")

_Stage: TypeAlias = Literal["det", "pose"]
_Checkpoint: TypeAlias = Annotated[
    Path | None,
    typer.Argument(help="Checkpoint of a single model, as `posetools train` writes it. Needs --stage."),
]
_OfStage: TypeAlias = Annotated[
    _Stage | None, _single("--stage", help="CHECKPOINT is a detector (det) or a pose estimator (pose).")
]
_Runs: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option("--run", metavar="DIR", help="Folder with the runs of a pair. Repeatable, to compare pairs."),
]
_Bundles: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--bundle", metavar="ZIP", help="Bundle of `posetools export`. Needs --data, but no OpenMMLab. Repeatable."
    ),
]
_Config: TypeAlias = Annotated[
    Path | None, _single(metavar="FILE", help="Config of CHECKPOINT.", show_default="the one in its folder")
]
_Data: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Data set folder.", show_default="the config's")
]
_Split: TypeAlias = Annotated[str, typer.Option(metavar="NAME", help="Split to evaluate on.")]
_Boxes: TypeAlias = Annotated[
    Path | None,
    _single(metavar="DETECTOR", help="--stage pose: also use the boxes of this detector checkpoint."),
]
_BoxesConfig: TypeAlias = Annotated[
    Path | None, _single(metavar="FILE", help="Config of --boxes.", show_default="the one in its folder")
]
_BboxThr: TypeAlias = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Minimum score of a detected box to get keypoints.")
]
_Skeleton: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME|FILE", help=SKELETON_HELP, show_default="the one used in training")
]
_Folds: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--folds",
        help="--run has a pair of each fold (`posetools train --folds`): evaluate all images, each with the pair that "
        "did not train on it.",
    ),
]
_FlipTest: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--flip-test",
        help="--run, CHECKPOINT: also measure the gain from averaging with the mirrored crop.",
    ),
]
_Json: TypeAlias = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all metrics to FILE.")]
_Report: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="HTML", help="--run, --bundle: write an HTML page with tables, curves and the worst cases."),
]


def evaluate(
    checkpoint: _Checkpoint = None,
    run: _Runs = None,
    bundle: _Bundles = None,
    stage: _OfStage = None,
    config: _Config = None,
    boxes: _Boxes = None,
    boxes_config: _BoxesConfig = None,
    data: _Data = None,
    split: _Split = "val",
    folds: _Folds = False,
    bbox_thr: _BboxThr = 0.05,
    device: Device = "auto",
    skeleton: _Skeleton = None,
    flip_test: _FlipTest = False,
    json_file: _Json = None,
    report: _Report = None,
    workers: Workers = 1,
    cluster: ClusterAddress = None,
    threads: Threads = None,
) -> None:
    """Evaluate a trained pair on a split, and show why AP is lost.

    --run and --bundle evaluate a pair: boxes, keypoints on labeled and on detected boxes, each keypoint, and the causes
    of lost AP. CHECKPOINT with --stage evaluates a single model.
    """
    of_single = {"--config": config, "--boxes": boxes, "--boxes-config": boxes_config, "--stage": stage}
    single = [name for name, given in of_single.items() if given]
    _check(checkpoint, stage, [*(run or ()), *(bundle or ())], single, report)
    if folds and (not run or bundle or split != "val"):
        raise _no_folds("CHECKPOINT" if checkpoint else "--bundle" if bundle else f"--split {split}")
    if flip_test and (bundle or stage == "det"):
        raise RequestError(
            "--flip-test needs the pose estimator of --run, or CHECKPOINT --stage pose",
            hint="leave out --bundle and --stage det; `posetools export --flip-test` builds it into a bundle",
        )
    from posetools.evaluation.run import EvalRequest

    common = EvalRequest(
        stage=stage or "det",
        config=config,
        boxes=boxes,
        boxes_config=boxes_config,
        data=data,
        split=split,
        device=device,
        skeleton=skeleton,
        bbox_thr=bbox_thr,
        flip_test=flip_test,
        folds=folds,
        engine=engine_of_bundle(bundle, workers, cluster, threads),
        threads=threads,
    )
    pairs = [replace(common, run=path) for path in run or ()] + [replace(common, bundle=path) for path in bundle or ()]
    _evaluate(pairs or [replace(common, checkpoint=checkpoint)], json_file, report)


def _check(
    checkpoint: Path | None, stage: _Stage | None, pairs: Sequence[Path], single: Sequence[str], report: Path | None
) -> None:
    ways = "use --run DIR or --bundle ZIP for a pair, CHECKPOINT --stage det|pose for a single model"
    if checkpoint is None and not pairs:
        raise RequestError("name the models to evaluate", hint=ways)
    if checkpoint is not None and pairs:
        raise RequestError(f"name a pair or a single model, got {checkpoint} and {pairs[0]}", hint=ways)
    if checkpoint is not None and stage is None:
        raise RequestError(f"{checkpoint}: --stage must be det or pose, got none", hint=ways)
    if checkpoint is not None and report is not None:
        raise RequestError("--report needs a pair: --run DIR or --bundle ZIP", hint=ways)
    if pairs and single:
        raise RequestError(f"{single[0]} is for a single CHECKPOINT, not for --run or --bundle", hint=ways)
    if len(set(pairs)) < len(pairs):
        raise RequestError("the same --run or --bundle is given twice", hint="leave one of them out")


def _no_folds(given: str) -> RequestError:
    hint = "--run DIR --folds evaluates the val split of each fold"
    return RequestError(f"--folds cannot be combined with {given}", hint=hint)


def _evaluate(requests: Sequence[EvalRequest], json_file: Path | None, page: Path | None) -> None:
    from posetools.cli.evaluate_tables import print_reports
    from posetools.evaluation.report import as_document, check_same_split
    from posetools.evaluation.run import evaluate as run_evaluation
    from posetools.files.disk import write_json
    from posetools.pages.evaluation.page import write_report
    from posetools.pages.sealed import check_target
    from posetools.runtime.bundle import Bundle

    if page is not None:
        check_target(page)
    for request in requests:
        # Fail before a run is evaluated, which takes minutes.
        if request.bundle is not None:
            Bundle.open(request.bundle)
    reports: list[Report] = []
    with progress() as tell:
        for request in requests:
            reports.append(run_evaluation(request, tell))
            check_same_split(reports)
        if page is not None:
            write_report(reports, page, tell)
    print_reports(reports, console())
    if json_file is not None:
        write_json(json_file, as_document(reports))
    if page is not None:
        print(printable(f"wrote {page}"))
