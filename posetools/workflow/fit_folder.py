"""The folder of a fit: the names of its files, and fit.json, the record of what is done.

The record has the options of the first call and each finished step with what later steps and the report need of it. It
is written atomically after each step, so that a stopped fit continues.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from posetools.errors import InputError, OutputError, RequestError
from posetools.files.disk import check_free, digest_of, read_json, write_json
from posetools.files.walking import walk
from posetools.mm.run_folder import model_folders

# Options as typed: each with its values, none for a switch.
TypedOptions: TypeAlias = Mapping[str, Sequence[str]]

RECORD = "fit.json"
_MADE_BY = "posetools fit"
# What else a fit or a demo leaves in its folder; the bundle has the folder's name.
_FILES = (
    *("validation.html", "evaluation.html", "evaluation.json", "curves.png", "curves.svg"),
    *("predictions.png", "report.html", "clip.mp4"),
)
_FOLDERS = ("labelme", "data", "configs", "clip")


class FitFolder:
    """The folder of a fit and its record.

    Attributes:
        out: the folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._options: dict[str, list[str]] = {}
        self._done: dict[str, dict[str, Any]] = {}

    def __truediv__(self, name: str) -> Path:
        """Return the path of a file in the folder."""
        return self.out / name

    @property
    def bundle(self) -> Path:
        """The bundle."""
        return self.out / f"{self.out.resolve().name}.zip"

    @property
    def done(self) -> Mapping[str, Mapping[str, Any]]:
        """Each finished step, in order, with its results."""
        return self._done

    def check(self, options: TypedOptions, *, overwrite: bool) -> None:
        """Read the record of an earlier call with the same options, if there is one; write nothing.

        Args:
            options: the options of this call.
            overwrite: whether the results of an earlier fit are deleted.

        Raises:
            RequestError: the folder has other files, or a fit with other options.
            InputError: the record cannot be read.
        """
        self._options = {name: list(values) for name, values in options.items()}
        if not (self.out / RECORD).is_file():
            check_free(self.out, hint="choose another --out: a fit continues only in a folder that it started")
            return
        recorded = _read(self.out / RECORD)
        if recorded["done"] and not overwrite:
            self._check_same(recorded["options"])
            self._done = recorded["done"]

    def start(self) -> None:
        """Write the record, after deleting what is left of a fit that does not continue.

        Raises:
            OutputError: a file cannot be written or deleted.
        """
        if not self._done:
            named = (self.out / name for name in (*_FILES, *_FOLDERS))
            for path in (self.bundle, *named, *model_folders(self.out)):
                _delete(path)
        self._write()

    def add(self, step: str, results: Mapping[str, Any]) -> None:
        """Record a finished step."""
        self._done[step] = dict(results)
        self._write()

    def forget_from(self, step: str, order: Sequence[str]) -> None:
        """Forget a step and those after it, which used its results."""
        later = [name for name in order[order.index(step) :] if name in self._done]
        for name in later:
            del self._done[name]
        if later:
            self._write()

    def _check_same(self, recorded: TypedOptions) -> None:
        typed = self._options
        differing = [name for name in dict.fromkeys([*recorded, *typed]) if recorded.get(name) != typed.get(name)]
        if differing:
            listed = "; ".join(f"{_shown(name, typed)}, before {_shown(name, recorded)}" for name in differing)
            raise RequestError(
                f"{self.out}: was started with other options: {listed}",
                hint="use the same options to continue, another --out, or --overwrite to start again",
            )

    def _write(self) -> None:
        write_json(self.out / RECORD, {"made_by": _MADE_BY, "options": self._options, "done": self._done})


def fingerprint(source: Path) -> dict[str, Any]:
    """Return the number of files of a source, and a digest of their names, sizes and times.

    Raises:
        InputError: a folder cannot be read.
    """
    paths = [Path(at) / name for at, _, files in walk(source) for name, *_ in files] if source.is_dir() else [source]
    facts = []
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            continue
        facts.append(f"{os.path.relpath(path, source)} {found.st_size} {found.st_mtime_ns}")
    return {"files": len(facts), "digest": digest_of("\n".join(facts).encode("utf-8", "surrogateescape"))}


def _read(path: Path) -> dict[str, Any]:
    document = read_json(path)
    if (
        not isinstance(document, dict)
        or document.get("made_by") != _MADE_BY
        or not isinstance(document.get("options"), dict)
        or not isinstance(document.get("done"), dict)
    ):
        raise InputError(path, "", f"must be a record of {_MADE_BY}", hint="choose another --out")
    return document


def _shown(name: str, options: TypedOptions) -> str:
    if name not in options:
        return f"no {name}"
    return " ".join([name, *options[name]])


def _delete(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as exc:
        raise OutputError(f"{exc.filename or path}: cannot be deleted: {exc.strerror or exc}") from exc
