"""Drawings are at the right place, in the right colors, at every size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.core.geometry import Floats
from posetools.core.skeleton import Skeleton, load_skeleton
from posetools.imaging.drawing import BOX_COLOR, Style, beside, draw_instances, fitting_size, paint_heatmaps
from posetools.labeling.sheet import contact_sheet

CAR8 = load_skeleton("car8")
GRAY = (90, 90, 90)


def _one(size: tuple[int, int], visibility: int = 2) -> tuple[Pillow.Image, Floats, Floats]:
    width, height = size
    box = np.array([[0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height]])
    points = np.zeros((1, 8, 3))
    points[0, :, 0] = np.linspace(0.25, 0.75, 8) * width
    points[0, :, 1] = np.linspace(0.3, 0.7, 8) * height
    points[0, :, 2] = visibility
    return Pillow.new("RGB", size, GRAY), box, points


def _at(image: Pillow.Image, x: float, y: float) -> tuple[int, ...]:
    return tuple(np.asarray(image)[int(y), int(x)].tolist())


def _without_links() -> Skeleton:
    return Skeleton.model_validate({**CAR8.model_dump(), "links": ()})


@pytest.mark.parametrize("size", [(320, 240), (1280, 960), (3840, 2160)])
def test_visible_points_are_filled_and_hidden_ones_hollow(size: tuple[int, int]) -> None:
    skeleton = _without_links()
    image, boxes, points = _one(size)
    filled = draw_instances(image, boxes, points, skeleton, style=Style(boxes=False))
    hollow = draw_instances(image, boxes, _one(size, visibility=1)[2], skeleton, style=Style(boxes=False))
    for (x, y, _), keypoint in zip(points[0], skeleton.keypoints, strict=True):
        assert _at(filled, x, y) == keypoint.color
        ring = np.asarray(hollow.crop((int(x) - 20, int(y) - 20, int(x) + 20, int(y) + 20))).reshape(-1, 3)
        assert np.abs(ring.astype(int) - keypoint.color).max(axis=1).min() < 60, keypoint.name
    if size[0] > 1000:
        assert _at(hollow, *points[0, 0, :2]) == GRAY


def test_unlabeled_and_unsure_points_are_left_out_with_their_links() -> None:
    image, boxes, points = _one((320, 240))
    points[0, :, 2] = 0
    assert draw_instances(image, boxes, points, CAR8, style=Style(boxes=False)) == image
    points[0, :, 2] = 2
    scores = np.full((1, 8), 0.2)
    unsure = draw_instances(image, boxes, points, CAR8, scores=scores, style=Style(boxes=False, min_score=0.3))
    assert unsure == image
    assert (points[0, :, 2] == 2).all(), "the argument must not change"


def test_boxes_and_links_have_their_colors_and_widths_that_scale() -> None:
    widths = []
    for size in ((320, 240), (3200, 2400)):
        image, boxes, points = _one(size)
        drawn = np.asarray(draw_instances(image, boxes, points, CAR8)).astype(int)
        # The share of the row in the box's color: an antialiased line covers parts of several pixels.
        way = np.array(BOX_COLOR) - GRAY
        share = (drawn[int(0.75 * size[1])] - GRAY) @ way / (way @ way)
        widths.append(float(share.sum()))
        a, b = CAR8.edges[1]
        x, y = (points[0, a, :2] + points[0, b, :2]) / 2
        near = drawn[int(y) - 6 : int(y) + 6, int(x) - 6 : int(x) + 6].reshape(-1, 3)
        assert np.abs(near - CAR8.links[1].color).max(axis=1).min() < 60
    assert widths[0] >= 1.9
    assert 6 * widths[0] < widths[1] < 14 * widths[0]


def test_texts_stay_in_the_image() -> None:
    image, _, points = _one((320, 240))
    boxes = np.array([[0.0, 0.0, 320.0, 240.0], [250.0, 100.0, 319.0, 200.0]])
    points = np.repeat(points * [1, 1, 0], 2, axis=0)
    drawn = draw_instances(image, boxes, points, CAR8, texts=["car 0.95", "car 0.95"])
    yellow = np.abs(np.asarray(drawn).astype(int) - BOX_COLOR).max(axis=2) < 20
    assert yellow[2:10, 2:40].mean() > 0.4
    assert yellow[88:98, 255:290].mean() > 0.4
    with pytest.raises(ValueError, match="shorter"):
        draw_instances(image, boxes, points, CAR8, texts=["one"])


def test_names_do_not_cover_each_other() -> None:
    image, boxes, points = _one((1280, 960))
    points[0, :, :2] = [640, 480]
    style = Style(boxes=False, names=True)
    eight = draw_instances(image, boxes, points, _without_links(), style=style)
    points[0, 1:, 2] = 0
    one = draw_instances(image, boxes, points, _without_links(), style=style)
    white = [int((np.asarray(drawn) == 255).all(axis=2).sum()) for drawn in (one, eight)]
    assert white[1] > 3.5 * white[0]


def test_indices_are_shorter_than_names_and_take_their_place() -> None:
    image, boxes, points = _one((1280, 960))
    texts = []
    for names, indices in ((True, False), (False, True), (True, True)):
        style = Style(boxes=False, names=names, indices=indices)
        texts.append(draw_instances(image, boxes, points, _without_links(), style=style))
    white = [int((np.asarray(drawn) == 255).all(axis=2).sum()) for drawn in texts]
    plain = draw_instances(image, boxes, points, _without_links(), style=Style(boxes=False))
    assert texts[1] == texts[2] != plain
    assert white[1] < 0.5 * white[0]


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.9, 1.4, np.pi / 2, 2.5])
def test_a_line_is_straight_smooth_and_whole_whatever_its_length(angle: float) -> None:
    # Long enough for several pieces; their seams must have no gap or overlap.
    image, boxes, points = _one((900, 900))
    way = np.array([np.cos(angle), np.sin(angle)])
    points[0, :, 2] = 0
    points[0, :2] = [[*(450.3 - 400 * way), 2], [*(450.3 + 400 * way), 2]]
    skeleton = Skeleton.model_validate(
        {**CAR8.model_dump(), "links": [{"points": CAR8.names[:2], "color": (190, 190, 190)}]}
    )
    style = Style(boxes=False, line=3.0, radius=3.0)
    drawn = np.asarray(draw_instances(image, boxes, points, skeleton, style=style)).astype(float)[..., 0]
    rows, columns = np.mgrid[:900, :900] + 0.5
    along = (columns - 450.3) * way[0] + (rows - 450.3) * way[1]
    off = np.abs((rows - 450.3) * way[0] - (columns - 450.3) * way[1])
    middle = np.abs(along) < 380
    share = (drawn - 90) / 100
    assert share[middle & (off < 0.9)].min() > 0.97
    assert np.abs(share[middle & (off > 2.1)]).max() == 0
    assert share[middle].sum() == pytest.approx(3 * 760, rel=0.02)
    if angle not in (0.0, np.pi / 2):
        assert len(np.unique(drawn[middle])) > 20


def test_points_lie_where_they_are_to_a_quarter_of_a_pixel() -> None:
    skeleton = Skeleton.model_validate({**_without_links().model_dump()})
    for x, y in ((100.0, 80.0), (100.25, 80.75), (99.6, 80.4)):
        image, boxes, points = _one((320, 240))
        points[0, 1:, 2] = 0
        points[0, 0] = [x, y, 2]
        drawn = draw_instances(image, boxes, points, skeleton, style=Style(boxes=False, radius=5))
        changed = np.abs(np.asarray(drawn).astype(float) - GRAY).sum(axis=2) > 0
        rows, columns = np.nonzero(changed)
        assert columns.mean() + 0.5 == pytest.approx(x, abs=0.3)
        assert rows.mean() + 0.5 == pytest.approx(y, abs=0.3)


def test_what_lies_outside_or_nowhere_draws_nothing_and_harms_nothing() -> None:
    image, boxes, points = _one((320, 240))
    style = Style(names=True)
    for value in (1e12, -1e12, 5000.0, np.nan, np.inf):
        far = np.full_like(boxes, value)
        assert draw_instances(image, far, points * [0, 0, 1] + [value, value, 0], CAR8, style=style) == image
    points[0, 0, :2] = np.nan
    whole = draw_instances(image, boxes, points, CAR8, style=Style(boxes=False))
    points[0, 0, 2] = 0
    assert whole == draw_instances(image, boxes, points, CAR8, style=Style(boxes=False))
    # A link to a point far outside goes to the edge in its direction.
    points[0, :, 2] = 0
    a, b = CAR8.edges[0]
    points[0, a], points[0, b] = [160, 120, 2], [1e9 + 160, 120, 2]
    drawn = np.asarray(draw_instances(image, boxes, points, CAR8, style=Style(boxes=False, line=3.0))).astype(int)
    assert np.abs(drawn[120, 200:] - CAR8.links[0].color).max() < 40


def test_lines_are_thinner_on_small_objects_and_thicker_by_scale() -> None:
    image = Pillow.new("RGB", (3840, 2160), GRAY)
    points = np.zeros((1, 8, 3))

    def width(side: float, style: Style) -> int:
        box = np.array([[1000.0, 1000.0, 1000 + side, 1000 + side]])
        row = np.asarray(draw_instances(image, box, points, CAR8, style=style))[int(1000 + side / 2)]
        return int((np.abs(row.astype(int) - BOX_COLOR).max(axis=1) < 20).sum()) // 2

    assert [width(side, Style()) for side in (40, 200, 1000)] == [3, 4, 9]
    assert width(1000, Style(scale=2.0)) == 18
    assert width(40, Style(line=6)) == 6


def test_objects_can_have_boxes_and_tags_of_their_own_color() -> None:
    image, _, points = _one((320, 240))
    boxes = np.array([[20.0, 50.0, 120.0, 150.0], [180.0, 50.0, 280.0, 150.0]])
    colors = [BOX_COLOR, (255, 0, 0)]
    points = np.repeat(points * [1, 1, 0], 2, axis=0)
    drawn = draw_instances(image, boxes, points, CAR8, texts=["", "E104"], box_colors=colors)
    assert _at(drawn, 20, 100) == BOX_COLOR
    assert _at(drawn, 180, 100) == (255, 0, 0)
    red = (np.asarray(drawn)[:49] == (255, 0, 0)).all(axis=2)
    assert red[:, 180:].sum() > 50
    assert not red[:, :170].any()
    assert (np.asarray(drawn)[:48, :170] == GRAY).all(), "an empty text has no tag"


def _heatmaps(*peaks: tuple[int, int, float]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One object's heatmaps of 40 rows and 32 columns, each with a peak of that height at (column, row)."""
    rows, columns = np.mgrid[:40, :32]
    maps = [height * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8) for x, y, height in peaks]
    return np.array(maps, dtype=np.float32)[None]


