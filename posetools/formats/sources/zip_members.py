"""The members of a zip file, which may be hostile.

Refused, each with one sentence:

- a file without a zip's end record, or with data after it: it is truncated, or was joined with another file.
- more than MEMBERS members, or more than ZIP_DIR_BYTES of directory; these are counted before the directory is read.
- names that are absolute, have a drive, ``..``, a backslash or a NUL, are too long for a file system, occur
  twice, or are both a file and a folder. Links, devices, encrypted members, compression that Python does not have.
- members that overlap, and more than ZIP_RATIO times the file's own size when unpacked (beyond ZIP_RATIO_FROM bytes).

Left out: folders, zips inside the zip (they are not opened), and system files (``__MACOSX``, ``.DS_Store``).
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from posetools.errors import InputError, show_value
from posetools.files.disk import is_zip_name

MEMBERS = 250_000
ZIP_DIR_BYTES = 128 << 20
ZIP_RATIO, ZIP_RATIO_FROM = 100, 256 << 20

# What zipfile and the libraries below it raise on a damaged file.
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError, OverflowError)
# The end of the directory: signature, two disks, entries here and in all, the directory's size and place, the comment.
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
# The same for large files: the locator before it, and the end record before that.
_LOCATOR = struct.Struct("<4sLQL")
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_SIGNATURE = b"PK\x06\x06"
_LONGEST_COMMENT = 0xFFFF
_ENTRY_SIGNATURE = b"PK\x01\x02"
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_UTF8 = 0x800
_UNPACKS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_LONGEST_NAME = 255
_LONGEST_PATH = 1000
_LEFT_BEHIND = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_UNPACK_HINT = "if you trust it, unpack it yourself and give the folder"
_BROKEN_HINT = "download it again, or unpack it yourself and give the folder"


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A file in a zip.

    Attributes:
        parts: its path.
        info: where it is.
    """

    parts: tuple[str, ...]
    info: zipfile.ZipInfo


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn errors of reading a zip file into an InputError."""
    try:
        yield
    except NotImplementedError as exc:
        raise InputError(path, "", f"cannot be unpacked: {exc}", hint=_UNPACK_HINT) from exc
    except _BROKEN_ZIP as exc:
        said = getattr(exc, "strerror", None) or exc
        raise InputError(path, "", f"is a damaged zip file: {show_value(str(said))}", hint=_BROKEN_HINT) from exc


def members_of(path: Path, archive: zipfile.ZipFile, size: int, encoding: str | None) -> list[ZipMember]:
    """Return the members of a zip file that are unpacked, all of them checked.

    Args:
        path: the file.
        archive: the same, opened.
        size: its length in bytes.
        encoding: of names that are not UTF-8.

    Raises:
        InputError: a member is refused.
    """
    infos = archive.infolist()
    members = [ZipMember(_parts(path, info, encoding), info) for info in infos]
    for member in members:
        _check_kind(path, member)
    kept = [member for member in members if not member.info.is_dir() and not _is_left_out(member.parts)]
    if not kept:
        nested = [member.parts[-1] for member in members if is_zip_name(member.parts[-1])]
        problem = (
            f"contains only zip files, which are not opened: {show_value(nested)}" if nested else "contains no files"
        )
        raise InputError(path, "", problem, hint="unpack it and give the folder; the zip files in it are read")
    _check_doubles(path, kept)
    unpacked = sum(member.info.file_size for member in kept)
    if sum(info.compress_size for info in infos) > size:
        raise InputError(path, "", "is refused: its members overlap, as in a zip bomb", hint=_UNPACK_HINT)
    if unpacked > max(ZIP_RATIO * size, ZIP_RATIO_FROM):
        problem = f"is refused: {size} bytes would unpack to {unpacked}, more than {ZIP_RATIO} times as many"
        raise InputError(path, "", problem, hint=_UNPACK_HINT)
    return kept


def check_directory(path: Path, file: BinaryIO) -> int:
    """Check the end of a zip file and its number of members without reading them; return its length.

    Raises:
        InputError: it has no valid end, or too many members.
    """
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - _END.size - _LONGEST_COMMENT - _LOCATOR.size - _END64.size)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or at + _END.size > len(tail):
        problem = "is not a zip file, or is cut off: it has no end record"
        raise InputError(path, "", problem, hint=_BROKEN_HINT)
    _, _, _, _, entries, length, _, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        raise InputError(path, "", "is a damaged zip file: it has data after its end", hint=_BROKEN_HINT)
    end = start + at
    locator = at - _LOCATOR.size
    if locator >= _END64.size and tail.startswith(_LOCATOR_SIGNATURE, locator):
        record = _END64.unpack_from(tail, locator - _END64.size)
        if record[0] != _END64_SIGNATURE:
            raise InputError(path, "", "is a damaged zip file: its end record is not at its end", hint=_BROKEN_HINT)
        entries, length, end = record[7], record[8], start + locator - _END64.size
    if length > end:
        raise InputError(path, "", "is a damaged zip file, or one of several parts", hint=_BROKEN_HINT)
    if entries <= MEMBERS and length <= ZIP_DIR_BYTES:
        file.seek(end - length)
        # At least the real number: a name may contain the signature, too.
        entries = file.read(length).count(_ENTRY_SIGNATURE)
    if entries > MEMBERS or length > ZIP_DIR_BYTES:
        raise InputError(path, "", f"is refused: it has more than {MEMBERS} members", hint=_UNPACK_HINT)
    return size


def _parts(path: Path, info: zipfile.ZipInfo, encoding: str | None) -> tuple[str, ...]:
    name = _name(path, info, encoding)
    shown = show_value(name)
    windows = PureWindowsPath(name)
    if windows.drive or windows.root or "\\" in name or "\0" in info.orig_filename:
        raise InputError(path, "", f"is refused: a member's name is not a relative path: {shown}", hint=_UNPACK_HINT)
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts or not parts:
        raise InputError(path, "", f"is refused: a member's name leads out of the zip: {shown}", hint=_UNPACK_HINT)
    lengths = [len(os.fsencode(part)) for part in parts]
    if max(lengths) > _LONGEST_NAME or sum(lengths) + len(parts) > _LONGEST_PATH:
        raise InputError(path, "", f"is refused: a member's name is too long: {shown}", hint=_UNPACK_HINT)
    return parts


def _name(path: Path, info: zipfile.ZipInfo, encoding: str | None) -> str:
    if info.flag_bits & _UTF8 or info.orig_filename.isascii():
        return info.orig_filename
    # zipfile takes every name that does not say UTF-8 for this code page.
    raw = info.orig_filename.encode("cp437")
    for each in filter(None, ("utf-8", encoding)):
        try:
            return raw.decode(each)
        except (UnicodeDecodeError, LookupError):
            continue
    rule = f"UTF-8 or {encoding}" if encoding else "UTF-8"
    problem = f"names of members must be {rule}, got {show_value(raw)}"
    hint = "give the encoding of the names: --encoding gbk (or cp437, shift_jis, ...)"
    raise InputError(path, "", problem, hint=hint)


def _check_kind(path: Path, member: ZipMember) -> None:
    info, name = member.info, "/".join(member.parts)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "not a regular file"
        raise InputError(path, name, f"is refused: it is {what}", hint=_UNPACK_HINT)
    if info.flag_bits & _ENCRYPTED:
        raise InputError(path, name, "cannot be read: it is encrypted", hint="unpack it yourself and give the folder")
    if info.compress_type not in _UNPACKS:
        problem = f"cannot be read: Python has no decompressor of type {info.compress_type}"
        raise InputError(path, name, problem, hint="unpack it yourself and give the folder")


def _check_doubles(path: Path, members: Sequence[ZipMember]) -> None:
    names, folders = set[tuple[str, ...]](), set[tuple[str, ...]]()
    for member in members:
        if member.parts in names:
            raise InputError(path, "/".join(member.parts), "is refused: it is in the zip twice", hint=_UNPACK_HINT)
        names.add(member.parts)
        folders.update(member.parts[:number] for number in range(1, len(member.parts)))
    for parts in sorted(names & folders):
        raise InputError(path, "/".join(parts), "is refused: it is a file and a folder", hint=_UNPACK_HINT)


def _is_left_out(parts: Sequence[str]) -> bool:
    return any(part.startswith(".") or part.lower() in _LEFT_BEHIND for part in parts) or is_zip_name(parts[-1])
