"""The stock tools/train.py and tools/test.py run the emitted configs unchanged, with no part of posetools but a file.

The file has the starter weights, which the configs name.

A checkpoint of tools/train.py has mmengine's log, which torch >= 2.6 loads only with its protection disabled for
everything; `posetools publish` makes a file that loads with it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from posetools.core.skeleton import load_skeleton
from posetools.core.stages import Stage
from posetools.recipes.emit import emit_pair
from posetools.recipes.options import RecipeOptions
from posetools.recipes.starter import STARTERS
from tests.cli.run import run
from tests.recipes.sample import write_coco
from tests.stock import stock

pytestmark = pytest.mark.train


@pytest.mark.parametrize(("package", "stage"), [("mmdet", "det"), ("mmpose", "pose")])
def test_the_stock_tools_train_and_test(tmp_path: Path, package: str, stage: Stage) -> None:
    write_coco(tmp_path / "data" / "cars", train=4, empty=1, images=True)
    small: dict[str, object] = {
        "epochs": 2,
        "stage2_epochs": 1,
        "batch_size": 2,
        "val_interval": 2,
        "input_size": 64,
        "load_from": "starter",
    }
    options = RecipeOptions.model_validate(
        {"workers": 0, "det": {"size": "tiny", **small}, "pose": {"size": "t", **small}}
    )
    data_root = Path(os.path.relpath(tmp_path / "data" / "cars"))
    pair = emit_pair(data_root, load_skeleton("car8"), options, tmp_path / "configs")
    config, work = getattr(pair, stage), tmp_path / "work"
    log = stock(package, "tools/train.py", config, "--work-dir", work)
    assert "Epoch(train) [2][" in log
    assert "Switch pipeline now!" in log
    file = STARTERS[stage].path.name
    assert [line for line in log.splitlines() if "Load checkpoint from" in line and line.endswith(file)]
    published = run("publish", work / "epoch_2.pth", "--out", tmp_path / "published.pth")
    assert published.status == 0, published.err
    (weights,) = tmp_path.glob("published-*.pth")
    assert "Epoch(test)" in stock(package, "tools/test.py", config, weights, "--work-dir", work)
