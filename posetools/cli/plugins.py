"""The state of every plug-in of another package, for ``posetools doctor``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from posetools.errors import PluginError

if TYPE_CHECKING:
    from posetools.plugins.registry import Kind, Plugin


# The tables from which plug-ins are used.
_USED_FROM: Mapping[str, Sequence[str]] = {
    "formats": ["posetools.formats:FORMATS"],
    "skeletons": ["posetools.core.skeleton:BUILT_IN"],
    "checks": ["posetools.checks.plugin:CHECKS", "posetools.core.findings:RULES_OF_CHECKS"],
    "exporters": ["posetools.exporting.exporter:EXPORTERS"],
}


@dataclass(frozen=True, slots=True)
class State:
    """A plug-in of another package, and whether it is used.

    Attributes:
        plugin: which one.
        problem: why it is not used; empty if it is.
        fix: what to do.
    """

    plugin: Plugin
    problem: str = ""
    fix: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        plugin = self.plugin
        texts = {name: getattr(plugin, name) for name in ("kind", "name", "package", "version", "target")}
        return {**texts, "ok": not self.problem, "problem": self.problem, "fix": self.fix}


def states() -> list[State]:
    """Return all plug-ins of other packages, by kind; each is imported."""
    from posetools.plugins.registry import KINDS, registered

    found = []
    for kind in KINDS:
        known = registered(kind)
        found += [_state(plugin) for plugin in known.by_name.values() if not plugin.own]
        for plugin in known.hidden:
            first = known.by_name[plugin.name]
            problem = f"{plugin.title} has the name of the one of package {first.package}, which is used"
            found.append(State(plugin, problem, f"uninstall {plugin.package}, or {first.package}"))
    return found


def _state(plugin: Plugin) -> State:
    try:
        _use(plugin.kind, plugin.name)
    except PluginError as exc:
        return State(plugin, exc.sentence, exc.hint)
    return State(plugin)


def _use(kind: Kind, name: str) -> None:
    """Import a plug-in as its users do.

    Raises:
        PluginError: it cannot be used.
    """
    from posetools.cli.commands import Command
    from posetools.plugins.registry import Loaded

    if kind == "commands":
        Command(name, "of another package", "").as_click()
    elif kind == "trainers":
        Loaded[Any]("trainers")[name]
    else:
        for table in _USED_FROM[kind]:
            module, _, attribute = table.partition(":")
            getattr(import_module(module), attribute)[name]
