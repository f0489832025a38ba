"""The stock tools/train.py and tools/test.py run the emitted configs as they are, with posetools out of reach.

A checkpoint of tools/train.py holds mmengine's log, which torch >= 2.6 refuses to load unless its protection is
switched off for everything; `posetools publish` makes of it a file that needs no such thing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from posetools.recipes.emit import emit_pair
from posetools.recipes.options import RecipeOptions
from posetools.skeleton import load_skeleton
from tests.cli.run import run
from tests.recipes.sample import write_coco

pytestmark = pytest.mark.train

STOCK = """
import runpy, sys
sys.modules["posetools"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def stock(package: str, tool: str, *arguments: str | Path) -> str:
    """Run a tool of a package in a process of its own, with torch's defaults; return what it printed."""
    spec = find_spec(package)
    assert spec
    assert spec.origin
    path = Path(spec.origin).parent / ".mim" / "tools" / tool
    environment = {name: value for name, value in os.environ.items() if "WEIGHTS_ONLY" not in name}
    done = subprocess.run(
        [sys.executable, "-c", STOCK, str(path), *map(str, arguments)],
        env={**environment, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize(("package", "stage"), [("mmdet", "det"), ("mmpose", "pose")])
def test_the_stock_tools_train_and_test(tmp_path: Path, package: str, stage: str) -> None:
    write_coco(tmp_path / "data" / "cars", train=4, empty=1, pictures=True)
    small: dict[str, object] = {
        "epochs": 2,
        "stage2_epochs": 1,
        "batch_size": 2,
        "val_interval": 2,
        "input_size": 64,
        "backbone": "none",
    }
    options = RecipeOptions.model_validate(
        {"workers": 0, "det": {"size": "tiny", **small}, "pose": {"size": "t", **small}}
    )
    data_root = Path(os.path.relpath(tmp_path / "data" / "cars"))
    pair = emit_pair(data_root, load_skeleton("car8"), options, tmp_path / "configs")
    config, work = getattr(pair, stage), tmp_path / "work"
    log = stock(package, "train.py", config, "--work-dir", work)
    assert "Epoch(train) [2][" in log
    assert "Switch pipeline now!" in log
    published = run("publish", work / "epoch_2.pth", "--out", tmp_path / "published.pth")
    assert published.status == 0, published.err
    (weights,) = tmp_path.glob("published-*.pth")
    assert "Epoch(test)" in stock(package, "test.py", config, weights, "--work-dir", work)
