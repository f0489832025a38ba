"""The frames of a SLEAP video as encoded images: from a .slp package, or from a video file.

A package has one encoded image per row: PNG or JPEG bytes, as variable-length rows or padded with zeros, or raw
pixels (``format`` hdf5). ``frame_numbers`` gives the video frame of each row. The bytes are returned unchanged, except
in two cases, where they are losslessly encoded again as PNG:

- colors: SLEAP encodes with OpenCV, which expects blue first but was given red first. Such rows have
  ``channel_order`` BGR; in files before format 1.4, which lack it, all rows are so (sleap-io reads them the same way).
- an EXIF orientation, which SLEAP ignores and OpenCV applies in training.

A video file is decoded from its first frame on: seeking is not exact in many formats.

A video is searched for relative to the .slp file, next to it by name, and by name in each ``--image-root``; a missing
one is a single finding for all of its frames. Its images are named ``<video>_<frame>.png``.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow

from posetools.core.findings import Finding
from posetools.errors import InputError, RequestError, first_line, must_be, show_value
from posetools.files.disk import portable_path
from posetools.files.walking import walk_files
from posetools.formats.deeplabcut.h5 import harmful_array, has_room
from posetools.formats.options import ReadOptions
from posetools.formats.reading import FileReading
from posetools.formats.sources.image_names import agreement
from posetools.formats.sources.locate import is_sane
from posetools.formats.sources.many import SourceFile
from posetools.formats.sources.scratch import images_refused, write_scratch
from posetools.imaging.header import header_of, without_warnings
from posetools.imaging.video import frames_at, is_video, opencv

# Packages give the order of channels since this format version.
_SAYS_ORDER = 1.4
_MAGIC = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg"}


class SleapFrame(NamedTuple):
    """One frame of a video.

    Attributes:
        number: its index in the video.
        content: an encoded image.
        ending: of its format: ``.png``.
        size: (width, height) in pixels.
    """

    number: int
    content: bytes
    ending: str
    size: tuple[int, int]


class FrameError(Exception):
    """A frame or a whole video cannot be read; the text says why."""


def embedded_frames(
    path: Path, dataset: str, wanted: Collection[int], input_format: str
) -> Iterator[SleapFrame | FrameError]:
    """Yield the wanted frames in an HDF5 file, or an error for an unreadable one; missing frames are skipped.

    Args:
        path: the file, without harmful arrays (``h5.harmful_array``).
        dataset: the name of the rows or their group in the file; empty if there is only one such array.
        wanted: indices of frames.
        input_format: ``channels_first`` for raw pixels in the order (channels, width, height).

    Raises:
        FrameError: SLEAP does not write such rows.
        OSError, RuntimeError, LookupError, TypeError, ValueError: the file is damaged.
    """
    import h5py

    with h5py.File(path, "r") as file:
        rows = _child(file, dataset or _only_rows(file))
        if isinstance(rows, h5py.Group):
            rows = _child(rows, "video")
        if not isinstance(rows, h5py.Dataset) or rows.external or rows.is_virtual or not has_room(rows):
            raise FrameError(must_be(dataset, "an array of images in the file itself", "something else"))
        places = _places(rows)
        is_encoded = str(rows.attrs.get("format", "hdf5")) != "hdf5"
        order = _channel_order(file, rows)
        for index in sorted(set(wanted)):
            place = index if places is None else places.get(index)
            if place is None or not 0 <= place < len(rows):
                continue
            try:
                if is_encoded:
                    yield _encoded(index, _bytes(rows[place], padded=rows.ndim == 2), order)
                else:
                    yield _as_png(index, _image(rows[place], input_format))
            except FrameError as exc:
                yield exc


def decoded_frames(path: Path, wanted: Collection[int]) -> Iterator[SleapFrame]:
    """Yield the wanted frames of a video file as PNG, until it ends.

    Raises:
        RequestError: it cannot be opened.
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = opencv()
    for index, image in frames_at(path, wanted):
        content = cv2.imencode(".png", image)[1].tobytes()
        yield SleapFrame(index, content, ".png", (image.shape[1], image.shape[0]))


