"""What is drawn lies where it should, in its colours, at every size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.drawing import BOX_COLOR, Style, contact_sheet, draw_instances
from posetools.geometry import Floats
from posetools.skeleton import Skeleton, load_skeleton

CAR8 = load_skeleton("car8")
GREY = (90, 90, 90)


def _one(size: tuple[int, int], visibility: int = 2) -> tuple[Pillow.Image, Floats, Floats]:
    width, height = size
    box = np.array([[0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height]])
    points = np.zeros((1, 8, 3))
    points[0, :, 0] = np.linspace(0.25, 0.75, 8) * width
    points[0, :, 1] = np.linspace(0.3, 0.7, 8) * height
    points[0, :, 2] = visibility
    return Pillow.new("RGB", size, GREY), box, points


def _at(picture: Pillow.Image, x: float, y: float) -> tuple[int, ...]:
    return tuple(np.asarray(picture)[int(y), int(x)].tolist())


def _without_links() -> Skeleton:
    return Skeleton.model_validate({**CAR8.model_dump(), "links": ()})


@pytest.mark.parametrize("size", [(320, 240), (1280, 960), (3840, 2160)])
def test_visible_points_are_filled_and_hidden_ones_hollow(size: tuple[int, int]) -> None:
    skeleton = _without_links()
    picture, boxes, points = _one(size)
    filled = draw_instances(picture, boxes, points, skeleton, style=Style(boxes=False))
    hollow = draw_instances(picture, boxes, _one(size, visibility=1)[2], skeleton, style=Style(boxes=False))
    for (x, y, _), keypoint in zip(points[0], skeleton.keypoints, strict=True):
        assert _at(filled, x, y) == keypoint.color
        ring = np.asarray(hollow.crop((int(x) - 20, int(y) - 20, int(x) + 20, int(y) + 20))).reshape(-1, 3)
        assert np.abs(ring.astype(int) - keypoint.color).max(axis=1).min() < 60, keypoint.name
    if size[0] > 1000:
        assert _at(hollow, *points[0, 0, :2]) == GREY


def test_unlabelled_and_unsure_points_are_left_out_with_their_links() -> None:
    picture, boxes, points = _one((320, 240))
    points[0, :, 2] = 0
    assert draw_instances(picture, boxes, points, CAR8, style=Style(boxes=False)) == picture
    points[0, :, 2] = 2
    scores = np.full((1, 8), 0.2)
    unsure = draw_instances(picture, boxes, points, CAR8, scores=scores, style=Style(boxes=False, min_score=0.3))
    assert unsure == picture
    assert (points[0, :, 2] == 2).all(), "the argument must not change"


def test_boxes_and_links_have_their_colours_and_widths_that_scale() -> None:
    widths = []
    for size in ((320, 240), (3200, 2400)):
        picture, boxes, points = _one(size)
        drawn = np.asarray(draw_instances(picture, boxes, points, CAR8)).astype(int)
        # How much of the row is the box's colour: a smoothed line is a share of several pixels.
        way = np.array(BOX_COLOR) - GREY
        share = (drawn[int(0.75 * size[1])] - GREY) @ way / (way @ way)
        widths.append(float(share.sum()))
        a, b = CAR8.edges[1]
        x, y = (points[0, a, :2] + points[0, b, :2]) / 2
        near = drawn[int(y) - 6 : int(y) + 6, int(x) - 6 : int(x) + 6].reshape(-1, 3)
        assert np.abs(near - CAR8.links[1].color).max(axis=1).min() < 60
    assert widths[0] >= 1.9
    assert 6 * widths[0] < widths[1] < 14 * widths[0]


def test_texts_stay_in_the_picture() -> None:
    picture, _, points = _one((320, 240))
    boxes = np.array([[0.0, 0.0, 320.0, 240.0], [250.0, 100.0, 319.0, 200.0]])
    points = np.repeat(points * [1, 1, 0], 2, axis=0)
    drawn = draw_instances(picture, boxes, points, CAR8, texts=["car 0.95", "car 0.95"])
    yellow = np.abs(np.asarray(drawn).astype(int) - BOX_COLOR).max(axis=2) < 20
    assert yellow[2:10, 2:40].mean() > 0.4
    assert yellow[88:98, 255:290].mean() > 0.4
    with pytest.raises(ValueError, match="shorter"):
        draw_instances(picture, boxes, points, CAR8, texts=["one"])


def test_names_do_not_cover_each_other() -> None:
    picture, boxes, points = _one((1280, 960))
    points[0, :, :2] = [640, 480]
    style = Style(boxes=False, names=True)
    eight = draw_instances(picture, boxes, points, _without_links(), style=style)
    points[0, 1:, 2] = 0
    one = draw_instances(picture, boxes, points, _without_links(), style=style)
    white = [int((np.asarray(drawn) == 255).all(axis=2).sum()) for drawn in (one, eight)]
    assert white[1] > 3.5 * white[0]


def test_picture_is_not_changed_and_any_mode_is_taken() -> None:
    _, boxes, points = _one((320, 240))
    for mode in ("L", "RGBA", "P"):
        picture = Pillow.new(mode, (320, 240))
        before = picture.tobytes()
        drawn = draw_instances(picture, boxes, points, CAR8)
        assert drawn.mode == "RGB"
        assert drawn.size == (320, 240)
        assert picture.tobytes() == before


def test_contact_sheet_has_even_tiles() -> None:
    tiles = [
        Pillow.new("RGB", size, color) for size, color in (((40, 30), "red"), ((30, 60), "blue"), ((8, 6), "lime"))
    ]
    sheet = contact_sheet(tiles, columns=2, tile=(120, 90), captions=["a", "b" * 200, "c"], title="three")
    plain = contact_sheet(tiles, columns=2, tile=(120, 90))
    assert sheet.width == plain.width == 2 * 120 + 3 * 4
    assert sheet.height > plain.height == 2 * 90 + 3 * 4
    assert _at(plain, 4 + 60, 4 + 45) == (255, 0, 0)
    assert _at(plain, 4 + 1, 4 + 1) == (255, 0, 0)
    # A picture of another shape is shown whole, in the middle.
    assert _at(plain, 128 + 60, 4 + 45) == (0, 0, 255)
    assert _at(plain, 128 + 5, 4 + 45) == (232, 232, 232)
    assert _at(plain, 4 + 60, 98 + 45) == (0, 255, 0)
    assert contact_sheet(tiles[:1], columns=5, tile=(120, 90)).width == 120 + 8
