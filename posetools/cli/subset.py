"""``posetools subset``: writes part of a data set as a new data set."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from posetools.cli.console import console, folds_left_out, print_counts, print_findings, print_next, progress
from posetools.cli.options import Data, Images, Out, Overwrite, SkeletonOfData, code_of, comma_separated, pairs

if TYPE_CHECKING:
    from posetools.datasets.subset import SubsetRequest, SubsetResult

_choice = partial(typer.Option, rich_help_panel="Conditions")

Split = Annotated[
    list[str] | None, _choice(metavar="NAME", help="Only this split, such as train. Repeatable.", show_default="all")
]
Finding = Annotated[
    list[str] | None,
    _choice(metavar="CODE", help="Only images with this finding of `posetools validate`. Repeatable."),
]
Without = Annotated[list[str] | None, _choice(metavar="CODE", help="Only images without this finding. Repeatable.")]
Names = Annotated[
    str | None,
    _choice(
        metavar="FILE|PATTERN",
        help="Only these images: a file with one path per line, relative to images/, or a pattern such as 'night/*'.",
    ),
]
MinSize = Annotated[
    float | None, _choice(metavar="PX", help="Only images with an object whose longer side is at least PX pixels.")
]
MaxSize = Annotated[
    float | None,
    _choice(
        metavar="PX",
        help="Only images with an object whose longer side is at most PX pixels. One object must meet both limits.",
    ),
]
Size = Annotated[
    Literal["small", "medium", "large"] | None,
    _choice(help="Only images with an object of this COCO size: area below 32x32 pixels, below 96x96, or larger."),
]
Limit = Annotated[int | None, _choice(metavar="N", min=1, help="At most N images, randomly selected.")]
Seed = Annotated[int, _choice(help="Random seed of --limit.")]
Objects = Annotated[
    bool,
    _choice(
        "--objects",
        help="Also drop single objects that do not match the size or finding conditions.",
    ),
]
_edit = partial(typer.Option, rich_help_panel="Categories and keypoints")

Categories = Annotated[
    str | None, _edit(metavar="A,B,...", help="Only objects of these categories, in this order.", show_default="all")
]
Keypoints = Annotated[
    str | None,
    _edit(
        metavar="A,B,...",
        help="Only these keypoints, in this order. CATEGORY.KEYPOINT is the keypoint of one category. Categories with "
        "none of them keep theirs.",
        show_default="all",
    ),
]
Map = Annotated[
    list[str] | None,
    _edit(
        "--map",
        metavar="OLD=NEW",
        help="Rename a category, a keypoint, or a category's CATEGORY.KEYPOINT. Categories with one name become one. "
        "--categories and --keypoints take the new names. Repeatable.",
    ),
]


def subset(
    data: Data,
    out: Out,
    split: Split = None,
    finding: Finding = None,
    without_finding: Without = None,
    names: Names = None,
    min_size: MinSize = None,
    max_size: MaxSize = None,
    size: Size = None,
    limit: Limit = None,
    seed: Seed = 0,
    objects: Objects = False,
    categories: Categories = None,
    keypoints: Keypoints = None,
    names_map: Map = None,
    skeleton: SkeletonOfData = None,
    images: Images = "copy",
    overwrite: Overwrite = False,
) -> None:
    """Write part of a data set as a new data set: the images that match all conditions.

    The images stay in their splits. --map, --keypoints and --categories rename, merge, drop and reorder keypoints and
    categories; the skeleton follows.

    Exit status: 0 written; 2 could not run, or no image matches.
    """
    from dataclasses import replace

    from posetools.datasets.subset import SubsetRequest, subset

    request = SubsetRequest(data=data, out=out, splits=tuple(split or ()), names=names, skeleton=skeleton)
    request = replace(request, findings=frozenset(map(code_of, finding or ())))
    request = replace(request, without=frozenset(map(code_of, without_finding or ())))
    request = replace(request, min_size=min_size, max_size=max_size, size_class=size, objects=objects)
    request = replace(request, limit=limit, seed=seed, images=images, overwrite=overwrite)
    request = replace(
        request,
        renamed=pairs(names_map or ()),
        keypoints=comma_separated("--keypoints", keypoints),
        categories=comma_separated("--categories", categories),
    )
    folds = folds_left_out(out, [data])
    with progress() as report:
        result = subset(request, report)
    _print(result, request, folds)


def _print(result: SubsetResult, request: SubsetRequest, folds: Sequence[str]) -> None:
    from posetools.core.record import count

    print_findings(result.findings, console())
    counts = {split: count(dataset) for split, dataset in result.datasets.items()}
    kept = []
    for split, each in counts.items():
        images, objects = result.before[split]
        kept.append(f"{split}: kept {each.images} of {images} images, {each.instances} of {objects} objects")
    print_counts(counts, f"split: as in {request.data}", [*kept, *result.notes, *folds, f"wrote {request.out}"])
    print_next(request.out, counts)
