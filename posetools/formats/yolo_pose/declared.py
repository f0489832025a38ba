"""What a YOLO-pose data set declares in its data.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from posetools.core.skeleton_pairs import swaps
from posetools.formats.declared import DeclaredCategory, made_names, with_options
from posetools.formats.options import ReadOptions
from posetools.formats.yolo_pose.data_yaml import YoloSet
from posetools.formats.yolo_pose.layout import open_source


def declared(sources: Sequence[Path], options: ReadOptions) -> tuple[DeclaredCategory, ...]:
    """Return the classes of YOLO-pose folders, or of data.yaml files; those with the same content once.

    Keypoints without names are named kpt_0, kpt_1, ..., or as --kpt-order says.

    Raises:
        RequestError: there is no such folder or file.
        InputError: data.yaml cannot be read or breaks a rule.
    """
    found: dict[tuple[object, ...], DeclaredCategory] = {}
    for each in (each for path in sources for each in _classes(open_source(path), options)):
        category = with_options(each, options)
        if category is not None:
            found.setdefault((category.name, category.keypoints, category.flip_idx), category)
    return tuple(found.values())


def _classes(source: YoloSet, options: ReadOptions) -> Iterator[DeclaredCategory]:
    shape = options.kpt_shape or source.declared.kpt_shape
    if shape is None:
        # Reading the labels asks for it.
        return
    names = source.declared.keypoint_names() or {}
    for index, name in (source.declared.names or {0: ""}).items():
        own = options.kpt_order or names.get(index)
        points = tuple(own or made_names(shape[0]))
        flip = source.declared.flip_idx
        if options.kpt_order is not None and swaps(points):
            # An order that the user gives overrides flip_idx.
            flip = None
        flip_idx = tuple(flip) if flip is not None and is_mirror(flip, len(points)) else None
        yield DeclaredCategory(
            name, points, f"{source.where}: names[{index}]", flip_idx=flip_idx, named=own is not None
        )


def is_mirror(flip_idx: Sequence[int], number: int) -> bool:
    """Return whether indices can be those of the keypoints in a mirrored image: mirrored twice, all are back."""
    return sorted(flip_idx) == list(range(number)) and all(flip_idx[at] == i for i, at in enumerate(flip_idx))
