"""pyproject.toml requires exactly what the package imports: nothing more in the core, nothing missing anywhere."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from posetools.mm.environment import CORE
from tools.layers import ROOT

PROJECT = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Distributions whose module has another name.
MODULES = {
    "mmcv-lite": "mmcv",
    "opencv-python": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "setuptools": "pkg_resources",
    "sleap-io": "sleap_io",
}
# Modules that come with another required distribution.
WITH = {"annotated_types": "pydantic", "dask": "distributed", "markupsafe": "jinja2", "pydantic_core": "pydantic"}


def _modules(requirements: list[str]) -> set[str]:
    names = (re.match(r"[\w-]+", one) for one in requirements)
    return {MODULES.get(name[0], name[0].replace("-", "_")) for name in names if name}


def _imported() -> Iterator[tuple[str, Path]]:
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for top in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"posetools"}:
                yield WITH.get(top, top), path


def test_the_core_is_what_is_imported_without_an_extra() -> None:
    extras = set().union(*(_modules(of) for name, of in PROJECT["optional-dependencies"].items() if name != "dev"))
    found = {module for module, _ in _imported()}
    # The train extra pins numpy to one version.
    assert found - extras | {"numpy"} == _modules(PROJECT["dependencies"])
    assert _modules(list(CORE)) == _modules(PROJECT["dependencies"]), "`posetools doctor` must show these"
