"""``bundle.json``: the complete description of a bundle's two ONNX files.

A bundle is a zip::

    bundle.json          this
    det.onnx             input (B, 3, h, w) -> dets (B, A, 4 + C)
    pose.onnx            input (B, 3, h, w) -> simcc_x (B, K, w * split_ratio), simcc_y (B, K, h * split_ratio)
    samples/*.png        a few images; ``samples`` has their expected output

Both inputs are float32, channels blue, green, red, each less ``mean`` and divided by ``std``; B is free. ``dets`` has a
row for each of the A anchor points: a box x1, y1, x2, y2 in pixels of the network's input, then a score (0 to 1) for
each of the C classes. Thresholds and NMS come after it. ``w * split_ratio`` is rounded to the nearest whole number.

The zip has exactly the files that the manifest lists. Building a ``Manifest``, to read or to write a bundle, checks the
shape of each field and that the parts fit together.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from posetools.core.skeleton import Skeleton
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


class DetNetwork(Network):
    """The detector: the image is scaled into the input, keeping its aspect ratio, and padded right and below.

    Attributes:
        classes: the C names.
        pad_value: value of the padding, before normalization (blue, green, red).
        score_thr: lower scores are dropped before NMS.
        iou_threshold: of NMS within a class.
        max_per_img: boxes kept after NMS.
    """

    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    pad_value: Triple
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

    def check(self, place: str, num_keypoints: int) -> None:
        """Refuse lists of different lengths.

        Raises:
            ValueError: a list does not have N entries, or an object's list not K.
        """
        lists = {"scores": self.scores, "keypoints": self.keypoints, "keypoint_scores": self.keypoint_scores}
        for name, values in lists.items():
            if len(values) != len(self.boxes):
                raise ValueError(f"{place}.{name} must be {len(self.boxes)} long, as boxes is, got {len(values)}")
        for name, rows in (("keypoints", self.keypoints), ("keypoint_scores", self.keypoint_scores)):
            for i, row in enumerate(rows):
                if len(row) != num_keypoints:
                    raise ValueError(
                        f"{place}.{name}[{i}] must be {num_keypoints} long, one per keypoint, got {len(row)}"
                    )


class Manifest(_ManifestPart):
    """The whole of ``bundle.json``.

    Attributes:
        posetools_bundle: version of this layout.
        made_by: posetools and the versions that exported it.
        precision: of the weights in the ONNX files.
        skeleton: the K keypoints.
        det: the detector.
        pose: the pose estimator.
        thresholds: the defaults of prediction.
        metrics: of this pair, with the evaluation's names; empty if not measured.
        samples: expected outputs.
    """

    posetools_bundle: Literal[1] = 1
    made_by: str
    precision: Precision
    skeleton: Skeleton
    det: DetNetwork
    pose: PoseNetwork
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
    def networks(self) -> tuple[DetNetwork, PoseNetwork]:
        """Both networks."""
        return self.det, self.pose

    @property
    def members(self) -> tuple[str, ...]:
        """The names of all files in the zip, the manifest first."""
        return (MANIFEST, self.det.file, self.pose.file, *(sample.file for sample in self.samples))

    @model_validator(mode="after")
    def _check(self) -> Manifest:
        seen: set[str] = set()
        for name in self.members:
            if name.lower() in seen:
                raise ValueError(f"file must be unique, got {name!r} twice")
            seen.add(name.lower())
        if self.pose.num_keypoints != self.skeleton.num_keypoints:
            raise ValueError(
                f"pose.num_keypoints must be {self.skeleton.num_keypoints} as in the skeleton, "
                f"got {self.pose.num_keypoints}"
            )
        for i, sample in enumerate(self.samples):
            sample.check(f"samples[{i}]", self.pose.num_keypoints)
        return self
