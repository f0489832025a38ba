"""The extent of a brush region of Label Studio: runs of bits, as thi.ng's rle-pack packs the four channels of a mask.

32 bits say how many values there are (4 for each pixel, row by row), 5 the bits of a value less one, 4 times 4 the bits
of each of four kinds of length less one. Then come runs: a bit for "one value" or "one after the other", 2 bits for the
kind of length, the length less one, and the value or values. A pixel is painted where its fourth value is not 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class _Run(NamedTuple):
    start: int
    end: int
    value: int


def brush_extent(rle: Sequence[int], size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """Return x1, y1, x2, y2 in pixels round what is painted, pixels with their whole width; None when nothing is.

    Args:
        rle: the bytes of the region.
        size: (width, height) of the image.

    Raises:
        ValueError: the bytes are not such runs for an image of this size.
    """
    width = size[0]
    columns: list[int] = []
    rows: list[int] = []
    for run in _runs(bytes(rle), 4 * size[0] * size[1]):
        # Of pixel q the fourth value is at 4 q + 3.
        first, last = run.start // 4, (run.end - 4) // 4
        if not run.value or first > last:
            continue
        rows += (first // width, last // width)
        columns += (first % width, last % width) if first // width == last // width else (0, width - 1)
    if not rows:
        return None
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


def _runs(data: bytes, count: int) -> Iterator[_Run]:
    at = 0

    def read(bits: int) -> int:
        nonlocal at
        end = at + bits
        if end > 8 * len(data):
            raise ValueError("too few bytes")
        word = int.from_bytes(data[at // 8 : (end + 7) // 8], "big")
        at = end
        return (word >> (-end % 8)) & ((1 << bits) - 1)

    if read(32) != count:
        raise ValueError("of another size")
    word_size = read(5) + 1
    length_sizes = [read(4) + 1 for _ in range(4)]
    start = 0
    while start < count:
        is_run = read(1)
        end = start + 1 + read(length_sizes[read(2)])
        if is_run:
            yield _Run(start, end, read(word_size))
        else:
            yield from (_Run(one, one + 1, read(word_size)) for one in range(start, end))
        start = end
    if start > count:
        raise ValueError("too many values")
