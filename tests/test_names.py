"""One name for one thing: a class has one definition, and a constant or type has one value wherever it is defined."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from tools.layers import ROOT

# The module of every format and every trainer describes itself under this name.
INTERFACES = {"FORMAT", "TRAINER"}
# A command-line option has the same name in every command; type variables do not count.
NO_THINGS = {"typer", "TypeVar"}
CLASS = "class"


def _meanings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of classes, and of the module's constants and types with their values."""
    yield from ((node.name, CLASS) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    no_things = set(NO_THINGS)
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                yield from _assigned(target, node.value, no_things)
                # _split = partial(typer.Option, rich_help_panel="Splits"): what is made with it is an option.
                if isinstance(target, ast.Name) and ast.unparse(node.value).startswith("partial(typer.Option"):
                    no_things.add(target.id)


def _assigned(target: ast.expr, value: ast.expr, no_things: set[str]) -> Iterator[tuple[str, str]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, its in zip(target.elts, value.elts, strict=True):
            yield from _assigned(one, its, no_things)
    elif isinstance(target, ast.Name):
        used = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
        if target.id.lstrip("_")[:1].isupper() and target.id not in INTERFACES and not no_things & used:
            yield target.id, ast.unparse(value)


def test_no_name_of_a_class_or_constant_stands_for_two_things() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted(ROOT.rglob("*.py")):
        for name, meaning in _meanings(ast.parse(path.read_text(encoding="utf-8"))):
            found[name].append(meaning)
            places[name].append(path.relative_to(ROOT).as_posix())
    wrong = {name: places[name] for name, same in found.items() if same.count(CLASS) > 1 or len(set(same)) > 1}
    assert wrong == {}, "two things have two names; one thing is defined once, and imported"
