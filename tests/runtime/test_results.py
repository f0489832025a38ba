"""Results of models: shrunk heatmaps, each cell the maximum of those it replaces."""

from __future__ import annotations

import numpy as np
import pytest

from posetools.runtime.results import heatmap_size, shrink_heatmaps


@pytest.mark.parametrize(
    ("shape", "size", "shrunk"),
    [
        ((512, 384), (48, 64), (64, 48)),
        ((97, 72), (24, 96), (96, 24)),
        ((64, 48), (48, 64), (64, 48)),
        ((7, 300), (75, 64), (7, 75)),
    ],
)
def test_heatmaps_are_shrunk_to_the_models_size(
    shape: tuple[int, int], size: tuple[int, int], shrunk: tuple[int, int]
) -> None:
    heatmaps = np.random.default_rng(0).random((2, 3, *shape)).astype(np.float32)
    small = shrink_heatmaps(heatmaps, size)
    assert small.shape == (2, 3, *shrunk)
    # Every peak is kept, at about the same location.
    np.testing.assert_array_equal(small.max(axis=(2, 3)), heatmaps.max(axis=(2, 3)))
    for k in range(3):
        was = np.array(np.unravel_index(heatmaps[0, k].argmax(), shape)) / shape
        now = np.array(np.unravel_index(small[0, k].argmax(), shrunk)) / shrunk
        assert (np.abs(was - now) <= 1.0 / np.array(shrunk)).all()


def test_each_cell_is_the_largest_of_its_own() -> None:
    heatmap = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert shrink_heatmaps(heatmap, (2, 1)).tolist() == [[5.0, 7.0]]
    assert shrink_heatmaps(heatmap, (4, 2)) is heatmap


def test_a_heatmap_has_the_size_that_networks_of_heatmaps_have() -> None:
    # HRNet and SimpleBaseline, 192 x 256: 48 x 64.
    assert heatmap_size((192, 256)) == (48, 64)
    assert heatmap_size((256, 256)) == (64, 64)
