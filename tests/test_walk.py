"""tools/walk.py: the calls that it follows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.walk import ROOT, walk

FILES = {
    "__init__.py": "",
    "convert.py": """
from posetools.check import check
from posetools.disk import Disk, save
from posetools.errors import Bad
from posetools.plan import Plan, plan, untouched

def convert(request):
    check(request.out)
    if request.wrong:
        raise Bad(request.out)
    rows = [row for row in plan(request.sources)]
    whole = Plan(rows)
    untouched(whole)
    untouched(7)
    for row in rows:
        save(row)
    disk: Disk = request.disk
    disk.close(request.out)
    check(request.sources)
""",
    "check.py": "def check(path):\n    return len(path) > 3\n",
    "plan.py": "class Plan: ...\ndef plan(sources):\n    return sources\ndef untouched(plan): ...\n",
    "disk.py": "class Disk:\n    def close(self, path):\n        save(path)\ndef save(row): ...\n",
    "errors.py": "class Bad(Exception):\n    def __init__(self, path): ...\n",
}


def test_the_request_is_followed_through_calls_and_what_they_give_back(tmp_path: Path) -> None:
    package = tmp_path / "posetools"
    package.mkdir()
    for name, text in FILES.items():
        (package / name).write_text(text, encoding="utf-8")
    start, trip = walk(package, "convert")
    assert start == "convert.py:convert"
    # Not errors.py, which is raised, nor what Plan holds or plain numbers.
    assert trip.stays == ["convert.py", "check.py", "plan.py", "disk.py", "check.py"]
    assert trip.rooms == ["convert.py", "check.py", "plan.py", "disk.py"]


@pytest.mark.parametrize("command", ["convert", "eval", "export"])
def test_each_command_is_walked(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.walk", command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert " rooms, " in done.stdout.splitlines()[0]
    assert len(done.stdout.splitlines()) > 5
