"""No place, message or hint is taken apart or rewritten: code that needs a part of one gets that part.

Texts are recognized by name (``message``, ``hint``, ...). ``as_message`` alone breaks a message into lines.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import posetools

ROOT = Path(posetools.__file__).resolve().parent
TEXTS = {"place", "message", "hint", "problem"}
CUTS = {"partition", "rpartition", "split", "rsplit", "splitlines", "replace", "removeprefix", "removesuffix"}
CUTS |= {"startswith", "endswith"}
PATTERNS = {"match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}
# Function -> why it reads a text.
READS = {
    "errors.said_once": "a sentence that begins with its place has it once",
    "errors.first_line": "what other libraries say in many lines",
    "errors.from_json_error": "pydantic_core says the line and the column in words alone",
    "mm.checkpoint._refusal": "torch says what a file asks for in words alone",
    "mm.stack.failures": "OpenMMLab's errors end with the one that counts",
    "plugins.registry.guarded": "what other packages say in many lines",
    "training.mishaps._worker": "torch says how a worker ended in words alone",
    "training.mishaps._image": "MMPose names the image in words alone",
}
# A text that has more lines, or a label before what to do.
LAID_OUT = re.compile(r"\n {2}|\bfix: ", re.IGNORECASE)
# Module -> why its texts match that.
LAYS_OUT = {"errors": "the lines and the label of all messages", "recipes.emit": "the lines of a table of notes"}


def _names_text(node: ast.expr, errors: set[str]) -> bool:
    """Return whether an expression is a place, a message or a hint, or the text of an error."""
    if isinstance(node, ast.Attribute):
        return node.attr in TEXTS
    if isinstance(node, ast.Name):
        return node.id in TEXTS
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str" and node.args:
        return (isinstance(node.args[0], ast.Name) and node.args[0].id in errors) or _names_text(node.args[0], errors)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "strip":
        return _names_text(node.func.value, errors)
    if isinstance(node, ast.BoolOp):
        return any(_names_text(one, errors) for one in node.values)
    return False


def _cuts(function: ast.AST) -> Iterator[int]:
    """Yield the lines in which a function takes such a text apart."""
    errors = {"exc", "error", "cause"} | {
        node.name for node in ast.walk(function) if isinstance(node, ast.ExceptHandler) and node.name
    }
    held = {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and _names_text(node.value, errors)
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    def is_text(node: ast.expr) -> bool:
        return _names_text(node, errors) or (isinstance(node, ast.Name) and node.id in held)

    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            cut = node.func.attr in CUTS and is_text(node.func.value)
            if cut or (node.func.attr in PATTERNS and any(map(is_text, node.args))):
                yield node.lineno


def test_nobody_takes_a_text_apart() -> None:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and (lines := sorted(set(_cuts(function)))):
                found[f"{module}.{function.name}"] = lines
    assert found.keys() == READS.keys(), found


def _literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the texts in a module except docstrings, with their lines."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def _is_error(node: ast.AST) -> bool:
    name = node.func if isinstance(node, ast.Call) else None
    return isinstance(name, ast.Name) and name.id.endswith(("Error", "Finding", "as_message"))


def test_messages_are_laid_out_in_one_place() -> None:
    """A raised text has no line break and no ``fix:``: its details and its hint are given apart."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lines = [line for line, text in _literals(tree) if LAID_OUT.search(text)]
        for call in filter(_is_error, ast.walk(tree)):
            lines += [line for line, text in _literals(call) if "\n" in text]
        if lines:
            found[module] = lines
    assert found.keys() == LAYS_OUT.keys(), found
