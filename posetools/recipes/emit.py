"""Emitting a pair: one RTMDet and one RTMPose config that belong to one data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posetools.errors import RequestError
from posetools.files import read_text, write_text
from posetools.recipes.blocks import Stage
from posetools.recipes.det import det_config, det_stage
from posetools.recipes.facts import read_facts
from posetools.recipes.options import NONE, STOCK, RecipeOptions, StageOptions
from posetools.recipes.pose import pose_config, pose_stage
from posetools.skeleton import Skeleton

_FEW_ITERATIONS = 2000


@dataclass(frozen=True, slots=True)
class EmittedPair:
    """The two configs of a data set.

    Attributes:
        det: the RTMDet config.
        pose: the RTMPose config.
        notes: what the user should know, one sentence each.
    """

    det: Path
    pose: Path
    notes: tuple[str, ...] = ()


def emit_pair(
    data_root: Path, skeleton: Skeleton, options: RecipeOptions, out: Path, *, overwrite: bool = False
) -> EmittedPair:
    """Write ``rtmdet_<size>_<skeleton>.py`` and ``rtmpose-<size>_<skeleton>.py`` into ``out``.

    Args:
        data_root: the data set's folder; a relative one stays relative in the configs.
        skeleton: the data set's skeleton.
        options: what the user said.
        out: the folder to write to.
        overwrite: replace files that differ from what would be written.

    Raises:
        RequestError: the data set cannot be trained on, a weight file is not there, or a file is in the way.
        InputError: a COCO file cannot be read or is not of this skeleton.
        OutputError: a file cannot be written.
    """
    for name, stage in (("det", options.det), ("pose", options.pose)):
        _check_weights(name, stage)
    facts = read_facts(data_root, skeleton)
    root = data_root.as_posix()
    det = det_stage(root, options.det, options.workers, facts)
    pose = pose_stage(root, options.pose, options.workers, facts)
    texts = {
        out / f"rtmdet_{options.det.size}_{skeleton.name}.py": det_config(
            det, options.det, skeleton, facts, options.seed
        ),
        out / f"rtmpose-{options.pose.size}_{skeleton.name}.py": pose_config(
            pose, options.pose, skeleton, options.seed
        ),
    }
    if not overwrite:
        _check_free(texts)
    for path, text in texts.items():
        write_text(path, text)
    det_path, pose_path = texts
    return EmittedPair(det_path, pose_path, (_note("det", det), _note("pose", pose)))


def _note(name: str, stage: Stage) -> str:
    warmup = min(stage.warmup, stage.iterations)
    text = (
        f"{name}: {stage.samples} {stage.sample} in batches of {stage.options.batch_size}; iterations: "
        f"{stage.iterations_per_epoch} per epoch, {stage.iterations} in all, {warmup} of them warm-up; "
        f"learning rate {stage.lr:.2g}"
    )
    if stage.iterations < _FEW_ITERATIONS:
        text += f"\n    fewer than {_FEW_ITERATIONS} iterations are few: more epochs or a smaller batch give more"
    return text


def _check_weights(name: str, stage: StageOptions) -> None:
    for field, value in (("backbone", stage.backbone), ("load-from", stage.load_from)):
        if value is None or "://" in value or (field == "backbone" and value in (STOCK, NONE)):
            continue
        if not Path(value).is_file():
            choices = "stock, none, a URL or an existing file" if field == "backbone" else "a URL or an existing file"
            raise RequestError(f"--{field} ({name}): must be {choices}, got {value!r}")


def _check_free(texts: dict[Path, str]) -> None:
    for path, text in texts.items():
        if path.exists() and read_text(path) != text:
            raise RequestError(
                f"{path}: exists and is not what would be written (edited, or made with other options)\n"
                "  --overwrite replaces it; or choose another --out"
            )
