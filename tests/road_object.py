"""The second object: a toy animal, rendered with its labels, to test objects other than cars.

It differs from a car in every respect: it has joints (head, legs, tail), points on the center line, and no template.
Each part with a keypoint has its own color, left ones differ from right ones, so that a network can tell the sides.

``write_object_set`` writes images and labelme files like a person's; ``sample_keypoints`` gives only the labels,
without painting. Both are the same for the same seed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from posetools.core.geometry import Floats, Ints
from posetools.synth.camera import Camera, Screen, rasterize, to_screen
from posetools.synth.car import LinearRGB, Mesh, cylinder, loft, merge, normals
from posetools.synth.rendering import label_box, label_keypoints

LABEL = "critter"
NAMES = (
    "nose", "tail-base", "left-ear", "right-ear",
    "left-front-paw", "right-front-paw", "left-hind-paw", "right-hind-paw",
)  # fmt: skip
SWAPS = (0, 1, 3, 2, 5, 4, 7, 6)
SIZE = (256, 192)
# As written by `posetools skeleton new --category critter --names ...`.
SKELETON_YAML = """\
name: critter
category: {name: critter, id: 1}
keypoints:
  - {name: nose, color: [255, 38, 38]}
  - {name: tail-base, color: [38, 101, 255]}
  - {name: left-ear, swap: right-ear, color: [165, 255, 38]}
  - {name: right-ear, swap: left-ear, color: [255, 38, 228]}
  - {name: left-front-paw, swap: right-front-paw, color: [38, 255, 219]}
  - {name: right-front-paw, swap: left-front-paw, color: [255, 156, 38]}
  - {name: left-hind-paw, swap: right-hind-paw, color: [92, 38, 255]}
  - {name: right-hind-paw, swap: left-hind-paw, color: [47, 255, 38]}
links:
  - {points: [nose, tail-base], color: [255, 255, 255]}
  - {points: [nose, left-ear], color: [165, 255, 38]}
  - {points: [nose, right-ear], color: [255, 38, 228]}
  - {points: [left-front-paw, left-hind-paw], color: [38, 255, 219]}
  - {points: [right-front-paw, right-hind-paw], color: [255, 156, 38]}
