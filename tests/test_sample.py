"""The sample in data/: the same cars in every format, and the configs emitted for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from posetools.checks.validate import validate
from posetools.core.dataset import Dataset
from posetools.core.skeleton import load_skeleton
from posetools.formats import FORMATS
from posetools.formats.options import ReadOptions
from posetools.recipes.emit import emit_pair
from posetools.recipes.options import RecipeOptions
from tests.build import without_split
from tools.sample_data import REFERENCE

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
# .slp files need an extra, and custom needs a mapping; tests/formats/ has the tests of both.
SAMPLED = [name for name in FORMATS if name not in ("sleap", "custom")]


def _read(name: str) -> Dataset:
    result = FORMATS[name].read([DATA / name], load_skeleton(), ReadOptions())
    assert result.findings == ()
    return result.dataset.with_images(without_split(result.dataset.images))


@pytest.mark.parametrize("name", [name for name in SAMPLED if name not in ("labelme", "deeplabcut")])
def test_every_format_holds_the_same_cars(name: str) -> None:
    assert _read(name) == _read("labelme")


def test_deeplabcut_holds_the_same_points() -> None:
    options = ReadOptions(assume_visible=True, box_from="keypoints")
    result = FORMATS["deeplabcut"].read([DATA / "deeplabcut"], load_skeleton(), options)
    whole = _read("labelme")
    assert result.findings == ()
    assert np.array_equal(result.dataset.keypoints[:, :, :2], whole.keypoints[:, :, :2])
    assert np.array_equal(result.dataset.visibility > 0, whole.visibility > 0)


@pytest.mark.parametrize("name", SAMPLED)
def test_every_format_has_a_sample_that_is_told_by_its_signs(name: str) -> None:
    assert [other for other, each in FORMATS.items() if each.detect(DATA / name)] == [name]


def test_the_sample_is_sound() -> None:
    findings = validate(DATA / "coco", skeleton=load_skeleton()).findings
    assert not [finding for finding in findings if finding.code.startswith("E")]


def test_configs_are_as_emitted_for_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    emitted = emit_pair(Path("data/coco"), load_skeleton(), RecipeOptions(), tmp_path, machine=REFERENCE)
    for path in (emitted.det, emitted.pose):
        assert path.read_text() == (ROOT / "configs" / path.name).read_text(), "run `make generate`"
    assert {path.name for path in (ROOT / "configs").iterdir()} == {emitted.det.name, emitted.pose.name}
