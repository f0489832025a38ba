"""The state of every plug-in of another package, for ``posetools doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from posetools.errors import PluginError

if TYPE_CHECKING:
    from posetools.plugins.registry import Kind, Plugin


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


def _use(kind: Kind, name: str) -> Any:
    """Import a plug-in as its users do.

    Raises:
        PluginError: it cannot be used.
    """
    from posetools.checks.plugin import CHECKS
    from posetools.cli.commands import Command
    from posetools.core.findings import RULES_OF_CHECKS
    from posetools.core.skeleton import BUILT_IN
    from posetools.exporting.exporter import EXPORTERS
    from posetools.formats import FORMATS
    from posetools.plugins.registry import Loaded

    if kind == "commands":
        return Command(name, "of another package", "").as_click()
    if kind == "trainers":
        return Loaded[Any]("trainers")[name]
    if kind == "checks":
        return CHECKS[name], RULES_OF_CHECKS[name]
    tables: dict[Kind, Loaded[Any]] = {"formats": FORMATS, "skeletons": BUILT_IN, "exporters": EXPORTERS}
    return tables[kind][name]
