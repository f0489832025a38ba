"""Open a pair from a run, from two configs with checkpoints, or from a bundle.

Prediction, evaluation, export and the demo all use this. As many errors as possible are reported before torch is
imported, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from posetools.core.categories import Categories, load_categories
from posetools.core.skeleton import Skeleton
from posetools.errors import PosetoolsError, RequestError
from posetools.mm.device import AUTO, check_device, resolve_device
from posetools.mm.inference import Detector, PoseEstimator
from posetools.mm.stack import prepare, require_train
from posetools.pairs.doubts import doubts_of_bundle, doubts_of_pair
from posetools.pairs.find import Named, Pair, categories_of_pair, named_pair
from posetools.pairs.trained import trainer_of
from posetools.runtime.bundle import Bundle
from posetools.runtime.manifest import AnyManifest, Manifest, OneStageManifest, Thresholds
from posetools.runtime.results import BBOX_THR, KPT_THR, NMS_THR, AnyDetector, AnyEstimator, label_of
from posetools.runtime.session import session_threads

DetectorT = TypeVar("DetectorT", bound=AnyDetector, covariant=True)
EstimatorT = TypeVar("EstimatorT", bound=AnyEstimator, covariant=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineOptions:
    """The options of a pair; None: the models' defaults.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        bbox_thr: boxes must have a higher score.
        nms_thr: a box is dropped if it overlaps one with a higher score by more than this IoU.
        kpt_thr: keypoints with a lower score are not drawn.
        det_cat_id: index or name of the class in the detector's ``classes``, of several categories the only one to
            detect; None: all categories, by their names.
        skeleton: a built-in name or a YAML file; None: the one the pose estimator was trained with.
        heatmaps: keep the heatmaps.
        flip_test: average with the output for the mirrored crop, at twice the time.
        amp: mixed precision, on a GPU.
        threads: of each network of a bundle on the CPU; None: onnxruntime decides, mostly one for each core.
    """

    device: str = AUTO
    bbox_thr: float | None = None
    nms_thr: float | None = None
    kpt_thr: float | None = None
    det_cat_id: int | str | None = None
    skeleton: str | Path | None = None
    heatmaps: bool = False
    flip_test: bool = False
    amp: bool = False
    threads: int | None = None

    def check(self) -> None:
        """Check the options as far as possible without torch.

        Raises:
            RequestError: the device is invalid.
            InputError: the skeleton cannot be read, or breaks a rule.
        """
        check_device(self.device)
        if self.skeleton is not None:
            load_categories(self.skeleton)

    def thresholds(self, own: Thresholds) -> Thresholds:
        """Return the thresholds: the user's, or else the pair's."""
        said = {"bbox_thr": self.bbox_thr, "nms_thr": self.nms_thr, "kpt_thr": self.kpt_thr}
        return own.model_copy(update={name: value for name, value in said.items() if value is not None})


DEFAULT_PIPELINE = PipelineOptions()
_DEFAULTS = Thresholds(bbox_thr=BBOX_THR, nms_thr=NMS_THR, kpt_thr=KPT_THR)


@dataclass(frozen=True, eq=False, slots=True)
class OpenPair(Generic[DetectorT, EstimatorT]):
    """A detector and its pose estimators, ready to run.

    Attributes:
        detector: predicts the boxes.
        estimators: predict the keypoints in them: one for each of ``categories.posed``, in its order.
        categories: of the objects, each with its skeleton; some may have boxes only.
        thresholds: for prediction.
        source: the detector's config, or the bundle: for messages.
        names: of the models in reports: the detector, and each pose estimator.
        doubts: a warning for each model whose AP was 0, or was never measured.
    """

    detector: DetectorT
    estimators: tuple[EstimatorT, ...]
    categories: Categories
    thresholds: Thresholds
    source: Path
    names: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def estimator(self) -> EstimatorT:
        """The only pose estimator.

        Raises:
            ValueError: there are several.
        """
        (only,) = self.estimators
        return only

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the only category.

        Raises:
            ValueError: there are several.
        """
        return self.categories.only


class RunOpener(Protocol):
    """Opens the runs of a trainer."""

    def open(
        self, run: Path, options: PipelineOptions, *, what: str, fast: bool = False
    ) -> OpenPair[AnyDetector, AnyEstimator]:
        """Open the best models of a run. A trainer with one model returns it as both detector and pose estimator.

        Args:
            run: the run's folder.
            options: the user's options.
            what: the command or function that needs the models, for messages.
            fast: for prediction: boxes below the threshold may be left out.

        Raises:
            MissingExtraError: a package is not installed.
            RequestError: the run has no checkpoint, or an option is not available.
            InputError: a file cannot be read.
        """


