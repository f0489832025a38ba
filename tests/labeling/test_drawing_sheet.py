"""Contact sheets: their legend, and text that can be read when a screen shows the whole sheet."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.core.dataset import Visibility
from posetools.core.geometry import Bools, Ints
from posetools.core.skeleton import load_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.imaging.drawing import font_of
from posetools.labeling.sheet import HIDDEN, contact_sheet, fitting_columns, legend_of, readable_text, reduction

CAR8 = load_skeleton("car8")
RED = (255, 40, 90)


def pixels(sheet: Pillow.Image) -> Ints:
    return np.asarray(sheet).astype(np.int64)


def near(values: Ints, color: tuple[int, int, int]) -> Bools:
    close: Bools = np.abs(values - color).max(axis=2) < 40
    return close


def sheet_of(count: int, tile: tuple[int, int], columns: int, **more: object) -> Pillow.Image:
    tiles = [Pillow.new("RGB", tile, "gray")] * count
    return contact_sheet(tiles, columns=columns, tile=tile, **more)  # type: ignore[arg-type]


def test_the_legend_shows_disc_ring_boxes_and_every_keypoint_and_link_in_its_color() -> None:
    legend = legend_of(CAR8, boxes={"object": (255, 214, 10), "object with W202": RED})
    texts = [entry.text for entry in legend.entries]
    assert texts[:4] == ["visible", HIDDEN, "object", "object with W202"]
    assert texts[4:12] == list(CAR8.names)
    assert texts[12:] == ["", "", "", "links"]
    assert [dict(entry.points) for entry in legend.entries[:2]] == [{0: Visibility.VISIBLE}, {0: Visibility.HIDDEN}]
    plain, whole = (sheet_of(6, (420, 315), 3, legend=each) for each in (None, legend))
    strip = pixels(whole)[plain.height :]
    assert (pixels(whole)[: plain.height] == pixels(plain)).all(), "the images stay where they are"
    for color in (RED, (255, 214, 10), *(each.color for each in CAR8.keypoints), *(each.color for each in CAR8.links)):
        assert near(strip, color).sum() > 15, color


def test_a_legend_of_many_keypoints_is_cut_and_says_so() -> None:
    legend = legend_of(draft_skeleton("face", [f"p{number}" for number in range(133)], "face").skeleton)
    assert legend.entries[-1].text == "... and 93 more keypoints"
    assert len(legend.entries) == 2 + 1 + 40 + 1
    narrow = sheet_of(1, (200, 150), 1, legend=legend)
    assert narrow.width == 208


@pytest.mark.parametrize(
    ("count", "tile", "columns"),
    [(25, (365, 274), 7), (60, (320, 240), 10), (4, (1280, 720), 2), (100, (320, 213), 13)],
)
def test_text_can_be_read_when_a_screen_shows_the_whole_sheet(count: int, tile: tuple[int, int], columns: int) -> None:
    captions = ["H" * 3] * count
    sheet = sheet_of(count, tile, columns, captions=captions, title="HHH", legend=legend_of(CAR8))
    shown = max(sheet.width / 1280, sheet.height / 800)
    gap = max(4, tile[0] // 60)
    dark = (pixels(sheet) < 60).all(axis=2)
    top = int(np.flatnonzero((pixels(sheet)[:, gap + 1] == 128).all(axis=1))[0])
    title = np.flatnonzero(dark[:top, : tile[0]].any(axis=1))
    caption = np.flatnonzero(dark[top + tile[1] : top + tile[1] + 60, gap : tile[0]].any(axis=1))
    for rows in (title, caption):
        # Of a text of 11 pixels a capital letter is about 8 high.
        assert (rows[-1] - rows[0] + 1) / shown > 7, "pixels of a screen of 1280 by 800"


def test_a_sheet_that_is_scrolled_has_text_for_its_width() -> None:
    assert reduction((1280, 800)) == reduction((400, 300)) == 1
    assert reduction((2560, 1000)) == 2
    assert reduction((2560, 2400)) == 3
    assert reduction((1280, 80_000)) == 2
    assert readable_text((2560, 1600), 90) == 10


@pytest.mark.parametrize(("count", "shape"), [(25, 4 / 3), (8, 4 / 3), (8, 8 / 3), (60, 1.5), (9, 0.5), (1, 2.0)])
def test_columns_make_the_images_large_on_a_screen(count: int, shape: float) -> None:
    def width(columns: int) -> float:
        """Return how wide one image is on a screen that shows the whole sheet."""
        tile = 400, round(400 / shape)
        sheet = sheet_of(count, tile, columns, captions=["a\nb"] * count, caption_lines=2, title="t")
        return 400 / max(sheet.width / 1280, sheet.height / 800)

    chosen = fitting_columns(count, shape, 2)
    assert width(chosen) > 0.9 * max(map(width, range(1, count + 1)))


def test_names_keep_their_ends_where_they_are_cut() -> None:
    tile = 240, 90
    names = [f"a_very_long_name_of_a_camera_{number:04}.jpg:" for number in (1, 2)]
    captions = [f"{name} 2 objects" for name in names]
    one, other = (pixels(sheet_of(1, tile, 1, captions=[each], caption_lines=2)) for each in captions)
    assert font_of(12).getlength(names[0]) > 240
    assert (one != other).any()
    assert (one == pixels(sheet_of(1, tile, 1, captions=[captions[0]], caption_lines=2))).all()
