"""The text of a config, laid out in milliseconds. mmengine uses yapf, which takes up to two seconds."""

from __future__ import annotations

import ast

_LINE_WIDTH = 120
_LINE_INDENT = "    "


def laid_out(text: str) -> str:
    """Return the assignments of a config with one line for each part of a value that is too long for one line.

    Raises:
        SyntaxError: it is no Python code.
    """
    return "".join(f"{_assignment(line)}\n" for line in ast.parse(text).body)


def _assignment(line: ast.stmt) -> str:
    if isinstance(line, ast.Assign):
        return _value(line.value, f"{ast.unparse(line.targets[0])} = ", "")
    return ast.unparse(line)


def _value(value: ast.expr, name: str, indent: str) -> str:
    """Return the lines of a value; ``name`` is what is before it."""
    flat = f"{indent}{name}{ast.unparse(value)}"
    if len(flat) < _LINE_WIDTH:
        return flat
    if isinstance(value, ast.Call):
        brackets = f"{ast.unparse(value.func)}()"
        parts = [("", one) for one in value.args] + [(f"{one.arg}=", one.value) for one in value.keywords]
    elif isinstance(value, ast.Dict):
        brackets = "{}"
        parts = [(f"{ast.unparse(key)}: ", one) for key, one in zip(value.keys, value.values, strict=True) if key]
    elif isinstance(value, ast.List | ast.Tuple):
        brackets, parts = "[]" if isinstance(value, ast.List) else "()", [("", one) for one in value.elts]
    else:
        return flat
    lines = "".join(f"{_value(one, start, indent + _LINE_INDENT)},\n" for start, one in parts)
    return f"{indent}{name}{brackets[:-1]}\n{lines}{indent}{brackets[-1]}"
