"""Find the two models of a pair and their files: in a folder of runs, or as given by the user.

A config is a file or the name of a config in mmdet or mmpose (``faster-rcnn_r50_fpn_1x_coco``); weights are a file or a
URL. Only URLs are downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import ValidationError

from posetools.core.categories import Categories, parse_categories, read_categories
from posetools.core.folder import SPLITS, fold_split, folds_of, splits_of
from posetools.core.skeleton import BUILT_IN, load_skeleton
from posetools.core.stages import Stage, models_of
from posetools.errors import InputError, RequestError, from_validation
from posetools.files.disk import read_json, read_text
from posetools.mm.configs import SCOPES, config_of_run, load_config, scope_in
from posetools.mm.metainfo import names_of, skeleton_of_metainfo
from posetools.mm.run_folder import SKELETON, best_in, last_in
from posetools.mm.run_log import METRICS, parse_best
from posetools.mm.stack import prepare, require_train

if TYPE_CHECKING:
    from posetools.mm.inference import Detector, PoseEstimator

# A config file or the name of a config in mmdet or mmpose, and a checkpoint file or URL.
Named: TypeAlias = tuple[str | Path, str | Path]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """One model.

    Attributes:
        config: its config.
        checkpoint: its weights: a file, or the text of a URL.
    """

    config: Path
    checkpoint: Path | str

    @property
    def work_dir(self) -> Path | None:
        """The folder of a checkpoint file."""
        return self.checkpoint.parent if isinstance(self.checkpoint, Path) else None


@dataclass(frozen=True, slots=True)
class Pair:
    """A detector, and a pose estimator for each skeleton.

    Attributes:
        det: the detector.
        poses: the pose estimators, mostly one.
    """

    det: ModelFiles
    poses: tuple[ModelFiles, ...]

    @property
    def pose(self) -> ModelFiles:
        """The only pose estimator.

        Raises:
            ValueError: there are several.
        """
        (only,) = self.poses
        return only


def check_file(path: Path, what: str, *, hint: str = "") -> None:
    """Check that a file exists.

    Raises:
        InputError: it does not exist.
    """
    if not path.is_file():
        raise InputError(path, "", f"{what} does not exist", hint=hint)


def check_split(data: Path, split: str) -> None:
    """Check that a data set has a split.

    Raises:
        RequestError: the data set or split does not exist.
    """
    splits, folds = splits_of(data), folds_of(data)
    if split not in splits and split not in (fold_split(fold, one) for fold in folds for one in SPLITS):
        raise RequestError(f"{data}: has no split {split!r}; it has {', '.join(splits)}")


def named_pair(det: Named, pose: Named | Sequence[Named], what: str) -> Pair:
    """Return the models given by the user, each as config and checkpoint.

    Args:
        det: the config, a file or the name of a config in mmdet, and the checkpoint, a file or a URL.
        pose: the same, of mmpose; or a sequence of them, in the order of the skeletons.
        what: the command or function that needs them, for messages.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: a config does not exist.
        InputError: a checkpoint does not exist, or a config is for the other stage.
    """
    require_train(what)
    # A config is a text or a path, so a tuple of tuples is several models.
    several: Any = (pose,) if isinstance(pose[0], str | Path) else pose
    named: list[tuple[Stage, ModelFiles]] = [
        ("det", _named("det", *det)),
        *(("pose", _named("pose", *each)) for each in several),
    ]
    # Missing files are reported before this, which takes seconds.
    prepare(what)
    for stage, model in named:
        scope = load_config(model.config).get("default_scope") or SCOPES[stage]
        if scope != SCOPES[stage]:
            raise InputError(model.config, "default_scope", f"must be {SCOPES[stage]!r} for --{stage}, got {scope!r}")
    return Pair(named[0][1], tuple(model for _, model in named[1:]))


def _named(stage: Stage, config: Path | str, checkpoint: Path | str) -> ModelFiles:
    path = Path(config)
    if not path.is_file():
        if path.suffix or len(path.parts) > 1:
            raise InputError(path, "", "config does not exist")
        path = zoo_config(stage, str(config))
    if str(checkpoint).startswith(("http://", "https://")):
        return ModelFiles(path, str(checkpoint))
    check_file(Path(checkpoint), "checkpoint")
    return ModelFiles(path, Path(checkpoint))


def zoo_config(stage: Stage, name: str) -> Path:
    """Return the file of a config in mmdet or mmpose, by its name without ``.py``.

    Raises:
        RequestError: no config has that name; the message has the nearest names.
    """
    package = SCOPES[stage]
    spec = find_spec(package)
    folders = [Path(place) / ".mim" / "configs" for place in (spec.submodule_search_locations if spec else ()) or ()]
    known = {
        path.stem: path for folder in folders for path in sorted(folder.rglob("*.py")) if "_base_" not in path.parts
    }
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=3)
    raise RequestError(
        f"--{stage} {name}: is neither a file nor the name of one of {package}'s {len(known)} configs",
        *([f"similar names: {', '.join(near)}"] if near else []),
    )


def pair_of_run(run: Path) -> Pair:
    """Return the newest best models in a folder with one detector's run, and a pose estimator's for each skeleton.

    The runs are the folders in ``run`` with a config and a checkpoint, under any name. It uses the best checkpoint of
    each, or the last if the run was never evaluated. A detector of several skeletons has them in its skeleton.yaml, and
    each pose estimator its own.

    Raises:
        RequestError: ``run`` is not such a folder; the message says what is missing or ambiguous.
        InputError: a skeleton.yaml cannot be read.
    """
    if not run.is_dir():
        raise RequestError(f"{run}: must be a folder with the runs of a detector and a pose estimator, got no folder")
    found: dict[Stage, list[ModelFiles]] = {"det": [], "pose": []}
    for folder in sorted(path for path in run.iterdir() if path.is_dir()):
        checkpoint = best_in(folder) or last_in(folder)
        if checkpoint is None or not any(folder.glob("*.py")):
            continue
        config = config_of_run(folder)
        scope = _scope_of(config)
        for stage in found:
            if scope == SCOPES[stage]:
                found[stage].append(ModelFiles(config, checkpoint))
    det = _only(run, "det run", found["det"])
    categories = _categories_beside(det)
    if categories is None or len(categories) == 1:
        return Pair(det, (_only(run, "pose run", found["pose"]),))
    own = [(each, _categories_beside(each)) for each in found["pose"]]
    poses = []
    for name, group in zip(models_of(tuple(categories.posed))[1:], categories.posed.values(), strict=True):
        serving = [each for each, served in own if served and _serves(served, group)]
        poses.append(_only(run, f"{name} run of {', '.join(group.ids)}", serving))
    return Pair(det, tuple(poses))


def _only(run: Path, what: str, models: Sequence[ModelFiles]) -> ModelFiles:
    if len(models) == 1:
        return models[0]
    listed = ", ".join(str(model.work_dir) for model in models) or "none"
    raise RequestError(
        f"{run}: must have one folder with a {what}, got {listed}",
        hint=(
            "use a folder of `posetools train --stage all`, or name two models as in",
            "`posetools predict --det CONFIG CHECKPOINT --pose CONFIG CHECKPOINT`",
        ),
    )


def _categories_beside(model: ModelFiles) -> Categories | None:
    """Return the categories in the skeleton.yaml next to a checkpoint, or None without one."""
    folder = model.work_dir
    return read_categories(folder / SKELETON) if folder is not None and (folder / SKELETON).is_file() else None


def _serves(own: Categories, group: Categories) -> bool:
    """Return whether a pose estimator of some categories is for the categories of a skeleton."""
    return own.ids.keys() == group.ids.keys() and own.names == group.names


def _scope_of(config: Path) -> str | None:
    """Return the scope of a config, from its text if possible, as in a run's config, which needs no import."""
    scope = scope_in(read_text(config))
    if scope is None:
        prepare(f"reading {config}")
        scope = load_config(config).get("default_scope")
    return scope


