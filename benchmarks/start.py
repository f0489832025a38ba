"""Time of `posetools --help`, against `python -c pass` and its parts.

    python benchmarks/start.py [--repeats 40] [--profile]

Each is a fresh process, with compiled bytecode, all in turns, the best of the repeats, in wall-clock and CPU seconds.
The run fails if the help takes more than 10 times `python -c pass`, or the help of a command more than a second. Other
rows show the cost of typer and rich, and of commands. ``--profile`` prints the most expensive imports of the help and
of a conversion.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST = 10.0
# For the help of one command.
SECONDS = 1.0
Run = Callable[[Sequence[str], dict[str, str]], tuple[float, float]]
HELP = "python -m posetools --help"
PROGRAMS: dict[str, Sequence[str]] = {
    "python -c pass": ("-c", "pass"),
    HELP: ("-m", "posetools", "--help"),
    "python -m posetools --version": ("-m", "posetools", "--version"),
    "python -m posetools convert --help": ("-m", "posetools", "convert", "--help"),
    "python -m posetools skeleton show": ("-m", "posetools", "skeleton", "show"),
    "python -c 'import typer'": ("-c", "import typer"),
    "python -c 'import typer.rich_utils'": ("-c", "import typer.rich_utils"),
    "python -c 'import numpy'": ("-c", "import numpy"),
    "python -c 'import posetools.datasets.convert'": ("-c", "import posetools.datasets.convert"),
    "python -c 'import posetools.checks.validate'": ("-c", "import posetools.checks.validate"),
}


def spend(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a program; return wall-clock and CPU seconds (0 if the system does not report them)."""
    begin, before = time.perf_counter(), _of_children()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin, _of_children() - before


def _of_children() -> float:
    used = os.times()
    return used.children_user + used.children_system


def _precise(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Do the same with CPU time in microseconds, if wait4 exists."""
    begin = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - begin, used.ru_utime + used.ru_stime


def helps(run: Run, environment: dict[str, str]) -> float:
    """Print the time of each command's help, the best of three; return the longest, in seconds."""
    sys.path.insert(0, str(ROOT))
    from posetools.cli.commands import COMMANDS

    slowest = 0.0
    for name in (each.name for each in COMMANDS if each.panel):
        best = min(run([sys.executable, "-m", "posetools", name, "--help"], environment)[0] for _ in range(3))
        print(f"{f'posetools {name} --help':40} {best * 1e3:7.1f}")
        slowest = max(slowest, best)
    return slowest


def profile(words: Sequence[str], environment: dict[str, str], lines: int = 15) -> None:
    """Print the most expensive imports, in milliseconds: alone, and with their own imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words], env=environment, capture_output=True, text=True, check=True
    )
    rows = []
    for line in done.stderr.splitlines():
        if line.startswith("import time:") and line.count("|") == 2 and "self" not in line:
            own, whole, name = line.removeprefix("import time:").split("|")
            rows.append((int(whole) / 1000, int(own) / 1000, name.strip()))
    print(f"\nimports of python {' '.join(words)}\n{'with all':>9} {'itself':>7}")
    for whole_ms, own_ms, name in sorted(rows, reverse=True)[:lines]:
        print(f"{whole_ms:9.1f} {own_ms:7.1f}  {name}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from targets import verdict

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    programs = {name: [sys.executable, *words] for name, words in PROGRAMS.items()}
    script = Path(sysconfig.get_path("scripts")) / ("posetools.exe" if os.name == "nt" else "posetools")
    if script.exists():
        programs["posetools --help"] = [str(script), "--help"]
    run = _precise if hasattr(os, "wait4") else spend
    best = {name: (float("inf"), float("inf")) for name in programs}
    # The first turn compiles bytecode and fills the caches of the system.
    for turn in range(options.repeats + 1):
        for name, command in programs.items():
            # The slow ones need fewer turns.
            if turn > 3 and name not in ("python -c pass", HELP, "posetools --help") and turn % 4:
                continue
            clock, processor = run(command, environment)
            if turn:
                best[name] = (min(best[name][0], clock), min(best[name][1], processor))
    base = best["python -c pass"]
    print(f"{'':40} {'ms':>7} {'ratio':>6} {'cpu ms':>7} {'ratio':>6}")
    for name, (clock, processor) in best.items():
        ratio = processor / base[1] if base[1] else 0.0
        print(f"{name:40} {clock * 1e3:7.1f} {clock / base[0]:6.1f} {processor * 1e3:7.1f} {ratio:6.1f}")
    if options.profile:
        profile(PROGRAMS[HELP], environment)
        profile(["-c", "import posetools.datasets.convert"], environment)
    slowest = helps(run, environment)
    held = verdict("posetools COMMAND --help", f"at most {SECONDS} s", f"{slowest:.2f} s", slowest <= SECONDS)
    ratio = max(best[name][0] for name in (HELP, "posetools --help") if name in best) / base[0]
    held &= verdict("posetools --help", f"at most {MOST:.0f}x python -c pass", f"{ratio:.1f}x", ratio <= MOST)
    return int(not held)


if __name__ == "__main__":
    raise SystemExit(main())
