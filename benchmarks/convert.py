"""Speed of converting labelme to COCO: against reading and decoding the files, a peer, and two processes against one.

    python benchmarks/convert.py [--files 20000] [--embedded 2000] [--peer-files 2000] [--memory-files 0]
                                 [--repeats 3] [--peer PYTHON] [--folder DIR] [--profile]

The files are generated first (benchmarks/labelme_files.py): three cars with eight points each, without images.
Everything is measured in fresh processes, in turns; the best of the repeats counts. Single processes are compared by
CPU seconds, which other work on the machine changes least (the files are in memory, so there is no waiting for disks);
two workers by wall clock.

floor       reads the files, decodes them with msgspec into structs with the fields of a labelme file, and drops them.
            Without imports, the list of files and a warm-up.
one worker  ``convert`` with trusted sizes and without copying images: from the call, in a process that has only
            imported, to the finished data set. Includes the list of files.
two workers the same with two processes. Their start-up is the time for the first thousand files with two workers,
            minus half of the time with one; from 5,000 files on it is subtracted, and printed.
command     ``python -m posetools convert``, with everything.
machine     speed-up of two processes that only compute, in the same turns: the limit for two workers.
peer        labelme2coco 0.2.6, which converts everything to boxes and opens no images: from the call of its
            ``convert``. ``--peer`` is a Python with it (.venv-peers/bin/python after ``make test-peers``).
memory      with ``--memory-files``: the peak memory of a process (high-water mark), one worker.

The run fails if a target is missed. ``--profile`` prints where the time of one worker goes.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

import msgspec  # noqa: E402
from labelme_files import PER_FOLDER, make  # noqa: E402
from targets import verdict  # noqa: E402

FLOOR_RATIO, PEER_RATIO, WORKERS_RATIO, MEMORY_MB = 2.6, 15.0, 1.7, 400.0
_SPINS = 6_000_000

PEER = """
import json, sys, time
import labelme2coco
begin = time.perf_counter(), time.process_time()
labelme2coco.convert(sys.argv[1], sys.argv[2])
print(json.dumps([time.perf_counter() - begin[0], time.process_time() - begin[1], 0]))
"""


class Took(NamedTuple):
    """The cost of a process: wall-clock and CPU seconds, and peak memory in MB."""

    clock: float
    cpu: float
    memory: float = 0.0


class Watch:
    """A stopwatch."""

    def __init__(self) -> None:
        self._begin = time.perf_counter(), time.process_time()

    def took(self) -> Took:
        return Took(time.perf_counter() - self._begin[0], time.process_time() - self._begin[1], high_water())


class Shape(msgspec.Struct, gc=False):
    label: str
    points: list[tuple[float, float]]
    group_id: int | None
    description: str | None
    shape_type: str
    flags: dict[str, bool]
    mask: str | None = None


class File(msgspec.Struct, gc=False):
    version: str
    flags: dict[str, bool]
    shapes: list[Shape]
    imagePath: str
    imageData: str | None
    imageHeight: int
    imageWidth: int


def floor(folder: Path) -> Took:
    """Read and decode."""
    decode = msgspec.json.Decoder(File).decode
    paths = sorted(str(path) for path in folder.rglob("*.json"))
    gc.disable()

    def read(some: Sequence[str]) -> Took:
        watch = Watch()
        for path in some:
            # Path.open would make the floor higher.
            with open(path, "rb") as file:  # noqa: PTH123
                decode(file.read())
        return watch.took()

    read(paths[:500])
    return read(paths)


def asked(source: Path, out: Path, workers: int) -> Any:
    """Return the request, with its formats loaded (they are loaded on look-up)."""
    from posetools.datasets.convert import ConvertRequest
    from posetools.formats import FORMATS
    from posetools.formats.options import ReadOptions

    return ConvertRequest(
        sources=(source,),
        out=out,
        source_format=FORMATS["labelme"].name,
        target_format=FORMATS["coco"].name,
        images="none",
        read=ReadOptions(trust_sizes=True, workers=workers),
    )


def ours(source: Path, out: Path, workers: int, progress: Callable[[str, int, int], None] | None = None) -> Took:
    """Convert."""
    request = asked(source, out, workers)
    from posetools.datasets.convert import convert
    from posetools.progress import silent

    watch = Watch()
    result = convert(request, progress or silent)
    took = watch.took()
    if not result.written:
        raise SystemExit(f"nothing was written: {result.findings[:3]}")
    return took


def spin(_: Path) -> Took:
    """Compute something."""
    watch, x = Watch(), 1
    for _number in range(_SPINS):
        x = x * 5 & 1023
    return watch.took()


def high_water() -> float:
    """Return the peak memory of this process, in MB."""
    try:
        # On Linux, ru_maxrss starts with the parent's memory at the start of this process.
        with Path("/proc/self/status").open(encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def measured(part: str, folder: Path, out: Path | None = None, workers: int = 1) -> Took:
    """Run one part in a fresh process."""
    return finished(started(part, folder, out, workers))


def started(part: str, folder: Path, out: Path | None = None, workers: int = 1) -> subprocess.Popen[str]:
    words = [sys.executable, str(Path(__file__).resolve()), "--part", part, str(folder), str(out), str(workers)]
    if out is not None:
        shutil.rmtree(out, ignore_errors=True)
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> Took:
    text, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args} ended with {process.returncode}")
    return Took(*json.loads(text.splitlines()[-1]))


def part(name: str, folder: Path, out: Path, workers: int) -> None:
    """Run one part in this process and print its cost."""
    print(json.dumps(ours(folder, out, workers) if name == "ours" else {"floor": floor, "spin": spin}[name](folder)))


def two_spins(folder: Path) -> Took:
    """Return the cost of the slower of two processes that compute at the same time."""
    processes = [started("spin", folder) for _ in range(2)]
    return max(finished(process) for process in processes)


def whole_command(folder: Path, out: Path) -> Took:
    shutil.rmtree(out, ignore_errors=True)
    words = ["-m", "posetools", "convert", str(folder), "--out", str(out), "--trust-sizes", "--images", "none"]
    begin, before = time.perf_counter(), os.times()
    subprocess.run(
        [sys.executable, *words],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Took(time.perf_counter() - begin, used)


def best(works: dict[str, Callable[[], Took]], repeats: int) -> dict[str, Took]:
    """Return the minimum of each, measured in turns."""
    least: dict[str, Took] = {}
    for _ in range(repeats):
        for name, work in works.items():
            took = work()
            before = least.get(name, took)
            least[name] = Took(*map(min, took, before))
    return least


def plain(folder: Path, files: int, scratch: Path, repeats: int) -> list[bool]:
    """Measure files without embedded images."""
    few, out = folder / "0000", scratch / "out"
    took = best(
        {
            "floor": lambda: measured("floor", folder),
            "one worker": lambda: measured("ours", folder, out),
            "two workers": lambda: measured("ours", folder, out, 2),
            "one worker, few": lambda: measured("ours", few, out),
            "two workers, few": lambda: measured("ours", few, out, 2),
            "command": lambda: whole_command(folder, out),
            "one spin": lambda: measured("spin", folder),
            "two spins": lambda: two_spins(folder),
        },
        repeats,
    )
    one, two, base = took["one worker"], took["two workers"], took["floor"]
    # With few files nearly all time is start-up.
    enough = files >= 5 * PER_FOLDER
    start = max(0.0, took["two workers, few"].clock - took["one worker, few"].clock / 2) if enough else 0.0
    net = two.clock - start
    reach = 2 * took["one spin"].clock / took["two spins"].clock
    print(f"\n{'':32} {'clock':>7} {'files/s':>8} {'ratio':>6} {'cpu':>7} {'ratio':>6}")
    for name in ("floor", "one worker", "two workers", "command"):
        clock, cpu, _ = took[name]
        print(f"{name:32} {clock:7.2f} {files / clock:8.0f} {clock / base.clock:6.2f}", end="")
        print(f" {cpu:7.2f} {cpu / base.cpu:6.2f}")
    print(f"{'two workers without start-up':32} {net:7.2f} {files / net:8.0f} {net / base.clock:6.2f}")
    print("the CPU seconds of two workers are those of the process that joins and writes")
    print(f"start-up of two workers {start:.2f} s; two processes that only compute reach {reach:.2f} times one")
    print(f"a million files: {1e6 / files * one.clock:.0f} s with one worker, {1e6 / files * net:.0f} s with two")
    ratio, faster = one.cpu / base.cpu, one.clock / net
    said = f"{faster:.2f}x, with start-up {one.clock / two.clock:.2f}x (computing alone: {reach:.2f}x)"
    return [
        verdict("convert, one worker", f"at most {FLOOR_RATIO}x the floor", f"{ratio:.2f}x", ratio <= FLOOR_RATIO),
        verdict("convert, two workers", f"at least {WORKERS_RATIO}x one worker", said, faster >= WORKERS_RATIO),
    ]


def embedded(folder: Path, files: int, scratch: Path, repeats: int) -> list[bool]:
    """Measure files with embedded images."""
    out = scratch / "out"
    took = best({"floor": lambda: measured("floor", folder), "one": lambda: measured("ours", folder, out)}, repeats)
    ratio = took["one"].cpu / took["floor"].cpu
    rates = [files / took[name].clock for name in ("floor", "one")]
    print("\nwith imageData: floor {:.0f}, one worker {:.0f} files/s".format(*rates))
    rule = f"at most {FLOOR_RATIO}x the floor"
    return [verdict("convert, with imageData", rule, f"{ratio:.2f}x", ratio <= FLOOR_RATIO)]


def against_peer(python: str, folder: Path, files: int, scratch: Path, repeats: int) -> list[bool]:
    """Measure labelme2coco and posetools on the same number of files."""

    def peer() -> Took:
        words = [python, "-c", PEER, str(folder), str(scratch / "peer")]
        return finished(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))

    took = best({"peer": peer, "one": lambda: measured("ours", folder, scratch / "out")}, repeats)
    ratio = took["peer"].cpu / took["one"].cpu
    rates = [files / took[name].clock for name in ("peer", "one")]
    print(f"\n{files} files: labelme2coco {rates[0]:.0f}, one worker {rates[1]:.0f} files/s")
    rule = f"at least {PEER_RATIO:.0f}x labelme2coco"
    return [verdict("convert, one worker", rule, f"{ratio:.1f}x", ratio >= PEER_RATIO)]


def memory(folder: Path, files: int, scratch: Path) -> list[bool]:
    """Measure the peak memory of a process."""
    seconds, _, held = measured("ours", folder, scratch / "out")
    print(f"\n{files} files: {seconds:.1f} s, {held:.0f} MB at most")
    rule = f"under {MEMORY_MB:.0f} MB"
    return [verdict(f"convert, {files} files", rule, f"{held:.0f} MB", held < MEMORY_MB)]


def profile(folder: Path, out: Path) -> None:
    """Print the CPU time of one worker by stage."""
    from posetools.files.disk import read_bytes
    from posetools.formats.labelme.model import quick_document

    paths = sorted(str(path) for path in folder.rglob("*.json"))
    gc.disable()
    watch = Watch()
    for path in paths:
        read_bytes(path)
    read = watch.took().cpu
    watch = Watch()
    for path in paths:
        quick_document(read_bytes(path))
    decoded = watch.took().cpu
    gc.enable()
    asked(folder, out, 1)
    times, watch = list[tuple[str, int, float]](), Watch()
    whole = ours(folder, out, 1, lambda what, done, _: times.append((what, done, watch.took().cpu))).cpu
    reading = [time for what, _, time in times if what != "writing"]
    begin, end = (next(t for what, done, t in times if what == "writing" and done == n) for n in (0, 1))
    # The first progress comes after the first shard; its share is subtracted from the time before it.
    per_file = (reading[-1] - reading[0]) / max(1, len(paths) - times[0][1])
    start = max(0.0, reading[0] - per_file * times[0][1])
    stages = {
        "skeleton, list of files": start,
        "reading the files": read,
        "decoding, with all that the schema refuses": decoded - read,
        "objects from shapes, as arrays": reading[-1] - start - decoded,
        "names, ids, the split": begin - reading[-1],
        "writing": end - begin,
        "conversion.json, moving into place": whole - end,
    }
    print(f"\n{'one worker, by stage':46} {'cpu s':>6} {'us/file':>8} {'share':>6}")
    for name, seconds in stages.items():
        print(f"{name:46} {seconds:6.2f} {seconds / len(paths) * 1e6:8.1f} {seconds / whole:6.0%}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--embedded", type=int, default=2_000, help="files with 400 KB of imageData each")
    parser.add_argument("--peer-files", type=int, default=2_000)
    parser.add_argument("--memory-files", type=int, default=0, help="200000 temporarily take 1.7 GB of disk")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer", type=Path, default=ROOT / ".venv-peers/bin/python", metavar="PYTHON")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to use; removed afterwards")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--part", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part:
        name, folder, out, workers = options.part
        part(name, Path(folder), Path(out), int(workers))
        return 0
    return measure(options)


def measure(options: argparse.Namespace) -> int:
    holds: list[bool] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        scratch = Path(name)
        folder = scratch / "plain"
        size = make(folder, options.files)
        print(f"{options.files} files of {size / options.files / 1000:.1f} KB, {os.cpu_count()} cores", flush=True)
        holds += plain(folder, options.files, scratch, options.repeats)
        if options.profile:
            profile(folder, scratch / "profiled")
        if options.embedded:
            make(scratch / "embedded", options.embedded, embedded=True)
            holds += embedded(scratch / "embedded", options.embedded, scratch, options.repeats)
            shutil.rmtree(scratch / "embedded")
        if options.peer_files and options.peer.exists():
            make(scratch / "peers", options.peer_files)
            holds += against_peer(str(options.peer), scratch / "peers", options.peer_files, scratch, options.repeats)
        elif options.peer_files:
            print(f"no labelme2coco: {options.peer} does not exist")
        if options.memory_files:
            shutil.rmtree(folder)
            make(folder, options.memory_files)
            holds += memory(folder, options.memory_files, scratch)
    return int(not all(holds))


if __name__ == "__main__":
    raise SystemExit(main())
