"""What posetools registers itself, what authors import, and what starting costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import Any, get_args

import pytest

from posetools import plugins
from posetools.cli.commands import COMMANDS
from posetools.plugins.registry import KINDS, Kind, Loaded, registered
from tests.plugins.site import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("kind", get_args(Kind))
def test_what_posetools_ships_is_registered_and_loads(kind: Kind) -> None:
    own = {plugin.name: plugin.target for plugin in registered(kind).by_name.values() if plugin.own}
    assert own == PROJECT["entry-points"][f"posetools.{kind}"], "the metadata is stale: make install"
    assert list(own) == sorted(own)
    if kind != "trainers":
        table: Loaded[Any] = Loaded(kind)
        assert all(table[name] is not None for name in own)


def test_every_kind_has_a_group_and_every_command_is_in_it() -> None:
    assert {f"posetools.{kind}" for kind in KINDS} == set(PROJECT["entry-points"])
    assert {command.name for command in COMMANDS} == set(PROJECT["entry-points"]["posetools.commands"])


@pytest.mark.parametrize("name", plugins.__all__)
def test_what_authors_import_is_documented(name: str) -> None:
    assert getattr(plugins, name).__doc__
    assert name in dir(plugins)


def test_the_help_does_not_read_the_metadata_of_packages() -> None:
    said = "print('importlib.metadata' in sys.modules)"
    start = "import sys\nfrom posetools.cli.front import help_page\n"
    shown = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for code in (f"{start}{said}", f"{start}help_page()\n{said}")
    ]
    assert shown[0] == shown[1]
