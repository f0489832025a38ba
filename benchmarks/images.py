"""Speed of checking image files (header, size, EXIF, end, duplicates), against reading the same files one by one.

    python benchmarks/images.py [--images 2000] [--size 640 480] [--repeats 3] [--folder DIR] [--profile]
                                  [--json FILE]

The images are JPEG files of noise, all different and complete. In the first set the file lengths vary. In the second
all have the same length, in the third also the same first 64 KB. In the fourth the ends are equal too, so that every
file must be read completely. In the fifth each is followed by a 500 KB video, as in motion photos, so that the end of
the image must be searched. It times posetools' check of all of them, in one process, and a plain reader that reads one
file after the other completely, with the files in memory ("warm") and without ("cold", if the system can drop them;
otherwise that row is missing). The best of the repeats counts, in turns.
"MB/s" is the size of all files by the time, so a check that reads only parts may be faster than the reader. The run
fails if posetools is below 80 % of the reader with the files on disk, except for motion photos, where the end of the
image is searched. Last it prints the cost of checking that images do not end too early, next to that of decoding them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO
from unittest import mock

import numpy as np
from PIL import Image as Pillow

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from posetools.checks.images import check_images, check_names
from posetools.formats.coco.table import CocoTable, table_from
from posetools.imaging.header import header_of, without_warnings
from posetools.progress import silent

LEAST = 0.8
SETS = ("any length", "one length", "alike to 64 KB", "alike at both ends", "motion photos")
ALIKE = 1 << 16
FILM = 500_000
END = b"\xff\xd9"


def make(folder: Path, number: int, size: tuple[int, int], seed: int) -> dict[str, list[Path]]:
    """Write the sets, and return their files."""
    rng = np.random.default_rng(seed)
    shape = (size[1] // 2, size[0] // 2, 3)
    files: dict[str, list[Path]] = {name: [] for name in SETS}
    for index in range(number):
        buffer = io.BytesIO()
        image = Pillow.fromarray(rng.integers(0, 255, shape, dtype=np.uint8))
        image.resize(size).save(buffer, "JPEG", quality=90)
        content, own = buffer.getvalue(), rng.bytes(8)
        if index == 0:
            first, length = content, 5 * len(content) // 4
        # The last bytes of each are an end marker, as in files of several images; noise has none.
        contents = {
            SETS[0]: content + bytes(index),
            SETS[1]: content.ljust(length, b"\0") + END,
            SETS[2]: first.ljust(length, b"\0") + own + END,
            SETS[3]: first + own + bytes(length - len(first)) + END,
            SETS[4]: content + rng.bytes(FILM + index).replace(END, b"\xff\0"),
        }
        for name, bytes_ in contents.items():
            path = folder / name.replace(" ", "-") / f"{index:06}.jpg"
            path.parent.mkdir(exist_ok=True)
            with path.open("wb") as file:
                file.write(bytes_)
                file.flush()
                os.fsync(file.fileno())
            files[name].append(path)
    return files


def table_of(paths: Sequence[Path], size: tuple[int, int]) -> CocoTable:
    images = [{"id": i, "file_name": p.name, "width": size[0], "height": size[1]} for i, p in enumerate(paths, start=1)]
    return table_from({"images": images, "annotations": [], "categories": []}, Path("train_coco.json"))


def read_all(paths: Sequence[Path]) -> None:
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 20):
                pass


def drop(paths: Sequence[Path]) -> bool:
    """Drop the files from the system's cache, and return whether that is possible."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for path in paths:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(name: str, paths: Sequence[Path], size: tuple[int, int], repeats: int) -> list[dict[str, object]]:
    listed, _ = check_names({"train": table_of(paths, size)})
    total = sum(path.stat().st_size for path in paths) / 1e6

    def check() -> None:
        found = list(check_images(listed, paths[0].parent, silent))
        if found:
            raise SystemExit(f"{name}: finding in a valid image: {found[0]}")

    results: list[dict[str, object]] = []
    for state in ("cold", "warm"):
        times: dict[str, list[float]] = {"reader": [], "posetools": []}
        for _ in range(repeats):
            for who, work in (("reader", lambda: read_all(paths)), ("posetools", check)):
                if state == "warm":
                    read_all(paths)
                elif not drop(paths):
                    return results
                times[who].append(seconds(work))
        reader, own = (total / min(times[who]) for who in ("reader", "posetools"))
        print(f"{name:18} {state:5} {reader:12.0f} {own:12.0f} {own / reader:7.2f}", flush=True)
        results.append({"set": name, "state": state, "reader_mb_s": reader, "posetools_mb_s": own})
    return results