def recorded_metrics(checkpoint: Path) -> dict[str, float | None] | None:
    """Return the metrics that ``posetools train`` recorded for this checkpoint in metrics.json next to it.

    For the last checkpoint these are all metrics of the last evaluation, for the best one its score. None: another
    checkpoint of the run, or no record.

    Raises:
        InputError: metrics.json cannot be read.
    """
    path = checkpoint.parent / METRICS
    document = read_json(path) if path.is_file() else None
    entries = {which: document.get(which) for which in ("last", "best")} if isinstance(document, dict) else {}
    of_last = entries.get("last")
    tags = (of_last.get("metrics") or {}) if isinstance(of_last, dict) else {}
    for which, entry in entries.items():
        if not isinstance(entry, dict) or entry.get("checkpoint") != checkpoint.name:
            continue
        if which == "last":
            return dict(tags)
        # The file name encodes the metric: best_coco_AP_epoch_3.pth.
        said = parse_best(checkpoint.name)
        return {(said.tag(tags) or said.key) if said else "score": entry.get("score")}
    return None


def categories_of_pair(pair: Pair, detector: Detector, estimators: Sequence[PoseEstimator]) -> Categories:
    """Return the categories that a pair was trained with.

    Those of a model are in the ``skeleton.yaml`` that ``posetools train`` writes next to its checkpoint, or in a
    checkpoint of ``posetools publish``. The detector's count if the pair has all of their pose estimators; else the
    pose estimator's, which may also be a built-in with the same names, or built from MMPose's meta.

    Args:
        pair: the models' files.
        detector: its first class names the category if nothing else does.
        estimators: the pair's pose estimators.

    Raises:
        InputError: the stored skeleton is invalid.
        RequestError: several pose estimators are not those of the detector's skeletons, in their order.
    """
    own = [_categories_of(model, each, detector.classes) for model, each in zip(pair.poses, estimators, strict=True)]
    stored = _stored(pair.det, detector)
    groups = list(stored.posed.values()) if stored is not None and len(stored) > 1 else []
    if stored is not None and len(groups) == len(own) and all(map(_serves, own, groups)):
        return stored
    if len(own) > 1:
        needed = " and ".join(", ".join(group.ids) for group in groups) or "one skeleton"
        got = " and ".join(", ".join(each.ids) for each in own)
        raise RequestError(f"{pair.det.checkpoint}: must have pose estimators of {needed}, in this order, got {got}")
    return own[0]


def _stored(model: ModelFiles, opened: Detector | PoseEstimator) -> Categories | None:
    """Return the categories next to a checkpoint or, if it was published, in it; None without any."""
    beside, published = _categories_beside(model), opened.checkpoint_meta.get("skeleton")
    return beside or (parse_categories(model.checkpoint, published) if isinstance(published, str) else None)


def _categories_of(model: ModelFiles, estimator: PoseEstimator, classes: tuple[str, ...]) -> Categories:
    """Return the categories of one pose estimator."""
    source, meta = model.checkpoint, estimator.meta
    stored = _stored(model, estimator)
    if stored is not None:
        return stored
    try:
        for built_in in map(load_skeleton, BUILT_IN):
            if built_in.names == names_of(meta):
                return Categories.of(built_in)
        return Categories.of(skeleton_of_metainfo(meta, classes[0] if classes else "object"))
    except ValidationError as exc:
        raise from_validation(source, exc) from exc
    except (KeyError, IndexError, TypeError, ValueError) as exc:
        problem = f"must describe the keypoints as MMPose does, but has {type(exc).__name__}: {exc}"
        raise InputError(
            source, "meta.dataset_meta", problem, hint="give the skeleton with `posetools predict --skeleton FILE`"
        ) from exc
