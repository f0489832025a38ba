"""The sheet of a fit: one color for each side, enlarged images, and a word where nothing is detected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.core.dataset import Dataset
from posetools.core.geometry import Ints
from posetools.pairs.pipeline import PosePipeline
from posetools.synth.dataset import render_set
from posetools.workflow.prediction_sheet import prediction_sheet
from tests.oracle import Oracle

LEFT, RIGHT, BOX, NOTE = (255, 120, 0), (0, 175, 255), (110, 235, 90), (255, 214, 10)


@pytest.fixture(scope="module")
def cars(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return render_set(tmp_path_factory.mktemp("set") / "cars", images=4, size=(160, 120), seed=5)


def _pipeline(cars: Dataset, *, lost: frozenset[int] = frozenset()) -> PosePipeline:
    oracle = Oracle(cars, blur=0.0, lost=lost)
    return PosePipeline(oracle, oracle, cars.skeleton, label=1)


def _count(sheet: Pillow.Image, color: tuple[int, int, int]) -> int:
    pixels: Ints = np.asarray(sheet.convert("RGB")).astype(np.int64)
    return int((np.abs(pixels - color).max(axis=2) < 12).sum())


def test_labels_and_predictions_are_enlarged_and_colored_by_side(cars: Dataset) -> None:
    sheet = prediction_sheet(cars, _pipeline(cars))
    # Two columns of two images with a side of 480 pixels.
    assert sheet.width > 4 * 480
    assert all(_count(sheet, color) > 1500 for color in (LEFT, RIGHT, BOX))
    assert _count(sheet, NOTE) < 200


def test_an_image_without_a_detection_says_so(cars: Dataset, tmp_path: Path) -> None:
    nothing = prediction_sheet(cars, _pipeline(cars, lost=frozenset(range(len(cars)))))
    assert _count(nothing, NOTE) > 4 * 2000
    nothing.save(tmp_path / "sheet.png")
