"""Bundles: read untrusted zips safely, write reproducible ones, and open their models.

A bundle may come from anywhere. Nothing is extracted to disk: members are read into memory, one at a time. Refused,
each with one message:

- a zip whose directory is not at its very end, or that has a comment or is zip64: zipfile would search for another
  directory, of any length. A bundle needs neither; each network has at most 1 GiB.
- names with anything but letters, digits, dot, dash and underscore (so no ``..``, no drive, no backslash), duplicate
  names, folders, links, encrypted members, compression other than deflate.
- members that the manifest does not list. They are harmless, but a bundle must have exactly what it lists.
- members larger than the limits below, or that would unpack to more than RATIO times their size: sizes in the directory
  are checked before a member is read, and reading stops at that size.
- networks with another SHA-256 than in the manifest, samples that are not PNG or have more than SAMPLE_PIXELS pixels.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from pydantic import BaseModel, ValidationError

from posetools.errors import InputError, OutputError, PosetoolsWarning, from_validation, must_be
from posetools.files.disk import dump_json, stream
from posetools.imaging.header import Pixels
from posetools.runtime.manifest import (
    MANIFEST,
    MEMBER_LENGTH,
    MEMBER_PATTERN,
    AnyManifest,
    CategoriesManifest,
    Manifest,
    Network,
    OneStageManifest,
    Sample,
)
from posetools.runtime.networks import OnnxDetector, OnnxEstimator
from posetools.runtime.one_stage import OneStageModel, onnx_run
from posetools.runtime.results import AnyDetector, AnyEstimator

Directory: TypeAlias = dict[str, zipfile.ZipInfo]

NETWORK_BYTES = 1 << 30
SAMPLE_BYTES = 64 << 20
MANIFEST_BYTES = 16 << 20
DIRECTORY_BYTES = 1 << 20
SAMPLE_PIXELS = 1 << 26
# Real members are far below: weights deflate to nine tenths, JSON to a tenth. Not checked below RATIO_FROM bytes.
RATIO, RATIO_FROM = 100, 1 << 20

ZIP_HINT = "use the unmodified zip that `posetools export` writes"

# Exceptions of zipfile on a broken file.
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError, OverflowError)
# The end of the central directory: signature, disk numbers, entries, the directory's size and offset, comment's length.
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE, _ZIP64_SIGNATURE, _ZIP64_LENGTH = b"PK\x05\x06", b"PK\x06\x07", 20
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle with checked directory and manifest; members are read on demand.

    Attributes:
        path: the file.
        manifest: its ``bundle.json``.
    """

    path: Path
    manifest: AnyManifest
    _directory: Directory

    @classmethod
    def open(cls, path: Path | str) -> Bundle:
        """Read the directory and the manifest of a bundle.

        Raises:
            InputError: it cannot be read, or is not a valid bundle (see the module's docstring).
        """
        path = Path(path)
        with _reading(path) as file:
            directory = _directory(path, file)
            if MANIFEST not in directory:
                raise InputError(path, "", f"must have {MANIFEST}, which is missing", hint=ZIP_HINT)
            _check_size(path, directory[MANIFEST], MANIFEST_BYTES)
            manifest = _manifest(path, _read(path, file, directory[MANIFEST]))
        _check_members(path, manifest, directory)
        return cls(path, manifest, directory)

    def models(
        self, device: str = "auto", *, score_thr: float | None = None
    ) -> tuple[AnyDetector, *tuple[AnyEstimator, ...]]:
        """Return the detector and the pose estimators, mostly one, ready to run; of one network, both are this network.

        Args:
            device: ``auto`` (a GPU, if onnxruntime can use one), ``cpu``, ``cuda`` or ``cuda:N``.
            score_thr: the detector also drops boxes below this score, which makes prediction faster.

        Raises:
            MissingExtraError: the ``runtime`` extra is not installed.
            RequestError: the device is not available.
            InputError: a network is damaged, or not allowed in a bundle.
        """
        if self.manifest.doubt:
            warnings.warn(f"{self.path}: {self.manifest.doubt}", PosetoolsWarning, stacklevel=2)
        if isinstance(self.manifest, OneStageManifest):
            network = self.manifest.network
            run = onnx_run(self.network(network), network, device, source=self.path)
            model = OneStageModel(run, network, score_thr=score_thr)
            return model, *model.estimators(self.manifest.categories)
        det, *poses = self.manifest.networks
        detector = OnnxDetector(self.network(det), det, device, source=self.path, score_thr=score_thr)
        return detector, *(OnnxEstimator(self.network(pose), pose, device, source=self.path) for pose in poses)

    def network(self, network: Network) -> bytes:
        """Return the ONNX file of one of the manifest's networks.

        Raises:
            InputError: it cannot be read, or differs from the manifest.
        """
        with _reading(self.path) as file:
            content = _read(self.path, file, self._directory[network.file])
        found = hashlib.sha256(content).hexdigest()
        if found != network.sha256:
            problem = f"sha256 must be {network.sha256} as the manifest says, got {found}"
            raise InputError(self.path, network.file, problem, hint="export it again; it changed after the export")
        return content

    def sample_images(self) -> list[tuple[Sample, Pixels]]:
        """Return the samples and their images.

        Raises:
            InputError: one cannot be read, or is not a PNG.
        """
        with _reading(self.path) as file:
            return [
                (sample, self._decoded(sample.file, _read(self.path, file, self._directory[sample.file])))
                for sample in self.manifest.samples
            ]

    def _decoded(self, name: str, content: bytes) -> Pixels:
        import cv2

        if not content.startswith(_PNG) or content[12:16] != b"IHDR" or len(content) < 24:
            raise InputError(self.path, name, "image must be a PNG file")
        width, height = struct.unpack(">2L", content[16:24])
        if width * height > SAMPLE_PIXELS:
            raise InputError(self.path, name, must_be("image", f"of at most {SAMPLE_PIXELS} pixels", (width, height)))
        try:
            image: Pixels | None = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR)
        except cv2.error as exc:
            raise InputError(self.path, name, f"image cannot be read: {exc.err}") from exc
        if image is None:
            raise InputError(self.path, name, "image cannot be read: the PNG file is damaged")
        return image