def each(paths: Sequence[Path], work: Callable[[Path, BinaryIO], object]) -> float:
    """Return the microseconds per file, opened and in memory; the best of three."""

    def all_of_them() -> None:
        for path in paths:
            with path.open("rb") as file:
                work(path, file)

    read_all(paths)
    return min(seconds(all_of_them) for _ in range(3)) / len(paths) * 1e6


def ends(sets: Mapping[str, Sequence[Path]]) -> dict[str, float]:
    """Print the cost of checking the ends: microseconds per file, warm."""

    def decode(_: Path, file: BinaryIO) -> None:
        Pillow.open(file).load()

    plain, films = (sets[name][:200] for name in (SETS[0], SETS[-1]))
    with without_warnings():
        with mock.patch("posetools.imaging.header.check_end", lambda *_: None):
            alone = each(plain, header_of)
        costs = {
            "header alone": alone,
            "header and end": each(plain, header_of),
            "header and end of a motion photo": each(films, header_of),
            "decoding, for comparison": each(plain, decode),
        }
    print("\nmicroseconds per file, warm")
    for step, cost in costs.items():
        print(f"  {step:34} {cost:9.1f}")
    return costs


def profile(paths: Sequence[Path]) -> None:
    """Print the cost of a thousand files by step, with the files in memory."""
    from posetools.checks import inspection

    some = [str(path) for path in (paths * (1000 // len(paths) + 1))[:1000]]
    steps: dict[str, Callable[[], object]] = {
        "open": lambda: [file.close() for _, file in inspection._opened(some, inspection._START)],
        "open, read 16 KB": lambda: [file.read(1 << 14) for _, file in inspection._opened(some, inspection._START)],
        "open, read the header (Pillow)": lambda: [header_of(path, file) for path, file in inspection._opened(some, 0)],
        "inspect: all of this": lambda: inspection.inspect(some),
        "digests: read the whole file": lambda: inspection.digests(some),
    }
    read_all(paths)
    print("\nmicroseconds per file, warm")
    with without_warnings():
        for step, work in steps.items():
            print(f"  {step:32} {min(seconds(work) for _ in range(3)) * 1e3:7.1f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure; removed afterwards")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    size = tuple(options.size)
    results = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        sets = make(Path(folder), options.images, size, options.seed)
        mean = sum(p.stat().st_size for p in sets[SETS[0]]) / options.images / 1e3
        print(f"{options.images} images of {size[0]}x{size[1]}, {mean:.0f} KB each, {os.cpu_count()} cores")
        print(f"{'':18} {'':5} {'reader MB/s':>12} {'posetools':>12} {'ratio':>7}")
        for name, paths in sets.items():
            results += compare(name, paths, size, options.repeats)
        results.append({"set": "ends", **ends(sets)})
        if options.profile:
            profile(sets[SETS[0]])
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    slow = [
        r for r in results if "state" in r and float(str(r["posetools_mb_s"])) < LEAST * float(str(r["reader_mb_s"]))
    ]
    return int(any(r["state"] == "cold" and r["set"] != SETS[-1] for r in slow))


if __name__ == "__main__":
    raise SystemExit(main())
