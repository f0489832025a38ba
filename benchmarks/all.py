"""Run the benchmarks of speed and memory one after the other, then print the verdicts; ``make bench`` runs this.

    python benchmarks/all.py [--files 20000] [--memory-files 200000] [--images 118000] [--image-files 2000]
                             [--repeats 3] [--only NAME ...] [--profile]

Each program has more help with ``--help``. Not included: training and prediction (train.py, crops.py, predict.py).
The exit status is 1 if a target is missed or a program failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

from targets import GATHERED, verdict  # noqa: E402

OKS_RATIO, DATUMARO_RATIO, IMAGES_RATIO = 5.0, 5.0, 0.8


class Program(NamedTuple):
    """A program, its arguments, and the function that judges its JSON, unless it judges itself."""

    arguments: Callable[[argparse.Namespace], list[object]]
    judge: Callable[[Any], None] | None = None


def _judge_oks(results: Any) -> None:
    for one in results:
        if (one["peer"], one["kind"]) == ("xtcocotools", "keypoints"):
            said = f"{one['ratio']:.1f}x, largest difference {one['difference']:.0e}"
            holds = one["ratio"] >= OKS_RATIO and one["difference"] <= 1e-6
            verdict("OKS", f"at least {OKS_RATIO:.0f}x xtcocotools, same numbers", said, holds)


def _judge_validate(results: Any) -> None:
    by_program = {one["program"]: one for one in results}
    own, peer = by_program["posetools"], by_program["pycocotools"]
    ratio, memory = own["seconds"] / peer["seconds"], own["peak_mb"] / peer["peak_mb"]
    verdict("validate", "no slower than loading in pycocotools", f"{ratio:.2f}x its time", ratio <= 1)
    verdict("validate", "no more memory than pycocotools", f"{memory:.2f}x its memory", memory <= 1)
    if "datumaro" in by_program:
        faster = by_program["datumaro"]["seconds"] / own["seconds"]
        rule = f"at least {DATUMARO_RATIO:.0f}x Datumaro"
        verdict("validate", rule, f"{faster:.1f}x", faster >= DATUMARO_RATIO)


def _judge_images(results: Any) -> None:
    rule = f"at least {IMAGES_RATIO:.0%} of the speed of reading"
    for state in ("cold", "warm"):
        shares = [one["posetools_mb_s"] / one["reader_mb_s"] for one in results if one.get("state") == state]
        if shares:
            verdict("checking images, from the disk", rule, f"{min(shares):.0%} ({state})", min(shares) >= 0.8)
            return


PROGRAMS = {
    "start": Program(lambda o: ["--profile"] if o.profile else []),
    "convert": Program(
        lambda o: (
            ["--files", o.files, "--memory-files", o.memory_files, "--repeats", o.repeats]
            + (["--profile"] if o.profile else [])
        )
    ),
    "validate": Program(
        lambda o: (
            ["--images", o.images, "--annotations", o.images * 262 // 118, "--repeats", o.repeats]
            + (["--profile"] if o.profile else [])
        ),
        _judge_validate,
    ),
    "images": Program(
        lambda o: ["--images", o.image_files, "--repeats", o.repeats] + (["--profile"] if o.profile else []),
        _judge_images,
    ),
    "oks": Program(lambda o: ["--repeats", o.repeats], _judge_oks),
}


def run(name: str, options: argparse.Namespace, scratch: Path) -> bool:
    """Run one program; return whether it finished."""
    program, found = PROGRAMS[name], scratch / f"{name}.json"
    words = [str(word) for word in program.arguments(options)] + (["--json", str(found)] if program.judge else [])
    print(f"\n== benchmarks/{name}.py {' '.join(words)}", flush=True)
    done = subprocess.run([sys.executable, str(HERE / f"{name}.py"), *words], cwd=ROOT, check=False)
    if program.judge and found.exists():
        program.judge(json.loads(found.read_text(encoding="utf-8")))
        return True
    # A program that judges itself exits with 1 if a target is missed, which its verdict says.
    return program.judge is None and done.returncode in (0, 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000, help="labelme files to convert")
    parser.add_argument("--memory-files", type=int, default=200_000, help="the same, for memory; 0: skip")
    parser.add_argument("--images", type=int, default=118_000, help="of the COCO file to validate")
    parser.add_argument("--image-files", type=int, default=2_000, help="image files to check")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(PROGRAMS), default=list(PROGRAMS), metavar="NAME")
    parser.add_argument("--profile", action="store_true", help="also print where the time goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        gathered = Path(folder) / "verdicts"
        os.environ[GATHERED] = str(gathered)
        failed = [name for name in options.only if not run(name, options, Path(folder))]
        lines = gathered.read_text(encoding="utf-8").splitlines() if gathered.exists() else []
    print("\n== targets")
    print("\n".join(lines + [f"FAILED  benchmarks/{name}.py" for name in failed]))
    return int(bool(failed) or any(line.startswith("MISSED") for line in lines))


if __name__ == "__main__":
    raise SystemExit(main())
