"""The documentation matches the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from posetools.cli.app import app
from tools import cli_page, docs_pages

ROOT = Path(__file__).resolve().parent.parent


def test_every_command_has_a_page_with_its_options_as_they_are() -> None:
    for page, text in docs_pages.pages().items():
        assert (ROOT / "docs" / page).read_text(encoding="utf-8") == text, f"docs/{page} is stale: run `make generate`"


def test_the_reference_of_commands_is_current() -> None:
    page = ROOT / "docs" / cli_page.PAGE
    assert page.read_text(encoding="utf-8") == cli_page.cli_page(), f"docs/{page.name} is stale: run `make generate`"


def test_the_reference_has_every_option_that_help_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    sections = (ROOT / "docs" / cli_page.PAGE).read_text(encoding="utf-8").split("\n### posetools ")[1:]
    by_name = {section.partition("\n")[0]: section for section in sections}
    assert list(by_name) == [name for _, name, _ in docs_pages.commands()]
    for name, section in by_name.items():
        printed = CliRunner().invoke(app, [*name.split(), "--help"])
        assert printed.exit_code == 0
        flags = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", printed.output, re.MULTILINE)) - {"--help"}
        assert flags == set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", section, re.MULTILINE)) - {"--help"}, name


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_commands_in_the_readme_exist() -> None:
    known = {name for _, name, _ in docs_pages.commands()}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    used = set(re.findall(r"^posetools ([a-z]+(?: (?:show|check|new))?)", readme, flags=re.MULTILINE))
    assert used
    assert used <= known


def test_tests_that_pages_name_exist() -> None:
    named = {
        found
        for page in (ROOT / "docs").glob("*.md")
        for found in re.findall(r"`(tests/\S+\.py)::(\w+)`", page.read_text())
    }
    assert len(named) > 10
    for file, name in named:
        assert f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"


def test_every_file_and_function_of_the_map_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:posetools|tests|tools)/[\w./]+?)(?::(\w+))?`", text)
    assert len(named) > 20
    for path, name in named:
        place = ROOT / path
        assert place.exists(), path
        assert not name or re.search(rf"^(?:def|class) {name}\b", place.read_text(encoding="utf-8"), re.MULTILINE), name


# Files that belong to users or to OpenMMLab, not to the package.
NOT_OURS = {"cars.py", "test.py", "tools/test.py", "tools/train.py", "300e_coco.py", "256x192.py"}


def test_files_that_docstrings_and_comments_name_are_there() -> None:
    known = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py") if ".venv" not in path.parts]
    gone = {
        f"{path.relative_to(ROOT)}: {named}"
        for path in (ROOT / "posetools").rglob("*.py")
        for named in re.findall(r"(?<![\w/{.-])((?:\w+/)*\w+\.py)\b", path.read_text(encoding="utf-8"))
        if named not in NOT_OURS and not any(f"/{one}".endswith(f"/{named}") for one in known)
    }
    assert gone == set()
