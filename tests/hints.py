"""Messages of the package that name an option or a command, and the commands that can print them, from the source.

The commands that print a message are derived from names: a function reaches what it names, including classes and
tables, and what these name in turn. A command may reach more than it calls, but never less, except for ``INDIRECT``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import posetools
from posetools.cli.commands import COMMANDS

ROOT = Path(posetools.__file__).resolve().parent


class Node(NamedTuple):
    """A function, a class or a constant: its module and its name there."""

    module: str
    name: str


class Message(NamedTuple):
    """A text of the package: its definition, its line, and the text with ``{}`` for inserted values."""

    node: Node
    line: int
    text: str


class Mention(NamedTuple):
    """An option in a text, and the command that the text names with it (empty: the command that prints it)."""

    option: str
    command: str


_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
_COMMAND = re.compile(r"posetools (skeleton (?:new|show|check)|[a-z]+)")
_ERROR = re.compile(r"E[13]\d\d")
_PARTS = re.compile(r"`[^`]*`|[^`\n]+")

# Formats and checks are looked up by name; only convert writes formats.
_TORCHVISION = "posetools.trainers.torchvision"
INDIRECT = {
    Node("posetools.cli.config", "_write"): [
        Node("posetools.trainers.openmmlab", "_tables"),
        Node("posetools.training.recipe", "emit_folds"),
        Node("posetools.recipes.options", "build_options"),
        *(Node(f"{_TORCHVISION}.recipe", name) for name in ("choose", "write_recipe")),
    ],
    Node("posetools.trainers.runs", "train_run"): [
        Node("posetools.training.pair", "train_all"),
        Node(f"{_TORCHVISION}.recipe", "read_recipe"),
        Node(f"{_TORCHVISION}.train", "train_run"),
    ],
    Node("posetools.pairs.open", "open_pair"): [
        Node("posetools.pairs.find", "pair_of_run"),
        Node("posetools.pairs.open", "open_models"),
        Node(f"{_TORCHVISION}.checkpoint", "checkpoint_in"),
    ],
    Node("posetools.cli.export", "_exported"): [
        Node("posetools.exporting.one_stage", "export_one_stage"),
    ],
    Node("posetools.formats", "FORMATS"): [
        Node(f"posetools.formats.{path.parent.name}.format", "FORMAT")
        for path in sorted((ROOT / "formats").glob("*/format.py"))
    ],
    Node("posetools.checks.plugin", "run_checks"): [
        Node("posetools.checks.own", name) for name in ("_structure", "_plausibility", "_geometry")
    ],
    Node("posetools.datasets.convert", "_write"): [
        Node(f"posetools.formats.{path.parent.name}.format", "write")
        for path in sorted((ROOT / "formats").glob("*/format.py"))
    ],
}


def mentions(text: str) -> Iterator[Mention]:
    """Yield the options that a text names."""
    for part in _PARTS.findall(text):
        named = list(_COMMAND.finditer(part))
        for found in _OPTION.finditer(part):
            before = [each[1] for each in named if each.end() <= found.start()]
            yield Mention(found[0], before[-1] if before else "")


def commands_in(text: str) -> list[str]:
    """Return the commands that a text gives to type: in backticks, or after "next:" and the like."""
    return [found[1] for found in re.finditer(r"`posetools ([a-z]+)", text)]


@cache
def options_of() -> dict[str, frozenset[str]]:
    """Return command -> its options; ``skeleton new`` and the like are commands of their own."""
    found: dict[str, frozenset[str]] = {}
    for command in COMMANDS:
        click = command.as_click()
        parts = getattr(click, "commands", None)
        each = {f"{command.name} {name}": part for name, part in parts.items()} if parts else {command.name: click}
        for name, one in each.items():
            found[name] = frozenset(text for option in one.params for text in (*option.opts, *option.secondary_opts))
    return found


@cache
def roots() -> dict[str, Node]:
    """Return command -> the function that it calls."""
    found: dict[str, Node] = {}
    for command in COMMANDS:
        module, _, name = command.plugin.target.partition(":")
        click = command.as_click()
        inner = getattr(click, "commands", None)
        for part in inner or [""]:
            key = f"{command.name} {part}".strip()
            found[key] = Node(module, inner[part].callback.__name__ if inner else name)
    return found


class _Module:
    """The definitions of one module, and what its names refer to."""

    def __init__(self, path: Path) -> None:
        parts = ("posetools", *path.relative_to(ROOT).with_suffix("").parts)
        self.name = ".".join(parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports = _imports(tree.body)
        for statement in _flat(tree.body):
            for name in _defined(statement):
                self.definitions.setdefault(name, []).append(statement)


def _flat(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try):
            yield from _flat(statement.body)


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    names = [name for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    return [name.id for name in names]


def _imports(body: Iterable[ast.AST]) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for statement in body:
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("posetools"):
            for alias in statement.names:
                found[alias.asname or alias.name] = Node(statement.module or "", alias.name)
    return found


@cache
def _modules() -> dict[str, _Module]:
    return {each.name: each for each in map(_Module, sorted(ROOT.rglob("*.py")))}


def _resolved(node: Node) -> Node | None:
    """Return where a name is defined, through any number of imports; None if that is outside the package."""
    while node.module in _modules():
        module = _modules()[node.module]
        if node.name in module.definitions:
            return node
        if node.name not in module.imports:
            break
        node = module.imports[node.name]
    return None


def _parts(node: Node) -> Iterator[ast.AST]:
    """Yield the nodes of a definition; annotations only in commands, where they hold the help."""
    command = node.module.startswith("posetools.cli")
    waiting: list[ast.AST] = list(_modules()[node.module].definitions[node.name])
    while waiting:
        at = waiting.pop()
        yield at
        skipped = set() if command else {"annotation", "returns"}
        for name, value in ast.iter_fields(at):
            if name not in skipped:
                children = value if isinstance(value, list) else [value]
                waiting += [child for child in children if isinstance(child, ast.AST)]


@cache
def _named(node: Node) -> frozenset[Node]:
    """Return the definitions that a definition names."""
    module = _modules()[node.module]
    inner = _imports(_parts(node))
    found = set(INDIRECT.get(node, ()))
    for at in _parts(node):
        target: Node | None = None
        if isinstance(at, ast.keyword) and at.arg == "write" and node.name == "FORMAT":
            continue
        if isinstance(at, ast.Name):
            target = inner.get(at.id) or Node(module.name, at.id)
        elif isinstance(at, ast.Attribute) and isinstance(at.value, ast.Name):
            base = inner.get(at.value.id) or module.imports.get(at.value.id)
            target = Node(f"{base.module}.{base.name}", at.attr) if base else None
        if target and not (node.name == "FORMAT" and target.name == "write"):
            found.add(target)
    return frozenset(each for each in map(_resolved, found) if each and each != node)


@cache
def reached(command: str) -> frozenset[Node]:
    """Return all definitions that a command may reach."""
    seen: set[Node] = set()
    waiting = [roots()[command]]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += _named(node)
    return frozenset(seen)


@cache
def messages() -> tuple[Message, ...]:
    """Return every text of the package that names an option or a command, without docstrings."""
    found = [
        message
        for module in _modules().values()
        for name in module.definitions
        for message in _texts(Node(module.name, name))
    ]
    return tuple(message for message in found if _OPTION.search(message.text) or "posetools " in message.text)


def _texts(node: Node) -> Iterator[Message]:
    parts = list(_parts(node))
    inside = {id(value) for at in parts if isinstance(at, ast.JoinedStr) for value in at.values}
    docstrings = {id(at.value) for at in parts if isinstance(at, ast.Expr)}
    for at in parts:
        if isinstance(at, ast.JoinedStr):
            pieces = [str(each.value) if isinstance(each, ast.Constant) else "{}" for each in at.values]
            yield Message(node, at.lineno, "".join(pieces))
        elif isinstance(at, ast.Constant) and isinstance(at.value, str) and not {id(at)} & (inside | docstrings):
            yield Message(node, at.lineno, at.value)


def commands_of(message: Message) -> list[str]:
    """Return the commands that may print a message."""
    return [command for command in roots() if message.node in reached(command)]


def errors_of(command: str) -> dict[str, set[str]]:
    """Return the error codes in what a command may reach, each with the definitions that contain it.

    A code that is only compared with is not raised there.
    """
    found: dict[str, set[str]] = {}
    for node in reached(command):
        # That table explains the codes, but does not raise them.
        parts = [] if node.module == "posetools.core.findings" else list(_parts(node))
        compared = {id(inner) for at in parts if isinstance(at, ast.Compare) for inner in ast.walk(at)}
        for at in parts:
            text = at.value if isinstance(at, ast.Constant) and id(at) not in compared else None
            if isinstance(text, str) and _ERROR.fullmatch(text):
                found.setdefault(text, set()).add(f"{node.module}.{node.name}")
    return found
