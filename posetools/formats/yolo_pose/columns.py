"""Which numbers of a YOLO-pose line are which keypoint: declared, never told by how many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posetools.core.findings import Finding
from posetools.core.skeleton import Skeleton
from posetools.errors import InputError, PosetoolsError, RequestError, must_be
from posetools.formats.joining.ordered import NameProblem, in_skeleton
from posetools.formats.labels import is_category
from posetools.formats.options import ReadOptions
from posetools.formats.yolo_pose.data_yaml import YoloSet


@dataclass(frozen=True, slots=True)
class LineColumns:
    """What a data set's lines are made of.

    Attributes:
        dims: numbers per point: 2 (x, y) or 3 (x, y, visibility).
        keypoints: for each point of a line its index in the skeleton, None for one left out on purpose.
        classes: class index -> name, or None when classes have no names.
    """

    dims: int
    keypoints: tuple[int | None, ...]
    classes: Mapping[int, str] | None

    @property
    def per_line(self) -> int:
        """How many numbers a line has."""
        return 5 + len(self.keypoints) * self.dims


def declare_columns(source: YoloSet, skeleton: Skeleton, options: ReadOptions, findings: list[Finding]) -> LineColumns:
    """Return the columns of a data set, by data.yaml and by the user's options.

    Args:
        source: the data set.
        skeleton: the skeleton.
        options: the user's options, which overrule data.yaml.
        findings: what data.yaml gets wrong and the options, or the names of the points, put right is added here.

    Raises:
        RequestError: what is missing must be given as an option, or an option contradicts data.yaml.
        InputError: data.yaml contradicts itself or the skeleton.
    """
    count, dims = _shape(source, options, findings)
    if dims == 2 and not options.assume_visible:
        raise RequestError(
            f"{source.where}: kpt_shape must be [{count}, 3] to hold visibility, got [{count}, 2]\n"
            "  --assume-visible takes every point as visible, and (0, 0) as not labeled"
        )
    classes = source.declared.names
    order = _order(source, skeleton, options, count)
    if len(order) != count:
        problem = must_be("the keypoints' names", f"{count}, as kpt_shape says", list(order))
        raise _refusal(source, options, problem, f"--kpt-order A,B,... names the {count} columns in their order")
    keypoints = in_skeleton(order, skeleton, options)
    if isinstance(keypoints, NameProblem):
        raise _refusal(source, options, *keypoints)
    _check_flips(source, skeleton, options, keypoints, findings)
    return LineColumns(dims, keypoints, classes)


def _shape(source: YoloSet, options: ReadOptions, findings: list[Finding]) -> tuple[int, int]:
    declared = source.declared.kpt_shape
    if declared is None and options.kpt_shape is None:
        raise RequestError(
            f"{source.where}: kpt_shape must be declared in data.yaml or given, got neither\n"
            "  --kpt-shape K,3 (or K,2) says how many points a line has and whether with visibility; "
            "--kpt-order says which they are"
        )
    if declared is not None and options.kpt_shape is not None and declared != options.kpt_shape:
        problem = must_be("kpt_shape", f"{list(options.kpt_shape)} as --kpt-shape says", list(declared))
        findings.append(Finding("W336", str(source.where), "kpt_shape", problem, "--kpt-shape is used"))
    shape = options.kpt_shape or declared or (0, 0)
    return shape[0], shape[1]


def _order(source: YoloSet, skeleton: Skeleton, options: ReadOptions, count: int) -> Sequence[str]:
    if options.kpt_order is not None:
        return options.kpt_order
    names = source.declared.keypoint_names()
    if names is not None:
        classes = source.declared.names or {0: skeleton.category.name}
        own = [names[index] for index in names if is_category(classes.get(index, ""), skeleton, options)]
        if not own or any(other != own[0] for other in own):
            problem = must_be("kpt_names", f"one list for the class {skeleton.category.name!r}", dict(names))
            raise InputError(source.where, "kpt_names", problem, hint="--kpt-order A,B,... says the order instead")
        return own[0]
    if count != skeleton.num_keypoints:
        raise RequestError(
            f"{source.where}: kpt_shape must be {skeleton.num_keypoints} points as skeleton {skeleton.name} has, "
            f"got {count}\n  --kpt-order A,B,... names the {count} points in the order of the columns; "
            "--skeleton FILE reads another skeleton"
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

    Exporters that know no left and right write the identity, which says nothing where the points have names; an order
    that the user states is right whatever flip_idx says.
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
            # The mirrored point is in no column, so that nothing can be said: what the file says is right.
            expected.append(got[column] if column < len(got) else column)
    if got == expected:
        return
    problem = must_be("flip_idx", f"{expected}, by the names and swaps of skeleton {skeleton.name}", got)
    identity = got == list(range(len(keypoints)))
    if options.kpt_order is not None or (identity and source.declared.kpt_names is not None):
        hint = "the skeleton's left/right pairs are used"
        findings.append(Finding("W336", str(source.where), "flip_idx", problem, hint))
        return
    order = ",".join(skeleton.names) if len(keypoints) == skeleton.num_keypoints else "A,B,..."
    hint = (
        f"--kpt-order {order} states the order of the columns (this one is the skeleton's); flip_idx is then not used"
    )
    if skeleton.flip_indices == tuple(range(skeleton.num_keypoints)):
        hint = (
            f"the skeleton has no left/right pairs: write `swap: NAME` in both of a pair, if these are any; else {hint}"
        )
    raise InputError(source.where, "flip_idx", problem, hint=hint)


def _refusal(source: YoloSet, options: ReadOptions, problem: str, hint: str) -> PosetoolsError:
    if options.kpt_order is not None:
        return RequestError(f"--kpt-order: {problem}\n  {hint}")
    return InputError(source.where, "kpt_names", problem, hint=hint)