sigmas: [0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05]
joint_weights: [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
"""
# Linear RGB of the parts with keypoints: left ones are cold, right ones warm.
_PARTS: dict[str, LinearRGB] = {
    "left-ear": (0.02, 0.55, 0.6), "right-ear": (0.85, 0.1, 0.35),
    "left-front-paw": (0.02, 0.1, 0.75), "right-front-paw": (0.85, 0.03, 0.03),
    "left-hind-paw": (0.05, 0.5, 0.08), "right-hind-paw": (0.85, 0.45, 0.02),
}  # fmt: skip
_NOSE, _TAIL = (0.02, 0.02, 0.02), (0.8, 0.8, 0.75)
_LEFT, _RIGHT, _BACK, _BELLY = (0.16, 0.3, 0.4), (0.5, 0.28, 0.14), (0.3, 0.26, 0.2), (0.55, 0.5, 0.45)
_SCALE = 2
# A point is part of its body: something nearer to the camera by less than the part's thickness does not occlude it.
_THICK = 0.11
# If two animals overlap by more than this fraction of the smaller box, the farther one is left out.
_OVERLAP = 0.25
_SUN = np.array([0.35, -0.5, 0.79])


@dataclass(frozen=True, eq=False)
class Critter:
    """One animal on the ground, in meters.

    Attributes:
        mesh: the visible surface.
        points: (8, 3) the keypoints, in the order of NAMES.
    """

    mesh: Mesh
    points: Floats


def write_object_set(
    folder: Path, images: int, seed: int, size: tuple[int, int] = SIZE, *, hidden: bool = True
) -> None:
    """Write ``images`` PNG files with one or two animals each, and their labelme files next to them.

    Args:
        folder: the output folder; it is created.
        images: how many.
        seed: the same one gives the same files.
        size: width and height of the images.
        hidden: also label the points on the far side, as occluded; else they have no label.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(images):
        rng = np.random.default_rng([seed, number])
        camera, critters = _scene(rng, size)
        name = f"{LABEL}_{number + 1:04d}"
        _paint(rng, camera, critters).save(folder / f"{name}.png")
        document = _document(f"{name}.png", size, _labels(camera, critters, hidden=hidden))
        (folder / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def sample_keypoints(
    objects: int, seed: int, size: tuple[int, int] = SIZE, *, hidden: bool = True, noise: float = 0.0
) -> tuple[Floats, Floats]:
    """Return the labels of a number of animals: (N, 8, 3) keypoints, with ``noise`` in pixels, and (N, 4) boxes."""
    found: list[tuple[Floats, Floats]] = []
    number = 0
    while len(found) < objects:
        found += _labels(*_scene(np.random.default_rng([seed, number]), size), hidden=hidden)
        number += 1
    keypoints, boxes = (np.array(part) for part in zip(*found[:objects], strict=True))
    shifts = np.random.default_rng([seed, 0, 1]).normal(0.0, noise, keypoints[:, :, :2].shape)
    keypoints[:, :, :2] += np.where(keypoints[:, :, 2:] > 0, shifts, 0.0)
    return keypoints, boxes


def _scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Camera, list[Critter]]:
    """Return a camera above the ground that looks at one or two animals, the nearer one first."""
    down, bearing = rng.uniform(0.3, 0.8), rng.uniform(-np.pi, np.pi)
    focal = rng.uniform(1.1, 1.7) * max(size)
    critters = [_critter(rng, np.zeros(2))]
    away = focal / min(size) * rng.uniform(1.9, 3.0)
    if rng.random() < 0.35:
        aside = bearing + np.pi / 2 + rng.uniform(-0.4, 0.4)
        critters.append(_critter(rng, rng.uniform(1.3, 1.7) * np.array([np.cos(aside), np.sin(aside)])))
        away *= 1.35
    middle = np.mean([one.points[:, :2].mean(axis=0) for one in critters], axis=0)
    target = (*(middle + rng.uniform(-0.15, 0.15, 2)), 0.35)
    level = away * np.cos(down)
    position = (target[0] + level * np.cos(bearing), target[1] + level * np.sin(bearing), 0.35 + away * np.sin(down))
    camera = Camera(position, target, float(rng.normal(0.0, 0.05)), float(focal), size)
    critters.sort(key=lambda one: float(camera.project(one.points)[1].mean()))
    if len(critters) == 2 and _overlap(*(_screen(camera, one.mesh).corners for one in critters)) > _OVERLAP:
        critters.pop()
    return camera, critters


def _overlap(one: Floats, other: Floats) -> float:
    low = np.maximum(one.min(axis=(0, 1)), other.min(axis=(0, 1)))
    high = np.minimum(one.max(axis=(0, 1)), other.max(axis=(0, 1)))
    areas = [float(np.prod(np.ptp(each.reshape(-1, 2), axis=0))) for each in (one, other)]
    return float(np.prod(np.clip(high - low, 0.0, None))) / min(areas)


def _critter(rng: np.random.Generator, at: Floats) -> Critter:
    """Return an animal of random proportions, position and heading: x forward, y to its left."""
    length, width, height = rng.uniform(0.85, 1.1), rng.uniform(0.36, 0.44), rng.uniform(0.42, 0.55)
    half, tint = length / 2, float(rng.uniform(0.75, 1.2))
    points: dict[str, Floats] = {"tail-base": np.array([-half - 0.05, 0.0, height + 0.22])}
    tail = np.array([-0.28, rng.uniform(-0.15, 0.15), rng.uniform(0.05, 0.3)])
    # From the base of the neck to the tip of the nose, the head turned and lifted a little.
    turn, lift = rng.uniform(-0.5, 0.5), rng.uniform(-0.2, 0.25)
    neck = np.array([half - 0.05, 0.0, height + 0.22])
    ahead = np.array([np.cos(turn) * np.cos(lift), np.sin(turn) * np.cos(lift), np.sin(lift)])
    left = np.array([-np.sin(turn), np.cos(turn), 0.0])
    skull, points["nose"] = neck + np.array([0.1, 0.0, 0.2]), neck + np.array([0.1, 0.0, 0.14]) + 0.42 * ahead
    parts = [
        _tube(np.array([[-half, 0.0, height + 0.15], [half, 0.0, height + 0.18]]), [width / 2, width / 2.2], tint),
        _tube(np.stack([neck, skull]), [0.12, 0.14], tint),
        _tube(np.stack([skull - 0.05 * ahead, points["nose"] - 0.08 * ahead]), [0.15, 0.08], tint),
        _rod(points["nose"] - 0.09 * ahead, points["nose"] + 0.02 * ahead, (0.075, 0.05), _NOSE),
        _rod(points["tail-base"], points["tail-base"] + tail, (0.06, 0.035), _TAIL),
    ]
    for side, sign in (("left", 1.0), ("right", -1.0)):
        foot, tip = skull + sign * 0.1 * left, skull + sign * 0.19 * left + np.array([0.0, 0.0, 0.2])
        parts.append(_rod(foot, tip, (0.08, 0.03), _PARTS[f"{side}-ear"]))
        points[f"{side}-ear"] = tip
        for end, x in (("front", half - 0.12), ("hind", 0.12 - half)):
            hip = np.array([x, sign * (width / 2 - 0.04), height + 0.1])
            paw = hip + np.array([rng.uniform(-0.16, 0.16), sign * 0.05, -height - 0.05])
            middle, name = 0.4 * hip + 0.6 * paw, f"{side}-{end}-paw"
            parts += [_rod(hip, middle, (0.09, 0.07), _BACK), _rod(middle, paw, (0.075, 0.09), _PARTS[name])]
            points[name] = paw
    size, heading = rng.uniform(0.85, 1.15), float(rng.uniform(-np.pi, np.pi))
    mesh, places = merge(parts), np.stack([points[name] for name in NAMES])
    cos, sin = np.cos(heading), np.sin(heading)
    matrix, shift = size * np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]]), np.array([*at, 0.0])
    return Critter(replace(mesh, vertices=mesh.vertices @ matrix + shift), places @ matrix + shift)


