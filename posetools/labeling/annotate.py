"""labelme on a folder of images, set up for a skeleton: what ``posetools annotate`` does.

Decisions:

- labelme is a program of its own (GPL-3, Qt): it is started, never imported, and best lives in an environment of its
  own. It is looked for beside this Python, then on the PATH.
- Its settings go to it as a file that is made for the run; the user's own ``~/.labelmerc`` is neither read nor written.
  The keys are those of labelme 5; 6 and 7 rename some of them when they read a file.
- Labels other than the skeleton's are refused while drawing (``validate_label``), so no typing error becomes a label.
- Images have a flag ``checked``. Setting it makes labelme save the file, also one without a change or without a
  shape: so an image without objects is told from one that nobody has labeled yet, and predictions that are right are
  told from those that nobody has looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from posetools.core.folder import check_out
from posetools.core.skeleton import Skeleton
from posetools.errors import RequestError, RunError, quoted
from posetools.files.disk import read_bytes
from posetools.files.walking import walk_files
from posetools.formats.labelme.write import HIDDEN_FLAG, is_untouched
from posetools.imaging.drawing import BOX_COLOR
from posetools.imaging.frames import has_screen, images_in
from posetools.imaging.header import is_image
from posetools.labeling.prelabel import CHECKED
from posetools.labeling.review.links import bring_back, is_review

PROGRAM = "labelme"
# labelme has none of its own for points.
POINT_KEY = "P"


@dataclass(frozen=True, slots=True)
class AnnotateResult:
    """What was done in labelme.

    Attributes:
        new: labelme files that were not there before.
        changed: labelme files that are different now.
        predicted: labelme files that are as a model wrote them: nobody has saved them.
        without: images without a labelme file beside them.
        brought_back: originals that got what was saved in a folder of ``posetools review``.
        problems: one sentence for each file that could not be brought back.
    """

    new: int
    changed: int
    predicted: int
    without: int
    brought_back: int
    problems: tuple[str, ...]


def find_labelme() -> Path:
    """Return the program labelme: beside this Python, else on the PATH.

    Raises:
        RequestError: there is none.
    """
    beside = shutil.which(PROGRAM, path=str(Path(sys.executable).parent))
    found = beside or shutil.which(PROGRAM)
    if found is None:
        raise RequestError(
            f"posetools annotate needs the program {PROGRAM}: there is none beside {sys.executable} or on the PATH\n"
            "  install it with: uv tool install labelme   (or: pipx install labelme; or: pip install '.[annotate]')"
        )
    return Path(found)


def labelme_config(skeleton: Skeleton) -> dict[str, Any]:
    """Return labelme's settings for a skeleton: labels in its order, their colors, the flags."""
    category = skeleton.category.name
    colors = {category: list(BOX_COLOR), **{point.name: list(point.color) for point in skeleton.keypoints}}
    points = "|".join(re.escape(name) for name in skeleton.names)
    return {
        "auto_save": True,
        "store_data": False,
        "labels": list(colors),
        "sort_labels": False,
        "validate_label": "exact",
        "flags": [CHECKED],
        "label_flags": {f"^({points})$": [HIDDEN_FLAG]},
        "shape_color": "manual",
        "label_colors": colors,
        "shortcuts": {"create_point": POINT_KEY},
    }


