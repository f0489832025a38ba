"""Annotation formats, one folder each, imported on first use, and the code that their readers share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from posetools.errors import RequestError, first_names, must_be
from posetools.plugins.registry import Loaded, Plugin

if TYPE_CHECKING:
    from posetools.files.disk import Transfer
    from posetools.formats.entry import Format
    from posetools.formats.options import ReadOptions

# How many sources a message names, and how many lines it uses to describe them.
_NAMED_SOURCES, _SOURCE_LINES = 3, 12


def _accept(plugin: Plugin, found: Any) -> Format:
    if plugin.own:
        return cast("Format", found)
    from posetools.formats.foreign import as_format

    return as_format(plugin, found)


# By name, posetools' own and those of other packages, each imported on first use.
FORMATS: Loaded[Format] = Loaded("formats", _accept)


def told_format(sources: Sequence[Path], rule: str, hint: str = "") -> Format:
    """Return the one format that all sources are in.

    Args:
        sources: files or folders.
        rule: what the sources must be, for the message.
        hint: what to do otherwise.

    Raises:
        RequestError: no format fits, or several do.
    """
    from posetools.files.urls import is_url
    from posetools.files.walking import walked_once
    from posetools.formats.sources.seen import signs_of, what_is_seen

    with walked_once():
        known = {name: each for name, each in FORMATS.items() if each.reads_urls or not any(map(is_url, sources))}
        fitting = [each for each in known.values() if all(each.detect(path) for path in sources)]
        if not fitting:
            # The first few files of a folder may hide hundreds of good ones.
            fitting = [each for each in known.values() if each.detect_widely and all(map(each.detect_widely, sources))]
        if len(fitting) == 1:
            return fitting[0]
        seen = signs_of(fitting, sources) if fitting else what_is_seen(sources, list(known.values()))
        lines = list(islice(seen, _SOURCE_LINES))
    problem = f"{' and '.join(each.name for each in fitting)} fit" if fitting else "none fits"
    named = first_names([str(path) for path in sources], _NAMED_SOURCES)
    if not fitting:
        lines.append(f"docs/convert.md lists what identifies each format: {', '.join(known)}")
    raise RequestError(f"{named}: must be {rule}, but {problem}", *lines, hint=hint)


def check_way(source: Format, paths: Sequence[Path], options: ReadOptions, images: Transfer) -> None:
    """Refuse what only some formats support: URLs, and reading on other machines.

    Args:
        source: the format of the sources.
        paths: the sources.
        options: how they are read.
        images: how the images get into the output.

    Raises:
        RequestError: this format does not support it.
    """
    from posetools.files.urls import is_url
    from posetools.scale.cluster import Cluster

    urls = [path for path in (*paths, *options.image_roots) if is_url(path)]
    if urls and not source.reads_urls:
        able = ", ".join(name for name, each in FORMATS.items() if each.reads_urls)
        raise RequestError(f"{urls[0]}: must be a local path with --from {source.name}; URLs are read with {able}")
    if urls and images not in ("copy", "none"):
        raise RequestError(must_be("--images", f"copy or none for images at a URL ({urls[0]})", images))
    if isinstance(options.engine, Cluster) and not source.in_shards:
        able = ", ".join(name for name, each in FORMATS.items() if each.in_shards)
        raise RequestError(f"--cluster must be left out with --from {source.name}: only {able} are read in shards")