def _only_rows(file: Any) -> str:
    """Return the name of the images in a file if it is not given and there is only one such array."""
    import h5py

    names: list[str] = []

    def look(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and (node.ndim == 4 or name.endswith("/video")):
            names.append(name)

    file.visititems(look)
    if len(names) != 1:
        raise FrameError(
            must_be("the video's dataset", "a name in the file, which has several or none", ", ".join(names))
        )
    return names[0]


def _child(group: Any, name: str) -> Any:
    """Return the object at a name in a file after checking that every part of the path is in this file."""
    import h5py

    for part in filter(None, name.split("/")):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise FrameError(must_be(name, "a name in the file itself", "none, or a link"))
        group = group[part]
    return group


def _places(rows: Any) -> Mapping[int, int] | None:
    """Return frame -> row; None if the rows are all frames of the video."""
    if "frame_numbers" not in rows.parent:
        return None
    numbers = _child(rows.parent, "frame_numbers")
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf" or numbers.external or numbers.is_virtual:
        raise FrameError(must_be("frame_numbers", "a list of whole numbers", numbers.dtype))
    return {int(number): place for place, number in enumerate(numbers[()].tolist())}


def _channel_order(file: Any, rows: Any) -> str:
    if "channel_order" in rows.attrs:
        return str(rows.attrs["channel_order"])
    said = file["metadata"].attrs.get("format_id") if "metadata" in file else None
    return "BGR" if said is not None and float(said) < _SAYS_ORDER else "RGB"


def _bytes(row: Any, *, padded: bool) -> bytes:
    values = np.asarray(row)
    if values.ndim != 1 or values.dtype.itemsize != 1 or values.dtype.kind not in "iu":
        raise FrameError(must_be("an image", "a row of bytes", values.dtype))
    content = values.tobytes()
    return content.rstrip(b"\0") if padded else content


def _encoded(index: int, content: bytes, order: str) -> SleapFrame:
    ending = next((ending for magic, ending in _MAGIC.items() if content.startswith(magic)), "")
    try:
        with without_warnings():
            header = header_of(f"frame {index}", io.BytesIO(content))
            with Pillow.open(io.BytesIO(content)) as image:
                is_exchanged = order == "BGR" and image.getbands() == ("R", "G", "B")
                if ending and header.orientation == header.ignored == 1 and not is_exchanged:
                    return SleapFrame(index, content, ending, header.size)
                return _as_png(index, Pillow.merge("RGB", image.split()[::-1]) if is_exchanged else image)
    except InputError as exc:
        raise FrameError(f"frame {index}: {exc.problem}") from exc
    except (Pillow.DecompressionBombError, OSError, SyntaxError, ValueError) as exc:
        raise FrameError(f"frame {index}: image cannot be read: {exc}") from exc


def _image(pixels: Any, input_format: str) -> Pillow.Image:
    values = np.asarray(pixels)
    if input_format == "channels_first" and values.ndim == 3:
        values = values.transpose(2, 1, 0)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    is_image = values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)
    if values.dtype != np.uint8 or not is_image or 0 in values.shape:
        rule = "pixels of 8 bits in one or three channels"
        raise FrameError(must_be("an image", rule, f"{values.dtype} of shape {values.shape}"))
    return Pillow.fromarray(np.ascontiguousarray(values))


def _as_png(index: int, image: Pillow.Image) -> SleapFrame:
    file = io.BytesIO()
    # The orientation is dropped: these are the pixels that SLEAP showed.
    image.info.pop("exif", None)
    image.save(file, "PNG")
    return SleapFrame(index, file.getvalue(), ".png", image.size)


_PACKAGES = frozenset({".slp", ".h5", ".hdf5"})
_EXPORT_PACKAGE = "in SLEAP, File > Export Labels Package writes a .pkg.slp with the images; convert that"
_LONGEST_VIDEO_NAME = 100


