"""A pair, opened: from a run, from two configs with their checkpoints, or from a bundle.

Everything that runs a pair gets it here: prediction, evaluation, export, the demo. What can be known to be wrong is
said before torch is imported, which takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from posetools.core.skeleton import Skeleton, load_skeleton
from posetools.errors import RequestError
from posetools.mm.device import AUTO, check_device, resolve_device
from posetools.mm.inference import Detector, PoseEstimator
from posetools.mm.stack import prepare, require_train
from posetools.pairs.doubts import doubts_of_bundle, doubts_of_pair
from posetools.pairs.find import Pair, named_pair, pair_of_run, skeleton_of_pair
from posetools.runtime.bundle import Bundle
from posetools.runtime.manifest import Thresholds
from posetools.runtime.results import BBOX_THR, KPT_THR, NMS_THR, AnyDetector, AnyEstimator

DetectorT = TypeVar("DetectorT", bound=AnyDetector, covariant=True)
EstimatorT = TypeVar("EstimatorT", bound=AnyEstimator, covariant=True)
# A config or the name of one that mmdet or mmpose carries, and its checkpoint or its URL.
Named: TypeAlias = tuple[str | Path, str | Path]


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineOptions:
    """What a user may say about a pair; None stands for the models' own.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        bbox_thr: boxes must have a higher score.
        nms_thr: a box goes when it overlaps a surer one by more than this IoU.
        kpt_thr: keypoints with a lower score are not drawn.
        det_cat_id: index of the class in the detector's ``classes``; None: the skeleton's category.
        skeleton: a built-in name or a YAML file; None: the one that the pose estimator was trained with.
        heatmaps: keep the heatmaps.
        flip_test: average with what the mirrored crop gives, at twice the time.
        amp: mixed precision, on a GPU.
    """

    device: str = AUTO
    bbox_thr: float | None = None
    nms_thr: float | None = None
    kpt_thr: float | None = None
    det_cat_id: int | None = None
    skeleton: str | Path | None = None
    heatmaps: bool = False
    flip_test: bool = False
    amp: bool = False

    def check(self) -> None:
        """Refuse what can be known to be wrong without torch.

        Raises:
            RequestError: there can be no such device.
            InputError: the skeleton cannot be read, or breaks a rule.
        """
        check_device(self.device)
        if self.skeleton is not None:
            load_skeleton(self.skeleton)

    def thresholds(self, own: Thresholds) -> Thresholds:
        """Return the thresholds, with the pair's own where the user says nothing."""
        said = {"bbox_thr": self.bbox_thr, "nms_thr": self.nms_thr, "kpt_thr": self.kpt_thr}
        return own.model_copy(update={name: value for name, value in said.items() if value is not None})


DEFAULT_PIPELINE = PipelineOptions()
_DEFAULTS = Thresholds(bbox_thr=BBOX_THR, nms_thr=NMS_THR, kpt_thr=KPT_THR)


@dataclass(frozen=True, eq=False, slots=True)
class OpenPair(Generic[DetectorT, EstimatorT]):
    """A detector and a pose estimator, ready to run.

    Attributes:
        detector: finds the boxes.
        estimator: finds the keypoints in them.
        skeleton: what the K keypoints are.
        thresholds: of prediction, where the user says nothing else.
        source: the detector's config, or the bundle: for messages.
        names: what the two are called in reports.
        doubts: a sentence for each model whose AP was 0, or that was never measured.
    """

    detector: DetectorT
    estimator: EstimatorT
    skeleton: Skeleton
    thresholds: Thresholds
    source: Path
    names: tuple[str, str]
    doubts: tuple[str, ...]


def open_pair(
    options: PipelineOptions = DEFAULT_PIPELINE,
    *,
    run: str | Path | None = None,
    bundle: str | Path | None = None,
    det: Named | None = None,
    pose: Named | None = None,
    fast: bool = False,
    what: str = "open_pair",
) -> OpenPair[AnyDetector, AnyEstimator]:
    """Open the pair of a run, of a bundle, or of two configs.

    Args:
        options: what else the user says.
        run: the folder with one detector's run and one pose estimator's.
        bundle: or a bundle of ``posetools export``, which needs neither torch nor OpenMMLab.
        det: or any MMDet detector ...
        pose: ... with any top-down MMPose model.
        fast: for prediction: the same up to float noise in less time, without the boxes below the threshold.
        what: the command or function that needs the pair, as messages name it.

    Raises:
        MissingExtraError: the ``train`` extra is not installed, or for a bundle the ``runtime`` extra.
        RequestError: not one pair is named, ``run`` does not hold one, a name or URL leads nowhere, or an option cannot
            be had.
        InputError: a file cannot be read, or config and checkpoint do not belong together.
    """
    if [run, bundle, det or pose].count(None) != 2 or (det is None) != (pose is None):
        raise RequestError(f"{what}: one pair must be named: a run, a bundle, or a detector and a pose estimator")
    if bundle is not None:
        return _open_bundle(Path(bundle), options, fast=fast)
    require_train(what)
    options.check()
    pair = named_pair(det, pose, what) if det and pose else pair_of_run(Path(run or ""))
    return open_models(pair, options, fast=fast, what=what)


def open_models(
    pair: Pair, options: PipelineOptions, *, what: str, fast: bool = False
) -> OpenPair[Detector, PoseEstimator]:
    """Open OpenMMLab's two models, as ``open_pair`` does.

    Args:
        pair: their files.
        options: what else the user says.
        what: the command or function that needs them, as messages name it.
        fast: for prediction.

    Raises:
        PosetoolsError: as ``open_pair``.
    """
    prepare(what)
    device, thresholds = resolve_device(options.device), options.thresholds(_DEFAULTS)
    score_thr = thresholds.bbox_thr if fast else 0.0
    det, pose = pair.det, pair.pose
    detector = Detector(det.config, det.checkpoint, device, amp=options.amp, fast=fast, score_thr=score_thr)
    estimator = PoseEstimator(
        pose.config, pose.checkpoint, device, amp=options.amp, fast=fast, flip_test=options.flip_test
    )
    if options.skeleton is None:
        skeleton = skeleton_of_pair(pair, estimator, detector.classes)
    else:
        skeleton = load_skeleton(options.skeleton)
    return OpenPair(
        detector,
        estimator,
        skeleton,
        thresholds,
        det.config,
        (str(det.checkpoint), str(pose.checkpoint)),
        doubts_of_pair(det.checkpoint, pose.checkpoint),
    )


def _open_bundle(path: Path, options: PipelineOptions, *, fast: bool) -> OpenPair[AnyDetector, AnyEstimator]:
    if options.flip_test or options.amp:
        asked = "--flip-test" if options.flip_test else "--amp"
        raise RequestError(
            f"{asked}: a bundle's models run as they were exported\n  `posetools export --half` makes a smaller one"
        )
    opened = Bundle.open(path)
    manifest = opened.manifest
    thresholds = options.thresholds(manifest.thresholds)
    return OpenPair(
        *opened.models(options.device, score_thr=thresholds.bbox_thr if fast else None),
        manifest.skeleton if options.skeleton is None else load_skeleton(options.skeleton),
        thresholds,
        path,
        (f"{path}: {manifest.det.file}", f"{path}: {manifest.pose.file}"),
        doubts_of_bundle(path, manifest.metrics),
    )
