"""Counts the files ("rooms") that a request passes through, from the function that takes it to the written files.

``python -m tools.walk convert|eval|export [--checkout DIR]`` follows the request of a command through the source,
without running it, to compare two checkouts. It starts in the function that gets the command's request, and follows the
calls that pass on the request, a part of it, or a value computed from it: in source order, on all branches, each
function once. Raised errors are ignored.

- A room is a file that such a call enters; their folders are counted too.
- A return is a call into a room that the walk left before.

Values stored in an object of the package are not followed, nor choices at run time (the reader of a format). A method
is found by the class that annotates, or creates, its object.
"""

from __future__ import annotations

import argparse
import ast
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Where each command passes its request, newest first; for eval with --run.
STARTS = {
    "convert": ("datasets/convert.py:convert", "convert.py:convert"),
    "eval": (
        "evaluation/run.py:_evaluate_run",
        "evaluation/checkpoints.py:evaluate_run",
        "mm/evaluate.py:evaluate_run",
    ),
    "export": ("exporting/export.py:export", "mm/export.py:export"),
}


@dataclass(eq=False)
class Function:
    """A function or method of the package."""

    module: Module
    node: ast.FunctionDef
    holder: str = ""

    @property
    def parameters(self) -> list[str]:
        """Return their names in order, without ``self``."""
        arguments = self.node.args
        names = [each.arg for each in (*arguments.posonlyargs, *arguments.args)]
        bound = self.holder and not any(ast.unparse(each) == "staticmethod" for each in self.node.decorator_list)
        return [*names[bool(bound) :], *(each.arg for each in arguments.kwonlyargs)]


@dataclass(eq=False)
class Module:
    """A file of the package, and its names."""

    file: str
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    classes: dict[str, dict[str, Function]] = field(default_factory=dict)


class House:
    """All files of a checkout's package."""

    def __init__(self, package: Path) -> None:
        self.modules: dict[str, Module] = {}
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self.modules[name] = self._read(path, Module(path.relative_to(package).as_posix()))

    def _read(self, path: Path, module: Module) -> Module:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    module.imported[alias.asname or alias.name] = (node.module or "", alias.name)
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                module.functions[node.name] = Function(module, node)
            elif isinstance(node, ast.ClassDef):
                own = [each for each in node.body if isinstance(each, ast.FunctionDef)]
                module.classes[node.name] = {each.name: Function(module, each, node.name) for each in own}
        return module

    def place(self, module: Module, name: str) -> tuple[Module, str] | None:
        """Return the module that defines ``name`` of ``module``, and its name there."""
        if name in module.functions or name in module.classes:
            return module, name
        source, original = module.imported.get(name, ("", ""))
        return self.place(self.modules[source], original) if source in self.modules else None


class Walk:
    """The path of one parameter."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.stays: list[str] = []
        self._gives_back: dict[Function, bool] = {}

    def enter(self, function: Function, mine: set[str]) -> bool:
        """Follow a function's parameters ``mine``; return whether it returns them."""
        room = function.module.file
        if not self.stays or self.stays[-1] != room:
            self.stays.append(room)
        if function not in self._gives_back:
            self._gives_back[function] = False
            visit = _Visit(self, function, mine)
            visit.body(function.node.body)
            self._gives_back[function] = visit.returned
        return self._gives_back[function]

    @property
    def rooms(self) -> list[str]:
        """Return the distinct files, in order of entry."""
        return list(dict.fromkeys(self.stays))


