"""Annotation formats: one module each. A new one is its module, a line here, its test, its sample and its docs row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from posetools.errors import RequestError
from posetools.formats import coco, custom, cvat, deeplabcut, label_studio, labelme, sleap, via, yolo_pose
from posetools.formats.base import Format
from posetools.formats.collect import walked_once
from posetools.storage import is_url

# Sources that a message names.
_NAMED = 3

FORMATS: dict[str, Format] = {
    "labelme": labelme.FORMAT,
    "yolo-pose": yolo_pose.FORMAT,
    "coco": coco.FORMAT,
    "cvat": cvat.FORMAT,
    "label-studio": label_studio.FORMAT,
    "via": via.FORMAT,
    "deeplabcut": deeplabcut.FORMAT,
    "sleap": sleap.FORMAT,
    "custom": custom.FORMAT,
}


def told_format(sources: Sequence[Path], rule: str, hint: str = "") -> Format:
    """Return the one format whose signs all sources have.

    Args:
        sources: files or folders.
        rule: what they must be, for the message: ``of a format that is told by its signs``.
        hint: what to do when they are not.

    Raises:
        RequestError: no format fits, or several do.
    """
    with walked_once():
        known = {name: each for name, each in FORMATS.items() if each.reads_urls or not any(map(is_url, sources))}
        fitting = [each for each in known.values() if all(each.detect(path) for path in sources)]
    if len(fitting) == 1:
        return fitting[0]
    problem = f"{' and '.join(each.name for each in fitting)} fit" if fitting else "none fits"
    signs = "".join(f"\n  {name}: {each.signs}" for name, each in known.items())
    named = ", ".join(str(path) for path in sources[:_NAMED]) + (", ..." if len(sources) > _NAMED else "")
    raise RequestError(f"{named}: must be {rule}, but {problem}; looked for{signs}" + (f"\n  {hint}" if hint else ""))
