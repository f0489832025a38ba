"""What models return: heatmaps made small, each cell the largest of those it stands for."""

from __future__ import annotations

import numpy as np
import pytest

from posetools.results import shrink_heatmaps


@pytest.mark.parametrize(
    ("shape", "shrunk"),
    [((96, 72), (96, 72)), ((97, 72), (49, 36)), ((192, 50), (96, 25)), ((7, 300), (2, 75)), ((1, 97), (1, 49))],
)
def test_a_step_is_the_same_on_both_sides(shape: tuple[int, int], shrunk: tuple[int, int]) -> None:
    heatmaps = np.random.default_rng(0).random((2, 3, *shape)).astype(np.float32)
    small = shrink_heatmaps(heatmaps)
    assert small.shape == (2, 3, *shrunk)
    # No peak is lost, and each stays about where it was.
    np.testing.assert_array_equal(small.max(axis=(2, 3)), heatmaps.max(axis=(2, 3)))
    for k in range(3):
        was = np.array(np.unravel_index(heatmaps[0, k].argmax(), shape)) / shape
        now = np.array(np.unravel_index(small[0, k].argmax(), shrunk)) / shrunk
        assert (np.abs(was - now) <= 1.0 / np.array(shrunk)).all()


def test_each_cell_is_the_largest_of_its_own() -> None:
    heatmap = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert shrink_heatmaps(heatmap, longest=2).tolist() == [[5.0, 7.0]]
    assert shrink_heatmaps(heatmap, longest=4) is heatmap
