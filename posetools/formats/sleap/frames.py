"""The frames of a SLEAP video as encoded images: those inside a .slp package, and those of a video file.

A package keeps one encoded image per row: PNG or JPEG bytes, as variable-length rows or padded with zeros, or plain
pixels (``format`` hdf5). ``frame_numbers`` beside them says which frame of the video each row is. The bytes are given
as they are, with two exceptions, which are encoded again as PNG, without loss:

- colors: OpenCV, which SLEAP encodes with, takes the first channel for blue, but was given red first. Such rows say
  ``channel_order`` BGR; files before format 1.4 do not say it, and are all so (sleap-io reads them likewise).
- an EXIF orientation, which SLEAP does not apply and OpenCV does when it trains.

A video file is decoded from its first frame on, never by seeking, which is not exact in many formats.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow

from posetools.errors import InputError, must_be
from posetools.formats.deeplabcut.hdf5 import has_room
from posetools.imaging.header import header_of, without_warnings
from posetools.imaging.video import frames_at, opencv

# From this version of the file's format on, packages say the order of their channels.
_SAYS_ORDER = 1.4
_MAGIC = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg"}


class Frame(NamedTuple):
    """One frame of a video.

    Attributes:
        number: its index in the video.
        content: an encoded image.
        ending: of its kind: ``.png``.
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
) -> Iterator[Frame | FrameError]:
    """Yield the wanted frames that an HDF5 file holds, or why one cannot be read; one that it lacks is left out.

    Args:
        path: the file, which holds no harmful array (``hdf5.harmful_array``).
        dataset: the rows' name in the file, or that of the group around them; empty where there is one such array.
        wanted: indices of frames.
        input_format: ``channels_first`` for plain pixels that are (channels, width, height).

    Raises:
        FrameError: the rows are nothing that SLEAP writes.
        OSError, RuntimeError, LookupError, TypeError, ValueError: the file is damaged.
    """
    import h5py

    with h5py.File(path, "r") as file:
        rows = _child(file, dataset or _only_rows(file))
        if isinstance(rows, h5py.Group):
            rows = _child(rows, "video")
        if not isinstance(rows, h5py.Dataset) or rows.external or rows.is_virtual or not has_room(rows):
            raise FrameError(must_be(dataset, "an array of images in the file itself", "another thing"))
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


def decoded_frames(path: Path, wanted: Collection[int]) -> Iterator[Frame]:
    """Yield the wanted frames of a video file as PNG, until it ends.

    Raises:
        RequestError: it cannot be opened.
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = opencv()
    for index, picture in frames_at(path, wanted):
        content = cv2.imencode(".png", picture)[1].tobytes()
        yield Frame(index, content, ".png", (picture.shape[1], picture.shape[0]))


def _only_rows(file: Any) -> str:
    """Return the name of the images in a file, where its user does not say it and there is one such array."""
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
    """Return what a name in a file leads to, once every step of it stays in this very file."""
    import h5py

    for part in filter(None, name.split("/")):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise FrameError(must_be(name, "a name in the file itself", "none, or a link"))
        group = group[part]
    return group


def _places(rows: Any) -> Mapping[int, int] | None:
    """Return frame -> row; None when the rows are all frames of the video."""
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


def _encoded(index: int, content: bytes, order: str) -> Frame:
    ending = next((ending for magic, ending in _MAGIC.items() if content.startswith(magic)), "")
    try:
        with without_warnings():
            header = header_of(f"frame {index}", io.BytesIO(content))
            with Pillow.open(io.BytesIO(content)) as image:
                is_exchanged = order == "BGR" and image.getbands() == ("R", "G", "B")
                if ending and header.orientation == header.ignored == 1 and not is_exchanged:
                    return Frame(index, content, ending, header.size)
                return _as_png(index, Pillow.merge("RGB", image.split()[::-1]) if is_exchanged else image)
    except InputError as exc:
        raise FrameError(f"frame {index}: {exc.problem}") from exc
    except (Pillow.DecompressionBombError, OSError, SyntaxError, ValueError) as exc:
        raise FrameError(f"frame {index}: picture cannot be read: {exc}") from exc


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


def _as_png(index: int, image: Pillow.Image) -> Frame:
    file = io.BytesIO()
    # The orientation is not written: these are the pixels that SLEAP showed.
    image.info.pop("exif", None)
    image.save(file, "PNG")
    return Frame(index, file.getvalue(), ".png", image.size)
