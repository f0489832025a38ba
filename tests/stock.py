"""Runs scripts of the OpenMMLab packages without posetools and with torch's own defaults."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

_PROGRAM = """
import runpy, sys
sys.modules["posetools"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def stock(package: str, script: str, *arguments: str | Path) -> str:
    """Run a script of a package (``tools/test.py``) in a separate process, and return its output."""
    spec = find_spec(package)
    assert spec
    assert spec.origin
    path = Path(spec.origin).parent / ".mim" / script
    environment = {name: value for name, value in os.environ.items() if "WEIGHTS_ONLY" not in name}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(path), *map(str, arguments)],
        env={**environment, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr
