"""Reads and writes whole files; writing is atomic.

A file is written next to its target and moved over it; a folder is built next to its target and replaces it. The
target is always either the old one or the new one.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath
from typing import Any, BinaryIO, Literal

from posetools.errors import InputError, OutputError, RequestError, printable, shortened
from posetools.files.locks import LOCK, exchange, only_one
from posetools.files.urls import as_path, fetch, is_url

# "none" leaves images in place.
Transfer = Literal["copy", "hardlink", "symlink", "none"]

# Random bytes in the names of temporary files and folders.
_TOKEN_BYTES = 4
# Most annotation files are smaller; one read returns all of a local file.
_READ_BYTES = 1 << 16
# A dotted TOML key of many parts: tomllib's time is quadratic in them.
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){32}""")
# Longer marks first: UTF-32's begins like UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
READING = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def read_bytes(path: Path | str) -> bytes:
    """Return the content of a file; pipes are read to their end.

    A device that gives more than a first piece is refused, for it may have no end.

    Raises:
        InputError: it cannot be read.
    """
    try:
        if is_url(path):
            return as_path(path).read_bytes()
        # Twice as fast as Path.read_bytes, for millions of files.
        descriptor = os.open(path, READING)
        try:
            content = os.read(descriptor, _READ_BYTES)
            if len(content) < _READ_BYTES:
                return content
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                raise InputError(path, "", "cannot be read: it is a device, which may never end")
            with open(descriptor, "rb", closefd=False) as file:
                return content + file.read()
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise InputError(path, "", f"cannot be read: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise InputError(path, "", f"cannot be read: {exc}") from exc


def marked_encoding(content: bytes) -> str | None:
    """Return the encoding of a text file's byte order mark; None without one."""
    return next((encoding for mark, encoding in _MARKS if content.startswith(mark)), None)


def unmarked(content: bytes) -> bytes:
    """Return a text file as UTF-8 without a byte order mark.

    A mark says UTF-8, or UTF-16 or UTF-32, in which Windows' editors and shells write; without one nothing is changed.

    Raises:
        UnicodeDecodeError: it is not in the encoding that its mark says.
    """
    encoding = marked_encoding(content)
    if encoding is None:
        return content
    # Half of a surrogate pair is invalid in UTF-16, too.
    return content[len(codecs.BOM_UTF8) :] if encoding == "utf-8" else content.decode(encoding).encode()


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8 or in the encoding of its byte order mark.

    Raises:
        InputError: it cannot be read or is in another encoding.
    """
    try:
        return unmarked(read_bytes(path)).decode()
    except UnicodeDecodeError as exc:
        named = "UTF-8" if exc.encoding == "utf-8" else "the encoding of its byte order mark"
        hint = "save it as UTF-8 in a text editor"
        raise InputError(
            path, f"byte {exc.start}", f"text must be {named}, but this byte is not valid", hint=hint
        ) from exc


def digest_of(data: bytes) -> str:
    """Return the BLAKE2b digest of a file's content, 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def read_json(
    path: Path,
    *,
    parse_constant: Callable[[str], Any] | None = None,
    object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """Return the content of a JSON file; the hooks are those of ``json.loads``.

    Raises:
        InputError: it cannot be read or is not JSON; the place is the line and column.
    """
    text = read_text(path)
    try:
        return json.loads(text, parse_constant=parse_constant, object_pairs_hook=object_pairs_hook)
    except json.JSONDecodeError as exc:
        raise InputError(path, f"line {exc.lineno}, column {exc.colno}", f"is not valid JSON: {exc.msg}") from exc
    except RecursionError as exc:
        raise InputError(path, "", "is nested too deeply for an annotation file") from exc
    except ValueError as exc:
        # Python refuses integers with thousands of digits.
        raise InputError(path, "", "has a number with too many digits for an annotation file") from exc


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        InputError: it cannot be read, is not TOML, or is nested too deeply.
    """
    text = read_text(path)
    if _LONG_KEY.search(text):
        raise InputError(path, "", "is nested too deeply")
    try:
        return tomllib.loads(text)
    except RecursionError as exc:
        raise InputError(path, "", "is nested too deeply") from exc
    except ValueError as exc:
        # Not only TOMLDecodeError: also numbers with thousands of digits and invalid dates.
        raise InputError(path, "", f"is not valid TOML: {shortened(str(exc))}") from exc


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, atomically, with line feeds as line ends on every platform.

    Raises:
        OutputError: it cannot be written; the target is as it was.
    """
    write_texts({path: text})


def write_texts(texts: Mapping[Path, str | None]) -> None:
    """Write UTF-8 files that belong together, as ``write_files`` does, with line feeds as line ends.

    Raises:
        OutputError: one cannot be written; the targets are as they were.
    """
    write_files({path: None if text is None else text.encode("utf-8") for path, text in texts.items()})


def write_files(contents: Mapping[Path, bytes | None]) -> None:
    """Write files that belong together, atomically and all or none. A file without content is removed.

    All are written next to their targets first, then moved over them one by one; if a move fails, the moved ones are
    restored. Only a crash of the machine between two moves can leave a mix.

    Raises:
        OutputError: one cannot be written; the targets are as they were.
    """
    token = secrets.token_hex(_TOKEN_BYTES)
    new = {path: path.with_name(f".{path.name}.{token}.tmp") for path in contents}
    old = {path: path.with_name(f".{path.name}.{token}.old") for path in contents}
    moved: list[Path] = []
    path = Path()
    try:
        for path, content in contents.items():
            if content is not None:
                _write_synced(new[path], content)
            if len(contents) > 1 and path.exists():
                shutil.copyfile(path, old[path])
        for path, temporary in new.items():
            if contents[path] is None:
                path.unlink(missing_ok=True)
            else:
                temporary.replace(path)
            moved.append(path)
    except OSError as exc:
        for done in moved:
            _put_back(old[done], done)
        raise OutputError(f"{printable(str(path))}: cannot be written: {exc.strerror or exc}") from exc
    finally:
        for temporary in (*new.values(), *old.values()):
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _write_synced(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a path next to ``path``, with its extension, to write to; on success the file replaces ``path``.

    For libraries that write files themselves (Pillow, zipfile). The folder is created; on failure the target is
    unchanged.

    Raises:
        OutputError: it cannot be written.
    """
    new = path.with_name(f".{path.stem}.{secrets.token_hex(_TOKEN_BYTES)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield new
        new.replace(path)
    except OSError as exc:
        raise OutputError(f"{printable(str(path))}: cannot be written: {exc.strerror or exc}") from exc
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def _put_back(saved: Path, target: Path) -> None:
    try:
        if saved.exists():
            saved.replace(target)
        else:
            target.unlink(missing_ok=True)
    except OSError as exc:
        raise OutputError(
            f"{printable(str(target))}: cannot be restored after a failed write: {exc.strerror or exc}"
        ) from exc


@contextmanager
def stream(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write piece by piece; on success it replaces ``path``.

    Raises:
        OutputError: it cannot be written; the target is as it was.
    """
    with replaced(path) as new, new.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def write_chunks(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file piece by piece, atomically.

    Raises:
        OutputError: it cannot be written; the target is as it was.
    """
    with stream(path) as file:
        file.writelines(chunks)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON file atomically, with one line per entry of a top-level list, easy to read and compare."""
    # A surrogate, which stands for a non-UTF-8 byte of a file name, is escaped.
    write_files({path: dump_json(document).encode("utf-8", "backslashreplace")})


def dump_json(document: Mapping[str, Any]) -> str:
    """Return JSON text with one line per key, and one line per entry of a list of objects."""
    lines = []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            entries = ",\n".join(_compact(entry) for entry in value)
            lines.append(f"{_compact(key)}: [\n{entries}\n]")
        else:
            lines.append(f"{_compact(key)}: {_compact(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@contextmanager
def staged_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a new folder next to ``target`` to fill; on success it replaces ``target``, else it is removed.

    Only one run at a time may write; leftovers of a killed run are cleaned up first.

    Raises:
        RequestError: ``target`` is not empty and ``overwrite`` is not set, or another run is writing it.
        OutputError: it cannot be written.
    """
    check_free(target, overwrite=overwrite)
    target = target.absolute()
    staging = target.with_name(f".{target.name}.{secrets.token_hex(_TOKEN_BYTES)}.tmp")
    with only_one(target):
        sweep(target)
        check_free(target, overwrite=overwrite)
        try:
            staging.mkdir(parents=True)
            yield staging
            _move_into_place(staging, target)
        except OSError as exc:
            raise OutputError(
                f"{printable(str(exc.filename or target))}: cannot be written: {exc.strerror or exc}"
            ) from exc
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder, all of it even if the process is killed: ``sweep`` removes the rest.

    Raises:
        OutputError: it cannot be moved away; it is unchanged.
    """
    moved = folder.with_name(f".{folder.name}.{secrets.token_hex(_TOKEN_BYTES)}.tmp")
    try:
        folder.rename(moved)
    except OSError as exc:
        raise OutputError(f"{printable(str(folder))}: cannot be removed: {exc.strerror or exc}") from exc
    shutil.rmtree(moved, ignore_errors=True)


def sweep(target: Path) -> None:
    """Clean up what killed runs left next to a file or folder that no other run is writing."""
    old, new = (_left_beside(target, ending) for ending in ("old", "tmp"))
    if old and not target.exists():
        # Killed between the two renames of _move_into_place.
        with suppress(OSError):
            old.pop().rename(target)
    for left in (*old, *new):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            with suppress(OSError):
                left.unlink()


def _left_beside(target: Path, ending: str) -> list[Path]:
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}\.{ending}")
    try:
        return sorted(path for path in target.parent.iterdir() if name.fullmatch(path.name))
    except OSError:
        return []


def existing_folder(path: Path) -> Path:
    """Return the innermost existing folder above ``path``."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())


def is_zip_name(name: str) -> bool:
    """Return whether a file is a zip by its name."""
    return name.lower().endswith(".zip")


def zip_at(path: Path) -> Path | None:
    """Return the zip file that a path is or is in; None if there is none."""
    if is_url(path):
        return None
    return next((each for each in (path, *path.parents) if is_zip_name(each.name) and each.is_file()), None)


def is_empty(folder: Path) -> bool:
    """Return whether a folder is empty except for a lock."""
    return all(path.name == LOCK for path in folder.iterdir())


def check_free(
    target: Path, *, overwrite: bool = False, hint: str = "choose another folder, or empty this one"
) -> None:
    """Refuse a target that is not empty, unless ``overwrite`` is set.

    Args:
        target: the folder.
        overwrite: whether it may contain files.
        hint: what to type, with the options of the running command.

    Raises:
        RequestError: it is a file, or a folder that is not empty.
    """
    if target.exists() and not target.is_dir():
        raise RequestError(f"{target}: must be a folder, but is a file")
    if not overwrite and target.is_dir() and not is_empty(target):
        raise RequestError(f"{target}: exists and is not empty", hint=hint)


def _move_into_place(staging: Path, target: Path) -> None:
    if not target.exists():
        staging.rename(target)
        return
    if exchange(staging, target):
        # The old folder is now at the staging path; staged_folder removes it.
        return
    old = target.with_name(f".{target.name}.{secrets.token_hex(_TOKEN_BYTES)}.old")
    target.rename(old)
    try:
        staging.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def transfer(source: Path, target: Path, how: Transfer, *, option: str = "--images") -> None:
    """Copy or link a file to ``target``, or do nothing ("none").

    Args:
        source: the file.
        target: where it goes.
        how: copy, or the type of link.
        option: the command's option for ``how``, for the message.

    Raises:
        OutputError: the system refuses (hard links need one file system; symbolic links a right on Windows).
    """
    if how == "none":
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_url(source):
            fetch({target: source})
        elif how == "copy":
            shutil.copyfile(source, target)
        elif how == "hardlink":
            target.hardlink_to(source.resolve())
        else:
            target.symlink_to(source.resolve())
    except OSError as exc:
        raise OutputError(
            f"{printable(str(target))}: cannot {how} {printable(str(source))}: {exc.strerror or exc}",
            hint="" if how == "copy" else f"use {option} copy: {option} {how} is not possible here",
        ) from exc


def portable_path(text: str) -> Path | None:
    """Return a path from an annotation file, with backslashes as slashes, or None if it is absolute.

    Absolute means: from the root, with a drive letter, or on a network share.
    """
    windows = PureWindowsPath(text)
    if windows.drive or windows.root:
        return None
    return Path(*windows.parts)


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether ``path`` is in ``folder``, with links resolved."""
    # Path.resolve fails on circular links; realpath does not.
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
