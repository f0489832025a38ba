"""Find the two models of a pair and their files: in a folder of runs, or as given by the user.

A config is a file or the name of a config in mmdet or mmpose (``faster-rcnn_r50_fpn_1x_coco``); weights are a file or a
URL. Only URLs are downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from posetools.core.folder import splits_of
from posetools.core.skeleton import BUILT_IN, Skeleton, load_skeleton, parse_skeleton, read_skeleton
from posetools.core.stages import Stage
from posetools.errors import InputError, RequestError, from_validation
from posetools.files.disk import read_json, read_text
from posetools.mm.configs import SCOPES, config_of_run, load_config, scope_in
from posetools.mm.metainfo import names_of, skeleton_of_metainfo
from posetools.mm.run_folder import SKELETON, best_in, last_in
from posetools.mm.run_log import METRICS, parse_best
from posetools.mm.stack import prepare, require_train

if TYPE_CHECKING:
    from posetools.mm.inference import PoseEstimator


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
    if split not in (splits := splits_of(data)):
        raise RequestError(f"{data}: has no split {split!r}; it has {', '.join(splits)}")


def named_pair(det: tuple[Path | str, Path | str], pose: tuple[Path | str, Path | str], what: str) -> Pair:
    """Return the two models given by the user, each as config and checkpoint.

    Args:
        det: the config, a file or the name of a config in mmdet, and the checkpoint, a file or a URL.
        pose: the same, of mmpose.
        what: the command or function that needs them, for messages.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: a config does not exist.
        InputError: a checkpoint does not exist, or a config is for the other stage.
    """
    require_train(what)
    named: dict[Stage, ModelFiles] = {"det": _named("det", *det), "pose": _named("pose", *pose)}
    # Missing files are reported before this, which takes seconds.
    prepare(what)
    for stage, model in named.items():
        scope = load_config(model.config).get("default_scope") or SCOPES[stage]
        if scope != SCOPES[stage]:
            raise InputError(model.config, "default_scope", f"must be {SCOPES[stage]!r} for --{stage}, got {scope!r}")
    return Pair(named["det"], (named["pose"],))


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
    """Return the newest best models in a folder with one detector's run and one pose estimator's.

    The two runs are the folders in ``run`` with a config and a checkpoint, under any name. It uses the best checkpoint
    of each, or the last if the run was never evaluated.

    Raises:
        RequestError: ``run`` is not such a folder; the message says what is missing or ambiguous.
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
    for stage, models in found.items():
        if len(models) != 1:
            listed = ", ".join(str(model.work_dir) for model in models) or "none"
            raise RequestError(
                f"{run}: must have one folder with a {stage} run, got {listed}",
                hint=(
                    "use a folder of `posetools train --stage all`, or name two models as in",
                    "`posetools predict --det CONFIG CHECKPOINT --pose CONFIG CHECKPOINT`",
                ),
            )
    return Pair(found["det"][0], tuple(found["pose"]))


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


def skeleton_of_pair(pair: Pair, estimator: PoseEstimator, classes: tuple[str, ...]) -> Skeleton:
    """Return the skeleton that a pose estimator was trained with.

    It is the ``skeleton.yaml`` that ``posetools train`` writes next to the checkpoint, the one in a checkpoint of
    ``posetools publish``, a built-in with the same names, or else built from MMPose's meta.

    Args:
        pair: the models' files.
        estimator: the model.
        classes: of the detector; the first names the category if nothing else does.

    Raises:
        InputError: the stored skeleton is invalid.
    """
    source, meta, folder = pair.pose.checkpoint, estimator.meta, pair.pose.work_dir
    if folder is not None and (folder / SKELETON).is_file():
        return read_skeleton(folder / SKELETON)
    published = estimator.checkpoint_meta.get("skeleton")
    try:
        if isinstance(published, str):
            return parse_skeleton(source, published)
        for built_in in map(load_skeleton, BUILT_IN):
            if built_in.names == names_of(meta):
                return built_in
        return skeleton_of_metainfo(meta, classes[0] if classes else "object")
    except ValidationError as exc:
        raise from_validation(source, exc) from exc
    except (KeyError, IndexError, TypeError, ValueError) as exc:
        problem = f"must describe the keypoints as MMPose does, but has {type(exc).__name__}: {exc}"
        raise InputError(
            source, "meta.dataset_meta", problem, hint="give the skeleton with `posetools predict --skeleton FILE`"
        ) from exc
