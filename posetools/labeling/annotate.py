"""Run labelme on a folder of images, configured for a skeleton: the work behind ``posetools annotate``.

Decisions:

- labelme is a separate program (GPL-3, Qt): it is started, never imported, and best installed in its own environment.
  It is searched next to this Python, then on the PATH.
- Its settings are passed as a temporary file; the user's ``~/.labelmerc`` is neither read nor written. The keys are
  those of labelme 5; 6 and 7 rename some of them when they read a file.
- Labels other than the skeleton's are refused while drawing (``validate_label``), so typos do not become labels.
- Images have a flag ``checked``. Setting it makes labelme save the file, even without a change or a shape. It
  distinguishes images without objects from unlabeled ones, and checked predictions from unchecked ones.
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

from posetools.core.categories import Categories
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
# labelme has no default key for points.
POINT_KEY = "P"


@dataclass(frozen=True, slots=True)
class AnnotateResult:
    """The result of a labelme session.

    Attributes:
        new: number of new labelme files.
        changed: number of changed labelme files.
        predicted: number of labelme files that a model wrote and no one has saved since.
        without: number of images without a labelme file next to them.
        brought_back: number of originals updated from a folder of ``posetools review``.
        problems: one sentence for each file that could not be brought back.
    """

    new: int
    changed: int
    predicted: int
    without: int
    brought_back: int
    problems: tuple[str, ...]


def find_labelme() -> Path:
    """Return the program labelme: next to this Python, else on the PATH.

    Raises:
        RequestError: it is not installed.
    """
    beside = shutil.which(PROGRAM, path=str(Path(sys.executable).parent))
    found = beside or shutil.which(PROGRAM)
    if found is None:
        raise RequestError(
            f"posetools annotate requires the program {PROGRAM}, which is not next to {sys.executable} or on the PATH",
            hint="install it with: uv tool install labelme   (or: pipx install labelme; or: pip install '.[annotate]')",
        )
    return Path(found)


def labelme_config(what: Skeleton | Categories) -> dict[str, Any]:
    """Return labelme's settings for a skeleton, or for categories: labels in their order, their colors, the flags.

    A keypoint that several categories have is one label, in the color of the first.
    """
    categories, colors = Categories.of(what), dict[str, list[int]]()
    for group in categories.groups:
        own = {name: list(BOX_COLOR) for name in group.ids}
        own |= {point.name: list(point.color) for point in group.skeletons[0].keypoints}
        colors |= {label: color for label, color in own.items() if label not in colors}
    points = "|".join(re.escape(name) for name in categories.names)
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


def convention(what: Skeleton | Categories) -> tuple[str, str, str]:
    """Return the labeling instructions, in three lines."""
    names = list(Categories.of(what).ids)
    name, label = (names[0], names[0]) if len(names) == 1 else ("object", f"with its category ({', '.join(names)})")
    return (
        f"each {name}: draw a rectangle (Ctrl+R) labeled {label} and its points ({POINT_KEY}), all with the same Group "
        "ID: 0, 1, 2, ...",
        f"occluded point: set its flag {HIDDEN_FLAG} (Ctrl+E) if you know the place; otherwise leave the point out",
        f"image without {name}, or without changes: set its flag {CHECKED}; every change is saved at once",
    )


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be labeled, or a session without a screen.

    Raises:
        RequestError: there is no such folder, no image in it, or no screen.
    """
    images_in(folder)
    if not has_screen():
        raise RequestError("posetools annotate requires a screen for labelme's windows, and this session has none")


def check_convertible(folder: Path, out: Path, skeleton: str | None, *, overwrite: bool) -> None:
    """Refuse early if ``--then-convert`` would fail after labeling.

    Args:
        folder: the folder with the images.
        out: the data set to write.
        skeleton: the ``--skeleton`` option; None if not given.
        overwrite: whether an existing data set may be replaced.

    Raises:
        RequestError: ``out`` is not empty, or is in the folder; or images are links that lead out of the folder, which
            convert reads only with ``--image-root``.
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
    # Labels in a folder of `posetools review` are brought back to the originals; elsewhere they stay by the links.
    source = there if is_review(folder) else f"{here} --image-root {there}"
    own = "" if skeleton is None else f" --skeleton {quoted(skeleton)}"
    raise RequestError(
        f"{folder}: images must be in the folder itself for --then-convert, got {len(links)} of {len(images)} as links "
        f"that lead out of it ({first.name} is {target})",
        hint=(
            f"label them with `posetools annotate {here}{own}`, then",
            f"convert them with `posetools convert {source} --from labelme{own} --out {new}`",
        ),
    )


def annotate(folder: Path, what: Skeleton | Categories, program: Path) -> AnnotateResult:
    """Run labelme on a folder until its window is closed.

    Args:
        folder: the folder with the images and their labelme files; must have passed ``check_folder``.
        what: what is labeled.
        program: of ``find_labelme``.

    Raises:
        RunError: labelme cannot be started, or ends with an error.
        OutputError: labels saved in a folder of ``posetools review`` cannot be brought back.
    """
    before = _contents(folder)
    with tempfile.TemporaryDirectory(prefix="posetools-annotate-") as own:
        config = Path(own, "labelme.yaml")
        text = yaml.safe_dump(labelme_config(what), sort_keys=False, allow_unicode=True)
        config.write_text(text, encoding="utf-8")
        # Started in the folder, labelme lists names relative to it.
        command = [str(program.absolute()), "--config", str(config), "--logger-level", "warning", "."]
        try:
            status = subprocess.run(command, cwd=folder, check=False, env=_environment()).returncode
        except OSError as exc:
            raise RunError(f"{program}: cannot be started: {exc.strerror or exc}") from exc
    after = _contents(folder)
    back = bring_back(folder)
    if status != 0:
        raise RunError(
            f"{program}: failed with exit status {status}; labels saved before that are kept",
            hint=f"run `{program} {folder}` to see why",
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
    """Return the environment for labelme, without the Qt plugin paths that OpenCV sets for its own Qt."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR") or "cv2" not in Path(value).parts
    }


def _contents(folder: Path) -> dict[Path, bytes]:
    files = (path for path in walk_files(folder) if path.suffix.lower() == ".json")
    return {path: read_bytes(path) for path in files if path.is_file()}
