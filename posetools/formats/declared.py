"""What a source says of its own skeletons: names, links, pairs, before any object is read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeclaredCategory:
    """A category as a source declares it. ``posetools.core.skeleton_draft`` makes a skeleton of it.

    Attributes:
        name: the category's name.
        keypoints: the K names in the source's order; none for a category that has boxes only.
        where: the file that says so, and the place in it, for messages.
        id: its id in the source; None when the source has no ids.
        links: the lines between keypoints, as 0-based index pairs; None when the source cannot say.
        flip_idx: the K indices of the keypoints in a mirrored image; None when the source does not say.
        sigmas: the K constants of OKS; None when the source does not say.
        named: whether the source names its keypoints; if not, they are kpt_0, kpt_1, ...
    """

    name: str
    keypoints: tuple[str, ...]
    where: str
    id: int | None = None
    links: tuple[tuple[int, int], ...] | None = None
    flip_idx: tuple[int, ...] | None = None
    sigmas: tuple[float, ...] | None = None
    named: bool = True
