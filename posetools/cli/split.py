"""``posetools split``: train and val anew, in a finished data set."""

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
    seed: Annotated[int, typer.Option(help="Another seed, another split; the same seed, the same split.")] = 0,
    split_by: Annotated[
        str | None,
        typer.Option(
            metavar="picture|parent|REGEX",
            help="What stays together: nothing, the images of a folder, or those whose names match a regular "
            "expression alike (its first group, or the whole match). Left out: clips, when the names look like "
            "frames of clips, else nothing.",
        ),
    ] = None,
    stratify: Annotated[
        Literal["size", "visibility"] | None,
        typer.Option(
            help="Share out evenly too: small, medium and large objects, or visible, hidden and unlabeled points. "
            "What belongs together stays together."
        ),
    ] = None,
) -> None:
    """Split the images of a finished data set into train and val anew.

    Rewrites train_coco.json and val_coco.json together (with --val 0 the first alone is left); images, unknown keys
    and ids stay as they are, and so does a test set.
    """
    from posetools.datasets.resplit import resplit

    result = resplit(data, val=val, seed=seed, by=split_by, stratify=stratify)
    notes = [f"{' and '.join(result.renumbered)} got new ids: theirs stood in both files"] if result.renumbered else []
    notes += [f"{name}: left as it is" for name in result.untouched]
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
    console().print(table_of(rows, "", "train", "val", "share of val"))
