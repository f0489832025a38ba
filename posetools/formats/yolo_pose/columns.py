"""Maps the numbers of a YOLO-pose line to keypoints: by declaration, never by their count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posetools.core.categories import Categories
from posetools.core.findings import Finding
from posetools.core.skeleton import Skeleton
from posetools.errors import InputError, PosetoolsError, RequestError, must_be
from posetools.formats.declared import made_order
from posetools.formats.joining.ordered import NameProblem, Order, in_skeleton
from posetools.formats.labels import category_of
from posetools.formats.options import ReadOptions
from posetools.formats.yolo_pose.data_yaml import YoloSet
from posetools.formats.yolo_pose.declared import is_mirror


@dataclass(frozen=True, slots=True)
class LineColumns:
    """The parts of a data set's lines.

    Attributes:
        points: the number of points in a line.
        dims: numbers per point: 2 (x, y) or 3 (x, y, visibility).
        keypoints: category id -> for each point of a line, its column in the Dataset, or None if left out on purpose.
        classes: class index -> name, or None if classes have no names.
    """

    points: int
    dims: int
    keypoints: Mapping[int, Order]
    classes: Mapping[int, str] | None

    @property
    def per_line(self) -> int:
        """The number of values in a line."""
        return 5 + self.points * self.dims


def declare_columns(
    source: YoloSet, categories: Categories, options: ReadOptions, findings: list[Finding]
) -> LineColumns:
    """Return the columns of a data set from data.yaml and the user's options.

    Args:
        source: the data set.
        categories: what to read; of several, those without a class in data.yaml have no columns.
        options: the user's options, which override data.yaml.
        findings: receives errors in data.yaml that the options or the points' names correct.

    Raises:
        RequestError: an option is required, or an option contradicts data.yaml.
        InputError: data.yaml contradicts itself or a skeleton.
    """
    count, dims = _shape(source, options, findings)
    if dims == 2 and not options.assume_visible:
        raise RequestError(
            f"{source.where}: kpt_shape must be [{count}, 3] to hold visibility, got [{count}, 2]",
            hint="--assume-visible reads every point as visible, and (0, 0) as not labeled",
        )
    classes = source.declared.names
    there = {category_of(name, categories, options) for name in (classes or {}).values()}
    read = [number for number in categories if classes is None or len(categories) == 1 or number in there]
    keypoints = {number: _keypoints(source, categories, number, options, count) for number in read}
    for group in categories.groups:
        for number in [number for number in group if number in keypoints][:1]:
            _check_flips(source, categories, number, options, keypoints[number], findings)
    return LineColumns(count, dims, keypoints, classes)


def _keypoints(source: YoloSet, categories: Categories, number: int, options: ReadOptions, count: int) -> Order:
    """Return the columns of the points in the lines of a category."""
    order = _order(source, categories, number, options, count)
    if len(order) != count:
        problem = must_be("the keypoints' names", f"{count}, as in kpt_shape", list(order))
        raise _refusal(source, options, problem, f"--kpt-order A,B,... names the {count} columns in their order")
    keypoints = in_skeleton(order, categories, options)
    if isinstance(keypoints, NameProblem):
        raise _refusal(source, options, *keypoints)
    return keypoints


def _shape(source: YoloSet, options: ReadOptions, findings: list[Finding]) -> tuple[int, int]:
    declared = source.declared.kpt_shape
    if declared is None and options.kpt_shape is None:
        raise RequestError(
            f"{source.where}: kpt_shape must be declared in data.yaml or given, got neither",
            hint=(
                "--kpt-shape K,3 (or K,2) gives the number of points per line, with (or without) visibility; "
                "--kpt-order names them"
            ),
        )
    if declared is not None and options.kpt_shape is not None and declared != options.kpt_shape:
        problem = must_be("kpt_shape", f"{list(options.kpt_shape)} as in --kpt-shape", list(declared))
        findings.append(
            Finding("W336", str(source.where), "kpt_shape", problem, "correct kpt_shape: --kpt-shape is used")
        )
    shape = options.kpt_shape or declared or (0, 0)
    return shape[0], shape[1]


def _order(source: YoloSet, categories: Categories, number: int, options: ReadOptions, count: int) -> Sequence[str]:
    if options.kpt_order is not None:
        return options.kpt_order
    skeleton, is_only = categories[number], len(categories) == 1
    names = source.declared.keypoint_names()
    if names is not None:
        classes = source.declared.names or ({0: skeleton.category.name} if is_only else {})
        mapped = {index: category_of(classes.get(index, str(index)), categories, options) for index in names}
        own = [names[index] for index, category in mapped.items() if category == number]
        if not own or any(other != own[0] for other in own):
            problem = must_be("kpt_names", f"one list for the class {skeleton.category.name!r}", dict(names))
            raise InputError(source.where, "kpt_names", problem, hint="--kpt-order A,B,... gives the order instead")
        return own[0]
    if made := made_order(count, categories, options):
        return made
    # Other tools give each class its own points; a category of boxes has none.
    owners = [one for one in categories.skeletons if one is skeleton or not skeleton.keypoints]
    for order in (categories.names, *(one.names for one in owners)):
        if len(order) == count:
            return order
    raise RequestError(
        f"{source.where}: kpt_shape must be {skeleton.num_keypoints} points like skeleton {skeleton.name}, got {count}",
        hint=f"--kpt-order A,B,... names the {count} points in column order; --skeleton FILE sets another skeleton",
    )


def _check_flips(
    source: YoloSet,
    categories: Categories,
    number: int,
    options: ReadOptions,
    columns: Order,
    findings: list[Finding],
) -> None:
    """Compare flip_idx with a skeleton: a difference means other points, another order, or a wrong flip_idx.

    Exporters that do not know left and right write each keypoint as its own partner, which means nothing if the points
    have names; neither do indices that no mirror gives. An order given by the user overrides flip_idx.
    """
    got = source.declared.flip_idx
    if got is None:
        return
    skeleton, own = categories[number], range(len(columns))
    places = {column: keypoint for keypoint, column in enumerate(categories.columns[number].tolist())}
    keypoints = [None if column is None else places.get(column) for column in columns]
    expected = _expected(got, keypoints, skeleton)
    if got == expected:
        return
    problem = must_be("flip_idx", f"{expected}, by the names and swaps of skeleton {skeleton.name}", got)
    leaves_out = len(got) == len(own) and all(got[column] in (column, expected[column]) for column in own)
    named = source.declared.kpt_names is not None or made_order(len(keypoints), skeleton, options)
    if options.kpt_order is not None or ((leaves_out or not is_mirror(got, len(own))) and named):
        hint = "correct flip_idx: the skeleton's left/right pairs are used"
        findings.append(Finding("W336", str(source.where), "flip_idx", problem, hint))
        return
    order = ",".join(skeleton.names) if len(keypoints) == skeleton.num_keypoints else "A,B,..."
    hint = f"--kpt-order {order} gives the column order (here the skeleton's); flip_idx is then ignored"
    if skeleton.flip_indices == tuple(range(skeleton.num_keypoints)):
        hint = (
            f"the skeleton has no left/right pairs: add `swap: NAME` to both points of each pair, if any; else {hint}"
        )
    raise InputError(source.where, "flip_idx", problem, hint=hint)


def _expected(got: Sequence[int], keypoints: Sequence[int | None], skeleton: Skeleton) -> list[int]:
    """Return the flip_idx that a skeleton gives; columns without a mirrored point stay as they are."""
    expected = []
    for column, keypoint in enumerate(keypoints):
        mirrored = None if keypoint is None else skeleton.flip_indices[keypoint]
        if mirrored is not None and mirrored in keypoints:
            expected.append(keypoints.index(mirrored))
        else:
            # The mirrored point has no column, so there is nothing to compare with.
            expected.append(got[column] if column < len(got) else column)
    return expected


def _refusal(source: YoloSet, options: ReadOptions, problem: str, hint: str) -> PosetoolsError:
    if options.kpt_order is not None:
        return RequestError(f"--kpt-order: {problem}", hint=hint)
    return InputError(source.where, "kpt_names", problem, hint=hint)
