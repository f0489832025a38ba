"""The labeled frames of SLEAP's videos, written out as images for as long as a conversion runs.

A video is found as seen from the .slp file, beside it by its name, or by its name in an ``--image-root``; in none of
these it is one finding for all of its frames. The images are called ``<video>_<frame>.png``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from posetools.core.findings import Finding
from posetools.errors import RequestError, must_be, show_value
from posetools.files.disk import portable_path
from posetools.files.walking import walk_files
from posetools.formats.base import ReadOptions
from posetools.formats.deeplabcut.hdf5 import harmful_array
from posetools.formats.reading import FileReading
from posetools.formats.sleap.frames import Frame, FrameError, decoded_frames, embedded_frames
from posetools.formats.sources.image_names import agreement
from posetools.formats.sources.locate import is_sane
from posetools.formats.sources.many import SourceFile
from posetools.formats.sources.scratch import images_refused, write_scratch
from posetools.imaging.video import is_video

_PACKAGES = frozenset({".slp", ".h5", ".hdf5"})
_EXPORT = "in SLEAP, File > Export Labels Package writes a .pkg.slp that holds the images and is read here"
_LONGEST_NAME = 100


@dataclass
class Videos:
    """Writes the frames of the videos of one .slp file.

    Attributes:
        source: the file.
        options: the user's options.
        broken: what reading a damaged HDF5 file raises.
    """

    source: SourceFile
    options: ReadOptions
    broken: tuple[type[Exception], ...]
    _names: set[str] = field(default_factory=set)
    _known: dict[str, list[Path]] | None = None

    def read(self, video: Any, place: str, lost: Mapping[int, int]) -> tuple[dict[int, FileReading], list[Finding]]:
        """Return a reading with an image and without objects for each frame that could be read, and why others not.

        Args:
            video: a video of sleap-io that is no list of images; its backend is not open.
            place: of the video.
            lost: frame index -> how many instances are lost with it.

        Raises:
            RequestError: the images are not to be copied.
            OutputError: an image cannot be written.
            MissingExtraError: OpenCV is needed and not installed.
        """
        if not self.options.need_pictures:
            raise images_refused("none")
        done: dict[int, FileReading] = {}
        problem, hint = self._read_into(done, video, lost)
        missing = {index: number for index, number in lost.items() if index not in done}
        if not missing:
            return done, []
        counts = f"({len(missing)} frames with {sum(missing.values())} instances left out)"
        return done, [Finding("E121", str(self.source.file), place, f"{problem} {counts}", hint)]

    def _read_into(self, done: dict[int, FileReading], video: Any, lost: Mapping[int, int]) -> tuple[str, str]:
        """Read the frames of a video; return what is to be said of those that it lacks, and what helps."""
        text, metadata = str(video.filename), video.backend_metadata or {}
        is_own = metadata.get("filename") == "."
        path = self.source.file if is_own else self._find(text)
        if isinstance(path, str):
            hint = f"--image-root DIR finds a video of this name in a further folder; or {_EXPORT}"
            return f"{must_be('the video', 'an existing file', text)}: {path}", hint
        if metadata.get("crop") is not None:
            hint = "write the cropped frames into a video or a .pkg.slp of their own"
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
            return str(exc), _EXPORT
        except RequestError:
            return must_be("the video", "one that OpenCV can open", path.name), _EXPORT
        except self.broken as exc:
            return (
                f"the video cannot be read: {show_value(str(exc).splitlines()[0] if str(exc) else type(exc))}",
                _EXPORT,
            )
        if reason:
            return reason, _EXPORT
        first = min((index for index in lost if index not in done), default=0)
        rule = "a frame of the package" if path.suffix.lower() in _PACKAGES else "a frame of the video"
        return f"{must_be(f'frame {first}', rule, path.name)} that has none", _EXPORT

    def _frames(
        self, path: Path, metadata: Mapping[str, Any], wanted: Mapping[int, int]
    ) -> Iterator[Frame | FrameError]:
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

    def _decoded(self, path: Path, wanted: Mapping[int, int]) -> Iterator[Frame]:
        for number, frame in enumerate(decoded_frames(path, wanted), start=1):
            yield frame
            self.options.progress(f"decoding {path.name}", number, len(wanted))

    def _check_size(self, frame: Frame, metadata: Mapping[str, Any]) -> None:
        shape = metadata.get("shape")
        if not isinstance(shape, Sequence) or len(shape) != 4 or not all(isinstance(value, int) for value in shape):
            return
        size = shape[2], shape[1]
        if min(size) > 0 and frame.size != size:
            raise FrameError(must_be("the video", f"of (width, height) {size}, as it was labeled", frame.size))

    def _reading(self, frame: Frame, path: Path, stem: str, metadata: Mapping[str, Any], objects: int) -> FileReading:
        name = f"{stem}_{frame.number:06d}{frame.ending}"
        if self.options.scratch is None:
            raise FrameError("there is no folder for its images")
        return FileReading(
            self.source.file,
            picture=write_scratch(self.options.scratch, self.source.file, name, frame.content),
            identity=f"{os.path.realpath(path)}:{metadata.get('dataset') or ''}#{frame.number}",
            name=name,
            origin=_plain(self.source.file.stem),
            size=frame.size,
            objects=objects,
        )

    def _stem(self, video: Any, *, is_own: bool) -> str:
        """Return what the images of a video are called, which no other video of the file is."""
        told = video.source_video.filename if is_own and video.source_video is not None else video.filename
        if isinstance(told, list):
            # A sequence of images that was embedded: its folder says more than its first image.
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
        return found[0] if found else f"looked for it beside {self.source.file.name} and in every --image-root"

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
    """Return a name that any system can have."""
    return re.sub(r"[^\w. -]", "_", stem)[:_LONGEST_NAME].strip(". ") or "video"