def _hottest(drawn: Pillow.Image) -> tuple[float, float]:
    red = np.asarray(drawn).astype(int)
    rows, columns = np.nonzero(red[..., 0] - red[..., 2] > 100)
    return float(columns.mean()) + 0.5, float(rows.mean()) + 0.5


def test_heatmaps_are_painted_where_their_crops_are() -> None:
    image = Pillow.new("RGB", (320, 240), GRAY)
    crop = np.array([[150.0, 110.0, 128.0, 160.0]])
    drawn = paint_heatmaps(image, _heatmaps((20, 10, 1.0)), crop)
    # Four pixels to a cell: the middle of the cell in column 20, row 10.
    assert _hottest(drawn) == pytest.approx((150 - 64 + 20.5 * 4, 110 - 80 + 10.5 * 4), abs=0.6)
    changed = (np.asarray(drawn) != GRAY).any(axis=2)
    assert 0.01 < changed.mean() < 0.05, "only where it is hot"
    assert image == Pillow.new("RGB", (320, 240), GRAY), "the argument must not change"
    low = np.asarray(paint_heatmaps(image, _heatmaps((20, 10, 0.15)), crop)).astype(int)
    at = low[72, 168]
    assert at[2] > at[0], "low is blue"


def test_heatmaps_are_cut_at_the_image_and_the_larger_counts() -> None:
    image = Pillow.new("RGB", (320, 240), GRAY)
    edge = np.array([[0.0, 0.0, 128.0, 160.0]])
    drawn = paint_heatmaps(image, _heatmaps((20, 25, 1.0), (2, 2, 1.0)), edge)
    assert _hottest(drawn) == pytest.approx((-64 + 82, -80 + 102), abs=0.6)
    crop = np.array([[150.0, 110.0, 128.0, 160.0]])
    strong, weak = _heatmaps((20, 10, 1.0)), _heatmaps((20, 10, 0.3))
    for maps in (np.concatenate([strong, weak]), np.concatenate([weak, strong])):
        assert paint_heatmaps(image, maps, crop.repeat(2, axis=0)) == paint_heatmaps(image, strong, crop)
    far = np.array([[1000.0, 1000.0, 100.0, 100.0], [150.0, 110.0, 0.1, 0.1]])
    assert paint_heatmaps(image, strong.repeat(2, axis=0), far) == image
    assert paint_heatmaps(image, np.zeros((0, 8, 40, 32), np.float32), np.zeros((0, 4))) == image
    assert paint_heatmaps(image.convert("L"), np.zeros((0, 8, 1, 1), np.float32), np.zeros((0, 4))).mode == "RGB"


