"""The layers of the package, from its source, and what starting the command line loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

from posetools.cli.commands import COMMANDS, Command
from tools.layers import LAYERS, ROOT, folders, purpose

# Who may import the modules of an extra, only inside functions.
OF_EXTRAS = {
    **dict.fromkeys(
        ("torch", "torchvision", "mmcv", "mmengine", "mmdet", "mmpose", "xtcocotools", "onnx"),
        "mm training exporting trainers",
    ),
    "cv2": "mm runtime imaging training exporting trainers",
    "onnxruntime": "mm runtime exporting",
    "matplotlib": "training",
    **dict.fromkeys(("h5py", "pandas", "sleap_io", "tables"), "formats"),
    "imagehash": "checks",
    "supervision": "runtime",
    "distributed": "scale",
    "fsspec": "files",
}
# What `posetools --help` may load, in addition to the standard library and the commands' own modules.
LIGHT = ("typer", "typer.core", "posetools", "posetools.errors", "posetools.plugins.registry")


class Import(NamedTuple):
    module: str
    target: str
    line: int
    at_module_level: bool


def _modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


@cache
def _imports() -> tuple[Import, ...]:
    return tuple(found for path in _modules() for found in _imports_of(path))


def _imports_of(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = {id(node) for function in _lazy_blocks(tree) for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: line {node.lineno}: imports must be absolute"
            module = node.module or ""
            targets = [_module_or_parent(module, alias.name) for alias in node.names]
        else:
            continue
        for target in targets:
            yield Import(_name(path), target, node.lineno, id(node) not in lazy)


def _lazy_blocks(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield code that does not run when the module is imported: functions, and blocks for the type checker."""
    for node in ast.walk(tree):
        type_checking = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or type_checking:
            yield node


def _module_or_parent(module: str, name: str) -> str:
    """Return ``module.name`` if that is a module of posetools, else ``module``."""
    if module.partition(".")[0] != "posetools":
        return module
    path = ROOT.joinpath(*module.split(".")[1:], name)
    return f"{module}.{name}" if path.with_suffix(".py").is_file() or path.is_dir() else module


def _own(target: str) -> str | None:
    """Return a target's name within posetools, or None if it is outside the package."""
    if target == "posetools":
        return "__init__"
    return target.removeprefix("posetools.") if target.startswith("posetools.") else None


def _level(module: str) -> int | None:
    top = module.partition(".")[0]
    return next((level for level, names in enumerate(LAYERS) if top in names.split()), None)


def test_every_module_has_its_layer() -> None:
    without = [name for name in map(_name, _modules()) if _level(name) is None]
    assert without == [], "add them to LAYERS"


def test_imports_go_one_way() -> None:
    wrong = []
    for found in _imports():
        own = _own(found.target)
        # Two packages export names of others, and load them on first use.
        given_out = found.module in ("__init__", "plugins") and not found.at_module_level
        if own is None or given_out or own.partition(".")[0] == found.module.partition(".")[0]:
            continue
        if found.module != "__main__" and (_level(own) or 0) >= (_level(found.module) or 0) > 0:
            wrong.append(f"{found.module}, line {found.line}: imports {own}, which is no earlier layer")
    assert wrong == []


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.relative_to(ROOT).as_posix())
def test_a_folder_says_in_a_sentence_what_it_is_for(folder: Path) -> None:
    assert purpose(folder).endswith(".") and len(purpose(folder)) <= 160


def test_no_module_imports_itself_through_others() -> None:
    graph: dict[str, set[str]] = {}
    for found in _imports():
        own = _own(found.target)
        if own and found.at_module_level and own != found.module:
            graph.setdefault(found.module, set()).add(own)
    # A package's __init__ runs before any of its modules, so a module cannot be required to come before it.
    TopologicalSorter({module: {t for t in targets if t != "cli"} for module, targets in graph.items()}).prepare()


def test_packages_of_extras_are_imported_where_they_may_be_and_only_inside_functions() -> None:
    wrong = [
        f"{found.module}, line {found.line}: {found.target}"
        for found in _imports()
        if (package := found.target.partition(".")[0]) in OF_EXTRAS
        and (found.module.partition(".")[0] not in OF_EXTRAS[package].split() or found.at_module_level)
    ]
    assert wrong == []


