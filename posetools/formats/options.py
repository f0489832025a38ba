"""What a user may say about a source of annotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from posetools.formats.wildcards import LabelNames, LabelSet
from posetools.progress import Progress, silent
from posetools.scale.shards import Engine

BoxFrom = Literal["annotation", "keypoints", "outlines"]
KeypointsFrom = Literal["annotation", "categories"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOptions:
    """What a user may say about a source. A format ignores what it has no use for, and its docs page says so.

    Attributes:
        image_roots: further folders in which images may lie; there they are found by the end of their path.
        names: label in the source -> name in the skeleton (a keypoint's or the category's); ``*`` and ``?`` in a label
            stand for any text and any character.
        ignore: labels that are left out on purpose, and counted; with ``*`` and ``?`` as in ``names``.
        categories: the labels of objects to take; objects of all others are left out on purpose, and counted. None: all
            labels must be known.
        one_object: every image shows one object: all points of an image are its keypoints.
        box_from: where a box comes from when the source has none: nowhere (a finding), or its labeled keypoints;
            ``outlines``: polygons with as many corners as the skeleton has keypoints are outlines too.
        box_margin: how far a box from keypoints reaches beyond them, as a share of its sides.
        box_margin_px: the same in pixels; both are added.
        label_pattern: labelme: a regular expression on labels with the groups ``name`` and, if wanted, ``instance``
            and ``visibility``.
        hidden: flags, description words or values of ``visibility`` that mean "labelled but hidden".
        kpt_shape: YOLO: (K, 2 or 3) when data.yaml does not declare it.
        kpt_order: the keypoints' names in the order in which the source has them, where it does not name them.
        keypoints_from: ``categories`` when each keypoint is an object of its own: a category in COCO, a box elsewhere,
            whose center it is.
        drop_crowds: COCO: leave groups of objects (``iscrowd``) out, and count them.
        encoding: of labelme files, and of file names in a zip file, that are not UTF-8.
        assume_visible: take every point without visibility, or with a score for it, as visible instead of refusing.
        attributes: VIA: role (label, object, visibility) -> the region attribute that holds it.
        new_split: train and val are split anew: what the source lists in both is read once.
        mapping: custom: the TOML file that says which column is what.
        trust_sizes: labelme, coco: take the images' sizes from the annotations, and open no image.
        need_images: whether the images must be there; with ``trust_sizes`` alone it may be otherwise.
        scratch: a folder for images that are inside other files (sources/scratch.py); None: such images
            cannot be read.
        workers: processes that read in parallel.
        engine: what runs the shards instead of such processes; None for those.
        progress: told how far it is.
    """

    image_roots: tuple[Path, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    categories: tuple[str, ...] | None = None
    one_object: bool = False
    box_from: BoxFrom = "annotation"
    box_margin: float = 0.1
    box_margin_px: float = 0.0
    label_pattern: str | None = None
    hidden: frozenset[str] = frozenset({"occluded", "hidden"})
    kpt_shape: tuple[int, int] | None = None
    kpt_order: tuple[str, ...] | None = None
    keypoints_from: KeypointsFrom = "annotation"
    drop_crowds: bool = False
    encoding: str | None = None
    assume_visible: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    new_split: bool = False
    mapping: Path | None = None
    trust_sizes: bool = False
    need_images: bool = True
    scratch: Path | None = None
    workers: int = 1
    engine: Engine | None = None
    progress: Progress = silent

    def __post_init__(self) -> None:
        if not isinstance(self.names, LabelNames):
            object.__setattr__(self, "names", LabelNames(self.names))
        if not isinstance(self.ignore, LabelSet):
            object.__setattr__(self, "ignore", LabelSet(self.ignore))
