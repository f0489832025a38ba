"""Colors for keypoints and links without a color in the skeleton file.

Left and right of a pair share a hue: left is dark, right is light, so that they differ in lightness, also for people
with a color-vision deficiency. Keypoints and links without a counterpart get their own hue and medium lightness.
Hues are evenly spaced in OKLCH (Björn Ottosson, "A perceptual color space for image processing", 2020), where equal
steps look equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from posetools.core.skeleton_pairs import is_left

RGB = tuple[int, int, int]

# Lightness by side, and the largest chroma; colors outside sRGB get less.
_LIGHTNESS = {-1: 0.54, 0: 0.70, 1: 0.84}
_CHROMA, _CHROMA_STEP = 0.19, 0.01
_FIRST_HUE = 255.0


def keypoint_colors(names: Sequence[str], counterparts: Sequence[int]) -> tuple[RGB, ...]:
    """Return a color for each of K keypoints.

    Args:
        names: the K names, with words for left and right.
        counterparts: K indices: the keypoint that each becomes in a mirrored image, or itself.
    """
    return _colors(counterparts, sides_of(names, counterparts))


def link_colors(names: Sequence[str], counterparts: Sequence[int], edges: Sequence[tuple[int, int]]) -> tuple[RGB, ...]:
    """Return a color for each link; mirrored links are a pair.

    Args:
        names: the K names, with words for left and right.
        counterparts: K indices: the keypoint that each becomes in a mirrored image, or itself.
        edges: the links as pairs of indices.
    """
    of_points = sides_of(names, counterparts)
    places = {frozenset(edge): place for place, edge in enumerate(edges)}
    mirrors, sides = [], []
    for place, (a, b) in enumerate(edges):
        mirrors.append(places.get(frozenset((counterparts[a], counterparts[b])), place))
        side = of_points[a] + of_points[b]
        if side == 0 and mirrors[-1] != place:
            # From left to right and back: the first of the two is dark.
            side = -1 if place < mirrors[-1] else 1
        sides.append(max(-1, min(1, side)))
    return _colors(mirrors, sides)


def sides_of(names: Sequence[str], counterparts: Sequence[int]) -> list[int]:
    """Return -1 for left, 1 for right, 0 for neither; in a pair without side words, the first is left."""
    sides = [0] * len(names)
    for place, other in enumerate(counterparts):
        if place < other:
            sides[place], sides[other] = (1, -1) if is_left(names[place], names[other]) is False else (-1, 1)
    return sides


def _colors(counterparts: Sequence[int], sides: Sequence[int]) -> tuple[RGB, ...]:
    groups: dict[int, int] = {}
    for place, other in enumerate(counterparts):
        groups.setdefault(min(place, other), len(groups))
    count = len(groups)
    # Neighbors in the list are usually neighbors on the object: their hues are far apart.
    step = next((each for each in range(max(1, round(0.382 * count)), count) if math.gcd(each, count) == 1), 1)
    return tuple(
        _from_oklch(_LIGHTNESS[side], _FIRST_HUE + 360 * (groups[min(place, other)] * step % count) / count)
        for place, (other, side) in enumerate(zip(counterparts, sides, strict=True))
    )


def _from_oklch(lightness: float, hue: float) -> RGB:
    """Return the most colorful sRGB color of a lightness (0 to 1) and a hue (degrees)."""
    for chroma in (_CHROMA - _CHROMA_STEP * step for step in range(int(_CHROMA / _CHROMA_STEP) + 1)):
        across, up = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
        long = (lightness + 0.3963377774 * across + 0.2158037573 * up) ** 3
        medium = (lightness - 0.1055613458 * across - 0.0638541728 * up) ** 3
        short = (lightness - 0.0894841775 * across - 1.2914855480 * up) ** 3
        linear = (
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        )
        if all(0 <= each <= 1 for each in linear):
            break
    red, green, blue = (round(255 * _encoded(min(1.0, max(0.0, each)))) for each in linear)
    return red, green, blue


def _encoded(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
