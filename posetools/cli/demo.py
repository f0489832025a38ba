"""``posetools demo``: the whole workflow on rendered cars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from posetools.workflow.demo import DemoResult


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Output folder. An earlier demo in it is replaced.")] = Path(
        "demo"
    ),
    minutes: Annotated[float, typer.Option(help="Training time of both models together.")] = 6.0,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the images, the split and the training.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Run each step with two iterations: a test without useful results.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier demo even if its folder has other files.")
    ] = False,
) -> None:
    """Run the whole workflow on rendered cars: convert, validate, config, train, eval, predict.

    Each step prints its command. Takes about 7 minutes on two cores. Nothing is downloaded.
    """
    from posetools.cli.steps import Steps
    from posetools.recipes.machine import busy_text
    from posetools.workflow.demo import QUICK, DemoRequest, Settings
    from posetools.workflow.demo import demo as run

    settings = QUICK if quick else Settings()
    request = DemoRequest(out=out, minutes=minutes, seed=seed, settings=settings, overwrite=overwrite)
    steps = Steps()
    if busy_text():
        steps.say(busy_text())
    print_result(run(request, steps))


def print_result(result: DemoResult) -> None:
    """Print the metrics, the times and the files to open."""
    from posetools.cli.console import console, escape, table_of
    from posetools.evaluation.scoring import pck_of
    from posetools.evaluation.tables import number
    from posetools.recipes.budget import BOX_AP50, PCK, verdict

    out = console()
    boxes = result.det.det.scores
    rows = [("detector", "images", "AP50", number(boxes.ap50)), ("", "", "AP (0.5:0.95)", number(boxes.ap))]
    for boxes_are, part in result.pose.sides.items():
        model = "pose estimator" if part is result.pose.labeled else ""
        points = {subset: scores.overall.as_dict()["PCK@0.1"] for subset, scores in part.scores.points.items()}
        rows.append((model, boxes_are, "PCK@0.1", number(points["labelled"])))
        rows.append(("", "", "PCK@0.1, visible points", number(points["visible"])))
        rows.append(("", "", "OKS AP", number(part.scores.oks.ap)))
    out.print()
    out.print(table_of(rows, "model", "on", "metric", "value", title="on validation images"))
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items())
    out.print(f"{sum(result.seconds.values()) / 60:.1f} minutes: {times}")
    trained = " and ".join(f"{count} iterations ({stage})" for stage, count in result.iterations.items())
    out.print(f"trained from random weights for {trained}; a real training run takes hours, not minutes")
    judged = {"det": (BOX_AP50, boxes.ap50), "pose": (PCK, pck_of(result.pose.labeled.scores))}
    for stage, plan in result.plans.items():
        if plan.enough:
            out.print(f"{stage}: {verdict(*judged[stage], result.iterations[stage], plan.enough)}", soft_wrap=True)
    out.print("\nopen:")
    for path, what in result.files.items():
        out.print(f"  {escape(str(path))}  {escape(what)}")
