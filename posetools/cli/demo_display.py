"""What ``posetools demo`` shows at its end."""

from __future__ import annotations

from rich.table import Table

from posetools.cli.console import console, escape
from posetools.evaluation.scoring import PoseScores, pck_of
from posetools.recipes.budget import BOX_AP50, PCK, verdict
from posetools.workflow.demo import DemoResult


def print_result(result: DemoResult) -> None:
    """Print the numbers, the times, and what there is to look at."""
    out = console()
    table = Table("model", "on", "metric", "value", title="on pictures that training never saw")
    boxes = result.det.det.scores
    table.add_row("detector", "pictures", "AP50", _share(boxes.ap50))
    table.add_row("", "", "AP (0.5:0.95)", _share(boxes.ap))
    for boxes_are, part in result.pose.sides.items():
        _add_pose(table, "pose estimator" if part is result.pose.labelled else "", boxes_are, part.scores)
    out.print()
    out.print(table)
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items())
    out.print(f"{sum(result.seconds.values()) / 60:.1f} minutes: {times}")
    trained = " and ".join(f"{number} iterations ({stage})" for stage, number in result.iterations.items())
    out.print(f"trained from random weights for {trained}; a real training takes hours, not minutes")
    judged = {"det": (BOX_AP50, boxes.ap50), "pose": (PCK, pck_of(result.pose.labelled.scores))}
    for stage, plan in result.plans.items():
        if plan.enough:
            out.print(f"{stage}: {verdict(*judged[stage], result.iterations[stage], plan.enough)}", soft_wrap=True)
    out.print("\nlook at:")
    for path, what in result.files.items():
        out.print(f"  {escape(str(path))}  {escape(what)}")


def _add_pose(table: Table, model: str, where: str, scores: PoseScores) -> None:
    points = {subset: keypoints.overall.as_dict() for subset, keypoints in scores.points.items()}
    table.add_row(model, where, "PCK@0.1", _share(points["labelled"]["PCK@0.1"]))
    table.add_row("", "", "PCK@0.1, visible points", _share(points["visible"]["PCK@0.1"]))
    table.add_row("", "", "OKS AP", _share(scores.oks.ap))


def _share(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
