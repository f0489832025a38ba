"""Walk the README's road with two objects, from labelme files to predictions of the bundle: ``python -m tests.road``.

The commands are those of the README, with ``--pretrained none`` and ``--minutes 12``; configs and hooks are the
defaults. The result is judged from the output files: a pair that cannot fit 40 images is broken.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.road.judge import judge
from tests.road.objects import OBJECTS, SKELETON, RoadObject
from tests.road.readme import commands_for

POSETOOLS = Path(sys.executable).with_name("posetools")
LABELS = "my_labelme_folder"


def main() -> int:
    """Walk; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.road", description=__doc__)
    parser.add_argument("--object", choices=[one.name for one in OBJECTS], help="only this one")
    parser.add_argument("--out", type=Path, help="keep everything in this folder")
    asked = parser.parse_args()
    failed, passed = 0, 0
    with tempfile.TemporaryDirectory() as home:
        for made in OBJECTS:
            if asked.object in (None, made.name):
                folder = (asked.out or Path(home)) / made.name
                outcomes = walk(made, folder)
                passed += sum(outcomes)
                failed += len(outcomes) - sum(outcomes)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def walk(made: RoadObject, folder: Path) -> list[bool]:
    """Walk with one object in a new folder; print each command with its seconds, then the results."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"== {made.name}", flush=True)
    made.label(folder / LABELS)
    if made.yaml:
        (folder / SKELETON).write_text(made.yaml)
    images = f"data/{made.name}/images"
    for words in commands_for(made, [images]):
        if not _run(words, folder):
            return [False]
    # The metrics of the report, for the training images.
    if not _run(["eval", "--run", f"work_dirs/{made.name}", "--split", "train", "--json", "eval_train.json"], folder):
        return [False]
    outcomes = []
    for check in judge(folder, made.name):
        print(f"  {'ok ' if check.ok else 'NO '} {check.what}: {check.value:.3f} ({check.rule})", flush=True)
        outcomes.append(check.ok)
    return outcomes


def _run(words: list[str], folder: Path) -> bool:
    started = time.monotonic()
    with (folder / "log.txt").open("a") as log:
        log.write(f"\n$ posetools {shlex.join(words)}\n")
        log.flush()
        done = subprocess.run([POSETOOLS, *words], cwd=folder, stdout=log, stderr=subprocess.STDOUT, check=False)
    print(f"  {time.monotonic() - started:6.1f} s  posetools {shlex.join(words)}", flush=True)
    if done.returncode:
        print((folder / "log.txt").read_text()[-3000:])
        print(f"  NO  exit status {done.returncode}")
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
