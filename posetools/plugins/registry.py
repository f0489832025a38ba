"""Find plug-ins by their entry points, and load them.

A package registers a plug-in in its pyproject.toml, in the group of its kind::

    [project.entry-points."posetools.formats"]
    kitti = "posetools_kitti:FORMAT"

posetools registers what it ships in the same way. docs/plugins.md says what the target of each kind must be. Finding
plug-ins reads the metadata of installed packages and imports none of them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args

from posetools.errors import PluginError, PosetoolsWarning, must_be

if TYPE_CHECKING:
    from importlib.metadata import Distribution

Kind = Literal["formats", "skeletons", "checks", "trainers", "exporters", "commands"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# The version of the protocols. The module of a plug-in states the one that it was written for, as PLUGIN_API.
PLUGIN_API = 1

OWN = "posetools"
_GROUP = "posetools."
# Characters of another package's error that a message shows.
_MOST_SAID = 300
# Names are typed on command lines, and are the first part of finding codes (``kitti/E1``).
_PLUGIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

Target = TypeVar("Target")


@dataclass(frozen=True, slots=True)
class Plugin:
    """A registered plug-in.

    Attributes:
        kind: what it adds.
        name: as on the command line.
        package: the distribution that registers it.
        version: of that distribution.
        target: the object, as ``module:name``.
    """

    kind: Kind
    name: str
    package: str
    version: str
    target: str

    @property
    def own(self) -> bool:
        """Whether posetools ships it."""
        return self.package == OWN

    @property
    def title(self) -> str:
        """How messages name it."""
        return f"plug-in {self.name!r} ({self.kind}) of package {self.package} {self.version}"

    def load(self) -> Any:
        """Import its module and return its object.

        Raises:
            PluginError: the module cannot be imported, was written for another version of the protocols, or has no such
                object. Errors in posetools' own modules are raised as they are.
        """
        module, _, path = self.target.partition(":")
        with self.guarded("cannot be imported"):
            loaded = import_module(module)
            found = _object(loaded, path)
        stated = getattr(loaded, "PLUGIN_API", None)
        if not self.own and stated != PLUGIN_API:
            says = "does not state PLUGIN_API" if stated is None else f"has PLUGIN_API = {stated!r}"
            raise self.error(f"must be written for PLUGIN_API = {PLUGIN_API}, but {module} {says}")
        if not self.own and not _PLUGIN_NAME.fullmatch(self.name):
            raise self.error(must_be("has a name that", "letters, digits, '_', '.' and '-'", self.name))
        return found

    @contextmanager
    def guarded(self, problem: str, *passing: type[BaseException]) -> Iterator[None]:
        """Turn what the code of another package raises into a PluginError.

        Args:
            problem: what it means, for the message.
            passing: exceptions that are raised as they are, in addition to PluginError.

        Raises:
            PluginError: the code raised anything else, or called ``sys.exit``.
        """
        kept: tuple[type[BaseException], ...] = (PluginError, *passing)
        try:
            yield
        except kept:
            raise
        # Another package's code may raise anything.
        except (Exception, SystemExit) as exc:
            if self.own:
                raise
            # What pydantic says takes several lines.
            said = " ".join(str(exc).split())
            more = "..." if len(said) > _MOST_SAID else ""
            raise self.error(f"{problem}: {type(exc).__name__}: {said[:_MOST_SAID]}{more}") from exc

    def error(self, problem: str) -> PluginError:
        """Return an error that names the plug-in and its package."""
        return PluginError(f"{self.title} {problem}", hint=f"update or uninstall {self.package}")


def _object(module: Any, path: str) -> Any:
    found = module
    for part in filter(None, path.split(".")):
        found = getattr(found, part)
    return found


@dataclass(frozen=True, slots=True)
class Registered:
    """The plug-ins of one kind.

    Attributes:
        by_name: those in use: posetools' own in alphabetical order, then those of other packages.
        hidden: those whose name another one has already.
    """

    by_name: Mapping[str, Plugin]
    hidden: tuple[Plugin, ...]


@cache
def registered(kind: Kind) -> Registered:
    """Return the plug-ins of one kind.

    Raises:
        PluginError: the metadata of posetools itself does not match its code.
    """
    found = [
        Plugin(kind, each.name, *_package(each.dist), each.value.partition("[")[0].strip())
        for each in _entry_points().select(group=f"{_GROUP}{kind}")
    ]
    by_name: dict[str, Plugin] = {}
    hidden = []
    for plugin in sorted(found, key=lambda one: (not one.own, one.package, one.name)):
        if plugin.name in by_name:
            hidden.append(plugin)
        else:
            by_name[plugin.name] = plugin
    if not any(plugin.own for plugin in by_name.values()):
        raise PluginError(
            f"the installed metadata of posetools lists none of its {kind}",
            hint="install posetools again: `make install` in a checkout, or `pip install .`",
        )
    return Registered(by_name, tuple(hidden))


@cache
def _entry_points() -> Any:
    # The import takes longer than printing the help (posetools/cli/front.py).
    from importlib.metadata import entry_points

    return entry_points()


def _package(distribution: Distribution | None) -> tuple[str, str]:
    """Return the name and the version of a package, whose metadata may be damaged."""
    try:
        return (str(distribution.name), str(distribution.version)) if distribution else ("?", "?")
    except Exception:
        return "?", "?"


def _as_found(_: Plugin, found: Any) -> Any:
    return found


@dataclass(frozen=True, slots=True)
class Loaded(Mapping[str, Target], Generic[Target]):
    """The plug-ins of one kind by name, each imported on first use.

    ``in`` and ``[name]`` know all of them, and ``[name]`` raises the PluginError of one that cannot be used. Iteration
    and ``get`` leave it out with a warning, so that it stops nothing but its own use.

    Attributes:
        kind: which ones.
        accept: returns what is used, given a plug-in and its object; raises if that is not what the protocol says.
    """

    kind: Kind
    accept: Callable[[Plugin, Any], Target] = _as_found
    _known: dict[str, Target | PluginError] = field(default_factory=dict, compare=False)

    def __getitem__(self, name: str) -> Target:
        if name not in self._known:
            plugin = registered(self.kind).by_name[name]
            try:
                found = plugin.load()
                with plugin.guarded("cannot be used"):
                    self._known[name] = self.accept(plugin, found)
            except PluginError as exc:
                self._known[name] = exc
        known = self._known[name]
        if isinstance(known, PluginError):
            raise known
        return known

    def __contains__(self, name: object) -> bool:
        return name in registered(self.kind).by_name

    def __iter__(self) -> Iterator[str]:
        for plugin in registered(self.kind).by_name.values():
            if plugin.own or self._is_usable(plugin.name):
                yield plugin.name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a plug-in's object; ``default`` if there is none of that name, or if it cannot be used."""
        return self[name] if name in self and self._is_usable(name) else default

    def _is_usable(self, name: str) -> bool:
        try:
            self[name]
        except PluginError as exc:
            warn_of(exc)
            return False
        return True


@cache
def warn_of(problem: PluginError) -> None:
    """Warn, once, that a plug-in is not used."""
    warnings.warn(PosetoolsWarning(str(problem)), stacklevel=2)
