"""Files at a URL that fsspec can open (``s3://``, ``gs://``, ``https://``, ``memory://``, ...).

A UrlPath is a Path: readers join, compare and show it like a local path, and it has the file methods that they use.
``str`` of it is the URL, as messages show it. (universal-pathlib's paths are no longer Paths since version 0.3.)

Reading files one by one costs a round trip each. ``fetched`` fetches the files of a shard at once, ``heads`` the
beginnings of its images and the ends of JPEG files; later reads use them.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from fnmatch import fnmatchcase
from functools import cache
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from posetools.errors import InputError, MissingExtraError, OutputError, RequestError, printable
from posetools.files.unpacked import UnpackedPath, shown_path

if TYPE_CHECKING:
    _Local: TypeAlias = Path
else:
    # The path type of this system.
    _Local = type(Path())

# At least two letters: one letter is a drive.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_LOCAL = ("file", "local")
# Bytes of an image to fetch first; most headers are shorter.
HEAD = 1 << 15
# Bytes at its end, where a complete JPEG has its end marker.
TAIL = 1 << 12
# Whole files fetched at once.
_WHOLE_FILES = 16
# Exceptions of libraries below fsspec that are not OSErrors.
_FOREIGN = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("aiohttp", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
)

_FETCHED: ContextVar[dict[str, bytes] | None] = ContextVar("fetched", default=None)
_KNOWN_HEADS: ContextVar[dict[str, bytes] | None] = ContextVar("heads", default=None)
_TAILS: ContextVar[dict[str, tuple[int, bytes]] | None] = ContextVar("tails", default=None)


def is_url(path: Path | str) -> bool:
    """Return whether a path is at a URL that is not local."""
    return "://" in path and _URL.match(path) is not None if isinstance(path, str) else isinstance(path, UrlPath)


def as_path(text: Path | str) -> Path:
    """Return the path of a text, which may be a URL; ``file://`` is a local path."""
    if isinstance(text, Path):
        return text
    scheme = _URL.match(text)
    if scheme is None:
        return UnpackedPath(text) if shown_path(text) != text else Path(text)
    return Path(text[scheme.end() :]) if scheme[1].lower() in _LOCAL else UrlPath(text)


def absolute(path: Path) -> Path:
    """Return a path that is valid in every working directory."""
    return path if is_url(path) else path.absolute()


def real(path: Path | str) -> str:
    """Return a path with links resolved; a URL has no links and loses only ``..`` and ``.``."""
    return str(as_path(path).resolve()) if is_url(path) else os.path.realpath(path)


class UrlPath(_Local):
    """A file or folder at a URL."""

    def __str__(self) -> str:
        scheme, *rest = self.parts or ("",)
        return f"{scheme}//{'/'.join(rest)}" if scheme.endswith(":") else super().__str__()

    def __fspath__(self) -> str:
        return str(self)

    def resolve(self, strict: bool = False) -> UrlPath:  # noqa: ARG002 (as Path has it)
        """Return the path without ``..`` and ``.``; it stays in its bucket."""
        scheme, *rest = self.parts
        return UrlPath(f"{scheme}//{posixpath.normpath('/' + '/'.join(rest))[1:]}")

    def absolute(self) -> UrlPath:
        """Return the path."""
        return self

    def is_symlink(self) -> bool:
        """Return False."""
        return False

    def exists(self) -> bool:
        """Return whether there is a file or a folder."""
        return self._kind() is not None

    def is_file(self) -> bool:
        """Return whether there is a file."""
        return self._kind() == "file"

    def is_dir(self) -> bool:
        """Return whether there is a folder with files."""
        return self._kind() == "directory"

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002 (as Path has it)
        """Return the type and the size; all else is 0."""
        info = _info(self)
        if info is None:
            raise FileNotFoundError(2, "No such file or directory", str(self))
        mode = stat.S_IFREG if info["type"] == "file" else stat.S_IFDIR
        return os.stat_result((mode, 0, 0, 0, 0, 0, int(info["size"] or 0), 0, 0, 0))

    def samefile(self, other_path: str | os.PathLike[str]) -> bool:
        """Return whether both are the same URL."""
        return real(self) == real(os.fspath(other_path))

    def iterdir(self) -> Iterator[UrlPath]:  # type: ignore[override]
        """Yield what is in the folder, sorted."""
        yield from (self / name for name, _ in self._listed())

    def glob(self, pattern: str) -> Iterator[UrlPath]:  # type: ignore[override]
        """Yield the matching files in one folder: ``*.json``, ``annotations/*.json``."""
        folder, _, name = pattern.rpartition("/")
        inner = self / folder if folder else self
        if inner.is_dir():
            yield from (inner / each for each, kind in inner._listed() if kind == "file" and fnmatchcase(each, name))

    def rglob(self, pattern: str) -> Iterator[UrlPath]:  # type: ignore[override]
        """Yield the matching files below the folder, sorted."""
        for at, entries in walk_url(str(self)):
            yield from (UrlPath(at) / name for name in entries if fnmatchcase(name, pattern))

    def read_bytes(self) -> bytes:
        """Return the whole content.

        Raises:
            OSError: it cannot be read.
        """
        content = (_FETCHED.get() or {}).get(str(self))
        if content is not None:
            return content
        system, at = _place(self)
        try:
            return bytes(system.cat_file(at))
        except _foreign_errors() as exc:
            raise OSError(5, str(exc), str(self)) from exc

    def open(self, mode: str = "r", *_: object, **__: object) -> Any:
        """Open the file for reading bytes (``rb``); only the parts read are fetched.

        Raises:
            OSError: it cannot be read.
        """
        if mode != "rb":
            raise OSError(30, "only reading is possible at a URL", str(self))
        return io.BufferedReader(RangeFile(self), buffer_size=HEAD)

    def _listed(self) -> list[tuple[str, str]]:
        """Return the names in the folder and their types, sorted."""
        system, at = _place(self)
        with _translated(self):
            listed = system.ls(at, detail=True)
        return sorted((posixpath.basename(one["name"].rstrip("/")), one["type"]) for one in listed)

    def _kind(self) -> str | None:
        if any(str(self) in (held.get() or ()) for held in (_FETCHED, _KNOWN_HEADS)):
            return "file"
        info = _info(self)
        return None if info is None else str(info["type"])