def test_commands_import_next_to_nothing_when_they_are_loaded() -> None:
    places = {_own(command.plugin.target.partition(":")[0]) or "" for command in COMMANDS}
    loaded, waiting, heavy = set(), ["cli", "cli.app", *places], []
    while waiting:
        module = waiting.pop()
        loaded.add(module)
        for found in _imports():
            if found.module != module or not found.at_module_level:
                continue
            if found.target.startswith("posetools.cli"):
                waiting += {found.target.removeprefix("posetools.")} - loaded
            elif found.target not in LIGHT and found.target.partition(".")[0] not in sys.stdlib_module_names:
                heavy.append(f"{module}, line {found.line}: {found.target}")
    assert {"cli.app", "cli.convert", "cli.train"} <= loaded
    assert heavy == []


# What commands must not load without need. Pydantic and rich are loaded by typer as soon as there are options.
HEAVY = (*OF_EXTRAS, "dask", "distributed", "fsspec", "scipy")
OF_THE_CORE = ("numpy", "PIL", "yaml", "jinja2", "msgspec", "defusedxml")
OF_TYPER = ("typer", "rich", "pydantic")


def _loaded(code: str, among: Iterable[str]) -> list[str]:
    """Return which of these modules some code loads; it may exit like a command."""
    end = f"\nfinally: print('loaded', *sorted(set({list(among)!r}) & set(sys.modules)))"
    code = "import sys\ntry:\n " + code.replace("\n", "\n ") + "\nexcept SystemExit as e:\n if e.code: raise" + end
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, *names = done.stdout.splitlines()[-1].split()
    assert said == "loaded"
    return names


def _command(*words: str | Path) -> str:
    words = ("posetools", *map(str, words))
    return f"sys.argv = {list(words)!r}\nfrom posetools.cli import main\nmain()"


@pytest.mark.parametrize(
    "code", ["import posetools", "import posetools.cli", _command("--help"), _command("--version")]
)
def test_starting_loads_nothing_but_the_standard_library(code: str) -> None:
    assert _loaded(code, [*HEAVY, *OF_THE_CORE, *OF_TYPER]) == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_help_of_a_command_loads_nothing_but_typer(command: Command) -> None:
    targets = {each.plugin.target for each in COMMANDS} - {command.plugin.target}
    others = [target.partition(":")[0] for target in targets]
    assert _loaded(_command(command.name, "--help"), [*HEAVY, *OF_THE_CORE, *others, "rich"]) == []


def test_converting_checking_and_splitting_load_nothing_of_an_extra(tmp_path: Path) -> None:
    source, out = Path(__file__).parents[1] / "data/labelme", tmp_path / "out"
    assert _loaded(_command("convert", source, "--out", out), [*HEAVY, "jinja2"]) == []
    assert _loaded(_command("validate", out), [*HEAVY, "jinja2"]) == []
    assert _loaded(_command("split", out, "--val", "0.3"), [*HEAVY, "jinja2"]) == []
    assert _loaded(_command("skeleton", "show"), [*HEAVY, "numpy", "PIL", "jinja2"]) == []


def test_a_process_that_reads_one_format_loads_no_other() -> None:
    others = [f"posetools.formats.{name}" for name in ("cvat", "label_studio", "via", "sleap", "custom", "yolo_pose")]
    assert _loaded("import posetools.formats.labelme.read, posetools.formats.coco.write", [*others, "defusedxml"]) == []
    assert _loaded("from posetools.formats import FORMATS\nFORMATS['coco'].read", others) == []


def test_converting_loads_nothing_of_an_extra() -> None:
    assert (
        _loaded("import posetools.datasets.convert, posetools.datasets.resplit, posetools.core.skeleton_draft", HEAVY)
        == []
    )


@pytest.mark.parametrize("path", _modules(), ids=_name)
def test_functions_and_files_stay_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = _length(node) - _docstring_length(node)
            # Methods of a class defined in a function count as separate functions.
            length -= sum(_length(inner) for inner in ast.walk(node) if isinstance(inner, ast.ClassDef))
            assert length <= 50, f"{path.name}: {node.name} has {length} lines"


def _length(node: ast.FunctionDef | ast.ClassDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _docstring_length(node: ast.FunctionDef) -> int:
    first = node.body[0]
    return (first.end_lineno or first.lineno) - first.lineno + 1 if ast.get_docstring(node, clean=False) else 0
