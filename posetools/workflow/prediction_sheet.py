"""A sheet with the labels and the predictions of some images side by side, one color for each side of the object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, Visibility
from posetools.core.skeleton import Color, Skeleton
from posetools.core.skeleton_colors import sides_of
from posetools.imaging.drawing import Style, beside, draw_instances, draw_note, fitting_size
from posetools.labeling.sheet import HIDDEN, Legend, LegendRow, contact_sheet, readable_text, reduction
from posetools.pairs.pipeline import PosePipeline

# Images on the sheet, in a row, and the longer side of each in pixels: small images are enlarged.
SHOWN, _COLUMNS, _LONG_SIDE = 8, 2, 480
# Orange, blue and white differ for color-blind readers, too; boxes are green.
_SIDE_COLORS: dict[int, Color] = {-1: (255, 120, 0), 1: (0, 170, 255), 0: (255, 255, 255)}
_SIDE_NAMES = {-1: "left side", 1: "right side", 0: "neither side"}
_BOX: Color = (110, 235, 90)
# Lines are this much thicker than in `posetools view`.
_THICK = 2.0
_TITLE = "Labels and predictions on validation images"
_NOTES = "left image: labels", "right image: predictions with box scores"


def prediction_sheet(dataset: Dataset, pipeline: PosePipeline) -> Pillow.Image:
    """Return a sheet of images spread evenly over a data set, each with its labels next to the predictions.

    Args:
        dataset: the images, which are read from their paths, and their labels.
        pipeline: predicts.

    Raises:
        InputError: an image cannot be read.
    """
    count = min(SHOWN, len(dataset.images))
    chosen = dataset.select_images(np.linspace(0, len(dataset.images) - 1, count).round().astype(int).tolist())
    categories = Categories(tuple(map(_by_side, chosen.categories.skeletons)))
    tile = fitting_size(chosen.images[0].size, (_LONG_SIDE, _LONG_SIDE))
    whole = _COLUMNS * 2 * tile[0], -(-count // _COLUMNS) * tile[1]
    style = Style(box_color=_BOX, scale=_THICK * reduction(whole), smallest_text=readable_text(whole, tile[0]))
    tiles, captions = [], []
    several, nothing = len(categories) > 1, " or ".join(categories.ids)
    for image, rows in zip(chosen.images, map(np.array, chosen.rows_of_images()), strict=True):
        result = pipeline(Path(image.path or image.file_name))
        rgb = Pillow.fromarray(np.ascontiguousarray(result.image[:, :, ::-1]))
        shown = rgb.resize(fitting_size(rgb.size, tile), Pillow.Resampling.LANCZOS)
        scale = np.array(shown.size) / np.array(rgb.size)
        labels, predicted = shown, shown
        for number, skeleton in categories.items():
            named = f"{skeleton.category.name} " if several else ""
            own, found = rows[chosen.category_ids[rows] == number], result.category_ids == number
            columns = chosen.categories.columns[number]
            boxes, keypoints = chosen.boxes[own] * np.tile(scale, 2), chosen.keypoints[own][:, columns]
            labels = draw_instances(labels, boxes, keypoints * [*scale, 1.0], skeleton, style=style)
            # The model does not predict visibility: weak points are drawn as all others.
            boxes, points = result.boxes[found] * np.tile(scale, 2), result.labeled()[found][:, columns]
            texts = [f"{named}{score:.2f}" for score in result.scores[found]]
            predicted = draw_instances(predicted, boxes, points * [*scale, 1.0], skeleton, texts=texts, style=style)
        if not len(result):
            predicted = draw_note(predicted, f"no {nothing} detected", size=1.5 * style.smallest_text)
        tiles.append(beside(labels, predicted))
        captions.append(f"{image.file_name}: {len(rows)} labeled, {len(result)} detected")
    return contact_sheet(
        tiles, columns=_COLUMNS, tile=tiles[0].size, captions=captions, title=_TITLE, legend=_legend(categories)
    )


def _by_side(skeleton: Skeleton) -> Skeleton:
    """Return the skeleton with one color for each side; a link between both sides has that of neither."""
    sides = sides_of(skeleton.names, skeleton.flip_indices)
    keypoints = [
        each.model_copy(update={"color": _SIDE_COLORS[side]})
        for each, side in zip(skeleton.keypoints, sides, strict=True)
    ]
    links = [
        link.model_copy(update={"color": _SIDE_COLORS[sides[a] if sides[a] == sides[b] else 0]})
        for link, (a, b) in zip(skeleton.links, skeleton.edges, strict=True)
    ]
    return skeleton.model_copy(update={"keypoints": tuple(keypoints), "links": tuple(links)})


def _legend(categories: Categories) -> Legend:
    shown: dict[int, LegendRow] = {}
    first = next(iter(categories.posed.values())).skeletons[0]
    for group in categories.posed.values():
        skeleton = group.skeletons[0]
        for point, side in enumerate(sides_of(skeleton.names, skeleton.flip_indices)):
            shown.setdefault(side, LegendRow(_SIDE_NAMES[side], {point: Visibility.VISIBLE}, skeleton=skeleton))
    return Legend(
        (
            *(shown[side] for side in _SIDE_NAMES if side in shown),
            LegendRow(HIDDEN, {0: Visibility.HIDDEN}, skeleton=first),
            LegendRow(", ".join(categories.ids), box=_BOX, skeleton=first),
            *(LegendRow(note) for note in _NOTES),
        ),
    )
