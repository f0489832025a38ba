"""The rules for the initial weights of a model, and what follows from them."""

from __future__ import annotations

from posetools.errors import RequestError
from posetools.recipes.options import COCO, DETECTOR, NONE, STARTER, STOCK, DetOptions
from posetools.recipes.recipe import STATED, RuleInput, Ruling
from posetools.recipes.starter import STARTER_SIZES, STARTER_SKELETON, STARTERS
from posetools.recipes.stock import LIKE, DetStock


def load_from(case: RuleInput) -> Ruling:
    """Return the weights of the whole model."""
    stock = case.stock
    if not isinstance(stock, DetStock):
        return Ruling(None, "COCO's keypoints are for people, so only the backbone is pretrained")
    if case.states("backbone"):
        return Ruling(None, "the backbone is set")
    few = f"{case.facts.train.objects} objects are few to train from scratch"
    return Ruling(_coco_weights(case), f"{few}; these weights know {stock.knows}")


def backbone(case: RuleInput) -> Ruling:
    """Return the weights of the backbone."""
    if case["load_from"] is not None:
        return Ruling(NONE, "load_from has its weights")
    if not case.stock.pretrained:
        return Ruling(STOCK, "the stock recipe has no ImageNet weights for this size: random weights")
    return Ruling(STOCK, "pretrained weights, downloaded when training starts")


def freeze(case: RuleInput) -> Ruling:
    """Return which part is not trained."""
    return Ruling(NONE, f"all layers are trained, on {case.samples} {case.sample}")


def named_weights(case: RuleInput, field: str) -> Ruling | None:
    """Return what a name that the user gave for ``load_from`` or ``backbone`` stands for; None: a file or a URL.

    Raises:
        RequestError: there are no such weights for this size.
    """
    value = getattr(case.said, field)
    if field == "load_from" and value == COCO:
        return Ruling(_coco_weights(case), f"{STATED}: the stock recipe's COCO weights")
    if field == "load_from" and value == STARTER:
        _check_starter(case)
        return Ruling(STARTER, f"{STATED}: the starter weights in posetools, trained on rendered cars")
    if field == "load_from" and value == NONE:
        return Ruling(None, STATED)
    return _detector_backbone(case) if field == "backbone" and value == DETECTOR else None


def at_random(case: RuleInput) -> bool:
    """Return whether all weights are random at the start."""
    own = case["backbone"]
    return case["load_from"] is None and (own == NONE or (own == STOCK and not case.stock.pretrained))


def is_trained(case: RuleInput) -> bool:
    """Return whether all weights of the pose estimator are trained for this skeleton."""
    return case.said.load_from == STARTER and case.skeleton.name == STARTER_SKELETON


def _coco_weights(case: RuleInput) -> str:
    checkpoint = case.stock.coco
    if checkpoint is None:
        raise RequestError(
            f"--{case.stage}-load-from: coco has no checkpoint of RTMPose-{case.said.size}",
            hint="use a file or a URL, or omit it: the backbone has pretrained weights",
        )
    return checkpoint


def _check_starter(case: RuleInput) -> None:
    starter = STARTERS[case.stage]
    if case.said.size != starter.size:
        raise RequestError(
            f"--{case.stage}-load-from: starter weights exist for {starter.model}-{starter.size} only, "
            f"got size {case.said.size}",
            hint=f"use {STARTER_SIZES} with --pretrained starter, or --pretrained coco for this size",
        )


def _detector_backbone(case: RuleInput) -> Ruling:
    det, own = f"RTMDet-{case.detector}", f"RTMPose-{case.said.size}"
    if isinstance(case.said, DetOptions) or LIKE[case.said.size] != case.detector:
        return Ruling(NONE, f"random weights: the backbone of {own} is not that of {det}")
    return Ruling(DETECTOR, f"{det}'s, trained first, is the same network: the pose estimator learns sooner")
