"""``posetools split``: splits a data set into train and val again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from posetools.cli.console import console, print_counts, print_next, table_of
from posetools.cli.options import Data

if TYPE_CHECKING:
    from posetools.datasets.resplit import ResplitResult


def split(
    data: Data,
    val: Annotated[float, typer.Option(help="Fraction of images for validation; 0: all for training.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Random seed of the split.")] = 0,
    split_by: Annotated[
        str | None,
        typer.Option(
            metavar="image|parent|REGEX",
            help="Images to keep in the same split. image: each on its own; parent: those of a folder; REGEX: those "
            "with the same first group, or the same match, in their names.",
            show_default="the frames of a clip, if names look like frames; else image",
        ),
    ] = None,
    stratify: Annotated[
        Literal["size", "visibility", "category"] | None,
        typer.Option(
            help="Also balance the splits by object size (small, medium, large), keypoint visibility (visible, "
            "occluded, unlabeled) or category. Groups of --split-by stay together."
        ),
    ] = None,
) -> None:
    """Split the images of a data set into train and val again.

    Rewrites train_coco.json and val_coco.json together; with --val 0 only train_coco.json is left. Images, unknown
    keys, ids and a test split do not change.
    """
    from posetools.datasets.resplit import resplit

    result = resplit(data, val=val, seed=seed, by=split_by, stratify=stratify)
    notes = (
        [f"{' and '.join(result.renumbered)} got new ids: both files used the same ones"] if result.renumbered else []
    )
    notes += [f"{name}: not changed" for name in result.untouched]
    notes += ["an interrupted split was finished first"] if result.finished else []
    notes += [f"warning: {each}" for each in result.plan.warnings]
    print_counts(result.counts, f"split: {result.plan.reason}", notes)
    if result.strata and "val" in result.counts:
        _print_strata(result)
    print_next(data, result.counts)


def _print_strata(result: ResplitResult) -> None:
    images = {split: each.images for split, each in result.counts.items()}
    rows = [
        (name, str(total - in_val), str(in_val), f"{100 * in_val / total:.1f} %")
        for name, (total, in_val) in {"images": (sum(images.values()), images["val"]), **result.strata}.items()
    ]
    console().print(table_of(rows, "", "train", "val", "val fraction"))
