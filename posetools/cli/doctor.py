"""``posetools doctor``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from posetools.cli.console import console, escape, progress
from posetools.errors import counted, hint_lines

if TYPE_CHECKING:
    from posetools.cli.plugins import State
    from posetools.mm.environment import Check


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as one JSON document.")] = False,
) -> None:
    """Check whether this environment can train, and say how to fix it.

    Calls the compiled parts of the stack, which takes about 20 seconds. Also lists the plug-ins of other packages, and
    which of them cannot be used.

    Exit status: 0 all checks pass; 1 a check fails. Plug-ins do not count.
    """
    from posetools.cli.plugins import states
    from posetools.files.disk import dump_json
    from posetools.mm.doctor import as_document, examine
    from posetools.mm.probes import gather_facts

    with progress() as report:
        checks = examine(gather_facts(report))
    plugins = states()
    if as_json:
        print(dump_json(as_document(checks) | {"plugins": [each.as_dict() for each in plugins]}), end="")
    else:
        _print_checks(checks)
        _print_plugins(plugins)
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


def _print_checks(checks: Sequence[Check]) -> None:
    from rich.table import Table

    out = console()
    table = Table("", "check", "found", "expected")
    for check in checks:
        mark = "[green]ok[/]" if check.ok else "[bold red]no[/]"
        table.add_row(mark, escape(check.name), escape(check.found), escape(check.expected))
    out.print(table)
    problems = [check for check in checks if not check.ok]
    for check in problems:
        # One line each, so that the command can be copied whole.
        said = f"{escape(check.found)} (expected {escape(check.expected)})"
        out.print(f"[bold red]{escape(check.name)}[/]: {said}", soft_wrap=True)
        for line in hint_lines(check.fix):
            out.print(f"  {escape(line)}", soft_wrap=True)
    if problems:
        count = counted(len(problems), "problem")
        out.print(f"{count}: this environment cannot train. Run uv and make in the checkout; see docs/doctor.md.")
    else:
        out.print("This environment can train.")


def _print_plugins(plugins: Sequence[State]) -> None:
    if not plugins:
        return
    from rich.table import Table

    out = console()
    table = Table("", "kind", "name", "package", "version", title="plug-ins of other packages")
    for each in plugins:
        mark = "[green]ok[/]" if not each.problem else "[bold red]no[/]"
        texts = (each.plugin.kind, each.plugin.name, each.plugin.package, each.plugin.version)
        table.add_row(mark, *map(escape, texts))
    out.print(table)
    for each in plugins:
        if each.problem:
            out.print(f"[bold red]not used:[/] {escape(each.problem)}", soft_wrap=True)
            for line in hint_lines(each.fix):
                out.print(f"  {escape(line)}", soft_wrap=True)