def test_image_is_not_changed_and_any_mode_is_taken() -> None:
    _, boxes, points = _one((320, 240))
    for mode in ("L", "RGBA", "P"):
        image = Pillow.new(mode, (320, 240))
        before = image.tobytes()
        drawn = draw_instances(image, boxes, points, CAR8)
        assert drawn.mode == "RGB"
        assert drawn.size == (320, 240)
        assert image.tobytes() == before


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
    # An image of another shape is shown whole, centered.
    assert _at(plain, 128 + 60, 4 + 45) == (0, 0, 255)
    assert _at(plain, 128 + 5, 4 + 45) == (232, 232, 232)
    assert _at(plain, 4 + 60, 98 + 45) == (0, 255, 0)
    assert contact_sheet(tiles[:1], columns=5, tile=(120, 90)).width == 120 + 8


def test_captions_have_as_many_lines_as_are_allowed() -> None:
    tiles = [Pillow.new("RGB", (240, 90), "red")] * 2
    words = "many words " * 40

    def height(captions: list[str], lines: int) -> int:
        return contact_sheet(tiles, columns=2, tile=(240, 90), captions=captions, caption_lines=lines).height

    one, two, three = (height([words, "a"], lines) for lines in (1, 2, 3))
    assert three - two == two - one > 9
    assert height(["a", "b"], 3) == one
    assert height(["a\nb", "b"], 3) == two
    assert height(["a" * 500, "b"], 3) == one, "what has no blank is cut"


def test_two_images_stand_beside_each_other_and_fill_a_tile() -> None:
    both = beside(Pillow.new("RGB", (30, 20), "red"), Pillow.new("RGB", (40, 10), "blue"))
    assert both.size == (72, 20)
    assert [_at(both, x, 5) for x in (0, 29, 30, 31, 32, 71)] == [
        (255, 0, 0),
        (255, 0, 0),
        (255, 255, 255),
        (255, 255, 255),
        (0, 0, 255),
        (0, 0, 255),
    ]
    assert _at(both, 40, 15) == (255, 255, 255)
    assert fitting_size((4000, 2000), (400, 400)) == (400, 200)
    assert fitting_size((10, 40), (400, 400)) == (100, 400)
    assert fitting_size((10000, 1), (100, 100)) == (100, 1)
