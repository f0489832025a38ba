"""``bundle.json``: the complete description of a bundle's ONNX files.

A bundle is a zip::

    bundle.json          this
    det.onnx             input (B, 3, h, w) -> dets (B, A, 4 + C)
    pose.onnx            input (B, 3, h, w) -> simcc_x (B, K, w * split_ratio), simcc_y (B, K, h * split_ratio)
    samples/*.png        a few images; ``samples`` has their expected output

Both inputs are float32, channels blue, green, red, each less ``mean`` and divided by ``std``; B is free. ``dets`` has a
row for each of the A anchor points: a box x1, y1, x2, y2 in pixels of the network's input, then a score (0 to 1) for
each of the C classes. Thresholds and NMS come after it. ``w * split_ratio`` is rounded to the nearest whole number.

For objects of one category the manifest is a ``Manifest``, version 1 of the layout. For several it is a
``CategoriesManifest``, version 2: the categories, each with its skeleton, are in ``skeletons``, and ``poses`` has a
network for each different skeleton, such as ``pose-cone.onnx``. Each skeleton's category is one of the C classes.

A ``OneStageManifest``, version 3, has one network for boxes and keypoints, of any number of categories::

    model.onnx           input (1, 3, h, w), boxes (M, 4) -> dets (D, 6), heatmaps (D + M, K, s, s)

``boxes`` are x1, y1, x2, y2 in pixels of the input, and may be none. ``dets`` has the D detected boxes after NMS, by
descending score: a box, its score (0 to 1) and its class. ``heatmaps`` has the K heatmaps of each detected box, then of
each box in ``boxes``, as logits of s x s equal cells of the box; K is the number of different keypoint names.

The zip has exactly the files that the manifest lists. Building a ``Manifest``, to read or to write a bundle, checks the
shape of each field and that the parts fit together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from posetools.core.categories import Categories
from posetools.core.skeleton import Name, Skeleton
from posetools.errors import as_message

# Versions with the bug in averages of weights (posetools.mm.averages).
_BROKE_AVERAGES = "posetools 0.1."

MANIFEST = "bundle.json"
SAMPLES = "samples"

# A name in the zip: letters, digits, dot, dash, underscore; at most one folder deep.
MEMBER_PATTERN = r"([A-Za-z0-9_-]+/)?[A-Za-z0-9_-][A-Za-z0-9._-]*"
MEMBER_LENGTH = 200
MemberName = Annotated[str, StringConstraints(pattern=f"^{MEMBER_PATTERN}$", max_length=MEMBER_LENGTH)]
Fraction = Annotated[float, Field(ge=0, le=1)]
InputSide = Annotated[int, Field(ge=8, le=8192)]
Triple = tuple[float, float, float]
Scale = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
Precision = Literal["float32", "float16", "int8"]


class _ManifestPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Network(_ManifestPart):
    """One ONNX file and its input.

    Attributes:
        file: its name in the zip.
        sha256: of the file, hexadecimal.
        input_size: (width, height) in pixels.
        mean: of each channel (blue, green, red), subtracted.
        std: of each channel, divided by.
    """

    file: MemberName
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    input_size: tuple[InputSide, InputSide]
    mean: Triple
    std: Scale


class FittedNetwork(Network):
    """A network for whole images: scaled into the input, keeping the aspect ratio, and padded right and below.

    Attributes:
        classes: the C names.
        pad_value: value of the padding, before normalization (blue, green, red).
    """

    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    pad_value: Triple


class OneStageNetwork(FittedNetwork):
    """One network for boxes and keypoints.

    Attributes:
        num_keypoints: K.
        heatmap_side: s.
    """

    num_keypoints: Annotated[int, Field(ge=1, le=1000)]
    heatmap_side: Annotated[int, Field(ge=4, le=1024)]


class DetNetwork(FittedNetwork):
    """The detector.

    Attributes:
        score_thr: lower scores are dropped before NMS.
        iou_threshold: of NMS within a class.
        max_per_img: boxes kept after NMS.
    """

    score_thr: Fraction
    iou_threshold: Fraction
    max_per_img: Annotated[int, Field(ge=1)]


class PoseNetwork(Network):
    """The pose estimator: each box, made ``padding`` times larger, is warped into the input.

    Attributes:
        num_keypoints: K.
        split_ratio: bins of SimCC per pixel of the input.
        padding: factor on the box.
    """

    num_keypoints: Annotated[int, Field(ge=1, le=1000)]
    split_ratio: Annotated[float, Field(ge=0.25, le=16)]
    padding: Annotated[float, Field(gt=0)]

    @property
    def bins(self) -> tuple[int, int]:
        """Number of SimCC bins in x and y."""
        return round(self.input_size[0] * self.split_ratio), round(self.input_size[1] * self.split_ratio)


class SkeletonNetwork(PoseNetwork):
    """The pose estimator of one skeleton, of several.

    Attributes:
        categories: the names of the categories with this skeleton.
        metrics: that training recorded for it, with the evaluation's names.
    """

    categories: tuple[Name, ...]
    metrics: dict[str, float | None] = {}


class Thresholds(_ManifestPart):
    """Default thresholds of prediction; as in MMPose's top-down demo."""

    bbox_thr: Fraction
    nms_thr: Fraction
    kpt_thr: Annotated[float, Field(ge=0)]