class _Visit(ast.NodeVisitor):
    """What one function does with its arguments."""

    def __init__(self, walk: Walk, function: Function, mine: set[str]) -> None:
        self.returned = False
        self._walk, self._function, self._mine = walk, function, set(mine)
        self._given_back: set[ast.Call] = set()
        arguments = function.node.args
        notes = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        self._types = {each.arg: ast.unparse(each.annotation) for each in notes if each.annotation}
        if function.holder:
            self._types["self"] = function.holder

    def body(self, statements: list[ast.stmt]) -> None:
        for each in statements:
            self.visit(each)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Ignore it."""

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.visit(node.value)
            self.returned |= self._is_me(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self._bind(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
            self._bind(node.target, node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        if self._is_me(node.value):
            self._bind(node.target, node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._bind(node.target, node.value)

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        self._bind(node.target, node.iter)
        self.body([*node.body, *node.orelse])

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self._bind(item.optional_vars, item.context_expr)
        self.body(node.body)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.visit(node.iter)
        self._bind(node.target, node.iter)
        for each in node.ifs:
            self.visit(each)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        for each in node.generators:
            self.visit(each)
        for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            self.visit(part)

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        called = self._called(node.func)
        if called is None:
            return
        names = called.parameters
        mine = {name for name, value in zip(names, node.args, strict=False) if self._is_me(value)}
        mine |= {each.arg for each in node.keywords if each.arg and self._is_me(each.value)}
        mine |= {names[-1] for each in node.args if names and isinstance(each, ast.Starred) and self._is_me(each.value)}
        if called.holder and isinstance(node.func, ast.Attribute) and self._is_me(node.func.value):
            mine.add("self")
        if mine and self._walk.enter(called, mine):
            self._given_back.add(node)

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        names = {each.id for each in ast.walk(target) if isinstance(each, ast.Name)}
        if self._is_me(value):
            self._mine |= names
        made = value.func if isinstance(value, ast.Call) else None
        if isinstance(target, ast.Name) and isinstance(made, ast.Name):
            self._types[target.id] = made.id

    def _is_me(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Name):
            return node.id in self._mine
        if isinstance(node, ast.Call):
            return self._result_is_me(node)
        if isinstance(node, ast.Compare | ast.Constant | ast.Lambda):
            return False
        if isinstance(node, ast.IfExp):
            return self._is_me(node.body) or self._is_me(node.orelse)
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
            return self._is_me(node.elt)
        return any(self._is_me(each) for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr))

    def _result_is_me(self, node: ast.Call) -> bool:
        if self._called(node.func) is not None:
            return node in self._given_back
        if isinstance(node.func, ast.Name) and self._walk.house.place(self._function.module, node.func.id):
            return False
        if isinstance(node.func, ast.Attribute) and self._is_me(node.func.value):
            return True
        return any(map(self._is_me, (*node.args, *(each.value for each in node.keywords))))

    def _called(self, node: ast.expr) -> Function | None:
        house, module = self._walk.house, self._function.module
        if isinstance(node, ast.Name):
            found = house.place(module, node.id)
            if found is None:
                return None
            home, name = found
            return home.functions.get(name) or home.classes.get(name, {}).get("__init__")
        if not isinstance(node, ast.Attribute):
            return None
        kind = self._types.get(node.value.id, node.value.id) if isinstance(node.value, ast.Name) else ""
        found = house.place(module, kind)
        if found and found[1] in found[0].classes:
            return found[0].classes[found[1]].get(node.attr)
        return None


def walk(package: Path, command: str) -> tuple[str, Walk]:
    """Return where a command passes its request in a checkout, and the walk of the request from there."""
    house = House(package)
    for start in STARTS[command]:
        file, name = start.split(":")
        for module in house.modules.values():
            if module.file == file and name in module.functions:
                trip = Walk(house)
                trip.enter(module.functions[name], {"request"})
                return start, trip
    raise SystemExit(f"{package}: has none of {', '.join(STARTS[command])}")


def main() -> None:
    """Print the walk of one command's request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=STARTS)
    parser.add_argument("--checkout", type=Path, default=ROOT, help="the folder with posetools/")
    arguments = parser.parse_args()
    start, trip = walk(arguments.checkout.resolve() / "posetools", arguments.command)
    rooms = trip.rooms
    folders = {room.rpartition("/")[0] for room in rooms}
    print(f"{start}: {len(rooms)} rooms, {len(trip.stays) - len(rooms)} returns, {len(folders)} folders")
    for room in rooms:
        print(f"  {room}  {trip.stays.count(room)}")


if __name__ == "__main__":
    main()