class RangeFile(io.RawIOBase):
    """A file at a URL: fetches the beginning, then twice as much as often as needed; fetches the end separately."""

    def __init__(self, path: UrlPath) -> None:
        self._system, self._at = _place(path)
        self._path, self._position = path, 0
        head = (_FETCHED.get() or {}).get(str(path))
        self._size: int | None = None if head is None else len(head)
        head = (_KNOWN_HEADS.get() or {}).get(str(path)) if head is None else head
        self._head = self._range(0, HEAD) if head is None else head
        if self._size is None and len(self._head) < HEAD:
            self._size = len(self._head)
        self._size, self._tail = (_TAILS.get() or {}).get(str(path), (self._size, b""))

    def readable(self) -> bool:
        """Return True."""
        return True

    seekable = readable

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position in the file."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence)
        self._position = max(0, offset + (self._length() if start is None else start))
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read from the current position."""
        end = self._position + len(buffer)
        start = self._length() - TAIL if self._position > len(self._head) else end
        if start <= self._position:
            self._tail = self._tail or self._range(start, self._length())
        elif end > len(self._head) and len(self._head) < self._length():
            wanted = min(self._length(), max(end, 2 * len(self._head)))
            self._head += self._range(len(self._head), wanted)
        held, start = (self._tail, start) if start <= self._position else (self._head, 0)
        piece = held[self._position - start : end - start]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _length(self) -> int:
        if self._size is None:
            self._size = self._path.stat().st_size
        return self._size

    def _range(self, start: int, end: int) -> bytes:
        try:
            return bytes(self._system.cat_file(self._at, start=start, end=end))
        except _foreign_errors() as exc:
            raise OSError(5, str(exc), str(self._path)) from exc


@contextmanager
def fetched(paths: Iterable[str]) -> Iterator[None]:
    """Fetch the files at URLs all at once; failed ones are fetched again on access."""
    found = _pieces({path: (0, None) for path in paths if is_url(path)})
    token = _FETCHED.set(found)
    try:
        yield
    finally:
        _FETCHED.reset(token)


@contextmanager
def heads(paths: Iterable[str]) -> Iterator[None]:
    """Fetch the beginnings of the files at URLs all at once, then the ends of JPEG files."""
    found = _pieces({path: (0, HEAD) for path in paths if is_url(path)})
    token = _KNOWN_HEADS.set(found)
    ends = _TAILS.set(_ends([url for url, head in found.items() if len(head) == HEAD and head.startswith(b"\xff\xd8")]))
    try:
        yield
    finally:
        _TAILS.reset(ends)
        _KNOWN_HEADS.reset(token)


def walk_url(folder: str) -> list[tuple[str, list[str]]]:
    """Return every folder below one at a URL, itself first, with its file names, without hidden ones.

    Raises:
        InputError: it cannot be listed.
    """
    system, at = _place(UrlPath(folder))
    with _translated(folder):
        listed = system.find(at, detail=True)
    start, found = at.strip("/"), dict[tuple[str, ...], list[str]]()
    for name, info in listed.items():
        below = name.strip("/").removeprefix(start).strip("/")
        parts = tuple(below.split("/"))
        if info["type"] == "file" and below and not any(part.startswith(".") or not part for part in parts):
            found.setdefault(parts[:-1], []).append(parts[-1])
    found.setdefault((), [])
    top = str(UrlPath(folder))
    return [("/".join((top, *parts)), sorted(names)) for parts, names in sorted(found.items())]


def glob_url(pattern: str) -> tuple[Path, list[Path]]:
    """Return the folder that a glob at a URL starts with, and the matching files, sorted, without hidden ones.

    Raises:
        InputError: it cannot be listed.
    """
    path = UrlPath(pattern)
    base = next(folder for folder in path.parents if not has_magic(str(folder)))
    (system, at), (_, start) = _place(path), _place(base)
    with _translated(pattern):
        found = sorted(name.strip("/").removeprefix(start.strip("/")).strip("/") for name in system.glob(at))
    return base, [base / name for name in found if not any(part.startswith(".") for part in name.split("/"))]


def fetch(files: Mapping[Path, Path]) -> None:
    """Fetch files from URLs, many at once.

    Args:
        files: target -> source.

    Raises:
        OutputError: one cannot be read or written.
    """
    try:
        for folder in {target.parent for target in files}:
            folder.mkdir(parents=True, exist_ok=True)
        for system, places in _by_system(map(str, files.values())):
            targets = [str(target) for target, source in files.items() if _place(source)[0] is system]
            try:
                system.get(list(places.values()), targets)
            except _foreign_errors() as exc:
                raise OSError(5, str(exc), next(iter(places))) from exc
    except OSError as exc:
        named = exc.filename or next(iter(files.values()))
        raise OutputError(f"{printable(str(named))}: cannot be fetched: {exc.strerror or exc}") from exc


def contents(paths: Sequence[str]) -> Iterator[bytes | None]:
    """Yield the contents of files at URLs, several fetched at once; None for a file that cannot be read."""
    for start in range(0, len(paths), _WHOLE_FILES):
        some = paths[start : start + _WHOLE_FILES]
        found = _pieces(dict.fromkeys(some, (0, None)))
        yield from map(found.get, some)


def sizes(paths: Sequence[str]) -> list[int | None]:
    """Return the sizes of files at URLs in bytes; None for a missing file.

    Raises:
        InputError: one cannot be looked at.
    """
    with ThreadPoolExecutor(_WHOLE_FILES) as pool:
        return list(pool.map(_size, map(UrlPath, paths)))


def _size(path: UrlPath) -> int | None:
    head = (_KNOWN_HEADS.get() or {}).get(str(path))
    if head is not None and len(head) < HEAD:
        return len(head)
    if str(path) in (tails := _TAILS.get() or {}):
        return tails[str(path)][0]
    info = _info(path)
    return int(info["size"] or 0) if info and info["type"] == "file" else None


def _ends(urls: Sequence[str]) -> dict[str, tuple[int, bytes]]:
    """Return size and end of files at URLs, without those that cannot be read."""
    known = dict[str, int]()
    with suppress(InputError):
        known = {url: size for url, size in zip(urls, sizes(urls), strict=True) if size}
    found = _pieces({url: (max(0, size - TAIL), size) for url, size in known.items()})
    return {url: (known[url], end) for url, end in found.items()}


def _pieces(wanted: Mapping[str, tuple[int, int | None]]) -> dict[str, bytes]:
    """Return a range of bytes of each file at a URL, without those that cannot be read."""
    found: dict[str, bytes] = {}
    for system, places in _by_system(wanted):
        starts, stops = zip(*(wanted[url] for url in places), strict=True)
        contents = system.cat_ranges(list(places.values()), list(starts), list(stops), on_error="return")
        found |= {url: bytes(one) for url, one in zip(places, contents, strict=True) if not isinstance(one, Exception)}
    return found


def _by_system(urls: Iterable[str]) -> list[tuple[Any, dict[str, str]]]:
    """Return the URLs by file system, each with its path there."""
    found: dict[int, tuple[Any, dict[str, str]]] = {}
    for url in urls:
        system, at = _place(UrlPath(url))
        found.setdefault(id(system), (system, {}))[1][url] = at
    return list(found.values())


def _info(path: Path) -> Any:
    system, at = _place(path)
    with _translated(path):
        try:
            return system.info(at)
        except (FileNotFoundError, NotADirectoryError):
            return None


def _place(path: Path) -> tuple[Any, str]:
    """Return the file system of a URL and the path there."""
    resolved = real(path)
    scheme, _, rest = resolved.partition("://")
    system = _file_system(f"{scheme}://{rest.partition('/')[0]}")
    return system, str(system._strip_protocol(resolved))


@cache
def _file_system(root: str) -> Any:
    try:
        import fsspec
    except ImportError as exc:
        raise MissingExtraError("a source at a URL", "cluster", "fsspec") from exc
    try:
        system, _ = fsspec.url_to_fs(root)
    except (ImportError, ValueError) as exc:
        raise RequestError(f"{root}: must be a URL that fsspec can open here: {exc}") from exc
    return system


@contextmanager
def _translated(path: Path | str) -> Iterator[None]:
    try:
        yield
    except _every_error() as exc:
        raise InputError(path, "", f"cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc


def _every_error() -> tuple[type[Exception], ...]:
    return OSError, *_foreign_errors()


def _foreign_errors() -> tuple[type[Exception], ...]:
    loaded = ((sys.modules.get(module), name) for module, name in _FOREIGN)
    return tuple(getattr(module, name) for module, name in loaded if module is not None and hasattr(module, name))
