"""The protocol of a check, a plug-in of the group ``posetools.checks``, and running all that are registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from posetools.checks.data import CheckedData
from posetools.core.findings import Finding, Rule
from posetools.core.place import Origin
from posetools.errors import PluginError, show_value
from posetools.plugins.registry import Loaded, Plugin, registered


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckPlugin:
    """A check of a data set. Its name is that of the entry point.

    Attributes:
        check: yields the findings on a data set; most come from ``SoundObjects.finding``, which names the object. It
            must not change the data.
        rules: what it reports, by code without the check's name: E for errors or W for warnings, and a number. A
            finding's code is the check's name and such a code, as in ``rivets/W1``.
    """

    check: Callable[[CheckedData], Iterable[Finding]]
    rules: Mapping[str, Rule] = field(default_factory=dict)


def _accept(plugin: Plugin, found: object) -> CheckPlugin:
    if not isinstance(found, CheckPlugin):
        raise plugin.error(f"must be a CheckPlugin, got {show_value(found)}")
    if not callable(found.check):
        raise plugin.error(f"must give a function as check of its CheckPlugin, got {show_value(found.check)}")
    return found


CHECKS: Loaded[CheckPlugin] = Loaded("checks", _accept)


def run_checks(data: CheckedData) -> Iterator[Finding]:
    """Yield the findings of all registered checks; a check that fails is a finding, and the others still run."""
    for name, plugin in registered("checks").by_name.items():
        try:
            yield from _run(plugin, CHECKS[name], data)
        except PluginError as exc:
            yield Finding("W401", str(data.path), "", exc.sentence, exc.hint)


def _run(plugin: Plugin, found: CheckPlugin, data: CheckedData) -> Iterator[Finding]:
    if plugin.own:
        yield from found.check(data)
        return
    with plugin.guarded("fails to check this data set"):
        for one in found.check(data):
            _refuse_nonsense(plugin, one)
            yield replace(one, fixable=False)


def _refuse_nonsense(plugin: Plugin, one: object) -> None:
    if type(one) is not Finding:
        raise plugin.error(f"must yield Findings, got {show_value(one)}")
    if not one.code.startswith(f"{plugin.name}/"):
        raise plugin.error(
            f"must yield findings with codes of its rules, {plugin.name}/..., got {show_value(one.code)}"
        )
    texts = (one.file, one.place, one.message, one.hint, *one.details, *one.keypoints)
    if not all(isinstance(text, str) for text in texts) or not isinstance(one.other, Origin | None):
        raise plugin.error(f"must yield findings whose fields are texts, got {show_value(texts)}")