class Sample(_ManifestPart):
    """An image in the zip and its expected output: N objects, K keypoints, by descending score."""

    file: MemberName
    boxes: tuple[tuple[float, float, float, float], ...]
    scores: tuple[float, ...]
    keypoints: tuple[tuple[tuple[float, float], ...], ...]
    keypoint_scores: tuple[tuple[float, ...], ...]

    def check(self, place: str, num_keypoints: Sequence[int]) -> None:
        """Refuse lists of different lengths.

        Args:
            place: of the sample, for messages.
            num_keypoints: (N,) K of each object.

        Raises:
            ValueError: a list does not have N entries, or an object's list not K.
        """
        lists = {"scores": self.scores, "keypoints": self.keypoints, "keypoint_scores": self.keypoint_scores}
        for name, values in lists.items():
            if len(values) != len(self.boxes):
                raise ValueError(f"{place}.{name} must be {len(self.boxes)} long, as boxes is, got {len(values)}")
        for name, rows in (("keypoints", self.keypoints), ("keypoint_scores", self.keypoint_scores)):
            for i, (row, k) in enumerate(zip(rows, num_keypoints, strict=True)):
                if len(row) != k:
                    raise ValueError(f"{place}.{name}[{i}] must be {k} long, one per keypoint, got {len(row)}")


class CategoriesSample(Sample):
    """A sample with objects of several categories; each object has its own category's K keypoints.

    Attributes:
        categories: (N,) the name of each object's category.
    """

    categories: tuple[Name, ...]

    def check_all(self, place: str, known: Categories) -> None:
        """Refuse lists of different lengths, and unknown categories.

        Raises:
            ValueError: as ``check``, or a category is not one of ``known``.
        """
        if len(self.categories) != len(self.boxes):
            got = len(self.categories)
            raise ValueError(f"{place}.categories must be {len(self.boxes)} long, as boxes is, got {got}")
        for i, name in enumerate(self.categories):
            if name not in known.ids:
                raise ValueError(f"{place}.categories[{i}] must be {known.told}, got {name!r}")
        self.check(place, [known[known.ids[name]].num_keypoints for name in self.categories])