@dataclass
class Videos:
    """Writes the frames of the videos of one .slp file.

    Attributes:
        source: the file.
        options: the user's options.
        broken: the errors that reading a damaged HDF5 file raises.
    """

    source: SourceFile
    options: ReadOptions
    broken: tuple[type[Exception], ...]
    _names: set[str] = field(default_factory=set)
    _known: dict[str, list[Path]] | None = None

    def read(self, video: Any, place: str, lost: Mapping[int, int]) -> tuple[dict[int, FileReading], list[Finding]]:
        """Return a reading with an image and without objects for each readable frame, and a finding on the others.

        Args:
            video: a sleap-io video that is not a list of images; its backend is not open.
            place: the video's place.
            lost: frame index -> how many instances are lost if it cannot be read.

        Raises:
            RequestError: images are not to be copied.
            OutputError: an image cannot be written.
            MissingExtraError: OpenCV is needed but not installed.
        """
        if not self.options.need_images:
            raise images_refused("none")
        done: dict[int, FileReading] = {}
        problem, hint = self._read_into(done, video, lost)
        missing = {index: number for index, number in lost.items() if index not in done}
        if not missing:
            return done, []
        counts = f"({len(missing)} frames with {sum(missing.values())} instances left out)"
        return done, [Finding("E121", str(self.source.file), place, f"{problem} {counts}", hint)]

    def _read_into(self, done: dict[int, FileReading], video: Any, lost: Mapping[int, int]) -> tuple[str, str]:
        """Read the frames of a video; return the problem and the fix for missing frames."""
        text, metadata = str(video.filename), video.backend_metadata or {}
        is_own = metadata.get("filename") == "."
        path = self.source.file if is_own else self._find(text)
        if isinstance(path, str):
            hint = f"--image-root DIR finds a video of this name in another folder; or {_EXPORT_PACKAGE}"
            return f"{must_be('the video', 'an existing file', text)}: {path}", hint
        if metadata.get("crop") is not None:
            hint = "save the cropped frames as a video or a .pkg.slp"
            return must_be("the video", "a whole video", "a crop of one"), hint
        if self.options.scratch is None:
            return must_be("the video", "a list of image files here", text), "posetools convert writes frames as images"
        stem, reason = self._stem(video, is_own=is_own), ""
        try:
            for frame in self._frames(path, metadata, lost):
                if isinstance(frame, FrameError):
                    reason = reason or str(frame)
                    continue
                self._check_size(frame, metadata)
                done[frame.number] = self._reading(frame, path, stem, metadata, lost[frame.number])
        except FrameError as exc:
            return str(exc), _EXPORT_PACKAGE
        except RequestError:
            return must_be("the video", "one that OpenCV can open", path.name), _EXPORT_PACKAGE
        except self.broken as exc:
            return (
                f"the video cannot be read: {show_value(first_line(exc))}",
                _EXPORT_PACKAGE,
            )
        if reason:
            return reason, _EXPORT_PACKAGE
        first = min((index for index in lost if index not in done), default=0)
        rule = "a frame of the package" if path.suffix.lower() in _PACKAGES else "a frame of the video"
        return f"{must_be(f'frame {first}', rule, path.name)} that has none", _EXPORT_PACKAGE

    def _frames(
        self, path: Path, metadata: Mapping[str, Any], wanted: Mapping[int, int]
    ) -> Iterator[SleapFrame | FrameError]:
        if path.suffix.lower() in _PACKAGES:
            harmful = harmful_array(path)
            if harmful:
                raise FrameError(": ".join(harmful))
            dataset = metadata.get("dataset") or ""
            if not isinstance(dataset, str):
                raise FrameError(must_be("the video's dataset", "a name in the file", dataset))
            return embedded_frames(path, dataset, wanted, str(metadata.get("input_format")))
        if is_video(path):
            return self._decoded(path, wanted)
        endings = "a video such as .mp4 or .avi, or a .pkg.slp"
        raise FrameError(must_be("the video", endings, path.name))

    def _decoded(self, path: Path, wanted: Mapping[int, int]) -> Iterator[SleapFrame]:
        for number, frame in enumerate(decoded_frames(path, wanted), start=1):
            yield frame
            self.options.progress(f"decoding {path.name}", number, len(wanted))

    def _check_size(self, frame: SleapFrame, metadata: Mapping[str, Any]) -> None:
        shape = metadata.get("shape")
        if not isinstance(shape, Sequence) or len(shape) != 4 or not all(isinstance(value, int) for value in shape):
            return
        size = shape[2], shape[1]
        if min(size) > 0 and frame.size != size:
            raise FrameError(must_be("the video", f"of (width, height) {size}, as when labeled", frame.size))

    def _reading(
        self, frame: SleapFrame, path: Path, stem: str, metadata: Mapping[str, Any], objects: int
    ) -> FileReading:
        name = f"{stem}_{frame.number:06d}{frame.ending}"
        if self.options.scratch is None:
            raise FrameError("it has no folder for its images")
        return FileReading(
            self.source.file,
            image=write_scratch(self.options.scratch, self.source.file, name, frame.content),
            identity=f"{os.path.realpath(path)}:{metadata.get('dataset') or ''}#{frame.number}",
            name=name,
            origin=_plain(self.source.file.stem),
            size=frame.size,
            objects=objects,
        )

    def _stem(self, video: Any, *, is_own: bool) -> str:
        """Return the base name of a video's images, which no other video of the file has."""
        told = video.source_video.filename if is_own and video.source_video is not None else video.filename
        if isinstance(told, list):
            # The folder of an embedded image sequence says more than its first image.
            told = str(PurePosixPath(str(told[0]).replace("\\", "/")).parent) if told else ""
        stem = plain = _plain(PurePosixPath(str(told).replace("\\", "/")).stem)
        number = 1
        while stem in self._names:
            number += 1
            stem = f"{plain}-{number}"
        self._names.add(stem)
        return stem

    def _find(self, text: str) -> Path | str:
        """Return the file of a video, or why there is none."""
        name = PurePosixPath(text.replace("\\", "/")).name
        beside, root = self.source.file.parent, os.path.realpath(self.source.root)
        relative = portable_path(text)
        for path in (Path(text) if relative is None else beside / relative, beside / name):
            if name and is_sane(path) and path.is_file() and Path(os.path.realpath(path)).is_relative_to(root):
                return path
        found = self._in_roots().get(name, [])
        if len(found) > 1:
            said = PurePosixPath(text.replace("\\", "/")).parts
            shared = [agreement(path.parts, said)[1] for path in found]
            found = [path for path, parts in zip(found, shared, strict=True) if parts == max(shared)]
        if len(found) > 1:
            return f"{found[0]} and {found[1]} have this name; give a narrower --image-root"
        return found[0] if found else f"not found next to {self.source.file.name} or in any --image-root"

    def _in_roots(self) -> dict[str, list[Path]]:
        if self._known is None:
            self._known = {}
            for path in (path for folder in self.options.image_roots for path in walk_files(folder)):
                if (is_video(path) or path.suffix.lower() in _PACKAGES) and path.is_file():
                    known = self._known.setdefault(path.name, [])
                    if not any(path.samefile(other) for other in known):
                        known.append(path)
        return self._known


def _plain(stem: str) -> str:
    """Return a name that is valid on any system."""
    return re.sub(r"[^\w. -]", "_", stem)[:_LONGEST_VIDEO_NAME].strip(". ") or "video"
