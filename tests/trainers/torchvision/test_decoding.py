"""Keypoints are where torchvision itself says, and their scores are probabilities of the softmax."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from posetools.evaluation.scoring import read_truth
from posetools.imaging.frames import read_image
from posetools.runtime.one_stage import locations, scores_of
from posetools.trainers.torchvision.model import HEATMAP_SIDE, build, inference_module
from tests.two_kinds import KINDS


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_locations_are_those_of_torchvision(seed: int) -> None:
    import torch
    from torchvision.models.detection.roi_heads import heatmaps_to_keypoints

    rng = np.random.default_rng(seed)
    n, k = 12, 5
    # From smaller than the heatmap to much larger, some of less than a pixel.
    corners = rng.uniform(-20, 300, (n, 2))
    sizes = np.concatenate([rng.uniform(0.1, 3, (3, 2)), rng.uniform(5, 50, (4, 2)), rng.uniform(60, 400, (5, 2))])
    boxes = np.concatenate([corners, corners + sizes], axis=1).astype(np.float32)
    # Smooth, as those of a network.
    coarse = torch.from_numpy(rng.normal(0, 4, (n, k, 9, 9)).astype(np.float32))
    heatmaps = torch.nn.functional.interpolate(coarse, HEATMAP_SIDE, mode="bilinear")
    theirs, _ = heatmaps_to_keypoints(heatmaps, torch.from_numpy(boxes))
    ours = locations(heatmaps.numpy(), boxes)
    np.testing.assert_allclose(ours, theirs[..., :2].numpy(), atol=1e-3)


def test_a_score_is_the_probability_near_the_peak() -> None:
    import torch

    rng = np.random.default_rng(7)
    heatmaps = rng.normal(0, 3, (4, 3, 20, 20)).astype(np.float32)
    heatmaps[0, 0, 0, 19] = 30.0
    heatmaps[0, 1] = 0.0
    shares = torch.softmax(torch.from_numpy(heatmaps).double().flatten(2), dim=2).reshape(heatmaps.shape).numpy()
    scores = scores_of(heatmaps)
    assert (scores >= 0).all()
    assert (scores <= 1).all()
    for i, j in np.ndindex(4, 3):
        y, x = np.unravel_index(heatmaps[i, j].argmax(), (20, 20))
        around = shares[i, j, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        assert scores[i, j] == pytest.approx(around.sum(), abs=1e-6)
    # Certain at a corner; and without any knowledge, 9 of the 400 cells around the first one.
    assert scores[0, 0] == pytest.approx(1.0)
    assert scores[0, 1] == pytest.approx(9 / 400)


def test_the_network_gives_what_torchvision_itself_predicts(kinds: Path) -> None:
    """Its boxes, scores and keypoints for an image of the input's size, on which torchvision's transform is neutral."""
    import torch

    torch.manual_seed(0)
    model = build(KINDS).eval()
    (path,) = {image.path for image in read_truth(kinds / "data", "val", KINDS).images[:1]}
    assert path is not None
    pixels = np.ascontiguousarray(read_image(path).transpose(2, 0, 1)[:, :192, :256]).astype(np.float32) / 255
    image = torch.from_numpy(pixels)
    # Boxes of an untrained network have low scores.
    model.roi_heads.score_thresh = 0.0
    model.transform.min_size, model.transform.max_size = (192,), 256
    model.transform.image_mean, model.transform.image_std = [0.0] * 3, [1.0] * 3
    with torch.no_grad():
        (theirs,) = model([image])
        dets, heatmaps = inference_module(model)(image[None], theirs["boxes"][:2])
    assert len(dets) == len(theirs["boxes"]) > 0
    assert len(heatmaps) == len(dets) + 2
    np.testing.assert_allclose(dets[:, :4], theirs["boxes"], atol=1e-3)
    np.testing.assert_allclose(dets[:, 4], theirs["scores"], atol=1e-5)
    assert (dets[:, 5] == theirs["labels"] - 1).all()
    points = locations(heatmaps.numpy(), np.concatenate([dets[:, :4].numpy(), theirs["boxes"][:2].numpy()]))
    np.testing.assert_allclose(points[: len(dets)], theirs["keypoints"][..., :2], atol=1e-2)
    np.testing.assert_allclose(points[len(dets) :], theirs["keypoints"][:2, :, :2], atol=1e-2)