def _tube(spine: Floats, radii: list[float], tint: float) -> Mesh:
    """Return a tube with eight sides from one end of a spine to the other: cold on the left, warm on the right."""
    strips = (_LEFT, _BACK, _BACK, _RIGHT, _RIGHT, _BELLY, _BELLY, _LEFT)
    colors: list[LinearRGB] = [(tint * red, tint * green, tint * blue) for red, green, blue in strips]
    return loft(_rings(spine, radii), colors, ends=(colors[1], colors[1]))


def _rod(foot: Floats, tip: Floats, radii: tuple[float, float], color: LinearRGB) -> Mesh:
    return loft(_rings(np.stack([foot, tip]), list(radii)), [color] * 8, ends=(color, color))


def _rings(spine: Floats, radii: list[float]) -> Floats:
    """Return (2, 8, 3) rings across a spine, from the left side over the top to the right one and back below."""
    along = spine[1] - spine[0]
    along = along / np.linalg.norm(along)
    aside = np.cross([0.0, 0.0, 1.0] if abs(along[2]) < 0.9 else [-1.0, 0.0, 0.0], along)
    aside /= np.linalg.norm(aside)
    up = np.cross(along, aside)
    angle = (np.arange(8) - 0.5) * np.pi / 4
    circle = np.cos(angle)[:, None] * aside + np.sin(angle)[:, None] * up
    rings: Floats = spine[:, None] + np.array(radii)[:, None, None] * circle
    return rings


def _screen(camera: Camera, mesh: Mesh) -> Screen:
    return to_screen(*camera.project(mesh.vertices), mesh.triangles)


