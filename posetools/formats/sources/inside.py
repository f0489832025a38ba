"""Annotation files stay inside their source: what a link leads to elsewhere would be quoted in messages and records."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from posetools.errors import InputError, must_be
from posetools.files.urls import is_url
from posetools.files.walking import walk

# What a reader of each format opens in a folder, besides images.
_ENDINGS = {
    "labelme": (".json",),
    # The label files are looked at one by one.
    "yolo-pose": (".yaml", ".yml"),
    "coco": (".json",),
    "cvat": (".xml",),
    "label-studio": (".json",),
    "via": (".json", ".csv"),
    "deeplabcut": (".csv", ".h5"),
    "sleap": (".slp",),
    "custom": (".csv", ".tsv", ".jsonl", ".ndjson"),
}


def check_inside(sources: Sequence[Path], format_name: str, image_roots: Sequence[Path]) -> None:
    """Refuse annotation files that a link in a source folder leads out of it to, and out of what the user allowed.

    Args:
        sources: files, which the user has named, and folders.
        format_name: the format that they are read as.
        image_roots: further folders that may be read.

    Raises:
        InputError: there is such a file.
    """
    folders = [source for source in sources if not is_url(source) and source.is_dir()]
    allowed = [os.path.realpath(folder) for folder in (*folders, *image_roots) if not is_url(folder)]
    found = [(path, target) for folder in folders for path, target in _led_out(folder, _ENDINGS[format_name], allowed)]
    if found:
        (path, target), more = found[0], len(found) - 1
        rule = f"a file inside {' or '.join(str(folder) for folder in (*folders, *image_roots))}"
        also = f"and {more} more annotation file{'s' if more > 1 else ''}\n  " if more else ""
        hint = f"{also}--image-root {target.parent} allows it: give it for a folder that you trust"
        raise InputError(path, "", must_be("the annotation file", rule, f"a link to {target}"), hint=hint)


def _led_out(folder: Path, endings: tuple[str, ...], allowed: Sequence[str]) -> Iterator[tuple[Path, Path]]:
    """Yield the annotation files below a folder that are elsewhere, each with where it is."""
    for at, real, entries in walk(folder):
        away = not _is_below(real, allowed)
        for name, _, is_link in entries:
            if (away or is_link) and name.lower().endswith(endings):
                target = Path(os.path.realpath(Path(at, name)))
                if not _is_below(str(target), allowed):
                    yield Path(at, name), target


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(os.path.join(folder, "")) for folder in folders)  # noqa: PTH118
