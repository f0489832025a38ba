"""Which two models belong together, and where their files are: a folder of runs, or what the user names.

A config is a file or the name of one that mmdet or mmpose carries (``faster-rcnn_r50_fpn_1x_coco``); weights are a file
or a URL. Nothing is downloaded unless a URL is given.
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
from posetools.errors import InputError, RequestError, from_validation
from posetools.files.disk import read_json, read_text
from posetools.mm.configs import SCOPES, Stage, config_of_run, load_config, scope_in
from posetools.mm.extra import require_train
from posetools.mm.metainfo import names_of, skeleton_of_metainfo
from posetools.mm.run_folder import SKELETON, best_in, last_in
from posetools.mm.run_log import METRICS, parse_best
from posetools.mm.runtime import prepare

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
        """The folder that a checkpoint file lies in."""
        return self.checkpoint.parent if isinstance(self.checkpoint, Path) else None


@dataclass(frozen=True, slots=True)
class Pair:
    """A detector and a pose estimator."""

    det: ModelFiles
    pose: ModelFiles


def check_file(path: Path, what: str, *, hint: str = "") -> None:
    """Refuse a file that is not there.

    Raises:
        InputError: it is not there.
    """
    if not path.is_file():
        raise InputError(path, "", f"{what} does not exist", hint=hint)


def check_split(data: Path, split: str) -> None:
    """Refuse a split that is not there.

    Raises:
        RequestError: there is no such data set or split.
    """
    if split not in (splits := splits_of(data)):
        raise RequestError(f"{data}: has no split {split!r}; it has {', '.join(splits)}")


def named_pair(det: tuple[Path | str, Path | str], pose: tuple[Path | str, Path | str], what: str) -> Pair:
    """Return the two models that the user names, each by config and checkpoint.

    Args:
        det: a file, or the name of a config of the installed mmdet, and a file or a URL.
        pose: likewise, of mmpose.
        what: the command or function that needs them, as messages name it.

    Raises:
        MissingExtraError: the ``train`` extra is not installed.
        RequestError: there is no such config.
        InputError: there is no such checkpoint, or a config is of the other stage.
    """
    require_train(what)
    named: dict[Stage, ModelFiles] = {"det": _named("det", *det), "pose": _named("pose", *pose)}
    # What is not there is said before this, which takes seconds.
    prepare(what)
    for stage, model in named.items():
        scope = load_config(model.config).get("default_scope") or SCOPES[stage]
        if scope != SCOPES[stage]:
            raise InputError(model.config, "default_scope", f"must be {SCOPES[stage]!r} for --{stage}, got {scope!r}")
    return Pair(named["det"], named["pose"])


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
    """Return the file of a config that mmdet or mmpose carries, by its name without ``.py``.

    Raises:
        RequestError: there is none of that name; the message has the nearest names.
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
    hint = f"\n  names like it: {', '.join(near)}" if near else ""
    raise RequestError(
        f"--{stage} {name}: is neither a file nor the name of one of {package}'s {len(known)} configs{hint}"
    )


def pair_of_run(run: Path) -> Pair:
    """Return the newest best models in a folder with one detector's run and one pose estimator's.

    The two runs are the folders in ``run`` that hold a config and a checkpoint; their names do not matter. Of each the
    best checkpoint counts, or the last when the run was never evaluated.

    Raises:
        RequestError: ``run`` is no such folder; the message says what is missing or too much.
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
                f"{run}: must have one folder with a {stage} run, got {listed}\n"
                "  `posetools train --stage all` leaves such a folder; two models by themselves are named with\n"
                "  `posetools predict --det CONFIG CHECKPOINT --pose CONFIG CHECKPOINT`; others likewise"
            )
    return Pair(found["det"][0], found["pose"][0])


def _scope_of(config: Path) -> str | None:
    """Return the scope of a config, from its text where that says it: what a run leaves does, and needs no import."""
    scope = scope_in(read_text(config))
    if scope is None:
        prepare(f"reading {config}")
        scope = load_config(config).get("default_scope")
    return scope


def recorded_metrics(checkpoint: Path) -> dict[str, float | None] | None:
    """Return what ``posetools train`` recorded of this very checkpoint in metrics.json beside it, by its names.

    Of the last checkpoint those are all numbers of the last evaluation, of the best one its score. None: nothing is
    recorded of it, for it is another one of the run, or there is no record.

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
        # The file's name has the metric's in disguise: best_coco_AP_epoch_3.pth.
        said = parse_best(checkpoint.name)
        return {(said.tag(tags) or said.key) if said else "score": entry.get("score")}
    return None


def skeleton_of_pair(pair: Pair, estimator: PoseEstimator, classes: tuple[str, ...]) -> Skeleton:
    """Return the skeleton that a pose estimator was trained with.

    It is the ``skeleton.yaml`` beside the checkpoint that ``posetools train`` leaves, the one in a checkpoint that
    ``posetools publish`` made, a built-in with the same names, or else built from what MMPose keeps.

    Args:
        pair: the models' files.
        estimator: the model.
        classes: of the detector; the first names the category where nothing else does.

    Raises:
        InputError: what is there is no skeleton.
    """
    source, meta = pair.pose.checkpoint, estimator.meta
    folder = pair.pose.work_dir
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
            source, "meta.dataset_meta", problem, hint="`posetools predict --skeleton FILE` says what they are"
        ) from exc