def open_pair(
    options: PipelineOptions = DEFAULT_PIPELINE,
    *,
    run: str | Path | None = None,
    bundle: str | Path | None = None,
    det: Named | None = None,
    pose: Named | Sequence[Named] | None = None,
    fast: bool = False,
    what: str = "open_pair",
) -> OpenPair[AnyDetector, AnyEstimator]:
    """Open the pair of a run, of a bundle, or of two configs.

    Args:
        options: the user's options.
        run: the folder with one detector's run and one pose estimator's.
        bundle: or a bundle of ``posetools export``, which needs neither torch nor OpenMMLab.
        det: or any MMDet detector ...
        pose: ... with any top-down MMPose model, or one for each skeleton.
        fast: for prediction: the same within float noise in less time, without the boxes below the threshold.
        what: the command or function that needs the pair, for messages.

    Raises:
        MissingExtraError: the ``train`` extra is not installed, or for a bundle the ``runtime`` extra.
        RequestError: not exactly one pair is given, ``run`` does not have one, a name or URL does not exist, or an
            option is not available.
        InputError: a file cannot be read, or config and checkpoint do not belong together.
    """
    if [run, bundle, det or pose].count(None) != 2 or (det is None) != (pose is None):
        raise RequestError(f"{what}: must have exactly one pair: a run, a bundle, or a detector and a pose estimator")
    if bundle is not None:
        return _open_bundle(Path(bundle), options, fast=fast)
    if det is None or pose is None:
        plugin = trainer_of(Path(run or ""))
        opener: RunOpener = plugin.load()
        with plugin.guarded("failed", PosetoolsError):
            return opener.open(Path(run or ""), options, what=what, fast=fast)
    require_train(what)
    options.check()
    return open_models(named_pair(det, pose, what), options, fast=fast, what=what)


def open_models(
    pair: Pair, options: PipelineOptions, *, what: str, fast: bool = False
) -> OpenPair[Detector, PoseEstimator]:
    """Open two OpenMMLab models, as ``open_pair`` does.

    Args:
        pair: their files.
        options: the user's options.
        what: the command or function that needs them, for messages.
        fast: for prediction.

    Raises:
        PosetoolsError: as ``open_pair``.
    """
    prepare(what)
    device, thresholds = resolve_device(options.device), options.thresholds(_DEFAULTS)
    score_thr = thresholds.bbox_thr if fast else 0.0
    det = pair.det
    detector = Detector(det.config, det.checkpoint, device, amp=options.amp, fast=fast, score_thr=score_thr)
    estimators = tuple(
        PoseEstimator(pose.config, pose.checkpoint, device, amp=options.amp, fast=fast, flip_test=options.flip_test)
        for pose in pair.poses
    )
    stored = categories_of_pair(pair, detector, estimators) if options.skeleton is None else None
    checkpoints = [model.checkpoint for model in (det, *pair.poses)]
    return _checked(
        OpenPair(
            detector,
            estimators,
            stored or load_categories(options.skeleton or ""),
            thresholds,
            det.config,
            tuple(map(str, checkpoints)),
            doubts_of_pair(*checkpoints),
        )
    )


def _checked(pair: OpenPair[DetectorT, EstimatorT]) -> OpenPair[DetectorT, EstimatorT]:
    """Refuse a pair of several categories whose detector lacks one."""
    if len(pair.categories) > 1:
        for skeleton in pair.categories.skeletons:
            label_of(pair.detector.classes, skeleton, pair.source)
    return pair


def _open_bundle(path: Path, options: PipelineOptions, *, fast: bool) -> OpenPair[AnyDetector, AnyEstimator]:
    if options.flip_test or options.amp:
        asked = "--flip-test" if options.flip_test else "--amp"
        raise RequestError(
            f"{asked}: cannot be combined with a bundle, which runs as exported",
            hint="export a smaller bundle with `posetools export --half`",
        )
    opened = Bundle.open(path)
    manifest = opened.manifest
    thresholds = options.thresholds(manifest.thresholds)
    with session_threads(options.threads):
        detector, *estimators = opened.models(options.device, score_thr=thresholds.bbox_thr if fast else None)
    return _checked(
        OpenPair(
            detector,
            tuple(estimators),
            manifest.categories if options.skeleton is None else load_categories(options.skeleton),
            thresholds,
            path,
            model_names(path, manifest),
            _doubts(path, manifest),
        )
    )


def model_names(path: Path, manifest: AnyManifest) -> tuple[str, ...]:
    """Return the names of a bundle's detector and of its pose estimators in reports."""
    files = [network.file for network in manifest.networks]
    if isinstance(manifest, OneStageManifest):
        skeletons = tuple(manifest.categories.posed)
        files += [f"{files[0]}, {name}" for name in skeletons] if len(skeletons) > 1 else files
    return tuple(f"{path}: {file}" for file in files)


def _doubts(path: Path, manifest: AnyManifest) -> tuple[str, ...]:
    if isinstance(manifest, OneStageManifest):
        return doubts_of_bundle(path, manifest.best_metrics)
    if isinstance(manifest, Manifest):
        return doubts_of_bundle(path, manifest.metrics)
    estimators = {f" for {', '.join(pose.categories)}": manifest.metrics_of(pose) for pose in manifest.poses}
    return doubts_of_bundle(path, manifest.metrics_of(manifest.det), estimators)