def write_bundle(path: Path, manifest: AnyManifest, files: Mapping[str, bytes]) -> None:
    """Write a bundle atomically; the same content gives the same bytes.

    Networks and images are stored uncompressed: deflate saves only a tenth of weights, and costs time at each start.

    Args:
        path: the zip to write.
        manifest: written as ``bundle.json``.
        files: the content of all other members.

    Raises:
        OutputError: it cannot be written, or would be too large for a bundle.
        ValueError: ``files`` are not those of the manifest (a programming error).
    """
    _check_files(path, manifest, files)
    document = dump_json(manifest.model_dump(mode="json")).encode()
    try:
        with stream(path) as file, zipfile.ZipFile(file, "w", allowZip64=False) as archive:
            for name, content in sorted({**files, MANIFEST: document}.items()):
                archive.writestr(_entry(name), content)
    except zipfile.LargeZipFile as exc:
        raise OutputError(f"{path}: cannot be written: a bundle must be smaller than 2 GiB") from exc


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system = 3  # Unix, on every system
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.compress_type = zipfile.ZIP_DEFLATED if name == MANIFEST else zipfile.ZIP_STORED
    return info


def _check_files(path: Path, manifest: AnyManifest, files: Mapping[str, bytes]) -> None:
    named = set(manifest.members[1:])
    if named != set(files):
        raise ValueError(f"files must be those of the manifest, {sorted(named)}, got {sorted(files)}")
    for network in manifest.networks:
        if hashlib.sha256(files[network.file]).hexdigest() != network.sha256:
            raise ValueError(f"{network.file}: sha256 in the manifest must be that of the file")
    for name, content in files.items():
        limit = _limit(manifest, name)
        if len(content) > limit:
            raise OutputError(f"{path}: {name} must have at most {limit} bytes, got {len(content)}")


def _limit(manifest: AnyManifest, name: str) -> int:
    return NETWORK_BYTES if name in (network.file for network in manifest.networks) else SAMPLE_BYTES


def _reading(path: Path) -> BinaryIO:
    try:
        if not path.is_file():
            raise InputError(
                path, "", "bundle must be a zip file, but is a folder" if path.is_dir() else "does not exist"
            )
        return path.open("rb")
    except OSError as exc:
        raise InputError(path, "", f"cannot be read: {exc.strerror or exc}") from exc


