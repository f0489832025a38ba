"""Maps the numbers of a YOLO-pose line to keypoints: by declaration, never by their count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posetools.core.categories import Categories
from posetools.core.findings import Finding
from posetools.core.skeleton import Skeleton
from posetools.errors import InputError, PosetoolsError, RequestError, must_be
from posetools.formats.declared import made_order
from posetools.formats.joining.ordered import NameProblem, in_skeleton
from posetools.formats.labels import category_of
from posetools.formats.options import ReadOptions
from posetools.formats.yolo_pose.data_yaml import YoloSet
from posetools.formats.yolo_pose.declared import is_mirror


@dataclass(frozen=True, slots=True)
class LineColumns:
    """The parts of a data set's lines.

    Attributes:
        dims: numbers per point: 2 (x, y) or 3 (x, y, visibility).
        keypoints: for each point of a line, its index in the skeleton, or None if left out on purpose.
        classes: class index -> name, or None if classes have no names.
    """

    dims: int
    keypoints: tuple[int | None, ...]
    classes: Mapping[int, str] | None

    @property
    def per_line(self) -> int:
        """The number of values in a line."""
        return 5 + len(self.keypoints) * self.dims


def declare_columns(source: YoloSet, skeleton: Skeleton, options: ReadOptions, findings: list[Finding]) -> LineColumns:
    """Return the columns of a data set from data.yaml and the user's options.

    Args:
        source: the data set.
        skeleton: the skeleton.
        options: the user's options, which override data.yaml.
        findings: receives errors in data.yaml that the options or the points' names correct.

    Raises:
        RequestError: an option is required, or an option contradicts data.yaml.
        InputError: data.yaml contradicts itself or the skeleton.
    """
    count, dims = _shape(source, options, findings)
    if dims == 2 and not options.assume_visible:
        raise RequestError(
            f"{source.where}: kpt_shape must be [{count}, 3] to hold visibility, got [{count}, 2]",
            hint="--assume-visible reads every point as visible, and (0, 0) as not labeled",
        )
    classes = source.declared.names
    order = _order(source, skeleton, options, count)
    if len(order) != count:
        problem = must_be("the keypoints' names", f"{count}, as in kpt_shape", list(order))
        raise _refusal(source, options, problem, f"--kpt-order A,B,... names the {count} columns in their order")
    keypoints = in_skeleton(order, Categories.of(skeleton), options)
    if isinstance(keypoints, NameProblem):
        raise _refusal(source, options, *keypoints)
    _check_flips(source, skeleton, options, keypoints, findings)
    return LineColumns(dims, keypoints, classes)


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


def _order(source: YoloSet, skeleton: Skeleton, options: ReadOptions, count: int) -> Sequence[str]:
    if options.kpt_order is not None:
        return options.kpt_order
    names = source.declared.keypoint_names()
    if names is not None:
        classes = source.declared.names or {0: skeleton.category.name}
        own = [names[index] for index in names if category_of(classes.get(index, ""), Categories.of(skeleton), options)]
        if not own or any(other != own[0] for other in own):
            problem = must_be("kpt_names", f"one list for the class {skeleton.category.name!r}", dict(names))
            raise InputError(source.where, "kpt_names", problem, hint="--kpt-order A,B,... gives the order instead")
        return own[0]
    if made := made_order(count, skeleton, options):
        return made
    if count != skeleton.num_keypoints:
        raise RequestError(
            f"{source.where}: kpt_shape must be {skeleton.num_keypoints} points like skeleton {skeleton.name}, "
            f"got {count}",
            hint=(
                f"--kpt-order A,B,... names the {count} points in column order; --skeleton FILE sets another skeleton"
            ),
        )
    return skeleton.names


def _check_flips(
    source: YoloSet,
    skeleton: Skeleton,
    options: ReadOptions,
    keypoints: Sequence[int | None],
    findings: list[Finding],
) -> None:
    """Compare flip_idx with the skeleton: a difference means other points, another order, or a wrong flip_idx.

    Exporters that do not know left and right write each keypoint as its own partner, which means nothing if the points
    have names; neither do indices that no mirror gives. An order given by the user overrides flip_idx.
    """
    got = source.declared.flip_idx
    if got is None:
        return
    expected = []
    for column, keypoint in enumerate(keypoints):
        mirrored = None if keypoint is None else skeleton.flip_indices[keypoint]
        if mirrored is not None and mirrored in keypoints:
            expected.append(keypoints.index(mirrored))
        else:
            # The mirrored point has no column, so there is nothing to compare with.
            expected.append(got[column] if column < len(got) else column)
    if got == expected:
        return
    problem = must_be("flip_idx", f"{expected}, by the names and swaps of skeleton {skeleton.name}", got)
    own = range(len(keypoints))
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


def _refusal(source: YoloSet, options: ReadOptions, problem: str, hint: str) -> PosetoolsError:
    if options.kpt_order is not None:
        return RequestError(f"--kpt-order: {problem}", hint=hint)
    return InputError(source.where, "kpt_names", problem, hint=hint)
