"""Mutation testing: every small change of the code that decides about data must make a test fail.

``make mutation`` runs mutmut on the modules below, each with only its own tests, and prints how many mutants the
tests kill, and the survivors. A survivor must be listed with its reason in docs/mutation.md, as the line that this
program prints; an unlisted one, or a fraction of killed ones below ``LEAST``, is a failure.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".mutation"
REASONS = ROOT / "docs" / "mutation.md"
LEAST = 0.85

# Module -> its own tests: those that define what it must do.
TARGETS: dict[str, tuple[str, ...]] = {
    "core/geometry": ("tests/core/test_geometry.py",),
    "core/groups": ("tests/core/test_groups.py", "tests/datasets/test_split.py"),
    "datasets/split": ("tests/datasets/test_split.py", "tests/datasets/test_stratify.py"),
    "datasets/folds": ("tests/datasets/test_folds.py",),
    "datasets/stratify": ("tests/datasets/test_stratify.py",),
    "datasets/pooled": ("tests/datasets/test_resplit.py", "tests/datasets/test_stratify.py"),
    "datasets/resplit": (
        "tests/datasets/test_resplit.py",
        "tests/datasets/test_split.py",
        "tests/core/test_split_journal.py",
        "tests/datasets/test_stratify.py",
    ),
    "checks/across": ("tests/checks/test_across.py",),
    "checks/folds": ("tests/checks/test_folds.py",),
    "checks/structure": ("tests/checks/test_structure.py",),
    "checks/rigid/geometry": ("tests/checks/test_geometry_study.py",),
    "checks/rigid/fit": ("tests/checks/test_geometry_fit.py",),
    "checks/rigid/template": ("tests/checks/test_geometry_template.py",),
    "checks/plausibility": ("tests/checks/test_plausibility.py",),
    "checks/near": ("tests/checks/test_near.py",),
    "checks/images": ("tests/checks/test_images.py",),
    "formats/coco/write": ("tests/formats/coco/test_coco_write.py",),
    "formats/result": ("tests/formats/test_result.py",),
    "files/disk": ("tests/files/test_files.py",),
}

# Only some functions of these modules are mutated: the writer that the COCO writer and `posetools split` use.
PARTS: dict[str, tuple[str, ...]] = {
    "files/disk": ("write_*", "_write_synced", "_put_back", "dump_json", "_compact"),
}

_COPIED = ("posetools", "tests", "benchmarks", "schemas", "data", "docs", "configs")
_KILLED = ("killed", "timeout", "segfault")


@dataclass(frozen=True)
class Score:
    """The result for a module: how many mutants were killed, and a line for each of the others."""

    module: str
    killed: int
    survivors: tuple[str, ...]
    seconds: float

    @property
    def total(self) -> int:
        return self.killed + len(self.survivors)

    @property
    def share(self) -> float:
        return self.killed / self.total if self.total else 1.0

    def __str__(self) -> str:
        counts = f"{self.killed} of {self.total} killed ({self.share:.1%})"
        return f"{self.module}: {counts} in {self.seconds:.0f} s"


def mutate(module: str, processes: int) -> Score:
    """Create all mutants of a module, run its tests on each, and return the result."""
    folder = WORK / module.replace("/", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in _COPIED:
        (folder / name).symlink_to(ROOT / name, target_is_directory=True)
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8") + _settings(module)
    (folder / "pyproject.toml").write_text(settings, encoding="utf-8")
    started = time.monotonic()
    # Without it the tests would import the installed package.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    parts = [f"posetools.{module.replace('/', '.')}.x_{part}__mutmut_*" for part in PARTS.get(module, ())]
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(processes), *parts]
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        done = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=False)
    meta = folder / "mutants" / "posetools" / f"{module}.py.meta"
    if done.returncode or not meta.is_file():
        sys.exit(f"{module}: mutmut failed; see {folder / 'log.txt'}")
    return _score(module, folder, json.loads(meta.read_text(encoding="utf-8")), time.monotonic() - started)


def _settings(module: str) -> str:
    return f"""
[tool.mutmut]
source_paths = ["posetools"]
only_mutate = ["posetools/{module}.py"]
also_copy = {[name for name in _COPIED if name not in ("posetools", "tests")]}
pytest_add_cli_args = ["-p", "no:cacheprovider", "--hypothesis-profile=mutation", "-m", "not slow and not train"]
pytest_add_cli_args_test_selection = {list(TARGETS[module])}
use_git_change_detection = false
track_dependencies = false
"""


def _score(module: str, folder: Path, meta: dict[str, dict[str, int | None]], seconds: float) -> Score:
    from mutmut.stats import status_by_exit_code

    survivors = []
    # Mutants without an exit code belong to functions that were not requested.
    codes = {name: code for name, code in meta["exit_code_by_key"].items() if code is not None or module not in PARTS}
    for name, code in codes.items():
        status = status_by_exit_code[code]
        if status not in _KILLED:
            survivors.append(
                _line(folder, f"posetools/{module}.py", name, "" if status == "survived" else f" ({status})")
            )
    return Score(module, len(codes) - len(survivors), tuple(survivors), seconds)


def _line(folder: Path, path: str, name: str, status: str) -> str:
    """Return a mutant as one line: its function, the old code, the new code."""
    # mutmut reads its settings and files relative to the folder in which it is imported and called.
    with chdir(folder):
        from mutmut.mutation.diff_apply import get_diff_for_mutant

        shown = get_diff_for_mutant(name, path=path).splitlines()
    old, new = (
        " ".join(line[1:].strip() for line in shown if re.match(rf"\{sign}(?!\{sign}\{sign})", line)) for sign in "-+"
    )
    function = re.sub(r".*\.x_?|__mutmut_\d+$", "", name).replace("ǁ", ".").strip(".")
    return f"`{function}`: `{old}` → `{new}`{status}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return 1 if a survivor is not listed or too few are killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"one of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args(arguments)
    unknown = sorted(set(asked.modules) - set(TARGETS))
    if unknown:
        parser.error(f"MODULE must be one of {', '.join(TARGETS)}, got {', '.join(unknown)}")
    listed = REASONS.read_text(encoding="utf-8")
    scores, unlisted = [], 0
    for module in asked.modules or TARGETS:
        score = mutate(module, asked.processes)
        scores.append(score)
        print(score, flush=True)
        for line in score.survivors:
            known = line in listed
            unlisted += not known
            print(f"  {'' if known else 'NOT LISTED: '}{line}", flush=True)
    total = sum(score.total for score in scores)
    killed = sum(score.killed for score in scores)
    print(f"all: {killed} of {total} killed ({killed / max(total, 1):.1%}), {unlisted} survivors without a reason")
    return int(unlisted > 0 or killed < LEAST * total)


if __name__ == "__main__":
    sys.exit(main())