class _AnyManifest(_ManifestPart):
    """What all versions have.

    Attributes:
        made_by: posetools and the versions that exported it.
        precision: of the weights in the ONNX files.
        thresholds: the defaults of prediction.
        metrics: of these models, with the evaluation's names; empty if not measured.
        samples: expected outputs.
    """

    made_by: str
    precision: Precision
    thresholds: Thresholds
    metrics: dict[str, float | None] = {}
    samples: tuple[Sample, ...] = ()

    @property
    def doubt(self) -> str:
        """A warning about the version that exported it, or ""."""
        if not self.made_by.startswith(_BROKE_AVERAGES):
            return ""
        return as_message(
            "was exported by posetools 0.1, which broke the averaged weights of runs on a CPU: the networks may have "
            "untrained convolutions",
            hint="run `posetools rescue RUN` to check and repair its run, then export it again",
        )

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks; each version has its own."""
        raise NotImplementedError

    @property
    def members(self) -> tuple[str, ...]:
        """The names of all files in the zip, the manifest first."""
        files = (network.file for network in self.networks)
        return (MANIFEST, *files, *(sample.file for sample in self.samples))

    @model_serializer(mode="wrap")
    def _in_order(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = handler(self)
        return {key: document[key] for key in _KEY_ORDER if key in document}


class _PairManifest(_AnyManifest):
    """What the versions with a detector have.

    Attributes:
        det: the detector.
    """

    det: DetNetwork


# The keys of the file, of all versions, in its order.
_KEY_ORDER = (
    *("posetools_bundle", "made_by", "precision", "skeleton", "skeletons"),
    *("network", "det", "pose", "poses", "thresholds", "metrics", "samples"),
)


class Manifest(_PairManifest):
    """The whole of ``bundle.json`` for one category.

    Attributes:
        posetools_bundle: version of this layout.
        skeleton: the K keypoints.
        pose: the pose estimator.
    """

    posetools_bundle: Literal[1] = 1
    skeleton: Skeleton
    pose: PoseNetwork

    @property
    def categories(self) -> Categories:
        """The one category."""
        return Categories.of(self.skeleton)

    @property
    def poses(self) -> tuple[PoseNetwork, ...]:
        """The one pose estimator."""
        return (self.pose,)

    @property
    def networks(self) -> tuple[DetNetwork, PoseNetwork]:
        """Both networks."""
        return self.det, self.pose

    @model_validator(mode="after")
    def _check(self) -> Manifest:
        _check_unique(self.members)
        if self.pose.num_keypoints != self.skeleton.num_keypoints:
            raise ValueError(
                f"pose.num_keypoints must be {self.skeleton.num_keypoints} as in the skeleton, "
                f"got {self.pose.num_keypoints}"
            )
        for i, sample in enumerate(self.samples):
            sample.check(f"samples[{i}]", [self.pose.num_keypoints] * len(sample.boxes))
        return self


class CategoriesManifest(_PairManifest):
    """The whole of ``bundle.json`` for several categories.

    Attributes:
        posetools_bundle: version of this layout.
        skeletons: the categories, each with its skeleton.
        poses: a pose estimator for each different skeleton with keypoints, in the order of ``skeletons``.
        metrics: those that training recorded for the detector, and those of each category, such as ``cone/bbox/AP``.
        samples: expected outputs.
    """

    posetools_bundle: Literal[2] = 2
    skeletons: Annotated[tuple[Skeleton, ...], Field(min_length=2)]
    poses: Annotated[tuple[SkeletonNetwork, ...], Field(min_length=1)]
    samples: tuple[CategoriesSample, ...] = ()

    @cached_property
    def categories(self) -> Categories:
        """The categories, each with its skeleton."""
        return Categories(self.skeletons)

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the only category.

        Raises:
            ValueError: there are several.
        """
        return self.categories.only

    @property
    def pose(self) -> PoseNetwork:
        """The only pose estimator.

        Raises:
            ValueError: there are several.
        """
        (only,) = self.poses
        return only

    def metrics_of(self, network: DetNetwork | SkeletonNetwork) -> dict[str, float | None]:
        """Return the metrics of one of the networks by their names for one category: the best of its categories."""
        names = network.categories if isinstance(network, SkeletonNetwork) else tuple(self.categories.ids)
        own = network.metrics if isinstance(network, SkeletonNetwork) else self.metrics
        return _best_of(self.metrics, names, own)

    @property
    def networks(self) -> tuple[DetNetwork, *tuple[PoseNetwork, ...]]:
        """The detector and the pose estimators."""
        return self.det, *self.poses

    @model_validator(mode="after")
    def _check(self) -> CategoriesManifest:
        _check_unique(self.members)
        categories = self.categories
        groups = [tuple(group.ids) for group in categories.posed.values()]
        if [network.categories for network in self.poses] != groups:
            shown = " and ".join(", ".join(group) for group in groups)
            raise ValueError(f"poses must be a network for each skeleton with keypoints, of {shown}, in this order")
        for i, network in enumerate(self.poses):
            k = categories[categories.ids[network.categories[0]]].num_keypoints
            if network.num_keypoints != k:
                raise ValueError(
                    f"poses[{i}].num_keypoints must be {k} as in the skeleton, got {network.num_keypoints}"
                )
        for name in categories.ids:
            if name not in self.det.classes:
                raise ValueError(f"det.classes must have all categories, got no {name!r}")
        for i, sample in enumerate(self.samples):
            sample.check_all(f"samples[{i}]", categories)
        return self


