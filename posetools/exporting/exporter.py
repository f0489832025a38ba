"""The protocol of an exporter, a plug-in of the group ``posetools.exporters``: what becomes of a bundle.

A bundle has everything that a pair needs, in open formats: ONNX networks, skeletons, thresholds, and samples with
expected results (docs/bundle.md). So an exporter works for every trainer, and needs no training framework.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from posetools.errors import PosetoolsError, RequestError, must_be, show_value
from posetools.files.disk import check_free, replaced, staged_folder
from posetools.files.locks import only_one
from posetools.plugins.registry import Loaded, Plugin, registered
from posetools.runtime.bundle import Bundle


@dataclass(frozen=True, kw_only=True, slots=True)
class ExporterPlugin:
    """An exporter. Its name on the command line (``--to NAME``) is that of the entry point.

    Attributes:
        title: what it writes, as in messages, such as ``OpenVINO model``.
        suffix: how the name of its output ends, such as ``.xml``; empty for a folder.
        write: writes the output, given the path of a bundle and the path of the output: a file that does not exist yet,
            or an empty folder. posetools moves it into place when ``write`` returned.
    """

    title: str
    suffix: str
    write: Callable[[Path, Path], None]


def _accept(plugin: Plugin, found: object) -> ExporterPlugin:
    if not isinstance(found, ExporterPlugin):
        raise plugin.error(f"must be an ExporterPlugin, got {show_value(found)}")
    for name in ("title", "suffix"):
        if not isinstance(getattr(found, name), str):
            raise plugin.error(f"must give a text as {name} of its ExporterPlugin, got {show_value(found)}")
    if not callable(found.write):
        raise plugin.error(f"must give a function as write of its ExporterPlugin, got {show_value(found.write)}")
    return found


def _write_bundle(bundle: Path, out: Path) -> None:
    shutil.copyfile(bundle, out)


EXPORTERS: Loaded[ExporterPlugin] = Loaded("exporters", _accept)
BUNDLE = ExporterPlugin(title="ONNX bundle", suffix=".zip", write=_write_bundle)


def check_out(out: Path, suffix: str, *, overwrite: bool) -> None:
    """Refuse an output with another extension, or one that exists.

    Raises:
        RequestError: which of these.
    """
    if not suffix:
        check_free(out, overwrite=overwrite)
        return
    if not out.name.endswith(suffix):
        raise RequestError(f"--out must be a file name ending in {suffix}, got {out}")
    if out.is_dir() or (out.exists() and not overwrite):
        hint = "choose another name" if out.is_dir() else "use --overwrite to replace it"
        raise RequestError(f"--out {out}: exists already", hint=hint)


@contextmanager
def bundle_for(to: str, out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give the path for a bundle; when it is written, write it as what the user asks for.

    Args:
        to: the exporter, a key of EXPORTERS.
        out: the file or folder that the user asks for.
        overwrite: whether ``out`` may exist.

    Raises:
        RequestError: there is no such exporter, or ``out`` exists already.
        PluginError: the exporter cannot be used, or failed; nothing was written.
        OutputError: ``out`` cannot be written.
    """
    exporter = exporter_of(to)
    check_out(out, exporter.suffix, overwrite=overwrite)
    if exporter is BUNDLE:
        yield out
        return
    with TemporaryDirectory() as folder:
        bundle = Path(folder) / f"{out.stem}{BUNDLE.suffix}"
        yield bundle
        export_bundle(bundle, to, out, overwrite=overwrite)


def exporter_of(name: str) -> ExporterPlugin:
    """Return an exporter.

    Raises:
        RequestError: there is none of that name.
        PluginError: it cannot be used.
    """
    if name not in EXPORTERS:
        raise RequestError(must_be("--to", f"one of {', '.join(EXPORTERS)}", name))
    return EXPORTERS[name]


def export_bundle(bundle: Path, to: str, out: Path, *, overwrite: bool = False) -> None:
    """Write a bundle as something else.

    Args:
        bundle: the bundle's file.
        to: the exporter, a key of EXPORTERS.
        out: the file or folder to write.
        overwrite: replace ``out``.

    Raises:
        InputError: it is no bundle.
        RequestError: there is no such exporter, or ``out`` exists already.
        PluginError: the exporter cannot be used, or failed; nothing was written.
        OutputError: ``out`` cannot be written.
    """
    exporter = exporter_of(to)
    Bundle.open(bundle)
    check_out(out, exporter.suffix, overwrite=overwrite)
    plugin = registered("exporters").by_name[to]
    if not exporter.suffix:
        with staged_folder(out, overwrite=overwrite) as folder:
            _write(plugin, exporter, bundle, folder)
        return
    with only_one(out), replaced(out) as new, TemporaryDirectory(prefix=".", dir=out.parent) as folder:
        written = Path(folder) / out.name
        _write(plugin, exporter, bundle, written)
        written.replace(new)


def _write(plugin: Plugin, exporter: ExporterPlugin, bundle: Path, out: Path) -> None:
    with plugin.guarded("failed", PosetoolsError):
        exporter.write(bundle, out)
        if not (out.is_file() if exporter.suffix else any(out.iterdir())):
            raise plugin.error(f"must write the path that it is given, {out.name}, but did not")
