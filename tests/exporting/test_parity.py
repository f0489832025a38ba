"""Differences between two outputs, and ties that rounding decides."""

from __future__ import annotations

import numpy as np
import pytest

from posetools.core.geometry import Floats
from posetools.errors import RunError
from posetools.exporting.parity import Parity, _compare_boxes
from posetools.runtime.manifest import DetNetwork
from posetools.runtime.results import Detections

NETWORK = DetNetwork(
    file="det.onnx",
    sha256="0" * 64,
    input_size=(64, 64),
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    classes=("car",),
    pad_value=(0.0, 0.0, 0.0),
    score_thr=0.001,
    iou_threshold=0.65,
    max_per_img=4,
)


def found(*rows: tuple[float, float, float, float, float]) -> Detections:
    array: Floats = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return Detections(array[:, :4], array[:, 4], np.zeros(len(array), dtype=np.int64))


def compared(ours: Detections, theirs: Detections, *, before: Detections | None = None) -> Parity:
    """Compare the boxes of two sides; ``before`` NMS both had the same, or else only these boxes."""
    parity = Parity()
    _compare_boxes(parity, "a.png", ours, theirs, NETWORK, lambda: (before or ours, before or theirs))
    return parity


def together(a: Detections, b: Detections) -> Detections:
    return Detections(
        np.concatenate([a.boxes, b.boxes]), np.concatenate([a.scores, b.scores]), np.concatenate([a.labels, b.labels])
    )


CAR = (10.0, 10.0, 30.0, 30.0, 0.9)
OTHER = (40.0, 40.0, 60.0, 60.0, 0.5)


def test_the_order_of_equals_does_not_matter() -> None:
    parity = compared(found(CAR, OTHER), found(OTHER, (10.25, 10.0, 30.0, 30.0, 0.9004)))
    assert (parity.boxes.compared, parity.boxes.left_out) == (2, 0)
    assert parity.boxes.largest == pytest.approx(0.25)
    assert parity.box_scores.largest == pytest.approx(0.0004)
    assert parity.boxes.where == "a.png, box 0"
    parity.check()


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (found(CAR), r"scores of boxes differ by up to 0\.4, .*box 1 of PyTorch \(score 0\.500\)"),
        (
            found(CAR, OTHER, (0.0, 40.0, 20.0, 60.0, 0.4)),
            r"box 2 of ONNX \(score 0\.400\)\n.*also too large: boxes",
        ),
        (found(CAR, (41.0, 40.0, 60.0, 60.0, 0.5)), r"boxes differ by up to 1 px, 0\.5 are allowed; at a\.png, box 1"),
        (found(CAR, (40.0, 40.0, 60.0, 60.0, 0.51)), r"scores of boxes differ by up to 0\.01, 0\.001 are allowed"),
        (found(), "boxes differ by up to inf px"),
    ],
)
def test_a_box_of_one_side_alone_is_a_difference(theirs: Detections, message: str) -> None:
    with pytest.raises(RunError, match=message):
        compared(found(CAR, OTHER), theirs).check()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        # At the score threshold.
        (found(CAR, (40, 40, 60, 60, 0.0012)), found(CAR)),
        # Two overlapping boxes with equal scores: NMS may keep either.
        (found(CAR), found((11.0, 10.0, 31.0, 30.0, 0.9))),
        # An overlap at the NMS threshold (20 * 15.8 / (400 + 400 - 316) = 0.653).
        (found(CAR, (14.2, 10.0, 34.2, 30.0, 0.5)), found(CAR)),
        # Suppressed by a box that is there due to rounding.
        (found((10, 10, 30, 30, 0.9), (14.5, 10, 34.5, 30, 0.5)), found((11, 10, 31, 30, 0.9))),
    ],
)
def test_close_calls_are_left_out_and_counted(ours: Detections, theirs: Detections) -> None:
    parity = compared(ours, theirs, before=together(ours, theirs))
    assert parity.boxes.left_out > 0
    parity.check()


def test_what_one_side_never_had_is_no_close_call() -> None:
    shifted = found((11.0, 10.0, 31.0, 30.0, 0.9))
    with pytest.raises(RunError, match=r"boxes differ by up to 1 px, 0\.5 are allowed; at a\.png, box 0 of PyTorch"):
        compared(found(CAR), shifted).check()


def test_a_wrong_threshold_of_nms_is_a_difference() -> None:
    # IoU 0.5: not to be dropped at 0.65.
    ours = found(CAR, (16.667, 10.0, 36.667, 30.0, 0.5))
    with pytest.raises(RunError, match=r"box 1 of PyTorch \(score 0\.500\)"):
        compared(ours, found(CAR), before=ours).check()


def test_the_last_of_a_full_list_is_a_close_call() -> None:
    rows = [(i * 15.0, 0.0, i * 15.0 + 10, 10.0, 0.5) for i in range(3)]
    last = [(0.0, 40.0, 10.0, 50.0, 0.2), (30.0, 40.0, 40.0, 50.0, 0.2002)]
    parity = compared(found(*rows, last[0]), found(*rows, last[1]), before=found(*rows, *last))
    assert (parity.boxes.compared, parity.boxes.left_out) == (3, 2)
    parity.check()


def test_a_number_that_is_none_is_a_difference() -> None:
    parity = Parity()
    parity.simcc.add(np.array([0.0, np.nan]), lambda i: f"place {i}")
    with pytest.raises(RunError, match=r"SimCC differ by up to inf, 0\.001 are allowed; at place 1"):
        parity.check()
