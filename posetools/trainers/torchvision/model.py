"""The network: torchvision's Keypoint R-CNN with a small backbone and small heads.

The backbone is MobileNetV3-Small with a feature pyramid of the strides 8, 16 and 32, because a network of ResNet-50 and
the 512 channels of torchvision's own keypoint head takes a hundred times the arithmetic, which a CPU cannot train in
minutes. Batch normalization trains with the weights, with torch's usual momentum, as there may be few iterations.

Images enter as in a bundle: scaled and padded to one size, channels blue, green, red, normalized. torchvision's own
transform is not used, so that training, evaluation and a bundle see the same pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from posetools.core.categories import Categories
from posetools.exporting.onnx import export_module
from posetools.runtime.manifest import OneStageNetwork
from posetools.runtime.one_stage import BOXES, DETS, HEATMAPS, Run
from posetools.runtime.session import INPUT_NAME, Singles
from posetools.trainers.torchvision.recipe import TrainingRecipe

FILE = "model.onnx"
# ImageNet's statistics, blue, green, red.
MEAN, STD, PAD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), (114.0, 114.0, 114.0)
HEATMAP_SIDE = 56

_PYRAMID_CHANNELS = 96
# Blocks of MobileNetV3-Small that end at strides 8, 16 and 32, with their channels; and where its six stages begin.
_PYRAMID = {3: 24, 8: 48, 12: 576}
_STAGE_STARTS = (0, 1, 2, 4, 9, 12)
_SCORE_THR = 0.05


def network_of(recipe: TrainingRecipe, categories: Categories, sha256: str = "0" * 64) -> OneStageNetwork:
    """Return the manifest entry of the network of a recipe."""
    return OneStageNetwork(
        file=FILE,
        sha256=sha256,
        input_size=recipe.input_size,
        mean=MEAN,
        std=STD,
        classes=tuple(categories.ids),
        pad_value=PAD,
        num_keypoints=categories.num_keypoints,
        heatmap_side=HEATMAP_SIDE,
    )


def build(categories: Categories, *, pretrained: bool = False) -> Any:
    """Return the network; with ``pretrained`` its backbone has ImageNet weights, which torchvision downloads."""
    import torch
    from torchvision.models import MobileNet_V3_Small_Weights, mobilenet_v3_small
    from torchvision.models.detection import KeypointRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
    from torchvision.ops import MultiScaleRoIAlign

    norm = partial(torch.nn.BatchNorm2d, eps=1e-3, momentum=0.1)
    weights = MobileNet_V3_Small_Weights.IMAGENET1K_V1 if pretrained else None
    features = mobilenet_v3_small(weights=weights, norm_layer=norm).features
    if pretrained:
        # ImageNet's weights are for red, green, blue.
        first = features[0][0].weight
        first.data = first.data.flip(1)
    layers = {str(block): str(level) for level, block in enumerate(_PYRAMID)}
    backbone = BackboneWithFPN(features, layers, list(_PYRAMID.values()), _PYRAMID_CHANNELS, norm_layer=norm)
    names = list(layers.values())
    # Of each level of the pyramid, and of its coarsest one, half as large again.
    anchors = AnchorGenerator(((24, 40), (64, 96), (144, 208), (288, 400)), ((0.5, 1.0, 2.0),) * 4)
    model = KeypointRCNN(
        backbone,
        rpn_anchor_generator=anchors,
        box_roi_pool=MultiScaleRoIAlign(names, 7, 2),
        box_head=TwoMLPHead(_PYRAMID_CHANNELS * 49, 256),
        box_predictor=FastRCNNPredictor(256, len(categories) + 1),
        # Keypoints need the finest level.
        keypoint_roi_pool=MultiScaleRoIAlign(names[:1], 14, 2),
        keypoint_head=KeypointRCNNHeads(_PYRAMID_CHANNELS, (_PYRAMID_CHANNELS,) * 3),
        keypoint_predictor=KeypointRCNNPredictor(_PYRAMID_CHANNELS, categories.num_keypoints),
        rpn_pre_nms_top_n_train=600,
        rpn_post_nms_top_n_train=300,
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_test=150,
        rpn_batch_size_per_image=128,
        box_batch_size_per_image=48,
        box_score_thresh=_SCORE_THR,
    )
    # Its convolutions take two thirds of the time on a CPU; the losses need the usual format.
    model.backbone.to(memory_format=torch.channels_last)
    return model


def freeze(model: Any, trainable_layers: int) -> None:
    """Fix the weights and statistics of the backbone's first stages; also after ``model.train()``."""
    first = (*_STAGE_STARTS, max(_PYRAMID) + 1)[len(_STAGE_STARTS) - trainable_layers]
    for name, block in model.backbone.body.named_children():
        if int(name) < first:
            block.eval().requires_grad_(False)


def losses(model: Any, images: Any, targets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the losses of a (B, 3, h, w) batch, by torchvision's names."""
    from torchvision.models.detection.image_list import ImageList

    sizes = [tuple(images.shape[2:])] * len(images)
    features = model.backbone(images)
    proposals, of_proposals = model.rpn(ImageList(images, sizes), features, targets)
    _, of_boxes = model.roi_heads(features, proposals, sizes, targets)
    return {**of_proposals, **of_boxes}


def inference_module(model: Any) -> Any:
    """Return a torch Module of (1, 3, h, w), (M, 4) -> (D, 6), (D + M, K, s, s); posetools/runtime/manifest.py."""
    import torch
    from torchvision.models.detection.image_list import ImageList

    heads = model.roi_heads

    class InferenceModule(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by mypy.
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Any, boxes: Any) -> tuple[Any, Any]:
            height, width = map(int, images.shape[2:])
            sizes = [(height, width)]
            features = model.backbone(images)
            proposals, _ = model.rpn(ImageList(images, sizes), features)
            pooled = heads.box_head(heads.box_roi_pool(features, proposals, sizes))
            (found,), (scores,), (labels,) = heads.postprocess_detections(
                *heads.box_predictor(pooled), proposals, sizes
            )
            # Convolutions need at least one box: the last one is only for that.
            every = torch.cat([found, boxes, images.new_tensor([[0, 0, width, height]])])
            crops = heads.keypoint_roi_pool(features, [every], sizes)
            heatmaps = heads.keypoint_predictor(heads.keypoint_head(crops))[:-1]
            return torch.cat([found, scores[:, None], (labels[:, None] - 1).to(scores.dtype)], 1), heatmaps

    return InferenceModule().eval()


def torch_run(model: Any) -> Run:
    """Return a function that runs the network on its own device."""
    import torch

    module, device = inference_module(model.eval()), next(model.parameters()).device

    def run(batch: Singles, boxes: Singles) -> tuple[Singles, Singles]:
        with torch.no_grad():
            dets, heatmaps = module(torch.from_numpy(batch).to(device), torch.from_numpy(boxes).to(device))
        return dets.cpu().numpy(), heatmaps.cpu().numpy()

    return run


def export_onnx(model: Any, network: OneStageNetwork) -> bytes:
    """Return the ONNX file of the network, of standard operators."""
    import torch

    width, height = network.input_size
    # More than one box: with a traced number of 1, it would become a constant.
    boxes = torch.tensor([[0.0, 0.0, width / 2, height / 2], [8.0, 8.0, width - 8.0, height - 8.0]])
    inputs = {INPUT_NAME: torch.zeros((1, 3, height, width)), BOXES: boxes}
    free = {BOXES: "given", DETS: "detected", HEATMAPS: "all"}
    return export_module(inference_module(model.eval()), inputs, [DETS, HEATMAPS], free=free)
