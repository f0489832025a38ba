"""Run the lines of docs/install.md for pip in a new environment, and see that it can train: ``make test-pip``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def pip_lines() -> list[str]:
    """Return the commands of docs/install.md below "With pip"."""
    section = (ROOT / "docs/install.md").read_text(encoding="utf-8").partition("## With pip\n")[2].partition("\n## ")[0]
    return re.findall(r"^    (.*)$", section, flags=re.MULTILINE)


def main() -> None:
    """Make the environment, run the lines in it, and ask doctor."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        scripts = Path(folder) / ("Scripts" if os.name == "nt" else "bin")
        environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": folder}
        for line in pip_lines():
            print(f"== {line}", flush=True)
            subprocess.run(line, shell=True, cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    main()