def _directory(path: Path, file: BinaryIO) -> Directory:
    _check_end(path, file)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except _BROKEN_ZIP as exc:
        raise InputError(path, "", f"must be a valid zip file: {exc}", hint=ZIP_HINT) from exc
    directory: Directory = {}
    for number, info in enumerate(entries):
        # orig_filename is the name in the file; zipfile cuts filename at a zero byte.
        name = info.orig_filename
        if len(name) > MEMBER_LENGTH or not re.fullmatch(MEMBER_PATTERN, name):
            rule = "letters, digits, dots, dashes, underscores, and at most one slash"
            raise InputError(path, f"member {number}", must_be("name", rule, name), hint=ZIP_HINT)
        if name in directory:
            raise InputError(path, name, "must be unique, but is there twice", hint=ZIP_HINT)
        _check_kind(path, info)
        directory[name] = info
    return directory


def _check_end(path: Path, file: BinaryIO) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END.size - _ZIP64_LENGTH))
    tail = file.read()
    if len(tail) < _END.size or not tail[-_END.size :].startswith(_END_SIGNATURE):
        problem = "must be a whole zip file without a comment, but does not end with a zip's directory"
        raise InputError(path, "", problem, hint=ZIP_HINT)
    *_, length, offset, comment = _END.unpack(tail[-_END.size :])
    if comment or tail.startswith(_ZIP64_SIGNATURE):
        raise InputError(path, "", "must be a plain zip file without a comment, not zip64", hint=ZIP_HINT)
    if length > DIRECTORY_BYTES or length + offset > size:
        raise InputError(
            path, "", must_be("zip directory", f"of at most {DIRECTORY_BYTES} bytes", length), hint=ZIP_HINT
        )


def _check_kind(path: Path, info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.is_dir() or kind not in (0, stat.S_IFREG):
        folder = info.is_dir() or kind == stat.S_IFDIR
        what = "a folder" if folder else "a link" if kind == stat.S_IFLNK else "a device"
        raise InputError(path, info.filename, f"must be a file, but is {what}", hint=ZIP_HINT)
    if info.flag_bits & _ENCRYPTED:
        raise InputError(path, info.filename, "must not be encrypted, but is", hint=ZIP_HINT)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        rule = "stored (0) or deflate (8)"
        raise InputError(path, info.filename, must_be("compression", rule, info.compress_type), hint=ZIP_HINT)


def _check_size(path: Path, info: zipfile.ZipInfo, limit: int) -> None:
    if info.file_size > limit:
        raise InputError(path, info.filename, must_be("size", f"at most {limit} bytes", info.file_size))
    if info.file_size > max(RATIO_FROM, RATIO * info.compress_size):
        rule = f"at most {RATIO} times its size in the zip ({info.compress_size} bytes)"
        raise InputError(path, info.filename, must_be("size", rule, info.file_size))


def _check_members(path: Path, manifest: AnyManifest, directory: Directory) -> None:
    named = set(manifest.members)
    for name in manifest.members:
        if name not in directory:
            raise InputError(path, name, f"must be in the bundle: {MANIFEST} lists it", hint=ZIP_HINT)
    for name, info in directory.items():
        if name not in named:
            raise InputError(path, name, f"must not be in the bundle: {MANIFEST} does not list it", hint=ZIP_HINT)
        if name != MANIFEST:
            _check_size(path, info, _limit(manifest, name))


def _read(path: Path, file: BinaryIO, info: zipfile.ZipInfo) -> bytes:
    try:
        with zipfile.ZipFile(file) as archive, archive.open(info) as member:
            # zipfile returns at most the stated size, and less if the data end early.
            content = member.read(info.file_size + 1)
    except _BROKEN_ZIP as exc:
        raise InputError(path, info.filename, f"cannot be read from the zip: {exc}", hint=ZIP_HINT) from exc
    if len(content) != info.file_size:
        problem = must_be("size", f"{info.file_size} bytes as the zip says", len(content))
        raise InputError(path, info.filename, problem, hint=ZIP_HINT)
    return content


class _Kind(BaseModel):
    """What tells the versions apart."""

    posetools_bundle: Any = None
    skeletons: Any = None

    @property
    def manifest(self) -> type[AnyManifest]:
        # The newest one refuses versions after it by their number.
        if isinstance(self.posetools_bundle, int) and self.posetools_bundle >= 3:
            return OneStageManifest
        return Manifest if self.skeletons is None else CategoriesManifest


def _manifest(path: Path, content: bytes) -> AnyManifest:
    try:
        return _Kind.model_validate_json(content).manifest.model_validate_json(content)
    except ValidationError as exc:
        error = from_validation(path, exc)
        newer = error.place == "posetools_bundle"
        hint = "update posetools: a newer version wrote this bundle" if newer else error.hint
        place = ": ".join(part for part in (MANIFEST, error.place) if part)
        raise InputError(path, place, error.problem, hint=hint) from exc
