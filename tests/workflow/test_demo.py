"""The demo is a fit of rendered cars that also predicts on a clip."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from posetools.imaging.video import probe
from tests.cli.run import run

pytestmark = pytest.mark.train


def test_the_demo_goes_through_every_step_and_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("demo", "--images", "10", "--minutes", "0.02", "--seed", "3")
    done = run(*words)
    assert done.status == 0, done.err
    assert re.findall(r"\$ posetools (\w+)", done.out) == [
        "convert", "validate", "config", "train", "train", "train", "eval", "plot", "export", "verify", "predict",
    ]  # fmt: skip
    assert "$ posetools convert demo/labelme --out demo/data --seed 3 --split-by image" in done.out
    assert "--pretrained starter" in done.out
    out = tmp_path / "demo"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo"]
    assert sorted(path.name for path in out.iterdir()) == [
        "clip", "clip.mp4", "configs", "curves.png", "curves.svg", "data", "demo.zip", "det", "evaluation.html",
        "evaluation.json", "fit.json", "labelme", "pose", "predictions.png", "report.html", "validation.html",
    ]  # fmt: skip
    assert probe(out / "clip" / "clip.mp4").total == probe(out / "clip.mp4").total == 40
    seconds = {step: results["seconds"] for step, results in json.loads((out / "fit.json").read_text())["done"].items()}
    assert next(iter(seconds)) == "render"
    assert list(seconds)[-1] == "predict"
    for name in ("report.html", "evaluation.html", "validation.html", "clip/clip.mp4"):
        assert f"  demo/{name}  " in done.out

    again = run(*words)
    assert again.status == 0, again.err
    assert again.out.count("done before") == len(seconds)
    assert run("demo", "--images", "12", "--minutes", "0.02", "--seed", "3").err == (
        "error: demo: was started with other options: --images 12, before --images 10\n"
        "  fix: use the same options to continue, another --out, or --overwrite to start again\n"
    )


def test_nothing_is_written_for_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("demo", "--minutes", "0")
    assert (done.status, done.err) == (2, "error: --minutes must be greater than 0, got 0.0\n")
    assert not (tmp_path / "demo").exists()