def convention(skeleton: Skeleton) -> tuple[str, str, str]:
    """Return how images are labeled, in three lines."""
    name = skeleton.category.name
    return (
        f"each {name}: a rectangle (Ctrl+R) labeled {name} and its points ({POINT_KEY}), all with the same Group ID: "
        "0, 1, 2, ...",
        f"a point that is hidden, but you know where: its flag {HIDDEN_FLAG} (Ctrl+E); one that you cannot place: no "
        "point",
        f"done with an image that shows no {name}, or needs no change: its flag {CHECKED}; every change is saved at "
        "once",
    )


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be labeled, or a session that has no screen.

    Raises:
        RequestError: there is no such folder, no image in it, or no screen.
    """
    images_in(folder)
    if not has_screen():
        raise RequestError("posetools annotate needs a screen, and this session has none\n  labelme shows windows")


def check_convertible(folder: Path, out: Path, skeleton: str | None, *, overwrite: bool) -> None:
    """Refuse what ``--then-convert`` could not do when the labeling is over.

    Args:
        folder: where the images lie.
        out: the data set to write.
        skeleton: as the user typed it, None where they did not.
        overwrite: whether a data set that is there may be replaced.

    Raises:
        RequestError: ``out`` is taken, or lies in what is read; or images are links that lead out of the folder, which
            convert reads only where a folder is named for them.
    """
    check_out(out, [folder], overwrite=overwrite, option="--then-convert")
    top = os.path.realpath(folder)
    images = {path: os.path.realpath(path) for path in images_in(folder)}
    links = {path: real for path, real in images.items() if not Path(real).is_relative_to(top)}
    if not links:
        return
    first, target = next(iter(links.items()))
    originals = os.path.commonpath([Path(real).parent for real in links.values()])
    here, there, new = (quoted(path) for path in (folder, originals, out))
    # What is saved in a folder of `posetools review` is brought back to the originals; elsewhere it stays by the links.
    source = there if is_review(folder) else f"{here} --image-root {there}"
    own = "" if skeleton is None else f" --skeleton {quoted(skeleton)}"
    raise RequestError(
        f"{folder}: images must be in the folder itself for --then-convert, got {len(links)} of {len(images)} as links "
        f"that lead out of it ({first.name} is {target})\n"
        f"  `posetools annotate {here}{own}` labels them, and then\n"
        f"  `posetools convert {source} --from labelme{own} --out {new}` converts them"
    )


def annotate(folder: Path, skeleton: Skeleton, program: Path) -> AnnotateResult:
    """Run labelme on a folder until its window is closed.

    Args:
        folder: where the images and their labelme files lie; ``check_folder`` has passed it.
        skeleton: what is labeled.
        program: of ``find_labelme``.

    Raises:
        RunError: labelme cannot be started, or ends with an error.
        OutputError: what was saved in a folder of ``posetools review`` cannot be brought back.
    """
    before = _contents(folder)
    with tempfile.TemporaryDirectory(prefix="posetools-annotate-") as own:
        config = Path(own, "labelme.yaml")
        text = yaml.safe_dump(labelme_config(skeleton), sort_keys=False, allow_unicode=True)
        config.write_text(text, encoding="utf-8")
        # From within the folder: labelme lists the names as they are below it.
        command = [str(program.absolute()), "--config", str(config), "--logger-level", "warning", "."]
        try:
            status = subprocess.run(command, cwd=folder, check=False, env=_environment()).returncode
        except OSError as exc:
            raise RunError(f"{program}: cannot be started: {exc.strerror or exc}") from exc
    after = _contents(folder)
    back = bring_back(folder)
    if status != 0:
        raise RunError(
            f"{program}: ended with exit status {status}; what was saved before that is saved\n"
            f"  `{program} {folder}`, started by itself, says more"
        )
    images = [path for path in walk_files(folder) if is_image(path)]
    return AnnotateResult(
        new=len(after.keys() - before.keys()),
        changed=sum(after[path] != data for path, data in before.items() if path in after),
        predicted=sum(is_untouched(data) for data in after.values()),
        without=sum(path.with_suffix(".json") not in after for path in images),
        brought_back=back.files,
        problems=back.problems,
    )


def _environment() -> dict[str, str]:
    """Return the environment for labelme: without what OpenCV sets for its own Qt, whose plugins are not labelme's."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR") or "cv2" not in Path(value).parts
    }


def _contents(folder: Path) -> dict[Path, bytes]:
    files = (path for path in walk_files(folder) if path.suffix.lower() == ".json")
    return {path: read_bytes(path) for path in files if path.is_file()}
