"""The network as an ONNX file of standard operators."""

from __future__ import annotations

from typing import Any

from posetools.exporting.onnx import export_module
from posetools.runtime.manifest import OneStageNetwork
from posetools.runtime.one_stage import BOXES, DETS, HEATMAPS
from posetools.runtime.session import INPUT_NAME
from posetools.trainers.torchvision.model import inference_module


def export_onnx(model: Any, network: OneStageNetwork) -> bytes:
    """Return the ONNX file of the network."""
    import torch

    width, height = network.input_size
    # More than one box: with a traced number of 1, it would become a constant.
    boxes = torch.tensor([[0.0, 0.0, width / 2, height / 2], [8.0, 8.0, width - 8.0, height - 8.0]])
    inputs = {INPUT_NAME: torch.zeros((1, 3, height, width)), BOXES: boxes}
    free = {BOXES: "given", DETS: "detected", HEATMAPS: "all"}
    return export_module(inference_module(model.eval()), inputs, [DETS, HEATMAPS], free=free)