def _labels(camera: Camera, critters: list[Critter], *, hidden: bool) -> list[tuple[Floats, Floats]]:
    """Return (keypoints, box) of each animal."""
    whole = _screen(camera, merge([one.mesh for one in critters]))
    labels = []
    for one in critters:
        pixels, depth = camera.project(one.points)
        keypoints = label_keypoints(pixels, depth - _THICK, whole, camera.size)
        if not hidden:
            keypoints[keypoints[:, 2] == 1] = 0.0
        box = label_box(_screen(camera, one.mesh), camera.size)
        if box is not None:
            labels.append((keypoints, box))
    return labels


def _document(image: str, size: tuple[int, int], labels: list[tuple[Floats, Floats]]) -> dict[str, Any]:
    shapes: list[dict[str, Any]] = []
    for group, (keypoints, box) in enumerate(labels):
        own = {"group_id": group, "description": "", "mask": None}
        corners = box.reshape(2, 2).tolist()
        shapes.append({"label": LABEL, "points": corners, "shape_type": "rectangle", "flags": {}, **own})
        for name, (x, y, visibility) in zip(NAMES, keypoints.tolist(), strict=True):
            if visibility:
                flags = {"occluded": True} if visibility == 1 else {}
                shapes.append({"label": name, "points": [[x, y]], "shape_type": "point", "flags": flags, **own})
    head = {"version": "5.4.1", "flags": {}, "shapes": shapes}
    return {**head, "imagePath": image, "imageData": None, "imageHeight": size[1], "imageWidth": size[0]}


def _paint(rng: np.random.Generator, camera: Camera, critters: list[Critter]) -> Image.Image:
    """Return the image: shaded faces in front of a mottled ground of any color, with noise."""
    width, height = (side * _SCALE for side in camera.size)
    clutter = [_clutter(rng) for _ in range(int(rng.integers(0, 5)))]
    mesh = merge([one.mesh for one in critters] + [one for one in clutter if _is_behind(camera, one, critters)])
    screen = _screen(camera, mesh)
    group: Ints = np.full(len(mesh.triangles), -1)
    seen = rasterize(screen, group, 0, camera.size, _SCALE).triangle
    light = 0.35 + 0.15 * normals(mesh)[:, 2:] + 0.6 * np.clip(normals(mesh) @ _SUN, 0.0, None)[:, None]
    faces = np.concatenate([mesh.colors * light, np.zeros((1, 3))])
    ground = rng.uniform(0.08, 0.5, 3) * 0.5 + rng.uniform(0.05, 0.25)
    pixels = np.where((seen >= 0)[..., None], faces[seen], ground * _mottled(rng, (height, width))[..., None])
    small = pixels.reshape(height // _SCALE, _SCALE, width // _SCALE, _SCALE, 3).mean(axis=(1, 3))
    shown = 255 * np.sqrt(np.clip(small * rng.uniform(0.8, 1.25), 0.0, 1.0)) + rng.normal(0.0, 3.0, small.shape)
    return Image.fromarray(np.clip(shown, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.4))


def _mottled(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    total = np.ones(shape)
    for cells, strength in ((4, 0.35), (16, 0.25), (48, 0.2)):
        coarse = Image.fromarray(rng.uniform(-strength, strength, (cells, cells)).astype(np.float32))
        total += np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC))
    return total


def _clutter(rng: np.random.Generator) -> Mesh:
    """Return a post or a stone of any color somewhere around."""
    bearing, away = rng.uniform(-np.pi, np.pi), rng.uniform(1.5, 4.0)
    foot = (float(away * np.cos(bearing)), float(away * np.sin(bearing)), 0.0)
    radius = float(rng.uniform(0.08, 0.35))
    color = tuple(rng.uniform(0.05, 0.5, 3).tolist())
    return cylinder(foot, (radius, radius * rng.uniform(0.4, 1.0)), float(rng.uniform(0.2, 1.2)), color)


def _is_behind(camera: Camera, thing: Mesh, critters: list[Critter]) -> bool:
    """Return whether a thing is in the image and hides nothing: farther away than every animal."""
    nearest = camera.project(thing.vertices)[1].min()
    return bool(nearest > max(float(camera.project(one.mesh.vertices)[1].max()) for one in critters))
