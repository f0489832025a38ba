"""The options for reading annotations."""

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
    """The options for reading annotations. A format ignores those it does not use; its docs page says which.

    Attributes:
        image_roots: further folders with images, which are found there by the end of their path.
        names: label in the source -> name in the skeleton (a keypoint's or the category's); ``*`` and ``?`` in a label
            stand for any text and any character.
        ignore: labels that are left out on purpose, and counted; ``*`` and ``?`` as in ``names``.
        categories: the object labels to read; other objects are left out on purpose, and counted. None: all
                labels must be known.
        one_object: every image shows one object, and all points of an image are its keypoints.
        box_from: where a box comes from if the source has none: nowhere (a finding), or the labeled keypoints;
                ``outlines``: polygons with as many corners as the skeleton has keypoints count as outlines too.
        box_margin: how far a box from keypoints extends beyond them, as a fraction of its sides.
        box_margin_px: the same in pixels; both are added.
        label_pattern: labelme: a regular expression for labels with the group ``name`` and optionally ``instance``
            and ``visibility``.
        hidden: flags, description words or values of ``visibility`` that mean "labeled but not visible".
        kpt_shape: YOLO: (K, 2 or 3) if data.yaml does not declare it.
        kpt_order: the keypoints' names in the source's order, for sources without names.
        keypoints_from: ``categories`` if each keypoint is an object: a category in COCO, elsewhere a box with the
            keypoint at its center.
        drop_crowds: COCO: leave out crowds (``iscrowd``), and count them.
        encoding: of labelme files, and of file names in a zip file, if not UTF-8.
        assume_visible: read points without visibility, or with a score instead, as visible rather than refuse them.
        attributes: VIA: role (label, object, visibility) -> the region attribute that holds it.
        new_split: train and val are split again; an image that the source lists in both is read once.
        mapping: custom: the TOML file that maps the columns.
        trust_sizes: labelme, coco: take image sizes from the annotations, and open no image.
        need_images: whether the images must exist; only ``trust_sizes`` allows them to be missing.
        scratch: a folder for images that are embedded in other files (sources/scratch.py); None: they cannot be
            read.
        workers: processes that read in parallel.
        engine: what runs the shards instead of those processes; None for the processes.
        progress: receives progress.
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
