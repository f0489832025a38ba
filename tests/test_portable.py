"""Windows and macOS: POSIX-only calls are guarded or documented, and paths in JSON have forward slashes."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import posetools
from posetools.core.findings import Finding

ROOT = Path(posetools.__file__).resolve().parent

POSIX_MODULES = frozenset({"fcntl", "resource", "pwd", "grp", "termios", "pty", "tty", "syslog", "posix", "readline"})
POSIX_CALLS = frozenset(
    f"{module}.{name}"
    for module, names in {
        "os": "fork forkpty killpg setsid getuid geteuid getgid getegid getpgid getpgrp mkfifo mknod symlink chown "
        "lchown fchmod fchown sched_getaffinity sched_setaffinity nice getloadavg wait wait3 wait4 WNOHANG uname "
        "statvfs sync pread pwrite sendfile posix_fadvise posix_fallocate posix_spawn register_at_fork memfd_create "
        "getxattr setxattr O_NONBLOCK O_CLOEXEC O_NOFOLLOW O_DIRECTORY O_SYNC O_DIRECT copy_file_range",
        "signal": "SIGKILL SIGHUP SIGALRM SIGUSR1 SIGUSR2 SIGCHLD SIGPIPE SIGQUIT SIGTSTP SIGSTOP SIGCONT alarm "
        "setitimer pause sigwait pthread_sigmask pthread_kill",
        "select": "poll epoll kqueue",
    }.items()
    for name in names.split()
)
POSIX_METHODS = frozenset({"symlink_to", "owner", "group", "mkfifo"})
# Arguments of subprocess and multiprocessing.
POSIX_ARGUMENTS = frozenset({"preexec_fn", "pass_fds", "start_new_session", "dir_fd"})
POSIX_TEXTS = ("/tmp", "/dev/shm", "/proc/", "AF_UNIX")

# Where each is allowed, and why it works elsewhere.
ALLOWED = {
    "files.disk": {"symlink_to"},  # an error becomes one sentence that names --images copy
    "checks.inspection": {"os.posix_fadvise"},  # checked with hasattr: reading ahead is optional
    "recipes.machine": {
        "os.getloadavg",
        "os.sched_getaffinity",
        "/proc/",
    },  # checked with hasattr; a missing file is ignored
    "mm.probes": {"/proc/"},  # a missing file is ignored
    "training.mishaps": {"/dev/shm"},  # a message on an error that only Linux has
    # Training with several processes on one machine is for Linux and macOS.
    "training.spread.launch": {"signal.SIGKILL", "signal.SIGHUP", "os.mkfifo", "os.O_NONBLOCK"},
    "training.spread.worker": {"signal.SIGKILL"},
}


@cache
def _modules() -> tuple[tuple[str, ast.Module], ...]:
    return tuple(
        (".".join(path.relative_to(ROOT).with_suffix("").parts), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(ROOT.rglob("*.py"))
    )


def _posix_only(node: ast.AST) -> Iterator[str]:
    """Yield the POSIX-only names in a node."""
    match node:
        case ast.Import():
            yield from (alias.name for alias in node.names if alias.name in POSIX_MODULES)
        case ast.ImportFrom() if node.module in POSIX_MODULES:
            yield node.module or ""
        case ast.ImportFrom(module="os" | "signal" | "select" as module):
            yield from (name for alias in node.names if (name := f"{module}.{alias.name}") in POSIX_CALLS)
        case ast.Attribute(value=ast.Name(id=module), attr=attr) if f"{module}.{attr}" in POSIX_CALLS:
            yield f"{module}.{attr}"
        case ast.Attribute(attr="symlink_to" as attr):
            yield attr
        case ast.Call(func=ast.Attribute(attr=attr), args=[]) if attr in POSIX_METHODS:
            yield attr
        case ast.keyword(arg=str(argument)) if argument in POSIX_ARGUMENTS:
            yield argument
        case ast.Call(func=ast.Attribute(attr="get_context" | "set_start_method"), args=[ast.Constant(value="fork")]):
            yield "fork"
        case ast.Constant(value=str(text)):
            yield from (start for start in POSIX_TEXTS if text.startswith(start))


def _is_text_without_encoding(node: ast.AST) -> bool:
    """Return whether a call opens a file as text in the system's default encoding."""
    if not isinstance(node, ast.Call) or any(word.arg == "encoding" for word in node.keywords):
        return False
    if isinstance(node.func, ast.Name):
        return node.func.id == "open" and not _is_binary(node.args[1:])
    if not isinstance(node.func, ast.Attribute):
        return False
    # Functions of posetools.files.disk have no receiver; methods of Path take text and encoding.
    return node.func.attr in ("read_text", "write_text") and not node.args[1:]


def _is_binary(arguments: list[ast.expr]) -> bool:
    return any(isinstance(one, ast.Constant) and "b" in str(one.value) for one in arguments)


def _native_paths(node: ast.AST) -> Iterator[str]:
    """Yield values of a dict (the source of JSON) that are a path in the system's form: ``str(self.path)``."""
    names = ("path", "file", "folder", "dir", "data", "out", "source", "root")
    for value in node.values if isinstance(node, ast.Dict) else ():
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "str" and value.args:
            text = ast.unparse(value.args[0])
            if text.endswith(names):
                yield text


def test_what_only_posix_has_stands_where_it_does_no_harm() -> None:
    found: dict[str, set[str]] = {}
    for name, tree in _modules():
        for node in ast.walk(tree):
            for what in _posix_only(node):
                found.setdefault(name, set()).add(what)
    assert found == ALLOWED


def test_text_files_are_opened_with_their_encoding() -> None:
    wrong = [
        f"{name}, line {getattr(node, 'lineno', 0)}"
        for name, tree in _modules()
        for node in ast.walk(tree)
        if _is_text_without_encoding(node)
    ]
    assert wrong == []


def test_no_path_goes_into_a_document_as_this_system_writes_it() -> None:
    wrong = [
        f"{name}: str({what})" for name, tree in _modules() for node in ast.walk(tree) for what in _native_paths(node)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "code",
    [
        "import fcntl",
        "from os import fork",
        "os.symlink(a, b)",
        "signal.SIGKILL",
        "a = '/tmp/x'",
        "p.symlink_to(q)",
        "p.owner()",
        "run(a, preexec_fn=f)",
        "m.get_context('fork')",
        "os.getloadavg()",
        "os.O_NOFOLLOW",
        "from select import poll",
    ],
)
def test_the_search_finds_each_kind(code: str) -> None:
    assert [what for node in ast.walk(ast.parse(code)) for what in _posix_only(node)]


@pytest.mark.parametrize("code", ["open(p)", "open(p, 'w')", "p.read_text()", "p.write_text(t)"])
def test_the_search_finds_text_without_encoding(code: str) -> None:
    assert any(map(_is_text_without_encoding, ast.walk(ast.parse(code))))


def test_findings_in_json_name_their_file_with_forward_slashes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Finding("E101", "cars\\train_coco.json", "", "images must be a list")
    with monkeypatch.context() as windows:
        windows.setattr(os, "sep", "\\")
        document = found.as_dict()
    assert document["file"] == "cars/train_coco.json"
    assert found.where == "cars\\train_coco.json"
