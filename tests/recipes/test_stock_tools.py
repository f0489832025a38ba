"""The stock tools/train.py and tools/test.py run the emitted configs as they are, with posetools out of reach."""

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
from tests.recipes.sample import write_coco

pytestmark = pytest.mark.train

# Both tools in one process: most of their time is the import of OpenMMLab.
RUN_TOOLS = """
import runpy, sys
sys.modules["posetools"] = None
tools, config, work_dir = sys.argv[1:]
sys.argv = ["train.py", config, "--work-dir", work_dir]
runpy.run_path(f"{tools}/train.py", run_name="__main__")
sys.argv = ["test.py", config, f"{work_dir}/epoch_2.pth", "--work-dir", work_dir]
runpy.run_path(f"{tools}/test.py", run_name="__main__")
"""


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
    spec = find_spec(package)
    assert spec
    assert spec.origin
    tools = Path(spec.origin).parent / ".mim" / "tools"
    # torch >= 2.6 refuses mmengine's checkpoints in the stock test.py; this is what a user of it has to say.
    environment = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", RUN_TOOLS, str(tools), str(getattr(pair, stage)), str(tmp_path / "work")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    log = done.stdout + done.stderr
    assert "Epoch(train) [2][" in log
    assert "Switch pipeline now!" in log
    assert "Epoch(test)" in log
    assert (tmp_path / "work" / "epoch_2.pth").is_file()