class OneStageManifest(_AnyManifest):
    """The whole of ``bundle.json`` for one network that detects boxes and estimates their keypoints.

    Attributes:
        posetools_bundle: version of this layout.
        skeletons: the categories, each with its skeleton; the network's classes, in their order.
        network: the network.
        metrics: with several categories those of each, such as ``cone/bbox/AP``.
        samples: expected outputs.
    """

    posetools_bundle: Literal[3] = 3
    skeletons: Annotated[tuple[Skeleton, ...], Field(min_length=1)]
    network: OneStageNetwork
    samples: tuple[CategoriesSample, ...] = ()

    @cached_property
    def categories(self) -> Categories:
        """The categories, each with its skeleton."""
        return Categories(self.skeletons)

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the only category.

        Raises:
            ValueError: there are several.
        """
        return self.categories.only

    @property
    def best_metrics(self) -> dict[str, float | None]:
        """The metrics by their names for one category: the best of all categories."""
        return self.metrics if len(self.skeletons) == 1 else _best_of(self.metrics, tuple(self.categories.ids), {})

    @property
    def networks(self) -> tuple[OneStageNetwork]:
        """The network."""
        return (self.network,)

    @model_validator(mode="after")
    def _check(self) -> OneStageManifest:
        _check_unique(self.members)
        names, k = tuple(self.categories.ids), self.categories.num_keypoints
        if self.network.classes != names:
            raise ValueError(f"network.classes must be the categories, {', '.join(names)}, got {self.network.classes}")
        if self.network.num_keypoints != k:
            raise ValueError(f"network.num_keypoints must be {k} as in skeletons, got {self.network.num_keypoints}")
        for i, sample in enumerate(self.samples):
            sample.check_all(f"samples[{i}]", self.categories)
        return self


PairManifest: TypeAlias = Manifest | CategoriesManifest
AnyManifest: TypeAlias = PairManifest | OneStageManifest


def _best_of(
    metrics: Mapping[str, float | None], categories: Sequence[str], own: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Return the best of some categories' metrics, such as ``cone/bbox/AP``, and of ``own``, without the category."""
    found = dict(own)
    for key, value in metrics.items():
        for name in (key.removeprefix(f"{category}/") for category in categories if key.startswith(f"{category}/")):
            found[name] = max((each for each in (found.get(name), value) if each is not None), default=None)
    return found


def _check_unique(members: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in members:
        if name.lower() in seen:
            raise ValueError(f"file must be unique, got {name!r} twice")
        seen.add(name.lower())
