"""Running what the packages of OpenMMLab bring along, with torch's own defaults and no part of posetools but ops."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

# posetools_ops.pth gives every process the ops that mmcv lacks; a config may use nothing else of posetools.
_PROGRAM = """
import runpy, sys

class Refusal:
    allowed = {"posetools", "posetools.mm", "posetools.mm.ops", "posetools.errors"}

    def find_spec(self, name, *_):
        if name.startswith("posetools") and name not in self.allowed:
            raise ImportError(f"a stock tool imports {name}")

sys.meta_path.insert(0, Refusal())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def stock(package: str, script: str, *arguments: str | Path) -> str:
    """Run a script of a package (``tools/test.py``) in a process of its own, and return what it printed."""
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
